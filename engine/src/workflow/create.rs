//! Creating a workflow: preflight, the target's definitions, the rows in the sidecar, the target's tables.
//!
//! The sidecar's rows come first, with each table's statement and whether this workflow makes the table; the tables are made
//! after that ([`make`](super::make)). A process that dies in between leaves a workflow whose stream makes the missing tables when
//! it starts, and which Cancel can remove without touching what others made.

use crate::error::{Error, Result, ResultExt};
use crate::mysql::control::{Control, Session};
use crate::mysql::names::same;
use crate::mysql::schema::{self, TableSchema};
use crate::mysql::server::ServerConfig;
use crate::mysql::sql;
use crate::preflight::{self, PreflightInput, Report, Side};
use crate::sidecar::table_plan::{Origin, TableRow};
use crate::sidecar::wanted::Wanted;
use crate::sidecar::{self, stream, workflow};
use crate::target_ddl::{DeferredKind, TargetDdl, TargetDdlInput};
use crate::workflow::make::make_tables;
use crate::workflow::spec::WorkflowSpec;

/// Where from and where to.
#[derive(Clone, Debug)]
pub struct Servers {
    /// The server to read from.
    pub source: ServerConfig,
    /// The server to write to.
    pub target: ServerConfig,
}

/// A workflow that could be created, and what preflight found.
#[derive(Debug)]
pub struct Prepared {
    /// What preflight found.
    pub report: Report,
    /// The tables with their statements; empty if the report has errors.
    pub tables: Vec<TableRow>,
    /// What was asked for, with the tables as the source spells them.
    pub spec: WorkflowSpec,
}

/// Looks at both sides; changes nothing. Tables without a key may hold `keyless_bytes_max` bytes.
///
/// # Errors
/// Of the connections, or Stop where a definition cannot be carried.
pub async fn prepare(
    servers: &Servers,
    mut spec: WorkflowSpec,
    keyless_bytes_max: u64,
) -> Result<Prepared> {
    let (mut source, mut target) = tokio::try_join!(
        Control::connect(&servers.source, Session::Control),
        Control::connect(&servers.target, Session::Control)
    )?;
    spec.tables = spelled(&mut source, &spec).await?;
    let (database, wanted) = (&spec.source_database, &spec.tables);
    let checks = preflight::run(PreflightInput {
        source: &mut source,
        target: &mut target,
        source_database: &spec.source_database,
        target_database: &spec.target_database,
        tables: &spec.tables,
        keyless_bytes_max,
    });
    // The binlog is read meanwhile.
    let mixed = preflight::mixed::look(&servers.source, Side::Source, database, wanted);
    let (report, mixed) = tokio::join!(checks, mixed);
    let mut report = report?;
    report.findings.extend(mixed?);
    let mut tables = Vec::new();
    if !report.has_errors() {
        for table in &report.tables {
            tables.push(table_row(&mut source, &mut target, &spec, table).await?);
        }
    }
    source.close().await;
    target.close().await;
    Ok(Prepared { report, tables, spec })
}

/// The tables as the source spells them, each once: what was typed may be spelled otherwise where names fold, and all that comes after
/// goes by the spelling.
async fn spelled(source: &mut Control, spec: &WorkflowSpec) -> Result<Vec<String>> {
    if !source.info().folds_names {
        return Ok(spec.tables.clone());
    }
    let names = schema::list_tables(source, &spec.source_database).await?;
    let mut tables = Vec::new();
    for typed in &spec.tables {
        let exact = names.iter().find(|(name, _)| name == typed);
        let found = exact.or_else(|| names.iter().find(|(name, _)| same(name, typed)));
        let name = found.map_or(typed, |(name, _)| name);
        if !tables.contains(name) {
            tables.push(name.clone());
        }
    }
    Ok(tables)
}

async fn table_row(
    source: &mut Control,
    target: &mut Control,
    spec: &WorkflowSpec,
    table: &TableSchema,
) -> Result<TableRow> {
    let ddl = TargetDdl::new(TargetDdlInput {
        schema: table,
        source: source.info(),
        target: target.info(),
        database: &spec.target_database,
        table: &table.name,
        defer_secondary_keys: spec.defers_keys(table.rows_estimate, table.data_bytes),
    })
    .context(format_args!("define {} on the target", sql::ident(&table.name)))?;
    let existing = schema::read_table(target, &spec.target_database, &table.name).await?;
    let created = existing.is_none();
    if !created && ddl.deferred.iter().any(|key| key.kind != DeferredKind::Secondary) {
        let name = sql::qualified(&spec.target_database, &table.name);
        return Err(Error::usage(format!(
            "table {name} exists on the target and has keys that may only be built after the copy"
        ))
        .advice(format!("Let shunt make the table: DROP TABLE {name}")));
    }
    let keys_sql = if created { ddl.alter_sql() } else { None };
    Ok(TableRow {
        name: table.name.clone(),
        fingerprint: table.fingerprint().to_owned(),
        create_sql: ddl.create,
        origin: if created { Origin::Planned } else { Origin::Found },
        keys_built: keys_sql.is_none(),
        keys_sql,
        rows_estimate: table.rows_estimate,
        bytes_estimate: table.data_bytes,
    })
}

/// Creates what was prepared.
///
/// # Errors
/// Usage if a workflow of this name exists, or another one writes a table of it; Stop if a table came to be there meanwhile.
pub async fn create(servers: &Servers, prepared: &Prepared, wanted: Wanted) -> Result<u64> {
    let mut target = Control::connect(&servers.target, Session::Control).await?;
    sidecar::prepare(&mut target).await?;
    let id = workflow::insert(&mut target, &prepared.spec, &prepared.tables, wanted).await?;
    let name = prepared.spec.name();
    workflow::journal(&mut target, &name, "created", &prepared.spec.tables.join(",")).await?;
    for stream in stream::of_workflow(&mut target, id).await? {
        make_tables(&servers.target, stream.id, &prepared.tables).await?;
    }
    target.close().await;
    Ok(id)
}
