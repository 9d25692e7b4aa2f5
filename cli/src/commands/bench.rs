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

/// Removes the workflow, if it came so far, and the databases that were made.
async fn clean(ends: &Ends<'_>, made: Vec<(ServerConfig, &'static str)>) -> Result<()> {
    if made.len() == 2 {
        let mut control = verbs::connect(&ends.target_server()?).await?;
        let exists = steps::workflow_exists(&mut control, &ends.workflow()).await?;
        if exists {
            verbs::cancel(&mut control, &ends.workflow(), false).await?;
        }
        control.close().await;
    }
    for (server, database) in made {
        let mut control = Control::connect(&server, Session::Control).await?;
        control.execute(format!("DROP DATABASE {}", sql::ident(database))).await?;
        control.close().await;
    }
    Ok(())
}
