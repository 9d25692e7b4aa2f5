//! What was decided for each table when the workflow was created: its definition, what is built after the copy, and what
//! the workflow itself made on the target.

use crate::apply::target::Tenure;
use crate::error::{Error, Result, ResultExt};
use crate::mysql::control::Control;
use crate::mysql::sql;

/// Where a target's table comes from. The numbers stand in the sidecar; older shunts know the first two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Origin {
    /// It was there, empty and alike, when the workflow was created; Cancel empties it of what the workflow wrote.
    #[default]
    Found = 0,
    /// The workflow has made it, or was about to: Cancel drops it. Set before it is made.
    Made = 1,
    /// The workflow is to make it, and has not tried to: if it is there by now, it is somebody else's.
    Planned = 2,
    /// When the workflow was about to make it, somebody else had: nothing is done with it.
    Taken = 3,
}

impl Origin {
    fn parse(number: u8) -> Result<Self> {
        let all = [Self::Found, Self::Made, Self::Planned, Self::Taken];
        all.into_iter().find(|origin| *origin as u8 == number).ok_or_else(|| {
            Error::stop(format!("the sidecar says {number} of where a table comes from"))
                .advice("Use the newer shunt that wrote it.")
        })
    }

    /// Whether the workflow makes the table, rather than to use one that was there.
    pub fn is_own(self) -> bool {
        self != Self::Found
    }
}

/// A table of a stream.
#[derive(Clone, Debug, Default)]
pub struct TableRow {
    /// Its name.
    pub name: String,
    /// The source's definition at create, or after DDL that was run on both sides; see `TableSchema::fingerprint`.
    pub fingerprint: String,
    /// The statement that makes the target's table.
    pub create_sql: String,
    /// Where the target's table comes from: what Cancel may do with it.
    pub origin: Origin,
    /// The statement that builds what was put off until after the copy, if anything was.
    pub keys_sql: Option<String>,
    /// Whether that is done.
    pub keys_built: bool,
    /// Rows, as the source estimated them.
    pub rows_estimate: u64,
    /// Bytes, as the source estimated them.
    pub bytes_estimate: u64,
}

/// Adds a table to a new stream; part of the caller's transaction.
///
/// # Errors
/// Of the connection.
pub async fn insert(control: &mut Control, stream: u64, table: &TableRow) -> Result<()> {
    let keys = table.keys_sql.as_deref().map_or_else(|| "NULL".to_owned(), sql::literal);
    let sql = format!(
        "INSERT INTO `_shunt`.`table_plan` (stream_id, table_name, fingerprint, create_sql, created, \
         keys_sql, keys_built, rows_estimate, bytes_estimate) \
         VALUES ({stream}, {}, {}, {}, {}, {keys}, {}, {}, {})",
        sql::literal(&table.name),
        sql::literal(&table.fingerprint),
        sql::literal(&table.create_sql),
        table.origin as u8,
        u8::from(table.keys_built),
        table.rows_estimate,
        table.bytes_estimate
    );
    control.execute(sql).await.map(drop).context("save a table's plan")
}

/// The tables of a stream, by name.
///
/// # Errors
/// Of the connection.
pub async fn read(control: &mut Control, stream: u64) -> Result<Vec<TableRow>> {
    let query = format!(
        "SELECT table_name, fingerprint, create_sql, created, keys_sql, keys_built, rows_estimate, \
         bytes_estimate FROM `_shunt`.`table_plan` WHERE stream_id = {stream} ORDER BY table_name"
    );
    let rows = control.rows(query).await.context("read the stream's tables")?;
    rows.iter()
        .map(|row| {
            Ok(TableRow {
                name: row.must(0)?,
                fingerprint: row.must(1)?,
                create_sql: row.must(2)?,
                origin: Origin::parse(row.number(3)?)?,
                keys_sql: row.text(4),
                keys_built: row.must(5)? == "1",
                rows_estimate: row.number(6)?,
                bytes_estimate: row.number(7)?,
            })
        })
        .collect()
}

/// Where a table comes from, as it is recorded now.
///
/// # Errors
/// Stop if the table is not the stream's any more.
pub async fn origin(control: &mut Control, stream: u64, table: &str) -> Result<Origin> {
    let query = format!(
        "SELECT created FROM `_shunt`.`table_plan` WHERE stream_id = {stream} AND table_name = {}",
        sql::literal(table)
    );
    let row = control.row(query).await.context("read a table's plan")?;
    Origin::parse(row.ok_or_else(|| Error::stop("the workflow was cancelled"))?.number(0)?)
}

/// Records where a table comes from.
///
/// # Errors
/// Of the connection.
pub async fn set_origin(
    control: &mut Control,
    stream: u64,
    table: &str,
    origin: Origin,
) -> Result<()> {
    let sql = format!(
        "UPDATE `_shunt`.`table_plan` SET created = {} WHERE stream_id = {stream} AND table_name = {}",
        origin as u8,
        sql::literal(table)
    );
    control.execute(sql).await.map(drop).context("record where a table comes from")
}

/// Records that what was put off for a table is built; part of the caller's transaction.
///
/// # Errors
/// Of the connection.
pub async fn set_keys_built(control: &mut Control, tenure: Tenure, table: &str) -> Result<()> {
    let sql = format!(
        "UPDATE `_shunt`.`table_plan` SET keys_built = 1 WHERE stream_id = {} AND table_name = {}",
        tenure.stream,
        sql::literal(table)
    );
    control.execute(sql).await.map(drop).context("record that a table's keys are built")
}

/// Records the definition after DDL that was run on both sides; part of the caller's transaction.
///
/// # Errors
/// Of the connection.
pub async fn set_fingerprint(
    control: &mut Control,
    tenure: Tenure,
    table: &str,
    fingerprint: &str,
) -> Result<()> {
    let sql = format!(
        "UPDATE `_shunt`.`table_plan` SET fingerprint = {} WHERE stream_id = {} AND table_name = {}",
        sql::literal(fingerprint),
        tenure.stream,
        sql::literal(table)
    );
    control.execute(sql).await.map(drop).context("record a table's new definition")
}
