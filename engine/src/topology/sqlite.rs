//! The topology in an SQLite file, for processes of one machine.
//!
//! Every method is one SQLite transaction, run on a thread for blocking work. Writers wait for each other (BEGIN IMMEDIATE
//! under a busy timeout); a commit is on disk when it returns (WAL with `synchronous=FULL`).
//!
//! Leases are measured by the machine's uptime, which counts suspend and which no change of the wall clock moves; the boot's
//! id beside it makes every lease of an earlier boot an expired one.
//!
//! A file may be restored from a backup under processes that have it open, and SQLite would go on with the old one, which no other
//! process sees any more. So before every transaction the name is looked up: another file of the same identity is opened in
//! its place; one of another identity, or none, is an error, by which gateways lose their leases and switches end.

mod gateways;

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, FutureExt};
use rusqlite::{
    Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params,
};
use uuid::Uuid;

use super::{Document, Lease, Put, Store};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::runtime::clock::BootInstant;

/// How long one process waits for another's transaction; each takes a millisecond.
const BUSY_LIMIT: Duration = Duration::from_secs(10);

/// Marks the file as ours ("shnt"), so that no other application's database is taken for a topology.
const APPLICATION_ID: i32 = 0x7368_6e74;

const SCHEMA_VERSION: i32 = 2;

const SCHEMA: &str = "
    CREATE TABLE identity (uuid TEXT NOT NULL) STRICT;
    CREATE TABLE document (
        key     TEXT PRIMARY KEY,
        version INTEGER NOT NULL,
        body    BLOB NOT NULL
    ) STRICT;
    -- A lock that nobody holds keeps its row, so that its token never starts again.
    CREATE TABLE lease (
        name      TEXT PRIMARY KEY,
        token     INTEGER NOT NULL,
        owner     TEXT,
        boot      TEXT NOT NULL,
        expires_ms INTEGER NOT NULL
    ) STRICT;
";

/// A topology in a file. Clones share it.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    file: PathBuf,
    uuid: Uuid,
    opened: Shared,
}

/// One connection, used by one blocking call at a time.
type Shared = Arc<Mutex<Opened>>;

/// A connection to the file of a name.
#[derive(Debug)]
struct Opened {
    path: PathBuf,
    conn: Connection,
    uuid: Uuid,
    /// Device and inode of what it was opened on.
    on: (u64, u64),
}

impl Opened {
    fn open(path: PathBuf) -> Result<Self> {
        let (conn, uuid) = open(&path)?;
        let on = file_id(&path)?;
        Ok(Self { path, conn, uuid, on })
    }

    /// The connection, to the file that has the name now.
    fn conn(&mut self) -> Result<&mut Connection> {
        if file_id(&self.path)? != self.on {
            // Its journal has the name of the new file's: it is let go before that is opened.
            self.conn = Connection::open_in_memory().map_err(failed)?;
            // Not even the first file, should it be put back, is open from here on.
            self.on = (0, 0);
            let again = Self::open(self.path.clone())?;
            if again.uuid != self.uuid {
                return Err(Error::stop(format!(
                    "the file was replaced: it is topology {} now, and was {}",
                    again.uuid, self.uuid
                ))
                .advice("Put the right file there, or start this process again."));
            }
            tracing::warn!(
                "topology {}: the file was replaced, and is read anew",
                self.path.display()
            );
            *self = again;
        }
        Ok(&mut self.conn)
    }
}

fn file_id(path: &Path) -> Result<(u64, u64)> {
    match std::fs::metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Error::stop("the file is gone").advice("Restore it."))
        }
        Err(error) => Err(error.into()),
    }
}

impl SqliteStore {
    /// Opens the topology in `file`, and creates it if there is no such file.
    ///
    /// # Errors
    /// Stop if the file is another application's or was written by a newer shunt, Retry if it stays locked.
    pub async fn open(file: &Path) -> Result<Self> {
        let path = file.to_owned();
        let opened = blocking(move || Opened::open(path)).await;
        let opened = opened.context(format_args!("topology {}", file.display()))?;
        let uuid = opened.uuid;
        Ok(Self { file: file.to_owned(), uuid, opened: Arc::new(Mutex::new(opened)) })
    }

    /// Runs one transaction.
    async fn transaction<T, F>(&self, doing: &str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T> + Send + 'static,
    {
        let opened = Arc::clone(&self.opened);
        let done = blocking(move || {
            // A panic cannot leave anything half done in it: the transaction was rolled back when it was dropped.
            let mut opened = opened.lock().unwrap_or_else(PoisonError::into_inner);
            let immediate = TransactionBehavior::Immediate;
            let transaction =
                opened.conn()?.transaction_with_behavior(immediate).map_err(failed)?;
            let value = work(&transaction)?;
            transaction.commit().map_err(failed)?;
            Ok(value)
        });
        done.await.context(format_args!("topology {}: {doing}", self.file.display()))
    }

    async fn read(&self, key: String) -> Result<Option<Document>> {
        let opened = Arc::clone(&self.opened);
        let read = blocking(move || {
            let mut opened = opened.lock().unwrap_or_else(PoisonError::into_inner);
            read_document(opened.conn()?, &key)
        });
        read.await.context(format_args!("topology {}: read a document", self.file.display()))
    }
}

impl Store for SqliteStore {
    fn uuid(&self) -> Uuid {
        self.uuid
    }

    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Document>>> {
        self.read(key.to_owned()).boxed()
    }

    fn put<'a>(&'a self, key: &'a str, expected: u64, body: Vec<u8>) -> BoxFuture<'a, Result<Put>> {
        let key = key.to_owned();
        self.transaction("write a document", move |tx| put(tx, &key, expected, &body)).boxed()
    }

    fn acquire<'a>(
        &'a self,
        name: &'a str,
        owner: &'a str,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<Option<Lease>>> {
        async move {
            let valid_until = BootInstant::now().after(ttl);
            let (lock, holder) = (name.to_owned(), owner.to_owned());
            let token = self.transaction("take a lock", move |tx| acquire(tx, &lock, &holder, ttl));
            let (name, owner) = (name.to_owned(), owner.to_owned());
            Ok(token.await?.map(|token| Lease { name, owner, token, valid_until }))
        }
        .boxed()
    }

    fn renew<'a>(&'a self, lease: &'a Lease, ttl: Duration) -> BoxFuture<'a, Result<Lease>> {
        async move {
            let valid_until = BootInstant::now().after(ttl);
            let held = lease.clone();
            self.transaction("renew a lock", move |tx| renew(tx, &held, ttl)).await?;
            Ok(Lease { valid_until, ..lease.clone() })
        }
        .boxed()
    }

    fn release<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<()>> {
        let held = lease.clone();
        self.transaction("release a lock", move |tx| {
            let sql = "UPDATE lease SET owner = NULL WHERE name = ?1 AND owner = ?2 AND token = ?3";
            let done = tx.execute(sql, params![held.name, held.owner, signed(held.token)?]);
            done.map(drop).map_err(failed)
        })
        .boxed()
    }
}

fn put(tx: &Transaction<'_>, key: &str, expected: u64, body: &[u8]) -> Result<Put> {
    let current = read_document(tx, key)?.map_or(0, |document| document.version);
    if current != expected {
        return Ok(Put::Conflict(current));
    }
    let sql = "INSERT INTO document (key, version, body) VALUES (?1, ?2, ?3) \
               ON CONFLICT (key) DO UPDATE SET version = excluded.version, body = excluded.body";
    tx.execute(sql, params![key, signed(current + 1)?, body]).map_err(failed)?;
    Ok(Put::Written(current + 1))
}

fn acquire(tx: &Transaction<'_>, name: &str, owner: &str, ttl: Duration) -> Result<Option<u64>> {
    // Read under the lock of the file: time spent waiting for it must not count for the lease.
    let now = Now::read()?;
    let sql = "SELECT token, owner, boot, expires_ms FROM lease WHERE name = ?1";
    let row = tx.query_row(sql, [name], |row| {
        let held = (row.get::<_, Option<String>>(1)?, row.get::<_, String>(2)?, row.get(3)?);
        Ok((row.get::<_, i64>(0)?, held))
    });
    let token = match row.optional().map_err(failed)? {
        None => 1,
        Some((token, (Some(holder), ..))) if holder == owner => token,
        Some((_, (Some(_), boot, expires_ms))) if now.is_before(&boot, expires_ms) => {
            return Ok(None);
        }
        Some((token, _)) => token + 1,
    };
    let sql = "INSERT INTO lease (name, token, owner, boot, expires_ms) \
               VALUES (?1, ?2, ?3, ?4, ?5) \
               ON CONFLICT (name) DO UPDATE SET token = excluded.token, owner = excluded.owner, \
               boot = excluded.boot, expires_ms = excluded.expires_ms";
    let values = params![name, token, owner, now.boot, now.after(ttl)?];
    tx.execute(sql, values).map_err(failed)?;
    unsigned(token).map(Some)
}

fn renew(tx: &Transaction<'_>, lease: &Lease, ttl: Duration) -> Result<()> {
    let now = Now::read()?;
    let sql = "UPDATE lease SET boot = ?1, expires_ms = ?2 \
               WHERE name = ?3 AND owner = ?4 AND token = ?5";
    let token = signed(lease.token)?;
    let values = params![now.boot, now.after(ttl)?, lease.name, lease.owner, token];
    if tx.execute(sql, values).map_err(failed)? == 1 {
        return Ok(());
    }
    Err(Error::new(ErrorKind::LeaseLost, format!("lock {:?} has another owner", lease.name)))
}

fn read_document(conn: &Connection, key: &str) -> Result<Option<Document>> {
    let sql = "SELECT version, body FROM document WHERE key = ?1";
    let row = conn.query_row(sql, [key], |row| Ok((row.get(0)?, row.get(1)?)));
    match row.optional().map_err(failed)? {
        Some((version, body)) => Ok(Some(Document { version: unsigned(version)?, body })),
        None => Ok(None),
    }
}

/// The machine's time for leases: which boot, and how long ago it was.
struct Now {
    boot: String,
    uptime_ms: i64,
}

impl Now {
    fn read() -> Result<Self> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        let uptime = std::fs::read_to_string("/proc/uptime")?;
        Self::parse(boot, &uptime).ok_or_else(|| Error::stop("/proc/uptime is not understood"))
    }

    /// The file holds seconds with two decimals.
    fn parse(boot: String, uptime: &str) -> Option<Self> {
        let (seconds, hundredths) = uptime.split_whitespace().next()?.split_once('.')?;
        let hundredths: i64 = hundredths.get(..2)?.parse().ok()?;
        let uptime_ms = seconds.parse::<i64>().ok()?.checked_mul(1000)? + hundredths * 10;
        Some(Self { boot, uptime_ms })
    }

    fn is_before(&self, boot: &str, expires_ms: i64) -> bool {
        self.boot == boot && self.uptime_ms < expires_ms
    }

    /// How long a lease lasts from now on; `None` if it is over.
    fn left(&self, boot: &str, expires_ms: i64) -> Option<Duration> {
        if !self.is_before(boot, expires_ms) {
            return None;
        }
        u64::try_from(expires_ms - self.uptime_ms).ok().map(Duration::from_millis)
    }

    fn after(&self, ttl: Duration) -> Result<i64> {
        let ttl = i64::try_from(ttl.as_millis()).ok();
        let expires = ttl.and_then(|ttl| self.uptime_ms.checked_add(ttl));
        expires.ok_or_else(|| Error::usage("a lease of this length is out of range"))
    }
}

fn open(file: &Path) -> Result<(Connection, Uuid)> {
    let deadline = Instant::now() + BUSY_LIMIT;
    loop {
        match connect(file).and_then(prepare) {
            // Where several processes create the file at once, the switch to WAL fails without waiting for the others.
            Err(error) if error.kind() == ErrorKind::Retry && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(10));
            }
            other => return other,
        }
    }
}

fn connect(file: &Path) -> Result<Connection> {
    let conn = Connection::open(file).map_err(failed)?;
    conn.busy_timeout(BUSY_LIMIT).map_err(failed)?;
    conn.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    Ok(conn)
}

/// Creates the schema in an empty file, or checks it in an existing one; gives the topology's identity.
fn prepare(mut conn: Connection) -> Result<(Connection, Uuid)> {
    let refused = || {
        Error::stop("the file is not a topology of shunt")
            .advice("Name another file under topology.store.")
    };
    let is_empty = |conn: &Connection| -> Result<bool> {
        let sql = "SELECT count(*) FROM sqlite_master";
        conn.query_row(sql, [], |row| row.get::<_, i64>(0)).map(|n| n == 0).map_err(failed)
    };
    // In this order: schema and id are written at once, so a file that has the one has the other when it is asked for next.
    if !is_empty(&conn)? && pragma(&conn, "application_id")? != APPLICATION_ID {
        return Err(refused());
    }
    conn.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    if is_empty(&tx)? {
        tx.execute_batch(SCHEMA).map_err(failed)?;
        tx.execute_batch(gateways::SCHEMA).map_err(failed)?;
        let uuid = Uuid::new_v4().to_string();
        tx.execute("INSERT INTO identity (uuid) VALUES (?1)", [uuid]).map_err(failed)?;
        tx.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
        tx.pragma_update(None, "user_version", SCHEMA_VERSION).map_err(failed)?;
    }
    let version = pragma(&tx, "user_version")?;
    if version == 1 {
        tx.execute_batch(gateways::SCHEMA).map_err(failed)?;
        tx.pragma_update(None, "user_version", SCHEMA_VERSION).map_err(failed)?;
    }
    if version > SCHEMA_VERSION {
        return Err(Error::stop(format!("the topology's format {version} is a newer shunt's"))
            .advice("Use the newer shunt."));
    }
    let uuid = tx.query_row("SELECT uuid FROM identity", [], |row| row.get::<_, String>(0));
    let uuid = uuid.map_err(failed)?.parse().map_err(|_| refused())?;
    tx.commit().map_err(failed)?;
    Ok((conn, uuid))
}

fn pragma(conn: &Connection, name: &str) -> Result<i32> {
    conn.pragma_query_value(None, name, |row| row.get(0)).map_err(failed)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::stop("the topology's task failed unexpectedly").source(error)),
    }
}

fn failed(error: rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Error::retry("the file is locked by another process").source(error)
        }
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            Error::stop("SQLite failed").source(error).advice(
                "The file and its folder must be there and writable for this user (SQLite keeps -wal and -shm files beside it); \
                 topology.store names another file.",
            )
        }
        Some(ErrorCode::DiskFull) => Error::stop("SQLite failed")
            .source(error)
            .advice("Make room where the topology's file is."),
        _ => Error::stop("SQLite failed").source(error),
    }
}

fn signed(number: u64) -> Result<i64> {
    i64::try_from(number).map_err(|_| Error::stop("a version or token is out of range"))
}

fn unsigned(number: i64) -> Result<u64> {
    u64::try_from(number).map_err(|_| Error::stop("a version or token in the file is negative"))
}

#[cfg(test)]
mod tests;
