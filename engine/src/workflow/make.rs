//! Making a workflow's tables on the target, and never taking another one's table for its own.
//!
//! `CREATE TABLE` fails where the table is there, and does not say whose it is. So each table's plan is set from *planned* to *made*
//! before the statement is sent, under a user lock, since a worker may be at the same table as the command that creates the workflow.
//! If it is there and the plan was *planned*, somebody else has made it, and the plan becomes *taken*; if the plan was *made*
//! already, an earlier attempt of this workflow has. In between (a process died after it had recorded, and before it had sent the
//! statement) a table may be taken for ours that is not, but none with rows: see [`must_be_empty`].

use futures_util::future::try_join_all;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result, ResultExt};
use crate::failpoints;
use crate::limits;
use crate::mysql::control::{Control, Session};
use crate::mysql::server::ServerConfig;
use crate::mysql::sql;
use crate::sidecar::table_plan::{self, Origin, TableRow};
use crate::workflow::spec::WorkflowSpec;

/// How long another process may take to make a table.
const LOCK_WAIT_S: u32 = 60;

/// Makes the tables that a stream's workflow makes and that are not there yet, several at a time: each waits for disks.
///
/// # Errors
/// Of the connections or the server; Stop if a table is somebody else's.
pub async fn make_tables(target: &ServerConfig, stream: u64, tables: &[TableRow]) -> Result<()> {
    let wanted: Vec<&TableRow> = tables.iter().filter(|table| table.origin.is_own()).collect();
    let lanes = wanted.len().min(limits::CREATE_LANES);
    let lane = |at: usize| make(target, stream, wanted.iter().copied().skip(at).step_by(lanes));
    try_join_all((0..lanes).map(lane)).await.map(drop)
}

/// Makes tables, one after the other.
async fn make(
    target: &ServerConfig,
    stream: u64,
    tables: impl Iterator<Item = &TableRow>,
) -> Result<()> {
    let mut control = Control::connect(target, Session::Control).await?;
    control.execute("SET foreign_key_checks=0").await?;
    for table in tables {
        failpoints::hit(failpoints::CREATE_BEFORE_TABLE)?;
        let lock = sql::literal(&format!("_shunt make {stream} {:016x}", hash(&table.name)));
        let row = control.row(format!("SELECT GET_LOCK({lock}, {LOCK_WAIT_S})")).await?;
        if row.and_then(|row| row.text(0)).as_deref() != Some("1") {
            return Err(Error::retry("another process makes the tables, and does not get on"));
        }
        let made = make_one(&mut control, stream, table).await;
        let name = sql::ident(&table.name);
        made.context(format_args!("make table {name} on the target"))?;
        control.execute(format!("DO RELEASE_LOCK({lock})")).await?;
        failpoints::hit(failpoints::CREATE_AFTER_TABLE)?;
    }
    control.close().await;
    Ok(())
}

/// The lock's name is short, the table's may be long.
fn hash(table: &str) -> u64 {
    xxh3_64(table.as_bytes())
}

async fn make_one(control: &mut Control, stream: u64, table: &TableRow) -> Result<()> {
    let before = table_plan::origin(control, stream, &table.name).await?;
    match before {
        Origin::Found | Origin::Made => {}
        Origin::Planned => {
            table_plan::set_origin(control, stream, &table.name, Origin::Made).await?;
        }
        Origin::Taken => return Err(taken()),
    }
    let Err(error) = control.execute(&table.create_sql).await else { return Ok(()) };
    match (before, error.server_code()) {
        (Origin::Made, Some(1050)) => Ok(()),
        (_, Some(1050)) => {
            table_plan::set_origin(control, stream, &table.name, Origin::Taken).await?;
            Err(taken())
        }
        // The server has refused it, so nothing was made.
        (Origin::Planned, Some(_)) => {
            table_plan::set_origin(control, stream, &table.name, Origin::Planned).await?;
            Err(error)
        }
        _ => Err(error),
    }
}

fn taken() -> Error {
    Error::stop("somebody else made a table of this name after the preflight")
        .advice("Cancel the workflow, which leaves that table as it is; move it away, and create the workflow again.")
}

/// Before a stream begins, its tables are empty: nothing of it is in them yet, and the copy would mix its rows with what is.
///
/// # Errors
/// Stop if one holds rows; of the connection.
pub async fn must_be_empty(
    control: &mut Control,
    spec: &WorkflowSpec,
    tables: &[TableRow],
) -> Result<()> {
    for table in tables {
        let name = sql::qualified(&spec.target_database, &table.name);
        if holds_rows(control, &name).await? {
            return Err(Error::stop(format!(
                "table {name} on the target holds rows before anything was copied into it: the copy would mix with them"
            ))
            .advice("Whose are they? Cancel the workflow, which leaves them as they are; move the table away, and create the workflow again."));
        }
    }
    Ok(())
}

/// Whether a table, by its quoted name, holds a row; `false` if it is not there.
pub(super) async fn holds_rows(control: &mut Control, name: &str) -> Result<bool> {
    match control.row(format!("SELECT 1 FROM {name} LIMIT 1")).await {
        Err(error) if error.is_no_table() => Ok(false),
        other => Ok(other.context(format_args!("look into {name}"))?.is_some()),
    }
}
