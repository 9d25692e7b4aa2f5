//! `shunt gateway`: routes the sessions of MySQL clients by the routing rules.

use std::sync::Arc;

use shunt_engine::Result;
use shunt_engine::topology::sqlite::SqliteStore;
use tokio_util::sync::CancellationToken;

use super::signals::Signals;
use crate::config::Config;
use crate::exit::Exit;
use crate::output;

pub(super) async fn run(config: &Config) -> anyhow::Result<Exit> {
    let signals = Signals::catch()?;
    serve(config, signals.token.clone()).await?;
    Ok(Exit::Done)
}

/// Serves clients until cancelled.
pub(super) async fn serve(config: &Config, cancel: CancellationToken) -> Result<()> {
    let store = SqliteStore::open(&config.topology).await?;
    let ready = |address: &str| {
        // Nobody reads it: the gateway goes on.
        drop(output::print(&format!("Gateway listens on {address}.\n")));
    };
    shunt_gateway::run(config.gateway()?, Arc::new(store), cancel, ready).await
}
