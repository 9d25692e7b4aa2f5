//! Statements of which it is not plain whether, or how, they change a moved table.

use shunt_engine::workflow::spec::{OnDdl, Tuning};
use shunt_engine::workflow::verbs::WaitFor;

use super::{assert_stopped, check, position, running, with_table};
use crate::harness::compare::assert_equal;
use crate::harness::pair::Pair;

/// A table whose name differs by case only is another one, also for TRUNCATE.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_differs_in_case_is_another_table() {
    let pair = with_table(&[]).await;
    let mut moved = running(&pair).await;
    let mut source = pair.on_source().await;
    for statement in [
        "CREATE TABLE T (id INT PRIMARY KEY)",
        "INSERT INTO T VALUES (1)",
        "TRUNCATE TABLE T",
        "ALTER TABLE T ADD x INT",
        "CREATE DATABASE COMMERCE",
        "CREATE TABLE COMMERCE.t (id INT)",
        "TRUNCATE TABLE COMMERCE.t",
        "DROP DATABASE COMMERCE",
        "INSERT INTO t VALUES (2001, 1, 'after')",
    ] {
        source.execute(statement).await.unwrap();
    }
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    assert_equal(pair.source.primary(), pair.target.primary(), "t");
    moved.cancel().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_in_another_character_set() {
    let pair = Pair::start().await;
    let mut source = pair.on_source().await;
    source.execute("CREATE TABLE `bär` (id INT PRIMARY KEY, v INT)").await.unwrap();
    source.execute("INSERT INTO `bär` SELECT seq, 0 FROM seq_1_to_100").await.unwrap();
    let mut moved = pair.create(&["bär"], Tuning::default()).await;
    moved.run().await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    source.execute("SET NAMES latin1").await.unwrap();
    // A comment is no name, and a name in ASCII is read.
    source.execute(b"CREATE TABLE other (id INT) COMMENT 'b\xe4r'").await.unwrap();
    source.execute("UPDATE commerce.other SET id = 1").await.unwrap();
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    source.execute(b"TRUNCATE TABLE `b\xe4r`").await.unwrap();
    let after = position(&mut source).await;
    assert_stopped(&mut moved, &["it cannot be told whether it changes a moved table"], &after)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_in_statement_format_that_a_view_or_trigger_brings_to_the_table() {
    let says =
        &["data was written in statement format in database `aside`", "Set binlog_format=ROW"];
    let view = [
        "CREATE DATABASE aside",
        "CREATE VIEW aside.v AS SELECT * FROM commerce.t",
        "SET SESSION binlog_format=STATEMENT, tx_isolation='REPEATABLE-READ'",
        "USE aside",
        "UPDATE v SET v = 7 WHERE id = 1",
        "USE commerce",
    ];
    check(&view, says, says).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_temporary_table_that_hides_the_moved_one() {
    let says = &["whether `t` or a temporary table of that name is meant", "Set binlog_format=ROW"];
    let hides = [
        "SET SESSION binlog_format=MIXED",
        "CREATE TEMPORARY TABLE t (id INT)",
        "TRUNCATE TABLE t",
        "DROP TEMPORARY TABLE t",
    ];
    check(&hides, says, says).await;
}

/// The same, made before the workflow, so that only the flag of its TRUNCATE says what is meant.
#[tokio::test(flavor = "multi_thread")]
async fn a_temporary_table_from_before_that_hides_the_moved_one() {
    let pair = with_table(&[]).await;
    let mut session = pair.on_source().await;
    session.execute("SET SESSION binlog_format=MIXED").await.unwrap();
    session.execute("CREATE TEMPORARY TABLE t (id INT)").await.unwrap();
    let mut moved = running(&pair).await;
    session.execute("TRUNCATE TABLE t").await.unwrap();
    let after = position(&mut pair.on_source().await).await;
    assert_stopped(&mut moved, &["whether `t` or a temporary table of that name is meant"], &after)
        .await;
    let row = pair.on_target().await.row("SELECT COUNT(*) FROM t").await.unwrap().unwrap();
    assert_eq!(row.must(0).unwrap(), "1000");
}

/// Before the first start nobody reads the binlog.
#[tokio::test(flavor = "multi_thread")]
async fn a_definition_that_changed_between_create_and_start() {
    for change in [
        "ALTER TABLE t ADD FOREIGN KEY (v) REFERENCES p (id) ON DELETE CASCADE",
        "ALTER TABLE t ENGINE=Aria",
        "ALTER TABLE t ADD SYSTEM VERSIONING",
        "ALTER TABLE t ADD UNIQUE u (id, v)",
    ] {
        let pair = with_table(&[]).await;
        let mut source = pair.on_source().await;
        source.execute("CREATE TABLE p (id INT PRIMARY KEY)").await.unwrap();
        source.execute("INSERT INTO p VALUES (0)").await.unwrap();
        let mut moved = pair.create(&["t"], Tuning::default()).await;
        source.execute(change).await.unwrap();
        moved.run().await;
        let error = moved.ended().await.unwrap_err().to_string();
        assert!(
            error.contains("is not the one that the workflow was created with"),
            "{change}: {error}"
        );
    }
}

/// A row may be there beside another one now that the target takes for the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_unique_key_that_is_dropped_is_not_passed_over() {
    let pair = with_table(&[]).await;
    let mut source = pair.on_source().await;
    source.execute("UPDATE t SET v = id").await.unwrap();
    source.execute("ALTER TABLE t ADD UNIQUE u (v), ADD KEY k (v)").await.unwrap();
    let mut moved = running(&pair).await;
    moved.stop().await;
    moved.set_on_ddl(OnDdl::Ignore).await;
    moved.start().await;
    source.execute("ALTER TABLE t DROP KEY k").await.unwrap();
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    source.execute("ALTER TABLE t DROP KEY u").await.unwrap();
    source.execute("INSERT INTO t VALUES (2001, 5, 'the second 5')").await.unwrap();
    let after = position(&mut source).await;
    assert_stopped(&mut moved, &["which rows are taken for the same"], &after).await;
    let row = pair.on_target().await.row("SELECT COUNT(*) FROM t WHERE id = 5").await.unwrap();
    assert_eq!(row.unwrap().must(0).unwrap(), "1");
}

/// As a replica runs it: with the moment, the mode and the numbering of the session.
#[tokio::test(flavor = "multi_thread")]
async fn ddl_is_run_with_the_settings_of_its_session() {
    let pair = with_table(&[]).await;
    let mut source = pair.on_source().await;
    let create =
        "CREATE TABLE s (id INT PRIMARY KEY, at TIMESTAMP NULL, d DATETIME(6), c CHAR(9), v INT)";
    source.execute(create).await.unwrap();
    let fill =
        "INSERT INTO s SELECT seq, NULL, '2020-01-01 00:00:00.7', 'x', seq % 3 FROM seq_1_to_9";
    source.execute(fill).await.unwrap();
    let mut moved = pair.create(&["s"], Tuning::default()).await;
    moved.run().await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    moved.stop().await;
    moved.set_on_ddl(OnDdl::Exec).await;
    for statement in [
        // A NULL becomes the moment of the statement, which here is long ago.
        "SET timestamp=1500000000.25, time_zone='+02:00'",
        "ALTER TABLE s MODIFY at TIMESTAMP(6) NOT NULL DEFAULT '2020-01-01'",
        "SET sql_mode='TIME_ROUND_FRACTIONAL'",
        "ALTER TABLE s MODIFY d DATETIME",
        "SET sql_mode='PAD_CHAR_TO_FULL_LENGTH'",
        "ALTER TABLE s MODIFY c VARCHAR(9)",
    ] {
        source.execute(statement).await.unwrap();
    }
    moved.start().await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    assert_equal(pair.source.primary(), pair.target.primary(), "s");
    moved.cancel().await.unwrap();
}
