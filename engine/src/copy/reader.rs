//! A reading lane: asks for a range, opens a snapshot that contains its R, reads rows in key order, hands them over.
//!
//! A chunk is whatever prefix of its range was read within the bounds of rows, bytes and time: rows come in key order, so
//! any prefix is a range of its own. Where the result goes on beyond the bounds, the connection is given up rather than
//! drained. The table's definition is read inside the snapshot: one that was opened before an instant ALTER would show
//! the table in its old form without an error.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::encode::{Block, Carrier, Encoder};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::key::{KeyPlan, Place};
use crate::limits;
use crate::mysql::gtid::GtidSet;
use crate::mysql::schema::fingerprint_of;
use crate::mysql::server::ServerConfig;
use crate::mysql::snapshot::{ReadPosition, Snapshot};
use crate::mysql::sql;
use crate::mysql::wire::Wire;
use crate::plan::TablePlan;
use crate::ranges::{Bounds, RangeId};
use crate::throttle::Throttle;

/// A range to read.
#[derive(Debug)]
pub struct ReadWork {
    /// Index of the table.
    pub table: usize,
    /// Its plan.
    pub plan: Arc<TablePlan>,
    /// The range.
    pub range: RangeId,
    /// Its keys.
    pub bounds: Bounds<Place>,
    /// R: what the snapshot must contain.
    pub position: ReadPosition,
    /// Rows to read at most.
    pub rows_max: u64,
    /// Bytes at which to stop.
    pub bytes_max: usize,
}

/// Rows of a range, or of the front of it.
#[derive(Debug)]
pub struct Chunk {
    /// Index of the table.
    pub table: usize,
    /// The range that was asked for.
    pub range: RangeId,
    /// The last key read, if the range goes on behind it.
    pub cut: Option<Place>,
    /// H: nothing beyond it can be in the rows.
    pub high: GtidSet,
    /// Rows, encoded for the target.
    pub blocks: Vec<Block>,
    /// How many.
    pub rows: u64,
    /// Their bytes.
    pub bytes: usize,
    /// How long the snapshot was open.
    pub took: std::time::Duration,
}

/// What a lane says to the stream.
#[derive(Debug)]
pub enum FromReader {
    /// It wants a range; the answer may take until there is one.
    Want(oneshot::Sender<ReadWork>),
    /// A chunk.
    Read(Chunk),
    /// The range could not be read now; it is to be pending again.
    GaveUp {
        /// Index of the table.
        table: usize,
        /// The range.
        range: RangeId,
    },
}

/// Works until there is nothing left or the stream is gone.
///
/// # Errors
/// Retry if the source is lost; Stop if the table's definition has changed.
pub async fn run(
    server: ServerConfig,
    identity: String,
    carrier: Carrier,
    throttle: Throttle,
    stream: mpsc::Sender<FromReader>,
    cancel: CancellationToken,
) -> Result<()> {
    let mut wire = connect(&server, &identity).await?;
    loop {
        if !throttle.wait(&cancel).await {
            return Ok(());
        }
        let (answer, work) = oneshot::channel();
        if stream.send(FromReader::Want(answer)).await.is_err() {
            return Ok(());
        }
        // The stream drops the question when there is no more to read.
        let Ok(work) = work.await else { return Ok(()) };
        let (table, range) = (work.table, work.range);
        let message = match read(&mut wire, work, carrier).await {
            Ok((chunk, whole)) => {
                if !whole {
                    wire = connect(&server, &identity).await?;
                }
                FromReader::Read(chunk)
            }
            Err(error) if error.kind() == ErrorKind::Retry => {
                tracing::warn!(%error, "a range could not be read and will be tried again");
                let given_up = FromReader::GaveUp { table, range };
                if stream.send(given_up).await.is_err() {
                    return Ok(());
                }
                wire = connect(&server, &identity).await?;
                continue;
            }
            Err(error) => return Err(error),
        };
        if stream.send(message).await.is_err() {
            return Ok(());
        }
    }
}

/// A connection to the very server that the binlog is read from: positions of two servers prove nothing.
async fn connect(server: &ServerConfig, identity: &str) -> Result<Wire> {
    let wire = Wire::connect(server).await?;
    if wire.info().identity != identity {
        return Err(Error::retry(format!("{} is another server than before", server.address)));
    }
    Ok(wire)
}

/// Reads a chunk; `false` if the connection has rows left and cannot be used again.
async fn read(wire: &mut Wire, work: ReadWork, carrier: Carrier) -> Result<(Chunk, bool)> {
    let plan = work.plan.clone();
    let key = plan
        .key
        .as_ref()
        .ok_or_else(|| Error::stop("a table without a key is not read in ranges"))?;
    let snapshot = Snapshot::open(wire, &work.position).await?;
    let opened = snapshot.opened;
    check_definition(&mut *snapshot.wire, &plan).await?;
    let query = plan.copy_query(key, &work.bounds, work.rows_max);
    let mut encoder = Encoder::new(carrier, &plan, !key.exact(), plan.key_positions(key)?);
    snapshot.wire.start_rows(&query).await.context("read a chunk")?;
    let mut whole = true;
    while let Some(row) = snapshot.wire.next_row().await.context("read a chunk")? {
        encoder.push(row)?;
        let full = encoder.bytes() >= work.bytes_max
            || encoder.rows().is_multiple_of(256) && opened.elapsed() >= limits::CHUNK_READ_MAX;
        if full && encoder.rows() < work.rows_max {
            whole = false;
            break;
        }
    }
    let high = snapshot.high.clone();
    if whole {
        snapshot.end().await?;
    }
    let took = opened.elapsed();
    tracing::debug!(
        table = plan.name(),
        rows = encoder.rows(),
        whole,
        ?took,
        "a snapshot was read"
    );
    finish(encoder, &work, key, high, whole, took).map(|chunk| (chunk, whole))
}

fn finish(
    encoder: Encoder,
    work: &ReadWork,
    key: &KeyPlan,
    high: GtidSet,
    whole: bool,
    took: std::time::Duration,
) -> Result<Chunk> {
    let (rows, bytes) = (encoder.rows(), encoder.bytes());
    let more = !whole || rows >= work.rows_max;
    let cut = more.then(|| key.place(encoder.last().to_vec())).transpose()?;
    let blocks = encoder.finish();
    Ok(Chunk { table: work.table, range: work.range, cut, high, blocks, rows, bytes, took })
}

/// Opens the table, whose metadata lock then pins its definition until the snapshot ends, and compares the definition.
async fn check_definition(wire: &mut Wire, plan: &TablePlan) -> Result<()> {
    let table = sql::qualified(&plan.source.database, plan.name());
    wire.rows(format!("SELECT 1 FROM {table} LIMIT 0")).await.context("open the table")?;
    let rows =
        wire.rows(plan.source.fingerprint_query()).await.context("read the table's definition")?;
    if fingerprint_of(rows.iter().filter_map(|row| row.bytes(0))) != plan.source.fingerprint() {
        return Err(Error::stop(format!(
            "the definition of {} changed while it is copied",
            sql::qualified(&plan.source.database, plan.name())
        ))
        .advice("Cancel the workflow and create it again."));
    }
    Ok(())
}
