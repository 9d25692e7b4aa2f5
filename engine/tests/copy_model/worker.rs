//! A worker: what `stream::owner`, `stream::queue`, the readers and the writers do, around the real [`Ranges`].

use shunt_engine::ranges::{Bounds, RangeId, Ranges, Route, Seq};

use crate::source::{Change, Op, Row, before};
use crate::target::{Done, Target};
use crate::{Order, Setting, Without};

type TableRanges = Ranges<u8, u8, Op>;

/// A reader at work.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Reading {
    pub(crate) id: RangeId,
    bounds: Bounds<u8>,
    /// R.
    from: u8,
    /// What its snapshot shows, and H.
    snapshot: Option<(u8, u8)>,
}

/// A closed range whose chunk is on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Chunk {
    id: RangeId,
    rows: Vec<Row>,
    over: Vec<Change>,
    done: Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Part,
    Rows,
    Truncate,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Queued {
    seq: u8,
    kind: Kind,
    changes: Vec<Change>,
}

/// One thing that a worker does. Commits on the target are one step each: until then nothing of them exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Reads the next transaction of the binlog, or the next part of one, and routes it.
    Read,
    /// Opens the next pending range.
    Open,
    /// A reader opens its snapshot.
    Snapshot(usize),
    /// A range's buffer is over its bound.
    GiveUp(usize),
    /// A reader's chunk arrives: its range is cut and closed.
    Close(usize),
    /// A chunk's transaction.
    Chunk(usize),
    /// A group's transaction, of so many source transactions; 0 is one part of a large one.
    Group(usize),
    /// The ALTER that builds the unique key.
    Build,
    /// The record that it is built.
    Record,
}

impl Step {
    pub(crate) fn commits(self) -> bool {
        matches!(self, Self::Chunk(_) | Self::Group(_) | Self::Build | Self::Record)
    }
}

/// The transaction was refused; the worker ends.
pub(crate) struct Refused;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Worker {
    pub(crate) epoch: u8,
    /// Transactions routed as a whole.
    read: u8,
    /// Changes routed of the one after.
    part: u8,
    pub(crate) ranges: TableRanges,
    pub(crate) readings: Vec<Reading>,
    chunks: Vec<Chunk>,
    queue: Vec<Queued>,
    /// The position it saved last.
    pub(crate) position: u8,
    settled: u8,
    /// No range is opened before this has been applied.
    opens_after: u8,
    keys_built: bool,
    building: bool,
}

impl Worker {
    /// Starts from what the target holds.
    pub(crate) fn start(setting: &Setting, target: &Target) -> Self {
        let ranges = match &setting.order {
            Order::Known(cuts) if target.done.is_empty() => Ranges::new(cuts.iter().copied()),
            _ => Ranges::restore(target.done.iter().map(|done| done.bounds.clone())),
        };
        Self {
            epoch: target.epoch,
            read: target.position,
            part: 0,
            ranges,
            readings: Vec::new(),
            chunks: Vec::new(),
            queue: Vec::new(),
            position: target.position,
            settled: target.done.iter().map(|done| done.settled).max().unwrap_or(0),
            opens_after: 0,
            keys_built: target.keys_built,
            building: false,
        }
    }

    /// One of which only the epoch is kept.
    pub(crate) fn forgotten(epoch: u8) -> Self {
        Self {
            epoch,
            read: 0,
            part: 0,
            ranges: Ranges::new([]),
            readings: Vec::new(),
            chunks: Vec::new(),
            queue: Vec::new(),
            position: 0,
            settled: 0,
            opens_after: 0,
            keys_built: false,
            building: false,
        }
    }

    /// Whether there is anything that it may yet commit without reading more.
    pub(crate) fn has_work(&self) -> bool {
        !self.chunks.is_empty() || !self.queue.is_empty() || self.building
    }

    pub(crate) fn has_finished(&self, setting: &Setting) -> bool {
        self.keys_built && self.ranges.finished() && self.position == setting.source.len()
    }

    /// What it can do when so many transactions are in the binlog.
    pub(crate) fn steps(&self, setting: &Setting, logged: u8, visible: u8, out: &mut Vec<Step>) {
        if self.read < logged {
            out.push(Step::Read);
        }
        if self.may_open(setting) {
            out.push(Step::Open);
        }
        for (at, reading) in self.readings.iter().enumerate() {
            let bracket = before(reading.from) & !visible == 0;
            if reading.snapshot.is_some() {
                out.push(Step::Close(at));
            } else if bracket || setting.is_without(Without::Bracket) {
                out.push(Step::Snapshot(at));
            }
        }
        out.extend((0..self.chunks.len()).map(Step::Chunk));
        if !self.building {
            self.groups(setting, out);
        }
        if self.may_build(setting) {
            out.push(Step::Build);
        }
        if self.building {
            out.push(Step::Record);
        }
    }

    fn may_open(&self, setting: &Setting) -> bool {
        let counts = self.ranges.counts();
        let emptied = self.position >= self.opens_after || setting.is_without(Without::EmptyFirst);
        let between = self.part == 0 || setting.is_without(Without::OpenBetween);
        let alone = setting.order != Order::Unknown || counts.open + counts.closing == 0;
        self.ranges.has_pending() && emptied && between && alone && self.readings.len() < 2
    }

    /// `Queue::next`, for each size that a group may have.
    fn groups(&self, setting: &Setting, out: &mut Vec<Step>) {
        let gate = if setting.is_without(Without::Gate) { None } else { self.ranges.gate() };
        let open = |queued: &&Queued| gate.is_none_or(|gate| Seq(queued.seq.into()) <= gate);
        if self.queue.iter().take(1).filter(open).any(|front| front.kind == Kind::Part) {
            out.push(Step::Group(0));
            return;
        }
        let whole = self.queue.iter().take_while(open).take_while(|next| next.kind != Kind::Part);
        out.extend((1..=whole.count()).map(Step::Group));
    }

    fn may_build(&self, setting: &Setting) -> bool {
        if self.keys_built || self.building {
            return false;
        }
        let settled = self.ranges.finished() && self.position >= self.settled;
        settled || setting.is_without(Without::CopyBeforeKeys)
    }

    /// Does a step that [`Worker::steps`] has named.
    pub(crate) fn step(
        &mut self,
        setting: &Setting,
        step: Step,
        (logged, visible): (u8, u8),
        target: &mut Target,
    ) -> Result<(), Refused> {
        if step.commits() && self.epoch != target.epoch && !setting.is_without(Without::Epoch) {
            return Err(Refused);
        }
        match step {
            Step::Read => self.read(setting),
            Step::Open => {
                let (id, bounds) = self.ranges.open_next().expect("a range is pending");
                self.readings.push(Reading { id, bounds, from: self.read, snapshot: None });
            }
            Step::Snapshot(at) => self.readings[at].snapshot = Some((visible, logged)),
            Step::GiveUp(at) => self.ranges.give_up(self.readings[at].id),
            Step::Close(at) => self.close(setting, at),
            Step::Chunk(at) => {
                let chunk = self.chunks.remove(at);
                let known = setting.order != Order::Unknown;
                target.write(&setting.source, known, &chunk.rows, &chunk.over);
                target.done.push(chunk.done);
                if known {
                    target.done.sort_by_key(|done| done.bounds.lower);
                }
                self.ranges.committed(chunk.id);
            }
            Step::Group(count) => return self.group(setting, count, target),
            Step::Build => {
                target.build_unique();
                self.building = true;
            }
            Step::Record => {
                target.keys_built = true;
                self.building = false;
                self.keys_built = true;
            }
        }
        Ok(())
    }

    fn read(&mut self, setting: &Setting) {
        let transaction = setting.source.transaction(self.read);
        let seq = self.read + 1;
        let mut changes = transaction.changes[usize::from(self.part)..].to_vec();
        if transaction.truncate {
            self.ranges.give_up_open();
            self.opens_after = seq;
            self.queue.push(Queued { seq, kind: Kind::Truncate, changes });
        } else if transaction.in_parts && changes.len() > 1 {
            changes.truncate(1);
            self.part += 1;
            self.route(setting, &mut changes);
            self.queue.push(Queued { seq, kind: Kind::Part, changes });
            return;
        } else {
            self.route(setting, &mut changes);
            self.queue.push(Queued { seq, kind: Kind::Rows, changes });
        }
        self.read = seq;
        self.part = 0;
    }

    fn route(&mut self, setting: &Setting, changes: &mut Vec<Change>) {
        changes.retain(|(key, op)| {
            let slot = setting.source.slots[usize::from(*key)];
            let place = (setting.order != Order::Unknown).then_some(&slot);
            let route = self.ranges.route(key, place, op, 1);
            let closing = self.chunks.iter().any(|chunk| holds(&chunk.done.bounds, slot));
            route == Route::Apply && !(closing && setting.is_without(Without::LaterEvents))
        });
    }

    /// `Owned::chunk_read`.
    fn close(&mut self, setting: &Setting, at: usize) {
        let reading = self.readings.remove(at);
        let Some(id) = self.opening(setting, &reading) else { return };
        let (visible, high) = reading.snapshot.expect("a chunk was read in a snapshot");
        let mut rows: Vec<Row> = (0..)
            .zip(setting.source.seen(visible))
            .filter(|(slot, _)| holds(&reading.bounds, *slot))
            .filter_map(|(_, row)| *row)
            .collect();
        if rows.len() >= setting.chunk_rows {
            rows.truncate(setting.chunk_rows);
            let last = rows.last().expect("a chunk holds rows");
            self.ranges.cut(id, &setting.source.slots[usize::from(last.key)]);
        }
        let (bounds, buffer) = self.ranges.close(id, Seq(self.read.into()));
        let mut over: Vec<Change> = buffer.into_iter().map(|(key, held)| (key, held.op)).collect();
        if setting.is_without(Without::Buffer) {
            over.clear();
        }
        let mut settled = self.read;
        if !setting.is_without(Without::WaitForHigh) {
            settled = settled.max(high);
        }
        // What lies over the rows may be of a transaction whose end is still to come.
        if self.part > 0 && !setting.is_without(Without::WaitForParts) {
            settled = settled.max(self.read + 1);
        }
        self.settled = self.settled.max(settled);
        self.chunks.push(Chunk { id, rows, over, done: Done { bounds, settled } });
    }

    /// The opening that a chunk belongs to: its own, if that is still there.
    fn opening(&self, setting: &Setting, reading: &Reading) -> Option<RangeId> {
        if self.ranges.is_open(reading.id) {
            return Some(reading.id);
        }
        let same =
            |other: &&Reading| self.ranges.is_open(other.id) && other.bounds == reading.bounds;
        let again = self.readings.iter().find(same)?;
        setting.is_without(Without::RangeNames).then_some(again.id)
    }

    fn group(
        &mut self,
        setting: &Setting,
        count: usize,
        target: &mut Target,
    ) -> Result<(), Refused> {
        if count == 0 {
            let part = self.queue.remove(0);
            target.apply(&setting.source, &part.changes, 0);
            target.ahead = true;
            return Ok(());
        }
        // The position moves by compare-and-swap.
        if target.position != self.position {
            return Err(Refused);
        }
        let mut changes = Vec::new();
        for queued in self.queue.drain(..count) {
            if queued.kind == Kind::Truncate {
                changes.clear();
                target.rows = crate::source::Table::default();
            }
            changes.extend(queued.changes);
            self.position = queued.seq;
        }
        target.apply(&setting.source, &changes, 0);
        target.position = self.position;
        target.ahead = false;
        if self.opens_after <= self.position {
            self.opens_after = 0;
        }
        Ok(())
    }
}

fn holds(bounds: &Bounds<u8>, slot: u8) -> bool {
    bounds.lower.is_none_or(|lower| slot > lower) && bounds.upper.is_none_or(|upper| slot <= upper)
}
