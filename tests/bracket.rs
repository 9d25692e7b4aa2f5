//! MySQL 5.6's own bracket (`gtid_executed`, then `gtid_owned`; see the engine's `mysql::snapshot`) under load: no snapshot lacks
//! a transaction that the binlog had shown before. And what is simpler is shown to fail: a snapshot that is opened at once, and
//! one that waits for `gtid_executed` alone.
//!
//! A reader follows the binlog without a pause. A snapshot is opened at what has been read or executed so far, and the rows of these
//! transactions are looked for in it. `SHUNT_SOAK=1`: a thousand snapshots.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use shunt_engine::Result;
use shunt_engine::changes::reader::Feed;
use shunt_engine::mysql::binlog::EventBody;
use shunt_engine::mysql::binlog::value::{Value, decode};
use shunt_engine::mysql::gtid::{Gtid, GtidSet};
use shunt_engine::mysql::server::Flavor;
use shunt_engine::mysql::snapshot::{LogPosition, ReadPosition, Snapshot, current_position};
use shunt_engine::mysql::wire::Wire;
use shunt_engine::runtime::tasks::{Task, spawn};

use crate::harness::load::Load;
use crate::harness::pair::{PATIENCE, Pair, mysql56};
use crate::harness::soak::soak;

/// Transactions that are looked for in each snapshot: many more than can be on their way at a time.
const LOOKED_FOR: usize = 1000;
const WRITERS: u64 = 16;

/// What the binlog has shown.
#[derive(Debug)]
struct Shown {
    gtids: GtidSet,
    /// The last transactions, and the keys that they have written.
    last: VecDeque<(Gtid, i64)>,
}

type Shared = Arc<Mutex<Shown>>;

/// Follows the binlog from here on; ends when it is dropped.
async fn follow(pair: &Pair) -> (Shared, Task<()>) {
    let mut wire = Wire::connect(&pair.source_config()).await.unwrap();
    let gtids = current_position(&mut wire).await.unwrap().gtids;
    let mut feed = Feed::open(wire, &gtids).await.unwrap();
    let shown = Arc::new(Mutex::new(Shown { gtids, last: VecDeque::new() }));
    let shared = shown.clone();
    let task = spawn("follow", async move {
        let (mut gtid, mut keys) = (None, Vec::new());
        loop {
            match feed.next().await?.body {
                EventBody::Gtid(event) => gtid = Some(event.gtid),
                EventBody::Rows(rows) => {
                    for change in rows.changes() {
                        let after = change?.after.unwrap();
                        let mut cells = after.cells(&rows.table, &rows.columns_after);
                        let (_, cell) = cells.next().unwrap()?;
                        let value = decode(&rows.table.columns[0], false, cell.unwrap())?;
                        let Value::Int(key) = value else { panic!("{value:?}") };
                        keys.push(key);
                    }
                }
                EventBody::Xid(_) => {
                    let (mut shown, gtid) = (shown.lock().unwrap(), gtid.take().unwrap());
                    shown.gtids.insert(&gtid)?;
                    shown.last.extend(keys.drain(..).map(|key| (gtid.clone(), key)));
                    let old = shown.last.len().saturating_sub(LOOKED_FOR);
                    shown.last.drain(..old);
                }
                _ => {}
            }
        }
    });
    (shared, task)
}

/// How a snapshot is opened, and what it has to contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bracket {
    /// As shunt does; what the binlog has shown, and what is in `gtid_executed`.
    Ours,
    /// At once; what the binlog has shown.
    AtOnce,
    /// Once `gtid_executed` has it, which is enough from MySQL 5.7 on; what is in `gtid_executed`.
    Executed,
}

/// How many of the transactions that it must contain a snapshot lacks.
async fn lacks(wire: &mut Wire, shared: &Shared, bracket: Bracket) -> Result<usize> {
    let query = "SELECT id FROM t ORDER BY id DESC LIMIT 8000";
    let mut gtids = shared.lock().unwrap().gtids.clone();
    if bracket != Bracket::AtOnce {
        let executed = wire.rows("SELECT @@global.gtid_executed").await?[0].must(0)?;
        gtids.union(&GtidSet::parse(Flavor::MySql, &executed)?)?;
    }
    let rows = if bracket == Bracket::Ours {
        let log = LogPosition::default();
        let snapshot = Snapshot::open(wire, &ReadPosition { gtids: gtids.clone(), log }).await?;
        assert!(snapshot.high.contains_set(&gtids), "H is below R");
        let rows = snapshot.wire.rows(query).await?;
        snapshot.end().await?;
        rows
    } else {
        wire.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT").await?;
        let rows = wire.rows(query).await?;
        wire.execute("ROLLBACK").await?;
        rows
    };
    let seen: BTreeSet<i64> = rows.iter().map(|row| row.number(0)).collect::<Result<_>>()?;
    let started = Instant::now();
    loop {
        // What is executed comes to the binlog's reader in a moment, and with it the keys.
        if let Some(lacking) = lacking(shared, &gtids, &seen) {
            return Ok(lacking);
        }
        assert!(started.elapsed() < PATIENCE, "the binlog is not read on");
        tokio::task::yield_now().await;
    }
}

/// How many of these transactions' keys were not seen; nothing while the binlog has not shown all of them.
fn lacking(shared: &Shared, gtids: &GtidSet, seen: &BTreeSet<i64>) -> Option<usize> {
    let shown = shared.lock().unwrap();
    let must = shown.last.iter().filter(|(gtid, _)| gtids.contains(gtid));
    let lacking = must.filter(|(_, key)| !seen.contains(key)).count();
    shown.gtids.contains_set(gtids).then_some(lacking)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_snapshot_of_mysql_5_6_lacks_what_the_binlog_has_shown() {
    let soak = soak();
    let snapshots = if soak { 1000 } else { 200 };
    let pair = Pair::with(Some(mysql56()), None, &[], &[]).await;
    let create = "CREATE TABLE t (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, pad CHAR(40)) ENGINE=InnoDB";
    pair.on_source().await.execute(create).await.unwrap();
    let (shared, _following) = follow(&pair).await;
    let load = Load::start(&pair.source_config(), "commerce", WRITERS, |_| {
        vec!["INSERT INTO t (pad) VALUES ('x')".to_owned()]
    });
    let started = Instant::now();
    while shared.lock().unwrap().last.len() < LOOKED_FOR {
        assert!(started.elapsed() < PATIENCE, "the load does not get on");
        tokio::time::sleep(crate::harness::site::LOOK).await;
    }
    let mut wire = Wire::connect(&pair.source_config()).await.unwrap();
    wire.execute("USE commerce").await.unwrap();
    let mut failed = [0, 0, 0];
    for _ in 0..snapshots {
        // In turn, so that all meet the same load.
        for (at, bracket) in
            [Bracket::Ours, Bracket::AtOnce, Bracket::Executed].into_iter().enumerate()
        {
            failed[at] += u32::from(lacks(&mut wire, &shared, bracket).await.unwrap() > 0);
        }
    }
    let committed = load.stop().await;
    println!(
        "of {snapshots} snapshots under {committed} transactions lack some: ours {}, opened at once {}, after gtid_executed alone {}",
        failed[0], failed[1], failed[2]
    );
    assert_eq!(failed[0], 0, "snapshots lack transactions that they must contain");
    assert!(failed[1] + failed[2] > 0, "the simpler brackets did not fail: {failed:?}");
}
