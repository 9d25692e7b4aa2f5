//! What goes on at the servers now, and what cannot be seen from here.

use super::facts::Facts;
use super::{Finding, Level, Side};

/// A difference of clocks that lag and leases would notice.
const CLOCK_SKEW_S_MAX: f64 = 1.0;

/// Rows of a prepared XA transaction are in the binlog before they take effect.
pub(super) fn prepared_xa(facts: &Facts) -> Vec<Finding> {
    let finding = |level, reason: String| Finding::new(level, Side::Source, "XA RECOVER", reason);
    match facts.prepared_xa {
        Some(0) => Vec::new(),
        Some(count) => vec![finding(
            Level::Warning,
            format!(
                "{count} XA transactions are prepared on the source: their rows would be seen neither by a snapshot nor at their place in the binlog, so the workflow does not start before they are over. Commit or roll back those that nobody will end (XA RECOVER lists them)."
            ),
        )],
        None => vec![
            finding(
                Level::NotChecked,
                "Prepared XA transactions cannot be seen with this account; one would stop the stream at its XA COMMIT.".into(),
            )
            .fix(format!("GRANT XA_RECOVER_ADMIN ON *.* TO {}", facts.source.account)),
        ],
    }
}

/// Clocks that differ make times in the two servers' logs hard to compare.
pub(super) fn clock_skew(facts: &Facts) -> Vec<Finding> {
    let skew = facts.clock_skew_s.abs();
    if skew - facts.clock_skew_error_s <= CLOCK_SKEW_S_MAX {
        return Vec::new();
    }
    let reason = format!(
        "The clocks of source and target differ by {skew:.1} s: times of the two servers cannot be compared, and CURRENT_TIMESTAMP jumps at the switch. Let both follow the same time server."
    );
    vec![Finding::new(Level::Warning, Side::Target, "clock", reason)]
}

/// Who uses a table is known to the performance schema only.
pub(super) fn readers(facts: &Facts) -> Vec<Finding> {
    if facts.source.is_on("performance_schema") {
        return Vec::new();
    }
    let reason = "performance_schema is OFF: which sessions use the tables cannot be seen.";
    vec![Finding::new(Level::NotChecked, Side::Source, "performance_schema", reason)]
}

/// No statement tells how much space is left.
pub(super) fn disk(facts: &Facts) -> Vec<Finding> {
    let bytes: u64 = facts.tables.iter().map(|table| table.data_bytes).sum();
    let reason = format!(
        "Free disk space cannot be seen over the connection. The tables hold about {} MiB of rows; secondary keys and the target's binlog come on top.",
        bytes >> 20
    );
    vec![Finding::new(Level::NotChecked, Side::Target, "disk", reason)]
}
