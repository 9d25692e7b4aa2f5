//! `shunt movetables create`: looks at both sides, makes the workflow, and runs it here unless it is left to a worker.

use std::time::Duration;

use serde::Serialize;
use shunt_engine::cutover::namesake;
use shunt_engine::cutover::sides::REVERSE;
use shunt_engine::preflight::Level;
use shunt_engine::routing::{MovedTables, document};
use shunt_engine::sidecar::wanted::Wanted;
use shunt_engine::sidecar::{self, claims, workflow};
use shunt_engine::topology::Store;
use shunt_engine::topology::sqlite::SqliteStore;
use shunt_engine::workflow::create::{self, Prepared};
use shunt_engine::workflow::spec::WorkflowSpec;
use shunt_engine::workflow::verbs;
use shunt_engine::{Error, Result};

use super::findings::{self, FindingView};
use super::here;
use super::lock;
use super::plan::Plan;
use super::site::Site;
use crate::args::workflow::Create;
use crate::config::Config;
use crate::exit::Exit;
use crate::output::{self, Format};

pub(in crate::commands) async fn run(args: &Create, config: &Config) -> anyhow::Result<Exit> {
    let selection = &args.selection;
    if selection.workflow.name.ends_with(REVERSE) {
        let what = format!(
            "a workflow's name must not end in {REVERSE}: that ending is reserved for reverse workflows"
        );
        return Err(Error::usage(what).into());
    }
    let site = Site::new(config, &selection.workflow)?;
    let plan = Plan::new(selection, config).await?;
    if args.dry_run {
        must_be_new(&site, &plan.spec).await?;
        return dry_run(selection.format, plan).await;
    }
    let lock = lock::take(&site, Duration::ZERO).await?;
    let made = Box::pin(make(&site, plan, args)).await;
    lock.release().await;
    let Some(tables) = made? else { return Ok(Exit::Failed) };
    say_created(selection.format, &site, &selection.source, &tables)?;
    if !args.auto_start {
        output::note!("It is not started: `shunt movetables start {}` does that.", site.name);
        return Ok(Exit::Done);
    }
    if args.detach {
        return Ok(Exit::Done);
    }
    here::run(&site, selection.format).await
}

/// A name that is taken, or a table that another workflow writes, is said before the preflight finds what that workflow has filled.
async fn must_be_new(site: &Site<'_>, spec: &WorkflowSpec) -> Result<()> {
    let mut control = site.control().await?;
    let name = site.name.to_string();
    if sidecar::exists(&mut control).await? {
        if workflow::find(&mut control, &name).await?.is_some() {
            return Err(Error::usage(format!("workflow {name} exists already"))
                .advice("Choose another name, or cancel that one first."));
        }
        claims::must_be_free(&mut control, spec).await?;
    }
    control.close().await;
    name_must_be_free_on_the_source(site.config, spec).await
}

/// What the source's primary cannot be asked now is asked again at the first switch.
async fn name_must_be_free_on_the_source(config: &Config, spec: &WorkflowSpec) -> Result<()> {
    let server = config.keyspace(&spec.source_keyspace)?.primary()?.connection()?;
    let mut source = match verbs::connect(&server).await {
        Ok(source) => source,
        Err(error) => {
            tracing::warn!("whether the name is free on the source is not known: {error}");
            return Ok(());
        }
    };
    let free = match namesake::must_be_free(&mut source, spec).await {
        // The account may not look into the sidecar, which it need not before a switch.
        Err(error) if error.is_denied() => Ok(()),
        other => other,
    };
    source.close().await;
    free
}

/// The tables of the new workflow; `None` if the preflight is against it, which has been said then.
async fn make(
    site: &Site<'_>,
    mut plan: Plan,
    args: &Create,
) -> anyhow::Result<Option<Vec<String>>> {
    must_be_new(site, &plan.spec).await?;
    let store = SqliteStore::open(&site.config.topology).await?;
    plan.spec.topology = Some(store.uuid());
    plan.spec.routed = Some(!args.no_routing_rules);
    let (servers, prepared) = plan.prepare().await?;
    if !prepared.report.findings.is_empty() {
        output::beside(&findings::text(&prepared.report.findings));
    }
    if prepared.report.has_errors() {
        if args.selection.format == Format::Json {
            output::print_json(&DryRunView::of(site.name.to_string(), &prepared))?;
        }
        output::note!("shunt: {} is not created: {}", site.name, count_errors(&prepared));
        return Ok(None);
    }
    // The rules come first: they change nothing yet, and a create that dies after them is given again.
    if !args.no_routing_rules {
        let moved = MovedTables {
            source: &args.selection.source,
            target: &site.keyspace.name,
            tables: &prepared.spec.tables,
        };
        document::change(&store, |rules| moved.create(rules)).await?;
    }
    create::create(&servers, &prepared, Wanted::of(args.auto_start)).await?;
    Ok(Some(prepared.spec.tables))
}

fn count_errors(prepared: &Prepared) -> String {
    let errors = prepared.report.findings.iter().filter(|f| f.level == Level::Error).count();
    match errors {
        1 => "the preflight found an error".to_owned(),
        _ => format!("the preflight found {errors} errors"),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CreatedView<'a> {
    workflow: String,
    source: &'a str,
    tables: &'a [String],
}

fn say_created(
    format: Format,
    site: &Site<'_>,
    source: &str,
    tables: &[String],
) -> anyhow::Result<()> {
    let workflow = site.name.to_string();
    match format {
        Format::Json => output::report_json(&CreatedView { workflow, source, tables })?,
        Format::Text => output::report(&format!(
            "Workflow {workflow} was created. It moves from {source} to {}: {}\n",
            site.keyspace.name,
            tables.join(", ")
        )),
    }
    Ok(())
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DryRunView<'a> {
    workflow: String,
    passed: bool,
    findings: Vec<FindingView<'a>>,
    tables: Vec<DryTableView<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DryTableView<'a> {
    table: &'a str,
    rows_estimate: u64,
    bytes_estimate: u64,
    create: Option<&'a str>,
    after_copy: Option<&'a str>,
}

impl<'a> DryRunView<'a> {
    fn of(workflow: String, prepared: &'a Prepared) -> Self {
        let tables = prepared.tables.iter().map(|row| DryTableView {
            table: &row.name,
            rows_estimate: row.rows_estimate,
            bytes_estimate: row.bytes_estimate,
            create: row.origin.is_own().then_some(row.create_sql.as_str()),
            after_copy: row.keys_sql.as_deref(),
        });
        Self {
            workflow,
            passed: !prepared.report.has_errors(),
            findings: findings::views(&prepared.report.findings),
            tables: tables.collect(),
        }
    }
}

async fn dry_run(format: Format, plan: Plan) -> anyhow::Result<Exit> {
    let workflow = plan.spec.name();
    let (source, target) = (plan.spec.source_keyspace.clone(), plan.spec.target_keyspace.clone());
    let (_, prepared) = plan.prepare().await?;
    let view = DryRunView::of(workflow.clone(), &prepared);
    let passed = view.passed;
    let exit = if passed { Exit::Done } else { Exit::Failed };
    if format == Format::Json {
        output::print_json(&view)?;
        return Ok(exit);
    }
    output::beside(&findings::text(&prepared.report.findings));
    if !passed {
        output::note!("shunt: {workflow} cannot be created: {}", count_errors(&prepared));
        return Ok(exit);
    }
    let mut text = format!("Workflow {workflow} would be created, from {source} to {target}:\n");
    for table in view.tables {
        text += &format!("\n-- {}: about {} rows\n", table.table, table.rows_estimate);
        text += &match table.create {
            Some(sql) => format!("{sql};\n"),
            None => "-- the table on the target is used as it is\n".to_owned(),
        };
        if let Some(sql) = table.after_copy {
            text += &format!("-- after the copy:\n{sql};\n");
        }
    }
    output::print(&text)?;
    Ok(exit)
}
