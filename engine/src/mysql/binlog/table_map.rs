//! A table map: the columns of a table as row events store them.
//!
//! The decoder keeps them by number; row events hold theirs. Names, signs and character sets of columns are not in here:
//! they come from the schema that was valid at the position. How long a cell is, is decided here once per column, so that
//! walking rows is a table look-up.

use bytes::Bytes;

use super::cursor::{Cursor, cut_short, utf8};
use super::rows::Bitmap;
use crate::error::{Error, Result};

/// A column as the binlog describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ColumnType {
    /// The type's number. ENUM, SET and CHAR, which all come as STRING, are resolved.
    pub kind: u8,
    /// Its metadata; lengths, digits and the like, meaning depends on the type.
    pub meta: u16,
}

impl ColumnType {
    /// Whether its cells are compressed, each by itself (MariaDB).
    pub fn is_compressed(&self) -> bool {
        matches!(self.kind, kind::BLOB_COMPRESSED | kind::VARCHAR_COMPRESSED)
    }

    /// Most bytes that a value of such a column has. A VARCHAR's metadata has one for the header more than it was declared with; a
    /// BLOB's says how many bytes its lengths have.
    pub(super) fn unpacked_max(&self) -> u64 {
        match self.kind {
            kind::VARCHAR_COMPRESSED => u64::from(self.meta.saturating_sub(1)),
            _ => (1 << (8 * self.meta.min(4))) - 1,
        }
    }
}

/// The type numbers of the protocol and of the binlog.
#[allow(missing_docs)]
pub mod kind {
    pub const TINY: u8 = 1;
    pub const SHORT: u8 = 2;
    pub const LONG: u8 = 3;
    pub const FLOAT: u8 = 4;
    pub const DOUBLE: u8 = 5;
    pub const NULL: u8 = 6;
    pub const TIMESTAMP: u8 = 7;
    pub const LONGLONG: u8 = 8;
    pub const INT24: u8 = 9;
    pub const DATE: u8 = 10;
    pub const TIME: u8 = 11;
    pub const DATETIME: u8 = 12;
    pub const YEAR: u8 = 13;
    pub const NEWDATE: u8 = 14;
    pub const VARCHAR: u8 = 15;
    pub const BIT: u8 = 16;
    pub const TIMESTAMP2: u8 = 17;
    pub const DATETIME2: u8 = 18;
    pub const TIME2: u8 = 19;
    pub const BLOB_COMPRESSED: u8 = 140;
    pub const VARCHAR_COMPRESSED: u8 = 141;
    pub const VECTOR: u8 = 242;
    pub const JSON: u8 = 245;
    pub const NEWDECIMAL: u8 = 246;
    pub const ENUM: u8 = 247;
    pub const SET: u8 = 248;
    pub const TINY_BLOB: u8 = 249;
    pub const MEDIUM_BLOB: u8 = 250;
    pub const LONG_BLOB: u8 = 251;
    pub const BLOB: u8 = 252;
    pub const STRING: u8 = 254;
    pub const GEOMETRY: u8 = 255;
}

/// How the length of a cell is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CellLen {
    /// Always so many bytes.
    Fixed(usize),
    /// A length of so many bytes stands before the value.
    Prefixed(usize),
}

/// A table as the next row events mean it.
#[derive(Clone, Debug)]
pub struct TableMap {
    /// The number row events call it by; good until the end of the statement.
    pub id: u64,
    /// Its database.
    pub database: String,
    /// Its name.
    pub table: String,
    /// Its columns, in order.
    pub columns: Vec<ColumnType>,
    /// Which columns may be NULL.
    pub nullable: Bitmap,
    lens: Vec<CellLen>,
    /// What it was read from.
    event: Bytes,
}

impl TableMap {
    /// Reads a TABLE_MAP event behind its header. `id_len` is 6, or 4 in logs of ancient servers. Of the event a copy is kept: it may be a
    /// piece of a much larger one.
    pub(super) fn parse(body: &[u8], id_len: usize) -> Result<Self> {
        let event = Bytes::copy_from_slice(body);
        let mut cursor = Cursor::new(event.clone());
        let id = cursor.uint(id_len)?;
        cursor.skip(2)?;
        let database = utf8(&cursor.short_name()?, "a database name")?;
        let table = utf8(&cursor.short_name()?, "a table name")?;
        let count = usize::try_from(cursor.lenenc()?).map_err(|_| cut_short())?;
        let kinds = cursor.take(count)?;
        let mut metas = Cursor::new(cursor.lenenc_bytes()?);
        let mut columns = Vec::with_capacity(count);
        for &stored in &kinds {
            columns.push(column_type(stored, &mut metas)?);
        }
        if !metas.is_empty() {
            return Err(Error::stop("column metadata is left over"));
        }
        let nullable = Bitmap::read(&mut cursor, count)?;
        // What follows is optional metadata (names, signs, ...), which the schema tells better.
        let lens = columns
            .iter()
            .enumerate()
            .map(|(at, column)| {
                cell_len(*column).map_err(|error| error.context(format!("column {}", at + 1)))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { id, database, table, columns, nullable, lens, event })
    }

    /// Whether it was read from an event like this one, and so says the same.
    pub(super) fn is_of(&self, body: &[u8]) -> bool {
        self.event == body
    }

    /// How each cell's length is found, by column.
    pub(super) fn lens(&self) -> &[CellLen] {
        &self.lens
    }
}

/// Reads one column's metadata.
fn column_type(stored: u8, metas: &mut Cursor) -> Result<ColumnType> {
    let meta = match stored {
        kind::FLOAT
        | kind::DOUBLE
        | kind::TINY_BLOB
        | kind::BLOB
        | kind::MEDIUM_BLOB
        | kind::LONG_BLOB
        | kind::BLOB_COMPRESSED
        | kind::GEOMETRY
        | kind::JSON
        | kind::VECTOR
        | kind::TIME2
        | kind::DATETIME2
        | kind::TIMESTAMP2 => u16::from(metas.u8()?),
        kind::VARCHAR | kind::VARCHAR_COMPRESSED | kind::BIT => metas.u16()?,
        // Two bytes of which the first is the more significant: precision and scale, or real type and length.
        kind::NEWDECIMAL | kind::STRING | kind::ENUM | kind::SET => {
            let bytes = metas.take(2)?;
            u16::from_be_bytes([bytes[0], bytes[1]])
        }
        _ => 0,
    };
    match stored {
        kind::STRING | kind::ENUM | kind::SET => real_type(meta),
        _ => Ok(ColumnType { kind: stored, meta }),
    }
}

/// STRING stands for CHAR, ENUM and SET. Its metadata holds the real type and the length; lengths over 255 hide two of
/// their bits, inverted, in the type's byte.
fn real_type(meta: u16) -> Result<ColumnType> {
    let [real, len] = meta.to_be_bytes();
    if real == kind::ENUM || real == kind::SET {
        return Ok(ColumnType { kind: real, meta: u16::from(len) });
    }
    if real | 0x30 != kind::STRING {
        return Err(Error::stop(format!("column type {real} in a string's metadata is not known")));
    }
    let high = u16::from((real & 0x30) ^ 0x30) << 4;
    Ok(ColumnType { kind: kind::STRING, meta: high | u16::from(len) })
}

fn cell_len(column: ColumnType) -> Result<CellLen> {
    let meta = usize::from(column.meta);
    let unfit = || {
        Error::stop(format!("metadata {} does not fit column type {}", column.meta, column.kind))
    };
    Ok(match column.kind {
        kind::TINY | kind::YEAR => CellLen::Fixed(1),
        kind::SHORT => CellLen::Fixed(2),
        kind::INT24 | kind::DATE | kind::NEWDATE | kind::TIME => CellLen::Fixed(3),
        kind::LONG | kind::TIMESTAMP => CellLen::Fixed(4),
        kind::LONGLONG | kind::DATETIME => CellLen::Fixed(8),
        kind::FLOAT if meta == 4 => CellLen::Fixed(4),
        kind::DOUBLE if meta == 8 => CellLen::Fixed(8),
        kind::NULL => CellLen::Fixed(0),
        kind::TIMESTAMP2 if meta <= 6 => CellLen::Fixed(4 + meta.div_ceil(2)),
        kind::DATETIME2 if meta <= 6 => CellLen::Fixed(5 + meta.div_ceil(2)),
        kind::TIME2 if meta <= 6 => CellLen::Fixed(3 + meta.div_ceil(2)),
        kind::NEWDECIMAL => {
            CellLen::Fixed(super::value::decimal_len(column.meta).ok_or_else(unfit)?)
        }
        kind::BIT => {
            let [bytes, bits] = column.meta.to_be_bytes();
            if bits > 7 || bytes > 8 || (bytes == 8 && bits > 0) {
                return Err(unfit());
            }
            CellLen::Fixed(usize::from(bytes) + usize::from(bits > 0))
        }
        kind::ENUM if (1..=2).contains(&meta) => CellLen::Fixed(meta),
        kind::SET if (1..=8).contains(&meta) => CellLen::Fixed(meta),
        kind::VARCHAR | kind::VARCHAR_COMPRESSED | kind::STRING => {
            CellLen::Prefixed(if meta > 255 { 2 } else { 1 })
        }
        kind::TINY_BLOB
        | kind::BLOB
        | kind::MEDIUM_BLOB
        | kind::LONG_BLOB
        | kind::BLOB_COMPRESSED
        | kind::GEOMETRY
        | kind::JSON
        | kind::VECTOR
            if (1..=4).contains(&meta) =>
        {
            CellLen::Prefixed(meta)
        }
        kind::FLOAT
        | kind::DOUBLE
        | kind::TIMESTAMP2
        | kind::DATETIME2
        | kind::TIME2
        | kind::ENUM
        | kind::SET
        | kind::TINY_BLOB
        | kind::BLOB
        | kind::MEDIUM_BLOB
        | kind::LONG_BLOB
        | kind::BLOB_COMPRESSED
        | kind::GEOMETRY
        | kind::JSON
        | kind::VECTOR => {
            return Err(unfit());
        }
        other => {
            return Err(Error::stop(format!("column type {other} is not known")));
        }
    })
}
