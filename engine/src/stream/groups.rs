//! The owner's part of applying: which group is next, and whether it may execute beside those under way.
//!
//! Invariants: groups are handed out and commit in binlog order; each begins at the position where the one before it ends. One that may
//! not be applied beside another (`apply::touched`) is handed out when none is under way.

use std::collections::VecDeque;
use std::time::Instant;

use tokio::sync::watch;

use super::Ended;
use super::applier::{Applied, Dispatched, GroupWork, Stage, Step};
use super::owner::Owned;
use super::queue::Next;
use super::table::Table;
use crate::apply::touched::Touched;
use crate::error::{Error, Result};
use crate::limits;
use crate::mysql::snapshot::ReadPosition;

/// What the appliers have.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// What each group under way touches, in their order; none if nothing may be applied beside it.
    out: VecDeque<Option<Touched>>,
    /// Where the latest of them ends.
    end: Option<ReadPosition>,
    /// Says how far the latest is.
    stage: Option<watch::Receiver<Stage>>,
    /// The next group, which has to wait for those under way.
    waiting: Option<Box<GroupWork>>,
}

impl Groups {
    /// Whether none is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.out.is_empty()
    }
}

impl Owned {
    /// Hands out the next group, if there is one; none is under way.
    pub(super) async fn next_group(&mut self) -> Result<Option<Ended>> {
        if let Some(work) = self.flow.groups.waiting.take() {
            self.hand_out(*work).await?;
            return Ok(None);
        }
        let recently = self.flow.saved_at.is_some_and(|at| at.elapsed() < limits::SAVE_INTERVAL);
        let hurried = self.freeze_at().is_some();
        if recently && !hurried && !self.flow.queue.has_rows() {
            return Ok(None);
        }
        let gate = self.tables.iter().filter_map(Table::gate).min();
        let bytes_max = self.spec.tuning.group_bytes_max;
        match self.flow.queue.next(gate, &self.positions.applied, bytes_max, &self.plans)? {
            Next::Nothing => Ok(None),
            Next::Group(work) => {
                self.hand_out(*work).await?;
                Ok(None)
            }
            Next::Ddl(queued) => Box::pin(self.ddl(*queued)).await,
        }
    }

    /// Hands out a group to be applied beside those under way, while there is much to apply; `false` if there is none.
    pub(super) async fn next_beside(&mut self) -> Result<bool> {
        let groups = &self.flow.groups;
        let bytes_max = self.spec.tuning.group_bytes_max;
        let Some(from) = groups.end.as_ref().filter(|_| !groups.is_empty()) else {
            return Ok(false);
        };
        let idle = groups.out.len() < self.spec.tuning.apply_lanes && groups.waiting.is_none();
        if !idle || !self.may_overlap() || !self.flow.queue.holds_rows(bytes_max / 4) {
            return Ok(false);
        }
        let Next::Group(work) = self.flow.queue.next(None, from, bytes_max, &self.plans)? else {
            return Ok(false);
        };
        let touched = work.group.touched();
        let apart = |touched: &Touched| {
            let held =
                |held: &Option<Touched>| held.as_ref().is_some_and(|held| !held.meets(touched));
            groups.out.iter().all(held)
        };
        if touched.as_ref().is_some_and(apart) {
            self.send(*work, touched).await?;
            Ok(true)
        } else {
            self.flow.groups.waiting = Some(work);
            Ok(false)
        }
    }

    /// Whether groups may be applied beside each other: the target is a copy as of its position, with every key.
    fn may_overlap(&self) -> bool {
        let ready = |table: &Table| table.finished() && table.row.keys_built;
        !self.flow.ahead && self.freeze_at().is_none() && self.tables.iter().all(ready)
    }

    async fn hand_out(&mut self, work: GroupWork) -> Result<()> {
        let touched = if self.may_overlap() { work.group.touched() } else { None };
        self.send(work, touched).await
    }

    async fn send(&mut self, work: GroupWork, touched: Option<Touched>) -> Result<()> {
        let (stage, receiver) = watch::channel(Stage::default());
        let groups = &mut self.flow.groups;
        // Of a part nothing is applied beside; the position stays.
        let (end, touched) = match &work.step {
            // Where a GTID came twice the position may stay as it is or return to where it was, and would not tell which of two
            // groups came first.
            Step::To { from, to, .. } => {
                let forward = to.gtids.contains_set(from) && !from.contains_set(&to.gtids);
                (Some(to.clone()), touched.filter(|_| forward))
            }
            Step::PartOf(_) => (None, None),
        };
        let before = groups.stage.replace(receiver);
        let after = before.filter(|_| !groups.out.is_empty());
        tracing::trace!(changes = work.changes, beside = groups.out.len(), "a group is handed out");
        groups.end = end;
        let alone = touched.is_none();
        groups.out.push_back(touched);
        let sent = self.channels.groups.send(Dispatched { work, after, alone, stage }).await;
        sent.map_err(|_| Error::retry("the applying lanes are gone"))
    }

    /// A group has committed: the first of those under way.
    pub(super) fn applied(&mut self, applied: Applied) {
        self.flow.groups.out.pop_front();
        self.flow.changes_applied += applied.changes;
        self.flow.ahead = matches!(applied.step, Step::PartOf(_));
        if let Step::To { to, last, .. } = applied.step {
            self.flow.saved_at = Some(Instant::now());
            self.flow.applied_seq = last;
            self.positions.applied = to;
            self.flow.lag.applied(&self.positions.applied.gtids);
        }
    }
}
