//! Updated rows whose integer keys follow one another: one UPDATE that sets the columns which differ, instead of whole rows.
//!
//! What the server saves: a REPLACE first tries to insert each row, reads and compares all of it, and takes the text of all its columns; the
//! UPDATE goes along the rows and changes them where they are. A backfill (`UPDATE … SET status = …` in batches) leaves such runs.
//!
//! ```sql
//! UPDATE t SET k = ELT(id - 999, 501, 502, …), state = 'done', seen = seen WHERE id BETWEEN 1000 AND 1999
//! ```
//!
//! # Why it is right
//!
//! A column that the group does not change has on the target the value that it has in the image, if the target is what the source was when
//! the group begins. So this is done only then ([`Writing::in_place`](super::group::Writing::in_place)): nothing is copied any more, the
//! target is not ahead of its position, and has all its keys. The range holds the rows of the group only, since every integer between its ends is
//! the key of one of them. Values are told by their rows' place in the range, so no value gets into another row.
//!
//! Two things may make it untrue for a row. Somebody has taken it off the target: that is noticed, since an UPDATE says how many rows it
//! found. Or a VDiff has repaired it, so that it is newer than the position: the events that follow bring every column that has changed
//! since to what it became, but on the way a row may violate a CHECK. In both cases, and where a unique key that only the target has is in
//! the way, all rows of the statement are written whole ([`Statement::run`]).
//!
//! Triggers for UPDATE on the table that is written would change what is written (those for INSERT do so to rows that are written whole):
//! rows of such tables are always written whole (`stream::setup`). Those of a fence let the stream pass and change nothing.
//!
//! The last row of a run is written whole, for the reason that [`runs`] has.

use super::notes;
use super::runs;
use super::statement::Statement;
use crate::changes::Row;
use crate::error::{Error, Result};
use crate::key::KeyPlan;
use crate::limits;
use crate::mysql::binlog::value;
use crate::mysql::sql;
use crate::plan::columns::ColumnSet;
use crate::plan::in_place::InPlace;

/// A row, and which of its columns the group changes.
pub(super) type Updated<'a> = (&'a Row, ColumnSet);
/// One with its key.
type Numbered<'a> = (i128, Updated<'a>);

/// Appends the statements for those of `rows` that can be updated in place, and returns the others.
///
/// # Errors
/// Stop if an image cannot be read.
pub(super) fn push<'a>(rows: Vec<Updated<'a>>, out: &mut Vec<Statement>) -> Result<Vec<&'a Row>> {
    let plan = rows.first().map(|(row, _)| row.layout.plan.clone());
    let Some((plan, key)) = plan.as_ref().and_then(|plan| Some((plan, plan.key.as_ref()?))) else {
        return Ok(Vec::new());
    };
    let Some(in_place) = &plan.in_place else {
        return Ok(rows.into_iter().map(|(row, _)| row).collect());
    };
    let found = runs::find(rows, |(row, _)| row)?;
    let mut whole: Vec<&Row> = found.others.into_iter().map(|(row, _)| row).collect();
    for mut run in found.runs {
        whole.extend(run.pop().map(|(_, (row, _))| row));
        for piece in pieces(&run, notes::rows_max(&plan.source)) {
            match update(in_place, key, piece)? {
                Some(sql) => {
                    let rows = piece.iter().map(|(_, (row, _))| (*row).clone()).collect();
                    out.push(Statement::in_place(plan.clone(), sql, rows));
                }
                None => whole.extend(piece.iter().map(|(_, (row, _))| *row)),
            }
        }
    }
    Ok(whole)
}

/// Cuts a run into statements of bounded size.
fn pieces<'r, 'a>(
    run: &'r [Numbered<'a>],
    rows_max: usize,
) -> impl Iterator<Item = &'r [Numbered<'a>]> {
    let (mut rows, mut bytes) = (1, 0);
    run.chunk_by(move |(_, (before, _)), _| {
        rows += 1;
        // What cannot be told is an error where the row is read.
        bytes += before.layout.bytes(&before.image).unwrap_or(usize::MAX / 2);
        let fits = rows <= rows_max && bytes < limits::BLOCK_BYTES;
        if !fits {
            (rows, bytes) = (1, 0);
        }
        fits
    })
}

/// The statement for a piece of a run; none if its rows are as well written whole.
fn update(in_place: &InPlace, key: &KeyPlan, piece: &[Numbered<'_>]) -> Result<Option<Vec<u8>>> {
    let [(first, (first_row, _)), .., (_, (last_row, _))] = piece else { return Ok(None) };
    if piece.len() < runs::RUN_MIN {
        return Ok(None);
    }
    let changed = piece.iter().fold(ColumnSet::default(), |all, (_, (_, set))| all.union(*set));
    let mut columns: Vec<Values> = changed.iter().map(Values::new).collect();
    for (_, (row, _)) in piece {
        push_values(row, &mut columns)?;
    }
    if columns.iter().any(|column| !column.same && !in_place.listable.contains(column.ordinal)) {
        return Ok(None);
    }
    let plan = &first_row.layout.plan;
    let name = |ordinal: usize| sql::ident(&plan.source.columns[ordinal].name);
    let id = sql::ident(&key.columns[0].name);
    let place = match first - 1 {
        before @ 0.. => format!("{id}-{before}"),
        before => format!("{id}+{}", -before),
    };
    let mut out = format!("UPDATE {} SET ", plan.target()).into_bytes();
    for column in &columns {
        let name = name(column.ordinal);
        if column.same {
            out.extend_from_slice(format!("{name}=").as_bytes());
            out.extend_from_slice(&column.list[..column.first]);
        } else {
            out.extend_from_slice(format!("{name}=ELT({place},").as_bytes());
            out.extend_from_slice(&column.list);
            out.push(b')');
        }
        out.push(b',');
    }
    for clock in in_place.clocks.iter().filter(|clock| !changed.contains(*clock)) {
        let name = name(clock);
        out.extend_from_slice(format!("{name}={name},").as_bytes());
    }
    out.pop();
    out.extend_from_slice(format!(" WHERE {id} BETWEEN ").as_bytes());
    first_row.layout.push_key(key, &first_row.image, &mut out)?;
    out.extend_from_slice(b" AND ");
    last_row.layout.push_key(key, &last_row.image, &mut out)?;
    // Many NULLs take more as text than in an image.
    Ok((out.len() <= limits::STATEMENT_BYTES_MAX).then_some(out))
}

/// The values of one column, of one row after the other.
struct Values {
    ordinal: usize,
    /// The literals, with commas.
    list: Vec<u8>,
    /// The length of the first.
    first: usize,
    /// Whether all are like the first.
    same: bool,
}

impl Values {
    fn new(ordinal: usize) -> Self {
        Self { ordinal, list: Vec::new(), first: 0, same: true }
    }

    fn push(&mut self, value: &value::Value<'_>) -> Result<()> {
        if self.list.is_empty() {
            value::push_literal(value, &mut self.list)?;
            self.first = self.list.len();
            return Ok(());
        }
        self.list.push(b',');
        let start = self.list.len();
        value::push_literal(value, &mut self.list)?;
        self.same = self.same && self.list[start..] == self.list[..self.first];
        Ok(())
    }
}

/// Adds a row's values to those of the columns.
fn push_values(row: &Row, columns: &mut [Values]) -> Result<()> {
    let mut values = row.layout.carried_values(&row.image);
    for column in columns {
        let value = values.by_ref().find(|value| match value {
            Ok((ordinal, _)) => *ordinal == column.ordinal,
            Err(_) => true,
        });
        let (_, value) = value.ok_or_else(|| Error::stop("a row image lacks a column"))??;
        column.push(&value)?;
    }
    Ok(())
}
