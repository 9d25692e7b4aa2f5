//! Keys that two ranges ask for, where the sides order keys differently: one has the source's row, the other the target's.
//!
//! Before this stands the verdict on each ask ([`crate::waiting`]); after it the ledger, which adds up.
//!
//! Of such a key the first verdict counts, as far as they are remembered; but a difference counts also after it was found equal, since
//! it may have come since. Which range had which row says nothing: a key may change its letters meanwhile.

use std::collections::HashSet;

use crate::limits;
use crate::pair::{Pair, RowKey};
use crate::seen::Verdict;
use crate::waiting::Waiting;

/// Which keys were counted.
#[derive(Debug, Default)]
pub(crate) struct Twice {
    equal: HashSet<RowKey>,
    others: HashSet<RowKey>,
    bytes: usize,
}

impl Twice {
    /// The verdict as it counts.
    pub(crate) fn once(&mut self, pair: &Pair, waiting: &Waiting, verdict: Verdict) -> Verdict {
        // One that both sides had in this range is in no other one; what is repaired is looked at without a range.
        if pair.keys_in_order() || waiting.part.is_none() || waiting.shown[0] == waiting.shown[1] {
            return verdict;
        }
        let (key, is_equal) = match &verdict {
            Verdict::Gone => return verdict,
            Verdict::Equal => (&waiting.key, true),
            Verdict::Differs(finding) => (&finding.key, false),
            Verdict::Unsettled(key) => (key, false),
        };
        if self.others.contains(key) || is_equal && self.equal.contains(key) {
            return Verdict::Gone;
        }
        self.remember(key.clone(), is_equal);
        verdict
    }

    fn remember(&mut self, key: RowKey, is_equal: bool) {
        let known = self.equal.len() + self.others.len();
        if known < limits::LOOK_KEYS_WAITING && self.bytes < limits::LOOK_BYTES_WAITING {
            self.bytes += key.len();
            let counted = if is_equal { &mut self.equal } else { &mut self.others };
            counted.insert(key);
        }
    }
}
