//! `--where`, `--columns` and `--map`: a condition means what was typed, on both sides, or it is refused.

use shunt_engine::ErrorKind;
use shunt_vdiff::fix::Fixer;
use shunt_vdiff::spec::Spec;

use super::keys::{counts, fill};
use super::{STRENGTHS, spec, standalone, try_standalone};
use crate::harness::binary::Binary;
use crate::harness::pair::Pair;
use crate::harness::site::Site;

/// Conditions, and how many of the three rows they hold for.
const CONDITIONS: &[(&str, u64)] = &[
    ("l = 'ä'", 1),
    ("l LIKE 'ä%' OR w = \"ö\"", 2),
    ("w = 'abc'", 1),
    ("w IN ('abc', 'ö')", 2),
    ("l = _utf8mb4 x'c3a4'", 1),
    ("l <> 'ä' AND d >= DATE '2020-01-02'", 2),
    ("d > '2020-01-02' AND CONCAT(l, 'ß') <> 'ß'", 1),
    ("e = 'é' AND id < 3", 1),
    ("id IN (SELECT id FROM information_schema.schemata)", 3),
];

#[tokio::test(flavor = "multi_thread")]
async fn strings_in_a_condition_mean_what_was_typed() {
    let pair = Pair::start().await;
    let create = "CREATE TABLE t (id INT PRIMARY KEY, l VARCHAR(9) CHARACTER SET latin1, w VARCHAR(9) CHARACTER SET utf16, d DATE, \
         e ENUM('é','f') CHARACTER SET latin2, v INT)";
    let rows = "INSERT INTO t VALUES (1, 'ä', 'abc', '2020-01-01', 'é', 1), (2, 'b', 'ö', '2020-01-02', 'f', 1), (3, 'c', '', '2020-01-03', 'f', 1)";
    let table = format!("{create};{rows}");
    fill(&pair, &table, &format!("{table};UPDATE t SET v = 7")).await;
    for (condition, expected) in CONDITIONS {
        for strength in STRENGTHS {
            let some = Spec { filter: Some((*condition).to_owned()), ..spec(strength) };
            let found = standalone(&pair, some, &mut Fixer::Nothing).await;
            assert_eq!(counts(&found), [*expected, 0, 0], "{condition}: {found:?}");
        }
    }
    for condition in ["l = 'a' COLLATE 'ä'", "d > DATE 'ä'"] {
        let some = Spec { filter: Some(condition.to_owned()), ..spec(STRENGTHS[0]) };
        let error = try_standalone(&pair, some, &mut Fixer::Nothing).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{condition}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_compared_as_it_was_typed_is_refused() {
    let pair = Pair::start().await;
    let site = Site::new(&pair, "").await;
    let create = |columns: &str| format!("CREATE TABLE t (id INT PRIMARY KEY, {columns})");
    fill(&pair, &create("a INT, b INT, other INT"), &create("a INT, c INT, other INT")).await;
    pair.on_source().await.execute("CREATE VIEW seen AS SELECT 1 AS id").await.unwrap();
    pair.on_target().await.execute("CREATE SEQUENCE numbers").await.unwrap();
    let whole = "--tables t --map b=c";
    let cases = [
        ("--tables t --columns a --where=", "--where is empty"),
        ("--tables t --columns a --where id<5#", "a comment"),
        ("--tables t --columns a --where id<5/**/", "a comment"),
        ("--tables t --columns a --where id<5)or(1=1", "a parenthesis too many"),
        ("--tables t --columns a --where (id<5", "a parenthesis open"),
        ("--tables t --columns a --where id<'5", "a quote"),
        ("--tables t --columns a --where nosuch=1", "nosuch"),
        ("--tables t --columns a --where b=1", "not understood by the target"),
        ("--tables t --columns a --where id=in=1", "--where"),
        ("--tables t --columns a --where id=(select(1)from(t))", "Name the database"),
        ("--tables t --columns a --limit 0", "--limit"),
        ("--tables t --map b=c --where b=1", "--map"),
        ("--tables t --map b=other", "two columns"),
        ("--tables t --map b=c,b=a", "two columns"),
        ("--tables seen:t", "is a view"),
        ("--tables t:numbers", "is a sequence"),
        ("--tables nowhere", "there is no table"),
    ];
    for (at, (options, expected)) in cases.iter().enumerate() {
        let run =
            format!("vdiff run --source commerce --target customer --state {at}.json {options}");
        let said = site.run(Binary::Plain, None, &run).await;
        assert_eq!(said.code, Some(2), "{options}: {}", said.text);
        assert!(said.text.contains(expected), "{options}: {}", said.text);
    }
    let run = format!(
        "vdiff run --source commerce --target customer {whole} --where id<5 --state all.json"
    );
    let said = site.run(Binary::Plain, None, &run).await;
    assert_eq!(said.code, Some(0), "{}", said.text);
}
