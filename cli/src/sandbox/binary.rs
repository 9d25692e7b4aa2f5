//! The server program of a sandbox: where it is, what version it is, and what it needs to run from where it lies.
//!
//! Comes before `template` (a fresh data directory made by it) and `process` (it running).

use std::path::{Path, PathBuf};

use shunt_engine::mysql::server::{Flavor, ServerInfo, Version};
use shunt_engine::{Error, Result};
use tokio::process::Command;

/// A server program that was asked for its version.
#[derive(Clone, Debug)]
pub(crate) struct Binary {
    /// The program, as an absolute path with links resolved.
    pub(crate) path: PathBuf,
    /// MySQL or MariaDB.
    pub(crate) flavor: Flavor,
    /// Its version.
    pub(crate) version: Version,
}

impl Binary {
    /// The program at `path`, or the mariadbd or mysqld of this machine.
    pub(crate) async fn find(path: Option<&Path>) -> Result<Self> {
        let path = match path {
            Some(path) => path.to_owned(),
            None => installed("mariadbd").or_else(|| installed("mysqld")).ok_or_else(|| {
                Error::usage("no mariadbd or mysqld in the PATH, /usr/sbin or /usr/libexec")
                    .advice("Install mariadb-server, or name a server program with --mysqld.")
            })?,
        };
        let path = path.canonicalize().map_err(|error| {
            Error::usage(format!("server program {} cannot be used", path.display())).source(error)
        })?;
        let (flavor, version) = read_version(&path).await?;
        Ok(Self { path, flavor, version })
    }

    /// A command that runs the server, with what it needs to find its own files.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        prepare(&mut command, &self.path);
        command.args(self.base_arguments());
        command
    }

    /// The same, in a session of its own: the server outlives us and our terminal.
    pub(crate) fn detached_command(&self) -> Command {
        // A child that leads no process group yet becomes the server itself, under the same process id.
        let mut command = Command::new("setsid");
        prepare(&mut command, &self.path);
        command.arg(&self.path).args(self.base_arguments());
        command
    }

    /// The folder with the server's message files and system tables, where it is not the built-in one.
    pub(crate) fn share(&self) -> Option<PathBuf> {
        let folder = self.path.parent()?;
        // Beside the program (unpacked archives), or in a prefix of its own; /usr is built in.
        [folder.join("share"), folder.parent()?.join("share")]
            .into_iter()
            .find(|share| share.join("english/errmsg.sys").is_file())
    }

    fn base_arguments(&self) -> Vec<String> {
        let mut arguments = vec!["--no-defaults".to_owned()];
        if rustix::process::geteuid().is_root() {
            arguments.push("--user=root".to_owned());
        }
        if let Some(share) = self.share() {
            let base = share.parent().unwrap_or(&share);
            arguments.push(format!("--basedir={}", base.display()));
            arguments.push(format!("--lc-messages-dir={}", share.display()));
            arguments.push(format!("--character-sets-dir={}", share.join("charsets").display()));
        }
        arguments
    }
}

/// A program of this name in the PATH or where servers are installed.
pub(crate) fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin", "/usr/libexec"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

fn prepare(command: &mut Command, program: &Path) {
    let Some(folder) = program.parent() else { return };
    let ships_libraries = std::fs::read_dir(folder).is_ok_and(|entries| {
        entries.flatten().any(|entry| entry.file_name().to_string_lossy().contains(".so"))
    });
    if ships_libraries {
        command.env("LD_LIBRARY_PATH", folder);
    }
}

async fn read_version(path: &Path) -> Result<(Flavor, Version)> {
    let mut command = Command::new(path);
    prepare(&mut command, path);
    let output = command.args(["--no-defaults", "--version"]).output().await.map_err(|error| {
        Error::usage(format!("server program {} does not run", path.display())).source(error)
    })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_once(" Ver ").map(|(_, rest)| rest.trim_start());
    let Some(version) = version.and_then(|rest| rest.split_whitespace().next()) else {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Error::usage(format!(
            "{} does not say its version: {}",
            path.display(),
            said.trim()
        )));
    };
    ServerInfo::parse_version(version)
}
