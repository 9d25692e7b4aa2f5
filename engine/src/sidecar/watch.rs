//! The lasting watch over a side that was switched from, and the leaks that it has found there ([`crate::cutover::leak`]).
//!
//! A watch is a row beside the side's fence: the position in the side's own binlog up to which everything was looked at. A lease
//! with an owner and an expiry keeps several processes from reading the same; what they record would be the same rows.

use crate::error::{Result, ResultExt};
use crate::mysql::control::{Control, Row};
use crate::mysql::snapshot::LogPosition;
use crate::mysql::sql;

/// Seconds that a lease lasts unless a save renews it.
const TTL_S: u64 = 15;
/// Leaks of one workflow that are kept one by one; what comes after them is one more row.
const KEPT: u64 = 1000;
/// The name of that row.
const MORE: &str = "more";

/// A watch as the sidecar has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchRow {
    /// The workflow that writes into the side.
    pub workflow: String,
    /// The generation of the switch that closed the side.
    pub generation: u64,
    /// Everything up to here was looked at.
    pub pos: String,
    /// Whether somebody goes on looking.
    pub owned: bool,
}

/// Something that was written on a closed side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeakRow {
    /// The transaction, in the side's own binlog.
    pub gtid: String,
    /// The generation of the switch that had closed the side.
    pub generation: u64,
    /// What it did, with the tables' names.
    pub what: String,
    /// Where it ends in the side's binlog.
    pub end: LogPosition,
    /// When it was found, in seconds since 1970.
    pub seen_s: i64,
    /// Whether the operator has said that it is dealt with.
    pub acknowledged: bool,
}

/// Begins a watch from a position on, in place of an earlier one. Part of the caller's transaction.
///
/// # Errors
/// Of the connection.
pub async fn begin(
    control: &mut Control,
    workflow: &str,
    generation: u64,
    pos: &str,
) -> Result<()> {
    let sql = format!(
        "REPLACE INTO `_shunt`.`watch` (workflow, generation, pos, owner, expires_s) \
         VALUES ({}, {generation}, {}, '', 0)",
        sql::literal(workflow),
        sql::literal(pos)
    );
    control.execute(sql).await.map(drop).context("begin the watch of the closed side")
}

/// The watches of closed sides on this server: those whose side was opened again are left out.
///
/// # Errors
/// Of the connection.
pub async fn of_closed(control: &mut Control) -> Result<Vec<WatchRow>> {
    let query = "SELECT w.workflow, w.generation, w.pos, w.expires_s > UNIX_TIMESTAMP() \
                 FROM `_shunt`.`watch` w JOIN `_shunt`.`fence` f ON f.workflow = w.workflow \
                 AND f.generation = w.generation AND f.state = 'closed'";
    let parse = |row: &Row| {
        Ok(WatchRow {
            workflow: row.must(0)?,
            generation: row.number(1)?,
            pos: row.must(2)?,
            owned: row.must(3)? == "1",
        })
    };
    match control.rows(query).await {
        // No sidecar, or one from before there were watches.
        Err(error) if error.is_absent() => Ok(Vec::new()),
        other => other.context("read the watches")?.iter().map(parse).collect(),
    }
}

/// The watch of one side, if it is closed.
///
/// # Errors
/// Of the connection.
pub async fn read(control: &mut Control, workflow: &str) -> Result<Option<WatchRow>> {
    Ok(of_closed(control).await?.into_iter().find(|row| row.workflow == workflow))
}

/// The generation of the switch that a side's watch is of, closed or not.
///
/// # Errors
/// Of the connection.
pub async fn generation(control: &mut Control, workflow: &str) -> Result<Option<u64>> {
    let query = format!(
        "SELECT generation FROM `_shunt`.`watch` WHERE workflow = {}",
        sql::literal(workflow)
    );
    let row = control.row(query).await.context("read the watch")?;
    row.map(|row| row.number(0)).transpose()
}

/// Takes the lease of a watch; `false` if somebody has it.
///
/// # Errors
/// Of the connection.
pub async fn take(control: &mut Control, watch: &WatchRow, owner: &str) -> Result<bool> {
    let sql = format!(
        "UPDATE `_shunt`.`watch` SET owner = {}, expires_s = UNIX_TIMESTAMP() + {TTL_S} \
         WHERE workflow = {} AND generation = {} AND expires_s <= UNIX_TIMESTAMP()",
        sql::literal(owner),
        sql::literal(&watch.workflow),
        watch.generation
    );
    Ok(control.execute(sql).await.context("take the watch")?.affected == 1)
}

/// Saves how far everything was looked at; whoever has the lease keeps it. `false` if this watch is not there any more.
///
/// # Errors
/// Of the connection.
pub async fn save(control: &mut Control, watch: &WatchRow, pos: &str) -> Result<bool> {
    let place = format!(
        "WHERE workflow = {} AND generation = {}",
        sql::literal(&watch.workflow),
        watch.generation
    );
    let sql = format!(
        "UPDATE `_shunt`.`watch` SET pos = {}, \
         expires_s = IF(owner = '', 0, UNIX_TIMESTAMP() + {TTL_S}) {place}",
        sql::literal(pos)
    );
    control.execute(sql).await.context("save the watch")?;
    let there = control.row(format!("SELECT 1 FROM `_shunt`.`watch` {place}")).await?;
    Ok(there.is_some())
}

/// Gives the lease back.
///
/// # Errors
/// Of the connection.
pub async fn release(control: &mut Control, watch: &WatchRow, owner: &str) -> Result<()> {
    let sql = format!(
        "UPDATE `_shunt`.`watch` SET owner = '', expires_s = 0 WHERE workflow = {} AND owner = {}",
        sql::literal(&watch.workflow),
        sql::literal(owner)
    );
    control.execute(sql).await.map(drop).context("give the watch back")
}

/// Records a leak with an entry in the journal, in one transaction, unless the side was opened meanwhile: then it was none.
/// `true` if it is new. May be repeated.
///
/// # Errors
/// Of the connection.
pub async fn record(
    control: &mut Control,
    watch: &WatchRow,
    (gtid, what, end): (&str, &str, &LogPosition),
) -> Result<bool> {
    control.begin().await?;
    let recorded = record_in_transaction(control, watch, (gtid, what, end)).await;
    control.end(recorded).await.context("record a leak")
}

async fn record_in_transaction(
    control: &mut Control,
    watch: &WatchRow,
    (gtid, what, end): (&str, &str, &LogPosition),
) -> Result<bool> {
    let workflow = sql::literal(&watch.workflow);
    let closed = format!(
        "SELECT 1 FROM `_shunt`.`fence` WHERE workflow = {workflow} AND state = 'closed' \
         AND generation = {} LOCK IN SHARE MODE",
        watch.generation
    );
    if control.row(closed).await?.is_none() {
        return Ok(false);
    }
    let count = format!(
        "SELECT COUNT(*) FROM `_shunt`.`leak` WHERE workflow = {workflow} AND acknowledged_s IS NULL"
    );
    let count: u64 = control.row(count).await?.unwrap_or_default().number(0)?;
    let (gtid, what) = if count >= KEPT {
        (MORE, "more transactions after these wrote here; they are not listed")
    } else {
        (gtid, what)
    };
    let sql = format!(
        "INSERT INTO `_shunt`.`leak` (workflow, gtid, generation, what, log_file, log_offset, \
         seen_s, acknowledged_s) VALUES ({workflow}, {}, {}, {}, {}, {}, UNIX_TIMESTAMP(), NULL) \
         ON DUPLICATE KEY UPDATE acknowledged_s = IF(gtid = '{MORE}', NULL, acknowledged_s)",
        sql::literal(gtid),
        watch.generation,
        sql::literal(what),
        sql::literal(&end.file),
        end.offset
    );
    let is_new = control.execute(sql).await?.affected == 1;
    if is_new {
        let detail = format!("{gtid} {what}");
        super::workflow::journal(control, &watch.workflow, "leak", &detail).await?;
    }
    Ok(is_new)
}

/// All leaks of a side, in the order in which they were found.
///
/// # Errors
/// Of the connection.
pub async fn leaks(control: &mut Control, workflow: &str) -> Result<Vec<LeakRow>> {
    let query = format!(
        "SELECT gtid, generation, what, log_file, log_offset, seen_s, acknowledged_s IS NOT NULL \
         FROM `_shunt`.`leak` WHERE workflow = {} ORDER BY id",
        sql::literal(workflow)
    );
    let parse = |row: &Row| {
        Ok(LeakRow {
            gtid: row.must(0)?,
            generation: row.number(1)?,
            what: row.must(2)?,
            end: LogPosition { file: row.must(3)?, offset: row.number(4)? },
            seen_s: row.number(5)?,
            acknowledged: row.must(6)? == "1",
        })
    };
    match control.rows(query).await {
        Err(error) if error.is_absent() => Ok(Vec::new()),
        other => other.context("read the leaks")?.iter().map(parse).collect(),
    }
}

/// Notes that the operator has dealt with a leak; `false` if it is not known, or was acknowledged before.
///
/// # Errors
/// Of the connection.
pub async fn acknowledge(control: &mut Control, workflow: &str, gtid: &str) -> Result<bool> {
    let sql = format!(
        "UPDATE `_shunt`.`leak` SET acknowledged_s = UNIX_TIMESTAMP() \
         WHERE workflow = {} AND gtid = {} AND acknowledged_s IS NULL",
        sql::literal(workflow),
        sql::literal(gtid)
    );
    Ok(control.execute(sql).await.context("acknowledge a leak")?.affected == 1)
}

/// Forgets a side's watch and its leaks; the journal keeps them.
///
/// # Errors
/// Of the connection.
pub async fn forget(control: &mut Control, workflow: &str) -> Result<()> {
    for table in ["watch", "leak"] {
        let name = sql::literal(workflow);
        let sql = format!("DELETE FROM `_shunt`.`{table}` WHERE workflow = {name}");
        match control.execute(sql).await {
            Err(error) if error.is_absent() => {}
            other => drop(other.context("forget the watch")?),
        }
    }
    Ok(())
}
