//! Who runs a stream: a row with an owner and an expiry, and the epoch that every transaction checks.
//!
//! A takeover (1) waits until the lease has expired or was released, (2) kills the connections that the old owner noted, so
//! that nothing of it waits for locks or builds an index any more, (3) raises the epoch and commits, which waits for every
//! transaction that still holds it shared, and (4) only then lets the new owner read the state. Times are those of the target server's clock,
//! the same for all who compete.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::NOW_US;
use super::wanted::Wanted;
use crate::apply::target::Tenure;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::failpoints;
use crate::limits;
use crate::mysql::control::{Control, Row};
use crate::mysql::sql;

/// Names one run of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner(String);

impl Owner {
    /// A new name, which nobody else has.
    pub fn new() -> Self {
        Self(uuid::Uuid::now_v7().to_string())
    }
}

impl Default for Owner {
    fn default() -> Self {
        Self::new()
    }
}

/// What the owner says about its stream, for `status`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// How old the oldest change is that is not yet applied, in milliseconds; unknown at first.
    pub lag_ms: Option<u64>,
    /// Why the copy is slowed down, if it is.
    pub throttled: Option<String>,
    /// What the stream does now, in a word or two.
    pub doing: String,
    /// What each stage waits for.
    pub waits: Vec<(String, String)>,
    /// Per table: pending, open, closing and done ranges.
    pub ranges: Vec<(String, [usize; 4])>,
    /// Row changes applied by this run.
    pub changes_applied: u64,
}

/// Takes the lease if it is free, expired or already this owner's, under a new epoch. `None` if another owner holds it.
///
/// # Errors
/// Retry if the old owner's connections do not end.
pub async fn take(control: &mut Control, stream: u64, owner: &Owner) -> Result<Option<Tenure>> {
    acquire(control, stream, owner, false).await
}

/// Takes the lease from whoever holds it, as if it had expired: for a cutover, which is to freeze the stream or to set it free.
/// The old owner's connections are ended, and it finds the lease another's.
///
/// # Errors
/// Retry if the old owner's connections do not end, Stop if there is no such stream.
pub async fn seize(control: &mut Control, stream: u64, owner: &Owner) -> Result<Tenure> {
    acquire(control, stream, owner, true)
        .await?
        .ok_or_else(|| Error::stop("the stream has no lease in the sidecar"))
}

/// The same as part of the caller's transaction.
///
/// # Errors
/// As [`seize`].
pub async fn seize_in_transaction(
    control: &mut Control,
    stream: u64,
    owner: &Owner,
) -> Result<Tenure> {
    take_in_transaction(control, stream, owner, true)
        .await?
        .ok_or_else(|| Error::stop("the stream has no lease in the sidecar"))
}

async fn acquire(
    control: &mut Control,
    stream: u64,
    owner: &Owner,
    force: bool,
) -> Result<Option<Tenure>> {
    failpoints::hit(failpoints::LEASE_BEFORE_TAKE)?;
    control.begin().await?;
    let taken = take_in_transaction(control, stream, owner, force).await;
    let taken = control.end(taken).await.context("take the lease");
    failpoints::hit(failpoints::LEASE_AFTER_TAKE)?;
    taken
}

async fn take_in_transaction(
    control: &mut Control,
    stream: u64,
    owner: &Owner,
    force: bool,
) -> Result<Option<Tenure>> {
    let query = format!(
        "SELECT owner, expires_us > {NOW_US}, connections, server_start_s FROM `_shunt`.`lease` \
         WHERE stream_id = {stream} FOR UPDATE"
    );
    let Some(row) = control.row(query).await.context("read the lease")? else { return Ok(None) };
    if row.must(0)? != owner.0 && row.number::<u8>(1)? == 1 && !force {
        return Ok(None);
    }
    end_connections(control, &row).await?;
    control
        .execute(format!(
            "UPDATE `_shunt`.`epoch` SET epoch = epoch + 1 WHERE stream_id = {stream}"
        ))
        .await
        .context("raise the epoch")?;
    let row = control
        .row(format!("SELECT epoch FROM `_shunt`.`epoch` WHERE stream_id = {stream}"))
        .await?
        .ok_or_else(|| Error::stop("the stream has no epoch in the sidecar"))?;
    let tenure = Tenure { stream, epoch: row.number(0)? };
    control
        .execute(format!(
            "UPDATE `_shunt`.`lease` SET owner = {}, expires_us = {NOW_US} + {}, connections = '', \
             progress = '{{}}' WHERE stream_id = {stream}",
            sql::literal(&owner.0),
            limits::LEASE_TTL.as_micros()
        ))
        .await?;
    Ok(Some(tenure))
}

/// Kills what the old owner left behind and waits until it is gone.
async fn end_connections(control: &mut Control, lease: &Row) -> Result<()> {
    let noted = lease.must(2)?;
    let ids: Vec<&str> = noted.split(',').filter(|id| !id.is_empty()).collect();
    // After a restart of the server the same ids belong to others.
    let same_server = lease.number::<i64>(3)?.abs_diff(server_start(control).await?) <= 2;
    if ids.is_empty() || !same_server {
        return Ok(());
    }
    for id in &ids {
        match control.execute(format!("KILL {id}")).await {
            // No such connection: it ended by itself.
            Err(error) if error.is_no_thread() => {}
            other => drop(other.context("end a connection of the stream's last owner")?),
        }
    }
    let query =
        format!("SELECT COUNT(*) FROM information_schema.processlist WHERE id IN ({noted})");
    for _ in 0..300 {
        let left = control.row(&query).await?.map(|row| row.number::<u64>(0)).transpose()?;
        if left == Some(0) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(Error::retry("connections of the stream's last owner do not end"))
}

/// When the server was started, in seconds since 1970, give or take one.
async fn server_start(control: &mut Control) -> Result<i64> {
    let row = control.row("SHOW GLOBAL STATUS LIKE 'Uptime'").await?;
    let uptime: i64 = row.map(|row| row.number(1)).transpose()?.unwrap_or(0);
    let row = control.row("SELECT UNIX_TIMESTAMP()").await?;
    let now: i64 = row.map(|row| row.number(0)).transpose()?.unwrap_or(0);
    Ok(now - uptime)
}

/// Notes the connections that a takeover has to end. To be called before they are used.
///
/// # Errors
/// `LeaseLost` if the lease is another owner's.
pub async fn note_connections(
    control: &mut Control,
    tenure: Tenure,
    owner: &Owner,
    ids: &[u32],
) -> Result<()> {
    let ids = ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let start = server_start(control).await?;
    let sql = format!(
        "UPDATE `_shunt`.`lease` SET connections = {}, server_start_s = {start}, \
         expires_us = {NOW_US} + {} WHERE stream_id = {} AND owner = {}",
        sql::literal(&ids),
        limits::LEASE_TTL.as_micros(),
        tenure.stream,
        sql::literal(&owner.0)
    );
    must_own(control.execute(sql).await.context("note the stream's connections")?.affected)
}

/// Prolongs the lease, writes progress, and reads what the operator wants.
///
/// # Errors
/// `LeaseLost` if the lease is another owner's.
pub async fn renew(
    control: &mut Control,
    tenure: Tenure,
    owner: &Owner,
    progress: &Progress,
) -> Result<Wanted> {
    let progress = serde_json::to_string(progress)
        .map_err(|error| Error::stop("write the progress").source(error))?;
    let sql = format!(
        "UPDATE `_shunt`.`lease` SET expires_us = {NOW_US} + {}, progress = {} \
         WHERE stream_id = {} AND owner = {}",
        limits::LEASE_TTL.as_micros(),
        sql::literal(&progress),
        tenure.stream,
        sql::literal(&owner.0)
    );
    must_own(control.execute(sql).await.context("renew the lease")?.affected)?;
    let query = format!(
        "SELECT w.desired FROM `_shunt`.`workflow` w JOIN `_shunt`.`stream` s ON s.workflow_id = w.id \
         WHERE s.id = {}",
        tenure.stream
    );
    let desired = control.row(query).await?.and_then(|row| row.text(0));
    Ok(Wanted::parse(&desired.unwrap_or_default()))
}

/// Prolongs the lease of a stream that is not at work yet.
///
/// # Errors
/// `LeaseLost` if the lease is another owner's.
pub async fn prolong(control: &mut Control, tenure: Tenure, owner: &Owner) -> Result<()> {
    let sql = format!(
        "UPDATE `_shunt`.`lease` SET expires_us = {NOW_US} + {} WHERE stream_id = {} AND owner = {}",
        limits::LEASE_TTL.as_micros(),
        tenure.stream,
        sql::literal(&owner.0)
    );
    must_own(control.execute(sql).await.context("prolong the lease")?.affected)
}

/// Gives the lease back, so that another worker need not wait for its end.
///
/// # Errors
/// Of the connection.
pub async fn release(control: &mut Control, tenure: Tenure, owner: &Owner) -> Result<()> {
    let sql = format!(
        "UPDATE `_shunt`.`lease` SET expires_us = 0 WHERE stream_id = {} AND owner = {}",
        tenure.stream,
        sql::literal(&owner.0)
    );
    control.execute(sql).await.map(drop).context("give the lease back")
}

fn must_own(affected: u64) -> Result<()> {
    if affected == 0 {
        return Err(Error::new(ErrorKind::LeaseLost, "another process has taken the stream over"));
    }
    Ok(())
}

/// Whether somebody holds the lease now, and what the owner said last.
///
/// # Errors
/// Of the connection.
pub async fn read(control: &mut Control, stream: u64) -> Result<(bool, Progress)> {
    let query = format!(
        "SELECT expires_us > {NOW_US}, progress FROM `_shunt`.`lease` WHERE stream_id = {stream}"
    );
    let Some(row) = control.row(query).await.context("read the lease")? else {
        return Ok((false, Progress::default()));
    };
    let progress = serde_json::from_str(&row.must(1)?).unwrap_or_default();
    Ok((row.number::<u8>(0)? == 1, progress))
}
