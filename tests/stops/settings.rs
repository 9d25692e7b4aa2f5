//! Settings that are in no event of the binlog, and settings of servers that must not matter.

use shunt_engine::error::ErrorKind;
use shunt_engine::mysql::control::Control;
use shunt_engine::workflow::spec::{OnDdl, Tuning};
use shunt_engine::workflow::verbs::WaitFor;

use super::{assert_stopped, position, running, with_table};
use crate::harness::compare::assert_equal;
use crate::harness::pair::{Move, Pair};

async fn running_ddl(pair: &Pair) -> Move<'_> {
    let mut moved = running(pair).await;
    moved.stop().await;
    moved.set_on_ddl(OnDdl::Exec).await;
    moved.start().await;
    moved
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_behind_more_than_one_set_statement() {
    let pair = with_table(&[]).await;
    let moved = running(&pair).await;
    let mut source = pair.on_source().await;
    let hidden =
        "SET STATEMENT max_statement_time=10 FOR SET STATEMENT lock_wait_timeout=10 FOR TRUNCATE t";
    source.execute(hidden).await.unwrap();
    source.execute("INSERT INTO t VALUES (1, 2, 'new')").await.unwrap();
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    assert_eq!(assert_equal(pair.source.primary(), pair.target.primary(), "t"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn defaults_of_a_timestamp_are_not_guessed() {
    let pair = with_table(&[]).await;
    let mut moved = running_ddl(&pair).await;
    let mut source = pair.on_source().await;
    source.execute("ALTER TABLE t ADD a TIMESTAMP NULL").await.unwrap();
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    source.execute("SET explicit_defaults_for_timestamp=0").await.unwrap();
    source.execute("ALTER TABLE t MODIFY a TIMESTAMP").await.unwrap();
    let after = position(&mut source).await;
    let says = ["cannot be run on the target", "explicit_defaults_for_timestamp"];
    assert_stopped(&mut moved, &says, &after).await;
}

/// The definition comes out otherwise on the target: nobody is told that it has caught up.
#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_is_another_one_on_the_target() {
    let pair = with_table(&[]).await;
    let moved = running_ddl(&pair).await;
    let mut source = pair.on_source().await;
    for statement in [
        "SET sql_mode='ORACLE'",
        "PREPARE s FROM 'ALTER TABLE t ADD d DATE'",
        "SET sql_mode=''",
        "EXECUTE s",
        "INSERT INTO other VALUES (7)",
    ] {
        source.execute(statement).await.unwrap();
    }
    let error = moved.wait(WaitFor::CaughtUp).await.unwrap_err();
    assert!(error.to_string().contains("definitions of a moved table differ"), "{error}");
}

/// Rows that the source holds against its own check, or with a period that ends before it begins, are carried all the same.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_a_check_would_refuse() {
    let pair = with_table(&[]).await;
    let mut source = pair.on_source().await;
    for statement in [
        "ALTER TABLE t ADD CHECK (v < 100)",
        "ALTER TABLE t ADD a DATE NOT NULL DEFAULT '2020-01-01', ADD b DATE NOT NULL DEFAULT '2020-01-02', ADD PERIOD FOR p (a, b)",
        "SET check_constraint_checks=0",
        "INSERT INTO t VALUES (2001, 1000, 'copied', '2020-01-02', '2020-01-01')",
    ] {
        source.execute(statement).await.unwrap();
    }
    let moved = running(&pair).await;
    for statement in [
        "INSERT INTO t VALUES (2002, 1000, 'followed', '2020-01-02', '2020-01-01')",
        "UPDATE t SET v = 2000, b = '2000-01-01' WHERE id = 5",
    ] {
        source.execute(statement).await.unwrap();
    }
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    assert_eq!(assert_equal(pair.source.primary(), pair.target.primary(), "t"), 1002);
}

/// What a server cuts off for its clients is not cut off for us.
#[tokio::test(flavor = "multi_thread")]
async fn limits_of_a_server_are_not_ours() {
    let pair = with_table(&[]).await;
    let set = async |settings: [&str; 3]| {
        for mut server in [pair.on_source().await, pair.on_target().await] {
            for setting in settings {
                server.execute(format!("SET GLOBAL {setting}")).await.unwrap();
            }
        }
    };
    set(["sql_select_limit=1", "completion_type='RELEASE'", "sql_big_selects=0"]).await;
    let moved = running(&pair).await;
    pair.on_source().await.execute("UPDATE t SET v = id, c = 'changed'").await.unwrap();
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    // They would be the comparison's as well.
    set(["sql_select_limit=DEFAULT", "completion_type=DEFAULT", "sql_big_selects=DEFAULT"]).await;
    assert_eq!(assert_equal(pair.source.primary(), pair.target.primary(), "t"), 1000);
}

/// Its numbers have passed the saved position, which is in the middle of an event now.
#[tokio::test(flavor = "multi_thread")]
async fn a_binlog_that_was_reset_and_has_grown_again() {
    let pair = with_table(&[]).await;
    let mut moved = running(&pair).await;
    moved.stop().await;
    let mut source = pair.on_source().await;
    source.execute("RESET MASTER").await.unwrap();
    for id in 3001..3201 {
        source.execute(format!("INSERT INTO t VALUES ({id}, {id}, 'x')")).await.unwrap();
    }
    moved.start().await;
    let error = moved.ended().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stop, "{error}");
    assert!(error.to_string().contains("does not have"), "{error}");
}

/// The position was read at another server, whose files have other places. That one is remembered until something is applied from this
/// one; no place of this one is until it is where the GTIDs are.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_another_server_than_before() {
    let pair = with_table(&[]).await;
    let mut moved = running(&pair).await;
    moved.stop().await;
    let (mut target, mut source) = (pair.on_target().await, pair.on_source().await);
    let (here, _) = read_at(&mut target).await;
    let elsewhere = ("other".to_owned(), "other.000099".to_owned());
    let other = "UPDATE _shunt.stream SET source_identity = 'other', log_file = 'other.000099', log_offset = 7";
    target.execute(other).await.unwrap();
    let insert = |id: u32| format!("INSERT INTO t VALUES ({id}, 1, 'x')");

    go_on(&mut moved).await;
    assert_eq!(read_at(&mut target).await, elsewhere);
    source.execute(insert(2001)).await.unwrap();
    go_on(&mut moved).await;
    assert_eq!(read_at(&mut target).await, (here.clone(), String::new()));
    source.execute("FLUSH BINARY LOGS").await.unwrap();
    source.execute(insert(2002)).await.unwrap();
    go_on(&mut moved).await;
    assert_eq!(read_at(&mut target).await, (here.clone(), String::new()));
    moved.start().await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    source.execute(insert(2003)).await.unwrap();
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    moved.stop().await;
    go_on(&mut moved).await;
    assert_eq!(read_at(&mut target).await, (here, "binlog.000002".to_owned()));
    assert_eq!(assert_equal(pair.source.primary(), pair.target.primary(), "t"), 1003);
}

/// The stream goes on until it has caught up.
async fn go_on(moved: &mut Move<'_>) {
    moved.start().await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    moved.stop().await;
}

/// The server at which the saved position was read, and the file of its place there.
async fn read_at(target: &mut Control) -> (String, String) {
    let row = target.row("SELECT source_identity, log_file FROM _shunt.stream").await.unwrap();
    let row = row.unwrap();
    (row.must(0).unwrap(), row.must(1).unwrap())
}

/// They are waited for, if they end.
#[tokio::test(flavor = "multi_thread")]
async fn xa_transactions_of_others_at_the_start() {
    let pair = with_table(&[]).await;
    let mut moved = pair.create(&["t"], Tuning::default()).await;
    let mut source = pair.on_source().await;
    for statement in
        ["XA START 'x'", "INSERT INTO other VALUES (1)", "XA END 'x'", "XA PREPARE 'x'"]
    {
        source.execute(statement).await.unwrap();
    }
    moved.run().await;
    source.execute("XA COMMIT 'x'").await.unwrap();
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    assert_eq!(assert_equal(pair.source.primary(), pair.target.primary(), "t"), 1000);
    moved.cancel().await.unwrap();
}

/// A table, and others beside it whose engines cannot prepare.
async fn with_other_engines() -> Pair {
    let pair = with_table(&[]).await;
    for engine in ["Aria", "MyISAM"] {
        let create = format!("CREATE TABLE {engine} (id INT NOT NULL PRIMARY KEY) ENGINE={engine}");
        pair.on_source().await.execute(create).await.unwrap();
    }
    pair
}

/// A transaction that inserts a row and does something else.
async fn insert_with(source: &mut Control, id: u32, other: &str) {
    let insert = format!("INSERT INTO t VALUES ({id}, 1, 'x')");
    for statement in ["BEGIN", &insert, other, "COMMIT"] {
        source.execute(statement).await.unwrap();
    }
}

/// Snapshots are placed behind it before InnoDB shows its rows. What is read counts, too; tables of MyISAM do not.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_not_prepared_during_the_copy() {
    let pair = with_other_engines().await;
    let mut source = pair.on_source().await;
    let mut tuning = Tuning::default();
    tuning.set("chunk_rows_max", "1").unwrap();
    let mut moved = pair.create(&["t"], tuning).await;
    // The copy cannot write this row, and does not end.
    let mut held = pair.on_target().await;
    held.execute("START TRANSACTION").await.unwrap();
    held.execute("INSERT INTO customer.t VALUES (100, 0, 'held')").await.unwrap();
    moved.run().await;
    pair.until_ranges(3).await;
    insert_with(&mut source, 2001, "INSERT INTO MyISAM VALUES (1)").await;
    insert_with(&mut source, 2002, "SELECT COUNT(*) FROM Aria").await;
    let after = position(&mut source).await;
    let transaction = format!("transaction {after} changes moved tables while they are copied");
    assert_stopped(&mut moved, &[&transaction, "tables of Aria"], &after).await;
    assert!(pair.ranges().await < 1000, "the copy ended before the transaction");
    held.execute("ROLLBACK").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_not_prepared_after_the_copy_is_followed() {
    let pair = with_other_engines().await;
    let mut source = pair.on_source().await;
    let mut moved = running(&pair).await;
    insert_with(&mut source, 2001, "INSERT INTO Aria VALUES (1)").await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    assert_eq!(assert_equal(pair.source.primary(), pair.target.primary(), "t"), 1001);
    moved.cancel().await.unwrap();
}

const ROUNDS: &str = "CREATE TABLE t (id INT NOT NULL PRIMARY KEY, m DATETIME(3), v DECIMAL(9,3), \
                      w DECIMAL(9,1) AS (v) STORED, `tag 'ä' at row 1` DATE AS (m) VIRTUAL, KEY (w))";

/// The source rounded it, and so does the target, with a note for each row and column: more than a server keeps.
#[tokio::test(flavor = "multi_thread")]
async fn columns_that_a_server_computes_and_rounds() {
    let pair = Pair::start().await;
    let mut source = pair.on_source().await;
    source.execute(ROUNDS).await.unwrap();
    let insert = "INSERT INTO t (id, m, v) SELECT seq, '2026-11-29 07:00:00.123', seq / 7 FROM";
    source.execute(format!("{insert} seq_1_to_40000")).await.unwrap();
    let moved = running(&pair).await;
    // In bulk, as text, and over rows that are there.
    for changes in [
        &format!("{insert} seq_40001_to_80000"),
        "INSERT INTO t (id, m, v) SELECT 80001, NOW(3), 0.123",
        "UPDATE t SET v = v + 0.777, m = NOW(3) WHERE id > 40000",
        "DELETE FROM t WHERE id > 70000",
    ] {
        source.execute(changes).await.unwrap();
        moved.wait(WaitFor::CaughtUp).await.unwrap();
    }
    assert_eq!(assert_equal(pair.source.primary(), pair.target.primary(), "t"), 70_000);
}

/// Of such a table too: what is carried is not rounded.
#[tokio::test(flavor = "multi_thread")]
async fn a_column_beside_one_that_is_computed_is_not_rounded() {
    let pair = Pair::start().await;
    let mut source = pair.on_source().await;
    source.execute(ROUNDS).await.unwrap();
    let mut moved = running(&pair).await;
    let mut target = pair.on_target().await;
    target.execute("ALTER TABLE customer.t MODIFY v DECIMAL(9,2)").await.unwrap();
    source.execute("INSERT INTO t (id, m, v) VALUES (1, NOW(3), 1.25)").await.unwrap();
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    source.execute("INSERT INTO t (id, m, v) VALUES (2, NOW(3), 0.125)").await.unwrap();
    let after = position(&mut source).await;
    assert_stopped(&mut moved, &["write `customer`.`t`", "Data truncated"], &after).await;
}
