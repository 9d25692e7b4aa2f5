//! Waiting for what a test has set going: by looking, never for a time, and not for ever.

use std::time::Instant;

use super::pair::PATIENCE;
use super::site::LOOK;

/// Waits until a look says yes.
pub(crate) async fn until(what: &str, mut yes: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !yes().await {
        assert!(started.elapsed() < PATIENCE, "{what} does not come");
        tokio::time::sleep(LOOK).await;
    }
}
