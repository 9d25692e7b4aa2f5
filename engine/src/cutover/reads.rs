//! Switching reads: by rules alone, once what the source had committed is seen on the servers that are to be read.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::interrupted;
use super::locks::{self, Locks};
use super::sides::Sides;
use super::traffic;
use crate::error::{Error, Result, ResultExt};
use crate::mysql::gtid::GtidSet;
use crate::mysql::server::{Flavor, ServerConfig};
use crate::mysql::snapshot::current_gtids;
use crate::mysql::wire::Wire;
use crate::routing::{ServerType, Side, document};
use crate::runtime::tasks;
use crate::sidecar::{stream, workflow};
use crate::topology::Store;
use crate::workflow::state::StreamState;

const LOOK: Duration = Duration::from_millis(20);

/// The servers that are to be read.
#[derive(Clone, Copy, Debug)]
pub struct Readers<'a> {
    /// All of them.
    pub servers: &'a [ServerConfig],
    /// Those that are gone or too far behind are passed over; a gateway reads from none of them meanwhile.
    pub force: bool,
}

/// Leads the reads of these types to a side, if every server of it shows within `lag_max` what is committed on the writes' side now.
///
/// # Errors
/// Retry, with the server that is behind.
pub async fn switch(
    sides: &Sides,
    store: &dyn Store,
    locks: &Locks,
    (types, to): (&[ServerType], Side),
    readers: Readers<'_>,
    (lag_max, cancel): (Duration, &CancellationToken),
) -> Result<()> {
    let at_home = traffic::read(sides, store).await?.writes == to;
    must_be_near(sides, (to, at_home), readers, lag_max, cancel).await?;
    let moved = sides.moved();
    document::change_as(store, &locks.workflow, locks::TTL, |rules| {
        if !sides.is_routed(rules) {
            return Err(Error::usage(format!(
                "workflow {} has no routing rules",
                sides.spec.name()
            ))
            .advice("Reads are switched by rules alone: switch the readers yourself."));
        }
        moved.lead_reads(rules, types, to);
        Ok(())
    })
    .await
    .map(drop)
}

/// From end to end: the source's position now, applied on the other side's primary, and from there on each reader. A side that takes the
/// writes itself (`at_home`) lacks nothing, and the stream into it is frozen.
async fn must_be_near(
    sides: &Sides,
    (to, at_home): (Side, bool),
    readers: Readers<'_>,
    lag_max: Duration,
    cancel: &CancellationToken,
) -> Result<()> {
    let until = Instant::now() + lag_max.max(LOOK);
    let place = sides.place(to);
    let mut control = place.connect().await?;
    let row = workflow::find(&mut control, &place.incoming).await?;
    if row.is_none() && !at_home {
        return Err(Error::stop(format!(
            "no stream brings the {} at {} up to the side that takes the writes",
            place.side, place.server.address
        ))
        .advice("Leave the reads where they are: what is read there would never change again."));
    }
    if let Some(row) = row {
        let mut wire = Wire::connect(&sides.place(to.other()).server).await?;
        let goal = current_gtids(&mut wire).await?;
        loop {
            let rows = stream::of_workflow(&mut control, row.id).await?;
            let mut there = true;
            for stream in &rows {
                let at = stream.position(goal.flavor())?;
                let is_frozen = stream.state == StreamState::Frozen;
                if is_frozen && !at_home {
                    return Err(frozen(sides, to));
                }
                there &= is_frozen || at.is_some_and(|at| at.gtids.contains_set(&goal));
            }
            if there {
                break;
            }
            again(&place.server.alias, until, cancel).await?;
        }
    }
    let mut wire = Wire::connect(&place.server).await?;
    let goal = current_gtids(&mut wire).await?;
    for reader in readers.servers {
        match must_have(reader, &goal, until, cancel).await {
            Err(error) if readers.force && !cancel.is_cancelled() => {
                tracing::warn!(server = %reader.alias, "reads are switched all the same: {error}");
            }
            other => other?,
        }
    }
    Ok(())
}

/// What is read there would never change again.
fn frozen(sides: &Sides, side: Side) -> Error {
    match side {
        Side::Source => {
            let (why, advice) = traffic::half_completed(sides);
            Error::stop(why).advice(advice)
        }
        Side::Target => Error::stop(format!(
            "the stream into the target, {}, is frozen, and the source takes the writes",
            sides.target.incoming
        ))
        .advice(format!(
            "One side was opened past the other: `shunt movetables cancel {} --keep-data`, and create it anew.",
            sides.spec.name()
        )),
    }
}

async fn must_have(
    reader: &ServerConfig,
    goal: &GtidSet,
    until: Instant,
    cancel: &CancellationToken,
) -> Result<()> {
    let mut wire = Wire::connect(reader).await.context("a server that is to be read")?;
    while !executed(&mut wire).await?.contains_set(goal) {
        again(&reader.alias, until, cancel).await?;
    }
    Ok(())
}

async fn again(server: &str, until: Instant, cancel: &CancellationToken) -> Result<()> {
    if Instant::now() >= until {
        return Err(Error::retry(format!(
            "{server} is further behind than --max-replication-lag-allowed"
        ))
        .advice("Wait until it has caught up, or allow more."));
    }
    if tasks::pause(LOOK, cancel).await { Ok(()) } else { Err(interrupted()) }
}

async fn executed(wire: &mut Wire) -> Result<GtidSet> {
    let flavor = wire.info().flavor;
    let query = match flavor {
        Flavor::MariaDb => "SELECT @@global.gtid_current_pos",
        Flavor::MySql => "SELECT @@global.gtid_executed",
    };
    let rows = wire.rows(query).await?;
    let row = rows.first().ok_or_else(|| Error::retry("the server does not say its position"))?;
    GtidSet::parse(flavor, &row.must(0)?)
}
