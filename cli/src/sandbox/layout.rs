//! What a sandbox keeps on disk: its folder, and `sandbox.json`, which fixes ports and server ids for its lifetime.
//!
//! ```text
//! <dir>/<name>/sandbox.json  password  app.password  lock
//! <dir>/<name>/<server>/data/  mysqld.sock  mysqld.log  pid.json
//! ```
//! Invariant: a folder is only ever removed if it holds a `sandbox.json` of ours. Folders are for their owner only: the
//! password files and the data lie in them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shunt_engine::{Error, Result};

use crate::config::ServerType;
use crate::files::failed;

/// The file that makes a folder a sandbox.
pub(crate) const LAYOUT_FILE: &str = "sandbox.json";

/// Ports are taken below the range that the kernel gives to outgoing connections, so that one stays free while its
/// server is stopped.
const PORTS: std::ops::Range<u16> = 13_400..32_000;

/// The sandbox as it was first made.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Layout {
    /// The server program.
    pub(crate) mysqld: PathBuf,
    /// Options given by the user, passed to every server.
    pub(crate) options: Vec<(String, String)>,
    /// The servers, primary first.
    pub(crate) servers: Vec<ServerLayout>,
    /// Whether accounts, replication and the database were set up once.
    pub(crate) ready: bool,
}

/// One server of a sandbox.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerLayout {
    /// Its folder's name: `primary`, `replica-1`, `rdonly-1`.
    pub(crate) name: String,
    /// Its part in the keyspace.
    pub(crate) server_type: ServerType,
    /// Its port on 127.0.0.1.
    pub(crate) port: u16,
    /// Its replication id.
    pub(crate) server_id: u32,
}

impl Layout {
    /// A new layout with ports that are free now and not given to another sandbox of `dir`.
    pub(crate) fn plan(dir: &Path, replicas: u16, rdonly: u16) -> Result<Vec<ServerLayout>> {
        let mut taken = ports_of(dir)?;
        let replicas = (1..=replicas).map(|n| (format!("replica-{n}"), ServerType::Replica));
        let rdonly = (1..=rdonly).map(|n| (format!("rdonly-{n}"), ServerType::Rdonly));
        std::iter::once(("primary".to_owned(), ServerType::Primary))
            .chain(replicas)
            .chain(rdonly)
            .map(|(name, server_type)| {
                let port = free_port(&mut taken)?;
                // Ports differ on one machine, so ids made from them do too, and no id is one that people choose.
                Ok(ServerLayout { name, server_type, port, server_id: 1_000_000 + u32::from(port) })
            })
            .collect()
    }

    /// How many servers of a type there are.
    pub(crate) fn count(&self, server_type: ServerType) -> usize {
        self.servers.iter().filter(|server| server.server_type == server_type).count()
    }
}

/// Where sandboxes live unless a folder is named: `$XDG_STATE_HOME/shunt/sandbox`.
///
/// # Errors
/// Usage if there is no home directory.
pub fn default_dir() -> Result<PathBuf> {
    xdg_dir("XDG_STATE_HOME", ".local/state").map(|dir| dir.join("shunt/sandbox"))
}

pub(crate) fn xdg_dir(variable: &str, below_home: &str) -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os(variable).map(PathBuf::from).filter(|d| d.is_absolute()) {
        return Ok(dir);
    }
    std::env::home_dir().map(|home| home.join(below_home)).ok_or_else(|| {
        Error::usage("there is no home directory").advice(format!("Set {variable}."))
    })
}

/// A sandbox's name becomes a folder, a database and part of account grants.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let reserved = ["mysql", "sys", "performance_schema", "information_schema", "_shunt"];
    if name.is_empty()
        || name.len() > 48
        || name.starts_with('-')
        || !name.chars().all(fits)
        || reserved.contains(&name.to_ascii_lowercase().as_str())
    {
        return Err(Error::usage(format!("{name:?} cannot be a sandbox's name")).advice(
            "Use up to 48 letters, digits, dashes and underscores, and no system database's name.",
        ));
    }
    Ok(())
}

pub(crate) fn create_private_dir(dir: &Path) -> Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(failed("create", dir))
}

/// Creates a file that only its owner may read; it must not exist.
pub(crate) fn write_private(file: &Path, content: &[u8]) -> Result<()> {
    let write = || {
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(file)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().map_err(failed("write", file))
}

/// Holds a sandbox for one command at a time; released when the file is dropped, also by a crash.
pub(crate) async fn lock(dir: &Path) -> Result<File> {
    let path = dir.join("lock");
    let file =
        File::options().create(true).append(true).open(&path).map_err(failed("open", &path))?;
    let wait = tokio::task::spawn_blocking(move || file.lock().map(|()| file)).await;
    let locked = wait.map_err(|error| Error::stop("the lock's task failed").source(error))?;
    locked.map_err(failed("wait for another command that holds", &path))
}

/// A JSON file's value, or `None` if there is no such file.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(file: &Path) -> Result<Option<T>> {
    let text = match std::fs::read(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(failed("read", file))?,
    };
    let value = serde_json::from_slice(&text).map_err(|error| {
        Error::stop(format!("{} is damaged", file.display()))
            .advice("End the sandbox's servers by hand, if they run, and remove its folder.")
            .source(error)
    })?;
    Ok(Some(value))
}

/// Replaces a JSON file as a whole: a reader sees the old or the new one.
pub(crate) fn write_json<T: Serialize>(file: &Path, value: &T) -> Result<()> {
    let text = serde_json::to_vec_pretty(value)
        .map_err(|error| Error::stop(format!("write {}", file.display())).source(error))?;
    let fresh = file.with_extension(format!("{}.new", uuid::Uuid::new_v4().simple()));
    write_private(&fresh, &text)?;
    std::fs::rename(&fresh, file).map_err(failed("replace", file))
}

/// The names of the sandboxes in a folder, sorted.
pub(crate) fn names_in(dir: &Path) -> Result<BTreeSet<String>> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        other => other.map_err(failed("read", dir))?,
    };
    let mut names = BTreeSet::new();
    for entry in entries {
        let entry = entry.map_err(failed("read", dir))?;
        if entry.path().join(LAYOUT_FILE).is_file() {
            names.extend(entry.file_name().into_string());
        }
    }
    Ok(names)
}

fn ports_of(dir: &Path) -> Result<BTreeSet<u16>> {
    let mut ports = BTreeSet::new();
    for name in names_in(dir)? {
        let layout: Option<Layout> = read_json(&dir.join(name).join(LAYOUT_FILE))?;
        ports.extend(layout.iter().flat_map(|l| &l.servers).map(|server| server.port));
    }
    Ok(ports)
}

fn free_port(taken: &mut BTreeSet<u16>) -> Result<u16> {
    // A random start keeps sandboxes that begin at the same moment apart.
    let (random, _) = uuid::Uuid::new_v4().as_u64_pair();
    let count = u64::from(PORTS.end - PORTS.start);
    let skip = usize::try_from(random % count).unwrap_or_default();
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let mut candidates = PORTS.cycle().skip(skip).take(PORTS.len());
    let port = candidates.find(|port| !taken.contains(port) && is_free(*port));
    let port = port.ok_or_else(|| Error::retry("no loopback port is free"))?;
    taken.insert(port);
    Ok(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for name in ["commerce", "a_b-2"] {
            check_name(name).unwrap();
        }
        for name in ["", "-x", "a/b", "..", "a b", "mysql", "ü", &"x".repeat(49)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn ports_of_one_plan_differ() {
        let dir = tempfile::tempdir().unwrap();
        let servers = Layout::plan(dir.path(), 2, 1).unwrap();
        let names: Vec<&str> = servers.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["primary", "replica-1", "replica-2", "rdonly-1"]);
        let ports: BTreeSet<u16> = servers.iter().map(|s| s.port).collect();
        assert_eq!(ports.len(), 4);
    }
}
