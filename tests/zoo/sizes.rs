//! Animals that come in many sizes: bits, labels, and texts in every character set that both servers have.
//!
//! A column of a set with one byte a character takes any byte, also one that stands for no character: such bytes are stored, and
//! have to arrive.

use std::collections::BTreeSet;

use super::types::{Type, both};

/// All of them.
pub(crate) fn types() -> Vec<Type> {
    let mut types: Vec<Type> = BITS.iter().map(|width| bit(*width)).collect();
    types.push(labels(300, 255));
    types.extend([8, 9, 17, 25, 33].map(set));
    types.extend(BYTES.map(bytes));
    types.extend(BYTE_KEYS.map(byte_keys));
    types.extend(CHARACTERS.iter().map(|(charset, values)| {
        let definition = format!("VARCHAR(40) CHARACTER SET {charset} COLLATE {charset}_bin");
        both(kept(definition), values.len(), values)
    }));
    types
}

/// Widths of BIT at which its bytes begin and end.
const BITS: [u32; 16] = [1, 2, 7, 8, 9, 15, 16, 17, 24, 25, 32, 33, 48, 57, 63, 64];

fn bit(width: u32) -> Type {
    let full = u64::MAX >> (64 - width);
    let mut seen = BTreeSet::new();
    let mut values = vec![0, full, 1, full >> 1, full - full / 2];
    values.retain(|value| seen.insert(*value));
    let values: Vec<String> = values.iter().map(u64::to_string).collect();
    let keys = if matches!(width, 1 | 9 | 33 | 64) { values.len() } else { 0 };
    both(kept(format!("BIT({width})")), keys, kept_all(values))
}

/// An ENUM with so many labels: beyond 255 a number takes two bytes.
fn labels(count: u32, edge: u32) -> Type {
    let all: Vec<String> = (1..=count).map(|label| format!("'l{label}'")).collect();
    let values = [1, edge, edge + 1, count].map(|value| value.to_string()).to_vec();
    both(kept(format!("ENUM({})", all.join(","))), values.len(), kept_all(values))
}

/// A SET with so many members.
fn set(count: u32) -> Type {
    let all: Vec<String> = (1..=count).map(|label| format!("'m{label}'")).collect();
    let full = u64::MAX >> (64 - count);
    let values = [0, full, 1 << (count - 1), 1].map(|value: u64| value.to_string()).to_vec();
    let keys = if count == 17 { values.len() } else { 0 };
    both(kept(format!("SET({})", all.join(","))), keys, kept_all(values))
}

/// Character sets with one byte a character.
const BYTES: [&str; 26] = [
    "armscii8", "ascii", "binary", "cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852",
    "cp866", "dec8", "geostd8", "greek", "hebrew", "hp8", "keybcs2", "koi8r", "koi8u", "latin1",
    "latin2", "latin5", "latin7", "macce", "macroman", "swe7", "tis620",
];

/// All bytes at once, as a column.
fn bytes(charset: &str) -> Type {
    let all: String = (0..=255).map(|byte: u8| format!("{byte:02x}")).collect();
    let values = vec![format!("x'{all}'"), format!("x'{}'", &all[256..]), "x'ff'".to_owned()];
    both(kept(format!("VARCHAR(260) CHARACTER SET {charset}")), 0, kept_all(values))
}

/// Those of which every byte is a key as well.
const BYTE_KEYS: [&str; 7] = ["ascii", "cp1251", "greek", "hebrew", "latin1", "tis620", "binary"];

/// Each byte by itself, as a key.
fn byte_keys(charset: &str) -> Type {
    let each: Vec<String> = (0..=255).map(|byte: u8| format!("x'{byte:02x}41'")).collect();
    let definition = match charset {
        "binary" => "VARBINARY(3)".to_owned(),
        _ => format!("VARCHAR(3) CHARACTER SET {charset} COLLATE {charset}_bin"),
    };
    both(kept(definition), each.len(), kept_all(each))
}

/// Character sets with several bytes a character, and characters at the edges of their ranges.
const CHARACTERS: &[(&str, &[&str])] = &[
    ("big5", &["x'a140'", "x'a45c'", "x'f9d5'", "'a'"]),
    ("cp932", &["x'815c'", "x'ed40'", "x'fc4b'", "x'b1'", "'a'"]),
    ("eucjpms", &["x'a1a1'", "x'8eb1'", "x'8fa2af'", "'a'"]),
    ("euckr", &["x'b0a1'", "x'c8fe'", "'a'"]),
    ("gb2312", &["x'b0a1'", "x'f7fe'", "'a'"]),
    ("gbk", &["x'8140'", "x'b0a1'", "x'bf5c'", "x'fe4f'", "'a'"]),
    ("sjis", &["x'835c'", "x'8250'", "x'b1'", "x'eaa4'", "'a'"]),
    ("ujis", &["x'a1a1'", "x'8eb1'", "x'8fa2af'", "'a'"]),
    ("ucs2", &["x'00e4'", "x'0000'", "x'ffff'", "x'd83d'", "x'005c'"]),
    ("utf16", &["x'd83dde00'", "x'0000'", "x'ffff'", "x'005c'"]),
    ("utf16le", &["x'3dd800de'", "x'0000'", "x'5c00'"]),
    ("utf32", &["x'0001f600'", "x'00000000'", "x'0010ffff'", "x'0000005c'"]),
    ("utf8", &["x'00'", "'\u{7ff}'", "'\u{800}'", "'\u{ffff}'", "'a'"]),
    ("utf8mb4", &["x'00'", "'\u{10000}'", "'\u{10ffff}'", "'\u{fffd}'", "'a\u{308}'"]),
];

/// Types are told by names that last as long as the tests.
fn kept(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

fn kept_all(texts: Vec<String>) -> &'static [&'static str] {
    Box::leak(texts.into_iter().map(kept).collect())
}
