//! Where a VDiff's results are kept while it runs, so that it goes on after a crash: the target's sidecar for a workflow, a
//! local file for a standalone run, nothing for one that only prints.

use std::path::{Path, PathBuf};

use shunt_engine::mysql::control::Control;
use shunt_engine::sidecar::vdiff;
use shunt_engine::sidecar::wanted::Wanted;
use shunt_engine::{Error, Result};

use crate::limits;
use crate::report::{Record, State, TableRecord};

/// Where results are kept.
#[derive(Debug)]
pub enum Store {
    /// The sidecar, under a lease.
    Sidecar {
        /// A connection of its own.
        control: Box<Control>,
        /// The VDiff's id.
        id: u64,
        /// Who runs it.
        owner: String,
    },
    /// A local file.
    File {
        /// Its path.
        path: PathBuf,
        /// All that is in it.
        record: Box<Record>,
    },
    /// Memory: of a run that only prints there is nothing to go on with.
    Memory {
        /// All that is known.
        record: Box<Record>,
    },
}

impl Store {
    /// A file, or memory only.
    pub fn local(path: Option<PathBuf>, record: Record) -> Self {
        let record = Box::new(record);
        match path {
            Some(path) => Self::File { path, record },
            None => Self::Memory { record },
        }
    }

    /// All that is kept, unless the sidecar has it.
    pub fn record(&self) -> Option<&Record> {
        match self {
            Self::Sidecar { .. } => None,
            Self::File { record, .. } | Self::Memory { record } => Some(record),
        }
    }

    /// Saves a table and renews the lease; says whether to go on.
    ///
    /// # Errors
    /// `LeaseLost` if another process runs the VDiff now; of the connection or the file otherwise.
    pub async fn save(&mut self, table: &TableRecord) -> Result<Wanted> {
        match self {
            Self::Sidecar { control, id, owner } => {
                let text = to_json(table)?;
                let row = vdiff::TableRow {
                    name: table.name.clone(),
                    state: table.state.to_string(),
                    rows_compared: table.compared_rows(),
                    record: text,
                };
                vdiff::save_table(control, *id, owner, &row).await
            }
            Self::File { path, record } => {
                put(record, table);
                write(path, record)?;
                Ok(Wanted::Run)
            }
            Self::Memory { record } => {
                put(record, table);
                Ok(Wanted::Run)
            }
        }
    }

    /// Renews the lease, where there is one; says whether to go on.
    ///
    /// # Errors
    /// `LeaseLost` if another process runs the VDiff now; of the connection otherwise.
    pub async fn renew(&mut self) -> Result<Wanted> {
        match self {
            Self::Sidecar { control, id, owner } => vdiff::renew(control, *id, owner).await,
            Self::File { .. } | Self::Memory { .. } => Ok(Wanted::Run),
        }
    }

    /// Works, and renews the lease now and then, so that it does not end meanwhile. What the operator wants is looked at by whoever saves next.
    ///
    /// # Errors
    /// Those of the work, and of [`Self::renew`].
    pub(crate) async fn keep_lease<T>(
        &mut self,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let mut work = Box::pin(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::time::sleep(limits::SAVE_INTERVAL) => drop(self.renew().await?),
            }
        }
    }

    /// Saves what the whole VDiff is doing.
    ///
    /// # Errors
    /// Of the connection or the file.
    pub async fn set_state(&mut self, state: State, message: &str) -> Result<()> {
        match self {
            Self::Sidecar { control, id, owner } => {
                let ended = !matches!(state, State::Started);
                vdiff::set_state(control, *id, owner, &state.to_string(), message, ended).await
            }
            Self::File { path, record } => {
                say(record, state, message);
                write(path, record)
            }
            Self::Memory { record } => {
                say(record, state, message);
                Ok(())
            }
        }
    }
}

/// Puts a table into the whole record.
fn put(record: &mut Record, table: &TableRecord) {
    let same = |held: &&mut TableRecord| {
        (&held.name, &held.target_name) == (&table.name, &table.target_name)
    };
    match record.tables.iter_mut().find(same) {
        Some(held) => held.clone_from(table),
        None => record.tables.push(table.clone()),
    }
}

/// Says in a record what the whole VDiff is doing.
fn say(record: &mut Record, state: State, message: &str) {
    record.state = state;
    message.clone_into(&mut record.message);
    if state == State::Started && record.started_s.is_none() {
        record.started_s = Some(crate::date::now_s());
    }
    if state == State::Completed {
        record.completed_s = Some(crate::date::now_s());
    }
}

/// The record in a file; `None` if there is no such file.
///
/// # Errors
/// Usage if it cannot be read or is something else.
pub fn read(path: &Path) -> Result<Option<Record>> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| unusable(path).source(error))?,
    };
    serde_json::from_str(&text).map(Some).map_err(|error| unusable(path).source(error))
}

fn unusable(path: &Path) -> Error {
    Error::usage(format!("{} is not the state of a VDiff that can be read", path.display()))
        .advice("Name another file with --state, or remove this one.")
}

/// Written beside and renamed, so that a crash leaves the old or the new one.
fn write(path: &Path, record: &Record) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let beside = path.with_extension("new");
    std::fs::write(&beside, to_json(record)?)?;
    std::fs::rename(&beside, path).map_err(Error::from)
}

fn to_json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::stop("write a VDiff's record").source(error))
}
