//! The applying task: one group after the other, each in one transaction with its position.

use tokio::sync::mpsc;

use crate::apply::group::{Group, Statement};
use crate::apply::target::{Target, Tenure};
use crate::error::{Result, ResultExt};
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
    mut target: Target,
    tenure: Tenure,
    mut work: mpsc::Receiver<GroupWork>,
    applied: mpsc::Sender<Applied>,
) -> Result<()> {
    while let Some(GroupWork { group, changes, step, shares }) = work.recv().await {
        let statements = group.statements()?;
        let mut tries = 1;
        while let Err(error) = apply(&mut target, tenure, &statements, &step).await {
            if !Target::may_try_again(&error, tries) {
                return Err(error.context("apply a group"));
            }
            target.rollback().await?;
            tries += 1;
        }
        drop(shares);
        if applied.send(Applied { step, changes }).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

async fn apply(
    target: &mut Target,
    tenure: Tenure,
    statements: &[Statement],
    step: &Step,
) -> Result<()> {
    let control = target.begin().await?;
    for statement in statements {
        statement.run(control).await?;
    }
    match step {
        Step::To { from, to, .. } => {
            sidecar::stream::advance(control, tenure, from, to).await?;
            failpoints::hit(failpoints::GROUP_BEFORE_COMMIT)?;
            target.commit().await.context("commit a group")?;
            failpoints::hit(failpoints::GROUP_AFTER_COMMIT)
        }
        Step::PartOf(gtid) => {
            sidecar::stream::set_ahead(control, tenure, &gtid.to_string()).await?;
            failpoints::hit(failpoints::PART_BEFORE_COMMIT)?;
            target.commit().await.context("commit a part of a large transaction")?;
            failpoints::hit(failpoints::PART_AFTER_COMMIT)
        }
    }
}
