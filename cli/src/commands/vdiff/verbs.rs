//! `shunt vdiff stop|resume|delete`: what is wanted of a VDiff.

use std::time::{Duration, Instant};

use shunt_engine::mysql::control::Control;
use shunt_engine::sidecar::vdiff::{self, VdiffRow};
use shunt_engine::{Error, Result};
use shunt_vdiff::workflow::{self, Which};

use super::here;
use crate::args::vdiff::{Delete, Named, Resume};
use crate::commands::movetables::site::Site;
use crate::config::Config;
use crate::exit::Exit;
use crate::output;

/// How long a process that runs a VDiff may take to give it up.
const STOP_MAX: Duration = Duration::from_secs(60);

pub(in crate::commands) async fn stop(args: &Named, config: &Config) -> anyhow::Result<Exit> {
    let site = Site::new(config, &args.workflow)?;
    let name = site.name.to_string();
    let mut control = site.control().await?;
    for row in workflow::find(&mut control, &name, &args.uuid).await? {
        vdiff::stop(&mut control, row.id).await?;
        let state = settled(&mut control, &name, &row).await?;
        output::report(&format!("VDiff {} is {state}.\n", row.uuid));
    }
    control.close().await;
    Ok(Exit::Done)
}

/// Waits until whoever runs it has stopped.
async fn settled(control: &mut Control, name: &str, row: &VdiffRow) -> Result<String> {
    let started = Instant::now();
    loop {
        let rows = workflow::find(control, name, &Which::Uuid(row.uuid.clone())).await?;
        if !rows[0].owned && !matches!(rows[0].state.as_str(), "pending" | "started") {
            return Ok(rows[0].state.clone());
        }
        if !rows[0].owned {
            // Its process died.
            vdiff::stop(control, row.id).await?;
        }
        if started.elapsed() > STOP_MAX {
            return Err(Error::retry(format!("VDiff {} does not stop", row.uuid)));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub(in crate::commands) async fn resume(args: &Resume, config: &Config) -> anyhow::Result<Exit> {
    let site = Site::new(config, &args.workflow)?;
    let name = site.name.to_string();
    let mut control = site.control().await?;
    let rows = workflow::find(&mut control, &name, &args.uuid).await?;
    for row in &rows {
        vdiff::resume(&mut control, row.id).await?;
    }
    control.close().await;
    match rows.as_slice() {
        [row] if args.wait => Box::pin(here::run(&site, &row.uuid, args.format)).await,
        rows => {
            for row in rows {
                let what =
                    if row.state == "completed" { "was completed already" } else { "goes on" };
                output::report(&format!("VDiff {} {what}.\n", row.uuid));
            }
            Ok(Exit::Done)
        }
    }
}

pub(in crate::commands) async fn delete(args: &Delete, config: &Config) -> anyhow::Result<Exit> {
    let site = Site::new(config, &args.workflow)?;
    let name = site.name.to_string();
    let mut control = site.control().await?;
    for row in workflow::find(&mut control, &name, &args.which).await? {
        vdiff::delete(&mut control, row.id).await?;
        output::report(&format!("VDiff {} was deleted.\n", row.uuid));
    }
    control.close().await;
    Ok(Exit::Done)
}
