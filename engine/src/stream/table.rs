//! One table of a stream: its plan, its ranges, and how far its copy is.

use std::sync::Arc;

use crate::apply::group::Group;
use crate::changes::{Op, RowOp};
use crate::copy::reader::Chunk;
use crate::copy::sizer::Sizer;
use crate::error::Result;
use crate::key::{Identity, Place};
use crate::plan::TablePlan;
use crate::ranges::{Buffer, RangeId, Ranges, Route, Seq};
use crate::sidecar::table_plan::TableRow;

/// The ranges of a real table.
pub type TableRanges = Ranges<Identity, Place, Op>;

/// One table of a stream.
#[derive(Debug)]
pub struct Table {
    /// How it maps.
    pub plan: Arc<TablePlan>,
    /// Its row in the sidecar.
    pub row: TableRow,
    /// The state of its ranges.
    pub ranges: TableRanges,
    /// The size of its next chunk.
    pub sizer: Sizer,
    /// No range is opened before this has been applied: the table was emptied there.
    pub opens_after: Option<Seq>,
}

impl Table {
    /// Whether a range may be opened when `applied` has been applied.
    pub fn can_open(&self, applied: Seq) -> bool {
        self.ranges.has_pending()
            && self.opens_after.is_none_or(|seq| applied >= seq)
            && (self.in_order_known() || self.in_flight() == 0)
    }

    /// Whether keys are ordered here. If not, ranges are read and written one after the other, so that what is done is
    /// always the front of the table.
    pub fn in_order_known(&self) -> bool {
        self.plan.key.as_ref().is_some_and(crate::key::KeyPlan::exact)
    }

    /// Ranges that are being read or written.
    pub fn in_flight(&self) -> usize {
        let counts = self.ranges.counts();
        counts.open + counts.closing
    }

    /// Whether everything is copied and built.
    pub fn is_complete(&self) -> bool {
        self.ranges.finished() && self.row.keys_built
    }

    /// Routes a row operation; `true` if it is to be applied.
    pub fn route(&mut self, op: &RowOp) -> bool {
        self.ranges.route(&op.identity, op.place.as_ref(), &op.op, op.bytes) == Route::Apply
    }

    /// Cuts and closes the range of a chunk at `at`: what is to be laid over its rows, with the bounds.
    pub fn close(
        &mut self,
        chunk: &Chunk,
        at: Seq,
    ) -> (crate::ranges::Bounds<Place>, Buffer<Identity, Place, Op>) {
        if let Some(cut) = &chunk.cut {
            self.ranges.cut(chunk.range, cut);
        }
        self.ranges.close(chunk.range, at)
    }

    /// Gives up ranges whose buffers are too full.
    pub fn give_up_overfull(&mut self, bytes_max: usize) {
        for range in self.ranges.overfull(bytes_max) {
            tracing::info!(table = %self.row.name, ?range, "too many changes while a range was read: it starts again");
            self.ranges.give_up(range);
        }
    }

    /// Whether a chunk's range is still open.
    pub fn awaits(&self, range: RangeId) -> bool {
        self.ranges.is_open(range)
    }
}

/// A buffer as the statements that lay it over a chunk's rows.
///
/// # Errors
/// Stop if a row image cannot be read.
pub fn over(table: usize, buffer: Buffer<Identity, Place, Op>) -> Result<Vec<Vec<u8>>> {
    let mut group = Group::default();
    for (identity, held) in buffer {
        group.add(table, identity, held.op);
    }
    group.statements()
}

/// A table's ranges as they are shown: pending, open, closing, done.
pub fn shown(table: &Table) -> (String, [usize; 4]) {
    let counts = table.ranges.counts();
    (table.row.name.clone(), [counts.pending, counts.open, counts.closing, counts.done])
}
