//! Keys that do not tell rows apart alike on both sides, and columns of different types: nothing is taken for equal that is not, and
//! what is equal raises no alarm.

use shunt_engine::workflow::spec::Tuning;
use shunt_engine::workflow::verbs::WaitFor;
use shunt_vdiff::fix::Fixer;
use shunt_vdiff::report::TableRecord;
use shunt_vdiff::spec::{Spec, Strength};

use super::{STRENGTHS, spec, standalone, try_standalone, vdiff};
use crate::harness::compare::assert_equal;
use crate::harness::load::{Load, Random};
use crate::harness::pair::Pair;

/// Makes both tables anew; statements are separated by semicolons.
pub(super) async fn fill(pair: &Pair, source: &str, target: &str) {
    for (mut control, statements) in
        [(pair.on_source().await, source), (pair.on_target().await, target)]
    {
        control.execute("DROP TABLE IF EXISTS t").await.unwrap();
        for statement in statements.split(';') {
            control.execute(statement).await.unwrap();
        }
    }
}

pub(super) fn counts(table: &TableRecord) -> [u64; 3] {
    [table.mismatched, table.extra_source, table.extra_target]
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_share_a_key_on_one_side_are_found() {
    let pair = Pair::start().await;
    let rows = "INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)";
    let text = |collation: &str| {
        format!(
            "CREATE TABLE t (id VARCHAR(9) COLLATE {collation} PRIMARY KEY, v INT);INSERT INTO t VALUES ('a', 1), ('b', 2)"
        )
    };
    let (ci, bin) = (text("utf8mb4_general_ci"), text("utf8mb4_bin"));
    let many = "INSERT INTO t SELECT seq, seq FROM seq_1_to_60000";
    let keyed = "CREATE TABLE t (id INT NOT NULL PRIMARY KEY, v INT)";
    let nullable = "CREATE TABLE t (id INT NULL UNIQUE, v INT)";
    let cases = [
        (
            format!("{keyed};{rows}"),
            format!("CREATE TABLE t (id INT, v INT);{rows}, (3, 3)"),
            [0, 0, 1],
        ),
        (
            format!("{keyed};{rows}"),
            format!("CREATE TABLE t (id INT, v INT);{rows}, (3, 3), (3, 3)"),
            [0, 0, 2],
        ),
        (
            format!("{keyed};{rows}"),
            format!("CREATE TABLE t (id INT NOT NULL, v INT, UNIQUE (id, v));{rows}, (3, 4)"),
            [0, 0, 1],
        ),
        (format!("{keyed};{rows}"), format!("{nullable};{rows}, (NULL, 7)"), [0, 0, 1]),
        (
            format!("{keyed};{many}"),
            format!("{nullable};{many};INSERT INTO t VALUES (NULL, 7)"),
            [0, 0, 1],
        ),
        (ci.clone(), format!("{bin}, ('A', 1)"), [0, 0, 1]),
        (format!("{bin}, ('A', 1)"), ci.clone(), [0, 1, 0]),
        (ci.clone(), format!("{}, ('a ', 1)", text("utf8mb4_general_nopad_ci")), [0, 0, 1]),
        (ci.clone(), bin.replace("'a'", "'A'"), [0, 1, 1]),
        (ci.clone(), ci.replace("'a'", "'A'"), [1, 0, 0]),
        (ci.replace("utf8mb4_general_ci", "latin1_swedish_ci"), bin, [0, 0, 0]),
    ];
    for (source, target, expected) in cases {
        fill(&pair, &source, &target).await;
        for strength in STRENGTHS {
            let table = standalone(&pair, spec(strength), &mut Fixer::Nothing).await;
            assert_eq!(counts(&table), expected, "{source} | {target} | {strength:?}: {table:?}");
        }
    }
}

/// 'Z' is before 'a' on the source and behind it on the target: two ranges ask for these keys, and each is found and counted once.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_two_ranges_ask_for_are_counted_once() {
    let pair = Pair::start().await;
    let table = |collation: &str, v: u8| {
        format!(
            "CREATE TABLE t (id VARCHAR(9) COLLATE {collation} PRIMARY KEY, v INT);\
             INSERT INTO t SELECT CONCAT('a', LPAD(seq, 6, '0')), 0 FROM seq_1_to_120000;\
             INSERT INTO t VALUES ('Z1', {v}), ('Z2', {v}), ('Z3', 0)"
        )
    };
    let (source, target) = (table("utf8mb4_bin", 1), table("utf8mb4_general_ci", 2));
    fill(&pair, &source, &target).await;
    for strength in STRENGTHS {
        let table = standalone(&pair, spec(strength), &mut Fixer::Nothing).await;
        assert_eq!(counts(&table), [2, 0, 0], "{strength:?}: {table:?}");
        assert_eq!((table.matching, table.unsettled), (120_001, 0), "{strength:?}: {table:?}");
    }
    let table = standalone(&pair, spec(Strength::Strong), &mut Fixer::repair()).await;
    assert_eq!((table.mismatched, table.repaired), (2, 2), "{table:?}");
}

/// Keys that hold less on the target: rows are counted, so nothing is lost among those that become one.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_hold_less_on_the_target_are_not_paired() {
    let pair = Pair::start().await;
    let cases = [
        (
            "CREATE TABLE t (id DECIMAL(9,4) PRIMARY KEY, v INT);INSERT INTO t VALUES (1.2345, 1), (1.2346, 1)",
            "CREATE TABLE t (id DECIMAL(9,2) PRIMARY KEY, v INT);INSERT INTO t VALUES (1.23, 1)",
        ),
        (
            "CREATE TABLE t (id DATETIME(3) PRIMARY KEY, v INT);INSERT INTO t VALUES ('2020-01-01 00:00:00.1', 1), ('2020-01-01 00:00:00.2', 1)",
            "CREATE TABLE t (id DATETIME PRIMARY KEY, v INT);INSERT INTO t VALUES ('2020-01-01', 1)",
        ),
    ];
    for (source, target) in cases {
        fill(&pair, source, target).await;
        for strength in STRENGTHS {
            let table = standalone(&pair, spec(strength), &mut Fixer::Nothing).await;
            assert_eq!(counts(&table), [0, 1, 0], "{source}: {table:?}");
        }
    }
    // The target's keys have more digits before the point than the source's can.
    let source = "CREATE TABLE t (id DECIMAL(4,2) PRIMARY KEY, v INT);INSERT INTO t VALUES (1.25, 1), (-2, 2)";
    let target = "CREATE TABLE t (id DECIMAL(12,2) PRIMARY KEY, v INT);INSERT INTO t VALUES (1.25, 1), (-2, 7), (-1234567.5, 3), (99999, 4)";
    fill(&pair, source, target).await;
    for strength in STRENGTHS {
        let table = standalone(&pair, spec(strength), &mut Fixer::Nothing).await;
        assert_eq!(counts(&table), [1, 0, 2], "{table:?}");
    }
    // Two keys that a character set makes one.
    let source = "CREATE TABLE t (id VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY, v INT);INSERT INTO t VALUES (_utf8mb4 x'd0b6', 1), (_utf8mb4 x'd0b4', 1)";
    let target = "CREATE TABLE t (id VARCHAR(9) CHARACTER SET latin1 PRIMARY KEY, v INT);INSERT INTO t VALUES ('?', 1)";
    fill(&pair, source, target).await;
    for strength in STRENGTHS {
        let table = standalone(&pair, spec(strength), &mut Fixer::Nothing).await;
        assert_eq!(counts(&table), [0, 2, 1], "{table:?}");
    }
}

/// The source's column, the target's, a value of both, another one for the target.
const TYPES: &[(&str, &str, &str, &str)] = &[
    ("INT(8) ZEROFILL", "INT UNSIGNED", "1", "2"),
    ("INT", "INT(8) ZEROFILL", "1", "2"),
    ("DECIMAL(10,2) ZEROFILL", "DECIMAL(10,2)", "1", "1.01"),
    ("DECIMAL(10,2)", "DECIMAL(10,2) ZEROFILL", "1", "1.01"),
    ("INT", "DECIMAL(10,2)", "5", "5.01"),
    ("DECIMAL(10,2)", "BIGINT", "5", "6"),
    ("INT", "DOUBLE", "16777217", "16777216"),
    ("DECIMAL(10,2)", "DOUBLE", "0.1", "0.10000000000000002"),
    ("FLOAT", "DOUBLE", "1.5", "1.5000001"),
    ("BIGINT", "BIGINT UNSIGNED", "1", "18446744073709551615"),
    ("YEAR", "INT", "2020", "0"),
    ("BIT(8)", "INT", "53", "5"),
    ("INT", "BIT(8)", "53", "5"),
    ("DATE", "DATETIME(3)", "'2020-01-01'", "'2020-01-01 00:00:00.001'"),
    ("DATETIME", "DATETIME(6)", "'2020-01-01'", "'2020-01-01 00:00:00.000001'"),
    ("ENUM('a','b')", "ENUM('b','a')", "'a'", "'b'"),
    ("ENUM('a','b')", "ENUM('a','b','c')", "'a'", "'c'"),
    ("ENUM('ä','b') CHARACTER SET latin1", "ENUM('b','ä') CHARACTER SET utf8mb4", "'ä'", "'b'"),
    ("ENUM('ä','b') CHARACTER SET latin1", "VARCHAR(9) CHARACTER SET utf8mb4", "'ä'", "'a'"),
    ("SET('a','b','c')", "SET('c','b','a')", "'a,c'", "'a'"),
    ("SET('a','b')", "SET('a','b','c')", "'a,b'", "'a,c'"),
    ("SET('ä','b') CHARACTER SET latin1", "SET('b','ä') CHARACTER SET latin1", "'ä,b'", "'b'"),
    ("SET('','a','b')", "SET('','b','a')", "1", "0"),
    (
        "UUID",
        "CHAR(36) CHARACTER SET latin1",
        "'123e4567-e89b-12d3-a456-426655440000'",
        "'123e4567-e89b-12d3-a456-426655440001'",
    ),
    (
        "CHAR(36) CHARACTER SET latin1",
        "UUID",
        "'123e4567-e89b-12d3-a456-426655440000'",
        "'123e4567-e89b-12d3-a456-426655440001'",
    ),
    ("INET6", "VARCHAR(45)", "'::1'", "'::2'"),
    ("VARCHAR(9)", "CHAR(9)", "'abc  '", "'abd'"),
    ("BINARY(3)", "BINARY(5)", "'abc'", "'abc\\0d'"),
    ("INT", "VARCHAR(9)", "7", "'07'"),
    ("INT", "VARCHAR(9) CHARACTER SET utf16", "7", "'07'"),
    ("VARCHAR(9) CHARACTER SET utf16", "INT", "12", "13"),
    ("VARCHAR(45) CHARACTER SET utf16le", "INET6", "'::1'", "'::2'"),
    ("INET6", "VARCHAR(45) CHARACTER SET ucs2", "'::1'", "'::2'"),
    ("ENUM('a','b')", "VARCHAR(9)", "'a'", "''"),
    ("SET('a','b')", "VARCHAR(9)", "''", "'a'"),
    ("VARCHAR(9) CHARACTER SET latin1", "VARBINARY(9)", "x'e4'", "x'e5'"),
];

/// Columns of one value and two types.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_value_in_another_type_is_equal() {
    let pair = Pair::start().await;
    let table = |side: usize| {
        let column = |(at, column): (usize, &(&str, &str, &str, &str))| {
            format!("c{at} {}", if side == 0 { column.0 } else { column.1 })
        };
        let columns: Vec<String> = TYPES.iter().enumerate().map(column).collect();
        format!("CREATE TABLE t (id INT PRIMARY KEY, {})", columns.join(", "))
    };
    let values: Vec<&str> = TYPES.iter().map(|column| column.2).collect();
    let rows = TYPES.len() + 2;
    let row = |id: usize| format!("({id}, {})", values.join(", "));
    let nulls = format!("(0{})", ", NULL".repeat(TYPES.len()));
    let rows: Vec<String> = (1..rows).map(row).chain([nulls]).collect();
    let insert = format!("INSERT INTO t VALUES {}", rows.join(", "));
    fill(&pair, &format!("{};{insert}", table(0)), &format!("{};{insert}", table(1))).await;
    for strength in STRENGTHS {
        let same = standalone(&pair, spec(strength), &mut Fixer::Nothing).await;
        assert_eq!(counts(&same), [0; 3], "{strength:?}: {same:?}");
    }
    // Each column differs in a row of its own.
    let mut target = pair.on_target().await;
    for (at, column) in TYPES.iter().enumerate() {
        let change = format!("UPDATE t SET c{at} = {} WHERE id = {}", column.3, at + 1);
        assert_eq!(target.execute(&change).await.unwrap().affected, 1, "{change}");
    }
    let expected = u64::try_from(TYPES.len()).unwrap();
    for strength in STRENGTHS {
        let differs = standalone(&pair, spec(strength), &mut Fixer::Nothing).await;
        assert_eq!(
            counts(&differs),
            [expected, 0, 0],
            "{strength:?}: {:?}",
            super::found(&differs)
        );
    }
    let repaired = standalone(&pair, spec(STRENGTHS[0]), &mut Fixer::repair()).await;
    assert_eq!(repaired.repaired, expected);
    let same = standalone(&pair, spec(STRENGTHS[1]), &mut Fixer::Nothing).await;
    assert_eq!(counts(&same), [0; 3], "{same:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn types_with_nothing_in_common_are_refused() {
    let pair = Pair::start().await;
    for (source, target) in [
        ("INT", "FLOAT"),
        ("DECIMAL(10,2)", "FLOAT"),
        ("DOUBLE", "INT"),
        ("DATETIME", "DATE"),
        ("INT", "DATE"),
        ("BIT(8)", "VARCHAR(9)"),
        ("FLOAT", "VARCHAR(9)"),
        ("DECIMAL(65,0)", "DECIMAL(65,4)"),
    ] {
        let create = |column: &str| format!("CREATE TABLE t (id INT PRIMARY KEY, c {column})");
        fill(&pair, &create(source), &create(target)).await;
        let ended = try_standalone(&pair, spec(STRENGTHS[0]), &mut Fixer::Nothing).await;
        let error = ended.expect_err(source).to_string();
        assert!(error.contains("`c`"), "{source} {target}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_compared_is_said() {
    let pair = Pair::start().await;
    let source = "CREATE TABLE t (id INT PRIMARY KEY, v INT, g INT AS (v + 1) STORED);INSERT INTO t (id, v) VALUES (1, 1)";
    let target =
        "CREATE TABLE t (id INT PRIMARY KEY, v INT, g INT);INSERT INTO t VALUES (1, 1, 77)";
    fill(&pair, source, target).await;
    let table = standalone(&pair, spec(STRENGTHS[0]), &mut Fixer::Nothing).await;
    assert_eq!(table.compared, ["g: computed by the source, not compared"]);
}

/// A key whose case changes all the time, on both sides one after the other: the same row in other bytes.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_case_changes_all_the_time_raises_no_alarm() {
    let pair = Pair::start().await;
    let mut source = pair.on_source().await;
    source
        .execute("CREATE TABLE t (k VARCHAR(20) COLLATE utf8mb4_general_ci PRIMARY KEY, v INT)")
        .await
        .unwrap();
    source.execute("INSERT INTO t SELECT CONCAT('key ', seq), 0 FROM seq_1_to_2000").await.unwrap();
    let mut moved = pair.create(&["t"], Tuning::default()).await;
    moved.run().await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    let write = |random: &mut Random| {
        let id = 1 + random.below(40);
        vec![format!(
            "UPDATE t SET k = IF(BINARY k = BINARY UPPER(k), LOWER(k), UPPER(k)) WHERE k = 'key {id}'"
        )]
    };
    let load = Load::start(&pair.source_config(), "commerce", 2, write);
    for round in 0..6 {
        let table = vdiff(&pair, &spec(STRENGTHS[round % 2])).await;
        assert_eq!(counts(&table), [0; 3], "{table:?}");
        assert_eq!(table.matching + table.unsettled, 2000, "each row is counted once: {table:?}");
    }
    assert!(load.stop().await > 0);
    // The one that is damaged so is mended and counted as mended.
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    pair.on_target()
        .await
        .execute("UPDATE t SET k = 'Key 1000' WHERE k = 'key 1000'")
        .await
        .unwrap();
    let repaired = vdiff(&pair, &Spec { repair: true, ..spec(STRENGTHS[0]) }).await;
    assert_eq!((counts(&repaired), repaired.repaired), ([1, 0, 0], 1), "{repaired:?}");
    assert_equal(pair.source.primary(), pair.target.primary(), "t");
    moved.cancel().await.unwrap();
}

/// Not one or two statements for each key: those that are the same by their collation are asked for together.
#[tokio::test(flavor = "multi_thread")]
async fn keys_in_other_letters_are_paired_in_few_statements() {
    let pair = Pair::start().await;
    let create = "CREATE TABLE t (n INT, k VARCHAR(20) COLLATE utf8mb4_general_ci, v INT, PRIMARY KEY (k, n))";
    let single =
        "CREATE TABLE t (n INT, k VARCHAR(20) COLLATE utf8mb4_general_ci PRIMARY KEY, v INT)";
    let many = "INSERT INTO t SELECT 7, CONCAT('key ', seq), 1 FROM seq_1_to_2000";
    let other = "UPDATE t SET k = UPPER(k)";
    let outside = "UPDATE t SET v = 2";
    for (create, change, filter, expected) in [
        (create, other, None, [2000, 0, 0]),
        (single, other, None, [2000, 0, 0]),
        (single, outside, Some("v = 1"), [2000, 0, 0]),
        (single, "DELETE FROM t WHERE v = 1", Some("v = 1"), [0, 2000, 0]),
    ] {
        let source = format!("{create};{many}");
        fill(&pair, &source, &format!("{source};{change}")).await;
        let mut target = pair.on_target().await;
        let mut asked = async || -> u64 {
            let row = target.row("SHOW GLOBAL STATUS LIKE 'Questions'").await.unwrap().unwrap();
            row.must(1).unwrap().parse().unwrap()
        };
        let before = asked().await;
        let spec = Spec { filter: filter.map(str::to_owned), ..spec(STRENGTHS[0]) };
        let table = standalone(&pair, spec, &mut Fixer::Nothing).await;
        let statements = asked().await - before;
        assert_eq!((counts(&table), table.unsettled), (expected, 0), "{change}");
        assert!(statements < 1000, "{change}: {statements} statements");
    }
}

/// More columns than a server's stack has room for checksums in checksums.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_a_thousand_columns_is_compared() {
    let pair = Pair::start().await;
    let columns: Vec<String> = (1..=1000).map(|at| format!("c{at} INT")).collect();
    let create = format!(
        "CREATE TABLE t (id INT PRIMARY KEY, {});INSERT INTO t (id) VALUES (1), (2), (3)",
        columns.join(", ")
    );
    fill(&pair, &create, &create).await;
    pair.on_target().await.execute("UPDATE t SET c777 = 0 WHERE id = 2").await.unwrap();
    for strength in [STRENGTHS[0], STRENGTHS[1], Strength::Auto] {
        let table = standalone(&pair, spec(strength), &mut Fixer::Nothing).await;
        assert_eq!(
            (counts(&table), table.matching),
            ([1, 0, 0], 2),
            "{strength:?}: {}",
            table.strength
        );
    }
}
