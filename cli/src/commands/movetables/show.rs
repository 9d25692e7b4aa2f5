//! placeholder
use crate::args::workflow::Named;
use crate::config::Config;
use crate::exit::Exit;
pub(in crate::commands) async fn run(_: &Named, _: &Config) -> anyhow::Result<Exit> {
    Ok(Exit::Failed)
}
