//! The crate `mysql_common`, with its event layer and its rows.

use std::panic::{AssertUnwindSafe, catch_unwind};

use mysql_common::binlog::EventStreamReader;
use mysql_common::binlog::consts::BinlogVersion;
use mysql_common::binlog::events::{Event, EventData, RowsEventData};
use mysql_common::binlog::row::BinlogRow;
use mysql_common::binlog::value::BinlogValue;
use mysql_common::value::Value;
use shunt_engine::mysql::binlog::table_map::kind;

use super::seen::{Cell, Change, Column, Seen, utc, with_fraction};

/// Its reader, which keeps table maps.
pub(super) struct Common {
    reader: EventStreamReader,
}

impl Common {
    pub(super) fn new() -> Self {
        Self { reader: EventStreamReader::new(BinlogVersion::Version4) }
    }

    /// `columns` are those of the table that a row event is of.
    pub(super) fn decode(&mut self, bytes: &[u8], columns: &[Column]) -> Seen {
        let seen = catch_unwind(AssertUnwindSafe(|| match self.reader.read(bytes) {
            Ok(Some(event)) => self.seen(&event, columns),
            Ok(None) => Seen::Lost,
            Err(error) => Seen::Refused(error.to_string()),
        }));
        seen.unwrap_or(Seen::Panicked)
    }

    fn seen(&mut self, event: &Event, columns: &[Column]) -> Seen {
        let data = match event.read_data() {
            Ok(Some(data)) => data,
            Ok(None) => return Seen::Lost,
            Err(error) => return Seen::Refused(error.to_string()),
        };
        Seen::Said(match data {
            EventData::RowsEvent(rows) => return self.rows(&rows, columns),
            EventData::TransactionPayloadEvent(payload) => {
                let mut reader = payload.decompressed().unwrap();
                let mut inner = Vec::new();
                while let Ok(Some(event)) = self.reader.read_decompressed(&mut reader) {
                    inner.push(self.seen(&event, columns));
                }
                return Seen::Many(inner);
            }
            EventData::QueryEvent(query) => {
                format!("query {} {}: {}", query.thread_id(), query.schema(), query.query())
            }
            EventData::StopEvent => "stop".to_owned(),
            EventData::RotateEvent(rotate) => {
                format!("rotate {}:{}", rotate.name(), rotate.position())
            }
            EventData::IntvarEvent(_) | EventData::RandEvent(_) | EventData::UserVarEvent(_) => {
                format!("context {}", event.header().event_type_raw())
            }
            EventData::FormatDescriptionEvent(format) => {
                format!("format {}", format.server_version())
            }
            EventData::XidEvent(xid) => format!("xid {}", xid.xid),
            EventData::TableMapEvent(map) => format!(
                "table {} {}.{} of {}",
                map.table_id(),
                map.database_name(),
                map.table_name(),
                map.columns_count()
            ),
            EventData::RowsQueryEvent(query) => format!("text {}", query.query()),
            EventData::GtidEvent(gtid) => {
                let tag = gtid.tag().map_or(String::new(), |tag| format!(":{tag}"));
                format!("gtid {}{tag}:{}", dashed(&gtid.sid()), gtid.gno())
            }
            EventData::AnonymousGtidEvent(_) => "anonymous".to_owned(),
            EventData::PreviousGtidsEvent(previous) => {
                let mut text = String::from("previous ");
                let mut last = None;
                for sid in previous.sids() {
                    if last != Some(sid.uuid()) {
                        text += if last.is_some() { "," } else { "" };
                        text += &dashed(&sid.uuid());
                        last = Some(sid.uuid());
                    }
                    text += &sid.tag().map_or(String::new(), |tag| format!(":{tag}"));
                    for interval in sid.intervals() {
                        text += &match (interval.start(), interval.end() - 1) {
                            (first, last) if first == last => format!(":{first}"),
                            (first, last) => format!(":{first}-{last}"),
                        };
                    }
                }
                text
            }
            EventData::IgnorableEvent(_) => {
                format!("ignorable {}", event.header().event_type_raw())
            }
            // It has a name for these and gives out the bytes.
            EventData::XaPrepareLogEvent(_) | EventData::HeartbeatEvent => return Seen::Lost,
            other => format!("{other:?}"),
        })
    }

    fn rows(&self, rows: &RowsEventData<'_>, columns: &[Column]) -> Seen {
        let Some(map) = self.reader.get_tme(rows.table_id()) else {
            return Seen::Refused("no table map".to_owned());
        };
        let before =
            rows.columns_before_image().map(|image| image.iter().map(|bit| *bit).collect());
        let after = rows.columns_after_image().map(|image| image.iter().map(|bit| *bit).collect());
        let image = |row: &BinlogRow, present: &Option<Vec<bool>>| {
            cells(row, present.as_deref().unwrap_or_default(), columns)
        };
        let mut changes = Vec::new();
        for row in rows.rows(map) {
            match row {
                Ok((old, new)) => changes.push(Change {
                    before: old.map(|row| image(&row, &before)),
                    after: new.map(|row| image(&row, &after)),
                }),
                Err(error) => return Seen::Refused(error.to_string()),
            }
        }
        Seen::Rows(changes)
    }
}

fn dashed(uuid: &[u8; 16]) -> String {
    let hex: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// A row has only the columns that are in the image.
fn cells(row: &BinlogRow, present: &[bool], columns: &[Column]) -> Vec<Cell> {
    let mut values = (0..row.len()).map(|at| row.as_ref(at));
    let cells = present.iter().enumerate().map(|(at, &is_present)| {
        if !is_present {
            return Cell::Absent;
        }
        values.next().flatten().map_or(Cell::Absent, |value| cell(value, columns.get(at)))
    });
    cells.collect()
}

fn cell(value: &BinlogValue<'_>, column: Option<&Column>) -> Cell {
    let (of_kind, digits) = column.map_or((0, 0), |column| (column.kind, column.meta));
    let value = match value {
        BinlogValue::Value(value) => value,
        BinlogValue::Jsonb(json) => return Cell::Text(format!("{json:?}")),
        BinlogValue::JsonDiff(diff) => return Cell::Text(format!("{diff:?}")),
    };
    match value {
        Value::NULL => Cell::Null,
        Value::Int(seconds) if of_kind == kind::TIMESTAMP => {
            Cell::Text(utc(u64::try_from(*seconds).unwrap()))
        }
        Value::Int(number) => Cell::number(number),
        Value::UInt(number) => Cell::number(number),
        Value::Float(number) => Cell::double(f64::from(*number)),
        Value::Double(number) => Cell::double(*number),
        Value::Date(year, month, day, ..) if of_kind == kind::DATE => {
            Cell::Text(format!("{year:04}-{month:02}-{day:02}"))
        }
        Value::Date(year, month, day, hour, minute, second, micros) => {
            let text = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
            Cell::Text(with_fraction(text, u64::from(*micros), digits))
        }
        Value::Time(negative, days, hours, minute, second, micros) => {
            let sign = if *negative { "-" } else { "" };
            let hours = u32::from(*hours) + days * 24;
            let text = format!("{sign}{hours:02}:{minute:02}:{second:02}");
            Cell::Text(with_fraction(text, u64::from(*micros), digits))
        }
        Value::Bytes(bytes) => of_bytes(bytes, of_kind, digits),
    }
}

/// Much of what it gives out as bytes is text or a number.
fn of_bytes(bytes: &[u8], of_kind: u8, digits: u16) -> Cell {
    let text = || String::from_utf8_lossy(bytes).into_owned();
    let number = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
    match of_kind {
        kind::NEWDECIMAL | kind::YEAR => Cell::Text(text()),
        kind::BIT => Cell::number(bytes.iter().fold(0, number)),
        kind::SET => Cell::number(bytes.iter().rev().fold(0, number)),
        kind::TIMESTAMP2 => {
            let text = text();
            let (seconds, micros) = text.split_once('.').unwrap_or((&text, "0"));
            let text = utc(seconds.parse().unwrap());
            Cell::Text(with_fraction(text, micros.parse().unwrap(), digits))
        }
        _ => Cell::Bytes(bytes.to_vec()),
    }
}
