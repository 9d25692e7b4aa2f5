//! What a stream cannot follow stops it: with an error that says what happened and what to do, saved as its state, with the
//! position before it. Nothing is skipped.

mod doubts;

use std::time::Instant;

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
    let error = moved.ended().await.unwrap_err();
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
    let says = ["the source no longer has", "purged", "raise the binlog retention"];
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

/// Moves a table whose source then changes by each statement, with rows written before and after it.
async fn check_run(on_ddl: OnDdl, steps: &[&str]) {
    let pair = with_table(&[]).await;
    let mut moved = running(&pair).await;
    moved.stop().await;
    moved.set_on_ddl(on_ddl).await;
    moved.start().await;
    let mut source = pair.on_source().await;
    for statement in steps {
        source.execute(statement).await.unwrap();
    }
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    assert_eq!(assert_equal(pair.source.primary(), pair.target.primary(), "t"), 1006);
    assert_same_definition(&pair).await;
    // Whoever starts next finds what is there.
    moved.stop().await;
    source.execute("INSERT INTO t (id) VALUES (9001)").await.unwrap();
    moved.start().await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    assert_eq!(assert_equal(pair.source.primary(), pair.target.primary(), "t"), 1007);
    moved.cancel().await.unwrap();
}

async fn assert_same_definition(pair: &Pair) {
    let show = "SHOW CREATE TABLE t";
    let here = pair.on_source().await.row(show).await.unwrap().unwrap().must(1).unwrap();
    let there = pair.on_target().await.row(show).await.unwrap().unwrap().must(1).unwrap();
    assert_eq!(here, there);
}

/// Columns come, move, change their type and go, with rows between; the key changes as well.
const CHANGES: &[&str] = &[
    "INSERT INTO t VALUES (2001, -1, 'before')",
    "ALTER TABLE commerce.t ADD COLUMN n INT UNSIGNED DEFAULT 4000000000 AFTER id, ADD KEY (v)",
    "INSERT INTO t VALUES (2002, 7, -2, 'with n')",
    "UPDATE t SET n = 5 WHERE id < 10",
    "ALTER TABLE t MODIFY c VARCHAR(100) FIRST",
    "INSERT INTO t VALUES ('first', 2003, 7, -2)",
    "CREATE UNIQUE INDEX u ON `t` (c, id)",
    "ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (id, n)",
    "INSERT INTO t VALUES ('key', 2003, 8, -2)",
    "ALTER TABLE t CHANGE v w BIGINT NOT NULL DEFAULT 3, DROP KEY u",
    "INSERT INTO t VALUES ('wide', 2004, 8, -9000000000)",
    "ALTER TABLE t DROP COLUMN c, COMMENT = 'commerce.t'",
    "INSERT INTO t VALUES (2005, 8, 11)",
    "DELETE FROM t WHERE id = 1000",
    "INSERT INTO t (id, n, w) VALUES (2006, 1, 1)",
];

#[tokio::test(flavor = "multi_thread")]
async fn ddl_is_run_on_the_target_when_told_to() {
    check_run(OnDdl::Exec, CHANGES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ddl_is_run_in_the_time_zone_of_its_session() {
    let pair = with_table(&[]).await;
    let mut moved = running(&pair).await;
    moved.stop().await;
    moved.set_on_ddl(OnDdl::Exec).await;
    moved.start().await;
    let mut source = pair.on_source().await;
    for statement in [
        "SET time_zone = '-05:00'",
        "ALTER TABLE t ADD d TIMESTAMP NOT NULL DEFAULT '2020-01-01 12:00:00', ADD e DATETIME DEFAULT '2020-01-01 12:00:00'",
        "ALTER TABLE t MODIFY e TIMESTAMP NULL",
        "ALTER TABLE t MODIFY d DATETIME NOT NULL DEFAULT '2021-01-01 12:00:00'",
    ] {
        source.execute(statement).await.unwrap();
    }
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    assert_eq!(assert_equal(pair.source.primary(), pair.target.primary(), "t"), 1000);
    source.execute("SET time_zone = 'SYSTEM'").await.unwrap();
    source.execute("ALTER TABLE t MODIFY e DATETIME NULL").await.unwrap();
    let after = position(&mut source).await;
    assert_stopped(&mut moved, &["DDL on `t` at", "the time zone SYSTEM"], &after).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ddl_is_run_where_it_can_be_and_passed_over_where_it_keeps_the_rows() {
    let mut steps = vec!["ALTER TABLE t ADD CHECK (id > 0), COMMENT 'same'"];
    steps.extend(CHANGES);
    check_run(OnDdl::ExecIgnore, &steps).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ddl_that_cannot_be_run_on_the_target_stops_or_is_passed_over() {
    let pair = with_table(&[]).await;
    let mut moved = running(&pair).await;
    moved.stop().await;
    moved.set_on_ddl(OnDdl::Exec).await;
    moved.start().await;
    let mut source = pair.on_source().await;
    // The name is taken on the target, not on the source.
    pair.on_target().await.execute("ALTER TABLE t ADD KEY k (v)").await.unwrap();
    source.execute("ALTER TABLE t ADD KEY k (c(10))").await.unwrap();
    let after = position(&mut source).await;
    let says = ["DDL on `t` at", "it cannot be run on the target", "Duplicate key name"];
    assert_stopped(&mut moved, &says, &after).await;
    moved.start().await;
    assert_stopped(&mut moved, &says, &after).await;
    moved.set_on_ddl(OnDdl::ExecIgnore).await;
    moved.start().await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    source.execute("ALTER TABLE t ADD COLUMN at DATETIME DEFAULT NOW()").await.unwrap();
    let after = position(&mut source).await;
    let says = ["DDL on `t` at", "NOW may give the target's rows other values"];
    assert_stopped(&mut moved, &says, &after).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_replaced_stops_even_a_stream_that_runs_ddl() {
    let pair = with_table(&[]).await;
    let mut moved = running(&pair).await;
    moved.stop().await;
    moved.set_on_ddl(OnDdl::ExecIgnore).await;
    moved.start().await;
    let mut source = pair.on_source().await;
    source.execute("CREATE OR REPLACE TABLE t (id INT NOT NULL PRIMARY KEY)").await.unwrap();
    let after = position(&mut source).await;
    let says = ["DDL on `t` at", "it removes rows or the table itself"];
    assert_stopped(&mut moved, &says, &after).await;
    let row = pair.on_target().await.row("SELECT COUNT(*), MAX(v) FROM t").await.unwrap().unwrap();
    assert_eq!(row.must(0).unwrap(), "1000");
}

#[tokio::test(flavor = "multi_thread")]
async fn ddl_is_not_run_in_the_middle_of_the_copy() {
    let pair = Pair::start().await;
    let mut source = pair.on_source().await;
    source.execute("CREATE TABLE t (id INT NOT NULL PRIMARY KEY, v INT)").await.unwrap();
    source.execute("INSERT INTO t SELECT seq, 0 FROM seq_1_to_100000").await.unwrap();
    let mut tuning = Tuning::default();
    tuning.set("chunk_rows_max", "100").unwrap();
    let change = |spec: &mut shunt_engine::workflow::spec::WorkflowSpec| spec.on_ddl = OnDdl::Exec;
    let mut moved = pair.create_with(&["t"], tuning, change).await.unwrap();
    moved.run().await;
    pair.until_ranges(3).await;
    source.execute("ALTER TABLE t ADD KEY (v)").await.unwrap();
    let after = position(&mut source).await;
    let says = ["DDL on `t` at", "before the copy is complete"];
    assert_stopped(&mut moved, &says, &after).await;
    // The copy can do without the key.
    moved.set_on_ddl(OnDdl::Ignore).await;
    moved.start().await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    assert_eq!(assert_equal(pair.source.primary(), pair.target.primary(), "t"), 100_000);
    moved.cancel().await.unwrap();
}

/// Waits until a query on the target returns a row.
async fn until_row(pair: &Pair, query: &str) {
    let mut target = pair.on_target().await;
    let started = Instant::now();
    while target.row(query).await.unwrap().is_none() {
        assert!(started.elapsed() < PATIENCE, "never: {query}");
    }
}

/// Dies while the target waits for the lock that `hold` takes, once `seen` returns a row; the next owner goes on.
async fn check_crash(hold: &str, seen: &str) {
    let pair = with_table(&[]).await;
    let mut moved = running(&pair).await;
    moved.stop().await;
    moved.set_on_ddl(OnDdl::Exec).await;
    moved.start().await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    let mut holder = pair.on_target().await;
    holder.execute("BEGIN").await.unwrap();
    holder.row(hold).await.unwrap();
    let mut source = pair.on_source().await;
    for statement in [
        "INSERT INTO t VALUES (2001, 1, 'before')",
        // Run twice, it would make two keys.
        "ALTER TABLE t ADD COLUMN n INT DEFAULT 5 FIRST, ADD KEY (v)",
        "INSERT INTO t VALUES (6, 2002, 1, 'after')",
    ] {
        source.execute(statement).await.unwrap();
    }
    until_row(&pair, seen).await;
    let ahead = moved.stream().await.row.ahead_until;
    assert!(ahead.is_some(), "the sidecar does not know that DDL is begun");
    moved.crash();
    holder.execute("ROLLBACK").await.unwrap();
    until_row(
        &pair,
        "SELECT 1 FROM _shunt.lease WHERE expires_us < UNIX_TIMESTAMP(NOW(6)) * 1000000",
    )
    .await;
    moved.run().await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    assert_eq!(assert_equal(pair.source.primary(), pair.target.primary(), "t"), 1002);
    assert_same_definition(&pair).await;
    let row = moved.stream().await.row;
    assert_eq!((row.state, row.ahead_until), (StreamState::Running, None));
    moved.cancel().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_before_ddl_is_run() {
    let waits = "SELECT 1 FROM information_schema.processlist WHERE state LIKE '%metadata lock%' AND info LIKE 'ALTER%'";
    check_crash("SELECT * FROM t LIMIT 1", waits).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_ddl_is_run() {
    let waits = "SELECT 1 FROM information_schema.processlist JOIN information_schema.columns \
                 WHERE info LIKE 'UPDATE%table_plan%' AND table_schema = 'customer' AND column_name = 'n'";
    check_crash("SELECT * FROM _shunt.table_plan FOR UPDATE", waits).await;
}
