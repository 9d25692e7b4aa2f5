//! Hooks: the operator's command, run before and after each step of a switch, for whoever routes clients by other means than shunt's gateway.
//!
//! A step may be done again by whoever takes a switch over, and its hooks with it: a hook is to be idempotent. One that fails before the
//! point of no return ends the switch, which is taken back. After that point nothing un-does a switch: a failure is logged and
//! reported, and the steps go on. What is taken back has a hook behind it only, since nothing may hold up the return.
//!
//! The command gets facts in its environment and nothing else of ours: not even our environment, in which passwords may be.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use super::settle::Case;
use super::sides::Sides;
use crate::error::{Error, Result};
use crate::routing::Side;

/// Variables of our own environment that a command may need.
const KEPT: [&str; 7] = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "USER", "LOGNAME"];

/// A step of a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Reads are led to the other side.
    Reads,
    /// Writes are stopped: gateways hold, the fence is raised.
    Pause,
    /// What is left is applied, and the stream is frozen.
    Freeze,
    /// The point of no return.
    Decide,
    /// The other side is opened to writes.
    Open,
    /// The routing rules are led along.
    Rules,
    /// Gateways let go.
    Release,
    /// The reverse stream is started.
    Back,
    /// Everything is as it was before the switch.
    TakeBack,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reads => "reads",
            Self::Pause => "pause",
            Self::Freeze => "freeze",
            Self::Decide => "decide",
            Self::Open => "open",
            Self::Rules => "rules",
            Self::Release => "release",
            Self::Back => "back",
            Self::TakeBack => "take-back",
        })
    }
}

/// On which side of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// It is about to be done.
    Before,
    /// It is done.
    After,
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "before",
            Self::After => "after",
        })
    }
}

/// What a hook is told of a switch.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Both sides.
    pub sides: &'a Sides,
    /// The side that the traffic goes to.
    pub to: Side,
    /// What is switched, by server type with commas.
    pub tablet_types: &'a str,
    /// The switch's generation; reads have none.
    pub generation: Option<u64>,
    /// It will be taken back in any case.
    pub rehearsal: bool,
}

impl<'a> Facts<'a> {
    /// Those of a switch of the writes.
    pub fn of(case: &Case<'a>) -> Self {
        Self {
            sides: case.sides,
            to: case.plan.closing.other(),
            tablet_types: "primary",
            generation: Some(case.plan.generation),
            rehearsal: case.plan.rehearsal,
        }
    }

    fn variables(&self) -> Vec<(String, String)> {
        let spec = &self.sides.spec;
        let direction = match self.to {
            Side::Target => "forward",
            Side::Source => "back",
        };
        let mut all = vec![
            ("SHUNT_WORKFLOW".to_owned(), spec.name()),
            ("SHUNT_DIRECTION".to_owned(), direction.to_owned()),
            ("SHUNT_TABLES".to_owned(), spec.tables.join(",")),
            ("SHUNT_TABLET_TYPES".to_owned(), self.tablet_types.to_owned()),
            ("SHUNT_REHEARSAL".to_owned(), u8::from(self.rehearsal).to_string()),
        ];
        if let Some(generation) = self.generation {
            all.push(("SHUNT_GENERATION".to_owned(), generation.to_string()));
        }
        for (name, place) in [("SOURCE", &self.sides.source), ("TARGET", &self.sides.target)] {
            all.push((format!("SHUNT_{name}_KEYSPACE"), place.keyspace.clone()));
            all.push((format!("SHUNT_{name}_DATABASE"), place.database.clone()));
            all.push((format!("SHUNT_{name}_ADDRESS"), place.server.address.to_string()));
        }
        all
    }
}

/// The operator's command, and what failed of it.
#[derive(Debug, Default)]
pub struct Hooks {
    /// Program and arguments; empty if there is none.
    command: Vec<String>,
    folder: PathBuf,
    timeout: Duration,
    failures: Mutex<Vec<String>>,
}

impl Hooks {
    /// A command that is run in `folder`, where a program with a slash in its name is looked for too, and killed after `timeout`.
    pub fn new(command: Vec<String>, folder: &Path, timeout: Duration) -> Self {
        let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        Self { command, folder: here.to_owned(), timeout, failures: Mutex::default() }
    }

    /// Whether there is a command.
    pub fn is_set(&self) -> bool {
        !self.command.is_empty()
    }

    /// What failed after the point of no return.
    pub fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs the command at a step that may still be given up; within `limit` if that is shorter than its own bound.
    ///
    /// # Errors
    /// Stop if it fails, Retry if it takes too long.
    pub async fn must(
        &self,
        (step, when): (Step, When),
        facts: &Facts<'_>,
        limit: Duration,
    ) -> Result<()> {
        let Some((program, arguments)) = self.command.split_first() else { return Ok(()) };
        let limit = limit.min(self.timeout);
        let mut command = Command::new(self.program(program));
        let kept = KEPT.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env_clear()
            .envs(kept)
            .envs(facts.variables())
            .env("SHUNT_STEP", step.to_string())
            .env("SHUNT_WHEN", when.to_string())
            .stdin(Stdio::null())
            // Results are on our stdout.
            .stdout(Stdio::from(std::io::stderr()))
            // Whatever it starts is ended with it.
            .process_group(0)
            .kill_on_drop(true);
        let context = format!("the hook {when} {step}");
        let named = |error: std::io::Error| {
            Error::stop(format!("{context} cannot be run: {program}")).source(error)
        };
        let mut child = command.spawn().map_err(named)?;
        match tokio::time::timeout(limit, child.wait()).await {
            Ok(ended) => {
                let status = ended.map_err(named)?;
                if status.success() {
                    return Ok(());
                }
                Err(Error::stop(format!("{context} failed: {status}")))
            }
            Err(_) => {
                kill_all_of(&child);
                child.kill().await.map_err(named)?;
                Err(Error::retry(format!("{context} did not end within {limit:?}")))
            }
        }
    }

    /// Runs the command at a step that nothing un-does: a failure is logged and kept for the report.
    pub async fn tell(&self, at: (Step, When), facts: &Facts<'_>) {
        if let Err(error) = self.must(at, facts, self.timeout).await {
            tracing::error!(workflow = %facts.sides.spec.name(), "{error}; the switch goes on");
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            failures.push(error.to_string());
        }
    }

    fn program(&self, name: &str) -> PathBuf {
        if name.contains('/') {
            let path = self.folder.join(name);
            return std::path::absolute(&path).unwrap_or(path);
        }
        PathBuf::from(name)
    }
}

/// Ends a command and what it has started and not detached.
fn kill_all_of(child: &Child) {
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(group) = id
        && let Err(error) = kill_process_group(group, Signal::KILL)
    {
        tracing::warn!("what the hook has started may go on: {error}");
    }
}
