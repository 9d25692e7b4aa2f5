//! Tables that are refused as a whole, by preflight, with the reason.

use shunt_engine::preflight::Level;
use shunt_engine::workflow::cancel;
use shunt_engine::workflow::spec::Tuning;
use shunt_engine::workflow::verbs::WaitFor;

use crate::harness::cells;
use crate::harness::pair::{Pair, WORKFLOW, mysql56};

/// What is made, under the name `t`, and words of the reason.
type Odd = (&'static str, &'static str);

const ODD: &[Odd] = &[
    ("CREATE TABLE t (id INT PRIMARY KEY) WITH SYSTEM VERSIONING", "system versioning"),
    (
        "CREATE TABLE t (id INT, a DATE, b DATE, PERIOD FOR p (a, b), UNIQUE (id, p WITHOUT OVERLAPS))",
        "no overlapping periods",
    ),
    ("CREATE SEQUENCE t", "It is a sequence"),
    ("CREATE VIEW t AS SELECT 1", "It is a view"),
    (
        "CREATE SEQUENCE s; CREATE TABLE t (id INT PRIMARY KEY, v INT DEFAULT NEXTVAL(s))",
        "which is taken from a sequence",
    ),
    ("CREATE TABLE t (id INT PRIMARY KEY) ENGINE=Aria", "engine is Aria"),
    ("CREATE TABLE t (id INT PRIMARY KEY, v TEXT, UNIQUE KEY (v))", "kept as a hash"),
    (
        "SET GLOBAL mysql56_temporal_format=OFF; CREATE TABLE t (id INT PRIMARY KEY, v TIME(3)); \
         SET GLOBAL mysql56_temporal_format=ON",
        "mariadb-5.3",
    ),
];

/// What MySQL 5.6 does not take; it comes to no other harm than that the move does not start.
const TO_MYSQL: &[Odd] = &[
    ("CREATE TABLE t (v VARCHAR(255) CHARACTER SET utf8mb4 PRIMARY KEY)", "more than 767 bytes"),
    (
        "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(256) CHARACTER SET utf8mb3, KEY (v))",
        "more than 767 bytes",
    ),
    ("CREATE TABLE t (id INT PRIMARY KEY, v INT AS (id) VIRTUAL)", "which the server computes"),
    ("CREATE TABLE t (id INT PRIMARY KEY, a DATE, b DATE, PERIOD FOR p (a, b))", "a period"),
    ("CREATE TABLE t (id INT PRIMARY KEY, v POINT NOT NULL, SPATIAL KEY s (v))", "spatial key"),
];

/// What it takes.
const ADMITTED: &[&str] = &[
    "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(191) CHARACTER SET utf8mb4, KEY (v))",
    "CREATE TABLE t (id INT PRIMARY KEY, v TEXT CHARACTER SET utf8mb4, KEY (v(191)))",
    "CREATE TABLE t (id INT PRIMARY KEY, v JSON CHECK (JSON_LENGTH(v) > 1 AND JSON_VALID(v)), CHECK (id > 3))",
];

async fn check(pair: &Pair, tables: impl Iterator<Item = (&str, Option<&str>)>) {
    let mut source = pair.on_source().await;
    for (create, why) in tables {
        for statement in create.split("; ") {
            source.execute(statement).await.unwrap();
        }
        let findings = pair.findings(&["t"]).await;
        let errors: Vec<_> = findings.into_iter().filter(|f| f.level == Level::Error).collect();
        match why {
            None => assert!(errors.is_empty(), "{create}: {errors:#?}"),
            Some(why) => {
                assert!(errors.iter().any(|f| f.reason.contains(why)), "{create}: {errors:#?}");
            }
        }
        let is = |kind: &&str| create.starts_with(&format!("CREATE {kind} t"));
        let kind = ["VIEW", "SEQUENCE"].into_iter().find(is);
        source.execute(format!("DROP {} t", kind.unwrap_or("TABLE"))).await.unwrap();
    }
}

/// A SET of 64 members.
fn widest_set() -> String {
    let members: Vec<String> = (1..=64).map(|member| format!("'{member}'")).collect();
    format!("SET({})", members.join(","))
}

/// Beside a number a SET is signed: rows with the 64th member stayed on the target when they were deleted on the source.
#[tokio::test(flavor = "multi_thread")]
async fn the_64th_member_is_found_in_a_row_and_refused_in_a_key() {
    let pair = Pair::start().await;
    let mut source = pair.on_source().await;
    let set = widest_set();
    source.execute(format!("CREATE TABLE k (v {set} NOT NULL PRIMARY KEY)")).await.unwrap();
    let findings = pair.findings(&["k"]).await;
    let refused = |f: &shunt_engine::preflight::Finding| {
        f.level == Level::Error && f.reason.contains("SET of 64 members")
    };
    assert!(findings.iter().any(refused), "{findings:#?}");
    for statement in [
        &format!("CREATE TABLE t (v {set})"),
        "INSERT INTO t VALUES (18446744073709551615), (9223372036854775808), (1), (9223372036854775809)",
    ] {
        source.execute(statement).await.unwrap();
    }
    let mut moved = pair.create(&["t"], Tuning::default()).await;
    moved.run().await;
    moved.wait(WaitFor::Running).await.unwrap();
    for statement in ["DELETE FROM t LIMIT 2", "UPDATE t SET v = 9223372036854775808 WHERE v < 0"] {
        assert!(source.execute(statement).await.unwrap().affected > 0, "{statement}");
    }
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    let mut target = pair.on_target().await;
    assert_eq!(cells::differs(&mut source, &mut target, "t").await, None);
    moved.cancel().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_tables_are_refused_with_the_reason() {
    let pair = Pair::start().await;
    check(&pair, ODD.iter().map(|(create, why)| (*create, Some(*why)))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_mysql_does_not_take_is_noticed_before_the_copy() {
    let pair = Pair::with(None, Some(mysql56()), &[], &[]).await;
    check(&pair, ODD.iter().chain(TO_MYSQL).map(|(create, why)| (*create, Some(*why)))).await;
    check(&pair, ADMITTED.iter().map(|create| (*create, None))).await;
}

/// Two values read like an empty label: copied by its text, the error value of an ENUM became that label, and a SET of the label
/// alone lost it.
#[tokio::test(flavor = "multi_thread")]
async fn what_reads_like_an_empty_label_is_told_apart() {
    let pair = Pair::start().await;
    let mut source = pair.on_source().await;
    for (kind, number, carried) in [
        ("ENUM('a','') CHARACTER SET latin1", "'none'", false),
        ("ENUM('a','') CHARACTER SET utf16", "'none'", false),
        ("SET('a','') CHARACTER SET utf8mb4", "2", true),
    ] {
        for streamed in [false, true] {
            let insert = format!("INSERT IGNORE INTO t VALUES (1, {number})");
            source.execute(format!("CREATE TABLE t (id INT PRIMARY KEY, v {kind})")).await.unwrap();
            source.execute("INSERT INTO t VALUES (0, ''), (2, 'a'), (3, NULL)").await.unwrap();
            if !streamed {
                source.execute(&insert).await.unwrap();
            }
            let mut moved = pair.create(&["t"], Tuning::default()).await;
            moved.run().await;
            if streamed {
                moved.wait(WaitFor::CaughtUp).await.unwrap();
                source.execute(&insert).await.unwrap();
            }
            if carried && streamed {
                moved.wait(WaitFor::CaughtUp).await.unwrap();
                let mut target = pair.on_target().await;
                assert_eq!(cells::differs(&mut source, &mut target, "t").await, None);
                moved.cancel().await.unwrap();
            } else {
                let error = moved.ended().await.unwrap_err().to_string();
                assert!(error.contains("ERROR 1265"), "{kind} {streamed}: {error}");
            }
            cancel::cancel(&mut pair.on_target().await, WORKFLOW, false).await.unwrap();
            source.execute("DROP TABLE t").await.unwrap();
        }
    }
}

/// MariaDB's TIME goes on to 838:59:59.999999, MySQL's ends with that second.
#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_mysql_does_not_have_stops_copy_and_stream() {
    let pair = Pair::with(None, Some(mysql56()), &[], &[]).await;
    let mut source = pair.on_source().await;
    for late in ["838:59:59.5", "-838:59:59.5"] {
        for streamed in [false, true] {
            let insert = format!("INSERT INTO t VALUES (1, '{late}')");
            source.execute("CREATE TABLE t (id INT PRIMARY KEY, v TIME(1))").await.unwrap();
            source.execute("INSERT INTO t VALUES (0, '838:59:59')").await.unwrap();
            if !streamed {
                source.execute(&insert).await.unwrap();
            }
            let mut moved = pair.create(&["t"], Tuning::default()).await;
            moved.run().await;
            if streamed {
                moved.wait(WaitFor::CaughtUp).await.unwrap();
                source.execute(&insert).await.unwrap();
            }
            let error = moved.ended().await.unwrap_err().to_string();
            assert!(error.contains("`t`"), "{late} {streamed}: {error}");
            cancel::cancel(&mut pair.on_target().await, WORKFLOW, false).await.unwrap();
            source.execute("DROP TABLE t").await.unwrap();
        }
    }
}

/// As long as its type admits, a value is held only if it becomes shorter: a target that compresses nothing has no place for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_the_target_does_not_make_shorter_stops_copy_and_stream() {
    let pair = Pair::start().await;
    pair.on_target().await.execute("SET GLOBAL column_compression_zlib_level = 0").await.unwrap();
    let mut source = pair.on_source().await;
    // A space too many is cut off with a note, anything else is an error.
    for (kind, last, code, streamed) in [
        ("TINYBLOB", "a", "ERROR 1406", false),
        ("TINYBLOB", "a", "ERROR 1406", true),
        ("TINYTEXT", " ", "ERROR 1265", false),
        ("TINYTEXT", " ", "ERROR 1265", true),
    ] {
        let insert = format!("INSERT INTO t VALUES (1, CONCAT(REPEAT('a', 254), '{last}'))");
        let create = format!("CREATE TABLE t (id INT PRIMARY KEY, v {kind} COMPRESSED)");
        source.execute(create).await.unwrap();
        source.execute("INSERT INTO t VALUES (0, REPEAT('a', 254))").await.unwrap();
        if !streamed {
            source.execute(&insert).await.unwrap();
        }
        let mut moved = pair.create(&["t"], Tuning::default()).await;
        moved.run().await;
        if streamed {
            moved.wait(WaitFor::CaughtUp).await.unwrap();
            source.execute(&insert).await.unwrap();
        }
        let error = moved.ended().await.unwrap_err().to_string();
        assert!(error.contains(code), "{kind} {streamed}: {error}");
        cancel::cancel(&mut pair.on_target().await, WORKFLOW, false).await.unwrap();
        source.execute("DROP TABLE t").await.unwrap();
    }
}

/// So near its precision a DOUBLE with digits is not always what it was when it is written again.
#[tokio::test(flavor = "multi_thread")]
async fn a_double_that_servers_round_again_is_a_warning() {
    let pair = Pair::start().await;
    for (kind, warned) in [
        ("DOUBLE(20,15)", true),
        ("DOUBLE(16,15) UNSIGNED", true),
        ("DOUBLE(15,14)", false),
        ("DOUBLE(20,5)", false),
        ("DOUBLE", false),
        ("FLOAT(30,20)", false),
        ("DECIMAL(65,30)", false),
    ] {
        let create = format!("CREATE OR REPLACE TABLE t (id INT PRIMARY KEY, v {kind})");
        pair.on_source().await.execute(create).await.unwrap();
        let findings = pair.findings(&["t"]).await;
        assert!(findings.iter().all(|f| f.level != Level::Error), "{kind}: {findings:#?}");
        let rounds = findings.iter().any(|f| f.subject == "t.v" && f.reason.contains("rounds"));
        assert_eq!(rounds, warned, "{kind}: {findings:#?}");
    }
}

/// A table that is there already is taken only if it has the same character sets.
#[tokio::test(flavor = "multi_thread")]
async fn another_character_set_on_the_target_is_refused() {
    let pair = Pair::start().await;
    let create = |charset: &str| {
        format!("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(9) CHARACTER SET {charset})")
    };
    pair.on_source().await.execute(create("latin1")).await.unwrap();
    for (charset, refused) in [("latin1", false), ("utf8mb4", true), ("binary", true)] {
        let mut target = pair.on_target().await;
        target.execute("DROP TABLE IF EXISTS t").await.unwrap();
        target.execute(create(charset)).await.unwrap();
        let findings = pair.findings(&["t"]).await;
        let differs = findings
            .iter()
            .any(|f| f.level == Level::Error && f.reason.contains("column v differs"));
        assert_eq!(differs, refused, "{charset}: {findings:#?}");
    }
}
