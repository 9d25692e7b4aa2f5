//! The row of a workflow: what was asked for, and whether it shall run.

use super::wanted::Wanted;
use super::{claims, last_id, stream, switch, table_plan};
use crate::error::{Error, Result, ResultExt};
use crate::failpoints;
use crate::mysql::control::{Control, Row};
use crate::mysql::sql;
use crate::workflow::spec::WorkflowSpec;
use crate::workflow::state::StreamState;

/// A workflow as the sidecar has it.
#[derive(Clone, Debug)]
pub struct WorkflowRow {
    /// Its id.
    pub id: u64,
    /// What was asked for.
    pub spec: WorkflowSpec,
    /// What the operator wants.
    pub wanted: Wanted,
    /// When it was created, in seconds since 1970.
    pub created_s: i64,
}

const COLUMNS: &str = "id, spec, desired, created_s";

/// Saves a new workflow with its stream and tables, in one transaction.
///
/// # Errors
/// Usage if a workflow of this name exists, or another one writes a table of it.
pub async fn insert(
    control: &mut Control,
    spec: &WorkflowSpec,
    tables: &[table_plan::TableRow],
    wanted: Wanted,
) -> Result<u64> {
    failpoints::hit(failpoints::CREATE_BEFORE_WORKFLOW)?;
    control.begin().await?;
    let inserted = insert_in_transaction(control, spec, tables, wanted).await;
    let inserted = control.end(inserted).await;
    failpoints::hit(failpoints::CREATE_AFTER_WORKFLOW)?;
    inserted
}

async fn insert_in_transaction(
    control: &mut Control,
    spec: &WorkflowSpec,
    tables: &[table_plan::TableRow],
    wanted: Wanted,
) -> Result<u64> {
    let state = match wanted {
        Wanted::Run => StreamState::Init,
        Wanted::Stop => StreamState::Stopped,
    };
    claims::lock(control).await?;
    let id = insert_row(control, spec, wanted).await?;
    claims::must_be_free(control, spec).await?;
    let stream = stream::insert(control, id, state).await?;
    for table in tables {
        table_plan::insert(control, stream, table).await?;
    }
    // From the start the workflow's own stream has a pass, so that the target can be fenced at any time.
    switch::insert_missing(control, &spec.name()).await?;
    Ok(id)
}

/// Its row alone; part of the caller's transaction.
pub(super) async fn insert_row(
    control: &mut Control,
    spec: &WorkflowSpec,
    wanted: Wanted,
) -> Result<u64> {
    let sql = format!(
        "INSERT INTO `_shunt`.`workflow` (name, target_keyspace, spec, desired, created_s) \
         VALUES ({}, {}, {}, '{wanted}', UNIX_TIMESTAMP())",
        sql::literal(&spec.name()),
        sql::literal(&spec.target_keyspace),
        sql::literal(&as_text(spec)?),
    );
    match control.execute(sql).await {
        Err(error) if error.is_duplicate() => {
            Err(Error::usage(format!("workflow {} exists already", spec.name()))
                .advice("Choose another name, or cancel that one first."))
        }
        other => {
            other.context("save the workflow")?;
            last_id(control).await
        }
    }
}

fn as_text(spec: &WorkflowSpec) -> Result<String> {
    serde_json::to_string(spec)
        .map_err(|error| Error::stop("write the workflow's specification").source(error))
}

/// The workflow of this name.
///
/// # Errors
/// Of the connection.
pub async fn find(control: &mut Control, name: &str) -> Result<Option<WorkflowRow>> {
    let query =
        format!("SELECT {COLUMNS} FROM `_shunt`.`workflow` WHERE name = {}", sql::literal(name));
    match control.row(query).await {
        // No sidecar: nothing was ever moved here, nor switched from here.
        Err(error) if error.is_absent() => Ok(None),
        other => other.context("read the workflow")?.as_ref().map(parse).transpose(),
    }
}

/// All workflows into a keyspace, by name.
///
/// # Errors
/// Of the connection.
pub async fn list(control: &mut Control, target_keyspace: &str) -> Result<Vec<WorkflowRow>> {
    let query = format!(
        "SELECT {COLUMNS} FROM `_shunt`.`workflow` WHERE target_keyspace = {} ORDER BY name",
        sql::literal(target_keyspace)
    );
    control.rows(query).await.context("read the workflows")?.iter().map(parse).collect()
}

/// All workflows that write into this server.
///
/// # Errors
/// Of the connection.
pub async fn all(control: &mut Control) -> Result<Vec<WorkflowRow>> {
    let query = format!("SELECT {COLUMNS} FROM `_shunt`.`workflow` ORDER BY name");
    control.rows(query).await.context("read the workflows")?.iter().map(parse).collect()
}

fn parse(row: &Row) -> Result<WorkflowRow> {
    let spec = serde_json::from_str(&row.must(1)?)
        .map_err(|error| Error::stop("read a workflow's specification").source(error))?;
    Ok(WorkflowRow {
        id: row.number(0)?,
        spec,
        wanted: Wanted::parse(&row.must(2)?),
        created_s: row.number(3)?,
    })
}

/// Says what is wanted of the workflow. Starting clears an error of its streams.
///
/// # Errors
/// Of the connection.
pub async fn set_wanted(control: &mut Control, workflow: u64, wanted: Wanted) -> Result<()> {
    let mut sql =
        format!("UPDATE `_shunt`.`workflow` SET desired = '{wanted}' WHERE id = {workflow}");
    if wanted == Wanted::Run {
        sql += &format!(
            "; UPDATE `_shunt`.`stream` SET state = 'Init', message = '' \
             WHERE workflow_id = {workflow} AND state IN ('Stopped', 'Error')"
        );
    }
    control.execute(sql).await.map(drop).context("save what is wanted of the workflow")
}

/// Replaces the specification, after `workflow update`.
///
/// # Errors
/// Of the connection.
pub async fn set_spec(control: &mut Control, workflow: u64, spec: &WorkflowSpec) -> Result<()> {
    let sql = format!(
        "UPDATE `_shunt`.`workflow` SET spec = {} WHERE id = {workflow}",
        sql::literal(&as_text(spec)?)
    );
    control.execute(sql).await.map(drop).context("save the workflow's specification")
}

/// Forgets a workflow and all that belongs to it, in one transaction.
///
/// # Errors
/// Of the connection.
pub async fn forget(control: &mut Control, workflow: u64) -> Result<()> {
    failpoints::hit(failpoints::CANCEL_BEFORE_FORGET)?;
    control.begin().await?;
    let forgotten = forget_in_transaction(control, workflow).await;
    control.end(forgotten).await.context("forget the workflow")
}

/// The same as part of the caller's transaction.
///
/// # Errors
/// Of the connection.
pub async fn forget_in_transaction(control: &mut Control, workflow: u64) -> Result<()> {
    let streams = format!("SELECT id FROM `_shunt`.`stream` WHERE workflow_id = {workflow}");
    for table in ["range", "table_plan", "lease", "epoch"] {
        let sql = format!("DELETE FROM `_shunt`.`{table}` WHERE stream_id IN ({streams})");
        control.execute(sql).await.context("forget the workflow")?;
    }
    super::vdiff::forget_workflow(control, workflow).await?;
    control
        .execute(format!("DELETE FROM `_shunt`.`stream` WHERE workflow_id = {workflow}"))
        .await?;
    let sql = format!("DELETE FROM `_shunt`.`workflow` WHERE id = {workflow}");
    control.execute(sql).await.map(drop).context("forget the workflow")
}

/// Notes in the journal what was decided.
///
/// # Errors
/// Of the connection.
pub async fn journal(control: &mut Control, name: &str, what: &str, detail: &str) -> Result<()> {
    let sql = format!(
        "INSERT INTO `_shunt`.`journal` (workflow, at_s, what, detail) VALUES ({}, UNIX_TIMESTAMP(), {}, {})",
        sql::literal(name),
        sql::literal(what),
        sql::literal(detail)
    );
    control.execute(sql).await.map(drop).context("write the journal")
}

/// The last entry of the journal of this kind.
///
/// # Errors
/// Of the connection.
pub async fn last_journal(control: &mut Control, name: &str, what: &str) -> Result<Option<String>> {
    let query = format!(
        "SELECT detail FROM `_shunt`.`journal` WHERE workflow = {} AND what = {} ORDER BY id DESC LIMIT 1",
        sql::literal(name),
        sql::literal(what)
    );
    Ok(control.row(query).await.context("read the journal")?.and_then(|row| row.text(0)))
}
