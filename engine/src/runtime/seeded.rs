//! Hash maps of rows: keyed by bytes that users chose, millions a minute.
//!
//! xxh3 costs a fraction of the standard library's SipHash for short keys. The seed is of this process, so that nobody chooses rows that
//! collide.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::LazyLock;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Makes hashers that begin with the seed of this process.
#[derive(Clone, Copy, Debug)]
pub struct Seeded(u64);

impl Default for Seeded {
    fn default() -> Self {
        static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(()));
        Self(*SEED)
    }
}

impl BuildHasher for Seeded {
    type Hasher = Chained;

    fn build_hasher(&self) -> Chained {
        Chained(self.0)
    }
}

/// The hash of each piece is the seed of the next.
#[derive(Clone, Copy, Debug)]
pub struct Chained(u64);

impl Hasher for Chained {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_and_their_order_matter() {
        let hash = |value: &[&[u8]]| Seeded::default().hash_one(value);
        assert_eq!(hash(&[b"a", b"bc"]), hash(&[b"a", b"bc"]));
        assert_ne!(hash(&[b"a", b"bc"]), hash(&[b"ab", b"c"]));
        assert_ne!(hash(&[b"a", b"bc"]), hash(&[b"bc", b"a"]));
        assert_ne!(Seeded(1).hash_one(b"a"), Seeded(2).hash_one(b"a"));
    }
}
