//! A lock on one row of the source, for a row that is written so often that it is never seen at rest (`--lock-hot-rows`).
//!
//! Before this stands [`crate::looks`], whose key changed between every two snapshots until its time was over; the key is looked at
//! once more while this holds it.
//!
//! # Why the look is then final
//! The locking read waits for whoever writes the row and shows what was committed last; that transaction is in the binlog
//! before it gives its lock back, so a snapshot that is opened now contains it, and so does its bound H. Nobody can write the row while it is
//! held, also where it is missing (the gap is locked). So once the stream has passed H, the target shows all that there is for this
//! key: the sides are equal, or differ for good.
//!
//! # What it costs the source
//! One shared lock at a time, for which SELECT is enough: readers go on, writers of this row wait until the stream has
//! passed H. They wait [`limits::HOT_LOCK`] at most, from when the lock is asked for until it is given back: whatever the look waits for
//! by then (the lock itself, the target's position, a snapshot of the source), it is cut off, and the key stays unsettled. A statement that would not find the row at once by a unique key could lock others with
//! it, so the server's plan is asked first; such a key stays unsettled. Should this process or its network vanish meanwhile, the
//! server ends the session, and with it the lock, after [`limits::HOT_IDLE`].

use std::time::{Duration, Instant};

use shunt_engine::Result;
use shunt_engine::mysql::server::ServerConfig;
use shunt_engine::mysql::wire::Wire;

use crate::explain::explain;
use crate::limits;
use crate::pair::{Pair, RowKey, Side};

/// A held row.
#[derive(Debug)]
pub(crate) struct HotRow {
    wire: Wire,
    /// When its lock was asked for.
    asked: Instant,
}

impl HotRow {
    /// Locks the row of a key, or the place where it would be; `None` if it cannot be locked by itself, or not at once.
    ///
    /// # Errors
    /// Retry if the source is lost.
    pub(crate) async fn lock(
        source: &ServerConfig,
        pair: &Pair,
        key: &RowKey,
    ) -> Result<Option<Self>> {
        let query = pair.lookup_query(Side::Source, &[key], " LOCK IN SHARE MODE")?;
        let mut wire = Wire::connect(source).await?;
        if !explain(&mut wire, &query).await?.is_some_and(|plan| plan.single) {
            return Ok(None);
        }
        // A client that vanishes gives the row back, too.
        let (seconds, idle) = (limits::HOT_LOCK.as_secs().max(1), limits::HOT_IDLE.as_secs());
        let bounds = format!("innodb_lock_wait_timeout = {seconds}, wait_timeout = {idle}");
        wire.execute(format!("SET SESSION {bounds}")).await?;
        wire.execute("START TRANSACTION").await?;
        let asked = Instant::now();
        match wire.rows(query).await {
            Ok(_) => Ok(Some(Self { wire, asked })),
            // A lock wait, or a deadlock: somebody holds it longer.
            Err(error) if error.is_lock_conflict() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How long it may still be held.
    pub(crate) fn left(&self) -> Duration {
        limits::HOT_LOCK.saturating_sub(self.asked.elapsed())
    }

    /// Gives the row back.
    ///
    /// # Errors
    /// Retry if the connection is lost; the server has given the row back then.
    pub(crate) async fn release(mut self) -> Result<()> {
        self.wire.execute("ROLLBACK").await.map(drop)
    }
}
