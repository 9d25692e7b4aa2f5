//! Runs a registered VDiff in this process unless another one does, waits for its end, and prints the report.
//!
//! A process that runs it may die: its lease ends then, and it is run here. Ctrl-C leaves it to be resumed by whoever comes next.

use std::time::Duration;

use shunt_engine::runtime::tasks;
use shunt_engine::sidecar::vdiff;
use shunt_engine::sidecar::wanted::Wanted;
use shunt_engine::workflow::status;
use shunt_engine::{Error, ErrorKind, Result};
use shunt_vdiff::report::{Record, State};
use shunt_vdiff::workflow::{self, Which, Work};
use tokio_util::sync::CancellationToken;

use super::{display, exit_of, show};
use crate::commands::movetables::site::{self, Site};
use crate::commands::signals::Signals;
use crate::exit::Exit;
use crate::output::{self, Format};

/// How often a VDiff that another process runs is looked at.
const LOOK: Duration = Duration::from_millis(300);

pub(super) async fn run(site: &Site<'_>, uuid: &str, format: Format) -> anyhow::Result<Exit> {
    let signals = Signals::catch()?;
    let (work, name) = work(site, uuid).await?;
    if work.row.state == State::Completed.to_string() {
        output::note!("VDiff {uuid} was completed already.");
    }
    let record = loop {
        execute(&work, &signals.token).await?;
        if let Some(record) = watch_others(site, &name, uuid, &signals.token).await? {
            break record;
        }
    };
    show::print(std::slice::from_ref(&record), true, format)?;
    let how = match record.state {
        State::Error => return Err(Error::stop(record.message).into()),
        State::Completed => return Ok(exit_of(&record)),
        State::Pending | State::Started | State::Stopped if signals.token.is_cancelled() => {
            "interrupted"
        }
        State::Pending | State::Started | State::Stopped => "stopped",
    };
    output::note!("VDiff {uuid} was {how}. `shunt vdiff resume {name} {uuid} --wait` goes on.");
    // What was compared says nothing of the rest, unless it differs.
    Ok(if exit_of(&record) == Exit::Differs { Exit::Differs } else { Exit::Failed })
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

/// Runs it here, if it is to be run and nobody else does.
async fn execute(work: &Work, cancel: &CancellationToken) -> Result<()> {
    let execute = display::beside(async |progress| workflow::execute(work, progress, cancel).await);
    match execute.await {
        // Taken over by another process, or deleted: the next look says which.
        Err(error) if error.kind() == ErrorKind::LeaseLost => Ok(()),
        Err(error) if work.waits_after(&error) => {
            let (name, uuid) = (&work.row.workflow, &work.row.uuid);
            let before = error.advice_text().map(|advice| format!("{advice} ")).unwrap_or_default();
            Err(error.advice(format!("{before}It goes on where it was with the next `shunt serve`, or with `shunt vdiff resume {name} {uuid} --wait`.")))
        }
        ended => ended.map(drop),
    }
}

/// Waits while another process runs it. The record once it has ended; `None` if it is to be run here, because nobody runs it any more.
async fn watch_others(
    site: &Site<'_>,
    name: &str,
    uuid: &str,
    cancel: &CancellationToken,
) -> Result<Option<Record>> {
    let mut control = site.control().await?;
    let mut said = false;
    let ended = loop {
        let row =
            workflow::find(&mut control, name, &Which::Uuid(uuid.to_owned())).await?.remove(0);
        let record = workflow::record(&mut control, &row).await?;
        if !matches!(record.state, State::Pending | State::Started) || cancel.is_cancelled() {
            break Some(record);
        }
        if !row.owned && row.wanted == Wanted::Run {
            break None;
        }
        if !row.owned {
            // Its process died before it could stop.
            vdiff::stop(&mut control, row.id).await?;
            continue;
        }
        if !said {
            output::note!("Another process runs VDiff {uuid}; it is only watched here.");
            said = true;
        }
        tasks::pause(LOOK, cancel).await;
    };
    control.close().await;
    Ok(ended)
}
