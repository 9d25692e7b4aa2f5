//! What is known of the recordings, by hand: values, images, transactions, errors.

use std::collections::BTreeMap;

use bytes::Bytes;
use shunt_engine::mysql::binlog::event::AlterPhase;
use shunt_engine::mysql::binlog::table_map::kind;
use shunt_engine::mysql::binlog::{
    Decoder, Event, EventBody, RowImage, RowsEvent, RowsKind, TableMap, Value, value,
};
use shunt_engine::mysql::server::Flavor;
use shunt_engine::{ErrorKind, Result};

use super::recordings::{path, split};

fn decode(flavor: Flavor, name: &str) -> Result<Vec<Event>> {
    let mut decoder = Decoder::new(flavor);
    let mut all = Vec::new();
    for event in split(name) {
        let event = decoder.decode(event)?;
        match event.body {
            EventBody::Payload(events) => all.extend(events),
            _ => all.push(event),
        }
    }
    Ok(all)
}

/// All row events of a file, in order.
fn row_events(events: &[Event]) -> Vec<&RowsEvent> {
    let rows = events.iter().filter_map(|event| match &event.body {
        EventBody::Rows(rows) => Some(rows),
        _ => None,
    });
    rows.collect()
}

/// The SQL literals of an image, none for columns that are not in it. Binary JSON shows as its length.
fn literals(
    table: &TableMap,
    columns: &shunt_engine::mysql::binlog::Bitmap,
    image: &RowImage,
) -> Vec<String> {
    let cells = image.cells(table, columns).map(|cell| {
        let (column, cell) = cell.unwrap();
        let Some(cell) = cell else { return "NULL".to_owned() };
        let value = value::decode(&table.columns[column], false, cell).unwrap();
        if let Value::Json(json) = value {
            return format!("json of {} bytes", json.len());
        }
        let mut out = Vec::new();
        value::push_literal(&value, &mut out).unwrap();
        String::from_utf8_lossy(&out).into_owned()
    });
    cells.collect()
}

/// Every change of a file: `+` after and `-` before images.
fn changes(name: &str) -> Vec<String> {
    let events = decode(Flavor::MySql, name).unwrap();
    let mut lines = Vec::new();
    for rows in row_events(&events) {
        for change in rows.changes() {
            let change = change.unwrap();
            if let Some(image) = &change.before {
                let row = literals(&rows.table, &rows.columns_before, image).join(",");
                lines.push(format!("-{} {row}", rows.table.table));
            }
            if let Some(image) = &change.after {
                let row = literals(&rows.table, &rows.columns_after, image).join(",");
                lines.push(format!("+{} {row}", rows.table.table));
            }
        }
    }
    lines
}

/// A value as the expectation files print it.
fn printed(value: &Value<'_>) -> String {
    let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |n, &byte| n << 8 | u64::from(byte));
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Int(n) => n.to_string(),
        Value::UInt(n) | Value::Enum(n) | Value::Set(n) => n.to_string(),
        Value::Float(n) => f64::from(*n).to_string(),
        Value::Double(n) => n.to_string(),
        Value::Text(text) => text.as_str().to_owned(),
        Value::Bytes(bytes) => bytes.iter().map(|byte| format!("{byte:02X}")).collect(),
        Value::Native(native) => {
            native.as_bytes().iter().map(|byte| format!("{byte:02X}")).collect()
        }
        Value::Bit(bytes) => format!("{:b}", number(bytes)),
        Value::Json(_) => panic!("MariaDB has no binary JSON"),
    }
}

/// Whether a decoded value is the one that the server printed.
fn agrees(kind: u8, value: &Value<'_>, expected: &str) -> bool {
    match value {
        Value::Float(_) | Value::Double(_) if expected != "NULL" => {
            // -0 and 0 are the same here: the server prints both as 0.
            printed(value).parse::<f64>().unwrap() == expected.parse::<f64>().unwrap()
        }
        Value::Bytes(bytes) if expected.contains(':') => {
            expected == format!("{}:{}", bytes.len(), crc32fast::hash(bytes))
        }
        // The log leaves out zeros at the end of fixed-length strings.
        Value::Bytes(_) if kind == kind::STRING => expected
            .strip_prefix(&printed(value))
            .is_some_and(|rest| rest.bytes().all(|b| b == b'0')),
        _ => printed(value) == expected,
    }
}

fn check_image(
    rows: &RowsEvent,
    image: &RowImage,
    expected: &BTreeMap<(String, String), Vec<String>>,
) {
    const UNSIGNED: [usize; 5] = [2, 4, 6, 8, 10];
    let table = &rows.table;
    assert!(rows.columns_after.is_full());
    let mut row: Option<&Vec<String>> = None;
    for cell in image.cells(table, &rows.columns_after) {
        let (column, cell) = cell.unwrap();
        let unsigned = table.table == "numbers" && UNSIGNED.contains(&column);
        let value = cell.map_or(Value::Null, |cell| {
            value::decode(&table.columns[column], unsigned, cell).unwrap()
        });
        if column == 0 {
            row = Some(&expected[&(table.table.clone(), printed(&value))]);
        }
        let text = &row.unwrap()[column + 1];
        let kind = table.columns[column].kind;
        assert!(
            agrees(kind, &value, text),
            "{}.{column} of {row:?}: {value:?} is not {text}",
            table.table
        );
    }
}

#[test]
fn mariadb_rows_are_what_the_server_selects() {
    for name in ["mariadb-10.11-edges", "mariadb-10.11-edges-compressed"] {
        let text = std::fs::read_to_string(path(&format!("{name}.tsv"))).unwrap();
        let expected: BTreeMap<_, _> = text
            .lines()
            .map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>())
            .map(|row| ((row[0].clone(), row[1].clone()), row))
            .collect();
        let events = decode(Flavor::MariaDb, &format!("{name}.000001")).unwrap();
        let (mut inserted, mut deleted) = (0, 0);
        for rows in row_events(&events) {
            let known = expected.keys().any(|(table, _)| *table == rows.table.table);
            if !known || rows.kind == RowsKind::Update {
                continue;
            }
            for change in rows.changes() {
                let change = change.unwrap();
                if let Some(image) = &change.after {
                    check_image(rows, image, &expected);
                    inserted += 1;
                } else if rows.table.table != "bits" {
                    check_image(rows, &change.before.unwrap(), &expected);
                    deleted += 1;
                }
            }
        }
        assert_eq!((inserted, deleted), (6 + 5 + 4 + 4 + 4, 5 + 4 + 4), "{name}");
    }
}

/// COMPRESSED columns, as they are by default and with other settings of the server; one is computed by it.
#[test]
fn compressed_columns_are_what_the_server_selects() {
    let text = std::fs::read_to_string(path("mariadb-10.11-columns.tsv")).unwrap();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let events = decode(Flavor::MariaDb, "mariadb-10.11-columns.000001").unwrap();
    let mut inserted = Vec::new();
    for rows_event in row_events(&events).iter().filter(|rows| rows.kind == RowsKind::Insert) {
        for change in rows_event.changes() {
            let image = change.unwrap().after.unwrap();
            let expected = rows[inserted.len()].iter();
            for (cell, expected) in
                image.cells(&rows_event.table, &rows_event.columns_after).zip(expected)
            {
                let (at, cell) = cell.unwrap();
                let column = &rows_event.table.columns[at];
                let value =
                    cell.map_or(Value::Null, |cell| value::decode(column, false, cell).unwrap());
                let len = cell.map_or(0, |cell| value::value_len(column, cell).unwrap());
                if let Value::Bytes(bytes) = &value {
                    assert_eq!(len, u64::try_from(bytes.len()).unwrap());
                }
                assert!(agrees(column.kind, &value, expected), "{at}: {value:?} is not {expected}");
            }
            inserted.push(image);
        }
    }
    assert_eq!(inserted.len(), rows.len());
}

#[test]
fn mariadb_updates_have_both_images_full_or_partial() {
    let events = decode(Flavor::MariaDb, "mariadb-10.11-edges-compressed.000001").unwrap();
    let mut seen = Vec::new();
    for rows in row_events(&events) {
        if rows.kind != RowsKind::Update {
            continue;
        }
        for change in rows.changes() {
            let change = change.unwrap();
            let before = change.before.unwrap();
            let after = change.after.unwrap();
            let full = rows.columns_before.is_full() && rows.columns_after.is_full();
            let after = literals(&rows.table, &rows.columns_after, &after);
            if full {
                assert_eq!(literals(&rows.table, &rows.columns_before, &before).len(), after.len());
                let changed = if rows.table.table == "bits" { 1 } else { 5 };
                seen.push(format!("{} {}", rows.table.table, after[changed]));
            } else {
                let before = literals(&rows.table, &rows.columns_before, &before);
                seen.push(format!("partial {before:?} {after:?}"));
            }
        }
    }
    assert_eq!(
        seen,
        ["bits NULL", "bits NULL", "numbers -2", r#"partial ["3"] ["-3"]"#],
        "the images of all updates"
    );
}

#[test]
fn mariadb_transactions_say_what_they_are() {
    let events = decode(Flavor::MariaDb, "mariadb-10.11-edges.000001").unwrap();
    let gtids: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.body {
            EventBody::Gtid(gtid) => Some(gtid),
            _ => None,
        })
        .collect();
    assert_eq!(gtids.len(), 29);
    assert!(gtids[0].ddl && gtids[0].standalone && !gtids[0].transactional);
    assert_eq!(gtids[0].gtid.to_string(), "3-7-62");
    let of = |seq: usize| gtids[seq - 62];
    assert!(of(83).prepared_xa && of(84).completed_xa);
    assert_eq!(of(85).alter, Some(AlterPhase::Start));
    assert_eq!(of(86).alter, Some(AlterPhase::Commit { start_seq: 85 }));
    assert!(of(89).ddl && !of(89).standalone, "CREATE TABLE ... SELECT has rows");
    let lists: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.body {
            EventBody::GtidList(list) => Some(list.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(lists, ["3-7-61"]);
    let plain = statements("mariadb-10.11-edges.000001");
    let compressed = statements("mariadb-10.11-edges-compressed.000001");
    assert_eq!(plain, compressed);
    assert!(plain.iter().any(|sql| sql.starts_with("CREATE TABLE strings")));
}

fn statements(name: &str) -> Vec<String> {
    let events = decode(Flavor::MariaDb, name).unwrap();
    let texts = events.iter().filter_map(|event| match &event.body {
        EventBody::Query(query) => Some(String::from_utf8_lossy(&query.sql).into_owned()),
        _ => None,
    });
    // XA statements and DDL, without the comment that names the phase's own number.
    texts.filter(|sql| !sql.contains("ALTER")).collect()
}

#[test]
fn mysql_rows_decode() {
    let cases: &[(&str, &[&str])] = &[
        ("binlog_transaction_with_GTID_TAG.000001", &["+orders 3,100,'250.00'"]),
        ("transaction_compression.000001", &["+tb1 1"]),
        ("time_issue.000001", &["+t '-507:48:27'"]),
        ("minimal_row_metadata.000001", &["+t1 1,'a',-1064764973"]),
        ("mysql_type_bit.000001", &["+foo b'00000100','foo',b'00100000'"]),
        ("rpl_unfiltered_hidden_gcol.000001", &["+t 1,'1'"]),
        (
            "binlog-invisible-columns.000001",
            &[
                "+t1 1,2,-3,'4','\u{5}',6000000000",
                "+t1 NULL,NULL,-33,'44','U',NULL",
                "-t1 NULL,NULL,-33,'44','U',NULL",
                "+t1 111,222,-333,'444','U',NULL",
            ],
        ),
        (
            "write-partial-row.binlog",
            &[
                "+ndb_apply_status 1,25769803786,'',0,0",
                "+ba 3,3,3",
                "+ba 1,1,1",
                "+ba 2,2,2",
                "+ba 4,4,4",
                "+ba 4,40",
                "-ba 2",
            ],
        ),
    ];
    for (name, expected) in cases {
        assert_eq!(changes(name), *expected, "{name}");
    }
    for (name, count) in
        [("mysql-enum-string-set.000001", 4), ("json-opaque.binlog", 8), ("vector.binlog", 10)]
    {
        assert_eq!(changes(name).len(), count, "{name}");
    }
}

#[test]
fn mysql_positions_decode() {
    let events = decode(Flavor::MySql, "binlog_transaction_with_GTID_TAG.000001").unwrap();
    let mut texts = Vec::new();
    for event in &events {
        match &event.body {
            EventBody::PreviousGtids(set) => texts.push(set.to_string()),
            EventBody::Gtid(gtid) => {
                texts.push(gtid.gtid.to_string());
                assert_eq!(gtid.original_commit_us, Some(1_770_368_687_207_196));
            }
            EventBody::Rotate { file, position } => texts.push(format!("{file}:{position}")),
            _ => {}
        }
    }
    assert_eq!(
        texts,
        [
            "55778904-0299-11f1-b1b8-4ef0c4956feb:1-13:mytag:1-2",
            "55778904-0299-11f1-b1b8-4ef0c4956feb:mytag:3",
            "binlog.000005:4",
        ]
    );
}

#[test]
fn broken_and_refused_files_are_clear_errors() {
    for (flavor, name, words) in [
        (Flavor::MySql, "binlog_truncated_event.000001", "shorter than its header"),
        (Flavor::MySql, "json.binlog.000001", "binlog_row_value_options must be empty"),
        (Flavor::MySql, "corrupt-relay-bin.000624", "ending at position 199: it is cut short"),
        (Flavor::MySql, "mariadb-bin.000001", "type 163, ending at position 285: events of this"),
    ] {
        let error = decode(flavor, name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Stop, "{name}");
        assert!(error.to_string().contains(words), "{name}: {error}");
    }
}

#[test]
fn the_first_rotate_of_a_dump_may_have_a_checksum_or_not() {
    let mut plain = vec![0; 19];
    plain[4] = 4;
    plain[17] = 0x20;
    plain.extend(4_u64.to_le_bytes());
    plain.extend(b"bin.000001");
    let len = u8::try_from(plain.len()).unwrap();
    let mut summed = plain.clone();
    plain[9] = len;
    summed[9] = len + 4;
    summed.extend(crc32fast::hash(&summed).to_le_bytes());
    for event in [plain, summed] {
        let event = Decoder::new(Flavor::MySql).decode(event.into()).unwrap();
        let EventBody::Rotate { file, position } = event.body else { panic!("not a rotate") };
        assert_eq!((file.as_str(), position), ("bin.000001", 4));
    }
}

#[test]
fn unknown_events_stop_unless_the_server_lets_them_be_ignored() {
    let events = split("write-full-row.binlog");
    let mut event = vec![0; 19];
    event[4] = 200;
    event[9] = 19;
    let mut decoder = Decoder::new(Flavor::MySql);
    let error = decoder.decode(event.clone().into()).unwrap_err().to_string();
    assert!(error.contains("before the format description"), "{error}");
    decoder.decode(events[0].clone()).unwrap();
    let error = decoder.decode(event.clone().into()).unwrap_err().to_string();
    assert!(error.contains("type 200"), "{error}");
    event[17] = 0x80;
    let event = decoder.decode(event.into()).unwrap();
    assert!(matches!(event.body, EventBody::Ignorable(200)));
}

/// Walks everything an event gives out, so that broken bytes reach every reader.
fn walk(event: &Event) {
    match &event.body {
        EventBody::Payload(events) => events.iter().for_each(walk),
        EventBody::Rows(rows) => {
            for change in rows.changes().map_while(Result::ok) {
                let before = change.before.iter().map(|image| (image, &rows.columns_before));
                let after = change.after.iter().map(|image| (image, &rows.columns_after));
                for (image, columns) in before.chain(after) {
                    for cell in image.cells(&rows.table, columns) {
                        let (column, cell) = cell.expect("images are checked before");
                        let column = &rows.table.columns[column];
                        let value = cell.map(|cell| value::decode(column, false, cell));
                        if let Some(Ok(value)) = value {
                            let _ = value::push_literal(&value, &mut Vec::new());
                        }
                    }
                }
            }
        }
        _ => {}
    }
}

/// Puts length and checksum right, so that the change behind them is what is read.
fn mended(mut event: Vec<u8>, checksum: bool) -> Bytes {
    if event.len() >= 19 {
        let size = u32::try_from(event.len()).unwrap();
        event[9..13].copy_from_slice(&size.to_le_bytes());
        if checksum && event.len() >= 23 {
            let content = event.len() - 4;
            let sum = crc32fast::hash(&event[..content]);
            event[content..].copy_from_slice(&sum.to_le_bytes());
        }
    }
    event.into()
}

#[test]
fn damaged_events_never_panic() {
    for name in super::recordings::all() {
        let flavor = if name.starts_with("mariadb") { Flavor::MariaDb } else { Flavor::MySql };
        let mut decoder = Decoder::new(flavor);
        let mut checksum = false;
        for event in split(&name).into_iter().take(200) {
            let step = event.len() / 200 + 1;
            for at in (0..event.len()).step_by(step) {
                for flip in [1, 0x80, 0xff] {
                    let mut damaged = event.to_vec();
                    damaged[at] ^= flip;
                    if let Ok(event) = decoder.clone().decode(mended(damaged, checksum)) {
                        walk(&event);
                    }
                }
                if let Ok(event) = decoder.clone().decode(mended(event[..at].to_vec(), checksum)) {
                    walk(&event);
                }
            }
            match decoder.decode(event) {
                Ok(Event { body: EventBody::FormatDescription { checksum: has, .. }, .. }) => {
                    checksum = has;
                }
                Ok(event) => walk(&event),
                Err(_) => {}
            }
        }
    } // Lengths that were made up must not have been believed: the most memory this process ever had, in KiB.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    assert!(peak.is_none_or(|peak| peak < 256 * 1024), "{peak:?} KiB");
}
