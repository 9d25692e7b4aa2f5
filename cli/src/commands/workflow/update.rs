//! `shunt workflow update`: what a workflow does about DDL, its tunables, and the topology that it is under. A running stream takes the
//! first two up when it starts the next time.

use shunt_engine::sidecar::workflow;
use shunt_engine::topology::Store;
use shunt_engine::topology::sqlite::SqliteStore;
use shunt_engine::workflow::status;

use crate::args::workflow::Update;
use crate::commands::movetables::site::Site;
use crate::commands::movetables::tuning;
use crate::config::Config;
use crate::exit::Exit;
use crate::output;

pub(in crate::commands) async fn run(args: &Update, config: &Config) -> anyhow::Result<Exit> {
    let site = Site::new(config, &args.workflow)?;
    let name = site.name.to_string();
    let mut control = site.control().await?;
    let status = status::read(&mut control, &name).await?;
    let mut spec = status.workflow.spec.clone();
    if let Some(on_ddl) = args.on_ddl {
        spec.on_ddl = on_ddl;
    }
    tuning::override_with(&mut spec.tuning, &args.config_overrides)?;
    if args.adopt_topology {
        spec.topology = Some(SqliteStore::open(&config.topology).await?.uuid());
    }
    workflow::set_spec(&mut control, status.workflow.id, &spec).await?;
    workflow::journal(&mut control, &name, "updated", "").await?;
    control.close().await;
    output::print(&format!("Workflow {name} was updated.\n"))?;
    if status.streams.iter().any(|stream| stream.owned) {
        eprintln!("It is running: stop and start it, and it goes on with the new settings.");
    }
    Ok(Exit::Done)
}
