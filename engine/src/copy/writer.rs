//! A writing lane: a chunk's rows, the buffer over them and the record of its range, in one transaction.

use bytes::Bytes;
use tokio::sync::mpsc;

use super::encode::Carrier;
use crate::apply::group::Statement;
use crate::apply::target::{Target, Tenure};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::failpoints;
use crate::mysql::control::Control;
use crate::mysql::sql;
use crate::plan::TablePlan;
use crate::ranges::RangeId;
use crate::sidecar::range::{Copied, DoneRange, record_done};
use std::sync::Arc;

/// A closed range to write.
#[derive(Debug)]
pub struct WriteWork {
    /// Index of the table.
    pub table: usize,
    /// Its plan.
    pub plan: Arc<TablePlan>,
    /// The range.
    pub range: RangeId,
    /// Rows, encoded.
    pub blocks: Vec<Bytes>,
    /// How many rows and bytes.
    pub copied: Copied,
    /// What lies over the rows, as statements.
    pub over: Vec<Statement>,
    /// What is recorded.
    pub done: DoneRange,
}

/// A written range.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// Index of the table.
    pub table: usize,
    /// The range.
    pub range: RangeId,
    /// What it held.
    pub copied: Copied,
    /// How long the target took to commit, in milliseconds.
    pub commit_ms: u64,
}

/// Writes until the stream is gone.
///
/// # Errors
/// Retry, `LeaseLost`, or Divergence if rows are on the target that nobody wrote there.
pub async fn run(
    mut target: Target,
    tenure: Tenure,
    carrier: Carrier,
    work: Arc<tokio::sync::Mutex<mpsc::Receiver<WriteWork>>>,
    written: mpsc::Sender<Written>,
) -> Result<()> {
    loop {
        let next = work.lock().await.recv().await;
        let Some(work) = next else { return Ok(()) };
        let mut tries = 1;
        let commit_ms = loop {
            match write(&mut target, tenure, carrier, &work).await {
                Ok(commit_ms) => break commit_ms,
                Err(error) if Target::may_try_again(&error, tries) => {
                    target.rollback().await?;
                    tries += 1;
                }
                Err(error) => {
                    let table = sql::ident(work.plan.name());
                    return Err(error.context(format_args!("copy into {table}")));
                }
            }
        };
        let done = Written { table: work.table, range: work.range, copied: work.copied, commit_ms };
        if written.send(done).await.is_err() {
            return Ok(());
        }
    }
}

/// One transaction; returns how long its commit took, in milliseconds.
async fn write(
    target: &mut Target,
    tenure: Tenure,
    carrier: Carrier,
    work: &WriteWork,
) -> Result<u64> {
    let control = target.begin().await?;
    if work.copied.rows > 0 {
        let affected = match carrier {
            Carrier::Load => load(control, work).await?,
            Carrier::Insert => insert(control, work).await?,
        };
        // REPLACE counts a replaced row twice.
        if affected < work.copied.rows {
            return Err(skipped(work, work.copied.rows - affected));
        }
    }
    for statement in &work.over {
        statement.run(control).await.context("lay the buffered changes over a chunk")?;
    }
    record_done(control, tenure, work.plan.name(), &work.done, work.copied).await?;
    failpoints::hit(failpoints::CHUNK_BEFORE_COMMIT)?;
    let committing = std::time::Instant::now();
    target.commit().await?;
    let commit_ms = u64::try_from(committing.elapsed().as_millis()).unwrap_or(u64::MAX);
    failpoints::hit(failpoints::CHUNK_AFTER_COMMIT)?;
    Ok(commit_ms)
}

async fn load(control: &mut Control, work: &WriteWork) -> Result<u64> {
    let replace = work.plan.key.as_ref().is_some_and(|key| !key.exact());
    let statement = Carrier::load_statement(&work.plan, replace);
    let blocks = work.blocks.clone().into_iter().map(Ok);
    load_checked(control, statement, futures_util::stream::iter(blocks)).await
}

/// Runs LOAD DATA and takes any warning for an error: LOCAL turns errors into warnings. Returns the rows affected.
///
/// # Errors
/// Divergence for a duplicate key, Stop for a value that the target would change.
pub(super) async fn load_checked<S>(
    control: &mut Control,
    statement: String,
    data: S,
) -> Result<u64>
where
    S: futures_util::Stream<Item = std::io::Result<Bytes>> + Send + Sync + 'static,
{
    let outcome = control.load(statement, data).await?;
    if outcome.warnings > 0 {
        let warnings = control.rows("SHOW WARNINGS LIMIT 1").await?;
        let code: u16 = warnings.first().map(|row| row.number(1)).transpose()?.unwrap_or(0);
        let message = warnings.first().and_then(|row| row.text(2)).unwrap_or_default();
        let error = crate::mysql::control::server_error(code, "warning", &message);
        let kind = if code == 1062 { ErrorKind::Divergence } else { ErrorKind::Stop };
        return Err(error.with_kind(kind).context("the target does not take rows as they are"));
    }
    Ok(outcome.affected)
}

async fn insert(control: &mut Control, work: &WriteWork) -> Result<u64> {
    let mut affected = 0;
    for statement in &work.blocks {
        affected += control.execute(statement).await?.affected;
    }
    Ok(affected)
}

fn skipped(work: &WriteWork, rows: u64) -> Error {
    Error::new(
        ErrorKind::Divergence,
        format!("{rows} rows of a chunk of {} were on the target already", work.plan.target()),
    )
    .advice("Somebody else writes to the target's tables. Cancel the workflow and create it again.")
}
