//! Row events: which rows changed, as slices of the event.
//!
//! The decoder makes a [`RowsEvent`] from the few bytes before the rows; rows are split only when [`RowsEvent::changes`]
//! is walked, and cells only by [`RowImage::cells`]. `value` gives a cell its meaning.
//!
//! Invariants: a row image was walked once, with every length checked, before it is given out. No cell is copied.

use std::sync::Arc;

use bytes::Bytes;

use super::cursor::{Cursor, cut_short, le_uint};
use super::table_map::{CellLen, TableMap};
use crate::error::{Error, Result};

/// One bit a column, the first column in the lowest bit of the first byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bitmap {
    /// Empty where all bits are set, as they are in almost every event.
    bytes: Bytes,
    len: usize,
    /// How many bits are set; every row image asks for it.
    set: usize,
}

impl Bitmap {
    /// Takes one of `len` bits.
    pub(super) fn read(cursor: &mut Cursor, len: usize) -> Result<Self> {
        let bytes_len = len.div_ceil(8);
        let bytes = cursor.peek(bytes_len)?;
        let set = (0..len).filter(|&at| bit(bytes, at)).count();
        let bytes = if set == len {
            cursor.skip(bytes_len)?;
            Bytes::new()
        } else {
            cursor.take(bytes_len)?
        };
        Ok(Self { bytes, len, set })
    }

    /// How many bits it has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bits at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the bit is set; false beyond the end.
    pub fn get(&self, at: usize) -> bool {
        at < self.len && (self.is_full() || bit(&self.bytes, at))
    }

    /// How many bits are set. What stands in the last byte beyond the end does not count.
    pub fn count(&self) -> usize {
        self.set
    }

    /// Whether all bits are set.
    pub fn is_full(&self) -> bool {
        self.set == self.len
    }
}

fn bit(bytes: &[u8], at: usize) -> bool {
    bytes[at / 8] >> (at % 8) & 1 == 1
}

/// What happened to the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RowsKind {
    /// They are new: only after images.
    Insert,
    /// They changed: both images.
    Update,
    /// They are gone: only before images.
    Delete,
}

/// Changed rows of one table.
#[derive(Clone, Debug)]
pub struct RowsEvent {
    /// The table.
    pub table: Arc<TableMap>,
    /// What happened.
    pub kind: RowsKind,
    /// Columns in before images; of no meaning for inserts.
    pub columns_before: Bitmap,
    /// Columns in after images; of no meaning for deletes.
    pub columns_after: Bitmap,
    /// The rows, not yet looked at.
    pub body: Bytes,
    /// Whether table numbers lose their meaning after this event.
    pub end_of_statement: bool,
}

impl RowsEvent {
    /// The changed rows, in order. After an error it ends.
    pub fn changes(&self) -> impl Iterator<Item = Result<RowChange>> + '_ {
        Changes { event: self, rest: &self.body }
    }
}

/// Whether every column of the table is in the images.
pub fn is_full(columns: &Bitmap) -> bool {
    columns.is_full()
}

/// One changed row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowChange {
    /// As it was; none for inserts.
    pub before: Option<RowImage>,
    /// As it is; none for deletes.
    pub after: Option<RowImage>,
}

/// One row: a bitmap of NULLs among the columns that are in it, then the cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowImage {
    /// The bytes, a slice of the event.
    pub bytes: Bytes,
}

impl RowImage {
    /// Walks the cells of the columns that are in the image: column index and bytes, none for NULL. `columns` is the
    /// bitmap of the event this image is from. Length prefixes are not part of the bytes.
    pub fn cells<'a>(&'a self, table: &'a TableMap, columns: &'a Bitmap) -> Cells<'a> {
        Cells::new(&self.bytes, table.lens(), columns)
    }
}

struct Changes<'a> {
    event: &'a RowsEvent,
    rest: &'a [u8],
}

impl Changes<'_> {
    fn next_image(&mut self, columns: &Bitmap) -> Result<RowImage> {
        let mut cells = Cells::new(self.rest, self.event.table.lens(), columns);
        for cell in cells.by_ref() {
            cell?;
        }
        let (image, rest) = self.rest.split_at(self.rest.len() - cells.rest.len());
        self.rest = rest;
        Ok(RowImage { bytes: self.event.body.slice_ref(image) })
    }

    fn next_change(&mut self) -> Result<RowChange> {
        let event = self.event;
        let before_len = self.rest.len();
        let before = match event.kind {
            RowsKind::Insert => None,
            _ => Some(self.next_image(&event.columns_before)?),
        };
        let after = match event.kind {
            RowsKind::Delete => None,
            _ => Some(self.next_image(&event.columns_after)?),
        };
        if self.rest.len() == before_len {
            // A row of no columns would go on for ever.
            return Err(Error::stop("a row has no columns"));
        }
        Ok(RowChange { before, after })
    }
}

impl Iterator for Changes<'_> {
    type Item = Result<RowChange>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let change = self.next_change().map_err(|error| {
            let table = &self.event.table;
            error.context(format!("rows of {}.{} in the binlog", table.database, table.table))
        });
        if change.is_err() {
            self.rest = &[];
        }
        Some(change)
    }
}

/// The cells of one row image, without allocation.
#[derive(Clone, Debug)]
pub struct Cells<'a> {
    nulls: &'a [u8],
    rest: &'a [u8],
    lens: &'a [CellLen],
    columns: &'a Bitmap,
    column: usize,
    present: usize,
    broken: bool,
}

impl<'a> Cells<'a> {
    fn new(bytes: &'a [u8], lens: &'a [CellLen], columns: &'a Bitmap) -> Self {
        let nulls_len = columns.count().div_ceil(8);
        let (split, broken) = match bytes.split_at_checked(nulls_len) {
            Some(split) if columns.len() == lens.len() => (split, false),
            _ => ((&[][..], bytes), true),
        };
        let (nulls, rest) = split;
        Self { nulls, rest, lens, columns, column: 0, present: 0, broken }
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (cell, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(cell)
    }

    fn take_cell(&mut self, len: CellLen) -> Option<&'a [u8]> {
        match len {
            CellLen::Fixed(len) => self.take(len),
            CellLen::Prefixed(prefix) => {
                let len = le_uint(self.take(prefix)?);
                self.take(usize::try_from(len).ok()?)
            }
        }
    }
}

impl<'a> Iterator for Cells<'a> {
    type Item = Result<(usize, Option<&'a [u8]>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.broken {
            self.broken = false;
            self.column = self.lens.len();
            return Some(Err(cut_short()));
        }
        while self.column < self.lens.len() && !self.columns.get(self.column) {
            self.column += 1;
        }
        let column = self.column;
        let len = *self.lens.get(column)?;
        self.column += 1;
        let is_null = bit(self.nulls, self.present);
        self.present += 1;
        if is_null {
            return Some(Ok((column, None)));
        }
        let Some(cell) = self.take_cell(len) else {
            self.column = self.lens.len();
            return Some(Err(cut_short()));
        };
        Some(Ok((column, Some(cell))))
    }
}

/// What stands before the rows in a row event.
pub(super) struct RowsHead {
    pub(super) table_id: u64,
    pub(super) flags: u16,
    pub(super) columns_before: Bitmap,
    pub(super) columns_after: Bitmap,
    pub(super) body: Bytes,
}

/// STMT_END_F: table numbers lose their meaning after the event.
pub(super) const FLAG_STATEMENT_END: u16 = 1;

impl RowsHead {
    /// Reads a row event behind its header, up to the rows. Version 2 has a block of extra data, which no server needs
    /// to understand (it carries NDB's and partition numbers).
    pub(super) fn parse(
        body: Bytes,
        id_len: usize,
        version2: bool,
        kind: RowsKind,
    ) -> Result<Self> {
        let mut cursor = Cursor::new(body);
        let table_id = cursor.uint(id_len)?;
        let flags = cursor.u16()?;
        if version2 {
            let extra = usize::from(cursor.u16()?);
            // The length counts itself.
            cursor.skip(extra.checked_sub(2).ok_or_else(cut_short)?)?;
        }
        let count = usize::try_from(cursor.lenenc()?).map_err(|_| cut_short())?;
        let columns_before = Bitmap::read(&mut cursor, count)?;
        let columns_after = match kind {
            RowsKind::Update => Bitmap::read(&mut cursor, count)?,
            _ => columns_before.clone(),
        };
        Ok(Self { table_id, flags, columns_before, columns_after, body: cursor.into_rest() })
    }
}
