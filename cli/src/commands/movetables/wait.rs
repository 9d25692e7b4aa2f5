//! `shunt movetables wait`: returns when the workflow has come so far, with an error when it never will.

use std::time::{Duration, Instant};

use shunt_engine::mysql::control::Control;
use shunt_engine::runtime::tasks;
use shunt_engine::workflow::state::StreamState;
use shunt_engine::workflow::{status, verbs};
use shunt_engine::{Error, ErrorKind, Result};
use tokio_util::sync::CancellationToken;

use super::site::{Site, source_server};
use crate::args::workflow::{Until, Wait};
use crate::config::Config;
use crate::exit::Exit;
use crate::output;

/// How long a server is left alone that could not be reached.
const PAUSE: Duration = Duration::from_millis(250);

pub(in crate::commands) async fn run(args: &Wait, config: &Config) -> anyhow::Result<Exit> {
    let site = Site::new(config, &args.workflow)?;
    let (started, never) = (Instant::now(), CancellationToken::new());
    loop {
        let left = args.timeout.saturating_sub(started.elapsed());
        match wait(&site, args.until, left).await {
            Ok(()) => break,
            // A server that restarts is waited for as well. What the source has committed is asked again then; it can
            // only be more.
            Err(error) if error.kind() == ErrorKind::Retry && started.elapsed() < args.timeout => {
                tracing::info!("{error}; trying again");
                tasks::pause(PAUSE, &never).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    let what = match args.until {
        Until::Copied => "is copied",
        Until::Running => "is running",
        Until::CaughtUp => "has caught up",
    };
    output::print(&format!("Workflow {} {what}.\n", site.name))?;
    Ok(Exit::Done)
}

async fn wait(site: &Site<'_>, until: Until, left: Duration) -> Result<()> {
    let name = site.name.to_string();
    let mut control = site.control().await?;
    let spec = status::read(&mut control, &name).await?.workflow.spec;
    let source = source_server(site.config, &spec)?.connection()?;
    let waited = verbs::wait(&mut control, &source, &name, until.into(), left).await;
    match waited {
        Err(error) if error.kind() == ErrorKind::Stop => {
            Err(never(&mut control, &name, error).await)
        }
        other => other,
    }
}

/// Why a workflow will not come as far as is waited for, in its own words.
async fn never(control: &mut Control, name: &str, error: Error) -> Error {
    let Ok(status) = status::read(control, name).await else { return error };
    let ended = status.streams.iter().find(|stream| !stream.row.state.may_run());
    let Some(stream) = ended else { return error };
    let (state, message) = (stream.row.state, &stream.row.message);
    let what = format!("workflow {name} is in state {state}");
    if state == StreamState::Frozen {
        return Error::stop(format!("{what}: the writes were switched"))
            .advice("The workflow in the other direction brings them over, if there is one.");
    }
    if message.is_empty() {
        return Error::stop(what)
            .advice(format!("`shunt movetables start {name}` starts it again."));
    }
    // The stream's message has its own advice.
    Error::stop(format!("{what}: {message}"))
}
