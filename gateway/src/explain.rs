//! Where a statement would go, without sending it: a session's own steps up to the server, over rules that are given.
//!
//! No server is asked. The configured primaries count as fit to serve, and as having no views, routines and triggers.

use std::borrow::Cow;
use std::time::Duration;

use shunt_engine::mysql::server::ServerConfig;
use shunt_engine::programs::Programs;
use shunt_engine::routing::{RoutingRules, ServerType, TableName};

use crate::board::View;
use crate::config::Keyspace;
use crate::route::{Chosen, Router};
use crate::servers::Servers;
use crate::session::{Statement, resolve};
use crate::sql::lexer::Mode;
use crate::sql::{self, Sql};

/// Keyspaces and the rules that lead between them.
#[derive(Debug)]
pub struct Explainer {
    servers: Servers,
    view: View,
}

/// What a session would do with a statement.
#[derive(Clone, Debug)]
pub struct Explained<'a> {
    /// The server that has all its tables; none if it names none.
    pub server: Option<&'a ServerConfig>,
    /// What the connection's default database would be; none if it does not matter.
    pub database: Option<String>,
    /// The statement as it would be sent.
    pub text: Cow<'a, [u8]>,
    /// The tables that it names, where they are.
    pub tables: Vec<TableName>,
}

impl Explainer {
    /// For these keyspaces and rules.
    pub fn new(keyspaces: Vec<Keyspace>, rules: RoutingRules) -> Self {
        let servers = Servers::new(keyspaces, Duration::MAX);
        servers.ids().for_each(|id| servers.set_programs(id, Programs::default()));
        Self { servers, view: View::new(rules, Vec::new()) }
    }

    /// What a session in UTF-8 that has chosen a keyspace's primary would do with a statement.
    ///
    /// # Errors
    /// The text of the error that its client would see.
    pub fn explain<'a>(
        &'a self,
        statement: &'a [u8],
        keyspace: Option<&str>,
    ) -> Result<Explained<'a>, String> {
        let keyspace = keyspace.and_then(|name| self.servers.keyspace(name));
        let chosen = Chosen { keyspace, server_type: ServerType::Primary };
        let router = Router { servers: &self.servers, view: &self.view, chosen: &chosen };
        let parsed = Statement::new(Sql::new(statement, Mode::default()));
        let mut plan = resolve(&router, &parsed).map_err(|error| error.text)?;
        Ok(Explained {
            server: plan.servers.first().map(|id| self.servers.config(*id)),
            database: plan.database,
            text: sql::splice(statement, &mut plan.edits),
            tables: plan.tables,
        })
    }
}

/// How many tokens a statement has, in a session in UTF-8: the lexer alone.
pub fn tokens(statement: &[u8]) -> usize {
    Sql::new(statement, Mode::default()).tokens.len()
}

#[cfg(test)]
mod tests {
    use shunt_engine::mysql::server::{Address, Secret, TlsMode};
    use shunt_engine::routing::{MovedTables, Side};

    use super::*;
    use crate::config::Server;

    fn keyspace(name: &str, database: &str, port: u16) -> Keyspace {
        let config = ServerConfig {
            alias: name.to_owned(),
            address: Address::Tcp { host: "h".to_owned(), port },
            user: "u".to_owned(),
            password: Secret::default(),
            tls: TlsMode::Disabled,
            tls_ca: None,
        };
        let servers = vec![Server { server_type: ServerType::Primary, config }];
        Keyspace { name: name.to_owned(), database: database.to_owned(), servers }
    }

    #[test]
    fn a_moved_table_is_explained_as_on_its_target() {
        let mut rules = RoutingRules::default();
        let tables = ["corder".to_owned()];
        let moved = MovedTables { source: "commerce", target: "customer", tables: &tables };
        moved.create(&mut rules).unwrap();
        moved.lead_writes(&mut rules, Side::Target);
        let keyspaces =
            vec![keyspace("commerce", "commerce", 1), keyspace("customer", "vt_customer", 2)];
        let explainer = Explainer::new(keyspaces, rules);
        let statement = b"select * from commerce.corder";
        let explained = explainer.explain(statement, None).unwrap();
        assert_eq!(explained.server.map(|server| server.alias.as_str()), Some("customer"));
        assert_eq!(&*explained.text, b"select * from `vt_customer`.corder");
        assert_eq!(explained.tables[0].to_string(), "customer.corder");
        assert_eq!(tokens(statement), 6);
        let join = b"select * from corder join product using (sku)";
        let refused = explainer.explain(join, Some("commerce")).unwrap_err();
        assert!(refused.contains("spans keyspaces"), "{refused}");
    }
}
