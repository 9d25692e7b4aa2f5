//! `shunt movetables complete`: the end of a move whose traffic is all at the target.

use shunt_engine::Result;
use shunt_engine::cutover::complete::{self, Completing, Tables};
use shunt_engine::sidecar::fence;
use shunt_engine::topology::locks::Locks;
use tokio_util::sync::CancellationToken;

use super::traffic::Ground;
use crate::args::traffic::Complete;
use crate::commands::signals::Signals;
use crate::config::Config;
use crate::exit::Exit;
use crate::output;

pub(in crate::commands) async fn run(args: &Complete, config: &Config) -> anyhow::Result<Exit> {
    let ground = Ground::find(config, &args.workflow).await?;
    if args.dry_run {
        return dry_run(args, &ground).await;
    }
    let signals = Signals::catch()?;
    let locks = ground.lock().await?;
    let done = Box::pin(completed(args, &ground, &locks, &signals.token)).await;
    locks.release().await;
    let start = done?;
    output::report(&format!(
        "\nComplete was successful for workflow {}\nStart State: {start}\nCurrent State: Workflow Not Found\n",
        ground.sides.spec.name()
    ));
    Ok(Exit::Done)
}

async fn completed(
    args: &Complete,
    ground: &Ground<'_>,
    locks: &Locks,
    cancel: &CancellationToken,
) -> Result<String> {
    ground.recover(locks).await?;
    let start = ground.traffic().await?.to_string();
    complete::complete(&ground.sides, ground.store.as_ref(), locks, how(args), cancel).await?;
    Ok(start)
}

fn how(args: &Complete) -> Completing {
    Completing {
        tables: match (args.keep_data, args.drop_tables) {
            (true, _) => Tables::Keep,
            (false, true) => Tables::Drop,
            (false, false) => Tables::Rename,
        },
        keep_routing_rules: args.keep_routing_rules,
        timeout: args.timeout,
    }
}

async fn dry_run(args: &Complete, ground: &Ground<'_>) -> anyhow::Result<Exit> {
    complete::must_be_switched(&ground.sides, ground.store.as_ref()).await?;
    let place = &ground.sides.source;
    let mut control = place.connect().await?;
    let tables = complete::existing(&mut control, place).await?;
    let generation =
        fence::read(&mut control, &place.incoming).await?.map_or(0, |row| row.generation);
    control.close().await;
    let mut text = format!("Complete of {} would:\n", ground.sides.spec.name());
    let becomes = how(args).tables;
    if becomes == Tables::Keep {
        text += "- leave the source's tables, closed to writes\n";
    } else {
        for statement in complete::removal_sql(place, &tables, generation, becomes) {
            text += &format!("- {statement};\n");
        }
    }
    if !args.keep_routing_rules {
        text += "- remove the routing rules\n";
    }
    text += "- forget the workflow and the one back\n";
    let refused = complete::must_be_harmless(&ground.sides, how(args)).await.err();
    if let Some(why) = &refused {
        text += &format!("It would be refused: {why}\n");
    }
    output::print(&text)?;
    Ok(if refused.is_some() { Exit::Failed } else { Exit::Done })
}
