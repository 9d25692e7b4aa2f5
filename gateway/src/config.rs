//! What the gateway is told: where to listen, who may log in, and which servers there are.

use std::path::PathBuf;
use std::time::Duration;

use shunt_engine::mysql::server::{Secret, ServerConfig};
use shunt_engine::routing::ServerType;

/// The gateway's configuration, checked.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Where it listens, `host:port`.
    pub listen: String,
    /// Certificate (PEM) and its key, if clients may use TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Whether clients must use TLS.
    pub tls_required: bool,
    /// The authentication plugin that is offered first.
    pub default_auth: AuthPlugin,
    /// Clients at a time.
    pub connections_max: usize,
    /// Statements that wait for a switch at a time.
    pub held_max: usize,
    /// A packet of a client, and a statement, is at most this large.
    pub packet_bytes_max: usize,
    /// A replica or rdonly server further behind serves nobody.
    pub replica_lag_max: Duration,
    /// Who may log in.
    pub users: Vec<User>,
    /// The keyspaces, in the order of the configuration.
    pub keyspaces: Vec<Keyspace>,
}

/// How clients prove who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthPlugin {
    /// `mysql_native_password`.
    #[default]
    Native,
    /// `caching_sha2_password`.
    CachingSha2,
}

/// A user of the gateway.
#[derive(Clone, Debug)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its password.
    pub password: Secret,
    /// The account on the servers.
    pub backend_user: String,
    /// That account's password.
    pub backend_password: Secret,
}

/// A keyspace and its servers.
#[derive(Clone, Debug)]
pub struct Keyspace {
    /// Its name.
    pub name: String,
    /// The database on its servers.
    pub database: String,
    /// Its servers, in the order of the configuration.
    pub servers: Vec<Server>,
}

/// A server of a keyspace.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its part in the keyspace.
    pub server_type: ServerType,
    /// Where it is, and the engine's account on it, with which its health is looked at.
    pub config: ServerConfig,
}
