//! `shunt movetables cancel`: removes what the workflow made on the target, and only that.

use std::time::{Duration, Instant};

use shunt_engine::cutover::leak::guard;
use shunt_engine::cutover::sides::{Place, REVERSE, Sides};
use shunt_engine::cutover::{complete, lost, namesake, traffic};
use shunt_engine::mysql::control::Control;
use shunt_engine::routing::{MovedTables, ServerType, Side, document};
use shunt_engine::sidecar::fence::{self, FenceState};
use shunt_engine::sidecar::{self, claims, switch, watch, workflow};
use shunt_engine::topology::locks::{self, Locks};
use shunt_engine::workflow::cancel::{self, Fate, Removal};
use shunt_engine::workflow::status;
use shunt_engine::{Error, Result};
use tokio_util::sync::CancellationToken;

use super::site::Site;
use super::traffic::Ground;
use crate::args::workflow::Cancel;
use crate::config::Config;
use crate::exit::Exit;
use crate::output;

/// How long taking the fence off may take.
const UNFENCE_MAX: Duration = Duration::from_secs(30);

pub(in crate::commands) async fn run(args: &Cancel, config: &Config) -> anyhow::Result<Exit> {
    let site = Site::new(config, &args.workflow)?;
    let name = site.name.to_string();
    let mut control = site.control().await?;
    let ground = Ground::find(config, &args.workflow).await?;
    if args.dry_run {
        let status = status::read(&mut control, &name).await?;
        if knows_switch(&mut control, &ground.sides.target).await? {
            may_go(&ground, args).await?;
        } else {
            must_not_be_switched(&ground.sides).await?;
        }
        let removals = match args.keep_data {
            true => None,
            false => Some(cancel::removals(&mut control, &status).await?),
        };
        reads_must_be_home(&ground, args).await?;
        control.close().await;
        output::print(&what_would_go(&name, removals.as_deref()))?;
        return Ok(Exit::Done);
    }
    let locks = ground.lock().await?;
    let cancelled = Box::pin(cancel(&ground, &locks, &mut control, args)).await;
    locks.release().await;
    for removal in cancelled? {
        if let Fate::Stay(why) = removal.fate {
            output::note!("shunt: {} stays as it is: {why}", removal.table);
        }
    }
    control.close().await;
    let kept = if args.keep_data { " Its tables on the target stay." } else { "" };
    output::report(&format!("Workflow {name} was cancelled.{kept}\n"));
    Ok(Exit::Done)
}

/// The tables, the fence where one was put up, the rules, and at last what the command is found by.
async fn cancel(
    ground: &Ground<'_>,
    locks: &Locks,
    control: &mut Control,
    args: &Cancel,
) -> Result<Vec<Removal>> {
    let name = args.workflow.to_string();
    if args.workflow.name.ends_with(REVERSE) {
        return Err(Error::usage(format!("{name} is the reverse workflow of a switched move"))
            .advice("Reverse the traffic, or complete the workflow."));
    }
    if !args.keep_data {
        claims::must_be_alone(control, &ground.sides.spec).await?;
    }
    let switched = knows_switch(control, &ground.sides.target).await?;
    if switched {
        ground.recover(locks).await?;
        may_go(ground, args).await?;
    } else {
        must_not_be_switched(&ground.sides).await?;
    }
    reads_must_be_home(ground, args).await?;
    if switched || fence_is_left(&ground.sides).await? {
        let never = CancellationToken::new();
        complete::unfence(&ground.sides, Instant::now() + UNFENCE_MAX, &never).await?;
    }
    withdraw_rules(ground, locks, control).await?;
    let stay = cancel::cancel(control, &name, args.keep_data).await?;
    switch::forget(control, &name).await?;
    Ok(stay)
}

/// The rules go, but for those of tables that another workflow into the same database lists: it goes by the same ones.
async fn withdraw_rules(ground: &Ground<'_>, locks: &Locks, control: &mut Control) -> Result<()> {
    let spec = &ground.sides.spec;
    let claims = claims::of_others(control, spec).await?;
    let kept = |table: &String| claims.iter().any(|claim| claim.routed && claim.table == *table);
    let tables: Vec<String> = spec.tables.iter().filter(|table| !kept(table)).cloned().collect();
    let moved = MovedTables { tables: &tables, ..ground.sides.moved() };
    document::change_as(ground.store.as_ref(), &locks.workflow, locks::TTL, |rules| {
        moved.withdraw(rules);
        Ok(())
    })
    .await
    .map(drop)
}

/// Whether an earlier cancel died when only the target had forgotten the switch, or the source a part of it. A fence that is closed is another
/// one's: of a move that was completed under this name.
async fn fence_is_left(sides: &Sides) -> Result<bool> {
    let place = &sides.source;
    // Of a workflow that was never switched the source need not be there any more.
    let mut source = match place.connect().await {
        Ok(source) => source,
        Err(error) => {
            tracing::warn!("whether a fence is left on the source is not known: {error}");
            return Ok(false);
        }
    };
    // Nor is anything left of this one where another move of its name has its own.
    if !knows_switch(&mut source, place).await?
        || namesake::find(&mut source, &sides.spec).await?.is_some()
    {
        return Ok(false);
    }
    let row = fence::read(&mut source, &place.incoming).await?;
    Ok(row.is_none_or(|row| row.state == FenceState::Open))
}

/// A target that knows of no switch may be a replica that was behind when it was promoted, or be restored from a backup. The source knows
/// then: it is closed, and watched or replicated back to, as it is not any more of a move that was completed under this name.
async fn must_not_be_switched(sides: &Sides) -> Result<()> {
    let place = &sides.source;
    // As in `fence_is_left`.
    let Ok(mut source) = place.connect().await else { return Ok(()) };
    let row = match fence::read(&mut source, &place.incoming).await {
        // The account may not look into the sidecar, which it need not before a switch.
        Err(error) if error.is_denied() => None,
        other => other?,
    };
    let closed = row.is_some_and(|row| row.state == FenceState::Closed)
        && (watch::generation(&mut source, &place.incoming).await?.is_some()
            || workflow::find(&mut source, &place.incoming).await?.is_some())
        && namesake::find(&mut source, &sides.spec).await?.is_none();
    source.close().await;
    if !closed {
        return Ok(());
    }
    let (name, address) = (sides.spec.name(), &sides.target.server.address);
    Err(Error::usage(format!(
        "the writes of {name} were switched to the target, and {} takes none; but the target at {address} does not know of it: a replica that was behind was promoted, or it was restored from a backup",
        place.keyspace
    ))
    .advice(format!(
        "If another server took the writes, correct the address in the configuration. If this one is to take them, `shunt movetables switchtraffic {name}` opens it as soon as it has all that {} holds.",
        place.keyspace
    )))
}

/// Whether a switch of its writes was ever begun.
async fn knows_switch(control: &mut Control, place: &Place) -> Result<bool> {
    let row = match sidecar::exists(control).await? {
        true => switch::read(control, &place.incoming).await?,
        false => None,
    };
    Ok(row.is_some_and(|row| row.generation > 0))
}

/// Nothing goes that readers are led to.
async fn reads_must_be_home(ground: &Ground<'_>, args: &Cancel) -> Result<()> {
    if args.keep_data {
        return Ok(());
    }
    let (_, rules) = document::read(ground.store.as_ref()).await?;
    let rule = traffic::rule_to(&ground.sides, &rules, Side::Target, &ServerType::READS);
    let Some(rule) = rule else { return Ok(()) };
    let name = &args.workflow;
    Err(Error::usage(format!(
        "reads of {name} are switched to the tables that would go: the routing rule {rule} leads there"
    ))
    .advice(
        format!("Bring them back first: `shunt movetables reversetraffic {name} --tablet-types replica,rdonly`. Or keep the tables: --keep-data."),
    ))
}

/// Nothing goes that is nowhere else.
async fn may_go(ground: &Ground<'_>, args: &Cancel) -> Result<()> {
    let name = &args.workflow;
    let traffic = ground.traffic().await?;
    if traffic.writes == Side::Target {
        return Err(Error::usage(format!("the traffic of {name} is switched: {traffic}"))
            .advice("Reverse it first, or complete the workflow."));
    }
    if args.keep_data {
        return Ok(());
    }
    if lost::is_orphan(&ground.sides).await? {
        return Err(Error::usage(format!(
            "the tables of {name} took writes on the target, and both sides are open: what is in them may be nowhere else"
        ))
        .advice("Copy what you need, then cancel with --keep-data and drop them yourself."));
    }
    for place in [&ground.sides.source, &ground.sides.target] {
        guard::must_be_tight(place, UNFENCE_MAX).await?;
    }
    Ok(())
}

/// `removals` is what becomes of the tables; without it they all stay.
fn what_would_go(name: &str, removals: Option<&[Removal]>) -> String {
    let mut text = format!("Workflow {name} would be cancelled");
    let Some(removals) = removals else { return text + "; its tables on the target stay.\n" };
    text += ":\n";
    for removal in removals {
        text += &match (removal.statement(), removal.fate) {
            (Some(statement), _) => format!("{statement};\n"),
            (None, Fate::Stay(why)) => format!("-- {} stays: {why}\n", removal.table),
            (None, _) => String::new(),
        };
    }
    text
}
