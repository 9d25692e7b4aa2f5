//! Operations of many transactions as the statements of one: each key keeps its last operation.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use shunt_engine::apply::group::{Group, Writing};
use shunt_engine::changes::RowOp;
use shunt_engine::mysql::binlog::RowsKind;

use crate::recording;

/// Operations on hot keys: each of a hundred is written a hundred times.
const HOT: usize = 10_000;

fn run<T>(bencher: Bencher<'_, '_>, operations: &[RowOp], work: impl Fn(Vec<RowOp>) -> T + Sync) {
    let bytes: usize = operations.iter().map(|operation| operation.bytes).sum();
    let bencher = bencher.counter(ItemsCount::new(operations.len()));
    let bencher = bencher.counter(BytesCount::new(bytes));
    bencher.with_inputs(|| operations.to_vec()).bench_local_values(work);
}

fn statements(operations: Vec<RowOp>) -> usize {
    merged(operations, false)
}

fn in_bulk(operations: Vec<RowOp>) -> usize {
    merged(operations, true)
}

fn merged(operations: Vec<RowOp>, takes_bulk: bool) -> usize {
    let mut group = Group::default();
    for RowOp { table, identity, op, .. } in operations {
        group.add(table, identity, op);
    }
    black_box(group.statements(Writing { bulk: takes_bulk, in_place: false }).expect("whole")).len()
}

fn hot() -> Vec<RowOp> {
    recording::operations(RowsKind::Update).into_iter().cycle().take(HOT).collect()
}

#[divan::bench]
fn bulk(bencher: Bencher<'_, '_>) {
    run(bencher, &recording::operations(RowsKind::Insert), in_bulk);
}

#[divan::bench]
fn bulk_as_text(bencher: Bencher<'_, '_>) {
    run(bencher, &recording::operations(RowsKind::Insert), statements);
}

#[divan::bench]
fn hot_keys(bencher: Bencher<'_, '_>) {
    run(bencher, &hot(), statements);
}

/// The rows' text alone: what `bulk` would cost without a group.
#[divan::bench]
fn bulk_unmerged(bencher: Bencher<'_, '_>) {
    run(bencher, &recording::operations(RowsKind::Insert), tuples);
}

/// What `hot_keys` would cost if nothing were merged.
#[divan::bench]
fn hot_keys_unmerged(bencher: Bencher<'_, '_>) {
    run(bencher, &hot(), tuples);
}

fn tuples(operations: Vec<RowOp>) -> Vec<u8> {
    let mut out = Vec::new();
    for operation in operations {
        let row = operation.op.row();
        row.layout.push_tuple(&row.image, &mut out).expect("whole");
    }
    out
}
