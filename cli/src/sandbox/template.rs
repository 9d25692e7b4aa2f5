//! A fresh data directory: installed once per server program, then copied.
//!
//! Installing takes a second or more and always gives the same, so the result is kept in the cache and a sandbox starts
//! from a copy. A template appears under its name complete or not at all (made beside it, then renamed), so several
//! processes may make the same one at once.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use shunt_engine::mysql::server::{Flavor, Version};
use shunt_engine::{Error, Result};
use tokio::process::Command;

use super::binary::{Binary, installed};
use super::layout::create_private_dir;
use crate::files::failed;

/// Makes `datadir`, which must not exist, as a freshly installed server leaves it.
pub(crate) async fn create_datadir(binary: &Binary, datadir: &Path) -> Result<()> {
    let template = ensure(binary).await?;
    let mut copy = Command::new("cp");
    copy.args(["-a", "--reflink=auto", "--sparse=always", "--"]).arg(&template).arg(datadir);
    run(copy, "copy the fresh data directory").await
}

/// The template of a server program; installed if there is none yet.
pub(crate) async fn ensure(binary: &Binary) -> Result<PathBuf> {
    let cache = cache_dir()?;
    let name = template_name(binary)?;
    let template = cache.join(&name);
    if template.is_dir() {
        return Ok(template);
    }
    create_private_dir(&cache)?;
    let fresh = cache.join(format!("{name}.{}", uuid::Uuid::new_v4().simple()));
    let made = install(binary, &fresh).await;
    let made = made.and_then(|()| match std::fs::rename(&fresh, &template) {
        // Somebody else was faster; theirs is as good.
        Err(_) if template.is_dir() => Ok(()),
        other => other.map_err(failed("make", &template)),
    });
    if fresh.exists() {
        std::fs::remove_dir_all(&fresh).map_err(failed("remove", &fresh))?;
    }
    made.map(|()| template)
}

/// One template per program file: its path, size and time stand for its contents.
fn template_name(binary: &Binary) -> Result<String> {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let file = std::fs::metadata(&binary.path);
    let stands_for = file.and_then(|file| Ok((file.len(), file.modified()?)));
    let (length, modified) = stands_for.map_err(failed("look at", &binary.path))?;
    let mut hasher = DefaultHasher::new();
    (&binary.path, length, modified).hash(&mut hasher);
    let flavor = match binary.flavor {
        Flavor::MariaDb => "mariadb",
        Flavor::MySql => "mysql",
    };
    Ok(format!("{flavor}-{}-{:016x}", binary.version, hasher.finish()))
}

fn cache_dir() -> Result<PathBuf> {
    super::layout::xdg_dir("XDG_CACHE_HOME", ".cache").map(|dir| dir.join("shunt/datadirs"))
}

async fn install(binary: &Binary, datadir: &Path) -> Result<()> {
    let doing = "install a fresh data directory";
    match binary.flavor {
        Flavor::MariaDb => run(mariadb_installer(binary, datadir)?, doing).await,
        Flavor::MySql if binary.version >= Version(5, 7, 6) => {
            let mut command = binary.command();
            command.arg("--initialize-insecure").arg(format!("--datadir={}", datadir.display()));
            run(command, doing).await
        }
        Flavor::MySql => bootstrap(binary, datadir).await,
    }
}

fn mariadb_installer(binary: &Binary, datadir: &Path) -> Result<Command> {
    let beside = binary.path.parent().into_iter().flat_map(|folder| {
        ["../bin", "../scripts"].map(|other| folder.join(other).join("mariadb-install-db"))
    });
    let program = beside
        .into_iter()
        .find(|program| program.is_file())
        .or_else(|| installed("mariadb-install-db"))
        .ok_or_else(|| {
            Error::usage("mariadb-install-db is not installed").advice("Install mariadb-server.")
        })?;
    let mut command = Command::new(program);
    command.args(["--no-defaults", "--skip-test-db"]);
    command.arg(format!("--datadir={}", datadir.display()));
    if rustix::process::geteuid().is_root() {
        command.arg("--user=root");
    }
    if let Some(base) = binary.share().as_deref().and_then(Path::parent) {
        command.arg(format!("--basedir={}", base.display()));
    }
    Ok(command)
}

/// MySQL before 5.7: the server runs the scripts of its share folder over an empty directory.
async fn bootstrap(binary: &Binary, datadir: &Path) -> Result<()> {
    let share = binary.share().ok_or_else(|| {
        Error::usage(format!("{} has no share folder beside it", binary.path.display()))
            .advice("Unpack the whole server archive.")
    })?;
    // The bootstrap reader takes one statement a line end; both scripts expect the database to be chosen.
    let mut script = b"CREATE DATABASE mysql;\nUSE mysql;\n".to_vec();
    for name in ["mysql_system_tables.sql", "mysql_system_tables_data.sql"] {
        let file = share.join(name);
        script.extend(std::fs::read(&file).map_err(|error| {
            Error::usage(format!("{} cannot be read", file.display())).source(error)
        })?);
        script.push(b'\n');
    }
    create_private_dir(datadir)?;
    let mut input = datadir.as_os_str().to_owned();
    input.push(".sql");
    let input = PathBuf::from(input);
    std::fs::write(&input, script).map_err(failed("write", &input))?;
    let mut command = binary.command();
    command.arg("--bootstrap").arg(format!("--datadir={}", datadir.display()));
    let script = std::fs::File::open(&input).map_err(failed("read", &input))?;
    command.stdin(Stdio::from(script));
    let done = run(command, "bootstrap a fresh data directory").await;
    std::fs::remove_file(&input).map_err(failed("remove", &input))?;
    // Every server makes its own identity on its first start.
    let identity = datadir.join("auto.cnf");
    match std::fs::remove_file(&identity) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(failed("remove", &identity)(error));
        }
        _ => {}
    }
    done
}

async fn run(mut command: Command, doing: &str) -> Result<()> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let output =
        command.kill_on_drop(true).output().await.map_err(|error| {
            Error::stop(format!("{doing}: {program} does not run")).source(error)
        })?;
    if output.status.success() {
        return Ok(());
    }
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said += &String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let tail = lines[lines.len().saturating_sub(8)..].join("\n");
    Err(Error::stop(format!("{doing}: {program} ended with {}:\n{tail}", output.status)))
}
