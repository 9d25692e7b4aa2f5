//! Texts that another character set cannot hold, and keys that are another kind of value on the target: nothing of them is taken for equal,
//! and no row is deleted for them.

use std::time::Duration;

use shunt_vdiff::fix::Fixer;
use shunt_vdiff::spec::Spec;

use super::keys::{counts, fill};
use super::mending::rows;
use super::{STRENGTHS, spec, standalone, try_standalone};
use crate::harness::pair::Pair;

/// Keys are looked up by what is printed: the text '1' is no key of a number that prints as 0001.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_key_is_a_text_here_and_a_number_there_is_not_repaired() {
    let pair = Pair::start().await;
    let moment =
        "CONCAT('2020-01-01 00:', LPAD(seq DIV 60, 2, '0'), ':', LPAD(seq MOD 60, 2, '0'))";
    for (source, target, key) in [
        ("VARCHAR(9)", "INT(4) ZEROFILL", "seq"),
        ("VARCHAR(9)", "DECIMAL(12,2)", "seq"),
        ("VARCHAR(30)", "DATETIME(3)", moment),
        ("VARCHAR(9)", "BINARY(5)", "seq"),
        ("VARBINARY(9)", "CHAR(9) CHARACTER SET latin1", "seq"),
    ] {
        let create = |column: &str| {
            format!(
                "CREATE TABLE t (k {column} PRIMARY KEY, v INT);INSERT INTO t SELECT {key}, 1 FROM seq_1_to_300"
            )
        };
        fill(&pair, &create(source), &create(target)).await;
        let ended = try_standalone(&pair, spec(STRENGTHS[0]), &mut Fixer::repair()).await;
        let error = ended.expect_err(target).to_string();
        assert!(error.contains("cannot be repaired"), "{target}: {error}");
        assert_eq!(rows(&pair).await.len(), 300, "{target}: no row is lost");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_whose_key_cannot_be_held_is_missing() {
    let pair = Pair::start().await;
    for (from, key, to, there) in [
        ("utf8mb4", "_utf8mb4 x'f09f9880'", "utf8mb3", "?"),
        ("utf8mb4", "_utf8mb4 x'f09f9880'", "latin1", "?"),
        ("cp932", "x'ed40'", "utf8mb4", "\u{7e8a}"),
        ("big5", "x'a1fe'", "utf8mb4", "\u{fffd}"),
    ] {
        let create = |charset: &str| {
            format!(
                "CREATE TABLE t (k VARCHAR(9) CHARACTER SET {charset} COLLATE {charset}_bin PRIMARY KEY, v INT)"
            )
        };
        let source = format!("{};INSERT INTO t VALUES ({key}, 1), ('b', 1)", create(from));
        let missing = format!("{};INSERT INTO t VALUES ('b', 1)", create(to));
        let other = format!("{missing}, ('{there}', 2)");
        for strength in STRENGTHS {
            fill(&pair, &source, &missing).await;
            let table = standalone(&pair, spec(strength), &mut Fixer::Nothing).await;
            assert_eq!(counts(&table), [0, 1, 0], "{from} {to} {strength:?}: {table:?}");
            fill(&pair, &source, &other).await;
            let table = standalone(&pair, spec(strength), &mut Fixer::Nothing).await;
            assert_eq!(counts(&table), [0, 1, 1], "{from} {to} {strength:?}: {table:?}");
        }
        let before = rows(&pair).await;
        let ended = try_standalone(&pair, spec(STRENGTHS[1]), &mut Fixer::repair()).await;
        assert!(ended.expect_err(from).to_string().contains("cannot be repaired"));
        assert_eq!(rows(&pair).await, before);
    }
}

/// A column of ASCII can hold what is not ASCII; a '?' on the target is not its key.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_ascii_that_is_none_ends_the_comparison() {
    let pair = Pair::start().await;
    for charset in ["utf8mb4", "utf8mb3"] {
        let create = |charset: &str| {
            format!("CREATE TABLE t (k VARCHAR(9) CHARACTER SET {charset} PRIMARY KEY, v INT)")
        };
        let source = format!("{};INSERT INTO t VALUES (x'e4', 1), ('b', 1)", create("ascii"));
        let missing = format!("{};INSERT INTO t VALUES ('b', 1)", create(charset));
        for other in ["", ", ('?', 1)", ", ('?', 2)"] {
            fill(&pair, &source, &format!("{missing}{other}")).await;
            let before = rows(&pair).await;
            for strength in STRENGTHS {
                for mut fixer in [Fixer::Nothing, Fixer::repair()] {
                    let ended = try_standalone(&pair, spec(strength), &mut fixer).await;
                    let error = ended.expect_err("the row is not found by '?'").to_string();
                    assert!(error.contains("no characters of"), "{charset}{other}: {error}");
                    assert_eq!(rows(&pair).await, before);
                }
            }
        }
    }
}

/// The source's character set and value, the target's, whether they are equal.
const TEXTS: &[(&str, &str, &str, &str, bool)] = &[
    ("VARCHAR(9)", "utf8mb4 _utf8mb4 x'61f09f9880'", "VARCHAR(9)", "utf8mb3 'a?'", false),
    ("VARCHAR(9)", "utf8mb4 _utf8mb4 x'61f09f9880'", "VARCHAR(9)", "latin1 'a?'", false),
    ("TEXT", "utf8mb4 _utf8mb4 x'61f09f9880'", "CHAR(9)", "latin1 'a?'", false),
    ("ENUM('\u{3a9}', 'b')", "utf8mb4 1", "VARCHAR(9)", "latin1 '?'", false),
    ("VARCHAR(9)", "ascii x'61e4'", "VARCHAR(9)", "utf8mb4 'a?'", false),
    ("VARCHAR(9)", "cp1251 x'98'", "VARCHAR(9)", "utf8mb4 '?'", false),
    ("VARCHAR(9)", "cp1251 x'98'", "VARCHAR(9)", "koi8r '?'", false),
    ("VARCHAR(9)", "big5 x'a1fe'", "VARCHAR(9)", "utf8mb4 _utf8mb4 x'efbfbd'", false),
    ("VARCHAR(9)", "cp932 x'ed403f'", "VARCHAR(9)", "utf8mb4 _utf8mb4 x'e7ba8a3f'", true),
    ("VARCHAR(9)", "utf8mb4 '\u{e9}?'", "VARCHAR(9)", "latin1 '\u{e9}?'", true),
    ("VARCHAR(9)", "ucs2 '\u{e9}?'", "VARCHAR(9)", "latin1 '\u{e9}?'", true),
    ("VARCHAR(9)", "utf8mb4 'a?'", "VARCHAR(9)", "utf16 'a?'", true),
    ("CHAR(9)", "ascii 'a?'", "CHAR(9)", "latin1 'a?'", true),
    ("VARCHAR(9)", "utf8mb3 _utf8mb3 x'eda080'", "VARCHAR(9)", "utf16 '?'", false),
    ("VARCHAR(9)", "ucs2 _ucs2 x'd800'", "VARCHAR(9)", "utf16 '?'", false),
    ("VARCHAR(9)", "utf8mb4 '\u{1f600}?'", "VARCHAR(9)", "utf16le '\u{1f600}?'", true),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_cannot_be_held_is_not_equal_to_its_question_mark() {
    let pair = Pair::start().await;
    for &(source, here, target, there, equal) in TEXTS {
        let table = |column: &str, value: &str| {
            let (charset, value) = value.split_once(' ').unwrap();
            format!(
                "CREATE TABLE t (id INT PRIMARY KEY, v {column} CHARACTER SET {charset});INSERT INTO t VALUES (1, {value}), (2, NULL)"
            )
        };
        fill(&pair, &table(source, here), &table(target, there)).await;
        for strength in STRENGTHS {
            let found = standalone(&pair, spec(strength), &mut Fixer::Nothing).await;
            let expected = [u64::from(!equal), 0, 0];
            assert_eq!(counts(&found), expected, "{here} | {there} | {strength:?}: {found:?}");
            if source.starts_with("TEXT") {
                let shown = &found.mismatched_sample[0].source.row["v"];
                assert_eq!(shown, "a\u{1f600}", "what the source has is shown, not a mark");
            }
        }
        if !equal {
            let before = rows(&pair).await;
            let ended = try_standalone(&pair, spec(STRENGTHS[0]), &mut Fixer::repair()).await;
            let error = ended.expect_err("it does not fit").to_string();
            assert!(error.contains("column `v`"), "{error}");
            assert_eq!(rows(&pair).await, before);
        }
    }
}

/// Rows that nobody writes are never unsettled, however long it takes to get at them.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_rest_are_settled_though_their_time_is_over() {
    let pair = Pair::start().await;
    let create = "CREATE TABLE t (k VARCHAR(20) COLLATE utf8mb4_general_ci PRIMARY KEY, v INT)";
    let many = "INSERT INTO t SELECT CONCAT('key ', seq), 1 FROM seq_1_to_3000";
    // One is there in other letters: it is a pair with that of the source.
    let target = format!("{create};INSERT INTO t VALUES ('KEY 7', 1), ('key 8', 2)");
    fill(&pair, &format!("{create};{many}"), &target).await;
    let short = Spec { recheck_for: Duration::from_millis(1), ..spec(STRENGTHS[0]) };
    let table = standalone(&pair, short, &mut Fixer::repair()).await;
    assert_eq!((counts(&table), table.unsettled), ([2, 2998, 0], 0));
    assert_eq!(table.repaired, 3000);
    let table = standalone(&pair, spec(STRENGTHS[1]), &mut Fixer::Nothing).await;
    assert_eq!((counts(&table), table.matching), ([0; 3], 3000));
}

/// More bytes of keys than are held at once: the range is cut.
#[tokio::test(flavor = "multi_thread")]
async fn a_range_of_wide_keys_is_compared_in_parts() {
    let pair = Pair::start().await;
    let create = "CREATE TABLE t (k VARBINARY(3000) PRIMARY KEY, v INT)";
    let many = |from: u32| {
        format!("{create};INSERT INTO t SELECT RPAD(seq, 2900, 'x'), 1 FROM seq_{from}_to_8000")
    };
    for (source, target, expected) in [
        (create.to_owned(), many(1), [0, 0, 8000]),
        (many(1), create.to_owned(), [0, 8000, 0]),
        (many(1), many(11), [0, 10, 0]),
    ] {
        fill(&pair, &source, &target).await;
        for strength in STRENGTHS {
            let spec = Spec { only_pks: true, sample_rows: 2, ..spec(strength) };
            let table = standalone(&pair, spec, &mut Fixer::Nothing).await;
            assert_eq!((counts(&table), table.unsettled), (expected, 0), "{strength:?}");
        }
    }
}
