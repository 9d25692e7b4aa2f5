//! The target is lost for good after the switch: the source is opened again with what had been replicated back to it.
//!
//! Every other way back closes the target's fence before it opens the source's. Here the target cannot be asked, so that only one side
//! takes writes is the operator's word: the target is gone, or nobody reaches it. What the stream back had not applied is lost, and said
//! before ([`Loss`]).
//!
//! All that decides is on the source, and changes there in one transaction:
//! - the stream back is Frozen under a new epoch: should the target answer again, it must not bring old values over new ones;
//! - the fence opens under a generation above any that this side has seen: no coordinator of a switch of before can change it again
//!   (each of its statements names its own generation), and a switch that was not settled is settled by this one;
//! - the watch over the closed side ends with that.
//!
//! The rules follow, as after every switch; killed before that, the command is given again. Should the target come back, its own fence
//! still stands open: its tables are nobody's any more, and `cancel` does not drop them unasked.

use super::locks::{self, Locks};
use super::sides::Sides;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::mysql::control::Control;
use crate::routing::{ServerType, Side, document};
use crate::sidecar::fence::{self, FenceState};
use crate::sidecar::lease::{self, Owner};
use crate::sidecar::{stream, switch, watch, workflow};
use crate::topology::{Store, switches};
use crate::workflow::state::StreamState;

/// How far the source is behind the target that is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Everything up to here of the target's binlog is on the source; `None` if nothing was replicated back.
    pub applied: Option<String>,
    /// When that was applied, in seconds since 1970.
    pub applied_s: Option<i64>,
}

/// What opening the source again would lose; `None` if it takes writes already.
///
/// # Errors
/// Usage if the target answers, or if the source has no fence.
pub async fn loss(sides: &Sides) -> Result<Option<Loss>> {
    must_be_gone(sides).await?;
    let (place, name) = (&sides.source, &sides.source.incoming);
    let mut control = place.connect().await?;
    let row = fence::read(&mut control, name).await?.ok_or_else(|| {
        Error::usage(format!("the traffic of {} was never switched", sides.spec.name()))
    })?;
    let mut loss = Loss { applied: None, applied_s: None };
    if let Some(row) = workflow::find(&mut control, name).await? {
        for found in stream::of_workflow(&mut control, row.id).await? {
            loss.applied = Some(found.pos);
            loss.applied_s = Some(found.updated_s);
        }
    }
    control.close().await;
    Ok((row.state == FenceState::Closed).then_some(loss))
}

/// Opens the source, and leads the rules there. May be repeated.
///
/// # Errors
/// Usage if the target answers; of the connection and the store.
pub async fn reopen(sides: &Sides, store: &dyn Store, locks: &Locks) -> Result<()> {
    must_be_gone(sides).await?;
    let source = &sides.source;
    let mut control = source.connect().await?;
    let last = switch::read(&mut control, &source.incoming).await?;
    let row = fence::read(&mut control, &source.incoming).await?;
    if let Some(row) = row.filter(|row| row.state == FenceState::Closed) {
        let above = row.generation.max(last.map_or(0, |last| last.generation));
        let generation = switches::next_generation(store, above).await?;
        locks.check()?;
        control.execute("BEGIN").await?;
        let opened = open_in_transaction(&mut control, sides, generation, &locks.owner).await;
        control.execute(if opened.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
        opened.context("open the source again")?;
    }
    control.close().await;
    lead_rules(sides, store, locks).await?;
    switches::remove(store, &sides.spec.name(), locks.workflow.token).await
}

/// All traffic to the source, where there are rules.
async fn lead_rules(sides: &Sides, store: &dyn Store, locks: &Locks) -> Result<()> {
    let moved = sides.moved();
    document::change_as(store, &locks.workflow, locks::TTL, |rules| {
        if moved.writes_at(rules).is_some() {
            moved.lead_reads(rules, &ServerType::READS, Side::Source);
            moved.lead_writes(rules, Side::Source);
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
            .advice("`shunt movetables reversetraffic` leads the traffic back and loses nothing.")),
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
        workflow::set_wanted(control, row.id, false).await?;
    }
    watch::forget(control, name).await?;
    fence::open(control, name, generation, owner).await?;
    let detail = format!("generation {generation}");
    workflow::journal(control, &sides.spec.name(), "source opened again, target lost", &detail)
        .await
}

/// Whether a side was opened past a target that is there again: both of its fences stand open. Its tables may hold what is nowhere
/// else.
///
/// # Errors
/// Of the connections.
pub async fn is_orphan(sides: &Sides) -> Result<bool> {
    let mut open = [false; 2];
    for (at, place) in [&sides.source, &sides.target].into_iter().enumerate() {
        let mut control = place.connect().await?;
        let row = fence::read(&mut control, &place.incoming).await?;
        open[at] = row.is_some_and(|row| row.state == FenceState::Open && row.generation > 0);
        control.close().await;
    }
    Ok(open == [true; 2])
}
