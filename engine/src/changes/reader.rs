//! The task that reads the source's binlog and hands transactions to the stream.
//!
//! It owns its connection. Memory between it and the stream is bounded by a byte budget, which an item keeps until it has
//! been applied, buffered or discarded; a full budget stops the reading, nothing else.

use tokio::sync::mpsc;

use super::{Assembler, Item, Transaction, Work};
use crate::error::{Error, Result, ResultExt};
use crate::limits;
use crate::mysql::binlog::decoder::Decoder;
use crate::mysql::gtid::GtidSet;
use crate::mysql::server::Flavor;
use crate::mysql::sql;
use crate::mysql::wire::Wire;
use crate::runtime::budget::{Budget, Share};

/// An item with its share of the memory budget.
#[derive(Debug)]
pub struct Delivery {
    /// The item.
    pub item: Item,
    /// Held until the item's rows are gone from memory.
    pub share: Share,
}

/// Asks the source for its binlog from `position` on.
///
/// # Errors
/// Stop if the source has purged what is needed.
pub async fn start(wire: &mut Wire, position: &GtidSet, server_id: u32) -> Result<()> {
    let heartbeat_ns = limits::HEARTBEAT.as_nanos();
    wire.execute(format!(
        "SET @master_heartbeat_period={heartbeat_ns}, @source_heartbeat_period={heartbeat_ns}, \
         @master_binlog_checksum=@@global.binlog_checksum, \
         @source_binlog_checksum=@@global.binlog_checksum"
    ))
    .await?;
    match (wire.info().flavor, position) {
        (Flavor::MySql, GtidSet::MySql(set)) => {
            let encoded = set.encode();
            wire.start_binlog_mysql(server_id, &encoded).await
        }
        (Flavor::MariaDb, GtidSet::MariaDb(_)) => {
            let state = sql::literal(&position.to_string());
            wire.execute(format!(
                "SET @mariadb_slave_capability=4, @slave_connect_state={state}, \
                 @slave_gtid_strict_mode=0, @slave_gtid_ignore_duplicates=0"
            ))
            .await?;
            wire.start_binlog_mariadb(server_id).await
        }
        _ => Err(Error::stop("the saved position is of the other flavour than the source")),
    }
    .context("ask for the binlog")
}

/// Reads until an error or until the stream is gone.
///
/// # Errors
/// Retry if the source falls silent or the connection breaks; Stop for what the assembler cannot follow.
pub async fn run(
    mut wire: Wire,
    mut assembler: Assembler,
    items: mpsc::Sender<Delivery>,
    budget: Budget,
) -> Result<()> {
    let mut decoder = Decoder::new(wire.info().flavor);
    let mut ready = Vec::new();
    loop {
        // The connection is dropped when the wait expires, so no half-read event is ever resumed.
        let event = tokio::time::timeout(limits::SOURCE_SILENCE_MAX, wire.next_event())
            .await
            .map_err(|_| Error::retry("the source sends nothing, not even heartbeats"))?;
        let event = event.map_err(explain_purge).context("read the binlog")?;
        let Some(event) = event else {
            return Err(Error::retry("the source ended the binlog stream"));
        };
        let event = decoder.decode(event).context("decode the binlog")?;
        assembler.take(event, &mut ready)?;
        for item in ready.drain(..) {
            let bytes = match &item {
                Item::Part { bytes, .. } => *bytes,
                Item::Transaction(transaction) => transaction.bytes,
            };
            let is_ddl =
                matches!(&item, Item::Transaction(Transaction { work: Work::Ddl { .. }, .. }));
            let share = budget.take(bytes).await?;
            if items.send(Delivery { item, share }).await.is_err() {
                return Ok(());
            }
            if is_ddl {
                // What follows is to be read with other definitions: by the next attempt, with which the stream goes on.
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Error 1236 covers everything that a source refuses a dump for; a purged log is the common one.
fn explain_purge(error: Error) -> Error {
    if error.server_code() != Some(1236) {
        return error;
    }
    let error = error
        .context("the source no longer has, or never had, the binlog from the saved position on");
    error.advice(
        "If it was purged, the copy cannot go on: cancel the workflow, raise the binlog retention and create it again.",
    )
}
