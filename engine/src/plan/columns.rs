//! Sets of a table's columns.

/// Columns by their ordinals, of the first 64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ColumnSet(u64);

impl ColumnSet {
    /// Adds a column; `false`, and nothing added, if its ordinal is 64 or more.
    pub fn insert(&mut self, ordinal: usize) -> bool {
        let bit = u32::try_from(ordinal).ok().and_then(|ordinal| 1_u64.checked_shl(ordinal));
        self.0 |= bit.unwrap_or(0);
        bit.is_some()
    }

    /// Whether a column is in it.
    pub fn contains(self, ordinal: usize) -> bool {
        ordinal < 64 && self.0 >> ordinal & 1 == 1
    }

    /// All that are in either.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The ordinals, in order.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..64).filter(move |ordinal| self.contains(*ordinal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_the_first_64_columns() {
        let mut set = ColumnSet::default();
        assert!(set.is_empty());
        for (ordinal, held) in [(0, true), (63, true), (64, false), (usize::MAX, false)] {
            assert_eq!(set.insert(ordinal), held, "{ordinal}");
            assert_eq!(set.contains(ordinal), held, "{ordinal}");
        }
        let mut other = ColumnSet::default();
        other.insert(7);
        assert_eq!(set.union(other).iter().collect::<Vec<_>>(), [0, 7, 63]);
    }
}
