//! `shunt movetables reopen`: the target is lost for good after the switch, and the source takes the writes again.

use std::time::{SystemTime, UNIX_EPOCH};

use shunt_engine::cutover::lost::{self, Agreed, Loss, Standing};
use shunt_engine::cutover::sides::Plan;
use shunt_engine::error::ErrorKind;
use shunt_engine::sidecar::{switch, workflow};
use shunt_engine::workflow::spec::WorkflowSpec;
use shunt_engine::workflow::verbs;
use shunt_engine::{Error, Result};

use super::traffic::Ground;
use crate::args::traffic::Reopen;
use crate::args::values::WorkflowName;
use crate::commands::signals::Signals;
use crate::config::{Config, Keyspace, ServerType};
use crate::exit::Exit;
use crate::output;

pub(in crate::commands) async fn run(args: &Reopen, config: &Config) -> anyhow::Result<Exit> {
    let name = args.workflow.to_string();
    let spec = switched(config, &args.workflow).await?.ok_or_else(|| {
        Error::usage(format!("no server that answers knows of a switch of {name}"))
            .advice("`shunt workflow list` shows the workflows; the source's server has to answer.")
    })?;
    let spec = match args.adopt_topology {
        true => WorkflowSpec { topology: None, ..spec },
        false => spec,
    };
    let ground = Ground::of(config, spec).await?;
    must_have_no_heir(&ground).await?;
    let standing = lost::standing(&ground.sides).await?;
    if let Standing::Closed(loss) = &standing
        && !args.yes
    {
        output::print(&warning(&ground, loss))?;
        return Ok(Exit::Failed);
    }
    let signals = Signals::catch()?;
    let locks = ground.lock().await?;
    let (sides, store) = (&ground.sides, ground.store.as_ref());
    let agreed = match standing {
        Standing::Closed(_) => Agreed::ToTheLoss,
        Standing::Unsettled | Standing::Open => Agreed::ToNoLoss,
    };
    let opened = Box::pin(lost::reopen(sides, store, &locks, agreed, &signals.token)).await;
    locks.release().await;
    opened?;
    output::report(&said(&ground, &standing));
    Ok(Exit::Done)
}

fn said(ground: &Ground<'_>, before: &Standing) -> String {
    let name = ground.sides.spec.name();
    let (source, target) = (&ground.sides.source.keyspace, &ground.sides.target.server.address);
    match before {
        Standing::Unsettled => format!(
            "The switch of {name} during which {target} was lost has been ended. The tables take writes at {source}.\n"
        ),
        // Said again where all was done by an earlier command.
        Standing::Closed(_) | Standing::Open => format!(
            "The tables of {name} take writes at {source}. Keep clients away from {target} should it come back: its tables may be open as well.\n"
        ),
    }
}

/// A replica of the lost server may be its successor by now, and take writes.
async fn must_have_no_heir(ground: &Ground<'_>) -> Result<()> {
    let keyspace = &ground.sides.target.keyspace;
    for server in &ground.config.keyspace(keyspace)?.servers {
        if server.server_type == ServerType::Primary {
            continue;
        }
        let answers = match verbs::connect(&server.connection()?).await {
            Ok(_) => true,
            Err(error) => lost::is_answer(&error),
        };
        if answers {
            return Err(Error::usage(format!("{} of {keyspace} answers", server.address)).advice(
                "It has what the lost primary had sent it: make it the primary, there and in the configuration, and nothing else is lost. If it is not to take over, stop it and remove it from the configuration first.",
            ));
        }
    }
    Ok(())
}

fn warning(ground: &Ground<'_>, loss: &Loss) -> String {
    let (source, target) = (&ground.sides.source, &ground.sides.target);
    let (at, keyspace) = (&target.server.address, &target.keyspace);
    let mut text = format!("{keyspace} at {at} does not answer, and it takes the writes.\n");
    text += &match (&loss.applied, loss.applied_s) {
        (Some(gtids), Some(seconds)) => format!(
            "{} has what {keyspace} wrote up to {gtids}, the last of it applied {} s ago. Later writes would be lost.\n",
            source.keyspace,
            now_s().saturating_sub(seconds).max(0)
        ),
        _ => format!("Nothing was replicated back: all that {keyspace} wrote would be lost.\n"),
    };
    text += "If it can be started again, or a replica of it be made the primary, nothing is lost: do that, and change its address in the configuration.\n\
             If it is lost for good, give this command with --yes.\n";
    text
}

fn now_s() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

/// The move of this name, or of the name of the reverse workflow, as a server knows it that answers. Its target need not; so which topology
/// it is under is asked of the reverse workflow, if there is one.
async fn switched(config: &Config, name: &WorkflowName) -> Result<Option<WorkflowSpec>> {
    // Of a server that cannot be asked, for whatever reason, another one may know.
    let mut unasked = Ok(None);
    for keyspace in &config.keyspaces {
        match switched_into(keyspace, &name.to_string()).await {
            Ok(None) => {}
            Ok(found) => return Ok(found),
            Err(error) if error.kind() == ErrorKind::Retry => {}
            Err(error) => unasked = Err(error),
        }
    }
    unasked
}

async fn switched_into(keyspace: &Keyspace, name: &str) -> Result<Option<WorkflowSpec>> {
    let mut control = verbs::connect(&keyspace.primary()?.connection()?).await?;
    for row in switch::all(&mut control).await? {
        let mut spec = Plan::parse(&row.plan)?.spec;
        if [spec.name(), row.workflow.clone()].iter().any(|known| known == name) {
            if let Some(back) = workflow::find(&mut control, &row.workflow).await? {
                spec.topology = back.spec.topology;
            }
            return Ok(Some(spec));
        }
    }
    Ok(None)
}

/// What is said when a workflow cannot be read because the server of its target does not answer, and that server takes the writes.
pub(super) async fn advise(config: &Config, name: &WorkflowName, error: Error) -> Error {
    if error.kind() != ErrorKind::Retry {
        return error;
    }
    let Ok(Some(spec)) = switched(config, name).await else { return error };
    let Ok(ground) = Ground::of(config, spec).await else { return error };
    let source = &ground.sides.source.keyspace;
    match lost::standing(&ground.sides).await {
        Ok(Standing::Closed(_)) => error.advice(format!(
            "It takes the writes. Start it again; if it is lost for good, `shunt movetables reopen {name}` says what that means and opens {source} again."
        )),
        Ok(Standing::Unsettled) => error.advice(format!(
            "It was lost in a switch that is not settled, and {source} takes the writes. Start it again; if it is lost for good, `shunt movetables reopen {name}` ends the switch."
        )),
        _ => error,
    }
}
