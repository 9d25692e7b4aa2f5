//! Switching reads: by rules alone, once what the source had committed is seen on the servers that are to be read.
//!
//! A position alone does not tell that: it is the source's from the first copied row on, and a stream that has ended keeps its own. So the
//! stream must be Running (all rows and keys are there, up to its position) and somebody must run it.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::interrupted;
use super::preflight::side_of;
use super::sides::{Place, Sides};
use super::traffic;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::mysql::control::Control;
use crate::mysql::gtid::GtidSet;
use crate::mysql::server::{Flavor, ServerConfig};
use crate::mysql::snapshot::current_gtids;
use crate::mysql::wire::Wire;
use crate::preflight::{Finding, Level};
use crate::routing::{ServerType, Side, document};
use crate::runtime::tasks;
use crate::sidecar::stream::{self, StreamRow};
use crate::sidecar::{lease, workflow};
use crate::topology::Store;
use crate::topology::locks::{self, Locks};
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

/// What stops reads from being led to a side, as its stream stands. How far behind it may be is seen by the switch itself, which waits.
///
/// # Errors
/// Of the connections.
pub async fn refusal(
    sides: &Sides,
    store: &dyn Store,
    to: Side,
    force: bool,
) -> Result<Option<Finding>> {
    if traffic::read(sides, store).await?.writes == to {
        return Ok(None);
    }
    let place = sides.place(to);
    let mut control = place.connect().await?;
    let lacks = match lacks(&mut control, sides, place, (None, force)).await {
        Err(error) if error.kind() == ErrorKind::Stop => Some(error),
        other => other?,
    };
    control.close().await;
    Ok(lacks.map(|error| {
        let fix = error.advice_text().unwrap_or_default().to_owned();
        let found = Finding::new(Level::Error, side_of(place), "reads", error.to_string());
        Finding { id: "reads", ..found.fix(fix) }
    }))
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
    if !at_home {
        let mut wire = Wire::connect(&sides.place(to.other()).server).await?;
        let goal = current_gtids(&mut wire).await?;
        let wanted = (Some(&goal), readers.force);
        while let Some(lacks) = lacks(&mut control, sides, place, wanted).await? {
            again(lacks, until, cancel).await?;
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

/// Why the side that is to be read has not all that the other one had committed at `goal`; without a goal, why it will not have.
///
/// # Errors
/// Stop if it never will have.
async fn lacks(
    control: &mut Control,
    sides: &Sides,
    place: &Place,
    (goal, forced): (Option<&GtidSet>, bool),
) -> Result<Option<Error>> {
    let Some(row) = workflow::find(control, &place.incoming).await? else {
        return Err(Error::stop(format!(
            "no stream brings the {} at {} up to the side that takes the writes",
            place.side, place.server.address
        ))
        .advice("Leave the reads where they are: what is read there would never change again."));
    };
    for stream in stream::of_workflow(control, row.id).await? {
        let is_run = forced || lease::read(control, stream.id).await?.0;
        let lacks = match stream.state {
            StreamState::Frozen => return Err(frozen(sides, place.side)),
            StreamState::Stopped | StreamState::Error => return Err(ended(place, &stream)),
            StreamState::Init | StreamState::Copying | StreamState::CatchUp => {
                Error::retry(format!(
                    "the tables of the {} are not complete: the stream into it, {}, is {}",
                    place.side, place.incoming, stream.state
                ))
                .advice(format!(
                    "Wait for it: `shunt movetables wait {} --for running`.",
                    place.incoming
                ))
            }
            StreamState::Running if !is_run => {
                Error::retry(format!("nobody runs the stream of {}", place.incoming))
                    .advice("Start a `shunt serve`: what is read there would not change any more.")
            }
            StreamState::Running => {
                let Some(goal) = goal else { continue };
                let at = stream.position(goal.flavor())?;
                if at.is_some_and(|at| at.gtids.contains_set(goal)) {
                    continue;
                }
                behind(&place.server.alias)
            }
        };
        return Ok(Some(lacks));
    }
    Ok(None)
}

/// What is read there would never change again, unless the operator starts it.
fn ended(place: &Place, stream: &StreamRow) -> Error {
    let (incoming, why) = (&place.incoming, stream.why_ended());
    Error::stop(format!(
        "the stream into the {}, {incoming}, has ended ({}): {why}",
        place.side, stream.state
    ))
    .advice(format!("Fix the cause, then run `shunt movetables start {incoming}`."))
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
        again(behind(&reader.alias), until, cancel).await?;
    }
    Ok(())
}

fn behind(server: &str) -> Error {
    Error::retry(format!("{server} is further behind than --max-replication-lag-allowed"))
        .advice("Wait until it has caught up, or allow more.")
}

async fn again(lacks: Error, until: Instant, cancel: &CancellationToken) -> Result<()> {
    if Instant::now() >= until {
        return Err(lacks);
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
