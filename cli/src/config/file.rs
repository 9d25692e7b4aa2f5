//! `shunt.toml` as it is written: its keys and types, and where each value stands. What the values mean together is
//! checked one step later, in `config`.

use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use shunt_engine::mysql::server::TlsMode;
use toml::Spanned;

use super::settings::{Hooks, Serve, Throttle};
use super::{ServerType, gateway, settings};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) topology: Topology,
    #[serde(default)]
    pub(super) keyspaces: InOrder<Keyspace>,
    #[serde(default)]
    pub(super) throttle: Throttle,
    #[serde(default)]
    pub(super) serve: Serve,
    #[serde(default)]
    pub(super) hooks: Hooks,
    pub(super) gateway: Option<gateway::Raw>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Topology {
    pub(super) store: Spanned<String>,
}

impl Default for Topology {
    fn default() -> Self {
        Self { store: Spanned::new(0..0, settings::TOPOLOGY_STORE.to_owned()) }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keyspace {
    pub(super) database: Spanned<String>,
    #[serde(default)]
    pub(super) servers: Vec<Spanned<Server>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    #[serde(rename = "type")]
    pub(super) server_type: ServerType,
    pub(super) address: Spanned<String>,
    pub(super) user: String,
    pub(super) password_env: Option<Spanned<String>>,
    pub(super) password_file: Option<Spanned<PathBuf>>,
    #[serde(default)]
    pub(super) tls: TlsMode,
    pub(super) tls_ca: Option<toml::Spanned<PathBuf>>,
    pub(super) alias: Option<Spanned<String>>,
}

/// A table whose keys keep the order of the file: default aliases count by it.
pub(super) struct InOrder<T>(pub(super) Vec<(Spanned<String>, T)>);

impl<T> Default for InOrder<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for InOrder<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = InOrder<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<InOrder<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(InOrder(entries))
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}
