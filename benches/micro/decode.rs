//! The binlog's bytes as values: the whole recording, every cell of every image, beside two other decoders.
//!
//! Only ours checks the events' checksums; `limit_crc32` is what that alone costs.

use bytes::Bytes;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use mysql_cdc::events::binlog_event::BinlogEvent;
use mysql_cdc::events::event_header::EventHeader;
use mysql_cdc::events::event_parser::EventParser;
use mysql_common::binlog::EventStreamReader;
use mysql_common::binlog::consts::BinlogVersion;
use mysql_common::binlog::events::EventData;
use mysql_common::binlog::row::BinlogRow;
use shunt_engine::mysql::binlog::{
    Bitmap, Decoder, EventBody, RowChange, RowImage, RowsEvent, value,
};
use shunt_engine::mysql::server::Flavor;

use crate::recording::{self, IMAGES, bytes_of};

/// Bytes of an event's header.
const HEADER: usize = 19;

fn run(bencher: Bencher<'_, '_>, decode: fn(&[Bytes]) -> usize) {
    let events = recording::events();
    assert_eq!(decode(&events), IMAGES, "row images");
    let bencher = bencher.counter(ItemsCount::new(IMAGES));
    bencher.counter(BytesCount::new(bytes_of(&events))).bench(|| decode(black_box(&events)));
}

#[divan::bench]
fn shunt(bencher: Bencher<'_, '_>) {
    run(bencher, |events| {
        let mut decoder = Decoder::new(Flavor::MariaDb);
        let mut images = 0;
        for event in events {
            let event = decoder.decode(event.clone()).expect("decodes");
            let EventBody::Rows(rows) = event.body else { continue };
            for change in rows.changes() {
                let change = change.expect("whole");
                images +=
                    change.before.map_or(0, |image| walk(&rows, &rows.columns_before, &image));
                images += change.after.map_or(0, |image| walk(&rows, &rows.columns_after, &image));
            }
        }
        images
    });
}

fn walk(rows: &RowsEvent, columns: &Bitmap, image: &RowImage) -> usize {
    for cell in image.cells(&rows.table, columns) {
        let (at, cell) = cell.expect("whole");
        let Some(cell) = cell else { continue };
        let value = value::decode(&rows.table.columns[at], false, cell).expect("decodes");
        black_box(&value);
    }
    1
}

/// Rows cut into images, whose cells nobody asks for.
#[divan::bench]
fn shunt_images(bencher: Bencher<'_, '_>) {
    run(bencher, |events| {
        let mut decoder = Decoder::new(Flavor::MariaDb);
        let mut images = 0;
        for event in events {
            let event = decoder.decode(event.clone()).expect("decodes");
            let EventBody::Rows(rows) = event.body else { continue };
            for change in rows.changes() {
                let RowChange { before, after } = black_box(change.expect("whole"));
                images += usize::from(before.is_some()) + usize::from(after.is_some());
            }
        }
        images
    });
}

#[divan::bench]
fn peer_mysql_cdc(bencher: Bencher<'_, '_>) {
    run(bencher, |events| {
        let mut parser = EventParser::new();
        let mut images = 0;
        for event in events {
            let header = EventHeader::parse(event).expect("a header");
            let parsed = parser.parse_event(&header, &event[HEADER..]).expect("decodes");
            images += match &parsed {
                BinlogEvent::WriteRowsEvent(rows) => rows.rows.len(),
                BinlogEvent::DeleteRowsEvent(rows) => rows.rows.len(),
                BinlogEvent::UpdateRowsEvent(rows) => 2 * rows.rows.len(),
                _ => 0,
            };
            black_box(parsed);
        }
        images
    });
}

#[divan::bench]
fn peer_mysql_common(bencher: Bencher<'_, '_>) {
    run(bencher, |events| {
        let mut reader = EventStreamReader::new(BinlogVersion::Version4);
        let mut images = 0;
        for event in events {
            // It refuses MariaDB's own events, among which there are no rows.
            let Ok(Some(event)) = reader.read(&event[..]) else { continue };
            let Ok(Some(EventData::RowsEvent(rows))) = event.read_data() else { continue };
            let map = reader.get_tme(rows.table_id()).expect("a table map");
            for row in rows.rows(map) {
                let (before, after) = row.expect("decodes");
                images += before.map_or(0, black_boxed) + after.map_or(0, black_boxed);
            }
        }
        images
    });
}

fn black_boxed(row: BinlogRow) -> usize {
    black_box(row);
    1
}

#[divan::bench]
fn limit_crc32(bencher: Bencher<'_, '_>) {
    let events = recording::events();
    let bencher = bencher.counter(ItemsCount::new(IMAGES));
    bencher
        .counter(BytesCount::new(bytes_of(&events)))
        .bench(|| events.iter().fold(0, |sum, event| sum ^ crc32fast::hash(black_box(event))));
}
