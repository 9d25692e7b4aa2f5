//! The preflight: everything that would make a move wrong or stuck, found before anything is written.
//!
//! [`facts`] asks both servers; the checks then judge those facts without asking again, in the order of [`CHECKS`]. A
//! check that cannot see what it needs says so as "not checked", it never passes silently. Errors stop a move, warnings
//! are shown.
//!
//! Invariants:
//! - Nothing is written on either server.
//! - Every finding's reason is a sentence that names what would happen; its fix, where there is one, is a statement.
//! - No row value is in a finding.

mod alike;
pub mod children;
pub(crate) mod defaults;
pub mod facts;
pub mod grants;
pub(crate) mod joins;
mod keys;
pub(crate) mod mixed;
pub mod needs;
mod privileges;
mod schemas;
mod sessions;
mod settings;
mod target;
pub(crate) mod users;

use serde::Serialize;

use crate::error::Result;
use crate::mysql::control::Control;
use crate::mysql::schema::TableSchema;
use facts::Facts;

/// What is to be moved, and between which servers.
#[derive(Debug)]
pub struct PreflightInput<'a> {
    /// A connection to the server that rows and binlog are read from.
    pub source: &'a mut Control,
    /// A connection to the target's primary.
    pub target: &'a mut Control,
    /// The database on the source.
    pub source_database: &'a str,
    /// The database on the target.
    pub target_database: &'a str,
    /// The tables to move.
    pub tables: &'a [String],
    /// Bytes of a table without a usable key above which the move is refused: such a table is copied in one streamed
    /// transaction. [`limits::KEYLESS_BYTES_MAX`](crate::limits::KEYLESS_BYTES_MAX) unless the operator allows more.
    pub keyless_bytes_max: u64,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// The move would be wrong or get stuck: it does not start.
    Error,
    /// The move works; the operator should know.
    Warning,
    /// It could not be seen from here.
    NotChecked,
}

/// Which server a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The server that is read.
    Source,
    /// The server that is written.
    Target,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check that found it.
    pub id: &'static str,
    /// How bad it is.
    pub level: Level,
    /// The server it is about.
    pub side: Side,
    /// The setting, table, column or privilege it is about.
    pub subject: String,
    /// What is so, and what follows from it.
    pub reason: String,
    /// The statement that changes it, where there is one.
    pub fix: Option<String>,
}

impl Finding {
    pub(crate) fn new(
        level: Level,
        side: Side,
        subject: impl Into<String>,
        reason: impl Into<String>,
    ) -> Self {
        Self { id: "", level, side, subject: subject.into(), reason: reason.into(), fix: None }
    }

    pub(crate) fn fix(mut self, statement: impl Into<String>) -> Self {
        self.fix = Some(statement.into());
        self
    }
}

/// What a preflight found, and the source's tables as they were read for it.
#[derive(Debug)]
pub struct Report {
    /// All findings, in the order of the checks.
    pub findings: Vec<Finding>,
    /// The source's tables, in the order asked for.
    pub tables: Vec<TableSchema>,
}

impl Report {
    /// Whether the move must not start.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.level == Level::Error)
    }
}

/// A check: what it is called and the function that judges the facts.
type Check = (&'static str, fn(&Facts) -> Vec<Finding>);

/// All checks, in the order in which their findings are shown.
const CHECKS: &[Check] = &[
    ("server_versions", settings::server_versions),
    ("same_table", target::same_table),
    ("binlog_enabled", settings::binlog_enabled),
    ("binlog_format", settings::binlog_format),
    ("binlog_row_image", settings::binlog_row_image),
    ("binlog_row_value_options", settings::binlog_row_value_options),
    ("binlog_filters", settings::binlog_filters),
    ("binlog_storage", settings::binlog_storage),
    ("server_id", settings::server_id),
    ("gtid_mode", settings::gtid_mode),
    ("gtid_strict_mode", settings::gtid_strict_mode),
    ("log_slave_updates", settings::log_slave_updates),
    ("thread_scheduling", settings::thread_scheduling),
    ("cluster", settings::cluster),
    ("retention", settings::retention),
    ("durability", settings::durability),
    ("source_privileges", privileges::source_privileges),
    ("target_privileges", privileges::target_privileges),
    ("table_exists", schemas::table_exists),
    ("engine", schemas::engine),
    ("system_versioning", schemas::system_versioning),
    ("column_types", schemas::column_types),
    ("defaults", schemas::defaults),
    ("rounded_numbers", schemas::rounded_numbers),
    ("generated_columns", schemas::generated_columns),
    ("definition", schemas::definition),
    ("collations", schemas::collations),
    ("identity_key", keys::identity_key),
    ("hashed_keys", keys::hashed_keys),
    ("long_keys", keys::long_keys),
    ("inexact_sets", keys::inexact_sets),
    ("cascades", keys::cascades),
    ("foreign_key_names", keys::foreign_key_names),
    ("foreign_keys_out", keys::foreign_keys_out),
    ("foreign_keys_in", keys::foreign_keys_in),
    ("foreign_keys_on_target", children::foreign_keys_on_target),
    ("triggers", keys::triggers),
    ("mentions", users::mentions),
    ("target_database", target::target_database),
    ("target_tables", target::target_tables),
    ("target_read_only", target::target_read_only),
    ("target_is_replica", target::target_is_replica),
    ("target_primary_keys", target::target_primary_keys),
    ("target_binlog", target::target_binlog),
    ("max_allowed_packet", target::max_allowed_packet),
    ("local_infile", target::local_infile),
    ("lower_case_table_names", target::lower_case_table_names),
    ("innodb_settings", target::innodb_settings),
    ("session_defaults", defaults::session_defaults),
    ("upstream", settings::upstream),
    ("prepared_xa", sessions::prepared_xa),
    ("clock_skew", sessions::clock_skew),
    ("readers", sessions::readers),
    ("disk", sessions::disk),
];

/// Runs all checks.
///
/// # Errors
/// If a server cannot be asked at all; what is found is in the report.
pub async fn run(input: PreflightInput<'_>) -> Result<Report> {
    let PreflightInput { source, source_database, tables, .. } = input;
    let facts = Facts::read(PreflightInput { source: &mut *source, ..input }).await?;
    let mut findings = judge(&facts);
    findings.extend(joins::look(source, Side::Source, source_database, tables).await?);
    Ok(Report { findings, tables: facts.tables })
}

fn judge(facts: &Facts) -> Vec<Finding> {
    let stamped = |&(id, check): &Check| {
        check(facts).into_iter().map(move |finding| Finding { id, ..finding })
    };
    CHECKS.iter().flat_map(stamped).collect()
}

#[cfg(test)]
mod tests;
