//! What all benches run over: a binlog with the rows of a sysbench table.
//!
//! `sysbench.binlog` was written by MariaDB 10.11.19: 1,000 rows of `sysbench oltp_read_write --rand-seed=7 prepare` inserted by one
//! statement, the first 100 updated (k = k + 1) by another, the last 100 deleted by a third.

use std::sync::Arc;

use bytes::Bytes;
use shunt_engine::changes::{Op, Row, RowOp};
use shunt_engine::mysql::binlog::{
    Bitmap, Decoder, EventBody, RowImage, RowsEvent, RowsKind, Value, value,
};
use shunt_engine::mysql::schema::{Column, Key, KeyKind, KeyPart, TableSchema};
use shunt_engine::mysql::server::Flavor;
use shunt_engine::plan::{Layout, TablePlan};

/// Row images: 1,000 inserted, 100 before and 100 after an update, 100 deleted.
pub(crate) const IMAGES: usize = 1300;

/// The events, as a server sends them.
pub(crate) fn events() -> Vec<Bytes> {
    let file = Bytes::from_static(include_bytes!("sysbench.binlog"));
    let mut rest = file.slice(4..);
    let mut events = Vec::new();
    while !rest.is_empty() {
        let size = rest[9..13].try_into().map(u32::from_le_bytes).expect("four bytes");
        events.push(rest.split_to(usize::try_from(size).expect("small")));
    }
    events
}

/// The events with rows and what belongs to them, decoded.
fn rows_events() -> Vec<RowsEvent> {
    let mut decoder = Decoder::new(Flavor::MariaDb);
    let decoded = events().into_iter().map(|event| decoder.decode(event).expect("decodes").body);
    let rows = decoded.filter_map(|body| match body {
        EventBody::Rows(rows) => Some(rows),
        _ => None,
    });
    rows.collect()
}

/// How the table moves to the database `customer`.
pub(crate) fn plan() -> Arc<TablePlan> {
    let column = |name: &str, data_type: &str, column_type: &str| Column {
        name: name.to_owned(),
        data_type: data_type.to_owned(),
        column_type: column_type.to_owned(),
        charset: (data_type == "char").then(|| "utf8mb4".to_owned()),
        ..Column::default()
    };
    let primary = Key {
        name: "PRIMARY".to_owned(),
        kind: KeyKind::Primary,
        parts: vec![KeyPart { column: 0, prefix: None, descending: false }],
        btree: true,
        usable: true,
    };
    let schema = TableSchema {
        database: "sbtest".to_owned(),
        name: "sbtest1".to_owned(),
        columns: vec![
            column("id", "int", "int(11)"),
            column("k", "int", "int(11)"),
            column("c", "char", "char(120)"),
            column("pad", "char", "char(60)"),
        ],
        keys: vec![primary],
        ..TableSchema::default()
    };
    Arc::new(TablePlan::new(schema, "customer"))
}

/// The operations of the events of one kind, in order.
pub(crate) fn operations(kind: RowsKind) -> Vec<RowOp> {
    let mut operations = Vec::new();
    for rows in rows_events().into_iter().filter(|rows| rows.kind == kind) {
        let columns: &Bitmap = match kind {
            RowsKind::Delete => &rows.columns_before,
            RowsKind::Insert | RowsKind::Update => &rows.columns_after,
        };
        let layout = Layout::new(plan(), Arc::clone(&rows.table), columns.clone());
        let layout = Arc::new(layout.expect("the plan is the table's"));
        for change in rows.changes() {
            let change = change.expect("whole");
            operations.extend(change.after.map(|image| operation(&layout, image, Op::Upsert)));
        }
    }
    operations
}

fn operation(layout: &Arc<Layout>, image: RowImage, op: impl Fn(Row) -> Op) -> RowOp {
    let identity = layout.identity(&image).expect("it has a key");
    let bytes = image.bytes.len();
    let row = Row { layout: Arc::clone(layout), image };
    RowOp { table: 0, identity, place: None, op: op(row), bytes }
}

/// The inserted rows as the text protocol sends them, each its packet's payload.
pub(crate) fn text_rows() -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for rows in rows_events().iter().filter(|rows| rows.kind == RowsKind::Insert) {
        for change in rows.changes() {
            let image = change.expect("whole").after.expect("an insert");
            let cells = image.cells(&rows.table, &rows.columns_after);
            let mut packet = Vec::new();
            for cell in cells {
                let (at, cell) = cell.expect("whole");
                let cell = cell.expect("no column may be NULL");
                push_cell(&mut packet, &value::decode(&rows.table.columns[at], false, cell));
            }
            out.push(packet);
        }
    }
    out
}

fn push_cell(packet: &mut Vec<u8>, value: &shunt_engine::Result<Value<'_>>) {
    let number;
    let cell = match value {
        Ok(Value::Int(int)) => {
            number = int.to_string();
            number.as_bytes()
        }
        Ok(Value::Bytes(bytes)) => bytes.as_ref(),
        other => unreachable!("sysbench has integers and strings, not {other:?}"),
    };
    packet.push(u8::try_from(cell.len()).expect("a short cell"));
    packet.extend_from_slice(cell);
}

/// How many bytes these are together.
pub(crate) fn bytes_of(parts: &[impl AsRef<[u8]>]) -> usize {
    parts.iter().map(|part| part.as_ref().len()).sum()
}
