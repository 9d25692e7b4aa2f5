//! Ctrl-C, SIGTERM and SIGHUP (a terminal that is gone): the first asks for a clean end, the second ends the process at once, which is safe at any moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use shunt_engine::Result;
use shunt_engine::runtime::tasks::{self, Task};
use tokio::signal::unix::{SignalKind, signal};
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
        let mut hang_up = signal(SignalKind::hangup())?;
        let token = CancellationToken::new();
        let cancel = token.clone();
        let in_doubt = Arc::new(AtomicBool::new(false));
        let doubt = in_doubt.clone();
        let watching = tasks::spawn("signals", async move {
            for _ in 0..2 {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hang_up.recv() => {}
                }
                if cancel.is_cancelled() {
                    std::process::exit(code(doubt.load(Ordering::SeqCst)));
                }
                cancel.cancel();
            }
            Ok(())
        });
        Ok(Self { token, in_doubt, _watching: watching })
    }

    /// Whether the command's outcome may be either from now on: the exit code of a second signal must not say that it failed.
    pub(super) fn doubt(&self, in_doubt: bool) {
        self.in_doubt.store(in_doubt, Ordering::SeqCst);
    }
}

/// As those of [`Exit`](crate::exit::Exit): unknown, or failed.
fn code(in_doubt: bool) -> i32 {
    if in_doubt { 4 } else { 1 }
}
