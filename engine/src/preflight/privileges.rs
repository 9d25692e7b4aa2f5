//! What the two accounts must be allowed to do: [`needs`] says what, this judges what they have.

use super::facts::{Facts, Server};
use super::needs::{self, Feature, Need, On};
use super::{Finding, Level, Side};
use crate::mysql::sql;

/// The source is read and its binlog fetched; nothing more is needed there. `SELECT` may be on the tables alone.
pub(super) fn source_privileges(facts: &Facts) -> Vec<Finding> {
    let source = &facts.source;
    let mut findings = Vec::new();
    for need in needs::of(Feature::Move, Side::Source, &source.info) {
        if need.on != On::Database {
            if !need.is_held(&source.grants, &facts.source_database) {
                let object = need.object(&facts.source_database);
                findings.push(missing(source, Side::Source, need.privilege, &object, need.why));
            }
            continue;
        }
        for table in &facts.tables {
            if !source.grants.has_table(need.privilege, &table.database, &table.name) {
                let object = sql::qualified(&table.database, &table.name);
                findings.push(missing(source, Side::Source, need.privilege, &object, need.why));
            }
        }
    }
    findings
}

/// The target's tables and the sidecar database are created, written and altered.
pub(super) fn target_privileges(facts: &Facts) -> Vec<Finding> {
    let (target, database) = (&facts.target, &facts.target_database);
    let mut needed = needs::of(Feature::Move, Side::Target, &target.info);
    if facts.tables.iter().any(|table| !table.foreign_keys.is_empty()) {
        needed.extend(needs::of(Feature::ForeignKeys, Side::Target, &target.info));
    }
    needed.retain(|need| !need.is_held(&target.grants, database));
    let mut findings = Vec::new();
    for on in [On::Server, On::Database, On::Sidecar] {
        let lacking: Vec<&Need> = needed.iter().filter(|need| need.on == on).collect();
        if let Some(first) = lacking.first() {
            let names: Vec<&str> = lacking.iter().map(|need| need.privilege).collect();
            let object = first.object(database);
            findings.push(missing(target, Side::Target, &names.join(", "), &object, first.why));
        }
    }
    findings
}

fn missing(server: &Server, side: Side, privilege: &str, object: &str, why: &str) -> Finding {
    let reason = format!("The account {} lacks {privilege} on {object}: {why}.", server.account);
    Finding::new(Level::Error, side, privilege, reason)
        .fix(format!("GRANT {privilege} ON {object} TO {}", server.account))
}
