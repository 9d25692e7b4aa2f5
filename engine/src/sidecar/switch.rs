//! The switch that a side takes part in: who coordinates it, what it is, whether it is settled; and the pass that the side's
//! stream shows to its fence. Client writes never touch this row, so nothing of it waits for them.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::mysql::control::{Control, Row};
use crate::mysql::deadline::{Bounded, Bounder};
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

/// How long a stopped coordinator's transaction is waited for before it is ended, and how often.
const TAKE_OVER_WAIT: Duration = Duration::from_millis(300);
const TAKE_OVER_TRIES: u32 = 10;

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

/// The last switches of a server, settled or not.
///
/// # Errors
/// Of the connection.
pub async fn all(control: &mut Control) -> Result<Vec<SwitchRow>> {
    rows(control, format!("SELECT {COLUMNS} FROM `_shunt`.`switch` WHERE generation > 0")).await
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
        Err(error) if error.is_absent() => Ok(Vec::new()),
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
    let sql = begin_sql(workflow, generation, coordinator, plan) + " AND settled = 1";
    must_be_one(control.execute(sql).await.context("begin the switch")?.affected)
}

/// In the place of an earlier one.
fn begin_sql(workflow: &str, generation: u64, coordinator: &str, plan: &str) -> String {
    format!(
        "UPDATE `_shunt`.`switch` SET generation = {generation}, coordinator = {}, settled = 0, plan = {} \
         WHERE workflow = {} AND generation < {generation}",
        sql::literal(coordinator),
        sql::literal(plan),
        sql::literal(workflow)
    )
}

/// Puts a decided switch in the place of an earlier one, settled or not, on a side that has not got it: from now on it is to be settled
/// here, too. May be repeated.
///
/// # Errors
/// LeaseLost if a newer one is there, or this one under another coordinator.
pub async fn impose(
    control: &mut Control,
    workflow: &str,
    generation: u64,
    coordinator: &str,
    plan: &str,
) -> Result<()> {
    let sql = begin_sql(workflow, generation, coordinator, plan);
    control.execute(sql).await.context("make up for the switch")?;
    let row = read(control, workflow).await?;
    let ours = |row: SwitchRow| row.generation == generation && row.coordinator == coordinator;
    must_be_one(u64::from(row.is_some_and(ours)))
}

/// Replaces what the last switch of a side is, as whoever takes it over reads it; nothing happens if it is another one by now.
///
/// # Errors
/// Of the connection.
pub async fn set_plan(control: &mut Control, row: &SwitchRow, plan: &str) -> Result<()> {
    let sql = format!(
        "UPDATE `_shunt`.`switch` SET plan = {} WHERE workflow = {} AND generation = {}",
        sql::literal(plan),
        sql::literal(&row.workflow),
        row.generation
    );
    control.execute(sql).await.map(drop).context("change the switch")
}

/// Takes an unsettled switch over from a coordinator that is gone. May be repeated.
///
/// Nobody but coordinators locks the row. One that was stopped in the middle of a transaction holds it until it wakes: its
/// connection is ended, and the transaction with it.
///
/// # Errors
/// LeaseLost if it is not there any more, Retry if the old coordinator's connection does not end.
pub async fn take_over(
    bounder: &mut Bounder,
    workflow: &str,
    generation: u64,
    coordinator: &str,
) -> Result<()> {
    let sql = format!(
        "UPDATE `_shunt`.`switch` SET coordinator = {} WHERE workflow = {} AND generation = {generation}",
        sql::literal(coordinator),
        sql::literal(workflow)
    );
    for _ in 0..TAKE_OVER_TRIES {
        match bounder.run(&sql, TAKE_OVER_WAIT).await.context("take the switch over")? {
            Bounded::Done(_) => {
                let row = read(&mut bounder.control, workflow).await?;
                let ours = |row: &SwitchRow| {
                    row.generation == generation && row.coordinator == coordinator
                };
                return must_be_one(u64::from(row.is_some_and(|row| ours(&row))));
            }
            Bounded::GivenUp(blockers) => {
                for blocker in blockers.iter().filter(|blocker| blocker.exact) {
                    tracing::warn!(%workflow, "the old coordinator's {blocker} is ended");
                    let kill = format!("KILL {}", blocker.connection);
                    match bounder.second.execute(kill).await {
                        Err(error) if error.is_no_thread() => {}
                        other => drop(other.context("end the old coordinator's connection")?),
                    }
                }
            }
        }
    }
    Err(Error::retry("the old coordinator's connections do not end"))
}

/// Locks the row until the caller's transaction ends. `false` if the switch was never begun on this side: nothing of it is to be
/// taken back here.
///
/// # Errors
/// LeaseLost if the switch has another coordinator, or a newer one is there.
pub async fn is_begun(
    control: &mut Control,
    workflow: &str,
    generation: u64,
    coordinator: &str,
) -> Result<bool> {
    let query = format!(
        "SELECT generation, coordinator FROM `_shunt`.`switch` WHERE workflow = {} FOR UPDATE",
        sql::literal(workflow)
    );
    let Some(row) = control.row(query).await.context("check the switch")? else {
        return Ok(false);
    };
    let (last, whose): (u64, String) = (row.number(0)?, row.must(1)?);
    if last < generation {
        return Ok(false);
    }
    must_be_one(u64::from(last == generation && whose == coordinator)).map(|()| true)
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

/// Puts a settled switch in the place of whatever is there, settled or not: no earlier one is anybody's any more. Part of the caller's
/// transaction.
///
/// # Errors
/// LeaseLost if a newer one is there.
pub async fn supersede(
    control: &mut Control,
    workflow: &str,
    generation: u64,
    coordinator: &str,
) -> Result<()> {
    let sql = format!(
        "UPDATE `_shunt`.`switch` SET generation = {generation}, coordinator = {}, settled = 1 \
         WHERE workflow = {} AND generation < {generation}",
        sql::literal(coordinator),
        sql::literal(workflow)
    );
    must_be_one(control.execute(sql).await.context("supersede the switch")?.affected)
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
        Err(error) if error.is_absent() => Ok(()),
        other => other.map(drop).context("forget the switch"),
    }
}

fn must_be_one(affected: u64) -> Result<()> {
    if affected == 0 {
        return Err(Error::new(ErrorKind::LeaseLost, "the switch has another coordinator by now"));
    }
    Ok(())
}
