//! A text beside one of another character set: what a server makes of it, and where that is not the same text any more.
//!
//! A server converts by way of Unicode and writes `?` (from some sets U+FFFD) for what it does not know. A conversion is *sure* if every
//! text goes there and comes back the same: between sets of Unicode (to UTF-16 only from itself: the others may hold half a character), and from sets of which each byte is a character of Unicode (taken
//! from the servers' own tables, byte by byte). Of any other the source says for each value whether something was lost:
//! - on the way to Unicode, if there are other characters beside `?` and U+FFFD than before. (That it comes back is too much to ask: some
//!   sets have two codes for one character, which is the same text after the move.)
//! - on the way from Unicode, if it does not come back.
//!
//! What was lost is printed as [`mark`] and its bytes instead. The mark is 128 bits chosen at random by this process, so that no value of the
//! target is like it, whatever it may hold; "?" on the target is then not taken for what the source has.
//!
//! A **key** is looked up on the source by what it was converted to. That finds it only where it comes back, so only a sure pair
//! names keys, and one from ASCII: there the only bytes that do not come back are no ASCII, and the mark before them names no row on any side.
//! (Not beside a set that is no Unicode, of which a server compares no other character with ASCII.)

use std::sync::OnceLock;

use super::charset_name;

/// All of Unicode.
const FULL: [&str; 4] = ["utf8mb4", "utf16", "utf16le", "utf32"];
/// Of [`FULL`] those where two codes make a character, which have none for half of it (a surrogate by itself), as the others may.
const PAIRED: [&str; 2] = ["utf16", "utf16le"];
/// Its first 65536 characters.
const BASIC: [&str; 2] = ["utf8mb3", "ucs2"];
/// Each byte is a character of [`BASIC`], and no two are the same.
const WHOLE: [&str; 9] =
    ["latin1", "latin2", "latin5", "latin7", "koi8r", "koi8u", "cp850", "cp852", "cp866"];

/// Whether every text goes there and comes back.
pub(super) fn is_sure(from: &str, to: &str) -> bool {
    let (from, to) = (charset_name(from), charset_name(to));
    let narrow = BASIC.contains(&from) || WHOLE.contains(&from);
    from == to
        || PAIRED.contains(&to) && (PAIRED.contains(&from) || WHOLE.contains(&from))
        || !PAIRED.contains(&to) && FULL.contains(&to) && (FULL.contains(&from) || narrow)
        || BASIC.contains(&to) && narrow
}

/// Whether a key can be looked up by what it is converted to.
pub(super) fn names_key(from: &str, to: &str) -> bool {
    let unicode = FULL.contains(&charset_name(to)) || BASIC.contains(&charset_name(to));
    is_sure(from, to) || from == "ascii" && unicode
}

/// A condition, with `{}` for the column, that holds where the conversion loses something; none if it never does.
pub(super) fn lost(from: &str, to: &str) -> Option<String> {
    if is_sure(from, to) {
        return None;
    }
    let unicode = |text: &str| format!("CONVERT({text} USING utf8mb4)");
    let known = |text: &str| format!("REPLACE({text},_latin1 x'3f',_latin1 x'')");
    let mut conditions = Vec::new();
    if !is_sure(from, "utf8mb4") {
        let after = format!("REPLACE({},_utf8mb4 x'efbfbd',_utf8mb4 x'')", known(&unicode("{}")));
        conditions.push(format!("CHAR_LENGTH({after})<>CHAR_LENGTH({})", known("{}")));
    }
    if !is_sure("utf8mb4", to) {
        let back = unicode(&format!("CONVERT({{}} USING {to})"));
        let there = unicode("{}");
        conditions.push(format!("CAST({back} AS BINARY)<>CAST({there} AS BINARY)"));
    }
    Some(conditions.join(" OR "))
}

/// Whether its ASCII is not of one byte each, so that its bytes are not those of the same number or time as servers print it.
pub(super) fn is_wide(charset: &str) -> bool {
    matches!(charset, "ucs2" | "utf16" | "utf16le" | "utf32")
}

/// What stands before the bytes of a value that was lost.
pub(super) fn mark() -> &'static [u8] {
    static MARK: OnceLock<Vec<u8>> = OnceLock::new();
    MARK.get_or_init(|| {
        // No text in UTF-8 begins so.
        let mut mark = vec![0xff];
        mark.extend_from_slice(uuid::Uuid::new_v4().as_bytes());
        mark
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_back_names_a_key() {
        for (from, to) in [
            ("utf8", "utf8mb3"),
            ("utf8mb3", "utf8mb4"),
            ("utf16", "utf8mb4"),
            ("latin1", "utf8mb4"),
            ("latin2", "utf8"),
            ("ascii", "utf8mb4"),
            ("utf16", "utf16le"),
            ("latin1", "utf16"),
            ("cp1251", "cp1251"),
        ] {
            assert!(names_key(from, to), "{from} {to}");
        }
        for (from, to) in [
            ("utf8mb4", "utf8mb3"),
            ("utf8mb4", "latin1"),
            ("utf8mb4", "utf16"),
            ("utf8mb3", "utf16le"),
            ("ucs2", "utf16"),
            ("utf32", "utf16"),
            ("latin1", "ascii"),
            ("ascii", "latin1"),
            ("latin1", "latin2"),
            ("cp1251", "utf8mb4"),
            ("cp932", "utf8mb4"),
            ("big5", "utf8mb4"),
        ] {
            assert!(!names_key(from, to), "{from} {to}");
            assert!(lost(from, to).is_some());
        }
        assert_eq!(lost("latin1", "utf8mb4"), None);
        assert!(lost("utf8mb3", "utf16").unwrap().contains("USING utf16)"));
    }

    #[test]
    fn only_the_way_that_may_lose_is_looked_at() {
        let to_latin1 = lost("utf8mb4", "latin1").unwrap();
        assert!(to_latin1.contains("latin1") && !to_latin1.contains("CHAR_LENGTH"), "{to_latin1}");
        let from_big5 = lost("big5", "utf8mb4").unwrap();
        assert!(from_big5.contains("CHAR_LENGTH") && !from_big5.contains(" OR "), "{from_big5}");
        assert!(lost("ascii", "latin1").unwrap().contains(" OR "));
        assert_eq!((mark()[0], mark().len(), mark()), (0xff, 17, mark()));
    }
}
