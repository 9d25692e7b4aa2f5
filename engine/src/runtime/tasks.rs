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

/// Tasks that live and die together: the first failure is reported, dropping the set aborts all.
#[derive(Debug, Default)]
pub struct TaskSet {
    set: tokio::task::JoinSet<(&'static str, Result<()>)>,
}

impl TaskSet {
    /// Starts a task in the set.
    pub fn spawn<F>(&mut self, name: &'static str, future: F)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.set.spawn(async move { (name, future.await) });
    }

    /// Waits for the next task that fails; tasks that end well are forgotten. Waits for ever if none fails. Cancel-safe.
    pub async fn failure(&mut self) -> Error {
        loop {
            match self.set.join_next().await {
                Some(Ok((_, Ok(())))) => {}
                Some(Ok((name, Err(error)))) => {
                    tracing::debug!(task = name, %error, "a task failed");
                    return error;
                }
                Some(Err(error)) => {
                    return Error::stop("a task failed unexpectedly").source(error);
                }
                None => std::future::pending().await,
            }
        }
    }
}
