//! The row of a stream: its state and the position that its target is at.

use super::last_id;
use crate::apply::target::Tenure;
use crate::error::{Error, Result, ResultExt};
use crate::mysql::control::Control;
use crate::mysql::gtid::GtidSet;
use crate::mysql::server::Flavor;
use crate::mysql::snapshot::{LogPosition, ReadPosition};
use crate::mysql::sql;
use crate::mysql::statements::Statements;
use crate::workflow::state::StreamState;

/// A stream as the sidecar has it.
#[derive(Clone, Debug)]
pub struct StreamRow {
    /// Its id.
    pub id: u64,
    /// What it is doing, or why it is not.
    pub state: StreamState,
    /// The position as text.
    pub pos: String,
    /// The position in the source's files; empty where they may not have it as one place.
    pub log: LogPosition,
    /// Which server these files are of.
    pub source_identity: String,
    /// Parts of this transaction may be on the target already, or its DDL (then after [`DDL_MARK`]).
    pub ahead_until: Option<String>,
    /// The last error or remark.
    pub message: String,
    /// Seconds since 1970 of the last commit or change of state.
    pub updated_s: i64,
}

/// What begins `ahead_until` where DDL, and not rows, may be on the target already.
pub const DDL_MARK: &str = "DDL ";

impl StreamRow {
    /// Whether rows of a transaction may be on the target whose end is not.
    pub fn rows_are_ahead(&self) -> bool {
        self.ahead_until.as_ref().is_some_and(|until| !until.starts_with(DDL_MARK))
    }

    /// Whether it has ever had a position. The text of one may be empty all the same: of a source that has committed nothing yet.
    pub fn has_begun(&self) -> bool {
        !self.pos.is_empty() || !self.log.file.is_empty()
    }

    /// Why it does not run, of a stream that has ended.
    pub fn why_ended(&self) -> &str {
        if self.message.is_empty() { "by command" } else { &self.message }
    }

    /// The transaction of which parts, or the DDL, may be on the target already.
    ///
    /// # Errors
    /// Stop if the sidecar's text is not a GTID of that flavour.
    pub fn ahead(&self, flavor: Flavor) -> Result<Option<GtidSet>> {
        let Some(until) = &self.ahead_until else { return Ok(None) };
        let gtid = until.strip_prefix(DDL_MARK).unwrap_or(until);
        GtidSet::parse(flavor, gtid).map(Some).context("read the transaction that was begun")
    }

    /// The position, parsed; `None` before the first start.
    ///
    /// # Errors
    /// Stop if the sidecar's text is not a position of that flavour.
    pub fn position(&self, flavor: Flavor) -> Result<Option<ReadPosition>> {
        if !self.has_begun() {
            return Ok(None);
        }
        let gtids = GtidSet::parse(flavor, &self.pos).context("read the saved position")?;
        Ok(Some(ReadPosition { gtids, log: self.log.clone() }))
    }
}

const COLUMNS: &str =
    "id, state, pos, log_file, log_offset, source_identity, ahead_until, message, updated_s";

/// A stream, with a lock: whatever commit is on its way is waited for.
///
/// # Errors
/// Stop if there is none.
pub async fn read_settled(control: &mut Control, stream: u64) -> Result<StreamRow> {
    let query = format!("SELECT {COLUMNS} FROM `_shunt`.`stream` WHERE id = {stream} FOR UPDATE");
    let row = control.row(query).await.context("read the stream's state")?;
    parse(&row.ok_or_else(|| Error::stop("the stream is not in the sidecar any more"))?)
}

/// The streams of a workflow as they are.
///
/// # Errors
/// Of the connection.
pub async fn of_workflow(control: &mut Control, workflow: u64) -> Result<Vec<StreamRow>> {
    let query = format!(
        "SELECT {COLUMNS} FROM `_shunt`.`stream` WHERE workflow_id = {workflow} ORDER BY id"
    );
    control.rows(query).await.context("read the workflow's streams")?.iter().map(parse).collect()
}

fn parse(row: &crate::mysql::control::Row) -> Result<StreamRow> {
    Ok(StreamRow {
        id: row.number(0)?,
        state: row.must(1)?.parse()?,
        pos: row.must(2)?,
        log: LogPosition { file: row.must(3)?, offset: row.number(4)? },
        source_identity: row.must(5)?,
        ahead_until: row.text(6),
        message: row.must(7)?,
        updated_s: row.number(8)?,
    })
}

/// Adds a stream to a new workflow; part of the caller's transaction.
///
/// # Errors
/// Of the connection.
pub async fn insert(control: &mut Control, workflow: u64, state: StreamState) -> Result<u64> {
    control
        .execute(format!(
            "INSERT INTO `_shunt`.`stream` (workflow_id, state, pos, log_file, log_offset, \
             source_identity, message, commits, updated_s) \
             VALUES ({workflow}, '{state}', '', '', 0, '', '', 0, UNIX_TIMESTAMP())"
        ))
        .await?;
    let id = last_id(control).await?;
    control.execute(format!("INSERT INTO `_shunt`.`epoch` VALUES ({id}, 0)")).await?;
    control
        .execute(format!("INSERT INTO `_shunt`.`lease` VALUES ({id}, '', 0, 0, '', '{{}}')"))
        .await?;
    Ok(id)
}

/// Saves where a new stream begins; part of the caller's transaction.
///
/// # Errors
/// Of the connection.
pub async fn set_start(
    control: &mut Control,
    tenure: Tenure,
    position: &ReadPosition,
    source_identity: &str,
) -> Result<()> {
    let sql = format!(
        "UPDATE `_shunt`.`stream` SET pos = {}, log_file = {}, log_offset = {}, source_identity = {} \
         WHERE id = {}",
        sql::literal(&position.gtids.to_string()),
        sql::literal(&position.log.file),
        position.log.offset,
        sql::literal(source_identity),
        tenure.stream
    );
    control.execute(sql).await.map(drop).context("save the stream's first position")
}

/// Moves the position, which is from now on in the files of the server `source_identity`; part of a group's transaction. It is a
/// compare-and-swap: `false` if the position is not the expected one. Waits for a transaction that is about to move it.
///
/// # Errors
/// Of the connection.
pub async fn try_advance(
    connection: &mut impl Statements,
    tenure: Tenure,
    from: &GtidSet,
    to: &ReadPosition,
    source_identity: &str,
) -> Result<bool> {
    let sql = format!(
        "UPDATE `_shunt`.`stream` SET pos = {}, log_file = {}, log_offset = {}, source_identity = {}, ahead_until = NULL, \
         commits = commits + 1, updated_s = UNIX_TIMESTAMP() WHERE id = {} AND pos = {}",
        sql::literal(&to.gtids.to_string()),
        sql::literal(&to.log.file),
        to.log.offset,
        sql::literal(source_identity),
        tenure.stream,
        sql::literal(&from.to_string())
    );
    Ok(connection.execute(sql).await.context("save the position")?.affected == 1)
}

/// As [`try_advance`], where nobody else can have moved the position.
///
/// # Errors
/// Retry if somebody has.
pub async fn advance(
    connection: &mut impl Statements,
    tenure: Tenure,
    from: &GtidSet,
    to: &ReadPosition,
    source_identity: &str,
) -> Result<()> {
    if try_advance(connection, tenure, from, to, source_identity).await? {
        return Ok(());
    }
    Err(Error::retry("the position in the sidecar is not the one this process saved last"))
}

/// Notes that parts of a transaction are on the target before its position is; part of the first part's transaction.
///
/// # Errors
/// Of the connection.
pub async fn set_ahead(
    connection: &mut impl Statements,
    tenure: Tenure,
    until: &str,
) -> Result<()> {
    let sql = format!(
        "UPDATE `_shunt`.`stream` SET ahead_until = {}, commits = commits + 1 WHERE id = {}",
        sql::literal(until),
        tenure.stream
    );
    connection.execute(sql).await.map(drop).context("note a transaction that is applied in parts")
}

/// Changes the state, with a message for the operator; part of the caller's transaction, if there is one.
///
/// # Errors
/// Of the connection.
pub async fn set_state(
    control: &mut Control,
    stream: u64,
    state: StreamState,
    message: &str,
) -> Result<()> {
    let sql = format!(
        "UPDATE `_shunt`.`stream` SET state = '{state}', message = {}, updated_s = UNIX_TIMESTAMP() \
         WHERE id = {stream}",
        sql::literal(message)
    );
    control.execute(sql).await.map(drop).context("save the stream's state")
}
