//! `shunt movetables status`: tables, rows and bytes, what each lane does, and what slows the stream down.

use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;
use shunt_engine::sidecar::wanted::Wanted;
use shunt_engine::workflow::status::{self, StreamStatus, TableStatus, WorkflowStatus};

use super::leaks::Closed;
use super::show::readable_key;
use super::site::Site;
use crate::args::workflow::Status;
use crate::config::Config;
use crate::exit::Exit;
use crate::output::{self, Format};

pub(in crate::commands) async fn run(args: &Status, config: &Config) -> anyhow::Result<Exit> {
    let site = Site::new(config, &args.workflow)?;
    let mut control = site.control().await?;
    let status = status::read(&mut control, &site.name.to_string()).await?;
    let mut view = view(&status);
    view.closed = Closed::read(config, &mut control, &status.workflow.spec).await?;
    control.close().await;
    match args.format {
        Format::Json => output::print_json(&view)?,
        Format::Text => output::print(&text(&view))?,
    }
    Ok(Exit::Done)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct StatusView<'a> {
    workflow: String,
    source: &'a str,
    target: &'a str,
    /// What the operator wants: whether it is to run.
    wanted: bool,
    state: String,
    phase: &'a str,
    percent: u64,
    rows_copied: u64,
    rows_estimate: u64,
    bytes_copied: u64,
    bytes_estimate: u64,
    tables_copied: usize,
    tables_total: usize,
    streams: Vec<StreamView<'a>>,
    #[serde(flatten)]
    closed: Closed,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct StreamView<'a> {
    #[serde(rename = "ID")]
    id: u64,
    state: String,
    /// Whether a worker runs it.
    owned: bool,
    phase: &'a str,
    lag_ms: Option<u64>,
    throttled: Option<&'a str>,
    message: &'a str,
    pos: &'a str,
    log_file: &'a str,
    log_offset: u64,
    changes_applied: u64,
    lanes: Lanes,
    waits: Vec<WaitView<'a>>,
    tables: Vec<TableView<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Lanes {
    readers: usize,
    writers: usize,
    appliers: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WaitView<'a> {
    stage: &'a str,
    waits_for: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TableView<'a> {
    table: &'a str,
    phase: &'static str,
    percent: u64,
    rows_copied: u64,
    rows_estimate: u64,
    bytes_copied: u64,
    bytes_estimate: u64,
    last_pk: Option<String>,
    chunks: Chunks,
}

/// Ranges by state; of a stream that nobody runs, as its last worker left them.
#[derive(Serialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Chunks {
    pending: usize,
    open: usize,
    closing: usize,
    done: usize,
}

fn view(status: &WorkflowStatus) -> StatusView<'_> {
    let spec = &status.workflow.spec;
    let tables = || status.streams.iter().flat_map(|stream| &stream.tables);
    let rows_copied: u64 = tables().map(|table| table.copied.rows).sum();
    let rows_estimate: u64 = tables().map(rows_estimate).sum();
    let tables_copied = tables().filter(|table| table.done).count();
    let tables_total = tables().count();
    let percent = match (tables_copied == tables_total, rows_estimate) {
        (true, _) => 100,
        (false, 0) => 0,
        (false, estimate) => (rows_copied.saturating_mul(100) / estimate).min(99),
    };
    let state = status.state();
    let streams: Vec<StreamView<'_>> =
        status.streams.iter().map(|stream| stream_view(status, stream)).collect();
    let phase = streams.first().map_or("", |stream| stream.phase);
    StatusView {
        workflow: spec.name(),
        source: &spec.source_keyspace,
        target: &spec.target_keyspace,
        wanted: status.workflow.wanted == Wanted::Run,
        state: state.to_string(),
        phase,
        percent,
        rows_copied,
        rows_estimate,
        bytes_copied: tables().map(|table| table.copied.bytes).sum(),
        bytes_estimate: tables().map(bytes_estimate).sum(),
        tables_copied,
        tables_total,
        streams,
        closed: Closed::default(),
    }
}

fn stream_view<'a>(status: &'a WorkflowStatus, stream: &'a StreamStatus) -> StreamView<'a> {
    let (row, progress) = (&stream.row, &stream.progress);
    let tuning = &status.workflow.spec.tuning;
    let throttled = progress.throttled.as_deref().filter(|_| stream.owned);
    StreamView {
        id: row.id,
        state: row.state.to_string(),
        owned: stream.owned,
        phase: phase(stream),
        lag_ms: progress.lag_ms.filter(|_| stream.owned),
        throttled,
        message: &row.message,
        pos: &row.pos,
        log_file: &row.log.file,
        log_offset: row.log.offset,
        changes_applied: progress.changes_applied,
        lanes: Lanes {
            readers: tuning.copy_readers,
            writers: tuning.copy_writers,
            appliers: tuning.apply_lanes,
        },
        waits: progress
            .waits
            .iter()
            .filter(|_| stream.owned)
            .map(|(stage, waits_for)| WaitView { stage, waits_for })
            .collect(),
        tables: stream.tables.iter().map(|table| table_view(stream, table)).collect(),
    }
}

/// What happens in the stream, in words.
fn phase(stream: &StreamStatus) -> &'static str {
    use shunt_engine::workflow::state::StreamState;
    let building = stream.progress.doing == "building keys";
    match stream.row.state {
        StreamState::Init => "starting",
        StreamState::Copying => "copying",
        StreamState::CatchUp if building => "building keys",
        StreamState::CatchUp => "catching up",
        StreamState::Running => "running",
        StreamState::Stopped => "stopped",
        StreamState::Error => "failed",
        StreamState::Frozen => "frozen",
    }
}

fn table_view<'a>(stream: &'a StreamStatus, table: &'a TableStatus) -> TableView<'a> {
    let ranges = stream.progress.ranges.iter().find(|(name, _)| *name == table.row.name);
    let chunks = ranges.map_or_else(Chunks::default, |&(_, [pending, open, closing, done])| {
        Chunks { pending, open, closing, done }
    });
    TableView {
        table: &table.row.name,
        phase: table.phase(),
        percent: table.percent(),
        rows_copied: table.copied.rows,
        rows_estimate: rows_estimate(table),
        bytes_copied: table.copied.bytes,
        bytes_estimate: bytes_estimate(table),
        last_pk: table.lastpk.as_deref().map(readable_key),
        chunks,
    }
}

/// The server's estimate, corrected by what is known.
fn rows_estimate(table: &TableStatus) -> u64 {
    if table.done { table.copied.rows } else { table.row.rows_estimate.max(table.copied.rows) }
}

fn bytes_estimate(table: &TableStatus) -> u64 {
    if table.done { table.copied.bytes } else { table.row.bytes_estimate.max(table.copied.bytes) }
}

fn text(view: &StatusView<'_>) -> String {
    let mut out = format!(
        "{}: {} ({} to {})\n{}% copied: {} of {} tables, {} rows, {}\n",
        view.workflow,
        view.phase,
        view.source,
        view.target,
        view.percent,
        view.tables_copied,
        view.tables_total,
        HumanCount(view.rows_copied),
        HumanBytes(view.bytes_copied)
    );
    out += &view.closed.text();
    for stream in &view.streams {
        out += &stream_text(view, stream);
    }
    out
}

fn stream_text(view: &StatusView<'_>, stream: &StreamView<'_>) -> String {
    let mut out = format!("\nid={}: {}", stream.id, stream.state);
    if let Some(lag) = stream.lag_ms {
        out += &format!(", lag {lag} ms");
    }
    if stream.changes_applied > 0 {
        out += &format!(", {} changes applied", HumanCount(stream.changes_applied));
    }
    if view.wanted && !stream.owned && !matches!(stream.phase, "stopped" | "failed" | "frozen") {
        out += ", nobody runs it";
    }
    out.push('\n');
    if let Some(reason) = stream.throttled {
        out += &format!("throttled: {reason}\n");
    }
    if !stream.message.is_empty() {
        out += &format!("message: {}\n", stream.message);
    }
    for wait in &stream.waits {
        out += &format!("{} waits for {}\n", wait.stage, wait.waits_for);
    }
    let lanes = &stream.lanes;
    out += &format!("lanes: {} readers, {} writers\n\n", lanes.readers, lanes.writers);
    let rows: Vec<[String; 6]> = stream.tables.iter().map(table_row).collect();
    out + &output::table(["Table", "Phase", "%", "Rows", "Size", "Chunks done/busy/left"], &rows)
}

fn table_row(table: &TableView<'_>) -> [String; 6] {
    let chunks = &table.chunks;
    [
        table.table.to_owned(),
        table.phase.to_owned(),
        table.percent.to_string(),
        format!("{} of {}", HumanCount(table.rows_copied), HumanCount(table.rows_estimate)),
        HumanBytes(table.bytes_copied).to_string(),
        format!("{}/{}/{}", chunks.done, chunks.open + chunks.closing, chunks.pending),
    ]
}

#[cfg(test)]
mod tests {
    use shunt_engine::workflow::state::StreamState;

    use super::super::show::tests::status;
    use super::*;

    #[test]
    fn totals_are_of_all_tables() {
        let status = status(StreamState::Copying, Some("3137"));
        let view = view(&status);
        assert_eq!((view.rows_copied, view.rows_estimate, view.percent), (13, 20, 65));
        assert_eq!((view.tables_copied, view.tables_total), (1, 2));
        let json = serde_json::to_value(&view).unwrap();
        let expected = serde_json::json!({
            "Table": "corder", "Phase": "copying", "Percent": 30, "RowsCopied": 3,
            "RowsEstimate": 10, "BytesCopied": 30, "BytesEstimate": 100, "LastPk": "17",
            "Chunks": { "Pending": 1, "Open": 2, "Closing": 0, "Done": 3 },
        });
        assert_eq!(json["Streams"][0]["Tables"][0], expected);
        let expected = serde_json::json!([{ "Stage": "reader", "WaitsFor": "source" }]);
        assert_eq!(json["Streams"][0]["Waits"], expected);
    }

    #[test]
    fn the_text_says_what_is_going_on() {
        let mut status = status(StreamState::Copying, Some("3137"));
        status.streams[0].progress.throttled = Some("80 threads run on the source".into());
        let expected = "\
customer.commerce2customer: copying (commerce to customer)
65% copied: 1 of 2 tables, 13 rows, 130 B

id=1: Copying, lag 40 ms
throttled: 80 threads run on the source
reader waits for source
lanes: 2 readers, 2 writers

Table     Phase    %    Rows      Size   Chunks done/busy/left
corder    copying  30   3 of 10   30 B   3/2/1
customer  copied   100  10 of 10  100 B  0/0/0
";
        assert_eq!(text(&view(&status)), expected);
    }

    #[test]
    fn what_a_worker_said_before_it_was_gone_is_not_news() {
        let mut status = status(StreamState::Copying, Some("3137"));
        status.streams[0].owned = false;
        status.streams[0].progress.throttled = Some("busy".into());
        let view = view(&status);
        assert_eq!((view.streams[0].lag_ms, view.streams[0].throttled), (None, None));
        assert!(text(&view).contains("id=1: Copying, nobody runs it\n"));
    }
}
