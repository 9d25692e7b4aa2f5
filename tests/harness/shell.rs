//! The real binary in a folder with a configuration: commands to their end, and processes that a test may kill.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use super::binary::Binary;
use super::pair::PATIENCE;
use super::site::LOOK;

/// A folder with a `shunt.toml`.
#[derive(Debug)]
pub(crate) struct Shell {
    folder: PathBuf,
}

/// What became of a command.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) text: String,
}

impl Shell {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, binary: Binary, failpoint: Option<&str>, words: &str) -> Said {
        let mut command = self.command(binary, failpoint);
        command.args(words.split_whitespace());
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let text = [output.stdout, output.stderr].concat();
        Said { code: output.status.code(), text: String::from_utf8_lossy(&text).into_owned() }
    }

    /// Runs a command of the released binary that must succeed.
    pub(crate) async fn must(&self, words: &str) -> String {
        let said = self.run(Binary::Plain, None, words).await;
        assert_eq!(said.code, Some(0), "shunt {words}: {}", said.text);
        said.text
    }

    /// Starts a process that stays: `serve`, `gateway`.
    pub(crate) fn start(&self, binary: Binary, failpoint: Option<&str>, words: &str) -> Serving {
        let log = self.folder.join(format!("stays-{}.log", unique()));
        let file = File::create(&log).unwrap();
        let mut command = self.command(binary, failpoint);
        command.args(words.split_whitespace()).env("SHUNT_LOG", "info");
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        Serving { child: command.spawn().unwrap(), log }
    }

    /// A command to be completed; `--config` in its words takes another configuration of the folder.
    fn command(&self, binary: Binary, failpoint: Option<&str>) -> Command {
        let mut command = Command::new(binary.path());
        command.env("SHUNT_CONFIG", self.folder.join("shunt.toml")).current_dir(&self.folder);
        command.env_remove("SHUNT_FAILPOINT").env_remove("SHUNT_LOG");
        if let Some(failpoint) = failpoint {
            command.env("SHUNT_FAILPOINT", failpoint);
        }
        command
    }
}

fn unique() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// A `shunt serve` or `shunt gateway` process. It is killed when dropped.
pub(crate) struct Serving {
    child: Child,
    log: PathBuf,
}

impl Serving {
    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "it does not end: {}", self.log());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until it has logged something.
    pub(crate) async fn until_logged(&mut self, text: &str) {
        let started = Instant::now();
        while !self.log().contains(text) {
            let ended = self.child.try_wait().unwrap();
            let late = started.elapsed() > PATIENCE;
            assert!(ended.is_none() && !late, "no {text:?}, {ended:?}: {}", self.log());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until it is stopped (SIGSTOP); `false` if it ended instead.
    pub(crate) async fn until_stopped(&mut self) -> bool {
        let started = Instant::now();
        let stat = format!("/proc/{}/stat", self.child.id());
        loop {
            let text = std::fs::read_to_string(&stat).unwrap_or_default();
            // The state stands behind the name, which is in brackets.
            if text.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')) {
                return true;
            }
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            assert!(started.elapsed() < PATIENCE, "it does not stop: {}", self.log());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The port that its gateway listens on, once it does.
    pub(crate) async fn gateway_port(&mut self) -> u16 {
        let begin = "Gateway listens on ";
        // With the end of its line.
        self.until_logged(begin).await;
        self.until_logged(".\n").await;
        let log = self.log();
        let address = log.split_once(begin).and_then(|(_, rest)| rest.split_once(".\n")).unwrap().0;
        address.rsplit_once(':').unwrap().1.parse().unwrap()
    }

    /// Whether it runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        assert!(self.runs(), "it ended before it was killed: {}", self.log());
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args([name, &id]).status().unwrap();
        assert!(status.success());
    }

    /// Ends it as an operator does; it must end well.
    pub(crate) async fn stop(mut self) {
        self.signal("-TERM");
        let status = self.ended().await;
        assert!(status.success(), "{status}: {}", self.log());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Already ended is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
