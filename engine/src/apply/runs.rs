//! Rows whose integer keys follow one another without a gap: one range instead of a list. Deleted rows are so deleted in two thirds
//! of the time; purging old rows leaves such runs. Updated rows: [`in_place`](super::in_place).
//!
//! Why a range holds no other row: every integer between its ends is the key of a row that the group deletes, or updates.
//!
//! The last key of a run is not in its range but in the list. To see that a range has ended the server looks at the row behind
//! it, and waits if somebody else holds it: the next group often deletes just that row, and waits for this one to commit. So only
//! rows that are there make runs, as far as that can be told: those that the group only deletes, or updates. (Where one is not there all
//! the same, it costs a wait, or a try: `touched`.)

use std::ops::Range;

use crate::changes::Row;
use crate::error::Result;
use crate::key::KeyPlan;
use crate::mysql::sql;

/// Shorter runs are as well in a list; each range is a statement of its own.
pub(super) const RUN_MIN: usize = 64;

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
    pub(super) fn new(there: Vec<&'a Row>, others: Vec<&'a Row>) -> Result<Self> {
        let found = find(there, |row| row)?;
        let mut deletes = Self { list: others, ranges: Vec::new() };
        deletes.list.extend(found.others);
        for mut run in found.runs {
            deletes.list.extend(run.pop().map(|(_, last)| last));
            if let [(_, first), .., (_, last)] = run.as_slice() {
                deletes.ranges.push((first, last));
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

/// Rows in runs, and those that are in none.
#[derive(Debug)]
pub(super) struct Found<T> {
    /// Each in the order of its keys, which are those numbers.
    pub runs: Vec<Vec<(i128, T)>>,
    /// All others.
    pub others: Vec<T>,
}

/// Finds runs of at least [`RUN_MIN`] rows.
///
/// # Errors
/// Stop if an image cannot be read.
pub(super) fn find<T: Copy>(rows: Vec<T>, row_of: impl Fn(&T) -> &Row) -> Result<Found<T>> {
    let mut found = Found { runs: Vec::new(), others: Vec::new() };
    if rows.len() < RUN_MIN {
        found.others = rows;
        return Ok(found);
    }
    let mut numbered = Vec::with_capacity(rows.len());
    for item in rows {
        let row = row_of(&item);
        match row.layout.number(&row.image)? {
            Some(number) => numbered.push((number, item)),
            None => found.others.push(item),
        }
    }
    numbered.sort_unstable_by_key(|(number, _)| *number);
    for run in runs(&numbered) {
        if run.len() < RUN_MIN {
            found.others.extend(numbered[run].iter().map(|(_, item)| *item));
        } else {
            found.runs.push(numbered[run].to_vec());
        }
    }
    Ok(found)
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
