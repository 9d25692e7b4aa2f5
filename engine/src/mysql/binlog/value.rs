//! What a cell means, and its SQL literal.
//!
//! After `rows` has cut the cells; before whoever builds statements. [`decode`] needs from the schema only whether an
//! integer is unsigned. Text is as the server itself prints the value; nothing is rounded or padded, but note that the
//! log leaves out spaces at the end of CHAR and zeros at the end of BINARY. MariaDB's UUID, INET4 and INET6 come as such strings
//! too, and only the schema tells them apart: [`decode_native`].
//!
//! Invariants: decoding allocates nothing but for what it unpacks, and that is bounded by the column. A type that is not known is an error
//! that names its number.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io::Write as _;

use super::compress;
use super::cursor::{be_uint, le_uint};
use super::table_map::{ColumnType, kind};
use super::temporal;
use crate::error::{Error, Result};
use crate::mysql::sql;

/// Short ASCII text without heap: decimals and temporal values as the server prints them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SmallText {
    bytes: [u8; Self::CAPACITY],
    len: u8,
}

impl SmallText {
    /// The longest is a DECIMAL of 65 digits with sign, point and a zero before it.
    const CAPACITY: usize = 72;

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("only ASCII is written into it")
    }
}

impl Default for SmallText {
    fn default() -> Self {
        Self { bytes: [0; Self::CAPACITY], len: 0 }
    }
}

impl fmt::Debug for SmallText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Write for SmallText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let start = usize::from(self.len);
        let end = start + text.len();
        self.bytes.get_mut(start..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = u8::try_from(end).map_err(|_| fmt::Error)?;
        Ok(())
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
    /// Character and binary strings, in the column's character set; unpacked, if the column is COMPRESSED.
    Bytes(Cow<'a, [u8]>),
    /// A UUID or an address of MariaDB, as its server takes it as a binary string.
    Native(NativeBytes),
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
    let meta = column.meta;
    Ok(match column.kind {
        kind::TINY => integer::<1>(unsigned, cell)?,
        kind::SHORT => integer::<2>(unsigned, cell)?,
        kind::INT24 => integer::<3>(unsigned, cell)?,
        kind::LONG => integer::<4>(unsigned, cell)?,
        kind::LONGLONG => integer::<8>(unsigned, cell)?,
        kind::FLOAT => Value::Float(f32::from_le_bytes(sized(cell)?)),
        kind::DOUBLE => Value::Double(f64::from_le_bytes(sized(cell)?)),
        kind::NULL => Value::Null,
        kind::NEWDECIMAL => Value::Text(decimal(meta, cell)?),
        kind::YEAR => Value::UInt(match sized::<1>(cell)? {
            [0] => 0,
            [years] => 1900 + u64::from(years),
        }),
        kind::DATE | kind::NEWDATE => Value::Text(temporal::date(&sized::<3>(cell)?)?),
        kind::TIME => Value::Text(temporal::time_old(&sized::<3>(cell)?)?),
        kind::DATETIME => Value::Text(temporal::datetime_old(&sized::<8>(cell)?)?),
        kind::TIMESTAMP => Value::Text(temporal::timestamp_old(&sized::<4>(cell)?)?),
        kind::TIME2 => Value::Text(temporal::time(fractional(cell, 3, meta)?, meta)?),
        kind::DATETIME2 => Value::Text(temporal::datetime(fractional(cell, 5, meta)?, meta)?),
        kind::TIMESTAMP2 => Value::Text(temporal::timestamp(fractional(cell, 4, meta)?, meta)?),
        kind::BIT => Value::Bit(cell),
        kind::ENUM if cell.len() <= 2 => Value::Enum(le_uint(cell)),
        kind::SET if cell.len() <= 8 => Value::Set(le_uint(cell)),
        kind::VARCHAR
        | kind::STRING
        | kind::TINY_BLOB
        | kind::BLOB
        | kind::MEDIUM_BLOB
        | kind::LONG_BLOB
        | kind::GEOMETRY
        | kind::VECTOR => Value::Bytes(Cow::Borrowed(cell)),
        kind::BLOB_COMPRESSED | kind::VARCHAR_COMPRESSED => {
            Value::Bytes(compress::unpack_cell(cell, column.unpacked_max())?)
        }
        kind::JSON => Value::Json(cell),
        other => return Err(Error::stop(format!("column type {other} is not known"))),
    })
}

/// Bytes of a cell's value: more than the cell's own where the column is COMPRESSED.
///
/// # Errors
/// Stop if a compressed cell does not say it.
pub fn value_len(column: &ColumnType, cell: &[u8]) -> Result<u64> {
    if column.is_compressed() {
        return compress::unpacked_len(cell);
    }
    Ok(u64::try_from(cell.len()).unwrap_or(u64::MAX))
}

/// What MariaDB keeps in a few bytes of a fixed number, in an order of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Native {
    /// INET4 and INET6: as they are written.
    Address,
    /// UUID: most versions have their time in front and are kept the other way round, so that they are in order.
    Uuid,
}

/// The bytes of a UUID or an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NativeBytes {
    bytes: [u8; 16],
    len: usize,
}

impl NativeBytes {
    /// All of them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Gives a cell of a UUID or an address its meaning. The log leaves out zeros at its end, and the server would take a shorter
/// string as NULL.
///
/// # Errors
/// Stop if the column or the cell is of another form.
pub fn decode_native<'a>(native: Native, column: &ColumnType, cell: &[u8]) -> Result<Value<'a>> {
    let len = usize::from(column.meta);
    let mut bytes = [0; 16];
    let fits = column.kind == kind::STRING && len <= bytes.len() && cell.len() <= len;
    if !fits || native == Native::Uuid && len != bytes.len() {
        return Err(wrong_len());
    }
    bytes[..cell.len()].copy_from_slice(cell);
    if native == Native::Uuid && is_kept_reversed(&bytes) {
        let [node @ .., v0, v1, h0, h1, m0, m1, l0, l1, l2, l3] = bytes;
        let [n0, n1, n2, n3, n4, n5] = node;
        bytes = [l0, l1, l2, l3, m0, m1, h0, h1, v0, v1, n0, n1, n2, n3, n4, n5];
    }
    Ok(Value::Native(NativeBytes { bytes, len }))
}

/// Whether the server has put a UUID's groups in reverse: those of versions 1 to 5 with a variant, and whatever else looks like
/// them when it is kept. (From MariaDB 10.11.5 on; before that all are. Preflight refuses those.)
fn is_kept_reversed(kept: &[u8; 16]) -> bool {
    kept[6] & 0x80 != 0 && (1..=0x80).contains(&kept[8])
}

/// Appends the value as an SQL literal, for sessions with `SET NAMES binary`. Binary JSON has none.
pub fn push_literal(value: &Value<'_>, out: &mut Vec<u8>) -> Result<()> {
    match value {
        Value::Null => out.extend_from_slice(b"NULL"),
        Value::Int(number) => write_text(out, format_args!("{number}")),
        Value::UInt(number) | Value::Enum(number) | Value::Set(number) => {
            write_text(out, format_args!("{number}"));
        }
        // The shortest text that reads back as the same number. Quoted: a bare -0 would lose its sign.
        Value::Float(number) => write_text(out, format_args!("'{:e}'", f64::from(*number))),
        Value::Double(number) => write_text(out, format_args!("'{number:e}'")),
        Value::Text(text) => sql::push_literal(out, text.as_bytes()),
        Value::Bytes(bytes) => sql::push_literal(out, bytes),
        Value::Native(native) => sql::push_literal(out, native.as_bytes()),
        Value::Bit(bytes) => {
            out.extend_from_slice(b"b'");
            for byte in *bytes {
                write_text(out, format_args!("{byte:08b}"));
            }
            out.push(b'\'');
        }
        Value::Json(_) => {
            return Err(Error::stop("JSON in MySQL's binary form is not understood").advice(
                "JSON columns of MySQL are not carried yet: move the table without them.",
            ));
        }
    }
    Ok(())
}

fn write_text(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to memory does not fail");
}

fn sized<const N: usize>(cell: &[u8]) -> Result<[u8; N]> {
    cell.try_into().map_err(|_| wrong_len())
}

fn wrong_len() -> Error {
    Error::stop("a value has not the length of its type")
}

fn integer<'a, const N: usize>(unsigned: bool, cell: &'a [u8]) -> Result<Value<'a>> {
    let bits = le_uint(&sized::<N>(cell)?);
    if unsigned {
        return Ok(Value::UInt(bits));
    }
    // The sign bit goes to the top and comes back as many places down.
    let unused = 64 - u8::BITS * u32::try_from(N).map_err(|_| wrong_len())?;
    Ok(Value::Int((bits << unused).cast_signed() >> unused))
}

/// Checks that a temporal cell has its whole part and its fraction.
fn fractional(cell: &[u8], whole: usize, digits: u16) -> Result<&[u8]> {
    if digits <= 6 && cell.len() == whole + usize::from(digits.div_ceil(2)) {
        Ok(cell)
    } else {
        Err(wrong_len())
    }
}

/// Bytes of so many decimal digits: nine go into four bytes.
fn digits_len(digits: u8) -> usize {
    usize::from(digits / 9) * 4 + usize::from((digits % 9).div_ceil(2))
}

/// Bytes of a DECIMAL cell, if precision and scale are possible.
pub(super) fn decimal_len(meta: u16) -> Option<usize> {
    let [precision, scale] = meta.to_be_bytes();
    if precision == 0 || precision > 65 || scale > precision || scale > 38 {
        return None;
    }
    Some(digits_len(precision - scale) + digits_len(scale))
}

/// DECIMAL: groups of nine digits as big-endian numbers, the odd ones first before the point and last behind it. The top
/// bit is set for positive numbers; for negative ones every bit is inverted.
fn decimal(meta: u16, cell: &[u8]) -> Result<SmallText> {
    const LEN_MAX: usize = 32;
    let len = decimal_len(meta).filter(|&len| len == cell.len() && len <= LEN_MAX);
    let len = len.ok_or_else(wrong_len)?;
    let [precision, scale] = meta.to_be_bytes();
    let mut buffer = [0; LEN_MAX];
    let bytes = &mut buffer[..len];
    bytes.copy_from_slice(cell);
    let negative = bytes[0] & 0x80 == 0;
    bytes[0] ^= 0x80;
    if negative {
        bytes.iter_mut().for_each(|byte| *byte = !*byte);
    }
    let (whole, fraction) = bytes.split_at(digits_len(precision - scale));
    let mut out = SmallText::default();
    push_sign(&mut out, negative)?;
    push_whole(&mut out, whole, precision - scale)?;
    push_decimals(&mut out, fraction, scale)?;
    Ok(out)
}

fn push_sign(out: &mut SmallText, negative: bool) -> Result<()> {
    out.write_str(if negative { "-" } else { "" }).map_err(|_| too_long())
}

/// The digits before the point, without leading zeros but with one digit at least.
fn push_whole(out: &mut SmallText, bytes: &[u8], digits: u8) -> Result<()> {
    let odd = digits % 9;
    let (head, groups) = bytes.split_at(digits_len(odd));
    let mut begun = false;
    for (group, width) in
        std::iter::once((head, odd)).chain(groups.chunks_exact(4).map(|group| (group, 9)))
    {
        let number = group_number(group, width)?;
        let written = if begun {
            write!(out, "{number:0width$}", width = usize::from(width))
        } else if number > 0 {
            begun = true;
            write!(out, "{number}")
        } else {
            Ok(())
        };
        written.map_err(|_| too_long())?;
    }
    if begun { Ok(()) } else { out.write_str("0").map_err(|_| too_long()) }
}

fn push_decimals(out: &mut SmallText, bytes: &[u8], digits: u8) -> Result<()> {
    if digits == 0 {
        return Ok(());
    }
    out.write_str(".").map_err(|_| too_long())?;
    let odd = digits % 9;
    let (groups, tail) = bytes.split_at(bytes.len() - digits_len(odd));
    for (group, width) in
        groups.chunks_exact(4).map(|group| (group, 9)).chain(std::iter::once((tail, odd)))
    {
        let number = group_number(group, width)?;
        if width > 0 {
            write!(out, "{number:0width$}", width = usize::from(width)).map_err(|_| too_long())?;
        }
    }
    Ok(())
}

fn group_number(group: &[u8], width: u8) -> Result<u64> {
    let number = be_uint(group);
    if number < 10_u64.pow(u32::from(width)) {
        Ok(number)
    } else {
        Err(Error::stop("a DECIMAL has a group of digits that is out of range"))
    }
}

fn too_long() -> Error {
    Error::stop("a value is too long to print")
}

#[cfg(test)]
#[path = "value_tests.rs"]
mod tests;
