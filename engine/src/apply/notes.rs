//! What a server notes of the rows that it writes: nothing, or it has changed a value.
//!
//! Strict mode makes an error of most values that do not fit, but some are cut with a mere note (the digits behind a DECIMAL's
//! scale, the space at a text's end), and LOCAL makes warnings of errors. So any warning of a statement that writes rows is an
//! error here. But for two: columns that a server computes cut what they are computed from, on the source as on the target, and
//! each row of such a table raises a warning for each such column. A column that rounds (`w DECIMAL(9,1) AS (v)`) is named in a
//! note; a cast inside of the expression (`CAST(v AS CHAR(3))`) says what it truncates, in words that no carried value is spoken
//! of with. So all warnings of a statement must be seen: servers keep 65,535 at most ([`NOTES_MAX`]), which bounds the rows of such
//! a statement ([`rows_max`]).

use crate::error::{Error, ErrorKind, Result};
use crate::mysql::control::{Outcome, Row, server_error};
use crate::mysql::schema::{Generated, TableSchema};
use crate::mysql::statements::Statements;

/// How many warnings of a statement a server keeps at most, and counts in its answer.
const NOTES_MAX: u16 = u16::MAX;
/// Warnings that one computed column raises for one row at most: it is computed for the row that is written, before and after
/// triggers, and for those that are replaced, to find them and to take them out of the indexes.
const NOTES_OF_COLUMN: usize = 8;
/// Rows of a statement whose rows may raise warnings: before each call of a trigger a server copies those that there are.
const NOTED_ROWS_MAX: usize = 1000;

/// How many rows a statement may write into a table so that all warnings can be seen.
pub fn rows_max(table: &TableSchema) -> usize {
    match computed(table).count() {
        0 => usize::MAX,
        columns => (usize::from(NOTES_MAX) / (NOTES_OF_COLUMN * columns)).clamp(1, NOTED_ROWS_MAX),
    }
}

/// Takes any warning of a statement that wrote rows of `table` for an error, a mere note too, unless it is of a
/// computed column.
///
/// # Errors
/// Stop, with the first warning that says something else.
pub async fn strict(
    connection: &mut impl Statements,
    table: &TableSchema,
    outcome: Outcome,
) -> Result<Outcome> {
    if outcome.warnings == 0 {
        return Ok(outcome);
    }
    let notes = connection.rows("SHOW WARNINGS").await?;
    for note in &notes {
        if !is_of_computed(note, table) {
            let code: u16 = note.number(1)?;
            let message = note.text(2).unwrap_or_default();
            return Err(server_error(code, "warning", &message).with_kind(ErrorKind::Stop));
        }
    }
    if outcome.warnings == NOTES_MAX || usize::from(outcome.warnings) != notes.len() {
        return Err(Error::stop(format!(
            "the target raised {} warnings, of which it shows {}",
            outcome.warnings,
            notes.len()
        )));
    }
    Ok(outcome)
}

fn computed(table: &TableSchema) -> impl Iterator<Item = &str> {
    let computed = table.columns.iter().filter(|column| column.generated != Generated::No);
    computed.map(|column| column.name.as_str())
}

/// The cells of a warning: level, code, message.
fn is_of_computed(note: &Row, table: &TableSchema) -> bool {
    let (Ok(code), Some(message)) = (note.number::<u16>(1), note.text(2)) else { return false };
    match code {
        1265 => {
            let said = message.strip_prefix("Data truncated for column '");
            let name = said.and_then(|rest| rest.rsplit_once("' at row ")).map(|(name, _)| name);
            name.is_some_and(|name| computed(table).any(|column| column == name))
        }
        1292 => message.starts_with("Truncated incorrect ") && table.computes(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mysql::schema::Column;

    fn table(computed: &[&str]) -> TableSchema {
        let column = |name: &&str| Column {
            name: (*name).to_owned(),
            generated: Generated::Virtual,
            ..Column::default()
        };
        let carried = Column { name: "v".to_owned(), ..Column::default() };
        let columns = computed.iter().map(column).chain([carried]).collect();
        TableSchema { columns, ..TableSchema::default() }
    }

    #[test]
    fn warnings_of_computed_columns_are_told_by_their_words() {
        let odd = "b' at row 1";
        let table = table(&["w", odd]);
        let of = |code: &str, message: &str| {
            let cells = ["Note", code, message].map(|cell| Some(cell.as_bytes().to_vec()));
            is_of_computed(&Row::new(cells.into()), &table)
        };
        assert!(of("1265", "Data truncated for column 'w' at row 70000"));
        assert!(of("1265", &format!("Data truncated for column '{odd}' at row 2")));
        assert!(of("1292", "Truncated incorrect CHAR(3) value: 'abcd'"));
        for (code, message) in [
            ("1265", "Data truncated for column 'v' at row 1"),
            ("1265", "Data truncated for column 'b' at row 1"),
            ("1265", "Daten abgeschnitten"),
            ("1264", "Data truncated for column 'w' at row 1"),
            ("1292", "Incorrect datetime value: '7' for column `d`.`t`.`v` at row 1"),
        ] {
            assert!(!of(code, message), "{code} {message}");
        }
    }

    #[test]
    fn a_statement_writes_as_many_rows_as_there_may_be_warnings() {
        assert_eq!(rows_max(&table(&[])), usize::MAX);
        assert_eq!(rows_max(&table(&["w"])), NOTED_ROWS_MAX);
        assert_eq!(rows_max(&table(&["w"; 100])), 81);
        assert_eq!(rows_max(&table(&["w"; 9000])), 1);
    }
}
