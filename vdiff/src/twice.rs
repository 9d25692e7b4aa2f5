//! Keys that two ranges ask for, where the sides order keys differently: one has the source's row, the other the target's.
//!
//! Before this stands the verdict on each ask ([`crate::waiting`]); after it the ledger, which adds up.
//!
//! The pair is counted once. If it is alike, where the source's row was read: that is one range, as boundaries are the source's keys
//! (but for a range that was cut by the target's).
//! A difference is never passed over for where it was read, since the source's row may be younger than its range: of such a key the first
//! verdict counts, as far as they are remembered.

use std::collections::HashSet;

use crate::limits;
use crate::pair::{Pair, RowKey};
use crate::seen::Verdict;
use crate::waiting::Waiting;

/// Which keys were counted.
#[derive(Debug, Default)]
pub(crate) struct Twice {
    counted: HashSet<RowKey>,
    bytes: usize,
}

impl Twice {
    /// The verdict as it counts.
    pub(crate) fn once(&mut self, pair: &Pair, waiting: &Waiting, verdict: Verdict) -> Verdict {
        // One that both sides had in this range is in no other one; what is repaired is looked at without a range.
        if pair.keys_in_order() || waiting.part.is_none() || waiting.shown[0] == waiting.shown[1] {
            return verdict;
        }
        let first = match &verdict {
            Verdict::Gone => return verdict,
            Verdict::Equal => waiting.shown[0] && !self.counted.contains(&waiting.key),
            Verdict::Differs(finding) => self.count(&finding.key),
            Verdict::Unsettled(key) => self.count(key),
        };
        if first { verdict } else { Verdict::Gone }
    }

    /// Whether it was not counted before.
    fn count(&mut self, key: &RowKey) -> bool {
        if self.counted.contains(key) {
            return false;
        }
        if self.counted.len() < limits::LOOK_KEYS_WAITING && self.bytes < limits::LOOK_BYTES_WAITING
        {
            self.bytes += key.len();
            self.counted.insert(key.clone());
        }
        true
    }
}
