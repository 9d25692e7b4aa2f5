//! Where a workflow is at home: its keyspace in the configuration, and the servers that its streams need.

use shunt_engine::mysql::control::Control;
use shunt_engine::mysql::server::ServerConfig;
use shunt_engine::stream::StreamConfig;
use shunt_engine::workflow::spec::WorkflowSpec;
use shunt_engine::workflow::verbs;
use shunt_engine::{Error, Result};

use super::reopen;
use crate::args::values::WorkflowName;
use crate::config::{Config, Keyspace, Server, ServerType};

/// A workflow's name with the target that keeps its state.
pub(in crate::commands) struct Site<'a> {
    pub(in crate::commands) config: &'a Config,
    pub(in crate::commands) name: &'a WorkflowName,
    pub(in crate::commands) keyspace: &'a Keyspace,
    pub(in crate::commands) target: ServerConfig,
}

impl<'a> Site<'a> {
    pub(in crate::commands) fn new(config: &'a Config, name: &'a WorkflowName) -> Result<Self> {
        let keyspace = config.keyspace(&name.keyspace)?;
        Ok(Self { config, name, keyspace, target: keyspace.primary()?.connection()? })
    }

    /// A connection to the server with the workflow's state. If that is lost, what can be done is said.
    pub(in crate::commands) async fn control(&self) -> Result<Control> {
        match verbs::connect(&self.target).await {
            Ok(control) => Ok(control),
            Err(error) => Err(Box::pin(reopen::advise(self.config, self.name, error)).await),
        }
    }

    /// What a stream of the workflow needs to run.
    pub(in crate::commands) fn stream(&self, spec: &WorkflowSpec, id: u64) -> Result<StreamConfig> {
        stream(self.config, self.keyspace, spec, id)
    }
}

/// What a stream needs to run: its servers, as the configuration has them now.
pub(in crate::commands) fn stream(
    config: &Config,
    target: &Keyspace,
    spec: &WorkflowSpec,
    id: u64,
) -> Result<StreamConfig> {
    let source = config.keyspace(&spec.source_keyspace)?;
    // The copy burdens the replicas of both sides; the one that is read from is not asked how it follows itself.
    let replicas = [ServerType::Replica, ServerType::Rdonly]
        .into_iter()
        .flat_map(|part| source.of_type(part).chain(target.of_type(part)))
        .filter(|server| server.alias != spec.source_server);
    let replicas = if spec.tuning.throttle_replica_lag_ms == 0 {
        Vec::new()
    } else {
        replicas.map(Server::connection).collect::<Result<_>>()?
    };
    Ok(StreamConfig {
        source: source_server(config, spec)?.connection()?,
        replicas,
        target: target.primary()?.connection()?,
        stream: id,
        workflow: spec.name(),
    })
}

/// The server that the workflow reads from.
pub(in crate::commands) fn source_server<'a>(
    config: &'a Config,
    spec: &WorkflowSpec,
) -> Result<&'a Server> {
    let keyspace = config.keyspace(&spec.source_keyspace)?;
    keyspace.servers.iter().find(|server| server.alias == spec.source_server).ok_or_else(|| {
        Error::usage(format!(
            "{}: keyspace {} has no server {:?}, which workflow {} reads from",
            config.file.display(),
            keyspace.name,
            spec.source_server,
            spec.name()
        ))
        .advice("Give the server its alias again: alias = \"…\".")
    })
}
