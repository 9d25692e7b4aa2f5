//! From what was typed to what the engine is asked: the servers and the specification of a new workflow.

use shunt_engine::limits;
use shunt_engine::mysql::control::{Control, Session};
use shunt_engine::mysql::schema::{TableKind, list_tables};
use shunt_engine::mysql::server::ServerConfig;
use shunt_engine::workflow::create::{self, Prepared, Servers};
use shunt_engine::workflow::spec::WorkflowSpec;
use shunt_engine::{Error, Result};

use super::tuning;
use crate::args::workflow::Selection;
use crate::config::Config;
use crate::output;

/// A workflow that may be created.
pub(in crate::commands) struct Plan {
    pub(in crate::commands) servers: Servers,
    pub(in crate::commands) spec: WorkflowSpec,
    /// What a table without a key may hold.
    keyless_bytes_max: u64,
}

impl Plan {
    /// Reads the names of the tables from the source where all are wanted; else asks no server.
    pub(in crate::commands) async fn new(selection: &Selection, config: &Config) -> Result<Self> {
        let target_keyspace = config.keyspace(&selection.workflow.keyspace)?;
        let source_keyspace = config.keyspace(&selection.source)?;
        if source_keyspace.name == target_keyspace.name {
            return Err(Error::usage(format!(
                "source and target are the same keyspace {}",
                source_keyspace.name
            )));
        }
        let server_type = selection.source_server_type;
        let source = source_keyspace.of_type(server_type).next().ok_or_else(|| {
            Error::usage(format!(
                "{}: keyspace {} has no server of type {server_type}",
                config.file.display(),
                source_keyspace.name
            ))
        })?;
        let mut tunables = tuning::of_config(&config.throttle);
        tuning::override_with(&mut tunables, &selection.config_overrides)?;
        let servers = Servers {
            source: source.connection()?,
            target: target_keyspace.primary()?.connection()?,
        };
        let tables = if selection.all_tables {
            let excluded = &selection.exclude_tables;
            all_tables(&servers.source, &source_keyspace.database, excluded).await?
        } else {
            each_once(&selection.tables)?
        };
        let spec = WorkflowSpec {
            workflow: selection.workflow.name.clone(),
            source_keyspace: source_keyspace.name.clone(),
            source_database: source_keyspace.database.clone(),
            target_keyspace: target_keyspace.name.clone(),
            target_database: target_keyspace.database.clone(),
            tables,
            on_ddl: selection.on_ddl,
            stop_after_copy: selection.stop_after_copy,
            defer_secondary_keys: selection.defer_secondary_keys,
            source_server: source.alias.clone(),
            tuning: tunables,
            topology: None,
            routed: None,
        };
        let keyless_bytes_max =
            if selection.allow_large_keyless { u64::MAX } else { limits::KEYLESS_BYTES_MAX };
        Ok(Self { servers, spec, keyless_bytes_max })
    }

    /// Looks at both sides; changes nothing.
    pub(in crate::commands) async fn prepare(self) -> Result<(Servers, Prepared)> {
        let prepared =
            Box::pin(create::prepare(&self.servers, self.spec, self.keyless_bytes_max)).await?;
        Ok((self.servers, prepared))
    }
}

fn each_once(names: &[String]) -> Result<Vec<String>> {
    let mut tables: Vec<String> = Vec::new();
    for name in names {
        if name.is_empty() {
            return Err(Error::usage("--tables has an empty name"));
        }
        if !tables.contains(name) {
            tables.push(name.clone());
        }
    }
    Ok(tables)
}

async fn all_tables(
    source: &ServerConfig,
    database: &str,
    excluded: &[String],
) -> Result<Vec<String>> {
    let mut control = Control::connect(source, Session::Control).await?;
    let found = list_tables(&mut control, database).await?;
    control.close().await;
    choose(&found, database, excluded)
}

fn choose(
    found: &[(String, TableKind)],
    database: &str,
    excluded: &[String],
) -> Result<Vec<String>> {
    if let Some(name) = excluded.iter().find(|name| !found.iter().any(|(n, _)| n == *name)) {
        return Err(Error::usage(format!(
            "--exclude-tables names {name:?}, which is not in database {database}"
        )));
    }
    let mut tables = Vec::new();
    for (name, kind) in found.iter().filter(|(name, _)| !excluded.contains(name)) {
        match kind {
            // The preflight has its say about the second kind.
            TableKind::Base | TableKind::SystemVersioned => tables.push(name.clone()),
            TableKind::View | TableKind::Sequence | TableKind::Other => {
                output::note!("shunt: {name} stays where it is: only tables are moved");
            }
        }
    }
    if tables.is_empty() {
        return Err(Error::usage(format!("database {database} has no tables to move"))
            .advice("Check the `database` of this keyspace in shunt.toml, and the account's SELECT privilege."));
    }
    Ok(tables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_tables_are_tables_that_are_not_excluded() {
        let found = [
            ("a".to_owned(), TableKind::Base),
            ("b".to_owned(), TableKind::Base),
            ("v".to_owned(), TableKind::View),
        ];
        let named = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>();
        assert_eq!(choose(&found, "d", &[]).unwrap(), ["a", "b"]);
        assert_eq!(choose(&found, "d", &named(&["a", "v"])).unwrap(), ["b"]);
        assert!(choose(&found, "d", &named(&["x"])).is_err());
        assert!(choose(&found, "d", &named(&["a", "b"])).is_err());
    }

    #[test]
    fn tables_are_taken_once() {
        let names = ["b".to_owned(), "a".to_owned(), "b".to_owned()];
        assert_eq!(each_once(&names).unwrap(), ["b", "a"]);
        assert!(each_once(&[String::new()]).is_err());
    }
}
