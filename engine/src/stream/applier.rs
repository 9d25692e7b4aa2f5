//! The applying lanes: groups, each in one transaction with its position, committed one after the other.
//!
//! A group may execute beside the one before it (`apply::touched` says when, and why that is right). It then waits for the
//! earlier one's commit where it moves the position, and whatever goes wrong meanwhile (a deadlock, a lock that takes too long, the
//! earlier group rolled back) has it start again once the earlier group has committed.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot};

use crate::apply::group::{Group, Statement};
use crate::apply::target::{RowTarget, Target, Tenure};
use crate::error::{Error, Result, ResultExt};
use crate::failpoints;
use crate::mysql::gtid::{Gtid, GtidSet};
use crate::mysql::snapshot::ReadPosition;
use crate::ranges::Seq;
use crate::runtime::budget::Share;
use crate::sidecar;

/// What is to be applied next.
#[derive(Debug)]
pub struct GroupWork {
    /// Rows.
    pub group: Group,
    /// How many row changes it merges.
    pub changes: u64,
    /// The position before, and what it is after.
    pub step: Step,
    /// Memory that the rows hold.
    pub shares: Vec<Share>,
}

/// A group on its way to a lane.
#[derive(Debug)]
pub struct Dispatched {
    /// What is to be applied.
    pub work: GroupWork,
    /// Says that the group before it has committed, if that may still be under way.
    pub after: Option<oneshot::Receiver<()>>,
    /// Is told that this one has committed.
    pub committed: oneshot::Sender<()>,
}

/// How a group moves the position.
#[derive(Clone, Debug)]
pub enum Step {
    /// From one position to the next.
    To {
        /// The position that the sidecar holds.
        from: GtidSet,
        /// The position after the group.
        to: ReadPosition,
        /// The number of its last transaction.
        last: Seq,
    },
    /// Not yet: it is a part of this transaction.
    PartOf(Gtid),
}

/// A group has committed.
#[derive(Debug)]
pub struct Applied {
    /// What it did to the position.
    pub step: Step,
    /// How many row changes it merged.
    pub changes: u64,
}

/// Applies until the stream is gone.
///
/// # Errors
/// Of the target; Retry after which the stream starts over from what the sidecar holds.
pub async fn run(
    mut target: RowTarget,
    tenure: Tenure,
    work: Arc<Mutex<mpsc::Receiver<Dispatched>>>,
    applied: mpsc::Sender<Applied>,
) -> Result<()> {
    loop {
        let next = work.lock().await.recv().await;
        let Some(Dispatched { work, mut after, committed }) = next else { return Ok(()) };
        let GroupWork { group, changes, step, shares } = work;
        let statements = group.statements(target.takes_bulk())?;
        let mut tries = 1;
        loop {
            let failed = match apply(&mut target, tenure, &statements, &step).await {
                Ok(true) => None,
                Ok(false) => Some(position_moved()),
                Err(error) => Some(error),
            };
            let Some(error) = failed else { break };
            let beside = after.is_some();
            if !beside && !Target::may_try_again(&error, tries) {
                return Err(error.context("apply a group"));
            }
            // After an error of the connection this fails as well, and ends the lane.
            target.rollback().await.map_err(|_| error.context("apply a group"))?;
            wait_for(&mut after).await;
            tries += u32::from(!beside);
        }
        drop(shares);
        wait_for(&mut after).await;
        if applied.send(Applied { step, changes }).await.is_err() {
            return Ok(());
        }
        // Nobody may wait for it.
        committed.send(()).ok();
    }
}

/// Waits until the group before has committed, once. If it never does, its lane has failed and says why: that error ends the attempt.
async fn wait_for(after: &mut Option<oneshot::Receiver<()>>) {
    if let Some(before) = after.take()
        && before.await.is_err()
    {
        std::future::pending().await
    }
}

fn position_moved() -> Error {
    Error::retry("the position in the sidecar is not the one this process saved last")
}

/// One transaction; `false`, and nothing committed, if the position is not where the group begins.
async fn apply(
    target: &mut RowTarget,
    tenure: Tenure,
    statements: &[Statement],
    step: &Step,
) -> Result<bool> {
    let wire = target.begin().await?;
    for statement in statements {
        statement.run(wire).await?;
    }
    match step {
        Step::To { from, to, .. } => {
            if !sidecar::stream::try_advance(wire, tenure, from, to).await? {
                return Ok(false);
            }
            failpoints::hit(failpoints::GROUP_BEFORE_COMMIT)?;
            target.commit().await.context("commit a group")?;
            failpoints::hit(failpoints::GROUP_AFTER_COMMIT)?;
        }
        Step::PartOf(gtid) => {
            sidecar::stream::set_ahead(wire, tenure, &gtid.to_string()).await?;
            failpoints::hit(failpoints::PART_BEFORE_COMMIT)?;
            target.commit().await.context("commit a part of a large transaction")?;
            failpoints::hit(failpoints::PART_AFTER_COMMIT)?;
        }
    }
    Ok(true)
}
