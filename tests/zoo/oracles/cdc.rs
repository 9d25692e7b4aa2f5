//! The crate `mysql_cdc`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use mysql_cdc::events::binlog_event::BinlogEvent;
use mysql_cdc::events::event_header::EventHeader;
use mysql_cdc::events::event_parser::EventParser;
use mysql_cdc::events::row_events::mysql_value::{DateTime, MySqlValue, Time};
use mysql_cdc::events::row_events::row_data::RowData;

use super::seen::{Cell, Change, Column, Seen, utc, with_fraction};

const HEADER_LEN: usize = 19;

/// Its event parser, without its connection.
pub(super) struct Cdc {
    parser: EventParser,
}

impl Cdc {
    pub(super) fn new() -> Self {
        Self { parser: EventParser::new() }
    }

    /// `columns` are those of the table that a row event is of.
    pub(super) fn decode(&mut self, bytes: &[u8], columns: &[Column]) -> Seen {
        let parsed = catch_unwind(AssertUnwindSafe(|| {
            let header = EventHeader::parse(bytes)?;
            self.parser.parse_event(&header, &bytes[HEADER_LEN..])
        }));
        match parsed {
            Err(_) => Seen::Panicked,
            Ok(Err(error)) => Seen::Refused(format!("{error:?}")),
            Ok(Ok(event)) => seen(event, bytes[4], columns),
        }
    }
}

fn seen(event: BinlogEvent, kind: u8, columns: &[Column]) -> Seen {
    let row = |row: RowData| Some(cells(row, columns));
    Seen::Said(match event {
        BinlogEvent::UnknownEvent => return Seen::Lost,
        BinlogEvent::WriteRowsEvent(rows) => {
            let change = |after| Change { before: None, after: row(after) };
            return Seen::Rows(rows.rows.into_iter().map(change).collect());
        }
        BinlogEvent::DeleteRowsEvent(rows) => {
            let change = |before| Change { before: row(before), after: None };
            return Seen::Rows(rows.rows.into_iter().map(change).collect());
        }
        BinlogEvent::UpdateRowsEvent(rows) => {
            let changes = rows.rows.into_iter().map(|pair| Change {
                before: row(pair.before_update),
                after: row(pair.after_update),
            });
            return Seen::Rows(changes.collect());
        }
        BinlogEvent::XidEvent(xid) => format!("xid {}", xid.xid),
        BinlogEvent::IntVarEvent(_) | BinlogEvent::UserVarEvent(_) => format!("context {kind}"),
        BinlogEvent::QueryEvent(query) => {
            format!("query {} {}: {}", query.thread_id, query.database_name, query.sql_statement)
        }
        BinlogEvent::TableMapEvent(map) => {
            let columns = map.column_types.len();
            let (id, database, table) = (map.table_id, &map.database_name, &map.table_name);
            format!("table {id} {database}.{table} of {columns}")
        }
        BinlogEvent::RotateEvent(rotate) => {
            format!("rotate {}:{}", rotate.binlog_filename, rotate.binlog_position)
        }
        BinlogEvent::RowsQueryEvent(query) => format!("text {}", query.query),
        BinlogEvent::HeartbeatEvent(_) => "heartbeat".to_owned(),
        BinlogEvent::FormatDescriptionEvent(format) => {
            format!("format {}", format.server_version)
        }
        BinlogEvent::MySqlGtidEvent(gtid) => format!("gtid {}", gtid.gtid),
        BinlogEvent::MySqlPrevGtidsEvent(previous) => format!("previous {}", previous.gtid_set),
        BinlogEvent::MariaDbGtidEvent(gtid) => format!("gtid {}", gtid.gtid),
        BinlogEvent::MariaDbGtidListEvent(list) => format!("list {}", list.gtid_list),
    })
}

/// It has no word for a column that is not in the image: NULL.
fn cells(row: RowData, columns: &[Column]) -> Vec<Cell> {
    let cells = row.cells.into_iter().enumerate();
    cells
        .map(|(at, value)| value.map_or(Cell::Null, |value| cell(value, columns.get(at))))
        .collect()
}

fn cell(value: MySqlValue, column: Option<&Column>) -> Cell {
    let digits = column.map_or(0, |column| column.meta);
    match value {
        MySqlValue::TinyInt(number) => Cell::number(number),
        MySqlValue::SmallInt(number) => Cell::number(number),
        MySqlValue::MediumInt(number) | MySqlValue::Int(number) | MySqlValue::Enum(number) => {
            Cell::number(number)
        }
        MySqlValue::BigInt(number) | MySqlValue::Set(number) => Cell::number(number),
        MySqlValue::Float(number) => Cell::double(f64::from(number)),
        MySqlValue::Double(number) => Cell::double(number),
        MySqlValue::Decimal(text) => Cell::Text(text),
        MySqlValue::String(text) => Cell::Bytes(text.into_bytes()),
        MySqlValue::Blob(bytes) => Cell::Bytes(bytes),
        MySqlValue::Bit(bits) => {
            Cell::number(bits.iter().fold(0_u64, |number, &bit| number << 1 | u64::from(bit)))
        }
        MySqlValue::Year(year) => Cell::number(year),
        MySqlValue::Date(date) => {
            Cell::Text(format!("{:04}-{:02}-{:02}", date.year, date.month, date.day))
        }
        MySqlValue::Time(Time { hour, minute, second, millis }) => {
            let text = format!("{hour:02}:{minute:02}:{second:02}");
            Cell::Text(with_fraction(text, u64::from(millis) * 1000, digits))
        }
        MySqlValue::DateTime(DateTime { year, month, day, hour, minute, second, millis }) => {
            let text = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
            Cell::Text(with_fraction(text, u64::from(millis) * 1000, digits))
        }
        MySqlValue::Timestamp(millis) => {
            Cell::Text(with_fraction(utc(millis / 1000), millis % 1000 * 1000, digits))
        }
    }
}
