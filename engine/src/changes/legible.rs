//! How far the text of a statement in the binlog can be read: it is in its client's character set.
//!
//! Servers read statements byte by byte, with the character set's own idea of which bytes may stand in a name and which are passed over
//! like spaces. For ASCII and UTF-8 this is known, for latin1 it is listed here; elsewhere a byte that is not ASCII makes a statement
//! doubtful wherever it might part two words.

use std::borrow::Cow;

use crate::mysql::binlog::event::QueryEvent;

/// What stands in the text for a byte of latin1 that servers pass over, such as the space that breaks no line.
pub(super) const NBSP: char = '\u{a0}';

/// How far a statement's text can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Legible {
    /// All of it.
    Whole,
    /// A byte that looks like ASCII is ASCII, so its structure is right; names with other characters are not known.
    Ascii,
    /// Hardly: where its words and strings end is not certain. The second byte of a character may look like a quote or a backslash
    /// (Shift-JIS, Big5, GBK), or it depends on the `sql_mode` in which it was prepared.
    Hardly,
}

/// The character set of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// utf8mb3, utf8mb4.
    Utf8,
    /// latin1, which is cp1252.
    Latin1,
    /// Another one whose bytes that look like ASCII are ASCII.
    SingleByte,
    /// One in which what looks like ASCII may be something else.
    Foreign,
    /// Others.
    Other,
}

impl Client {
    pub(super) fn of(query: &QueryEvent) -> Self {
        // MySQL's numbers of the collations of big5, sjis, gbk, cp932 and gb18030; MariaDB's that do not pad have 1024 more.
        match query.variables.charsets.map(|[client, ..]| client) {
            Some(33 | 45 | 46 | 76 | 83 | 192..=247 | 255..=323 | 576..=640 | 2048..) => Self::Utf8,
            Some(id) => match if (1024..2048).contains(&id) { id - 1024 } else { id } {
                5 | 8 | 15 | 31 | 47 | 48 | 49 | 94 => Self::Latin1,
                33 | 45 | 46 | 76 | 83 => Self::Utf8,
                // swe7: its letters stand for brackets.
                10 | 82 => Self::Foreign,
                1 | 13 | 28 | 84 | 87 | 88 | 95 | 96 | 248 | 249 | 250 => Self::Other,
                _ => Self::SingleByte,
            },
            None => Self::Other,
        }
    }

    /// The text, in which every ASCII byte is itself.
    pub(super) fn text(self, sql: &[u8]) -> Cow<'_, str> {
        if self != Self::Latin1 || sql.is_ascii() {
            return String::from_utf8_lossy(sql);
        }
        let shown = |byte: &u8| match byte {
            0..=0x7f => char::from(*byte),
            // Undefined, or a space.
            0x81 | 0x8d | 0x8f | 0x90 | 0x9d | 0xa0 => NBSP,
            _ => char::REPLACEMENT_CHARACTER,
        };
        sql.iter().map(shown).collect::<String>().into()
    }

    /// How far `sql` can be read, given whether other than ASCII stands outside of its quotes and comments.
    pub(super) fn legible(self, sql: &[u8], bare: bool) -> Legible {
        match self {
            Self::Foreign => Legible::Hardly,
            _ if sql.is_ascii() => Legible::Whole,
            Self::Utf8 if std::str::from_utf8(sql).is_ok() => Legible::Whole,
            Self::Latin1 => Legible::Ascii,
            Self::SingleByte if !bare => Legible::Ascii,
            Self::Utf8 | Self::SingleByte | Self::Other => Legible::Hardly,
        }
    }
}
