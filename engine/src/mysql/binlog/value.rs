//! What a cell means, and its SQL literal.

use super::table_map::ColumnType;
use crate::error::{Error, Result};

/// Up to 72 bytes of text without heap: decimals and temporal values as the server prints them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SmallText {
    bytes: [u8; Self::CAPACITY],
    len: u8,
}

impl SmallText {
    const CAPACITY: usize = 72;

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// A cell's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// NULL.
    Null,
    /// A signed integer.
    Int(i64),
    /// An unsigned integer, or a YEAR.
    UInt(u64),
    /// FLOAT.
    Float(f32),
    /// DOUBLE.
    Double(f64),
    /// A decimal or temporal value as the server prints it; TIMESTAMP in UTC.
    Text(SmallText),
    /// Character and binary strings, in the column's character set.
    Bytes(&'a [u8]),
    /// JSON in MySQL's binary form, not decoded.
    Json(&'a [u8]),
    /// BIT, the most significant byte first.
    Bit(&'a [u8]),
    /// The number of an ENUM's member; 0 is the error value.
    Enum(u64),
    /// A SET's members as bits.
    Set(u64),
}

/// Gives a cell its meaning. Whether an integer is unsigned is known only to the schema.
pub fn decode<'a>(column: &ColumnType, unsigned: bool, cell: &'a [u8]) -> Result<Value<'a>> {
    let _ = (unsigned, cell);
    Err(Error::stop(format!("column type {} is not known", column.kind)))
}

/// Appends the value as an SQL literal, for sessions with `SET NAMES binary`.
pub fn push_literal(value: &Value<'_>, out: &mut Vec<u8>) {
    let _ = (value, out);
}

/// Bytes of a DECIMAL cell, if precision and scale are possible.
pub(super) fn decimal_len(meta: u16) -> Option<usize> {
    let [precision, scale] = meta.to_be_bytes();
    if precision == 0 || precision > 65 || scale > precision || scale > 30 {
        return None;
    }
    let digits_len =
        |digits: u8| usize::from(digits / 9) * 4 + usize::from((digits % 9).div_ceil(2));
    Some(digits_len(precision - scale) + digits_len(scale))
}
