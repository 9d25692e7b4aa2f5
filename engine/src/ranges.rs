//! The state of every key range of one table while it is copied: what happens to a row event, and how far groups may go.
//!
//! Before this comes `changes` (events, in binlog order); after it come `copy` (reads ranges and writes chunks) and
//! `apply` (writes groups). This module is pure: no I/O, no clock, no task. The stream is its only owner, and the model
//! checker drives this very code (`engine/tests/copy_model/main.rs`).
//!
//! # A range's life
//!
//! The ranges of a table partition (−∞, +∞). Each is
//!
//! - **Pending**: not started. Row events in it are discarded.
//! - **Open**: its snapshot is being read. Row events in it go into its buffer: key → last operation.
//! - **Closing**: at position S the buffer was laid over the rows, and both are being written. Events go to groups, and no
//!   group may pass S ([`Ranges::gate`]).
//! - **Done**: rows and the record of the range have committed together. Events go to groups.
//!
//! The copier opens the first pending range at the stream's position R, makes sure that its snapshot contains everything
//! up to R (the *bracket*, see `mysql::snapshot`), and reads rows in key order until its bounds of rows or bytes. If the
//! range holds more, it is cut behind the last row read ([`Ranges::cut`]): the front is closed, the rest is pending again.
//!
//! # Why the target ends equal
//!
//! 1. *For a key in an open, closing or done range, every event after its R takes effect, in binlog order.* While open it
//!    is in the buffer, last operation kept; the chunk's transaction writes the rows first and the buffer over them.
//!    Afterwards it is in a group.
//! 2. *An event is discarded only in a pending range, whose later snapshot contains it*: that range's R will be at or
//!    after the event, and the bracket makes the snapshot contain everything up to R. Without the bracket: the event is
//!    read from the binlog (commit is in its sync stage) and discarded as pending; the range opens; the snapshot starts
//!    before InnoDB shows the row; the row is lost.
//! 3. *Events between R and the snapshot may be applied on top of rows that contain them already.* They carry full images
//!    and delete-or-replace by key, and every later event of the key follows in order, so the key is right at the latest
//!    when the stream passes H, the upper bound of what the snapshot can contain. Until then a value may be on the target
//!    twice: nothing but the identity key is unique until every H is passed.
//! 4. *Without the buffer*: row 5 is read by the snapshot; its update arrives while the range is open and is neither in the
//!    rows nor in a group; the chunk commits the old row. *Without the events after S* the same happens between S and the
//!    chunk's commit.
//! 5. *Without the gate*: the range closes at S = 10; a group with event 12 of the range commits position 12 first; the
//!    process dies before the chunk's transaction; after the restart the range starts again with R = 12, so far so good.
//!    But had the group been applied *before* the chunk (which still holds the row of position 10), the chunk would write
//!    the old row over the new one. With the gate the chunk commits first, always.
//! 6. *A crash* loses the memory of everything but the done ranges and the position P, committed with their rows. The
//!    others start as pending: with an exact order nothing was written for them. Events between P and a done range's S are
//!    applied once more, in order; by 3 that is harmless, so S need not be compared.
//!
//! # Keys whose order only the server knows
//!
//! For collated strings and floats we do not decide which range a key is in ([`Ranges::route`] with no place). Then
//! nothing is discarded at all: the event goes to a group *and* into the buffer of every open range.
//!
//! - In a done range the group does what it should; being laid once more over a chunk that does not contain it, the
//!   operation sets the key to its state at S while the position is at most S (the gate), and the groups repeat what lies
//!   between.
//! - In an open range it is in the buffer, as above. The group's own write may come earlier; the chunk's rows *replace*
//!   what they meet, then the buffer follows.
//! - In a pending range the group's write is early: the target holds the key exactly as of the applied position. A later
//!   snapshot contains that state or a newer one, and its rows replace what they meet. A key that is gone by the time of
//!   the snapshot has its delete in the binlog after the applied position, so a group or buffer removes it. After a
//!   restart the same holds with the saved position.
//!
//! The price is one extra write for events on such tables during the copy; what it buys is that no collation is ever
//! computed here.

pub mod keyless;

use std::collections::BTreeMap;

/// The number of a transaction within one run of a stream, in binlog order; 0 is before the first one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

/// Names a range within its table, for one run of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RangeId(pub u32);

/// The keys above `lower` up to and including `upper`; `None` is unbounded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bounds<K> {
    /// The last key before the range.
    pub lower: Option<K>,
    /// The last key of the range.
    pub upper: Option<K>,
}

impl<K: Ord> Bounds<K> {
    fn contains(&self, key: &K) -> bool {
        self.lower.as_ref().is_none_or(|lower| key > lower)
            && self.upper.as_ref().is_none_or(|upper| key <= upper)
    }
}

/// What is to be laid over a chunk's rows: the last operation of each key.
pub type Buffer<I, K, V> = BTreeMap<I, Buffered<K, V>>;

/// One buffered operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Buffered<K, V> {
    /// Where the key lies, if its order is known.
    pub place: Option<K>,
    /// The operation.
    pub op: V,
    /// Its size in memory.
    pub bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State<I: Ord, K, V> {
    Pending,
    Open { buffer: Buffer<I, K, V>, bytes: usize },
    Closing { at: Seq },
    Done,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Range<I: Ord, K, V> {
    id: RangeId,
    bounds: Bounds<K>,
    state: State<I, K, V>,
}

/// Where a row event goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// A snapshot still to be read contains it.
    Discard,
    /// It is in the buffer of its open range.
    Buffer,
    /// Into the next group (and, where the order is unknown, into the open buffers as well).
    Apply,
}

/// How many ranges are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Not started.
    pub pending: usize,
    /// Being read.
    pub open: usize,
    /// Being written.
    pub closing: usize,
    /// Copied (neighbours are merged into one).
    pub done: usize,
}

/// All ranges of one table. `I` is a key's identity (its stored bytes), `K` its place in the order, `V` an operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ranges<I: Ord, K, V> {
    /// In key order; together they cover everything.
    ranges: Vec<Range<I, K, V>>,
    next_id: u32,
}

impl<I: Ord + Clone, K: Ord + Clone, V: Clone> Ranges<I, K, V> {
    /// A table of which nothing is copied, in as many ranges as `cuts` make; `cuts` are ascending.
    pub fn new(cuts: impl IntoIterator<Item = K>) -> Self {
        let mut ranges = Self { ranges: Vec::new(), next_id: 0 };
        let mut lower = None;
        for cut in cuts {
            ranges.push(Bounds { lower, upper: Some(cut.clone()) }, State::Pending);
            lower = Some(cut);
        }
        ranges.push(Bounds { lower, upper: None }, State::Pending);
        ranges
    }

    /// A table as the sidecar remembers it: `done` are the copied ranges in key order, without overlap; whatever lies
    /// between them is pending.
    pub fn restore(done: impl IntoIterator<Item = Bounds<K>>) -> Self {
        let mut ranges = Self { ranges: Vec::new(), next_id: 0 };
        let mut covered: Option<Option<K>> = Some(None);
        for bounds in done {
            let Some(lower) = covered else { break };
            if bounds.lower != lower {
                let gap = Bounds { lower, upper: bounds.lower.clone() };
                ranges.push(gap, State::Pending);
            }
            covered = bounds.upper.clone().map(Some);
            ranges.push(bounds, State::Done);
        }
        if let Some(lower) = covered {
            ranges.push(Bounds { lower, upper: None }, State::Pending);
        }
        ranges.merge_done();
        ranges
    }

    fn push(&mut self, bounds: Bounds<K>, state: State<I, K, V>) {
        let id = self.new_id();
        self.ranges.push(Range { id, bounds, state });
    }

    fn new_id(&mut self) -> RangeId {
        self.next_id += 1;
        RangeId(self.next_id)
    }

    /// Opens the first pending range, if there is one. The caller notes the stream's position as its R. The range has a new
    /// name each time it is opened, so that a snapshot of an earlier opening is never taken for one of this.
    pub fn open_next(&mut self) -> Option<(RangeId, Bounds<K>)> {
        let id = self.new_id();
        let range = self.ranges.iter_mut().find(|range| matches!(range.state, State::Pending))?;
        range.id = id;
        range.state = State::Open { buffer: BTreeMap::new(), bytes: 0 };
        Some((range.id, range.bounds.clone()))
    }

    /// Says where a row event goes, and buffers it where it is to be buffered. `place` is `None` where only the server
    /// knows the order.
    pub fn route(&mut self, identity: &I, place: Option<&K>, op: &V, bytes: usize) -> Route {
        let Some(place) = place else {
            for range in &mut self.ranges {
                range.buffer(identity, None, op, bytes);
            }
            return Route::Apply;
        };
        let at = self.ranges.partition_point(|range| {
            range.bounds.upper.as_ref().is_some_and(|upper| upper < place)
        });
        let range = &mut self.ranges[at];
        debug_assert!(range.bounds.contains(place), "ranges cover every key");
        match range.state {
            State::Pending => Route::Discard,
            State::Open { .. } => {
                range.buffer(identity, Some(place), op, bytes);
                Route::Buffer
            }
            State::Closing { .. } | State::Done => Route::Apply,
        }
    }

    /// Cuts an open range behind `last`, the last key that its snapshot was read up to. The rest is pending again, and
    /// what the buffer holds of it is dropped: a later snapshot of the rest will contain it.
    pub fn cut(&mut self, id: RangeId, last: &K) {
        let rest_id = self.new_id();
        let at = self.index(id);
        let range = &mut self.ranges[at];
        if range.bounds.upper.as_ref() == Some(last) {
            return;
        }
        if let State::Open { buffer, bytes } = &mut range.state {
            buffer.retain(|_, held| held.place.as_ref().is_none_or(|place| place <= last));
            *bytes = buffer.values().map(|held| held.bytes).sum();
        }
        let rest = Bounds { lower: Some(last.clone()), upper: range.bounds.upper.take() };
        range.bounds.upper = Some(last.clone());
        self.ranges.insert(at + 1, Range { id: rest_id, bounds: rest, state: State::Pending });
    }

    /// Closes an open range at position `at`, whose transaction and all before it have been routed: its rows, with the
    /// returned buffer over them, are to be written in one transaction with the record of its bounds. Until
    /// [`Ranges::committed`] no group passes `at`.
    pub fn close(&mut self, id: RangeId, at: Seq) -> (Bounds<K>, Buffer<I, K, V>) {
        let index = self.index(id);
        let range = &mut self.ranges[index];
        let buffer = match std::mem::replace(&mut range.state, State::Closing { at }) {
            State::Open { buffer, .. } => buffer,
            State::Pending | State::Closing { .. } | State::Done => {
                unreachable!("only an open range is closed")
            }
        };
        (range.bounds.clone(), buffer)
    }

    /// The chunk's transaction has committed.
    pub fn committed(&mut self, id: RangeId) {
        let at = self.index(id);
        assert!(
            matches!(self.ranges[at].state, State::Closing { .. }),
            "only a closing range becomes done"
        );
        self.ranges[at].state = State::Done;
        self.merge_done();
    }

    /// Gives up an open range: its buffer grew over its bound, or its snapshot could not be read. It starts again later.
    pub fn give_up(&mut self, id: RangeId) {
        let at = self.index(id);
        if matches!(self.ranges[at].state, State::Open { .. }) {
            self.ranges[at].state = State::Pending;
        }
    }

    /// Every open range starts again, as after a TRUNCATE. Closing ranges are left: their chunk is on its way.
    pub fn give_up_open(&mut self) {
        for range in &mut self.ranges {
            if matches!(range.state, State::Open { .. }) {
                range.state = State::Pending;
            }
        }
    }

    /// The last position that a group may reach now.
    pub fn gate(&self) -> Option<Seq> {
        self.ranges
            .iter()
            .filter_map(|range| match range.state {
                State::Closing { at } => Some(at),
                State::Pending | State::Open { .. } | State::Done => None,
            })
            .min()
    }

    /// The open ranges whose buffer holds more than `bytes_max`.
    pub fn overfull(&self, bytes_max: usize) -> Vec<RangeId> {
        self.ranges
            .iter()
            .filter(|range| matches!(range.state, State::Open { bytes, .. } if bytes > bytes_max))
            .map(|range| range.id)
            .collect()
    }

    /// Whether a range is still open: it may have been given up meanwhile.
    pub fn is_open(&self, id: RangeId) -> bool {
        self.ranges.iter().any(|range| range.id == id && matches!(range.state, State::Open { .. }))
    }

    /// Whether every range is done.
    pub fn finished(&self) -> bool {
        self.ranges.iter().all(|range| matches!(range.state, State::Done))
    }

    /// Whether any range is pending.
    pub fn has_pending(&self) -> bool {
        self.ranges.iter().any(|range| matches!(range.state, State::Pending))
    }

    /// How many ranges are in each state.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for range in &self.ranges {
            match range.state {
                State::Pending => counts.pending += 1,
                State::Open { .. } => counts.open += 1,
                State::Closing { .. } => counts.closing += 1,
                State::Done => counts.done += 1,
            }
        }
        counts
    }

    /// The lower end of the first range that is not done: what Vitess calls lastpk. `None` if all is done;
    /// `Some(None)` if nothing is copied from the start.
    pub fn lastpk(&self) -> Option<Option<&K>> {
        self.ranges
            .iter()
            .find(|range| !matches!(range.state, State::Done))
            .map(|range| range.bounds.lower.as_ref())
    }

    fn index(&self, id: RangeId) -> usize {
        self.ranges
            .iter()
            .position(|range| range.id == id)
            .expect("a range lives until it is done, and ids are never reused")
    }

    /// Done neighbours become one, so that the list stays as short as the work in progress.
    fn merge_done(&mut self) {
        self.ranges.dedup_by(|next, first| {
            let both = matches!(next.state, State::Done) && matches!(first.state, State::Done);
            if both {
                first.bounds.upper = next.bounds.upper.take();
            }
            both
        });
    }
}

impl<I: Ord + Clone, K: Clone, V: Clone> Range<I, K, V> {
    /// Buffers an operation if the range is open; the last one of a key wins.
    fn buffer(&mut self, identity: &I, place: Option<&K>, op: &V, size: usize) {
        if let State::Open { buffer, bytes } = &mut self.state {
            let held = Buffered { place: place.cloned(), op: op.clone(), bytes: size };
            let before = buffer.insert(identity.clone(), held);
            *bytes = *bytes + size - before.map_or(0, |held| held.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Table = Ranges<u8, u8, char>;

    fn bounds(lower: Option<u8>, upper: Option<u8>) -> Bounds<u8> {
        Bounds { lower, upper }
    }

    #[test]
    fn events_go_where_the_state_of_their_range_says() {
        let mut table = Table::new([10]);
        assert_eq!(table.route(&5, Some(&5), &'a', 1), Route::Discard);
        let (id, range) = table.open_next().unwrap();
        assert_eq!(range, bounds(None, Some(10)));
        assert_eq!(table.route(&10, Some(&10), &'b', 1), Route::Buffer);
        assert_eq!(table.route(&11, Some(&11), &'c', 1), Route::Discard);
        let (_, buffer) = table.close(id, Seq(3));
        assert_eq!(buffer.keys().collect::<Vec<_>>(), [&10]);
        assert_eq!(table.route(&9, Some(&9), &'d', 1), Route::Apply);
        assert_eq!(table.gate(), Some(Seq(3)));
        table.committed(id);
        assert_eq!(table.gate(), None);
        assert_eq!(table.route(&9, Some(&9), &'e', 1), Route::Apply);
        assert!(!table.finished());
    }

    #[test]
    fn a_cut_gives_the_rest_and_its_events_back() {
        let mut table = Table::new([]);
        let (id, _) = table.open_next().unwrap();
        table.route(&3, Some(&3), &'a', 10);
        table.route(&7, Some(&7), &'b', 10);
        table.cut(id, &5);
        assert_eq!(table.route(&7, Some(&7), &'c', 10), Route::Discard);
        let (range, buffer) = table.close(id, Seq(1));
        assert_eq!((range, buffer.len()), (bounds(None, Some(5)), 1));
        let (second, range) = table.open_next().unwrap();
        assert_eq!(range, bounds(Some(5), None));
        table.close(second, Seq(2));
        table.committed(second);
        assert!(!table.finished());
        table.committed(id);
        assert!(table.finished());
        assert_eq!(table.counts(), Counts { done: 1, ..Counts::default() });
    }

    #[test]
    fn without_an_order_nothing_is_discarded() {
        let mut table = Table::new([]);
        assert_eq!(table.route(&1, None, &'a', 1), Route::Apply);
        let (id, _) = table.open_next().unwrap();
        assert_eq!(table.route(&1, None, &'b', 1), Route::Apply);
        table.cut(id, &9);
        let (_, buffer) = table.close(id, Seq(4));
        assert_eq!(buffer[&1].op, 'b');
        assert_eq!(table.route(&2, None, &'c', 1), Route::Apply);
    }

    #[test]
    fn what_the_sidecar_remembers_is_restored() {
        let table = Table::restore([bounds(Some(2), Some(4)), bounds(Some(4), Some(6))]);
        assert_eq!(table.counts(), Counts { pending: 2, done: 1, ..Counts::default() });
        assert_eq!(table.lastpk(), Some(None));
        assert!(Table::restore([bounds(None, Some(4)), bounds(Some(4), None)]).finished());
        assert_eq!(Table::restore([bounds(None, Some(4))]).lastpk(), Some(Some(&4)));
        assert!(Table::restore([]).has_pending());
    }

    #[test]
    fn an_overfull_range_is_found_and_given_up() {
        let mut table = Table::new([]);
        let (id, _) = table.open_next().unwrap();
        table.route(&1, Some(&1), &'a', 60);
        table.route(&1, Some(&1), &'b', 60);
        assert!(table.overfull(100).is_empty(), "one key counts once");
        table.route(&2, Some(&2), &'c', 60);
        assert_eq!(table.overfull(100), [id]);
        table.give_up(id);
        assert!(!table.is_open(id));
        assert_eq!(table.route(&1, Some(&1), &'d', 1), Route::Discard);
    }
}
