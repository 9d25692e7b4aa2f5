//! `shunt vdiff create`: registers a VDiff; runs it here with `--wait`, else a `shunt serve` does.

use serde::Serialize;
use shunt_engine::Error;
use shunt_engine::sidecar::wanted::Wanted;
use shunt_vdiff::workflow;

use super::here;
use crate::args::vdiff::Create;
use crate::commands::movetables::site::Site;
use crate::config::Config;
use crate::exit::Exit;
use crate::output::{self, Format};

#[derive(Serialize)]
struct CreatedView<'a> {
    #[serde(rename = "UUID")]
    uuid: &'a str,
}

pub(in crate::commands) async fn run(args: &Create, config: &Config) -> anyhow::Result<Exit> {
    if args.wait && !args.auto_start {
        return Err(Error::usage(
            "a VDiff that does not start (--auto-start=false) has no end to --wait for",
        )
        .advice(
            "Leave out one of the two; `shunt vdiff resume WORKFLOW UUID --wait` starts it later.",
        )
        .into());
    }
    let site = Site::new(config, &args.workflow)?;
    let name = site.name.to_string();
    let uuid = args.uuid.unwrap_or_else(uuid::Uuid::now_v7).to_string();
    let mut control = site.control().await?;
    let spec = args.how.spec();
    let wanted = Wanted::of(args.auto_start);
    workflow::create(&mut control, &name, &uuid, &spec, &args.tables, wanted).await?;
    control.close().await;
    if args.wait {
        return Box::pin(here::run(&site, &uuid, args.format)).await;
    }
    match args.format {
        Format::Json => output::print_json(&CreatedView { uuid: &uuid })?,
        Format::Text => output::print(&format!("VDiff {uuid} of {name} was created.\n"))?,
    }
    Ok(Exit::Done)
}
