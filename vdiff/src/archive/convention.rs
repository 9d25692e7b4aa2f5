//! How a column's values stand in a Parquet file, by its type; the one place where that is said.
//!
//! | type | in Parquet |
//! |---|---|
//! | TINYINT to INT, YEAR | INT32 with its width and sign (YEAR: 16 bits, unsigned) |
//! | BIGINT | INT64, unsigned if it is |
//! | BIT | INT64 unsigned: its number |
//! | FLOAT, DOUBLE | FLOAT, DOUBLE: every bit |
//! | DECIMAL up to 38 digits | DECIMAL of the same digits |
//! | DECIMAL of more | STRING: readers have no such number (DuckDB would make a DOUBLE of it) |
//! | DATE | DATE |
//! | DATETIME | TIMESTAMP in microseconds, not adjusted to UTC |
//! | TIMESTAMP | TIMESTAMP in microseconds, UTC |
//! | TIME | INT64: microseconds, negative ones too. Parquet's TIME is of one day |
//! | ENUM, SET | STRING: the label, or labels with commas; INT64 unsigned (the number) if a label is empty, which is what 0 prints |
//! | CHAR, VARCHAR, TEXT | STRING: UTF-8, converted by the server from any other character set |
//! | JSON | STRING: the text that the server prints |
//! | BINARY, VARBINARY, BLOB, VECTOR | BYTE_ARRAY |
//! | GEOMETRY and its kinds | BYTE_ARRAY: SRID in four bytes, lowest first, then WKB |
//! | UUID | UUID |
//! | INET4, INET6 | STRING |
//!
//! A DATE, DATETIME or TIMESTAMP that is not in the calendar ('0000-00-00', '2020-00-00', '2021-02-30') is NULL there, and its
//! text stands in the column's *companion*, a STRING at the end of the row that is NULL otherwise.
//!
//! [`Convention::parse`] takes what a server prints (in the expressions of [`crate::columns`]), [`Convention::print`] gives it back. For two
//! texts of different values `parse` never gives the same cell.

use std::net::{Ipv4Addr, Ipv6Addr};

use shunt_engine::mysql::schema::Column;

use super::calendar;

/// Digits of a DECIMAL that is a number in Parquet.
pub const DECIMAL_DIGITS_MAX: u32 = 38;

/// A value as it stands in a file.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// A whole number; one that is unsigned and of 64 bits by its bits.
    Integer(i64),
    /// FLOAT.
    Float(f32),
    /// DOUBLE.
    Double(f64),
    /// Bytes of any kind.
    Bytes(Vec<u8>),
    /// What the column cannot hold: the text for its companion.
    Odd(Vec<u8>),
}

/// How a column's values stand in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Convention {
    /// A whole number.
    Integer {
        /// 8, 16, 32 or 64.
        bits: u8,
        /// Whether it may be negative.
        signed: bool,
    },
    /// FLOAT.
    Float,
    /// DOUBLE.
    Double,
    /// DECIMAL that is a number in Parquet.
    Decimal {
        /// Its digits.
        precision: u32,
        /// Those behind the point.
        scale: u32,
    },
    /// A larger DECIMAL, as text.
    Digits,
    /// DATE.
    Date,
    /// DATETIME and TIMESTAMP.
    Moment {
        /// Digits after the second.
        fsp: u32,
        /// Whether it is in UTC, as TIMESTAMP is.
        utc: bool,
    },
    /// TIME, in microseconds.
    Time {
        /// Digits after the second.
        fsp: u32,
    },
    /// ENUM, which is printed by number.
    Label(Vec<String>),
    /// SET, which is printed by number.
    Labels(Vec<String>),
    /// UTF-8.
    Text,
    /// Bytes.
    Bytes,
    /// UUID.
    Uuid,
    /// INET4, as text.
    Inet4,
    /// INET6, as text.
    Inet6,
}

impl Convention {
    /// The convention for a column. `by_number` says whether an ENUM or SET is printed by number; else its label is a text like any
    /// other.
    pub fn of(column: &Column, by_number: bool) -> Self {
        let integer = |bits| Self::Integer { bits, signed: !column.unsigned() };
        match column.data_type.as_str() {
            "tinyint" => integer(8),
            "smallint" => integer(16),
            "mediumint" | "int" => integer(32),
            "bigint" => integer(64),
            "year" => Self::Integer { bits: 16, signed: false },
            "bit" => Self::Integer { bits: 64, signed: false },
            "float" => Self::Float,
            "double" | "real" => Self::Double,
            "decimal" => decimal(column),
            "date" => Self::Date,
            "datetime" => Self::Moment { fsp: column.fsp(), utc: false },
            "timestamp" => Self::Moment { fsp: column.fsp(), utc: true },
            "time" => Self::Time { fsp: column.fsp() },
            "enum" | "set" if by_number => labels(column),
            "uuid" => Self::Uuid,
            "inet4" => Self::Inet4,
            "inet6" => Self::Inet6,
            _ if column.charset.as_deref().is_some_and(|charset| charset != "binary") => Self::Text,
            "json" => Self::Text,
            _ => Self::Bytes,
        }
    }

    /// Whether there are values that need a companion.
    pub fn has_companion(&self) -> bool {
        matches!(self, Self::Date | Self::Moment { .. })
    }

    /// What the file's metadata says.
    pub fn describe(&self) -> String {
        match self {
            Self::Integer { bits, signed: true } => format!("integer of {bits} bits"),
            Self::Integer { bits, signed: false } => format!("unsigned integer of {bits} bits"),
            Self::Float => "float, bit by bit".into(),
            Self::Double => "double, bit by bit".into(),
            Self::Decimal { precision, scale } => format!("decimal({precision},{scale})"),
            Self::Digits => "decimal as text".into(),
            Self::Date => "date; NULL with the text in the companion if not in the calendar".into(),
            Self::Moment { utc, .. } => {
                let zone = if *utc { "UTC" } else { "without a time zone" };
                format!(
                    "microseconds, {zone}; NULL with the text in the companion if not in the calendar"
                )
            }
            Self::Time { .. } => "time as a number of microseconds".into(),
            Self::Label(_) => "the label; '' is the number 0".into(),
            Self::Labels(_) => "the labels, with commas".into(),
            Self::Text => "text in UTF-8".into(),
            Self::Bytes => "bytes as stored".into(),
            Self::Uuid => "UUID".into(),
            Self::Inet4 | Self::Inet6 => "address as text".into(),
        }
    }

    /// The cell for what a server prints; `None` if it is not a value of this column.
    pub fn parse(&self, printed: &[u8]) -> Option<Cell> {
        let text = || std::str::from_utf8(printed).ok();
        let bytes = |text: String| Cell::Bytes(text.into_bytes());
        let odd = || text().map(|text| Cell::Odd(text.as_bytes().to_vec()));
        match self {
            Self::Integer { bits, signed } => integer(text()?, *bits, *signed).map(Cell::Integer),
            Self::Float => {
                let (wide, narrow): (f64, f32) = (text()?.parse().ok()?, text()?.parse().ok()?);
                (f64::from(narrow).to_bits() == wide.to_bits()).then_some(Cell::Float(narrow))
            }
            Self::Double => text()?.parse().ok().map(Cell::Double),
            Self::Decimal { precision, scale } => decimal_bytes(text()?, *precision, *scale),
            Self::Digits => plain_digits(text()?).map(bytes),
            Self::Date => match calendar::days(text()?) {
                Some(days) => Some(Cell::Integer(days)),
                None => odd(),
            },
            Self::Moment { fsp, .. } => match calendar::micros(text()?) {
                Some(micros) if calendar::datetime_text(micros, *fsp).as_bytes() == printed => {
                    Some(Cell::Integer(micros))
                }
                _ => odd(),
            },
            Self::Time { fsp } => {
                let micros = calendar::time_micros(text()?)?;
                let exact = *fsp == 6 || micros % 10_i64.pow(6 - fsp.min(&6)) == 0;
                exact.then_some(Cell::Integer(micros))
            }
            Self::Label(labels) => label(labels, text()?.parse().ok()?).map(bytes),
            Self::Labels(labels) => joined(labels, text()?.parse().ok()?).map(bytes),
            Self::Text => text().map(|text| Cell::Bytes(text.as_bytes().to_vec())),
            Self::Bytes => Some(Cell::Bytes(printed.to_vec())),
            Self::Uuid => (printed.len() == 16).then(|| Cell::Bytes(printed.to_vec())),
            Self::Inet4 => {
                Some(bytes(Ipv4Addr::from(<[u8; 4]>::try_from(printed).ok()?).to_string()))
            }
            Self::Inet6 => {
                Some(bytes(Ipv6Addr::from(<[u8; 16]>::try_from(printed).ok()?).to_string()))
            }
        }
    }

    /// What a server prints for a cell; `None` if the cell is not of this column.
    pub fn print(&self, cell: &Cell) -> Option<Vec<u8>> {
        let text = |text: String| Some(text.into_bytes());
        match (self, cell) {
            (_, Cell::Odd(odd)) => Some(odd.clone()),
            (Self::Integer { signed: true, .. }, Cell::Integer(number)) => text(number.to_string()),
            (Self::Integer { bits, signed: false }, Cell::Integer(number)) => {
                text(unsigned(*number, *bits))
            }
            (Self::Float, Cell::Float(number)) => text(float_text(f64::from(*number))),
            (Self::Double, Cell::Double(number)) => text(float_text(*number)),
            (Self::Decimal { scale, .. }, Cell::Bytes(bytes)) => text(decimal_text(bytes, *scale)?),
            (Self::Date, Cell::Integer(days)) => text(calendar::date_text(*days)),
            (Self::Moment { fsp, .. }, Cell::Integer(micros)) => {
                text(calendar::datetime_text(*micros, digits_of(*micros, *fsp)))
            }
            (Self::Time { fsp }, Cell::Integer(micros)) => {
                text(calendar::time_text(*micros, digits_of(*micros, *fsp)))
            }
            (Self::Label(labels), Cell::Bytes(bytes)) => {
                text(number_of(labels, bytes)?.to_string())
            }
            (Self::Labels(labels), Cell::Bytes(bytes)) => text(mask_of(labels, bytes)?.to_string()),
            (Self::Inet4, Cell::Bytes(bytes)) => {
                let address: Ipv4Addr = std::str::from_utf8(bytes).ok()?.parse().ok()?;
                Some(address.octets().to_vec())
            }
            (Self::Inet6, Cell::Bytes(bytes)) => {
                let address: Ipv6Addr = std::str::from_utf8(bytes).ok()?.parse().ok()?;
                Some(address.octets().to_vec())
            }
            (Self::Digits | Self::Text | Self::Bytes | Self::Uuid, Cell::Bytes(bytes)) => {
                Some(bytes.clone())
            }
            _ => None,
        }
    }
}

fn decimal(column: &Column) -> Convention {
    let inside = column.column_type.split(['(', ')']).nth(1).unwrap_or("10,0");
    let (precision, scale) = inside.split_once(',').unwrap_or((inside, "0"));
    match (precision.trim().parse(), scale.trim().parse()) {
        (Ok(precision), Ok(scale)) if precision <= DECIMAL_DIGITS_MAX => {
            Convention::Decimal { precision, scale }
        }
        _ => Convention::Digits,
    }
}

fn labels(column: &Column) -> Convention {
    let labels = column.enum_members();
    if labels.iter().any(String::is_empty) {
        return Convention::Integer { bits: 64, signed: false };
    }
    if column.data_type == "set" { Convention::Labels(labels) } else { Convention::Label(labels) }
}

fn integer(text: &str, bits: u8, signed: bool) -> Option<i64> {
    if signed {
        let number: i64 = text.parse().ok()?;
        let limit = 1_i128 << (bits - 1);
        return (-limit..limit).contains(&i128::from(number)).then_some(number);
    }
    let number: u64 = text.parse().ok()?;
    (u128::from(number) < 1_u128 << bits).then(|| number.cast_signed())
}

/// The number behind the bits that an unsigned column's cell holds: one of 32 or 64 bits may have a sign there. What the column cannot
/// hold is printed as it is, so that it is like no value of the column.
fn unsigned(number: i64, bits: u8) -> String {
    match bits {
        64 => number.cast_unsigned().to_string(),
        32 if i32::try_from(number).is_ok() => (number.cast_unsigned() & 0xffff_ffff).to_string(),
        _ => number.to_string(),
    }
}

/// Digits after the second: those of the column, or all if the value has more, which no value of the column has.
fn digits_of(micros: i64, fsp: u32) -> u32 {
    let unit = 10_i64.pow(6 - fsp.min(6));
    if micros % unit == 0 { fsp } else { 6 }
}

/// Shortest text that reads back to the same bits; large and small ones with an exponent, as servers print them.
fn float_text(number: f64) -> String {
    let size = number.abs();
    if size == 0.0 || (1e-5..1e15).contains(&size) {
        number.to_string()
    } else {
        format!("{number:e}")
    }
}

/// Bytes of a decimal of so many digits, as Parquet wants them.
pub fn decimal_length(precision: u32) -> usize {
    (1..16).find(|bytes| 10_i128.pow(precision) <= 1_i128 << (8 * bytes - 1)).unwrap_or(16)
}

/// The unscaled number, highest byte first.
fn decimal_bytes(text: &str, precision: u32, scale: u32) -> Option<Cell> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let missing = usize::try_from(scale).ok()?.checked_sub(fraction.len())?;
    let digits = format!("{whole}{fraction}{}", "0".repeat(missing));
    if whole.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: i128 = digits.parse().ok()?;
    let number = if negative { -number } else { number };
    let length = decimal_length(precision);
    (number.unsigned_abs() < 10_u128.pow(precision))
        .then(|| Cell::Bytes(number.to_be_bytes()[16 - length..].to_vec()))
}

fn decimal_text(bytes: &[u8], scale: u32) -> Option<String> {
    let start = 16_usize.checked_sub(bytes.len())?;
    let negative = bytes.first()? & 0x80 != 0;
    let mut wide = if negative { [0xff; 16] } else { [0; 16] };
    wide[start..].copy_from_slice(bytes);
    let number = i128::from_be_bytes(wide);
    let scale = usize::try_from(scale).ok()?;
    let digits = format!("{:0>width$}", number.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let (sign, point) = (if negative { "-" } else { "" }, if scale == 0 { "" } else { "." });
    Some(format!("{sign}{whole}{point}{fraction}"))
}

/// A decimal's text without the zeros that ZEROFILL puts before it.
fn plain_digits(text: &str) -> Option<String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit())
    {
        return None;
    }
    let rest = &digits[whole.len()..];
    let whole = whole.trim_start_matches('0');
    Some(format!("{sign}{}{rest}", if whole.is_empty() { "0" } else { whole }))
}

fn label(labels: &[String], number: usize) -> Option<String> {
    if number == 0 { Some(String::new()) } else { labels.get(number - 1).cloned() }
}

fn number_of(labels: &[String], label: &[u8]) -> Option<usize> {
    if label.is_empty() {
        return Some(0);
    }
    labels.iter().position(|other| other.as_bytes() == label).map(|at| at + 1)
}

fn joined(labels: &[String], mask: u64) -> Option<String> {
    if labels.len() < 64 && mask >> labels.len() != 0 {
        return None;
    }
    let members = labels.iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1);
    Some(members.map(|(_, label)| label.as_str()).collect::<Vec<_>>().join(","))
}

fn mask_of(labels: &[String], text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return Some(0);
    }
    let mut mask = 0;
    for part in text.split(|byte| *byte == b',') {
        mask |= 1 << labels.iter().position(|label| label.as_bytes() == part)?;
    }
    Some(mask)
}

#[cfg(test)]
mod tests;
