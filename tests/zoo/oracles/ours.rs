//! Our own decoder.

use bytes::Bytes;
use shunt_engine::mysql::binlog::{
    Bitmap, Decoder, Event, EventBody, RowImage, RowsEvent, TableMap, Value, value,
};
use shunt_engine::mysql::server::Flavor;

use super::seen::{Cell, Change, Column, Seen};

/// Our decoder, and what it made of the last event.
pub(super) struct Ours {
    flavor: Flavor,
    decoder: Decoder,
}

impl Ours {
    pub(super) fn new(flavor: Flavor) -> Self {
        Self { flavor, decoder: Decoder::new(flavor) }
    }

    /// The event as it came, and as it is compared.
    pub(super) fn decode(&mut self, bytes: &[u8]) -> (Option<Event>, Seen) {
        match self.decoder.decode(Bytes::copy_from_slice(bytes)) {
            Ok(event) => {
                let seen = seen(&event);
                (Some(event), seen)
            }
            Err(error) => (None, Seen::Refused(error.to_string())),
        }
    }

    pub(super) fn flavor(&self) -> Flavor {
        self.flavor
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn seen(event: &Event) -> Seen {
    Seen::Said(match &event.body {
        EventBody::Rows(rows) => return Seen::Rows(changes(rows)),
        EventBody::Payload(events) => return Seen::Many(events.iter().map(seen).collect()),
        EventBody::Rotate { file, position } => format!("rotate {file}:{position}"),
        EventBody::FormatDescription { server_version, .. } => format!("format {server_version}"),
        EventBody::PreviousGtids(set) => format!("previous {set}"),
        EventBody::GtidList(set) => format!("list {set}"),
        EventBody::Gtid(gtid) => format!("gtid {}", gtid.gtid),
        EventBody::AnonymousGtid => "anonymous".to_owned(),
        EventBody::Query(query) => {
            format!("query {} {}: {}", query.thread_id, text(&query.database), text(&query.sql))
        }
        EventBody::TableMap(map) => {
            format!("table {} {}.{} of {}", map.id, map.database, map.table, map.columns.len())
        }
        EventBody::Xid(xid) => format!("xid {xid}"),
        EventBody::XaPrepare { .. } => "xa prepare".to_owned(),
        EventBody::Heartbeat { .. } => "heartbeat".to_owned(),
        EventBody::Annotate(sql) | EventBody::RowsQuery(sql) => format!("text {}", text(sql)),
        EventBody::BinlogCheckpoint { file } => format!("checkpoint {file}"),
        EventBody::Stop => "stop".to_owned(),
        EventBody::StatementContext(kind) => format!("context {kind}"),
        EventBody::Ignorable(kind) => format!("ignorable {kind}"),
    })
}

fn changes(rows: &RowsEvent) -> Vec<Change> {
    let all = rows.changes().map(|change| {
        let change = change.unwrap();
        let image = |image: &RowImage, columns: &Bitmap| cells(&rows.table, image, columns);
        Change {
            before: change.before.map(|before| image(&before, &rows.columns_before)),
            after: change.after.map(|after| image(&after, &rows.columns_after)),
        }
    });
    all.collect()
}

fn cells(table: &TableMap, image: &RowImage, columns: &Bitmap) -> Vec<Cell> {
    let mut cells = vec![Cell::Absent; table.columns.len()];
    for found in image.cells(table, columns) {
        let (at, bytes) = found.unwrap();
        let column = column(table, at);
        cells[at] = bytes.map_or(Cell::Null, |bytes| {
            match value::decode(&table.columns[at], column.is_unsigned(), bytes) {
                Ok(value) => cell(&value),
                Err(error) => Cell::Refused(error.to_string()),
            }
        });
    }
    cells
}

/// What is known of a column: those of the zoo are found by the names of their tables.
pub(super) fn column(table: &TableMap, at: usize) -> Column {
    let animal = if at == 1 { super::scene::animal(&table.table) } else { None };
    Column { kind: table.columns[at].kind, meta: table.columns[at].meta, animal }
}

/// A value in the common form.
pub(super) fn cell(value: &Value<'_>) -> Cell {
    match value {
        Value::Null => Cell::Null,
        Value::Int(number) => Cell::number(number),
        Value::UInt(number) | Value::Enum(number) | Value::Set(number) => Cell::number(number),
        Value::Float(number) => Cell::double(f64::from(*number)),
        Value::Double(number) => Cell::double(*number),
        Value::Text(text) => Cell::Text(text.as_str().to_owned()),
        Value::Bytes(bytes) => Cell::Bytes(bytes.to_vec()),
        Value::Json(bytes) => Cell::Bytes(bytes.to_vec()),
        Value::Native(native) => Cell::Bytes(native.as_bytes().to_vec()),
        Value::Bit(bytes) => {
            Cell::number(bytes.iter().fold(0_u64, |number, &byte| number << 8 | u64::from(byte)))
        }
    }
}
