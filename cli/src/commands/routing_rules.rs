//! `shunt routing-rules get|apply`.

use shunt_engine::cutover::sides::REVERSE;
use shunt_engine::mysql::control::Control;
use shunt_engine::routing::{RoutingRules, RuleName, ServerType, TableName, document};
use shunt_engine::sidecar;
use shunt_engine::sidecar::fence::{self, FenceState};
use shunt_engine::sidecar::workflow::{self, WorkflowRow};
use shunt_engine::topology::sqlite::SqliteStore;
use shunt_engine::workflow::spec::WorkflowSpec;
use shunt_engine::workflow::verbs;
use shunt_engine::{Error, Result};

use crate::args::traffic::{ApplyRules, RoutingRules as Verb};
use crate::config::{Config, Keyspace};
use crate::exit::Exit;
use crate::output;

pub(in crate::commands) async fn run(verb: &Verb, config: &Config) -> anyhow::Result<Exit> {
    let store = SqliteStore::open(&config.topology).await?;
    match verb {
        Verb::Get => {
            let (_, rules) = document::read(&store).await?;
            print(&rules)
        }
        Verb::Apply(args) => {
            let rules = given(args)?;
            // What was found open may be closed by a switch before this is written: that changes the document first.
            loop {
                let (version, _) = document::read(&store).await?;
                must_be_open(config, &rules).await?;
                if args.dry_run || document::replace(&store, version, &rules).await? {
                    break;
                }
            }
            print(&rules)
        }
    }
}

fn print(rules: &RoutingRules) -> anyhow::Result<Exit> {
    output::print(&format!("{}\n", rules.to_json()))?;
    Ok(Exit::Done)
}

fn given(args: &ApplyRules) -> Result<RoutingRules> {
    match (&args.rules, &args.rules_file) {
        (Some(text), _) => RoutingRules::parse(text.as_bytes()),
        (None, Some(file)) => {
            let text = std::fs::read(file).map_err(|error| {
                Error::usage(format!("{} cannot be read", file.display())).source(error)
            })?;
            RoutingRules::parse(&text)
        }
        (None, None) => Err(Error::usage("neither --rules nor --rules-file is given")),
    }
}

/// Refuses rules that lead writes to a side that is closed to them, or that a stream writes into.
async fn must_be_open(config: &Config, rules: &RoutingRules) -> Result<()> {
    let writes = |(name, to): (_, &TableName)| {
        let name: &shunt_engine::routing::RuleName = name;
        (name.server_type == ServerType::Primary).then(|| to.clone())
    };
    let mut targets: Vec<TableName> = rules.iter().filter_map(writes).collect();
    targets.sort();
    targets.dedup();
    for keyspace in &config.keyspaces {
        let tables: Vec<&str> = targets
            .iter()
            .filter(|to| to.keyspace == keyspace.name)
            .map(|to| to.table.as_str())
            .collect();
        if !tables.is_empty() {
            let mut control = verbs::connect(&keyspace.primary()?.connection()?).await?;
            check(&mut control, &keyspace.name, &tables).await?;
            control.close().await;
        }
    }
    must_lead_switched(config, rules).await?;
    if let Some(to) = targets.iter().find(|to| config.keyspace(&to.keyspace).is_err()) {
        return Err(Error::usage(format!("a rule leads to {to}, and there is no such keyspace"))
            .advice("`shunt keyspace list` shows the keyspaces."));
    }
    Ok(())
}

/// Without rules a table's name means the source again: of a workflow whose source is closed none may be missing. What cannot be asked is
/// passed over: rules may have to be led away from a server that is lost.
async fn must_lead_switched(config: &Config, rules: &RoutingRules) -> Result<()> {
    for keyspace in &config.keyspaces {
        let specs = match routed(keyspace).await {
            Ok(specs) => specs,
            Err(error) => {
                tracing::warn!(keyspace = %keyspace.name, "what is switched there is not known: {error}");
                continue;
            }
        };
        for spec in specs {
            let closed = match is_closed(config, &spec).await {
                Ok(closed) => closed,
                Err(error) => {
                    tracing::warn!(workflow = %spec.name(), "whether it is switched is not known: {error}");
                    continue;
                }
            };
            let to_source = |table: &&String| {
                let name = RuleName {
                    keyspace: None,
                    table: (*table).clone(),
                    server_type: ServerType::Primary,
                };
                rules.get(&name).is_none_or(|to| to.keyspace == spec.source_keyspace)
            };
            if let (true, Some(table)) = (closed, spec.tables.iter().find(to_source)) {
                return Err(Error::usage(format!(
                    "these rules lead the writes of {table} to {}, which is closed: {} is switched to {}",
                    spec.source_keyspace,
                    spec.name(),
                    spec.target_keyspace
                ))
                .advice("Add its rules (`shunt routing-rules get` shows those that are there), or lead the traffic back first: `shunt movetables reversetraffic`."));
            }
        }
    }
    Ok(())
}

/// The moves into a keyspace that were made with rules.
async fn routed(keyspace: &Keyspace) -> Result<Vec<WorkflowSpec>> {
    let mut control = verbs::connect(&keyspace.primary()?.connection()?).await?;
    let mut specs = Vec::new();
    if sidecar::exists(&mut control).await? {
        for WorkflowRow { spec, .. } in workflow::list(&mut control, &keyspace.name).await? {
            if spec.routed == Some(true) && !spec.workflow.ends_with(REVERSE) {
                specs.push(spec);
            }
        }
    }
    control.close().await;
    Ok(specs)
}

/// Whether a move's source is closed for good.
async fn is_closed(config: &Config, spec: &WorkflowSpec) -> Result<bool> {
    let source = config.keyspace(&spec.source_keyspace)?;
    let mut control = verbs::connect(&source.primary()?.connection()?).await?;
    let name = format!("{}.{}{REVERSE}", spec.source_keyspace, spec.workflow);
    let row = match sidecar::exists(&mut control).await? {
        true => fence::read(&mut control, &name).await?,
        false => None,
    };
    control.close().await;
    Ok(row.is_some_and(|row| row.state == FenceState::Closed && row.generation > 0))
}

async fn check(control: &mut Control, keyspace: &str, tables: &[&str]) -> Result<()> {
    if !sidecar::exists(control).await? {
        return Ok(());
    }
    for workflow in workflow::list(control, keyspace).await? {
        let name = workflow.spec.name();
        let row = fence::read(control, &name).await?;
        let open = row.is_some_and(|row| row.state != FenceState::Closed && row.generation > 0);
        let table = workflow.spec.tables.iter().find(|table| tables.contains(&table.as_str()));
        if let Some(table) = table
            && !open
        {
            return Err(Error::usage(format!(
                "a rule leads writes to {keyspace}.{table}, which is closed: workflow {name} writes it"
            ))
            .advice("Switch the traffic: `shunt movetables switchtraffic` or `reversetraffic`."));
        }
    }
    Ok(())
}
