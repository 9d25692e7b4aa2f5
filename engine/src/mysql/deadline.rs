//! A statement that must not wait for long: ended after a bound by `KILL QUERY` from a second connection, never by dropping its
//! call, unless the server does not answer at all.
//!
//! Whoever waits for a metadata lock or a row lock makes everybody behind it wait too, so a statement on a busy table gives up
//! quickly and tries again. What it waited for is looked up while it still waits.

use std::fmt;
use std::time::Duration;

use tokio::sync::oneshot;

use super::control::{Control, Outcome};
use super::server::{Flavor, Version};
use crate::error::{Error, Result, ResultExt};

/// How long the answer to a statement is waited for after it was ended. A commit that had begun cannot be ended, and may take its time; a
/// server that is gone without a word must not hold up those who would go on over new connections.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Who may be in the way of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocker {
    /// The connection's id.
    pub connection: u64,
    /// Its account and client.
    pub account: String,
    /// What it is at: `Sleep` inside of a transaction, `Query`, ….
    pub command: String,
    /// Seconds that its transaction is open, where it has one.
    pub open_s: Option<u64>,
    /// Whether the server named it; else it is a candidate.
    pub exact: bool,
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {} of {} ({}", self.connection, self.account, self.command)?;
        if let Some(open_s) = self.open_s {
            write!(f, ", in a transaction for {open_s} s")?;
        }
        f.write_str(if self.exact { ")" } else { "; a candidate)" })
    }
}

/// Names at most a few.
pub fn list(blockers: &[Blocker]) -> String {
    const SHOWN: usize = 5;
    let mut names: Vec<String> = blockers.iter().take(SHOWN).map(ToString::to_string).collect();
    if blockers.len() > SHOWN {
        names.push(format!("{} more", blockers.len() - SHOWN));
    }
    if names.is_empty() { "nobody that can be seen".to_owned() } else { names.join(", ") }
}

/// How a bounded statement ended.
#[derive(Debug)]
pub enum Bounded {
    /// In time.
    Done(Outcome),
    /// It was ended; it changed nothing. These were in its way.
    GivenUp(Vec<Blocker>),
}

/// Two connections to one server: one that waits, one that ends the waiting.
#[derive(Debug)]
pub struct Bounder {
    /// Runs the statements.
    pub control: Control,
    /// Looks and kills.
    pub second: Control,
}

impl Bounder {
    /// Runs a statement for at most `limit`, give or take a round trip.
    ///
    /// # Errors
    /// Of the statement or of the connections; Retry if the server does not answer: then both are lost, and what the statement did is not
    /// known.
    pub async fn run(&mut self, sql: &str, limit: Duration) -> Result<Bounded> {
        let answer = tokio::time::timeout(limit + ANSWER_MAX, self.run_long(sql, limit)).await;
        answer.unwrap_or_else(|_| {
            self.control.lose();
            self.second.lose();
            Err(Error::retry("the server does not answer"))
        })
    }

    /// The same of DDL, whose answer is awaited however long it takes: a DROP of a large table cannot be ended once it has its locks.
    ///
    /// # Errors
    /// Of the statement or of the connections.
    pub async fn run_long(&mut self, sql: &str, limit: Duration) -> Result<Bounded> {
        let Self { control, second } = self;
        let id = control.id();
        let (done, is_done) = oneshot::channel::<()>();
        let run = async {
            let outcome = control.execute(sql).await;
            drop(done);
            outcome
        };
        let watch = async {
            // Both sides of this are cancel-safe: a timer, and a channel that only closes.
            tokio::select! {
                _ = is_done => return Ok(None),
                () = tokio::time::sleep(limit) => {}
            }
            let blockers = blockers(second, id).await?;
            kill_query(second, id).await?;
            Ok::<_, Error>(Some(blockers))
        };
        let (outcome, watched) = tokio::join!(run, watch);
        match (outcome, watched?) {
            // The server has undone it, to end a deadlock among clients that it had closed by waiting.
            (Err(error), None) if error.server_code() == Some(1213) => {
                Ok(Bounded::GivenUp(Vec::new()))
            }
            (outcome, None) => Ok(Bounded::Done(outcome?)),
            (Ok(outcome), Some(_)) => {
                // The kill came too late for this statement; it may not meet the next one.
                drop(control.execute("DO 0").await);
                Ok(Bounded::Done(outcome))
            }
            // Interrupted, by us; or the server's own lock wait came first. MariaDB that is interrupted while it reads a table's triggers
            // says that one has an error (1064) or that it cannot be parsed (1343).
            (Err(error), Some(blockers))
                if matches!(error.server_code(), Some(1064 | 1205 | 1213 | 1317 | 1343)) =>
            {
                Ok(Bounded::GivenUp(blockers))
            }
            (Err(error), Some(_)) => Err(error),
        }
    }
}

impl Bounder {
    /// Connections of others with an open transaction, as far as the account sees them, the oldest first.
    ///
    /// # Errors
    /// Of the connection.
    pub async fn in_transactions(&mut self) -> Result<Vec<Blocker>> {
        let query = format!(
            "SELECT p.id, CONCAT(p.user, '@', p.host), p.command, \
             TIMESTAMPDIFF(SECOND, t.trx_started, NOW()) FROM information_schema.innodb_trx t \
             JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id \
             WHERE p.id NOT IN ({}, {}) ORDER BY t.trx_started LIMIT 20",
            self.control.id(),
            self.second.id()
        );
        read(&mut self.second, &query, false).await
    }
}

async fn kill_query(second: &mut Control, id: u32) -> Result<()> {
    match second.execute(format!("KILL QUERY {id}")).await {
        Err(error) if error.is_no_thread() => Ok(()),
        other => other.map(drop).context("end a statement that waits"),
    }
}

/// Who is in the way of a waiting connection: by InnoDB's word where it waits for a row, else everybody with an open transaction, and
/// who may hold a table lock. Seen only as far as the account may.
async fn blockers(second: &mut Control, id: u32) -> Result<Vec<Blocker>> {
    let exact = match second.info().flavor {
        Flavor::MySql if second.info().version >= Version(8, 0, 0) => format!(
            "SELECT p.id, CONCAT(p.user, '@', p.host), p.command, \
             TIMESTAMPDIFF(SECOND, t.trx_started, NOW()) FROM sys.innodb_lock_waits w \
             JOIN information_schema.processlist p ON p.id = w.blocking_pid \
             LEFT JOIN information_schema.innodb_trx t ON t.trx_mysql_thread_id = p.id \
             WHERE w.waiting_pid = {id}"
        ),
        _ => format!(
            "SELECT p.id, CONCAT(p.user, '@', p.host), p.command, \
             TIMESTAMPDIFF(SECOND, b.trx_started, NOW()) FROM information_schema.innodb_lock_waits w \
             JOIN information_schema.innodb_trx r ON r.trx_id = w.requesting_trx_id \
             JOIN information_schema.innodb_trx b ON b.trx_id = w.blocking_trx_id \
             JOIN information_schema.processlist p ON p.id = b.trx_mysql_thread_id \
             WHERE r.trx_mysql_thread_id = {id}"
        ),
    };
    let found = read(second, &exact, true).await?;
    if !found.is_empty() {
        return Ok(found);
    }
    let own = second.id();
    let candidates = format!(
        "SELECT p.id, CONCAT(p.user, '@', p.host), p.command, \
         TIMESTAMPDIFF(SECOND, t.trx_started, NOW()) FROM information_schema.processlist p \
         LEFT JOIN information_schema.innodb_trx t ON t.trx_mysql_thread_id = p.id \
         WHERE p.id NOT IN ({id}, {own}) AND p.command NOT IN ('Daemon', 'Binlog Dump', 'Binlog Dump GTID') \
         AND (t.trx_id IS NOT NULL OR (p.command = 'Sleep' AND p.db IS NOT NULL)) \
         AND COALESCE(p.state, '') NOT LIKE 'Waiting for table%' \
         ORDER BY t.trx_started IS NULL, t.trx_started LIMIT 20"
    );
    read(second, &candidates, false).await
}

async fn read(second: &mut Control, query: &str, exact: bool) -> Result<Vec<Blocker>> {
    let rows = match second.rows(query).await {
        // What the account may not see is not shown; the statement is given up all the same.
        Err(error) if error.server_code().is_some() => return Ok(Vec::new()),
        other => other?,
    };
    rows.iter()
        .map(|row| {
            Ok(Blocker {
                connection: row.number(0)?,
                account: row.must(1)?,
                command: row.must(2)?,
                open_s: row.text(3).and_then(|text| text.parse().ok()),
                exact,
            })
        })
        .collect()
}
