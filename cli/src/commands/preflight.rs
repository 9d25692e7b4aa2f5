//! `shunt preflight`: everything that would make a move wrong or stuck, on both sides.

use serde::Serialize;

use super::movetables::findings::{self, FindingView};
use super::movetables::plan::Plan;
use crate::args::workflow::Preflight;
use crate::config::Config;
use crate::exit::Exit;
use crate::output::{self, Format};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct View<'a> {
    workflow: String,
    tables: &'a [String],
    passed: bool,
    findings: Vec<FindingView<'a>>,
}

pub(super) async fn run(args: &Preflight, config: &Config) -> anyhow::Result<Exit> {
    let plan = Plan::new(&args.selection, config).await?;
    let workflow = plan.spec.name();
    let tables = plan.spec.tables.clone();
    let report = plan.prepare().await?.1.report;
    let passed = !report.has_errors();
    match args.selection.format {
        Format::Json => {
            let findings = findings::views(&report.findings);
            output::print_json(&View { workflow, tables: &tables, passed, findings })?;
        }
        Format::Text => {
            let verdict = if passed { "may be created" } else { "cannot be created" };
            let text = findings::text(&report.findings);
            output::print(&format!("{text}{workflow} {verdict}.\n"))?;
        }
    }
    Ok(if passed { Exit::Done } else { Exit::Failed })
}
