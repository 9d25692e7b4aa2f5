//! Begins an attempt: reads what the sidecar and the servers say, connects the lanes and starts their tasks.

mod continuity;
mod tables;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use tokio::sync::{Mutex, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::applier::{self, Applied, Dispatched};
use super::owner::{Channels, Flow, Owned, Positions};
use super::table::Table;
use super::{StreamConfig, freeze};
use crate::apply::target::{RowTarget, Target, Tenure};
use crate::changes::reader::{self as binlog, Feed};
use crate::changes::{Assembler, Followed};
use crate::copy::encode::{Carrier, Form};
use crate::copy::keyless::{self, FromKeyless};
use crate::copy::queue::WriteQueue;
use crate::copy::reader::{self, FromReader};
use crate::copy::writer::{self, WriteWork, Written};
use crate::error::{Error, Result, ResultExt};
use crate::failpoints;
use crate::lag;
use crate::limits;
use crate::mysql::control::Control;
use crate::mysql::gtid::GtidSet;
use crate::mysql::snapshot::{
    LogPosition, ReadPosition, current_gtids, current_position, until_visible, visible_position,
};
use crate::mysql::wire::Wire;
use crate::runtime::budget::Budget;
use crate::runtime::tasks::{Task, TaskSet, spawn};
use crate::sidecar::lease::{self, Owner, Progress};
use crate::sidecar::stream::StreamRow;
use crate::sidecar::table_plan;
use crate::sidecar::wanted::Wanted;
use crate::sidecar::workflow::WorkflowRow;
use crate::throttle::{self, CommitTime, Throttle, Watched};
use crate::workflow::make::{make_tables, must_be_empty};

/// Channels between lanes hold little: chunks in flight are bounded by the owner, and so is all else.
const LANE_QUEUE: usize = 256;

/// What an attempt begins with.
#[derive(Debug)]
pub struct Beginning<'a> {
    /// The stream's servers and names.
    pub config: &'a StreamConfig,
    /// The workflow as the sidecar has it.
    pub workflow: &'a WorkflowRow,
    /// The stream as the sidecar has it.
    pub stream: &'a StreamRow,
    /// The ownership of this attempt.
    pub tenure: Tenure,
    /// This process.
    pub owner: &'a Owner,
    /// Who may ask it to freeze.
    pub freeze: &'a freeze::Wanted,
}

/// Makes everything ready for [`Owned::work`].
///
/// # Errors
/// Retry if a server cannot be reached, Stop if what is found does not fit what the sidecar remembers.
pub async fn connect(
    beginning: &Beginning<'_>,
    mut control: Control,
    cancel: CancellationToken,
) -> Result<Owned> {
    let Beginning { config, workflow, stream, tenure, owner, freeze } = *beginning;
    let mut wire = Wire::connect(&config.source).await.context("read the binlog")?;
    let source = wire.info().clone();
    let identity = source.identity.clone();
    let mut steward = Target::connect(&config.target, tenure).await?;
    let begins = !stream.has_begun();
    let now = position_now(&mut wire, begins).await.context("read the source's position")?;
    begin(beginning, &mut control, &cancel).await?;
    let start = start_position(&mut steward, tenure, stream, &now, &mut wire).await?;
    let (tables, settled) = read_tables(beginning, &mut control, &start, &mut wire).await?;
    wait_for_readers(&tables, &mut wire, begins).await?;
    let ddl_awaited = ddl_awaited(&tables, &mut wire).await?;
    let followed = Arc::new(tables.iter().map(followed).collect::<Vec<_>>());

    let writing = connect_writers(beginning, &mut control, &steward, &tables).await?;
    let mut tasks = TaskSet::default();
    let commit_time = Arc::new(AtomicU64::new(0));
    let (throttle, throttling) = start_throttle(beginning, &commit_time, &cancel);
    let deliveries = start_binlog(wire, workflow, &followed, &start, &mut tasks).await?;
    let carrier = carrier(&mut control, &writing.appliers).await?;
    let lanes = Lanes { config, tenure, identity: &identity, carrier, cancel: &cancel };
    let (groups, applied) = lanes.appliers(writing.appliers, &mut tasks);
    let readers = reading_lanes(workflow, &tables);
    let from_readers = lanes.readers(readers, &identity, &throttle, &mut tasks);
    let from_keyless = lanes.keyless(writing.keyless, &tables, &identity, &throttle, &mut tasks);
    let (writes, written) = lanes.writers(writing.writers, &mut tasks);
    let (sample_sender, samples) = mpsc::channel(LANE_QUEUE);
    tasks.spawn("lag", lag::run(config.source.clone(), sample_sender, cancel.clone()));
    let (progress, progress_receiver) = watch::channel(Progress::default());
    let (wanted_sender, wanted) = mpsc::channel(LANE_QUEUE);
    let renewing =
        start_renewals(control, tenure, owner.clone(), progress_receiver, wanted_sender, cancel);

    let channels = Channels {
        deliveries,
        groups,
        applied,
        from_readers,
        from_keyless,
        writes,
        written,
        samples,
        wanted,
        progress,
    };
    let positions = positions(now, start, settled)?;
    Ok(Owned {
        config: config.clone(),
        spec: workflow.spec.clone(),
        tenure,
        owner: owner.clone(),
        plans: tables.iter().map(|table| table.plan.clone()).collect(),
        tables,
        followed,
        positions,
        channels,
        tasks,
        steward,
        renewing,
        throttle,
        throttling,
        commit_time,
        noted: writing.noted,
        state: stream.state,
        flow: Flow::new(stream.rows_are_ahead()),
        ahead_until: stream.ahead_until.clone(),
        ddl_awaited,
        source,
        freeze: freeze.clone(),
    })
}

/// The tables, and where what is copied of them is equal to the source; which has to have that, and what is applied beyond its position.
async fn read_tables(
    beginning: &Beginning<'_>,
    control: &mut Control,
    start: &Start,
    wire: &mut Wire,
) -> Result<(Vec<Table>, GtidSet)> {
    let Beginning { config, workflow, stream, .. } = *beginning;
    let applied = &start.position.gtids;
    let (tables, settled) = tables::read(config, workflow, control, applied).await?;
    let mut beyond: Vec<GtidSet> = settled.beyond.into_iter().collect();
    beyond.extend(stream.ahead(applied.flavor())?);
    let same_server = stream.source_identity == wire.info().identity;
    continuity::check_beyond(wire, applied, &beyond, same_server).await?;
    Ok((tables, settled.at))
}

/// What comes before the first position is saved, and after it was read. The definitions are still those of create: later changes are
/// in the binlog behind the position. And the process that created the workflow may have died before it made the tables. What is in them
/// now, nobody has copied.
async fn begin(
    beginning: &Beginning<'_>,
    control: &mut Control,
    cancel: &CancellationToken,
) -> Result<()> {
    let Beginning { config, workflow, stream, .. } = *beginning;
    if stream.has_begun() {
        return Ok(());
    }
    tables::check_unchanged(config, workflow, control).await?;
    tables::check_unprepared(config, cancel).await?;
    let missing = table_plan::read(control, stream.id).await?;
    make_tables(&config.target, stream.id, &missing).await?;
    must_be_empty(control, &workflow.spec, &missing).await
}

/// Where the source is, if a table's definition has changed there: read after the definitions, so what changed them is before.
async fn ddl_awaited(tables: &[Table], wire: &mut Wire) -> Result<Option<GtidSet>> {
    if !tables.iter().any(|table| table.ddl_ahead) {
        return Ok(None);
    }
    Ok(Some(current_gtids(wire).await?))
}

/// Of a stream that goes on, snapshots are opened at the source's position as well, if there is still to be copied.
async fn wait_for_readers(tables: &[Table], wire: &mut Wire, begins: bool) -> Result<()> {
    if begins || tables.iter().all(Table::finished) {
        return Ok(());
    }
    until_visible(wire, limits::VISIBLE_WAIT_MAX).await
}

/// Where the source is. If the stream begins there, XA transactions are looked for next, and snapshots are opened at it: so all up to it has
/// to be visible.
async fn position_now(wire: &mut Wire, begins: bool) -> Result<ReadPosition> {
    let limit = limits::VISIBLE_WAIT_MAX;
    if begins {
        return visible_position(wire, limit).await;
    }
    let position = tokio::time::timeout(limit, current_position(wire)).await;
    position.map_err(|_| Error::retry("the source does not say where its binlog is"))?
}

fn positions(now: ReadPosition, start: Start, settled: GtidSet) -> Result<Positions> {
    let Start { position: start, placed_behind, .. } = start;
    let mut gtids = now.gtids;
    gtids.union(&start.gtids)?;
    let read = ReadPosition { gtids, log: now.log.max(start.log.clone()) };
    Ok(Positions { followed: start.gtids.clone(), applied: start, read, settled, placed_behind })
}

/// How many lanes read: none when all is copied.
fn reading_lanes(workflow: &WorkflowRow, tables: &[Table]) -> usize {
    if tables.iter().all(Table::finished) { 0 } else { workflow.spec.tuning.copy_readers }
}

fn start_throttle(
    beginning: &Beginning<'_>,
    commit_time: &CommitTime,
    cancel: &CancellationToken,
) -> (Throttle, Task<()>) {
    let config = beginning.config;
    let watched = Watched::new(
        config.source.clone(),
        config.target.clone(),
        config.replicas.clone(),
        beginning.workflow.spec.tuning.clone(),
        commit_time.clone(),
    );
    throttle::start(watched, cancel.clone())
}

fn followed(table: &Table) -> Followed {
    Followed { plan: table.plan.clone(), copying: AtomicBool::new(!table.finished()) }
}

/// Connections that write rows, noted in the lease.
struct Writing {
    appliers: Vec<RowTarget>,
    writers: Vec<RowTarget>,
    /// One for each keyless table that is to be copied.
    keyless: Vec<(usize, RowTarget)>,
    noted: Vec<u32>,
}

async fn connect_writers(
    beginning: &Beginning<'_>,
    control: &mut Control,
    steward: &Target,
    tables: &[Table],
) -> Result<Writing> {
    let (target, tenure) = (&beginning.config.target, beginning.tenure);
    let mut appliers = Vec::new();
    for _ in 0..beginning.workflow.spec.tuning.apply_lanes {
        appliers.push(RowTarget::connect_writing(target, tenure).await?);
    }
    let mut writers = Vec::new();
    for _ in 0..beginning.workflow.spec.tuning.copy_writers {
        writers.push(RowTarget::connect_writing(target, tenure).await?);
    }
    let mut keyless = Vec::new();
    for (index, table) in tables.iter().enumerate() {
        if table.plan.key.is_none() && !table.finished() {
            keyless.push((index, RowTarget::connect_writing(target, tenure).await?));
        }
    }
    let mut noted: Vec<u32> = writers.iter().chain(&appliers).map(RowTarget::id).collect();
    noted.extend(keyless.iter().map(|(_, target)| target.id()));
    noted.push(steward.id());
    lease::note_connections(control, tenure, beginning.owner, &noted).await?;
    Ok(Writing { appliers, writers, keyless, noted })
}

/// What all lanes share.
struct Lanes<'a> {
    config: &'a StreamConfig,
    tenure: Tenure,
    identity: &'a str,
    carrier: Carrier,
    cancel: &'a CancellationToken,
}

impl Lanes<'_> {
    fn appliers(
        &self,
        targets: Vec<RowTarget>,
        tasks: &mut TaskSet,
    ) -> (mpsc::Sender<Dispatched>, mpsc::Receiver<Applied>) {
        let (groups, receiver) = mpsc::channel(1);
        let receiver = Arc::new(Mutex::new(receiver));
        let (sender, applied) = mpsc::channel(LANE_QUEUE);
        for target in targets {
            let (source, work) = (self.identity.into(), receiver.clone());
            let lane = applier::run(target, self.tenure, source, work, sender.clone());
            tasks.spawn("applier", lane);
        }
        (groups, applied)
    }

    fn readers(
        &self,
        count: usize,
        identity: &str,
        throttle: &Throttle,
        tasks: &mut TaskSet,
    ) -> mpsc::Receiver<FromReader> {
        let (sender, from_readers) = mpsc::channel(LANE_QUEUE);
        for _ in 0..count {
            let lane = reader::run(
                self.config.source.clone(),
                identity.to_owned(),
                self.carrier,
                throttle.clone(),
                sender.clone(),
                self.cancel.clone(),
            );
            tasks.spawn("reader", lane);
        }
        from_readers
    }

    fn keyless(
        &self,
        targets: Vec<(usize, RowTarget)>,
        tables: &[Table],
        identity: &str,
        throttle: &Throttle,
        tasks: &mut TaskSet,
    ) -> mpsc::Receiver<FromKeyless> {
        let (stream, from_keyless) = mpsc::channel(LANE_QUEUE);
        for (table, target) in targets {
            let lane = keyless::Lane {
                table,
                plan: tables[table].plan.clone(),
                source: self.config.source.clone(),
                identity: identity.to_owned(),
                target,
                tenure: self.tenure,
                carrier: self.carrier,
                throttle: throttle.clone(),
                stream: stream.clone(),
            };
            tasks.spawn("keyless", lane.run(self.cancel.clone()));
        }
        from_keyless
    }

    fn writers(
        &self,
        targets: Vec<RowTarget>,
        tasks: &mut TaskSet,
    ) -> (mpsc::Sender<WriteWork>, mpsc::Receiver<Written>) {
        let (writes, arriving) = mpsc::channel(LANE_QUEUE);
        let queue = Arc::new(WriteQueue::new(arriving));
        let (sender, written) = mpsc::channel(LANE_QUEUE);
        for target in targets {
            let lane = writer::run(target, self.tenure, queue.clone(), sender.clone());
            tasks.spawn("writer", lane);
        }
        (writes, written)
    }
}

/// Where the stream goes on.
struct Start {
    position: ReadPosition,
    /// Whether its place in the files is known to be that of its GTIDs.
    is_placed: bool,
    /// See [`Positions`].
    placed_behind: Option<LogPosition>,
}

/// Where the stream goes on: at the saved position, or, the first time, at the source's position now, which is saved first.
async fn start_position(
    steward: &mut Target,
    tenure: Tenure,
    stream: &StreamRow,
    now: &ReadPosition,
    wire: &mut Wire,
) -> Result<Start> {
    let identity = wire.info().identity.clone();
    let flavor = now.gtids.flavor();
    match stream.position(flavor)? {
        Some(saved) => {
            let same_server = stream.source_identity == identity;
            let is_placed = continuity::check(wire, &saved, same_server).await?;
            let placed_behind = if is_placed {
                Some(LogPosition::default())
            } else {
                Some(now.log.clone()).filter(|_| now.gtids.contains_set(&saved.gtids))
            };
            // Files of another server have other names and offsets.
            let log = if same_server { saved.log } else { now.log.clone() };
            let position = ReadPosition { gtids: saved.gtids, log };
            Ok(Start { position, is_placed, placed_behind })
        }
        None => {
            let control = steward.begin().await?;
            crate::sidecar::stream::set_start(control, tenure, now, &identity).await?;
            failpoints::hit(failpoints::START_BEFORE_POSITION)?;
            steward.commit().await?;
            failpoints::hit(failpoints::START_AFTER_POSITION)?;
            let placed_behind = Some(LogPosition::default());
            Ok(Start { position: now.clone(), is_placed: true, placed_behind })
        }
    }
}

/// How rows are to travel.
async fn carrier(control: &mut Control, lanes: &[RowTarget]) -> Result<Carrier> {
    let row = control.row("SELECT @@global.local_infile").await?;
    let allowed = row.and_then(|row| row.text(0)).is_some_and(|text| text == "1");
    let carrier = Carrier::of(lanes.iter().all(RowTarget::takes_bulk), allowed);
    if carrier.rows == Form::Insert {
        tracing::info!("local_infile is off on the target: rows are inserted, which is slower");
    }
    Ok(carrier)
}

async fn start_binlog(
    wire: Wire,
    workflow: &WorkflowRow,
    followed: &Arc<Vec<Followed>>,
    start: &Start,
    tasks: &mut TaskSet,
) -> Result<mpsc::Receiver<binlog::Delivery>> {
    let database = &workflow.spec.source_database;
    let folds = wire.info().folds_names;
    let Start { position, is_placed, .. } = start;
    let feed = if *is_placed {
        Feed::open_at(wire, position).await?
    } else {
        Feed::open(wire, &position.gtids).await?
    };
    let assembler = Assembler::new(database, followed.clone(), position.log.clone(), folds);
    let (sender, deliveries) = mpsc::channel(limits::QUEUE_TRANSACTIONS_MAX);
    let budget = Budget::new(limits::QUEUE_BYTES_MAX);
    tasks.spawn("binlog", binlog::run(feed, assembler, sender, budget));
    Ok(deliveries)
}

/// Renews the lease until cancelled; gives its connection back at the end.
fn start_renewals(
    mut control: Control,
    tenure: Tenure,
    owner: Owner,
    progress: watch::Receiver<Progress>,
    wanted: mpsc::Sender<Wanted>,
    cancel: CancellationToken,
) -> Task<Control> {
    spawn("lease", async move {
        while crate::runtime::tasks::pause(limits::LEASE_RENEW, &cancel).await {
            let progress = progress.borrow().clone();
            let want = lease::renew(&mut control, tenure, &owner, &progress).await?;
            if wanted.send(want).await.is_err() {
                break;
            }
        }
        Ok(control)
    })
}
