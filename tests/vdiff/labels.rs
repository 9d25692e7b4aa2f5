//! ENUM and SET: what a definition does not show, and what prints like something else, is not taken for equal.

use shunt_vdiff::archive::create;
use shunt_vdiff::fix::Fixer;
use shunt_vdiff::spec::Spec;
use shunt_vdiff::table::Progress;
use tokio::sync::watch;

use super::keys::{counts, fill};
use super::mending::rows;
use super::{STRENGTHS, spec, standalone, try_standalone};
use crate::harness::pair::Pair;

/// Servers print these labels with a `?`, the same on both sides.
const UNREADABLE: &[(&str, &str)] = &[
    ("ENUM('\u{1f600}','b') CHARACTER SET utf8mb4", "ENUM('\u{1f601}','b') CHARACTER SET utf8mb4"),
    ("ENUM('\u{1f600}','b') CHARACTER SET utf8mb4", "ENUM('?','b') CHARACTER SET utf8mb4"),
    ("ENUM('?','b') CHARACTER SET latin1", "ENUM('\u{1f600}','b') CHARACTER SET utf16"),
    ("SET('\u{1f600}','b') CHARACTER SET utf32", "SET('\u{1f601}','b') CHARACTER SET utf32"),
    ("ENUM(x'e4','b') CHARACTER SET binary", "ENUM(x'e5','b') CHARACTER SET binary"),
];

#[tokio::test(flavor = "multi_thread")]
async fn labels_that_nobody_can_read_are_refused() {
    let pair = Pair::start().await;
    let table = |columns: &str, rows: &str| {
        format!("CREATE TABLE t ({columns});INSERT INTO t VALUES {rows}")
    };
    for (source, target) in UNREADABLE {
        let plain = |column: &str| {
            table(&format!("id INT PRIMARY KEY, v {column}, w INT"), "(1, 1, 1), (2, 2, 2)")
        };
        fill(&pair, &plain(source), &plain(target)).await;
        let before = rows(&pair).await;
        for strength in STRENGTHS {
            for mut fixer in [Fixer::Nothing, Fixer::repair()] {
                let ended = try_standalone(&pair, spec(strength), &mut fixer).await;
                let error = ended.expect_err(source).to_string();
                assert!(error.contains("column `v`"), "{source} | {target}: {error}");
            }
        }
        assert_eq!(rows(&pair).await, before);
        let some = Spec { columns: vec!["w".into()], ..spec(STRENGTHS[0]) };
        assert_eq!(counts(&standalone(&pair, some, &mut Fixer::Nothing).await), [0; 3]);
        let keyed =
            |column: &str| table(&format!("v {column} PRIMARY KEY, w INT"), "(1, 1), (2, 2)");
        fill(&pair, &keyed(source), &keyed(target)).await;
        let ended = try_standalone(&pair, spec(STRENGTHS[0]), &mut Fixer::Nothing).await;
        assert!(ended.expect_err(source).to_string().contains("column `v`"));
    }
    // There a question mark is one.
    let known =
        table("id INT PRIMARY KEY, v ENUM('?','\u{e4}') CHARACTER SET latin1", "(1, 1), (2, 2)");
    for (source, archived) in [
        (known.as_str(), true),
        (&table("id INT PRIMARY KEY, v ENUM('\u{1f600}') CHARACTER SET utf8mb4", "(1, 1)"), false),
    ] {
        fill(&pair, source, source).await;
        let folder = tempfile::tempdir().unwrap();
        let job = create::Job {
            server: pair.source_config(),
            database: "commerce".into(),
            table: "t".into(),
            folder: folder.path().into(),
        };
        let ended = Box::pin(create::run(&job, &watch::channel(Progress::default()).0)).await;
        match (archived, ended) {
            (true, ended) => {
                assert_eq!(ended.unwrap().rows, 2);
                assert_eq!(
                    counts(&standalone(&pair, spec(STRENGTHS[0]), &mut Fixer::Nothing).await),
                    [0; 3]
                );
            }
            (false, ended) => assert!(ended.unwrap_err().to_string().contains("column `v`")),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_value_and_no_member_are_not_an_empty_text() {
    let pair = Pair::start().await;
    let table = |column: &str, value: &str| {
        format!(
            "CREATE TABLE t (id INT PRIMARY KEY, v {column});INSERT IGNORE INTO t VALUES (1, {value}), (2, NULL)"
        )
    };
    for (source, target) in [
        ("VARCHAR(9)", "ENUM('','a')"),
        ("ENUM('','a')", "VARCHAR(9)"),
        ("VARBINARY(9)", "SET('','a')"),
        ("SET('','a')", "TEXT"),
        ("ENUM('','a')", "SET('b','a')"),
    ] {
        fill(&pair, &table(source, "''"), &table(target, "1")).await;
        let ended = try_standalone(&pair, spec(STRENGTHS[0]), &mut Fixer::Nothing).await;
        assert!(ended.expect_err(target).to_string().contains("`v`"), "{source} | {target}");
    }
    // The error value of an ENUM is 'none', which it has not.
    for (source, here, target, there, differs) in [
        ("VARCHAR(9)", "''", "ENUM('a','b')", "'none'", true),
        ("ENUM('a','b')", "'none'", "VARCHAR(9)", "''", true),
        (
            "ENUM('a','b') CHARACTER SET latin1",
            "'none'",
            "VARCHAR(9) CHARACTER SET utf8mb4",
            "''",
            true,
        ),
        ("SET('a','b')", "''", "ENUM('a','b')", "'none'", true),
        ("ENUM('a','b')", "'none'", "SET('a','b')", "''", true),
        ("ENUM('a','b')", "'none'", "ENUM('b','a')", "'none'", false),
        ("VARBINARY(9)", "''", "SET('a','b')", "''", false),
        ("VARCHAR(9)", "'b'", "ENUM('a','b')", "'b'", false),
    ] {
        fill(&pair, &table(source, here), &table(target, there)).await;
        for strength in STRENGTHS {
            let found = standalone(&pair, spec(strength), &mut Fixer::Nothing).await;
            let expected = [u64::from(differs), 0, 0];
            assert_eq!(counts(&found), expected, "{source} | {target} | {strength:?}: {found:?}");
        }
    }
}

/// The number of its last member is one that servers compare as a negative one.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_a_set_of_64_members_is_compared() {
    let pair = Pair::start().await;
    let labels: Vec<String> = (0..64).map(|at| format!("'l{at}'")).collect();
    let set = |members: usize| labels[..members].join(",");
    let rows = "INSERT INTO t VALUES (1, 1), (5, 1)";
    let table = |members: usize| {
        format!("CREATE TABLE t (k SET({}) PRIMARY KEY, v INT);{rows}", set(members))
    };
    let last = ", (9223372036854775808, 1), (18446744073709551615, 2)";
    let (full, less) = (format!("{}{last}", table(64)), table(63));
    for (source, target, expected) in [
        (&full, full.clone(), [0, 0, 0]),
        (&full, table(64), [0, 2, 0]),
        (&full, format!("{full};UPDATE t SET v = 7 WHERE v = 2"), [0, 1, 1]),
        (&less, full.clone(), [0, 0, 2]),
    ] {
        fill(&pair, source, &target).await;
        for strength in STRENGTHS {
            let found = standalone(&pair, spec(strength), &mut Fixer::Nothing).await;
            assert_eq!(counts(&found), expected, "{strength:?}: {found:?}");
        }
    }
    // The same number is a key like any other as a BIT.
    let bits = format!("CREATE TABLE t (k BIT(64) PRIMARY KEY, v INT);{rows}{last}");
    fill(&pair, &bits, &format!("{bits};UPDATE t SET v = 7 WHERE v = 2")).await;
    let found = standalone(&pair, spec(STRENGTHS[0]), &mut Fixer::Nothing).await;
    assert_eq!(counts(&found), [1, 0, 0]);
}
