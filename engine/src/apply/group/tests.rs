//! Row events in, statements out: of the table `d.t (id INT, n INT)`, with `id` as its key or without one.

use bytes::Bytes;

use super::*;
use crate::changes::push_row_ops;
use crate::mysql::binlog::{Decoder, EventBody, EventHeader, RowsEvent};
use crate::mysql::schema::{Column, Key, KeyKind, KeyPart, TableSchema};
use crate::mysql::server::Flavor;
use crate::plan::Layout;

/// A row before and after a change; none where there was none.
type Change = (Option<(i32, i32)>, Option<(i32, i32)>);

const fn insert(id: i32, n: i32) -> Change {
    (None, Some((id, n)))
}

const fn update(id: i32, n: i32, to: (i32, i32)) -> Change {
    (Some((id, n)), Some(to))
}

const fn delete(id: i32, n: i32) -> Change {
    (Some((id, n)), None)
}

fn rows_event(change: Change) -> RowsEvent {
    let mut decoder = Decoder::new(Flavor::MySql);
    let mut decode = |kind: u8, body: &[u8]| {
        let header =
            EventHeader { timestamp: 0, kind, server_id: 1, size: 0, log_pos: 0, flags: 0 };
        decoder.decode_body(&header, Bytes::copy_from_slice(body)).unwrap()
    };
    decode(19, b"\x09\0\0\0\0\0\0\0\x01d\0\x01t\0\x02\x03\x03\0\0");
    let kind = match change {
        (None, _) => 23,
        (_, Some(_)) => 24,
        (_, None) => 25,
    };
    let mut body = vec![9, 0, 0, 0, 0, 0, 0, 0, 2, 3];
    body.extend((kind == 24).then_some(3));
    for (id, n) in [change.0, change.1].into_iter().flatten() {
        body.push(0);
        body.extend(id.to_le_bytes());
        body.extend(n.to_le_bytes());
    }
    let EventBody::Rows(rows) = decode(kind, &body) else { panic!("not rows") };
    rows
}

fn plan(keyed: bool) -> Arc<TablePlan> {
    let column = |name: &str| Column {
        name: name.to_owned(),
        data_type: "int".to_owned(),
        column_type: "int(11)".to_owned(),
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
        database: "d".to_owned(),
        name: "t".to_owned(),
        columns: vec![column("id"), column("n")],
        keys: keyed.then_some(primary).into_iter().collect(),
        ..TableSchema::default()
    };
    Arc::new(TablePlan::new(schema, "c"))
}

/// The statements of a group of these changes, as text.
fn written(keyed: bool, in_place: bool, changes: &[Change]) -> Vec<String> {
    let plan = plan(keyed);
    let mut ops = Vec::new();
    for change in changes {
        let event = rows_event(*change);
        let columns = match change {
            (_, None) => event.columns_before.clone(),
            _ => event.columns_after.clone(),
        };
        let layout = Layout::new(plan.clone(), event.table.clone(), columns).unwrap();
        let row = event.changes().next().unwrap().unwrap();
        let (from, layout) = (ops.len(), Arc::new(layout));
        let held = push_row_ops(0, &layout, row, false, &mut ops).unwrap();
        assert_eq!(held, ops[from..].iter().map(|op| op.bytes).sum::<usize>());
    }
    let mut group = Group::default();
    for op in ops {
        group.add(op.table, op.identity, op.op);
    }
    let statements = group.statements(Writing { bulk: false, in_place }).unwrap();
    statements.iter().map(Statement::as_text).collect()
}

#[track_caller]
fn check(keyed: bool, changes: &[Change], expected: &[&str]) {
    assert_eq!(written(keyed, false, changes), expected, "{changes:?}");
}

#[test]
fn rows_are_written_once_in_the_order_in_which_they_came() {
    let replace = |rows: &str| format!("REPLACE INTO `c`.`t` (`id`, `n`) VALUES {rows}");
    for (changes, rows) in [
        (&[insert(7, 1), insert(3, 2), insert(5, 3)][..], "(7,1),(3,2),(5,3)"),
        (&[insert(7, 1), insert(3, 2), update(7, 1, (7, 9))], "(7,9),(3,2)"),
        (&[insert(7, 1), delete(7, 1), insert(3, 2), insert(7, 4)], "(7,4),(3,2)"),
        (&[update(7, 1, (7, 1))], "(7,1)"),
    ] {
        check(true, changes, &[&replace(rows)]);
    }
}

#[test]
fn a_key_that_moves_is_deleted_before_it_is_written() {
    check(
        true,
        &[update(1, 5, (2, 5)), update(2, 5, (3, 6))],
        &[
            "DELETE FROM `c`.`t` WHERE `id` IN (2,1)",
            "REPLACE INTO `c`.`t` (`id`, `n`) VALUES (3,6)",
        ],
    );
    // There and back: the row stays, and is written whole.
    check(
        true,
        &[update(1, 5, (2, 5)), update(2, 5, (1, 6))],
        &["DELETE FROM `c`.`t` WHERE `id` IN (2)", "REPLACE INTO `c`.`t` (`id`, `n`) VALUES (1,6)"],
    );
}

#[test]
fn what_is_gone_in_the_end_leaves_a_delete() {
    let gone = ["DELETE FROM `c`.`t` WHERE `id` IN (1)"];
    for changes in
        [&[delete(1, 5)][..], &[insert(1, 5), delete(1, 5)], &[update(1, 5, (1, 6)), delete(1, 6)]]
    {
        check(true, changes, &gone);
        assert_eq!(written(true, true, changes), gone, "{changes:?}");
    }
}

/// Columns of a row may be changed in place where it is on the target when the group begins; whatever the group has written before is not.
#[test]
fn only_rows_that_were_there_are_changed_in_place() {
    let whole = ["REPLACE INTO `c`.`t` (`id`, `n`) VALUES (1,9)"];
    for changes in [
        &[insert(1, 5), update(1, 5, (1, 9))][..],
        &[delete(1, 5), insert(1, 7), update(1, 7, (1, 9))],
        &[update(1, 5, (1, 6)), delete(1, 6), insert(1, 9)],
    ] {
        assert_eq!(written(true, true, changes), whole, "{changes:?}");
    }
    // A run of rows that are there, each changed twice.
    let once = |to: i32| (0..100).map(move |id| update(id, to - 1, (id, to)));
    let changes: Vec<_> = once(6).chain(once(7)).collect();
    let expected = [
        "UPDATE `c`.`t` SET `n`=7 WHERE `id` BETWEEN 0 AND 98",
        "REPLACE INTO `c`.`t` (`id`, `n`) VALUES (99,7)",
    ];
    assert_eq!(written(true, true, &changes), expected);
}

#[test]
fn rows_without_a_key_are_counted() {
    let insert_rows = |rows: &str| format!("INSERT INTO `c`.`t` (`id`, `n`) VALUES {rows}");
    check(false, &[insert(1, 5), insert(2, 6), insert(1, 5)], &[&insert_rows("(1,5),(1,5),(2,6)")]);
    // What changes nothing, and what comes and goes, is nothing.
    check(false, &[update(1, 5, (1, 5))], &[]);
    check(false, &[insert(1, 5), delete(1, 5)], &[]);
    check(
        false,
        &[update(1, 5, (1, 6)), delete(2, 7), delete(2, 7)],
        &[
            "DELETE FROM `c`.`t` WHERE `id` <=> 1 AND `n` <=> 5 LIMIT 1",
            "DELETE FROM `c`.`t` WHERE `id` <=> 2 AND `n` <=> 7 LIMIT 2",
            &insert_rows("(1,6)"),
        ],
    );
}
