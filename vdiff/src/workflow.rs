//! VDiffs of a workflow: registered in the sidecar, run by whoever takes the lease.

use std::time::Instant;

use shunt_engine::mysql::control::Control;
use shunt_engine::mysql::server::ServerConfig;
use shunt_engine::runtime::tasks;
use shunt_engine::sidecar;
use shunt_engine::sidecar::vdiff::{self, VdiffRow};
use shunt_engine::sidecar::wanted::Wanted;
use shunt_engine::workflow::state::StreamState;
use shunt_engine::workflow::status::{self, WorkflowStatus};
use shunt_engine::workflow::verbs;
use shunt_engine::{Error, ErrorKind, Result};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::archive::findings::Reporter;
use crate::fix::Fixer;
use crate::fixable;
use crate::limits;
use crate::report::{Record, State, TableRecord};
use crate::run::{self, Job};
use crate::sides::{Servers, Tie};
use crate::spec::Spec;
use crate::store::Store;
use crate::table::{Ended, Progress};

/// Registers a VDiff of a running workflow.
///
/// # Errors
/// Usage if the workflow has no such table, or is not running yet; if it is to repair a side that a switch has closed.
pub async fn create(
    control: &mut Control,
    workflow: &str,
    uuid: &str,
    spec: &Spec,
    tables: &[String],
    wanted: Wanted,
) -> Result<u64> {
    let status = status::read(control, workflow).await?;
    running_stream(&status)?;
    sidecar::prepare(control).await?;
    let all = &status.workflow.spec.tables;
    if let Some(unknown) = tables.iter().find(|table| !all.contains(table)) {
        return Err(Error::usage(format!("workflow {workflow} does not move a table {unknown:?}"))
            .advice(format!("It moves: {}", all.join(", "))));
    }
    let tables = if tables.is_empty() { all } else { tables };
    if spec.repair {
        for table in tables {
            let database = &status.workflow.spec.target_database;
            fixable::check_open(control, database, table).await?;
        }
    }
    let rows: Vec<vdiff::TableRow> = tables
        .iter()
        .map(|table| {
            let record = to_json(&TableRecord::new(table, table))?;
            let state = State::Pending.to_string();
            Ok(vdiff::TableRow { name: table.clone(), state, rows_compared: 0, record })
        })
        .collect::<Result<_>>()?;
    vdiff::insert(control, workflow, uuid, &to_json(spec)?, wanted, &rows).await
}

fn to_json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::stop("write a VDiff's record").source(error))
}

fn running_stream(status: &WorkflowStatus) -> Result<u64> {
    let name = status.workflow.spec.name();
    let [stream] = status.streams.as_slice() else {
        return Err(Error::usage(format!("workflow {name} has not exactly one stream")));
    };
    match stream.row.state {
        StreamState::Running => Ok(stream.row.id),
        state => Err(Error::usage(format!(
            "workflow {name} is in state {state}: its tables can be compared once it is Running"
        ))
        .advice(until_running(&name, state))),
    }
}

/// How a stream comes to run.
fn until_running(name: &str, state: StreamState) -> String {
    match state {
        StreamState::Init | StreamState::Copying | StreamState::CatchUp | StreamState::Running => {
            format!("Wait for it: `shunt movetables wait {name} --for running`.")
        }
        StreamState::Stopped => format!("Start it: `shunt workflow start {name}`."),
        StreamState::Error => format!(
            "`shunt movetables status {name}` says what happened. Then start it: `shunt workflow start {name}`."
        ),
        StreamState::Frozen => "The writes are switched to the other side: compare the workflow that leads back, which `shunt workflow list` names."
            .into(),
    }
}

/// Which of a workflow's VDiffs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The latest.
    Last,
    /// Every one.
    All,
    /// That of this name.
    Uuid(String),
}

impl std::str::FromStr for Which {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "last" => Self::Last,
            "all" => Self::All,
            uuid => Self::Uuid(uuid.to_owned()),
        })
    }
}

/// VDiffs of a workflow, the latest first.
///
/// # Errors
/// Usage if there is none of that name.
pub async fn find(control: &mut Control, workflow: &str, which: &Which) -> Result<Vec<VdiffRow>> {
    status::read(control, workflow).await?;
    sidecar::prepare(control).await?;
    let mut rows = vdiff::of_workflow(control, workflow).await?;
    match which {
        Which::All => return Ok(rows),
        Which::Last => rows.truncate(1),
        Which::Uuid(uuid) => rows.retain(|row| row.uuid == *uuid),
    }
    if rows.is_empty() {
        return Err(Error::usage(format!("workflow {workflow} has no such VDiff"))
            .advice(format!("`shunt vdiff show {workflow} all` lists them.")));
    }
    Ok(rows)
}

/// A VDiff with its results so far.
///
/// # Errors
/// Stop if the sidecar's text is broken.
pub async fn record(control: &mut Control, row: &VdiffRow) -> Result<Record> {
    let (keyspace, workflow) = row.workflow.split_once('.').unwrap_or(("", &row.workflow));
    let mut tables = Vec::new();
    for table in vdiff::tables(control, row.id).await? {
        let record: TableRecord = serde_json::from_str(&table.record)
            .map_err(|error| Error::stop("read a VDiff's record").source(error))?;
        tables.push(record);
    }
    Ok(Record {
        workflow: workflow.to_owned(),
        keyspace: keyspace.to_owned(),
        uuid: row.uuid.clone(),
        state: row.state.parse()?,
        message: row.message.clone(),
        started_s: row.started_s,
        completed_s: row.completed_s,
        tables,
        ..Record::default()
    })
}

/// What a process needs to run a VDiff.
#[derive(Clone, Debug)]
pub struct Work {
    /// The server that the workflow reads.
    pub source: ServerConfig,
    /// The server with the workflow's state.
    pub target: ServerConfig,
    /// The VDiff.
    pub row: VdiffRow,
}

impl Work {
    /// Whether it is left to be taken up again, after an error that may pass.
    pub fn waits_after(&self, error: &Error) -> bool {
        error.kind() == ErrorKind::Retry && spec(self).is_ok_and(|spec| spec.auto_retry)
    }
}

/// Runs a VDiff if its lease is free; `None` if another process runs it. How it ended is saved.
///
/// # Errors
/// Whatever ends it.
pub async fn execute(
    work: &Work,
    progress: &watch::Sender<Progress>,
    cancel: &CancellationToken,
) -> Result<Option<Ended>> {
    let mut control = verbs::connect(&work.target).await?;
    let owner = uuid::Uuid::now_v7().to_string();
    if !vdiff::take(&mut control, work.row.id, &owner).await? {
        return Ok(None);
    }
    let mut store = Store::Sidecar { control: Box::new(control), id: work.row.id, owner };
    store.set_state(State::Started, "").await?;
    let ended = Box::pin(compare(work, &mut store, progress, cancel)).await;
    let (state, message) = match &ended {
        Ok(Ended::Completed) => (State::Completed, String::new()),
        // Whoever is asked to end leaves it to others; only the operator's wish stops it.
        Ok(_) if cancel.is_cancelled() => (State::Pending, String::new()),
        Ok(_) => (State::Stopped, String::new()),
        Err(error) if error.kind() == ErrorKind::LeaseLost => return ended.map(Some),
        // It goes on where it is, once somebody looks again.
        Err(error) if work.waits_after(error) => (State::Pending, error.to_string()),
        Err(error) => (State::Error, error.to_string()),
    };
    // The connection may be what failed.
    if store.set_state(state, &message).await.is_err()
        && let Store::Sidecar { control, .. } = &mut store
    {
        **control = verbs::connect(&work.target).await?;
        store.set_state(state, &message).await?;
    }
    ended.map(Some)
}

fn spec(work: &Work) -> Result<Spec> {
    serde_json::from_str(&work.row.spec)
        .map_err(|error| Error::stop("read a VDiff's specification").source(error))
}

async fn compare(
    work: &Work,
    store: &mut Store,
    progress: &watch::Sender<Progress>,
    cancel: &CancellationToken,
) -> Result<Ended> {
    let (job, mut tables) = store.keep_lease(prepare(work, cancel)).await?;
    let mut fixer = if job.spec.repair { Fixer::repair() } else { Fixer::Nothing };
    let mut reporter = Reporter::none();
    run::run(&job, &mut tables, store, &mut fixer, &mut reporter, progress, cancel).await
}

/// What is to be compared, and what is known of it.
async fn prepare(work: &Work, cancel: &CancellationToken) -> Result<(Job, Vec<TableRecord>)> {
    let mut control = verbs::connect(&work.target).await?;
    let status = settled(&mut control, &work.row.workflow, cancel).await?;
    let spec = spec(work)?;
    let tie = Tie::Stream { id: running_stream(&status)? };
    let servers = Servers { source: work.source.clone(), target: work.target.clone(), tie };
    let tables = record(&mut control, &work.row).await?.tables;
    control.close().await;
    let job = Job {
        servers,
        source_database: status.workflow.spec.source_database,
        target_database: status.workflow.spec.target_database,
        spec,
    };
    Ok((job, tables))
}

/// The workflow; a stream that another worker is just taking over is waited for.
async fn settled(
    control: &mut Control,
    workflow: &str,
    cancel: &CancellationToken,
) -> Result<WorkflowStatus> {
    let started = Instant::now();
    loop {
        let status = status::read(control, workflow).await?;
        let state = status.streams.first().map(|stream| stream.row.state);
        let passing = matches!(state, Some(StreamState::Init | StreamState::CatchUp));
        if !passing
            || started.elapsed() > limits::TARGET_WAIT
            || !tasks::pause(limits::LOOK_PAUSE, cancel).await
        {
            return Ok(status);
        }
    }
}
