//! DDL that is run on the target: the same columns, rows and keys come of it, also where its process dies around it.

use shunt_engine::workflow::spec::{OnDdl, Tuning};
use shunt_engine::workflow::state::StreamState;
use shunt_engine::workflow::verbs::WaitFor;

use super::{assert_stopped, position, running, with_table};
use crate::harness::compare::assert_equal;
use crate::harness::pair::Pair;
use crate::harness::until::until;

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
    let says = ["DDL on `t` at", "it lets the server compute values"];
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
    until(query, async || target.row(query).await.unwrap().is_some()).await;
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
    let waits = "SELECT 1 FROM information_schema.processlist WHERE state LIKE '%metadata lock%' AND info LIKE '/* shunt */ ALTER%'";
    check_crash("SELECT * FROM t LIMIT 1", waits).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_ddl_is_run() {
    let waits = "SELECT 1 FROM information_schema.processlist JOIN information_schema.columns \
                 WHERE info LIKE 'UPDATE%table_plan%' AND table_schema = 'customer' AND column_name = 'n'";
    check_crash("SELECT * FROM _shunt.table_plan FOR UPDATE", waits).await;
}
