//! Which rows a group touches, and when two groups may be applied at the same time.
//!
//! Groups commit in the order of the binlog, always. But the next group may *execute* beside the one before it, on a connection of
//! its own, if it touches other rows. Each moves the position from where the group before left it (`sidecar::stream::try_advance`):
//! the earlier one at its start, so it holds that row until it has committed; the later one waits there at its end, or writes it
//! before if it sees that the earlier has committed. One that comes before the earlier has written it finds another position than it
//! expects, is rolled back, and starts again when the earlier has committed; that this is rare, it waits at its end until the earlier one
//! has written it, but not for long. So it commits after it, always. Every transaction still holds rows and the position that covers
//! them, and the target is at a real position of the source at any moment.
//!
//! # Why it is right
//!
//! Take groups A and B, A before B, both of rows known by the bytes of their keys; there may be others between them, by which B
//! commits after A all the same.
//!
//! 1. *The same row in both*: B would write it first, or would delete a row that A has not inserted yet, which locks nothing. So B
//!    is not begun beside A if their keys meet ([`Touched::meets`]). Keys whose order only the server knows are told apart by the
//!    server, not by their bytes ('a' and 'A' may be one row); groups that hold such tables run alone.
//! 2. *Another row by a unique value*: B sets row 3 to the value 'v' that row 4 has until A changes it. If A came first it holds
//!    row 4, and B waits for it. If B came first, its REPLACE removes row 4 and holds it; A then waits for B, and B for the position,
//!    which A holds: the server sees the circle and ends one of them. Whichever it is starts again: if it is B, A finds no lock left;
//!    if it is A, B does not find the position that it is to move, and is rolled back too. (If A began before its own predecessor
//!    had committed it may hold no position yet; then B waits for A in vain, which waits for B, until B has waited long enough, tries,
//!    and does not find the one that it is to move, as well.) So where both commit,
//!    whatever they share was A's first: each transaction keeps its locks to its end, and B ends after A. This needs a server that
//!    locks what it looks at for a unique value, as it does in B-trees; tables with hashed unique keys are refused.
//!    The same goes for a range of deleted keys that looks at the row behind it ([`runs`](super::runs)).
//! 3. *A fails, or its process dies*: the position stays where it was, B's statement finds another one than it expects, and B is
//!    rolled back.
//!
//! What has no such order runs alone: an emptied table, tables without a key, parts of large transactions, DDL, and all
//! groups until the copy is done and every key is built.

use std::collections::HashSet;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::key::Identity;
use crate::runtime::seeded::Seeded;

/// The rows of a group, by the hashes of their keys: two that only seem to meet are applied one after the other.
#[derive(Debug, Default)]
pub struct Touched(HashSet<u64, Seeded>);

impl Touched {
    /// Of none so far, with room for so many.
    pub fn of_about(rows: usize) -> Self {
        Self(HashSet::with_capacity_and_hasher(rows, Seeded::default()))
    }

    /// Adds a row of a table.
    pub fn add(&mut self, table: usize, row: &Identity) {
        let table = u64::try_from(table).unwrap_or(u64::MAX);
        self.0.insert(xxh3_64_with_seed(&row.0, table));
    }

    /// Whether a row may be in both.
    pub fn meets(&self, other: &Self) -> bool {
        let (fewer, more) =
            if self.0.len() < other.0.len() { (self, other) } else { (other, self) };
        fewer.0.iter().any(|row| more.0.contains(row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touched(rows: &[(usize, &[u8])]) -> Touched {
        let mut touched = Touched::default();
        for (table, row) in rows {
            touched.add(*table, &Identity((*row).into()));
        }
        touched
    }

    #[test]
    fn groups_meet_in_a_row_of_one_table() {
        let held = touched(&[(0, b"1"), (0, b"2"), (1, b"3")]);
        assert!(held.meets(&touched(&[(0, b"9"), (0, b"2")])));
        assert!(!held.meets(&touched(&[(0, b"3"), (1, b"2"), (2, b"1"), (0, b"")])));
        assert!(!held.meets(&Touched::default()));
    }
}
