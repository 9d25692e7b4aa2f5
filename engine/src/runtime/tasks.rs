//! The one place where tasks are spawned: each has a name, is joined, and a panic in it becomes an error.

use std::future::Future;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};

/// A running task. Dropping it aborts the task; [`Task::join`] waits for its end.
#[derive(Debug)]
pub struct Task<T> {
    name: &'static str,
    handle: JoinHandle<Result<T>>,
}

/// Starts a task under a name that appears in errors and traces.
pub fn spawn<T, F>(name: &'static str, future: F) -> Task<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    #[expect(clippy::disallowed_methods, reason = "this is the wrapper that the rule points to")]
    let handle = tokio::spawn(future);
    Task { name, handle }
}

impl<T> Task<T> {
    /// Waits for the task's end.
    ///
    /// # Errors
    /// The task's own, or Stop if it panicked.
    pub async fn join(mut self) -> Result<T> {
        match (&mut self.handle).await {
            Ok(result) => result,
            Err(error) => {
                Err(Error::stop(format!("task {} failed unexpectedly", self.name)).source(error))
            }
        }
    }

    /// Whether the task has ended.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// Waits for `duration`, or returns early (with `false`) when the token is cancelled.
pub async fn pause(duration: std::time::Duration, cancel: &CancellationToken) -> bool {
    tokio::select! {
        biased;
        () = cancel.cancelled() => false,
        () = tokio::time::sleep(duration) => true,
    }
}
