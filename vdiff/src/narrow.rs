//! A range whose folds differ, by rows: which keys differ.
//!
//! Pure but for reading: rows of one side become [`Rows`] (key and hash of each), and two of them are compared without
//! regard to order, since two servers may order strings differently. What is held of a range is bounded by its keys' bytes; one with more is cut
//! ([`crate::lane`]).

use std::collections::HashMap;

use shunt_engine::error::ResultExt;
use shunt_engine::mysql::wire::Wire;
use shunt_engine::{Error, Result};

use crate::hash::row_hash;
use crate::limits;
use crate::pair::{Pair, Range, RowKey, Side};
use crate::sides::Sides;

/// The rows of one side: keys in one piece of memory, hashes beside them.
#[derive(Debug, Default)]
pub struct Rows {
    keys: Vec<u8>,
    entries: Vec<(usize, u128)>,
    /// How many there were when there were too many to be held.
    full: Option<u64>,
}

impl Rows {
    /// Adds a row by its key and hash.
    pub fn push(&mut self, key: &[u8], hash: u128) {
        self.keys.extend_from_slice(key);
        self.entries.push((self.keys.len(), hash));
    }

    /// Adds a row, or lets go of all when their keys are more bytes than are held.
    fn hold(&mut self, key: &[u8], hash: u128) {
        if self.full.is_some() {
            return;
        }
        self.push(key, hash);
        if self.keys.len() > limits::NARROW_BYTES_MAX {
            let full = u64::try_from(self.len()).unwrap_or(u64::MAX);
            *self = Self { full: Some(full), ..Self::default() };
        }
    }

    /// How many rows were read when there were too many to be held; none if all are.
    pub fn full(&self) -> Option<u64> {
        self.full
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], u128)> {
        let mut start = 0;
        self.entries.iter().map(move |&(end, hash)| {
            let key = &self.keys[start..end];
            start = end;
            (key, hash)
        })
    }
}

/// A key that differs or that one side has alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Different {
    /// The key.
    pub key: RowKey,
    /// Whether the source, and whether the target has it.
    pub shown: [bool; 2],
}

/// What two sets of rows have in common and what not.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Keys that both have with the same row.
    pub equal: u64,
    /// The others.
    pub keys: Vec<Different>,
}

/// Compares two sides; none if the source has a key twice, as a conversion may make it (see [`crate::keys`]).
pub fn compare(source: &Rows, target: &Rows) -> Option<Differences> {
    let mut held: HashMap<&[u8], u128> = HashMap::with_capacity(source.len());
    for (key, hash) in source.iter() {
        if held.insert(key, hash).is_some() {
            return None;
        }
    }
    let mut differences = Differences::default();
    for (key, hash) in target.iter() {
        match held.remove(key) {
            Some(other) if other == hash => differences.equal += 1,
            other => {
                let shown = [other.is_some(), true];
                differences.keys.push(Different { key: key.into(), shown });
            }
        }
    }
    let alone = |key: &[u8]| Different { key: key.into(), shown: [true, false] };
    differences.keys.extend(held.into_keys().map(alone));
    differences.keys.sort_unstable();
    Some(differences)
}

/// How often each row comes more (or, if negative, less) often on the source than on the target.
pub fn compare_counts(mut source: Vec<u128>, mut target: Vec<u128>) -> (u64, HashMap<u128, i64>) {
    source.sort_unstable();
    target.sort_unstable();
    let (mut s, mut t) = (source.into_iter().peekable(), target.into_iter().peekable());
    let (mut equal, mut counts) = (0, HashMap::new());
    loop {
        match (s.peek().copied(), t.peek().copied()) {
            (None, None) => return (equal, counts),
            (Some(a), Some(b)) if a == b => {
                equal += 1;
                s.next();
                t.next();
            }
            (Some(a), b) if b.is_none_or(|b| a < b) => {
                *counts.entry(a).or_insert(0) += 1;
                s.next();
            }
            (_, Some(b)) => {
                *counts.entry(b).or_insert(0) -= 1;
                t.next();
            }
            (Some(_), None) => unreachable!("covered above"),
        }
    }
}

/// Reads a range on both sides at once, in their open snapshots.
///
/// # Errors
/// Of the servers.
pub async fn read(sides: &mut Sides, pair: &Pair, range: &Range) -> Result<[Rows; 2]> {
    let query = |side| pair.rows_query(side, range);
    let (source, target) = (query(Side::Source), query(Side::Target));
    let (source, target) = tokio::join!(
        read_side(&mut sides.source, source, pair),
        read_side(&mut sides.target, target, pair)
    );
    Ok([source.context("read the source's rows")?, target.context("read the target's rows")?])
}

async fn read_side(wire: &mut Wire, query: Vec<u8>, pair: &Pair) -> Result<Rows> {
    let mut rows = Rows::default();
    wire.start_rows(query).await?;
    while let Some(row) = wire.next_row().await? {
        rows.hold(pair.key_of(row)?, row_hash(row));
    }
    Ok(rows)
}

/// The hashes of all rows of a table without a key.
///
/// # Errors
/// Of the server, or Stop if there are too many rows to be held.
pub async fn read_hashes(
    wire: &mut Wire,
    pair: &Pair,
    side: Side,
    rows_max: usize,
) -> Result<Vec<u128>> {
    let whole = Range { lower: None, upper: None };
    wire.start_rows(pair.rows_query(side, &whole)).await?;
    let mut hashes = Vec::new();
    while let Some(row) = wire.next_row().await? {
        if hashes.len() >= rows_max {
            return Err(Error::stop(format!(
                "table {} has no key and more than {rows_max} rows, and differs: it is too large to find out in which rows",
                shunt_engine::mysql::sql::ident(&pair.name)
            ))
            .advice("Give it a primary key."));
        }
        hashes.push(row_hash(row));
    }
    Ok(hashes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(entries: &[(&str, u128)]) -> Rows {
        let mut rows = Rows::default();
        entries.iter().for_each(|(key, hash)| rows.push(key.as_bytes(), *hash));
        rows
    }

    #[test]
    fn keys_that_differ_or_stand_alone_are_found_in_any_order() {
        let source = rows(&[("a", 1), ("b", 2), ("c", 3), ("e", 5)]);
        let target = rows(&[("d", 4), ("c", 9), ("a", 1), ("e", 5)]);
        let found = compare(&source, &target).unwrap();
        assert_eq!(found.equal, 2);
        let shown = |key: &str, shown| Different { key: key.as_bytes().into(), shown };
        let expected =
            [shown("b", [true, false]), shown("c", [true, true]), shown("d", [false, true])];
        assert_eq!(found.keys, expected);
        assert_eq!(compare(&rows(&[]), &rows(&[])), Some(Differences::default()));
        assert_eq!(compare(&rows(&[("a", 1), ("a", 1)]), &rows(&[("a", 1)])), None);
    }

    #[test]
    fn what_is_held_is_bounded_by_bytes() {
        let (mut rows, key) = (Rows::default(), [7; 1000]);
        for _ in 0..limits::NARROW_BYTES_MAX / 1000 {
            rows.hold(&key, 1);
        }
        assert_eq!(rows.full(), None);
        let held = u64::try_from(rows.len()).unwrap();
        rows.hold(&key, 1);
        rows.hold(&key, 1);
        assert_eq!((rows.full(), rows.len(), rows.keys.capacity()), (Some(held + 1), 0, 0));
    }

    #[test]
    fn rows_without_a_key_are_counted() {
        let (equal, counts) = compare_counts(vec![1, 1, 1, 2, 5], vec![3, 1, 2, 2]);
        assert_eq!(equal, 2);
        assert_eq!(counts, HashMap::from([(1, 2), (2, -1), (3, -1), (5, 1)]));
        assert_eq!(compare_counts(vec![7, 8], vec![8, 7]), (2, HashMap::new()));
    }
}
