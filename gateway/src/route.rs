//! Where a statement goes: its names resolved to keyspaces and, by the rules, to where their tables are.
//!
//! A qualifier is a keyspace's name; the name of a keyspace's database means the keyspace too, so that rules cannot be passed
//! by. A name without one belongs to the session's keyspace. The rule of `keyspace.table` for the session's type of server says
//! where the table is, else it is where its name says. All tables of a statement must be on one server.
//!
//! What is rewritten: a qualifier that is not the name of the database where its table is; and a name without a qualifier, if
//! the statement has others in another database. Nothing else: the backend's default database is set to that of the first
//! unqualified table.
//!
//! Views, routines and triggers use tables that a statement does not name: [`behind`] judges those by the same rules. What may
//! pass although it is not understood, [`unparsed`] says.
//!
//! Invariant: a plan for a server sends no name to it that the rules lead to another one.

mod behind;
mod unparsed;

use shunt_engine::mysql::names::lowered;
use shunt_engine::mysql::sql::ident;
use shunt_engine::routing::{ServerType, TableName};

use crate::answer::SqlError;
use crate::board::View;
use crate::servers::{ServerId, Servers};
use crate::sql::finder::{Found, TableRef};
use crate::sql::{Edit, Sql};

/// What a session has chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// The keyspace's place in the configuration.
    pub(crate) keyspace: Option<usize>,
    pub(crate) server_type: ServerType,
}

/// Which way a statement goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The servers that have all its tables; empty if it names none.
    pub(crate) servers: Vec<ServerId>,
    /// Whether it names a table, a database or a qualified routine.
    pub(crate) bound: bool,
    /// What the default database must be; `None` if it does not matter.
    pub(crate) database: Option<String>,
    pub(crate) edits: Vec<Edit>,
    /// Its tables, as they are.
    pub(crate) tables: Vec<TableName>,
    /// Rules know one of them.
    pub(crate) known: bool,
    /// A part of what it does may stand although it fails: routines and triggers may write tables without transactions, and what
    /// is not understood may do anything.
    pub(crate) once: bool,
}

/// Resolves the names of statements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Router<'a> {
    pub(crate) servers: &'a Servers,
    pub(crate) view: &'a View,
    pub(crate) chosen: &'a Chosen,
}

/// Where a name leads.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// A table of a keyspace.
    Keyspace(usize),
    /// A database that is no keyspace's, on the session's server.
    Foreign,
}

impl Router<'_> {
    /// The way of a statement whose names were found; `writes`: it may change its tables.
    ///
    /// # Errors
    /// If it spans servers, or names what does not exist or cannot be followed.
    pub(crate) fn plan(
        &self,
        sql: &Sql<'_>,
        found: &Found,
        writes: bool,
    ) -> Result<Plan, SqlError> {
        let mut plan = Plan::default();
        let mut places = Vec::new();
        // Where each stands, and its keyspace: the first one decides on the default database.
        let mut unqualified: Vec<(usize, usize)> = Vec::new();
        for table in &found.tables {
            if table.qualifier.is_none() && self.is_cte(sql, found, table)? {
                continue;
            }
            let place = self.table(sql, table, &mut plan)?;
            match (&place, table.qualifier) {
                (Place::Keyspace(k), Some(q)) => self.qualify(sql, q, *k, &mut plan)?,
                (Place::Keyspace(k), None) => unqualified.push((sql.span(table.name).start, *k)),
                (Place::Foreign, _) => {}
            }
            self.behind_table(sql, table, &place, writes, &mut plan)?;
            places.push(place);
        }
        for column in &found.columns {
            if let Place::Keyspace(k) = self.table(sql, column, &mut plan)?
                && let Some(q) = column.qualifier
            {
                self.qualify(sql, q, k, &mut plan)?;
            }
        }
        for &at in found.databases.iter().chain(&found.routines) {
            let place = self.qualifier(sql, at)?;
            if let Place::Keyspace(k) = place {
                self.qualify(sql, at, k, &mut plan)?;
            }
            places.push(place);
        }
        self.default_database(found, &unqualified, &mut plan)?;
        self.behind_calls(sql, found, &mut places, &mut plan)?;
        // Without rules nobody has looked what runs behind the names.
        plan.once |= self.view.is_empty() && !self.servers.run_nothing();
        plan.bound = !places.is_empty();
        plan.servers = self.common_server(&places)?;
        Ok(plan)
    }

    fn default_database(
        &self,
        found: &Found,
        unqualified: &[(usize, usize)],
        plan: &mut Plan,
    ) -> Result<(), SqlError> {
        let Some(&(_, first)) = unqualified.first() else { return Ok(()) };
        let database = &self.servers.keyspaces[first].database;
        for &(start, keyspace) in &unqualified[1..] {
            let other = &self.servers.keyspaces[keyspace].database;
            if other == database {
                continue;
            }
            if !found.targets.is_empty() {
                return Err(SqlError::unsupported(
                    "DELETE over tables that now are in several databases: name the databases",
                ));
            }
            plan.edits
                .push(Edit { at: start..start, text: format!("{}.", ident(other)).into_bytes() });
        }
        plan.database = Some(database.clone());
        Ok(())
    }

    /// A name of a common table expression is no table; one that rules know may be either, so it is refused.
    fn is_cte(&self, sql: &Sql<'_>, found: &Found, table: &TableRef) -> Result<bool, SqlError> {
        let Some(name) = sql.name(table.name) else { return Ok(false) };
        let same = |at: &usize| sql.name(*at).is_some_and(|n| lowered(&n) == lowered(&name));
        if !found.ctes.iter().any(same) {
            return Ok(false);
        }
        if self.view.knows(&name) {
            return Err(SqlError::unsupported(format_args!(
                "common table expression {name} has the name of a table that is being moved"
            )));
        }
        Ok(true)
    }

    fn table(&self, sql: &Sql<'_>, table: &TableRef, plan: &mut Plan) -> Result<Place, SqlError> {
        let Some(name) = sql.name(table.name) else {
            return self.foreign_name(table.qualifier);
        };
        let keyspace = match table.qualifier {
            Some(at) => match self.qualifier(sql, at)? {
                Place::Foreign => return Ok(Place::Foreign),
                Place::Keyspace(k) => Some(k),
            },
            None => self.chosen.keyspace,
        };
        let folded;
        let lookup: &str = if self.servers.folds() {
            folded = lowered(&name);
            &folded
        } else {
            &name
        };
        let from = keyspace.map(|k| self.servers.keyspaces[k].name.as_str());
        let to = self.view.rules.lookup(from, lookup, self.chosen.server_type);
        plan.known |= self.view.knows(&name);
        let Some(to) = to else {
            let at = keyspace.ok_or_else(SqlError::no_database)?;
            let keyspace = self.servers.keyspaces[at].name.clone();
            plan.tables.push(TableName { keyspace, table: lookup.to_owned() });
            return Ok(Place::Keyspace(at));
        };
        if to.table != lookup {
            return Err(SqlError::unsupported(format_args!(
                "the routing rule of {lookup} renames it to {to}"
            )));
        }
        plan.tables.push(to.clone());
        self.servers
            .keyspace(&to.keyspace)
            .map(Place::Keyspace)
            .ok_or_else(|| SqlError::unknown_database(&to.keyspace))
    }

    /// A name that cannot be compared is no table that rules know, if all those are ASCII.
    fn foreign_name(&self, qualifier: Option<usize>) -> Result<Place, SqlError> {
        if self.view.has_foreign_names() || qualifier.is_some() {
            return Err(SqlError::unsupported(
                "a name that is not ASCII needs a session in UTF-8 (SET NAMES utf8mb4)",
            ));
        }
        let at = self.chosen.keyspace.ok_or_else(SqlError::no_database)?;
        Ok(Place::Keyspace(at))
    }

    fn qualifier(&self, sql: &Sql<'_>, at: usize) -> Result<Place, SqlError> {
        let Some(name) = sql.name(at) else {
            return Err(SqlError::unsupported(
                "a name that is not ASCII needs a session in UTF-8 (SET NAMES utf8mb4)",
            ));
        };
        if let Some(k) = self.servers.keyspace(&name) {
            return Ok(Place::Keyspace(k));
        }
        // A database by its own name: of the session's keyspace first, then of one on the same server, then of the only one.
        let folds = self.servers.folds();
        let mut named: Vec<usize> = (0..self.servers.keyspaces.len())
            .filter(|&k| {
                let database = &self.servers.keyspaces[k].database;
                *database == *name || (folds && lowered(database) == lowered(&name))
            })
            .collect();
        let here = self.home().first().copied();
        if named.len() > 1 {
            named.retain(|&k| here.is_some() && self.servers.primary(k) == here);
        }
        match named.as_slice() {
            [] => Ok(Place::Foreign),
            [one] => Ok(Place::Keyspace(*one)),
            _ => Err(SqlError::unsupported(format_args!(
                "{name} is the database of several keyspaces: name the keyspace"
            ))),
        }
    }

    fn qualify(&self, sql: &Sql<'_>, at: usize, k: usize, plan: &mut Plan) -> Result<(), SqlError> {
        let database = &self.servers.keyspaces[k].database;
        if sql.name(at).as_deref() == Some(database.as_str()) {
            return Ok(());
        }
        if !database.is_ascii() && sql.name(at).is_none() {
            return Err(SqlError::unsupported("database is not ASCII"));
        }
        plan.edits.push(Edit { at: sql.span(at), text: ident(database).into_bytes() });
        Ok(())
    }

    /// The servers of the session's keyspace and type.
    pub(crate) fn home(&self) -> Vec<ServerId> {
        let keyspace = self.chosen.keyspace;
        keyspace.map_or_else(Vec::new, |k| self.servers.serving(k, self.chosen.server_type))
    }

    /// The database of the session's keyspace.
    pub(crate) fn own_database(&self) -> Option<String> {
        let keyspace = self.chosen.keyspace?;
        Some(self.servers.keyspaces[keyspace].database.clone())
    }

    fn common_server(&self, places: &[Place]) -> Result<Vec<ServerId>, SqlError> {
        let mut common: Option<(String, Vec<ServerId>)> = None;
        for place in places {
            let (name, servers) = match place {
                Place::Keyspace(k) => {
                    let servers = self.servers.serving(*k, self.chosen.server_type);
                    let name = self.servers.keyspaces[*k].name.clone();
                    if servers.is_empty() {
                        return Err(no_server(&name, self.chosen.server_type));
                    }
                    (name, servers)
                }
                Place::Foreign => {
                    let home = self.home_or_first()?;
                    ("the session's keyspace".to_owned(), home)
                }
            };
            common = Some(match common {
                None => (name, servers),
                Some((first, before)) => {
                    let both: Vec<_> =
                        before.iter().copied().filter(|s| servers.contains(s)).collect();
                    if both.is_empty() {
                        return Err(SqlError::two_servers(&first, &name));
                    }
                    (first, both)
                }
            });
        }
        Ok(common.map(|(_, servers)| servers).unwrap_or_default())
    }

    /// The session's servers; where it has chosen none, those of the first keyspace.
    pub(crate) fn home_or_first(&self) -> Result<Vec<ServerId>, SqlError> {
        let keyspace =
            self.chosen.keyspace.or(if self.servers.keyspaces.is_empty() { None } else { Some(0) });
        let at = keyspace.ok_or_else(SqlError::no_database)?;
        let servers = self.servers.serving(at, self.chosen.server_type);
        if servers.is_empty() {
            return Err(no_server(&self.servers.keyspaces[at].name, self.chosen.server_type));
        }
        Ok(servers)
    }
}

fn no_server(keyspace: &str, server_type: ServerType) -> SqlError {
    SqlError::new(
        2003,
        *b"HY000",
        format!("shunt: keyspace {keyspace} has no {server_type} server that is fit to serve"),
    )
}

#[cfg(test)]
mod tests;
