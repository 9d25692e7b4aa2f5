//! `shunt movetables show`: a workflow as JSON, with the fields and names of the guide.
//!
//! There is one shard, `0`, and a server's alias stands where a tablet's would.

use std::collections::BTreeMap;

use serde::Serialize;
use shunt_engine::mysql::control::Control;
use shunt_engine::mysql::sql;
use shunt_engine::sidecar::fence::{self, FenceState};
use shunt_engine::workflow::spec::WorkflowSpec;
use shunt_engine::workflow::state::StreamState;
use shunt_engine::workflow::status::{self, StreamStatus, TableStatus, WorkflowStatus};
use shunt_engine::{Error, Result};

use super::leaks::Closed;
use super::site::Site;
use crate::args::workflow::Named;
use crate::config::Config;
use crate::exit::Exit;
use crate::output;

/// The one shard of a keyspace.
const SHARD: &str = "0";

pub(in crate::commands) async fn run(args: &Named, config: &Config) -> anyhow::Result<Exit> {
    let site = Site::new(config, &args.workflow)?;
    let mut control = site.control().await?;
    let status = status::read(&mut control, &site.name.to_string()).await?;
    let now_s = now(&mut control).await?;
    let fence = fence::read(&mut control, &site.name.to_string()).await?;
    // Before the first switch nobody was ever led to the target.
    let denied = fence.is_some_and(|row| row.state == FenceState::Closed && row.generation > 0);
    let mut view = view(&status, &site.target.alias, now_s, denied);
    view.closed = Closed::read(config, &mut control, &status.workflow.spec).await?;
    control.close().await;
    output::print_json(&view)?;
    Ok(Exit::Done)
}

/// The time on the server that the sidecar's times are of.
pub(super) async fn now(control: &mut Control) -> Result<i64> {
    let row = control.row("SELECT UNIX_TIMESTAMP()").await?;
    row.ok_or_else(|| Error::stop("the server gave no time"))?.number(0)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WorkflowView<'a> {
    workflow: &'a str,
    source_location: Location<'a>,
    target_location: Location<'a>,
    #[serde(rename = "MaxVReplicationLag")]
    max_lag: i64,
    #[serde(rename = "MaxVReplicationTransactionLag")]
    max_transaction_lag: i64,
    frozen: bool,
    shard_statuses: BTreeMap<String, ShardView<'a>>,
    source_time_zone: &'static str,
    target_time_zone: &'static str,
    /// Not in the guide, and not there while all is well.
    #[serde(flatten)]
    closed: Closed,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Location<'a> {
    keyspace: &'a str,
    shards: [&'static str; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShardView<'a> {
    primary_replication_statuses: Vec<StreamView<'a>>,
    tablet_controls: Option<[TabletControl; 1]>,
    primary_is_serving: bool,
}

/// What the workflow's own keyspace refuses on a primary; its fields have small letters, as in the guide.
#[derive(Serialize)]
struct TabletControl {
    tablet_type: u8,
    denied_tables: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct StreamView<'a> {
    shard: &'static str,
    tablet: &'a str,
    #[serde(rename = "ID")]
    id: u64,
    bls: Bls<'a>,
    pos: &'a str,
    stop_pos: &'static str,
    state: String,
    #[serde(rename = "DBName")]
    db_name: &'a str,
    transaction_timestamp: i64,
    time_updated: i64,
    time_heartbeat: i64,
    time_throttled: i64,
    component_throttled: &'static str,
    message: &'a str,
    tags: &'static str,
    workflow_type: &'static str,
    workflow_sub_type: &'static str,
    copy_state: Option<Vec<CopyView<'a>>>,
}

/// What the stream reads; its fields have small letters, as in the guide.
#[derive(Serialize)]
struct Bls<'a> {
    keyspace: &'a str,
    shard: &'static str,
    filter: Filter<'a>,
}

#[derive(Serialize)]
struct Filter<'a> {
    rules: Vec<Rule<'a>>,
}

#[derive(Serialize)]
struct Rule<'a> {
    #[serde(rename = "match")]
    table: &'a str,
    filter: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CopyView<'a> {
    table: &'a str,
    last_pk: Option<String>,
}

fn view<'a>(
    status: &'a WorkflowStatus,
    tablet: &'a str,
    now_s: i64,
    denied: bool,
) -> WorkflowView<'a> {
    let spec = &status.workflow.spec;
    let streams = || status.streams.iter();
    let shard = ShardView {
        primary_replication_statuses: streams()
            .map(|stream| stream_view(spec, stream, tablet, now_s))
            .collect(),
        tablet_controls: denied.then(|| {
            let mut denied_tables = spec.tables.clone();
            denied_tables.sort();
            [TabletControl { tablet_type: 1, denied_tables }]
        }),
        primary_is_serving: true,
    };
    WorkflowView {
        workflow: &spec.workflow,
        source_location: Location { keyspace: &spec.source_keyspace, shards: [SHARD] },
        target_location: Location { keyspace: &spec.target_keyspace, shards: [SHARD] },
        max_lag: streams().map(|stream| lag_s(stream, now_s)).max().unwrap_or(0),
        max_transaction_lag: streams()
            .map(|stream| transaction_lag_s(stream, now_s))
            .max()
            .unwrap_or(0),
        frozen: streams().any(|stream| stream.row.state == StreamState::Frozen),
        shard_statuses: BTreeMap::from([(format!("{SHARD}/{tablet}"), shard)]),
        source_time_zone: "",
        target_time_zone: "",
        closed: Closed::default(),
    }
}

/// As its worker measures it; without a worker, the time since anything was saved.
pub(super) fn lag_s(stream: &StreamStatus, now_s: i64) -> i64 {
    match (stream.owned, stream.progress.lag_ms) {
        (true, Some(lag)) => i64::try_from(lag / 1000).unwrap_or(i64::MAX),
        _ => (now_s - stream.row.updated_s).max(0),
    }
}

/// Until all is copied the target holds no state of the source, and is behind without bound.
fn transaction_lag_s(stream: &StreamStatus, now_s: i64) -> i64 {
    match stream.row.state {
        StreamState::Running => lag_s(stream, now_s),
        StreamState::Frozen => 0,
        StreamState::Init
        | StreamState::Copying
        | StreamState::CatchUp
        | StreamState::Stopped
        | StreamState::Error => i64::MAX,
    }
}

fn stream_view<'a>(
    spec: &'a WorkflowSpec,
    stream: &'a StreamStatus,
    tablet: &'a str,
    now_s: i64,
) -> StreamView<'a> {
    let throttled = stream.owned && stream.progress.throttled.is_some();
    let rules = spec
        .tables
        .iter()
        .map(|table| Rule { table, filter: format!("select * from {}", plain_or_quoted(table)) });
    let copying: Vec<CopyView<'_>> =
        stream.tables.iter().filter(|table| !table.done).map(copy_view).collect();
    StreamView {
        shard: SHARD,
        tablet,
        id: stream.row.id,
        bls: Bls {
            keyspace: &spec.source_keyspace,
            shard: SHARD,
            filter: Filter { rules: rules.collect() },
        },
        pos: &stream.row.pos,
        stop_pos: "",
        state: stream.row.state.to_string(),
        db_name: &spec.target_database,
        transaction_timestamp: 0,
        time_updated: stream.row.updated_s,
        // Who holds the lease renews it several times a second.
        time_heartbeat: if stream.owned { now_s } else { stream.row.updated_s },
        time_throttled: if throttled { now_s } else { 0 },
        component_throttled: if throttled { "copy" } else { "" },
        message: &stream.row.message,
        tags: "",
        workflow_type: "MoveTables",
        workflow_sub_type: "None",
        copy_state: (!copying.is_empty()).then_some(copying),
    }
}

fn copy_view(table: &TableStatus) -> CopyView<'_> {
    CopyView { table: &table.row.name, last_pk: table.lastpk.as_deref().map(readable_key) }
}

fn plain_or_quoted(table: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if table.chars().all(plain) && !table.starts_with(|c: char| c.is_ascii_digit()) {
        table.to_owned()
    } else {
        sql::ident(table)
    }
}

/// A key of the sidecar, cells in hexadecimal with commas between them: as text where it is text.
pub(super) fn readable_key(hex: &str) -> String {
    hex.split(',').map(readable_cell).collect::<Vec<_>>().join(",")
}

fn readable_cell(hex: &str) -> String {
    let digit = |at: usize| hex.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
    let bytes: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(digit).collect();
    match bytes.map(String::from_utf8) {
        Some(Ok(text)) if !text.chars().any(|c| c.is_control() || c == ',') => text,
        _ => format!("0x{hex}"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use shunt_engine::mysql::snapshot::LogPosition;
    use shunt_engine::sidecar::lease::Progress;
    use shunt_engine::sidecar::range::Copied;
    use shunt_engine::sidecar::stream::StreamRow;
    use shunt_engine::sidecar::table_plan::{Origin, TableRow};
    use shunt_engine::sidecar::wanted::Wanted;
    use shunt_engine::sidecar::workflow::WorkflowRow;
    use shunt_engine::workflow::spec::{OnDdl, Tuning};

    use super::*;

    /// The guide's workflow: one table, `corder`, is at `lastpk` or done; the other, `customer`, is done.
    pub(in crate::commands::movetables) fn status(
        state: StreamState,
        lastpk: Option<&str>,
    ) -> WorkflowStatus {
        let spec = WorkflowSpec {
            workflow: "commerce2customer".into(),
            source_keyspace: "commerce".into(),
            source_database: "commerce".into(),
            target_keyspace: "customer".into(),
            target_database: "vt_customer".into(),
            tables: vec!["customer".into(), "corder".into()],
            on_ddl: OnDdl::Stop,
            stop_after_copy: false,
            defer_secondary_keys: true,
            source_server: "zone1-0000000100".into(),
            tuning: Tuning::default(),
            topology: None,
            routed: None,
        };
        let table = |name: &str, done: bool| TableStatus {
            row: TableRow {
                name: name.into(),
                origin: Origin::Made,
                keys_built: true,
                rows_estimate: 10,
                bytes_estimate: 100,
                ..TableRow::default()
            },
            copied: if done {
                Copied { rows: 10, bytes: 100 }
            } else {
                Copied { rows: 3, bytes: 30 }
            },
            lastpk: lastpk.filter(|_| !done).map(Into::into),
            done,
        };
        let stream = StreamStatus {
            row: StreamRow {
                id: 1,
                state,
                pos: "0-1-83".into(),
                log: LogPosition { file: "binlog.000001".into(), offset: 4 },
                source_identity: "source".into(),
                ahead_until: None,
                message: String::new(),
                updated_s: 1_672_857_697,
            },
            owned: true,
            progress: Progress {
                lag_ms: Some(40),
                doing: state.to_string(),
                waits: vec![("reader".into(), "source".into())],
                ranges: vec![("corder".into(), [1, 2, 0, 3])],
                ..Progress::default()
            },
            tables: vec![table("corder", lastpk.is_none()), table("customer", true)],
        };
        let workflow = WorkflowRow { id: 1, spec, wanted: Wanted::Run, created_s: 1_672_857_600 };
        WorkflowStatus { workflow, streams: vec![stream] }
    }

    /// The guide's listing, with our lag, position, and server.
    const RUNNING: &str = r#"{
  "Workflow": "commerce2customer",
  "SourceLocation": {
    "Keyspace": "commerce",
    "Shards": [
      "0"
    ]
  },
  "TargetLocation": {
    "Keyspace": "customer",
    "Shards": [
      "0"
    ]
  },
  "MaxVReplicationLag": 0,
  "MaxVReplicationTransactionLag": 0,
  "Frozen": false,
  "ShardStatuses": {
    "0/zone1-0000000200": {
      "PrimaryReplicationStatuses": [
        {
          "Shard": "0",
          "Tablet": "zone1-0000000200",
          "ID": 1,
          "Bls": {
            "keyspace": "commerce",
            "shard": "0",
            "filter": {
              "rules": [
                {
                  "match": "customer",
                  "filter": "select * from customer"
                },
                {
                  "match": "corder",
                  "filter": "select * from corder"
                }
              ]
            }
          },
          "Pos": "0-1-83",
          "StopPos": "",
          "State": "Running",
          "DBName": "vt_customer",
          "TransactionTimestamp": 0,
          "TimeUpdated": 1672857697,
          "TimeHeartbeat": 1672857700,
          "TimeThrottled": 0,
          "ComponentThrottled": "",
          "Message": "",
          "Tags": "",
          "WorkflowType": "MoveTables",
          "WorkflowSubType": "None",
          "CopyState": null
        }
      ],
      "TabletControls": null,
      "PrimaryIsServing": true
    }
  },
  "SourceTimeZone": "",
  "TargetTimeZone": ""
}"#;

    #[test]
    fn a_running_workflow_has_the_fields_of_the_guide() {
        let status = status(StreamState::Running, None);
        let view = view(&status, "zone1-0000000200", 1_672_857_700, false);
        assert_eq!(serde_json::to_string_pretty(&view).unwrap(), RUNNING);
    }

    #[test]
    fn a_copying_workflow_shows_the_last_key_of_what_is_not_done() {
        let status = status(StreamState::Copying, Some("3137,ff00"));
        let view = serde_json::to_value(view(&status, "t", 1_672_857_700, true)).unwrap();
        let stream = &view["ShardStatuses"]["0/t"]["PrimaryReplicationStatuses"][0];
        let expected = serde_json::json!([{ "Table": "corder", "LastPk": "17,0xff00" }]);
        assert_eq!(stream["CopyState"], expected);
        let denied =
            serde_json::json!([{ "tablet_type": 1, "denied_tables": ["corder", "customer"] }]);
        assert_eq!(view["ShardStatuses"]["0/t"]["TabletControls"], denied);
        assert_eq!(view["MaxVReplicationTransactionLag"], i64::MAX);
    }

    #[test]
    fn a_stopped_workflow_falls_behind() {
        let mut status = status(StreamState::Stopped, None);
        status.streams[0].owned = false;
        let view = serde_json::to_value(view(&status, "t", 1_672_857_707, false)).unwrap();
        assert_eq!(view["MaxVReplicationLag"], 10);
    }

    #[test]
    fn odd_names_are_quoted() {
        assert_eq!(plain_or_quoted("customer"), "customer");
        assert_eq!(plain_or_quoted("my table`s"), "`my table``s`");
        assert_eq!(plain_or_quoted("1st"), "`1st`");
    }

    #[test]
    fn keys_are_text_where_they_are_text() {
        let cases = [
            ("3137", "17"),
            ("616263,2d35", "abc,-5"),
            ("", ""),
            ("00", "0x00"),
            ("612c62", "0x612c62"),
        ];
        for (hex, text) in cases {
            assert_eq!(readable_key(hex), text, "{hex}");
        }
    }
}
