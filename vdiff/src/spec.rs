//! What a VDiff was asked to do: validated input, stored with its results.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shunt_engine::{Error, Result};

use crate::limits;

/// How strong the comparison of a range is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strength {
    /// Fast where both servers fold well, else strong.
    #[default]
    Auto,
    /// Each server folds its rows into a checksum; only that travels.
    Fast,
    /// All rows travel and are hashed here, 128 bits each.
    Strong,
}

impl FromStr for Strength {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Self::Auto),
            "fast" => Ok(Self::Fast),
            "strong" => Ok(Self::Strong),
            _ => Err(Error::usage(format!("strength {text:?} is not auto, fast or strong"))),
        }
    }
}

/// How a VDiff works and what it shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spec {
    /// How strong the comparison is.
    pub strength: Strength,
    /// Rows of each table to compare at most.
    pub limit: Option<u64>,
    /// Samples show keys only.
    pub only_pks: bool,
    /// Rows shown of each kind of difference.
    pub sample_rows: usize,
    /// Characters shown of each column that is not of the key.
    pub truncate_at: usize,
    /// How long a key may go on changing before it counts as unsettled.
    pub recheck_for: Duration,
    /// A row that goes on changing is locked on the source for one last look.
    pub lock_hot_rows: bool,
    /// Ranges compared at the same time.
    pub parallelism: usize,
    /// After this a table's comparison rests and gives its connections back.
    pub max_diff_duration: Option<Duration>,
    /// Lost connections are tried again.
    pub auto_retry: bool,
    /// Only rows for which this SQL condition holds are compared.
    pub filter: Option<String>,
    /// Only these columns of the source (and those of the key) are compared; all, if empty.
    pub columns: Vec<String>,
    /// Columns that have another name on the target: source, target.
    pub map: Vec<(String, String)>,
    /// What differs is repaired.
    pub repair: bool,
    /// All differences go to a file, with whole cells.
    pub report: bool,
}

impl Spec {
    /// Characters of a cell that are kept of a row that differs.
    pub(crate) fn captured(&self) -> usize {
        // A character is counted as four bytes.
        if self.report { limits::REPORT_CELL_MAX / 4 } else { self.truncate_at }
    }

    /// Keys looked at in one look: few where whole cells are kept.
    pub(crate) fn look_keys(&self) -> usize {
        if self.report { limits::REPORT_KEYS_MAX } else { limits::LOOK_KEYS_MAX }
    }
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            strength: Strength::Auto,
            limit: None,
            only_pks: false,
            sample_rows: limits::SAMPLE_ROWS,
            truncate_at: limits::TRUNCATE_AT,
            recheck_for: limits::RECHECK_FOR,
            lock_hot_rows: false,
            parallelism: limits::PARALLELISM,
            max_diff_duration: None,
            auto_retry: true,
            filter: None,
            columns: Vec::new(),
            map: Vec::new(),
            repair: false,
            report: false,
        }
    }
}
