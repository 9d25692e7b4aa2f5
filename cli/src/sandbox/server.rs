//! One server of a sandbox: its files, its process, and what a test may do to it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use shunt_engine::error::ResultExt;
use shunt_engine::mysql::control::{Control, Session};
use shunt_engine::mysql::server::{Address, Secret, ServerConfig, TlsMode};
use shunt_engine::{Error, Result};

use super::binary::Binary;
use super::layout::ServerLayout;
use super::options::arguments;
use super::process::Process;
use crate::config::ServerType;

/// A server that recovers from a crash may need its time; a fresh one answers in a second.
const START_LIMIT: Duration = Duration::from_secs(120);
/// After this a server that does not stop is killed.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was not running.
    WasDown,
    /// It shut down by itself.
    Clean,
    /// It did not stop in time and was killed; it recovers on its next start.
    Killed,
}

/// One sandboxed server, running or not. Dropping it changes nothing.
#[derive(Clone, Debug)]
pub struct SandboxServer {
    pub(super) layout: ServerLayout,
    pub(super) folder: PathBuf,
    /// The server program, which may be gone meanwhile.
    pub(super) program: PathBuf,
    pub(super) options: Vec<(String, String)>,
    pub(super) password: Secret,
    pub(super) alias: String,
}

impl SandboxServer {
    /// Its name within the sandbox: `primary`, `replica-1`, `rdonly-1`.
    pub fn name(&self) -> &str {
        &self.layout.name
    }

    /// Its part in the keyspace.
    pub fn server_type(&self) -> ServerType {
        self.layout.server_type
    }

    /// Where it listens.
    pub fn address(&self) -> Address {
        Address::Tcp { host: "127.0.0.1".to_owned(), port: self.layout.port }
    }

    /// Its port on 127.0.0.1, the same for the sandbox's lifetime.
    pub fn port(&self) -> u16 {
        self.layout.port
    }

    /// Its unix socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("mysqld.sock")
    }

    /// Its data directory.
    pub fn datadir(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The file with what the server says.
    pub fn log(&self) -> PathBuf {
        self.folder.join("mysqld.log")
    }

    /// Its process id, if it runs.
    ///
    /// # Errors
    /// If the pid file cannot be read.
    pub fn pid(&self) -> Result<Option<i32>> {
        Ok(self.process()?.map(|process| process.pid))
    }

    /// How to log in as `shunt`, which may do everything.
    pub fn config(&self) -> ServerConfig {
        ServerConfig {
            alias: self.alias.clone(),
            address: self.address(),
            user: super::USER.to_owned(),
            password: self.password.clone(),
            tls: TlsMode::Preferred,
            tls_ca: None,
        }
    }

    /// Starts it if it is down, and waits until it answers.
    ///
    /// # Errors
    /// Stop with the end of the server's log if it does not come up.
    pub async fn start(&self) -> Result<()> {
        self.start_with(&[]).await
    }

    /// Kills it at once, as a power failure of the process would (`kill -9`), and waits until it is gone.
    ///
    /// # Errors
    /// If the process cannot be signalled.
    pub async fn kill9(&self) -> Result<()> {
        let Some(process) = self.process()? else { return Ok(()) };
        process.signal(Signal::KILL)?;
        if process.wait_end(STOP_LIMIT).await {
            return Ok(());
        }
        Err(Error::stop(format!("process {} survives SIGKILL", process.pid)))
    }

    /// Stops it cleanly if it runs, then starts it on the same data.
    ///
    /// # Errors
    /// As [`SandboxServer::start`].
    pub async fn restart(&self) -> Result<()> {
        self.stop().await?;
        self.start().await
    }

    /// Freezes the process: it keeps its connections and answers nobody.
    ///
    /// # Errors
    /// If it does not run.
    pub fn pause(&self) -> Result<()> {
        self.must_signal(Signal::STOP)
    }

    /// Lets a frozen process go on.
    ///
    /// # Errors
    /// If it does not run.
    pub fn resume(&self) -> Result<()> {
        self.must_signal(Signal::CONT)
    }

    /// Shuts it down cleanly; kills it if that takes too long.
    ///
    /// # Errors
    /// If the process cannot be signalled.
    pub async fn stop(&self) -> Result<Ended> {
        let Some(process) = self.process()? else { return Ok(Ended::WasDown) };
        process.signal(Signal::TERM)?;
        // A frozen process hears nothing until it goes on.
        process.signal(Signal::CONT)?;
        if process.wait_end(STOP_LIMIT).await {
            return Ok(Ended::Clean);
        }
        self.kill9().await?;
        Ok(Ended::Killed)
    }

    /// Starts it with more arguments than it always has.
    pub(super) async fn start_with(&self, more: &[String]) -> Result<()> {
        // What the server said in earlier runs explains nothing about this one.
        let said_before = std::fs::metadata(self.log()).map_or(0, |log| log.len());
        let process = match self.process()? {
            Some(process) => process,
            None => self.spawn(more).await.context(format_args!("start {}", self.alias))?,
        };
        self.wait_ready(process, said_before).await.context(format_args!("start {}", self.alias))
    }

    async fn spawn(&self, more: &[String]) -> Result<Process> {
        let binary = Binary::find(Some(&self.program)).await.map_err(|error| {
            error.advice("Install it again, or destroy the sandbox and start it anew.")
        })?;
        let mut command = binary.detached_command();
        command.args(arguments(&binary, &self.folder, &self.layout, &self.options));
        command.args(more).current_dir(&self.folder);
        Process::spawn(command, &self.log(), &self.pid_file())
    }

    async fn wait_ready(&self, process: Process, said_before: u64) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let error = match Control::connect(&self.config(), Session::Control).await {
                Ok(control) => {
                    control.close().await;
                    return Ok(());
                }
                Err(error) => error,
            };
            if !process.is_alive() {
                return Err(Error::stop(format!(
                    "the server ended:\n{}",
                    tail(&self.log(), said_before)
                )));
            }
            if Instant::now() >= deadline {
                let said = tail(&self.log(), said_before);
                let error = error.context("the server does not answer");
                return Err(Error::stop(format!("{error}\n{said}")));
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    fn must_signal(&self, signal: Signal) -> Result<()> {
        if self.process()?.map(|process| process.signal(signal)).transpose()? == Some(true) {
            return Ok(());
        }
        Err(Error::stop(format!("{} does not run", self.alias)))
    }

    fn process(&self) -> Result<Option<Process>> {
        Process::running(&self.pid_file())
    }

    fn pid_file(&self) -> PathBuf {
        self.folder.join("pid.json")
    }
}

/// The end of what a server said after the first `skip` bytes of its log; errors only, if there are any.
fn tail(log: &Path, skip: u64) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let skip = usize::try_from(skip).unwrap_or_default();
    let text = String::from_utf8_lossy(text.get(skip..).unwrap_or_default());
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let errors: Vec<&str> = lines.iter().copied().filter(|l| l.contains("[ERROR]")).collect();
    let shown = if errors.is_empty() { &lines } else { &errors };
    shown[shown.len().saturating_sub(8)..].join("\n")
}
