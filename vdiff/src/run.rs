//! All tables of a VDiff, one after the other, each with many ranges at once.

use std::sync::Arc;

use shunt_engine::mysql::control::{Control, Session};
use shunt_engine::mysql::schema::{self, TableKind, TableSchema};
use shunt_engine::mysql::server::ServerConfig;
use shunt_engine::mysql::sql;
use shunt_engine::runtime::tasks;
use shunt_engine::{Error, Result};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::archive::findings::Reporter;
use crate::condition;
use crate::fix::Fixer;
use crate::fold::Folding;
use crate::lane::Shared;
use crate::limits;
use crate::pair::Pair;
use crate::report::{State, TableRecord};
use crate::sides::{Servers, Sides};
use crate::spec::Spec;
use crate::store::Store;
use crate::table::{Ended, Progress, TableRun, first_range_rows};

/// What is compared.
#[derive(Clone, Debug)]
pub struct Job {
    /// The servers and what ties them.
    pub servers: Servers,
    /// The database on the source.
    pub source_database: String,
    /// The database on the target.
    pub target_database: String,
    /// How.
    pub spec: Spec,
}

/// Compares the tables that are not completed yet. Their records are saved as they grow; the state of the whole is the caller's.
///
/// # Errors
/// Whatever ends a table's comparison.
pub async fn run(
    job: &Job,
    tables: &mut [TableRecord],
    store: &mut Store,
    fixer: &mut Fixer,
    reporter: &mut Reporter,
    progress: &watch::Sender<Progress>,
    cancel: &CancellationToken,
) -> Result<Ended> {
    for table in tables.iter_mut().filter(|table| table.state != State::Completed) {
        if Box::pin(compare(job, table, store, fixer, reporter, progress, cancel)).await?
            == Ended::Stopped
        {
            return Ok(Ended::Stopped);
        }
    }
    Ok(Ended::Completed)
}

async fn compare(
    job: &Job,
    record: &mut TableRecord,
    store: &mut Store,
    fixer: &mut Fixer,
    reporter: &mut Reporter,
    progress: &watch::Sender<Progress>,
    cancel: &CancellationToken,
) -> Result<Ended> {
    let read = |server: ServerConfig, database: String, table: String| async move {
        read_schema(&server, &database, &table).await
    };
    let source =
        || read(job.servers.source.clone(), job.source_database.clone(), record.name.clone());
    let target = || {
        read(job.servers.target.clone(), job.target_database.clone(), record.target_name.clone())
    };
    let (source_schema, target_schema) = (source().await?, target().await?);
    let fingerprints =
        [source_schema.fingerprint().to_owned(), target_schema.fingerprint().to_owned()];
    let pair = Arc::new(Pair::new(source_schema, target_schema, &job.spec)?);
    check_fixable(&pair, fixer)?;
    reporter.begin(&pair)?;
    let mut sides = Sides::connect(&job.servers).await?;
    condition::check(&mut sides, &pair).await?;
    let folding =
        Folding::choose(job.spec.strength, &mut sides, &pair, job.spec.parallelism).await?;
    drop(sides);
    let mut start = begin(record, &pair, fixer)?;
    fixer.begin_table(&start)?;
    let ended = loop {
        let shared = Shared {
            servers: job.servers.clone(),
            pair: pair.clone(),
            folding: folding.clone(),
            spec: job.spec.clone(),
            range_rows: first_range_rows(&pair),
        };
        let mut run = TableRun::new(shared, start, store, fixer, reporter, progress);
        let ended = run.run(cancel).await?;
        start = run.record;
        if ended != Ended::Rests {
            break ended;
        }
        if !tasks::pause(limits::REST, cancel).await {
            break Ended::Stopped;
        }
    };
    let now = [source().await?, target().await?];
    if now.iter().zip(&fingerprints).any(|(now, before)| now.fingerprint() != before) {
        return Err(Error::stop(format!(
            "the definition of {} changed while it was compared",
            sql::ident(&record.name)
        ))
        .advice("Delete this VDiff and create another."));
    }
    *record = start;
    if ended == Ended::Completed {
        reporter.finish().await?;
    }
    Ok(ended)
}

/// The record to go on with, or a new one.
///
/// What is settled from the start is all up to a key *in the order of the key that was read by*. With another definition that key may
/// lie elsewhere, and what is behind it may never have been read: the table begins anew.
fn begin(record: &TableRecord, pair: &Pair, fixer: &Fixer) -> Result<TableRecord> {
    let definition = pair.definition();
    if record.lastpk.is_some() && record.definition == definition {
        return Ok(record.clone());
    }
    let mut new = TableRecord::new(&record.name, &record.target_name);
    new.definition = definition;
    if record.lastpk.is_none() {
        new.began_anew = record.began_anew;
        return Ok(new);
    }
    let table = sql::ident(&record.name);
    if matches!(fixer, Fixer::Emit { .. }) {
        return Err(Error::usage(format!(
            "the definition of {table} changed since this VDiff was interrupted, and statements for the old one are written already"
        ))
        .advice("Remove that file and the state (--state), and run it again."));
    }
    tracing::warn!(%table, "its definition changed since the VDiff was interrupted: it is compared from its start");
    new.began_anew = true;
    Ok(new)
}

fn check_fixable(pair: &Pair, fixer: &Fixer) -> Result<()> {
    // A row that is written anew would lose what was not compared.
    let covers = |table: &TableSchema| {
        let own = table.columns.iter().filter(|c| c.generated == schema::Generated::No);
        own.count() == pair.columns.len()
    };
    let whole = covers(&pair.source.schema) && covers(&pair.target.schema);
    if matches!(fixer, Fixer::Nothing) || pair.keyed() && whole {
        return Ok(());
    }
    let why = if pair.keyed() { "is compared in part" } else { "has no key that both sides share" };
    Err(Error::usage(format!("table {} {why} and cannot be repaired", sql::ident(&pair.name)))
        .advice("Leave it out with --tables, or run without repair."))
}

pub(crate) async fn read_schema(
    server: &ServerConfig,
    database: &str,
    table: &str,
) -> Result<TableSchema> {
    let mut control = Control::connect(server, Session::Control).await?;
    let schema = schema::read_table(&mut control, database, table).await?;
    let what = match &schema {
        Some(_) => None,
        None => what_else(&mut control, database, table).await?,
    };
    control.close().await;
    schema.ok_or_else(|| {
        let (name, address) = (sql::qualified(database, table), &server.address);
        match what {
            Some(what) => {
                Error::usage(format!("{name} on {address} is a {what}; only tables are compared"))
                    .advice("Leave it out.")
            }
            None => Error::usage(format!("there is no table {name} on {address}")),
        }
    })
}

/// What else than a table has this name.
async fn what_else(
    control: &mut Control,
    database: &str,
    name: &str,
) -> Result<Option<&'static str>> {
    let all = schema::list_tables(control, database).await?;
    let found = all.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
    Ok(found.and_then(|(_, kind)| match kind {
        TableKind::View => Some("view"),
        TableKind::Sequence => Some("sequence"),
        TableKind::Base | TableKind::SystemVersioned | TableKind::Other => None,
    }))
}
