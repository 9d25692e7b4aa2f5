//! What was typed of `shunt vdiff`.
#![allow(
    rustdoc::invalid_html_tags,
    reason = "these comments are help texts, where <name> is a placeholder"
)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgAction, Subcommand};
use shunt_engine::{Error, Result};
use shunt_vdiff::spec::{Spec, Strength};
use shunt_vdiff::workflow::Which;

use super::values::{WorkflowName, duration};
use crate::output::Format;

/// `shunt vdiff …`
#[derive(Debug, Subcommand)]
pub enum Vdiff {
    /// Compare the tables of a running workflow
    Create(Create),
    /// Show what VDiffs of a workflow found
    Show(Show),
    /// Stop a VDiff; resume goes on where it was
    Stop(Named),
    /// Go on with a VDiff that was stopped or failed
    Resume(Resume),
    /// Forget a VDiff
    Delete(Delete),
    /// Compare tables of any two servers, without a workflow
    Run(Run),
}

/// How a VDiff works and what it shows.
#[derive(Debug, clap::Args)]
pub struct How {
    /// How rows are compared: auto, fast or strong
    #[arg(long, value_name = "STRENGTH", default_value = "auto")]
    pub strength: Strength,
    /// Compare at most this many rows of each table
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Show only the keys of rows that differ
    #[arg(long)]
    pub only_pks: bool,
    /// After this a table's comparison rests a few seconds, without connections: 10m, 1h
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub max_diff_duration: Option<Duration>,
    /// Rows shown of each kind of difference
    #[arg(long, value_name = "N", default_value_t = shunt_vdiff::limits::SAMPLE_ROWS)]
    pub max_report_sample_rows: usize,
    /// Characters shown of a column that is not of the key
    #[arg(long, value_name = "N", default_value_t = shunt_vdiff::limits::TRUNCATE_AT)]
    pub row_diff_column_truncate_at: usize,
    /// How long a row may go on changing before it counts as unsettled
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub recheck_for: Duration,
    /// Lock a row that goes on changing, by itself, on the source for one last look: its writers wait, a second at most
    #[arg(long)]
    pub lock_hot_rows: bool,
    /// Ranges compared at the same time
    #[arg(long, value_name = "N", default_value_t = shunt_vdiff::limits::PARALLELISM)]
    pub parallelism: usize,
    /// Try again after lost connections
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true")]
    pub auto_retry: bool,
    /// Copy differing rows from the source again, then look at them again
    #[arg(long)]
    pub repair: bool,
}

impl How {
    /// The specification.
    pub fn spec(&self) -> Spec {
        Spec {
            strength: self.strength,
            limit: self.limit,
            only_pks: self.only_pks,
            sample_rows: self.max_report_sample_rows,
            truncate_at: self.row_diff_column_truncate_at,
            recheck_for: self.recheck_for,
            lock_hot_rows: self.lock_hot_rows,
            parallelism: self.parallelism.clamp(1, 64),
            max_diff_duration: self.max_diff_duration.filter(|longest| !longest.is_zero()),
            auto_retry: self.auto_retry,
            repair: self.repair,
            ..Spec::default()
        }
    }
}

/// `shunt vdiff create`
#[derive(Debug, clap::Args)]
pub struct Create {
    /// <target keyspace>.<name>
    #[arg(value_name = "WORKFLOW")]
    pub workflow: WorkflowName,
    /// Its name [default: a new one]
    #[arg(value_name = "UUID")]
    pub uuid: Option<uuid::Uuid>,
    /// Tables to compare [default: all of the workflow]
    #[arg(long, value_name = "TABLE,…", value_delimiter = ',')]
    pub tables: Vec<String>,
    /// How it works.
    #[command(flatten)]
    pub how: How,
    /// Run it here unless a `shunt serve` does, and wait for its end
    #[arg(long)]
    pub wait: bool,
    /// Run it at once
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true")]
    pub auto_start: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// `shunt vdiff show`
#[derive(Debug, clap::Args)]
pub struct Show {
    /// <target keyspace>.<name>
    #[arg(value_name = "WORKFLOW")]
    pub workflow: WorkflowName,
    /// last, all, or a UUID
    #[arg(value_name = "WHICH", default_value = "last")]
    pub which: Which,
    /// Show each table, also where nothing differs
    #[arg(long)]
    pub verbose: bool,
    /// Output format
    #[arg(long, value_enum, default_value = "json")]
    pub format: Format,
}

/// `shunt vdiff stop`
#[derive(Debug, clap::Args)]
pub struct Named {
    /// <target keyspace>.<name>
    #[arg(value_name = "WORKFLOW")]
    pub workflow: WorkflowName,
    /// Its name
    #[arg(value_name = "UUID")]
    pub uuid: Which,
}

/// `shunt vdiff resume`
#[derive(Debug, clap::Args)]
pub struct Resume {
    /// <target keyspace>.<name>
    #[arg(value_name = "WORKFLOW")]
    pub workflow: WorkflowName,
    /// Its name
    #[arg(value_name = "UUID")]
    pub uuid: Which,
    /// Run it here unless a `shunt serve` does, and wait for its end
    #[arg(long)]
    pub wait: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// `shunt vdiff delete`
#[derive(Debug, clap::Args)]
pub struct Delete {
    /// <target keyspace>.<name>
    #[arg(value_name = "WORKFLOW")]
    pub workflow: WorkflowName,
    /// all, or a UUID
    #[arg(value_name = "WHICH")]
    pub which: Which,
}

/// `shunt vdiff run`
#[derive(Debug, clap::Args)]
pub struct Run {
    /// What is right: a keyspace, or mysql://user@host:port/database
    #[arg(long, value_name = "DSN|KEYSPACE")]
    pub source: String,
    /// What is compared with it; or the archives in a folder, with each table read in one snapshot
    #[arg(long, value_name = "DSN|KEYSPACE|parquet:DIR")]
    pub target: String,
    /// File with the source's password, for a DSN [default: $SHUNT_SOURCE_PASSWORD]
    #[arg(long, value_name = "FILE")]
    pub source_password_file: Option<PathBuf>,
    /// File with the target's password, for a DSN [default: $SHUNT_TARGET_PASSWORD]
    #[arg(long, value_name = "FILE")]
    pub target_password_file: Option<PathBuf>,
    /// Tables to compare, each with its name on the target if that is another
    #[arg(long, value_name = "TABLE[:NAME],…", value_delimiter = ',', required = true, value_parser = table)]
    pub tables: Vec<(String, String)>,
    /// Compare only rows for which this SQL condition holds on both sides: without comments, its strings in UTF-8; in a subquery each
    /// table needs its database
    #[arg(long = "where", value_name = "SQL")]
    pub filter: Option<String>,
    /// Compare only these columns of the source, and the key
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    pub columns: Vec<String>,
    /// Columns with another name on the target
    #[arg(long, value_name = "SOURCE=TARGET,…", value_delimiter = ',', value_parser = mapping)]
    pub map: Vec<(String, String)>,
    /// How it works.
    #[command(flatten)]
    pub how: How,
    /// Write to FILE the SQL statements that would make the target equal to the source
    #[arg(long, value_name = "FILE", conflicts_with = "repair")]
    pub emit_sql: Option<PathBuf>,
    /// Write all rows that differ to this Parquet file, as both sides have them; of several tables each to FILE with its name
    /// before the ending. The run begins anew
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// With --repair: print the statements, and change nothing
    #[arg(long, requires = "repair")]
    pub dry_run: bool,
    /// Where progress is kept, so that an interrupted run goes on [default: in $XDG_STATE_HOME/shunt/vdiff]
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Show each table in JSON, also where nothing differs
    #[arg(long)]
    pub verbose: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

impl Run {
    /// Whether one of the sides is a keyspace of the configuration.
    pub fn needs_config(&self) -> bool {
        let named = |side: &str| !side.contains("://");
        named(&self.source) || self.archives().is_none() && named(&self.target)
    }

    /// The folder of the archives, if they are the target.
    pub fn archives(&self) -> Option<&Path> {
        self.target.strip_prefix("parquet:").map(Path::new)
    }

    /// The specification.
    pub fn spec(&self) -> Spec {
        Spec {
            filter: self.filter.clone(),
            columns: self.columns.clone(),
            map: self.map.clone(),
            report: self.report.is_some(),
            ..self.how.spec()
        }
    }
}

fn table(text: &str) -> Result<(String, String)> {
    let (source, target) = text.split_once(':').unwrap_or((text, text));
    if source.is_empty() || target.is_empty() {
        return Err(Error::usage(format!("{text:?} is not a table or table:name")));
    }
    Ok((source.to_owned(), target.to_owned()))
}

fn mapping(text: &str) -> Result<(String, String)> {
    match text.split_once('=') {
        Some((source, target)) if !source.is_empty() && !target.is_empty() => {
            Ok((source.to_owned(), target.to_owned()))
        }
        _ => Err(Error::usage(format!("{text:?} is not source=target"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_may_have_another_name_on_the_target() {
        assert_eq!(table("a").unwrap(), ("a".to_owned(), "a".to_owned()));
        assert_eq!(table("a:b").unwrap(), ("a".to_owned(), "b".to_owned()));
        for text in ["", ":b", "a:"] {
            assert!(table(text).is_err(), "{text}");
        }
        assert_eq!(mapping("a=b").unwrap(), ("a".to_owned(), "b".to_owned()));
        assert!(mapping("ab").is_err());
    }
}
