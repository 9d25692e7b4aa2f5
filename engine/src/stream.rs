//! The one owner of a stream: ties together reading the binlog, copying ranges and applying groups.
//!
//! [`run`] keeps a stream going under a lease until it is stopped, taken over, or needs the operator. It works in
//! *attempts*. An attempt takes the lease under a new epoch, reads the state from the sidecar, connects everything, and then
//! is one task ([`owner`]) that handles one event, or one crowd of small transactions, at a time; everything else is a lane with one connection, reached by bounded channels.
//! Whatever fails ends the attempt: its tasks are dropped, and the next one starts from the sidecar as after a crash. So there is one way
//! to recover, and it is used all the time.

pub mod applier;
mod copying;
mod ddl;
pub mod freeze;
mod groups;
pub mod owner;
mod phases;
pub mod queue;
pub mod setup;
pub mod table;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::apply::target::{Target, Tenure};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::failpoints;
use crate::limits;
use crate::mysql::control::{Control, Session};
use crate::mysql::server::ServerConfig;
use crate::runtime::tasks;
use crate::sidecar::lease::{self, Owner};
use crate::sidecar::{self, workflow::WorkflowRow};
use crate::workflow::state::StreamState;

/// Everything that a stream needs to know to run.
#[derive(Clone, Debug)]
pub struct StreamConfig {
    /// The server that snapshots and binlog are read from.
    pub source: ServerConfig,
    /// Replicas of both sides, whose lag slows the copy.
    pub replicas: Vec<ServerConfig>,
    /// The server that is written to.
    pub target: ServerConfig,
    /// The stream's id in the sidecar.
    pub stream: u64,
    /// The workflow's name.
    pub workflow: String,
}

/// How a stream ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The operator stopped it, or it was to stop after the copy.
    Stopped,
    /// This process is to end; the stream may go on elsewhere.
    Cancelled,
    /// Another process has the stream.
    Elsewhere,
    /// It starts over with new definitions, after DDL.
    Again,
    /// A cutover has frozen it.
    Frozen,
}

/// Runs a stream until it is stopped, taken over or in need of the operator.
///
/// # Errors
/// Stop or Divergence, which are also saved as the stream's state.
pub async fn run(config: StreamConfig, cancel: CancellationToken) -> Result<Ended> {
    let (_nobody_asks, freeze) = freeze::request();
    run_as(config, Owner::new(), freeze, cancel).await
}

/// The same under an owner's name that may hold the lease already, until it is asked to freeze.
///
/// # Errors
/// As [`run`].
pub async fn run_as(
    config: StreamConfig,
    owner: Owner,
    freeze: freeze::Wanted,
    cancel: CancellationToken,
) -> Result<Ended> {
    let mut pause = limits::RETRY_FIRST;
    loop {
        let started = std::time::Instant::now();
        let error = match attempt(&config, &owner, &freeze, &cancel).await {
            Ok(Ended::Again) => continue,
            Ok(ended) => return Ok(ended),
            Err(error) => error,
        };
        match error.kind() {
            ErrorKind::LeaseLost => {
                tracing::warn!(workflow = %config.workflow, "{error}");
                return Ok(Ended::Elsewhere);
            }
            ErrorKind::Retry | ErrorKind::Ambiguous => {
                tracing::warn!(workflow = %config.workflow, "{error}; trying again");
                if started.elapsed() > Duration::from_secs(30) {
                    pause = limits::RETRY_FIRST;
                }
                if !tasks::pause(pause, &cancel).await {
                    return Ok(Ended::Cancelled);
                }
                pause = (pause * 2).min(limits::RETRY_LAST);
            }
            ErrorKind::Stop | ErrorKind::Divergence | ErrorKind::Usage => {
                save_error(&config, &owner, &error).await;
                return Err(error);
            }
        }
    }
}

/// One attempt: from the lease to the first failure.
async fn attempt(
    config: &StreamConfig,
    owner: &Owner,
    freeze: &freeze::Wanted,
    cancel: &CancellationToken,
) -> Result<Ended> {
    let mut control = Control::connect(&config.target, Session::Control).await?;
    let Some(tenure) = lease::take(&mut control, config.stream, owner).await? else {
        return Ok(Ended::Elsewhere);
    };
    let stream = sidecar::stream::read_settled(&mut control, config.stream).await?;
    if !stream.state.may_run() {
        lease::release(&mut control, tenure, owner).await?;
        return Ok(Ended::Stopped);
    }
    let workflow = workflow_of(&mut control, &config.workflow).await?;
    let attempt_cancelled = cancel.child_token();
    let _ends_lanes = attempt_cancelled.clone().drop_guard();
    let beginning =
        setup::Beginning { config, workflow: &workflow, stream: &stream, tenure, owner, freeze };
    let connected = Box::pin(setup::connect(&beginning, control, attempt_cancelled.clone()));
    let mut owned = tokio::select! {
        biased;
        owned = connected => owned?,
        lost = keep(config, tenure, owner) => return Err(lost),
    };
    let ended = owned.work(cancel).await?;
    attempt_cancelled.cancel();
    let (mut steward, control) = owned.end().await;
    if ended == Ended::Stopped {
        change_state(&mut steward, tenure, StreamState::Stopped, "").await?;
    }
    lease::release(&mut control?, tenure, owner).await?;
    Ok(ended)
}

/// Prolongs the lease until it is lost, over a connection of its own. To set up takes longer than a lease where there are many tables, or
/// servers far away; two workers would take the stream from each other for ever.
async fn keep(config: &StreamConfig, tenure: Tenure, owner: &Owner) -> Error {
    let started = std::time::Instant::now();
    let kept = async {
        let mut control = Control::connect(&config.target, Session::Control).await?;
        while started.elapsed() < limits::SETUP_MAX {
            lease::prolong(&mut control, tenure, owner).await?;
            tokio::time::sleep(limits::LEASE_RENEW).await;
        }
        Err(Error::retry("the stream could not be set up in time: a server does not answer"))
    };
    let kept: Result<std::convert::Infallible> = kept.await;
    match kept {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

async fn workflow_of(control: &mut Control, name: &str) -> Result<WorkflowRow> {
    sidecar::workflow::find(control, name)
        .await?
        .ok_or_else(|| Error::stop(format!("workflow {name} is not in the sidecar any more")))
}

/// Writes the stream's state under its epoch.
pub(crate) async fn change_state(
    target: &mut Target,
    tenure: Tenure,
    state: StreamState,
    message: &str,
) -> Result<()> {
    let control = target.begin().await?;
    sidecar::stream::set_state(control, tenure.stream, state, message).await?;
    failpoints::hit(failpoints::STATE_BEFORE_WRITE)?;
    target.commit().await.context("save the stream's state")?;
    failpoints::hit(failpoints::STATE_AFTER_WRITE)
}

/// Saves the error as the stream's state, under a new epoch. If that cannot be done the error is still reported.
async fn save_error(config: &StreamConfig, owner: &Owner, error: &Error) {
    let saved = async {
        let mut control = Control::connect(&config.target, Session::Control).await?;
        let Some(tenure) = lease::take(&mut control, config.stream, owner).await? else {
            return Ok(());
        };
        let mut target = Target::connect(&config.target, tenure).await?;
        change_state(&mut target, tenure, StreamState::Error, &error.to_string()).await?;
        lease::release(&mut control, tenure, owner).await
    };
    if let Err(unsaved) = saved.await {
        tracing::error!(workflow = %config.workflow, "the error could not be saved: {unsaved}");
    }
}
