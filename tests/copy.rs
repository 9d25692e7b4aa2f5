//! Moves under writes: every kind of key, in many ranges, while rows are changed, moved, deleted and brought back.

use shunt_engine::preflight::Level;
use shunt_engine::workflow::spec::Tuning;
use shunt_engine::workflow::verbs::WaitFor;

use crate::harness::compare::assert_equal;
use crate::harness::load::{Load, Random};
use crate::harness::pair::Pair;

/// Rows of each table: more than twenty ranges with [`small_chunks`].
const ROWS: u64 = 100_000;

/// Small chunks, so that a table of a test has many ranges.
fn small_chunks() -> Tuning {
    let mut tuning = Tuning::default();
    tuning.set("chunk_rows_max", "3000").unwrap();
    tuning
}

/// A table, how it is filled, and what is done to it meanwhile.
struct Case {
    table: &'static str,
    create: &'static str,
    fill: String,
    load: fn(&mut Random) -> Vec<String>,
}

/// Fills, loads, moves, compares. The table must still have rows at the end.
async fn check(case: Case) {
    let pair = Pair::start().await;
    let mut source = pair.on_source().await;
    source.execute(case.create).await.unwrap();
    source.execute(&case.fill).await.unwrap();
    let load = Load::start(&pair.source_config(), "commerce", 2, case.load);
    let mut moved = pair.create(&[case.table], small_chunks()).await;
    moved.run().await;
    moved.wait(WaitFor::Running).await.unwrap();
    let committed = load.stop().await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    let rows = assert_equal(pair.source.primary(), pair.target.primary(), case.table);
    assert!(rows > 1000, "{rows} rows are left after {committed} transactions");
    let ranges = pair.ranges().await;
    assert!(ranges > 20, "the table was copied in {ranges} ranges");
    moved.cancel().await.unwrap();
}

fn some(random: &mut Random) -> u64 {
    random.below(ROWS) + 1
}

#[tokio::test(flavor = "multi_thread")]
async fn integer_keys_and_rows_that_move_between_ranges() {
    check(Case {
        table: "t",
        create: "CREATE TABLE t (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL, c VARCHAR(80), \
                 f FLOAT, KEY (k))",
        fill: format!("INSERT INTO t (k, c, f) SELECT seq, CONCAT('row ', seq), seq * 0.1 FROM seq_1_to_{ROWS}"),
        load: |random| {
            let id = some(random);
            vec![
                format!("UPDATE t SET k = k + 1, f = f * 1.1 WHERE id = {id}"),
                format!("DELETE FROM t WHERE id = {}", some(random)),
                format!("INSERT INTO t (k, c) VALUES ({id}, 'new')"),
                format!("UPDATE IGNORE t SET id = {} WHERE id = {}", random.below(2 * ROWS) + 1, id + 3),
            ]
        },
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn composite_keys_of_decimals_dates_and_binary_strings() {
    check(Case {
        table: "t",
        create: "CREATE TABLE t (d DECIMAL(12,3) NOT NULL, at DATETIME(3) NOT NULL, b VARBINARY(20) NOT NULL, \
                 z BINARY(4) NOT NULL, v INT, PRIMARY KEY (d, at, b, z))",
        fill: format!(
            "INSERT INTO t SELECT (CAST(seq AS SIGNED) - 50000) / 7, '2020-01-01' + INTERVAL seq SECOND, \
             CONCAT('k', CHAR(0), seq), CHAR(seq % 200), seq FROM seq_1_to_{ROWS}"
        ),
        load: |random| {
            let v = some(random);
            vec![
                format!("UPDATE t SET d = -d WHERE v = {v} LIMIT 1"),
                format!("UPDATE t SET b = CONCAT(b, CHAR(0)) WHERE v BETWEEN {v} AND {v} + 5"),
                format!("DELETE FROM t WHERE v = {}", some(random)),
            ]
        },
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn collated_keys_that_change_case_and_expand() {
    check(Case {
        table: "t",
        create: "CREATE TABLE t (k VARCHAR(60) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci NOT NULL PRIMARY KEY, \
                 v INT NOT NULL, KEY (v))",
        fill: format!(
            "INSERT INTO t SELECT CONCAT(ELT(seq % 5 + 1, 'straße', 'ähre', 'Zebra', 'apfel', 'œuvre'), MD5(seq)), seq \
             FROM seq_1_to_{ROWS}"
        ),
        load: |random| {
            let (v, other) = (some(random), some(random));
            vec![
                format!("UPDATE t SET k = UPPER(k) WHERE v = {v}"),
                format!("UPDATE t SET k = LOWER(k), v = v WHERE v = {v}"),
                format!("UPDATE t SET k = REPLACE(k, 'ä', 'ae') WHERE v = {other}"),
                format!("UPDATE t SET k = CONCAT('ß', REVERSE(k)) WHERE v = {}", some(random)),
                format!("DELETE FROM t WHERE v = {other} + 1"),
                format!("INSERT IGNORE INTO t VALUES (CONCAT('Apfel', MD5({other})), {other})"),
            ]
        },
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn enum_keys_out_of_label_order() {
    check(Case {
        table: "t",
        create: "CREATE TABLE t (e ENUM('zulu','alpha','mike','bravo') NOT NULL, s SET('x','b','a') NOT NULL, \
                 n MEDIUMINT NOT NULL, v INT, PRIMARY KEY (e, s, n))",
        fill: format!("INSERT INTO t SELECT seq % 4 + 1, seq % 8, CAST(seq AS SIGNED) - 50000, seq FROM seq_1_to_{ROWS}"),
        load: |random| {
            let n = random.below(ROWS);
            vec![
                format!("UPDATE IGNORE t SET e = {} WHERE n = {n} - 50000", random.below(4) + 1),
                format!("UPDATE IGNORE t SET s = {} WHERE v = {}", random.below(8), some(random)),
                format!("DELETE FROM t WHERE e = 'alpha' AND s = {} AND n < {n} - 49000 LIMIT 1", random.below(8)),
            ]
        },
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unique_values_move_and_are_swapped_between_rows() {
    check(Case {
        table: "t",
        create: "CREATE TABLE t (id INT UNSIGNED NOT NULL PRIMARY KEY, u INT, w VARCHAR(40), UNIQUE KEY (u), \
                 UNIQUE KEY w (w, u))",
        fill: format!("INSERT INTO t SELECT seq, seq, CONCAT('w', seq) FROM seq_1_to_{ROWS}"),
        load: |random| {
            let (a, b) = (some(random), some(random));
            vec![
                format!("SET @a = (SELECT u FROM t WHERE id = {a} FOR UPDATE)"),
                format!("SET @b = (SELECT u FROM t WHERE id = {b} FOR UPDATE)"),
                format!("UPDATE t SET u = NULL WHERE id = {a}"),
                format!("UPDATE t SET u = @a WHERE id = {b}"),
                format!("UPDATE t SET u = @b WHERE id = {a} AND {a} <> {b}"),
                format!("DELETE FROM t WHERE id = {}", some(random)),
                format!("INSERT IGNORE INTO t VALUES ({}, {}, 'back')", some(random), some(random) + ROWS),
            ]
        },
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unique_key_stands_in_for_a_missing_primary_key() {
    check(Case {
        table: "t",
        create: "CREATE TABLE t (a INT NULL, b BIGINT NOT NULL AUTO_INCREMENT, c TIME(2) NOT NULL, UNIQUE KEY ub (c, b), \
                 KEY (b), UNIQUE KEY ua (a))",
        fill: format!(
            "INSERT INTO t (a, c) SELECT seq, SEC_TO_TIME(CAST(seq AS SIGNED) - 50000) FROM seq_1_to_{ROWS}"
        ),
        load: |random| {
            let b = some(random);
            vec![
                format!("UPDATE t SET c = SEC_TO_TIME(-TIME_TO_SEC(c)) WHERE b = {b}"),
                format!("UPDATE t SET a = NULL WHERE b = {}", some(random)),
                format!("DELETE FROM t WHERE b = {}", some(random)),
                "INSERT INTO t (c) VALUES ('-838:59:59.99')".to_owned(),
            ]
        },
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn savepoints_rollbacks_and_rows_that_come_back() {
    check(Case {
        table: "t",
        create: "CREATE TABLE t (id INT NOT NULL PRIMARY KEY, v INT NOT NULL, t TEXT)",
        fill: format!("INSERT INTO t SELECT seq, 0, REPEAT('x', seq % 300) FROM seq_1_to_{ROWS}"),
        load: |random| {
            let id = some(random);
            let end = ["ROLLBACK", "COMMIT", "COMMIT"][usize::try_from(random.below(3)).unwrap()];
            vec![
                format!("UPDATE t SET v = v + 1 WHERE id = {id}"),
                "SAVEPOINT `a b`".to_owned(),
                format!("DELETE FROM t WHERE id BETWEEN {id} AND {id} + 10"),
                "ROLLBACK TO SAVEPOINT `a b`".to_owned(),
                format!("DELETE FROM t WHERE id = {}", some(random)),
                format!("REPLACE INTO t VALUES ({}, 7, 'it''s\\\\ \\n back')", some(random)),
                end.to_owned(),
            ]
        },
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_with_dashes_backquotes_spaces_and_umlauts() {
    check(Case {
        table: "Tür-`1 x",
        create: "CREATE TABLE `Tür-``1 x` (`schlüssel ``k` INT NOT NULL PRIMARY KEY, `a-b` VARCHAR(20), KEY `i ``1` (`a-b`))",
        fill: format!("INSERT INTO `Tür-``1 x` SELECT seq, 'é' FROM seq_1_to_{ROWS}"),
        load: |random| {
            vec![
                format!("UPDATE `Tür-``1 x` SET `a-b` = 'ü{}' WHERE `schlüssel ``k` = {}", some(random), some(random)),
                format!("DELETE FROM `Tür-``1 x` WHERE `schlüssel ``k` = {}", some(random)),
            ]
        },
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_table_is_empty_on_the_target_as_well() {
    let pair = Pair::start().await;
    let mut source = pair.on_source().await;
    source.execute("CREATE TABLE t (id INT NOT NULL PRIMARY KEY, v INT)").await.unwrap();
    let fill = format!("INSERT INTO t SELECT seq, seq FROM seq_1_to_{ROWS}");
    source.execute(&fill).await.unwrap();
    let mut moved = pair.create(&["t"], small_chunks()).await;
    moved.run().await;
    // Once in the middle of the copy, once after it.
    pair.until_ranges(3).await;
    source.execute("TRUNCATE TABLE t").await.unwrap();
    source.execute(&fill).await.unwrap();
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    assert_equal(pair.source.primary(), pair.target.primary(), "t");
    source.execute("TRUNCATE TABLE t").await.unwrap();
    source.execute("INSERT INTO t VALUES (1, 1), (2, 2)").await.unwrap();
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    assert_eq!(assert_equal(pair.source.primary(), pair.target.primary(), "t"), 2);
    moved.cancel().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_keys_in_a_circle_are_built_after_the_copy() {
    let pair = Pair::start().await;
    let mut source = pair.on_source().await;
    for statement in [
        "CREATE TABLE a (id INT NOT NULL PRIMARY KEY, b_id INT)",
        "CREATE TABLE b (id INT NOT NULL PRIMARY KEY, a_id INT, FOREIGN KEY (a_id) REFERENCES a (id))",
        "INSERT INTO a SELECT seq, NULL FROM seq_1_to_100000",
        "INSERT INTO b SELECT seq, seq FROM seq_1_to_100000",
        "UPDATE a SET b_id = id",
        "ALTER TABLE a ADD FOREIGN KEY (b_id) REFERENCES b (id)",
    ] {
        source.execute(statement).await.unwrap();
    }
    let load = Load::start(&pair.source_config(), "commerce", 2, |random| {
        let (x, y) = (some(random), some(random));
        vec![
            format!("UPDATE a SET b_id = {x} WHERE id = {y}"),
            format!("UPDATE b SET a_id = NULL WHERE id = {x}"),
        ]
    });
    let mut moved = pair.create(&["a", "b"], small_chunks()).await;
    moved.run().await;
    moved.wait(WaitFor::Running).await.unwrap();
    load.stop().await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    for table in ["a", "b"] {
        assert_equal(pair.source.primary(), pair.target.primary(), table);
        let create = format!("SHOW CREATE TABLE {table}");
        let here = source.row(&create).await.unwrap().unwrap().text(1);
        assert_eq!(pair.on_target().await.row(&create).await.unwrap().unwrap().text(1), here);
    }
    moved.cancel().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_any_key_keeps_its_duplicates() {
    let pair = Pair::start().await;
    let mut source = pair.on_source().await;
    for statement in [
        "CREATE TABLE t (a VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci, b CHAR(5), f FLOAT, n INT)",
        "INSERT INTO t SELECT ELT(seq % 4 + 1, 'x', 'X', 'x ', NULL), ELT(seq % 3 + 1, 'y', 'Y', NULL), seq % 7 / 3, \
         seq % 50 FROM seq_1_to_3000",
    ] {
        source.execute(statement).await.unwrap();
    }
    // Every change of a keyless table is a scan on the target, so the writer paces itself.
    let load = Load::start(&pair.source_config(), "commerce", 1, |random| {
        let n = random.below(50);
        vec![
            "DO SLEEP(0.05)".to_owned(),
            format!("INSERT INTO t SELECT * FROM t WHERE n = {n} LIMIT 3"),
            format!("DELETE FROM t WHERE n = {} LIMIT 3", random.below(50)),
            format!("UPDATE t SET a = UPPER(a) WHERE n = {n} LIMIT 2"),
            format!("UPDATE t SET n = n WHERE n = {n} LIMIT 1"),
            format!(
                "UPDATE t SET b = CONCAT(b, ' '), f = f * -1 WHERE n = {} LIMIT 2",
                random.below(50)
            ),
        ]
    });
    let mut moved = pair.create(&["t"], Tuning::default()).await;
    moved.run().await;
    // A crash in the middle, so that what the copy holds must not be applied again.
    pair.until_ranges(1).await;
    moved.crash();
    moved.run().await;
    moved.wait(WaitFor::Running).await.unwrap();
    load.stop().await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    // Without a key there is no order to dump in: counts of equal rows, told apart by their bytes.
    let query =
        "SELECT HEX(a), HEX(b), f, n, COUNT(*) FROM t GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4";
    let left = source.rows(query).await.unwrap();
    assert_eq!(pair.on_target().await.rows(query).await.unwrap(), left);
    assert!(left.len() > 100);
    moved.cancel().await.unwrap();
}

/// A label that the server lists as a question mark would be made as one on the target, and changes go by its number.
#[tokio::test(flavor = "multi_thread")]
async fn labels_that_are_not_listed_as_they_are_are_refused() {
    let pair = Pair::start().await;
    let mut source = pair.on_source().await;
    source.execute("SET NAMES utf8mb4").await.unwrap();
    for (table, column, refused) in [
        ("e1", "ENUM('😀','b') CHARSET utf8mb4", true),
        ("s1", "SET('a','x😀') CHARSET utf16", true),
        ("b1", "ENUM(x'fe','b') CHARSET binary", true),
        ("e2", "ENUM('ä','b') CHARSET utf8mb4", false),
        ("e3", "ENUM('?','b') CHARSET latin1", false),
        // Said, and moved.
        ("d1", "VARCHAR(9) CHARSET utf8mb4 DEFAULT '😀'", false),
    ] {
        let sql = format!("CREATE TABLE {table} (id INT NOT NULL PRIMARY KEY, v {column})");
        source.execute(&sql).await.unwrap();
        let found = pair.findings(&[table]).await;
        let errors = found.iter().filter(|finding| finding.level == Level::Error);
        assert_eq!(errors.count() == 1, refused, "{sql}: {found:?}");
        let said = found.iter().any(|finding| finding.reason.contains("question mark"));
        assert_eq!(said, refused || table == "d1", "{sql}: {found:?}");
    }
}
