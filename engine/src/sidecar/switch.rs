//! The switch that a side takes part in: who coordinates it, what it is, whether it is settled; and the pass that the side's
//! stream shows to its fence. Client writes never touch this row, so nothing of it waits for them.

use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::mysql::control::{Control, Row};
use crate::mysql::sql;

/// A switch as a side's sidecar has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchRow {
    /// The workflow that writes into this side.
    pub workflow: String,
    /// The switch's generation; 0 if there was none yet.
    pub generation: u64,
    /// Who may act in it.
    pub coordinator: String,
    /// Whether it is finished or taken back.
    pub settled: bool,
    /// What it is, for whoever takes it over.
    pub plan: String,
}

const COLUMNS: &str = "workflow, generation, coordinator, settled, plan";

fn parse(row: &Row) -> Result<SwitchRow> {
    Ok(SwitchRow {
        workflow: row.must(0)?,
        generation: row.number(1)?,
        coordinator: row.must(2)?,
        settled: row.must(3)? == "1",
        plan: row.must(4)?,
    })
}

/// Adds a side's row where it has none, with a pass for the side's stream.
///
/// # Errors
/// Of the connection.
pub async fn insert_missing(control: &mut Control, workflow: &str) -> Result<()> {
    let sql = format!(
        "INSERT IGNORE INTO `_shunt`.`switch` (workflow, pass, generation, coordinator, settled, plan) \
         VALUES ({}, {}, 0, '', 1, '')",
        sql::literal(workflow),
        sql::literal(&uuid::Uuid::new_v4().to_string())
    );
    control.execute(sql).await.map(drop).context("add the switch")
}

/// The switch of a side.
///
/// # Errors
/// Of the connection.
pub async fn read(control: &mut Control, workflow: &str) -> Result<Option<SwitchRow>> {
    let query = format!(
        "SELECT {COLUMNS} FROM `_shunt`.`switch` WHERE workflow = {}",
        sql::literal(workflow)
    );
    Ok(rows(control, query).await?.into_iter().next())
}

/// The switches of a server that are neither finished nor taken back.
///
/// # Errors
/// Of the connection.
pub async fn unsettled(control: &mut Control) -> Result<Vec<SwitchRow>> {
    rows(control, format!("SELECT {COLUMNS} FROM `_shunt`.`switch` WHERE settled = 0")).await
}

async fn rows(control: &mut Control, query: String) -> Result<Vec<SwitchRow>> {
    match control.rows(query).await {
        // No sidecar, or one from before there were switches.
        Err(error) if matches!(error.server_code(), Some(1049 | 1146)) => Ok(Vec::new()),
        other => other.context("read the switch")?.iter().map(parse).collect(),
    }
}

/// Begins a switch on a side: from now on it has to be settled.
///
/// # Errors
/// LeaseLost if a newer one is there, or one that is not settled.
pub async fn begin(
    control: &mut Control,
    workflow: &str,
    generation: u64,
    coordinator: &str,
    plan: &str,
) -> Result<()> {
    let sql = format!(
        "UPDATE `_shunt`.`switch` SET generation = {generation}, coordinator = {}, settled = 0, plan = {} \
         WHERE workflow = {} AND settled = 1 AND generation < {generation}",
        sql::literal(coordinator),
        sql::literal(plan),
        sql::literal(workflow)
    );
    must_be_one(control.execute(sql).await.context("begin the switch")?.affected)
}

/// Takes an unsettled switch over from a coordinator that is gone. May be repeated.
///
/// # Errors
/// LeaseLost if it is not there any more.
pub async fn take_over(
    control: &mut Control,
    workflow: &str,
    generation: u64,
    coordinator: &str,
) -> Result<()> {
    control.execute("BEGIN").await?;
    let query = format!(
        "SELECT settled FROM `_shunt`.`switch` WHERE workflow = {} AND generation = {generation} FOR UPDATE",
        sql::literal(workflow)
    );
    let there = control.row(query).await.context("take the switch over")?.is_some();
    let sql = format!(
        "UPDATE `_shunt`.`switch` SET coordinator = {} WHERE workflow = {} AND generation = {generation}",
        sql::literal(coordinator),
        sql::literal(workflow)
    );
    control.execute(sql).await.context("take the switch over")?;
    control.execute("COMMIT").await.context("take the switch over")?;
    must_be_one(u64::from(there))
}

/// Locks the row until the caller's transaction ends, and checks that the switch is still this coordinator's.
///
/// # Errors
/// LeaseLost if it is not.
pub async fn must_coordinate(
    control: &mut Control,
    workflow: &str,
    generation: u64,
    coordinator: &str,
) -> Result<()> {
    let query = format!(
        "SELECT 1 FROM `_shunt`.`switch` WHERE workflow = {} AND generation = {generation} AND coordinator = {} \
         FOR UPDATE",
        sql::literal(workflow),
        sql::literal(coordinator)
    );
    must_be_one(u64::from(control.row(query).await.context("check the switch")?.is_some()))
}

/// Gives the side a new pass: what streams of earlier switches show is worth nothing any more. Part of the caller's
/// transaction.
///
/// # Errors
/// Of the connection.
pub async fn renew_pass(control: &mut Control, workflow: &str) -> Result<()> {
    let sql = format!(
        "UPDATE `_shunt`.`switch` SET pass = {} WHERE workflow = {}",
        sql::literal(&uuid::Uuid::new_v4().to_string()),
        sql::literal(workflow)
    );
    control.execute(sql).await.map(drop).context("renew the pass")
}

/// Marks a switch as finished or taken back. May be repeated.
///
/// # Errors
/// Of the connection.
pub async fn settle(
    control: &mut Control,
    workflow: &str,
    generation: u64,
    coordinator: &str,
) -> Result<()> {
    let sql = format!(
        "UPDATE `_shunt`.`switch` SET settled = 1 \
         WHERE workflow = {} AND generation = {generation} AND coordinator = {}",
        sql::literal(workflow),
        sql::literal(coordinator)
    );
    control.execute(sql).await.map(drop).context("settle the switch")
}

/// Forgets a side's switch.
///
/// # Errors
/// Of the connection.
pub async fn forget(control: &mut Control, workflow: &str) -> Result<()> {
    let sql = format!("DELETE FROM `_shunt`.`switch` WHERE workflow = {}", sql::literal(workflow));
    match control.execute(sql).await {
        Err(error) if matches!(error.server_code(), Some(1049 | 1146)) => Ok(()),
        other => other.map(drop).context("forget the switch"),
    }
}

fn must_be_one(affected: u64) -> Result<()> {
    if affected == 0 {
        return Err(Error::new(ErrorKind::LeaseLost, "the switch has another coordinator by now"));
    }
    Ok(())
}
