//! Whole rows as statements: in bulk where there are many and the target takes them so, else as text.

use std::sync::Arc;

use super::notes;
use super::statement::{Does, Statement};
use crate::changes::Row;
use crate::error::Result;
use crate::limits;

/// Fewer rows are sent as text: a statement that is not prepared yet costs a round trip.
const BULK_ROWS_MIN: usize = 16;

/// Appends the statements that write `rows`. In which order they are written does not matter: no key is among them twice.
///
/// # Errors
/// Stop if an image cannot be read.
pub(super) fn push(
    verb: &str,
    rows: &[&Row],
    takes_bulk: bool,
    out: &mut Vec<Statement>,
) -> Result<()> {
    let Some(plan) = rows.first().map(|row| row.layout.plan.clone()) else { return Ok(()) };
    let bulk = takes_bulk && rows.len() >= BULK_ROWS_MIN;
    let head = format!("{verb} INTO {} ({}) VALUES ", plan.target(), plan.column_list());
    // What cannot be told is an error where the row is read.
    let large =
        |row: &Row| !row.layout.bytes(&row.image).is_ok_and(|bytes| bytes <= limits::BULK_ROW_MAX);
    let as_text = |row: &&&Row| !bulk || large(row);
    let rows_max = notes::rows_max(&plan.source);
    let texts = rows.iter().filter(as_text).copied();
    push_rows(texts, rows_max, [&head, ",", ""], Does::Write, out, |row, sql| {
        row.layout.push_tuple(&row.image, sql)
    })?;
    let sql: Arc<str> = format!("{head}({})", vec!["?"; plan.columns.len()].join(",")).into();
    let mut rest = rows.iter().filter(|row| !as_text(row)).copied().peekable();
    while let Some(first) = rest.peek() {
        // Rows under another table map may have other types.
        let parameters = first.layout.parameters();
        let mut rows = Vec::with_capacity(limits::BLOCK_BYTES + limits::BLOCK_BYTES / 4);
        let mut count = 0;
        while let Some(row) = rest.next_if(|row| {
            rows.len() < limits::BLOCK_BYTES
                && count < rows_max
                && row.layout.parameters() == parameters
        }) {
            row.layout.push_bulk(&row.image, &mut rows)?;
            count += 1;
        }
        let rows = (rows, count as u64);
        out.push(Statement::bulk(plan.clone(), sql.clone(), parameters.into(), rows));
    }
    Ok(())
}

/// Fills statements of bounded size, of at most `rows_max` rows, with one piece of text a row, between head, separators and tail.
///
/// # Errors
/// As `push`.
pub(super) fn push_rows<'a>(
    rows: impl Iterator<Item = &'a Row>,
    rows_max: usize,
    [head, separator, tail]: [&str; 3],
    does: impl Fn(u64) -> Does,
    out: &mut Vec<Statement>,
    push: impl Fn(&Row, &mut Vec<u8>) -> Result<()>,
) -> Result<()> {
    let mut sql: Vec<u8> = Vec::new();
    let mut count = 0;
    let mut rows = rows.peekable();
    while let Some(row) = rows.next() {
        let before = if sql.is_empty() { head } else { separator };
        sql.extend_from_slice(before.as_bytes());
        push(row, &mut sql)?;
        count += 1;
        let full = sql.len() >= limits::STATEMENT_BYTES_MAX || count >= rows_max;
        if full || rows.peek().is_none() {
            sql.extend_from_slice(tail.as_bytes());
            let does = does(std::mem::take(&mut count) as u64);
            out.push(Statement::text(row.layout.plan.clone(), std::mem::take(&mut sql), does));
        }
    }
    Ok(())
}
