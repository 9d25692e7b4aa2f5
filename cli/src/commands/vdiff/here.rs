//! Runs a registered VDiff in this process unless another one does, waits for its end, and prints the report.
//!
//! Ctrl-C leaves it to be resumed by whoever comes next.

use std::time::Duration;

use shunt_engine::runtime::tasks;
use shunt_engine::workflow::status;
use shunt_engine::{Error, Result};
use shunt_vdiff::report::{Record, State};
use shunt_vdiff::workflow::{self, Which, Work};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{display, exit_of, show};
use crate::commands::movetables::site::{self, Site};
use crate::commands::signals::Signals;
use crate::exit::Exit;
use crate::output::Format;

/// How often a VDiff that another process runs is looked at.
const LOOK: Duration = Duration::from_millis(300);

pub(super) async fn run(site: &Site<'_>, uuid: &str, format: Format) -> anyhow::Result<Exit> {
    let signals = Signals::catch()?;
    let (work, name) = work(site, uuid).await?;
    let (progress, shown) = watch::channel(shunt_vdiff::table::Progress::default());
    let stop_display = CancellationToken::new();
    let showing = tasks::spawn("display", display::run(shown, stop_display.clone()));
    let ended = Box::pin(workflow::execute(&work, &progress, &signals.token)).await;
    stop_display.cancel();
    showing.join().await?;
    match ended {
        Ok(Some(_)) => {}
        Ok(None) => eprintln!("Another process runs VDiff {uuid}; it is only watched here."),
        Err(error) => return Err(error.into()),
    }
    let record = wait(site, &name, uuid, &signals.token).await?;
    show::print(std::slice::from_ref(&record), true, format)?;
    if signals.token.is_cancelled() {
        eprintln!(
            "VDiff {uuid} was interrupted. `shunt vdiff resume {name} {uuid} --wait` goes on."
        );
        return Ok(Exit::Failed);
    }
    match record.state {
        State::Error => Err(Error::stop(record.message).into()),
        State::Completed => Ok(exit_of(&record)),
        State::Pending | State::Started | State::Stopped => Ok(Exit::Done),
    }
}

async fn work(site: &Site<'_>, uuid: &str) -> Result<(Work, String)> {
    let name = site.name.to_string();
    let mut control = site.control().await?;
    let status = status::read(&mut control, &name).await?;
    let mut rows = workflow::find(&mut control, &name, &Which::Uuid(uuid.to_owned())).await?;
    control.close().await;
    let source = site::source_server(site.config, &status.workflow.spec)?.connection()?;
    Ok((Work { source, target: site.target.clone(), row: rows.remove(0) }, name))
}

/// Waits for the end of a VDiff, here or elsewhere.
async fn wait(
    site: &Site<'_>,
    name: &str,
    uuid: &str,
    cancel: &CancellationToken,
) -> Result<Record> {
    let mut control = site.control().await?;
    loop {
        let rows = workflow::find(&mut control, name, &Which::Uuid(uuid.to_owned())).await?;
        let record = workflow::record(&mut control, &rows[0]).await?;
        let ended = !matches!(record.state, State::Pending | State::Started);
        if ended || !tasks::pause(LOOK, cancel).await {
            control.close().await;
            return Ok(record);
        }
    }
}
