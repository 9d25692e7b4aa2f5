//! What the checks judge: read once from both servers, before any check runs.
//!
//! What an account may not see is `None` or listed as unseen, so that no check takes silence for good news.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use super::PreflightInput;
use super::children::{Child, referring};
use super::grants::Grants;
use super::needs;
use super::users::unseen;
use crate::error::{ErrorKind, Result, ResultExt};
use crate::mysql::control::Control;
use crate::mysql::names::same;
use crate::mysql::schema::{
    Definition, ForeignKey, TableKind, TableSchema, list_tables, read_table,
};
use crate::mysql::server::{Flavor, ServerInfo, Version};
use crate::mysql::sql;
use crate::programs::{Kind, Programs, User};

/// What was read about one server.
#[derive(Clone, Debug)]
pub struct Server {
    /// Who it is.
    pub info: ServerInfo,
    /// Its global variables.
    pub variables: HashMap<String, String>,
    /// What the account may do.
    pub grants: Grants,
    /// The account, quoted for GRANT.
    pub account: String,
    /// Replication channels from other servers.
    pub replica_channels: Option<usize>,
    /// The binlog's filters as text; empty where there are none.
    pub binlog_filters: Option<String>,
    /// Number of binlog files and their bytes.
    pub binlogs: Option<(usize, u64)>,
}

/// A table on the target that has the name of a moved one.
#[derive(Clone, Debug)]
pub struct Existing {
    /// Its definition.
    pub schema: TableSchema,
    /// Whether it holds any row, where the account may see that.
    pub has_rows: Option<bool>,
}

/// Everything that the checks judge.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The source's server.
    pub source: Server,
    /// The target's server.
    pub target: Server,
    /// The database on the source.
    pub source_database: String,
    /// The database on the target.
    pub target_database: String,
    /// The tables to move, as the source defines them.
    pub tables: Vec<TableSchema>,
    /// Names asked for that are no tables, and what they are.
    pub not_tables: Vec<(String, Option<TableKind>)>,
    /// Tables whose definition is not understood, and why.
    pub not_understood: Vec<(String, String)>,
    /// Tables that stand on the target already.
    pub existing: Vec<Existing>,
    /// Names asked for that are something else on the target.
    pub target_not_tables: Vec<String>,
    /// All names in the target's database.
    pub target_names: HashSet<String>,
    /// Whether the target's database exists.
    pub target_database_exists: bool,
    /// Collations that the target knows.
    pub target_collations: HashSet<String>,
    /// Foreign keys in the target's database, and their tables.
    pub target_foreign_keys: Vec<(String, String)>,
    /// Tables that are not moved and refer to a moved one.
    pub children_left_behind: Vec<(String, ForeignKey)>,
    /// Tables of the target that are not moved and refer to one under a moved name.
    pub children_on_target: Vec<Child>,
    /// Other tables whose definition the account may not see.
    pub unseen_tables: Vec<String>,
    /// What reaches a moved table by its name on the source, and what would on the target.
    pub users: [Vec<User>; 2],
    /// Kinds of which not all definitions were visible, and what to grant to see them: source, target.
    pub unseen_bodies: [Vec<(Kind, String)>; 2],
    /// Prepared XA transactions on the source.
    pub prepared_xa: Option<usize>,
    /// The target's clock minus the source's.
    pub clock_skew_s: f64,
    /// How far that may be off.
    pub clock_skew_error_s: f64,
    /// See [`PreflightInput`].
    pub keyless_bytes_max: u64,
}

impl Server {
    /// A global variable in upper case; empty where the server has none of this name.
    pub fn variable(&self, name: &str) -> &str {
        self.variables.get(name).map_or("", String::as_str)
    }

    /// Whether a switch is on.
    pub fn is_on(&self, name: &str) -> bool {
        matches!(self.variable(name), "ON" | "1" | "YES")
    }

    /// Whether a read-only setting is in force. MariaDB 12 has degrees of it.
    pub fn refuses_writes(&self, name: &str) -> bool {
        !matches!(self.variable(name), "" | "OFF" | "0" | "NO")
    }

    async fn read(control: &mut Control) -> Result<Self> {
        let mut variables = HashMap::new();
        for row in control.rows("SHOW GLOBAL VARIABLES").await? {
            variables.insert(row.must(0)?.to_lowercase(), row.must(1)?.to_uppercase());
        }
        let account = needs::account(control).await?;
        Ok(Self {
            info: control.info().clone(),
            variables,
            grants: account.grants,
            account: account.name,
            replica_channels: read_replica_channels(control).await?,
            binlog_filters: read_binlog_filters(control).await?,
            binlogs: read_binlogs(control).await?,
        })
    }
}

impl Facts {
    /// Asks both servers.
    ///
    /// # Errors
    /// If one cannot be asked.
    pub async fn read(input: PreflightInput<'_>) -> Result<Self> {
        let (source, target) = tokio::join!(Server::read(input.source), Server::read(input.target));
        let source = source.context("read the source's settings")?;
        let target = target.context("read the target's settings")?;
        let mut facts = Self {
            source,
            target,
            source_database: input.source_database.to_owned(),
            target_database: input.target_database.to_owned(),
            tables: Vec::new(),
            not_tables: Vec::new(),
            not_understood: Vec::new(),
            existing: Vec::new(),
            target_not_tables: Vec::new(),
            target_names: HashSet::new(),
            target_database_exists: false,
            target_collations: HashSet::new(),
            target_foreign_keys: Vec::new(),
            children_left_behind: Vec::new(),
            children_on_target: Vec::new(),
            unseen_tables: Vec::new(),
            users: [Vec::new(), Vec::new()],
            unseen_bodies: [Vec::new(), Vec::new()],
            prepared_xa: None,
            clock_skew_s: 0.0,
            clock_skew_error_s: 0.0,
            keyless_bytes_max: input.keyless_bytes_max,
        };
        facts.read_tables(input.source, input.tables).await?;
        facts.read_target(input.target).await?;
        facts.read_programs(input.source, input.target).await?;
        let xa = seen(input.source.rows("XA RECOVER").await)?;
        facts.prepared_xa = xa.map(|rows| rows.len());
        facts.read_clocks(input.source, input.target).await?;
        Ok(facts)
    }

    /// Whether a foreign key's parent is moved as well.
    pub fn moves_parent(&self, key: &ForeignKey) -> bool {
        let here =
            key.parent_database.as_ref().is_none_or(|database| *database == self.source_database);
        here && self.tables.iter().any(|table| table.name == key.parent_table)
    }

    /// Whether the target knows a collation; `utf8` and `utf8mb3` are two names of one character set.
    pub fn knows_collation(&self, collation: &str) -> bool {
        let other = match collation.strip_prefix("utf8mb3_") {
            Some(rest) => format!("utf8_{rest}"),
            None => collation.replacen("utf8_", "utf8mb3_", 1),
        };
        self.target_collations.contains(collation) || self.target_collations.contains(&other)
    }

    async fn read_tables(&mut self, source: &mut Control, tables: &[String]) -> Result<()> {
        let names = list_tables(source, &self.source_database).await?;
        for name in tables {
            match read_table(source, &self.source_database, name).await {
                // `information_schema` may compare without case where the server does not.
                Ok(Some(table)) if table.name == *name || source.info().folds_names => {
                    self.tables.push(table);
                }
                // The server answered; what it answered is not understood. Other tables are judged all the same.
                Err(error) if error.kind() == ErrorKind::Stop && error.server_code().is_none() => {
                    self.not_understood.push((name.clone(), error.to_string()));
                }
                Err(error) => return Err(error),
                Ok(_) => {
                    let kind = names.iter().find(|(other, _)| other == name).map(|(_, kind)| *kind);
                    self.not_tables.push((name.clone(), kind));
                }
            }
        }
        let moved: HashSet<String> = self.tables.iter().map(|table| table.name.clone()).collect();
        for (name, kind) in names {
            if kind == TableKind::Base && !moved.contains(&name) {
                self.read_child(source, &name).await?;
            }
        }
        let folds = source.info().folds_names;
        let is_one = |a: &str, b: &str| a == b || folds && same(a, b);
        for child in referring(source, &self.source_database).await? {
            let is_moved = moved.iter().any(|name| is_one(name, &child.key.parent_table));
            if is_moved && !is_one(&child.database, &self.source_database) {
                let name = format!("{}.{}", child.database, child.table);
                self.children_left_behind.push((name, child.key));
            }
        }
        Ok(())
    }

    /// Whether a table that stays refers to one that moves. The definition shows it with SELECT alone, where
    /// `information_schema` does not.
    async fn read_child(&mut self, source: &mut Control, name: &str) -> Result<()> {
        let query = format!("SHOW CREATE TABLE {}", sql::qualified(&self.source_database, name));
        let row = match source.row(query).await {
            Ok(row) => row.and_then(|row| row.text(1)),
            // Dropped meanwhile.
            Err(error) if error.is_no_table() => return Ok(()),
            Err(error) if error.server_code().is_some() => None,
            Err(error) => return Err(error),
        };
        match row.map(|create| Definition::parse(&create).and_then(|d| d.foreign_keys())) {
            Some(Ok(keys)) => {
                let here = keys.into_iter().filter(|key| self.moves_parent(key));
                let children: Vec<_> = here.map(|key| (name.to_owned(), key)).collect();
                self.children_left_behind.extend(children);
            }
            _ => self.unseen_tables.push(name.to_owned()),
        }
        Ok(())
    }

    /// Whether two names are those of one table on the target.
    pub fn is_one_on_target(&self, a: &str, b: &str) -> bool {
        a == b || self.target.info.folds_names && same(a, b)
    }

    async fn read_target(&mut self, target: &mut Control) -> Result<()> {
        let exists = format!(
            "SELECT 1 FROM information_schema.schemata WHERE schema_name = {}",
            sql::literal(&self.target_database)
        );
        self.target_database_exists = target.row(exists).await?.is_some();
        for (name, kind) in list_tables(target, &self.target_database).await? {
            let moved = self.tables.iter().any(|table| self.is_one_on_target(&table.name, &name));
            if moved && kind != TableKind::Base {
                self.target_not_tables.push(name.clone());
            } else if moved
                && let Some(schema) = read_table(target, &self.target_database, &name).await?
            {
                let table = sql::qualified(&self.target_database, &name);
                let row = seen(target.row(format!("SELECT 1 FROM {table} LIMIT 1")).await)?;
                self.existing.push(Existing { schema, has_rows: row.map(|row| row.is_some()) });
            }
            self.target_names.insert(name);
        }
        for child in referring(target, &self.target_database).await? {
            let moves =
                |name: &str| self.tables.iter().any(|t| self.is_one_on_target(&t.name, name));
            let own = self.is_one_on_target(&child.database, &self.target_database);
            if moves(&child.key.parent_table) && !(own && moves(&child.table)) {
                self.children_on_target.push(child);
            }
        }
        for row in target.rows(collations_query(target.info())).await? {
            self.target_collations.insert(row.must(0)?);
        }
        let foreign_keys = format!(
            "SELECT constraint_name, table_name FROM information_schema.referential_constraints WHERE constraint_schema = {}",
            sql::literal(&self.target_database)
        );
        for row in target.rows(foreign_keys).await? {
            self.target_foreign_keys.push((row.must(0)?, row.must(1)?));
        }
        Ok(())
    }

    async fn read_programs(&mut self, source: &mut Control, target: &mut Control) -> Result<()> {
        let tables: Vec<String> = self.tables.iter().map(|table| table.name.clone()).collect();
        let programs = [Programs::read(source).await?, Programs::read(target).await?];
        let places = [(&self.source, &self.source_database), (&self.target, &self.target_database)];
        let of = |at: usize| {
            let ((server, database), programs) = (places[at], &programs[at]);
            let hidden = unseen(programs, &server.info, &server.grants, database);
            (programs.users(database, &tables), hidden)
        };
        let [source, target] = [of(0), of(1)];
        self.users = [source.0, target.0];
        self.unseen_bodies = [source.1, target.1];
        Ok(())
    }

    async fn read_clocks(&mut self, source: &mut Control, target: &mut Control) -> Result<()> {
        let start = Instant::now();
        let (source_at, source_error) = read_clock(source, start).await?;
        let (target_at, target_error) = read_clock(target, start).await?;
        self.clock_skew_s = target_at - source_at;
        self.clock_skew_error_s = source_error + target_error;
        Ok(())
    }
}

/// A server's clock less our own, and half the round trip.
async fn read_clock(control: &mut Control, start: Instant) -> Result<(f64, f64)> {
    let before = start.elapsed().as_secs_f64();
    let row = control.row("SELECT UNIX_TIMESTAMP(NOW(6))").await?.unwrap_or_default();
    let after = start.elapsed().as_secs_f64();
    let server: f64 = row.number(0)?;
    let half = (after - before) / 2.0;
    Ok((server - before - half, half))
}

/// Full names of all collations. MariaDB lists those of UCA 14 once for all character sets.
fn collations_query(info: &ServerInfo) -> &'static str {
    match info.flavor {
        Flavor::MariaDb if info.version >= Version(10, 10, 1) => {
            "SELECT full_collation_name FROM information_schema.collation_character_set_applicability"
        }
        _ => "SELECT collation_name FROM information_schema.collations",
    }
}

/// `None` where the account lacks the privilege or the server does not know the statement.
fn seen<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error)
            if matches!(error.server_code(), Some(1044 | 1064 | 1142 | 1227 | 1381 | 1401)) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn read_replica_channels(control: &mut Control) -> Result<Option<usize>> {
    let info = control.info();
    let query = match info.flavor {
        Flavor::MariaDb => "SHOW ALL SLAVES STATUS",
        Flavor::MySql if info.version >= Version(8, 0, 22) => "SHOW REPLICA STATUS",
        Flavor::MySql => "SHOW SLAVE STATUS",
    };
    Ok(seen(control.rows(query).await)?.map(|rows| rows.len()))
}

async fn read_binlog_filters(control: &mut Control) -> Result<Option<String>> {
    let info = control.info();
    let new_name = info.flavor == Flavor::MySql && info.version >= Version(8, 2, 0);
    let query = if new_name { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" };
    let row = seen(control.row(query).await)?;
    Ok(row.map(|row| {
        let row = row.unwrap_or_default();
        let filters = [2, 3].map(|column| row.text(column).unwrap_or_default());
        filters.into_iter().filter(|filter| !filter.is_empty()).collect::<Vec<_>>().join("; ")
    }))
}

async fn read_binlogs(control: &mut Control) -> Result<Option<(usize, u64)>> {
    let Some(rows) = seen(control.rows("SHOW BINARY LOGS").await)? else { return Ok(None) };
    let mut bytes = 0_u64;
    for row in &rows {
        bytes = bytes.saturating_add(row.number(1)?);
    }
    Ok(Some((rows.len(), bytes)))
}
