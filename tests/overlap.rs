//! Groups that execute beside each other: a backlog of many of them, on rows that are apart, on rows that meet, with unique values that
//! move from a row of one group to a row of the next; and the process dies in the middle.

use shunt_engine::workflow::spec::Tuning;
use shunt_engine::workflow::verbs::WaitFor;

use crate::harness::compare::assert_equal;
use crate::harness::pair::{Move, PATIENCE, Pair};

const ROWS: u64 = 20_000;
/// Rows of one transaction: as many as fill a group, what they are held in counted.
const STRIDE: u64 = 400;

/// Groups of a transaction each, so that a backlog has hundreds of them.
fn small_groups() -> Tuning {
    let mut tuning = Tuning::default();
    tuning.set("group_bytes_max", "32768").unwrap();
    tuning.set("apply_lanes", "4").unwrap();
    tuning
}

/// Transactions of [`STRIDE`] rows each, beginning at every row that `firsts` names. Each also moves a unique value: what the row
/// before its first had goes to its last, which the transaction before has let go.
fn backlog(firsts: impl Iterator<Item = u64>) -> Vec<String> {
    let mut statements = Vec::new();
    for first in firsts {
        let last = first + STRIDE - 1;
        statements.extend([
            format!("UPDATE t SET v = v + 1, c = CONCAT('r', id, REPEAT('x', v % 90)) WHERE id BETWEEN {first} AND {last}"),
            "START TRANSACTION".to_owned(),
            format!("UPDATE t SET v = v - 7 WHERE id BETWEEN {first} AND {last} - 9"),
            format!("UPDATE t SET u = NULL WHERE id = {first}"),
            "COMMIT".to_owned(),
            "START TRANSACTION".to_owned(),
            format!("UPDATE t SET v = v * 3 WHERE id BETWEEN {first} + {STRIDE} AND {last} + {STRIDE} - 9"),
            format!("UPDATE t SET u = {first} WHERE id = {last}"),
            "COMMIT".to_owned(),
            format!("DELETE FROM t WHERE id BETWEEN {first} + 20 AND {first} + 90"),
            format!(
                "INSERT INTO t SELECT {first} + seq, {ROWS} + 10 * {first} + seq, seq, 'back' FROM seq_20_to_90"
            ),
        ]);
    }
    statements
}

async fn write(pair: &Pair, statements: &[String]) {
    let mut source = pair.on_source().await;
    for statement in statements {
        source.execute(statement).await.unwrap();
    }
}

async fn fill(pair: &Pair) {
    let mut source = pair.on_source().await;
    let table = "CREATE TABLE t (id INT NOT NULL PRIMARY KEY, u INT NULL, v INT NOT NULL, c VARCHAR(120) NOT NULL, \
                 UNIQUE KEY u (u), KEY v (v))";
    source.execute(table).await.unwrap();
    let rows =
        format!("INSERT INTO t SELECT seq, seq, seq, CONCAT('row ', seq) FROM seq_1_to_{ROWS}");
    source.execute(rows).await.unwrap();
}

/// A move that has copied all rows, at rest.
async fn copied<'a>(pair: &'a Pair, tables: &[&str]) -> Move<'a> {
    let mut moved = pair.create(tables, small_groups()).await;
    moved.run().await;
    moved.wait(WaitFor::Running).await.unwrap();
    moved.stop().await;
    moved
}

/// How many rows both sides have, which are equal.
fn rows(pair: &Pair) -> u64 {
    let rows = assert_equal(pair.source.primary(), pair.target.primary(), "t");
    u64::try_from(rows).unwrap()
}

/// A number that the target counts.
async fn counted(pair: &Pair, query: &str) -> u64 {
    pair.on_target().await.row(query).await.unwrap().unwrap().number(0).unwrap()
}

fn apart() -> impl Iterator<Item = u64> {
    (0..(ROWS - 2 * STRIDE) / (2 * STRIDE)).map(|at| 1 + at * 2 * STRIDE)
}

/// The first group waits for a row that the test holds for a while, the one beside it for the position, which the first has.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_apart_and_unique_values_that_move_between_groups() {
    let pair = Pair::start().await;
    fill(&pair).await;
    let mut moved = copied(&pair, &["t"]).await;
    let far = 1 + ROWS / 2;
    let begin = [1, far].map(|first| {
        format!("UPDATE t SET v = v + 1 WHERE id BETWEEN {first} AND {first} + {STRIDE}")
    });
    write(&pair, &begin).await;
    for _ in 0..2 {
        write(&pair, &backlog(apart())).await;
    }
    let mut held = pair.on_target().await;
    held.execute("START TRANSACTION").await.unwrap();
    held.rows("SELECT id FROM customer.t WHERE id = 5 FOR UPDATE").await.unwrap();
    moved.start().await;
    let waiting = "SELECT variable_value FROM information_schema.global_status \
                   WHERE variable_name = 'Innodb_row_lock_current_waits'";
    let started = std::time::Instant::now();
    while counted(&pair, waiting).await < 2 {
        assert!(
            started.elapsed() < PATIENCE,
            "no group waits beside the one that waits for the row"
        );
    }
    held.execute("ROLLBACK").await.unwrap();
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    assert_eq!(rows(&pair), ROWS);
    moved.cancel().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_meet_in_every_group() {
    let pair = Pair::start().await;
    fill(&pair).await;
    let mut moved = copied(&pair, &["t"]).await;
    // Half of the rows of each transaction are in the one before it too.
    write(&pair, &backlog((0..60).map(|at| 1 + at * STRIDE / 2))).await;
    moved.start().await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    assert_eq!(rows(&pair), ROWS);
    moved.cancel().await.unwrap();
}

/// Purged rows: runs of keys, which become ranges on the target. Their neighbours stay, which somebody holds on the target.
#[tokio::test(flavor = "multi_thread")]
async fn runs_of_deleted_rows() {
    let pair = Pair::start().await;
    fill(&pair).await;
    let tables = [
        "CREATE TABLE below (id INT NOT NULL PRIMARY KEY, v INT NOT NULL)",
        "INSERT INTO below SELECT CAST(seq AS SIGNED) - 500, seq FROM seq_1_to_1000",
        "CREATE TABLE top (id BIGINT UNSIGNED NOT NULL PRIMARY KEY, v INT NOT NULL)",
        "INSERT INTO top SELECT 18446744073709551615 - seq, seq FROM seq_0_to_999",
    ];
    write(&pair, &tables.map(str::to_owned)).await;
    let mut moved = copied(&pair, &["t", "below", "top"]).await;
    let runs = (0..ROWS / STRIDE)
        .map(|at| format!("DELETE FROM t WHERE id BETWEEN {0} + 1 AND {0} + 399", at * STRIDE));
    write(&pair, &runs.collect::<Vec<_>>()).await;
    let apart = [
        "DELETE FROM below WHERE id BETWEEN -200 AND 200 AND id NOT IN (-100, -99, 77)",
        "DELETE FROM below WHERE id % 3 = 0",
        "DELETE FROM top WHERE id > 18446744073709551615 - 300 AND v <> 150",
        "DELETE FROM top WHERE v BETWEEN 500 AND 600",
        "INSERT INTO top SELECT 18446744073709551615 - seq, 7 FROM seq_520_to_530",
    ];
    write(&pair, &apart.map(str::to_owned)).await;
    // The rows behind the runs of the first table, one in each gap.
    let mut held = pair.on_target().await;
    held.execute("SET GLOBAL log_output = 'TABLE', GLOBAL general_log = ON").await.unwrap();
    held.execute("START TRANSACTION").await.unwrap();
    let behind: Vec<String> = (1..=ROWS / STRIDE).map(|at| (at * STRIDE).to_string()).collect();
    let rows_behind =
        format!("SELECT v FROM customer.t WHERE id IN ({}) FOR UPDATE", behind.join(","));
    assert_eq!(held.rows(rows_behind).await.unwrap().len(), behind.len());
    moved.start().await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    held.execute("ROLLBACK").await.unwrap();
    held.execute("SET GLOBAL general_log = OFF").await.unwrap();
    for table in ["t", "below", "top"] {
        let ranges = format!("DELETE FROM `customer`.`{table}` WHERE `id` BETWEEN %");
        let ranges =
            format!("SELECT COUNT(*) FROM mysql.general_log WHERE argument LIKE '{ranges}'");
        assert!(counted(&pair, &ranges).await > 0, "no range was deleted of {table}");
    }
    assert_eq!(rows(&pair), ROWS / STRIDE);
    for table in ["below", "top"] {
        assert_equal(pair.source.primary(), pair.target.primary(), table);
    }
    let left = counted(&pair, "SELECT COUNT(*) FROM customer.top").await;
    assert_eq!(left, 1000 - 299 - 101 + 11);
    moved.cancel().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_between_groups() {
    let pair = Pair::start().await;
    fill(&pair).await;
    let mut moved = copied(&pair, &["t"]).await;
    write(&pair, &backlog(apart())).await;
    moved.start().await;
    for _ in 0..6 {
        let commits = "SELECT commits FROM _shunt.stream";
        let before = counted(&pair, commits).await;
        let started = std::time::Instant::now();
        while counted(&pair, commits).await < before + 4 && started.elapsed().as_secs() < 5 {}
        moved.crash();
        moved.run().await;
    }
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    assert_eq!(rows(&pair), ROWS);
    moved.cancel().await.unwrap();
}
