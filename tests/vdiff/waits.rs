//! Commands that wait for the end of a VDiff: that somebody else runs, that its process leaves behind, that is stopped.

use shunt_engine::ErrorKind;
use shunt_engine::mysql::control::Control;
use shunt_engine::mysql::server::Address;
use shunt_engine::sidecar::vdiff as registered;
use shunt_engine::workflow::spec::{Tuning, WorkflowSpec};
use shunt_engine::workflow::verbs::WaitFor;
use shunt_vdiff::report::{State, TableRecord, hex};
use shunt_vdiff::spec::{Spec, Strength};
use shunt_vdiff::table::{Ended, Progress};
use shunt_vdiff::workflow::{self, Which, Work};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::definitions::{hold, until_held};
use super::{execute, read_tables, register, result, spec};
use crate::harness::binary::Binary;
use crate::harness::pair::{Move, Pair, WORKFLOW};
use crate::harness::site::Site;

/// The source as the configuration of a site calls it, so that commands find it.
pub(super) fn of_site(spec: &mut WorkflowSpec) {
    spec.source_server = "zone1-0000000100".into();
}

async fn moved(pair: &Pair) -> Move<'_> {
    let mut source = pair.on_source().await;
    source.execute("CREATE TABLE t (id INT NOT NULL PRIMARY KEY, v INT)").await.unwrap();
    source.execute("INSERT INTO t SELECT seq, 0 FROM seq_1_to_1000").await.unwrap();
    let mut moved = pair.create_with(&["t"], Tuning::default(), of_site).await.unwrap();
    moved.run().await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    moved
}

fn resume(work: &Work) -> String {
    format!("vdiff resume {WORKFLOW} {} --wait", work.row.uuid)
}

/// A process that died with its lease, and has compared the first half.
async fn left_behind(pair: &Pair, target: &mut Control, mismatched: u64) -> Work {
    let work = register(pair, &spec(Strength::Fast)).await;
    let row = registered::tables(target, work.row.id).await.unwrap().remove(0);
    let half = TableRecord {
        state: State::Started,
        definition: read_tables(pair, &Spec::default()).await.definition(),
        lastpk: Some(vec![hex(b"500")]),
        matching: 500 - mismatched,
        mismatched,
        ..TableRecord::new("t", "t")
    };
    let save = registered::TableRow { record: serde_json::to_string(&half).unwrap(), ..row };
    assert!(registered::take(target, work.row.id, "dead").await.unwrap());
    registered::save_table(target, work.row.id, "dead", &save).await.unwrap();
    work
}

/// Its lease ends.
async fn expire(target: &mut Control) {
    target.execute("UPDATE _shunt.vdiff SET expires_us = 0").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vdiff_that_its_process_leaves_behind_is_taken_over_by_who_waits() {
    let pair = Pair::start().await;
    let site = Site::new(&pair, "").await;
    let mut moved = moved(&pair).await;
    let mut target = pair.on_target().await;
    let work = left_behind(&pair, &mut target, 0).await;
    let mut waits = site.start(Binary::Plain, None, &resume(&work));
    waits.until_logged("only watched here").await;
    expire(&mut target).await;
    assert_eq!(waits.ended().await.code(), Some(0), "{}", waits.log());
    let record = result(&pair, &work).await;
    assert_eq!((record.state, record.compared_rows()), (State::Completed, 1000));
    // The same, but nobody wants it any more.
    let work = left_behind(&pair, &mut target, 0).await;
    let mut waits = site.start(Binary::Plain, None, &resume(&work));
    waits.until_logged("only watched here").await;
    registered::stop(&mut target, work.row.id).await.unwrap();
    expire(&mut target).await;
    assert_eq!(waits.ended().await.code(), Some(1), "{}", waits.log());
    assert!(waits.log().contains(&resume(&work)), "{}", waits.log());
    assert_eq!(result(&pair, &work).await.state, State::Stopped);
    moved.cancel().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vdiff_that_somebody_stops_is_no_success_of_who_waits() {
    let pair = Pair::start().await;
    let site = Site::new(&pair, "").await;
    let mut moved = moved(&pair).await;
    let mut target = pair.on_target().await;
    for (mismatched, code) in [(0, 1), (1, 3)] {
        let work = left_behind(&pair, &mut target, mismatched).await;
        expire(&mut target).await;
        let mut holder = hold(&pair).await;
        let mut waits = site.start(Binary::Plain, None, &resume(&work));
        until_held(&pair, true).await;
        site.must(&format!("vdiff stop {WORKFLOW} {}", work.row.uuid)).await;
        assert_eq!(waits.ended().await.code(), Some(code), "{}", waits.log());
        assert!(waits.log().contains("was stopped"), "{}", waits.log());
        assert!(waits.log().contains(&resume(&work)), "{}", waits.log());
        holder.execute("UNLOCK TABLES").await.unwrap();
        until_held(&pair, false).await;
    }
    moved.cancel().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completed_vdiff_is_not_run_again() {
    let pair = Pair::start().await;
    let site = Site::new(&pair, "").await;
    let mut moved = moved(&pair).await;
    let mut target = pair.on_target().await;
    let contradiction = format!("vdiff create {WORKFLOW} --wait --auto-start=false");
    let said = site.run(Binary::Plain, None, &contradiction).await;
    assert_eq!(said.code, Some(2), "{}", said.text);
    let all = workflow::find(&mut target, WORKFLOW, &Which::All).await.unwrap();
    assert!(all.is_empty(), "nothing is registered");
    let work = register(&pair, &spec(Strength::Fast)).await;
    assert!(site.must(&resume(&work)).await.contains("no difference found."));
    // What is damaged since is of another VDiff.
    target.execute("UPDATE t SET v = 7 WHERE id = 5").await.unwrap();
    for words in [resume(&work), resume(&work).replace(" --wait", "")] {
        assert!(site.must(&words).await.contains("was completed already"));
    }
    let row = workflow::find(&mut target, WORKFLOW, &Which::Last).await.unwrap().remove(0);
    assert_eq!((row.state.as_str(), row.owned), ("completed", false));
    assert!(!registered::take(&mut target, work.row.id, "other").await.unwrap());
    moved.cancel().await.unwrap();
}

/// Between the look that told it to stop and its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_vdiff_that_is_resumed_while_it_stops_goes_on() {
    let pair = Pair::start().await;
    let mut moved = moved(&pair).await;
    let mut target = pair.on_target().await;
    let work = register(&pair, &spec(Strength::Fast)).await;
    assert!(registered::take(&mut target, work.row.id, "stops").await.unwrap());
    registered::stop(&mut target, work.row.id).await.unwrap();
    registered::resume(&mut target, work.row.id).await.unwrap();
    let stopped = State::Stopped.to_string();
    registered::set_state(&mut target, work.row.id, "stops", &stopped, "", true).await.unwrap();
    let waiting = registered::waiting(&mut target).await.unwrap();
    assert_eq!(waiting.iter().map(|row| row.id).collect::<Vec<_>>(), [work.row.id]);
    moved.cancel().await.unwrap();
}

/// It is for whoever looks next; only who asked for no other try is left with the error.
#[tokio::test(flavor = "multi_thread")]
async fn a_vdiff_whose_source_is_away_waits_for_it() {
    let pair = Pair::start().await;
    let mut moved = moved(&pair).await;
    let cancel = CancellationToken::new();
    for (auto_retry, state) in [(true, State::Pending), (false, State::Error)] {
        let work = register(&pair, &Spec { auto_retry, ..spec(Strength::Fast) }).await;
        let mut away = work.clone();
        away.source.address = Address::parse("127.0.0.1:1").unwrap();
        let (progress, _) = watch::channel(Progress::default());
        let lost = Box::pin(workflow::execute(&away, &progress, &cancel)).await.unwrap_err();
        assert_eq!(lost.kind(), ErrorKind::Retry, "{lost}");
        let record = result(&pair, &work).await;
        assert_eq!((record.state, record.message), (state, lost.to_string()));
        if auto_retry {
            assert_eq!(execute(&work, &cancel).await, Some(Ended::Completed));
        }
    }
    moved.cancel().await.unwrap();
}
