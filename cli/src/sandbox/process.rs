//! A server process: started detached, known by process id and start time, signalled only if it is still the same one.
//!
//! Invariant: no signal is ever sent to a process that merely reuses the id. The start time is read again after the
//! process was pinned by a file descriptor, so nothing can change in between.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use shunt_engine::{Error, Result};
use tokio::process::Command;

use super::layout::{read_json, write_json};
use crate::files::failed;

/// A process that was started once; it may have ended since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Process {
    /// Its id.
    pub(crate) pid: i32,
    /// Its start, in the kernel's ticks since boot.
    started: u64,
}

impl Process {
    /// Starts the server with its output appended to `log`, and writes the pid file.
    pub(crate) fn spawn(mut command: Command, log: &Path, pid_file: &Path) -> Result<Self> {
        let opened = std::fs::OpenOptions::new().create(true).append(true).open(log);
        let opened = opened.and_then(|file| Ok((file.try_clone()?, file)));
        let (stdout, stderr) = opened.map_err(failed("open", log))?;
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        // Dropping the child neither kills nor forgets it: the runtime reaps it if it ends before we do.
        let child = command
            .kill_on_drop(false)
            .spawn()
            .map_err(|error| Error::stop("the server program cannot be started").source(error))?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok());
        let pid = pid.ok_or_else(|| Error::stop("the server ended at once"))?;
        let started = start_time(pid).ok_or_else(|| Error::stop("the server ended at once"))?;
        let process = Self { pid, started };
        write_json(pid_file, &process)?;
        Ok(process)
    }

    /// The process of a pid file, if it still runs.
    pub(crate) fn running(pid_file: &Path) -> Result<Option<Self>> {
        let process: Option<Self> = read_json(pid_file)?;
        Ok(process.filter(Self::is_alive))
    }

    /// Whether it still runs: a zombie does not.
    pub(crate) fn is_alive(&self) -> bool {
        start_time(self.pid) == Some(self.started)
    }

    /// Sends a signal; `false` if the process is gone.
    pub(crate) fn signal(&self, signal: Signal) -> Result<bool> {
        let failed = |error: rustix::io::Errno| {
            Error::stop(format!("signal process {}", self.pid)).source(error)
        };
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(false) };
        let pinned = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pinned) => pinned,
            Err(rustix::io::Errno::SRCH) => return Ok(false),
            Err(error) => return Err(failed(error)),
        };
        if !self.is_alive() {
            return Ok(false);
        }
        match pidfd_send_signal(&pinned, signal) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    /// Waits until it has ended; `false` if it has not within `limit`.
    pub(crate) async fn wait_end(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.is_alive() {
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        true
    }
}

/// When a live process started; `None` if there is none, or only its remains.
fn start_time(pid: i32) -> Option<u64> {
    parse_start_time(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_start_time(stat: &str) -> Option<u64> {
    // The program's name stands in parentheses and may hold anything, so fields count from the last one: state is the
    // first after it, the start time the twentieth.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_time_is_read_past_any_program_name() {
        let fields = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21";
        assert_eq!(parse_start_time(&format!("7 (a) Z (b) S {fields}")), Some(4711));
        assert_eq!(parse_start_time(&format!("7 (mysqld) Z {fields}")), None);
        assert_eq!(parse_start_time("7 (mysqld) S 1"), None);
    }

    #[tokio::test]
    async fn a_reused_process_id_is_not_signalled() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sleep");
        command.arg("600");
        let process =
            Process::spawn(command, &dir.path().join("log"), &dir.path().join("pid")).unwrap();
        let other = Process { started: process.started + 1, ..process };
        assert!(!other.signal(Signal::KILL).unwrap());
        assert!(process.is_alive());
        assert_eq!(Process::running(&dir.path().join("pid")).unwrap(), Some(process));
        assert!(process.signal(Signal::KILL).unwrap());
        assert!(process.wait_end(Duration::from_secs(10)).await);
        assert_eq!(Process::running(&dir.path().join("pid")).unwrap(), None);
    }
}
