//! Runs a workflow's streams in this process until they are stopped, with a display of how far they are.
//!
//! Ctrl-C stops the workflow as `stop` does. Where another process has the stream already, it is watched instead.

use std::time::Duration;

use futures_util::future::try_join_all;
use shunt_engine::runtime::tasks::{self, Task};
use shunt_engine::stream::{self, Ended};
use shunt_engine::workflow::{status, verbs};
use shunt_engine::{Error, Result};
use tokio_util::sync::CancellationToken;

use super::display;
use super::site::Site;
use crate::commands::signals::Signals;
use crate::exit::Exit;
use crate::output::{self, Format};

/// How often a stream that another process runs is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// How long the display may take for its last look.
const DISPLAY_END_MAX: Duration = Duration::from_secs(2);

pub(super) async fn run(site: &Site<'_>, format: Format) -> anyhow::Result<Exit> {
    let name = site.name.to_string();
    let signals = Signals::catch()?;
    let mut control = site.control().await?;
    let status = status::read(&mut control, &name).await?;
    control.close().await;
    let mut streams = Vec::new();
    for stream in &status.streams {
        streams.push(site.stream(&status.workflow.spec, stream.row.id)?);
    }

    let shown = CancellationToken::new();
    let showing =
        tasks::spawn("display", display::run(site.target.clone(), name.clone(), shown.clone()));
    let running: Vec<Task<Ended>> = streams
        .into_iter()
        .map(|config| tasks::spawn("stream", Box::pin(stream::run(config, signals.token.clone()))))
        .collect();
    let ended = try_join_all(running.into_iter().map(Task::join)).await;
    let ended = match ended {
        Ok(ended) if ended.contains(&Ended::Elsewhere) => {
            output::note!("Another process runs {name}; it is only watched here.");
            watch(site, &name, &signals.token).await
        }
        Ok(ended) if ended.contains(&Ended::Cancelled) => Ok(Ended::Cancelled),
        Ok(_) => Ok(Ended::Stopped),
        Err(error) => Err(error),
    };
    shown.cancel();
    drop(tokio::time::timeout(DISPLAY_END_MAX, showing.join()).await);
    finish(site, &name, ended?, format).await
}

/// Whoever ends this before all rows are copied is not told that it was done.
async fn finish(site: &Site<'_>, name: &str, ended: Ended, format: Format) -> anyhow::Result<Exit> {
    let mut control = site.control().await?;
    let status = status::read(&mut control, name).await?;
    let copied = status.streams.iter().all(|s| s.tables.iter().all(|t| t.done));
    match ended {
        Ended::Cancelled => {
            verbs::stop(&mut control, name).await?;
            say(
                format,
                &format!(
                    "Workflow {name} was stopped. `shunt movetables start {name} --foreground` resumes it.\n"
                ),
            )?;
        }
        Ended::Elsewhere => output::note!("{name} goes on in another process."),
        Ended::Stopped | Ended::Again | Ended::Frozen => {
            let what = if copied { "all rows are copied" } else { "the copy is not finished" };
            say(format, &format!("Workflow {name} is {}: {what}.\n", status.state()))?;
        }
    }
    control.close().await;
    Ok(if copied { Exit::Done } else { Exit::Failed })
}

/// Says how it ended; where standard output holds JSON, beside it.
fn say(format: Format, text: &str) -> anyhow::Result<()> {
    match format {
        Format::Text => output::print(text),
        Format::Json => {
            output::beside(text);
            Ok(())
        }
    }
}

/// Waits until a workflow that another process runs has ended, or until nobody here wants to see it any more.
async fn watch(site: &Site<'_>, name: &str, cancel: &CancellationToken) -> Result<Ended> {
    let mut control = site.control().await?;
    while tasks::pause(LOOK, cancel).await {
        let status = status::read(&mut control, name).await?;
        if let Some(stream) = status.streams.iter().find(|stream| !stream.row.state.may_run()) {
            if stream.row.message.is_empty() {
                return Ok(Ended::Stopped);
            }
            return Err(Error::stop(stream.row.message.clone()));
        }
    }
    Ok(Ended::Elsewhere)
}
