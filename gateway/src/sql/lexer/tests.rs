use proptest::prelude::*;

use super::*;

fn words(sql: &[u8], mode: Mode) -> Vec<String> {
    let tokens = lex(sql, mode);
    let text = |t: &Token| String::from_utf8_lossy(&sql[t.start..t.end]).into_owned();
    tokens.list.iter().map(text).collect()
}

#[test]
fn tokens_are_told_apart() {
    let mode = Mode::default();
    assert_eq!(
        words(b"select a.`b``c`,'it''s \\'x', @v.w -- x\n@@y;#", mode),
        ["select", "a", ".", "`b``c`", ",", "'it''s \\'x'", ",", "@v.w", "@@", "y", ";"]
    );
    assert_eq!(words(b"1--1/* x ' */2--", mode), ["1", "-", "-", "1", "2"]);
}

#[test]
fn numbers_end_where_the_server_ends_them() {
    for (sql, expected) in [
        ("1.0from", "1.0 from"),
        ("1.from", "1. from"),
        (".5from", ".5 from"),
        ("1e+0from", "1e+0 from"),
        ("1E5from", "1E5 from"),
        ("1.5e-3from", "1.5e-3 from"),
        ("1from", "1from"),
        ("1e", "1e"),
        ("1e+x", "1e + x"),
        ("1ex.1", "1ex . 1"),
        ("0x1f", "0x1f"),
        ("0x1from", "0x1from"),
        ("0xg", "0xg"),
        ("0b01", "0b01"),
        ("0b2", "0b2"),
        ("0X1.5", "0X1 . 5"),
        ("1.2.3", "1.2 .3"),
        ("1..2", "1. .2"),
        ("0x1.5", "0x1 .5"),
        ("t.1e5from", "t . 1e5from"),
        ("t.1.2x", "t . 1 . 2x"),
        ("t .1from", "t .1 from"),
        ("t. 1from", "t . 1from"),
        ("`t`.1from", "`t` .1 from"),
        ("*.1from", "* .1 from"),
        ("a.b", "a . b"),
        (".", "."),
        ("1", "1"),
    ] {
        let tokens = lex(sql.as_bytes(), Mode::default());
        let found: Vec<&str> = tokens.list.iter().map(|t| &sql[t.start..t.end]).collect();
        assert_eq!(found.join(" "), expected, "{sql}");
        assert!(!tokens.uncertain, "{sql}");
    }
    for sql in ["1.e", "commerce 1.e.corder", ".5e(", "1.0e+ from"] {
        assert!(lex(sql.as_bytes(), Mode::default()).uncertain, "{sql}");
    }
}

#[test]
fn bytes_that_may_be_anything_are_doubted() {
    let ascii = Mode { charset: Charset::Ascii, ..Mode::default() };
    let latin1 = Mode { charset: Charset::Latin1, ..Mode::default() };
    for (sql, mode, uncertain) in [
        (&b"truncate table\xa0customer"[..], latin1, true),
        (b"truncate table\xa0customer", ascii, true),
        (b"select gr\xf6\xdfe from t", latin1, false),
        (b"select gr\xf6\xdfe from t", ascii, true),
        (b"select '\xa0', `\xa0` -- \xa0", ascii, false),
        (b"select @\xa0x", ascii, true),
        (b"select \xc2\xa0x", Mode::default(), false),
        (b"select 1 -- \0\n", latin1, true),
        (b"select `a\0`", latin1, true),
        (b"select 1\0", latin1, false),
        (b"select\0 1", latin1, true),
    ] {
        assert_eq!(lex(sql, mode).uncertain, uncertain, "{:?}", sql.escape_ascii().to_string());
    }
    // Any control character makes it a comment.
    assert_eq!(lex(b"1 --\x7f 2\n3", Mode::default()).list.len(), 2);
}

#[test]
fn settings_change_what_quotes_mean() {
    let kinds =
        |sql: &[u8], mode| lex(sql, mode).list.iter().map(|token| token.kind).collect::<Vec<_>>();
    let ansi = Mode { ansi_quotes: true, ..Mode::default() };
    assert_eq!(kinds(b"\"a\"", Mode::default()), [Kind::Text]);
    assert_eq!(kinds(b"\"a\"", ansi), [Kind::Name]);
    let plain = Mode { no_backslash_escapes: true, ..Mode::default() };
    assert_eq!(kinds(b"'\\' x", plain), [Kind::Text, Kind::Word]);
    assert!(lex(b"'\\' x", Mode::default()).uncertain);
    // A variable's name in quotes is read as a string.
    assert_eq!(kinds(b"@'\\'' x", Mode::default()), [Kind::Variable, Kind::Word]);
    assert_eq!(kinds(b"@'\\' x", plain), [Kind::Variable, Kind::Word]);
    assert_eq!(kinds(b"@\"\\\" x", ansi), [Kind::Variable, Kind::Word]);
}

#[test]
fn second_bytes_are_not_quotes() {
    // 0x815c is one character in gbk and sjis, 0x8160 too.
    let gbk = Mode { charset: Charset::Gbk, ..Mode::default() };
    assert_eq!(lex(b"'\x81\x5c' x", gbk).list.len(), 2);
    assert!(lex(b"'\x81\x5c' x", Mode::default()).uncertain);
    assert_eq!(lex(b"`\x81\x60` x", gbk).list.len(), 2);
    // A backslash takes one byte, and leaves the other one to be a backslash itself.
    for mode in [gbk, Mode { charset: Charset::Sjis, ..Mode::default() }] {
        let kinds = lex(b"'\\\x83\\', ' x -- '", mode).list;
        assert_eq!(kinds.iter().map(|t| t.kind).collect::<Vec<_>>(), [Kind::Text, Kind::Word]);
    }
    // A variable ends where one may begin.
    assert!(lex(b"@\x81\x60 a\x60 from t where 1 = \x60a\x60", gbk).uncertain);
    let gb18030 = Mode { charset: Charset::Gb18030, ..Mode::default() };
    assert_eq!(lex(b"'\x81\x30\x81\x30\x81\x5c' x", gb18030).list.len(), 2);
}

#[test]
fn versioned_comments_are_read_and_doubted() {
    let old = lex(b"/*!40000 ALTER */ x", Mode::default());
    assert!(old.list.len() == 2 && !old.uncertain);
    for sql in [&b"/*!80000 x */ y"[..], b"/*M!100100 x */ y", b"/*!500001 x */", b"/*! x", b"/* x"]
    {
        assert!(lex(sql, Mode::default()).uncertain, "{sql:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(
        prop_oneof![any::<u8>(), proptest::sample::select(&b"'\"`\\/*!-#@; \n\x81\x5c.0a"[..])], 0..60),
        charset in 0..7_usize, ansi_quotes: bool, no_backslash_escapes: bool)
    {
        let charset = [Charset::Utf8, Charset::Ascii, Charset::Latin1, Charset::Gbk, Charset::Big5, Charset::Sjis, Charset::Gb18030][charset];
        let tokens = lex(&bytes, Mode { charset, ansi_quotes, no_backslash_escapes });
        let mut at = 0;
        for token in &tokens.list {
            prop_assert!(token.start >= at && token.end > token.start && token.end <= bytes.len());
            at = token.end;
        }
    }
}
