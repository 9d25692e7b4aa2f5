//! `shunt bench`: how fast shunt is between the user's own servers, each step beside what the servers do without it.
//!
//! Nothing but its own two databases and its own workflow is touched, and both go again, whatever happens, unless the process or a
//! server dies: the next bench says then what is left. The sidecar goes too if the bench made it and nobody else has used it since.

mod report;
mod sidecar;
mod steps;
mod tables;

use shunt_engine::error::ResultExt;
use shunt_engine::mysql::control::{Control, Session};
use shunt_engine::mysql::server::ServerConfig;
use shunt_engine::mysql::sql;
use shunt_engine::workflow::{cancel, verbs};
use shunt_engine::{Error, Result};
use tokio_util::sync::CancellationToken;

use super::signals::Signals;
use crate::args::bench::Bench;
use crate::config::{Config, Keyspace};
use crate::exit::Exit;
use crate::output;
use steps::Steps;

const SOURCE_DATABASE: &str = "shunt_bench_source";
const TARGET_DATABASE: &str = "shunt_bench_target";
const WORKFLOW: &str = "shunt_bench";

/// The server already has a database of that name.
const EXISTS: u16 = 1007;

/// What a bench has made on the servers, to be removed again.
#[derive(Debug, Default)]
struct Made {
    databases: Vec<(ServerConfig, &'static str)>,
    /// The target had no sidecar before.
    sidecar: bool,
}

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
    let mut made = Made::default();
    let measured = measure(args, &ends, &mut made, &signals.token).await;
    if signals.token.is_cancelled() {
        output::note!(
            "Interrupted. {SOURCE_DATABASE} and {TARGET_DATABASE} are being removed; a second signal leaves what is left of them."
        );
    }
    let cleaned = clean(&ends, made).await;
    let cleaned = cleaned.context("not all that the bench made is removed");
    // The command ends with what went wrong first.
    if let (Err(_), Err(error)) = (&measured, &cleaned) {
        output::note!("shunt: {error}");
    }
    report::print(&measured?, args.format)?;
    cleaned?;
    Ok(Exit::Done)
}

async fn measure<'a>(
    args: &Bench,
    ends: &'a Ends<'a>,
    made: &mut Made,
    cancel: &CancellationToken,
) -> Result<report::Report> {
    let had_sidecar = must_be_new(ends).await?;
    for (server, database) in
        [(ends.source_server()?, SOURCE_DATABASE), (ends.target_server()?, TARGET_DATABASE)]
    {
        create(&server, database).await?;
        made.databases.push((server, database));
    }
    made.sidecar = !had_sidecar;
    let steps = Steps::new(ends, args);
    tokio::select! {
        report = Box::pin(steps.run()) => report,
        () = cancel.cancelled() => Err(Error::stop("interrupted")),
    }
}

/// A workflow of that name is another bench's, or somebody's. Says whether the target has a sidecar.
async fn must_be_new(ends: &Ends<'_>) -> Result<bool> {
    let mut control = verbs::connect(&ends.target_server()?).await?;
    let exists = steps::workflow_exists(&mut control, &ends.workflow()).await?;
    let had_sidecar = sidecar::is_there(&mut control).await?;
    control.close().await;
    if !exists {
        return Ok(had_sidecar);
    }
    let name = ends.workflow();
    Err(Error::usage(format!("there is a workflow {name} already")).advice(format!(
        "If it is left over from a bench that was killed, remove it: `shunt movetables cancel {name}`."
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
async fn clean(ends: &Ends<'_>, made: Made) -> Result<()> {
    let mut outcome = Ok(());
    if made.databases.len() == 2 {
        outcome = Box::pin(forget(ends)).await;
    }
    for (server, database) in made.databases {
        outcome = outcome.and(remove(&server, database).await);
    }
    if made.sidecar {
        let removed = sidecar::remove_unused(&ends.target_server()?, &ends.workflow()).await;
        outcome = outcome.and(removed);
    }
    outcome
}

async fn forget(ends: &Ends<'_>) -> Result<()> {
    let mut control = verbs::connect(&ends.target_server()?).await?;
    if steps::workflow_exists(&mut control, &ends.workflow()).await? {
        cancel::cancel(&mut control, &ends.workflow(), false).await?;
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
