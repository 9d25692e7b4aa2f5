//! What the fuzzer calls, and what `engine/tests/binlog/corpus.rs` calls with the kept inputs: one function a reader. Each takes any
//! bytes and panics if a property does not hold.
//!
//! Memory and time are the fuzzer's to watch (`scripts/fuzz.sh`): no input may make a reader take more than it is worth.

use bytes::Bytes;
use shunt_engine::mysql::binlog::{
    Bitmap, Decoder, Event, EventBody, RowImage, RowsEvent, TableMap, value,
};
use shunt_engine::mysql::gtid::{Gtid, GtidSet, UuidSets};
use shunt_engine::mysql::server::Flavor;
use shunt_engine::routing::RoutingRules;

const HEADER_LEN: usize = 19;
const CHECKSUM_LEN: usize = 4;
const FLAVORS: [Flavor; 2] = [Flavor::MySql, Flavor::MariaDb];

fn flavor(byte: u8) -> Flavor {
    FLAVORS[usize::from(byte & 1)]
}

/// A binlog behind its magic, after a byte with the flavor. Lengths and checksums of events are put right, so that the change
/// behind them is what is read.
pub fn event(data: &[u8]) {
    let Some((&first, mut rest)) = data.split_first() else { return };
    let mut decoder = Decoder::new(flavor(first));
    let mut checksum = false;
    while rest.len() >= HEADER_LEN {
        let size = u32::from_le_bytes([rest[9], rest[10], rest[11], rest[12]]);
        let size = usize::try_from(size).unwrap_or(usize::MAX).clamp(HEADER_LEN, rest.len());
        let (bytes, behind) = rest.split_at(size);
        rest = behind;
        let is_format = bytes[4] == 15;
        let bytes = mended(bytes.to_vec(), checksum || is_format);
        let len = bytes.len();
        match decoder.decode(bytes) {
            Ok(event) => {
                assert!(usize::try_from(event.header.size) == Ok(len), "its length is its own");
                if let EventBody::FormatDescription { checksum: has, .. } = event.body {
                    checksum = has;
                }
                walk(&event);
            }
            // It is at its end, as a stream would be. An error tells what went wrong.
            Err(error) => return assert!(!error.to_string().is_empty()),
        }
    }
}

/// Puts length and checksum right. A checksum that is not asked for does no harm.
fn mended(mut event: Vec<u8>, checksum: bool) -> Bytes {
    let len = u32::try_from(event.len()).unwrap_or(u32::MAX);
    event[9..13].copy_from_slice(&len.to_le_bytes());
    if checksum && event.len() >= HEADER_LEN + CHECKSUM_LEN {
        let content = event.len() - CHECKSUM_LEN;
        let sum = crc32(&event[..content]);
        event[content..].copy_from_slice(&sum.to_le_bytes());
    }
    event.into()
}

/// CRC32 as in zip files, bit by bit: not the engine's own.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 }
        })
    };
    !bytes.iter().fold(u32::MAX, step)
}

/// Everything that an event gives out.
fn walk(event: &Event) {
    match &event.body {
        EventBody::Payload(events) => events.iter().for_each(walk),
        EventBody::Rows(rows) => walk_rows(rows),
        EventBody::Gtid(gtid) => {
            let text = gtid.gtid.to_string();
            assert!(Gtid::parse(gtid.gtid.flavor(), &text).is_ok_and(|read| read == gtid.gtid));
        }
        EventBody::PreviousGtids(set) | EventBody::GtidList(set) => check_set(set),
        _ => {}
    }
}

/// The images of the rows are the whole body, each of its bytes once.
fn walk_rows(rows: &RowsEvent) {
    let mut len = 0;
    let mut whole = true;
    for change in rows.changes() {
        let Ok(change) = change else {
            whole = false;
            break;
        };
        for (image, columns) in
            [(&change.before, &rows.columns_before), (&change.after, &rows.columns_after)]
        {
            if let Some(image) = image {
                len += image.bytes.len();
                walk_image(&rows.table, image, columns);
            }
        }
    }
    assert!(
        len <= rows.body.len() && (!whole || len == rows.body.len()),
        "the images are the body"
    );
}

fn walk_image(table: &TableMap, image: &RowImage, columns: &Bitmap) {
    let mut len = 0;
    let mut seen = 0;
    for cell in image.cells(table, columns) {
        let (at, cell) = cell.expect("an image was walked before it was given out");
        assert!(columns.get(at), "only columns of the image are in it");
        seen += 1;
        let Some(cell) = cell else { continue };
        len += cell.len();
        for unsigned in [false, true] {
            if let Ok(value) = value::decode(&table.columns[at], unsigned, cell) {
                let mut out = Vec::new();
                if value::push_literal(&value, &mut out).is_ok() {
                    // Each byte of a BIT is eight digits; numbers and dates have their own bound.
                    let len = value::value_len(&table.columns[at], cell).expect("it has a value");
                    let len = usize::try_from(len).expect("it was unpacked");
                    assert!(out.len() <= 8 * len + 400, "a literal is as long as its value");
                }
            }
        }
        for native in [value::Native::Address, value::Native::Uuid] {
            drop(value::decode_native(native, &table.columns[at], cell));
        }
    }
    assert!(seen == columns.count() && len <= image.bytes.len(), "every column once");
}

/// One table map and one row event of it: a byte with flavor and kind, two with the length of the map's body, both bodies.
pub fn rows(data: &[u8]) {
    const KINDS: [u8; 6] = [23, 24, 25, 30, 31, 32];
    let [first, low, high, rest @ ..] = data else { return };
    let len = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
    let (map, rows) = rest.split_at(len);
    let kind = KINDS[usize::from(first >> 1) % KINDS.len()];
    let mut decoder = Decoder::new(flavor(*first));
    decoder.decode(event_of(15, &format_description())).expect("a format description of ours");
    for (kind, body) in [(19, map), (kind, rows)] {
        let mut body = body.to_vec();
        // Both are of table 0.
        body.iter_mut().take(6).for_each(|byte| *byte = 0);
        match decoder.decode(event_of(kind, &body)) {
            Ok(event) => walk(&event),
            Err(_) => return,
        }
    }
}

/// That of MySQL 5.5, which knows no checksums.
fn format_description() -> Vec<u8> {
    let mut body = vec![0; 57];
    body[0] = 4;
    body[2..8].copy_from_slice(b"5.5.62");
    body[56] = 19;
    body.extend([8; 27]);
    body[57 + 14] = 57 + 27;
    body
}

fn event_of(kind: u8, body: &[u8]) -> Bytes {
    let mut event = vec![0; HEADER_LEN];
    event[4] = kind;
    event.extend_from_slice(body);
    mended(event, false)
}

/// A GTID set or a GTID as text, or a set in MySQL's binary form.
pub fn gtid(data: &[u8]) {
    if let Ok(set) = UuidSets::decode(data) {
        assert!(UuidSets::decode(&set.encode()).is_ok_and(|read| read == set));
        check_set(&GtidSet::MySql(set));
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    for flavor in FLAVORS {
        if let Ok(set) = GtidSet::parse(flavor, text) {
            check_set(&set);
        }
        if let Ok(gtid) = Gtid::parse(flavor, text) {
            assert!(Gtid::parse(flavor, &gtid.to_string()).is_ok_and(|read| read == gtid));
            let mut set = GtidSet::empty(flavor);
            set.insert(&gtid).expect("a GTID goes into a set of its flavor");
            assert!(set.contains(&gtid));
            check_set(&set);
        }
    }
}

/// Printed and read again it is the same, and it is in itself.
fn check_set(set: &GtidSet) {
    let text = set.to_string();
    assert!(GtidSet::parse(set.flavor(), &text).is_ok_and(|read| read == *set), "{text}");
    let mut twice = set.clone();
    twice.union(set).expect("they are of one flavor");
    assert!(twice == *set && set.contains_set(set), "{text}");
    assert!(set.is_empty() || set.intersects(set), "{text}");
    if let GtidSet::MySql(set) = set {
        assert!(UuidSets::decode(&set.encode()).is_ok_and(|read| read == *set), "{text}");
    }
}

/// Routing rules as JSON, which operators write. (MySQL's binary JSON is not read: columns of it are refused.)
pub fn json(data: &[u8]) {
    if let Ok(rules) = RoutingRules::parse(data) {
        let text = rules.to_json();
        assert!(RoutingRules::parse(text.as_bytes()).is_ok_and(|read| read == rules), "{text}");
    }
}
