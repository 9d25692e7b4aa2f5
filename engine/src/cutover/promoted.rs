//! A side is another server than the one that took part in a decided switch: a replica of it that was promoted, and had not received all of
//! the switch.
//!
//! The switch is decided all the same: the other side says so, and clients may have written on the side that opens. What is missing is
//! made up for before anything else is done.
//!
//! On the side that **closes**, in this order:
//! 1. The switch's row is this switch's, so that no other one can begin here.
//! 2. The watch over the closed side begins at the last position that the other side has applied. All that clients could write here
//!    since, for want of a fence, is nowhere else: the watch finds it, transaction by transaction, and bars Complete.
//! 3. The triggers stand, and the fence is closed.
//!
//! What the replica had not received of the moved tables themselves is on the other side, which had applied it before it was opened; it is
//! not brought back here. The reverse stream is begun only if the replica knows it; else there is none, and the traffic cannot be reversed.
//!
//! On the side that **opens**: the switch's row is this switch's; and the stream into it is Frozen, or else has first to apply all that the
//! closed side holds, and is frozen there. Opened before that, old values would be brought over new ones.

use std::cmp::Ordering;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::complete::existing;
use super::settle::{Case, Hands};
use super::sides::{Place, Plan, Sides};
use super::triggers;
use crate::error::{Error, Result, ResultExt};
use crate::mysql::control::Control;
use crate::mysql::snapshot::current_gtids;
use crate::mysql::wire::Wire;
use crate::sidecar::fence::{self, FenceRow, FenceState};
use crate::sidecar::lease::{self, Owner};
use crate::sidecar::stream::{self, StreamRow};
use crate::sidecar::switch::{self, SwitchRow};
use crate::sidecar::{self, watch, workflow};
use crate::workflow::state::StreamState;

/// How long the tables' locks are tried for.
const ARM_MAX: Duration = Duration::from_secs(5);

/// The last switch of a move, where one side knows it as settled and the other has not got it, but has the tables: it is a server that was
/// behind, if the switch was decided. Complete forgets the source's part first; its tables are gone then.
///
/// # Errors
/// Of the connections.
pub async fn lacking(sides: &Sides) -> Result<Option<Plan>> {
    let mut last: [Option<SwitchRow>; 2] = [None, None];
    for (at, place) in [&sides.source, &sides.target].into_iter().enumerate() {
        let mut control = place.connect().await?;
        last[at] = switch::read(&mut control, &place.incoming).await?;
        if last[at].is_none() && existing(&mut control, place).await?.is_empty() {
            return Ok(None);
        }
        control.close().await;
    }
    let generation = |row: &Option<SwitchRow>| row.as_ref().map_or(0, |row| row.generation);
    let [source, target] = last;
    let newer = match generation(&source).cmp(&generation(&target)) {
        Ordering::Less => target,
        Ordering::Equal => None,
        Ordering::Greater => source,
    };
    let Some(row) = newer.filter(|row| row.settled) else { return Ok(None) };
    let plan = Plan::parse(&row.plan)?;
    // An earlier move of the same name, which was completed and left its tables closed, is not this one.
    let ours = plan.spec.tables == sides.spec.tables;
    // A side that was opened past a lost one has a number of no plan.
    Ok((ours && plan.generation == row.generation).then_some(plan))
}

/// Makes up for what either side lacks of a decided switch. Nothing is done where nothing is missing. May be repeated.
///
/// # Errors
/// Of the connections; LeaseLost if the switch has another coordinator; Retry if the side that opens has not applied all yet.
pub(super) async fn make_up(case: &Case<'_>, hands: &mut Hands) -> Result<()> {
    close(case, hands).await?;
    let (place, generation) = (case.opening(), case.plan.generation);
    let row = fence::read(&mut hands.opening.control, &place.incoming).await?;
    if row.is_some_and(|row| row.state == FenceState::Open && row.generation >= generation) {
        return Ok(());
    }
    take_part(case, place, FenceState::Closed, &mut hands.opening.control).await?;
    freeze(case, &mut hands.opening.control).await
}

async fn close(case: &Case<'_>, hands: &mut Hands) -> Result<()> {
    let (place, generation) = (case.closing(), case.plan.generation);
    let name = &place.incoming;
    let control = &mut hands.closing.control;
    let is_closed =
        |row: &FenceRow| row.state == FenceState::Closed && row.generation == generation;
    if fence::read(control, name).await?.as_ref().is_some_and(is_closed) {
        return Ok(());
    }
    take_part(case, place, FenceState::Open, control).await?;
    watch_from_there(case, control, &mut hands.opening.control).await?;
    let until = Instant::now() + ARM_MAX;
    let how = (generation, triggers::Accept::Any);
    triggers::arm(&mut hands.closing, place, how, until, &CancellationToken::new()).await?;
    fence::close(&mut hands.closing.control, name, generation, &case.locks.owner).await?;
    let row = fence::read(&mut hands.closing.control, name).await?;
    if !row.as_ref().is_some_and(is_closed) {
        return Err(Error::retry("the fence of the promoted server is not closed"));
    }
    tracing::error!(
        workflow = %case.sides.spec.name(),
        "the {} at {} had not got the decision of switch {generation}: a replica that was behind was promoted. It is closed now; what \
         clients wrote there is on no other side, and `shunt movetables leaks` shows it",
        place.side, place.server.address
    );
    Ok(())
}

/// The switch is this side's, under this coordinator. An earlier one that was never settled here was on the side that decided.
async fn take_part(
    case: &Case<'_>,
    place: &Place,
    before: FenceState,
    control: &mut Control,
) -> Result<()> {
    let (name, generation) = (&place.incoming, case.plan.generation);
    if switch::read(control, name).await?.is_some_and(|row| row.generation == generation) {
        // It was taken over.
        return Ok(());
    }
    sidecar::prepare(control).await?;
    switch::insert_missing(control, name).await?;
    fence::insert_missing(control, name, before).await?;
    let plan = case.plan.to_text()?;
    switch::impose(control, name, generation, &case.locks.owner, &plan).await
}

async fn watch_from_there(
    case: &Case<'_>,
    closing: &mut Control,
    opening: &mut Control,
) -> Result<()> {
    let (name, generation) = (&case.closing().incoming, case.plan.generation);
    if watch::generation(closing, name).await? == Some(generation) {
        return Ok(());
    }
    let stream = stream_of(opening, &case.opening().incoming).await?;
    watch::begin(closing, name, generation, &stream.pos).await.context("watch the promoted server")
}

async fn stream_of(control: &mut Control, name: &str) -> Result<StreamRow> {
    let missing =
        || Error::stop(format!("workflow {name} is gone from the server that it writes to"));
    let row = workflow::find(control, name).await?.ok_or_else(missing)?;
    let streams = stream::of_workflow(control, row.id).await?;
    let [stream] = streams.as_slice() else { return Err(missing()) };
    Ok(stream.clone())
}

/// The side that opens has all that the other one holds, and takes nothing more.
async fn freeze(case: &Case<'_>, control: &mut Control) -> Result<()> {
    let place = case.opening();
    let found = stream_of(control, &place.incoming).await?;
    if found.state == StreamState::Frozen {
        return Ok(());
    }
    if found.state != StreamState::Running {
        return Err(Error::retry(format!(
            "the stream into the {} at {} is {}: a replica that was behind was promoted. The {} is opened as soon as it runs and has applied all",
            place.side, place.server.address, found.state, place.side
        ))
        .advice("Let a `shunt serve` run; start the workflow again if it is stopped."));
    }
    let all = current_gtids(&mut Wire::connect(&case.closing().server).await?).await?;
    let applied = found.position(all.flavor())?;
    if !applied.is_some_and(|at| at.gtids.contains_set(&all)) {
        return Err(Error::retry(format!(
            "the {} at {} lacks what the {} had committed last: a replica that was behind was promoted. It is opened as soon as its stream has applied that",
            place.side, place.server.address, case.closing().side
        ))
        .advice("Let a `shunt serve` run."));
    }
    control.begin().await?;
    let frozen = freeze_in_transaction(case, control, found.id).await;
    control.end(frozen).await.context("freeze the stream")
}

async fn freeze_in_transaction(case: &Case<'_>, control: &mut Control, id: u64) -> Result<()> {
    let (name, generation) = (&case.opening().incoming, case.plan.generation);
    switch::must_coordinate(control, name, generation, &case.locks.owner).await?;
    let owner = Owner::new();
    let tenure = lease::seize_in_transaction(control, id, &owner).await?;
    stream::set_state(control, id, StreamState::Frozen, "").await?;
    lease::release(control, tenure, &owner).await
}
