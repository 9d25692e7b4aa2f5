//! A writing lane: a chunk's rows, the buffer over them and the record of its range, in one transaction.

use std::pin::{Pin, pin};
use std::sync::Arc;

use futures_util::stream::{Peekable, Stream, StreamExt, iter, unfold};
use tokio::sync::mpsc;

use super::encode::{Block, Destination, Form};
use super::queue::WriteQueue;
use crate::apply::group::Statement;
use crate::apply::notes::strict;
use crate::apply::target::{RowTarget, Target, Tenure};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::failpoints;
use crate::mysql::control::Outcome;
use crate::mysql::schema::TableSchema;
use crate::mysql::sql;
use crate::mysql::wire::Wire;
use crate::mysql::wire::writing::Parameter;
use crate::plan::TablePlan;
use crate::ranges::RangeId;
use crate::sidecar::range::{Copied, DoneRange, record_done};

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
    pub blocks: Vec<Block>,
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
    /// How long the target took to commit, in milliseconds.
    pub commit_ms: u64,
}

/// Writes until the stream is gone.
///
/// # Errors
/// Retry, `LeaseLost`, or Divergence if rows are on the target that nobody wrote there.
pub async fn run(
    mut target: RowTarget,
    tenure: Tenure,
    queue: Arc<WriteQueue>,
    written: mpsc::Sender<Written>,
) -> Result<()> {
    let mut before = None;
    while let Some(work) = queue.next(before).await {
        before = Some(work.table);
        let mut tries = 1;
        let commit_ms = loop {
            match write(&mut target, tenure, &work).await {
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
        let done = Written { table: work.table, range: work.range, commit_ms };
        if written.send(done).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// One transaction; returns how long its commit took, in milliseconds.
async fn write(target: &mut RowTarget, tenure: Tenure, work: &WriteWork) -> Result<u64> {
    let wire = target.begin().await?;
    if work.copied.rows > 0 {
        let replace = work.plan.key.as_ref().is_some_and(|key| !key.exact());
        let destination = Destination { plan: &work.plan, replace };
        // The blocks stay for another try; what is cloned is a pointer each.
        let affected = write_blocks(wire, &destination, iter(work.blocks.clone())).await?;
        // REPLACE counts a replaced row twice.
        if affected < work.copied.rows {
            return Err(skipped(work, work.copied.rows - affected));
        }
    }
    for statement in &work.over {
        statement.run(wire).await.context("lay the buffered changes over a chunk")?;
    }
    record_done(wire, tenure, work.plan.name(), &work.done, work.copied).await?;
    failpoints::hit(failpoints::CHUNK_BEFORE_COMMIT)?;
    let committing = std::time::Instant::now();
    target.commit().await?;
    let commit_ms = u64::try_from(committing.elapsed().as_millis()).unwrap_or(u64::MAX);
    failpoints::hit(failpoints::CHUNK_AFTER_COMMIT)?;
    Ok(commit_ms)
}

/// Writes blocks as they come, each in its form; returns the rows affected.
///
/// # Errors
/// Divergence for a duplicate key, Stop for a value that the target would change.
pub(super) async fn write_blocks(
    wire: &mut Wire,
    into: &Destination<'_>,
    blocks: impl Stream<Item = Block> + Send,
) -> Result<u64> {
    let parameters = vec![Parameter::Bytes; into.plan.columns.len()];
    let mut blocks = pin!(blocks.peekable());
    let (bulk, load) = (into.bulk(), into.load());
    // Where all notes must be seen, blocks are as large as a statement may be.
    let more_blocks = if into.plan.source.computes() { 0 } else { usize::MAX };
    let mut affected = 0;
    while let Some(Block { form, bytes }) = blocks.next().await {
        let outcome = match form {
            Form::Bulk => wire.execute_bulk(&bulk, &parameters, &bytes).await,
            Form::Insert => wire.execute(&bytes).await,
            Form::Load => {
                let more = lines_of(blocks.as_mut()).take(more_blocks);
                wire.load(&load, pin!(iter([bytes]).chain(more))).await
            }
        };
        affected += check(wire, &into.plan.source, outcome).await?;
    }
    Ok(affected)
}

/// The blocks of lines that come next: one statement takes them all.
fn lines_of<S: Stream<Item = Block> + Send>(
    blocks: Pin<&mut Peekable<S>>,
) -> impl Stream<Item = bytes::Bytes> + Send {
    unfold(blocks, |mut blocks| async {
        let next = blocks.as_mut().next_if(|block: &Block| block.form == Form::Load).await?;
        Some((next.bytes, blocks))
    })
}

/// Returns the rows affected, if all were written as they are: LOCAL turns errors into warnings, and what the target rounds is one.
async fn check(wire: &mut Wire, table: &TableSchema, outcome: Result<Outcome>) -> Result<u64> {
    let strictly = match outcome {
        Ok(outcome) => strict(wire, table, outcome).await,
        error => error,
    };
    let error = match strictly {
        Ok(outcome) => return Ok(outcome.affected),
        Err(error) => error,
    };
    let kind = if error.is_duplicate() { ErrorKind::Divergence } else { error.kind() };
    Err(error.with_kind(kind).context("the target does not take rows as they are"))
}

fn skipped(work: &WriteWork, rows: u64) -> Error {
    Error::new(
        ErrorKind::Divergence,
        format!("{rows} rows of a chunk of {} were on the target already", work.plan.target()),
    )
    .advice("Somebody else writes to the target's tables. Cancel the workflow and create it again.")
}
