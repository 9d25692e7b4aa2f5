//! What a workflow was asked to do: validated input, stored in the sidecar.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::limits;

/// A move of tables, as created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowSpec {
    /// The workflow's own name, without the keyspace.
    pub workflow: String,
    /// Where the tables are.
    pub source_keyspace: String,
    /// The database they are in.
    pub source_database: String,
    /// Where they go.
    pub target_keyspace: String,
    /// The database they go to.
    pub target_database: String,
    /// The tables, each once.
    pub tables: Vec<String>,
    /// What is done about DDL on them.
    pub on_ddl: OnDdl,
    /// Stop when the copy is done and caught up.
    pub stop_after_copy: bool,
    /// Build non-unique secondary keys after the copy.
    pub defer_secondary_keys: bool,
    /// The alias of the server to read from.
    pub source_server: String,
    /// Tunables that differ from their defaults.
    #[serde(default)]
    pub tuning: Tuning,
    /// The topology that it was made under; unknown of one that an older shunt made.
    #[serde(default)]
    pub topology: Option<Uuid>,
    /// Whether it has routing rules; unknown of one that an older shunt made.
    #[serde(default)]
    pub routed: Option<bool>,
}

impl WorkflowSpec {
    /// `<target keyspace>.<workflow>`.
    pub fn name(&self) -> String {
        format!("{}.{}", self.target_keyspace, self.workflow)
    }

    /// Whether the secondary keys of a table are built after the copy, by what the source estimates that it holds. Either estimate
    /// will do: that of the bytes stays behind for some seconds after a load.
    pub fn defers_keys(&self, rows: u64, bytes: u64) -> bool {
        let is_small = rows < limits::DEFER_KEYS_ROWS_MIN && bytes < limits::DEFER_KEYS_BYTES_MIN;
        self.defer_secondary_keys && !is_small
    }

    /// Its traffic is switched under the topology that it was made under: the locks and gateways of another one would take no part.
    ///
    /// # Errors
    /// Usage if this is another one.
    pub fn must_be_of(&self, topology: Uuid) -> Result<()> {
        match self.topology {
            Some(made) if made != topology => Err(Error::usage(format!(
                "workflow {} was made under the topology {made}, and that of topology.store is {topology}",
                self.name()
            ))
            .advice(format!(
                "Name the file that it was made under. If that is lost for good, stop every gateway and worker that still has it open, and give `shunt workflow update {} --adopt-topology`.",
                self.name()
            ))),
            _ => Ok(()),
        }
    }
}

/// What is done about DDL on a moved table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OnDdl {
    /// The stream stops before it.
    #[default]
    Stop,
    /// It is passed over.
    Ignore,
    /// It is run on the target; an error stops the stream.
    Exec,
    /// It is run on the target; an error is passed over.
    ExecIgnore,
}

impl FromStr for OnDdl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.to_ascii_uppercase().as_str() {
            "STOP" => Ok(Self::Stop),
            "IGNORE" => Ok(Self::Ignore),
            "EXEC" => Ok(Self::Exec),
            "EXEC_IGNORE" => Ok(Self::ExecIgnore),
            _ => Err(Error::usage(format!("{text:?} is not STOP, IGNORE, EXEC or EXEC_IGNORE"))),
        }
    }
}

/// What `--config-overrides` can change of a workflow. The defaults are those of `limits`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tuning {
    /// Rows of a chunk at most.
    pub chunk_rows_max: u64,
    /// Bytes of a chunk at which its reading stops.
    pub chunk_bytes_max: usize,
    /// Ranges read at the same time.
    pub copy_readers: usize,
    /// Chunks written at the same time.
    pub copy_writers: usize,
    /// Bytes of row images in a group.
    pub group_bytes_max: usize,
    /// Groups applied at the same time, after the copy.
    pub apply_lanes: usize,
    /// The replicas may be this far behind before the copy slows down; 0 is no limit.
    pub throttle_replica_lag_ms: u64,
    /// Source and target may each have this many running threads before the copy slows down; 0 is no limit.
    pub throttle_threads_running: u64,
    /// The history lists of source and target may be this long before the copy slows down; 0 is no limit.
    pub throttle_history_list: u64,
    /// Commits on the target may take this long before the copy slows down; 0 is no limit.
    pub throttle_commit_ms: u64,
    /// How often all of this is looked at.
    pub throttle_interval_ms: u64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            chunk_rows_max: limits::CHUNK_ROWS_MAX,
            chunk_bytes_max: limits::CHUNK_BYTES_MAX,
            copy_readers: limits::COPY_READERS,
            copy_writers: limits::COPY_WRITERS,
            group_bytes_max: limits::GROUP_BYTES_MAX,
            apply_lanes: limits::APPLY_LANES,
            throttle_replica_lag_ms: 0,
            throttle_threads_running: 0,
            throttle_history_list: 1_000_000,
            throttle_commit_ms: 0,
            throttle_interval_ms: limits::THROTTLE_INTERVAL_MS,
        }
    }
}

impl Tuning {
    /// Sets one tunable by its name.
    ///
    /// # Errors
    /// Usage if there is no such tunable or the value is not a number in its range.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let number: u64 = value
            .parse()
            .map_err(|_| Error::usage(format!("{name}={value}: not a whole number")))?;
        let size = usize::try_from(number)
            .map_err(|_| Error::usage(format!("{name}={value}: too large")))?;
        let at_least_one = || {
            if number == 0 {
                return Err(Error::usage(format!("{name}={value}: must be at least 1")));
            }
            Ok(())
        };
        match name {
            "chunk_rows_max" => self.chunk_rows_max = number,
            "chunk_bytes_max" => self.chunk_bytes_max = size,
            "copy_readers" => self.copy_readers = size.min(64),
            "copy_writers" => self.copy_writers = size.min(64),
            "group_bytes_max" => self.group_bytes_max = size,
            "apply_lanes" => self.apply_lanes = size.min(16),
            "throttle_replica_lag_ms" => self.throttle_replica_lag_ms = number,
            "throttle_threads_running" => self.throttle_threads_running = number,
            "throttle_history_list" => self.throttle_history_list = number,
            "throttle_commit_ms" => self.throttle_commit_ms = number,
            "throttle_interval_ms" => {
                self.throttle_interval_ms = number;
                return at_least_one();
            }
            _ => {
                return Err(Error::usage(format!("there is no tunable {name:?}")).advice(
                    "Known: chunk_rows_max, chunk_bytes_max, copy_readers, copy_writers, group_bytes_max, \
                     apply_lanes, throttle_replica_lag_ms, throttle_threads_running, throttle_history_list, \
                     throttle_commit_ms, throttle_interval_ms.",
                ));
            }
        }
        if name.starts_with("throttle") { Ok(()) } else { at_least_one() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tunables_are_set_by_name() {
        let mut tuning = Tuning::default();
        tuning.set("chunk_rows_max", "500").unwrap();
        assert_eq!(tuning.chunk_rows_max, 500);
        tuning.set("throttle_threads_running", "0").unwrap();
        for (name, value) in [("chunk_rows_max", "0"), ("chunk_rows_max", "x"), ("nothing", "1")] {
            assert!(tuning.clone().set(name, value).is_err(), "{name}={value}");
        }
    }

    #[test]
    fn what_ddl_does_is_read_in_any_case() {
        assert_eq!("exec_ignore".parse::<OnDdl>().unwrap(), OnDdl::ExecIgnore);
        assert!("maybe".parse::<OnDdl>().is_err());
    }
}
