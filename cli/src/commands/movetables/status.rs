//! placeholder
use crate::args::workflow::Status;
use crate::config::Config;
use crate::exit::Exit;
pub(in crate::commands) async fn run(_: &Status, _: &Config) -> anyhow::Result<Exit> {
    Ok(Exit::Failed)
}
