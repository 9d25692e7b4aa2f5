//! What a stream cannot follow stops it: with an error that says what happened and what to do, saved as its state, with the
//! position before it. Nothing is skipped.

mod doubts;
mod hidden;
mod run;
mod settings;

use shunt_engine::error::ErrorKind;
use shunt_engine::mysql::control::Control;
use shunt_engine::mysql::gtid::GtidSet;
use shunt_engine::mysql::server::Flavor;
use shunt_engine::workflow::spec::{OnDdl, Tuning};
use shunt_engine::workflow::state::StreamState;
use shunt_engine::workflow::verbs::WaitFor;

use crate::harness::compare::assert_equal;
use crate::harness::pair::{Move, PATIENCE, Pair};

/// A table of some rows on the source.
async fn with_table(options: &[(&str, &str)]) -> Pair {
    let pair = Pair::with(None, None, options, &[]).await;
    let mut source = pair.on_source().await;
    let create = "CREATE TABLE t (id INT NOT NULL PRIMARY KEY, v INT, c MEDIUMTEXT)";
    source.execute(create).await.unwrap();
    source.execute("CREATE TABLE other (id INT NOT NULL PRIMARY KEY)").await.unwrap();
    source.execute("INSERT INTO t SELECT seq, 0, 'c' FROM seq_1_to_1000").await.unwrap();
    pair
}

/// The same, moved, with the stream running.
async fn running(pair: &Pair) -> Move<'_> {
    let mut moved = pair.create(&["t"], Tuning::default()).await;
    moved.run().await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    moved
}

async fn position(source: &mut Control) -> GtidSet {
    let row = source.row("SELECT @@global.gtid_binlog_pos").await.unwrap().unwrap();
    GtidSet::parse(Flavor::MariaDb, &row.must(0).unwrap()).unwrap()
}

/// The stream ends with an error that says all of `says`; the sidecar has it, and the position is before `after`.
async fn assert_stopped(moved: &mut Move<'_>, says: &[&str], after: &GtidSet) {
    let ended = tokio::time::timeout(PATIENCE, moved.ended()).await;
    let error = ended.expect("it stops").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stop, "{error}");
    let text = error.to_string();
    for part in says {
        assert!(text.contains(part), "{part:?} is not said: {text}");
    }
    assert!(error.advice_text().is_some(), "nothing is advised: {text}");
    let row = moved.stream().await.row;
    assert_eq!((row.state, &row.message), (StreamState::Error, &text));
    let stands = row.position(after.flavor()).unwrap().unwrap().gtids;
    assert!(!stands.contains_set(after), "the position {stands} is past {after}");
}

/// Writes a row, does what stops the stream, writes another row. After a new start the stream stops there again.
async fn check(statements: &[&str], says: &[&str], says_again: &[&str]) {
    let pair = with_table(&[]).await;
    let mut moved = running(&pair).await;
    let mut source = pair.on_source().await;
    source.execute("INSERT INTO t VALUES (2001, 1, 'before')").await.unwrap();
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    for statement in statements {
        source.execute(statement).await.unwrap();
    }
    let after = position(&mut source).await;
    let mut other = pair.on_source().await;
    other.execute("INSERT INTO other VALUES (1)").await.unwrap();
    assert_stopped(&mut moved, says, &after).await;
    moved.start().await;
    assert_stopped(&mut moved, says_again, &after).await;
    let mut target = pair.on_target().await;
    let row = target.row("SELECT COUNT(*), MAX(id), SUM(v) FROM t").await.unwrap().unwrap();
    let seen: Vec<String> = (0..3).map(|at| row.must(at).unwrap()).collect();
    assert_eq!(seen, ["1001", "2001", "1"], "the target has more or less than what came before");
}

#[tokio::test(flavor = "multi_thread")]
async fn data_in_statement_format() {
    let says = &["data was written in statement format naming table `t`", "Set binlog_format=ROW"];
    let statements = [
        "SET SESSION binlog_format=STATEMENT, tx_isolation='REPEATABLE-READ'",
        "UPDATE t SET v = 7 WHERE id < 5",
    ];
    check(&statements, says, says).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_images_that_lack_columns() {
    let says = &["the row images of table `t` lack columns", "Set binlog_row_image=FULL"];
    check(&["SET SESSION binlog_row_image=MINIMAL", "UPDATE t SET v = 7 WHERE id < 5"], says, says)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_xa_transaction() {
    let says = &["XA transaction", "changes moved tables", "without XA"];
    let xa = ["XA START 'x'", "UPDATE t SET v = 7 WHERE id < 5", "XA END 'x'", "XA PREPARE 'x'"];
    check(&xa, says, says).await;
}

/// A definition that changes without a word in the binlog: rows would be told apart by other bytes, values be rounded.
#[tokio::test(flavor = "multi_thread")]
async fn a_column_of_another_type_that_nothing_announced() {
    let unlogged = [
        "SET sql_log_bin=0",
        "ALTER TABLE t MODIFY v DOUBLE",
        "SET sql_log_bin=1",
        "UPDATE t SET v = 7.5 WHERE id < 5",
    ];
    let says = &["the columns of `t` change in the middle", "sql_log_bin=0"];
    let says_again = &["column `v` of `t` has values", "int(11)", "would round"];
    check(&unlogged, says, says_again).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_column() {
    check(
        &["ALTER TABLE t ADD COLUMN n INT", "INSERT INTO t VALUES (3001, 1, 'after', 9)"],
        &["DDL on `t` at", "ALTER TABLE t ADD COLUMN n INT", "--on-ddl"],
        &["DDL on `t` at", "ALTER TABLE t ADD COLUMN n INT", "--on-ddl"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_table() {
    check(
        &["RENAME TABLE t TO t2"],
        &["DDL on `t` at", "RENAME TABLE t TO t2"],
        &["DDL on `t` at", "RENAME TABLE t TO t2"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_table() {
    check(&["DROP TABLE t"], &["DDL on `t` at", "DROP TABLE"], &["DDL on `t` at", "DROP TABLE"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_database() {
    check(
        &[
            "DROP DATABASE commerce",
            "CREATE DATABASE commerce",
            "CREATE TABLE commerce.other (id INT)",
        ],
        &["DDL on `t` at", "DROP DATABASE commerce"],
        &["DDL on `t` at", "DROP DATABASE commerce"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_database() {
    check(
        &["CREATE OR REPLACE DATABASE commerce", "CREATE TABLE commerce.other (id INT)"],
        &["DDL on `t` at", "CREATE OR REPLACE DATABASE commerce"],
        &["DDL on `t` at", "CREATE OR REPLACE DATABASE commerce"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_exchanged_with_a_partition() {
    check(
        &[
            "CREATE TABLE pp (id INT NOT NULL PRIMARY KEY, v INT, c MEDIUMTEXT) PARTITION BY HASH (id) PARTITIONS 1",
            "ALTER TABLE pp EXCHANGE PARTITION p0 WITH TABLE t",
        ],
        &["DDL on `t` at", "EXCHANGE PARTITION"],
        &["DDL on `t` at", "EXCHANGE PARTITION"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unique_key_that_is_kept_as_a_hash() {
    let pair = with_table(&[]).await;
    let mut moved = running(&pair).await;
    moved.stop().await;
    moved.set_on_ddl(OnDdl::Ignore).await;
    moved.start().await;
    let mut source = pair.on_source().await;
    source.execute("UPDATE t SET c = id").await.unwrap();
    source.execute("ALTER TABLE t ADD UNIQUE u (c)").await.unwrap();
    source.execute("INSERT INTO t VALUES (2001, 1, 'after')").await.unwrap();
    let after = position(&mut source).await;
    let says = ["the unique key `u` of `t` on the source is kept as a hash"];
    assert_stopped(&mut moved, &says, &after).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purged_binlog() {
    let pair = with_table(&[]).await;
    let mut moved = running(&pair).await;
    moved.stop().await;
    let mut source = pair.on_source().await;
    source.execute("UPDATE t SET v = 7 WHERE id < 5").await.unwrap();
    let after = position(&mut source).await;
    // The server keeps a file while a connection that ends still reads it.
    loop {
        source.execute("FLUSH BINARY LOGS").await.unwrap();
        let logs = source.rows("SHOW BINARY LOGS").await.unwrap();
        let last = logs.last().unwrap().must(0).unwrap();
        source.execute(format!("PURGE BINARY LOGS TO '{last}'")).await.unwrap();
        if source.rows("SHOW BINARY LOGS").await.unwrap().len() == 1 {
            break;
        }
    }
    source.execute("UPDATE t SET v = 8 WHERE id = 9").await.unwrap();
    moved.start().await;
    let says = ["the server no longer has", "purged", "raise the binlog retention"];
    assert_stopped(&mut moved, &says, &after).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_forgot_its_binlog_and_gives_the_same_gtids_again() {
    let pair = with_table(&[]).await;
    let mut moved = running(&pair).await;
    moved.stop().await;
    let mut source = pair.on_source().await;
    let applied = position(&mut source).await;
    source.execute("RESET MASTER").await.unwrap();
    while !position(&mut source).await.contains_set(&applied) {
        source.execute("UPDATE t SET v = v + 1 WHERE id = 5").await.unwrap();
    }
    source.execute("UPDATE t SET v = v + 1 WHERE id = 5").await.unwrap();
    let after = position(&mut source).await;
    moved.start().await;
    let says = ["the source's binlog does not have the transactions that were applied"];
    assert_stopped(&mut moved, &says, &after).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_crashed_and_lost_what_was_applied() {
    let pair = with_table(&[]).await;
    let mut moved = running(&pair).await;
    let mut source = pair.on_source().await;
    let log = source.row("SHOW MASTER STATUS").await.unwrap().unwrap();
    let (file, kept): (String, u64) = (log.must(0).unwrap(), log.number(1).unwrap());
    source.execute("INSERT INTO t VALUES (2001, 1, 'lost')").await.unwrap();
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    moved.stop().await;
    drop(source);
    // What a power failure leaves of a file that was not synced.
    pair.source.primary().kill9().await.unwrap();
    let file = pair.source.primary().datadir().join(file);
    std::fs::OpenOptions::new().write(true).open(file).unwrap().set_len(kept).unwrap();
    pair.source.primary().start().await.unwrap();
    let mut source = pair.on_source().await;
    for id in 3001..3004 {
        source.execute(format!("INSERT INTO t VALUES ({id}, 1, 'again')")).await.unwrap();
    }
    let after = position(&mut source).await;
    moved.start().await;
    let says = ["the source's binlog does not have the transactions that were applied"];
    assert_stopped(&mut moved, &says, &after).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alter_in_the_middle_of_the_copy() {
    let pair = Pair::start().await;
    let mut source = pair.on_source().await;
    source.execute("CREATE TABLE t (id INT NOT NULL PRIMARY KEY, v INT)").await.unwrap();
    source.execute("INSERT INTO t SELECT seq, 0 FROM seq_1_to_100000").await.unwrap();
    let mut tuning = Tuning::default();
    tuning.set("chunk_rows_max", "100").unwrap();
    let mut moved = pair.create(&["t"], tuning).await;
    moved.run().await;
    pair.until_ranges(3).await;
    source.execute("ALTER TABLE t ADD COLUMN n INT DEFAULT 5, ALGORITHM=INSTANT").await.unwrap();
    source.execute("INSERT INTO t VALUES (200001, 1, 9)").await.unwrap();
    let after = position(&mut source).await;
    // Either the snapshot or the binlog is the first to show it.
    let error = moved.ended().await.unwrap_err().to_string();
    let by_snapshot = error.contains("the definition of `commerce`.`t` changed while it is copied");
    assert!(by_snapshot || error.contains("DDL on `t` at"), "{error}");
    assert!(pair.ranges().await < 1000, "the copy ended before the ALTER");
    moved.start().await;
    assert_stopped(&mut moved, &["the definition of `t` on the source is not the one"], &after)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_row_events_are_followed() {
    let options = [("log_bin_compress", "ON"), ("log_bin_compress_min_len", "64")];
    let pair = with_table(&options).await;
    let mut moved = running(&pair).await;
    let mut source = pair.on_source().await;
    for statement in [
        "INSERT INTO t SELECT seq, 1, REPEAT(seq, 5000) FROM seq_2001_to_2100",
        "UPDATE t SET c = CONCAT(c, REPEAT('x', 70000)) WHERE id > 2050",
        "DELETE FROM t WHERE id BETWEEN 2090 AND 2095",
        "ALTER TABLE other COMMENT 'a statement that is long enough to be compressed, if there is anything to it'",
    ] {
        source.execute(statement).await.unwrap();
    }
    let log = source.row("SHOW MASTER STATUS").await.unwrap().unwrap().must(0).unwrap();
    let events = source.rows(format!("SHOW BINLOG EVENTS IN '{log}'")).await.unwrap();
    let kinds: Vec<String> = events.iter().map(|row| row.must(2).unwrap().to_lowercase()).collect();
    for kind in ["write", "update", "delete", "query"] {
        let found = kinds.iter().any(|k| k.starts_with(kind) && k.contains("compress"));
        assert!(found, "no compressed {kind}: {kinds:?}");
    }
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    assert_eq!(assert_equal(pair.source.primary(), pair.target.primary(), "t"), 1094);
    moved.cancel().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn ddl_that_changes_no_row_is_passed_over_when_told_to() {
    let pair = with_table(&[]).await;
    let mut moved = running(&pair).await;
    let mut source = pair.on_source().await;
    source
        .execute("ALTER TABLE t ADD KEY k (v), COMMENT = 'drop, rename, partition'")
        .await
        .unwrap();
    let after = position(&mut source).await;
    source.execute("INSERT INTO t VALUES (3001, 1, 'after')").await.unwrap();
    assert_stopped(&mut moved, &["DDL on `t` at", "--on-ddl IGNORE"], &after).await;
    moved.set_on_ddl(OnDdl::Ignore).await;
    moved.start().await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    for statement in [
        "CREATE INDEX k2 ON t (v, id)",
        "DROP INDEX k ON commerce.t",
        "ALTER TABLE t ALTER COLUMN v SET DEFAULT 5, RENAME INDEX k2 TO k3",
        "CREATE TABLE IF NOT EXISTS t (something INT)",
        "INSERT INTO t (id) VALUES (3002)",
    ] {
        source.execute(statement).await.unwrap();
    }
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    assert_eq!(assert_equal(pair.source.primary(), pair.target.primary(), "t"), 1002);
    // Whatever changes the rows' images stops all the same.
    source.execute("ALTER TABLE t MODIFY c MEDIUMTEXT AFTER id").await.unwrap();
    let after = position(&mut source).await;
    source.execute("INSERT INTO t VALUES (3003, 'x', 1)").await.unwrap();
    assert_stopped(&mut moved, &["DDL on `t` at", "cannot be passed over"], &after).await;
    moved.start().await;
    assert_stopped(&mut moved, &["DDL on `t` at", "cannot be passed over"], &after).await;
}
