//! VDiffs of a workflow: what was asked for, who runs one, and its results so far.
//!
//! A lease with an owner and an expiry keeps two processes from running the same one; every save checks and renews it, and so does
//! who works long without one. What a
//! record holds is the `vdiff` crate's to know; here it is text.

use super::wanted::Wanted;
use super::{NOW_US, last_id};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::mysql::control::{Control, Row};
use crate::mysql::sql;

/// What holds for a VDiff that is wanted and that nobody runs.
const RUNNABLE: &str = "desired = 'Running' AND state IN ('pending', 'started') \
                        AND expires_us <= CAST(UNIX_TIMESTAMP(NOW(6))*1000000 AS SIGNED)";

/// How long a lease lasts unless it is renewed.
const TTL_US: u64 = 10_000_000;

/// A VDiff as the sidecar has it.
#[derive(Clone, Debug)]
pub struct VdiffRow {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub uuid: String,
    /// The workflow's full name.
    pub workflow: String,
    /// What was asked for.
    pub spec: String,
    /// What the operator wants.
    pub wanted: Wanted,
    /// What it is doing.
    pub state: String,
    /// Why, after an error.
    pub message: String,
    /// Whether somebody holds its lease.
    pub owned: bool,
    /// When it was first run, in seconds since 1970.
    pub started_s: Option<i64>,
    /// When it was completed, in seconds since 1970.
    pub completed_s: Option<i64>,
}

/// One table of a VDiff.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableRow {
    /// Its name on the source.
    pub name: String,
    /// What it is doing.
    pub state: String,
    /// Rows compared.
    pub rows_compared: u64,
    /// Everything else.
    pub record: String,
}

const COLUMNS: &str = "id, uuid, workflow, spec, desired, state, message, expires_us > \
                       CAST(UNIX_TIMESTAMP(NOW(6))*1000000 AS SIGNED), started_s, completed_s";

/// Registers a VDiff with its tables, in one transaction.
///
/// # Errors
/// Usage if there is one of this name.
pub async fn insert(
    control: &mut Control,
    workflow: &str,
    uuid: &str,
    spec: &str,
    wanted: Wanted,
    tables: &[TableRow],
) -> Result<u64> {
    control.begin().await?;
    let inserted = insert_in_transaction(control, workflow, uuid, spec, wanted, tables).await;
    control.end(inserted).await
}

async fn insert_in_transaction(
    control: &mut Control,
    workflow: &str,
    uuid: &str,
    spec: &str,
    wanted: Wanted,
    tables: &[TableRow],
) -> Result<u64> {
    let sql = format!(
        "INSERT INTO `_shunt`.`vdiff` (uuid, workflow, spec, desired, state, message, owner, expires_us, \
         created_s) VALUES ({}, {}, {}, '{wanted}', 'pending', '', '', 0, UNIX_TIMESTAMP())",
        sql::literal(uuid),
        sql::literal(workflow),
        sql::literal(spec)
    );
    match control.execute(sql).await {
        Err(error) if error.is_duplicate() => {
            return Err(Error::usage(format!("VDiff {uuid} exists already")));
        }
        other => drop(other.context("save the VDiff")?),
    }
    let id = last_id(control).await?;
    for table in tables {
        write_table(control, id, table).await?;
    }
    Ok(id)
}

async fn write_table(control: &mut Control, id: u64, table: &TableRow) -> Result<()> {
    let sql = format!(
        "REPLACE INTO `_shunt`.`vdiff_table` (vdiff_id, table_name, state, rows_compared, record) \
         VALUES ({id}, {}, {}, {}, {})",
        sql::literal(&table.name),
        sql::literal(&table.state),
        table.rows_compared,
        sql::literal(&table.record)
    );
    control.execute(sql).await.map(drop).context("save a table of the VDiff")
}

/// The VDiffs of a workflow, the latest first.
///
/// # Errors
/// Of the connection.
pub async fn of_workflow(control: &mut Control, workflow: &str) -> Result<Vec<VdiffRow>> {
    let condition = format!("workflow = {}", sql::literal(workflow));
    select(control, &condition).await
}

/// The VDiffs that are wanted and that nobody runs.
///
/// # Errors
/// Of the connection; a sidecar without VDiffs has none.
pub async fn waiting(control: &mut Control) -> Result<Vec<VdiffRow>> {
    match select(control, RUNNABLE).await {
        // No such table: the sidecar was made before there were VDiffs.
        Err(error) if error.is_no_table() => Ok(Vec::new()),
        other => other,
    }
}

async fn select(control: &mut Control, condition: &str) -> Result<Vec<VdiffRow>> {
    let query =
        format!("SELECT {COLUMNS} FROM `_shunt`.`vdiff` WHERE {condition} ORDER BY id DESC");
    control.rows(query).await.context("read the VDiffs")?.iter().map(parse).collect()
}

fn parse(row: &Row) -> Result<VdiffRow> {
    let optional = |at: usize| row.bytes(at).map(|_| row.number(at)).transpose();
    Ok(VdiffRow {
        id: row.number(0)?,
        uuid: row.must(1)?,
        workflow: row.must(2)?,
        spec: row.must(3)?,
        wanted: Wanted::parse(&row.must(4)?),
        state: row.must(5)?,
        message: row.must(6)?,
        owned: row.number::<u8>(7)? == 1,
        started_s: optional(8)?,
        completed_s: optional(9)?,
    })
}

/// The tables of a VDiff, by name.
///
/// # Errors
/// Of the connection.
pub async fn tables(control: &mut Control, id: u64) -> Result<Vec<TableRow>> {
    let query = format!(
        "SELECT table_name, state, rows_compared, record FROM `_shunt`.`vdiff_table` \
         WHERE vdiff_id = {id} ORDER BY table_name"
    );
    let table = |row: &Row| {
        Ok(TableRow {
            name: row.must(0)?,
            state: row.must(1)?,
            rows_compared: row.number(2)?,
            record: row.must(3)?,
        })
    };
    control.rows(query).await.context("read the VDiff's tables")?.iter().map(table).collect()
}

/// Takes the lease of a VDiff that is wanted, if it is free; false if another process has it, or if there is nothing to run: it is stopped,
/// failed or completed.
///
/// # Errors
/// Of the connection.
pub async fn take(control: &mut Control, id: u64, owner: &str) -> Result<bool> {
    let sql = format!(
        "UPDATE `_shunt`.`vdiff` SET owner = {}, expires_us = {NOW_US} + {TTL_US} \
         WHERE id = {id} AND {RUNNABLE}",
        sql::literal(owner)
    );
    Ok(control.execute(sql).await.context("take the VDiff's lease")?.affected == 1)
}

/// Renews the lease; brings back what the operator wants.
///
/// # Errors
/// `LeaseLost` if another process has it, or if the VDiff was deleted.
pub async fn renew(control: &mut Control, id: u64, owner: &str) -> Result<Wanted> {
    let ours = format!("id = {id} AND owner = {}", sql::literal(owner));
    let renewed =
        format!("UPDATE `_shunt`.`vdiff` SET expires_us = {NOW_US} + {TTL_US} WHERE {ours}");
    control.execute(renewed).await.context("renew the VDiff's lease")?;
    let wanted = format!("SELECT desired FROM `_shunt`.`vdiff` WHERE {ours}");
    let row = control.row(wanted).await.context("read the VDiff's lease")?.ok_or_else(lost)?;
    Ok(Wanted::parse(&row.must(0)?))
}

/// Saves a table and renews the lease, in one transaction; brings back what the operator wants.
///
/// # Errors
/// `LeaseLost` if another process has it, or if the VDiff was deleted.
pub async fn save_table(
    control: &mut Control,
    id: u64,
    owner: &str,
    table: &TableRow,
) -> Result<Wanted> {
    control.begin().await?;
    let saved = save_in_transaction(control, id, owner, table).await;
    control.end(saved).await
}

async fn save_in_transaction(
    control: &mut Control,
    id: u64,
    owner: &str,
    table: &TableRow,
) -> Result<Wanted> {
    let query = format!("SELECT owner, desired FROM `_shunt`.`vdiff` WHERE id = {id} FOR UPDATE");
    let row = control.row(query).await.context("read the VDiff's lease")?;
    let row = row.filter(|row| row.text(0).as_deref() == Some(owner)).ok_or_else(lost)?;
    control
        .execute(format!(
            "UPDATE `_shunt`.`vdiff` SET expires_us = {NOW_US} + {TTL_US} WHERE id = {id}"
        ))
        .await?;
    write_table(control, id, table).await?;
    Ok(Wanted::parse(&row.must(1)?))
}

fn lost() -> Error {
    Error::new(ErrorKind::LeaseLost, "another process has taken the VDiff over, or it was deleted")
}

/// Changes the state; the lease is given back with `release`. One that stops and was resumed meanwhile is to go on.
///
/// # Errors
/// Of the connection.
pub async fn set_state(
    control: &mut Control,
    id: u64,
    owner: &str,
    state: &str,
    message: &str,
    release: bool,
) -> Result<()> {
    let expires = if release { "0".to_owned() } else { format!("{NOW_US} + {TTL_US}") };
    let now = match state {
        "stopped" => "IF(desired = 'Running', 'pending', 'stopped')".to_owned(),
        other => sql::literal(other),
    };
    let completed = if state == "completed" { "UNIX_TIMESTAMP()" } else { "NULL" };
    let sql = format!(
        "UPDATE `_shunt`.`vdiff` SET state = {now}, message = {}, expires_us = {expires}, \
         started_s = IFNULL(started_s, UNIX_TIMESTAMP()), completed_s = {completed} \
         WHERE id = {id} AND owner = {}",
        sql::literal(message),
        sql::literal(owner)
    );
    control.execute(sql).await.map(drop).context("save the VDiff's state")
}

/// Says that a VDiff shall stop; one that nobody runs is stopped at once.
///
/// # Errors
/// Of the connection.
pub async fn stop(control: &mut Control, id: u64) -> Result<()> {
    let sql = format!(
        "UPDATE `_shunt`.`vdiff` SET state = IF(expires_us > {NOW_US}, state, 'stopped'), \
         desired = 'Stopped' WHERE id = {id} AND state IN ('pending', 'started')"
    );
    control.execute(sql).await.map(drop).context("stop the VDiff")
}

/// Says that a VDiff shall go on where it was. One that is completed is left as it is.
///
/// # Errors
/// Of the connection.
pub async fn resume(control: &mut Control, id: u64) -> Result<()> {
    let sql = format!(
        "UPDATE `_shunt`.`vdiff` SET desired = 'Running', message = '', state = 'pending' \
         WHERE id = {id} AND state <> 'completed'"
    );
    control.execute(sql).await.map(drop).context("resume the VDiff")
}

/// Forgets a VDiff, in one transaction. A process that runs it finds its lease gone.
///
/// # Errors
/// Of the connection.
pub async fn delete(control: &mut Control, id: u64) -> Result<()> {
    control.begin().await?;
    let deleted = delete_in_transaction(control, id).await;
    control.end(deleted).await.context("delete the VDiff")
}

async fn delete_in_transaction(control: &mut Control, id: u64) -> Result<()> {
    control.execute(format!("DELETE FROM `_shunt`.`vdiff_table` WHERE vdiff_id = {id}")).await?;
    control.execute(format!("DELETE FROM `_shunt`.`vdiff` WHERE id = {id}")).await.map(drop)
}

/// Forgets the VDiffs of a workflow; part of the caller's transaction.
///
/// # Errors
/// Of the connection.
pub(super) async fn forget_workflow(control: &mut Control, workflow: u64) -> Result<()> {
    let of = format!("workflow = (SELECT name FROM `_shunt`.`workflow` WHERE id = {workflow})");
    let rows = format!("vdiff_id IN (SELECT id FROM `_shunt`.`vdiff` WHERE {of})");
    for sql in [
        format!("DELETE FROM `_shunt`.`vdiff_table` WHERE {rows}"),
        format!("DELETE FROM `_shunt`.`vdiff` WHERE {of}"),
    ] {
        match control.execute(sql).await {
            // The sidecar was made before there were VDiffs.
            Err(error) if error.is_no_table() => {}
            other => drop(other.context("forget the workflow's VDiffs")?),
        }
    }
    Ok(())
}
