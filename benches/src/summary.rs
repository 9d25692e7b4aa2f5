//! All series of a run as Markdown for people and as JSON for programs. Both say the same.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::series::{Column, Group, Series};
use crate::spread::Spread;

/// The run as Markdown; `run` is the name of its folder.
pub fn markdown(run: &str, series: &[Series]) -> String {
    let mut out = format!(
        "# {run}\n\nMade by `shunt-bench-report` of the tables beside it. A spread is the median, with the least and the largest behind it; \
         the median of an even number of rounds is the mean of the middle two.\n"
    );
    for series in series {
        push_series(&mut out, series);
    }
    out
}

fn push_series(out: &mut String, series: &Series) {
    let Series { name, what, versions, command, .. } = series;
    let head = format!(
        "\n## {name}\n\n{what}\n\n- Versions: {versions}\n- Command: `{command}`\n\n![{name}]({name}.svg)\n\n"
    );
    out.push_str(&head);
    let names = series.columns.iter().map(|column| column.name.clone());
    let heads = |between: &str| {
        series.labels.iter().cloned().chain([between.to_owned()]).chain(names.clone())
    };
    push_header(out, heads("rounds"), series.labels.len());
    for group in &series.groups {
        let spreads = series.columns.iter().enumerate().map(|(at, c)| spread_text(group, at, c));
        let rounds = group.rounds.len().to_string();
        push_line(out, group.labels.iter().cloned().chain([rounds]).chain(spreads));
    }
    out.push_str("\nRounds:\n\n");
    push_header(out, heads("round"), series.labels.len());
    for (group, round) in series.groups.iter().flat_map(|g| g.rounds.iter().map(move |r| (g, r))) {
        let cells = round.cells.iter().zip(&series.columns);
        let cells = cells.map(|(cell, column)| cell.map_or("-".to_owned(), |n| text(n, column)));
        let labels = group.labels.iter().cloned();
        push_line(out, labels.chain([round.number.clone()]).chain(cells));
    }
    if !series.notes.is_empty() {
        out.push_str("\nThe script's own words:\n\n");
        series.notes.iter().for_each(|note| {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "- {note}");
        });
    }
}

/// Labels are words, all others numbers.
fn push_header(out: &mut String, names: impl Iterator<Item = String>, labels: usize) {
    let names: Vec<String> = names.collect();
    let rules = (0..names.len()).map(|at| if at < labels { "---" } else { "---:" }.to_owned());
    push_line(out, names.iter().cloned());
    push_line(out, rules);
}

fn push_line(out: &mut String, cells: impl Iterator<Item = String>) {
    for cell in cells {
        out.push_str("| ");
        out.push_str(&cell.replace('|', "\\|"));
        out.push(' ');
    }
    out.push_str("|\n");
}

fn spread_text(group: &Group, at: usize, column: &Column) -> String {
    match group.spread(at) {
        None => "-".to_owned(),
        Some(spread) => spread_in(&spread, column),
    }
}

/// A spread in the decimals of its column: `1.42 (1.33 to 1.50)`.
pub fn spread_in(spread: &Spread, column: &Column) -> String {
    let Spread { median, min, max, rounds } = *spread;
    if rounds == 1 {
        return text(median, column);
    }
    format!("{} ({} to {})", text(median, column), text(min, column), text(max, column))
}

fn text(number: f64, column: &Column) -> String {
    format!("{number:.*}", column.decimals)
}

/// The run as JSON.
pub fn json(run: &str, series: &[Series]) -> Value {
    json!({ "run": run, "series": series.iter().map(series_json).collect::<Vec<_>>() })
}

fn series_json(series: &Series) -> Value {
    let columns = series.columns.iter();
    let columns = columns.map(|c| json!({ "name": c.name, "measure": c.measure.to_string() }));
    json!({
        "name": series.name,
        "what": series.what,
        "versions": series.versions,
        "command": series.command,
        "columns": columns.collect::<Vec<_>>(),
        "groups": series.groups.iter().map(|group| group_json(series, group)).collect::<Vec<_>>(),
        "notes": series.notes,
    })
}

fn group_json(series: &Series, group: &Group) -> Value {
    let named = |values: &mut dyn Iterator<Item = Value>| -> Map<String, Value> {
        series.columns.iter().map(|column| column.name.clone()).zip(values).collect()
    };
    let labels: Map<String, Value> =
        series.labels.iter().cloned().zip(group.labels.iter().map(|l| json!(l))).collect();
    let rounds = group.rounds.iter().map(|round| {
        let mut cells = round.cells.iter().map(|cell| json!(cell));
        json!({ "round": round.number, "values": named(&mut cells) })
    });
    let mut spreads = (0..series.columns.len()).map(|at| json!(group.spread(at)));
    json!({
        "labels": labels,
        "rounds": rounds.collect::<Vec<_>>(),
        "spread": named(&mut spreads),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series() -> Series {
        let text = "# a | b; seconds\n# shunt 0.1.0\n# benches/x.sh\nkind round shunt ratio\n\
            small 1 1.50 9.5\nhot 1 2.00 -\nsmall 2 1.25 8.5\n# median of small: 9\n";
        Series::parse("x", text).unwrap()
    }

    #[test]
    fn a_run_is_summed_up_in_markdown() {
        let text = markdown("2026-11-24-m", &[series()]);
        assert!(text.starts_with("# 2026-11-24-m\n"));
        let expected = "\n## x\n\na | b; seconds\n\n- Versions: shunt 0.1.0\n- Command: `benches/x.sh`\n\n![x](x.svg)\n\n\
            | kind | rounds | shunt | ratio |\n| --- | ---: | ---: | ---: |\n\
            | small | 2 | 1.38 (1.25 to 1.50) | 9.0 (8.5 to 9.5) |\n| hot | 1 | 2.00 | - |\n\
            \nRounds:\n\n| kind | round | shunt | ratio |\n| --- | ---: | ---: | ---: |\n\
            | small | 1 | 1.50 | 9.5 |\n| small | 2 | 1.25 | 8.5 |\n| hot | 1 | 2.00 | - |\n\
            \nThe script's own words:\n\n- median of small: 9\n";
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn a_run_is_summed_up_in_json() {
        let all = json("2026-11-24-m", &[series()]);
        let x = &all["series"][0];
        assert_eq!((&all["run"], &x["name"]), (&json!("2026-11-24-m"), &json!("x")));
        assert_eq!(x["columns"][1], json!({ "name": "ratio", "measure": "ratio" }));
        let small = &x["groups"][0];
        assert_eq!(small["labels"], json!({ "kind": "small" }));
        assert_eq!(
            small["rounds"][1],
            json!({ "round": "2", "values": { "shunt": 1.25, "ratio": 8.5 } })
        );
        let spread = json!({ "median": 1.375, "min": 1.25, "max": 1.5, "rounds": 2 });
        assert_eq!(small["spread"]["shunt"], spread);
        assert_eq!(x["groups"][1]["spread"]["ratio"], Value::Null);
    }
}
