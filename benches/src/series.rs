//! A raw table, as `benches/lib.sh` keeps it: comments, the columns' names, a row a line.
//!
//! The first three comments say what is measured, by which versions, and the command. Behind the rows more comments may stand: what
//! the script itself makes of them. A row holds its labels, its round and its numbers, `-` where nothing was measured. Labels are the
//! columns in front of `round`, and those behind it that begin with something else than a number; rows of the same labels are rounds of
//! one group.

use std::collections::BTreeSet;

use crate::measure::Measure;
use crate::spread::Spread;

/// The column that numbers the repetitions.
const ROUND: &str = "round";
/// What stands for a number that was not measured.
const MISSING: &str = "-";

/// A line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct BadLine {
    /// Its number, from 1 on.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

impl BadLine {
    fn new(line: usize, what: impl Into<String>) -> Self {
        Self { line, what: what.into() }
    }
}

/// A table that was kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its file's name without the ending.
    pub name: String,
    /// What is measured.
    pub what: String,
    /// Versions of what was measured, and the machine.
    pub versions: String,
    /// The command that repeats it.
    pub command: String,
    /// Names of the label columns.
    pub labels: Vec<String>,
    /// The columns of numbers.
    pub columns: Vec<Column>,
    /// The rows by their labels, in the order in which those first appear.
    pub groups: Vec<Group>,
    /// What the script says behind the rows.
    pub notes: Vec<String>,
}

/// A column of numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it counts.
    pub measure: Measure,
    /// Decimals of its most precise number.
    pub decimals: usize,
}

/// The rounds of the same labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The labels.
    pub labels: Vec<String>,
    /// Its rows.
    pub rounds: Vec<Round>,
}

/// A row.
#[derive(Clone, Debug, PartialEq)]
pub struct Round {
    /// Which repetition.
    pub number: String,
    /// The numbers, by column; none where nothing was measured.
    pub cells: Vec<Option<f64>>,
}

impl Group {
    /// The labels as one text; empty if there are none.
    pub fn label(&self) -> String {
        self.labels.join(" ")
    }

    /// The spread of a column; none if it was never measured.
    pub fn spread(&self, column: usize) -> Option<Spread> {
        Spread::of(self.rounds.iter().filter_map(|round| round.cells[column]))
    }
}

impl Series {
    /// Reads a table.
    ///
    /// # Errors
    /// With the line that is not understood, or lacks.
    pub fn parse(name: &str, text: &str) -> Result<Self, BadLine> {
        let lines = Lines::of(text)?;
        let [what, versions, command] = lines.head.as_slice() else {
            let what = "three comments stand in front of the columns' names: what is measured, the versions, the command";
            return Err(BadLine::new(lines.columns_at, what));
        };
        let roles = roles(&lines);
        let of_role = |role| roles.iter().enumerate().filter(move |(_, r)| **r == role);
        let names = |role| of_role(role).map(|(at, _)| lines.columns[at].to_owned());
        let mut series = Self {
            name: name.to_owned(),
            what: (*what).to_owned(),
            versions: (*versions).to_owned(),
            command: (*command).to_owned(),
            labels: names(Role::Label).collect(),
            columns: names(Role::Number)
                .map(|name| Column { measure: Measure::of(&name), name, decimals: 0 })
                .collect(),
            groups: Vec::new(),
            notes: lines.notes.iter().map(|&note| note.to_owned()).collect(),
        };
        if series.columns.is_empty() {
            return Err(BadLine::new(lines.columns_at, "no column holds numbers"));
        }
        for (line, cells) in &lines.rows {
            series.add(*line, cells, &roles)?;
        }
        Ok(series)
    }

    fn add(&mut self, line: usize, cells: &[&str], roles: &[Role]) -> Result<(), BadLine> {
        let (mut labels, mut number, mut numbers) = (Vec::new(), None, Vec::new());
        for (cell, role) in cells.iter().zip(roles) {
            match role {
                Role::Label => labels.push((*cell).to_owned()),
                Role::Round => number = Some((*cell).to_owned()),
                Role::Number => {
                    let column = &mut self.columns[numbers.len()];
                    column.decimals = column.decimals.max(decimals(cell));
                    let read = self::number(cell).ok_or_else(|| {
                        let name = &column.name;
                        BadLine::new(line, format!("`{cell}` in column {name} is no number"))
                    })?;
                    numbers.push(read);
                }
            }
        }
        let at = self.groups.iter().position(|group| group.labels == labels);
        let at = at.unwrap_or_else(|| {
            self.groups.push(Group { labels, rounds: Vec::new() });
            self.groups.len() - 1
        });
        let group = &mut self.groups[at];
        let number = number.unwrap_or_else(|| (group.rounds.len() + 1).to_string());
        if group.rounds.iter().any(|round| round.number == number) {
            let of = if group.labels.is_empty() {
                String::new()
            } else {
                format!(" of {}", group.label())
            };
            let what = format!("round {number}{of} stands here a second time");
            return Err(BadLine::new(line, what));
        }
        group.rounds.push(Round { number, cells: numbers });
        Ok(())
    }
}

/// A table's lines by what they are.
struct Lines<'a> {
    head: Vec<&'a str>,
    columns_at: usize,
    columns: Vec<&'a str>,
    rows: Vec<(usize, Vec<&'a str>)>,
    notes: Vec<&'a str>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Result<Self, BadLine> {
        let (mut head, mut columns, mut rows, mut notes) = (vec![], vec![], vec![], vec![]);
        let mut columns_at = 0;
        for (line, text) in (1..).zip(text.lines()) {
            let comment = text.strip_prefix('#').map(str::trim);
            match comment {
                Some(comment) if columns_at == 0 => head.push(comment),
                Some(comment) => notes.push(comment),
                None if text.trim().is_empty() => {}
                // As the first of the kept tables end.
                None if text.starts_with("median ") => notes.push(text),
                None if columns_at == 0 => {
                    columns_at = line;
                    columns = text.split_whitespace().collect();
                    let distinct: BTreeSet<_> = columns.iter().collect();
                    if distinct.len() < columns.len() {
                        return Err(BadLine::new(line, "two columns have the same name"));
                    }
                }
                None => {
                    let cells: Vec<&str> = text.split_whitespace().collect();
                    if cells.len() != columns.len() {
                        let (here, there) = (cells.len(), columns.len());
                        let what = format!("{here} values stand under {there} columns");
                        return Err(BadLine::new(line, what));
                    }
                    rows.push((line, cells));
                }
            }
        }
        let end = text.lines().count();
        if columns_at == 0 {
            return Err(BadLine::new(end, "the file ends without the columns' names"));
        }
        if rows.is_empty() {
            return Err(BadLine::new(end, "the file ends without a row"));
        }
        Ok(Self { head, columns_at, columns, rows, notes })
    }
}

/// What a column is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Label,
    Round,
    Number,
}

/// A first value that is no number makes a label of a leading column; of any other it is an error, which reading the rows finds.
fn roles(lines: &Lines<'_>) -> Vec<Role> {
    let round = lines.columns.iter().position(|name| *name == ROUND);
    let mut leading = true;
    let role = |(at, _): (usize, &&str)| {
        if Some(at) == round {
            return Role::Round;
        }
        let words = lines.rows.first().is_some_and(|(_, cells)| number(cells[at]).is_none());
        leading = leading && (round.is_some_and(|round| at < round) || words);
        if leading { Role::Label } else { Role::Number }
    };
    lines.columns.iter().enumerate().map(role).collect()
}

/// A cell's number, if there is one in it; none if it is none of either.
fn number(cell: &str) -> Option<Option<f64>> {
    if cell == MISSING {
        return Some(None);
    }
    cell.parse().ok().filter(|number: &f64| number.is_finite()).map(Some)
}

fn decimals(cell: &str) -> usize {
    cell.split_once('.').map_or(0, |(_, decimals)| decimals.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "# what; seconds\n# shunt 0.1.0\n# benches/x.sh with ROUNDS=2\n";

    fn parse(rest: &str) -> Result<Series, String> {
        Series::parse("x", &format!("{HEAD}{rest}")).map_err(|error| error.to_string())
    }

    #[test]
    fn rows_are_grouped_by_their_labels() {
        let rows = "kind round shunt ratio\nsmall 1 1.5 9\nhot 1 2 -\nsmall 2 1.25 8\n";
        let series = parse(&format!("{rows}# median of small: 8.5\n")).unwrap();
        assert_eq!(
            (series.what.as_str(), series.versions.as_str()),
            ("what; seconds", "shunt 0.1.0")
        );
        assert_eq!(series.command, "benches/x.sh with ROUNDS=2");
        assert_eq!(series.labels, ["kind"]);
        let columns: Vec<_> =
            series.columns.iter().map(|c| (c.name.as_str(), c.decimals)).collect();
        assert_eq!(columns, [("shunt", 2), ("ratio", 0)]);
        let groups: Vec<_> = series.groups.iter().map(|g| (g.label(), g.rounds.len())).collect();
        assert_eq!(groups, [("small".to_owned(), 2), ("hot".to_owned(), 1)]);
        assert_eq!(series.groups[0].spread(0).unwrap().median, 1.375);
        assert_eq!(series.groups[1].spread(1), None);
        assert_eq!(series.notes, ["median of small: 8.5"]);
    }

    #[test]
    fn what_stands_before_the_round_is_a_label_even_if_it_is_a_number() {
        let series = parse("threads kind round shunt\n8 select 1 5\n16 select 1 6\n").unwrap();
        let groups: Vec<_> = series.groups.iter().map(Group::label).collect();
        assert_eq!(groups, ["8 select", "16 select"]);
        let series = parse("round kind shunt\n1 a 5\n1 b 6\n").unwrap();
        assert_eq!((series.labels, series.groups.len()), (vec!["kind".to_owned()], 2));
    }

    #[test]
    fn rows_without_a_round_are_numbered() {
        let series = parse("shunt\n5\n6\n").unwrap();
        let rounds: Vec<_> = series.groups[0].rounds.iter().map(|r| r.number.as_str()).collect();
        assert_eq!(rounds, ["1", "2"]);
    }

    #[test]
    fn the_oldest_tables_end_with_a_bare_median() {
        let series = parse("round shunt ratio\n1 15.42 0.92\nmedian ratio 0.92\n").unwrap();
        assert_eq!(series.notes, ["median ratio 0.92"]);
    }

    #[test]
    fn bad_input_is_a_clear_error() {
        let cases = [
            ("", "line 3: the file ends without the columns' names"),
            ("round shunt\n", "line 4: the file ends without a row"),
            ("round shunt\n1 2 3\n", "line 5: 3 values stand under 2 columns"),
            ("round shunt\n1 2\n2 inf\n", "line 6: `inf` in column shunt is no number"),
            ("round a b\n1 2 x\n", "line 5: `x` in column b is no number"),
            ("round a a\n1 2 3\n", "line 4: two columns have the same name"),
            ("round shunt\n1 2\n1 3\n", "line 6: round 1 stands here a second time"),
            ("kind round\na 1\n", "line 4: no column holds numbers"),
        ];
        for (rest, expected) in cases {
            assert_eq!(parse(rest).unwrap_err(), expected, "{rest}");
        }
        let error = Series::parse("x", "# what\nround shunt\n1 2\n").unwrap_err().to_string();
        assert!(error.starts_with("line 2: three comments stand in front"), "{error}");
    }
}
