//! Deleted rows whose integer keys follow one another without a gap: one range instead of a list, which the server deletes in
//! two thirds of the time. Purging old rows leaves such runs.
//!
//! Why the range holds no other row: every integer between its ends is the key of a row that the group deletes.
//!
//! The last key of a run is not in its range but in the list. To see that a range has ended the server looks at the row behind
//! it, and waits if somebody else holds it: the next group often deletes just that row, and waits for this one to commit. So only
//! rows that are there make runs, as far as that can be told: those that the group only deletes. (Where one is not there all the
//! same, it costs a wait, or a try: `touched`.)

use std::ops::Range;

use crate::changes::Row;
use crate::error::Result;
use crate::key::{KeyKind, KeyPlan};
use crate::mysql::sql;

/// Shorter runs are as well in a list; each range is a statement of its own.
const RUN_MIN: usize = 64;

/// What is to be deleted.
#[derive(Debug)]
pub(super) struct Deletes<'a> {
    /// First and last rows of the ranges.
    pub ranges: Vec<(&'a Row, &'a Row)>,
    /// All other rows.
    pub list: Vec<&'a Row>,
}

impl<'a> Deletes<'a> {
    /// Finds the runs among the rows that are `there`.
    ///
    /// # Errors
    /// Stop if an image cannot be read.
    pub(super) fn new(key: &KeyPlan, there: Vec<&'a Row>, others: Vec<&'a Row>) -> Result<Self> {
        let is_integer =
            matches!(key.columns.as_slice(), [column] if column.kind == KeyKind::Integer);
        let mut deletes = Self { list: others, ranges: Vec::new() };
        if !is_integer || there.len() < RUN_MIN {
            deletes.list.extend(there);
            return Ok(deletes);
        }
        let mut numbered = Vec::with_capacity(there.len());
        let mut text = Vec::new();
        for row in there {
            text.clear();
            row.layout.push_key(key, &row.image, &mut text)?;
            match std::str::from_utf8(&text).ok().and_then(|text| text.parse::<i128>().ok()) {
                Some(number) => numbered.push((number, row)),
                None => deletes.list.push(row),
            }
        }
        numbered.sort_unstable_by_key(|(number, _)| *number);
        for run in runs(&numbered) {
            match run.len() {
                length if length < RUN_MIN => {
                    deletes.list.extend(numbered[run].iter().map(|(_, row)| *row));
                }
                _ => {
                    let last = run.end - 1;
                    deletes.ranges.push((numbered[run.start].1, numbered[last - 1].1));
                    deletes.list.push(numbered[last].1);
                }
            }
        }
        Ok(deletes)
    }
}

/// The statement for one range.
///
/// # Errors
/// Stop if an image cannot be read.
pub(super) fn range_statement(key: &KeyPlan, (first, last): (&Row, &Row)) -> Result<Vec<u8>> {
    let column = sql::ident(&key.columns[0].name);
    let target = first.layout.plan.target();
    let mut sql = format!("DELETE FROM {target} WHERE {column} BETWEEN ").into_bytes();
    first.layout.push_key(key, &first.image, &mut sql)?;
    sql.extend_from_slice(b" AND ");
    last.layout.push_key(key, &last.image, &mut sql)?;
    Ok(sql)
}

/// Where each number is the one before it and one: all of them, cut at the gaps.
fn runs<T>(sorted: &[(i128, T)]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut start = 0;
    sorted.chunk_by(|(before, _), (after, _)| *after == before + 1).map(move |run| {
        let range = start..start + run.len();
        start = range.end;
        range
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_cut_at_every_gap() {
        let cut = |numbers: &[i128]| {
            let numbered: Vec<_> = numbers.iter().map(|number| (*number, ())).collect();
            runs(&numbered).map(|run| (run.start, run.end)).collect::<Vec<_>>()
        };
        assert!(cut(&[]).is_empty());
        assert_eq!(cut(&[7]), [(0, 1)]);
        assert_eq!(cut(&[-2, -1, 0, 1]), [(0, 4)]);
        assert_eq!(cut(&[1, 2, 4, 6, 7, 8]), [(0, 2), (2, 3), (3, 6)]);
        let top = i128::from(u64::MAX);
        assert_eq!(cut(&[i128::from(i64::MAX), top - 1, top]), [(0, 1), (1, 3)]);
    }
}
