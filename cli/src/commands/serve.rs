//! `shunt serve`: runs every stream and every VDiff that is wanted, that may run, and that nobody else runs.
//!
//! One task looks after each keyspace, and one runs each stream. The lease in the sidecar decides who has a stream, so
//! more than one serve may look after the same keyspaces. A server that cannot be reached is asked again, for ever. With
//! `[gateway]` in the configuration the gateway runs beside.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::future::{try_join, try_join_all};
use shunt_engine::Result;
use shunt_engine::cutover::leak::guard;
use shunt_engine::cutover::sides::Plan;
use shunt_engine::mysql::control::Control;
use shunt_engine::runtime::tasks::{self, Task};
use shunt_engine::sidecar::wanted::Wanted;
use shunt_engine::sidecar::workflow::WorkflowRow;
use shunt_engine::sidecar::{self, lease, switch, watch};
use shunt_engine::stream::{self, Ended};
use shunt_engine::workflow::state::StreamState;
use shunt_engine::workflow::verbs;
use shunt_vdiff::table::Progress;
use shunt_vdiff::workflow::Work;
use tokio_util::sync::CancellationToken;

use super::movetables::site;
use super::movetables::traffic::sides;
use super::settler::{self, Complaint};
use super::signals::Signals;
use crate::config::{Config, Keyspace, Server};
use crate::exit::Exit;
use crate::output;

/// How long a stream is left alone after an error: one that could not be saved would come again at once.
const AFTER_ERROR: Duration = Duration::from_millis(500);

/// How long a VDiff is left alone that has lost a server.
const VDIFF_AGAIN: Duration = Duration::from_secs(10);

/// How long a stream is left alone whose servers are not in the configuration, and how often that is said.
const UNKNOWN_SERVERS: Duration = Duration::from_secs(30);

pub(super) async fn run(config: &Config) -> anyhow::Result<Exit> {
    let signals = Signals::catch()?;
    let names: Vec<&str> = config.keyspaces.iter().map(|k| k.name.as_str()).collect();
    let looking: Vec<Task<()>> = config
        .keyspaces
        .iter()
        .map(|keyspace| {
            let served = Served {
                config: config.clone(),
                keyspace: keyspace.clone(),
                cancel: signals.token.clone(),
                control: None,
                running: HashMap::new(),
                vdiffs: HashMap::new(),
                guards: HashMap::new(),
                left_alone: HashMap::new(),
                unknown: HashMap::new(),
                hidden: false,
                complaint: Complaint::of(keyspace),
            };
            tasks::spawn("keyspace", served.run())
        })
        .collect();
    output::print(&format!("Serving {}.\n", names.join(", ")))?;
    if config.gateway.is_some() {
        // An error of it ends the process: clients would wait for nothing.
        let routing = super::gateway::serve(config, signals.token.clone());
        let streams = try_join_all(looking.into_iter().map(Task::join));
        try_join(Box::pin(routing), streams).await?;
        return Ok(Exit::Done);
    }
    if looking.is_empty() {
        signals.token.cancelled().await;
    }
    try_join_all(looking.into_iter().map(Task::join)).await?;
    Ok(Exit::Done)
}

/// A stream that runs here.
struct Running {
    workflow: String,
    task: Task<Ended>,
}

/// A keyspace that is looked after.
struct Served {
    config: Config,
    keyspace: Keyspace,
    cancel: CancellationToken,
    control: Option<Control>,
    running: HashMap<u64, Running>,
    /// VDiffs that run here, by their id.
    vdiffs: HashMap<u64, Task<Option<shunt_vdiff::table::Ended>>>,
    /// The watches over closed sides that run here, by the workflow into the side.
    guards: HashMap<String, Task<guard::Ended>>,
    /// Until when a stream is not touched.
    left_alone: HashMap<u64, Instant>,
    /// It was said that the account may not see what is to be served.
    hidden: bool,
    /// When it was last said of a workflow that its servers are not in the configuration.
    unknown: HashMap<String, Instant>,
    complaint: Complaint,
}

impl Served {
    async fn run(mut self) -> Result<()> {
        let (cancel, poll) = (self.cancel.clone(), self.config.serve.poll());
        loop {
            self.reap().await;
            tokio::select! {
                biased;
                // The look is dropped with its connection, which nobody uses any more.
                () = cancel.cancelled() => break,
                looked = self.look() => self.complaint.about(looked),
            }
            if !tasks::pause(poll, &cancel).await {
                break;
            }
        }
        self.control = None;
        for (id, task) in self.vdiffs.drain() {
            if let Err(error) = task.join().await {
                tracing::error!(id, "a VDiff failed: {error}");
            }
        }
        for (workflow, task) in self.guards.drain() {
            guarded(&workflow, &task.join().await);
        }
        for (_, stream) in self.running.drain() {
            ended(&stream.workflow, &stream.task.join().await);
        }
        Ok(())
    }

    /// Starts what is wanted and free. After an error the connection is not used again.
    async fn look(&mut self) -> Result<()> {
        let mut control = match self.control.take() {
            Some(control) => control,
            None => verbs::connect(&self.keyspace.primary()?.connection()?).await?,
        };
        let there = match sidecar::exists(&mut control).await {
            Err(error) if error.is_denied() => {
                if !std::mem::replace(&mut self.hidden, true) {
                    tracing::warn!(keyspace = %self.keyspace.name, "the account may not read `_shunt` there: as it should be of a source before its first switch; workflows into it cannot be served");
                }
                false
            }
            other => {
                self.hidden = false;
                other?
            }
        };
        if there {
            settler::settle(&self.config, &mut control).await?;
            for workflow in sidecar::workflow::list(&mut control, &self.keyspace.name).await? {
                if workflow.wanted == Wanted::Run {
                    self.look_at(&mut control, &workflow).await?;
                }
            }
            self.look_at_closed_sides(&mut control).await?;
            self.look_at_vdiffs(&mut control).await?;
        }
        self.control = Some(control);
        Ok(())
    }

    async fn look_at(&mut self, control: &mut Control, workflow: &WorkflowRow) -> Result<()> {
        for stream in sidecar::stream::of_workflow(control, workflow.id).await? {
            if !stream.state.may_run() {
                // Its error is saved; when it is started again, it need not wait.
                self.left_alone.remove(&stream.id);
                continue;
            }
            let left = self.left_alone.get(&stream.id);
            let waits = left.is_some_and(|&until| Instant::now() < until);
            if waits || self.running.contains_key(&stream.id) {
                continue;
            }
            let (owned, _) = lease::read(control, stream.id).await?;
            if !owned {
                self.start(workflow, stream.id);
            }
        }
        Ok(())
    }

    /// Starts VDiffs of this keyspace's workflows; the lease decides who runs one.
    async fn look_at_vdiffs(&mut self, control: &mut Control) -> Result<()> {
        for row in sidecar::vdiff::waiting(control).await? {
            let ours = row.workflow.split_once('.').is_some_and(|(k, _)| k == self.keyspace.name);
            if !ours || self.vdiffs.contains_key(&row.id) {
                continue;
            }
            let Some(workflow) = sidecar::workflow::find(control, &row.workflow).await? else {
                continue;
            };
            let streams = sidecar::stream::of_workflow(control, workflow.id).await?;
            if streams.iter().any(|stream| stream.state != StreamState::Running) {
                continue;
            }
            let source = site::source_server(&self.config, &workflow.spec);
            let source = source.and_then(Server::connection);
            let Some(source) = self.known(&row.workflow, source) else { continue };
            let target = self.keyspace.primary()?.connection()?;
            let (id, cancel) = (row.id, self.cancel.clone());
            tracing::info!(workflow = %row.workflow, vdiff = %row.uuid, "comparing");
            let work = Work { source, target, row };
            let (progress, _) = tokio::sync::watch::channel(Progress::default());
            let run = async move {
                let ended = shunt_vdiff::workflow::execute(&work, &progress, &cancel).await;
                let Some(error) = ended.as_ref().err().filter(|error| work.waits_after(error))
                else {
                    return ended;
                };
                tracing::warn!(workflow = %work.row.workflow, "a VDiff waits: {error}");
                tasks::pause(VDIFF_AGAIN, &cancel).await;
                Ok(None)
            };
            self.vdiffs.insert(id, tasks::spawn("vdiff", Box::pin(run)));
        }
        Ok(())
    }

    /// Watches the sides in this keyspace that were switched from, unless somebody does; the lease decides who.
    async fn look_at_closed_sides(&mut self, control: &mut Control) -> Result<()> {
        for watch in watch::of_closed(control).await? {
            let name = watch.workflow;
            let ours = name.split_once('.').is_some_and(|(k, _)| k == self.keyspace.name);
            if !ours || watch.owned || self.guards.contains_key(&name) {
                continue;
            }
            let Some(row) = switch::read(control, &name).await? else { continue };
            let sides = Plan::parse(&row.plan).and_then(|plan| sides(&self.config, plan.spec));
            let Some(sides) = self.known(&name, sides) else { continue };
            let side = if sides.target.incoming == name { sides.target } else { sides.source };
            tracing::info!(workflow = %name, "watching the closed side for writes");
            let run = Box::pin(guard::run(side, self.cancel.clone()));
            self.guards.insert(name, tasks::spawn("leak guard", run));
        }
        Ok(())
    }

    /// What the configuration says of a workflow. If it says nothing that can be used, that keeps nothing else from being looked after;
    /// it is said from time to time.
    fn known<T>(&mut self, workflow: &str, said: Result<T>) -> Option<T> {
        let error = match said {
            Ok(said) => return Some(said),
            Err(error) => error,
        };
        let said_at = self.unknown.get(workflow);
        if said_at.is_none_or(|at| at.elapsed() > UNKNOWN_SERVERS) {
            tracing::error!(%workflow, "cannot be looked after: {error}");
            self.unknown.insert(workflow.to_owned(), Instant::now());
        }
        None
    }

    fn start(&mut self, workflow: &WorkflowRow, id: u64) {
        let name = workflow.spec.name();
        match site::stream(&self.config, &self.keyspace, &workflow.spec, id) {
            Ok(config) => {
                tracing::info!(workflow = %name, stream = id, "running");
                let run = Box::pin(stream::run(config, self.cancel.clone()));
                let running = Running { workflow: name, task: tasks::spawn("stream", run) };
                self.running.insert(id, running);
            }
            Err(error) => {
                tracing::error!(workflow = %name, stream = id, "cannot be run: {error}");
                self.left_alone.insert(id, Instant::now() + UNKNOWN_SERVERS);
            }
        }
    }

    /// Forgets the streams and VDiffs that have ended.
    async fn reap(&mut self) {
        let ended_vdiffs: Vec<u64> =
            self.vdiffs.iter().filter(|(_, task)| task.is_finished()).map(|(&id, _)| id).collect();
        for id in ended_vdiffs {
            let Some(task) = self.vdiffs.remove(&id) else { continue };
            match task.join().await {
                Ok(how) => tracing::info!(id, ?how, "a VDiff ended"),
                Err(error) => tracing::error!(id, "a VDiff failed: {error}"),
            }
        }
        let ended_guards: Vec<String> =
            self.guards.iter().filter(|(_, t)| t.is_finished()).map(|(n, _)| n.clone()).collect();
        for name in ended_guards {
            let Some(task) = self.guards.remove(&name) else { continue };
            guarded(&name, &task.join().await);
        }
        let finished: Vec<u64> = self
            .running
            .iter()
            .filter(|(_, stream)| stream.task.is_finished())
            .map(|(&id, _)| id)
            .collect();
        for id in finished {
            let Some(stream) = self.running.remove(&id) else { continue };
            let result = stream.task.join().await;
            if result.is_err() {
                self.left_alone.insert(id, Instant::now() + AFTER_ERROR);
            }
            ended(&stream.workflow, &result);
        }
    }
}

fn guarded(workflow: &str, result: &Result<guard::Ended>) {
    match result {
        Ok(how) => tracing::info!(%workflow, ?how, "the watch over the closed side ended"),
        Err(error) => tracing::warn!(%workflow, "the closed side is not watched: {error}"),
    }
}

fn ended(workflow: &str, result: &Result<Ended>) {
    match result {
        Ok(how) => tracing::info!(%workflow, ?how, "ended"),
        Err(error) => tracing::error!(%workflow, "the stream stopped: {error}"),
    }
}
