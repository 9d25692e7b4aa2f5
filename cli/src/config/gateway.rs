//! `[gateway]`: where the gateway listens, who may log in, and its bounds.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use shunt_engine::mysql::server::Secret;
use shunt_engine::routing::ServerType as RuleType;
use shunt_engine::{Error, Result};
use shunt_gateway::GatewayConfig;
use shunt_gateway::config as gateway;
use toml::Spanned;

use super::{Config, Password, ServerType, Source};

/// `[gateway]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    listen: Spanned<String>,
    tls_cert: Option<Spanned<PathBuf>>,
    tls_key: Option<Spanned<PathBuf>>,
    #[serde(default)]
    tls_required: bool,
    #[serde(default)]
    default_auth: Auth,
    #[serde(default = "connections_max")]
    connections_max: NonZeroUsize,
    #[serde(default = "held_max")]
    held_max: NonZeroUsize,
    #[serde(default = "packet_bytes_max")]
    packet_bytes_max: NonZeroUsize,
    #[serde(default = "replica_lag_max_ms")]
    replica_lag_max_ms: NonZeroU64,
    #[serde(default)]
    users: Vec<Spanned<RawUser>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUser {
    name: Spanned<String>,
    password_env: Option<Spanned<String>>,
    password_file: Option<Spanned<PathBuf>>,
    backend_user: Option<String>,
    backend_password_env: Option<Spanned<String>>,
    backend_password_file: Option<Spanned<PathBuf>>,
}

/// The authentication plugin that is offered first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Auth {
    #[default]
    MysqlNativePassword,
    CachingSha2Password,
}

const fn connections_max() -> NonZeroUsize {
    const { NonZeroUsize::new(1000).expect("not zero") }
}

const fn held_max() -> NonZeroUsize {
    const { NonZeroUsize::new(1000).expect("not zero") }
}

const fn packet_bytes_max() -> NonZeroUsize {
    const { NonZeroUsize::new(64 << 20).expect("not zero") }
}

const fn replica_lag_max_ms() -> NonZeroU64 {
    const { NonZeroU64::new(30_000).expect("not zero") }
}

/// `[gateway]`, checked. Passwords are read when the gateway starts.
#[derive(Clone, Debug)]
pub struct Gateway {
    listen: String,
    tls: Option<(PathBuf, PathBuf)>,
    tls_required: bool,
    default_auth: Auth,
    connections_max: usize,
    held_max: usize,
    packet_bytes_max: usize,
    replica_lag_max: Duration,
    users: Vec<User>,
}

#[derive(Clone, Debug)]
struct User {
    name: String,
    password: Password,
    /// The account on the servers, where that is another one.
    backend: Option<(String, Password)>,
}

pub(super) fn check(source: &Source<'_>, raw: Raw) -> Result<Gateway> {
    let tls = match (raw.tls_cert, raw.tls_key) {
        (None, None) => None,
        (Some(cert), Some(key)) => {
            Some((source.beside(cert.get_ref()), source.beside(key.get_ref())))
        }
        (Some(one), None) | (None, Some(one)) => {
            return Err(source.error(&one.span(), "tls_cert and tls_key go together"));
        }
    };
    let listen = raw.listen.get_ref();
    if listen.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
        return Err(source.error(&raw.listen.span(), format!("listen {listen:?} is not host:port")));
    }
    if raw.tls_required && tls.is_none() {
        return Err(source.error(&raw.listen.span(), "tls_required needs tls_cert and tls_key"));
    }
    let mut users: Vec<User> = Vec::new();
    for raw in raw.users {
        let span = raw.get_ref().name.span();
        let user = user(source, raw)?;
        if user.name.is_empty() || users.iter().any(|known| known.name == user.name) {
            let what = format!("gateway user {:?} has an empty name or is not unique", user.name);
            return Err(source.error(&span, what));
        }
        users.push(user);
    }
    Ok(Gateway {
        listen: raw.listen.into_inner(),
        tls,
        tls_required: raw.tls_required,
        default_auth: raw.default_auth,
        connections_max: raw.connections_max.get(),
        held_max: raw.held_max.get(),
        packet_bytes_max: raw.packet_bytes_max.get(),
        replica_lag_max: Duration::from_millis(raw.replica_lag_max_ms.get()),
        users,
    })
}

fn user(source: &Source<'_>, raw: Spanned<RawUser>) -> Result<User> {
    let span = raw.span();
    let raw = raw.into_inner();
    let password = Password::of(source, raw.password_env, raw.password_file)?;
    let given = raw.backend_password_env.is_some() || raw.backend_password_file.is_some();
    let backend = match (raw.backend_user, given) {
        (None, false) => None,
        (None, true) => {
            return Err(source.error(&span, "a backend password needs backend_user"));
        }
        (Some(user), _) => {
            let password =
                Password::of(source, raw.backend_password_env, raw.backend_password_file)?;
            Some((user, password))
        }
    };
    Ok(User { name: raw.name.into_inner(), password, backend })
}

impl Config {
    /// What `shunt gateway` is told, passwords included.
    ///
    /// # Errors
    /// Usage if there is no `[gateway]`, no keyspace, or a password cannot be read.
    pub fn gateway(&self) -> Result<GatewayConfig> {
        let settings = self.gateway.as_ref().ok_or_else(|| {
            Error::usage(format!("{} has no [gateway]", self.file.display()))
                .advice("It needs listen, and [[gateway.users]] with name and password_env.")
        })?;
        if self.keyspaces.is_empty() {
            return Err(Error::usage(format!("{} has no keyspaces", self.file.display())));
        }
        if settings.users.is_empty() {
            return Err(Error::usage(format!("{}: [gateway] has no users", self.file.display()))
                .advice("Nobody could log in: add [[gateway.users]] with name and password_env or password_file."));
        }
        let read = |user: &User| -> Result<gateway::User> {
            let password = user.password.read()?;
            if password.is_empty() {
                return Err(Error::usage(format!(
                    "{}: the gateway user {:?} has no password, or an empty one: anybody could log in",
                    self.file.display(),
                    user.name
                ))
                .advice("Give it password_env or password_file, and a password there."));
            }
            let (backend_user, backend_password) = match &user.backend {
                Some((name, password)) => (name.clone(), password.read()?),
                None => (user.name.clone(), Secret::clone(&password)),
            };
            Ok(gateway::User { name: user.name.clone(), password, backend_user, backend_password })
        };
        Ok(GatewayConfig {
            listen: settings.listen.clone(),
            tls: settings.tls.clone(),
            tls_required: settings.tls_required,
            default_auth: match settings.default_auth {
                Auth::MysqlNativePassword => gateway::AuthPlugin::Native,
                Auth::CachingSha2Password => gateway::AuthPlugin::CachingSha2,
            },
            connections_max: settings.connections_max,
            held_max: settings.held_max,
            packet_bytes_max: settings.packet_bytes_max,
            replica_lag_max: settings.replica_lag_max,
            users: settings.users.iter().map(read).collect::<Result<_>>()?,
            keyspaces: self.gateway_keyspaces()?,
        })
    }

    fn gateway_keyspaces(&self) -> Result<Vec<gateway::Keyspace>> {
        let server = |server: &super::Server| -> Result<gateway::Server> {
            let server_type = match server.server_type {
                ServerType::Primary => RuleType::Primary,
                ServerType::Replica => RuleType::Replica,
                ServerType::Rdonly => RuleType::Rdonly,
            };
            Ok(gateway::Server { server_type, config: server.connection()? })
        };
        let keyspaces = self.keyspaces.iter().map(|keyspace| {
            Ok(gateway::Keyspace {
                name: keyspace.name.clone(),
                database: keyspace.database.clone(),
                servers: keyspace.servers.iter().map(server).collect::<Result<_>>()?,
            })
        });
        keyspaces.collect()
    }
}
