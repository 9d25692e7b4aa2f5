//! What a look shows of a key, and what becomes of it.
//!
//! Before this stand the rows that [`crate::lookup`] reads; after it [`crate::waiting`], which judges, and who counts and shows.

use shunt_engine::Result;
use shunt_engine::mysql::wire::TextCells;

use crate::hash::row_hash;
use crate::pair::{Pair, RowKey};

/// What became of a key.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Both sides have the same row.
    Equal,
    /// Neither side has it any more, or it is the other half of a pair that was counted.
    Gone,
    /// The sides differ.
    Differs(Box<Finding>),
    /// It changed all the time.
    Unsettled(RowKey),
}

/// A difference.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The key, as the source has it if the source has it.
    pub key: RowKey,
    /// The key as the target has it, if that differs: equal to the other one under the collation.
    pub target_key: Option<RowKey>,
    /// The source's row, its long cells cut.
    pub source: Option<Seen>,
    /// The target's row, its long cells cut.
    pub target: Option<Seen>,
}

/// A row as a look saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub(crate) hash: u128,
    pub(crate) key: RowKey,
    /// Its cells; each is cut a little behind what is shown of it, unless it is of the key.
    pub cells: Vec<Option<Vec<u8>>>,
}

impl Seen {
    /// A row by its packet, each cell cut a little behind `truncate_at` characters.
    pub(crate) fn of(pair: &Pair, row: &[u8], truncate_at: usize) -> Result<Self> {
        let key: RowKey = pair.key_of(row)?.into();
        let cells = cells_of(row, pair.key_cells, truncate_at)?;
        Ok(Self { hash: row_hash(row), key, cells })
    }

    /// Its key.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    /// Whether it is the same row, whole.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

/// The hash of a row, if there is one.
pub(crate) fn hash(seen: &Option<Seen>) -> Option<u128> {
    seen.as_ref().map(|seen| seen.hash)
}

/// A row's cells, each with a little more than is shown of it.
pub(crate) fn cells_of(
    row: &[u8],
    key_cells: usize,
    truncate_at: usize,
) -> Result<Vec<Option<Vec<u8>>>> {
    // A character has four bytes at most.
    let shown = truncate_at.saturating_mul(4).saturating_add(4);
    let cell = |(at, cell): (usize, Result<Option<&[u8]>>)| {
        let end = |cell: &[u8]| if at < key_cells { cell.len() } else { cell.len().min(shown) };
        Ok(cell?.map(|cell| cell[..end(cell)].to_vec()))
    };
    TextCells::new(row).enumerate().map(cell).collect()
}
