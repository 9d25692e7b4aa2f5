//! The closing side is another server than the one that passed the point of no return: a replica of it that was promoted, and had not
//! received all of the switch.
//!
//! The switch is decided all the same: the other side was opened, and clients may have written there. What is missing here is made up
//! for, in this order:
//! 1. The switch's row is this switch's, so that no other one can begin here.
//! 2. The watch over the closed side begins at the last position that the other side has applied. All that clients could write here
//!    since, for want of a fence, is nowhere else: the watch finds it, transaction by transaction, and bars Complete.
//! 3. The triggers stand, and the fence is closed.
//!
//! What the replica had not received of the moved tables themselves is on the other side, which had applied it before it was opened; it is
//! not brought back here. The stream back is begun only if the replica knows it; else there is none, and the traffic cannot be reversed.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::fence as triggers;
use super::settle::{Case, Hands};
use crate::error::{Error, Result, ResultExt};
use crate::mysql::control::Control;
use crate::sidecar::fence::{self, FenceState};
use crate::sidecar::{self, stream, switch, watch, workflow};

/// How long the tables' locks are tried for.
const ARM_MAX: Duration = Duration::from_secs(5);

/// Closes the closing side of a decided switch, if it is not closed. May be repeated.
///
/// # Errors
/// Of the connections; LeaseLost if the switch has another coordinator.
pub(super) async fn close(case: &Case<'_>, hands: &mut Hands) -> Result<()> {
    let (place, generation) = (case.closing(), case.plan.generation);
    let name = &place.incoming;
    let control = &mut hands.closing.control;
    let row = fence::read(control, name).await?;
    let is_closed =
        |row: &fence::FenceRow| row.state == FenceState::Closed && row.generation == generation;
    if row.as_ref().is_some_and(is_closed) {
        return Ok(());
    }
    tracing::error!(
        workflow = %case.sides.spec.name(),
        "the {} at {} has not got the decision of switch {generation}: a replica that was behind was promoted. It is closed now; what \
         clients wrote there is on no other side, and `shunt movetables leaks` shows it",
        place.side, place.server.address
    );
    take_part(case, control).await?;
    watch_from_there(case, control, &mut hands.opening.control).await?;
    let until = Instant::now() + ARM_MAX;
    let how = (generation, triggers::Accept::Any);
    triggers::arm(&mut hands.closing, place, how, until, &CancellationToken::new()).await?;
    fence::close(&mut hands.closing.control, name, generation, &case.locks.owner).await?;
    let row = fence::read(&mut hands.closing.control, name).await?;
    if row.as_ref().is_some_and(is_closed) {
        return Ok(());
    }
    Err(Error::retry("the fence of the promoted server is not closed"))
}

/// The switch is this side's, under this coordinator.
async fn take_part(case: &Case<'_>, control: &mut Control) -> Result<()> {
    let (name, generation) = (&case.closing().incoming, case.plan.generation);
    sidecar::prepare(control).await?;
    switch::insert_missing(control, name).await?;
    fence::insert_missing(control, name, FenceState::Open).await?;
    let row = switch::read(control, name).await?;
    if row.is_some_and(|row| row.generation == generation) {
        // It was taken over already.
        return Ok(());
    }
    let owner = &case.locks.owner;
    switch::begin(control, name, generation, owner, &case.plan.to_text()?).await
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
    let applied = workflow::find(opening, &case.opening().incoming).await?;
    let missing = || Error::stop("the workflow of the side that was opened is gone");
    let streams = stream::of_workflow(opening, applied.ok_or_else(missing)?.id).await?;
    let [stream] = streams.as_slice() else { return Err(missing()) };
    watch::begin(closing, name, generation, &stream.pos).await.context("watch the promoted server")
}
