//! `shunt gateway`: routes the sessions of MySQL clients by the routing rules, and settles switches whose coordinator is gone.

use std::sync::Arc;

use futures_util::future::try_join_all;
use shunt_engine::Result;
use shunt_engine::cutover::sides::REVERSE;
use shunt_engine::runtime::tasks::{self, Task};
use shunt_engine::sidecar::{self, workflow};
use shunt_engine::topology::Store;
use shunt_engine::topology::sqlite::SqliteStore;
use shunt_engine::workflow::verbs;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::settler;
use super::signals::Signals;
use crate::config::{Config, Keyspace};
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

/// A gateway under another topology than a move's would not know its rules, and no switch would wait for it: its clients would be led to
/// the closed side. What does not answer now is left to the settler.
///
/// # Errors
/// Usage if there is such a move.
async fn must_be_their_topology(config: &Config, topology: Uuid) -> Result<()> {
    let look = |keyspace: &Keyspace| {
        let server = keyspace.primary().and_then(|primary| primary.connection());
        let name = keyspace.name.clone();
        async move {
            let rows = async {
                let mut control = verbs::connect(&server?).await?;
                let there = sidecar::exists(&mut control).await?;
                let rows =
                    if there { workflow::list(&mut control, &name).await? } else { Vec::new() };
                control.close().await;
                Ok::<_, shunt_engine::Error>(rows)
            };
            match rows.await {
                // A reverse workflow is under the topology of its move, which may have been adopted since.
                Ok(rows) => rows
                    .iter()
                    .filter(|row| !row.spec.workflow.ends_with(REVERSE))
                    .try_for_each(|row| row.spec.must_be_of(topology)),
                Err(error) => {
                    tracing::warn!(keyspace = %name, "whether its moves are of this topology is not known: {error}");
                    Ok(())
                }
            }
        }
    };
    try_join_all(config.keyspaces.iter().map(look)).await.map(drop)
}

/// Serves clients until cancelled.
pub(super) async fn serve(config: &Config, cancel: CancellationToken) -> Result<()> {
    let store = SqliteStore::open(&config.topology).await?;
    must_be_their_topology(config, store.uuid()).await?;
    let ready = |address: &str| {
        // Nobody reads it: the gateway goes on.
        drop(output::print(&format!("Gateway listens on {address}.\n")));
    };
    shunt_gateway::run(config.gateway()?, Arc::new(store), cancel, ready).await
}
