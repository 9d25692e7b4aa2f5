//! A key that is to be settled, and the rule by which it is.
//!
//! Before this stand two snapshots and what they show of the key ([`crate::lookup`]); after it the verdict, or another look.
//!
//! # When it is given up
//! Its time begins with its *first look*: keys may wait long for that, behind others. Where a position ties the sides, a key is unsettled
//! if it still had an event between the snapshots when its time is over. Where none does, only if its rows **did change between two
//! looks** then: rows that rest are settled by some more looks, however late those come.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shunt_engine::mysql::gtid::GtidSet;

use crate::limits;
use crate::narrow::Different;
use crate::pair::{Range, RowKey};
use crate::seen::{Finding, Seen, Verdict, hash};
use crate::touched::Touched;

/// A key that is to be settled.
pub(crate) struct Waiting {
    /// The range it is of.
    pub(crate) seq: u64,
    /// The key.
    pub(crate) key: RowKey,
    /// Which sides had a row with this very key when its range was read.
    pub(crate) shown: [bool; 2],
    /// What was read then.
    pub(crate) part: Option<Arc<Range>>,
    /// What the last snapshot of the source could contain.
    pub(crate) high: Option<GtidSet>,
    /// When it was looked at last.
    pub(crate) looked: Option<Instant>,
    /// All keys of its range that were asked for, where a pair may be asked for by both of its keys.
    pub(crate) asked: Option<Arc<HashSet<RowKey>>>,
    time: Duration,
    until: Option<Instant>,
    last: Option<[Option<u128>; 2]>,
    agreed: u32,
}

impl Waiting {
    /// A key that has so much time from its first look on.
    pub(crate) fn new(seq: u64, different: Different, time: Duration) -> Self {
        let Different { key, shown } = different;
        Self {
            seq,
            key,
            shown,
            part: None,
            high: None,
            looked: None,
            asked: None,
            time,
            until: None,
            last: None,
            agreed: 0,
        }
    }

    /// The same key, looked at once more.
    pub(crate) fn again(&self, time: Duration, high: Option<GtidSet>) -> Self {
        let different = Different { key: self.key.clone(), shown: self.shown };
        let (part, asked) = (self.part.clone(), self.asked.clone());
        Self { part, asked, high, ..Self::new(self.seq, different, time) }
    }

    /// When its time is over; it begins now if it has not begun.
    pub(crate) fn until(&mut self) -> Instant {
        *self.until.get_or_insert_with(|| Instant::now() + self.time)
    }

    /// Whether this other key was asked for, too.
    fn is_asked_by(&self, key: &RowKey) -> bool {
        *key != self.key && self.asked.as_ref().is_some_and(|asked| asked.contains(key))
    }
}

/// The verdict on a key, or none if it has to be looked at again. `touched` is none where no position ties the sides.
pub(crate) fn judge(
    waiting: &mut Waiting,
    [source, target]: [Option<Seen>; 2],
    touched: Option<&Touched>,
) -> Option<Verdict> {
    let hashes = [hash(&source), hash(&target)];
    // The source's row is looked at by its own key as well.
    let elsewhere = source.as_ref().is_some_and(|source| waiting.is_asked_by(&source.key));
    if hashes[0] == hashes[1] {
        let counted = hashes[0].is_some() && !elsewhere;
        return Some(if counted { Verdict::Equal } else { Verdict::Gone });
    }
    let (proven, moves) = match touched {
        Some(touched) => {
            let mut keys = source.iter().chain(&target).map(|seen| &seen.key);
            let moves = touched.contains(&waiting.key) || keys.any(|key| touched.contains(key));
            (!moves, moves)
        }
        None => {
            let same = waiting.last == Some(hashes);
            let moves = !same && waiting.last.is_some();
            waiting.agreed = if same { waiting.agreed + 1 } else { 1 };
            waiting.last = Some(hashes);
            (waiting.agreed >= limits::LOOKS_UNTIED, moves)
        }
    };
    if !proven {
        let over = moves && waiting.until() <= Instant::now();
        return over.then(|| Verdict::Unsettled(waiting.key.clone()));
    }
    let target_key = match (&source, &target) {
        // The pair is counted where the source's key is looked at.
        (Some(_), Some(_)) if elsewhere => return Some(Verdict::Gone),
        (Some(s), Some(t)) if s.key != t.key => Some(t.key.clone()),
        _ => None,
    };
    let seen = source.as_ref().or(target.as_ref());
    let key = seen.map_or_else(|| waiting.key.clone(), |seen| seen.key.clone());
    Some(Verdict::Differs(Box::new(Finding { key, target_key, source, target })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting() -> Waiting {
        waiting_for(Duration::from_secs(60))
    }

    fn waiting_for(time: Duration) -> Waiting {
        let key = b"\x011".as_slice().into();
        Waiting::new(0, Different { key, shown: [true; 2] }, time)
    }

    fn seen(hash: u128, key: &[u8]) -> Option<Seen> {
        Some(Seen { hash, key: key.into(), cells: Vec::new() })
    }

    fn keys(keys: &[&[u8]]) -> Touched {
        Touched::Keys(keys.iter().map(|key| RowKey::from(*key)).collect::<HashSet<_>>())
    }

    #[test]
    fn a_key_with_an_event_between_the_snapshots_is_not_judged() {
        let one = b"\x011";
        let rows = || [seen(1, one), seen(2, one)];
        assert!(judge(&mut waiting(), rows(), Some(&keys(&[one]))).is_none());
        assert!(judge(&mut waiting(), rows(), Some(&Touched::All)).is_none());
        let verdict = judge(&mut waiting(), rows(), Some(&keys(&[b"\x012"])));
        assert!(matches!(verdict, Some(Verdict::Differs(_))), "{verdict:?}");
        let verdict = judge(&mut waiting(), [seen(1, one), seen(1, one)], Some(&Touched::All));
        assert!(matches!(verdict, Some(Verdict::Equal)), "{verdict:?}");
        let mut late = waiting_for(Duration::ZERO);
        let verdict = judge(&mut late, rows(), Some(&Touched::All));
        assert!(matches!(verdict, Some(Verdict::Unsettled(_))), "{verdict:?}");
    }

    #[test]
    fn without_a_position_several_looks_must_agree() {
        let one = b"\x011";
        let mut waiting = waiting();
        for hash in [2, 3, 2, 2] {
            assert!(judge(&mut waiting, [seen(1, one), seen(hash, one)], None).is_none());
        }
        let verdict = judge(&mut waiting, [seen(1, one), seen(2, one)], None);
        assert!(matches!(verdict, Some(Verdict::Differs(_))), "{verdict:?}");
    }

    #[test]
    fn rows_that_rest_are_settled_however_late_they_are_looked_at() {
        let one = b"\x011";
        let rows = |hash| [seen(1, one), seen(hash, one)];
        let mut late = waiting_for(Duration::ZERO);
        for _ in 1..limits::LOOKS_UNTIED {
            assert!(judge(&mut late, rows(2), None).is_none(), "it rests");
        }
        assert!(matches!(judge(&mut late, rows(2), None), Some(Verdict::Differs(_))));
        let mut late = waiting_for(Duration::ZERO);
        assert!(judge(&mut late, rows(2), None).is_none());
        let verdict = judge(&mut late, rows(3), None);
        assert!(matches!(verdict, Some(Verdict::Unsettled(_))), "{verdict:?}");
    }

    #[test]
    fn the_time_begins_with_the_first_look() {
        let mut waiting = waiting_for(Duration::from_secs(1));
        assert_eq!(waiting.until, None);
        let until = waiting.until();
        assert_eq!(waiting.until(), until);
    }

    #[test]
    fn keys_that_differ_in_case_are_one_pair() {
        let (lower, upper) = (b"\x01a", b"\x01A");
        let rows = || [seen(1, lower), seen(2, upper)];
        let mut asked = waiting();
        asked.key = lower.as_slice().into();
        let Some(Verdict::Differs(finding)) = judge(&mut asked, rows(), Some(&keys(&[]))) else {
            panic!("the pair differs")
        };
        assert_eq!(finding.target_key.as_deref(), Some(upper.as_slice()));
        asked.key = upper.as_slice().into();
        // Only the target's key was asked for: the source had another one then.
        let verdict = judge(&mut asked, rows(), Some(&keys(&[])));
        let Some(Verdict::Differs(finding)) = verdict else { panic!("nobody else counts it") };
        assert_eq!(&*finding.key, lower.as_slice());
        let both = [lower.as_slice().into(), upper.as_slice().into()];
        asked.asked = Some(Arc::new(both.into_iter().collect()));
        assert!(matches!(judge(&mut asked, rows(), Some(&keys(&[]))), Some(Verdict::Gone)));
        let same = || [seen(1, lower), seen(1, lower)];
        assert!(matches!(judge(&mut asked, same(), Some(&keys(&[]))), Some(Verdict::Gone)));
    }
}
