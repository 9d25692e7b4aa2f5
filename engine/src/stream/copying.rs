//! The owner's part of the copy: opens ranges for the readers, closes what they have read, notes what is written.

use std::sync::atomic::Ordering;

use super::owner::Owned;
use super::table::{self, Table, TableCopy};
use crate::copy::keyless::FromKeyless;
use crate::copy::reader::{Chunk, ReadWork};
use crate::copy::writer::{WriteWork, Written};
use crate::error::{Error, Result};
use crate::mysql::gtid::{Gtid, GtidSet};
use crate::sidecar::range::{Copied, DoneRange};

impl Owned {
    /// Gives waiting readers ranges of the tables that have the fewest in flight.
    pub(super) fn open_ranges(&mut self) {
        if self.tables.iter().all(Table::finished) {
            self.flow.wants.clear();
            return;
        }
        let tuning = &self.spec.tuning;
        while self.flow.in_parts.is_none() && !self.flow.wants.is_empty() {
            let in_flight: usize = self.tables.iter().map(Table::in_flight).sum();
            if in_flight >= tuning.copy_readers + tuning.copy_writers {
                break;
            }
            let applied = self.flow.applied_seq;
            let next = self
                .tables
                .iter_mut()
                .enumerate()
                .filter(|(_, table)| table.can_open(applied) && table.plan.key.is_some())
                .min_by_key(|(_, table)| table.in_flight());
            let Some((index, table)) = next else { break };
            let (plan, rows_max) = (table.plan.clone(), table.sizer.rows());
            let Some(ranges) = table.ranges() else { break };
            let Some((range, bounds)) = ranges.open_next() else { break };
            let work = ReadWork {
                table: index,
                plan,
                range,
                bounds,
                position: self.positions.read.clone(),
                rows_max,
                bytes_max: tuning.chunk_bytes_max,
            };
            let answer = self.flow.wants.pop();
            if answer.is_none_or(|answer| answer.send(work).is_err()) {
                ranges.give_up(range);
            }
        }
    }

    /// A chunk was read: its range is closed at the stream's position now, and rows with buffer go to a writer.
    pub(super) fn chunk_read(&mut self, chunk: Chunk) -> Result<()> {
        let table = &mut self.tables[chunk.table];
        table.sizer.learn(chunk.rows, chunk.bytes, chunk.took);
        let plan = table.plan.clone();
        let Some(ranges) = table.ranges().filter(|ranges| ranges.is_open(chunk.range)) else {
            return Ok(());
        };
        if let Some(cut) = &chunk.cut {
            ranges.cut(chunk.range, cut);
        }
        let (bounds, buffer) = ranges.close(chunk.range, self.flow.seq);
        let in_parts = self.flow.in_parts.as_ref();
        let settled = settled(&self.positions.followed, &chunk.high, in_parts)?;
        self.positions.settled.union(&settled)?;
        let copied =
            Copied { rows: chunk.rows, bytes: u64::try_from(chunk.bytes).unwrap_or(u64::MAX) };
        let work = WriteWork {
            table: chunk.table,
            plan,
            range: chunk.range,
            blocks: chunk.blocks,
            copied,
            over: table::over(chunk.table, buffer)?,
            done: DoneRange { bounds, settled },
        };
        // There is room: chunks in flight are bounded well below the channel.
        self.channels.writes.try_send(work).map_err(|_| Error::retry("the writing lanes are gone"))
    }

    /// A chunk has committed.
    pub(super) fn written(&mut self, written: Written) {
        self.commit_time.store(written.commit_ms, Ordering::Relaxed);
        if let Some(ranges) = self.tables[written.table].ranges() {
            ranges.committed(written.range);
        }
        self.note_finished(written.table);
    }

    fn note_finished(&self, index: usize) {
        let table = &self.tables[index];
        if table.finished() {
            tracing::info!(table = %table.row.name, "copied");
            self.followed[index].copying.store(false, Ordering::Relaxed);
        }
    }

    /// The lane of a keyless table says something.
    pub(super) fn keyless_said(&mut self, said: FromKeyless) {
        let (FromKeyless::Want(index, _)
        | FromKeyless::Read(index, _)
        | FromKeyless::Written(index)) = said;
        if let TableCopy::Keyless { state, want, read } = &mut self.tables[index].copy {
            match said {
                FromKeyless::Want(_, answer) => *want = Some(answer),
                FromKeyless::Read(_, rows) => *read = Some(rows),
                FromKeyless::Written(_) => state.committed(),
            }
        }
        self.note_finished(index);
    }

    /// Lets keyless tables begin, and close what they have read.
    pub(super) fn advance_keyless(&mut self) -> Result<()> {
        if self.flow.in_parts.is_some() {
            return Ok(());
        }
        let followed: &GtidSet = &self.positions.followed;
        for (index, table) in self.tables.iter_mut().enumerate() {
            table.begin_keyless(&self.positions.read, self.flow.applied_seq);
            if table.close_keyless(index, followed, self.flow.seq)? {
                self.positions.settled.union(followed)?;
            }
        }
        Ok(())
    }
}

/// When this has been applied, a range that is closed now is equal to the source: all that has been routed, as it is laid over
/// the rows; all that its snapshot can hold; and a transaction that is routed in parts, of which a part may lie over the rows
/// while its end is still to come.
fn settled(followed: &GtidSet, high: &GtidSet, in_parts: Option<&Gtid>) -> Result<GtidSet> {
    let mut settled = followed.clone();
    settled.union(high)?;
    if let Some(gtid) = in_parts {
        settled.insert(gtid)?;
    }
    Ok(settled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mysql::server::Flavor;

    #[test]
    fn a_range_closed_within_a_transaction_is_settled_by_its_end() {
        let set = |text| GtidSet::parse(Flavor::MariaDb, text).unwrap();
        let large = Gtid::parse(Flavor::MariaDb, "0-1-12").unwrap();
        let (followed, high) = (set("0-1-11"), set("0-1-10,5-1-3"));
        assert_eq!(settled(&followed, &high, None).unwrap(), set("0-1-11,5-1-3"));
        assert_eq!(settled(&followed, &high, Some(&large)).unwrap(), set("0-1-12,5-1-3"));
    }
}
