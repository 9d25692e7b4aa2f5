//! What is done about differences: nothing, statements in a file, or repair.
//!
//! # Repair of a workflow's table
//! Exactly the differing keys are copied again under the copy's own protocol, in place. In one transaction on the target:
//! 1. the stream's row is locked. A group cannot commit without moving the position in that row, so none commits meanwhile, and the
//!    position A that is read is what the target is at;
//! 2. the source's rows of the keys are read in a snapshot that contains A ([`Snapshot`]); let H be its bound;
//! 3. the target's rows of the keys are deleted and the source's inserted ([`crate::mend`]); commit.
//!
//! Why that is right: what the stream applies after the commit is what it follows from A on, in order. For a repaired key
//! these are events with full images (or deletes), applied by key, so those up to the snapshot may take effect on top of the newer row, and the
//! last of them brings what the snapshot showed; those after it follow. (Where only the columns that an event changed are set,
//! `apply::in_place`, the last event that changed a column brings it there; the others are what the snapshot showed all along.) So the key equals the source once H is passed, by the same
//! reasoning as for a copied range. A crash before the commit leaves nothing, one after it a repaired key at a saved
//! position A, from which the events come again. If the lock were left out, a group read before the snapshot could commit after
//! the repair with an older image than its own position covers: the row would be overwritten and the newer event, already past,
//! would not come back.
//!
//! Keys are looked at again afterwards like any others. A table without a key is not repaired: the stream counts its rows.
//!
//! # Repair of a standalone pair
//! Only where the target is no replica: the target's rows are locked, then the source's rows are read and put in their place.
//!
//! # Nothing that was found is forgotten
//! Differing keys wait until there are some to be mended at once, and mended keys until some are looked at again. A record that is saved
//! says "settled up to here" ([`crate::ledger`]), so whoever goes on from it will not find those keys again. Therefore both kinds
//! are saved **in that record** ([`Fixer::checkpoint`]), and taken from it by who goes on ([`Fixer::begin_table`]). What was found
//! and not saved lies behind the saved front and is found again; mending a key twice does no harm. A file of statements is cut to the length
//! that the record knows before more is written to it, so no statement in it is torn.

use std::sync::Arc;
use std::time::{Duration, Instant};

use shunt_engine::error::ResultExt;
use shunt_engine::mysql::control::{Control, Session};
use shunt_engine::mysql::gtid::GtidSet;
use shunt_engine::mysql::snapshot::{LogPosition, ReadPosition, Snapshot};
use shunt_engine::mysql::wire::Wire;
use shunt_engine::runtime::tasks::{Task, spawn};
use shunt_engine::{Error, Result, limits as engine_limits};
use tokio::sync::mpsc;

use crate::lane::Shared;
use crate::limits;
use crate::looks::{self, Ask, Finding, Verdict};
pub use crate::mend::Emitted;
use crate::mend::{Mending, Sink};
use crate::narrow::Different;
use crate::pair::RowKey;
use crate::report::{TableRecord, hex, unhex};
use crate::sides::Tie;
use crate::table::Event;

/// What is done about differences.
pub enum Fixer {
    /// Nothing.
    Nothing,
    /// Statements that would mend them are written.
    Emit {
        /// Where to.
        out: Emitted,
        /// Keys to be mended.
        waiting: Vec<RowKey>,
    },
    /// They are repaired.
    Repair {
        /// To be repaired.
        waiting: Vec<RowKey>,
        /// Repaired, to be looked at again.
        unchecked: Vec<RowKey>,
    },
}

impl Fixer {
    /// Repairs.
    pub fn repair() -> Self {
        Self::Repair { waiting: Vec::new(), unchecked: Vec::new() }
    }

    /// Writes statements.
    pub fn emit(out: Emitted) -> Self {
        Self::Emit { out, waiting: Vec::new() }
    }

    /// Begins with a table, or goes on with what its record says.
    ///
    /// # Errors
    /// Stop if the record is broken.
    pub fn begin_table(&mut self, record: &TableRecord) -> Result<()> {
        let keys = |keys: &[String]| -> Result<Vec<RowKey>> {
            let key = |text: &String| unhex(text).map(RowKey::from);
            let keys: Option<Vec<RowKey>> = keys.iter().map(key).collect();
            keys.ok_or_else(|| Error::stop("a stored key of a VDiff is broken"))
        };
        match self {
            Self::Nothing => {}
            Self::Emit { waiting, .. } => *waiting = keys(&record.to_repair)?,
            Self::Repair { waiting, unchecked } => {
                *waiting = keys(&record.to_repair)?;
                *unchecked = keys(&record.to_check)?;
            }
        }
        Ok(())
    }

    /// Says in a record that is about to be saved what is still to be done.
    ///
    /// # Errors
    /// Of the file.
    pub fn checkpoint(&mut self, record: &mut TableRecord) -> Result<()> {
        let text = |keys: &[RowKey]| keys.iter().map(|key| hex(key)).collect();
        match self {
            Self::Nothing => {}
            Self::Emit { out, waiting } => {
                record.to_repair = text(waiting);
                record.emitted = out.flush()?;
            }
            Self::Repair { waiting, unchecked } => {
                record.to_repair = text(waiting);
                record.to_check = text(unchecked);
            }
        }
        Ok(())
    }

    /// Takes a difference.
    ///
    /// # Errors
    /// Of the servers or the file.
    pub async fn add(
        &mut self,
        shared: &Shared,
        finding: &Finding,
        record: &mut TableRecord,
    ) -> Result<()> {
        let (Self::Emit { waiting, .. } | Self::Repair { waiting, .. }) = self else {
            return Ok(());
        };
        waiting.extend(std::iter::once(&finding.key).chain(&finding.target_key).cloned());
        if is_full(waiting, limits::FIX_KEYS_MAX) {
            self.flush(shared).await?;
        }
        match self {
            Self::Repair { unchecked, .. } if is_full(unchecked, limits::CHECK_KEYS_MAX) => {
                self.check(shared, record).await
            }
            _ => Ok(()),
        }
    }

    async fn flush(&mut self, shared: &Shared) -> Result<()> {
        match self {
            Self::Emit { out, waiting } if !waiting.is_empty() => {
                Box::pin(emit(shared, waiting, out)).await?;
                waiting.clear();
            }
            Self::Repair { waiting, unchecked } if !waiting.is_empty() => {
                Box::pin(repair(shared, waiting)).await?;
                unchecked.append(waiting);
            }
            _ => {}
        }
        Ok(())
    }

    /// Looks at repaired keys again.
    async fn check(&mut self, shared: &Shared, record: &mut TableRecord) -> Result<()> {
        if let Self::Repair { unchecked, .. } = self
            && !unchecked.is_empty()
        {
            let keys = std::mem::take(unchecked);
            record.unrepaired += Box::pin(still_different(shared, keys)).await?;
        }
        Ok(())
    }

    /// Finishes a table: what is left is mended, and everything repaired is looked at again.
    ///
    /// # Errors
    /// Of the servers or the file.
    pub async fn finish_table(&mut self, shared: &Shared, record: &mut TableRecord) -> Result<()> {
        self.flush(shared).await?;
        self.check(shared, record).await?;
        if let Self::Repair { .. } = self {
            let found = record.mismatched + record.extra_source + record.extra_target;
            record.repaired = found.saturating_sub(record.unrepaired);
        }
        Ok(())
    }
}

fn is_full(keys: &[RowKey], max: usize) -> bool {
    let bytes: usize = keys.iter().map(|key| key.len()).sum();
    keys.len() >= max || bytes >= limits::FIX_BYTES_MAX
}

/// Looks at repaired keys again; how many differ still.
async fn still_different(shared: &Shared, keys: Vec<RowKey>) -> Result<u64> {
    let (events, mut settled) = mpsc::channel(64);
    let (ask, asks) = mpsc::channel(1);
    let count = keys.len();
    let keys = keys.into_iter().map(|key| Different { key, shown: [false; 2] }).collect();
    ask.send(Ask { seq: 0, keys, part: None, stand: None })
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
    // The stream waits for these locks: they end with a client that vanishes.
    let idle = limits::REPAIR_IDLE.as_secs();
    control.execute(format!("SET SESSION wait_timeout = {idle}")).await?;
    let mut wire = Wire::connect(&shared.servers.source).await?;
    let started = Instant::now();
    for tries in 1.. {
        control.execute("BEGIN").await?;
        match Box::pin(repair_locked(shared, keys, &mut control, &mut wire)).await {
            Ok(Repaired::All) => {
                control.execute("COMMIT").await.context("commit a repair")?;
                control.close().await;
                return Ok(());
            }
            Ok(Repaired::NotNow) if tries < limits::REPAIR_TRIES => {}
            Ok(Repaired::NotNow) => {
                return Err(Error::retry("the target is at no position that can be repaired")
                    .advice("Is a large transaction or DDL being applied, or is the stream not running? See `shunt movetables status`; then \
                             `shunt vdiff resume` goes on."));
            }
            // The snapshot ends with its connection, and so does the wait for one.
            Ok(Repaired::NoSnapshot) if started.elapsed() < limits::TARGET_WAIT => {
                wire = Wire::connect(&shared.servers.source).await?;
            }
            Ok(Repaired::NoSnapshot) => {
                return Err(Error::retry("the source does not show readers what the target has")
                    .advice("A commit may be waiting for a semi-sync acknowledgement, or a replica may have stopped. `shunt vdiff resume` \
                             goes on."));
            }
            Err(error) if error.is_lock_conflict() && tries < engine_limits::TRANSACTION_TRIES => {
                wire = Wire::connect(&shared.servers.source).await?;
            }
            Err(error) => return Err(error.context("repair")),
        }
        control.execute("ROLLBACK").await?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// What became of a repair.
enum Repaired {
    /// All is written.
    All,
    /// Nothing: the target is between two positions.
    NotNow,
    /// Nothing: the source shows no snapshot in time. Its connection is of no further use.
    NoSnapshot,
}

async fn repair_locked(
    shared: &Shared,
    keys: &[RowKey],
    control: &mut Control,
    wire: &mut Wire,
) -> Result<Repaired> {
    let Tie::Stream { id } = shared.servers.tie else {
        mend(shared, keys, control, wire).await?;
        return Ok(Repaired::All);
    };
    let Some(position) = lock_stream(control, wire, id).await? else {
        return Ok(Repaired::NotNow);
    };
    // The stream waits as long as this does.
    let opening = tokio::time::timeout(limits::REPAIR_SNAPSHOT, Snapshot::open(wire, &position));
    let Ok(snapshot) = Box::pin(opening).await else { return Ok(Repaired::NoSnapshot) };
    let snapshot = snapshot?;
    mend(shared, keys, control, snapshot.wire).await?;
    snapshot.end().await?;
    Ok(Repaired::All)
}

async fn mend(
    shared: &Shared,
    keys: &[RowKey],
    control: &mut Control,
    source: &mut Wire,
) -> Result<()> {
    let mending = Mending::new(&shared.pair);
    let mut target = Wire::connect(&shared.servers.target).await?;
    let keys = mending.all_keys(keys, source, &mut target, Some(control)).await?;
    mending.write(&keys, source, &mut Sink::Server(control)).await
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
        return Err(Error::stop("the stream follows another source server than is read here")
            .advice(
                "Has the source failed over? Let the stream start again, then resume the VDiff.",
            ));
    }
    let gtids = GtidSet::parse(wire.info().flavor, &row.must(1)?)?;
    let log = LogPosition { file: row.must(2)?, offset: row.number(3)? };
    Ok(Some(ReadPosition { gtids, log }))
}

/// What a file of statements begins with, so that bytes stay as they are.
pub const EMIT_HEAD: &str = "SET NAMES binary;\nSET time_zone='+00:00', foreign_key_checks=0, unique_checks=1, \
     sql_mode='STRICT_ALL_TABLES,ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO';\n";

/// Writes the statements that mend these keys, with the source's rows as they are now, as one transaction.
async fn emit(shared: &Shared, keys: &[RowKey], out: &mut Emitted) -> Result<()> {
    let mending = Mending::new(&shared.pair);
    let mut target = Wire::connect(&shared.servers.target).await?;
    let mut source = Wire::connect(&shared.servers.source).await?;
    source.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT").await?;
    let keys = mending.all_keys(keys, &mut source, &mut target, None).await?;
    out.write(b"BEGIN")?;
    mending.write(&keys, &mut source, &mut Sink::File(out)).await?;
    out.write(b"COMMIT")?;
    source.execute("ROLLBACK").await.map(drop)
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
