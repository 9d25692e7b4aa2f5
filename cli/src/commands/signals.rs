//! Ctrl-C and SIGTERM: the first asks for a clean end, the second ends the process at once, which is safe at any moment.

use shunt_engine::Result;
use shunt_engine::runtime::tasks::{self, Task};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled by the first signal; while this lives, signals do not end the process.
pub(super) struct Signals {
    pub(super) token: CancellationToken,
    _watching: Task<()>,
}

impl Signals {
    pub(super) fn catch() -> Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let token = CancellationToken::new();
        let cancel = token.clone();
        let watching = tasks::spawn("signals", async move {
            for _ in 0..2 {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if cancel.is_cancelled() {
                    std::process::exit(1);
                }
                cancel.cancel();
            }
            Ok(())
        });
        Ok(Self { token, _watching: watching })
    }
}
