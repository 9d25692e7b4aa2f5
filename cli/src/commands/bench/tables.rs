//! The bench's tables: made, changed, read and written by the servers themselves.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use shunt_engine::Result;
use shunt_engine::mysql::control::{Control, Session};
use shunt_engine::mysql::server::ServerConfig;
use shunt_engine::mysql::sql;
use shunt_engine::mysql::wire::Wire;

/// Rows of the first statement; the table is doubled from there.
const FIRST: u64 = 1_000;
/// Rows of a later statement at most.
const STATEMENT_ROWS_MAX: u64 = 50_000;
/// Rows of a large transaction of the backlog.
pub(super) const BATCH_ROWS: u64 = 1_000;

/// A row by its number: as wide as sysbench's, compressible as little.
fn values(id: &str) -> String {
    format!(
        "{id}, ({id}) * 7919 % 999983, CONCAT(MD5({id}), MD5({id} + 1), MD5({id} + 2), LEFT(MD5({id} + 3), 24)), \
         CONCAT(MD5({id} + 4), LEFT(MD5({id} + 5), 28))"
    )
}

/// The names of so many tables.
pub(super) fn names(tables: u32) -> Vec<String> {
    (1..=tables).map(|number| format!("t{number}")).collect()
}

/// Makes a table of so many rows.
pub(super) async fn fill(
    server: &ServerConfig,
    database: &str,
    table: &str,
    rows: u64,
) -> Result<()> {
    let mut control = Control::connect(server, Session::Control).await?;
    let name = sql::qualified(database, table);
    control
        .execute(format!(
            "CREATE TABLE {name} (id BIGINT NOT NULL PRIMARY KEY, k INT NOT NULL, c CHAR(120) NOT NULL, pad CHAR(60) NOT NULL, KEY k (k)) \
             ENGINE=InnoDB DEFAULT CHARSET=latin1"
        ))
        .await?;
    let first: Vec<String> =
        (1..=FIRST.min(rows)).map(|id| format!("({})", values(&id.to_string()))).collect();
    control.execute(format!("INSERT INTO {name} VALUES {}", first.join(","))).await?;
    let mut have = FIRST.min(rows);
    while have < rows {
        let more = have.min(rows - have).min(STATEMENT_ROWS_MAX);
        let row = values(&format!("id + {have}"));
        control
            .execute(format!("INSERT INTO {name} SELECT {row} FROM {name} WHERE id <= {more}"))
            .await?;
        have += more;
    }
    control.close().await;
    Ok(())
}

/// Reads all tables, each over its own connection, as a client does that keeps nothing; returns the time.
pub(super) async fn scan(
    server: &ServerConfig,
    database: &str,
    tables: &[String],
) -> Result<Duration> {
    let started = Instant::now();
    try_join_all(tables.iter().map(|table| async move {
        let mut wire = Wire::connect(server).await?;
        wire.start_rows(format!("SELECT * FROM {}", sql::qualified(database, table))).await?;
        while wire.next_row().await?.is_some() {}
        Ok::<_, shunt_engine::Error>(())
    }))
    .await?;
    Ok(started.elapsed())
}

/// Runs a statement for every table, each over its own connection, named by `{}`; returns the time.
pub(super) async fn each(
    server: &ServerConfig,
    database: &str,
    tables: &[String],
    statement: impl Fn(&str, &str) -> String,
) -> Result<Duration> {
    let started = Instant::now();
    try_join_all(tables.iter().map(|table| {
        let name = sql::qualified(database, table);
        let copy = sql::qualified(database, &format!("{table}_again"));
        let statement = statement(&name, &copy);
        async move {
            let mut control = Control::connect(server, Session::Control).await?;
            control.rows(statement).await?;
            control.close().await;
            Ok::<_, shunt_engine::Error>(())
        }
    }))
    .await?;
    Ok(started.elapsed())
}

/// What happens on the source while the stream rests.
#[derive(Clone, Copy, Debug)]
pub(super) enum Backlog {
    /// Transactions of [`BATCH_ROWS`] updated rows.
    Batches,
    /// Transactions of one updated row.
    Single,
}

/// Writes a backlog of so many transactions to every table, one table after the other; returns the changed rows and the time.
pub(super) async fn change(
    server: &ServerConfig,
    database: &str,
    tables: &[String],
    rows: u64,
    backlog: Backlog,
    transactions: u64,
) -> Result<(u64, Duration)> {
    let mut control = Control::connect(server, Session::Control).await?;
    let started = Instant::now();
    let mut changed = 0;
    for table in tables {
        let name = sql::qualified(database, table);
        for at in 0..transactions {
            let statement = match backlog {
                Backlog::Batches => {
                    let first = at * BATCH_ROWS % rows;
                    format!(
                        "UPDATE {name} SET k = k + 1 WHERE id > {first} AND id <= {first} + {BATCH_ROWS}"
                    )
                }
                Backlog::Single => {
                    let id = at * 7919 % rows + 1;
                    format!("UPDATE {name} SET k = k + 1 WHERE id = {id}")
                }
            };
            changed += control.execute(statement).await?.affected;
        }
    }
    control.close().await;
    Ok((changed, started.elapsed()))
}
