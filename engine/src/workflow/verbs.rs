//! Start, stop, wait: what operators do to a workflow.

use std::time::{Duration, Instant};

use super::status::{self, WorkflowStatus};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::limits;
use crate::mysql::control::{Control, Session};
use crate::mysql::gtid::GtidSet;
use crate::mysql::server::ServerConfig;
use crate::mysql::snapshot::{current_gtids, newest_gtids};
use crate::mysql::wire::Wire;
use crate::sidecar::lease::{self, Owner};
use crate::sidecar::wanted::Wanted;
use crate::sidecar::{stream, workflow};
use crate::workflow::state::StreamState;

/// How often a verb looks whether a lease is free.
const LOOK: Duration = Duration::from_millis(100);
/// The shortest and the longest pause between two looks how far a workflow has come.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// Lets the workflow run; a worker picks it up.
///
/// # Errors
/// Usage if there is no such workflow.
pub async fn start(target: &mut Control, name: &str) -> Result<()> {
    let status = status::read(target, name).await?;
    workflow::set_wanted(target, status.workflow.id, Wanted::Run).await?;
    workflow::journal(target, name, "started", "").await
}

/// Stops the workflow and waits until its streams have stopped.
///
/// # Errors
/// Retry if they do not.
pub async fn stop(target: &mut Control, name: &str) -> Result<()> {
    let status = status::read(target, name).await?;
    workflow::set_wanted(target, status.workflow.id, Wanted::Stop).await?;
    workflow::journal(target, name, "stopped", "").await?;
    for stream in &status.streams {
        settle_stopped(target, stream.row.id).await?;
    }
    Ok(())
}

/// Waits until the stream's worker has stopped it. Where no worker is left, stops it here, under the lease.
async fn settle_stopped(target: &mut Control, id: u64) -> Result<()> {
    let owner = Owner::new();
    let tenure = own(target, id, &owner).await?;
    target.begin().await?;
    let row = stream::read_settled(target, id).await;
    let row = target.end(row).await?;
    if row.state.may_run() {
        stream::set_state(target, id, StreamState::Stopped, "").await?;
    }
    lease::release(target, tenure, &owner).await
}

/// Takes a stream's lease as soon as it is free.
pub(super) async fn own(
    target: &mut Control,
    id: u64,
    owner: &Owner,
) -> Result<crate::apply::target::Tenure> {
    let started = Instant::now();
    loop {
        if let Some(tenure) = lease::take(target, id, owner).await? {
            return Ok(tenure);
        }
        if started.elapsed() > 4 * limits::LEASE_TTL {
            return Err(Error::retry("the worker that runs the stream does not release it").advice(
                "Look for a shunt process, perhaps on another machine, that still runs this workflow and holds its lease.",
            ));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitFor {
    /// Every range is copied.
    Copied,
    /// The target equals the source at the stream's position.
    Running,
    /// What the source had committed when the wait began is applied.
    CaughtUp,
}

/// Waits.
///
/// # Errors
/// Stop if the stream is in an error or stopped; Retry if the time is over.
pub async fn wait(
    target: &mut Control,
    source: &ServerConfig,
    name: &str,
    wanted: WaitFor,
    timeout: Duration,
) -> Result<()> {
    let started = Instant::now();
    let mut warned = false;
    let goal = match wanted {
        WaitFor::CaughtUp => Some(goal(target, source, name).await?),
        WaitFor::Copied | WaitFor::Running => None,
    };
    loop {
        let status = status::read(target, name).await?;
        if reached(&status, wanted, goal.as_ref())? {
            return Ok(());
        }
        let is_run = status.streams.iter().any(|stream| stream.owned);
        if started.elapsed() > timeout {
            let (s, state) = (timeout.as_secs(), status.state());
            let error = Error::retry(format!("{name} is not there after {s} s: it is {state}"));
            return Err(if is_run { error } else { error.advice(NOBODY) });
        }
        if !is_run && !warned && started.elapsed() > NOBODY_AFTER {
            tracing::warn!("{name} is {}. {NOBODY}", status.state());
            warned = true;
        }
        tokio::time::sleep(pause(started.elapsed())).await;
    }
}

const NOBODY: &str = "Nobody runs it: start a `shunt serve` that looks after its target.";
/// A worker that is restarted takes its streams up again within this time.
const NOBODY_AFTER: Duration = Duration::from_secs(10);

/// How long nobody looks: what is waited for is known a hundredth of the time late, within bounds.
fn pause(waited: Duration) -> Duration {
    (waited / 100).clamp(PAUSE_MIN, PAUSE_MAX)
}

/// Where the source is now. A source that forgot its binlog is nowhere, and would be reached at once: it must be at least where the
/// streams were before.
async fn goal(target: &mut Control, source: &ServerConfig, name: &str) -> Result<GtidSet> {
    let before = status::read(target, name).await?;
    let mut wire = Wire::connect(source).await?;
    let newest = newest_gtids(&mut wire).await.context("read the source's position")?;
    for stream in &before.streams {
        let applied = stream.row.position(newest.flavor())?;
        if applied.is_some_and(|applied| !newest.contains_set(&applied.gtids)) {
            return Err(Error::stop("the source lacks transactions that were applied from it")
                .advice(
                    "Was its binlog reset, or was it restored? Look at `shunt workflow show`.",
                ));
        }
    }
    current_gtids(&mut wire).await
}

fn reached(status: &WorkflowStatus, wanted: WaitFor, goal: Option<&GtidSet>) -> Result<bool> {
    for stream in &status.streams {
        let state = stream.row.state;
        let copied = stream.tables.iter().all(|table| table.done);
        let there = match (wanted, goal) {
            (WaitFor::Copied, _) => copied,
            (WaitFor::CaughtUp, Some(goal)) => {
                let position = stream.row.position(goal.flavor())?;
                copied
                    && state == StreamState::Running
                    && position.is_some_and(|position| position.gtids.contains_set(goal))
            }
            (WaitFor::Running | WaitFor::CaughtUp, _) => state == StreamState::Running,
        };
        if there {
            continue;
        }
        if !state.may_run() {
            return Err(Error::new(
                ErrorKind::Stop,
                format!("the stream is in state {state}: {}", stream.row.message),
            ));
        }
        return Ok(false);
    }
    Ok(true)
}

/// A control connection to a workflow's target.
///
/// # Errors
/// As [`Control::connect`].
pub async fn connect(target: &ServerConfig) -> Result<Control> {
    Control::connect(target, Session::Control).await
}
