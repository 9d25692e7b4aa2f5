//! What a column counts, by its name: columns that count the same are drawn on one axis.
//!
//! The scripts name a column after who was measured (`shunt`, `native`), after the unit (`KiB`, `us-per-row`), after both (`shunt-ms`), or
//! after the two that were divided (`ratio`, `by-haproxy`, `fast/bare`).

use std::fmt;

/// What a column counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measure {
    /// What the series counts as a whole; its first line says what that is.
    Main,
    /// This unit.
    Unit(String),
    /// One side by the other: 1 is as good as the other.
    Ratio,
}

/// What stands at the end of a column's name, or is all of it, if that is not who was measured.
const UNITS: [&str; 16] = [
    "s", "ms", "us", "ns", "seconds", "kib", "mib", "gib", "kb", "mb", "bytes", "cpu", "rows",
    "tps", "qps", "%",
];

impl Measure {
    /// By a column's name.
    pub fn of(column: &str) -> Self {
        let name = column.to_lowercase();
        let rate = name.ends_with("/s");
        let divided = name.starts_with("by-") || name.contains("-by-") || name.contains("ratio");
        if divided || (name.contains('/') && !rate) {
            return Self::Ratio;
        }
        if name.contains("-per-") {
            return Self::Unit(column.to_owned());
        }
        let last = column.rsplit(['-', '_']).next().unwrap_or(column);
        let known = UNITS.contains(&last.to_lowercase().as_str());
        if known || last.ends_with("/s") { Self::Unit(last.to_owned()) } else { Self::Main }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Main => f.write_str("main"),
            Self::Unit(unit) => f.write_str(unit),
            Self::Ratio => f.write_str("ratio"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_units_and_ratios() {
        let unit = |unit: &str| Measure::Unit(unit.to_owned());
        let cases = [
            ("shunt", Measure::Main),
            ("mydumper+myloader", Measure::Main),
            ("pt-table-checksum", Measure::Main),
            ("ratio", Measure::Ratio),
            ("by-haproxy", Measure::Ratio),
            ("fast/bare", Measure::Ratio),
            ("rows/s-of-fast-by-peer", Measure::Ratio),
            ("seconds", unit("seconds")),
            ("KiB", unit("KiB")),
            ("us-per-row", unit("us-per-row")),
            ("rows/s", unit("rows/s")),
            ("shunt-ms", unit("ms")),
            ("p99_ms", unit("ms")),
        ];
        for (name, expected) in cases {
            assert_eq!(Measure::of(name), expected, "{name}");
        }
    }
}
