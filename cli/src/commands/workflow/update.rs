//! `shunt workflow update`: what a workflow does about DDL, its tunables, and the topology that it is under. A running stream takes the
//! first two up when it starts the next time.

use shunt_engine::cutover::sides::{Place, Plan, REVERSE};
use shunt_engine::sidecar::{switch, workflow};
use shunt_engine::topology::Store;
use shunt_engine::topology::sqlite::SqliteStore;
use shunt_engine::workflow::status;
use shunt_engine::{Error, Result};
use uuid::Uuid;

use crate::args::workflow::Update;
use crate::commands::movetables::site::Site;
use crate::commands::movetables::traffic::sides;
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
    if args.adopt_topology && args.workflow.name.ends_with(REVERSE) {
        return Err(
            Error::usage(format!("{name} is a reverse workflow: name the forward one")).into()
        );
    }
    if let Some(on_ddl) = args.on_ddl {
        spec.on_ddl = on_ddl;
    }
    tuning::override_with(&mut spec.tuning, &args.config_overrides)?;
    if args.adopt_topology {
        let topology = SqliteStore::open(&config.topology).await?.uuid();
        spec.topology = Some(topology);
        let sides = sides(config, spec.clone())?;
        for place in [&sides.source, &sides.target] {
            adopt(place, topology).await?;
        }
    }
    workflow::set_spec(&mut control, status.workflow.id, &spec).await?;
    workflow::journal(&mut control, &name, "updated", "").await?;
    control.close().await;
    output::report(&format!("Workflow {name} was updated.\n"));
    if args.adopt_topology {
        output::note!(
            "Where rules are missing in this topology, the command that leads to the open side makes them: `shunt movetables switchtraffic` or `reversetraffic`."
        );
    }
    if status.streams.iter().any(|stream| stream.owned) {
        output::note!("It is running: stop and start it, and it goes on with the new settings.");
    }
    Ok(Exit::Done)
}

/// What a side keeps of the move, the reverse workflow and the last switch, is of this topology.
async fn adopt(place: &Place, topology: Uuid) -> Result<()> {
    let mut control = place.connect().await?;
    if let Some(mut row) = workflow::find(&mut control, &place.incoming).await? {
        row.spec.topology = Some(topology);
        workflow::set_spec(&mut control, row.id, &row.spec).await?;
    }
    if let Some(row) =
        switch::read(&mut control, &place.incoming).await?.filter(|r| r.generation > 0)
    {
        let mut plan = Plan::parse(&row.plan)?;
        plan.spec.topology = Some(topology);
        switch::set_plan(&mut control, &row, &plan.to_text()?).await?;
    }
    control.close().await;
    Ok(())
}
