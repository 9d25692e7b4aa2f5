//! Ctrl-C, SIGTERM and SIGHUP (a terminal that is gone): the first asks for a clean end; a second Ctrl-C or SIGTERM ends the process at
//! once, which is safe at any moment. A terminal that goes may say so twice, so SIGHUP never does that; under `nohup` it says nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use shunt_engine::Result;
use shunt_engine::runtime::tasks::{self, Task};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled by the first signal; while this lives, signals do not end the process.
pub(super) struct Signals {
    pub(super) token: CancellationToken,
    in_doubt: Arc<AtomicBool>,
    _watching: Task<()>,
}

impl Signals {
    pub(super) fn catch() -> Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up =
            if ignores_hang_up() { None } else { Some(signal(SignalKind::hangup())?) };
        let token = CancellationToken::new();
        let cancel = token.clone();
        let in_doubt = Arc::new(AtomicBool::new(false));
        let doubt = in_doubt.clone();
        let watching = tasks::spawn("signals", async move {
            loop {
                let urges = tokio::select! {
                    _ = interrupt.recv() => true,
                    _ = terminate.recv() => true,
                    () = hung_up(&mut hang_up) => false,
                };
                if urges && cancel.is_cancelled() {
                    std::process::exit(code(doubt.load(Ordering::SeqCst)));
                }
                cancel.cancel();
            }
        });
        Ok(Self { token, in_doubt, _watching: watching })
    }

    /// Whether the command's outcome may be either from now on: the exit code of a second signal must not say that it failed.
    pub(super) fn doubt(&self, in_doubt: bool) {
        self.in_doubt.store(in_doubt, Ordering::SeqCst);
    }
}

/// Whether the process was started with SIGHUP ignored, as `nohup` does.
fn ignores_hang_up() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|m| m & 1 == 1)
}

async fn hung_up(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// As those of [`Exit`](crate::exit::Exit): unknown, or failed.
fn code(in_doubt: bool) -> i32 {
    if in_doubt { 4 } else { 1 }
}
