//! Throw-away local servers for the demo, the tests and for trying things out: `shunt sandbox`.
//!
//! A [`Sandbox`] is one keyspace: a primary and its natively replicating replicas, each a real server process that
//! outlives the command that started it. Ports, server ids, data and accounts stay the same across stop and start.
//!
//! Reading order: `layout` (what is on disk), `binary` (the server program), `template` (a fresh data directory),
//! `options`, `process`, [`server`](SandboxServer) (one of them), `setup` (accounts, replication, database), `toml`.
//!
//! Invariants:
//! - Servers listen on loopback only. Passwords are random, lie in files of mode 0600 and are printed nowhere.
//! - Only processes that we started are signalled, only folders that we made are removed.
//! - A sandbox whose first start was interrupted holds nothing yet: it is made anew.
//! - The server program is asked for only where a server is started: without it a sandbox is shown, stopped and destroyed.

mod binary;
mod layout;
mod options;
mod process;
mod server;
mod setup;
mod template;
mod toml;

use std::path::{Path, PathBuf};

use futures_util::future::try_join_all;
use shunt_engine::mysql::server::Secret;
use shunt_engine::{Error, Result};

pub use self::layout::default_dir;
pub use self::server::{Ended, SandboxServer};
pub use self::toml::shunt_toml;

use self::binary::Binary;
use self::layout::{
    LAYOUT_FILE, Layout, check_name, create_private_dir, lock, names_in, read_json, write_json,
    write_private,
};
use crate::config::ServerType;
use crate::files::failed;

/// The account that may do everything.
pub const USER: &str = "shunt";
/// The account of an application: everything on the keyspace's database, nothing else.
pub const APP_USER: &str = "app";

/// What to start.
#[derive(Clone, Debug)]
pub struct SandboxSpec {
    /// Name of the keyspace and of its database.
    pub name: String,
    /// The folder that holds the sandboxes; see [`default_dir`].
    pub dir: PathBuf,
    /// The server program; the installed mariadbd if there is none.
    pub mysqld: Option<PathBuf>,
    /// Number of replicas.
    pub replicas: u16,
    /// Number of rdonly servers.
    pub rdonly: u16,
    /// More server options, which win over ours. An empty value stands for a bare `--key`.
    pub options: Vec<(String, String)>,
}

/// One keyspace of throw-away servers. Dropping it leaves the servers running; see [`Sandbox::destroy`].
#[derive(Debug)]
pub struct Sandbox {
    name: String,
    folder: PathBuf,
    servers: Vec<SandboxServer>,
    app_password: Secret,
}

impl Sandbox {
    /// Starts a sandbox: a new one, or the one of this name on its old data. Returns when every server answers and
    /// replication runs.
    ///
    /// # Errors
    /// Usage if the sandbox exists and differs from the spec, Stop with the server's own words if one does not start.
    pub async fn start(spec: SandboxSpec) -> Result<Self> {
        check_name(&spec.name)?;
        let folder = spec.dir.join(&spec.name);
        create_private_dir(&folder)?;
        let _lock = lock(&folder).await?;
        let stored: Option<Layout> = read_json(&folder.join(LAYOUT_FILE))?;
        match stored {
            Some(layout) if layout.ready => {
                check_same(&spec, &layout)?;
                let sandbox = Self::with_layout(&spec.name, folder, layout)?;
                try_join_all(sandbox.servers.iter().map(SandboxServer::start)).await?;
                Ok(sandbox)
            }
            Some(layout) => {
                let sandbox = Self::with_layout(&spec.name, folder.clone(), layout)?;
                sandbox.kill_and_remove().await?;
                create_private_dir(&folder)?;
                let _lock = lock(&folder).await?;
                Self::create(spec, folder).await
            }
            None => Self::create(spec, folder).await,
        }
    }

    /// The sandbox of this name, running or not; `None` if there is none.
    ///
    /// # Errors
    /// If its files cannot be read.
    pub fn open(dir: &Path, name: &str) -> Result<Option<Self>> {
        check_name(name)?;
        let folder = dir.join(name);
        match read_json::<Layout>(&folder.join(LAYOUT_FILE))? {
            Some(layout) => Self::with_layout(name, folder, layout).map(Some),
            None => Ok(None),
        }
    }

    /// The names of all sandboxes in a folder, sorted.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn names(dir: &Path) -> Result<Vec<String>> {
        Ok(names_in(dir)?.into_iter().collect())
    }

    /// Name of the keyspace and of its database.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The primary.
    pub fn primary(&self) -> &SandboxServer {
        // `with_layout` refuses a layout without servers.
        &self.servers[0]
    }

    /// All servers, primary first, then replicas, then rdonly.
    pub fn servers(&self) -> &[SandboxServer] {
        &self.servers
    }

    /// The servers of one type, in order.
    pub fn of_type(&self, server_type: ServerType) -> impl Iterator<Item = &SandboxServer> {
        self.servers.iter().filter(move |server| server.server_type() == server_type)
    }

    /// The file with the password of `shunt`.
    pub fn password_file(&self) -> PathBuf {
        self.folder.join("password")
    }

    /// The password of `app`.
    pub fn app_password(&self) -> &Secret {
        &self.app_password
    }

    /// Shuts all servers down cleanly, replicas first. Says how each ended.
    ///
    /// # Errors
    /// If a process cannot be signalled.
    pub async fn stop(&self) -> Result<Vec<Ended>> {
        let _lock = lock(&self.folder).await?;
        let (primary, others) = self.servers.split_at(1);
        let others = try_join_all(others.iter().map(SandboxServer::stop)).await?;
        let mut ended = try_join_all(primary.iter().map(SandboxServer::stop)).await?;
        ended.extend(others);
        Ok(ended)
    }

    /// Kills all servers and removes everything.
    ///
    /// # Errors
    /// If a process cannot be signalled or a file cannot be removed.
    pub async fn destroy(self) -> Result<()> {
        let _lock = lock(&self.folder).await?;
        self.kill_and_remove().await
    }

    async fn kill_and_remove(self) -> Result<()> {
        try_join_all(self.servers.iter().map(SandboxServer::kill9)).await?;
        let folder = self.folder;
        // The file that makes this a sandbox goes after the data, so that an interrupted removal can be repeated.
        for server in &self.servers {
            remove_dir(&server.folder)?;
        }
        remove_dir(&folder)
    }

    async fn create(spec: SandboxSpec, folder: PathBuf) -> Result<Self> {
        let binary = Binary::find(spec.mysqld.as_deref()).await?;
        check_socket_path(&folder)?;
        for file in ["password", "app.password"] {
            let file = folder.join(file);
            if !file.exists() {
                write_private(&file, uuid::Uuid::new_v4().simple().to_string().as_bytes())?;
            }
        }
        let servers = Layout::plan(&spec.dir, spec.replicas, spec.rdonly)?;
        let options = spec.options;
        let mut layout = Layout { mysqld: binary.path.clone(), options, servers, ready: false };
        let layout_file = folder.join(LAYOUT_FILE);
        write_json(&layout_file, &layout)?;
        let sandbox = Self::with_layout(&spec.name, folder, layout.clone())?;
        if let Err(error) = setup::run(&sandbox, &binary).await {
            // The logs stay for a look; the next start begins anew.
            try_join_all(sandbox.servers.iter().map(SandboxServer::kill9)).await?;
            return Err(error.context(format_args!("sandbox {}", spec.name)));
        }
        layout.ready = true;
        write_json(&layout_file, &layout)?;
        Ok(sandbox)
    }

    fn with_layout(name: &str, folder: PathBuf, layout: Layout) -> Result<Self> {
        if layout.servers.is_empty() {
            return Err(Error::stop(format!("sandbox {name} has no servers")));
        }
        let password = read_password(&folder.join("password"))?;
        let app_password = read_password(&folder.join("app.password"))?;
        let servers = layout
            .servers
            .into_iter()
            .map(|server| SandboxServer {
                folder: folder.join(&server.name),
                alias: format!("{name}/{}", server.name),
                layout: server,
                program: layout.mysqld.clone(),
                options: layout.options.clone(),
                password: password.clone(),
            })
            .collect();
        Ok(Self { name: name.to_owned(), folder, servers, app_password })
    }
}

fn check_same(spec: &SandboxSpec, layout: &Layout) -> Result<()> {
    let same_program = spec
        .mysqld
        .as_ref()
        .is_none_or(|given| given.canonicalize().is_ok_and(|given| given == layout.mysqld));
    let same = same_program
        && layout.count(ServerType::Replica) == usize::from(spec.replicas)
        && layout.count(ServerType::Rdonly) == usize::from(spec.rdonly)
        && (spec.options.is_empty() || spec.options == layout.options);
    if same {
        return Ok(());
    }
    Err(Error::usage(format!("sandbox {} exists with other servers or options", spec.name))
        .advice("Destroy it first, or start it without flags to run it as it is."))
}

/// The kernel's bound of a unix socket's path; the server would cut it off without a word.
fn check_socket_path(folder: &Path) -> Result<()> {
    let longest = folder.join("replica-99/mysqld.sock");
    if longest.as_os_str().len() <= 107 {
        return Ok(());
    }
    Err(Error::usage(format!("the path {} is too long for unix sockets", folder.display()))
        .advice("Choose a shorter --dir."))
}

fn read_password(file: &Path) -> Result<Secret> {
    let text = std::fs::read_to_string(file).map_err(failed("read", file))?;
    Ok(Secret::new(text.trim_end_matches('\n')))
}

fn remove_dir(dir: &Path) -> Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(failed("remove", dir)),
    }
}
