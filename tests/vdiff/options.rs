//! What the options of a VDiff do, on real servers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use shunt_engine::runtime::tasks::spawn;
use shunt_engine::sidecar::vdiff as registered;
use shunt_engine::workflow::spec::Tuning;
use shunt_engine::workflow::verbs::WaitFor;
use shunt_vdiff::report::State;
use shunt_vdiff::spec::{Spec, Strength};
use shunt_vdiff::table::{Ended, Progress};
use shunt_vdiff::workflow;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::waits::of_site;
use super::{found, register, result, spec, vdiff};
use crate::harness::binary::Binary;
use crate::harness::load::{Load, Random};
use crate::harness::pair::{Move, Pair};
use crate::harness::site::{LOOK, Site};

const ROWS: u64 = 120_000;

/// A moved table of several ranges.
async fn moved(pair: &Pair) -> Move<'_> {
    let mut source = pair.on_source().await;
    source.execute("CREATE TABLE t (id INT NOT NULL PRIMARY KEY, v INT NOT NULL)").await.unwrap();
    source.execute(format!("INSERT INTO t SELECT seq, 0 FROM seq_1_to_{ROWS}")).await.unwrap();
    let mut moved = pair.create_with(&["t"], Tuning::default(), of_site).await.unwrap();
    moved.run().await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    moved
}

/// Rows keyed by DOUBLE: of an event the key is not known here, so any of them may have been written.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_never_rests_is_settled_under_a_lock() {
    let pair = Pair::start().await;
    let mut source = pair.on_source().await;
    source.execute("CREATE TABLE t (u DOUBLE NOT NULL PRIMARY KEY, id INT, v INT)").await.unwrap();
    source.execute("INSERT INTO t SELECT seq + 0.5, seq, 0 FROM seq_1_to_500").await.unwrap();
    let mut moved = pair.create(&["t"], Tuning::default()).await;
    moved.run().await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    let write = |_: &mut Random| vec!["UPDATE t SET v = v + 1 WHERE id = 500".to_owned()];
    let load = Load::start(&pair.source_config(), "commerce", 2, write);
    let mut target = pair.on_target().await;
    target.execute("UPDATE t SET v = 7 WHERE id = 100").await.unwrap();
    target.execute("DELETE FROM t WHERE id = 101").await.unwrap();
    target.execute("INSERT INTO t VALUES (900.5, 900, 0)").await.unwrap();
    let locking = Spec {
        lock_hot_rows: true,
        recheck_for: Duration::from_millis(500),
        ..spec(Strength::Strong)
    };
    let table = vdiff(&pair, &locking).await;
    assert_eq!(table.unsettled, 0, "{table:?}");
    let set = |id: i64| BTreeSet::from([id]);
    assert_eq!(found(&table), [set(100), set(101), set(900)]);
    assert!(load.stop().await > 0);
    moved.cancel().await.unwrap();
}

/// Of events their UUIDs are known: a row that is written all the time keeps no other one from being settled.
#[tokio::test(flavor = "multi_thread")]
async fn differences_beside_written_rows_are_settled_by_uuid() {
    let pair = Pair::start().await;
    let mut source = pair.on_source().await;
    source.execute("CREATE TABLE t (u UUID NOT NULL PRIMARY KEY, id INT, v INT)").await.unwrap();
    // Kept as they are written, and the other way round; with zeros at the end.
    for rows in [
        "SELECT CONCAT(LPAD(HEX(seq), 8, '0'), '-0000-7000-8000-000000000000'), seq, 0 FROM seq_1_to_250",
        "SELECT CONCAT(LPAD(HEX(seq), 8, '0'), '-0000-1000-8000-00000000ab00'), seq, 0 FROM seq_251_to_500",
    ] {
        source.execute(format!("INSERT INTO t {rows}")).await.unwrap();
    }
    let mut moved = pair.create(&["t"], Tuning::default()).await;
    moved.run().await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    let write = |_: &mut Random| vec!["UPDATE t SET v = v + 1 WHERE id IN (1, 500)".to_owned()];
    let load = Load::start(&pair.source_config(), "commerce", 2, write);
    let mut target = pair.on_target().await;
    target.execute("UPDATE t SET v = 7 WHERE id IN (100, 400)").await.unwrap();
    target.execute("DELETE FROM t WHERE id IN (101, 401)").await.unwrap();
    let short = Spec { recheck_for: Duration::from_secs(2), ..spec(Strength::Strong) };
    let table = vdiff(&pair, &short).await;
    assert!(table.unsettled <= 2, "those that are written: {table:?}");
    assert_eq!(
        found(&table),
        [BTreeSet::from([100, 400]), BTreeSet::from([101, 401]), BTreeSet::new()]
    );
    assert!(load.stop().await > 0);
    moved.cancel().await.unwrap();
}

/// However often it rests, every row is compared once.
#[tokio::test(flavor = "multi_thread")]
async fn a_vdiff_rests_and_goes_on_where_it_was() {
    let pair = Pair::start().await;
    let mut moved = moved(&pair).await;
    // The last row is written all the time.
    let write = |_: &mut Random| vec![format!("UPDATE t SET v = v + 1 WHERE id = {ROWS}")];
    let load = Load::start(&pair.source_config(), "commerce", 1, write);
    pair.on_target().await.execute("DELETE FROM t WHERE id % 10000 = 7").await.unwrap();
    let short = Spec {
        max_diff_duration: Some(Duration::from_millis(1)),
        recheck_for: Duration::from_millis(800),
        parallelism: 1,
        ..spec(Strength::Fast)
    };
    let table = vdiff(&pair, &short).await;
    assert_eq!((table.compared_rows(), table.extra_source), (ROWS, ROWS / 10_000));
    assert_eq!(
        (table.mismatched, table.extra_target),
        (0, 0),
        "the hot row may be unsettled, no more"
    );
    load.stop().await;
    moved.cancel().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_vdiff_is_stopped_and_resumed() {
    let pair = Pair::start().await;
    let mut moved = moved(&pair).await;
    let mut target = pair.on_target().await;
    target.execute("DELETE FROM t WHERE id % 10000 = 7").await.unwrap();
    let work = Arc::new(register(&pair, &spec(Strength::Fast)).await);
    // A lock on the source keeps it running until it is stopped.
    let mut holder = pair.on_source().await;
    holder.execute("LOCK TABLES t WRITE").await.unwrap();
    let (progress, _) = watch::channel(Progress::default());
    let running = spawn("vdiff", {
        let work = Arc::clone(&work);
        async move { Box::pin(workflow::execute(&work, &progress, &CancellationToken::new())).await }
    });
    let waits = "SELECT 1 FROM information_schema.processlist WHERE state LIKE '%metadata lock%'";
    let mut watcher = pair.on_source().await;
    while watcher.row(waits).await.unwrap().is_none() {
        tokio::time::sleep(LOOK).await;
    }
    registered::stop(&mut target, work.row.id).await.unwrap();
    assert_eq!(running.join().await.unwrap(), Some(Ended::Stopped));
    assert_eq!(result(&pair, &work).await.state, State::Stopped);
    holder.execute("UNLOCK TABLES").await.unwrap();
    registered::resume(&mut target, work.row.id).await.unwrap();
    assert_eq!(super::execute(&work, &CancellationToken::new()).await, Some(Ended::Completed));
    let table = result(&pair, &work).await.tables.remove(0);
    assert_eq!((table.compared_rows(), table.extra_source), (ROWS, ROWS / 10_000));
    assert_eq!((table.mismatched, table.unsettled), (0, 0));
    moved.cancel().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_table_under_other_names_and_the_statements_that_mend_it() {
    let pair = Pair::start().await;
    let site = Site::new(&pair, "").await;
    let (mut source, mut target) = (site.on_source().await, site.on_target().await);
    let create = |table: &str, text: &str| {
        format!("CREATE TABLE {table} (id INT NOT NULL PRIMARY KEY, v INT, {text} VARCHAR(20))")
    };
    source.execute(create("t", "c")).await.unwrap();
    source.execute("INSERT INTO t SELECT seq, seq, 'it''s' FROM seq_1_to_900").await.unwrap();
    target.execute(create("t2", "d")).await.unwrap();
    target.execute("INSERT INTO t2 SELECT seq, seq, 'it''s' FROM seq_1_to_900").await.unwrap();
    for damage in [
        "UPDATE t2 SET d = 'It''s' WHERE id = 5",
        "DELETE FROM t2 WHERE id = 6",
        "INSERT INTO t2 VALUES (-1, 0, 'y')",
        // Outside of what is compared.
        "UPDATE t2 SET v = 0 WHERE id = 500",
    ] {
        target.execute(damage).await.unwrap();
    }
    let run = "vdiff run --source commerce --target customer --tables t:t2 --map c=d \
               --where id<100 --state state.json";
    let part = site.run(Binary::Plain, None, &format!("{run} --columns v --emit-sql no.sql")).await;
    assert_eq!(part.code, Some(2), "a row written anew would lose columns: {}", part.text);
    let part = site.run(Binary::Plain, None, &format!("{run} --columns v --format json")).await;
    assert!(part.text.contains("\"MismatchedRows\": 0"), "of c nothing is asked: {}", part.text);
    let said = site.run(Binary::Plain, None, &format!("{run} --emit-sql fix.sql")).await;
    assert_eq!(said.code, Some(3), "{}", said.text);
    let statements = std::fs::read_to_string(site.dir().join("fix.sql")).unwrap();
    let before = target.rows("SELECT * FROM t2 ORDER BY id").await.unwrap();
    // A state of which one that repairs would go on behind what was only printed is neither read nor written.
    let state = site.dir().join("state.json");
    std::fs::write(&state, "no state").unwrap();
    let dry = site.run(Binary::Plain, None, &format!("{run} --repair --dry-run")).await;
    assert_eq!(dry.code, Some(3), "{}", dry.text);
    assert!(dry.text.contains("REPLACE INTO") || dry.text.contains("DELETE FROM"), "{}", dry.text);
    assert_eq!(target.rows("SELECT * FROM t2 ORDER BY id").await.unwrap(), before);
    assert_eq!(std::fs::read_to_string(&state).unwrap(), "no state");
    std::fs::remove_file(&state).unwrap();
    for statement in statements.split(";\n").filter(|statement| !statement.trim().is_empty()) {
        target.execute(statement).await.unwrap();
    }
    let said = site.run(Binary::Plain, None, run).await;
    assert_eq!(said.code, Some(0), "{}", said.text);
    let row = target.row("SELECT v FROM t2 WHERE id = 500").await.unwrap().unwrap();
    assert_eq!(row.must(0).unwrap(), "0", "what was not compared is not touched");
}

/// A table of which not all was compared is not said to be equal.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_limit_leaves_out_is_said() {
    let pair = Pair::start().await;
    let mut moved = moved(&pair).await;
    let site = Site::new(&pair, "").await;
    let name = site.workflow();
    let said = site.must(&format!("vdiff create {name} --wait --limit 1000")).await;
    assert!(said.contains("no difference found in the rows that were compared."), "{said}");
    let left = "rows behind the first 1000 by the key: not compared (--limit)";
    assert!(said.contains(left), "{said}");
    let shown = site.must(&format!("vdiff show {name} last")).await;
    assert!(shown.contains(left), "without --verbose, too: {shown}");
    // More than there are.
    let more = ROWS + 1;
    let said = site.must(&format!("vdiff create {name} --wait --limit {more}")).await;
    assert!(said.contains("no difference found.") && !said.contains("--limit"), "{said}");
    moved.cancel().await.unwrap();
}
