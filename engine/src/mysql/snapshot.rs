//! A consistent snapshot of which is known what it contains: the bracket.
//!
//! Before this stands the stream, which names its position R when it opens a range; after it the copier, which reads the
//! range's rows in the snapshot. The guarantee: **the snapshot contains every transaction up to R**, and [`Snapshot::high`]
//! is an upper bound H of what it can contain.
//!
//! # Why this needs an argument
//!
//! A transaction's event can reach a binlog reader before InnoDB shows its rows: the server writes and syncs the binlog
//! first and commits in the engine afterwards. Under semi-sync (AFTER_SYNC) seconds lie between the two. A snapshot that
//! is simply opened when an event has been read may lack its row. With that event discarded ("a later snapshot contains
//! it"), the row would be lost.
//!
//! - **MySQL 5.7 and later**: a GTID enters `gtid_executed` after the engine's commit. Once it contains R, a snapshot opened
//!   afterwards shows R.
//! - **MySQL 5.6**: a GTID enters `gtid_executed` before that, and leaves `gtid_owned` after it. So `gtid_executed` is read
//!   first and `gtid_owned` second; when the first contains R and the second has nothing of R, every transaction of R is
//!   committed in the engine. In the other order a transaction could pass from the one to the other between the readings.
//! - **MariaDB**: `gtid_binlog_pos` moves too early as well. `binlog_snapshot_file` and `binlog_snapshot_position` are moved by a commit in
//!   the engine, to the end of the transaction; so once they are at R, a snapshot opened afterwards shows R. Before R they are
//!   waited for. Behind R they say nothing: a new file and a checkpoint event move them too, while a transaction before those still
//!   waits for its commit. Then all that the binlog holds is waited for ([`visible`]).
//!
//!   A transaction that an engine without two-phase commit takes part in (Aria; not MyISAM) is committed in InnoDB after all that. It ends
//!   with a COMMIT instead of an XID, and stops a stream that copies a table it changes (`changes::assembler`).
//!
//! H is read after the snapshot is open: `gtid_executed` with `gtid_owned`, or `gtid_binlog_pos`. Both are at least what the
//! snapshot shows.

use std::time::{Duration, Instant};

use crate::error::{Error, Result, ResultExt};
use crate::failpoints;
use crate::limits;
use crate::mysql::gtid::{GtidSet, HeldGtids};
use crate::mysql::server::{Flavor, Version};
use crate::mysql::sql;
use crate::mysql::wire::Wire;

mod visible;

/// A place in the binlog files of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LogPosition {
    /// The file's name, e.g. `mysql-bin.000007`.
    pub file: String,
    /// Bytes from its start.
    pub offset: u64,
}

impl LogPosition {
    /// The number at the end of the file's name, then the offset: what orders positions of one server.
    fn rank(&self) -> (u64, u64) {
        let number = self.file.rsplit('.').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        (number, self.offset)
    }

    /// Moves on to where an event ends, of which events say only the lower half.
    pub(crate) fn advance(&mut self, low: u32) {
        let mut offset = (self.offset & !u64::from(u32::MAX)) | u64::from(low);
        if offset < self.offset {
            offset += 1 << 32;
        }
        self.offset = offset;
    }

    /// Whether `file` is a later one than this position's.
    pub(crate) fn is_in_file_before(&self, file: &str) -> bool {
        let other = Self { file: file.to_owned(), offset: 0 };
        self.rank().0 < other.rank().0
    }
}

impl PartialOrd for LogPosition {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for LogPosition {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank()).then_with(|| self.file.cmp(&other.file))
    }
}

/// How far a stream has read, in both ways of saying it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadPosition {
    /// Every transaction read or applied before.
    pub gtids: GtidSet,
    /// The end of the last one in the source's files.
    pub log: LogPosition,
}

/// An open snapshot. It ends with [`Snapshot::end`] or with its connection.
#[derive(Debug)]
pub struct Snapshot<'a> {
    /// The connection, inside the snapshot's transaction.
    pub wire: &'a mut Wire,
    /// H: nothing beyond it is in the snapshot.
    pub high: GtidSet,
    exact: Exact,
    /// When it was opened.
    pub opened: Instant,
}

impl<'a> Snapshot<'a> {
    /// Opens a snapshot that contains everything up to `position`, waiting for it if need be.
    ///
    /// # Errors
    /// Retry if the server does not show that position within [`limits::BRACKET_WAIT_MAX`].
    pub async fn open(wire: &'a mut Wire, position: &ReadPosition) -> Result<Self> {
        let started = Instant::now();
        let mut pause = Duration::from_micros(200);
        loop {
            let attempt = match wire.info().flavor {
                Flavor::MariaDb => open_mariadb(wire, position).await,
                Flavor::MySql => open_mysql(wire, position).await,
            };
            if let Some((high, exact)) = attempt.context("open a snapshot")? {
                return Ok(Self { wire, high, exact, opened: Instant::now() });
            }
            if started.elapsed() > limits::BRACKET_WAIT_MAX {
                return Err(Error::retry(format!(
                    "the source does not show transaction {} to readers after {} s",
                    position.gtids,
                    limits::BRACKET_WAIT_MAX.as_secs()
                ))
                .advice("A commit may be waiting for a semi-sync acknowledgement, or a replica may have stopped."));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    /// The position that the snapshot contains precisely, or `None` where it cannot be told and the snapshot has to be
    /// opened again.
    ///
    /// # Errors
    /// Of the connection.
    pub async fn exact_position(&mut self) -> Result<Option<GtidSet>> {
        match self.exact.clone() {
            Exact::Ask => {
                let Some(place) = visible::exact_place(self.wire).await? else { return Ok(None) };
                gtids_at(self.wire, &place).await.map(Some)
            }
            Exact::Set(set) => Ok(set),
        }
    }

    /// Ends the transaction.
    ///
    /// # Errors
    /// Retry if the connection is lost.
    pub async fn end(self) -> Result<()> {
        self.wire.execute("ROLLBACK").await.map(drop)
    }
}

/// What is known of the exact position of a snapshot.
#[derive(Clone, Debug)]
enum Exact {
    /// MariaDB: by its place in the binlog.
    Ask,
    /// MySQL: this set, if nothing was committed or about to be between the readings before and after the opening.
    Set(Option<GtidSet>),
}

type Opened = Option<(GtidSet, Exact)>;

/// R's place is the end of a transaction, or everything before it was visible when the stream began ([`until_visible`]). So when the
/// server's place is R, that transaction has been committed, and all before it.
async fn open_mariadb(wire: &mut Wire, position: &ReadPosition) -> Result<Opened> {
    let is_known = |to: &LogPosition| !position.log.file.is_empty() && position.log <= *to;
    let known = wire.visible_to().is_some_and(is_known);
    if !known && !failpoints::switched_on(failpoints::BRACKET_SKIP) {
        let place = mariadb_place(wire).await?;
        if place < position.log || position.log.file.is_empty() && !has(wire, position).await? {
            return Ok(None);
        }
        if place > position.log || mariadb_place(wire).await? != place {
            visible::wait(wire, limits::BRACKET_WAIT_MAX).await?;
        }
    }
    wire.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT").await?;
    let high = one_text(wire, "SELECT @@global.gtid_binlog_pos", 0).await?;
    Ok(Some((GtidSet::parse(Flavor::MariaDb, &high)?, Exact::Ask)))
}

/// Whether the server's binlog has all of a position whose place is not known.
async fn has(wire: &mut Wire, position: &ReadPosition) -> Result<bool> {
    let newest = one_text(wire, "SELECT @@global.gtid_binlog_pos", 0).await?;
    Ok(GtidSet::parse(Flavor::MariaDb, &newest)?.contains_set(&position.gtids))
}

/// Where the server's commits are in its binlog; of a connection with a snapshot, where that is. All its sessions get such an answer from
/// the same buffers: it may be another one's, which is never ahead of the server's, or made of two. So who goes by it asks twice.
async fn mariadb_place(wire: &mut Wire) -> Result<LogPosition> {
    let mut position = LogPosition::default();
    for row in wire.rows("SHOW STATUS LIKE 'binlog\\_snapshot\\_%'").await? {
        match row.must(0)?.to_ascii_lowercase().as_str() {
            "binlog_snapshot_file" => position.file = row.must(1)?,
            "binlog_snapshot_position" => position.offset = row.number(1)?,
            _ => {}
        }
    }
    if position.file.is_empty() {
        return Err(Error::stop("the source does not say which binlog position a snapshot has")
            .advice("Is its binary log on? A MariaDB source must write one."));
    }
    Ok(position)
}

async fn open_mysql(wire: &mut Wire, position: &ReadPosition) -> Result<Opened> {
    let executed = mysql_set(wire, "gtid_executed").await?;
    let owned = mysql_set(wire, "gtid_owned").await?;
    let mut visible = executed.contains_set(&position.gtids);
    if wire.info().version < Version(5, 7, 0) {
        visible = visible && !owned.intersects(&position.gtids);
    }
    if !visible && !failpoints::switched_on(failpoints::BRACKET_SKIP) {
        return Ok(None);
    }
    wire.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT").await?;
    let high = newest_gtids(wire).await?;
    let quiet = owned.is_empty() && high == executed;
    Ok(Some((high, Exact::Set(quiet.then_some(executed)))))
}

/// A GTID set variable. `gtid_owned` lists the owners as well (`uuid:1#7:2#9`); they are left out.
async fn mysql_set(wire: &mut Wire, variable: &str) -> Result<GtidSet> {
    let text = one_text(wire, &format!("SELECT @@global.{variable}"), 0).await?;
    GtidSet::parse(Flavor::MySql, &without_owners(&text))
}

fn without_owners(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_owner = false;
    for c in text.chars() {
        in_owner = match c {
            '#' => true,
            ':' | ',' | '\n' => false,
            _ => in_owner,
        };
        if !in_owner {
            out.push(c);
        }
    }
    out
}

async fn one_text(wire: &mut Wire, sql: &str, column: usize) -> Result<String> {
    let rows = wire.rows(sql).await?;
    rows.first().ok_or_else(|| Error::stop("a server variable has no value"))?.must(column)
}

/// Every transaction that a reader of the server's binlog can have seen.
///
/// # Errors
/// Of the connection.
pub(crate) async fn newest_gtids(wire: &mut Wire) -> Result<GtidSet> {
    if wire.info().flavor == Flavor::MariaDb {
        let text = one_text(wire, "SELECT @@global.gtid_binlog_pos", 0).await?;
        return GtidSet::parse(Flavor::MariaDb, &text);
    }
    // In this order: a transaction passes from the first to the second, since 5.7 after it can be seen.
    let mut newest = mysql_set(wire, "gtid_owned").await?;
    newest.union(&mysql_set(wire, "gtid_executed").await?)?;
    Ok(newest)
}

/// Which of these positions the server's binlog does not hold; what `applied` contains is not asked for. On MariaDB a number proves nothing:
/// another server that took over may have given it to another transaction. So the very transactions are looked for: a server keeps the last
/// number of each domain and server that its binlog has ever held.
///
/// # Errors
/// Of the connection.
pub(crate) async fn first_lacking<'a>(
    wire: &mut Wire,
    applied: &GtidSet,
    positions: &'a [GtidSet],
) -> Result<Option<&'a GtidSet>> {
    if wire.info().flavor == Flavor::MySql {
        let newest = newest_gtids(wire).await?;
        return Ok(positions.iter().find(|position| !newest.contains_set(position)));
    }
    let text = one_text(wire, "SELECT @@global.gtid_binlog_state", 0).await?;
    let held = HeldGtids::parse(&text)?;
    Ok(positions.iter().find(|position| !held.hold(position, applied)))
}

/// The source's position now: its GTIDs, and where the last of them ends in its files (exact on MariaDB; on MySQL the place may be
/// ahead). A reader of its binlog may be ahead, and what is being committed may be in it, so that readers do not see it yet:
/// [`Snapshot::open`] waits for that.
///
/// # Errors
/// Stop if the server has no binlog.
pub async fn current_position(wire: &mut Wire) -> Result<ReadPosition> {
    match wire.info().flavor {
        Flavor::MariaDb => current_mariadb(wire).await,
        Flavor::MySql => current_mysql(wire).await,
    }
}

/// The same, once everything up to it is visible to readers.
///
/// # Errors
/// As of [`current_position`] and [`until_visible`].
pub async fn visible_position(wire: &mut Wire, limit: Duration) -> Result<ReadPosition> {
    let position = tokio::time::timeout(limit, current_position(wire)).await;
    let position = position.map_err(|_| visible::not_in_time(limit))??;
    until_visible(wire, limit).await?;
    Ok(position)
}

/// Waits until everything that has been written to the binlog is visible to readers. (On MySQL it is once it counts as executed.)
///
/// # Errors
/// Retry if a commit does not end within the limit; the connection is then of no further use.
pub async fn until_visible(wire: &mut Wire, limit: Duration) -> Result<()> {
    match wire.info().flavor {
        Flavor::MariaDb => visible::wait(wire, limit).await,
        Flavor::MySql => Ok(()),
    }
}

/// The GTIDs of a server's position now, where their place in its files is not asked for.
///
/// # Errors
/// Of the connection.
pub async fn current_gtids(wire: &mut Wire) -> Result<GtidSet> {
    match wire.info().flavor {
        Flavor::MariaDb => newest_gtids(wire).await,
        Flavor::MySql => mysql_set(wire, "gtid_executed").await,
    }
}

/// By two readings of the GTIDs that are the same, and the end of the files between them. A server that never rests that long
/// is asked which GTIDs belong to a snapshot's place; for that it reads its newest file from the start, which may be a GiB, and
/// this is asked for while a switch holds writes back.
async fn current_mariadb(wire: &mut Wire) -> Result<ReadPosition> {
    let started = Instant::now();
    while started.elapsed() < limits::POSITION_TRY_MAX {
        match resting_mariadb(wire).await {
            Ok(Some(position)) => return Ok(position),
            Ok(None) => {}
            // Whoever only reads tables need not be allowed to ask for the end of the log.
            Err(error) if error.is_unprivileged() => break,
            Err(error) => return Err(error),
        }
    }
    wire.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT").await?;
    let log = repeated_place(wire).await?;
    wire.execute("ROLLBACK").await?;
    let gtids = gtids_at(wire, &log).await?;
    Ok(ReadPosition { gtids, log })
}

/// The place of the open snapshot, said twice in a row: all sessions are answered out of one buffer.
async fn repeated_place(wire: &mut Wire) -> Result<LogPosition> {
    let mut place = mariadb_place(wire).await?;
    loop {
        let again = mariadb_place(wire).await?;
        if again == place {
            return Ok(place);
        }
        place = again;
    }
}

/// `None` if a GTID was given meanwhile. Why it is exact: a GTID enters `gtid_binlog_pos` just before its transaction is written, by
/// who holds the lock of the log until it is written to its end, and `SHOW MASTER STATUS` waits for that lock. Equal readings
/// say that none was given in between; so when the end was read, all that had been given stood before it.
async fn resting_mariadb(wire: &mut Wire) -> Result<Option<ReadPosition>> {
    let before = one_text(wire, "SELECT @@global.gtid_binlog_pos", 0).await?;
    let log = end_of_log(wire, "SHOW MASTER STATUS").await?;
    let after = one_text(wire, "SELECT @@global.gtid_binlog_pos", 0).await?;
    if before != after {
        return Ok(None);
    }
    Ok(Some(ReadPosition { gtids: GtidSet::parse(Flavor::MariaDb, &after)?, log }))
}

async fn end_of_log(wire: &mut Wire, status: &str) -> Result<LogPosition> {
    let rows = wire.rows(status).await?;
    let row = rows.first().ok_or_else(|| {
        Error::stop("the source has no binary log").advice("Start it with log_bin and a server_id.")
    })?;
    Ok(LogPosition { file: row.must(0)?, offset: row.number(1)? })
}

/// MariaDB: the GTID position of a place in the binlog.
///
/// # Errors
/// Retry if the server cannot say.
pub(crate) async fn gtids_at(wire: &mut Wire, log: &LogPosition) -> Result<GtidSet> {
    gtids_if_any(wire, log).await?.ok_or_else(|| {
        Error::retry(format!("the source knows no GTID position for {} {}", log.file, log.offset))
    })
}

/// MariaDB: the same, or nothing if no event ends there.
///
/// # Errors
/// Of the connection.
pub(crate) async fn gtids_if_any(wire: &mut Wire, log: &LogPosition) -> Result<Option<GtidSet>> {
    let file = sql::literal(&log.file);
    let query = format!("SELECT BINLOG_GTID_POS({file}, {})", log.offset);
    let rows = wire.rows(query).await?;
    let text = rows.first().and_then(|row| row.text(0));
    text.map(|text| GtidSet::parse(Flavor::MariaDb, &text)).transpose()
}

async fn current_mysql(wire: &mut Wire) -> Result<ReadPosition> {
    let gtids = mysql_set(wire, "gtid_executed").await?;
    let new_name = wire.info().version >= Version(8, 2, 0);
    let status = if new_name { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" };
    Ok(ReadPosition { gtids, log: end_of_log(wire, status).await? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_positions_order_by_file_number_then_offset() {
        let at = |file: &str, offset| LogPosition { file: file.into(), offset };
        assert!(at("bin.000009", 900) < at("bin.000010", 4));
        assert!(at("bin.999999", 4) < at("bin.1000000", 4));
        assert!(at("bin.000010", 4) < at("bin.000010", 5));
    }

    #[test]
    fn owners_are_left_out_of_gtid_owned() {
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        assert_eq!(
            without_owners(&format!("{uuid}:5#12:9#3#4,\n{uuid}:7#1")),
            format!("{uuid}:5:9,\n{uuid}:7")
        );
    }
}
