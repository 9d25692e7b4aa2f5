//! The one table of what is known to differ, and who is right.
//!
//! A fault explains a difference by its exact form, not by its place: another wrong value of the same type stays unexplained. One that
//! does not occur any more fails the test, so that the table stays true. Who is right is decided by the server: [`Other::Server`]'s few
//! entries are all that our decoder says otherwise than the server shows.

use std::collections::BTreeSet;

use shunt_engine::mysql::binlog::table_map::kind;

use super::compare::{Difference, From, Other, What};
use super::seen::{Cell, Column, Seen};
use super::truth;

/// Who is right where two differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    Ours,
    /// Two ways to say the same, and whoever asks has to know more.
    Both,
}

/// Something that is known to differ.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) of: Other,
    pub(super) name: &'static str,
    #[expect(dead_code, reason = "for readers")]
    pub(super) right: Right,
    /// Where it occurs, always.
    pub(super) from: &'static [From],
    /// The type of event it is about, 0 if not a particular one.
    pub(super) event: u8,
    pub(super) explains: fn(&Difference) -> bool,
}

const ALL: &[From] = &[From::MariaDb, From::MySql56, From::Recordings];
const LIVE: &[From] = &[From::MariaDb, From::MySql56];
const MARIADB: &[From] = &[From::MariaDb];
const WITH_MARIADB: &[From] = &[From::MariaDb, From::Recordings];
const RECORDINGS: &[From] = &[From::Recordings];

/// A value or an event that our decoder has right.
const fn wrong(
    of: Other,
    from: &'static [From],
    name: &'static str,
    explains: fn(&Difference) -> bool,
) -> Fault {
    Fault { of, name, right: Right::Ours, from, event: 0, explains }
}

/// Two ways to say the same.
const fn other_form(
    of: Other,
    from: &'static [From],
    name: &'static str,
    explains: fn(&Difference) -> bool,
) -> Fault {
    Fault { of, name, right: Right::Both, from, event: 0, explains }
}

/// An event that passes in silence.
const fn lost(of: Other, from: &'static [From], event: u8, name: &'static str) -> Fault {
    Fault { of, name, right: Right::Ours, from, event, explains: is_lost }
}

use Other::{Cdc, Common, Server};

/// All of them.
pub(super) const FAULTS: &[Fault] = &[
    other_form(
        Server,
        LIVE,
        "BINARY: the log leaves out zeros at its end; who uses the value pads it from the schema",
        |difference| {
            cell(difference, |ours, theirs, column| match (ours, theirs) {
                (Cell::Bytes(bytes), Cell::Text(shown)) if column.is("BINARY") => {
                    let zeros = shown.strip_prefix(&truth::hex(bytes));
                    truth::is_filled_up(column)
                        && zeros.is_some_and(|rest| rest.bytes().all(|digit| digit == b'0'))
                }
                _ => false,
            })
        },
    ),
    wrong(Cdc, ALL, "signed numbers come as unsigned ones", |difference| {
        texts(difference, |ours, theirs, column| {
            ours.starts_with('-') && theirs == modulo(ours, column).to_string()
        })
    }),
    wrong(Cdc, ALL, "a column that is not in the image comes as NULL", |difference| {
        cell(difference, |ours, theirs, _| (ours, theirs) == (&Cell::Absent, &Cell::Null))
    }),
    wrong(Cdc, ALL, "YEAR 0000 comes as 1900", is_year_zero),
    other_form(
        Cdc,
        LIVE,
        "the TIMESTAMP of zeros comes as the epoch's first second",
        is_zero_timestamp,
    ),
    wrong(Cdc, LIVE, "fractions of a second are cut to milliseconds", |difference| {
        texts(difference, |ours, theirs, column| {
            let digits = usize::from(column.meta).checked_sub(3).filter(|&digits| digits > 0);
            let fractional =
                [kind::TIME2, kind::DATETIME2, kind::TIMESTAMP2].contains(&column.kind);
            digits.is_some_and(|digits| {
                let (kept, _) = ours.split_at(ours.len() - digits);
                fractional && theirs == format!("{kept}{}", "0".repeat(digits))
            })
        })
    }),
    wrong(Cdc, ALL, "a row event with a negative TIME is an error", |difference| {
        refused(difference, "negative TIME", |cell, column| {
            [kind::TIME, kind::TIME2].contains(&column.kind)
                && matches!(cell, Cell::Text(text) if text.starts_with('-'))
        })
    }),
    wrong(Cdc, ALL, "a row event with a string that is not UTF-8 is an error", |difference| {
        refused(difference, "Utf8Error", |cell, column| {
            [kind::STRING, kind::VARCHAR].contains(&column.kind)
                && matches!(cell, Cell::Bytes(bytes) if std::str::from_utf8(bytes).is_err())
        })
    }),
    wrong(
        Cdc,
        WITH_MARIADB,
        "a table map with a type that it does not know is an error",
        |difference| {
            event(difference, |ours, theirs, _| {
                let types = ["type 140", "type 141", "type 242"];
                matches!(ours, Seen::Said(said) if said.starts_with("table "))
                    && matches!(theirs, Seen::Refused(why) if types.iter().any(|kind| why.contains(kind)))
            })
        },
    ),
    wrong(Cdc, WITH_MARIADB, "and all rows of such a table are errors", |difference| {
        refused(difference, "No preceding TableMapEvent", |_, column| {
            COMPRESSED.contains(&column.kind) || column.kind == kind::VECTOR
        })
    }),
    wrong(Cdc, RECORDINGS, "PREVIOUS_GTIDS with tags is an error", |difference| {
        event(difference, |ours, theirs, _| {
            matches!(ours, Seen::Said(said) if said.contains(":mytag:"))
                && matches!(theirs, Seen::Refused(_))
        })
    }),
    other_form(
        Cdc,
        MARIADB,
        "a GTID_LIST keeps the order of the event; ours is in order of domains",
        |difference| {
            event(difference, |ours, theirs, _| match (ours, theirs) {
                (Seen::Said(ours), Seen::Said(theirs)) => {
                    let list = |said: &str| -> Option<BTreeSet<String>> {
                        Some(said.strip_prefix("list ")?.split(',').map(str::to_owned).collect())
                    };
                    list(ours).is_some() && list(ours) == list(theirs)
                }
                _ => false,
            })
        },
    ),
    lost(Cdc, RECORDINGS, 3, "STOP"),
    lost(Cdc, LIVE, 13, "RAND"),
    lost(Cdc, RECORDINGS, 34, "ANONYMOUS_GTID"),
    lost(Cdc, WITH_MARIADB, 38, "XA_PREPARE"),
    Fault {
        event: 39,
        ..wrong(
            Cdc,
            RECORDINGS,
            "PARTIAL_UPDATE_ROWS, which ours refuses, are lost",
            |difference| {
                event(difference, |ours, theirs, _| is_partial(ours) && *theirs == Seen::Lost)
            },
        )
    },
    other_form(Cdc, RECORDINGS, "a file that is cut short is an error", is_cut_short),
    other_form(Common, RECORDINGS, "a file that is cut short is an error", is_cut_short),
    lost(Cdc, RECORDINGS, 40, "TRANSACTION_PAYLOAD"),
    lost(Cdc, RECORDINGS, 42, "GTID_TAGGED"),
    lost(Cdc, WITH_MARIADB, 161, "BINLOG_CHECKPOINT"),
    lost(Cdc, WITH_MARIADB, 165, "QUERY_COMPRESSED"),
    lost(Cdc, WITH_MARIADB, 166, "WRITE_ROWS_COMPRESSED_V1"),
    lost(Cdc, WITH_MARIADB, 167, "UPDATE_ROWS_COMPRESSED_V1"),
    lost(Cdc, WITH_MARIADB, 168, "DELETE_ROWS_COMPRESSED_V1"),
    other_form(Common, ALL, "the server's version has the zero bytes behind it", |difference| {
        event(difference, |ours, theirs, _| match (ours, theirs) {
            (Seen::Said(ours), Seen::Said(theirs)) => {
                ours.starts_with("format ") && theirs.trim_end_matches('\0') == ours
            }
            _ => false,
        })
    }),
    wrong(Common, ALL, "a negative MEDIUMINT comes as an unsigned number", |difference| {
        texts(difference, |ours, theirs, column| {
            column.kind == kind::INT24
                && ours.starts_with('-')
                && theirs == modulo(ours, column).to_string()
        })
    }),
    other_form(
        Common,
        LIVE,
        "unsigned numbers come as signed ones without the metadata of signs",
        |difference| {
            texts(difference, |ours, theirs, column| {
                column.is_unsigned()
                    && theirs.starts_with('-')
                    && modulo(theirs, column).to_string() == ours
            })
        },
    ),
    other_form(
        Common,
        RECORDINGS,
        "the metadata says that a number is unsigned; our decoder has it from the schema",
        |difference| {
            texts(difference, |ours, theirs, column| {
                column.animal.is_none()
                    && ours.starts_with('-')
                    && modulo(ours, column).to_string() == theirs
            })
        },
    ),
    wrong(Common, ALL, "YEAR 0000 comes as 1900", is_year_zero),
    other_form(
        Common,
        ALL,
        "the TIMESTAMP of zeros comes as the epoch's first second",
        is_zero_timestamp,
    ),
    wrong(
        Common,
        OVERFLOWING,
        "a row event with a negative TIME that has a fraction panics (arithmetic overflow)",
        |difference| {
            event(difference, |ours, theirs, columns| {
                *theirs == Seen::Panicked
                    && any(ours, columns, |cell, column| {
                        column.kind == kind::TIME2
                            && column.meta > 0
                            && matches!(cell, Cell::Text(text) if text.starts_with('-'))
                    })
            })
        },
    ),
    wrong(
        Common,
        WRAPPING,
        "a negative TIME that has a fraction in one byte is wrong (the overflow is not noticed)",
        |difference| {
            texts(difference, |ours, _, column| {
                let fraction = ours.split_once('.').map_or("", |(_, fraction)| fraction);
                column.kind == kind::TIME2
                    && matches!(column.meta, 1 | 2)
                    && ours.starts_with('-')
                    && fraction.bytes().any(|digit| digit != b'0')
            })
        },
    ),
    wrong(
        Common,
        WITH_MARIADB,
        "a TIME of the old form loses its sign, and what of its hours is more than a byte",
        |difference| {
            texts(difference, |ours, theirs, column| {
                column.kind == kind::TIME && cut_time(ours).as_deref() == Some(theirs)
            })
        },
    ),
    wrong(Common, WITH_MARIADB, "a row event with a COMPRESSED column is an error", |difference| {
        event(difference, |_, theirs, columns| {
            let types = ["column type 140", "column type 141"];
            matches!(theirs, Seen::Refused(why) if types.iter().any(|kind| why.contains(kind)))
                && columns.iter().any(|column| COMPRESSED.contains(&column.kind))
        })
    }),
    other_form(
        Common,
        RECORDINGS,
        "MySQL's JSON is decoded; our decoder gives the bytes, and nobody takes them",
        |difference| {
            cell(difference, |ours, theirs, column| {
                column.kind == kind::JSON
                    && matches!((ours, theirs), (Cell::Bytes(_), Cell::Text(_)))
            })
        },
    ),
    Fault {
        event: 39,
        ..other_form(
            Common,
            RECORDINGS,
            "PARTIAL_UPDATE_ROWS are decoded; our decoder refuses them",
            |difference| {
                event(difference, |ours, theirs, _| {
                    is_partial(ours) && matches!(theirs, Seen::Rows(_))
                })
            },
        )
    },
    lost(Common, WITH_MARIADB, 38, "XA_PREPARE"),
    lost(Common, WITH_MARIADB, 160, "ANNOTATE_ROWS"),
    lost(Common, WITH_MARIADB, 161, "BINLOG_CHECKPOINT"),
    lost(Common, WITH_MARIADB, 162, "GTID"),
    lost(Common, WITH_MARIADB, 163, "GTID_LIST"),
    lost(Common, WITH_MARIADB, 165, "QUERY_COMPRESSED"),
    lost(Common, WITH_MARIADB, 166, "WRITE_ROWS_COMPRESSED_V1"),
    lost(Common, WITH_MARIADB, 167, "UPDATE_ROWS_COMPRESSED_V1"),
    lost(Common, WITH_MARIADB, 168, "DELETE_ROWS_COMPRESSED_V1"),
];

const COMPRESSED: &[u8] = &[kind::BLOB_COMPRESSED, kind::VARCHAR_COMPRESSED];

/// Where overflows are checked: not in a release build, which computes nonsense of some.
const OVERFLOWING: &[From] = if cfg!(debug_assertions) { ALL } else { &[] };
const WRAPPING: &[From] = if cfg!(debug_assertions) { &[] } else { ALL };

fn cell(difference: &Difference, fits: impl Fn(&Cell, &Cell, Column) -> bool) -> bool {
    match &difference.what {
        What::Cell { ours, theirs, column } => fits(ours, theirs, *column),
        What::Event { .. } => false,
    }
}

fn texts(difference: &Difference, fits: impl Fn(&str, &str, Column) -> bool) -> bool {
    cell(difference, |ours, theirs, column| match (ours, theirs) {
        (Cell::Text(ours), Cell::Text(theirs)) => fits(ours, theirs, column),
        _ => false,
    })
}

fn event(difference: &Difference, fits: impl Fn(&Seen, &Seen, &[Column]) -> bool) -> bool {
    match &difference.what {
        What::Event { ours, theirs, columns } => fits(ours, theirs, columns),
        What::Cell { .. } => false,
    }
}

/// The other's error says `why`, and some cell of the event is a reason for it.
fn refused(difference: &Difference, why: &str, reason: impl Fn(&Cell, Column) -> bool) -> bool {
    event(difference, |ours, theirs, columns| {
        matches!(theirs, Seen::Refused(words) if words.contains(why)) && any(ours, columns, &reason)
    })
}

fn any(rows: &Seen, columns: &[Column], fits: impl Fn(&Cell, Column) -> bool) -> bool {
    let Seen::Rows(changes) = rows else { return false };
    let images = changes.iter().flat_map(|change| change.before.iter().chain(&change.after));
    images.flat_map(|image| image.iter().zip(columns)).any(|(cell, column)| fits(cell, *column))
}

/// What ours refuses is not lost on the other.
fn is_lost(difference: &Difference) -> bool {
    event(difference, |ours, theirs, _| *theirs == Seen::Lost && !matches!(ours, Seen::Refused(_)))
}

fn is_partial(ours: &Seen) -> bool {
    matches!(ours, Seen::Refused(why) if why.contains("binlog_row_value_options"))
}

/// An event without its end; each says so in its own words.
fn is_cut_short(difference: &Difference) -> bool {
    event(difference, |ours, theirs, _| {
        matches!(ours, Seen::Refused(why) if why.contains("shorter than its header"))
            && matches!(theirs, Seen::Refused(why) if why.contains("fill whole buffer"))
    })
}

/// A time, taken as three bytes without a sign, of which the hours are then one.
fn cut_time(ours: &str) -> Option<String> {
    let (negative, digits) = ours.strip_prefix('-').map_or((false, ours), |digits| (true, digits));
    let number: u32 = digits.replace(':', "").parse().ok()?;
    let stored = if negative { 0x100_0000 - number } else { number };
    let hours = stored / 10_000 % 256;
    Some(format!("{hours:02}:{:02}:{:02}", stored / 100 % 100, stored % 100))
}

fn is_year_zero(difference: &Difference) -> bool {
    texts(difference, |ours, theirs, column| {
        column.kind == kind::YEAR && (ours, theirs) == ("0", "1900")
    })
}

fn is_zero_timestamp(difference: &Difference) -> bool {
    texts(difference, |ours, theirs, column| {
        [kind::TIMESTAMP, kind::TIMESTAMP2].contains(&column.kind)
            && ours.strip_prefix("0000-00-00 ") == theirs.strip_prefix("1970-01-01 ")
    })
}

/// A negative number as the unsigned one of the same bits.
fn modulo(number: &str, column: Column) -> i128 {
    let bits = match column.kind {
        kind::TINY => 8,
        kind::SHORT => 16,
        kind::INT24 => 24,
        kind::LONG => 32,
        kind::LONGLONG => 64,
        _ => return -1,
    };
    number.parse::<i128>().map_or(-1, |number| number + (1 << bits))
}
