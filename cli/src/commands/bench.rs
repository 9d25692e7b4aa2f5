//! `shunt bench`: how fast shunt is between the user's own servers, each step beside what the servers do without it.
//!
//! Nothing but its own two databases and its own workflow is touched, and both go again, whatever happens, unless the process or a
//! server dies: the next bench says then what is left.

mod report;
mod steps;
mod tables;

use shunt_engine::mysql::control::{Control, Session};
use shunt_engine::mysql::server::ServerConfig;
use shunt_engine::mysql::sql;
use shunt_engine::workflow::verbs;
use shunt_engine::{Error, Result};
use tokio_util::sync::CancellationToken;

use super::signals::Signals;
use crate::args::bench::Bench;
use crate::config::{Config, Keyspace};
use crate::exit::Exit;
use steps::Steps;

const SOURCE_DATABASE: &str = "shunt_bench_source";
const TARGET_DATABASE: &str = "shunt_bench_target";
const WORKFLOW: &str = "shunt_bench";

/// The server already has a database of that name.
const EXISTS: u16 = 1007;

/// The two ends, and what of the bench is on them.
#[derive(Debug)]
struct Ends<'a> {
    config: &'a Config,
    source: &'a Keyspace,
    target: &'a Keyspace,
}

impl Ends<'_> {
    fn source_server(&self) -> Result<ServerConfig> {
        self.source.primary()?.connection()
    }

    fn target_server(&self) -> Result<ServerConfig> {
        self.target.primary()?.connection()
    }

    fn workflow(&self) -> String {
        format!("{}.{WORKFLOW}", self.target.name)
    }
}

pub(super) async fn run(args: &Bench, config: &Config) -> anyhow::Result<Exit> {
    let ends = Ends {
        config,
        source: config.keyspace(&args.source)?,
        target: config.keyspace(&args.target)?,
    };
    let signals = Signals::catch()?;
    let mut made = Vec::new();
    let measured = measure(args, &ends, &mut made, &signals.token).await;
    let cleaned = clean(&ends, made).await;
    if let Err(error) = &cleaned {
        eprintln!("shunt: the bench's databases and workflow are not all removed: {error}");
    }
    let report = measured?;
    cleaned?;
    report::print(&report, args.format)?;
    Ok(Exit::Done)
}

async fn measure<'a>(
    args: &Bench,
    ends: &'a Ends<'a>,
    made: &mut Vec<(ServerConfig, &'static str)>,
    cancel: &CancellationToken,
) -> Result<report::Report> {
    must_be_new(ends).await?;
    for (server, database) in
        [(ends.source_server()?, SOURCE_DATABASE), (ends.target_server()?, TARGET_DATABASE)]
    {
        create(&server, database).await?;
        made.push((server, database));
    }
    let steps = Steps::new(ends, args);
    tokio::select! {
        report = Box::pin(steps.run()) => report,
        () = cancel.cancelled() => Err(Error::stop("interrupted")),
    }
}

/// A workflow of that name is another bench's, or somebody's.
async fn must_be_new(ends: &Ends<'_>) -> Result<()> {
    let mut control = verbs::connect(&ends.target_server()?).await?;
    let exists = steps::workflow_exists(&mut control, &ends.workflow()).await?;
    control.close().await;
    if !exists {
        return Ok(());
    }
    let name = ends.workflow();
    Err(Error::usage(format!("there is a workflow {name} already")).advice(format!(
        "If it is of a bench that was killed, remove it: shunt movetables cancel {name}."
    )))
}

async fn create(server: &ServerConfig, database: &str) -> Result<()> {
    let mut control = Control::connect(server, Session::Control).await?;
    let made = control.execute(format!("CREATE DATABASE {}", sql::ident(database))).await;
    control.close().await;
    match made {
        Err(error) if error.server_code() == Some(EXISTS) => Err(Error::usage(format!(
            "there is a database {database} on {} already",
            server.address
        ))
        .advice(format!(
            "If it is of a bench that was killed, remove it: DROP DATABASE {database}; and its workflow: shunt movetables cancel."
        ))),
        made => made.map(drop),
    }
}

/// Removes the workflow, if it came so far, and the databases that were made; each of them, whatever becomes of the others.
async fn clean(ends: &Ends<'_>, made: Vec<(ServerConfig, &'static str)>) -> Result<()> {
    let mut outcome = Ok(());
    if made.len() == 2 {
        outcome = Box::pin(forget(ends)).await;
    }
    for (server, database) in made {
        outcome = outcome.and(remove(&server, database).await);
    }
    outcome
}

async fn forget(ends: &Ends<'_>) -> Result<()> {
    let mut control = verbs::connect(&ends.target_server()?).await?;
    if steps::workflow_exists(&mut control, &ends.workflow()).await? {
        verbs::cancel(&mut control, &ends.workflow(), false).await?;
    }
    control.close().await;
    Ok(())
}

async fn remove(server: &ServerConfig, database: &str) -> Result<()> {
    let mut control = Control::connect(server, Session::Control).await?;
    control.execute(format!("DROP DATABASE {}", sql::ident(database))).await?;
    control.close().await;
    Ok(())
}
