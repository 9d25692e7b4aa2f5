//! What an account must be allowed to do, by feature: the one table that preflight checks and `shunt grants` prints.

use std::fmt;

use super::Side;
use super::grants::Grants;
use crate::error::Result;
use crate::mysql::control::Control;
use crate::mysql::server::{Flavor, ServerInfo, Version};
use crate::mysql::sql;

/// The sidecar database.
pub(super) const SIDECAR: &str = "_shunt";

/// What is to be done. Each needs what [`Feature::Move`] needs, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Feature {
    /// Copying and following tables.
    Move,
    /// The same, where tables have foreign keys.
    ForeignKeys,
    /// Comparing and repairing.
    Vdiff,
    /// Switching the traffic, and Complete.
    Switch,
    /// Replicating back after a switch, and switching back.
    Reverse,
    /// Looking after the servers of a gateway.
    Gateway,
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Move => "move",
            Self::ForeignKeys => "foreign-keys",
            Self::Vdiff => "vdiff",
            Self::Switch => "switch",
            Self::Reverse => "reverse",
            Self::Gateway => "gateway",
        })
    }
}

/// What a privilege is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum On {
    /// The whole server.
    Server,
    /// The database of the moved tables.
    Database,
    /// `_shunt`.
    Sidecar,
    /// Where a server keeps its routines.
    Routines,
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
struct Line {
    feature: Feature,
    side: Side,
    on: On,
    /// By their MySQL names; [`name_on`] knows others.
    privileges: &'static [&'static str],
    why: &'static str,
}

const fn line(
    feature: Feature,
    side: Side,
    on: On,
    privileges: &'static [&'static str],
    why: &'static str,
) -> Line {
    Line { feature, side, on, privileges, why }
}

/// What only one kind of server has, or calls otherwise, has a name of ours here.
const MONITOR: &str = "read the binlog's position";
const REPLICA_STATUS: &str = "read the state of replication";
const CREATE_TRIGGERS: &str = "create triggers beside a binlog";
const XA: &str = "list XA transactions";
const SEE_ROUTINES: &str = "see the definitions of routines";

const WRITE: &[&str] =
    &["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER", "INDEX"];

const TABLE: &[Line] = {
    use Feature::{ForeignKeys, Gateway, Move, Reverse, Switch, Vdiff};
    use On::{Database, Routines, Server, Sidecar};
    use Side::{Source, Target};
    &[
        line(Move, Source, Server, &["REPLICATION SLAVE"], "the binlog cannot be read without it"),
        line(
            Move,
            Source,
            Server,
            &[MONITOR],
            "the position of the binlog cannot be read without it",
        ),
        line(Move, Source, Database, &["SELECT"], "its rows cannot be read"),
        line(Move, Target, Database, WRITE, "the tables cannot be created and written without it"),
        line(Move, Target, Sidecar, WRITE, "the tables cannot be created and written without it"),
        line(
            ForeignKeys,
            Target,
            Database,
            &["REFERENCES"],
            "the tables cannot be created and written without it",
        ),
        // The binlog's position and its rows are what a VDiff looks at, as the stream does.
        line(Vdiff, Source, Server, &["REPLICATION SLAVE", MONITOR], "changed keys are looked for"),
        line(Vdiff, Source, Database, &["SELECT"], "rows are compared"),
        line(Vdiff, Target, Sidecar, &["SELECT", "INSERT", "UPDATE", "DELETE"], "results are kept"),
        line(
            Switch,
            Source,
            Database,
            &["TRIGGER", "LOCK TABLES", "INSERT", "CREATE", "DROP", "ALTER"],
            "the fence is put on, and Complete renames the tables",
        ),
        line(Switch, Source, Sidecar, WRITE, "the fence and the switch are rows there"),
        line(
            Switch,
            Source,
            Server,
            &["PROCESS", REPLICA_STATUS, CREATE_TRIGGERS, XA],
            "to name blocking transactions, and to look for writes that bypass the fence",
        ),
        line(Switch, Target, Database, &["TRIGGER", "LOCK TABLES"], "the fence is put on"),
        line(
            Switch,
            Target,
            Server,
            &["PROCESS", CREATE_TRIGGERS, MONITOR],
            "blockers are named, and the reverse stream begins at a position",
        ),
        line(
            Switch,
            Source,
            Database,
            &["SHOW VIEW", "EVENT"],
            "what else uses the tables is named",
        ),
        line(Switch, Source, Routines, &[SEE_ROUTINES], "what else uses the tables is named"),
        line(
            Switch,
            Target,
            Database,
            &["SHOW VIEW", "EVENT"],
            "what else uses the tables is named",
        ),
        line(Switch, Target, Routines, &[SEE_ROUTINES], "what else uses the tables is named"),
        line(
            Reverse,
            Source,
            Database,
            &["INSERT", "UPDATE", "DELETE"],
            "what is written on the target is applied",
        ),
        line(
            Reverse,
            Target,
            Server,
            &["REPLICATION SLAVE", MONITOR, REPLICA_STATUS, XA],
            "its binlog is followed, and it may be closed again",
        ),
        line(Gateway, Source, Server, &[REPLICA_STATUS], "how fit a server is"),
        line(Gateway, Target, Server, &[REPLICA_STATUS], "how fit a server is"),
        line(
            Gateway,
            Source,
            Database,
            &["SHOW VIEW", "TRIGGER"],
            "which tables are behind a name",
        ),
        line(Gateway, Source, Routines, &[SEE_ROUTINES], "which tables are behind a name"),
        line(
            Gateway,
            Target,
            Database,
            &["SHOW VIEW", "TRIGGER"],
            "which tables are behind a name",
        ),
        line(Gateway, Target, Routines, &[SEE_ROUTINES], "which tables are behind a name"),
    ]
};

/// A privilege that is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Its name on this server.
    pub privilege: &'static str,
    /// What it is on.
    pub on: On,
    /// What cannot be done without it.
    pub why: &'static str,
}

/// What a feature needs on a server, in the table's order, each once.
pub fn of(feature: Feature, side: Side, server: &ServerInfo) -> Vec<Need> {
    let mut needs: Vec<Need> = Vec::new();
    for line in TABLE.iter().filter(|line| line.feature == feature && line.side == side) {
        for privilege in line.privileges.iter().filter_map(|name| name_on(name, server)) {
            let need = Need { privilege, on: place_on(line.on, server), why: line.why };
            if !needs.iter().any(|n| n.privilege == need.privilege && n.on == need.on) {
                needs.push(need);
            }
        }
    }
    needs
}

/// A privilege's name on a server; `None` if it needs none for this.
fn name_on(name: &'static str, server: &ServerInfo) -> Option<&'static str> {
    let is = |flavor, version| server.flavor == flavor && server.version >= version;
    let split = is(Flavor::MariaDb, Version(10, 5, 2));
    match name {
        MONITOR if split => Some("BINLOG MONITOR"),
        REPLICA_STATUS if is(Flavor::MariaDb, Version(10, 5, 9)) => Some("SLAVE MONITOR"),
        MONITOR | REPLICA_STATUS => Some("REPLICATION CLIENT"),
        CREATE_TRIGGERS if split => Some("BINLOG ADMIN"),
        CREATE_TRIGGERS => Some("SUPER"),
        // What may be read in the dictionary is seen; before, what its table holds.
        SEE_ROUTINES if is(Flavor::MySql, Version(8, 0, 20)) => Some("SHOW_ROUTINE"),
        SEE_ROUTINES => Some("SELECT"),
        XA => is(Flavor::MySql, Version(8, 0, 0)).then_some("XA_RECOVER_ADMIN"),
        other => Some(other),
    }
}

/// What a privilege is on, on a server.
fn place_on(on: On, server: &ServerInfo) -> On {
    let dictionary = server.flavor == Flavor::MySql && server.version >= Version(8, 0, 0);
    if on == On::Routines && dictionary { On::Server } else { on }
}

impl Need {
    /// What stands behind ON.
    pub fn object(&self, database: &str) -> String {
        match self.on {
            On::Server => "*.*".to_owned(),
            On::Database => format!("{}.*", pattern(database)),
            On::Sidecar => format!("{}.*", pattern(SIDECAR)),
            On::Routines => "`mysql`.`proc`".to_owned(),
        }
    }

    /// Whether an account has it.
    pub fn is_held(&self, grants: &Grants, database: &str) -> bool {
        match self.on {
            On::Server => grants.has_global(self.privilege),
            On::Database => grants.has_database(self.privilege, database),
            On::Sidecar => grants.has_database(self.privilege, SIDECAR),
            On::Routines => grants.has_table(self.privilege, "mysql", "proc"),
        }
    }
}

/// A database's name in GRANT, where `_` and `%` stand for others.
fn pattern(database: &str) -> String {
    sql::ident(&database.replace('\\', "\\\\").replace('_', "\\_").replace('%', "\\%"))
}

/// An account as it is now.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its name, quoted for GRANT.
    pub name: String,
    /// What it may do.
    pub grants: Grants,
}

/// Asks a server who this connection is, and what it may do.
///
/// # Errors
/// Of the connection, or Stop if a grant is not understood.
pub async fn account(control: &mut Control) -> Result<Account> {
    let mut lines = Vec::new();
    for row in control.rows("SHOW GRANTS").await? {
        lines.push(row.must(0)?);
    }
    let row = control.row("SELECT CURRENT_USER()").await?.unwrap_or_default();
    let user = row.must(0)?;
    let (name, host) = user.rsplit_once('@').unwrap_or((&user, "%"));
    Ok(Account {
        name: format!("{}@{}", sql::literal(name), sql::literal(host)),
        grants: Grants::parse(lines.iter().map(String::as_str))?,
    })
}

/// GRANT statements for needs, one an object, for an account on a server.
pub fn statements(needs: &[Need], database: &str, account: &str) -> Vec<String> {
    let mut objects: Vec<(String, Vec<&str>)> = Vec::new();
    for need in needs {
        let object = need.object(database);
        match objects.iter_mut().find(|(known, _)| *known == object) {
            Some((_, privileges)) => privileges.push(need.privilege),
            None => objects.push((object, vec![need.privilege])),
        }
    }
    let statement = |(object, privileges): (String, Vec<&str>)| {
        format!("GRANT {} ON {object} TO {account}", privileges.join(", "))
    };
    objects.into_iter().map(statement).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(flavor: Flavor, version: Version) -> ServerInfo {
        ServerInfo { flavor, version, identity: String::new(), folds_names: false }
    }

    #[test]
    fn privileges_have_the_names_of_their_server() {
        let names = |flavor, version| -> Vec<&str> {
            let server = server(flavor, version);
            of(Feature::Switch, Side::Source, &server)
                .iter()
                .filter(|need| need.on == On::Server)
                .map(|need| need.privilege)
                .collect()
        };
        let new = ["PROCESS", "SLAVE MONITOR", "BINLOG ADMIN"];
        assert_eq!(names(Flavor::MariaDb, Version(10, 11, 6)), new);
        let old = ["PROCESS", "REPLICATION CLIENT", "SUPER"];
        assert_eq!(names(Flavor::MySql, Version(5, 7, 40)), old);
        let new = names(Flavor::MySql, Version(8, 4, 0));
        assert_eq!(new[3..], ["XA_RECOVER_ADMIN", "SHOW_ROUTINE"]);
    }

    #[test]
    fn routines_are_seen_where_the_server_keeps_them() {
        for (flavor, version, expected) in [
            (Flavor::MariaDb, Version(10, 11, 6), "GRANT SELECT ON `mysql`.`proc` TO a"),
            (Flavor::MySql, Version(5, 7, 40), "GRANT SELECT ON `mysql`.`proc` TO a"),
            (Flavor::MySql, Version(8, 0, 19), "GRANT REPLICATION CLIENT, SELECT ON *.* TO a"),
            (Flavor::MySql, Version(8, 4, 0), "GRANT REPLICATION CLIENT, SHOW_ROUTINE ON *.* TO a"),
        ] {
            for side in [Side::Source, Side::Target] {
                let needs = of(Feature::Gateway, side, &server(flavor, version));
                let statements = statements(&needs, "shop", "a");
                assert!(statements.iter().any(|s| s == expected), "{statements:?}");
            }
        }
    }

    #[test]
    fn statements_are_one_an_object_and_names_stand_for_themselves() {
        let server = server(Flavor::MariaDb, Version(10, 11, 6));
        let needs = of(Feature::Move, Side::Source, &server);
        let expected = [
            "GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO 'a'@'%'",
            r"GRANT SELECT ON `my\_shop`.* TO 'a'@'%'",
        ];
        assert_eq!(statements(&needs, "my_shop", "'a'@'%'"), expected);
    }
}
