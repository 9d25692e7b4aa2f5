//! Leaks: client writes on a side that is closed.
//!
//! What triggers do not see (rows replicated from upstream, XA COMMIT of what was prepared before, cascades, TRUNCATE, ALTER), and what
//! passes when somebody has dropped the triggers, is in the side's binlog. Let P be the position that was read behind the
//! raised fence. Of all that P does not contain, only the reverse stream, and our own DDL, may touch a moved table; [`witness`]
//! tells them apart. Anything else was written on a closed side, and no stream carries it over.
//!
//! **Before the point of no return** ([`LeakWatch`]) a leak takes the switch back. The watch starts before the pause, since a MySQL server may take long to
//! find a position in a large file, and keeps the names of the last [`KEPT`] transactions that touch moved tables: those before the raise are
//! dropped first.
//!
//! **After it** ([`guard`]) a leak is recorded in the side's sidecar, where everybody sees it. P is saved in the transaction that makes the
//! reverse stream, so the lasting watch begins exactly where the first one allowed nothing more, whoever runs it and whenever. It need not be
//! running for Complete to be right: Complete itself reads on from the saved position to the side's last one.
//!
//! What is not seen: writes with `sql_log_bin=0`. A VDiff finds those.

pub mod guard;
mod witness;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use self::witness::{Sighting, Witness};
use super::sides::Place;
use crate::changes::reader::Feed;
use crate::error::{Error, Result, ResultExt};
use crate::mysql::gtid::{Gtid, GtidSet};
use crate::mysql::snapshot::current_position;
use crate::mysql::wire::Wire;
use crate::runtime::tasks::TaskSet;

const KEPT: usize = 10_000;
const QUEUE: usize = 256;

#[derive(Clone, Debug)]
struct Seen {
    followed: GtidSet,
    touched: VecDeque<(Gtid, String)>,
}

/// A watch over one side during a switch.
#[derive(Debug)]
pub struct LeakWatch {
    seen: watch::Receiver<Seen>,
    tasks: TaskSet,
}

impl LeakWatch {
    /// Starts watching from the server's position now.
    ///
    /// # Errors
    /// Of the connections.
    pub async fn start(place: &Place) -> Result<Self> {
        let mut wire = Wire::connect(&place.server).await?;
        let start = current_position(&mut wire).await?;
        let mut tasks = TaskSet::default();
        let witness = Witness::new(&place.database, &place.tables);
        // Its place is known: the switch waits until what comes after it is read.
        let feed = Feed::open_at(wire, &start).await?;
        let sightings = follow(feed, witness, &mut tasks);
        let (publish, seen) =
            watch::channel(Seen { followed: start.gtids, touched: VecDeque::new() });
        tasks.spawn("leak watch", note(sightings, publish));
        Ok(Self { seen, tasks })
    }

    /// Waits until everything up to `until` is read, and checks that nothing of it that is not in `allowed` touches a moved table.
    ///
    /// # Errors
    /// Stop if something does; Retry if the binlog cannot be read in time.
    pub async fn check(
        &mut self,
        allowed: &GtidSet,
        until: &GtidSet,
        limit: Duration,
    ) -> Result<()> {
        let started = Instant::now();
        let reached = self.seen.wait_for(|seen| seen.followed.contains_set(until));
        let left = limit.saturating_sub(started.elapsed());
        let seen = tokio::select! {
            biased;
            error = self.tasks.failure() => return Err(error.context("watch the closed side")),
            seen = tokio::time::timeout(left, reached) => match seen {
                Ok(Ok(seen)) => seen.clone(),
                Ok(Err(_)) => return Err(Error::retry("the watch of the closed side ended")),
                Err(_) => return Err(Error::retry("the closed side's binlog cannot be read in time")),
            },
        };
        let leak = seen.touched.iter().find(|(gtid, _)| !allowed.contains(gtid));
        match leak {
            None => Ok(()),
            Some((gtid, what)) => Err(Error::stop(format!(
                "transaction {gtid} {what} on the side that is closed"
            ))
            .advice("Something writes there that no trigger sees: replication, XA, a cascade, TRUNCATE or ALTER. Stop it and try again.")),
        }
    }
}

async fn note(mut sightings: mpsc::Receiver<Sighting>, publish: watch::Sender<Seen>) -> Result<()> {
    while let Some(Sighting { gtid, touched, .. }) = sightings.recv().await {
        let mut inserted = Ok(());
        publish.send_modify(|seen| {
            if let Some(what) = touched {
                if seen.touched.len() == KEPT {
                    seen.touched.pop_front();
                }
                seen.touched.push_back((gtid.clone(), what));
            }
            inserted = seen.followed.insert(&gtid);
        });
        inserted.context("watch the closed side")?;
    }
    Err(Error::retry("the closed side's binlog ended"))
}

/// Reads a server's binlog, by a task of the set, which fails when it cannot go on.
fn follow(feed: Feed, witness: Witness, tasks: &mut TaskSet) -> mpsc::Receiver<Sighting> {
    let (sender, sightings) = mpsc::channel(QUEUE);
    tasks.spawn("leak binlog", read(feed, witness, sender));
    sightings
}

async fn read(
    mut feed: Feed,
    mut witness: Witness,
    sightings: mpsc::Sender<Sighting>,
) -> Result<()> {
    let mut ready = Vec::new();
    loop {
        let event = feed.next().await.context("watch the closed side")?;
        witness.take(event, &mut ready)?;
        for sighting in ready.drain(..) {
            if sightings.send(sighting).await.is_err() {
                return Ok(());
            }
        }
    }
}
