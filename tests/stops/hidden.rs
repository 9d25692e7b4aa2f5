//! What the source says of a moved table in a way in which it is easily missed.

use shunt_engine::error::ErrorKind;
use shunt_engine::workflow::spec::{OnDdl, Tuning};
use shunt_engine::workflow::verbs::WaitFor;

use super::{assert_stopped, position, running, with_table};
use crate::harness::compare::assert_equal;
use crate::harness::pair::Pair;

/// What the server takes for a space, and what it takes for a letter.
#[tokio::test(flavor = "multi_thread")]
async fn spaces_are_those_of_the_server() {
    let pair = with_table(&[]).await;
    let mut source = pair.on_source().await;
    source.execute("CREATE TABLE \u{3000}t (id INT)").await.unwrap();
    let mut moved = running(&pair).await;
    source.execute("TRUNCATE \u{3000}t").await.unwrap();
    source.execute("INSERT INTO t VALUES (2001, 1, 'kept')").await.unwrap();
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    assert_eq!(assert_equal(pair.source.primary(), pair.target.primary(), "t"), 1001);
    for statement in ["SET NAMES latin1", "USE mysql"] {
        source.execute(statement).await.unwrap();
    }
    source.execute(b"TRUNCATE\xa0commerce.t").await.unwrap();
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    assert_eq!(assert_equal(pair.source.primary(), pair.target.primary(), "t"), 0);
    source.execute(b"ALTER TABLE\xa0commerce.t ADD x INT").await.unwrap();
    let after = position(&mut source).await;
    assert_stopped(&mut moved, &["DDL on `t`"], &after).await;
}

/// A text that was prepared under another `sql_mode` than the one that the event tells of.
#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_may_end_elsewhere() {
    let pair = with_table(&[]).await;
    let mut source = pair.on_source().await;
    source.execute("ALTER TABLE t ADD UNIQUE u (v, id)").await.unwrap();
    let mut moved = running(&pair).await;
    moved.stop().await;
    moved.set_on_ddl(OnDdl::Ignore).await;
    moved.start().await;
    for statement in [
        "SET sql_mode='NO_BACKSLASH_ESCAPES'",
        r"PREPARE s FROM 'ALTER TABLE t COMMENT ''a\'', DROP KEY u, COMMENT ''b'''",
        "SET sql_mode=''",
        "EXECUTE s",
    ] {
        source.execute(statement).await.unwrap();
    }
    let after = position(&mut source).await;
    assert_stopped(&mut moved, &["because of its character set or sql_mode"], &after).await;
}

/// The rows of an XA transaction stand in the binlog where it is prepared.
#[tokio::test(flavor = "multi_thread")]
async fn an_xa_transaction_that_is_prepared_before_the_first_start() {
    let pair = with_table(&[]).await;
    let mut moved = pair.create(&["t"], Tuning::default()).await;
    let mut source = pair.on_source().await;
    for statement in
        ["XA START 'x'", "INSERT INTO t VALUES (2001, 1, 'x')", "XA END 'x'", "XA PREPARE 'x'"]
    {
        source.execute(statement).await.unwrap();
    }
    moved.run().await;
    let error = moved.ended().await.unwrap_err();
    assert!(error.to_string().contains("1 XA transactions stay prepared"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Stop);
    source.execute("XA COMMIT 'x'").await.unwrap();
    moved.start().await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    assert_eq!(assert_equal(pair.source.primary(), pair.target.primary(), "t"), 1001);
    moved.cancel().await.unwrap();
}

/// An index of a temporary table is not made on the table that it hides.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_of_a_temporary_table() {
    let pair = with_table(&[]).await;
    let mut session = pair.on_source().await;
    session.execute("SET SESSION binlog_format=MIXED").await.unwrap();
    session.execute("CREATE TEMPORARY TABLE t (id INT, v INT)").await.unwrap();
    let mut moved = running(&pair).await;
    moved.stop().await;
    moved.set_on_ddl(OnDdl::Exec).await;
    moved.start().await;
    let mut source = pair.on_source().await;
    source.execute("CREATE INDEX i ON t (v)").await.unwrap();
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    session.execute("CREATE UNIQUE INDEX z ON t (v)").await.unwrap();
    let after = position(&mut source).await;
    assert_stopped(&mut moved, &["a temporary table of that name is meant"], &after).await;
}

/// Where names fold, row events have the server's spelling.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_spelled_in_another_case() {
    let options = [("lower_case_table_names", "1")];
    let pair = Pair::with(None, None, &options, &[]).await;
    let mut source = pair.on_source().await;
    source.execute("CREATE TABLE t (id INT PRIMARY KEY, v INT)").await.unwrap();
    source.execute("INSERT INTO t SELECT seq, 0 FROM seq_1_to_1000").await.unwrap();
    let spelled = |spec: &mut shunt_engine::workflow::spec::WorkflowSpec| {
        spec.source_database = "Commerce".into();
    };
    let mut moved = pair.create_with(&["T"], Tuning::default(), spelled).await.unwrap();
    moved.run().await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    source.execute("UPDATE t SET v = id").await.unwrap();
    source.execute("DELETE FROM t WHERE id > 900").await.unwrap();
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    let row = pair.on_target().await.row("SELECT COUNT(*), SUM(v) FROM t").await.unwrap().unwrap();
    assert_eq!([row.must(0).unwrap(), row.must(1).unwrap()], ["900", "405450"]);
    moved.cancel().await.unwrap();
}

/// A source that forgot its binlog has nothing to catch up with.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_without_its_binlog_is_not_caught_up_with() {
    let pair = with_table(&[]).await;
    let moved = running(&pair).await;
    let mut source = pair.on_source().await;
    source.execute("INSERT INTO t VALUES (2001, 1, 'x')").await.unwrap();
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    source.execute("RESET MASTER").await.unwrap();
    source.execute("INSERT INTO t VALUES (2002, 1, 'lost')").await.unwrap();
    let error = moved.wait(WaitFor::CaughtUp).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stop, "{error}");
    assert!(error.to_string().contains("lacks transactions that were applied"), "{error}");
}
