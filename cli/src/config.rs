//! `shunt.toml`: which keyspaces there are, on which servers, and how hard a move may press them.
//!
//! `file` is what is written, [`settings`](Throttle) the defaults; this module reads the file, checks what the values mean
//! together and gives the engine's types. Nothing below it sees a file or a flag.
//!
//! Invariants:
//! - An unknown key is an error, and every error names file and line.
//! - A password is read when a server is about to be used, never before: a command on one keyspace needs no secrets of
//!   another.

mod file;
mod gateway;
mod settings;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shunt_engine::mysql::server::{Address, Secret, ServerConfig, TlsMode};
use shunt_engine::{Error, Result};

pub use self::gateway::Gateway;
pub use self::settings::{Hooks, Override, Serve, TOPOLOGY_STORE, Threshold, Throttle};

/// What part a server has in its keyspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ServerType {
    /// Takes the writes; one per keyspace.
    Primary,
    /// Serves reads of applications.
    Replica,
    /// Serves batch reads.
    Rdonly,
}

impl ServerType {
    /// The same in a routing rule.
    pub fn routed(self) -> shunt_engine::routing::ServerType {
        use shunt_engine::routing::ServerType as Routed;
        match self {
            Self::Primary => Routed::Primary,
            Self::Replica => Routed::Replica,
            Self::Rdonly => Routed::Rdonly,
        }
    }
}

impl fmt::Display for ServerType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
            Self::Rdonly => "rdonly",
        })
    }
}

/// The whole configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it was read from.
    pub file: PathBuf,
    /// The SQLite file of the topology.
    pub topology: PathBuf,
    /// The keyspaces, in the file's order.
    pub keyspaces: Vec<Keyspace>,
    /// `[throttle]`.
    pub throttle: Throttle,
    /// `[serve]`.
    pub serve: Serve,
    /// `[hooks]`.
    pub hooks: Hooks,
    /// `[gateway]`, if there is one.
    pub gateway: Option<Gateway>,
}

/// A named logical database.
#[derive(Clone, Debug)]
pub struct Keyspace {
    /// Its name.
    pub name: String,
    /// The database on its servers.
    pub database: String,
    /// Its servers, in the file's order; exactly one is the primary.
    pub servers: Vec<Server>,
}

/// One server of a keyspace, as configured.
#[derive(Clone, Debug)]
pub struct Server {
    /// The name shown to users.
    pub alias: String,
    /// Its part in the keyspace.
    pub server_type: ServerType,
    /// Where it listens.
    pub address: Address,
    /// Account.
    pub user: String,
    /// How far to insist on TLS.
    pub tls: TlsMode,
    /// Authorities to trust instead of the built-in ones.
    pub tls_ca: Option<PathBuf>,
    password: Password,
}

/// Where a password comes from, with the place in the file that says so.
#[derive(Clone, Debug)]
enum Password {
    Empty,
    Env { variable: String, place: String },
    File { path: PathBuf, place: String },
}

impl Config {
    /// Reads the file that was named, else that of `SHUNT_CONFIG`, else `./shunt.toml`.
    ///
    /// # Errors
    /// Usage, with file and line.
    pub fn load(named: Option<&Path>) -> Result<Self> {
        let from_env = || std::env::var_os("SHUNT_CONFIG").map(PathBuf::from);
        let file = named.map(Path::to_owned).or_else(from_env);
        let file = file.unwrap_or_else(|| PathBuf::from("shunt.toml"));
        let text = std::fs::read_to_string(&file).map_err(|error| {
            Error::usage(format!("configuration {} cannot be read", file.display()))
                .source(error)
                .advice("Name the file with --config or SHUNT_CONFIG.")
        })?;
        Self::parse(&text, &file)
    }

    /// Reads a configuration from its text; `file` is named in errors, and relative paths start at its folder.
    ///
    /// # Errors
    /// Usage, with file and line.
    pub fn parse(text: &str, file: &Path) -> Result<Self> {
        let source = Source { text, file };
        let raw: file::File = toml::from_str(text)
            .map_err(|error| source.error(&error.span().unwrap_or(0..0), error.message()))?;
        let store = raw.topology.store;
        let Some(path) = store.get_ref().strip_prefix("sqlite:").filter(|path| !path.is_empty())
        else {
            return Err(source.error(&store.span(), "topology.store is not \"sqlite:<path>\""));
        };
        let topology = source.beside(Path::new(path));
        let mut aliases = BTreeSet::new();
        let keyspaces = raw.keyspaces.0.into_iter().enumerate();
        let keyspaces = keyspaces
            .map(|(index, (name, raw))| keyspace(&source, index, &name, raw, &mut aliases))
            .collect::<Result<_>>()?;
        let gateway = raw.gateway.map(|raw| gateway::check(&source, raw)).transpose()?;
        let file = file.to_owned();
        let (throttle, serve, hooks) = (raw.throttle, raw.serve, raw.hooks);
        Ok(Self { file, topology, keyspaces, throttle, serve, hooks, gateway })
    }

    /// The operator's command, as a switch runs it: from the folder of the file.
    pub fn hooks(&self) -> Arc<shunt_engine::cutover::hooks::Hooks> {
        let Hooks { command, timeout_ms } = self.hooks.clone();
        let folder = self.file.parent().unwrap_or(Path::new(""));
        let timeout = Duration::from_millis(timeout_ms.get());
        Arc::new(shunt_engine::cutover::hooks::Hooks::new(command, folder, timeout))
    }

    /// The keyspace of this name.
    ///
    /// # Errors
    /// Usage, with the names that there are.
    pub fn keyspace(&self, name: &str) -> Result<&Keyspace> {
        self.keyspaces.iter().find(|keyspace| keyspace.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.keyspaces.iter().map(|k| k.name.as_str()).collect();
            let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            Error::usage(format!(
                "{}: there is no keyspace {name:?} (there are: {known})",
                self.file.display()
            ))
        })
    }
}

impl Keyspace {
    /// Its primary.
    ///
    /// # Errors
    /// None in a configuration that was read by [`Config::parse`].
    pub fn primary(&self) -> Result<&Server> {
        self.of_type(ServerType::Primary).next().ok_or_else(|| {
            Error::usage(format!("keyspace {} has no primary", self.name))
                .advice("Give one of its servers type = \"primary\" in shunt.toml.")
        })
    }

    /// Its servers of one type, in the file's order.
    pub fn of_type(&self, server_type: ServerType) -> impl Iterator<Item = &Server> {
        self.servers.iter().filter(move |server| server.server_type == server_type)
    }
}

impl Server {
    /// What a connection needs, the password included.
    ///
    /// # Errors
    /// Usage, with file and line, if the password's variable is not set or its file cannot be read.
    pub fn connection(&self) -> Result<ServerConfig> {
        Ok(ServerConfig {
            alias: self.alias.clone(),
            address: self.address.clone(),
            user: self.user.clone(),
            password: self.password.read()?,
            tls: self.tls,
            tls_ca: self.tls_ca.clone(),
        })
    }
}

impl Password {
    /// From the two ways in which one can be given.
    fn of(
        source: &Source<'_>,
        env: Option<toml::Spanned<String>>,
        file: Option<toml::Spanned<PathBuf>>,
    ) -> Result<Self> {
        Ok(match (env, file) {
            (None, None) => Self::Empty,
            (Some(variable), None) => {
                Self::Env { place: source.place(&variable.span()), variable: variable.into_inner() }
            }
            (None, Some(path)) => Self::File {
                place: source.place(&path.span()),
                path: source.beside(path.get_ref()),
            },
            (Some(_), Some(path)) => {
                let what = "password_env and password_file exclude each other";
                return Err(source.error(&path.span(), what));
            }
        })
    }

    fn read(&self) -> Result<Secret> {
        match self {
            Self::Empty => Ok(Secret::default()),
            Self::Env { variable, place } => {
                std::env::var(variable).map(|text| Secret::new(line(&text))).map_err(|_| {
                    Error::usage(format!(
                        "{place}: the environment variable {variable} is not set, or is not UTF-8"
                    ))
                    .advice("It holds the account's password.")
                })
            }
            Self::File { path, place } => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    Error::usage(format!("{place}: {} cannot be read", path.display()))
                        .source(error)
                })?;
                Ok(Secret::new(line(&text)))
            }
        }
    }
}

/// A password without the ends of lines that editors and files of variables leave behind it.
pub(crate) fn line(text: &str) -> &str {
    text.trim_end_matches(['\n', '\r'])
}

/// The text being read, for the place of an error.
struct Source<'a> {
    text: &'a str,
    file: &'a Path,
}

impl Source<'_> {
    fn place(&self, span: &Range<usize>) -> String {
        let before = self.text.as_bytes().get(..span.start).unwrap_or_default();
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        format!("{}:{line}", self.file.display())
    }

    fn error(&self, span: &Range<usize>, what: impl fmt::Display) -> Error {
        Error::usage(format!("{}: {what}", self.place(span)))
    }

    fn beside(&self, path: &Path) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(path)
    }
}

fn keyspace(
    source: &Source<'_>,
    index: usize,
    name: &toml::Spanned<String>,
    raw: file::Keyspace,
    aliases: &mut BTreeSet<String>,
) -> Result<Keyspace> {
    let text = name.get_ref();
    let error = |what: String| source.error(&name.span(), format!("keyspace {text:?} {what}"));
    // A workflow is <keyspace>.<name>, a table of it <keyspace>.<table>, and a client asks for <keyspace>@replica.
    if text.is_empty()
        || text.contains(|c: char| matches!(c, '.' | '@' | '/' | '`') || c.is_control())
    {
        return Err(error("has an empty name, or one with a dot, @, / or backquote".to_owned()));
    }
    if raw.database.get_ref().is_empty() {
        return Err(source.error(&raw.database.span(), "database is empty"));
    }
    let servers = raw.servers.into_iter().enumerate().map(|(position, raw)| {
        let default_alias = format!("zone1-{:010}", 100 * (index + 1) + position);
        server(source, raw, default_alias, aliases)
    });
    let servers = servers.collect::<Result<Vec<_>>>()?;
    let primaries = servers.iter().filter(|s| s.server_type == ServerType::Primary).count();
    if primaries != 1 {
        return Err(error(format!("has {primaries} servers of type \"primary\", not one")));
    }
    Ok(Keyspace { name: text.clone(), database: raw.database.into_inner(), servers })
}

fn server(
    source: &Source<'_>,
    raw: toml::Spanned<file::Server>,
    default_alias: String,
    aliases: &mut BTreeSet<String>,
) -> Result<Server> {
    let span = raw.span();
    let raw = raw.into_inner();
    let address = Address::parse(raw.address.get_ref())
        .map_err(|error| source.error(&raw.address.span(), error))?;
    let alias_span = raw.alias.as_ref().map_or(span, toml::Spanned::span);
    let alias = raw.alias.map_or(default_alias, toml::Spanned::into_inner);
    if alias.is_empty() || !aliases.insert(alias.clone()) {
        return Err(source.error(&alias_span, format!("alias {alias:?} is empty or not unique")));
    }
    let password = Password::of(source, raw.password_env, raw.password_file)?;
    let (server_type, user, tls) = (raw.server_type, raw.user, raw.tls);
    if let Some(ca) = raw.tls_ca.as_ref().filter(|_| !tls.is_verified()) {
        let what = "tls_ca is looked at only with tls = \"verify-ca\" or \"verify-identity\"";
        return Err(source.error(&ca.span(), what));
    }
    let tls_ca = raw.tls_ca.map(|path| source.beside(path.get_ref()));
    Ok(Server { alias, server_type, address, user, tls, tls_ca, password })
}

#[cfg(test)]
mod tests;
