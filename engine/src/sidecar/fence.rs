//! The fence of a side: one row, which the triggers on its tables read with a shared lock (`cutover::triggers`).
//!
//! Its key is the workflow that writes into the side: what passes the fence is that workflow's stream and nobody else. A side
//! without a row was never fenced. Whatever changes the row's state is one conditional UPDATE, so that of two who want
//! different things exactly one gets its way, and the other sees that it did not.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result, ResultExt};
use crate::mysql::control::Control;
use crate::mysql::sql;

/// Seconds beyond the dead man's time that the point of no return demands: more than a lock wait on the row may last.
const NO_RETURN_MARGIN_S: u64 = 3;

/// What a fence is in force for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FenceState {
    /// Anybody may write. Set by whoever finishes a switch to this side, or takes one from it back.
    Open,
    /// A switch from this side is under way: closed until the dead man's time, then open by itself.
    Raised,
    /// Closed for good: before this side was ever switched to, and after it was switched from.
    Closed,
}

impl fmt::Display for FenceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Raised => "raised",
            Self::Closed => "closed",
        })
    }
}

impl FromStr for FenceState {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "open" => Ok(Self::Open),
            "raised" => Ok(Self::Raised),
            "closed" => Ok(Self::Closed),
            _ => Err(Error::stop(format!("fence state {text:?} is not known"))),
        }
    }
}

/// A fence as the sidecar has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FenceRow {
    /// The generation of the switch that changed it last.
    pub generation: u64,
    /// What it is in force for.
    pub state: FenceState,
    /// Whether client writes are refused now: `closed`, or `raised` and the dead man's time is not over.
    pub refuses: bool,
}

/// Adds a side's fence where it has none; part of the caller's transaction, if there is one.
///
/// # Errors
/// Of the connection.
pub async fn insert_missing(
    control: &mut Control,
    workflow: &str,
    state: FenceState,
) -> Result<()> {
    let sql = format!(
        "INSERT IGNORE INTO `_shunt`.`fence` (workflow, generation, state, closed_until_s) \
         VALUES ({}, 0, '{state}', {})",
        sql::literal(workflow),
        if state == FenceState::Closed { i64::MAX } else { 0 },
    );
    control.execute(sql).await.map(drop).context("add the fence")
}

/// The fence of a side; `None` if it was never fenced.
///
/// # Errors
/// Of the connection.
pub async fn read(control: &mut Control, workflow: &str) -> Result<Option<FenceRow>> {
    let query = format!(
        "SELECT generation, state, closed_until_s > UNIX_TIMESTAMP() FROM `_shunt`.`fence` WHERE workflow = {}",
        sql::literal(workflow)
    );
    let row = match control.row(query).await {
        // No sidecar, or one from before there were fences.
        Err(error) if error.is_absent() => None,
        other => other.context("read the fence")?,
    };
    row.map(|row| {
        Ok(FenceRow {
            generation: row.number(0)?,
            state: row.must(1)?.parse()?,
            refuses: row.must(2)? == "1",
        })
    })
    .transpose()
}

/// The statement that raises the fence, with its dead man's time: it waits for every writer in flight. It changes a row only
/// while this coordinator is the one that the switch's row names, and the switch is not settled.
pub fn raise_sql(workflow: &str, generation: u64, coordinator: &str, seconds: u64) -> String {
    format!(
        "UPDATE `_shunt`.`fence` SET state = 'raised', generation = {generation}, \
         closed_until_s = UNIX_TIMESTAMP() + {seconds} \
         WHERE workflow = {name} AND state = 'open' AND generation <= {generation} \
         AND EXISTS (SELECT 1 FROM `_shunt`.`switch` s WHERE s.workflow = {name} AND s.settled = 0 \
         AND s.generation = {generation} AND s.coordinator = {})",
        sql::literal(coordinator),
        name = sql::literal(workflow),
    )
}

/// A statement that waits for whom [`raise_sql`] waits for, and changes nothing.
pub fn touch_sql(workflow: &str) -> String {
    let name = sql::literal(workflow);
    format!("UPDATE `_shunt`.`fence` SET workflow = {name} WHERE workflow = {name}")
}

/// The point of no return: closes a raised side for good. It changes a row only while the raise is this switch's, its dead
/// man's time is not near, and this coordinator is the one that the switch's row names.
pub fn no_return_sql(workflow: &str, generation: u64, coordinator: &str) -> String {
    format!(
        "UPDATE `_shunt`.`fence` SET state = 'closed', closed_until_s = {} \
         WHERE workflow = {name} AND state = 'raised' AND generation = {generation} \
         AND closed_until_s > UNIX_TIMESTAMP() + {NO_RETURN_MARGIN_S} \
         AND EXISTS (SELECT 1 FROM `_shunt`.`switch` s WHERE s.workflow = {name} \
         AND s.generation = {generation} AND s.coordinator = {})",
        i64::MAX,
        sql::literal(coordinator),
        name = sql::literal(workflow),
    )
}

/// The statement that lowers a raised fence, when a switch is taken back.
pub fn lower_sql(workflow: &str, generation: u64) -> String {
    format!(
        "UPDATE `_shunt`.`fence` SET state = 'open', closed_until_s = 0 \
         WHERE workflow = {} AND state = 'raised' AND generation = {generation}",
        sql::literal(workflow)
    )
}

/// The statement that opens the side that a switch leads to, after its point of no return, or that is opened past a target that is lost:
/// it waits for those who were refused there and have not rolled back. May be repeated; a later switch is not touched, and nothing is
/// while the switch's row names another coordinator: this one may have slept.
pub fn open_sql(workflow: &str, generation: u64, coordinator: &str) -> String {
    format!(
        "UPDATE `_shunt`.`fence` SET state = 'open', closed_until_s = 0, generation = {generation} \
         WHERE workflow = {name} AND generation < {generation} \
         AND EXISTS (SELECT 1 FROM `_shunt`.`switch` s WHERE s.workflow = {name} \
         AND s.generation = {generation} AND s.coordinator = {})",
        sql::literal(coordinator),
        name = sql::literal(workflow),
    )
}

/// Closes the side of a decided switch that lacks the decision. May be repeated; nothing is changed while the switch's row names another
/// coordinator or a later switch.
///
/// # Errors
/// Of the connection.
pub async fn close(
    control: &mut Control,
    workflow: &str,
    generation: u64,
    coordinator: &str,
) -> Result<()> {
    let sql = format!(
        "UPDATE `_shunt`.`fence` SET state = 'closed', closed_until_s = {}, generation = {generation} \
         WHERE workflow = {name} AND generation <= {generation} \
         AND EXISTS (SELECT 1 FROM `_shunt`.`switch` s WHERE s.workflow = {name} \
         AND s.generation = {generation} AND s.coordinator = {})",
        i64::MAX,
        sql::literal(coordinator),
        name = sql::literal(workflow),
    );
    control.execute(sql).await.map(drop).context("close the fence")
}

/// Forgets a side's fence.
///
/// # Errors
/// Of the connection.
pub async fn forget(control: &mut Control, workflow: &str) -> Result<()> {
    let sql = format!("DELETE FROM `_shunt`.`fence` WHERE workflow = {}", sql::literal(workflow));
    match control.execute(sql).await {
        Err(error) if error.is_absent() => Ok(()),
        other => other.map(drop).context("forget the fence"),
    }
}
