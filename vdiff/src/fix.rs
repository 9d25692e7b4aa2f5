//! What is done about differences: nothing, statements in a file, or repair.
//!
//! # Repair of a workflow's table
//! Exactly the differing keys are copied again under the copy's own protocol, in place. In one transaction on the target:
//! 1. the stream's row is locked. A group cannot commit without moving the position in that row, so none commits meanwhile, and the
//!    position A that is read is what the target is at;
//! 2. the source's rows of the keys are read in a snapshot that contains A ([`Snapshot`]); let H be its bound;
//! 3. they replace the target's rows; keys that the source no longer has are deleted; commit.
//!
//! Why that is right: what the stream applies after the commit is what it follows from A on, in order. For a repaired key
//! these are events with full images (or deletes), applied by key, so those up to the snapshot may take effect on top of the newer row, and the
//! last of them brings what the snapshot showed; those after it follow. So the key equals the source once H is passed, by the same
//! reasoning as for a copied range. A crash before the commit leaves nothing, one after it a repaired key at a saved
//! position A, from which the events come again. If the lock were left out, a group read before the snapshot could commit after
//! the repair with an older image than its own position covers: the row would be overwritten and the newer event, already past,
//! would not come back.
//!
//! Keys are looked at again afterwards like any others. A table without a key is not repaired: the stream counts its rows.
//!
//! # Repair of a standalone pair
//! Only where the target is no replica: the target's rows are locked, then the source's rows are read and put in their place.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use shunt_engine::error::ResultExt;
use shunt_engine::mysql::control::{Control, Session};
use shunt_engine::mysql::gtid::GtidSet;
use shunt_engine::mysql::snapshot::{LogPosition, ReadPosition, Snapshot};
use shunt_engine::mysql::sql;
use shunt_engine::mysql::wire::{TextCells, Wire};
use shunt_engine::runtime::tasks::{Task, spawn};
use shunt_engine::{Error, Result, limits as engine_limits};
use tokio::sync::mpsc;

use crate::columns::Form;
use crate::lane::Shared;
use crate::limits;
use crate::looks::{self, Ask, Finding, Verdict};
use crate::pair::{Pair, RowKey, Side};
use crate::report::TableRecord;
use crate::sides::Tie;
use crate::table::Event;

/// What is done about differences.
pub enum Fixer {
    /// Nothing.
    Nothing,
    /// Statements that would mend them are written.
    Emit(Box<dyn Write + Send>),
    /// They are repaired; the keys that wait for it, and those that are done.
    Repair {
        /// To be repaired.
        keys: Vec<RowKey>,
        /// Repaired, to be looked at again.
        done: Vec<RowKey>,
    },
}

impl Fixer {
    /// Repairs.
    pub fn repair() -> Self {
        Self::Repair { keys: Vec::new(), done: Vec::new() }
    }

    /// Takes a difference.
    ///
    /// # Errors
    /// Of the servers or the file.
    pub async fn add(&mut self, shared: &Shared, finding: &Finding) -> Result<()> {
        let found = std::iter::once(&finding.key).chain(&finding.target_key).cloned();
        match self {
            Self::Nothing => return Ok(()),
            Self::Emit(out) => {
                let keys: Vec<RowKey> = found.collect();
                return emit(shared, &keys, out).await;
            }
            Self::Repair { keys, .. } => {
                keys.extend(found);
                if keys.len() < limits::FIX_KEYS_MAX {
                    return Ok(());
                }
            }
        }
        self.flush(shared).await
    }

    async fn flush(&mut self, shared: &Shared) -> Result<()> {
        if let Self::Repair { keys, done } = self
            && !keys.is_empty()
        {
            repair(shared, keys).await?;
            done.append(keys);
        }
        Ok(())
    }

    /// Finishes a table: what is left is repaired, and everything repaired is looked at again.
    ///
    /// # Errors
    /// Of the servers.
    pub async fn finish_table(&mut self, shared: &Shared, record: &mut TableRecord) -> Result<()> {
        self.flush(shared).await?;
        if let Self::Emit(out) = self {
            out.flush()?;
        }
        if let Self::Repair { done, .. } = self
            && !done.is_empty()
        {
            let left = still_different(shared, std::mem::take(done)).await?;
            let found = record.mismatched + record.extra_source + record.extra_target;
            record.repaired = found.saturating_sub(left);
        }
        Ok(())
    }
}

/// Looks at repaired keys again; how many differ still.
async fn still_different(shared: &Shared, keys: Vec<RowKey>) -> Result<u64> {
    let (events, mut settled) = mpsc::channel(64);
    let (ask, asks) = mpsc::channel(1);
    let count = keys.len();
    ask.send(Ask { seq: 0, keys, stand: None })
        .await
        .map_err(|_| Error::stop("repaired keys cannot be looked at again"))?;
    drop(ask);
    let (servers, pair) = (shared.servers.clone(), Arc::clone(&shared.pair));
    let looking: Task<()> =
        spawn("looks", looks::run(servers, pair, shared.spec.clone(), asks, events));
    let (mut seen, mut left) = (0, 0);
    while let Some(event) = settled.recv().await {
        if let Event::Settled { verdict, .. } = event {
            seen += 1;
            left += u64::from(matches!(verdict, Verdict::Differs(_) | Verdict::Unsettled(_)));
        }
    }
    looking.join().await?;
    assert_eq!(seen, count, "each key is settled once");
    Ok(left)
}

/// Repairs these keys, in one transaction that is tried again after a deadlock or a lock wait.
async fn repair(shared: &Shared, keys: &[RowKey]) -> Result<()> {
    let mut control = Control::connect(&shared.servers.target, Session::Apply).await?;
    let mut wire = Wire::connect(&shared.servers.source).await?;
    for tries in 1.. {
        control.execute("BEGIN").await?;
        match Box::pin(repair_locked(shared, keys, &mut control, &mut wire)).await {
            Ok(true) => {
                control.execute("COMMIT").await.context("commit a repair")?;
                control.close().await;
                return Ok(());
            }
            Ok(false) if tries < 1000 => {}
            Ok(false) => {
                return Err(Error::retry("the target is at no position that can be repaired"));
            }
            Err(error)
                if matches!(error.server_code(), Some(1205 | 1213))
                    && tries < engine_limits::TRANSACTION_TRIES =>
            {
                // The snapshot ends with its connection.
                wire = Wire::connect(&shared.servers.source).await?;
            }
            Err(error) => return Err(error.context("repair")),
        }
        control.execute("ROLLBACK").await?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// False if the target is between two positions now.
async fn repair_locked(
    shared: &Shared,
    keys: &[RowKey],
    control: &mut Control,
    wire: &mut Wire,
) -> Result<bool> {
    let plain: Vec<&[u8]> = keys.iter().map(|key| &**key).collect();
    let position = match shared.servers.tie {
        Tie::Stream { id } => {
            let Some(position) = lock_stream(control, wire, id).await? else { return Ok(false) };
            Some(position)
        }
        Tie::Nothing => {
            let lock = shared.pair.lookup_query(Side::Target, &plain, " FOR UPDATE")?;
            control.rows(lock).await.context("lock the target's rows")?;
            None
        }
    };
    let mut delete = delete_head(&shared.pair);
    shared.pair.push_keys(Side::Target, &plain, &mut delete)?;
    control.execute(delete).await.context("delete differing rows")?;
    let query = shared.pair.lookup_query(Side::Source, &plain, "")?;
    match &position {
        Some(position) => {
            let snapshot = Snapshot::open(wire, position).await?;
            copy_rows(&shared.pair, snapshot.wire, &query, control).await?;
            snapshot.end().await?;
        }
        None => copy_rows(&shared.pair, wire, &query, control).await?,
    }
    Ok(true)
}

async fn lock_stream(
    control: &mut Control,
    wire: &Wire,
    stream: u64,
) -> Result<Option<ReadPosition>> {
    let query = format!(
        "SELECT state, pos, log_file, log_offset, source_identity, ahead_until \
         FROM `_shunt`.`stream` WHERE id = {stream} FOR UPDATE"
    );
    let row = control.row(query).await.context("lock the stream's position")?;
    let row = row.ok_or_else(|| Error::stop("the workflow is not there any more"))?;
    if row.must(0)? != "Running" || row.text(5).is_some() {
        return Ok(None);
    }
    if row.must(4)? != wire.info().identity {
        return Err(Error::stop("the stream follows another source server than is read here"));
    }
    let gtids = GtidSet::parse(wire.info().flavor, &row.must(1)?)?;
    let log = LogPosition { file: row.must(2)?, offset: row.number(3)? };
    Ok(Some(ReadPosition { gtids, log }))
}

async fn copy_rows(
    pair: &Pair,
    wire: &mut Wire,
    query: &[u8],
    control: &mut Control,
) -> Result<()> {
    let mut statement = Vec::new();
    wire.start_rows(query).await?;
    while let Some(row) = wire.next_row().await? {
        push_row(pair, row, &mut statement)?;
        if statement.len() >= engine_limits::STATEMENT_BYTES_MAX {
            control.execute(&statement).await.context("write repaired rows")?;
            statement = Vec::new();
        }
    }
    if !statement.is_empty() {
        control.execute(&statement).await.context("write repaired rows")?;
    }
    Ok(())
}

fn target_name(pair: &Pair) -> String {
    sql::qualified(&pair.target.schema.database, &pair.target.schema.name)
}

fn delete_head(pair: &Pair) -> Vec<u8> {
    format!("DELETE FROM {} WHERE ", target_name(pair)).into_bytes()
}

/// Adds a row to a statement, which is begun if it is empty.
fn push_row(pair: &Pair, row: &[u8], out: &mut Vec<u8>) -> Result<()> {
    if out.is_empty() {
        let columns = sql::ident_list(pair.columns.iter().map(|c| c.target_name.as_str()));
        let head = format!("REPLACE INTO {} ({columns}) VALUES ", target_name(pair));
        out.extend_from_slice(head.as_bytes());
    } else {
        out.push(b',');
    }
    for (at, cell) in TextCells::new(row).enumerate() {
        out.push(if at == 0 { b'(' } else { b',' });
        let column = &pair.columns[at];
        match cell? {
            None => out.extend_from_slice(b"NULL"),
            // ENUM, SET and BIT by number: in quotes it would be a label.
            Some(cell) if matches!(column.form, Form::Integer { .. }) => {
                out.extend_from_slice(cell);
            }
            Some(cell) => push_value(pair, column, cell, out),
        }
    }
    out.push(b')');
    Ok(())
}

fn push_value(pair: &Pair, column: &crate::columns::Compared, cell: &[u8], out: &mut Vec<u8>) {
    let at = pair.target.schema.column_index(&column.target_name);
    // MySQL makes no JSON of a binary string.
    let json = at.is_some_and(|at| pair.target.schema.columns[at].data_type == "json");
    if json {
        out.extend_from_slice(b"CONVERT(");
    }
    sql::push_literal(out, cell);
    if json {
        out.extend_from_slice(b" USING utf8mb4)");
    }
}

/// What a file of statements begins with, so that bytes stay as they are.
pub const EMIT_HEAD: &str = "SET NAMES binary;\nSET time_zone='+00:00', foreign_key_checks=0, \
     sql_mode='STRICT_ALL_TABLES,ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO';\n";

/// Writes the statements that mend these keys, with the source's rows as they are now.
async fn emit(shared: &Shared, keys: &[RowKey], out: &mut Box<dyn Write + Send>) -> Result<()> {
    let plain: Vec<&[u8]> = keys.iter().map(|key| &**key).collect();
    let mut statement = delete_head(&shared.pair);
    shared.pair.push_keys(Side::Target, &plain, &mut statement)?;
    statement.extend_from_slice(b";\n");
    let mut wire = Wire::connect(&shared.servers.source).await?;
    wire.start_rows(shared.pair.lookup_query(Side::Source, &plain, "")?).await?;
    while let Some(row) = wire.next_row().await? {
        let mut replace = Vec::new();
        push_row(&shared.pair, row, &mut replace)?;
        statement.append(&mut replace);
        statement.extend_from_slice(b";\n");
    }
    out.write_all(&statement).map_err(Error::from)
}

/// Whether rows may be written on this target outside of a stream: it is no replica.
///
/// # Errors
/// Usage if it is one.
pub async fn check_no_replica(control: &mut Control) -> Result<()> {
    for query in ["SHOW ALL SLAVES STATUS", "SHOW REPLICA STATUS", "SHOW SLAVE STATUS"] {
        match control.rows(query).await {
            Ok(rows) if rows.is_empty() => return Ok(()),
            Ok(_) => {
                return Err(Error::usage("the target is a replica: repairing it here would make it differ from its primary")
                    .advice("Repair its primary, or write statements with --emit-sql."));
            }
            // Syntax error: the other flavour's, or another version's, statement.
            Err(error) if error.server_code() == Some(1064) => {}
            Err(error) => return Err(error.context("look whether the target is a replica")),
        }
    }
    Err(Error::stop("it cannot be told whether the target is a replica"))
}
