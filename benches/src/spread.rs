//! What the rounds of a group say together.

use serde::Serialize;

/// Median, least and largest of some numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one; of an even number the mean of the middle two.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// How many there were.
    pub rounds: usize,
}

impl Spread {
    /// The spread of these numbers; none if there are none.
    pub fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = numbers.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let rounds = sorted.len();
        let middle = (sorted[(rounds - 1) / 2] + sorted[rounds / 2]) / 2.0;
        // The sum of two decimals shows its binary form otherwise.
        let median = (middle * 1e6).round() / 1e6;
        Some(Self { median, min, max, rounds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_middle_two() {
        let of = |numbers: &[f64]| Spread::of(numbers.iter().copied());
        assert_eq!(of(&[]), None);
        let one = Spread { median: 2.5, min: 2.5, max: 2.5, rounds: 1 };
        assert_eq!(of(&[2.5]), Some(one));
        let odd = Spread { median: 2.0, min: 1.0, max: 9.0, rounds: 3 };
        assert_eq!(of(&[9.0, 1.0, 2.0]), Some(odd));
        let even = Spread { median: 8.92, min: 8.31, max: 9.53, rounds: 2 };
        assert_eq!(of(&[9.53, 8.31]), Some(even));
    }
}
