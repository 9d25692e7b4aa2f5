//! The applying lanes: groups, each in one transaction with its position, committed one after the other.
//!
//! A group may execute beside the one before it (`apply::touched` says when, and why that is right). It moves the position as soon
//! as it may: first of all if the earlier group has committed, after one of its statements once that has, at its end in any case,
//! where the server has it wait for the earlier one's commit. Whatever goes wrong meanwhile (a deadlock, a lock that takes too
//! long, the earlier group rolled back) has it start again once the earlier group has committed.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot};

use crate::apply::group::{Group, Statement};
use crate::apply::target::{RowTarget, Target, Tenure};
use crate::error::{Error, Result, ResultExt};
use crate::failpoints;
use crate::mysql::gtid::{Gtid, GtidSet};
use crate::mysql::snapshot::ReadPosition;
use crate::mysql::wire::Wire;
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
    /// The group before it, if that may still be under way.
    pub after: Option<oneshot::Receiver<()>>,
    /// Nothing is applied beside it: it moves the position at its end, so that others wait for that as short as can be.
    pub alone: bool,
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
        let Some(Dispatched { work, after, alone, committed }) = next else { return Ok(()) };
        let mut before = Before { after, alone };
        let GroupWork { group, changes, step, shares } = work;
        let statements = group.statements(target.takes_bulk())?;
        let mut tries = 1;
        loop {
            let failed = match apply(&mut target, tenure, &statements, &step, &mut before).await {
                Ok(true) => None,
                Ok(false) => Some(position_moved()),
                Err(error) => Some(error),
            };
            let Some(error) = failed else { break };
            let beside = before.may_be_under_way();
            if !beside && !Target::may_try_again(&error, tries) {
                return Err(error.context("apply a group"));
            }
            // After an error of the connection this fails as well, and ends the lane.
            target.rollback().await.map_err(|_| error.context("apply a group"))?;
            before.committed().await;
            tries += u32::from(!beside);
        }
        drop(shares);
        before.committed().await;
        if applied.send(Applied { step, changes }).await.is_err() {
            return Ok(());
        }
        // Nobody may wait for it.
        committed.send(()).ok();
    }
}

/// The group before, until it is known that it has committed. If it never does, its lane has failed and says why: that error ends the
/// attempt, so this one waits for ever.
struct Before {
    after: Option<oneshot::Receiver<()>>,
    alone: bool,
}

impl Before {
    fn may_be_under_way(&self) -> bool {
        self.after.is_some()
    }

    /// Whether it has committed by now.
    fn has_committed(&mut self) -> bool {
        let committed = match &mut self.after {
            Some(receiver) => receiver.try_recv().is_ok(),
            None => true,
        };
        if committed {
            self.after = None;
        }
        committed
    }

    async fn committed(&mut self) {
        if let Some(receiver) = &mut self.after {
            if receiver.is_terminated() || receiver.await.is_err() {
                std::future::pending().await
            }
            self.after = None;
        }
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
    before: &mut Before,
) -> Result<bool> {
    let wire = target.begin().await?;
    let mut position = Position { tenure, step, written: false };
    for statement in statements {
        if !before.alone && before.has_committed() && !position.write(wire).await? {
            return Ok(false);
        }
        statement.run(wire).await?;
    }
    if !position.write(wire).await? {
        return Ok(false);
    }
    let (before_commit, after_commit, what) = match step {
        Step::To { .. } => {
            (failpoints::GROUP_BEFORE_COMMIT, failpoints::GROUP_AFTER_COMMIT, "commit a group")
        }
        Step::PartOf(_) => (
            failpoints::PART_BEFORE_COMMIT,
            failpoints::PART_AFTER_COMMIT,
            "commit a part of a large transaction",
        ),
    };
    failpoints::hit(before_commit)?;
    target.commit().await.context(what)?;
    failpoints::hit(after_commit)?;
    Ok(true)
}

/// The position's part of a transaction.
struct Position<'a> {
    tenure: Tenure,
    step: &'a Step,
    written: bool,
}

impl Position<'_> {
    /// Writes it, once; `false` if it is not where the group begins.
    async fn write(&mut self, wire: &mut Wire) -> Result<bool> {
        if self.written {
            return Ok(true);
        }
        self.written = match self.step {
            Step::To { from, to, .. } => {
                sidecar::stream::try_advance(wire, self.tenure, from, to).await?
            }
            Step::PartOf(gtid) => {
                sidecar::stream::set_ahead(wire, self.tenure, &gtid.to_string()).await?;
                true
            }
        };
        Ok(self.written)
    }
}
