//! `shunt movetables switchtraffic`, `reversetraffic` and `rehearse`.

use serde::Serialize;
use shunt_engine::cutover::hooks::{Facts, Step, When};
use shunt_engine::cutover::preflight::Look;
use shunt_engine::cutover::traffic::{self, Traffic};
use shunt_engine::cutover::{Fence, Options, Outcome, coordinator, reads, survey};
use shunt_engine::preflight::{Finding, Level};
use shunt_engine::routing::{ServerType as Routed, Side};
use shunt_engine::topology::locks::Locks;
use shunt_engine::{Error, ErrorKind, Result};
use tokio_util::sync::CancellationToken;

use super::findings::{self, FindingView};
use super::proof;
use super::switched::{Ended, READS_STAY, View};
use super::traffic::Ground;
use crate::args::traffic::{FenceKind, Pause, Rehearse, Switch};
use crate::commands::signals::Signals;
use crate::config::{Config, ServerType};
use crate::exit::Exit;
use crate::output::{self, Format};

pub(in crate::commands) async fn forward(args: &Switch, config: &Config) -> anyhow::Result<Exit> {
    Box::pin(run("SwitchTraffic", args, Side::Target, config)).await
}

pub(in crate::commands) async fn back(args: &Switch, config: &Config) -> anyhow::Result<Exit> {
    Box::pin(run("ReverseTraffic", args, Side::Source, config)).await
}

async fn run(verb: &str, args: &Switch, to: Side, config: &Config) -> anyhow::Result<Exit> {
    fence(args.pause.fence)?;
    let ground = Ground::find(config, &args.workflow).await?;
    if args.dry_run {
        return dry_run(verb, args, to, &ground).await;
    }
    let signals = Signals::catch()?;
    let locks = ground.lock().await?;
    let done = Box::pin(switch(verb, args, to, &ground, &locks, &signals)).await;
    locks.release().await;
    let view = done?;
    view.say(args.format)?;
    Ok(view.exit)
}

/// Reads, with the operator's command around them.
async fn switch_reads(
    args: &Switch,
    (reading, to): (&[Routed], Side),
    ground: &Ground<'_>,
    locks: &Locks,
    cancel: &CancellationToken,
) -> Result<()> {
    let types = args.tablet_types.iter().filter(|part| **part != ServerType::Primary);
    let types: Vec<String> = types.map(ToString::to_string).collect();
    let sides = &ground.sides;
    let tablet_types = &types.join(",");
    let facts = Facts { sides, to, tablet_types, generation: None, rehearsal: false };
    let limit = args.pause.timeout;
    locks.check()?;
    ground.hooks.must((Step::Reads, When::Before), &facts, limit).await?;
    let servers = ground.readers(to, &args.tablet_types)?;
    let readers = reads::Readers { servers: &servers, force: args.force };
    let lag = (args.pause.max_replication_lag_allowed, cancel);
    reads::switch(sides, ground.store.as_ref(), locks, (reading, to), readers, lag).await?;
    locks.check()?;
    ground.hooks.tell((Step::Reads, When::After), &facts).await;
    Ok(())
}

async fn switch(
    verb: &str,
    args: &Switch,
    to: Side,
    ground: &Ground<'_>,
    locks: &Locks,
    signals: &Signals,
) -> Result<View> {
    recovered(ground, locks, signals).await?;
    let start = ground.traffic().await?;
    let types: Vec<Routed> = args.tablet_types.iter().map(|t| t.routed()).collect();
    let writes = args.tablet_types.contains(&ServerType::Primary);
    let reading: Vec<Routed> = types.iter().copied().filter(|t| *t != Routed::Primary).collect();
    // What stops the writes is said before anything is switched.
    let switching = writes && start.writes != to;
    let options = switching.then(|| options(ground, args)).transpose()?;
    let found = match &options {
        Some(options) => surveyed(ground, to, options).await?,
        // Rules may have to be led; not to one of two open sides.
        None if writes => proof::orphan(ground).await?.into_iter().collect(),
        None => Vec::new(),
    };
    if args.format == Format::Text {
        show_warnings(&found);
    }
    if let Err(error) = must_not_be_refused(&found) {
        if args.format == Format::Text {
            return Err(error);
        }
        let (outcome, message) = (Ended::Refused, Some(error.to_string()));
        let (exit, current_state) = (Exit::of(&error.into()), start.to_string());
        let view = View::of(verb, ground.sides.spec.name(), &start);
        return Ok(View { outcome, message, exit, current_state, findings: found, ..view });
    }
    if !reading.is_empty() && start.routed {
        signals.doubt(true);
        switch_reads(args, (&reading, to), ground, locks, &signals.token).await?;
    } else if !reading.is_empty() && !writes {
        return Err(Error::usage("the workflow has no routing rules, so reads cannot be switched")
            .advice("Lead your readers to the other side yourself, then run the command with --tablet-types primary."));
    }
    let view = View::of(verb, ground.sides.spec.name(), &start);
    let mut view = View { findings: found, ..view };
    // The writes may be there from an earlier command that switched them and was told nothing; and rules that were restored from a backup
    // may lead to the closed side all the same, or none may be there.
    let led_astray =
        writes && start.writes == to && start.routed && !start.leads_writes_only_to(to);
    if led_astray {
        traffic::lead_writes(&ground.sides, ground.store.as_ref(), locks, to).await?;
    } else if writes && start.writes == to && args.tablet_types.len() == 1 {
        return Err(Error::usage(format!("the writes are at the {to} already: {start}")));
    }
    if let Some(options) = options {
        let outcome = switch_writes(ground, locks, to, &options, signals).await;
        if reading.is_empty() || !start.routed {
            view.tell(outcome?);
        } else {
            view.tell(outcome.map_err(|error| error.context(READS_STAY))?);
            view.reads_stay();
        }
    }
    view.hook_failures = ground.hooks.failures();
    view.current_state = match ground.traffic().await {
        Ok(traffic) => traffic.to_string(),
        Err(error) => format!("cannot be seen: {error}"),
    };
    Ok(view)
}

/// Settles an earlier switch, which may be finished meanwhile.
async fn recovered(ground: &Ground<'_>, locks: &Locks, signals: &Signals) -> Result<()> {
    signals.doubt(true);
    let recovered = Box::pin(ground.recover_first(locks)).await;
    signals.doubt(false);
    recovered
}

/// Once it is begun whoever kills this cannot tell what becomes of it.
async fn switch_writes(
    ground: &Ground<'_>,
    locks: &Locks,
    to: Side,
    options: &Options,
    signals: &Signals,
) -> Result<Outcome> {
    signals.doubt(!options.rehearsal);
    let (sides, store) = (&ground.sides, &ground.store);
    let switching = coordinator::switch_writes(sides, store, locks, to, options, &signals.token);
    let outcome = Box::pin(switching).await;
    signals.doubt(matches!(outcome, Ok(Outcome::Switched { .. } | Outcome::Unknown(_))));
    outcome
}

fn fence(kind: FenceKind) -> Result<Fence> {
    let why = match kind {
        FenceKind::Row => return Ok(Fence::Row),
        FenceKind::External => return Ok(Fence::External),
        FenceKind::Locks => {
            "--fence locks is not built: table locks end with the connection that holds them, and nothing would keep the side closed"
        }
        FenceKind::ReadOnly => {
            "--fence read-only is not built: nothing would open the server again if this command dies"
        }
    };
    Err(Error::usage(why).advice("Use --fence row, or external with a command in [hooks]."))
}

fn options(ground: &Ground<'_>, args: &Switch) -> Result<Options> {
    let reverse_replication = args.enable_reverse_replication;
    let how = pause_options(ground, &args.pause)?;
    Ok(Options { reverse_replication, force: args.force, ..how })
}

fn pause_options(ground: &Ground<'_>, pause: &Pause) -> Result<Options> {
    let options = Options {
        max_pause: pause.max_pause,
        timeout: pause.timeout,
        lag_max: pause.max_replication_lag_allowed,
        reverse_replication: true,
        gateways: !pause.no_gateway,
        rehearsal: false,
        fence: fence(pause.fence)?,
        force: false,
        hooks: ground.hooks.clone(),
    };
    options.check()?;
    Ok(options)
}

/// What stops a switch of the writes, and what the operator should know.
async fn surveyed(ground: &Ground<'_>, to: Side, options: &Options) -> Result<Vec<Finding>> {
    if let Some(found) = proof::half_completed(ground, to).await? {
        return Ok(vec![found]);
    }
    let mut found = Box::pin(survey::survey(look(ground, to, options))).await?;
    found.extend(proof::orphan(ground).await?);
    found.extend(proof::finding(ground, to).await?);
    Ok(found)
}

/// What the operator should know before a switch of the writes; only the switch itself says what stops it.
async fn warnings(ground: &Ground<'_>, to: Side, options: &Options) -> Result<Vec<Finding>> {
    Box::pin(survey::warn(look(ground, to, options))).await
}

/// # Errors
/// All that stops a switch; Usage if it is only that no gateway runs.
fn must_not_be_refused(found: &[Finding]) -> Result<()> {
    let errors: Vec<&Finding> = found.iter().filter(|f| f.level == Level::Error).collect();
    let reasons: Vec<&str> = errors.iter().map(|finding| finding.reason.as_str()).collect();
    let fixes: Vec<&str> = errors.iter().filter_map(|finding| finding.fix.as_deref()).collect();
    match errors.as_slice() {
        [] => Ok(()),
        [only] if only.id == "gateways" => {
            Err(Error::usage("no gateway is registered").advice("Start `shunt gateway`, or switch with --no-gateway where clients connect to the servers directly."))
        }
        _ => Err(Error::stop(reasons.join("; ")).advice(fixes.join(" "))),
    }
}

/// What could not be checked is said by a dry run, and in JSON; errors are said at the end.
fn show_warnings(found: &[Finding]) {
    let seen = |finding: &&Finding| finding.level == Level::Warning;
    let seen: Vec<Finding> = found.iter().filter(seen).cloned().collect();
    output::beside(&findings::text(&seen));
}

fn look<'a>(ground: &'a Ground<'_>, to: Side, options: &'a Options) -> Look<'a> {
    let (closing, opening) = (ground.sides.place(to.other()), ground.sides.place(to));
    Look { closing, opening, store: ground.store.as_ref(), options }
}

/// What a dry run says.
#[derive(Serialize)]
struct DryView<'a> {
    workflow: String,
    start_state: String,
    would: Vec<String>,
    passed: bool,
    findings: Vec<FindingView<'a>>,
}

async fn dry_run(verb: &str, args: &Switch, to: Side, ground: &Ground<'_>) -> anyhow::Result<Exit> {
    let traffic = ground.traffic().await?;
    let switches_writes = args.tablet_types.contains(&ServerType::Primary) && traffic.writes != to;
    let mut found = match switches_writes {
        true => surveyed(ground, to, &options(ground, args)?).await?,
        false => Vec::new(),
    };
    if traffic.routed && args.tablet_types.iter().any(|part| *part != ServerType::Primary) {
        let store = ground.store.as_ref();
        found.extend(reads::refusal(&ground.sides, store, to, args.force).await?);
    }
    let passed = !found.iter().any(|finding| finding.level == Level::Error);
    let (workflow, would) = (ground.sides.spec.name(), steps(args, to, ground, &traffic));
    if args.format == Format::Json {
        let findings = findings::views(&found);
        let start_state = traffic.to_string();
        output::print_json(&DryView { workflow, start_state, would, passed, findings })?;
    } else {
        output::beside(&findings::text(&found));
        let lines: String = would.iter().map(|step| format!("- {step}\n")).collect();
        let verdict = if passed { "" } else { "It would be refused: see the errors above.\n" };
        output::print(&format!(
            "{verb} of {workflow} would, from \"{traffic}\":\n{lines}{verdict}"
        ))?;
    }
    Ok(if passed { Exit::Done } else { Exit::Failed })
}

fn steps(args: &Switch, to: Side, ground: &Ground<'_>, traffic: &Traffic) -> Vec<String> {
    let types: Vec<String> = args.tablet_types.iter().map(ToString::to_string).collect();
    let (opening, closing) = (ground.sides.place(to), ground.sides.place(to.other()));
    let (opens, closes) = (&opening.keyspace, &closing.keyspace);
    let mut steps = Vec::new();
    if args.tablet_types.iter().any(|t| *t != ServerType::Primary) {
        steps.push(format!("lead reads ({}) to {opens}", types.join(", ")));
    }
    if !args.tablet_types.contains(&ServerType::Primary) {
        return steps;
    }
    if traffic.writes == to {
        steps.push(format!("change nothing about writes, which are at {opens} already"));
        return steps;
    }
    if args.pause.fence == FenceKind::Row {
        let tables = ground.sides.spec.tables.join(", ");
        steps.push(format!("put the fence on {tables} in {closes} and {opens}"));
    }
    steps.push(format!("close {closes}, apply the rest to {opens}, open it"));
    if args.enable_reverse_replication {
        steps.push(format!("replicate back from {opens} to {closes}"));
    }
    steps
}

pub(in crate::commands) async fn rehearse(
    args: &Rehearse,
    config: &Config,
) -> anyhow::Result<Exit> {
    let ground = Ground::find(config, &args.workflow).await?;
    let signals = Signals::catch()?;
    let locks = ground.lock().await?;
    let outcome = Box::pin(rehearsed(args, &ground, &locks, &signals)).await;
    locks.release().await;
    let name = ground.sides.spec.name();
    match outcome? {
        Outcome::Rehearsed { pause } => {
            let ms = pause.as_millis();
            match args.format {
                Format::Json => output::report_json(
                    &serde_json::json!({ "workflow": name, "outcome": "taken_back", "pause_ms": ms }),
                )?,
                Format::Text => output::report(&format!(
                    "Workflow {name} was rehearsed: writes were stopped for {ms} ms, nothing is switched.\n"
                )),
            }
            Ok(Exit::Done)
        }
        Outcome::TakenBack { why, .. } => Err(why.into()),
        Outcome::Switched { .. } => Err(Error::stop("a rehearsal has switched").into()),
        Outcome::Unknown(why) => Err(why.with_kind(ErrorKind::Ambiguous).into()),
    }
}

async fn rehearsed(
    args: &Rehearse,
    ground: &Ground<'_>,
    locks: &Locks,
    signals: &Signals,
) -> Result<Outcome> {
    recovered(ground, locks, signals).await?;
    let to = ground.traffic().await?.writes.other();
    let options = Options { rehearsal: true, ..pause_options(ground, &args.pause)? };
    show_warnings(&warnings(ground, to, &options).await?);
    switch_writes(ground, locks, to, &options, signals).await
}
