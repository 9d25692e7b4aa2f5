//! Hashing: rows in, one number for all of them out.
//!
//! A row's hash is xxh3-128 of its packet, which frames every cell by its length. A set of rows is the sum of its rows' hashes
//! modulo 2^128, and their number: order does not matter, blocks can be hashed anywhere and added up, and rows that come
//! twice count twice. Hashing runs on a rayon pool whose workers take blocks from a bounded crossbeam channel; an async reader
//! gets a permit first, so that it never blocks on the channel, and its result through a oneshot.

use std::sync::Arc;

use shunt_engine::{Error, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use xxhash_rust::xxh3::xxh3_128;

use crate::limits;

/// A set of rows, as a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fold {
    /// How many.
    pub rows: u64,
    /// What they add up to.
    pub sum: u128,
}

impl Fold {
    /// Adds a row.
    pub fn add(&mut self, row: &[u8]) {
        self.merge(Self { rows: 1, sum: row_hash(row) });
    }

    /// Adds a set.
    pub fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

/// The hash of a row packet.
pub fn row_hash(row: &[u8]) -> u128 {
    xxh3_128(row)
}

/// Row packets, one after the other.
#[derive(Debug, Default)]
pub struct Block {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Block {
    /// Adds a row packet.
    pub fn push(&mut self, row: &[u8]) {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(limits::BLOCK_BYTES + row.len());
        }
        self.bytes.extend_from_slice(row);
        self.ends.push(self.bytes.len());
    }

    /// The row packets, in their order.
    pub fn rows(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let row = &self.bytes[start..end];
            start = end;
            row
        })
    }

    /// Whether it is worth a piece of work.
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= limits::BLOCK_BYTES
    }

    /// Whether it holds no row.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn fold(&self) -> Fold {
        let mut fold = Fold::default();
        self.rows().for_each(|row| fold.add(row));
        fold
    }
}

struct Job {
    block: Block,
    done: oneshot::Sender<Fold>,
    _permit: OwnedSemaphorePermit,
}

/// The hashing threads. They end when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct HashPool {
    jobs: crossbeam_channel::Sender<Job>,
    permits: Arc<Semaphore>,
    _pool: Arc<rayon::ThreadPool>,
}

impl HashPool {
    /// A pool of this many threads.
    ///
    /// # Errors
    /// Retry if threads cannot be started.
    pub fn new(threads: usize) -> Result<Self> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|at| format!("hash-{at}"))
            .build()
            .map_err(|error| Error::retry("start the hashing threads").source(error))?;
        let room = threads * limits::BLOCKS_PER_THREAD;
        let (jobs, work) = crossbeam_channel::bounded::<Job>(room);
        for _ in 0..threads {
            let work = work.clone();
            pool.spawn(move || {
                while let Ok(Job { block, done, _permit }) = work.recv() {
                    // A reader that is gone needs no answer.
                    let _: Result<(), Fold> = done.send(block.fold());
                }
            });
        }
        Ok(Self { jobs, permits: Arc::new(Semaphore::new(room)), _pool: Arc::new(pool) })
    }

    /// Hands a block over as soon as there is room; its fold comes through the receiver.
    ///
    /// # Errors
    /// Stop if the threads are gone.
    pub async fn submit(&self, block: Block) -> Result<oneshot::Receiver<Fold>> {
        let gone = || Error::stop("the hashing threads are gone");
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| gone())?;
        let (done, fold) = oneshot::channel();
        // There is room: there are as many permits as places, and a permit is given back after its place.
        self.jobs.try_send(Job { block, done, _permit: permit }).map_err(|_| gone())?;
        Ok(fold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn blocks_add_up_in_any_order_and_rows_that_come_twice_count() {
        let pool = HashPool::new(2).unwrap();
        let rows: Vec<Vec<u8>> = (0..1000_u32).map(|n| n.to_le_bytes().to_vec()).collect();
        let mut whole = Fold::default();
        rows.iter().for_each(|row| whole.add(row));
        let mut parts = Vec::new();
        for chunk in rows.rchunks(7) {
            let mut block = Block::default();
            chunk.iter().for_each(|row| block.push(row));
            parts.push(pool.submit(block).await.unwrap());
        }
        let mut sum = Fold::default();
        for part in parts {
            sum.merge(part.await.unwrap());
        }
        assert_eq!(sum, whole);
        let before = sum;
        sum.add(&rows[0]);
        sum.add(&rows[0]);
        assert_ne!(sum.sum, before.sum, "a pair of equal rows does not cancel itself out");
    }

    #[test]
    fn values_that_change_places_change_the_sum() {
        let fold = |rows: [&[u8]; 2]| {
            let mut fold = Fold::default();
            rows.iter().for_each(|row| fold.add(row));
            fold
        };
        assert_ne!(fold([b"\x011\x01x", b"\x012\x01y"]), fold([b"\x011\x01y", b"\x012\x01x"]));
        assert_ne!(fold([b"\x03a,b\x01c", b""]), fold([b"\x01a\x03b,c", b""]));
        assert_ne!(fold([b"\xfb", b""]), fold([b"\x00", b""]));
    }
}
