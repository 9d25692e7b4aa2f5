//! Does the source still have what was applied from it?
//!
//! A source that crashes without `sync_binlog=1`, is restored from a backup or forgets its binlog (`RESET MASTER`) may have lost
//! transactions that are on the target, and may give their GTIDs to others. Asked to go on behind the saved GTIDs it would then
//! leave out the others without a word. So before a stream goes on:
//!
//! 1. The source's position contains the saved one. On MySQL `gtid_owned` counts, and is read first: a transaction is sent to
//!    replicas before it enters `gtid_executed`, and in this order it is seen in one of the two.
//! 2. On the server that the position was read from, its place in the files is there, and is the end of the transaction that the
//!    GTIDs say. A server that has restarted writes a new file, so a lost place never comes back.
//!
//! Server and place are saved with the position, so they belong together: until something is applied from another server, the first
//! one's place is looked for there.
//!
//! 3. What is on the target *beyond* the position is there, too: the H of every copied range, the S of a keyless table, and a transaction of
//!    which parts were applied ([`check_beyond`]). A server that took over without them will never send what takes them back, and may give
//!    their numbers to others, which would then count as theirs. Later attempts may go by the numbers: on one server they name one history.
//!
//! A file that was purged proves nothing, and needs not: the server refuses a dump for which it lacks transactions.

use crate::error::{Error, Result, ResultExt};
use crate::mysql::gtid::GtidSet;
use crate::mysql::server::Flavor;
use crate::mysql::snapshot::{ReadPosition, first_lacking, gtids_if_any, newest_gtids};
use crate::mysql::sql;
use crate::mysql::wire::Wire;

/// MySQL: the place asked for is not where an event begins, or behind the end of the file.
const NO_EVENT_THERE: u16 = 1220;

/// The last offset that `BINLOG_GTID_POS` takes.
const OFFSET_MAX: u64 = 0xffff_ffff;

/// What has become of the saved place in the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It is there, and the saved position ends there (on MySQL: an event does).
    Found,
    /// It is not known, its file was purged, or it is so far behind in it that MariaDB does not say what ends there.
    Unknown,
    /// It never was, or another transaction ends there.
    Lost,
}

/// Checks that the source has everything up to `saved`; `same_server` if that was read from this very server. Says whether its
/// place was found in the files.
///
/// # Errors
/// Stop if it has not.
pub(super) async fn check(
    wire: &mut Wire,
    saved: &ReadPosition,
    same_server: bool,
) -> Result<bool> {
    let newest = newest_gtids(wire).await.context("read the source's position")?;
    if !newest.contains_set(&saved.gtids) {
        let whose =
            if same_server { "the source" } else { "the source is another server than before and" };
        return Err(lost(format!(
            "{whose} lacks transactions that were applied: it is at {newest}, the stream at {}",
            saved.gtids
        )));
    }
    if !same_server {
        return Ok(false);
    }
    match look_for(wire, saved).await.context("look for the saved position")? {
        Place::Found => Ok(true),
        Place::Unknown => Ok(false),
        Place::Lost => Err(lost(format!(
            "the source's binlog does not have the transactions that were applied from it: at {} {} it is not at {}",
            saved.log.file, saved.log.offset, saved.gtids
        ))),
    }
}

/// Checks that the source has what is on the target beyond `applied`: these positions, each as a whole.
///
/// # Errors
/// Stop if it lacks one. Retry if it is a MySQL server that was the source before, and what it lacks is other servers': as a replica it may
/// have been about to commit what it begins again now.
pub(super) async fn check_beyond(
    wire: &mut Wire,
    applied: &GtidSet,
    beyond: &[GtidSet],
    same_server: bool,
) -> Result<()> {
    if beyond.is_empty() {
        return Ok(());
    }
    let lacking = first_lacking(wire, applied, beyond).await;
    match lacking.context("look for what was copied")? {
        None => Ok(()),
        Some(position) if same_server && has_its_own(wire, position).await? => Err(Error::retry(
            format!("the source has not executed yet what was seen on it before: {position}"),
        )),
        Some(position) => Err(lost(format!(
            "the source lacks transactions whose rows were copied or applied already, up to {position}; the stream is at {applied}"
        ))),
    }
}

/// Whether a MySQL server has all of its own transactions of a position.
async fn has_its_own(wire: &mut Wire, position: &GtidSet) -> Result<bool> {
    let GtidSet::MySql(position) = position else { return Ok(false) };
    let own = position.of_server(&wire.info().identity)?;
    Ok(newest_gtids(wire).await?.contains_set(&GtidSet::MySql(own)))
}

fn lost(what: String) -> Error {
    Error::stop(what).advice(
        "Did the source crash without sync_binlog=1, was it restored, or its binlog reset? The target may hold what the source has \
         lost. Point the keyspace at a server that has these transactions, or cancel the workflow and create it again.",
    )
}

async fn look_for(wire: &mut Wire, saved: &ReadPosition) -> Result<Place> {
    let log = &saved.log;
    if log.file.is_empty() {
        return Ok(Place::Unknown);
    }
    let mut newer = false;
    for row in wire.rows("SHOW BINARY LOGS").await? {
        let (file, size): (String, u64) = (row.must(0)?, row.number(1)?);
        let far = wire.info().flavor == Flavor::MariaDb && log.offset > OFFSET_MAX;
        if file == log.file && size >= log.offset && far {
            return Ok(Place::Unknown);
        }
        if file == log.file {
            let found = size >= log.offset && is_end_of(wire, saved).await?;
            return Ok(if found { Place::Found } else { Place::Lost });
        }
        newer = newer || log.is_in_file_before(&file);
    }
    Ok(if newer { Place::Unknown } else { Place::Lost })
}

/// Whether the place in the files is the end of the GTIDs' last transaction, as far as the server can say.
async fn is_end_of(wire: &mut Wire, saved: &ReadPosition) -> Result<bool> {
    if wire.info().flavor == Flavor::MariaDb {
        return Ok(gtids_if_any(wire, &saved.log).await?.as_ref() == Some(&saved.gtids));
    }
    let file = sql::literal(&saved.log.file);
    let offset = saved.log.offset;
    match wire.rows(format!("SHOW BINLOG EVENTS IN {file} FROM {offset} LIMIT 1")).await {
        Err(error) if error.server_code() == Some(NO_EVENT_THERE) => Ok(false),
        other => other.map(|_| true),
    }
}
