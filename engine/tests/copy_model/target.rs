//! The target: what survives a crash, and what REPLACE does there.

use shunt_engine::ranges::Bounds;

use crate::source::{Change, Op, Row, Source, Table};

/// A statement that did what must never happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Wrong {
    /// The unique key could not be built.
    Duplicate,
    /// REPLACE destroyed the row of another key, and the transaction did not write it again.
    Destroyed,
    /// A row of a chunk was on the target already.
    Met,
}

/// A copied range as the sidecar has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Done {
    pub(crate) bounds: Bounds<u8>,
    /// H and S together.
    pub(crate) settled: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub(crate) rows: Table,
    /// P.
    pub(crate) position: u8,
    /// Parts of the transaction after P are there.
    pub(crate) ahead: bool,
    pub(crate) done: Vec<Done>,
    pub(crate) epoch: u8,
    /// The second unique key exists.
    pub(crate) unique: bool,
    /// The sidecar says so.
    pub(crate) keys_built: bool,
    pub(crate) wrong: Option<Wrong>,
}

impl Target {
    pub(crate) fn new(position: u8) -> Self {
        Self {
            rows: Table::default(),
            position,
            ahead: false,
            done: Vec::new(),
            epoch: 0,
            unique: false,
            keys_built: false,
            wrong: None,
        }
    }

    /// All ranges are copied, and the position has passed every H and S: from here on the target is a copy.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_copied() && self.done.iter().all(|done| done.settled <= self.position)
    }

    pub(crate) fn is_copied(&self) -> bool {
        let mut lower = None;
        for done in &self.done {
            if done.bounds.lower != lower {
                return false;
            }
            lower = done.bounds.upper;
        }
        !self.done.is_empty() && lower.is_none()
    }

    /// Writes a chunk: rows, then the buffer over them. `known`: the order is, so no row is there yet.
    pub(crate) fn write(&mut self, source: &Source, known: bool, rows: &[Row], over: &[Change]) {
        let mut destroyed = 0;
        for row in rows {
            let met =
                self.rows[source.slot(row.key)].is_some() || self.holder(row, source).is_some();
            if known && met {
                self.wrong = Some(Wrong::Met);
            }
            self.replace(row, source, &mut destroyed);
        }
        self.apply(source, over, destroyed);
    }

    /// A group, or a buffer: the last operation of each key; all deletes, then all upserts.
    pub(crate) fn apply(&mut self, source: &Source, changes: &[Change], mut destroyed: u8) {
        let mut last: Vec<Change> = Vec::with_capacity(changes.len());
        for change in changes {
            match last.iter_mut().find(|(key, _)| *key == change.0) {
                Some(held) => held.1 = change.1,
                None => last.push(*change),
            }
        }
        for (key, op) in &last {
            if *op == Op::Delete {
                self.rows[source.slot(*key)] = None;
            }
        }
        for (_, op) in &last {
            if let Op::Upsert(row) = op {
                self.replace(row, source, &mut destroyed);
            }
        }
        // Parts that are applied once more go back in time and forward again, which repairs what they destroy.
        let gone = |slot: usize| destroyed & 1 << slot != 0 && self.rows[slot].is_none();
        if !self.ahead && (0..self.rows.len()).any(gone) {
            self.wrong = Some(Wrong::Destroyed);
        }
    }

    fn replace(&mut self, row: &Row, source: &Source, destroyed: &mut u8) {
        if let Some(holder) = self.holder(row, source) {
            self.rows[holder] = None;
            *destroyed |= 1 << holder;
        }
        self.rows[source.slot(row.key)] = Some(*row);
    }

    /// The other row that holds a row's unique value, if that must be unique.
    fn holder(&self, row: &Row, source: &Source) -> Option<usize> {
        let own = source.slot(row.key);
        let holds = |slot: usize| self.rows[slot].is_some_and(|held| held.unique == row.unique);
        if !self.unique {
            return None;
        }
        (0..self.rows.len()).find(|slot| *slot != own && holds(*slot))
    }

    pub(crate) fn build_unique(&mut self) {
        if self.unique {
            return;
        }
        let held: Vec<u8> = self.rows.iter().flatten().map(|row| row.unique).collect();
        if (1..held.len()).any(|at| held[..at].contains(&held[at])) {
            self.wrong = Some(Wrong::Duplicate);
        }
        self.unique = true;
    }
}
