//! What the two accounts must be allowed to do.

use super::facts::{Facts, Server};
use super::{Finding, Level, Side};
use crate::mysql::server::{Flavor, Version};
use crate::mysql::sql;

/// What the sidecar and the copy need on the target.
const TARGET_PRIVILEGES: &[&str] =
    &["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER", "INDEX"];

/// The sidecar database.
const SIDECAR: &str = "_shunt";

/// The source is read and its binlog fetched; nothing more is needed there.
pub(super) fn source_privileges(facts: &Facts) -> Vec<Finding> {
    let source = &facts.source;
    let mut findings = Vec::new();
    let monitor = match source.info.flavor {
        Flavor::MariaDb if source.info.version >= Version(10, 5, 2) => "BINLOG MONITOR",
        _ => "REPLICATION CLIENT",
    };
    let needed = [
        ("REPLICATION SLAVE", "the binlog cannot be read without it"),
        (monitor, "the position of the binlog cannot be read without it"),
    ];
    for (privilege, why) in needed {
        if !source.grants.has_global(privilege) {
            findings.push(missing(source, Side::Source, privilege, "*.*", why));
        }
    }
    for table in &facts.tables {
        if !source.grants.has_table("SELECT", &table.database, &table.name) {
            let object = sql::qualified(&table.database, &table.name);
            findings.push(missing(
                source,
                Side::Source,
                "SELECT",
                &object,
                "its rows cannot be read",
            ));
        }
    }
    findings
}

/// The target's tables and the sidecar database are created, written and altered.
pub(super) fn target_privileges(facts: &Facts) -> Vec<Finding> {
    let target = &facts.target;
    let mut findings = Vec::new();
    let why = "the tables cannot be created and written without it";
    for database in [facts.target_database.as_str(), SIDECAR] {
        let mut needed = TARGET_PRIVILEGES.to_vec();
        let has_foreign_keys = facts.tables.iter().any(|table| !table.foreign_keys.is_empty());
        if database != SIDECAR && has_foreign_keys {
            needed.push("REFERENCES");
        }
        needed.retain(|privilege| !target.grants.has_database(privilege, database));
        if !needed.is_empty() {
            let object = format!("{}.*", sql::ident(database));
            findings.push(missing(target, Side::Target, &needed.join(", "), &object, why));
        }
    }
    findings
}

fn missing(server: &Server, side: Side, privilege: &str, object: &str, why: &str) -> Finding {
    let reason = format!("The account {} lacks {privilege} on {object}: {why}.", server.account);
    Finding::new(Level::Error, side, privilege, reason)
        .fix(format!("GRANT {privilege} ON {object} TO {}", server.account))
}
