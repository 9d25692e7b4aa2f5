//! What has been read and is to be applied: whole transactions in binlog order, and how many of them make the next group.

use std::collections::VecDeque;
use std::sync::Arc;

use super::applier::{GroupWork, Step};
use crate::apply::group::Group;
use crate::changes::RowOp;
use crate::changes::ddl::DdlStatement;
use crate::error::Result;
use crate::limits;
use crate::mysql::gtid::{Gtid, GtidSet};
use crate::mysql::snapshot::{LogPosition, ReadPosition};
use crate::plan::TablePlan;
use crate::ranges::Seq;
use crate::runtime::budget::Share;

/// A transaction, or a part of one, after routing: only what is to be applied is left.
#[derive(Debug)]
pub struct Queued {
    /// Its number; parts have that of their transaction.
    pub seq: Seq,
    /// Its name.
    pub gtid: Gtid,
    /// What it is.
    pub work: QueuedWork,
    /// The memory it holds.
    pub share: Share,
}

/// What a queued entry does.
#[derive(Debug)]
pub enum QueuedWork {
    /// Rows of a transaction that goes on.
    Part(Vec<RowOp>),
    /// The end of a transaction, with its (remaining) rows.
    Rows {
        /// The rows.
        rows: Vec<RowOp>,
        /// Where it ends.
        end: LogPosition,
    },
    /// A moved table is emptied.
    Truncate {
        /// Index of the table.
        table: usize,
        /// Where it ends.
        end: LogPosition,
    },
    /// DDL on moved tables; applied by the stream itself.
    Ddl {
        /// Indexes of the tables.
        tables: Vec<usize>,
        /// The statement.
        statement: DdlStatement,
        /// Where it ends.
        end: LogPosition,
    },
}

impl QueuedWork {
    /// What its rows hold in memory.
    fn bytes(&self) -> usize {
        match self {
            Self::Part(rows) | Self::Rows { rows, .. } => rows.iter().map(|row| row.bytes).sum(),
            Self::Truncate { .. } | Self::Ddl { .. } => 0,
        }
    }

    fn changes_rows(&self) -> bool {
        match self {
            Self::Part(rows) | Self::Rows { rows, .. } => !rows.is_empty(),
            Self::Truncate { .. } | Self::Ddl { .. } => true,
        }
    }
}

/// What is next.
#[derive(Debug)]
pub enum Next {
    /// Nothing may be applied now.
    Nothing,
    /// A group.
    Group(Box<GroupWork>),
    /// DDL is at the front, everything before it is applied.
    Ddl(Box<Queued>),
}

/// The queue.
#[derive(Debug, Default)]
pub struct Queue {
    entries: VecDeque<Queued>,
    /// Of all entries' rows.
    bytes: usize,
    /// Entries that change rows.
    with_rows: usize,
}

impl Queue {
    /// Adds what was routed.
    pub fn push(&mut self, queued: Queued) {
        self.count(&queued.work);
        self.entries.push_back(queued);
    }

    /// Puts an entry back to the front.
    pub fn push_front(&mut self, queued: Queued) {
        self.count(&queued.work);
        self.entries.push_front(queued);
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether more waits than a group may merge.
    pub fn is_long(&self) -> bool {
        self.entries.len() > limits::GROUP_TRANSACTIONS_MAX
    }

    /// Whether anything waits that changes rows.
    pub fn has_rows(&self) -> bool {
        self.with_rows > 0
    }

    fn count(&mut self, work: &QueuedWork) {
        self.bytes += work.bytes();
        self.with_rows += usize::from(work.changes_rows());
    }

    /// Whether rows of whole transactions are at the front, and so many bytes of rows in all.
    pub fn holds_rows(&self, bytes: usize) -> bool {
        let front = self.entries.front().map(|entry| &entry.work);
        self.bytes >= bytes && matches!(front, Some(QueuedWork::Rows { .. }))
    }

    /// The front, of which the caller has seen that it is there.
    fn pop(&mut self) -> Queued {
        let front = self.entries.pop_front().expect("there is a front");
        self.bytes -= front.work.bytes();
        self.with_rows -= usize::from(front.work.changes_rows());
        front
    }

    /// Takes the next group: whole transactions up to `gate`, up to the bounds of a group. A part of a large transaction is
    /// a group by itself; DDL is handed out alone.
    pub fn next(
        &mut self,
        gate: Option<Seq>,
        from: &ReadPosition,
        bytes_max: usize,
        plans: &[Arc<TablePlan>],
    ) -> Result<Next> {
        let open = |entry: &Queued| gate.is_none_or(|gate| entry.seq <= gate);
        match self.entries.front() {
            None => return Ok(Next::Nothing),
            Some(front) if !open(front) => return Ok(Next::Nothing),
            Some(Queued { work: QueuedWork::Ddl { .. }, .. }) => {
                let front = self.pop();
                return Ok(Next::Ddl(Box::new(front)));
            }
            Some(Queued { work: QueuedWork::Part(_), .. }) => return Ok(self.part()),
            Some(_) => {}
        }
        let mut filling = Filling::new(from);
        while let Some(entry) = self.entries.front() {
            let whole = matches!(entry.work, QueuedWork::Rows { .. } | QueuedWork::Truncate { .. });
            if !open(entry) || !whole || filling.is_full(bytes_max) {
                break;
            }
            let entry = self.pop();
            filling.add(entry, plans)?;
        }
        Ok(Next::Group(Box::new(filling.finish(from.gtids.clone()))))
    }

    fn part(&mut self) -> Next {
        let front = self.pop();
        let mut group = Group::default();
        let mut changes = 0;
        if let QueuedWork::Part(rows) = front.work {
            changes = count(&rows);
            add_rows(&mut group, rows);
        }
        Next::Group(Box::new(GroupWork {
            group,
            changes,
            step: Step::PartOf(front.gtid),
            shares: vec![front.share],
        }))
    }
}

fn count(rows: &[RowOp]) -> u64 {
    u64::try_from(rows.len()).unwrap_or(u64::MAX)
}

fn add_rows(group: &mut Group, rows: Vec<RowOp>) -> usize {
    let mut bytes = 0;
    for row in rows {
        bytes += row.bytes;
        group.add(row.table, row.identity, row.op);
    }
    bytes
}

/// A group as it grows.
struct Filling {
    group: Group,
    to: ReadPosition,
    last: Seq,
    shares: Vec<Share>,
    transactions: usize,
    changes: u64,
    bytes: usize,
}

impl Filling {
    fn new(from: &ReadPosition) -> Self {
        Self {
            group: Group::default(),
            to: from.clone(),
            last: Seq(0),
            shares: Vec::new(),
            transactions: 0,
            changes: 0,
            bytes: 0,
        }
    }

    fn is_full(&self, bytes_max: usize) -> bool {
        self.transactions >= limits::GROUP_TRANSACTIONS_MAX || self.bytes >= bytes_max
    }

    fn add(&mut self, entry: Queued, plans: &[Arc<TablePlan>]) -> Result<()> {
        self.to.gtids.insert(&entry.gtid)?;
        self.last = entry.seq;
        self.shares.push(entry.share);
        self.transactions += 1;
        match entry.work {
            QueuedWork::Rows { rows, end } => {
                self.changes += count(&rows);
                self.bytes += add_rows(&mut self.group, rows);
                self.to.log = end;
            }
            QueuedWork::Truncate { table, end } => {
                self.group.empty(table, &plans[table]);
                self.to.log = end;
            }
            QueuedWork::Part(_) | QueuedWork::Ddl { .. } => unreachable!("only whole transactions"),
        }
        Ok(())
    }

    fn finish(self, from: GtidSet) -> GroupWork {
        GroupWork {
            group: self.group,
            changes: self.changes,
            step: Step::To { from, to: self.to, last: self.last },
            shares: self.shares,
        }
    }
}
