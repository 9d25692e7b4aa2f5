//! What a strong VDiff does with each row, and with each block of rows.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use shunt_vdiff::hash::Fold;
use xxhash_rust::xxh3::xxh3_128;

use crate::recording::{self, bytes_of};

/// Folds that are merged.
const FOLDS: usize = 10_000;

fn run<T>(bencher: Bencher<'_, '_>, hash: impl Fn(&[Vec<u8>]) -> T + Sync) {
    let rows = recording::text_rows();
    let bencher = bencher.counter(ItemsCount::new(rows.len()));
    bencher.counter(BytesCount::new(bytes_of(&rows))).bench(|| hash(black_box(&rows)));
}

#[divan::bench]
fn rows_xxh3(bencher: Bencher<'_, '_>) {
    run(bencher, |rows| {
        let mut fold = Fold::default();
        rows.iter().for_each(|row| fold.add(row));
        fold
    });
}

/// What a server's BIT_XOR(CRC32(…)) takes of a row, without the server.
#[divan::bench]
fn peer_rows_crc32(bencher: Bencher<'_, '_>) {
    run(bencher, |rows| rows.iter().fold(0, |sum, row| sum ^ crc32fast::hash(row)));
}

/// The same bytes as one string: no rows.
#[divan::bench]
fn limit_one_xxh3(bencher: Bencher<'_, '_>) {
    let rows = recording::text_rows();
    let bytes = rows.concat();
    let bencher = bencher.counter(ItemsCount::new(rows.len()));
    bencher.counter(BytesCount::new(bytes.len())).bench(|| xxh3_128(black_box(&bytes)));
}

fn folds() -> Vec<Fold> {
    let rows = recording::text_rows();
    let fold = |row: &Vec<u8>| {
        let mut fold = Fold::default();
        fold.add(row);
        fold
    };
    rows.iter().map(fold).cycle().take(FOLDS).collect()
}

#[divan::bench]
fn merge_folds(bencher: Bencher<'_, '_>) {
    let folds = folds();
    bencher.counter(ItemsCount::new(FOLDS)).bench(|| {
        let mut all = Fold::default();
        black_box(&folds).iter().for_each(|fold| all.merge(*fold));
        all
    });
}
