//! The stream's one owner of all changing state: takes one event at a time, or a crowd of small transactions, and decides what the
//! lanes do next.
//!
//! Order of attention: the operator, the lease, failures, what has committed on the target, what was read of the source. So
//! results are always taken before new work, and nothing that is owed to the operator waits behind more rows than a crowd has.
//!
//! Invariants:
//! - No range is opened in the middle of a large transaction: what was routed of it before would lie before R and not be in
//!   the snapshot.
//! - A group is cut at the gate of every table (`ranges`); how many are under way is `groups`' to say.
//! - Chunks in memory are at most readers + writers.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::applier::{Applied, Dispatched};
use super::groups::Groups;
use super::queue::{Queue, Queued, QueuedWork};
use super::table::Table;
use super::{Ended, StreamConfig, freeze};
use crate::apply::target::{Target, Tenure};
use crate::changes::reader::Delivery;
use crate::changes::{Followed, Item, RowOp, Transaction, Work};
use crate::copy::keyless::FromKeyless;
use crate::copy::reader::{FromReader, ReadWork};
use crate::copy::writer::{WriteWork, Written};
use crate::error::{Error, Result};
use crate::lag::{Lag, Sample};
use crate::limits;
use crate::mysql::control::Control;
use crate::mysql::gtid::{Gtid, GtidSet};
use crate::mysql::server::ServerInfo;
use crate::mysql::snapshot::{LogPosition, ReadPosition};
use crate::plan::TablePlan;
use crate::ranges::Seq;
use crate::runtime::budget::Share;
use crate::runtime::tasks::{Task, TaskSet};
use crate::sidecar::lease::{Owner, Progress};
use crate::sidecar::wanted::Wanted;
use crate::throttle::{CommitTime, Throttle};
use crate::workflow::spec::WorkflowSpec;
use crate::workflow::state::StreamState;

/// The ends of all channels that the owner holds.
#[derive(Debug)]
pub struct Channels {
    /// Transactions from the binlog.
    pub deliveries: mpsc::Receiver<Delivery>,
    /// Groups to the applier.
    pub groups: mpsc::Sender<Dispatched>,
    /// Committed groups.
    pub applied: mpsc::Receiver<Applied>,
    /// Questions and chunks from the readers.
    pub from_readers: mpsc::Receiver<FromReader>,
    /// What the lanes of keyless tables say.
    pub from_keyless: mpsc::Receiver<FromKeyless>,
    /// Closed chunks to the writers.
    pub writes: mpsc::Sender<WriteWork>,
    /// Committed chunks.
    pub written: mpsc::Receiver<Written>,
    /// The source's position over time.
    pub samples: mpsc::Receiver<Sample>,
    /// What the operator wants, at each renewal of the lease.
    pub wanted: mpsc::Receiver<Wanted>,
    /// What is shown of the stream.
    pub progress: watch::Sender<Progress>,
}

/// The stream's positions.
#[derive(Debug)]
pub struct Positions {
    /// What the sidecar has: everything up to here is on the target.
    pub applied: ReadPosition,
    /// What has been routed: the saved position and every transaction since.
    pub followed: GtidSet,
    /// R: an upper bound of what has been routed, which snapshots must contain.
    pub read: ReadPosition,
    /// When this has been applied, every copied range is equal to the source at the applied position.
    pub settled: GtidSet,
    /// Behind this place of the source's files the ends of transactions are those of the GTIDs; none if that is not known of any.
    pub placed_behind: Option<LogPosition>,
}

impl Positions {
    /// The place of a transaction's end as it is saved. A source that is another server than before may have what was applied already in
    /// another order, up to where it stood when the stream went on there: no place before that is one of the position, so none is saved.
    pub(super) fn place(&self, end: LogPosition) -> LogPosition {
        match &self.placed_behind {
            Some(behind) if end > *behind => end,
            _ => LogPosition::default(),
        }
    }
}

/// An attempt with everything connected.
#[derive(Debug)]
pub struct Owned {
    pub(super) config: StreamConfig,
    pub(super) spec: WorkflowSpec,
    pub(super) tenure: Tenure,
    pub(super) owner: Owner,
    pub(super) tables: Vec<Table>,
    pub(super) plans: Vec<Arc<TablePlan>>,
    pub(super) followed: Arc<Vec<Followed>>,
    pub(super) positions: Positions,
    pub(super) channels: Channels,
    pub(super) tasks: TaskSet,
    /// Writes the stream's state under its epoch.
    pub(super) steward: Target,
    /// Renews the lease; gives its connection back.
    pub(super) renewing: Task<Control>,
    pub(super) throttle: Throttle,
    pub(super) throttling: Task<()>,
    pub(super) commit_time: CommitTime,
    /// Connections noted in the lease.
    pub(super) noted: Vec<u32>,
    pub(super) state: StreamState,
    /// Work of this transaction is on the target already, by an owner that could not save its position.
    pub(super) ahead_until: Option<String>,
    /// A table's definition on the source is not the one at the position; DDL before this must be what changed it.
    pub(super) ddl_awaited: Option<GtidSet>,
    /// Who the source is.
    pub(super) source: ServerInfo,
    /// Who may ask it to freeze, and at which position.
    pub(super) freeze: freeze::Wanted,
    pub(super) flow: Flow,
}

/// What changes from event to event.
#[derive(Debug, Default)]
pub struct Flow {
    /// Deliveries that were taken.
    pub(super) delivered: u64,
    /// Routed and not yet applied.
    pub(super) queue: Queue,
    /// The number of the last transaction routed as a whole.
    pub(super) seq: Seq,
    /// The number of the last transaction applied.
    pub(super) applied_seq: Seq,
    /// A large transaction is being routed in parts.
    pub(super) in_parts: Option<Gtid>,
    /// Parts of a transaction are on the target, and its end is not: the target is at no position of the source.
    pub(super) ahead: bool,
    /// What the appliers have.
    pub(super) groups: Groups,
    /// Readers that wait for a range.
    pub(super) wants: Vec<oneshot::Sender<ReadWork>>,
    /// When the position was saved last: positions alone are saved at most so often.
    pub(super) saved_at: Option<Instant>,
    /// When it was last seen whether it can be saved: while the gate is shut it cannot.
    pub(super) save_tried_at: Option<Instant>,
    /// When the lease was renewed last.
    pub(super) renewed_at: Option<Instant>,
    pub(super) lag: Lag,
    pub(super) changes_applied: u64,
    pub(super) keys: TaskSet,
    pub(super) keys_left: usize,
    pub(super) keys_done: Option<mpsc::Receiver<usize>>,
}

impl Flow {
    /// Of an attempt that begins; with parts of a transaction on the target or not.
    pub(super) fn new(ahead: bool) -> Self {
        Self { ahead, renewed_at: Some(Instant::now()), ..Self::default() }
    }
}

enum Event {
    Cancelled,
    Wanted(Wanted),
    Freeze,
    Failed(Error),
    Applied(Applied),
    Written(Written),
    KeysBuilt(usize),
    Reader(FromReader),
    Keyless(FromKeyless),
    Sample(Sample),
    Delivery(Box<Delivery>),
    SaveTime,
}

impl Owned {
    /// Works until stopped, cancelled or failed.
    ///
    /// # Errors
    /// Whatever ends the attempt.
    pub async fn work(&mut self, cancel: &CancellationToken) -> Result<Ended> {
        self.settle_state().await?;
        loop {
            let event = self.next_event(cancel).await?;
            if let Some(ended) = self.handle(event)? {
                return Ok(ended);
            }
            if let Some(ended) = self.advance().await? {
                return Ok(ended);
            }
        }
    }

    /// The next thing to attend to, in the order that the module's doc gives. Every branch is cancel-safe.
    async fn next_event(&mut self, cancel: &CancellationToken) -> Result<Event> {
        let channels = &mut self.channels;
        let gone = |what: &str| Error::retry(format!("the {what} lane ended"));
        let save_due = async {
            match self.flow.saved_at.max(self.flow.save_tried_at) {
                Some(at) => tokio::time::sleep_until((at + limits::SAVE_INTERVAL).into()).await,
                None => tokio::time::sleep(limits::SAVE_INTERVAL).await,
            }
        };
        let keys_built = async {
            match &mut self.flow.keys_done {
                Some(done) => done.recv().await,
                None => std::future::pending().await,
            }
        };
        Ok(tokio::select! {
            biased;
            () = cancel.cancelled() => Event::Cancelled,
            wanted = channels.wanted.recv() => Event::Wanted(wanted.ok_or_else(|| {
                Error::new(crate::error::ErrorKind::Retry, "the lease could not be renewed")
            })?),
            Ok(()) = self.freeze.changed() => Event::Freeze,
            error = self.tasks.failure() => Event::Failed(error),
            error = self.flow.keys.failure() => Event::Failed(error),
            applied = channels.applied.recv() => Event::Applied(applied.ok_or_else(|| gone("applying"))?),
            written = channels.written.recv() => Event::Written(written.ok_or_else(|| gone("writing"))?),
            Some(table) = keys_built => Event::KeysBuilt(table),
            Some(said) = channels.from_readers.recv() => Event::Reader(said),
            Some(said) = channels.from_keyless.recv() => Event::Keyless(said),
            Some(sample) = channels.samples.recv() => Event::Sample(sample),
            delivery = channels.deliveries.recv() => {
                Event::Delivery(Box::new(delivery.ok_or_else(|| gone("binlog"))?))
            }
            () = save_due, if !self.flow.queue.is_empty() && self.flow.groups.is_empty() => Event::SaveTime,
        })
    }

    fn handle(&mut self, event: Event) -> Result<Option<Ended>> {
        match event {
            Event::Cancelled => return Ok(Some(Ended::Cancelled)),
            Event::Wanted(Wanted::Stop) => return Ok(Some(Ended::Stopped)),
            Event::Wanted(Wanted::Run) => self.flow.renewed_at = Some(Instant::now()),
            Event::Freeze => {}
            Event::SaveTime => self.flow.save_tried_at = Some(Instant::now()),
            Event::Failed(error) => return Err(error),
            Event::Applied(applied) => self.applied(applied),
            Event::Written(written) => self.written(written),
            Event::KeysBuilt(table) => {
                self.tables[table].row.keys_built = true;
                self.flow.keys_left -= 1;
            }
            Event::Keyless(said) => self.keyless_said(said),
            Event::Reader(FromReader::Want(answer)) => self.flow.wants.push(answer),
            Event::Reader(FromReader::Read(chunk)) => self.chunk_read(chunk)?,
            Event::Reader(FromReader::GaveUp { table, range }) => {
                if let Some(ranges) = self.tables[table].ranges()
                    && ranges.is_open(range)
                {
                    ranges.give_up(range);
                }
            }
            // Samples come all the time, and behind renewals: some of those may wait that came while DDL was run.
            Event::Sample(sample) => {
                if self.flow.renewed_at.is_some_and(|at| at.elapsed() > limits::TARGET_SILENCE_MAX)
                {
                    return Err(Error::retry("the target does not answer, and its lease is over"));
                }
                self.flow.lag.sample(sample);
                self.flow.lag.applied(&self.positions.applied.gtids);
            }
            Event::Delivery(delivery) => self.crowd(*delivery)?,
        }
        Ok(None)
    }

    /// Gives the lanes whatever they can do now.
    async fn advance(&mut self) -> Result<Option<Ended>> {
        self.open_ranges();
        self.advance_keyless()?;
        // Before the next group: under load there is always one, and what waits for none to be out would wait for ever.
        if let Some(ended) = self.settle_state().await? {
            return Ok(Some(ended));
        }
        if self.flow.keys_left > 0 {
            self.show();
            return Ok(None);
        }
        let mut ended = None;
        if self.flow.groups.is_empty() {
            if self.is_to_freeze() {
                return self.freeze_now().await.map(Some);
            }
            ended = self.next_group().await?;
        }
        while ended.is_none() && self.next_beside().await? {}
        self.show();
        Ok(ended)
    }

    // ---- the source's changes

    /// Takes a transaction, and small ones that wait behind it: a turn for each would cost more than they do. Whatever goes before rows
    /// ends the crowd, and so does a large transaction: between two of them ranges may be opened.
    fn crowd(&mut self, first: Delivery) -> Result<()> {
        let (mut next, mut taken, mut bytes) = (Some(first), 0, 0);
        while let Some(delivery) = next.take() {
            taken += 1;
            bytes += delivery.item.bytes();
            let large = self.flow.in_parts.is_some() || matches!(delivery.item, Item::Part { .. });
            self.delivered(delivery)?;
            let full = taken == limits::CROWD_TRANSACTIONS_MAX || bytes >= limits::CROWD_BYTES_MAX;
            if !full && !large && !self.is_called() {
                // That nothing can come any more is for `next_event` to say.
                next = self.channels.deliveries.try_recv().ok();
            }
        }
        Ok(())
    }

    /// Whether something waits that goes before what was read.
    fn is_called(&self) -> bool {
        let channels = &self.channels;
        !(channels.wanted.is_empty()
            && channels.applied.is_empty()
            && channels.written.is_empty()
            && channels.from_readers.is_empty()
            && channels.from_keyless.is_empty())
    }

    /// Routes one. That one was lost on the way here would be seen nowhere else, but on the target.
    fn delivered(&mut self, delivery: Delivery) -> Result<()> {
        if delivery.number != self.flow.delivered {
            return Err(Error::retry("a transaction that was read was not handed on")
                .advice("This is a fault of shunt: the stream goes on from its saved position. Please report it."));
        }
        self.flow.delivered += 1;
        match delivery.item {
            Item::Part { gtid, rows, .. } => {
                self.flow.in_parts = Some(gtid.clone());
                let rows = self.route(&gtid, rows);
                let seq = Seq(self.flow.seq.0 + 1);
                self.enqueue(seq, gtid, QueuedWork::Part(rows), delivery.share);
            }
            Item::Transaction(transaction) => self.transaction(transaction, delivery.share)?,
        }
        Ok(())
    }

    fn transaction(&mut self, transaction: Transaction, share: Share) -> Result<()> {
        let Transaction { gtid, end, work, .. } = transaction;
        let seq = Seq(self.flow.seq.0 + 1);
        let work = match work {
            Work::Rows(rows) => {
                QueuedWork::Rows { rows: self.route(&gtid, rows), end: end.clone() }
            }
            Work::Truncate(table) => {
                // What is open may hold rows from before; nothing is opened until the target is emptied as well.
                self.tables[table].give_up_open();
                self.tables[table].opens_after = Some(seq);
                QueuedWork::Truncate { table, end: end.clone() }
            }
            Work::Ddl { tables, statement } => {
                QueuedWork::Ddl { tables, statement, end: end.clone() }
            }
        };
        self.flow.in_parts = None;
        self.flow.seq = seq;
        self.positions.followed.insert(&gtid)?;
        self.positions.read.gtids.insert(&gtid)?;
        if end > self.positions.read.log {
            self.positions.read.log = end;
        }
        self.enqueue(seq, gtid, work, share);
        Ok(())
    }

    /// What has no rows takes its place all the same: while keys are built, those of a busy server would grow without end.
    fn enqueue(&mut self, seq: Seq, gtid: Gtid, work: QueuedWork, mut share: Share) {
        if matches!(&work, QueuedWork::Rows { rows, .. } | QueuedWork::Part(rows) if rows.is_empty())
        {
            share.shrink();
        }
        self.flow.queue.push(Queued { seq, gtid, work, share });
    }

    /// Routes rows; what is to be applied is left.
    fn route(&mut self, gtid: &Gtid, mut rows: Vec<RowOp>) -> Vec<RowOp> {
        rows.retain(|op| self.tables[op.table].route(gtid, op));
        for table in &mut self.tables {
            table.give_up_overfull(limits::OPEN_BUFFER_BYTES_MAX, limits::KEYLESS_BUFFER_BYTES_MAX);
        }
        rows
    }

    /// Ends the lanes; gives back the connections that write the state and hold the lease.
    pub async fn end(self) -> (Target, Result<Control>) {
        drop(self.tasks);
        drop(self.throttling);
        drop(self.channels);
        (self.steward, self.renewing.join().await)
    }
}
