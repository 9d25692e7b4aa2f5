//! Rows of the text protocol as the target takes them, beside a copy of the same bytes into the same blocks.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use shunt_engine::copy::encode::{Block, Carrier, Encoder, Form};
use shunt_engine::limits::BLOCK_BYTES;

use crate::recording::{self, bytes_of};

/// The recorded rows ten times over: a small chunk.
fn rows() -> Vec<Vec<u8>> {
    let rows = recording::text_rows();
    let count = rows.len() * 10;
    rows.into_iter().cycle().take(count).collect()
}

/// The same rows with a line break or a tab in place of every dash of sysbench's strings.
fn rows_to_escape() -> Vec<Vec<u8>> {
    let mut rows = rows();
    for (at, byte) in rows.iter_mut().flat_map(|row| row.iter_mut().enumerate()) {
        if *byte == b'-' {
            *byte = if at % 2 == 0 { b'\n' } else { b'\t' };
        }
    }
    rows
}

fn run(
    bencher: Bencher<'_, '_>,
    rows: &[Vec<u8>],
    encode: impl Fn(&[Vec<u8>]) -> Vec<Block> + Sync,
) {
    let bencher = bencher.counter(ItemsCount::new(rows.len()));
    bencher.counter(BytesCount::new(bytes_of(rows))).bench(|| encode(black_box(rows)));
}

fn encode(form: Form, rows: &[Vec<u8>]) -> Vec<Block> {
    let carrier = Carrier { rows: form, large: form };
    let plan = recording::plan();
    let mut encoder = Encoder::new(carrier, &plan, false, vec![0]);
    for row in rows {
        encoder.push(row).expect("whole");
    }
    encoder.finish()
}

#[divan::bench]
fn bulk(bencher: Bencher<'_, '_>) {
    run(bencher, &rows(), |rows| encode(Form::Bulk, rows));
}

#[divan::bench]
fn load_data(bencher: Bencher<'_, '_>) {
    run(bencher, &rows(), |rows| encode(Form::Load, rows));
}

#[divan::bench]
fn load_data_with_escapes(bencher: Bencher<'_, '_>) {
    run(bencher, &rows_to_escape(), |rows| encode(Form::Load, rows));
}

#[divan::bench]
fn insert(bencher: Bencher<'_, '_>) {
    run(bencher, &rows(), |rows| encode(Form::Insert, rows));
}

#[divan::bench]
fn limit_memcpy(bencher: Bencher<'_, '_>) {
    run(bencher, &rows(), |rows| {
        let mut blocks = Vec::new();
        let mut block = Vec::new();
        for row in rows {
            if block.is_empty() {
                block.reserve(BLOCK_BYTES + row.len());
            }
            block.extend_from_slice(row);
            if block.len() >= BLOCK_BYTES {
                let bytes = std::mem::take(&mut block).into();
                blocks.push(Block { form: Form::Bulk, bytes });
            }
        }
        blocks.push(Block { form: Form::Bulk, bytes: block.into() });
        blocks
    });
}
