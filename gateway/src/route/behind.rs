//! What is behind the names of a statement: views, routines and triggers use tables that it does not name.
//!
//! They stay on their server when a table moves, and go on using what stands there under the table's name: rows that are only
//! replicated back, or copied. So a statement that reaches a table that way is sent only if the rules lead that table to where the
//! view, routine or trigger is; otherwise it is refused. And the table counts as one of the statement's own, so that it waits for
//! a hold and is waited for.
//!
//! Which tables are reached is known from the definitions on the servers (`shunt_engine::programs`). A program that may reach anything
//! is refused where any table of its server is led away from it.

use shunt_engine::mysql::names::lowered;
use shunt_engine::programs::{self, Key, Programs, Reach};
use shunt_engine::routing::{RuleName, TableName};

use super::{Place, Plan, Router};
use crate::answer::SqlError;
use crate::servers::ServerId;
use crate::sql::Sql;
use crate::sql::finder::{Found, TableRef};

impl Router<'_> {
    /// What is behind a table or a view.
    pub(super) fn behind_table(
        &self,
        sql: &Sql<'_>,
        table: &TableRef,
        place: &Place,
        writes: bool,
        plan: &mut Plan,
    ) -> Result<(), SqlError> {
        if self.view.is_empty() || self.servers.run_nothing() {
            return Ok(());
        }
        let (servers, database) = self.of_place(sql, place, table.qualifier)?;
        self.behind(sql, table.name, &servers, plan, |programs, name| {
            programs.reach_of(&database, name, writes)
        })
    }

    /// What is behind the routines that are called. One that is called without a database, by a statement without tables, is the
    /// session's own keyspace's; with tables it is that of the connection's database, or that one: either counts.
    pub(super) fn behind_calls(
        &self,
        sql: &Sql<'_>,
        found: &Found,
        places: &mut Vec<Place>,
        plan: &mut Plan,
    ) -> Result<(), SqlError> {
        let unplaced = places.is_empty();
        for call in &found.calls {
            let (mut servers, database) = match (call.qualifier, self.chosen.keyspace) {
                (Some(at), _) => self.of_place(sql, &self.qualifier(sql, at)?, Some(at))?,
                (None, Some(own)) => self.of_place(sql, &Place::Keyspace(own), None)?,
                (None, None) => continue,
            };
            self.check_system(sql, call, &servers, &database)?;
            let mut databases = vec![database];
            if call.qualifier.is_none() {
                if unplaced && self.is_routine(sql, call.name, &servers, &databases[0]) {
                    places.extend(self.chosen.keyspace.map(Place::Keyspace));
                    plan.database = Some(databases[0].clone());
                }
                databases.extend(plan.database.clone());
                databases.dedup();
                for place in places.iter() {
                    servers.extend(self.of_place(sql, place, None)?.0);
                }
            }
            if self.view.is_empty() || self.servers.run_nothing() {
                continue;
            }
            if let (Some(package), Some(own)) = (call.qualifier, self.chosen.keyspace) {
                // It may be a package of the session's own database.
                let (servers, own) = self.of_place(sql, &Place::Keyspace(own), None)?;
                self.behind(sql, package, &servers, plan, |programs, name| {
                    programs.reach_of_routine(&own, name)
                })?;
            }
            for database in databases {
                self.behind(sql, call.name, &servers, plan, |programs, name| {
                    programs.reach_of_routine(&database, name)
                })?;
            }
        }
        Ok(())
    }

    /// Procedures of the server's own databases are not read, and some of them run text that they are given.
    fn check_system(
        &self,
        sql: &Sql<'_>,
        call: &TableRef,
        servers: &[ServerId],
        database: &str,
    ) -> Result<(), SqlError> {
        let called = call.qualifier.is_some_and(|at| sql.is_called_by_name(at));
        let away = || servers.iter().any(|server| self.leads_away(*server));
        if !(called && programs::is_of_system(database) && away()) {
            return Ok(());
        }
        Err(SqlError::unsupported(format_args!(
            "a procedure of {database} may use a table that has moved: call it on the server itself"
        )))
    }

    /// A name in a statement that is not understood: of nothing that reaches a table that rules know.
    pub(super) fn check_behind(&self, name: &str) -> Result<(), SqlError> {
        for server in self.home_or_first()? {
            let reach = self.programs(server)?.and_then(|programs| programs.reach_of_any(name));
            let Some(reach) = reach else { continue };
            let known = reach.tables.iter().any(|(_, table)| self.view.knows(table));
            if known || (reach.unknown.is_some() && self.leads_away(server)) {
                return Err(SqlError::unsupported(format_args!(
                    "statement names {name}, which uses tables that are being moved, and is not understood"
                )));
            }
        }
        Ok(())
    }

    fn is_routine(&self, sql: &Sql<'_>, at: usize, servers: &[ServerId], database: &str) -> bool {
        if sql.is_called_by_name(at) {
            return true;
        }
        let Some(name) = sql.name(at) else { return false };
        let programs = servers.iter().filter_map(|server| self.servers.programs(*server));
        programs.into_iter().any(|programs| programs.reach_of_routine(database, &name).is_some())
    }

    /// The servers that a name leads to, and the name of the database there.
    fn of_place(
        &self,
        sql: &Sql<'_>,
        place: &Place,
        qualifier: Option<usize>,
    ) -> Result<(Vec<ServerId>, String), SqlError> {
        match place {
            Place::Keyspace(k) => {
                let servers = self.servers.serving(*k, self.chosen.server_type);
                Ok((servers, self.servers.keyspaces[*k].database.clone()))
            }
            Place::Foreign => {
                let name = qualifier.and_then(|at| sql.name(at)).unwrap_or_default();
                Ok((self.home_or_first()?, name.into_owned()))
            }
        }
    }

    fn behind(
        &self,
        sql: &Sql<'_>,
        at: usize,
        servers: &[ServerId],
        plan: &mut Plan,
        reach: impl Fn(&Programs, &str) -> Option<Reach>,
    ) -> Result<(), SqlError> {
        for &server in servers {
            let Some(programs) = self.programs(server)? else { continue };
            let Some(name) = sql.name(at) else {
                return Err(SqlError::unsupported(
                    "a name that is not ASCII needs a session in UTF-8 (SET NAMES utf8mb4)",
                ));
            };
            if let Some(reach) = reach(&programs, &name) {
                plan.once = true;
                self.judge(server, &name, &reach, plan)?;
            }
        }
        Ok(())
    }

    /// What runs on a server by name; none if there is nothing, or if all its tables are at home.
    fn programs(&self, server: ServerId) -> Result<Option<std::sync::Arc<Programs>>, SqlError> {
        match self.servers.programs(server) {
            Some(programs) => Ok(Some(programs).filter(|programs| !programs.is_empty())),
            None if self.leads_away(server) => {
                Err(SqlError::held("the views and routines of the server have not been read yet"))
            }
            None => Ok(None),
        }
    }

    /// Whether a rule leads a table of a keyspace of this server to another keyspace.
    fn leads_away(&self, server: ServerId) -> bool {
        let of_server = |k: usize| self.serves(k, server);
        let away = |(name, to): (&RuleName, &TableName)| {
            let from = name.keyspace.as_ref().filter(|from| **from != to.keyspace);
            from.and_then(|from| self.servers.keyspace(from)).is_some_and(of_server)
        };
        self.view.rules.iter().any(away)
    }

    fn serves(&self, keyspace: usize, server: ServerId) -> bool {
        self.servers.members(keyspace).iter().any(|member| member.server == server)
    }

    fn judge(
        &self,
        server: ServerId,
        name: &str,
        reach: &Reach,
        plan: &mut Plan,
    ) -> Result<(), SqlError> {
        for key in reach.tables.iter().filter(|(_, table)| self.view.knows(table)) {
            self.judge_table(server, name, key, plan)?;
        }
        match &reach.unknown {
            Some(why) if self.leads_away(server) => Err(SqlError::unsupported(format_args!(
                "{name} may use a table that has moved: {why}"
            ))),
            _ => Ok(()),
        }
    }

    fn judge_table(
        &self,
        server: ServerId,
        name: &str,
        (database, table): &Key,
        plan: &mut Plan,
    ) -> Result<(), SqlError> {
        for (k, keyspace) in self.servers.keyspaces.iter().enumerate() {
            if lowered(&keyspace.database) != *database || !self.serves(k, server) {
                continue;
            }
            for own in self.spellings(&keyspace.name, table) {
                let to =
                    self.view.rules.lookup(Some(&keyspace.name), &own, self.chosen.server_type);
                if let Some(to) = to.filter(|to| to.keyspace != keyspace.name) {
                    return Err(SqlError::unsupported(format_args!(
                        "{name} reaches {}.{own} by a view, routine or trigger, and that table is led to {to}: name the table itself, or one like {name} in keyspace {}",
                        keyspace.name, to.keyspace
                    )));
                }
                plan.known = true;
                plan.tables.push(TableName { keyspace: keyspace.name.clone(), table: own });
            }
        }
        Ok(())
    }

    /// The tables of a keyspace that rules or holds know by this name, whatever its case.
    fn spellings(&self, keyspace: &str, table: &str) -> Vec<String> {
        let of = |name: &&RuleName| {
            name.keyspace.as_deref() == Some(keyspace) && lowered(&name.table) == table
        };
        let ruled = self.view.rules.iter().map(|(name, _)| name).filter(of);
        let held = self.view.holds.iter().filter(|h| h.keyspaces.iter().any(|k| k == keyspace));
        let held = held.flat_map(|hold| &hold.tables).filter(|name| lowered(name) == table);
        let mut names: Vec<String> =
            ruled.map(|name| name.table.clone()).chain(held.cloned()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}
