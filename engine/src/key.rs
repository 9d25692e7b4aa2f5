//! The key by which a table is paged and its rows are told apart.
//!
//! Two questions, two answers. *Identity*: are two events about the same row? The stored bytes of the key's cells decide
//! ([`Identity`]), right under any collation as long as deletes are applied before upserts. *Order*: which range is a key
//! in? Decided here only where it is exact: integers, binary strings, decimals, dates and times, BIT, ENUM and SET (by
//! number), INET4 and INET6. For collated strings, floats and UUID, which has an order of its own, only the server knows
//! ([`KeyPlan::exact`] is false; see `ranges`).
//!
//! A [`Place`] holds a key as *key cells*: the text of each column as the server prints it, except ENUM and SET, which are
//! read as numbers. The cells are what statements are built from; `order` compares like the server does.

use std::hash::{Hash, Hasher};

use crate::error::{Error, Result};
use crate::mysql::binlog::value::Value;
use crate::mysql::sql;

/// A row's identity: the stored bytes of its key cells, each with its length.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity(pub Box<[u8]>);

impl Hash for Identity {
    /// In one piece: the cells' lengths are among the bytes.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

/// How the values of one key column compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// Integers, signed or not, and YEAR.
    Integer,
    /// `BIT(n)`: big-endian bytes.
    Bit,
    /// ENUM and SET: their number.
    Number,
    /// `BINARY(n)`: padded with zeros to this length.
    Binary(usize),
    /// VARBINARY: bytes, then length.
    VarBinary,
    /// DECIMAL with this many digits before and after the point.
    Decimal {
        /// Digits before the point.
        integer: usize,
    },
    /// DATE, DATETIME, TIMESTAMP: text of a fixed form.
    Temporal,
    /// TIME: signed, hours of two or three digits.
    Time,
    /// Only the server knows the order. For strings, with the character set of the column.
    Opaque {
        /// The column's character set, if it has one.
        charset: Option<String>,
    },
}

/// One column of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyColumn {
    /// Its name.
    pub name: String,
    /// Its position in the table (as in the binlog's row images).
    pub ordinal: usize,
    /// How it compares.
    pub kind: KeyKind,
}

/// The key of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPlan {
    /// Its columns, in key order.
    pub columns: Vec<KeyColumn>,
    /// The index to read it by, for `FORCE INDEX`.
    pub index: String,
}

/// A key with its place in the order.
///
/// Ordered by `order` first; where the order is opaque it is empty, and comparing means nothing but identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Compares bytewise like the server compares the key.
    pub order: Vec<u8>,
    /// The key's cells, as text. Empty for the places of events, which nobody builds statements from.
    pub cells: Vec<Vec<u8>>,
}

impl KeyPlan {
    /// Whether keys can be ordered here.
    pub fn exact(&self) -> bool {
        !self.columns.iter().any(|column| matches!(column.kind, KeyKind::Opaque { .. }))
    }

    /// The place of a key that was read as text.
    ///
    /// # Errors
    /// Stop if a cell is not of its column's form.
    pub fn place(&self, cells: Vec<Vec<u8>>) -> Result<Place> {
        let mut order = Vec::new();
        if self.exact() {
            for (column, cell) in self.columns.iter().zip(&cells) {
                push_text(&column.kind, cell, &mut order).ok_or_else(|| bad_cell(&column.name))?;
            }
        }
        Ok(Place { order, cells })
    }

    /// The place of an event's key, or `None` where only the server knows.
    ///
    /// # Errors
    /// Stop if a value is not of its column's form.
    pub fn place_of_event(&self, values: &[Value<'_>]) -> Result<Option<Place>> {
        if !self.exact() {
            return Ok(None);
        }
        let mut order = Vec::with_capacity(8 * self.columns.len());
        for (column, value) in self.columns.iter().zip(values) {
            push_value(&column.kind, value, &mut order).ok_or_else(|| bad_cell(&column.name))?;
        }
        Ok(Some(Place { order, cells: Vec::new() }))
    }

    /// The key's columns as they are selected: ENUM and SET as numbers.
    pub fn select_list(&self) -> String {
        let expression = |column: &KeyColumn| match column.kind {
            KeyKind::Number | KeyKind::Bit => format!("{}|0", sql::ident(&column.name)),
            _ => sql::ident(&column.name),
        };
        self.columns.iter().map(expression).collect::<Vec<_>>().join(", ")
    }

    /// The key's columns, for ORDER BY.
    pub fn order_list(&self) -> String {
        sql::ident_list(self.columns.iter().map(|column| column.name.as_str()))
    }

    /// Appends `(key > place)` in the expanded form that servers use an index for.
    pub fn push_above(&self, place: &Place, out: &mut Vec<u8>) {
        self.push_comparison(place, b" > ", b" > ", out);
    }

    /// Appends `(key <= place)`.
    pub fn push_up_to(&self, place: &Place, out: &mut Vec<u8>) {
        self.push_comparison(place, b" < ", b" <= ", out);
    }

    /// `a <op> x OR (a = x AND (b <op> y OR …))`, the innermost column with `last`. A leading `a >= x AND` lets the
    /// server start its index range at once.
    fn push_comparison(&self, place: &Place, op: &[u8], last: &[u8], out: &mut Vec<u8>) {
        let count = self.columns.len();
        out.push(b'(');
        if count > 1 {
            self.push_column(0, place, if op == b" > " { b" >= " } else { b" <= " }, out);
            out.extend_from_slice(b" AND (");
        }
        for at in 0..count {
            self.push_column(at, place, if at + 1 == count { last } else { op }, out);
            if at + 1 < count {
                out.extend_from_slice(b" OR (");
                self.push_column(at, place, b" = ", out);
                out.extend_from_slice(b" AND (");
            }
        }
        let close = 1 + if count > 1 { 1 + 2 * (count - 1) } else { 0 };
        out.extend(std::iter::repeat_n(b')', close));
    }

    fn push_column(&self, at: usize, place: &Place, op: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(sql::ident(&self.columns[at].name).as_bytes());
        out.extend_from_slice(op);
        self.push_cell(at, &place.cells[at], out);
    }

    /// Appends a key cell as a literal that compares by the column's own rules.
    pub fn push_cell(&self, at: usize, cell: &[u8], out: &mut Vec<u8>) {
        match &self.columns[at].kind {
            KeyKind::Integer | KeyKind::Number | KeyKind::Bit => out.extend_from_slice(cell),
            KeyKind::Opaque { charset: Some(charset) } => {
                out.push(b'_');
                out.extend_from_slice(charset.as_bytes());
                out.push(b' ');
                push_hex(cell, out);
            }
            KeyKind::Binary(_) | KeyKind::VarBinary => push_hex(cell, out),
            KeyKind::Decimal { .. } => out.extend_from_slice(cell),
            KeyKind::Temporal | KeyKind::Time | KeyKind::Opaque { charset: None } => {
                sql::push_literal(out, cell);
            }
        }
    }
}

/// Appends `x'…'`, which is right for every character set, multi-byte or not.
pub fn push_hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"x'");
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
    out.push(b'\'');
}

fn bad_cell(name: &str) -> Error {
    Error::stop(format!("a value of key column {} is not of its type's form", sql::ident(name)))
}

fn push_text(kind: &KeyKind, cell: &[u8], out: &mut Vec<u8>) -> Option<()> {
    match kind {
        KeyKind::Integer | KeyKind::Number | KeyKind::Bit => {
            push_integer(std::str::from_utf8(cell).ok()?.parse().ok()?, out);
        }
        KeyKind::Binary(length) => push_padded(cell, *length, out),
        KeyKind::VarBinary => push_framed(cell, out),
        KeyKind::Decimal { integer } => push_decimal(cell, *integer, out)?,
        KeyKind::Temporal => push_framed(cell, out),
        KeyKind::Time => push_integer(time_micros(cell)?, out),
        KeyKind::Opaque { .. } => {}
    }
    Some(())
}

fn push_value(kind: &KeyKind, value: &Value<'_>, out: &mut Vec<u8>) -> Option<()> {
    match (kind, value) {
        (KeyKind::Integer, Value::Int(number)) => push_integer(i128::from(*number), out),
        (KeyKind::Integer, Value::UInt(number)) => push_integer(i128::from(*number), out),
        (KeyKind::Number, Value::Enum(number) | Value::Set(number)) => {
            push_integer(i128::from(*number), out);
        }
        (KeyKind::Bit, Value::Bit(bytes)) => {
            push_integer(bytes.iter().fold(0, |sum, byte| sum << 8 | i128::from(*byte)), out);
        }
        (KeyKind::Binary(length), Value::Bytes(bytes)) => push_padded(bytes, *length, out),
        (KeyKind::Binary(length), Value::Native(native)) => {
            push_padded(native.as_bytes(), *length, out);
        }
        (KeyKind::VarBinary, Value::Bytes(bytes)) => push_framed(bytes, out),
        // A YEAR comes as text.
        (
            KeyKind::Integer | KeyKind::Decimal { .. } | KeyKind::Temporal | KeyKind::Time,
            Value::Text(text),
        ) => {
            push_text(kind, text.as_bytes(), out)?;
        }
        _ => return None,
    }
    Some(())
}

/// 17 bytes that compare like the number: sign first.
fn push_integer(number: i128, out: &mut Vec<u8>) {
    // Column values lie within 65 bits; the offset makes them positive without overflow.
    let shifted = number.wrapping_add(1 << 100);
    out.extend_from_slice(&shifted.to_be_bytes());
}

/// Zero bytes are escaped and the end is marked, so that a shorter value sorts first and the next column starts apart.
fn push_framed(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        out.push(*byte);
        if *byte == 0 {
            out.push(0xff);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

fn push_padded(bytes: &[u8], length: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(bytes);
    out.extend(std::iter::repeat_n(0, length.saturating_sub(bytes.len())));
}

/// Sign, digits before the point padded to their full number, digits after it; negative ones inverted.
fn push_decimal(text: &[u8], integer: usize, out: &mut Vec<u8>) -> Option<()> {
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let point = digits.iter().position(|b| *b == b'.').unwrap_or(digits.len());
    let (before, after) = (&digits[..point], digits.get(point + 1..).unwrap_or_default());
    if before.len() > integer.max(1) || !before.iter().chain(after).all(u8::is_ascii_digit) {
        return None;
    }
    let zero = before.iter().chain(after).all(|b| *b == b'0');
    let flip = if negative && !zero { 0xff } else { 0 };
    out.push(0x80 ^ flip);
    let padding = integer.max(1) - before.len();
    out.extend(std::iter::repeat_n(b'0' ^ flip, padding));
    out.extend(before.iter().chain(after).map(|b| b ^ flip));
    Some(())
}

/// `[-]h…h:mm:ss[.ffffff]` in microseconds.
fn time_micros(text: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(text).ok()?;
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut seconds: i128 = 0;
    for part in whole.split(':') {
        seconds = seconds * 60 + part.parse::<i128>().ok()?;
    }
    let fraction: i128 = format!("{fraction:0<6}").parse().ok()?;
    let micros = seconds * 1_000_000 + fraction;
    Some(if negative { -micros } else { micros })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(kinds: &[KeyKind]) -> KeyPlan {
        let columns = kinds.iter().enumerate().map(|(ordinal, kind)| KeyColumn {
            name: char::from(b'a' + u8::try_from(ordinal).unwrap()).to_string(),
            ordinal,
            kind: kind.clone(),
        });
        KeyPlan { columns: columns.collect(), index: "PRIMARY".into() }
    }

    fn ascending(kind: KeyKind, texts: &[&str]) {
        let plan = plan(&[kind]);
        let places: Vec<Place> =
            texts.iter().map(|t| plan.place(vec![t.as_bytes().to_vec()]).unwrap()).collect();
        for pair in places.windows(2) {
            assert!(
                pair[0].order < pair[1].order,
                "{:?} before {:?}",
                pair[0].cells,
                pair[1].cells
            );
        }
    }

    #[test]
    fn orders_are_the_servers() {
        ascending(
            KeyKind::Integer,
            &[
                "-9223372036854775808",
                "-1",
                "0",
                "1",
                "9223372036854775807",
                "18446744073709551615",
            ],
        );
        ascending(KeyKind::VarBinary, &["", "\0", "\0a", "a", "a\0", "a\0b", "aa", "b"]);
        ascending(KeyKind::Binary(3), &["", "a", "aa", "b"]);
        ascending(
            KeyKind::Decimal { integer: 4 },
            &["-1000.50", "-99.00", "-1.01", "-1.00", "0.00", "0.01", "9.99", "10.00", "1000.00"],
        );
        ascending(KeyKind::Temporal, &["0000-00-00", "1999-12-31", "2000-01-01"]);
        ascending(
            KeyKind::Time,
            &[
                "-838:59:59.0",
                "-00:00:00.5",
                "00:00:00.0",
                "00:00:00.5",
                "99:00:00.0",
                "838:59:59.0",
            ],
        );
    }

    #[test]
    fn events_and_rows_agree() {
        let cases: Vec<(KeyKind, Value<'_>, &str)> = vec![
            (KeyKind::Integer, Value::Int(-7), "-7"),
            (KeyKind::Integer, Value::UInt(u64::MAX), "18446744073709551615"),
            (KeyKind::Number, Value::Enum(3), "3"),
            (KeyKind::Bit, Value::Bit(&[1, 2]), "258"),
            (KeyKind::VarBinary, Value::Bytes(b"a\0"[..].into()), "a\0"),
            (KeyKind::Binary(4), Value::Bytes(b"ab"[..].into()), "ab\0\0"),
        ];
        for (kind, value, text) in cases {
            let plan = plan(&[kind]);
            let event = plan.place_of_event(&[value]).unwrap().unwrap();
            assert_eq!(event.order, plan.place(vec![text.as_bytes().to_vec()]).unwrap().order);
        }
    }

    #[test]
    fn composite_comparisons_are_expanded() {
        let plan = plan(&[
            KeyKind::Integer,
            KeyKind::Opaque { charset: Some("latin1".into()) },
            KeyKind::Temporal,
        ]);
        let place =
            plan.place(vec![b"1".to_vec(), b"x'".to_vec(), b"2020-01-01".to_vec()]).unwrap();
        let mut above = Vec::new();
        plan.push_above(&place, &mut above);
        assert_eq!(
            String::from_utf8(above).unwrap(),
            "(`a` >= 1 AND (`a` > 1 OR (`a` = 1 AND (`b` > _latin1 x'7827' OR (`b` = _latin1 x'7827' AND (`c` > '2020-01-01'))))))"
        );
        let mut up_to = Vec::new();
        plan.push_up_to(&place, &mut up_to);
        let text = String::from_utf8(up_to).unwrap();
        assert!(text.contains("`c` <= '2020-01-01'") && text.contains("`a` < 1 OR"), "{text}");
        assert!(!plan.exact());
    }

    #[test]
    fn a_single_column_is_compared_plainly() {
        let plan = plan(&[KeyKind::Integer]);
        let mut out = Vec::new();
        plan.push_up_to(&plan.place(vec![b"5".to_vec()]).unwrap(), &mut out);
        assert_eq!(out, b"(`a` <= 5)");
    }
}
