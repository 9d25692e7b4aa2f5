//! Whether the target can take the tables.

use super::alike::difference;
use super::facts::Facts;
use super::{Finding, Level, Side};
use crate::mysql::names::lowered;
use crate::mysql::schema::{KeyKind, TableSchema};
use crate::mysql::sql;

fn target(level: Level, subject: impl Into<String>, reason: impl Into<String>) -> Finding {
    Finding::new(level, Side::Target, subject, reason)
}

/// A database cannot be moved onto itself.
pub(super) fn same_table(facts: &Facts) -> Vec<Finding> {
    let same = facts.source.info.identity == facts.target.info.identity
        && facts.source_database == facts.target_database;
    if !same {
        return Vec::new();
    }
    let reason = "Source and target are the same database of the same server.";
    vec![target(Level::Error, facts.target_database.clone(), reason)]
}

/// The target's database exists.
pub(super) fn target_database(facts: &Facts) -> Vec<Finding> {
    if facts.target_database_exists {
        return Vec::new();
    }
    let reason = "The database does not exist on the target, or the account may not see it.";
    vec![
        target(Level::Error, facts.target_database.clone(), reason)
            .fix(format!("CREATE DATABASE {}", sql::ident(&facts.target_database))),
    ]
}

/// A table that stands there already must be empty and alike.
pub(super) fn target_tables(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for existing in &facts.existing {
        let table = &existing.schema;
        let name = sql::qualified(&table.database, &table.name);
        let is_moved = |source: &&TableSchema| facts.is_one_on_target(&source.name, &table.name);
        let source = facts.tables.iter().find(is_moved);
        if existing.has_rows.is_none() {
            let reason = "The table exists on the target, and whether it is empty cannot be seen with this account.";
            findings.push(target(Level::Error, table.name.clone(), reason));
        } else if existing.has_rows == Some(true) {
            let reason = "The table exists on the target and holds rows, which the move would mix with the source's. Move it away or choose another target.";
            findings.push(target(Level::Error, table.name.clone(), reason));
        } else if let Some(source) = source.filter(|source| source.name != table.name) {
            let reason = format!(
                "The target takes the names {} and {} for one, and has a table under the second. Rename one of them, or leave the table out.",
                source.name, table.name
            );
            findings.push(target(Level::Error, source.name.clone(), reason));
        } else if let Some(difference) = source.and_then(|source| difference(facts, source, table))
        {
            let reason = format!(
                "The table exists on the target, is empty, and is defined differently: {difference}. Drop it; the move creates it from the source's definition."
            );
            findings.push(
                target(Level::Error, table.name.clone(), reason).fix(format!("DROP TABLE {name}")),
            );
        } else {
            let reason =
                "The table exists on the target, is empty and alike; it will be used as it is.";
            findings.push(target(Level::Warning, table.name.clone(), reason));
        }
    }
    findings.extend(facts.target_not_tables.iter().map(|name| {
        let reason = "The name is taken on the target by something that is not an ordinary table.";
        target(Level::Error, name.clone(), reason)
    }));
    findings
}

/// A server that refuses writes.
pub(super) fn target_read_only(facts: &Facts) -> Vec<Finding> {
    let names = ["read_only", "super_read_only", "innodb_read_only"];
    let on = names.into_iter().filter(|name| facts.target.refuses_writes(name));
    on.map(|name| {
        let reason =
            format!("{name} is {}: the target refuses writes.", facts.target.variable(name));
        target(Level::Error, name, reason).fix(format!("SET GLOBAL {name} = OFF"))
    })
    .collect()
}

/// A replica's rows belong to its primary.
pub(super) fn target_is_replica(facts: &Facts) -> Vec<Finding> {
    match facts.target.replica_channels {
        Some(0) => Vec::new(),
        None => vec![target(
            Level::NotChecked,
            "replica status",
            "Whether the target is a replica cannot be seen with this account; a replica must not be written.",
        )],
        Some(_) => vec![target(
            Level::Error,
            "replica status",
            "The target is a replica of another server: what is written here is missing there, and can stop its replication. Move to its primary.",
        )],
    }
}

/// Tables without a primary key cannot be created where the server demands one.
pub(super) fn target_primary_keys(facts: &Facts) -> Vec<Finding> {
    let name = ["sql_require_primary_key", "innodb_force_primary_key"]
        .into_iter()
        .find(|name| facts.target.is_on(name));
    let Some(name) = name else { return Vec::new() };
    // One that tells no rows apart is made after the copy.
    let has_primary = |table: &TableSchema| {
        let primary = table.keys.iter().any(|key| key.kind == KeyKind::Primary);
        primary && table.identity().is_none_or(|key| key.kind == KeyKind::Primary)
    };
    let without = facts.tables.iter().filter(|table| !has_primary(table));
    without
        .map(|table| {
            let reason = format!(
                "{name} is ON and the table has no primary key when it is created: the target refuses that."
            );
            target(Level::Error, table.name.clone(), reason).fix(format!("SET GLOBAL {name} = OFF"))
        })
        .collect()
}

/// Replication back to the source, after the switch, needs the target's binlog.
pub(super) fn target_binlog(facts: &Facts) -> Vec<Finding> {
    let server = &facts.target;
    let format = server.variable("binlog_format");
    let image = server.variable("binlog_row_image");
    let (name, value) = if !server.is_on("log_bin") {
        ("log_bin", "OFF")
    } else if !matches!(format, "" | "ROW") {
        ("binlog_format", format)
    } else if !matches!(image, "" | "FULL") {
        ("binlog_row_image", image)
    } else {
        return Vec::new();
    };
    let reason = format!(
        "{name} is {value} on the target: the move works, but after the switch nothing can be replicated back to the source."
    );
    vec![target(Level::Warning, name, reason)]
}

/// Statements and bulk commands are up to a MiB long, and a row longer.
const PACKET_BYTES_MIN: u64 = 2 << 20;

/// A row that the source holds must fit into a packet to the target.
pub(super) fn max_allowed_packet(facts: &Facts) -> Vec<Finding> {
    let name = "max_allowed_packet";
    let bytes = |text: &str| text.parse::<u64>().unwrap_or(0);
    let source = bytes(facts.source.variable(name));
    let ours = bytes(facts.target.variable(name));
    if ours < PACKET_BYTES_MIN {
        let reason = format!(
            "{name} is {ours} on the target: rows are written in packets of up to {PACKET_BYTES_MIN} bytes."
        );
        let enough = source.max(PACKET_BYTES_MIN);
        return vec![
            target(Level::Error, name, reason).fix(format!("SET GLOBAL {name} = {enough}")),
        ];
    }
    if ours >= source {
        return Vec::new();
    }
    let reason = format!(
        "{name} is {ours} on the target and {source} on the source: a row larger than the target's would stop the move. Sessions keep the old value until they reconnect."
    );
    vec![target(Level::Warning, name, reason).fix(format!("SET GLOBAL {name} = {source}"))]
}

/// The fast way to write rows.
pub(super) fn local_infile(facts: &Facts) -> Vec<Finding> {
    if facts.target.is_on("local_infile") {
        return Vec::new();
    }
    let reason = "local_infile is OFF on the target: rows are written by multi-row INSERT instead of LOAD DATA LOCAL, which is slower.";
    vec![target(Level::Warning, "local_infile", reason).fix("SET GLOBAL local_infile = ON")]
}

/// Names that differ by case only are one name on some servers.
pub(super) fn lower_case_table_names(facts: &Facts) -> Vec<Finding> {
    let name = "lower_case_table_names";
    let (source, ours) = (facts.source.variable(name), facts.target.variable(name));
    let mut findings = names_that_fold(facts, ours == "1");
    if source == ours {
        return findings;
    }
    let reason = format!(
        "{name} is {source} on the source and {ours} on the target: applications that spell a table's name in another case may miss it on one of them."
    );
    findings.push(target(Level::Warning, name, reason));
    findings
}

/// Two moved tables that would be one on the target, and names that it would store in another spelling: row events, listings and
/// rules go by the spelling, and it is the same on both sides.
fn names_that_fold(facts: &Facts, stores_lower_case: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, table) in facts.tables.iter().enumerate() {
        let name = &table.name;
        let other =
            facts.tables[..at].iter().find(|other| facts.is_one_on_target(&other.name, name));
        if let Some(other) = other {
            let reason = format!(
                "{} and {name} are two tables on the source and one on the target, which takes their names for one: their rows would be mixed. Rename one of them on the source, or leave it out.",
                other.name
            );
            findings.push(target(Level::Error, name.clone(), reason));
        } else if stores_lower_case && lowered(name) != *name {
            let reason = format!(
                "The target would store the table as {}, since it keeps names in lower case. Rename it on the source first, or leave it out.",
                lowered(name)
            );
            findings.push(target(Level::Error, name.clone(), reason));
        }
    }
    findings
}

/// Settings of InnoDB under which the same definition may be refused.
pub(super) fn innodb_settings(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in ["innodb_page_size", "innodb_strict_mode"] {
        let (source, ours) = (facts.source.variable(name), facts.target.variable(name));
        let stricter = name == "innodb_page_size" || ours == "ON";
        if source != ours && stricter {
            let reason = format!(
                "{name} is {source} on the source and {ours} on the target: a definition or a row size that the source admits may be refused."
            );
            findings.push(target(Level::Warning, name, reason));
        }
    }
    findings
}
