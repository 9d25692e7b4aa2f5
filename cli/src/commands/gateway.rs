//! `shunt gateway`: routes the sessions of MySQL clients by the routing rules, and settles switches whose coordinator is gone.

use std::sync::Arc;

use futures_util::future::try_join_all;
use shunt_engine::Result;
use shunt_engine::runtime::tasks::{self, Task};
use shunt_engine::topology::sqlite::SqliteStore;
use tokio_util::sync::CancellationToken;

use super::settler;
use super::signals::Signals;
use crate::config::Config;
use crate::exit::Exit;
use crate::output;

pub(super) async fn run(config: &Config) -> anyhow::Result<Exit> {
    let signals = Signals::catch()?;
    let settling: Vec<Task<()>> = config
        .keyspaces
        .iter()
        .map(|keyspace| {
            let watch = settler::watch(config.clone(), keyspace.clone(), signals.token.clone());
            tasks::spawn("settler", Box::pin(watch))
        })
        .collect();
    serve(config, signals.token.clone()).await?;
    try_join_all(settling.into_iter().map(Task::join)).await?;
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
