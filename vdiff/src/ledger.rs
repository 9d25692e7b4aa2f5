//! Which ranges are settled without a gap from the start: what may be saved, so that a VDiff goes on there.
//!
//! Pure. Ranges are compared out of order, and their keys are settled later still; a table's record only ever holds the sum
//! over a front of ranges that are settled completely, together with the last key of that front.

use std::collections::BTreeMap;

use shunt_engine::key::Place;

use crate::looks::{Finding, Verdict};
use crate::pair::RowKey;
use crate::sides::Stand;

/// What settled ranges add up to.
#[derive(Debug, Default)]
pub struct Tally {
    /// Rows that both sides have alike.
    pub matching: u64,
    /// Rows that differ.
    pub mismatched: u64,
    /// Rows that only the source has.
    pub extra_source: u64,
    /// Rows that only the target has.
    pub extra_target: u64,
    /// Rows that changed all the time.
    pub unsettled: u64,
    /// Differences, for samples.
    pub findings: Vec<Finding>,
    /// Keys that changed all the time, for samples.
    pub unsettled_keys: Vec<RowKey>,
    /// The first P and the last H.
    pub stand: Option<Stand>,
}

impl Tally {
    /// All rows that were judged.
    pub fn compared(&self) -> u64 {
        self.matching + self.mismatched + self.extra_source + self.extra_target + self.unsettled
    }

    /// Adds a verdict; of differences so many of each kind are kept.
    pub(crate) fn add(&mut self, verdict: Verdict, samples_max: usize) {
        match verdict {
            Verdict::Equal => self.matching += 1,
            Verdict::Gone => {}
            Verdict::Unsettled(key) => {
                self.unsettled += 1;
                if self.unsettled_keys.len() < samples_max {
                    self.unsettled_keys.push(key);
                }
            }
            Verdict::Differs(finding) => {
                let count = match (&finding.source, &finding.target) {
                    (Some(_), None) => &mut self.extra_source,
                    (None, _) => &mut self.extra_target,
                    (Some(_), Some(_)) => &mut self.mismatched,
                };
                *count += 1;
                // As many of each kind as can be shown.
                if *count <= u64::try_from(samples_max).unwrap_or(u64::MAX) {
                    self.findings.push(*finding);
                }
            }
        }
    }
}

#[derive(Debug, Default)]
struct Entry {
    upper: Option<Place>,
    tally: Tally,
    left: usize,
    compared: bool,
}

/// The ranges that are compared and not yet saved.
#[derive(Debug)]
pub struct Ledger {
    entries: BTreeMap<u64, Entry>,
    next: u64,
    samples_max: usize,
}

impl Ledger {
    /// An empty one, which keeps so many samples of each kind and range.
    pub fn new(samples_max: usize) -> Self {
        Self { entries: BTreeMap::new(), next: 0, samples_max }
    }

    /// Notes that so many keys of a range are to be settled; more may follow.
    pub fn asked(&mut self, seq: u64, keys: usize) {
        self.entries.entry(seq).or_default().left += keys;
    }

    /// Notes that a range was compared, and all its keys asked for.
    pub fn compared(&mut self, seq: u64, upper: Option<Place>, equal: u64, stand: Option<Stand>) {
        let entry = self.entries.entry(seq).or_default();
        entry.upper = upper;
        entry.tally.matching += equal;
        entry.tally.stand = stand;
        entry.compared = true;
    }

    /// Notes what became of a key.
    pub fn settled(&mut self, seq: u64, verdict: Verdict) {
        let entry = self.entries.get_mut(&seq).expect("keys are settled after they were asked for");
        entry.left = entry.left.checked_sub(1).expect("each key is settled once");
        entry.tally.add(verdict, self.samples_max);
    }

    /// Takes the next settled range of the front: its last key and what it adds.
    pub fn take(&mut self) -> Option<(Option<Place>, Tally)> {
        let entry = self
            .entries
            .first_entry()
            .filter(|entry| *entry.key() == self.next)
            .filter(|entry| entry.get().compared && entry.get().left == 0)?;
        self.next += 1;
        let entry = entry.remove();
        Some((entry.upper, entry.tally))
    }

    /// How many ranges of the front were taken.
    pub fn taken(&self) -> u64 {
        self.next
    }

    /// Rows judged in ranges that wait for others, for the display.
    pub fn ahead(&self) -> u64 {
        self.entries.values().map(|entry| entry.tally.compared()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> RowKey {
        b"\x011".as_slice().into()
    }

    #[test]
    fn only_a_settled_front_is_taken() {
        let place = |n: u8| Some(Place { order: vec![n], cells: vec![vec![n]] });
        let mut ledger = Ledger::new(10);
        ledger.compared(1, place(20), 5, None);
        assert!(ledger.take().is_none(), "range 0 is missing");
        ledger.asked(0, 1);
        ledger.settled(0, Verdict::Gone);
        assert!(ledger.take().is_none(), "range 0 may have more keys");
        ledger.asked(0, 2);
        ledger.compared(0, place(10), 7, None);
        ledger.settled(0, Verdict::Equal);
        assert!(ledger.take().is_none(), "a key is left");
        ledger.settled(0, Verdict::Unsettled(key()));
        let (upper, tally) = ledger.take().unwrap();
        assert_eq!((upper, tally.matching, tally.unsettled), (place(10), 8, 1));
        assert_eq!(ledger.take().unwrap().1.compared(), 5);
        assert_eq!(ledger.taken(), 2);
        assert!(ledger.take().is_none());
    }

    #[test]
    fn differences_are_counted_by_who_has_the_row() {
        let mut tally = Tally::default();
        let differs = || {
            Verdict::Differs(Box::new(Finding {
                key: key(),
                target_key: None,
                source: None,
                target: None,
            }))
        };
        tally.add(differs(), 1);
        tally.add(differs(), 1);
        tally.add(Verdict::Gone, 1);
        assert_eq!((tally.extra_target, tally.findings.len(), tally.compared()), (2, 1, 2));
    }
}
