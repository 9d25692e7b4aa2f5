//! How many rows the next chunk of a table asks for: as many as keep its bytes, its reading time and its rows in bounds.

use std::time::Duration;

use crate::limits;
use crate::workflow::spec::Tuning;

/// Remembers how wide the rows of a table are and how fast they are read.
#[derive(Clone, Debug)]
pub struct Sizer {
    rows_max: u64,
    bytes_max: usize,
    next: u64,
}

impl Sizer {
    /// Nothing is known yet; the estimate comes from the source's statistics.
    pub fn new(tuning: &Tuning, rows_estimate: u64, bytes_estimate: u64) -> Self {
        let mut sizer = Self {
            rows_max: tuning.chunk_rows_max.max(1),
            bytes_max: tuning.chunk_bytes_max.max(1),
            next: limits::CHUNK_ROWS_FIRST,
        };
        if let Some(width) = bytes_estimate.checked_div(rows_estimate) {
            sizer.next = sizer.next.min(sizer.rows_for(width));
        }
        sizer.next = sizer.next.clamp(1, sizer.rows_max);
        sizer
    }

    /// Rows to ask for.
    pub fn rows(&self) -> u64 {
        self.next
    }

    /// Learns from a chunk. It grows at most fourfold, so that one lucky chunk does not decide.
    pub fn learn(&mut self, rows: u64, bytes: usize, took: Duration) {
        if rows == 0 {
            return;
        }
        let width = u64::try_from(bytes).unwrap_or(u64::MAX) / rows;
        let nanos_per_row = (took.as_nanos() / u128::from(rows)).max(1);
        let by_time = limits::CHUNK_READ_TARGET.as_nanos() / nanos_per_row;
        let by_time = u64::try_from(by_time).unwrap_or(u64::MAX);
        let wish = by_time.min(self.rows_for(width)).min(self.next.saturating_mul(4));
        self.next = wish.clamp(1, self.rows_max);
    }

    /// How many rows of this width make a chunk, with some room for wider ones.
    fn rows_for(&self, width: u64) -> u64 {
        let bytes = u64::try_from(self.bytes_max).unwrap_or(u64::MAX);
        bytes / 10 * 9 / width.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_stay_within_rows_bytes_and_time() {
        let tuning =
            Tuning { chunk_rows_max: 50_000, chunk_bytes_max: 10 << 20, ..Tuning::default() };
        let mut sizer = Sizer::new(&tuning, 1_000_000, 200_000_000);
        assert_eq!(sizer.rows(), limits::CHUNK_ROWS_FIRST);
        sizer.learn(20_000, 20_000 * 200, Duration::from_millis(20));
        assert!(sizer.rows() <= 50_000 && sizer.rows() > 40_000, "{}", sizer.rows());
        sizer.learn(1000, 1000 * 100_000, Duration::from_millis(10));
        assert!(sizer.rows() < 105, "wide rows make small chunks: {}", sizer.rows());
        sizer.learn(100, 100, Duration::from_secs(4));
        assert_eq!(sizer.rows(), 10, "slow rows make small chunks");
        sizer.learn(10, 2_000_000_000, Duration::from_secs(4));
        assert_eq!(sizer.rows(), 1);
    }
}
