//! A table into an archive: one snapshot, one pass in key order.

use std::path::PathBuf;
use std::time::Instant;

use shunt_engine::error::ResultExt;
use shunt_engine::mysql::schema::{TableSchema, fingerprint_of};
use shunt_engine::mysql::server::{Flavor, ServerConfig};
use shunt_engine::mysql::snapshot::{Snapshot, visible_position};
use shunt_engine::mysql::sql;
use shunt_engine::mysql::wire::{TextCells, Wire};
use shunt_engine::{Error, Result};
use tokio::sync::watch;

use super::convention::{Cell, Convention};
use super::file::archive_path;
use super::meta::{Meta, columns};
use super::schema::{FileColumn, FileSchema};
use super::write::NamedWriter;
use crate::date::{date, now_s};
use crate::definitions::read_schema;
use crate::limits;
use crate::pair::{Pair, Range, Side};
use crate::spec::Spec;
use crate::table::Progress;

/// ER_UNKNOWN_SYSTEM_VARIABLE.
const UNKNOWN_VARIABLE: u16 = 1193;

/// What is to be archived.
#[derive(Clone, Debug)]
pub struct Job {
    /// The server.
    pub server: ServerConfig,
    /// The database on it.
    pub database: String,
    /// The table.
    pub table: String,
    /// The folder of the archive.
    pub folder: PathBuf,
}

/// What was archived.
#[derive(Clone, Debug)]
pub struct Created {
    /// The file.
    pub path: PathBuf,
    /// How many rows are in it.
    pub rows: u64,
    /// How many bytes it has.
    pub bytes: u64,
    /// What it says about itself.
    pub meta: Meta,
}

/// Archives a table. Dropping the future leaves nothing behind.
///
/// # Errors
/// Usage if there is no such table, one whose engine has no snapshots, or already such an archive; Stop if the server does not say which position a snapshot
/// has, if a value cannot be archived, or if the disk does not take it; Retry if the server is lost.
pub async fn run(job: &Job, progress: &watch::Sender<Progress>) -> Result<Created> {
    let path = archive_path(&job.folder, &job.table);
    if path.exists() {
        return Err(Error::usage(format!("there is an archive already: {}", path.display()))
            .advice("Name another folder, or move the old archive away."));
    }
    let schema = read_schema(&job.server, &job.database, &job.table).await?;
    check_engine(&schema)?;
    let mut meta = describe(&schema);
    let archived = meta.schema()?;
    let pair = Pair::new(schema, archived, &Spec::default())?;
    if !pair.keyed() {
        meta.key.clear();
    }
    let mut wire = Wire::connect(&job.server).await?;
    meta.gtid = open_exact(&mut wire).await?;
    meta.server = wire.info().identity.clone();
    meta.taken_at = date(now_s());
    check_definition(&mut wire, &pair.source.schema).await?;
    let mut file = NamedWriter::create(&path, file_schema(&meta), meta.to_pairs()?)?;
    let estimate = pair.source.schema.rows_estimate;
    copy(&mut wire, &pair, &meta, &mut file, |rows| {
        progress.send_replace(Progress {
            table: job.table.clone(),
            rows,
            rows_estimate: estimate,
            differences: 0,
        });
    })
    .await?;
    wire.execute("ROLLBACK").await.context("end the snapshot")?;
    let rows = file.rows.rows();
    file.finish().await?;
    let bytes = std::fs::metadata(&path)?.len();
    Ok(Created { path, rows, bytes, meta })
}

fn describe(schema: &TableSchema) -> Meta {
    let columns = columns(schema);
    let key = schema.identity_columns();
    let mut key: Vec<String> = key.iter().map(|at| schema.columns[*at].name.clone()).collect();
    if !key.iter().all(|name| columns.iter().any(|column| column.name == *name)) {
        key.clear();
    }
    Meta {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        database: schema.database.clone(),
        table: schema.name.clone(),
        create_table: schema.create_sql.clone(),
        columns,
        key,
        ..Meta::default()
    }
}

/// The columns of an archive's file.
fn file_schema(meta: &Meta) -> FileSchema {
    let columns = meta.columns.iter().map(|column| FileColumn {
        name: column.name.clone(),
        convention: Convention::of(&column.as_column(), true),
        optional: column.nullable || column.companion.is_some(),
        companion: column.companion.clone(),
    });
    FileSchema { columns: columns.collect() }
}

/// Opens a snapshot whose position is known exactly, which it returns. The transaction stays open.
///
/// # Errors
/// Stop if the server cannot say it; Retry if it has not within [`limits::ARCHIVE_POSITION_WAIT`].
pub(super) async fn open_exact(wire: &mut Wire) -> Result<String> {
    match wire.info().flavor {
        Flavor::MariaDb => check_log(wire).await?,
        Flavor::MySql => check_gtids(wire).await?,
    }
    let started = Instant::now();
    loop {
        let position = visible_position(wire, shunt_engine::limits::BRACKET_WAIT_MAX).await?;
        let mut snapshot = Snapshot::open(wire, &position).await?;
        if let Some(exact) = snapshot.exact_position().await? {
            return Ok(exact.to_string());
        }
        snapshot.end().await?;
        if started.elapsed() > limits::ARCHIVE_POSITION_WAIT {
            return Err(Error::retry(
                "the server commits all the time, so that no snapshot's position is exact",
            )
            .advice("Read a replica, whose applying you can pause for a moment."));
        }
        tokio::time::sleep(limits::POSITION_PAUSE).await;
    }
}

/// The binlog of a replica tells its position only if what it applies is in it.
async fn check_log(wire: &mut Wire) -> Result<()> {
    let rows = wire.rows("SELECT @@global.log_slave_updates, @@global.gtid_slave_pos").await?;
    let row = rows.first().ok_or_else(|| Error::stop("a server variable has no value"))?;
    if row.number::<u64>(0)? == 0 && !row.text(1).unwrap_or_default().is_empty() {
        return Err(Error::stop("the server is a replica whose binary log lacks what it applies, so the position of its rows is not known")
            .advice("Start it with log_slave_updates, or read another server."));
    }
    Ok(())
}

/// A snapshot of MySQL is only known by its GTIDs, so each transaction must have one: `gtid_executed` says nothing of the others.
async fn check_gtids(wire: &mut Wire) -> Result<()> {
    let mode = match wire.rows("SELECT @@global.gtid_mode").await {
        Ok(rows) => rows.first().and_then(|row| row.text(0)).unwrap_or_default(),
        Err(error) if error.server_code() == Some(UNKNOWN_VARIABLE) => "not known there".into(),
        Err(error) => return Err(error.context("read gtid_mode")),
    };
    if mode == "ON" {
        return Ok(());
    }
    Err(Error::stop(format!("not every transaction has a GTID on this server (gtid_mode is {mode}), so the position of its rows is not known"))
        .advice("Set gtid_mode=ON and enforce_gtid_consistency=ON, or read another server."))
}

/// Other engines show each statement what is there at its time, whatever snapshot is open.
pub(super) fn check_engine(schema: &TableSchema) -> Result<()> {
    if schema.engine.eq_ignore_ascii_case("InnoDB") {
        return Ok(());
    }
    let table = sql::qualified(&schema.database, &schema.name);
    Err(Error::usage(format!(
        "table {table} is kept by the engine {}, which has no snapshots: its rows are of no position",
        schema.engine
    ))
    .advice(format!("ALTER TABLE {table} ENGINE=InnoDB, or read a server where it is InnoDB.")))
}

/// Opens the table, whose metadata lock then pins its definition until the snapshot ends, and compares the definition.
pub(super) async fn check_definition(wire: &mut Wire, schema: &TableSchema) -> Result<()> {
    let table = sql::qualified(&schema.database, &schema.name);
    wire.rows(format!("SELECT 1 FROM {table} LIMIT 0")).await.context("open the table")?;
    let rows =
        wire.rows(schema.fingerprint_query()).await.context("read the table's definition")?;
    if fingerprint_of(rows.iter().filter_map(|row| row.bytes(0))) == schema.fingerprint() {
        return Ok(());
    }
    Err(Error::retry(format!("the definition of {table} changed just now")).advice("Try again."))
}

async fn copy(
    wire: &mut Wire,
    pair: &Pair,
    meta: &Meta,
    file: &mut NamedWriter,
    show: impl Fn(u64),
) -> Result<()> {
    let whole = Range { lower: None, upper: None };
    let mut query = pair.rows_query(Side::Source, &whole);
    if let Some(key) = &pair.source.key {
        query.extend_from_slice(format!(" ORDER BY {}", key.order_list()).as_bytes());
    }
    let places: Vec<usize> = pair
        .columns
        .iter()
        .map(|column| meta.column_index(&column.target_name))
        .collect::<Result<_>>()?;
    let conventions: Vec<Convention> =
        file.rows.schema().columns.iter().map(|column| column.convention.clone()).collect();
    wire.start_rows(query).await.context("read the table")?;
    while let Some(row) = wire.next_row().await.context("read the table")? {
        let mut cells: Vec<Option<Cell>> = vec![None; places.len()];
        for (cell, &place) in TextCells::new(row).zip(&places) {
            if let Some(cell) = cell? {
                let parsed = conventions[place].parse(cell);
                cells[place] = Some(parsed.ok_or_else(|| cannot(meta, place))?);
            }
        }
        file.rows.push(cells.into_iter()).await?;
        if file.rows.rows().is_multiple_of(1024) {
            show(file.rows.rows());
        }
    }
    show(file.rows.rows());
    Ok(())
}

/// The value itself is in no message.
fn cannot(meta: &Meta, place: usize) -> Error {
    let column = &meta.columns[place];
    let error = Error::stop(format!(
        "column {} of {} has a value that is not {}",
        sql::ident(&column.name),
        sql::qualified(&meta.database, &meta.table),
        column.convention
    ));
    if column.charset.is_some() {
        return error.advice(
            "Its bytes are not of its character set: mend them, or make it a binary column.",
        );
    }
    error
}
