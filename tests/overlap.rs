//! Groups that execute beside each other: a backlog of many of them, on rows that are apart, on rows that meet, with unique values that
//! move from a row of one group to a row of the next; and the process dies in the middle.

use shunt_engine::workflow::spec::Tuning;
use shunt_engine::workflow::verbs::WaitFor;

use crate::harness::compare::assert_equal;
use crate::harness::pair::{Move, PATIENCE, Pair};

const ROWS: u64 = 20_000;
/// Rows of one transaction: about as many as a group takes.
const STRIDE: u64 = 400;

/// Groups of a transaction or two, so that a backlog has hundreds of them.
fn small_groups() -> Tuning {
    let mut tuning = Tuning::default();
    tuning.set("group_bytes_max", "65536").unwrap();
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

/// A move that has copied all rows, at rest.
async fn copied(pair: &Pair) -> Move<'_> {
    let mut source = pair.on_source().await;
    let table = "CREATE TABLE t (id INT NOT NULL PRIMARY KEY, u INT NULL, v INT NOT NULL, c VARCHAR(120) NOT NULL, \
                 UNIQUE KEY u (u), KEY v (v))";
    source.execute(table).await.unwrap();
    let rows =
        format!("INSERT INTO t SELECT seq, seq, seq, CONCAT('row ', seq) FROM seq_1_to_{ROWS}");
    source.execute(rows).await.unwrap();
    let mut moved = pair.create(&["t"], small_groups()).await;
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
    let mut moved = copied(&pair).await;
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
    let mut moved = copied(&pair).await;
    // Half of the rows of each transaction are in the one before it too.
    write(&pair, &backlog((0..60).map(|at| 1 + at * STRIDE / 2))).await;
    moved.start().await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    assert_eq!(rows(&pair), ROWS);
    moved.cancel().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_between_groups() {
    let pair = Pair::start().await;
    let mut moved = copied(&pair).await;
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
