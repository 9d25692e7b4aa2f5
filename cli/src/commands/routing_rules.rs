//! `shunt routing-rules get|apply`.

use shunt_engine::cutover::sides::REVERSE;
use shunt_engine::mysql::control::Control;
use shunt_engine::routing::{MovedTables, RoutingRules, ServerType, Side, TableName, document};
use shunt_engine::sidecar;
use shunt_engine::sidecar::fence::{self, FenceState};
use shunt_engine::sidecar::workflow::{self, WorkflowRow};
use shunt_engine::topology::sqlite::SqliteStore;
use shunt_engine::workflow::verbs;
use shunt_engine::{Error, Result};

use crate::args::traffic::{ApplyRules, RoutingRules as Verb};
use crate::config::Config;
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
        return Err(Error::usage(format!("a rule leads to {to}, and there is no such keyspace")));
    }
    Ok(())
}

/// Without rules a table's name means the source again: of a workflow that is switched none may be missing.
async fn must_lead_switched(config: &Config, rules: &RoutingRules) -> Result<()> {
    for keyspace in &config.keyspaces {
        // Of a server that does not answer nothing is known; that must not keep rules from being led away from it.
        let mut control = match verbs::connect(&keyspace.primary()?.connection()?).await {
            Ok(control) => control,
            Err(error) => {
                tracing::warn!(keyspace = %keyspace.name, "what is switched there is not known: {error}");
                continue;
            }
        };
        if sidecar::exists(&mut control).await? {
            for WorkflowRow { spec, .. } in workflow::list(&mut control, &keyspace.name).await? {
                let row = fence::read(&mut control, &spec.name()).await?;
                let moved = MovedTables {
                    source: &spec.source_keyspace,
                    target: &spec.target_keyspace,
                    tables: &spec.tables,
                };
                // The fence of the workflow back is the source's: where that is open, so are the names.
                let is_move = spec.routed == Some(true) && !spec.workflow.ends_with(REVERSE);
                let switched = row.is_some_and(|r| r.state == FenceState::Open && r.generation > 0);
                if is_move && switched && moved.writes_at(rules) != Some(Side::Target) {
                    let name = spec.name();
                    return Err(Error::usage(format!(
                        "these rules do not lead the writes of {name} to {}, which takes them", keyspace.name
                    ))
                    .advice("Add its rules (`shunt routing-rules get` shows those that are there), or lead the traffic back first: `shunt movetables reversetraffic`."));
                }
            }
        }
        control.close().await;
    }
    Ok(())
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
