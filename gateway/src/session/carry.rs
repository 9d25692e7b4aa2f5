//! What a session carries from server to server: settings, and user variables that are plain literals.
//!
//! The settings that the session starts with are those of its keyspace's server, whatever the others have; after each SET the server
//! on which it ran is asked for what its settings are now, so nothing is computed here. Another server gets them before the first
//! statement that it is sent afterwards. LAST_INSERT_ID moves along with the session ([`super::lost`]). A user variable whose value is not a
//! literal stays where it was made, and a statement for another server that uses it is refused. A program that runs on a server may
//! have set any variable there ([`Session::program_ran`]).

use std::collections::HashMap;

use shunt_engine::mysql::sql::push_literal;

use crate::answer::SqlError;
use crate::backend::{Backend, Trouble};
use crate::limits::{SETTINGS_MAX, VARIABLES_MAX};
use crate::servers::ServerId;
use crate::sql::Sql;
use crate::sql::lexer::{Charset, Kind, Mode};
use crate::sql::set::Set;

use super::Session;

/// Settings that servers are given different defaults of, and that change what statements mean. `tx_isolation` and
/// `tx_read_only` have other names on newer servers.
const BASE: &[&str] = &[
    "sql_mode",
    "character_set_client",
    "character_set_results",
    "collation_connection",
    "autocommit",
    "tx_isolation",
    "tx_read_only",
    "time_zone",
    "sql_safe_updates",
    "sql_select_limit",
    "sql_auto_is_null",
    "group_concat_max_len",
    "div_precision_increment",
    "default_week_format",
    "lc_time_names",
    "foreign_key_checks",
    "unique_checks",
    "completion_type",
    "innodb_lock_wait_timeout",
];

/// The session's settings, as a server last said them.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    /// Counts changes; 0 until a server was asked.
    version: u64,
    /// Names beyond [`BASE`] that the session has set.
    extra: Vec<String>,
    values: Vec<(String, Option<Vec<u8>>)>,
    /// SET, or something that may contain one, ran here since.
    stale: Option<ServerId>,
    /// The machine's time zone of the server that was asked, for `SYSTEM`.
    system_time_zone: Vec<u8>,
    pub(crate) mode: Mode,
}

impl Settings {
    pub(super) fn value(&self, name: &str) -> Option<&[u8]> {
        self.values.iter().find(|(known, _)| known == name)?.1.as_deref()
    }

    /// Whether they were changed on this server and not read since.
    pub(super) fn are_on(&self, server: ServerId) -> bool {
        self.stale == Some(server)
    }
}

/// Where a user variable is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Variable {
    /// Its value is this literal; it is set where it is needed.
    Literal(Vec<u8>),
    /// On this server only.
    On(ServerId),
    /// Programs ran on one server, and the variable was set on another one: either may have its value.
    Unknown,
}

/// The session's user variables.
#[derive(Debug, Default)]
pub(crate) struct Variables {
    /// Those that its statements have set, by name.
    known: HashMap<Vec<u8>, Variable>,
    /// What holds for all others; none while nothing can have set them.
    others: Option<Variable>,
}

impl Variables {
    fn of(&self, name: &[u8]) -> Option<&Variable> {
        self.known.get(name).or(self.others.as_ref())
    }

    fn set(&mut self, name: Vec<u8>, variable: Variable) {
        if self.known.len() >= VARIABLES_MAX && !self.known.contains_key(&name) {
            self.known.clear();
            self.others = Some(Variable::Unknown);
        }
        self.known.insert(name, variable);
    }

    /// A program ran on this server, to which all literals had been carried.
    fn any_set_on(&mut self, server: ServerId) {
        for variable in self.known.values_mut() {
            match variable {
                Variable::Literal(_) => *variable = Variable::On(server),
                Variable::On(at) if *at != server => *variable = Variable::Unknown,
                Variable::On(_) | Variable::Unknown => {}
            }
        }
        self.others = match self.others {
            None => Some(Variable::On(server)),
            Some(Variable::On(at)) if at == server => Some(Variable::On(server)),
            Some(_) => Some(Variable::Unknown),
        };
    }

    /// Whether this server alone may have one.
    pub(super) fn are_on(&self, server: ServerId) -> bool {
        let there = |variable: &Variable| match variable {
            Variable::Literal(_) => false,
            Variable::On(at) => *at == server,
            Variable::Unknown => true,
        };
        self.known.values().chain(&self.others).any(there)
    }

    fn literals(&self) -> Vec<Vec<u8>> {
        let literal = |(name, variable): (&Vec<u8>, &Variable)| {
            matches!(variable, Variable::Literal(_)).then(|| name.clone())
        };
        self.known.iter().filter_map(literal).collect()
    }
}

fn on_server<'a>(name: &'a str, backend: &Backend) -> &'a str {
    match name {
        "tx_isolation" if backend.new_names => "transaction_isolation",
        "tx_read_only" if backend.new_names => "transaction_read_only",
        other => other,
    }
}

impl Session {
    /// Notes that the settings may have changed on this server.
    pub(super) fn settings_changed(&mut self, server: ServerId) {
        self.settings.stale = Some(server);
    }

    /// Whether a SET can be carried.
    pub(super) fn note_names(&mut self, set: &Set) -> Result<(), SqlError> {
        for name in &set.names {
            let name = match name.as_str() {
                "transaction_isolation" => "tx_isolation",
                "transaction_read_only" => "tx_read_only",
                other => other,
            };
            if !BASE.contains(&name) && !self.settings.extra.iter().any(|known| known == name) {
                self.settings.extra.push(name.to_owned());
            }
        }
        if self.settings.extra.len() > SETTINGS_MAX || set.variables.len() > VARIABLES_MAX {
            return Err(SqlError::unsupported("the session sets too many variables"));
        }
        Ok(())
    }

    pub(super) fn settings_are_stale(&self) -> bool {
        self.settings.stale.is_some()
    }

    /// Asks for the settings if they may have changed.
    pub(super) async fn refresh_settings(&mut self) -> Result<(), Trouble> {
        let Some(server) = self.settings.stale else { return Ok(()) };
        self.settings.stale = None;
        self.read_settings(server).await
    }

    async fn read_settings(&mut self, server: ServerId) -> Result<(), Trouble> {
        let Some(backend) = self.backends.get_mut(&server) else { return Ok(()) };
        let names: Vec<String> =
            BASE.iter().map(|name| (*name).to_owned()).chain(self.settings.extra.clone()).collect();
        let columns: Vec<String> =
            names.iter().map(|name| format!("@@session.{}", on_server(name, backend))).collect();
        let query = format!("SELECT {}, @@system_time_zone", columns.join(", "));
        let row = match backend.row(&query).await {
            // A name that the server does not know: its SET was refused as well.
            Err(Trouble::Sql(SqlError { code: 1193 | 1238, .. }))
                if !self.settings.extra.is_empty() =>
            {
                self.settings.extra.clear();
                return Box::pin(self.read_settings(server)).await;
            }
            other => other?,
        };
        let mut cells = row.into_iter();
        let values: Vec<_> =
            names.into_iter().map(|name| (name, cells.next().unwrap_or_default())).collect();
        self.settings.system_time_zone = cells.next().flatten().unwrap_or_default();
        if values != self.settings.values {
            self.settings.values = values;
            self.settings.version += 1;
        }
        backend.settings = self.settings.version;
        let sql_mode = self.settings.value("sql_mode").unwrap_or_default().to_vec();
        let has = |word: &[u8]| sql_mode.split(|b| *b == b',').any(|mode| mode == word);
        let charset = self.settings.value("character_set_client").unwrap_or(b"utf8mb4");
        self.settings.mode = Mode {
            charset: Charset::named(charset),
            ansi_quotes: has(b"ANSI_QUOTES"),
            no_backslash_escapes: has(b"NO_BACKSLASH_ESCAPES"),
        };
        Ok(())
    }

    /// The connection to a server, opened if need be. The session's first one sets its settings.
    pub(super) async fn connect(&mut self, server: ServerId) -> Result<(), Trouble> {
        if !self.backends.contains_key(&server) {
            let config = self.gateway.servers.config(server);
            let client = &self.client;
            let opened =
                Backend::open(server, config, &client.user, client.capabilities, client.collation);
            self.backends.insert(server, opened.await?);
            self.note_backends();
        }
        if self.settings.version == 0 {
            self.read_settings(server).await?;
        }
        Ok(())
    }

    /// Gives a server the settings that it does not have yet.
    pub(super) async fn carry_settings(&mut self, server: ServerId) -> Result<(), Trouble> {
        let version = self.settings.version;
        let Some(backend) = self.backends.get_mut(&server) else { return Ok(()) };
        if backend.settings == version {
            return Ok(());
        }
        let zone =
            backend.row("SELECT @@system_time_zone").await?.pop().flatten().unwrap_or_default();
        let mut sql = b"SET ".to_vec();
        for (at, (name, value)) in self.settings.values.iter().enumerate() {
            if at > 0 {
                sql.extend_from_slice(b", ");
            }
            sql.extend_from_slice(format!("@@session.{}=", on_server(name, backend)).as_bytes());
            match value.as_deref() {
                None => sql.extend_from_slice(b"NULL"),
                Some(b"SYSTEM")
                    if name == "time_zone" && zone != self.settings.system_time_zone =>
                {
                    if self.settings.system_time_zone != b"UTC" {
                        return Err(SqlError::unsupported(
                            "time_zone is SYSTEM and the servers' machines have different ones: set it",
                        )
                        .into());
                    }
                    sql.extend_from_slice(b"'+00:00'");
                }
                Some(number) if !number.is_empty() && number.iter().all(u8::is_ascii_digit) => {
                    sql.extend_from_slice(number);
                }
                Some(text) => push_literal(&mut sql, text),
            }
        }
        backend.simple(&sql).await?;
        backend.settings = version;
        Ok(())
    }

    /// Gives a server the user variables that a statement uses.
    pub(super) async fn carry_variables(
        &mut self,
        server: ServerId,
        names: Vec<Vec<u8>>,
    ) -> Result<(), Trouble> {
        for name in names {
            match self.variables.of(&name) {
                None => {}
                Some(Variable::On(at)) if *at == server => {}
                Some(Variable::On(_)) => {
                    let text = String::from_utf8_lossy(&name);
                    return Err(SqlError::unsupported(format_args!(
                        "user variable {text} was set on another server, or may have been by what ran there: set it again"
                    ))
                    .into());
                }
                Some(Variable::Unknown) => {
                    let text = String::from_utf8_lossy(&name);
                    return Err(SqlError::unsupported(format_args!(
                        "user variable {text} may have been set on two servers: set it again"
                    ))
                    .into());
                }
                Some(Variable::Literal(value)) => {
                    let Some(backend) = self.backends.get_mut(&server) else { continue };
                    if !backend.variables.contains(&name) {
                        let quoted = name[1..].split(|byte| *byte == b'`').collect::<Vec<_>>();
                        let quoted = quoted.join(&b"``"[..]);
                        let set = [b"SET @`", quoted.as_slice(), b"`=", value].concat();
                        backend.simple(&set).await?;
                        backend.variables.insert(name);
                    }
                }
            }
        }
        Ok(())
    }

    /// Gives a server all literals, before a program runs there that may use any of them.
    pub(super) async fn carry_literals(&mut self, server: ServerId) -> Result<(), Trouble> {
        self.carry_variables(server, self.variables.literals()).await
    }

    /// Notes that something ran on a server that may have set any variable there.
    pub(super) fn program_ran(&mut self, server: ServerId) {
        self.variables.any_set_on(server);
    }

    /// Notes that a statement may have assigned its user variables.
    pub(super) fn variables_assigned(&mut self, server: ServerId, sql: &Sql<'_>) {
        for name in variables_of(sql) {
            for backend in self.backends.values_mut() {
                backend.variables.remove(&name);
            }
            self.variables.set(name, Variable::On(server));
        }
    }

    /// Notes what a SET has assigned.
    pub(super) fn variables_set(&mut self, server: ServerId, set: &Set) {
        for (name, literal) in &set.variables {
            for backend in self.backends.values_mut() {
                backend.variables.remove(name);
            }
            let variable = match literal {
                Some(literal) => Variable::Literal(literal.clone()),
                None => Variable::On(server),
            };
            self.variables.set(name.clone(), variable);
            if literal.is_some()
                && let Some(backend) = self.backends.get_mut(&server)
            {
                backend.variables.insert(name.clone());
            }
        }
    }
}

/// All user variables of a statement.
pub(super) fn variables_of(sql: &Sql<'_>) -> Vec<Vec<u8>> {
    let is_variable = |at: &usize| sql.kind(*at) == Some(Kind::Variable);
    names_at(sql, (0..sql.tokens.len()).filter(is_variable))
}

/// Those at these places.
pub(super) fn names_at(sql: &Sql<'_>, at: impl IntoIterator<Item = usize>) -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = at.into_iter().map(|at| sql.variable(at)).collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_have_set_any_variable_where_it_ran() {
        let (here, there) = (ServerId(0), ServerId(1));
        let literal = || Variable::Literal(b"5".to_vec());
        let mut variables = Variables::default();
        variables.set(b"@literal".to_vec(), literal());
        variables.set(b"@here".to_vec(), Variable::On(here));
        variables.set(b"@there".to_vec(), Variable::On(there));
        assert_eq!((variables.of(b"@x"), variables.literals()), (None, vec![b"@literal".to_vec()]));
        variables.any_set_on(here);
        for (name, at) in [
            ("@literal", Variable::On(here)),
            ("@here", Variable::On(here)),
            ("@there", Variable::Unknown),
            ("@x", Variable::On(here)),
        ] {
            assert_eq!(variables.of(name.as_bytes()), Some(&at), "{name}");
        }
        variables.set(b"@x".to_vec(), literal());
        assert_eq!(variables.of(b"@x"), Some(&literal()));
        variables.any_set_on(there);
        assert_eq!(variables.of(b"@y"), Some(&Variable::Unknown));
        assert_eq!(variables.of(b"@x"), Some(&Variable::On(there)));
    }

    #[test]
    fn variables_are_bounded() {
        let mut variables = Variables::default();
        for at in 0..2 * VARIABLES_MAX {
            variables.set(format!("@{at}").into_bytes(), Variable::On(ServerId(0)));
            assert!(variables.known.len() <= VARIABLES_MAX);
        }
        assert_eq!(variables.of(b"@1"), Some(&Variable::Unknown));
    }
}
