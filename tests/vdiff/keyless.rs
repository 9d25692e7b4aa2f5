//! Tables without a key, whose events mean one row more or one fewer.

use std::time::Duration;

use shunt_engine::workflow::spec::Tuning;
use shunt_engine::workflow::verbs::WaitFor;
use shunt_vdiff::spec::Spec;

use super::keys::counts;
use super::{STRENGTHS, spec, vdiff};
use crate::harness::pair::Pair;
use crate::harness::site::LOOK;

/// The schedule of `keyless`: a row too many on the target looks like the event that it has not applied yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_too_many_is_not_taken_for_an_event_to_come() {
    let pair = Pair::start().await;
    let mut source = pair.on_source().await;
    source.execute("CREATE TABLE t (v INT)").await.unwrap();
    source.execute("INSERT INTO t SELECT seq FROM seq_1_to_1000").await.unwrap();
    let mut moved = pair.create(&["t"], Tuning::default()).await;
    moved.run().await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    let (mut target, mut holder) = (pair.on_target().await, pair.on_target().await);
    target.execute("INSERT INTO t VALUES (7)").await.unwrap();
    // Readers pass, the stream waits.
    holder.execute("LOCK TABLES t READ").await.unwrap();
    source.execute("INSERT INTO t VALUES (7)").await.unwrap();
    let waits = "SELECT 1 FROM information_schema.processlist WHERE state LIKE '%metadata lock%'";
    while target.row(waits).await.unwrap().is_none() {
        tokio::time::sleep(LOOK).await;
    }
    let short = Duration::from_millis(300);
    for strength in STRENGTHS {
        let table = vdiff(&pair, &Spec { recheck_for: short, ..spec(strength) }).await;
        assert_eq!((table.matching, table.unsettled), (0, 1001), "{strength:?}: {table:?}");
        assert_eq!(counts(&table), [0; 3], "{table:?}");
    }
    holder.execute("UNLOCK TABLES").await.unwrap();
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    for strength in STRENGTHS {
        let table = vdiff(&pair, &spec(strength)).await;
        assert_eq!((table.matching, table.unsettled), (1001, 0), "{strength:?}: {table:?}");
        assert_eq!(counts(&table), [0, 0, 1], "{table:?}");
    }
    // At rest it is equal; what changed between two looks is no matter.
    target.execute("DELETE FROM t WHERE v = 7 LIMIT 1").await.unwrap();
    source.execute("DELETE FROM t WHERE v = 8").await.unwrap();
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    let table = vdiff(&pair, &spec(STRENGTHS[0])).await;
    assert_eq!((table.matching, counts(&table), table.unsettled), (1000, [0; 3], 0), "{table:?}");
    moved.cancel().await.unwrap();
}
