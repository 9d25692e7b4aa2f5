//! One table of a stream: its plan, its ranges, and how far its copy is.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::apply::group::{Group, Statement, Writing};
use crate::changes::{Op, RowOp};
use crate::copy::keyless::{self, Read};
use crate::copy::sizer::Sizer;
use crate::error::Result;
use crate::key::{Identity, KeyPlan, Place};
use crate::mysql::gtid::{Gtid, GtidSet};
use crate::mysql::snapshot::ReadPosition;
use crate::plan::TablePlan;
use crate::ranges::keyless::Keyless;
use crate::ranges::{Buffer, Counts, Ranges, Route, Seq};
use crate::sidecar::table_plan::TableRow;

/// The ranges of a table with a key.
pub type TableRanges = Ranges<Identity, Place, Op>;

/// One table of a stream.
#[derive(Debug)]
pub struct Table {
    /// How it maps.
    pub plan: Arc<TablePlan>,
    /// Its row in the sidecar.
    pub row: TableRow,
    /// How far it is copied.
    pub copy: TableCopy,
    /// The size of its next chunk.
    pub sizer: Sizer,
    /// No range is opened before this has been applied: the table was emptied there.
    pub opens_after: Option<Seq>,
    /// The source's definition is another one by now: DDL on it is still to come in the binlog.
    pub ddl_ahead: bool,
}

/// How far a table is copied.
#[derive(Debug)]
pub enum TableCopy {
    /// In ranges of its key.
    Ranged(TableRanges),
    /// As a whole; the lane's open question, and what it has read but not yet been told to finish.
    Keyless {
        /// The state of the one range.
        state: Keyless<RowOp>,
        /// The lane waits for a position to begin at.
        want: Option<oneshot::Sender<ReadPosition>>,
        /// The lane has read all rows and waits for what to lay over them.
        read: Option<Read>,
    },
}

impl Table {
    /// Whether a range may be opened when `applied` has been applied.
    pub fn can_open(&self, applied: Seq) -> bool {
        self.counts().pending > 0
            && self.opens_after.is_none_or(|seq| applied >= seq)
            && (self.in_order_known() || self.in_flight() == 0)
    }

    /// Whether keys are ordered here. If not, ranges are read and written one after the other, so that what is done is
    /// always the front of the table.
    fn in_order_known(&self) -> bool {
        self.plan.key.as_ref().is_some_and(KeyPlan::exact)
    }

    /// Its ranges, if it has a key.
    pub fn ranges(&mut self) -> Option<&mut TableRanges> {
        match &mut self.copy {
            TableCopy::Ranged(ranges) => Some(ranges),
            TableCopy::Keyless { .. } => None,
        }
    }

    /// How many ranges are in each state.
    pub fn counts(&self) -> Counts {
        match &self.copy {
            TableCopy::Ranged(ranges) => ranges.counts(),
            TableCopy::Keyless { state, .. } => state.counts(),
        }
    }

    /// Ranges that are being read or written.
    pub fn in_flight(&self) -> usize {
        let counts = self.counts();
        counts.open + counts.closing
    }

    /// Whether all of it is copied.
    pub fn finished(&self) -> bool {
        let counts = self.counts();
        counts.pending + counts.open + counts.closing == 0
    }

    /// The last position that a group may reach now.
    pub fn gate(&self) -> Option<Seq> {
        match &self.copy {
            TableCopy::Ranged(ranges) => ranges.gate(),
            TableCopy::Keyless { state, .. } => state.gate(),
        }
    }

    /// Routes a row operation; `true` if it is to be applied.
    pub fn route(&mut self, gtid: &Gtid, op: &RowOp) -> bool {
        let route = match &mut self.copy {
            TableCopy::Ranged(ranges) => {
                ranges.route(&op.identity, op.place.as_deref(), &op.op, op.bytes)
            }
            TableCopy::Keyless { state, .. } => state.route(gtid, op, op.bytes),
        };
        route == Route::Apply
    }

    /// Open ranges start again.
    pub fn give_up_open(&mut self) {
        match &mut self.copy {
            TableCopy::Ranged(ranges) => ranges.give_up_open(),
            TableCopy::Keyless { state, .. } => state.give_up(),
        }
    }

    /// Gives up ranges whose buffers are too full.
    pub fn give_up_overfull(&mut self, bytes_max: usize, keyless_bytes_max: usize) {
        match &mut self.copy {
            TableCopy::Ranged(ranges) => {
                for range in ranges.overfull(bytes_max) {
                    tracing::info!(table = %self.row.name, "too many changes while a range was read: it starts again");
                    ranges.give_up(range);
                }
            }
            TableCopy::Keyless { state, .. } if state.overfull(keyless_bytes_max) => {
                tracing::info!(table = %self.row.name, "too many changes while the table was read: it starts again");
                state.give_up();
            }
            TableCopy::Keyless { .. } => {}
        }
    }

    /// Lets the lane of a keyless table begin at `position`, if it waits and may.
    pub fn begin_keyless(&mut self, position: &ReadPosition, applied: Seq) {
        if !self.can_open(applied) {
            return;
        }
        if let TableCopy::Keyless { state, want, .. } = &mut self.copy
            && let Some(answer) = want.take()
            && state.open()
            && answer.send(position.clone()).is_err()
        {
            state.give_up();
        }
    }

    /// Closes a keyless table whose rows are read, once the stream has followed all that is in them; `true` if it did.
    ///
    /// # Errors
    /// Stop if a row image cannot be read.
    pub fn close_keyless(&mut self, index: usize, followed: &GtidSet, at: Seq) -> Result<bool> {
        let TableCopy::Keyless { state, read, .. } = &mut self.copy else { return Ok(false) };
        let Some(waiting) = read.take() else { return Ok(false) };
        if !state.is_open() {
            // Given up meanwhile: dropping the answer tells the lane.
            return Ok(false);
        }
        if !followed.contains_set(&waiting.exact) {
            *read = Some(waiting);
            return Ok(false);
        }
        let kept = state.close(&waiting.exact, at);
        let mut group = Group::default();
        for op in kept {
            group.add(index, op.identity, op.op);
        }
        let close = keyless::Close {
            over: group.statements(Writing::default())?,
            settled: followed.clone(),
        };
        // A lane that is gone has failed, which ends the attempt.
        drop(waiting.answer.send(close));
        Ok(true)
    }
}

/// A buffer as the statements that lay it over a chunk's rows.
///
/// # Errors
/// Stop if a row image cannot be read.
pub fn over(table: usize, buffer: Buffer<Identity, Place, Op>) -> Result<Vec<Statement>> {
    let mut group = Group::default();
    for (identity, held) in buffer {
        group.add(table, identity, held.op);
    }
    group.statements(Writing::default())
}

/// A table's ranges as they are shown: pending, open, closing, done.
pub fn shown(table: &Table) -> (String, [usize; 4]) {
    let counts = table.counts();
    (table.row.name.clone(), [counts.pending, counts.open, counts.closing, counts.done])
}
