//! What a server notes of the rows that it writes: nothing, or it has changed a value.
//!
//! Strict mode makes an error of most values that do not fit, but some are cut with a mere note (the digits behind a DECIMAL's scale,
//! the space at a text's end), and LOCAL makes warnings of errors. So any warning of a statement that writes rows is an error here. But for
//! one: columns that a server computes round what they are computed from (`w DECIMAL(9,1) AS (v)`), on the source as on the target, and each row
//! of such a table raises a note for each such column. These are told by the column's name, so all of a statement's notes must be
//! seen: servers keep 65,535 at most ([`NOTES_MAX`]), which bounds the rows of such a statement ([`rows_max`]).

use crate::error::{Error, ErrorKind, Result};
use crate::mysql::control::{Outcome, Row, server_error};
use crate::mysql::schema::{Generated, TableSchema};
use crate::mysql::statements::Statements;

/// How many warnings of a statement a server keeps at most, and counts in its answer.
pub const NOTES_MAX: u16 = u16::MAX;
/// Notes that one computed column raises for one row at most: it is computed for the row that is written, and for the one that is
/// replaced, to find it and to take it out of the indexes.
const NOTES_OF_COLUMN: usize = 4;

/// How many rows a statement may write into a table so that all notes can be seen.
pub fn rows_max(table: &TableSchema) -> usize {
    match computed(table).count() {
        0 => usize::MAX,
        columns => (usize::from(NOTES_MAX) / (NOTES_OF_COLUMN * columns)).max(1),
    }
}

/// Takes any warning of a statement that wrote rows of `table` for an error, a mere note too, unless it says that a computed column was
/// rounded.
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
        if !is_rounding(note, table) {
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

/// The columns of a note: level, code, message.
fn is_rounding(note: &Row, table: &TableSchema) -> bool {
    if note.text(0).as_deref() != Some("Note") || note.number::<u16>(1).ok() != Some(1265) {
        return false;
    }
    let Some(message) = note.text(2) else { return false };
    let said = message.strip_prefix("Data truncated for column '");
    let name = said.and_then(|rest| rest.rsplit_once("' at row ")).map(|(name, _)| name);
    name.is_some_and(|name| computed(table).any(|column| column == name))
}
