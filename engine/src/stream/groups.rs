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
use crate::mysql::gtid::GtidSet;
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
        let may_wait = !self.flow.queue.has_rows() && !self.flow.queue.is_long();
        if recently && !hurried && may_wait {
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

    async fn send(&mut self, mut work: GroupWork, touched: Option<Touched>) -> Result<()> {
        let (stage, receiver) = watch::channel(Stage::default());
        if let Step::To { to, .. } = &mut work.step {
            to.log = self.positions.place(std::mem::take(&mut to.log));
        }
        let groups = &mut self.flow.groups;
        // Of a part nothing is applied beside; the position stays.
        let (end, touched) = match &work.step {
            Step::To { from, to, .. } => {
                (Some(to.clone()), touched.filter(|_| goes_forward(from, &to.gtids)))
            }
            Step::PartOf(_) => (None, None),
        };
        let before = groups.stage.replace(receiver);
        let after = before.filter(|_| !groups.out.is_empty());
        tracing::trace!(changes = work.changes, beside = groups.out.len(), "a group is handed out");
        groups.end = end;
        let alone = touched.is_none();
        let in_place = !alone && self.positions.applied.gtids.contains_set(&self.positions.settled);
        groups.out.push_back(touched);
        let sent =
            self.channels.groups.send(Dispatched { work, after, alone, in_place, stage }).await;
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

/// Whether the position tells which of two groups came first. Where a GTID came twice it may stay as it is, or return to where it
/// was: nothing is applied beside such a group.
fn goes_forward(from: &GtidSet, to: &GtidSet) -> bool {
    to.contains_set(from) && !from.contains_set(to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mysql::server::Flavor;

    #[test]
    fn a_gtid_that_returns_does_not_go_forward() {
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        let mysql = |last: u32| format!("{uuid}:1-{last}");
        for (from, to, forward) in [
            ("0-1-5", "0-1-6", true),
            ("0-1-5", "0-2-6", true),
            ("0-1-5,1-1-9", "0-1-6,1-1-9", true),
            ("0-1-5", "0-1-5", false),
            ("0-1-5", "0-1-4", false),
            ("0-1-5,1-1-9", "0-1-6,1-1-8", false),
        ] {
            let set = |text| GtidSet::parse(Flavor::MariaDb, text).unwrap();
            assert_eq!(goes_forward(&set(from), &set(to)), forward, "{from} to {to}");
        }
        for (from, to, forward) in [(5, 6, true), (5, 5, false), (5, 4, false)] {
            let set = |last| GtidSet::parse(Flavor::MySql, &mysql(last)).unwrap();
            assert_eq!(goes_forward(&set(from), &set(to)), forward, "{from} to {to}");
        }
    }
}
