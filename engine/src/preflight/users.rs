//! Views, routines, events and triggers that reach a moved table by its name: they stay where they are.
//!
//! Before the move and before a switch the same is judged, with other words.

use super::facts::Facts;
use super::grants::Grants;
use super::{Finding, Level, Side};
use crate::mysql::server::{Flavor, ServerInfo, Version};
use crate::mysql::sql;
use crate::programs::{Kind, Programs, User};

/// Those of the source go on using its tables; those of the target would use the copies.
pub(super) fn mentions(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let sides = [(Side::Source, &facts.source), (Side::Target, &facts.target)];
    for ((side, server), (users, hidden)) in
        sides.into_iter().zip(facts.users.iter().zip(&facts.unseen_bodies))
    {
        let then = match side {
            Side::Source => {
                "it stays on the source and goes on using the source's table after the switch."
            }
            Side::Target => {
                "on the target it uses the copy, which is not complete before the switch."
            }
        };
        findings.extend(users.iter().map(|user| used(side, user, then)));
        findings.extend(hidden_bodies(side, &server.account, hidden));
    }
    findings
}

/// A finding about a program; `then`: what follows from it.
pub(crate) fn used(side: Side, user: &User, then: &str) -> Finding {
    let tables = user.tables.join(", ");
    let how = if user.tables.is_empty() {
        "builds statements when it runs, which may use a moved table".to_owned()
    } else {
        format!(
            "uses the moved {} {tables}",
            if user.tables.len() == 1 { "table" } else { "tables" }
        )
    };
    let reason = format!("This {} {how}: {then}", user.kind);
    Finding::new(Level::Warning, side, user.name.clone(), reason)
}

/// Findings about kinds of which not all definitions show.
pub(crate) fn hidden_bodies(side: Side, account: &str, hidden: &[(Kind, String)]) -> Vec<Finding> {
    let of = |(kind, grant): &(Kind, String)| {
        let reason = format!(
            "The definitions of {kind}s cannot be seen without a privilege: whether one uses a moved table was not checked."
        );
        Finding::new(Level::NotChecked, side, kind.to_string(), reason)
            .fix(format!("GRANT {grant} TO {account}"))
    };
    hidden.iter().map(of).collect()
}

/// The kinds of which the account may not see all definitions in a database, and what to grant.
pub(crate) fn unseen(
    programs: &Programs,
    server: &ServerInfo,
    grants: &Grants,
    database: &str,
) -> Vec<(Kind, String)> {
    let missing = |kind: Kind| {
        // What the account has no privilege on is not even listed.
        let grant = missing(kind, server, grants, database);
        let all = || "ALL PRIVILEGES ON *.*".to_owned();
        grant.or_else(|| programs.has_unseen(kind, database).then(all))
    };
    Kind::ALL.into_iter().filter_map(|kind| Some((kind, missing(kind)?))).collect()
}

/// What to grant so that definitions of a database show; none where they do.
fn missing(kind: Kind, server: &ServerInfo, grants: &Grants, database: &str) -> Option<String> {
    let privilege = match kind {
        Kind::View => "SHOW VIEW",
        Kind::Event => "EVENT",
        Kind::Trigger => "TRIGGER",
        Kind::Routine => {
            let is = |version| server.flavor == Flavor::MySql && server.version >= version;
            let (seen, grant) = if is(Version(8, 0, 20)) {
                let seen = grants.has_global("SHOW_ROUTINE") || grants.has_global("SELECT");
                (seen, "SHOW_ROUTINE ON *.*")
            } else if is(Version(8, 0, 0)) {
                (grants.has_global("SELECT"), "SELECT ON *.*")
            } else {
                (grants.has_table("SELECT", "mysql", "proc"), "SELECT ON `mysql`.`proc`")
            };
            return (!seen).then(|| grant.to_owned());
        }
    };
    let seen = grants.has_database(privilege, database);
    (!seen).then(|| format!("{privilege} ON {}.*", sql::ident(database)))
}
