//! Reading a server's binlog over the wire: [`Feed`], for everybody who does; and [`run`], the stream's own task.
//!
//! The task owns its connection. Memory between it and the stream is bounded by a byte budget, which an item keeps until it has
//! been applied, buffered or discarded; a full budget stops the reading, nothing else.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use tokio::sync::mpsc;

use super::{Assembler, Item, Transaction, Work};
use crate::error::{Error, Result, ResultExt};
use crate::limits;
use crate::mysql::binlog::decoder::Decoder;
use crate::mysql::binlog::event::{Event, EventBody};
use crate::mysql::gtid::GtidSet;
use crate::mysql::server::Flavor;
use crate::mysql::snapshot::{LogPosition, ReadPosition};
use crate::mysql::sql;
use crate::mysql::wire::Wire;
use crate::runtime::budget::{Budget, Share};

/// An item with its share of the memory budget.
#[derive(Debug)]
pub struct Delivery {
    /// Its number, counted from zero: whoever takes deliveries sees that none is missing.
    pub number: u64,
    /// The item.
    pub item: Item,
    /// Held until the item's rows are gone from memory.
    pub share: Share,
}

/// A server's binlog from a position on, event by event.
#[derive(Debug)]
pub struct Feed {
    wire: Wire,
    decoder: Decoder,
}

impl Feed {
    /// Asks the server for its binlog from `position` on, over a connection of its own.
    ///
    /// # Errors
    /// Retry if the connection breaks; Stop if the position is of the other flavour.
    pub async fn open(mut wire: Wire, position: &GtidSet) -> Result<Self> {
        start(&mut wire, position, None).await?;
        let decoder = Decoder::new(wire.info().flavor);
        Ok(Self { wire, decoder })
    }

    /// The same, from a position whose place in the files was just read from, or found on, this very server: what comes is the
    /// same, but a MariaDB server need not read a file from its start to find it. (What MySQL says of places is not exact.)
    ///
    /// # Errors
    /// As of [`Self::open`].
    pub async fn open_at(mut wire: Wire, position: &ReadPosition) -> Result<Self> {
        start(&mut wire, &position.gtids, Some(&position.log)).await?;
        let decoder = Decoder::new(wire.info().flavor);
        Ok(Self { wire, decoder })
    }

    /// The next event; heartbeats are events too. After a dropped call or an error the feed is of no further use.
    ///
    /// # Errors
    /// Retry if the server falls silent or the connection breaks; Stop if what is needed is purged or not understood.
    pub async fn next(&mut self) -> Result<Event> {
        let mut next = pin!(self.wire.next_event());
        // Most events have come already, and need no clock.
        let event = match poll_fn(|context| Poll::Ready(next.as_mut().poll(context))).await {
            Poll::Ready(event) => event,
            Poll::Pending => tokio::time::timeout(limits::SOURCE_SILENCE_MAX, next)
                .await
                .map_err(|_| Error::retry("the server sends nothing, not even heartbeats"))?,
        };
        let event = event.map_err(explain_purge).context("read the binlog")?;
        let event = event.ok_or_else(|| Error::retry("the server ended the binlog stream"))?;
        self.decoder.decode(event).context("decode the binlog")
    }
}

/// Asks the server for its binlog from `position` on, which ends at `place`.
async fn start(wire: &mut Wire, position: &GtidSet, place: Option<&LogPosition>) -> Result<()> {
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
            wire.start_binlog_mysql(server_id(), &encoded).await
        }
        (Flavor::MariaDb, GtidSet::MariaDb(_)) => {
            wire.execute("SET @mariadb_slave_capability=4").await?;
            // The command holds four bytes of an offset.
            if let Some(place) = place
                && let Ok(offset) = u32::try_from(place.offset)
            {
                return wire.start_binlog_at(server_id(), &place.file, offset).await;
            }
            let state = sql::literal(&position.to_string());
            wire.execute(format!(
                "SET @slave_connect_state={state}, @slave_gtid_strict_mode=0, \
                 @slave_gtid_ignore_duplicates=0"
            ))
            .await?;
            wire.start_binlog_mariadb(server_id()).await
        }
        _ => Err(Error::stop("the saved position is of the other flavour than the server")),
    }
    .context("ask for the binlog")
}

/// A replica's id that no other replica has: the source would end the older of two with the same.
fn server_id() -> u32 {
    let random = uuid::Uuid::new_v4().as_u128();
    u32::try_from(random & 0x7fff_ffff).unwrap_or(0) | 0x4000_0000
}

/// Reads until an error or until the stream is gone.
///
/// # Errors
/// Retry if the source falls silent or the connection breaks; Stop for what the assembler cannot follow.
pub async fn run(
    mut feed: Feed,
    mut assembler: Assembler,
    items: mpsc::Sender<Delivery>,
    budget: Budget,
) -> Result<()> {
    let mut outlet = Outlet { items, budget, number: 0 };
    let mut ready = Vec::new();
    loop {
        let event = feed.next().await.map_err(advise_stream)?;
        assembler.advance(&event.header);
        match event.body {
            // It may be unpacked to a GiB: no more of it is taken up than the budget allows.
            EventBody::Payload(events) => {
                for inner in events {
                    assembler.take(inner.body, &mut ready)?;
                    if !outlet.deliver(&mut ready).await? {
                        return Ok(());
                    }
                }
            }
            body => {
                assembler.take(body, &mut ready)?;
                if !outlet.deliver(&mut ready).await? {
                    return Ok(());
                }
            }
        }
    }
}

/// Where what has been read goes.
struct Outlet {
    items: mpsc::Sender<Delivery>,
    budget: Budget,
    number: u64,
}

impl Outlet {
    /// Hands on all of it, as the budget allows; `false` if the stream is gone.
    async fn deliver(&mut self, ready: &mut Vec<Item>) -> Result<bool> {
        for item in ready.drain(..) {
            let is_ddl =
                matches!(&item, Item::Transaction(Transaction { work: Work::Ddl { .. }, .. }));
            let share = self.budget.take(item.bytes()).await?;
            let delivery = Delivery { number: self.number, item, share };
            if self.items.send(delivery).await.is_err() {
                return Ok(false);
            }
            self.number += 1;
            if is_ddl {
                // What follows is to be read with other definitions: by the next attempt, with which the stream goes on.
                std::future::pending::<()>().await;
            }
        }
        Ok(true)
    }
}

/// Error 1236 covers everything that a server refuses a dump for; a purged log is the common one.
const REFUSED: u16 = 1236;

fn explain_purge(error: Error) -> Error {
    if error.server_code() != Some(REFUSED) {
        return error;
    }
    error.context("the server no longer has, or never had, the binlog from the wanted position on")
}

fn advise_stream(error: Error) -> Error {
    if error.server_code() != Some(REFUSED) {
        return error;
    }
    error.advice(
        "If it was purged, the copy cannot go on: cancel the workflow, raise the binlog retention and create it again. If this is a \
         replica that took the source's place without all of its transactions, point the keyspace at a server that has them.",
    )
}
