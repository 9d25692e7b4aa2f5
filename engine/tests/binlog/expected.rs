//! Each recording beside the text that is expected of it: every event in a line, every image of a row in one more.
//!
//! The texts were made by this printer, and then compared with other readers of the same bytes; the README beside them says with which,
//! and explains what differs. `SHUNT_WRITE_EXPECTED=1` writes them anew.

use std::fmt::Write as _;

use shunt_engine::mysql::binlog::{
    Bitmap, Decoder, Event, EventBody, RowImage, TableMap, Value, value,
};

use super::recordings::{all, flavor, path, split};

/// Bytes as text, as far as they are ASCII that can be read.
fn text(bytes: &[u8]) -> String {
    format!("'{}'", bytes.escape_ascii())
}

fn printed(value: &Value<'_>) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::UInt(number) | Value::Enum(number) | Value::Set(number) => number.to_string(),
        Value::Float(number) => format!("{number:e}"),
        Value::Double(number) => format!("{number:e}"),
        Value::Text(text) => format!("'{}'", text.as_str()),
        // Long ones by their length and checksum.
        Value::Bytes(bytes) if bytes.len() > 400 => {
            format!("{} bytes, CRC32 {:08x}", bytes.len(), crc32fast::hash(bytes))
        }
        Value::Bytes(bytes) => text(bytes),
        Value::Native(native) => format!("x'{}'", hex(native.as_bytes())),
        Value::Json(bytes) => format!("json x'{}'", hex(bytes)),
        Value::Bit(bytes) => {
            format!("b'{}'", bytes.iter().map(|byte| format!("{byte:08b}")).collect::<String>())
        }
    }
}

fn image(table: &TableMap, image: &RowImage, columns: &Bitmap) -> String {
    let mut line = String::new();
    for cell in image.cells(table, columns) {
        let (at, cell) = cell.unwrap();
        let value =
            cell.map_or(Ok(Value::Null), |cell| value::decode(&table.columns[at], false, cell));
        let value = value.map_or_else(|error| format!("<{error}>"), |value| printed(&value));
        write!(line, " @{}={value}", at + 1).unwrap();
    }
    line
}

fn describe(event: &Event, out: &mut String) {
    let line = match &event.body {
        EventBody::Rotate { file, position } => format!("rotate to {file}:{position}"),
        EventBody::FormatDescription { server_version, checksum } => {
            format!("format of {server_version}{}", if *checksum { ", CRC32" } else { "" })
        }
        EventBody::PreviousGtids(set) => format!("previous GTIDs {set}"),
        EventBody::GtidList(set) => format!("GTID list {set}"),
        EventBody::Gtid(gtid) => {
            let phase = gtid.alter.map_or(String::new(), |phase| format!(", {phase:?}"));
            format!("GTID {}, flags {:#04x}{phase}", gtid.gtid, gtid.flags)
        }
        EventBody::AnonymousGtid => "anonymous GTID".to_owned(),
        EventBody::Query(query) => {
            format!("query in {}: {}", text(&query.database), text(&query.sql))
        }
        EventBody::TableMap(map) => {
            let columns =
                map.columns.iter().map(|column| format!("{}/{}", column.kind, column.meta));
            let columns = columns.collect::<Vec<_>>().join(" ");
            format!("table {} is {}.{}: {columns}", map.id, map.database, map.table)
        }
        EventBody::Rows(rows) => {
            let end = if rows.end_of_statement { ", end of statement" } else { "" };
            format!("{:?} in {}{end}", rows.kind, rows.table.table)
        }
        EventBody::Annotate(sql) | EventBody::RowsQuery(sql) => format!("of {}", text(sql)),
        EventBody::Payload(events) => format!("{} events, compressed", events.len()),
        other => format!("{other:?}"),
    };
    writeln!(out, "{} type {} {line}", event.header.log_pos, event.header.kind).unwrap();
    match &event.body {
        EventBody::Rows(rows) => {
            for change in rows.changes() {
                let change = change.unwrap();
                for (sign, found, columns) in [
                    ('-', change.before, &rows.columns_before),
                    ('+', change.after, &rows.columns_after),
                ] {
                    if let Some(found) = found {
                        writeln!(out, "  {sign}{}", image(&rows.table, &found, columns)).unwrap();
                    }
                }
            }
        }
        EventBody::Payload(events) => events.iter().for_each(|event| describe(event, out)),
        _ => {}
    }
}

/// A whole file; an error ends it.
fn listing(name: &str) -> String {
    let mut decoder = Decoder::new(flavor(name));
    let mut out = String::new();
    for event in split(name) {
        match decoder.decode(event) {
            Ok(event) => describe(&event, &mut out),
            Err(error) => {
                writeln!(out, "{:?}: {error}", error.kind()).unwrap();
                break;
            }
        }
    }
    out
}

#[test]
fn every_recording_is_what_is_expected_of_it() {
    let mut wrong = Vec::new();
    for name in all() {
        let file = path(&format!("{name}.events"));
        let found = listing(&name);
        if std::env::var_os("SHUNT_WRITE_EXPECTED").is_some() {
            std::fs::write(&file, &found).unwrap();
        }
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        if let Some((at, pair)) = found
            .lines()
            .zip(expected.lines())
            .enumerate()
            .find(|(_, (found, expected))| found != expected)
        {
            wrong.push(format!("{name}, line {}: {pair:?}", at + 1));
        } else if found != expected {
            wrong.push(format!("{name}: {} lines", found.lines().count()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
