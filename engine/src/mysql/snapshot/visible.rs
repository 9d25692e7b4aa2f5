//! MariaDB: until all transactions that the binlog holds are visible to new snapshots.
//!
//! # How a server commits
//!
//! The leader of a group of commits writes it to the binlog under the log's lock, and may begin a new file under it. It takes a
//! second lock before it lets go of the first; under semi-sync (AFTER_SYNC) it waits for a replica's word. It takes a third before it
//! lets go of the second, commits the group in the engines, and counts it (`Binlog_group_commits`). So groups commit in order, and
//! consistent snapshots, which take the third lock, see a group whole or not at all.
//!
//! # What follows
//!
//! Whoever gets the log's lock (`SHOW MASTER STATUS` does) knows that at most one group that is in the binlog is not committed yet, and
//! that it is the next to be counted. So each of these says that all of them are visible to a snapshot opened afterwards:
//!
//! 1. a commit is counted that was not when the lock had been had;
//! 2. no transaction is prepared in InnoDB, as one in the binlog is until it is committed, and none was seen to wait for a replica (a
//!    server at rest; needs PROCESS);
//! 3. where that may not be asked, or somebody's XA transactions stay prepared: nothing is written and no commit waits for a replica for
//!    [`limits::QUIET_MIN`]. What remains of a commit then waits for nobody. This alone is an argument of time.
//!
//! A transaction that is committed without being prepared (one that reads or writes Aria) is counted, and not seen to be prepared, a
//! moment before InnoDB commits it. Behind a stream's start such a one is noticed (`changes::assembler`); one of just that moment is not.

use std::time::{Duration, Instant};

use super::{LogPosition, end_of_log, mariadb_place, one_text};
use crate::error::{Error, Result};
use crate::limits;
use crate::mysql::sql;
use crate::mysql::wire::Wire;

/// How far the place of a snapshot is looked for.
const EVENTS_MAX: usize = 1000;
/// A commit that others follow ends sooner than InnoDB's state is printed.
const LOOK_AFTER: Duration = Duration::from_millis(3);

/// Waits until everything that the binlog holds now is visible to a snapshot that is opened afterwards; the connection remembers it.
///
/// # Errors
/// Retry if that takes longer; the connection is then of no further use.
pub(super) async fn wait(wire: &mut Wire, limit: Duration) -> Result<()> {
    let end = tokio::time::timeout(limit, until(wire)).await.map_err(|_| not_in_time(limit))??;
    wire.see_to(end);
    Ok(())
}

/// The error of a commit that does not end.
pub(super) fn not_in_time(limit: Duration) -> Error {
    Error::retry(format!(
        "the source does not show its last transactions to readers after {limit:?}"
    ))
    .advice(
        "A commit may be waiting for a semi-sync acknowledgement, or a replica may have stopped.",
    )
}

/// Says where the binlog ended, if that may be asked.
async fn until(wire: &mut Wire) -> Result<Option<LogPosition>> {
    let started = Instant::now();
    let first = log_end(wire).await?;
    let counted = commits(wire).await?;
    // Without the lock there may be two groups: one that waits, and one that has been written and waits for it.
    let enough = if first.is_some() { 1 } else { 2 };
    let (mut end, mut quiet_since) = (first.clone(), started);
    let (mut look_at, mut awaited) = (Some(LOOK_AFTER), false);
    let mut pause = Duration::from_millis(1);
    loop {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(20));
        if commits(wire).await? >= counted + enough {
            return Ok(first);
        }
        let waits = waits_for_replica(wire).await?;
        awaited |= waits;
        if look_at.is_some_and(|at| started.elapsed() >= at) {
            look_at = match is_prepared(wire).await? {
                Some(false) if !awaited => return Ok(first),
                Some(_) => Some(started.elapsed() + limits::QUIET_MIN),
                None => None,
            };
        }
        let now = log_end(wire).await?;
        if now != end || waits {
            (end, quiet_since) = (now, Instant::now());
        }
        if quiet_since.elapsed() >= limits::QUIET_MIN {
            return Ok(first);
        }
    }
}

/// The place up to which the open snapshot contains everything, and nothing behind it; `None` if that cannot be told. Its place is it if
/// a transaction ends there; if not, it was moved by something else, while a transaction before it may have waited for its commit. Where
/// nothing has been written since all was visible, it is the end of the log.
///
/// # Errors
/// Of the connection.
pub(super) async fn exact_place(wire: &mut Wire) -> Result<Option<LogPosition>> {
    let seen = wire.visible_to().cloned();
    if seen.is_some() && log_end(wire).await? == seen {
        return Ok(seen);
    }
    let place = mariadb_place(wire).await?;
    if mariadb_place(wire).await? != place {
        return Ok(None);
    }
    let is_end = is_transactions_end(wire, &place, seen.as_ref()).await?;
    Ok(is_end.then_some(place))
}

/// Whether a place of a snapshot is the end of a transaction. All up to `behind` was committed before; what comes after it is looked at.
/// Where that may not be done, or nothing is known to be committed, it is taken for one.
async fn is_transactions_end(
    wire: &mut Wire,
    place: &LogPosition,
    behind: Option<&LogPosition>,
) -> Result<bool> {
    let Some(behind) = behind else { return Ok(true) };
    if place <= behind {
        return Ok(true);
    }
    if place.file != behind.file {
        return Ok(false);
    }
    let file = sql::literal(&place.file);
    let query = format!("SHOW BINLOG EVENTS IN {file} FROM {} LIMIT {EVENTS_MAX}", behind.offset);
    let events = match wire.rows(query).await {
        Err(error) if error.is_unprivileged() => return Ok(true),
        events => events?,
    };
    for event in &events {
        if event.number::<u64>(4)? == place.offset {
            let kind: String = event.must(2)?;
            return Ok(matches!(
                kind.as_str(),
                "Xid" | "Query" | "Query_compressed" | "XA_prepare"
            ));
        }
    }
    Ok(false)
}

/// The end of the log, for which its lock is taken; nothing where it may not be asked for.
async fn log_end(wire: &mut Wire) -> Result<Option<LogPosition>> {
    match end_of_log(wire, "SHOW MASTER STATUS").await {
        Err(error) if error.is_unprivileged() => Ok(None),
        end => end.map(Some),
    }
}

async fn commits(wire: &mut Wire) -> Result<u64> {
    status(wire, "binlog\\_group\\_commits").await
}

/// Whether a transaction waits for a replica before it is committed. After it, too, some wait, where that is set.
async fn waits_for_replica(wire: &mut Wire) -> Result<bool> {
    if status(wire, "rpl\\_semi\\_sync\\_master\\_wait\\_sessions").await? == 0 {
        return Ok(false);
    }
    let point = one_text(wire, "SELECT @@global.rpl_semi_sync_master_wait_point", 0).await?;
    Ok(point != "AFTER_COMMIT")
}

/// A status variable; 0 where there is none.
async fn status(wire: &mut Wire, name: &str) -> Result<u64> {
    let rows = wire.rows(format!("SHOW GLOBAL STATUS LIKE '{name}'")).await?;
    rows.first().map_or(Ok(0), |row| row.number(1))
}

/// Whether a transaction is prepared, or may be; `None` if that may not be asked.
async fn is_prepared(wire: &mut Wire) -> Result<Option<bool>> {
    match one_text(wire, "SHOW ENGINE INNODB STATUS", 2).await {
        Ok(state) => Ok(Some(says_prepared(&state))),
        Err(error) if error.is_unprivileged() => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is too long is cut.
fn says_prepared(state: &str) -> bool {
    let whole = state.contains("END OF INNODB MONITOR OUTPUT") && !state.contains("truncated...");
    !whole || state.contains("(PREPARED)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prepared_transactions_are_seen() {
        let end = "END OF INNODB MONITOR OUTPUT";
        let running =
            "---TRANSACTION 18, ACTIVE 7 sec\n1 lock struct(s), heap size 1128, 0 row lock(s)";
        assert!(!says_prepared(&format!("{running}\n{end}")));
        assert!(says_prepared(running));
        assert!(says_prepared(&format!("{running}\n... truncated...\n{end}")));
        assert!(says_prepared(&format!("---TRANSACTION 19, ACTIVE (PREPARED) 2 sec\n{end}")));
    }
}
