//! What a decoder makes of an event, in one form for all of them. Nothing is put right here: two decoders see the same only if they
//! said the same.

use std::fmt::Write as _;

use crate::zoo::types::Type;

/// What a decoder makes of an event.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Seen {
    /// An event that is no rows, in a line.
    Said(String),
    /// Changed rows.
    Rows(Vec<Change>),
    /// The events of a compressed transaction.
    Many(Vec<Seen>),
    /// It says that there was an event, and nothing of what is in it.
    Lost,
    /// An error.
    Refused(String),
    /// It panicked.
    Panicked,
}

/// A changed row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    pub(super) before: Option<Vec<Cell>>,
    pub(super) after: Option<Vec<Cell>>,
}

/// A cell.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    /// The image has no such column.
    Absent,
    Null,
    /// A number, date or time: as the server prints it, FLOAT and DOUBLE by their digits in powers of ten.
    Text(String),
    Bytes(Vec<u8>),
    /// There is something that this decoder does not tell.
    Refused(String),
}

impl Cell {
    pub(super) fn number(number: impl std::fmt::Display) -> Self {
        Self::Text(number.to_string())
    }

    /// All bits of a FLOAT or DOUBLE.
    pub(super) fn double(number: f64) -> Self {
        Self::Text(format!("{number:e}"))
    }
}

/// A column as the one who asks knows it: what a table map says of it, and what only the schema tells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) kind: u8,
    /// As our decoder gives it.
    pub(super) meta: u16,
    /// The type in the zoo; the tables of recordings are not in it.
    pub(super) animal: Option<&'static Type>,
}

impl Column {
    pub(super) fn is_unsigned(&self) -> bool {
        self.animal.is_some_and(|animal| animal.definition.contains("UNSIGNED"))
    }

    pub(super) fn is(&self, definition: &str) -> bool {
        self.animal.is_some_and(|animal| animal.definition.starts_with(definition))
    }
}

/// A fraction of a second, cut to the column's digits.
pub(super) fn with_fraction(mut text: String, micros: u64, digits: u16) -> String {
    if digits > 0 {
        let shown = micros / 10_u64.pow(6 - u32::from(digits));
        write!(text, ".{shown:0width$}", width = usize::from(digits)).unwrap();
    }
    text
}

/// Seconds since 1970 as a date: years and months are counted one by one, since this judges arithmetic.
pub(super) fn utc(seconds: u64) -> String {
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let (mut day, of_day) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970;
    while day >= 365 + u64::from(is_leap(year)) {
        day -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 1;
    for days in [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < days {
            break;
        }
        day -= days;
        month += 1;
    }
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{:02} {hour:02}:{minute:02}:{second:02}", day + 1)
}
