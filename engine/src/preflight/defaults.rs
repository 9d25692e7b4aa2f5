//! Settings that a session takes over from its server, where the two servers differ.

use std::collections::{BTreeSet, HashMap};

use super::facts::Facts;
use super::{Finding, Level, Side};
use crate::mysql::sql;

/// Global values that a new session begins with and that change what statements do, or for how long they wait. Those of one
/// line are names of the same setting.
const DEFAULTS: &[&[&str]] = &[
    &["sql_mode"],
    &["time_zone"],
    &["transaction_isolation", "tx_isolation"],
    &["transaction_read_only", "tx_read_only"],
    &["autocommit"],
    &["completion_type"],
    &["character_set_server"],
    &["collation_server"],
    &["init_connect"],
    &["auto_increment_increment"],
    &["auto_increment_offset"],
    &["explicit_defaults_for_timestamp"],
    &["foreign_key_checks"],
    &["unique_checks"],
    &["sql_auto_is_null"],
    &["sql_safe_updates"],
    &["sql_select_limit"],
    &["max_statement_time"],
    &["max_execution_time"],
    &["group_concat_max_len"],
    &["div_precision_increment"],
    &["default_week_format"],
    &["lc_time_names"],
    &["default_storage_engine"],
    &["innodb_lock_wait_timeout"],
    &["innodb_rollback_on_timeout"],
    &["lock_wait_timeout"],
    &["wait_timeout"],
    &["interactive_timeout"],
];

pub(super) fn session_defaults(facts: &Facts) -> Vec<Finding> {
    differences(Side::Target, &facts.source.variables, &facts.target.variables)
}

/// Findings about `side`, whose sessions begin with `theirs`, where today they begin with `ours`.
pub(crate) fn differences(
    side: Side,
    ours: &HashMap<String, String>,
    theirs: &HashMap<String, String>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for names in DEFAULTS {
        let in_both = |values: &HashMap<String, String>| {
            names.iter().find_map(|name| Some((*name, effective(values, name)?)))
        };
        let (Some((_, now)), Some((name, then))) = (in_both(ours), in_both(theirs)) else {
            continue;
        };
        if same(name, &now, &then) {
            continue;
        }
        let (other, this) = match side {
            Side::Source => ("target", "source"),
            Side::Target => ("source", "target"),
        };
        let reason = format!(
            "It is {now:?} on the {other} and {then:?} on the {this}: after the switch, sessions that do not set it work with another value. The gateway carries the value of a session's own keyspace along; clients that connect to the servers themselves see the difference."
        );
        let finding = Finding::new(Level::Warning, side, name, reason);
        // The zone of the machine is set there.
        let settable = name != "time_zone" || !now.contains("SYSTEM");
        let is_number = !now.is_empty() && now.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let value = if is_number { now.clone() } else { sql::literal(&now) };
        findings.push(if settable {
            finding.fix(format!("SET GLOBAL {name} = {value}"))
        } else {
            finding
        });
    }
    findings
}

fn effective(values: &HashMap<String, String>, name: &str) -> Option<String> {
    let value = values.get(name)?;
    if name == "time_zone" && value == "SYSTEM" {
        let zone = values.get("system_time_zone").map_or("", String::as_str);
        return Some(format!("SYSTEM ({zone})"));
    }
    Some(value.clone())
}

/// The flags of a mode have no order, and `utf8` is another name of `utf8mb3`.
fn same(name: &str, a: &str, b: &str) -> bool {
    if name == "sql_mode" {
        let flags =
            |mode: &str| -> BTreeSet<String> { mode.split(',').map(str::to_owned).collect() };
        return flags(a) == flags(b);
    }
    let plain = |value: &str| {
        let value = value.to_lowercase();
        if value == "utf8mb3" { "utf8".to_owned() } else { value.replace("utf8mb3_", "utf8_") }
    };
    plain(a) == plain(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_named() {
        let values = |pairs: &[(&str, &str)]| -> HashMap<String, String> {
            pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
        };
        let ours = values(&[
            ("sql_mode", "A,B"),
            ("tx_isolation", "READ-COMMITTED"),
            ("collation_server", "UTF8_GENERAL_CI"),
            ("time_zone", "SYSTEM"),
            ("system_time_zone", "CET"),
            ("lock_wait_timeout", "50"),
            ("max_statement_time", "0.000000"),
        ]);
        let theirs = values(&[
            ("sql_mode", "B,A"),
            ("transaction_isolation", "REPEATABLE-READ"),
            ("collation_server", "UTF8MB3_GENERAL_CI"),
            ("time_zone", "SYSTEM"),
            ("system_time_zone", "UTC"),
            ("lock_wait_timeout", "5"),
        ]);
        let found = differences(Side::Target, &ours, &theirs);
        let found: Vec<_> = found.iter().map(|f| (f.subject.as_str(), f.fix.as_deref())).collect();
        let expected = [
            ("time_zone", None),
            ("transaction_isolation", Some("SET GLOBAL transaction_isolation = 'READ-COMMITTED'")),
            ("lock_wait_timeout", Some("SET GLOBAL lock_wait_timeout = 50")),
        ];
        assert_eq!(found, expected);
    }
}
