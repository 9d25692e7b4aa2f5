//! The steps of a bench, in order: the source read bare, the copy, the target's own copy, two backlogs, two comparisons.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, try_join_all};
use shunt_engine::mysql::control::Control;
use shunt_engine::mysql::server::ServerConfig;
use shunt_engine::runtime::tasks;
use shunt_engine::sidecar::wanted::Wanted;
use shunt_engine::sidecar::{self, workflow};
use shunt_engine::stream::{self, Ended};
use shunt_engine::workflow::create::{self, Servers};
use shunt_engine::workflow::spec::{OnDdl, WorkflowSpec};
use shunt_engine::workflow::status;
use shunt_engine::workflow::verbs::{self, WaitFor};
use shunt_engine::{Error, ErrorKind, Result, limits};
use shunt_vdiff::archive::findings::Reporter;
use shunt_vdiff::fix::Fixer;
use shunt_vdiff::report::{Record, TableRecord};
use shunt_vdiff::run::{self, Job};
use shunt_vdiff::sides::{self, Tie};
use shunt_vdiff::spec::{Spec, Strength};
use shunt_vdiff::store::Store;
use shunt_vdiff::table::Progress;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::report::{Report, Step};
use super::tables::{self, Backlog};
use super::{Ends, SOURCE_DATABASE, TARGET_DATABASE, WORKFLOW};
use crate::args::bench::Bench;
use crate::commands::movetables::findings;
use crate::commands::movetables::{site, tuning};
use crate::output;

/// Transactions of each backlog, a table.
const BATCHES: u64 = 200;
const SINGLES: u64 = 2_000;
/// A step that takes longer has failed.
const STEP_MAX: Duration = Duration::from_secs(24 * 3600);

/// Whether a workflow of this name is there.
pub(super) async fn workflow_exists(control: &mut Control, name: &str) -> Result<bool> {
    Ok(sidecar::exists(control).await? && workflow::find(control, name).await?.is_some())
}

/// A bench under way.
pub(super) struct Steps<'a> {
    ends: &'a Ends<'a>,
    rows: u64,
    tables: Vec<String>,
}

/// A stream that runs in this process until it is dropped.
type Running = BoxFuture<'static, Result<Ended>>;

impl<'a> Steps<'a> {
    pub(super) fn new(ends: &'a Ends<'a>, args: &Bench) -> Self {
        Self { ends, rows: args.rows, tables: tables::names(args.tables) }
    }

    pub(super) async fn run(self) -> Result<Report> {
        let (source, target) = (self.ends.source_server()?, self.ends.target_server()?);
        let mut report = Report::new(self.tables.len(), self.rows);
        output::note!("{} tables of {} rows are made.", self.tables.len(), self.rows);
        self.fill(&source).await?;
        let (rows, names) = (self.rows * self.tables.len() as u64, &self.tables);

        output::note!("They are read bare, and copied.");
        let scanned = tables::scan(&source, SOURCE_DATABASE, names).await?;
        let mut control = verbs::connect(&target).await?;
        self.create(&source, &target).await?;
        let started = Instant::now();
        let mut running = self.start(&mut control).await?;
        self.wait(&mut control, &source, WaitFor::Running, &mut running).await?;
        let copied = started.elapsed();
        let written = self.write_again(&target).await?;
        report.add(Step::new("copy", rows, copied).beside("bare scan of the source", scanned));
        report
            .add(Step::new("copy", rows, copied).beside("INSERT … SELECT on the target", written));

        for (what, backlog, transactions) in [
            ("catch-up, 1,000 rows a transaction", Backlog::Batches, BATCHES),
            ("catch-up, 1 row a transaction", Backlog::Single, SINGLES),
        ] {
            output::note!("A backlog is written and applied: {what}.");
            self.stop(&mut control, running).await?;
            let (changed, took) =
                tables::change(&source, SOURCE_DATABASE, names, self.rows, backlog, transactions)
                    .await?;
            verbs::start(&mut control, &self.ends.workflow()).await?;
            let started = Instant::now();
            running = self.start(&mut control).await?;
            self.wait(&mut control, &source, WaitFor::CaughtUp, &mut running).await?;
            report.add(
                Step::new(what, changed, started.elapsed())
                    .beside("writing it on the source", took),
            );
        }
        self.stop(&mut control, running).await?;
        control.close().await;

        output::note!("Both sides are compared.");
        for strength in [Strength::Auto, Strength::Strong] {
            let (compared, took) = self.vdiff(&source, &target, strength).await?;
            let (what, beside, bare) = match strength {
                Strength::Strong => ("vdiff, strong", "bare scan of the source", scanned),
                _ => ("vdiff, auto", "CHECKSUM TABLE on the source", self.checksum(&source).await?),
            };
            report.add(Step::new(what, compared, took).beside(beside, bare));
        }
        report.finish();
        Ok(report)
    }

    async fn fill(&self, source: &ServerConfig) -> Result<()> {
        let fill = |table: &'_ String| {
            let table = table.clone();
            async move { tables::fill(source, SOURCE_DATABASE, &table, self.rows).await }
        };
        try_join_all(self.tables.iter().map(fill)).await.map(drop)
    }

    async fn create(&self, source: &ServerConfig, target: &ServerConfig) -> Result<()> {
        let servers = Servers { source: source.clone(), target: target.clone() };
        let spec = WorkflowSpec {
            workflow: WORKFLOW.into(),
            source_keyspace: self.ends.source.name.clone(),
            source_database: SOURCE_DATABASE.into(),
            target_keyspace: self.ends.target.name.clone(),
            target_database: TARGET_DATABASE.into(),
            tables: self.tables.clone(),
            on_ddl: OnDdl::Stop,
            stop_after_copy: false,
            defer_secondary_keys: true,
            source_server: self.ends.source.primary()?.alias.clone(),
            tuning: tuning::of_config(&self.ends.config.throttle),
            topology: None,
            routed: Some(false),
        };
        let prepared = Box::pin(create::prepare(&servers, spec, limits::KEYLESS_BYTES_MAX)).await?;
        if prepared.report.has_errors() {
            output::beside(&findings::text(&prepared.report.findings));
            return Err(Error::usage("these servers are not ready for a move")
                .advice("Mend what the preflight found."));
        }
        create::create(&servers, &prepared, Wanted::Run).await.map(drop)
    }

    /// Runs the stream in this process.
    async fn start(&self, control: &mut Control) -> Result<Running> {
        let status = status::read(control, &self.ends.workflow()).await?;
        let stream = status.streams.first().ok_or_else(|| Error::stop("there is no stream"))?;
        let spec = &status.workflow.spec;
        let config = site::stream(self.ends.config, self.ends.target, spec, stream.row.id)?;
        let pause = self.ends.config.serve.poll();
        let task = tasks::spawn("stream", async move {
            loop {
                let attempt = stream::run(config.clone(), CancellationToken::new());
                match Box::pin(attempt).await? {
                    // As `serve` does, which looks again after its pause.
                    Ended::Again => tokio::time::sleep(pause).await,
                    ended => return Ok(ended),
                }
            }
        });
        Ok(Box::pin(task.join()))
    }

    /// Waits for the stream; an end of it before is an error, since what another process does then is not to be measured.
    async fn wait(
        &self,
        control: &mut Control,
        source: &ServerConfig,
        what: WaitFor,
        running: &mut Running,
    ) -> Result<()> {
        let name = self.ends.workflow();
        tokio::select! {
            biased;
            ended = running => Err(not_ours(&name, ended?)),
            waited = verbs::wait(control, source, &name, what, STEP_MAX) => waited,
        }
    }

    async fn stop(&self, control: &mut Control, running: Running) -> Result<()> {
        verbs::stop(control, &self.ends.workflow()).await?;
        // Nothing is measured now: whoever ran it, it has stopped.
        running.await.map(drop)
    }

    /// The target copies its tables itself: what its rows cost it without a client.
    async fn write_again(&self, target: &ServerConfig) -> Result<Duration> {
        let (names, database) = (&self.tables, TARGET_DATABASE);
        tables::each(target, database, names, |name, copy| {
            format!("CREATE TABLE {copy} LIKE {name}")
        })
        .await?;
        let took = tables::each(target, database, names, |name, copy| {
            format!("INSERT INTO {copy} SELECT * FROM {name}")
        })
        .await?;
        tables::each(target, database, names, |_, copy| format!("DROP TABLE {copy}")).await?;
        Ok(took)
    }

    async fn checksum(&self, source: &ServerConfig) -> Result<Duration> {
        tables::each(source, SOURCE_DATABASE, &self.tables, |name, _| {
            format!("CHECKSUM TABLE {name}")
        })
        .await
    }

    /// Compares; an error if the sides differ.
    async fn vdiff(
        &self,
        source: &ServerConfig,
        target: &ServerConfig,
        strength: Strength,
    ) -> Result<(u64, Duration)> {
        let job = Job {
            servers: sides::Servers {
                source: source.clone(),
                target: target.clone(),
                tie: Tie::Nothing,
            },
            source_database: SOURCE_DATABASE.into(),
            target_database: TARGET_DATABASE.into(),
            spec: Spec { strength, ..Spec::default() },
        };
        let table = |name: &String| TableRecord::new(name, name);
        let mut compared: Vec<TableRecord> = self.tables.iter().map(table).collect();
        let path = State::new();
        let mut store = Store::File { path: path.0.clone(), record: Box::default() };
        let (progress, _shown) = watch::channel(Progress::default());
        let (mut fixer, mut reporter) = (Fixer::Nothing, Reporter::none());
        let never = CancellationToken::new();
        let started = Instant::now();
        let run =
            run::run(&job, &mut compared, &mut store, &mut fixer, &mut reporter, &progress, &never);
        Box::pin(run).await?;
        let took = started.elapsed();
        let record = Record { tables: compared, ..Record::default() };
        if record.differs() || record.unsettled() {
            return Err(Error::new(ErrorKind::Divergence, "the tables of the bench differ")
                .advice("Nothing else may write to the databases of a bench."));
        }
        let rows = record.tables.iter().map(TableRecord::compared_rows).sum();
        Ok((rows, took))
    }
}

/// Somebody else has got at the bench's workflow.
fn not_ours(workflow: &str, ended: Ended) -> Error {
    match ended {
        Ended::Elsewhere => Error::stop(format!(
            "another process runs the bench's workflow {workflow}"
        ))
        .advice("Stop each `shunt serve` that looks after the target keyspace while a bench runs."),
        _ => Error::stop(format!("the bench's workflow {workflow} was stopped by another command"))
            .advice("Leave the bench's workflow alone, and begin again."),
    }
}

/// The file that a comparison keeps its state in; it goes with this.
struct State(PathBuf);

impl State {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("shunt-bench-{}.json", uuid::Uuid::now_v7())))
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // Nothing is lost with it.
        drop(std::fs::remove_file(&self.0));
    }
}
