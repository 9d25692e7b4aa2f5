//! The leak watch: reads the binlog of the side that closes, and knows every transaction that touched a moved table there.
//!
//! What triggers do not see (rows replicated from upstream, XA COMMIT of what was prepared before, cascades, TRUNCATE, ALTER) is
//! in the binlog. Of all that the position P of the raised fence does not contain, nothing may touch a moved table: if it does, it
//! was written on a closed side and the forward stream has not applied it.
//!
//! It starts before the pause, since a server may take long to find a position in a large file, and keeps the names of the last
//! [`KEPT`] transactions that touch moved tables: those before the raise are dropped first.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::sides::Place;
use crate::changes::reader;
use crate::changes::{Assembler, Followed, Item, Work};
use crate::error::{Error, Result, ResultExt};
use crate::limits;
use crate::mysql::gtid::{Gtid, GtidSet};
use crate::mysql::schema;
use crate::mysql::snapshot::{ReadPosition, current_position};
use crate::mysql::wire::Wire;
use crate::plan::TablePlan;
use crate::runtime::budget::Budget;
use crate::runtime::tasks::TaskSet;

const KEPT: usize = 10_000;
const QUEUE: usize = 256;

#[derive(Clone, Debug)]
struct Seen {
    followed: GtidSet,
    touched: VecDeque<(Gtid, &'static str)>,
}

/// A watch over one side.
#[derive(Debug)]
pub struct LeakWatch {
    seen: watch::Receiver<Seen>,
    tasks: TaskSet,
}

impl LeakWatch {
    /// Starts watching from the server's position now.
    ///
    /// # Errors
    /// Of the connections.
    pub async fn start(place: &Place) -> Result<Self> {
        let mut control = place.connect().await?;
        let mut tables = Vec::new();
        for table in &place.tables {
            let schema = schema::read_table(&mut control, &place.database, table).await?;
            let schema = schema.ok_or_else(|| Error::stop(format!("table {table} is gone")))?;
            let plan = Arc::new(TablePlan::new(schema, &place.database));
            tables.push(Followed { plan, copying: AtomicBool::new(false) });
        }
        control.close().await;
        let mut wire = Wire::connect(&place.server).await?;
        let start = current_position(&mut wire).await?;
        reader::start(&mut wire, &start.gtids, crate::stream::setup::server_id()).await?;
        let ReadPosition { gtids, log } = start;
        let assembler =
            Assembler::new(&place.database, Arc::new(tables), log, wire.info().folds_names);
        let (sender, deliveries) = mpsc::channel(QUEUE);
        let budget = Budget::new(limits::QUEUE_BYTES_MAX);
        let (publish, seen) = watch::channel(Seen { followed: gtids, touched: VecDeque::new() });
        let mut tasks = TaskSet::default();
        tasks.spawn("leak binlog", reader::run(wire, assembler, sender, budget));
        tasks.spawn("leak watch", note(deliveries, publish));
        Ok(Self { seen, tasks })
    }

    /// Waits until everything up to `until` is read, and checks that nothing of it that is not in `allowed` touches a moved table.
    ///
    /// # Errors
    /// Stop if something does; Retry if the binlog cannot be read in time.
    pub async fn check(
        &mut self,
        allowed: &GtidSet,
        until: &GtidSet,
        limit: Duration,
    ) -> Result<()> {
        let started = Instant::now();
        let reached = self.seen.wait_for(|seen| seen.followed.contains_set(until));
        let left = limit.saturating_sub(started.elapsed());
        let seen = tokio::select! {
            biased;
            error = self.tasks.failure() => return Err(error.context("watch the closed side")),
            seen = tokio::time::timeout(left, reached) => match seen {
                Ok(Ok(seen)) => seen.clone(),
                Ok(Err(_)) => return Err(Error::retry("the watch of the closed side ended")),
                Err(_) => return Err(Error::retry("the closed side's binlog cannot be read in time")),
            },
        };
        let leak = seen.touched.iter().find(|(gtid, _)| !allowed.contains(gtid));
        match leak {
            None => Ok(()),
            Some((gtid, what)) => Err(Error::stop(format!(
                "transaction {gtid} {what} on the side that is closed"
            ))
            .advice("Something writes there that no trigger sees: replication, XA, a cascade, TRUNCATE or ALTER. Stop it and try again.")),
        }
    }
}

async fn note(
    mut deliveries: mpsc::Receiver<reader::Delivery>,
    publish: watch::Sender<Seen>,
) -> Result<()> {
    while let Some(delivery) = deliveries.recv().await {
        let (gtid, ends, what) = match &delivery.item {
            Item::Part { gtid, .. } => (gtid.clone(), false, Some("wrote rows")),
            Item::Transaction(transaction) => {
                let what = match &transaction.work {
                    Work::Rows(rows) => (!rows.is_empty()).then_some("wrote rows"),
                    Work::Truncate(_) => Some("emptied a table"),
                    Work::Ddl { .. } => Some("changed a table"),
                };
                (transaction.gtid.clone(), true, what)
            }
        };
        let mut inserted = Ok(());
        publish.send_modify(|seen| {
            if let Some(what) = what {
                if seen.touched.len() == KEPT {
                    seen.touched.pop_front();
                }
                seen.touched.push_back((gtid.clone(), what));
            }
            if ends {
                inserted = seen.followed.insert(&gtid);
            }
        });
        inserted.context("watch the closed side")?;
    }
    Err(Error::retry("the closed side's binlog ended"))
}
