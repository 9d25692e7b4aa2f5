//! A source and a target server of one test, and a workflow between them that runs in this process.

use std::path::{Path, PathBuf};
use std::time::Duration;

use shunt_cli::config::ServerType;
use shunt_cli::sandbox::{Sandbox, SandboxServer, SandboxSpec};
use shunt_engine::error::Result;
use shunt_engine::limits;
use shunt_engine::mysql::control::Control;
use shunt_engine::mysql::server::ServerConfig;
use shunt_engine::preflight::Finding;
use shunt_engine::runtime::tasks::{Task, spawn};
use shunt_engine::sidecar::wanted::Wanted;
use shunt_engine::stream::{self, Ended, StreamConfig};
use shunt_engine::workflow::create::{self, Prepared, Servers};
use shunt_engine::workflow::spec::{OnDdl, Tuning, WorkflowSpec};
use shunt_engine::workflow::status::{self, StreamStatus};
use shunt_engine::workflow::verbs::{self, WaitFor};
use tokio_util::sync::CancellationToken;

use super::site::connect;
use super::until::until;

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// The workflow's full name.
pub(crate) const WORKFLOW: &str = "customer.move";

/// A source (`commerce`) and a target (`customer`). They die with it.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) source: Sandbox,
    pub(crate) target: Sandbox,
    dir: tempfile::TempDir,
}

impl Pair {
    /// Two MariaDB servers of the machine.
    pub(crate) async fn start() -> Self {
        Self::with(None, None, &[], &[]).await
    }

    /// Servers by program and with options.
    pub(crate) async fn with(
        source: Option<PathBuf>,
        target: Option<PathBuf>,
        source_options: &[(&str, &str)],
        target_options: &[(&str, &str)],
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let spec = |name: &str, mysqld, options| spec_of(dir.path(), name, mysqld, options);
        let (source, target) = tokio::try_join!(
            Sandbox::start(spec("commerce", source, source_options)),
            Sandbox::start(spec("customer", target, target_options)),
        )
        .unwrap();
        Self { source, target, dir }
    }

    /// Two MariaDB servers; the source has a replica, whose lag throttles the copy.
    pub(crate) async fn with_replica() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = SandboxSpec { replicas: 1, ..spec_of(dir.path(), "commerce", None, &[]) };
        let target = spec_of(dir.path(), "customer", None, &[]);
        let (source, target) =
            tokio::try_join!(Sandbox::start(source), Sandbox::start(target)).unwrap();
        Self { source, target, dir }
    }

    /// The source's replicas.
    pub(crate) fn replicas(&self) -> Vec<ServerConfig> {
        self.source.of_type(ServerType::Replica).map(SandboxServer::config).collect()
    }

    /// The folder of the sandboxes.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn source_config(&self) -> ServerConfig {
        self.source.primary().config()
    }

    pub(crate) fn target_config(&self) -> ServerConfig {
        self.target.primary().config()
    }

    pub(crate) async fn on_source(&self) -> Control {
        let mut control = connect(&self.source_config()).await;
        control.execute("USE commerce").await.unwrap();
        control
    }

    pub(crate) async fn on_target(&self) -> Control {
        let mut control = connect(&self.target_config()).await;
        control.execute("USE customer").await.unwrap();
        control
    }

    /// How many ranges are recorded as copied.
    pub(crate) async fn ranges(&self) -> u64 {
        let query = "SELECT COUNT(*) FROM _shunt.`range`";
        self.on_target().await.row(query).await.unwrap().unwrap().number(0).unwrap()
    }

    /// Waits until so many ranges are copied.
    pub(crate) async fn until_ranges(&self, count: u64) {
        let mut target = self.on_target().await;
        let query = "SELECT COUNT(*) FROM _shunt.`range`";
        until("the next range", async || {
            target.row(query).await.unwrap().unwrap().number::<u64>(0).unwrap() >= count
        })
        .await;
    }

    /// Creates the workflow.
    pub(crate) async fn create(&self, tables: &[&str], tuning: Tuning) -> Move<'_> {
        self.create_with(tables, tuning, |_| {}).await.unwrap()
    }

    /// All that preflight finds about moving these tables.
    pub(crate) async fn findings(&self, tables: &[&str]) -> Vec<Finding> {
        let servers = Servers { source: self.source_config(), target: self.target_config() };
        let spec = spec(tables, Tuning::default());
        let prepared = create::prepare(&servers, spec, limits::KEYLESS_BYTES_MAX).await.unwrap();
        prepared.report.findings
    }

    async fn prepare(
        &self,
        spec: WorkflowSpec,
    ) -> std::result::Result<(Servers, Prepared), String> {
        let servers = Servers { source: self.source_config(), target: self.target_config() };
        let prepared = create::prepare(&servers, spec, limits::KEYLESS_BYTES_MAX).await;
        let prepared = prepared.map_err(|error| error.to_string())?;
        if prepared.report.has_errors() {
            return Err(format!("{:#?}", prepared.report.findings));
        }
        Ok((servers, prepared))
    }

    /// Creates the workflow from a changed specification; an error lists what preflight found.
    pub(crate) async fn create_with(
        &self,
        tables: &[&str],
        tuning: Tuning,
        change: impl FnOnce(&mut WorkflowSpec),
    ) -> std::result::Result<Move<'_>, String> {
        let mut spec = spec(tables, tuning);
        change(&mut spec);
        let (servers, prepared) = self.prepare(spec).await?;
        create::create(&servers, &prepared, Wanted::Run)
            .await
            .map_err(|error| error.to_string())?;
        Ok(Move { pair: self, running: None })
    }
}

fn spec(tables: &[&str], tuning: Tuning) -> WorkflowSpec {
    WorkflowSpec {
        workflow: "move".into(),
        source_keyspace: "commerce".into(),
        source_database: "commerce".into(),
        target_keyspace: "customer".into(),
        target_database: "customer".into(),
        tables: tables.iter().map(|table| (*table).to_owned()).collect(),
        on_ddl: OnDdl::Stop,
        stop_after_copy: false,
        defer_secondary_keys: true,
        source_server: String::new(),
        tuning,
        topology: None,
        routed: None,
    }
}

pub(crate) fn spec_of(
    dir: &Path,
    name: &str,
    mysqld: Option<PathBuf>,
    options: &[(&str, &str)],
) -> SandboxSpec {
    SandboxSpec {
        name: name.to_owned(),
        dir: dir.to_owned(),
        mysqld,
        replicas: 0,
        rdonly: 0,
        options: options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
    }
}

/// The server program of MySQL 5.6.
pub(crate) fn mysql56() -> PathBuf {
    let home = PathBuf::from(std::env::var_os("HOME").unwrap());
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or(home.join(".cache"), PathBuf::from);
    let mysqld = cache.join("shunt/mysql-5.6/server/mysqld");
    assert!(mysqld.is_file(), "{} is missing; run scripts/setup.sh", mysqld.display());
    mysqld
}

impl Drop for Pair {
    fn drop(&mut self) {
        [&self.source, &self.target].into_iter().for_each(kill_servers);
    }
}

/// Nobody misses them.
pub(crate) fn kill_servers(sandbox: &Sandbox) {
    for server in sandbox.servers() {
        if let Ok(Some(pid)) = server.pid() {
            drop(std::process::Command::new("kill").args(["-9", &pid.to_string()]).status());
        }
    }
}

/// Servers beside a pair, or without one: they die with the test, even if that fails.
pub(crate) struct Alone(pub(crate) Sandbox);

impl Drop for Alone {
    fn drop(&mut self) {
        kill_servers(&self.0);
    }
}

/// A workflow of a pair.
pub(crate) struct Move<'a> {
    pair: &'a Pair,
    running: Option<(CancellationToken, Task<Ended>)>,
}

impl Move<'_> {
    /// Runs the stream in this process.
    pub(crate) async fn run(&mut self) {
        let mut target = self.pair.on_target().await;
        let status = status::read(&mut target, WORKFLOW).await.unwrap();
        let config = StreamConfig {
            source: self.pair.source_config(),
            replicas: self.pair.replicas(),
            target: self.pair.target_config(),
            stream: status.streams[0].row.id,
            workflow: WORKFLOW.into(),
        };
        let cancel = CancellationToken::new();
        // As `serve` does: a lease that a crashed run holds is waited for.
        let token = cancel.clone();
        let task = spawn("stream", async move {
            loop {
                match stream::run(config.clone(), token.clone()).await? {
                    Ended::Elsewhere => tokio::task::yield_now().await,
                    ended => return Ok(ended),
                }
            }
        });
        self.running = Some((cancel, task));
    }

    /// Starts a stream that has stopped and runs it in this process.
    pub(crate) async fn start(&mut self) {
        verbs::start(&mut self.pair.on_target().await, WORKFLOW).await.unwrap();
        self.run().await;
    }

    /// Stops the workflow and waits for the end of the stream.
    pub(crate) async fn stop(&mut self) {
        verbs::stop(&mut self.pair.on_target().await, WORKFLOW).await.unwrap();
        assert_eq!(self.ended().await.unwrap(), Ended::Stopped);
    }

    /// Changes what is done about DDL, as `workflow update` does.
    pub(crate) async fn set_on_ddl(&self, on_ddl: OnDdl) {
        let mut target = self.pair.on_target().await;
        let mut workflow = status::read(&mut target, WORKFLOW).await.unwrap().workflow;
        workflow.spec.on_ddl = on_ddl;
        shunt_engine::sidecar::workflow::set_spec(&mut target, workflow.id, &workflow.spec)
            .await
            .unwrap();
    }

    /// The stream as the sidecar has it.
    pub(crate) async fn stream(&self) -> StreamStatus {
        let mut target = self.pair.on_target().await;
        status::read(&mut target, WORKFLOW).await.unwrap().streams.remove(0)
    }

    /// Waits for a state of the copy or the stream.
    pub(crate) async fn wait(&self, wanted: WaitFor) -> Result<()> {
        let mut target = self.pair.on_target().await;
        verbs::wait(&mut target, &self.pair.source_config(), WORKFLOW, wanted, PATIENCE).await
    }

    /// The stream's end: how, or the error that stopped it.
    pub(crate) async fn ended(&mut self) -> Result<Ended> {
        let (_, task) = self.running.take().unwrap();
        task.join().await
    }

    /// Ends the stream in this process as Ctrl-C does, without stopping the workflow.
    pub(crate) async fn cancel(&mut self) -> Result<Ended> {
        if let Some((cancel, _)) = &self.running {
            cancel.cancel();
        }
        self.ended().await
    }

    /// Drops the stream's tasks where they stand, as a crash of the process does for the servers.
    pub(crate) fn crash(&mut self) {
        self.running = None;
    }
}
