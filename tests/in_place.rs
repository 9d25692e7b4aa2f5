//! Updated rows whose keys follow one another: columns are changed where they are, every type bit by bit, and no other row or column.

use std::path::PathBuf;

use shunt_engine::workflow::spec::Tuning;
use shunt_engine::workflow::verbs::WaitFor;

use crate::harness::compare::assert_equal_hex;
use crate::harness::pair::{Move, Pair, mysql56};

const ROWS: u64 = 2000;
/// The keys of the three tables begin here: among negative numbers, as small ones, and up to the largest that there is.
const FIRSTS: [(&str, &str, i128); 3] = [
    ("below", "INT", -1000),
    ("t", "BIGINT", 1),
    ("top", "BIGINT UNSIGNED", u64::MAX as i128 - ROWS as i128 + 1),
];
/// As they are printed, so that no bit is hidden.
const COLUMNS: [&str; 17] = [
    "id", "u", "i", "b", "d", "f*1E0", "g", "day", "at", "seen", "span", "y", "HEX(c)", "HEX(v)",
    "HEX(x)", "s", "m",
];

fn create(table: &str, id: &str) -> String {
    format!(
        "CREATE TABLE {table} (id {id} NOT NULL PRIMARY KEY, u INT NULL, i TINYINT NULL, b BIGINT UNSIGNED NULL, d DECIMAL(20,5) NULL, \
         f FLOAT NULL, g DOUBLE NULL, day DATE NULL, at DATETIME(6) NULL, \
         seen TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3), span TIME(2) NULL, y YEAR NULL, \
         c CHAR(30) CHARACTER SET latin1 NULL, v VARCHAR(60) CHARACTER SET utf8mb4 NULL, x VARBINARY(40) NULL, \
         s ENUM('new', 'done', '3') NULL, m SET('a', 'b', 'c') NULL, UNIQUE KEY u (u), KEY i (i)) CHARACTER SET utf8mb4"
    )
}

/// Changes of runs, with `#` for the row's number, from 1 on; each is one transaction.
const CHANGES: [&str; 23] = [
    "i = # % 250 - 125 WHERE # <= 900",
    "i = NULL WHERE # BETWEEN 100 AND 300",
    "i = IF(# % 3 = 0, NULL, # % 100), b = 18446744073709551615 - # WHERE # BETWEEN 200 AND 700",
    "d = (# - 500) * 12345.67891, f = # / 7, g = -# / 3E100 WHERE # BETWEEN 301 AND 900",
    "g = -0e0, f = -0e0 WHERE # BETWEEN 1500 AND 1600",
    "g = # * 1.7976931348623157e300 WHERE # BETWEEN 1601 AND 1700",
    "day = '1000-01-01' + INTERVAL # DAY, at = '2020-02-29 23:59:59.123456' + INTERVAL # MICROSECOND WHERE # <= 500",
    "span = SEC_TO_TIME(# * 1000 - 1000000), y = 1901 + # % 200 WHERE # <= 500",
    "y = IF(# % 2, 0, 2000) WHERE # BETWEEN 700 AND 1000",
    // The clock of the row is set by hand, by the server, and not at all.
    "seen = '2001-02-03 04:05:06.789' WHERE # BETWEEN 600 AND 800",
    "seen = seen, i = 7 WHERE # BETWEEN 1 AND 2000",
    "c = CONCAT('ä', #, '\\\\''\"') WHERE # BETWEEN 900 AND 1200",
    "v = CONCAT('\u{1F600} ß ', #, REPEAT(' ', # % 5)) WHERE # BETWEEN 900 AND 1200",
    "x = CONCAT(CHAR(0, 10, 13, 26, 39, 92, 255), #) WHERE # BETWEEN 900 AND 1200",
    "x = '', v = '', c = '' WHERE # BETWEEN 1100 AND 1250",
    // One value for all, and others: a number would be taken for a label.
    "s = 'done' WHERE # BETWEEN 1 AND 1000",
    "s = 1 + # % 3, m = # % 8 WHERE # BETWEEN 500 AND 1500",
    // To and fro, in one statement's rows and in one group.
    "i = i + 1 WHERE # BETWEEN 1 AND 400",
    "i = i - 1 WHERE # BETWEEN 1 AND 400",
    // Values that rows exchange.
    "u = NULL WHERE # BETWEEN 1 AND 200",
    "u = 201 - # WHERE # BETWEEN 1 AND 200",
    // With gaps, and so short that it is no run.
    "i = 3, v = 'gap' WHERE # % 100 <> 0 AND # > 1000",
    "i = 4 WHERE # BETWEEN 10 AND 20",
];

fn update(table: &str, first: i128, change: &str) -> String {
    let number = match first - 1 {
        before @ 0.. => format!("CAST(id - {before} AS SIGNED)"),
        before => format!("(id + {})", -before),
    };
    format!("UPDATE {table} SET {}", change.replace('#', &number))
}

async fn fill(pair: &Pair) {
    let mut source = pair.on_source().await;
    for (table, id, first) in FIRSTS {
        source.execute(create(table, id)).await.unwrap();
        let rows = format!(
            "INSERT INTO {table} (id, u, i, v, s) SELECT CAST(seq AS DECIMAL(20)) + ({first}) - 1, seq, 1, 'row', 'new' \
             FROM seq_1_to_{ROWS}"
        );
        source.execute(rows).await.unwrap();
    }
}

fn names() -> [&'static str; 3] {
    FIRSTS.map(|(table, _, _)| table)
}

async fn at_rest(pair: &Pair) -> Move<'_> {
    let mut moved = pair.create(&names(), Tuning::default()).await;
    moved.run().await;
    moved.wait(WaitFor::Running).await.unwrap();
    moved.stop().await;
    moved
}

fn assert_all_equal(pair: &Pair) {
    for table in names() {
        let rows = assert_equal_hex(pair.source.primary(), pair.target.primary(), &COLUMNS, table);
        assert_eq!(rows, usize::try_from(ROWS).unwrap(), "{table}");
    }
}

/// How many statements of a kind the target's log holds.
async fn logged(pair: &Pair, beginning: &str) -> u64 {
    let query =
        format!("SELECT COUNT(*) FROM mysql.general_log WHERE argument LIKE '{beginning}%'");
    pair.on_target().await.row(query).await.unwrap().unwrap().number(0).unwrap()
}

async fn changes_of_every_type(target: Option<PathBuf>) {
    let pair = Pair::with(None, target, &[], &[]).await;
    fill(&pair).await;
    let mut moved = at_rest(&pair).await;
    let log = "SET GLOBAL log_output = 'TABLE', GLOBAL general_log = ON";
    pair.on_target().await.execute(log).await.unwrap();
    let mut source = pair.on_source().await;
    // A change by itself first, so that none hides behind the next.
    for change in CHANGES {
        for (table, _, first) in FIRSTS {
            source.execute(update(table, first, change)).await.unwrap();
        }
        moved.start().await;
        moved.wait(WaitFor::CaughtUp).await.unwrap();
        assert_all_equal(&pair);
        moved.stop().await;
    }
    for table in names() {
        let updates = logged(&pair, &format!("UPDATE `customer`.`{table}` SET ")).await;
        assert!(updates > 15, "{updates} statements changed rows of {table} in place");
    }
    // Then all in one backlog, with rows that come and go.
    for change in CHANGES.iter().chain(&CHANGES) {
        for (table, _, first) in FIRSTS {
            source.execute(update(table, first, change)).await.unwrap();
        }
        let come_and_go = [
            "CREATE TEMPORARY TABLE gone AS SELECT * FROM t WHERE id BETWEEN 300 AND 420",
            "DELETE FROM t WHERE id BETWEEN 300 AND 420",
            "INSERT INTO t SELECT * FROM gone",
            "DROP TEMPORARY TABLE gone",
            "UPDATE t SET i = i + 1 WHERE id BETWEEN 250 AND 500",
        ];
        for statement in come_and_go {
            source.execute(statement).await.unwrap();
        }
    }
    moved.start().await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    assert_all_equal(&pair);
    moved.cancel().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_every_type_on_mariadb() {
    changes_of_every_type(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_every_type_on_mysql() {
    changes_of_every_type(Some(mysql56())).await;
}

/// A trigger for UPDATE on the table that is written, and a unique key that only it has: neither changes a row, nor stops the stream.
#[tokio::test(flavor = "multi_thread")]
async fn triggers_and_unique_keys_of_the_target_alone() {
    let pair = Pair::start().await;
    fill(&pair).await;
    let mut moved = at_rest(&pair).await;
    let mut target = pair.on_target().await;
    for statement in [
        "CREATE TRIGGER clock BEFORE UPDATE ON t FOR EACH ROW SET NEW.at = NOW(6)",
        "UPDATE below SET b = 2000 + id",
        "ALTER TABLE below ADD UNIQUE KEY (b)",
    ] {
        target.execute(statement).await.unwrap();
    }
    let mut source = pair.on_source().await;
    for statement in [
        "UPDATE t SET at = '2001-01-01', i = 2",
        "UPDATE t SET i = 3 WHERE id > 100",
        "UPDATE below SET b = 2000 + id",
        "UPDATE below SET b = 2000 - id WHERE id BETWEEN -500 AND 500",
    ] {
        source.execute(statement).await.unwrap();
    }
    moved.start().await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    assert_all_equal(&pair);
    moved.cancel().await.unwrap();
}

/// Somebody has deleted rows on the target, which a replaced row would bring back: so does one that is changed in place.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_not_on_the_target_are_written_anew() {
    let pair = Pair::start().await;
    fill(&pair).await;
    let mut moved = at_rest(&pair).await;
    let mut target = pair.on_target().await;
    target.execute("DELETE FROM t WHERE id IN (50, 51, 700)").await.unwrap();
    let mut source = pair.on_source().await;
    source.execute("UPDATE t SET i = 5, v = CONCAT('n', id) WHERE id <= 1000").await.unwrap();
    moved.start().await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    assert_all_equal(&pair);
    moved.cancel().await.unwrap();
}
