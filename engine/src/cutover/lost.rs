//! The target is lost for good after the switch: the source is opened again with what had been replicated back to it.
//!
//! Every other way back closes the target's fence before it opens the source's. Here the target cannot be asked, so that only one side
//! takes writes is the operator's word: the target is gone, or nobody reaches it. What the reverse stream had not applied is lost, and said
//! before ([`Loss`]). A switch that the target took part in, and that was not decided, is ended by the same: nothing is lost then.
//!
//! The rules come first, and a gateway's longest lease later the source: should the target answer again meanwhile, no gateway begins to
//! write there any more, and the rules are put back. Killed in between, the command is given again; or `switchtraffic`, if the target
//! answers, which leads the rules to the side that is open.
//!
//! All that decides is on the source, and changes there in one transaction:
//! - the reverse stream is Frozen under a new epoch: should the target answer again, it must not bring old values over new ones;
//! - the fence opens under a generation above any that this side has seen: no coordinator of a switch of before can change it again
//!   (each of its statements names its own generation), and a switch that was not settled is settled by this one;
//! - the watch over the closed side ends with that.
//!
//! Should the target come back, its own fence still stands open if it was open before: its tables are nobody's any more, and `cancel` does
//! not drop them unasked.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::sides::Sides;
use super::{gateways, triggers};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::failpoints;
use crate::mysql::control::Control;
use crate::routing::{ServerType, Side, document};
use crate::runtime::tasks;
use crate::sidecar::fence::{self, FenceState};
use crate::sidecar::lease::{self, Owner};
use crate::sidecar::wanted::Wanted;
use crate::sidecar::{stream, switch, watch, workflow};
use crate::topology::gateways::LEASE_MAX;
use crate::topology::locks::{self, Locks};
use crate::topology::switches::POLL_QUIET;
use crate::topology::{Store, switches};
use crate::workflow::state::StreamState;

/// How long taking the fence's triggers off may take.
const DISARM_MAX: Duration = Duration::from_secs(3);

/// How far the source is behind the target that is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Everything up to here of the target's binlog is on the source; `None` if nothing was replicated back.
    pub applied: Option<String>,
    /// When that was applied, in seconds since 1970.
    pub applied_s: Option<i64>,
}

/// How the source stands while the target is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It takes no writes: the target did.
    Closed(Loss),
    /// It takes writes; the target was lost in a switch that is neither finished nor taken back.
    Unsettled,
    /// It takes writes.
    Open,
}

impl Standing {
    async fn read(control: &mut Control, name: &str) -> Result<Option<Self>> {
        let Some(row) = fence::read(control, name).await? else { return Ok(None) };
        if row.state == FenceState::Closed {
            return Loss::read(control, name).await.map(|loss| Some(Self::Closed(loss)));
        }
        let unsettled = switch::read(control, name).await?.is_some_and(|row| !row.settled);
        Ok(Some(if unsettled { Self::Unsettled } else { Self::Open }))
    }
}

impl Loss {
    async fn read(control: &mut Control, name: &str) -> Result<Self> {
        let mut loss = Self { applied: None, applied_s: None };
        if let Some(row) = workflow::find(control, name).await? {
            for found in stream::of_workflow(control, row.id).await? {
                loss.applied = Some(found.pos);
                loss.applied_s = Some(found.updated_s);
            }
        }
        Ok(loss)
    }
}

/// How the source stands, and so what opening it again would lose.
///
/// # Errors
/// Usage if the target answers, or if the source has no fence.
pub async fn standing(sides: &Sides) -> Result<Standing> {
    must_be_gone(sides).await?;
    let mut control = sides.source.connect().await?;
    let standing = Standing::read(&mut control, &sides.source.incoming).await?;
    control.close().await;
    standing.ok_or_else(|| {
        Error::usage(format!("the traffic of {} was never switched", sides.spec.name()))
    })
}

/// What the operator has agreed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreed {
    /// That what the source lacks is lost.
    ToTheLoss,
    /// There was nothing to lose.
    ToNoLoss,
}

/// Leads the rules to the source, and opens it. May be repeated.
///
/// # Errors
/// Usage if the target answers; Retry if there is something to lose that nobody agreed to; of the connection and the store.
pub async fn reopen(
    sides: &Sides,
    store: &dyn Store,
    locks: &Locks,
    agreed: Agreed,
    cancel: &CancellationToken,
) -> Result<()> {
    must_be_gone(sides).await?;
    let mut control = sides.source.connect().await?;
    let standing = Standing::read(&mut control, &sides.source.incoming).await?;
    let closed = matches!(standing, Some(Standing::Closed(_)));
    if closed && agreed == Agreed::ToNoLoss {
        return Err(Error::retry("a switch was decided meanwhile: there is something to lose")
            .advice("Give the command again: it says what."));
    }
    let before = led(sides, store).await?;
    lead_rules(sides, store, locks, [Side::Source; 3]).await?;
    failpoints::hit(failpoints::REOPEN_AFTER_RULES)?;
    let opened = if standing.is_some_and(|standing| standing != Standing::Open) {
        let opened = open_when_alone(&mut control, (sides, store, locks), cancel).await;
        if opened.is_err() && closed {
            // The target may take writes as before.
            lead_rules(sides, store, locks, before.unwrap_or([Side::Target; 3])).await?;
        }
        opened
    } else {
        Ok(())
    };
    opened?;
    control.close().await;
    switches::remove(store, &sides.spec.name(), locks.workflow.token).await?;
    disarm(sides).await;
    Ok(())
}

/// Waits until no gateway goes by older rules, and opens the source if the target is still gone.
async fn open_when_alone(
    control: &mut Control,
    (sides, store, locks): (&Sides, &dyn Store, &Locks),
    cancel: &CancellationToken,
) -> Result<()> {
    let gateways = gateways::alive(store).await? > 0;
    if gateways && !tasks::pause(LEASE_MAX + POLL_QUIET, cancel).await {
        return Err(super::interrupted());
    }
    must_be_gone(sides).await?;
    open(control, sides, store, locks).await
}

async fn open(
    control: &mut Control,
    sides: &Sides,
    store: &dyn Store,
    locks: &Locks,
) -> Result<()> {
    let name = &sides.source.incoming;
    let last = switch::read(control, name).await?.map_or(0, |last| last.generation);
    let row = fence::read(control, name).await?.map_or(0, |row| row.generation);
    let generation = switches::next_generation(store, row.max(last)).await?;
    locks.check()?;
    control.begin().await?;
    let opened = open_in_transaction(control, sides, generation, &locks.owner).await;
    control.end(opened).await.context("open the source again")
}

/// Triggers of an open fence harm nobody but cost time; that they stay is no failure.
async fn disarm(sides: &Sides) {
    let place = &sides.source;
    let taken_off = async {
        let mut bounder = place.bounder().await?;
        let (until, never) = (Instant::now() + DISARM_MAX, CancellationToken::new());
        triggers::disarm(&mut bounder, place, u64::MAX, until, &never).await
    };
    if let Err(error) = taken_off.await {
        tracing::warn!("triggers of the fence stay on tables of {}: {error}", place.keyspace);
    }
}

/// Where writes, replica reads and rdonly reads are led; nowhere if there are no rules.
async fn led(sides: &Sides, store: &dyn Store) -> Result<Option<[Side; 3]>> {
    let (_, rules) = document::read(store).await?;
    let moved = sides.moved();
    let reads = ServerType::READS.map(|kind| moved.reads_at(&rules, kind).unwrap_or(Side::Target));
    Ok(moved.writes_at(&rules).map(|writes| [writes, reads[0], reads[1]]))
}

/// Leads them there, where there are rules.
async fn lead_rules(sides: &Sides, store: &dyn Store, locks: &Locks, to: [Side; 3]) -> Result<()> {
    let moved = sides.moved();
    document::change_as(store, &locks.workflow, locks::TTL, |rules| {
        if sides.is_routed(rules) {
            for (kind, side) in ServerType::READS.into_iter().zip([to[1], to[2]]) {
                moved.lead_reads(rules, &[kind], side);
            }
            moved.lead_writes(rules, to[0]);
        }
        Ok(())
    })
    .await
    .map(drop)
}

/// # Errors
/// Usage if it is not.
async fn must_be_gone(sides: &Sides) -> Result<()> {
    let address = &sides.target.server.address;
    match sides.target.connect().await {
        Ok(_) => Err(Error::usage(format!("the target {address} answers, so it is not lost"))
            .advice("`shunt movetables reversetraffic` leads the traffic back and loses nothing. Where rules lead to a closed side, `switchtraffic` leads them to the target.")),
        Err(error) if is_answer(&error) => {
            Err(error.context(format_args!("the target {address} answers, so it is not lost")))
        }
        Err(_) => Ok(()),
    }
}

/// Whether an error of connecting came from a server that is there: a refusal is an answer, too, and clients may be served meanwhile.
pub fn is_answer(error: &Error) -> bool {
    error.server_code().is_some() || error.kind() != ErrorKind::Retry
}

async fn open_in_transaction(
    control: &mut Control,
    sides: &Sides,
    generation: u64,
    owner: &str,
) -> Result<()> {
    let name = &sides.source.incoming;
    switch::supersede(control, name, generation, owner).await?;
    if let Some(row) = workflow::find(control, name).await? {
        for found in stream::of_workflow(control, row.id).await? {
            let stream_owner = Owner::new();
            let tenure = lease::seize_in_transaction(control, found.id, &stream_owner).await?;
            let why = "the target is lost, and the source was opened again";
            stream::set_state(control, found.id, StreamState::Frozen, why).await?;
            lease::release(control, tenure, &stream_owner).await?;
        }
        workflow::set_wanted(control, row.id, Wanted::Stop).await?;
    }
    watch::forget(control, name).await?;
    control.execute(fence::open_sql(name, generation, owner)).await.context("open the fence")?;
    let detail = format!("generation {generation}");
    workflow::journal(control, &sides.spec.name(), "source opened again, target lost", &detail)
        .await
}

/// Whether both sides take writes: the target was switched to and stands open, and the source is not closed. It was opened past a target
/// that is there again, or is a server from before the switch. The tables of either may hold what is nowhere else.
///
/// # Errors
/// Of the connections.
pub async fn is_orphan(sides: &Sides) -> Result<bool> {
    let mut rows = [None, None];
    for (at, place) in [&sides.source, &sides.target].into_iter().enumerate() {
        let mut control = place.connect().await?;
        rows[at] = fence::read(&mut control, &place.incoming).await?;
        control.close().await;
    }
    let [source, target] = rows;
    let opened = target.is_some_and(|row| row.state == FenceState::Open && row.generation > 0);
    Ok(opened && source.is_none_or(|row| row.state != FenceState::Closed))
}
