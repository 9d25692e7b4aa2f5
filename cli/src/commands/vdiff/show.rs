//! `shunt vdiff show`: reports of VDiffs.

use shunt_vdiff::report::{Record, State, TableRecord, View};
use shunt_vdiff::workflow::{self, Which};

use crate::args::vdiff::Show;
use crate::commands::movetables::site::Site;
use crate::config::Config;
use crate::exit::Exit;
use crate::output::{self, Format};

pub(in crate::commands) async fn run(args: &Show, config: &Config) -> anyhow::Result<Exit> {
    let site = Site::new(config, &args.workflow)?;
    let name = site.name.to_string();
    let mut control = site.control().await?;
    let rows = workflow::find(&mut control, &name, &args.which).await?;
    let mut records = Vec::new();
    for row in &rows {
        records.push(workflow::record(&mut control, row).await?);
    }
    control.close().await;
    if args.which == Which::All && args.format == Format::Json {
        let views: Vec<View<'_>> = records.iter().map(|record| record.view(args.verbose)).collect();
        output::print_json(&views)?;
    } else {
        print(&records, args.verbose, args.format)?;
    }
    Ok(Exit::Done)
}

/// Prints reports, in JSON one after the other.
pub(super) fn print(records: &[Record], verbose: bool, format: Format) -> anyhow::Result<()> {
    for record in records {
        output::print(&rendered(record, verbose, format)?)?;
    }
    Ok(())
}

pub(super) fn rendered(record: &Record, verbose: bool, format: Format) -> anyhow::Result<String> {
    match format {
        Format::Json => output::json(&record.view(verbose)),
        Format::Text => Ok(text(record)),
    }
}

fn text(record: &Record) -> String {
    let of = if record.workflow.is_empty() {
        record.keyspace.clone()
    } else {
        format!("{}.{}", record.keyspace, record.workflow)
    };
    let verdict = match (record.differs(), record.unsettled()) {
        (true, _) => "differs",
        (false, true) => "some rows changed all the time",
        (false, false) if record.state == State::Completed && record.in_part() => {
            "no difference found in the rows that were compared"
        }
        (false, false) if record.state == State::Completed => "no difference found",
        (false, false) => "no difference found yet",
    };
    let mut text = format!(
        "VDiff {} of {of}: {} ({}%), {verdict}.\n",
        record.uuid,
        record.state,
        record.percentage()
    );
    if !record.message.is_empty() {
        text += &format!("{}\n", record.message);
    }
    let heading = [
        "Table",
        "State",
        "Rows",
        "Matching",
        "Mismatched",
        "ExtraSource",
        "ExtraTarget",
        "Unsettled",
        "Repaired",
        "Compared",
    ];
    let row = |table: &TableRecord| {
        [
            table.name.clone(),
            table.state.to_string(),
            table.compared_rows().to_string(),
            table.matching.to_string(),
            table.mismatched.to_string(),
            table.extra_source.to_string(),
            table.extra_target.to_string(),
            table.unsettled.to_string(),
            table.repaired.to_string(),
            table.strength.clone(),
        ]
    };
    let rows: Vec<[String; 10]> = record.tables.iter().map(row).collect();
    text += &output::table(heading, &rows);
    for table in &record.tables {
        for note in &table.compared {
            text += &format!("{}: {note}\n", table.name);
        }
        text += &samples(table);
        if let (Some(from), Some(to)) = (&table.from, &table.to) {
            text += &format!("{}: witnessed from {from} to {to}\n", table.name);
        }
    }
    text
}

/// A line for each row shown; a position of neither side says more than its key.
fn samples(table: &TableRecord) -> String {
    let mut text = String::new();
    let mut line = |what: &str, row: &dyn std::fmt::Display| {
        text += &format!("{}: {what} {row}\n", table.name);
    };
    let json = |row: &shunt_vdiff::report::RowSample| serde_json::Value::Object(row.row.clone());
    for row in &table.extra_source_sample {
        line("only on the source:", &json(row));
    }
    for row in &table.extra_target_sample {
        line("only on the target:", &json(row));
    }
    for pair in &table.mismatched_sample {
        line("differs, source:", &json(&pair.source));
        line("         target:", &json(&pair.target));
    }
    for row in &table.unsettled_sample {
        line("changed all the time:", &json(row));
    }
    text
}
