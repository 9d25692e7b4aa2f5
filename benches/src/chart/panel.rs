//! Which bars stand together.

use crate::measure::Measure;
use crate::series::{Column, Group, Series};
use crate::spread::Spread;

/// Bars over one axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) bars: Vec<Bar>,
    /// The largest number that the axis must reach.
    pub(super) top: f64,
    pub(super) is_ratio: bool,
}

/// A bar.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bar {
    pub(super) label: String,
    /// Which column it is of.
    pub(super) column: usize,
    /// None if nothing was measured.
    pub(super) spread: Option<Spread>,
}

/// The panels of a series: what it counts as a whole first, ratios last.
pub(super) fn panels(series: &Series) -> Vec<Panel> {
    let mut measures: Vec<&Measure> = Vec::new();
    let rank = |measure: &Measure| match measure {
        Measure::Main => 0,
        Measure::Unit(_) => 1,
        Measure::Ratio => 2,
    };
    for Column { measure, .. } in &series.columns {
        if !measures.contains(&measure) {
            measures.push(measure);
        }
    }
    measures.sort_by_key(|measure| rank(measure));
    measures.into_iter().flat_map(|measure| of_measure(series, measure)).collect()
}

fn of_measure(series: &Series, measure: &Measure) -> Vec<Panel> {
    let columns = series.columns.iter().enumerate();
    let columns: Vec<usize> =
        columns.filter(|(_, c)| c.measure == *measure).map(|(at, _)| at).collect();
    let is_ratio = *measure == Measure::Ratio;
    let mut panels: Vec<Panel> = match columns.as_slice() {
        [column] => vec![by_group(series, *column)],
        columns => series.groups.iter().map(|group| by_column(series, columns, group)).collect(),
    };
    let all = panels.iter().map(|panel| panel.top).fold(0.0, f64::max);
    for panel in &mut panels {
        panel.is_ratio = is_ratio;
        if is_ratio {
            // One scale, with 1 on it.
            panel.top = all.max(1.0);
        }
        if columns.len() > 1 && *measure != Measure::Main {
            panel.title = format!("{} {measure}", panel.title).trim().to_owned();
        }
    }
    panels
}

fn by_group(series: &Series, column: usize) -> Panel {
    let name = &series.columns[column].name;
    let label = |group: &Group| {
        let label = group.label();
        if label.is_empty() { name.clone() } else { label }
    };
    let bar = |group| Bar { label: label(group), column, spread: group.spread(column) };
    panel(name.clone(), series.groups.iter().map(bar).collect())
}

fn by_column(series: &Series, columns: &[usize], group: &Group) -> Panel {
    let bar = |&column: &usize| Bar {
        label: series.columns[column].name.clone(),
        column,
        spread: group.spread(column),
    };
    panel(group.label(), columns.iter().map(bar).collect())
}

fn panel(title: String, bars: Vec<Bar>) -> Panel {
    let largest = bars.iter().filter_map(|bar| bar.spread).map(|spread| spread.max);
    Panel { title, top: largest.fold(0.0, f64::max), bars, is_ratio: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(table: &str) -> Vec<String> {
        let series = Series::parse("x", &format!("# a\n# b\n# c\n{table}")).unwrap();
        let text = |panel: &Panel| {
            let bars: Vec<_> = panel.bars.iter().map(|bar| bar.label.as_str()).collect();
            format!("{} [{}] {}", panel.title, bars.join(", "), panel.top)
        };
        panels(&series).iter().map(text).collect()
    }

    #[test]
    fn who_is_compared_stands_together_and_ratios_have_one_scale() {
        let table = "kind round shunt native ratio\nsmall 1 1 12 12\nhot 1 3 2 0.7\n";
        let expected =
            ["small [shunt, native] 12", "hot [shunt, native] 3", "ratio [small, hot] 12"];
        assert_eq!(drawn(table), expected);
        let table = "kind round shunt haproxy by-haproxy by-direct\nbig 1 3 4 0.75 0.5\n";
        let expected = ["big [shunt, haproxy] 4", "big ratio [by-haproxy, by-direct] 1"];
        assert_eq!(drawn(table), expected);
    }

    #[test]
    fn units_have_axes_of_their_own() {
        let table = "what round seconds KiB\nsmall 1 2 9000\nlarge 1 30 9100\n";
        assert_eq!(drawn(table), ["seconds [small, large] 30", "KiB [small, large] 9100"]);
    }

    #[test]
    fn a_table_without_labels_makes_one_panel() {
        assert_eq!(
            drawn("round shunt peer ratio\n1 2 3 0.67\n"),
            [" [shunt, peer] 3", "ratio [ratio] 1"]
        );
    }
}
