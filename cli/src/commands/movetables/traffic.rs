//! What the verbs on traffic stand on: both sides of a move as the configuration has them, the topology, and the locks.

use std::sync::Arc;
use std::time::Duration;

use shunt_engine::cutover::hooks::Hooks;
use shunt_engine::cutover::settle::{Case, Hands};
use shunt_engine::cutover::sides::{Plan, REVERSE, Sides};
use shunt_engine::cutover::traffic::{self, Traffic};
use shunt_engine::cutover::{namesake, promoted};
use shunt_engine::mysql::server::ServerConfig;
use shunt_engine::routing::Side;
use shunt_engine::sidecar::switch::{self, SwitchRow};
use shunt_engine::topology::Store;
use shunt_engine::topology::locks::Locks;
use shunt_engine::topology::sqlite::SqliteStore;
use shunt_engine::workflow::spec::WorkflowSpec;
use shunt_engine::workflow::{status, verbs};
use shunt_engine::{ErrorKind, Result};

use super::reopen;
use super::site::source_server;
use crate::args::values::WorkflowName;
use crate::config::{Config, Server, ServerType};

/// How long a command waits for the locks of a move.
const LOCK_WAIT: Duration = Duration::from_secs(1);

/// A move with all that a verb on its traffic needs.
pub(in crate::commands) struct Ground<'a> {
    pub(in crate::commands) config: &'a Config,
    pub(in crate::commands) sides: Sides,
    pub(in crate::commands) store: Arc<dyn Store>,
    pub(in crate::commands) hooks: Arc<Hooks>,
}

impl<'a> Ground<'a> {
    /// Finds the move by its name, or by that of the reverse workflow.
    pub(in crate::commands) async fn find(config: &'a Config, name: &WorkflowName) -> Result<Self> {
        match find_spec(config, name).await {
            Ok(spec) => Self::of(config, spec).await,
            Err(error) => Err(reopen::advise(config, name, error).await),
        }
    }

    /// The move of this specification.
    ///
    /// # Errors
    /// Usage if it was made under another topology.
    pub(in crate::commands) async fn of(config: &'a Config, spec: WorkflowSpec) -> Result<Self> {
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&config.topology).await?);
        spec.must_be_of(store.uuid())?;
        Ok(Self { config, sides: sides(config, spec)?, store, hooks: config.hooks() })
    }

    /// Where the traffic is.
    pub(in crate::commands) async fn traffic(&self) -> Result<Traffic> {
        traffic::read(&self.sides, self.store.as_ref()).await
    }

    /// The locks of the move. A settler that has found the last switch settled lets them go at once; that is waited for.
    pub(in crate::commands) async fn lock(&self) -> Result<Locks> {
        let spec = &self.sides.spec;
        let keyspaces = [spec.source_keyspace.as_str(), spec.target_keyspace.as_str()];
        Locks::wait(&self.store, &spec.name(), &keyspaces, LOCK_WAIT).await
    }

    /// The servers of these types in the keyspace of a side.
    pub(in crate::commands) fn readers(
        &self,
        side: Side,
        types: &[ServerType],
    ) -> Result<Vec<ServerConfig>> {
        let keyspace = self.config.keyspace(&self.sides.place(side).keyspace)?;
        let wanted = |server: &&Server| {
            server.server_type != ServerType::Primary && types.contains(&server.server_type)
        };
        keyspace.servers.iter().filter(wanted).map(Server::connection).collect()
    }

    /// Finishes or takes back a switch whose coordinator is gone, under these locks; the last one is finished once more where a side is a
    /// server that lacks it.
    ///
    /// # Errors
    /// Usage if what stands in the source's sidecar is another move's.
    pub(in crate::commands) async fn recover(&self, locks: &Locks) -> Result<()> {
        let mut source = self.sides.source.connect().await?;
        namesake::must_be_none(&mut source, &self.sides.spec).await?;
        source.close().await;
        if let Some(plan) = promoted::lacking(&self.sides).await? {
            let case = self.case(&plan, locks);
            let mut hands = Hands::connect(&self.sides, &plan).await?;
            if case.is_decided(&mut hands).await? {
                self.settle(&plan, locks).await?;
            }
        }
        for side in [Side::Source, Side::Target] {
            let row = self.last_switch(side).await?;
            let Some(row) = row.filter(|row| !row.settled) else { continue };
            self.settle(&Plan::parse(&row.plan)?, locks).await?;
        }
        Ok(())
    }

    /// As [`recover`](Self::recover), for a command that switches: that it failed would say that nothing is switched.
    ///
    /// # Errors
    /// Ambiguous if an earlier switch is past its point of no return, or that cannot be seen; else as [`recover`](Self::recover).
    pub(in crate::commands) async fn recover_first(&self, locks: &Locks) -> Result<()> {
        let Err(error) = self.recover(locks).await else { return Ok(()) };
        if error.kind() == ErrorKind::Usage || !self.may_be_decided(locks).await {
            return Err(error);
        }
        Err(error
            .with_kind(ErrorKind::Ambiguous)
            .context("an earlier switch is past its point of no return or cannot be seen, and is not finished"))
    }

    /// Whether a switch that is not settled may be past its point of no return. Until it is settled where it leads to, either side knows
    /// it; so it is enough that one side can be asked for it.
    async fn may_be_decided(&self, locks: &Locks) -> bool {
        let mut asked = false;
        for side in [Side::Source, Side::Target] {
            let Ok(row) = self.last_switch(side).await else { continue };
            asked = true;
            let Some(row) = row.filter(|row| !row.settled) else { continue };
            let decided = async {
                let plan = Plan::parse(&row.plan)?;
                let mut hands = Hands::connect(&self.sides, &plan).await?;
                self.case(&plan, locks).is_decided(&mut hands).await
            };
            if decided.await.unwrap_or(true) {
                return true;
            }
        }
        !asked
    }

    async fn last_switch(&self, side: Side) -> Result<Option<SwitchRow>> {
        let place = self.sides.place(side);
        let mut control = place.connect().await?;
        let row = switch::read(&mut control, &place.incoming).await?;
        control.close().await;
        Ok(row)
    }

    fn case<'c>(&'c self, plan: &'c Plan, locks: &'c Locks) -> Case<'c> {
        let (store, hooks) = (self.store.as_ref(), self.hooks.as_ref());
        Case { sides: &self.sides, plan, locks, store, hooks }
    }

    async fn settle(&self, plan: &Plan, locks: &Locks) -> Result<()> {
        let case = self.case(plan, locks);
        let mut hands = Hands::connect(&self.sides, plan).await?;
        let finished = Box::pin(case.recover(&mut hands)).await?;
        let how = if finished { "finished" } else { "taken back" };
        tracing::warn!(workflow = %self.sides.spec.name(), generation = plan.generation, "an unsettled switch was {how}");
        Ok(())
    }
}

/// Both sides of a move, as the configuration has them now.
pub(in crate::commands) fn sides(config: &Config, spec: WorkflowSpec) -> Result<Sides> {
    let primary = |keyspace: &str| config.keyspace(keyspace)?.primary()?.connection();
    let (source, target) = (primary(&spec.source_keyspace)?, primary(&spec.target_keyspace)?);
    let stream_source = source_server(config, &spec)?.connection()?;
    Ok(Sides::new(spec, source, target, stream_source))
}

async fn find_spec(config: &Config, name: &WorkflowName) -> Result<WorkflowSpec> {
    let spec = read_spec(config, &name.keyspace, &name.to_string()).await?;
    match name.name.strip_suffix(REVERSE) {
        Some(forward) => {
            let keyspace = &spec.source_keyspace;
            read_spec(config, keyspace, &format!("{keyspace}.{forward}")).await
        }
        None => Ok(spec),
    }
}

async fn read_spec(config: &Config, keyspace: &str, name: &str) -> Result<WorkflowSpec> {
    let server = config.keyspace(keyspace)?.primary()?.connection()?;
    let mut control = verbs::connect(&server).await?;
    let spec = status::read(&mut control, name).await?.workflow.spec;
    control.close().await;
    Ok(spec)
}
