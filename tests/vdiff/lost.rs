//! Connections that are lost in the course of a VDiff: every part of it goes on over new ones.

use std::sync::Arc;
use std::time::{Duration, Instant};

use shunt_engine::Result;
use shunt_engine::mysql::control::Control;
use shunt_engine::runtime::tasks::{Task, spawn};
use shunt_engine::workflow::spec::Tuning;
use shunt_engine::workflow::verbs::WaitFor;
use shunt_vdiff::report::State;
use shunt_vdiff::spec::{Spec, Strength};
use shunt_vdiff::table::{Ended, Progress};
use shunt_vdiff::workflow::{self, Work};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{register, result, spec};
use crate::harness::load::{Load, Random};
use crate::harness::pair::{PATIENCE, Pair};
use crate::harness::site::LOOK;

fn start(work: &Arc<Work>) -> Task<Option<Ended>> {
    let (progress, _) = watch::channel(Progress::default());
    let work = Arc::clone(work);
    spawn("vdiff", async move {
        Box::pin(workflow::execute(&work, &progress, &CancellationToken::new())).await
    })
}

/// Ends the connection of a query for which the condition holds, once there is one; returns its id.
async fn kill(control: &mut Control, condition: &str, not: u64) -> u64 {
    let query = format!(
        "SELECT id FROM information_schema.processlist WHERE {condition} AND id <> {not} \
         AND id <> CONNECTION_ID()"
    );
    let started = Instant::now();
    let id = loop {
        assert!(started.elapsed() < PATIENCE, "there is no such connection");
        if let Some(row) = control.row(&query).await.unwrap() {
            break row.number(0).unwrap();
        }
        tokio::time::sleep(LOOK).await;
    };
    control.execute(format!("KILL {id}")).await.unwrap();
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_are_found_and_tables_without_a_key_compared_over_new_connections() {
    let pair = Pair::start().await;
    let mut source = pair.on_source().await;
    for (table, key) in [("keyed", " PRIMARY KEY"), ("keyless", "")] {
        source.execute(format!("CREATE TABLE {table} (id INT{key}, v INT)")).await.unwrap();
        let fill = format!("INSERT INTO {table} SELECT seq, 0 FROM seq_1_to_3000");
        source.execute(fill).await.unwrap();
    }
    let mut moved = pair.create(&["keyed", "keyless"], Tuning::default()).await;
    moved.run().await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    let mut holders = [pair.on_source().await, pair.on_source().await];
    for (holder, table) in holders.iter_mut().zip(["keyed", "keyless"]) {
        holder.execute(format!("LOCK TABLES {table} WRITE")).await.unwrap();
    }
    let work = Arc::new(register(&pair, &spec(Strength::Strong)).await);
    let running = start(&work);
    for (holder, table) in holders.iter_mut().zip(["keyed", "keyless"]) {
        // What waits for the table first is the search for a range, or the whole comparison.
        let waits = format!("state LIKE '%metadata lock%' AND info LIKE '%`{table}`%'");
        let first = kill(&mut source, &waits, 0).await;
        kill(&mut source, &waits, first).await;
        holder.execute("UNLOCK TABLES").await.unwrap();
    }
    assert_eq!(running.join().await.unwrap(), Some(Ended::Completed));
    for table in result(&pair, &work).await.tables {
        assert_eq!((table.matching, table.compared_rows()), (3000, 3000), "{table:?}");
    }
    moved.cancel().await.unwrap();
}

/// The key stays unsettled, and the others of its look are not forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn a_look_at_a_locked_row_that_is_cut_off_leaves_it_unsettled() -> Result<()> {
    let pair = Pair::start().await;
    let key = |id: u32| format!("u = {id}.5");
    let mut source = pair.on_source().await;
    source.execute("CREATE TABLE t (u DOUBLE NOT NULL PRIMARY KEY, id INT, v INT)").await?;
    source.execute("INSERT INTO t SELECT seq + 0.5, seq, 0 FROM seq_1_to_500").await?;
    let mut moved = pair.create(&["t"], Tuning::default()).await;
    moved.run().await;
    moved.wait(WaitFor::CaughtUp).await?;
    let mut target = pair.on_target().await;
    target.execute("UPDATE t SET v = 7 WHERE id IN (100, 101)").await?;
    // Of an event the key is not known here: no row rests.
    let write = move |_: &mut Random| vec![format!("UPDATE t SET v = v + 1 WHERE {}", key(500))];
    let load = Load::start(&pair.source_config(), "commerce", 1, write);
    let mut holder = pair.on_source().await;
    holder.execute("BEGIN").await?;
    holder.execute(format!("SELECT * FROM t WHERE {} FOR UPDATE", key(100))).await?;
    let locking = Spec {
        lock_hot_rows: true,
        recheck_for: Duration::from_millis(300),
        ..spec(Strength::Strong)
    };
    let work = Arc::new(register(&pair, &locking).await);
    let running = start(&work);
    kill(&mut source, "info LIKE '%LOCK IN SHARE MODE%'", 0).await;
    assert_eq!(running.join().await?, Some(Ended::Completed));
    let record = result(&pair, &work).await;
    let table = &record.tables[0];
    assert_eq!(record.state, State::Completed, "{record:?}");
    assert_eq!(table.compared_rows(), 500, "{table:?}");
    assert!(table.unsettled >= 1 && table.unsettled + table.mismatched >= 2, "{table:?}");
    assert!(load.stop().await > 0);
    moved.cancel().await.unwrap();
    Ok(())
}
