//! The two sides of a comparison: two snapshots of which is known how they stand to each other.
//!
//! # The argument
//! The target is always at a position of the source: rows and position commit in one transaction. A comparison opens a
//! snapshot T of the **target first** and reads in it, from the sidecar, the position P that the stream has applied; then
//! a snapshot S of the source that contains P ([`Snapshot`]). Let H be the upper bound of what S can contain.
//!
//! *Equal.* If T and S show the same rows in a range, the range is right for every event up to P. The stream still has to
//! apply what lies between P and S; every such event carries the full image of its row, so when it has, each row is as S showed
//! it: those with an event by their last one, the others because T showed them so already. An event up to P that was lost, or
//! a row that somebody else changed, would be in S and not in T. (Unless a later event before S overwrote the row: then that
//! event mends it.) Of a table without a key an event is not the image of a row but one more or one fewer: it is equal only if it had
//! no event between P and H ([`crate::keyless`]).
//!
//! *Different.* A row that differs may only have an event between P and S, so it proves nothing yet. Its key is looked at
//! again with new snapshots once the stream has passed H, until it is equal, or until it differs **with no event of its own
//! between P and H**, as the source's binlog says ([`crate::touched`]). Then the source showed the same row at P already, where the
//! target shows another: they differ for good, whatever else is being written. A row that flips between two values
//! all the time raises no false alarm, since its events are seen.
//!
//! # The schedule that breaks if the order is turned round
//! Source first: S is opened. A client sets row k from 1 to 2, and the stream applies it wrongly or not at all (or somebody takes it
//! back on the target), and saves its position P′, which lies behind S. Then T is opened: it shows k = 1. So does S: *equal*,
//! although the target lacks an event that its position claims, for ever. Nothing shows it but another run. With the
//! target first, T shows k = 1 at P′, S contains P′, so it shows k = 2: different, and found. `tests/vdiff.rs` runs both.
//!
//! # Not judged
//! While parts of a transaction are on the target and its position is not (`ahead_until`), or the stream is not in state
//! Running (ranges are copied, some H is not passed yet), the target is at no position: [`open_target`] waits.

use std::time::{Duration, Instant};

use shunt_engine::error::ResultExt;
use shunt_engine::mysql::gtid::GtidSet;
use shunt_engine::mysql::server::ServerConfig;
use shunt_engine::mysql::snapshot::{LogPosition, ReadPosition, Snapshot};
use shunt_engine::mysql::wire::Wire;
use shunt_engine::{Error, Result};

use crate::limits;

/// What ties the target to the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tie {
    /// A stream of the target's sidecar.
    Stream {
        /// Its id.
        id: u64,
    },
    /// Nothing: both sides are taken as they stand, and what differs is looked at several times.
    Nothing,
}

/// Where the two sides are, and how they are reached.
#[derive(Clone, Debug)]
pub struct Servers {
    /// The source.
    pub source: ServerConfig,
    /// The target.
    pub target: ServerConfig,
    /// What ties them.
    pub tie: Tie,
}

/// A connection to each side.
#[derive(Debug)]
pub struct Sides {
    /// To the source.
    pub source: Wire,
    /// To the target.
    pub target: Wire,
    tie: Tie,
}

/// How two open snapshots stand to each other; nothing is known where no position ties them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stand {
    /// P: the target's position, which the source's snapshot contains.
    pub applied: GtidSet,
    /// H: nothing beyond it is in the source's snapshot.
    pub high: GtidSet,
}

impl Sides {
    /// Connects to both.
    ///
    /// # Errors
    /// As [`Wire::connect`].
    pub async fn connect(servers: &Servers) -> Result<Self> {
        let (source, target) =
            tokio::try_join!(Wire::connect(&servers.source), Wire::connect(&servers.target))?;
        Ok(Self { source, target, tie: servers.tie.clone() })
    }

    /// Opens a snapshot of the target, then one of the source that contains the target's position. Both stay open until
    /// [`Self::close`]; their age is that of the result's moment.
    ///
    /// # Errors
    /// Retry or Stop if the target comes to no position that can be judged; see [`open_target`].
    pub async fn open(&mut self) -> Result<Option<Stand>> {
        let Tie::Stream { id } = self.tie else {
            self.target.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT").await?;
            self.source.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT").await?;
            return Ok(None);
        };
        let identity = self.source.info().identity.clone();
        let position = open_target(&mut self.target, id, &self.source, &identity).await?;
        let snapshot = Snapshot::open(&mut self.source, &position).await?;
        let high = snapshot.high.clone();
        Ok(Some(Stand { applied: position.gtids, high }))
    }

    /// Ends both snapshots.
    ///
    /// # Errors
    /// Retry if a connection is lost.
    pub async fn close(&mut self) -> Result<()> {
        let (source, target) =
            tokio::join!(self.source.execute("ROLLBACK"), self.target.execute("ROLLBACK"));
        source.and(target).map(drop).context("end the snapshots")
    }
}

/// Opens a snapshot of the target at a position that can be judged, and reads the position in it.
///
/// # Errors
/// Stop if the stream has stopped or is still copying; Retry if it gets to no such position within
/// [`limits::TARGET_WAIT`].
pub async fn open_target(
    target: &mut Wire,
    stream: u64,
    source: &Wire,
    identity: &str,
) -> Result<ReadPosition> {
    let started = Instant::now();
    loop {
        target.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT").await?;
        let found = read_stream(target, stream).await?;
        match found.judge(identity)? {
            None => {
                let gtids = GtidSet::parse(source.info().flavor, &found.pos)?;
                return Ok(ReadPosition { gtids, log: found.log });
            }
            Some(why) if started.elapsed() > limits::TARGET_WAIT => {
                return Err(Error::retry(format!("the target cannot be judged: {why}")));
            }
            Some(_) => {}
        }
        target.execute("ROLLBACK").await?;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A stream's row, as a wire connection reads it.
#[derive(Debug)]
pub(crate) struct StreamNow {
    pub(crate) state: String,
    pub(crate) pos: String,
    log: LogPosition,
    identity: String,
    ahead: Option<String>,
    message: String,
}

impl StreamNow {
    /// Why the target cannot be judged now; `None` if it can.
    fn judge(&self, identity: &str) -> Result<Option<String>> {
        if self.identity != identity {
            return Err(Error::stop("the stream follows another source server than is read here")
                .advice("Has the source failed over? Let the stream start again, then resume the VDiff."));
        }
        match self.state.as_str() {
            "Running" if self.ahead.is_none() => Ok(None),
            "Running" => Ok(Some("a large transaction or DDL is being applied".into())),
            // A worker that takes the stream over goes through these.
            "CatchUp" | "Copying" | "Init" => {
                Ok(Some(format!("the stream is in state {}", self.state)))
            }
            state => Err(Error::stop(format!("the stream is in state {state}: {}", self.message))
                .advice("Start the workflow, then resume the VDiff.")),
        }
    }
}

pub(crate) async fn read_stream(target: &mut Wire, stream: u64) -> Result<StreamNow> {
    let query = format!(
        "SELECT state, pos, log_file, log_offset, source_identity, ahead_until, message \
         FROM `_shunt`.`stream` WHERE id = {stream}"
    );
    let rows = target.rows(query).await.context("read the stream's position")?;
    let row = rows.first().ok_or_else(|| Error::stop("the workflow is not there any more"))?;
    Ok(StreamNow {
        state: row.must(0)?,
        pos: row.must(1)?,
        log: LogPosition { file: row.must(2)?, offset: row.number(3)? },
        identity: row.must(4)?,
        ahead: row.text(5),
        message: row.must(6)?,
    })
}
