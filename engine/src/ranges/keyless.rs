//! The copy of a table without any key: one range, one snapshot, and every event exactly once.
//!
//! Without a key an event cannot be applied twice: a row inserted again is one row more. So nothing here rests on repetition being harmless:
//!
//! - The snapshot's bracket is *exact*: X is precisely what the snapshot contains (`mysql::snapshot`). An event in X is
//!   discarded, any other is kept while the range is open.
//! - The range is closed at a position S that contains X, so that no event of X is still to come. The rows and the kept events commit
//!   together with S.
//! - After a restart the stream reads again from its position P, which may be before S; events in S are discarded
//!   ([`Keyless::restore`]).
//! - Groups that hold rows of such a table are applied whole, with their position, never in parts.

use super::{Counts, Route, Seq};
use crate::mysql::gtid::{Gtid, GtidSet};

/// The state of a keyless table's only range. `V` is an operation.
#[derive(Clone, Debug)]
pub struct Keyless<V> {
    state: State<V>,
}

#[derive(Clone, Debug)]
enum State<V> {
    Pending,
    Open { kept: Vec<(Gtid, V)>, bytes: usize },
    Closing { at: Seq },
    Done { contains: Option<GtidSet> },
}

impl<V> Default for Keyless<V> {
    fn default() -> Self {
        Self { state: State::Pending }
    }
}

impl<V: Clone> Keyless<V> {
    /// A table that was copied as of S.
    pub fn restore(copied_as_of: GtidSet) -> Self {
        Self { state: State::Done { contains: Some(copied_as_of) } }
    }

    /// Opens the range, if it is pending.
    pub fn open(&mut self) -> bool {
        let pending = matches!(self.state, State::Pending);
        if pending {
            self.state = State::Open { kept: Vec::new(), bytes: 0 };
        }
        pending
    }

    /// Says where an event goes, and keeps it where it is to be kept.
    pub fn route(&mut self, gtid: &Gtid, op: &V, size: usize) -> Route {
        match &mut self.state {
            State::Pending => Route::Discard,
            State::Open { kept, bytes } => {
                kept.push((gtid.clone(), op.clone()));
                *bytes += size;
                Route::Buffer
            }
            State::Done { contains: Some(contains) } if contains.contains(gtid) => Route::Discard,
            State::Closing { .. } | State::Done { .. } => Route::Apply,
        }
    }

    /// Closes the range at `at`: what is to be laid over the rows of a snapshot that contains exactly `exact`, in order.
    pub fn close(&mut self, exact: &GtidSet, at: Seq) -> Vec<V> {
        match std::mem::replace(&mut self.state, State::Closing { at }) {
            State::Open { kept, .. } => kept
                .into_iter()
                .filter(|(gtid, _)| !exact.contains(gtid))
                .map(|(_, op)| op)
                .collect(),
            State::Pending | State::Closing { .. } | State::Done { .. } => {
                unreachable!("only an open range is closed")
            }
        }
    }

    /// The rows have committed.
    pub fn committed(&mut self) {
        self.state = State::Done { contains: None };
    }

    /// Starts again, if the range is open.
    pub fn give_up(&mut self) {
        if self.is_open() {
            self.state = State::Pending;
        }
    }

    /// Whether the range is open.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Whether more is kept than `bytes_max`.
    pub fn overfull(&self, bytes_max: usize) -> bool {
        matches!(self.state, State::Open { bytes, .. } if bytes > bytes_max)
    }

    /// The last position that a group may reach now.
    pub fn gate(&self) -> Option<Seq> {
        match self.state {
            State::Closing { at } => Some(at),
            State::Pending | State::Open { .. } | State::Done { .. } => None,
        }
    }

    /// The state, counted.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        match self.state {
            State::Pending => counts.pending = 1,
            State::Open { .. } => counts.open = 1,
            State::Closing { .. } => counts.closing = 1,
            State::Done { .. } => counts.done = 1,
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mysql::server::Flavor;

    fn gtid(seq: u64) -> Gtid {
        Gtid::MariaDb { domain: 0, server: 1, seq }
    }

    fn up_to(seq: u64) -> GtidSet {
        GtidSet::parse(Flavor::MariaDb, &format!("0-1-{seq}")).unwrap()
    }

    #[test]
    fn every_event_takes_effect_once() {
        let mut table = Keyless::default();
        assert_eq!(table.route(&gtid(1), &'a', 1), Route::Discard);
        assert!(table.open() && !table.open());
        for (seq, op) in [(2, 'b'), (3, 'c'), (4, 'd')] {
            assert_eq!(table.route(&gtid(seq), &op, 1), Route::Buffer);
        }
        assert_eq!(table.close(&up_to(3), Seq(4)), ['d'], "the snapshot holds what is before");
        assert_eq!(table.gate(), Some(Seq(4)));
        assert_eq!(table.route(&gtid(5), &'e', 1), Route::Apply);
        table.committed();
        assert_eq!(table.gate(), None);
    }

    #[test]
    fn what_was_copied_is_not_applied_again_after_a_restart() {
        let mut table = Keyless::restore(up_to(4));
        assert_eq!(table.route(&gtid(4), &'d', 1), Route::Discard);
        assert_eq!(table.route(&gtid(5), &'e', 1), Route::Apply);
    }
}
