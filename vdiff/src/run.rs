//! All tables of a VDiff, one after the other, each with many ranges at once.

use std::sync::Arc;

use shunt_engine::mysql::control::{Control, Session};
use shunt_engine::mysql::sql;
use shunt_engine::runtime::tasks;
use shunt_engine::sidecar::wanted::Wanted;
use shunt_engine::{Error, Result};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::archive::findings::Reporter;
use crate::condition;
use crate::definitions::{Definitions, Place};
use crate::fix::Fixer;
use crate::fixable;
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

/// Compares the tables that are not completed yet, and those that were by another definition than they have now. Their records are saved
/// as they grow; the state of the whole is the caller's.
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
    for table in tables {
        if table.state == State::Completed && store.keep_lease(is_as_compared(job, table)).await? {
            // There may be many, each read in less than what is between two renewals.
            if store.renew().await? == Wanted::Stop {
                return Ok(Ended::Stopped);
            }
            continue;
        }
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
    let definitions = definitions(job, record);
    let mends = !matches!(fixer, Fixer::Nothing);
    let writes = matches!(fixer, Fixer::Repair { .. });
    let made = prepare(job, record, &definitions, (mends, writes));
    let (pair, folding) = store.keep_lease(made).await?;
    reporter.begin(&pair)?;
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
        let ended = run.run(&definitions, cancel).await?;
        start = run.record;
        if ended != Ended::Rests {
            break ended;
        }
        if !tasks::pause(limits::REST, cancel).await {
            break Ended::Stopped;
        }
    };
    *record = start;
    if ended == Ended::Completed {
        reporter.finish().await?;
    }
    Ok(ended)
}

/// What is compared and how, once it is made sure that it can be.
async fn prepare(
    job: &Job,
    record: &TableRecord,
    definitions: &Definitions,
    (mends, writes): (bool, bool),
) -> Result<(Arc<Pair>, Folding)> {
    let (source_schema, target_schema) = definitions.read().await?;
    let pair = Arc::new(Pair::new(source_schema, target_schema, &job.spec)?);
    if mends {
        fixable::check(&pair)?;
    }
    if writes {
        check_open(job, record).await?;
    }
    let mut sides = Sides::connect(&job.servers).await?;
    condition::check(&mut sides, &pair).await?;
    let (strength, threads) = (job.spec.strength, job.spec.parallelism);
    let folding = Folding::choose(strength, &mut sides, &pair, threads).await?;
    Ok((pair, folding))
}

/// Nothing is written on a side that a switch has closed.
async fn check_open(job: &Job, record: &TableRecord) -> Result<()> {
    let mut control = Control::connect(&job.servers.target, Session::Control).await?;
    fixable::check_open(&mut control, &job.target_database, &record.target_name).await?;
    control.close().await;
    Ok(())
}

/// Whether a table that an earlier run completed has the definition that it was compared by. What was added to it since is in no checksum.
async fn is_as_compared(job: &Job, record: &TableRecord) -> Result<bool> {
    let (source, target) = definitions(job, record).read().await?;
    Ok(Pair::new(source, target, &job.spec)?.definition() == record.definition)
}

fn definitions(job: &Job, record: &TableRecord) -> Definitions {
    let servers = &job.servers;
    Definitions {
        source: Place {
            server: servers.source.clone(),
            database: job.source_database.clone(),
            table: record.name.clone(),
        },
        target: Place {
            server: servers.target.clone(),
            database: job.target_database.clone(),
            table: record.target_name.clone(),
        },
    }
}

/// The record to go on with, or a new one.
///
/// What is settled from the start is all up to a key *in the order of the key that was read by*. With another definition that key may
/// lie elsewhere, and what is behind it may never have been read: the table begins anew. So does one of which nothing is left to be read
/// that did not become completed: its definition changed before it was ([`crate::definitions`]), or its process died just then.
fn begin(record: &TableRecord, pair: &Pair, fixer: &Fixer) -> Result<TableRecord> {
    let definition = pair.definition();
    if record.lastpk.is_some() && record.definition == definition {
        return Ok(record.clone());
    }
    let mut new = TableRecord::new(&record.name, &record.target_name);
    new.definition = definition;
    if record.definition == new.definition
        || record.definition.is_empty() && record.lastpk.is_none()
    {
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
