//! The two sides of a move, and which of them a switch closes.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, ResultExt};
use crate::mysql::control::{Control, Session};
use crate::mysql::deadline::Bounder;
use crate::mysql::server::ServerConfig;
use crate::routing::{MovedTables, RoutingRules, Side};
use crate::workflow::spec::WorkflowSpec;

/// What the name of a workflow that leads back ends in.
pub const REVERSE: &str = "_reverse";

/// One side: a keyspace's primary with the tables, and the workflow whose stream writes into them.
#[derive(Clone, Debug)]
pub struct Place {
    /// Which side of the move as it was created.
    pub side: Side,
    /// The keyspace.
    pub keyspace: String,
    /// The database.
    pub database: String,
    /// The tables.
    pub tables: Vec<String>,
    /// Its primary.
    pub server: ServerConfig,
    /// `<this keyspace>.<name>` of the workflow that writes into this side; its state is in this side's sidecar.
    pub incoming: String,
}

impl Place {
    /// A connection for statements.
    ///
    /// # Errors
    /// As [`Control::connect`].
    pub async fn connect(&self) -> Result<Control> {
        let mut control = Control::connect(&self.server, Session::Control)
            .await
            .context(format_args!("the {}", self.side))?;
        // A lock that is not had quickly is not waited for.
        control.execute("SET innodb_lock_wait_timeout=1, lock_wait_timeout=5").await?;
        Ok(control)
    }

    /// Two connections, one of which ends the other's waits.
    ///
    /// # Errors
    /// As [`Control::connect`].
    pub async fn bounder(&self) -> Result<Bounder> {
        Ok(Bounder { control: self.connect().await?, second: self.connect().await? })
    }
}

/// Both sides of a move.
#[derive(Clone, Debug)]
pub struct Sides {
    /// The move as it was created.
    pub spec: WorkflowSpec,
    /// Where the tables were.
    pub source: Place,
    /// Where they go.
    pub target: Place,
    /// Where the forward stream reads; the source's primary or a replica of it.
    pub stream_source: ServerConfig,
}

impl Sides {
    /// The sides of a move, with their primaries and the server that the forward stream reads from.
    pub fn new(
        spec: WorkflowSpec,
        source: ServerConfig,
        target: ServerConfig,
        stream_source: ServerConfig,
    ) -> Self {
        let place = |side, keyspace: &str, database: &str, server, incoming| Place {
            side,
            keyspace: keyspace.to_owned(),
            database: database.to_owned(),
            tables: spec.tables.clone(),
            server,
            incoming,
        };
        let reverse = format!("{}.{}{REVERSE}", spec.source_keyspace, spec.workflow);
        let (from, to) = (&spec.source_keyspace, &spec.target_keyspace);
        let source = place(Side::Source, from, &spec.source_database, source, reverse);
        let target = place(Side::Target, to, &spec.target_database, target, spec.name());
        Self { source, target, stream_source, spec }
    }

    /// One of them.
    pub fn place(&self, side: Side) -> &Place {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }

    /// Where the stream into a side reads from.
    pub fn reads_from(&self, into: Side) -> &ServerConfig {
        match into {
            Side::Target => &self.stream_source,
            Side::Source => &self.target.server,
        }
    }

    /// The routing rules' view.
    pub fn moved(&self) -> MovedTables<'_> {
        MovedTables {
            source: &self.spec.source_keyspace,
            target: &self.spec.target_keyspace,
            tables: &self.spec.tables,
        }
    }

    /// Whether routing rules lead its tables: some do, or it was made with some. Then none may be there, since the topology was lost or
    /// they were removed.
    pub fn is_routed(&self, rules: &RoutingRules) -> bool {
        self.spec.routed == Some(true) || self.moved().writes_at(rules).is_some()
    }

    /// The specification of the workflow into a side.
    pub fn spec_into(&self, side: Side) -> WorkflowSpec {
        let spec = &self.spec;
        match side {
            Side::Target => spec.clone(),
            Side::Source => WorkflowSpec {
                workflow: format!("{}{REVERSE}", spec.workflow),
                source_keyspace: spec.target_keyspace.clone(),
                source_database: spec.target_database.clone(),
                target_keyspace: spec.source_keyspace.clone(),
                target_database: spec.source_database.clone(),
                stop_after_copy: false,
                source_server: self.target.server.alias.clone(),
                ..spec.clone()
            },
        }
    }
}

/// What a switch is, as it is kept on both sides for whoever takes it over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The move as it was created.
    pub spec: WorkflowSpec,
    /// Larger than that of any switch before.
    pub generation: u64,
    /// The side that is closed; the other is opened.
    pub closing: Side,
    /// Whether what is written on the opened side is replicated back.
    pub reverse_replication: bool,
    /// Whether the rules are led along.
    pub routing_rules: bool,
    /// A rehearsal is always taken back.
    pub rehearsal: bool,
}

impl Plan {
    /// Reads it.
    ///
    /// # Errors
    /// Stop if it is a newer shunt's.
    pub fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|error| {
            Error::stop("a switch in the sidecar cannot be read")
                .source(error)
                .advice("Use the shunt that began it.")
        })
    }

    /// As it is kept.
    ///
    /// # Errors
    /// Never; the type does not say so.
    pub fn to_text(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| Error::stop("write the switch").source(error))
    }
}
