//! A workflow as it is now: what the sidecar says, in one value.

use crate::error::{Error, Result};
use crate::mysql::control::Control;
use crate::sidecar::lease::{self, Progress};
use crate::sidecar::range::{self, Copied};
use crate::sidecar::stream::{self, StreamRow};
use crate::sidecar::table_plan::{self, TableRow};
use crate::sidecar::workflow::{self, WorkflowRow};
use crate::workflow::state::StreamState;

/// A workflow with its streams.
#[derive(Clone, Debug)]
pub struct WorkflowStatus {
    /// What was asked for.
    pub workflow: WorkflowRow,
    /// Its streams.
    pub streams: Vec<StreamStatus>,
}

/// A stream with its tables.
#[derive(Clone, Debug)]
pub struct StreamStatus {
    /// Its row.
    pub row: StreamRow,
    /// Whether a worker holds its lease.
    pub owned: bool,
    /// What its owner said last.
    pub progress: Progress,
    /// Its tables.
    pub tables: Vec<TableStatus>,
}

/// A table and how far it is copied.
#[derive(Clone, Debug)]
pub struct TableStatus {
    /// What was decided at create.
    pub row: TableRow,
    /// What is copied.
    pub copied: Copied,
    /// The upper ends of what is copied without a gap from the start, in hexadecimal; `None` if nothing is.
    pub lastpk: Option<String>,
    /// Whether all of it is copied.
    pub done: bool,
}

impl TableStatus {
    /// `not started`, `copying`, `building keys`, `copied`.
    pub fn phase(&self) -> &'static str {
        match (self.done, self.row.keys_built, self.copied.rows) {
            (true, true, _) => "copied",
            (true, false, _) => "building keys",
            (false, _, 0) => "not started",
            (false, _, _) => "copying",
        }
    }

    /// How much of it is copied; an estimate until it is done.
    pub fn percent(&self) -> u64 {
        if self.done {
            return 100;
        }
        (self.copied.rows * 100).checked_div(self.row.rows_estimate.max(1)).unwrap_or(0).min(99)
    }
}

/// The error where a workflow is not known.
pub(crate) fn no_workflow(name: &str) -> Error {
    let keyspace = name.split('.').next().unwrap_or(name);
    Error::usage(format!("there is no workflow {name}"))
        .advice(format!("`shunt workflow list {keyspace}` lists those that there are."))
}

/// The workflow of this name.
///
/// # Errors
/// Usage if there is none.
pub async fn read(target: &mut Control, name: &str) -> Result<WorkflowStatus> {
    let missing = || no_workflow(name);
    if !crate::sidecar::exists(target).await? {
        return Err(missing());
    }
    let workflow = workflow::find(target, name).await?.ok_or_else(missing)?;
    let mut streams = Vec::new();
    for row in stream::of_workflow(target, workflow.id).await? {
        streams.push(read_stream(target, row).await?);
    }
    Ok(WorkflowStatus { workflow, streams })
}

async fn read_stream(target: &mut Control, row: StreamRow) -> Result<StreamStatus> {
    let (owned, progress) = lease::read(target, row.id).await?;
    let copied = range::copied(target, row.id).await?;
    let fronts = range::fronts(target, row.id).await?;
    let of = |name: &str| {
        copied
            .iter()
            .find(|(table, _)| table == name)
            .map(|(_, copied)| *copied)
            .unwrap_or_default()
    };
    let finished = row.state.has_finished_copy();
    let tables = table_plan::read(target, row.id)
        .await?
        .into_iter()
        .map(|table| {
            let front = fronts.iter().find(|front| front.table == table.name);
            TableStatus {
                copied: of(&table.name),
                lastpk: front.and_then(|front| front.upper.clone()),
                done: finished || front.is_some_and(|front| front.complete),
                row: table,
            }
        })
        .collect();
    Ok(StreamStatus { row, owned, progress, tables })
}

impl WorkflowStatus {
    /// The state that stands for all streams: the least advanced, errors first.
    pub fn state(&self) -> StreamState {
        const ORDER: [StreamState; 7] = [
            StreamState::Error,
            StreamState::Stopped,
            StreamState::Init,
            StreamState::Copying,
            StreamState::CatchUp,
            StreamState::Running,
            StreamState::Frozen,
        ];
        let states = || self.streams.iter().map(|stream| stream.row.state);
        ORDER.into_iter().find(|state| states().any(|s| s == *state)).unwrap_or(StreamState::Init)
    }
}
