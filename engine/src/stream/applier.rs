//! The applying lanes: groups, each in one transaction with its position, committed one after the other.
//!
//! A group may execute beside those before it (`apply::touched` says when, and why that is right). It moves the position as soon
//! as it may: first of all if the earlier group has committed, after one of its statements once that has, at its end in any case,
//! where the server has it wait for the earlier one's commit. That it does not come there before the earlier one, which would be for
//! nothing, it waits until that has written the position too, for a while: what the earlier one waits for may be a row of this one, which
//! no server sees. Whatever goes wrong meanwhile (a deadlock, a lock that takes too long, the earlier group rolled back) has it start
//! again once the earlier group has committed.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, watch};

use crate::apply::group::{Group, Statement, Writing};
use crate::apply::target::{RowTarget, Target, Tenure};
use crate::error::{Error, Result, ResultExt};
use crate::failpoints;
use crate::limits;
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
    /// How far the group before it is, if that may still be under way.
    pub after: Option<watch::Receiver<Stage>>,
    /// No later one is applied beside it: it moves the position at its end, so that others wait for that as short as can be.
    pub alone: bool,
    /// When it begins the target is a copy of the source as of that position.
    pub in_place: bool,
    /// Is told how far this one is.
    pub stage: watch::Sender<Stage>,
}

/// How far a group is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It writes its rows.
    #[default]
    Rows,
    /// It has written the position: who writes it next, waits for its commit.
    Position,
    /// It has committed.
    Committed,
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

/// Applies what comes from that server until the stream is gone.
///
/// # Errors
/// Of the target; Retry after which the stream starts over from what the sidecar holds.
pub async fn run(
    mut target: RowTarget,
    tenure: Tenure,
    source: Arc<str>,
    work: Arc<Mutex<mpsc::Receiver<Dispatched>>>,
    applied: mpsc::Sender<Applied>,
) -> Result<()> {
    loop {
        let next = work.lock().await.recv().await;
        let Some(Dispatched { work, after, alone, in_place, stage }) = next else { return Ok(()) };
        let mut order = Order { after, alone, stage };
        let GroupWork { group, changes, step, shares } = work;
        let statements = group.statements(Writing { bulk: target.takes_bulk(), in_place })?;
        let mut tries = 1;
        loop {
            let failed =
                match apply(&mut target, &statements, (tenure, &source), &step, &mut order).await {
                    Ok(true) => None,
                    Ok(false) => Some(position_moved()),
                    Err(error) => Some(error),
                };
            let Some(error) = failed else { break };
            order.stage.send_replace(Stage::Rows);
            let beside = order.after.is_some();
            if !beside && !Target::may_try_again(&error, tries) {
                return Err(error.context("apply a group"));
            }
            // After an error of the connection this fails as well, and ends the lane.
            target.rollback().await.map_err(|_| error.context("apply a group"))?;
            order.until_after().await;
            tries += u32::from(!beside);
        }
        drop(shares);
        order.until_after().await;
        if applied.send(Applied { step, changes }).await.is_err() {
            return Ok(());
        }
        order.stage.send_replace(Stage::Committed);
    }
}

/// A group among those beside it.
struct Order {
    /// The group before, until it is known that it has committed. If it never does, its lane has failed and says why: that error ends
    /// the attempt, so this one waits for ever.
    after: Option<watch::Receiver<Stage>>,
    alone: bool,
    /// Where this group says how far it is.
    stage: watch::Sender<Stage>,
}

impl Order {
    /// Whether the group before has committed by now.
    fn is_first(&mut self) -> bool {
        self.after.take_if(|after| *after.borrow() == Stage::Committed);
        self.after.is_none()
    }

    /// Waits until the group before has written the position at least, for a while.
    async fn until_turn(&mut self) {
        if let Some(after) = &mut self.after {
            let written = after.wait_for(|stage| *stage >= Stage::Position);
            tokio::time::timeout(limits::POSITION_WAIT_MAX, written).await.ok();
        }
    }

    /// Waits until the group before has committed.
    async fn until_after(&mut self) {
        if let Some(after) = &mut self.after {
            if after.wait_for(|stage| *stage == Stage::Committed).await.is_err() {
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
    statements: &[Statement],
    (tenure, source): (Tenure, &str),
    step: &Step,
    order: &mut Order,
) -> Result<bool> {
    let wire = target.begin().await?;
    let mut position = Position { tenure, source, step, written: false };
    for statement in statements {
        if !order.alone && order.is_first() && !position.write(wire, order).await? {
            return Ok(false);
        }
        statement.run(wire).await?;
    }
    order.until_turn().await;
    if !position.write(wire, order).await? {
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
    source: &'a str,
    step: &'a Step,
    written: bool,
}

impl Position<'_> {
    /// Writes it, once; `false` if it is not where the group begins.
    async fn write(&mut self, wire: &mut Wire, order: &Order) -> Result<bool> {
        if self.written {
            return Ok(true);
        }
        self.written = match self.step {
            Step::To { from, to, .. } => {
                sidecar::stream::try_advance(wire, self.tenure, from, to, self.source).await?
            }
            Step::PartOf(gtid) => {
                sidecar::stream::set_ahead(wire, self.tenure, &gtid.to_string()).await?;
                true
            }
        };
        if self.written {
            order.stage.send_replace(Stage::Position);
        }
        Ok(self.written)
    }
}
