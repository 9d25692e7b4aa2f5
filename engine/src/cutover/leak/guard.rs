//! The lasting watch over a closed side: from the point of no return until the side is opened again or the move is completed.
//!
//! A `serve` runs one for each closed side of its keyspaces; the lease in [`crate::sidecar::watch`] decides which. Commands that must know
//! ([`look`]) read on from the saved position themselves. All of them record the same rows for the same transactions, so
//! that two at once do no harm.
//!
//! Where the binlog cannot be read (purged, lost in a crash, not understood) nobody can say that nothing was written: that is recorded
//! like a leak, and the watch goes on from the side's position now.
//!
//! A leak is recorded only while the side's fence says closed by the same switch. So what clients write after the side was opened again is
//! none; a leak in the last moment before that may go unrecorded, and is on the side that is then open.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::witness::{Sighting, Witness};
use super::{Place, follow};
use crate::changes::reader::Feed;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::mysql::control::{Control, Session};
use crate::mysql::gtid::GtidSet;
use crate::mysql::snapshot::{current_gtids, current_position};
use crate::mysql::wire::Wire;
use crate::runtime::tasks::TaskSet;
use crate::sidecar::watch::{self, LeakRow, WatchRow};

/// How often the position is saved and the lease renewed.
const SAVE: Duration = Duration::from_secs(5);
/// Leaks that an error names.
const NAMED: usize = 3;

/// How a guard ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// This process is to end.
    Cancelled,
    /// The side is not closed any more, or somebody else watches it.
    Elsewhere,
}

/// Watches a closed side until it is opened.
///
/// # Errors
/// Of the connections; to be run again.
pub async fn run(place: Place, cancel: CancellationToken) -> Result<Ended> {
    let mut control = Control::connect(&place.server, Session::Control).await?;
    let Some(watch) = watch::read(&mut control, &place.incoming).await? else {
        return Ok(Ended::Elsewhere);
    };
    let owner = uuid::Uuid::new_v4().to_string();
    if !watch::take(&mut control, &watch, &owner).await? {
        return Ok(Ended::Elsewhere);
    }
    let left = watch::leaks(&mut control, &place.incoming).await?;
    for leak in left.iter().filter(|leak| !leak.acknowledged) {
        alarm(&place, &leak.gtid, &leak.what);
    }
    let ended = guard(&place, &mut control, &watch, &cancel).await;
    watch::release(&mut control, &watch, &owner).await?;
    ended
}

async fn guard(
    place: &Place,
    control: &mut Control,
    watch: &WatchRow,
    cancel: &CancellationToken,
) -> Result<Ended> {
    let mut eye = open(place, control, watch).await?;
    let mut save = tokio::time::interval(SAVE);
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => {
                eye.save(control).await?;
                return Ok(Ended::Cancelled);
            }
            error = eye.tasks.failure() => return Err(eye.lost(control, error).await),
            sighting = eye.sightings.recv() => eye.take(control, sighting).await?,
            _ = save.tick() => {
                let closed = watch::read(control, &place.incoming).await?;
                let same = closed.is_some_and(|row| row.generation == watch.generation);
                if !same || !eye.save(control).await? {
                    return Ok(Ended::Elsewhere);
                }
            }
        }
    }
}

/// Reads a side's binlog from the saved position to the last one, if it is closed, and records what is found.
///
/// # Errors
/// Of the connections; Retry if it takes longer than `limit`.
pub async fn look(place: &Place, limit: Duration) -> Result<()> {
    let mut control = place.connect().await?;
    if let Some(watch) = watch::read(&mut control, &place.incoming).await? {
        let until = Instant::now() + limit;
        let mut wire = Wire::connect(&place.server).await?;
        let goal = current_gtids(&mut wire).await?;
        let mut eye = open(place, &mut control, &watch).await?;
        while !eye.followed.contains_set(&goal) {
            let left = until.saturating_duration_since(Instant::now());
            tokio::select! {
                biased;
                error = eye.tasks.failure() => return Err(eye.lost(&mut control, error).await),
                sighting = tokio::time::timeout(left, eye.sightings.recv()) => {
                    let sighting = sighting.map_err(|_| {
                        Error::retry(format!("the binlog of the closed {} is not read yet", place.side))
                            .advice("Try again: it goes on from there.")
                    });
                    match sighting {
                        Ok(sighting) => eye.take(&mut control, sighting).await?,
                        Err(error) => {
                            eye.save(&mut control).await?;
                            return Err(error);
                        }
                    }
                }
            }
        }
        eye.save(&mut control).await?;
    }
    control.close().await;
    Ok(())
}

/// Looks, and refuses if anything was found that the operator has not acknowledged.
///
/// # Errors
/// Stop, with the leaks; otherwise as [`look`].
pub async fn must_be_tight(place: &Place, limit: Duration) -> Result<()> {
    look(place, limit).await.context("look for writes on the closed side")?;
    let mut control = place.connect().await?;
    let leaks = watch::leaks(&mut control, &place.incoming).await?;
    control.close().await;
    let open: Vec<&LeakRow> = leaks.iter().filter(|leak| !leak.acknowledged).collect();
    if open.is_empty() {
        return Ok(());
    }
    let mut named: Vec<String> = open.iter().take(NAMED).map(|leak| describe(leak)).collect();
    if open.len() > NAMED {
        named.push(format!("{} more", open.len() - NAMED));
    }
    Err(Error::stop(format!(
        "the {} was written to although it is closed: {}",
        place.side,
        named.join("; ")
    ))
    .advice(
        "No stream carries these writes over. Stop whoever writes there, look at the transactions in that server's binlog, bring what is missing to \
         the other side, and say so: `shunt movetables leaks <workflow> --acknowledge <GTID>`.",
    ))
}

/// A leak with its position.
pub fn describe(leak: &LeakRow) -> String {
    let LeakRow { gtid, what, end, .. } = leak;
    format!("transaction {gtid} (up to {} {}) {what}", end.file, end.offset)
}

fn alarm(place: &Place, gtid: &str, what: &str) {
    let (side, workflow) = (place.side, &place.incoming);
    tracing::error!(%workflow, %gtid, "LEAK: the closed {side} was written to: transaction {gtid} {what}; Complete is barred until it is acknowledged");
}

/// The reading of one side.
struct Eye<'a> {
    place: &'a Place,
    watch: &'a WatchRow,
    followed: GtidSet,
    sightings: mpsc::Receiver<Sighting>,
    tasks: TaskSet,
}

async fn open<'a>(place: &'a Place, control: &mut Control, watch: &'a WatchRow) -> Result<Eye<'a>> {
    let wire = Wire::connect(&place.server).await?;
    let followed = GtidSet::parse(wire.info().flavor, &watch.pos)?;
    let mut tasks = TaskSet::default();
    let witness = Witness::new(&place.database, &place.tables);
    match Feed::open(wire, &followed).await {
        Ok(feed) => {
            let sightings = follow(feed, witness, &mut tasks);
            Ok(Eye { place, watch, followed, sightings, tasks })
        }
        Err(error) => Err(unread(place, control, watch, error).await),
    }
}

impl Eye<'_> {
    async fn take(&mut self, control: &mut Control, sighting: Option<Sighting>) -> Result<()> {
        let Some(Sighting { gtid, end, touched }) = sighting else {
            return Err(Error::retry("the closed side's binlog ended"));
        };
        if let Some(what) = touched {
            let name = gtid.to_string();
            if watch::record(control, self.watch, (&name, &what, &end)).await? {
                alarm(self.place, &name, &what);
            }
        }
        self.followed.insert(&gtid)
    }

    /// `false` if there is nothing to watch any more.
    async fn save(&self, control: &mut Control) -> Result<bool> {
        watch::save(control, self.watch, &self.followed.to_string()).await
    }

    /// What was read so far is saved, and what cannot be read is recorded.
    async fn lost(&self, control: &mut Control, error: Error) -> Error {
        if error.kind() == ErrorKind::Retry {
            return error;
        }
        unread(self.place, control, self.watch, error).await
    }
}

/// The binlog cannot be read from the saved position on: recorded, and the watch begins anew.
async fn unread(place: &Place, control: &mut Control, watch: &WatchRow, error: Error) -> Error {
    if error.kind() == ErrorKind::Retry {
        return error;
    }
    let noted = async {
        let mut wire = Wire::connect(&place.server).await?;
        let now = current_position(&mut wire).await?;
        let name = format!("unread-{}-{}", now.log.file, now.log.offset);
        let what = format!(
            "is not known: the binlog before it cannot be read, so neither can what was written ({error})"
        );
        if watch::record(control, watch, (&name, &what, &now.log)).await? {
            alarm(place, &name, &what);
        }
        watch::save(control, watch, &now.gtids.to_string()).await
    };
    match noted.await {
        Ok(_) => error.with_kind(ErrorKind::Retry),
        Err(other) => other,
    }
}
