//! A definition that changes while its table is compared: what was compared by the old one proves nothing of the new one, and whoever
//! goes on compares the table again.

use std::sync::Arc;
use std::time::Instant;

use shunt_engine::mysql::control::Control;
use shunt_engine::runtime::tasks::spawn;
use shunt_engine::sidecar::vdiff as registered;
use shunt_engine::workflow::spec::{OnDdl, Tuning};
use shunt_engine::workflow::verbs::WaitFor;
use shunt_vdiff::report::State;
use shunt_vdiff::spec::Strength;
use shunt_vdiff::table::{Ended, Progress};
use shunt_vdiff::workflow;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{register, result, spec};
use crate::harness::binary::Binary;
use crate::harness::pair::{PATIENCE, Pair};
use crate::harness::site::{LOOK, Site};

const CREATE: &str = "CREATE TABLE t (id INT NOT NULL PRIMARY KEY, v INT NOT NULL)";
const FILL: &str = "INSERT INTO t SELECT seq, 0 FROM seq_1_to_2000";
const ALTER: &str = "ALTER TABLE t ADD COLUMN w INT NOT NULL DEFAULT 0";
/// In the new column alone.
const DAMAGE: &str = "UPDATE t SET w = 7 WHERE id = 5";

/// Holds the source's table, so that a comparison has read its definition and gets no further.
pub(super) async fn hold(pair: &Pair) -> Control {
    let mut holder = pair.on_source().await;
    holder.execute("LOCK TABLES t WRITE").await.unwrap();
    holder
}

/// Waits until a comparison waits for the table, or none does.
pub(super) async fn until_held(pair: &Pair, held: bool) {
    let waits = "SELECT 1 FROM information_schema.processlist WHERE state LIKE '%metadata lock%'";
    let (mut watcher, started) = (pair.on_source().await, Instant::now());
    while watcher.row(waits).await.unwrap().is_some() != held {
        assert!(
            started.elapsed() < PATIENCE,
            "nobody waits for the table, or somebody does for ever"
        );
        tokio::time::sleep(LOOK).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vdiff_whose_table_was_altered_meanwhile_compares_it_again_when_it_is_resumed() {
    let pair = Pair::start().await;
    let mut source = pair.on_source().await;
    source.execute(CREATE).await.unwrap();
    source.execute(FILL).await.unwrap();
    let exec = |spec: &mut shunt_engine::workflow::spec::WorkflowSpec| spec.on_ddl = OnDdl::Exec;
    let mut moved = pair.create_with(&["t"], Tuning::default(), exec).await.unwrap();
    moved.run().await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    let work = Arc::new(register(&pair, &spec(Strength::Fast)).await);
    let mut holder = hold(&pair).await;
    let (progress, _) = watch::channel(Progress::default());
    let running = spawn("vdiff", {
        let work = Arc::clone(&work);
        async move { Box::pin(workflow::execute(&work, &progress, &CancellationToken::new())).await }
    });
    until_held(&pair, true).await;
    holder.execute(ALTER).await.unwrap();
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    let mut target = pair.on_target().await;
    assert_eq!(target.execute(DAMAGE).await.unwrap().affected, 1);
    holder.execute("UNLOCK TABLES").await.unwrap();
    let error = running.join().await.unwrap_err().to_string();
    assert!(error.contains("definition") && error.contains("vdiff resume"), "{error}");
    let record = result(&pair, &work).await;
    assert_eq!(record.state, State::Error);
    assert_ne!(record.tables[0].state, State::Completed, "it is not compared");
    registered::resume(&mut target, work.row.id).await.unwrap();
    assert_eq!(super::execute(&work, &CancellationToken::new()).await, Some(Ended::Completed));
    let table = result(&pair, &work).await.tables.remove(0);
    assert_eq!((table.mismatched, table.matching), (1, 1999), "{table:?}");
    assert!(table.compared.iter().any(|note| note.contains("begun anew")), "{table:?}");
    moved.cancel().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standalone_run_whose_table_was_altered_meanwhile_compares_it_again() {
    let pair = Pair::start().await;
    let site = Site::new(&pair, "").await;
    let mut target = pair.on_target().await;
    // One that is completed by then is another table as well.
    let other = |sql: &str| sql.replacen(" t ", " a ", 1);
    for control in [&mut pair.on_source().await, &mut target] {
        for sql in [CREATE, FILL] {
            control.execute(sql).await.unwrap();
            control.execute(other(sql)).await.unwrap();
        }
    }
    let run = "vdiff run --source commerce --target customer --tables a,t --state state.json";
    let mut holder = hold(&pair).await;
    let mut first = site.start(Binary::Plain, None, run);
    until_held(&pair, true).await;
    for control in [&mut holder, &mut target] {
        control.execute(ALTER).await.unwrap();
    }
    target.execute(DAMAGE).await.unwrap();
    for control in [&mut pair.on_source().await, &mut target] {
        control.execute(other(ALTER)).await.unwrap();
    }
    target.execute(other(DAMAGE)).await.unwrap();
    holder.execute("UNLOCK TABLES").await.unwrap();
    assert_eq!(first.ended().await.code(), Some(1), "{}", first.log());
    assert!(first.log().contains("The same command"), "{}", first.log());
    let again = site.run(Binary::Plain, None, &format!("{run} --format json")).await;
    assert_eq!(again.code, Some(3), "{}", again.text);
    // In the summary and in the report of each of the two tables.
    for what in ["\"MismatchedRows\": 1", "\"MatchingRows\": 1999"] {
        assert_eq!(again.text.matches(what).count(), 4, "{what}: {}", again.text);
    }
}
