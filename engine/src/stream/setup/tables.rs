//! The tables of a stream as an attempt begins: their definitions from the source, and what is copied of them from the
//! sidecar.

use crate::mysql::names::lowered;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use crate::copy::sizer::Sizer;
use crate::error::{Error, Result, ResultExt};
use crate::key::{KeyKind, KeyPlan, Place};
use crate::limits;
use crate::mysql::control::{Control, Session};
use crate::mysql::gtid::GtidSet;
use crate::mysql::schema::definition::without_counter;
use crate::mysql::schema::{self, FENCE_TRIGGER_PREFIX, TableSchema};
use crate::mysql::sql;
use crate::plan::TablePlan;
use crate::ranges::keyless::Keyless;
use crate::runtime::tasks;
use crate::sidecar::table_plan::TableRow;
use crate::sidecar::workflow::WorkflowRow;
use crate::sidecar::{range, table_plan};
use crate::stream::StreamConfig;
use crate::stream::table::{Table, TableCopy, TableRanges};
use crate::target_ddl::{TargetDdl, TargetDdlInput};

/// At which positions what is copied is equal to the source.
pub(super) struct Settled {
    /// All of them together.
    pub(super) at: GtidSet,
    /// Each one that the stream's position does not contain.
    pub(super) beyond: HashSet<GtidSet>,
    applied: GtidSet,
}

impl Settled {
    fn new(applied: &GtidSet) -> Self {
        let at = GtidSet::empty(applied.flavor());
        Self { at, beyond: HashSet::new(), applied: applied.clone() }
    }

    fn add(&mut self, position: &GtidSet) -> Result<()> {
        self.at.union(position)?;
        if !self.applied.contains_set(position) {
            self.beyond.insert(position.clone());
        }
        Ok(())
    }
}

/// All tables of the workflow, of a stream that is at `applied`, and where what is copied of them is equal to the source.
pub(super) async fn read(
    config: &StreamConfig,
    workflow: &WorkflowRow,
    control: &mut Control,
    applied: &GtidSet,
) -> Result<(Vec<Table>, Settled)> {
    let mut source = Control::connect(&config.source, Session::Control).await?;
    let mut settled = Settled::new(applied);
    let mut tables = Vec::new();
    let triggered = tables_with_update_triggers(control, &workflow.spec.target_database).await?;
    for row in table_plan::read(control, config.stream).await? {
        let spec = &workflow.spec;
        let (schema, ddl_ahead) = read_schema(config, workflow, control, &mut source, &row).await?;
        let mut plan = TablePlan::new(schema, &spec.target_database);
        if triggered.contains(&lowered(&row.name)) {
            plan.in_place = None;
        }
        let plan = Arc::new(plan);
        let copy = read_copy(config, control, &mut source, &plan, &row, &mut settled).await?;
        let sizer = Sizer::new(&spec.tuning, row.rows_estimate, row.bytes_estimate);
        tables.push(Table { plan, row, copy, sizer, opens_after: None, ddl_ahead });
    }
    source.close().await;
    Ok((tables, settled))
}

/// Tables of the database that is written to, in lower case, with triggers for UPDATE other than a fence's.
async fn tables_with_update_triggers(
    control: &mut Control,
    database: &str,
) -> Result<HashSet<String>> {
    let query = format!(
        "SELECT event_object_table FROM information_schema.triggers WHERE event_object_schema = {} \
         AND event_manipulation LIKE '%UPDATE%' AND LEFT(trigger_name, {}) <> {}",
        sql::literal(database),
        FENCE_TRIGGER_PREFIX.len(),
        sql::literal(FENCE_TRIGGER_PREFIX)
    );
    let rows = control.rows(query).await.context("look for triggers on the target's tables")?;
    rows.iter().map(|row| Ok(lowered(&row.must(0)?))).collect()
}

/// The definition at the stream's position, and whether the source's is another one by now.
///
/// While a table is copied the source's must be the one that the workflow was created with. Afterwards the target's is the
/// one at the position: DDL is run there when the stream meets it.
async fn read_schema(
    config: &StreamConfig,
    workflow: &WorkflowRow,
    control: &mut Control,
    source: &mut Control,
    row: &TableRow,
) -> Result<(TableSchema, bool)> {
    let spec = &workflow.spec;
    let name = sql::ident(&row.name);
    let schema = schema::read_table_settled(source, &spec.source_database, &row.name).await?;
    let found = schema.is_some();
    schema.as_ref().map_or(Ok(()), check_unhashed)?;
    if let Some(schema) = schema
        && schema.fingerprint() == row.fingerprint
    {
        return Ok((schema, false));
    }
    let fronts = range::fronts(control, config.stream).await?;
    let copied = fronts.iter().any(|front| front.table == row.name && front.complete);
    if copied && row.keys_built {
        let schema = schema::read_table(control, &spec.target_database, &row.name).await?;
        let mut schema = schema.ok_or_else(|| {
            Error::stop(format!("table {name} is not on the target any more"))
                .advice("Cancel the workflow and create it again.")
        })?;
        schema.database.clone_from(&spec.source_database);
        return Ok((schema, true));
    }
    if !found {
        return Err(Error::stop(format!("table {name} is not on the source any more"))
            .advice("Cancel the workflow, or restore the table and start it again."));
    }
    Err(changed(&row.name))
}

fn changed(name: &str) -> Error {
    Error::stop(format!(
        "the definition of {} on the source is not the one that the workflow was created with",
        sql::ident(name)
    ))
    .advice("Cancel the workflow and create it again.")
}

/// XA transactions that were prepared before the first position are behind it only with their COMMIT, without their rows. Those that are
/// still prepared now, after the position was read, are waited for, and refused if they do not end; those that are over by then are in all
/// snapshots to come. Those that are prepared meanwhile have their rows behind the position.
pub(super) async fn check_unprepared(
    config: &StreamConfig,
    cancel: &CancellationToken,
) -> Result<()> {
    let mut source = Control::connect(&config.source, Session::Control).await?;
    let started = Instant::now();
    let mut before = prepared(&mut source).await?;
    while !before.is_empty() && started.elapsed() < limits::PREPARED_WAIT_MAX {
        if !tasks::pause(limits::PREPARED_LOOK, cancel).await {
            return Err(Error::retry("interrupted while it waits for XA transactions"));
        }
        let now = prepared(&mut source).await?;
        before.retain(|xid| now.contains(xid));
    }
    source.close().await;
    if before.is_empty() {
        return Ok(());
    }
    Err(Error::stop(format!(
        "{} XA transactions stay prepared on the source: their rows would be seen neither by a snapshot nor at their place in the binlog",
        before.len()
    ))
    .advice("Commit or roll them back (XA RECOVER lists them), then start the workflow."))
}

/// The prepared XA transactions.
async fn prepared(source: &mut Control) -> Result<Vec<[String; 4]>> {
    let rows = source.rows("XA RECOVER").await.context("look for prepared XA transactions")?;
    rows.iter().map(|row| Ok([row.must(0)?, row.must(1)?, row.must(2)?, row.must(3)?])).collect()
}

/// Before the first position is saved: what was decided at create must still be what the definitions give. Later changes are in the
/// binlog behind that position.
pub(super) async fn check_unchanged(
    config: &StreamConfig,
    workflow: &WorkflowRow,
    control: &mut Control,
) -> Result<()> {
    let mut source = Control::connect(&config.source, Session::Control).await?;
    let spec = &workflow.spec;
    for row in table_plan::read(control, config.stream).await? {
        let schema =
            schema::read_table_settled(&mut source, &spec.source_database, &row.name).await?;
        let schema = schema.ok_or_else(|| changed(&row.name))?;
        let now = TargetDdl::new(TargetDdlInput {
            schema: &schema,
            source: source.info(),
            target: control.info(),
            database: &spec.target_database,
            table: &row.name,
            defer_secondary_keys: spec.defers_keys(row.rows_estimate, row.bytes_estimate),
        });
        let same = now.is_ok_and(|now| {
            let keys = if row.origin.is_own() { now.alter_sql() } else { None };
            without_counter(&now.create) == without_counter(&row.create_sql) && keys == row.keys_sql
        });
        if !same || !schema.engine.eq_ignore_ascii_case("InnoDB") || schema.system_versioned {
            return Err(changed(&row.name));
        }
    }
    source.close().await;
    Ok(())
}

/// DDL may have brought what preflight refuses at first; only the definition shows whether a key became a hash.
fn check_unhashed(schema: &TableSchema) -> Result<()> {
    let Some(key) = schema.hashed_key() else { return Ok(()) };
    let (table, name) = (sql::ident(&schema.name), sql::ident(&key.name));
    Err(Error::stop(format!(
        "the unique key {name} of {table} on the source is kept as a hash, in a hidden column that row events hold"
    ))
    .advice(format!(
        "Drop the key {name} on the source (MariaDB makes such keys over TEXT, BLOB, very long columns or by USING HASH); \
         then cancel the workflow and create it again."
    )))
}

async fn read_copy(
    config: &StreamConfig,
    control: &mut Control,
    source: &mut Control,
    plan: &TablePlan,
    row: &TableRow,
    settled: &mut Settled,
) -> Result<TableCopy> {
    let flavor = settled.at.flavor();
    let Some(key) = &plan.key else {
        let done = range::read_whole(control, config.stream, &row.name, flavor).await?;
        let state = match done {
            None => Keyless::default(),
            Some(at) => {
                settled.add(&at)?;
                Keyless::restore(at)
            }
        };
        return Ok(TableCopy::Keyless { state, want: None, read: None });
    };
    let done = range::read_done(control, config.stream, &row.name, key, flavor).await?;
    for range in &done {
        settled.add(&range.settled)?;
    }
    let ranges = if done.is_empty() {
        TableRanges::new(first_cuts(source, plan, key, row).await?)
    } else {
        TableRanges::restore(done.into_iter().map(|range| range.bounds))
    };
    Ok(TableCopy::Ranged(ranges))
}

/// Cuts a table with a single integer key into a few ranges from the start, so that several lanes can read it at once.
async fn first_cuts(
    source: &mut Control,
    plan: &TablePlan,
    key: &KeyPlan,
    row: &TableRow,
) -> Result<Vec<Place>> {
    let [column] = key.columns.as_slice() else { return Ok(Vec::new()) };
    if column.kind != KeyKind::Integer || row.rows_estimate < 4 * limits::CHUNK_ROWS_MAX {
        return Ok(Vec::new());
    }
    let (name, table) =
        (sql::ident(&column.name), sql::qualified(&plan.source.database, plan.name()));
    let ends = source.row(format!("SELECT MIN({name}), MAX({name}) FROM {table}")).await?;
    let end = |at: usize| ends.as_ref().and_then(|row| row.text(at)?.parse::<i128>().ok());
    let (Some(low), Some(high)) = (end(0), end(1)) else { return Ok(Vec::new()) };
    let parts = i128::from(limits::TABLE_PARTS);
    let cut =
        |part: i128| key.place(vec![(low + (high - low) * part / parts).to_string().into_bytes()]);
    let mut cuts = (1..parts).map(cut).collect::<Result<Vec<_>>>()?;
    cuts.dedup();
    Ok(cuts)
}
