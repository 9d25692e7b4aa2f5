//! The lane that copies a table without a key: one snapshot, one transaction on the target, both at once.
//!
//! Rows flow from the snapshot into the target's open transaction without being held, so the snapshot stays open as long as the
//! target takes; preflight says so and bounds the table's size. When all rows are read the stream is told which position
//! they are exactly at; it answers with the events to lay over them (see `ranges::keyless`), and everything commits
//! together.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::unfold;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::encode::{Block, Carrier, Destination, Encoder};
use super::writer::write_blocks;
use crate::apply::group::Statement;
use crate::apply::target::{RowTarget, Tenure};
use crate::error::{Error, Result, ResultExt};
use crate::limits;
use crate::mysql::gtid::GtidSet;
use crate::mysql::server::ServerConfig;
use crate::mysql::snapshot::{ReadPosition, Snapshot, until_visible};
use crate::mysql::sql;
use crate::mysql::wire::Wire;
use crate::plan::TablePlan;
use crate::ranges::Bounds;
use crate::runtime::tasks;
use crate::sidecar::range::{Copied, DoneRange, record_done};
use crate::throttle::Throttle;

/// All rows of the table are on the target, uncommitted.
#[derive(Debug)]
pub struct Read {
    /// What the rows are exactly at.
    pub exact: GtidSet,
    /// Takes what is to be laid over them; dropped if the copy is to start again.
    pub answer: oneshot::Sender<Close>,
}

/// How a copy is finished.
#[derive(Debug)]
pub struct Close {
    /// Events that the rows lack.
    pub over: Vec<Statement>,
    /// The position that rows and events together are at.
    pub settled: GtidSet,
}

/// What the lane says to the stream.
#[derive(Debug)]
pub enum FromKeyless {
    /// It is ready to begin.
    Want(usize, oneshot::Sender<ReadPosition>),
    /// It has read everything.
    Read(usize, Read),
    /// The table has committed.
    Written(usize),
}

/// A lane of one table.
#[derive(Debug)]
pub struct Lane {
    /// Index of the table.
    pub table: usize,
    /// Its plan.
    pub plan: Arc<TablePlan>,
    /// The source.
    pub source: ServerConfig,
    /// Who the source must be.
    pub identity: String,
    /// Where rows go.
    pub target: RowTarget,
    /// The stream's ownership.
    pub tenure: Tenure,
    /// How rows travel.
    pub carrier: Carrier,
    /// When reading may begin.
    pub throttle: Throttle,
    /// The stream.
    pub stream: mpsc::Sender<FromKeyless>,
}

/// What came of one try.
enum Tried {
    /// The table is written.
    Written,
    /// Rows were read, and more was changed meanwhile than is kept.
    Read,
    /// The server does not tell what exactly the snapshot holds.
    NotExact,
}

impl Lane {
    /// Copies the table, starting again where it must.
    ///
    /// # Errors
    /// Stop if no exact snapshot can be had; otherwise of the servers.
    pub async fn run(mut self, cancel: CancellationToken) -> Result<()> {
        let [pause_first, pause_max] = limits::KEYLESS_EXACT_PAUSE;
        let (mut pause, mut paused) = (pause_first, Duration::ZERO);
        let mut again = 0;
        while again < limits::KEYLESS_REOPENINGS_MAX {
            if !self.throttle.wait(&cancel).await {
                return Ok(());
            }
            let (answer, begin) = oneshot::channel();
            if self.stream.send(FromKeyless::Want(self.table, answer)).await.is_err() {
                return Ok(());
            }
            let Ok(position) = begin.await else { return Ok(()) };
            match self.copy(&position).await? {
                Tried::Written => {
                    let written = FromKeyless::Written(self.table);
                    // A stream that is gone needs no telling.
                    drop(self.stream.send(written).await);
                    return Ok(());
                }
                Tried::Read => {
                    again += 1;
                    (pause, paused) = (pause_first, Duration::ZERO);
                }
                Tried::NotExact if paused >= limits::KEYLESS_EXACT_WAIT_MAX => {
                    return Err(self.never_rests());
                }
                Tried::NotExact if !tasks::pause(pause, &cancel).await => return Ok(()),
                Tried::NotExact => {
                    paused += pause;
                    pause = (pause * 2).min(pause_max);
                }
            }
            self.target.rollback().await?;
        }
        Err(Error::stop(format!(
            "table {} has no key and is written too much to be copied",
            sql::ident(self.plan.name())
        ))
        .advice("Give it a primary key, or copy it while little is written."))
    }

    fn never_rests(&self) -> Error {
        Error::stop(format!(
            "table {} has no key, and the source commits all the time, so that it does not tell what exactly a snapshot holds",
            sql::ident(self.plan.name())
        ))
        .advice("Give it a primary key, or copy it while for a moment nothing is committed there.")
    }

    async fn copy(&mut self, position: &ReadPosition) -> Result<Tried> {
        let mut wire = Wire::connect(&self.source).await?;
        if wire.info().identity != self.identity {
            return Err(Error::retry("the source is another server than before"));
        }
        // So that it can be told what exactly the snapshot holds.
        until_visible(&mut wire, limits::BRACKET_WAIT_MAX).await?;
        let mut snapshot = Snapshot::open(&mut wire, position).await?;
        let Some(exact) = snapshot.exact_position().await? else { return Ok(Tried::NotExact) };
        let copied = self.copy_rows(snapshot.wire).await?;
        snapshot.end().await?;
        let (answer, close) = oneshot::channel();
        let read = Read { exact, answer };
        if self.stream.send(FromKeyless::Read(self.table, read)).await.is_err() {
            return Ok(Tried::Read);
        }
        let Ok(close) = close.await else { return Ok(Tried::Read) };
        let control = self.target.control();
        for statement in &close.over {
            statement
                .run(control)
                .await
                .context("lay the kept changes over a table without a key")?;
        }
        let whole = Bounds { lower: None, upper: None };
        let done = DoneRange { bounds: whole, settled: close.settled };
        record_done(control, self.tenure, self.plan.name(), &done, copied).await?;
        self.target.commit().await?;
        Ok(Tried::Written)
    }

    /// Reads and writes at once, with a few blocks between.
    async fn copy_rows(&mut self, wire: &mut Wire) -> Result<Copied> {
        let (sender, blocks) = mpsc::channel::<Block>(8);
        let encoder = || Encoder::new(self.carrier, &self.plan, false, Vec::new());
        let query = self.plan.whole_query();
        let mut encoder = encoder();
        let reading = async {
            wire.start_rows(&query).await.context("read a table without a key")?;
            while let Some(row) = wire.next_row().await.context("read a table without a key")? {
                encoder.push(row)?;
                for block in encoder.ready() {
                    // If the writer is gone its own error is the one to report.
                    drop(sender.send(block).await);
                }
            }
            let copied = Copied {
                rows: encoder.rows(),
                bytes: u64::try_from(encoder.bytes()).unwrap_or(u64::MAX),
            };
            for block in encoder.finish() {
                drop(sender.send(block).await);
            }
            drop(sender);
            Ok(copied)
        };
        let wire = self.target.begin().await?;
        let destination = Destination { plan: &self.plan, replace: false };
        let blocks =
            unfold(blocks, |mut blocks| async { blocks.recv().await.map(|block| (block, blocks)) });
        let writing = write_blocks(wire, &destination, blocks);
        let (copied, affected) = tokio::try_join!(reading, writing)?;
        if affected != copied.rows {
            return Err(Error::stop(format!(
                "the target took {affected} of {} rows of {}",
                copied.rows,
                self.plan.target()
            )));
        }
        Ok(copied)
    }
}
