//! `shunt movetables stop`: returns when the streams have stopped.

use shunt_engine::workflow::verbs;

use super::site::Site;
use crate::args::workflow::Named;
use crate::config::Config;
use crate::exit::Exit;
use crate::output;

pub(in crate::commands) async fn run(args: &Named, config: &Config) -> anyhow::Result<Exit> {
    let site = Site::new(config, &args.workflow)?;
    let mut control = site.control().await?;
    verbs::stop(&mut control, &site.name.to_string()).await?;
    control.close().await;
    output::report(&format!("Workflow {} was stopped.\n", site.name));
    Ok(Exit::Done)
}
