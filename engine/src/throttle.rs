//! May the copy read now, and if not, why.
//!
//! One task looks at source and target (and the replicas of both) a few times a second and compares with the workflow's
//! thresholds. The reading lanes ask before each chunk; a chunk that is being read is finished. Catching up is never
//! throttled: lag would only grow.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::mysql::control::{Control, Session};
use crate::mysql::server::{Flavor, ServerConfig, Version};
use crate::runtime::tasks;
use crate::workflow::spec::Tuning;

/// The current word: go on, or the reason to wait.
#[derive(Clone, Debug)]
pub struct Throttle {
    reason: watch::Receiver<Option<String>>,
}

/// How long the target's last commits took, in milliseconds; the stream writes it, the throttle reads it.
pub type CommitTime = Arc<AtomicU64>;

impl Throttle {
    /// Waits until reading is allowed; `false` if cancelled.
    pub async fn wait(&self, cancel: &CancellationToken) -> bool {
        let mut reason = self.reason.clone();
        tokio::select! {
            biased;
            () = cancel.cancelled() => false,
            // If the watching task is gone the stream is ending anyway.
            allowed = reason.wait_for(Option::is_none) => allowed.is_ok(),
        }
    }

    /// Why reading waits, if it does.
    pub fn reason(&self) -> Option<String> {
        self.reason.borrow().clone()
    }
}

/// Whom the throttle looks at.
#[derive(Debug)]
pub struct Watched {
    /// The source, then the target.
    sides: [Side; 2],
    replicas: Vec<ServerConfig>,
    tuning: Tuning,
    commit_time: CommitTime,
}

impl Watched {
    /// Both sides of a stream, and whichever replicas of theirs are to keep up.
    pub fn new(
        source: ServerConfig,
        target: ServerConfig,
        replicas: Vec<ServerConfig>,
        tuning: Tuning,
        commit_time: CommitTime,
    ) -> Self {
        let sides = [Side::new("source", source), Side::new("target", target)];
        Self { sides, replicas, tuning, commit_time }
    }
}

/// A throttle and the task that moves it.
pub fn start(mut watched: Watched, cancel: CancellationToken) -> (Throttle, tasks::Task<()>) {
    let (sender, reason) = watch::channel(None);
    let interval = Duration::from_millis(watched.tuning.throttle_interval_ms);
    let task = tasks::spawn("throttle", async move {
        loop {
            let reason = watched.look().await;
            sender.send_if_modified(|held| {
                let changed = *held != reason;
                *held = reason;
                changed
            });
            if !tasks::pause(interval, &cancel).await {
                return Ok(());
            }
        }
    });
    (Throttle { reason }, task)
}

impl Watched {
    /// The first reason to wait that is found.
    async fn look(&mut self) -> Option<String> {
        let limit = self.tuning.throttle_commit_ms;
        // Each commit counts once: a copy that waits would otherwise wait for ever.
        let commit_ms = self.commit_time.swap(0, Ordering::Relaxed);
        if over(commit_ms, limit) {
            return Some(format!("commits on the target take {commit_ms} ms, more than {limit}"));
        }
        for side in &mut self.sides {
            match side.look(&self.tuning).await {
                Ok(None) => {}
                Ok(reason) => return reason,
                Err(error) => {
                    // A server that cannot be asked is one to be careful with.
                    side.control = None;
                    return Some(format!("the {}'s load cannot be read: {error}", side.name));
                }
            }
        }
        if self.tuning.throttle_replica_lag_ms > 0 {
            for replica in &self.replicas {
                let reason = lag_reason(replica, self.tuning.throttle_replica_lag_ms).await;
                if reason.is_some() {
                    return reason;
                }
            }
        }
        None
    }
}

/// One of the two servers that the copy burdens directly.
#[derive(Debug)]
struct Side {
    name: &'static str,
    server: ServerConfig,
    control: Option<Control>,
}

impl Side {
    fn new(name: &'static str, server: ServerConfig) -> Self {
        Self { name, server, control: None }
    }

    async fn look(&mut self, tuning: &Tuning) -> Result<Option<String>> {
        let limit = tuning.throttle_threads_running;
        if limit > 0 {
            let running = self.status_number("Threads_running").await?;
            if over(running, limit) {
                let on = self.name;
                return Ok(Some(format!("{running} threads run on the {on}, more than {limit}")));
            }
        }
        self.history_list(tuning.throttle_history_list).await
    }

    async fn control(&mut self) -> Result<&mut Control> {
        let control = match self.control.take() {
            Some(control) => control,
            None => Control::connect(&self.server, Session::Control).await?,
        };
        Ok(self.control.insert(control))
    }

    async fn status_number(&mut self, name: &str) -> Result<u64> {
        let query = format!("SHOW GLOBAL STATUS LIKE '{name}'");
        let row = self.control().await?.row(query).await?;
        row.map(|row| row.number(1)).transpose().map(|number| number.unwrap_or(0))
    }

    /// How much undo the server keeps for old snapshots.
    async fn history_list(&mut self, limit: u64) -> Result<Option<String>> {
        if limit == 0 {
            return Ok(None);
        }
        let length = if self.control().await?.info().flavor == Flavor::MariaDb {
            self.status_number("Innodb_history_list_length").await?
        } else {
            let query = "SELECT count FROM information_schema.innodb_metrics \
                         WHERE name = 'trx_rseg_history_len'";
            match self.control().await?.row(query).await {
                Ok(row) => row.map(|row| row.number(0)).transpose()?.unwrap_or(0),
                // Without the PROCESS privilege it cannot be read; the other thresholds still hold.
                Err(error) if error.is_unprivileged() => 0,
                Err(error) => return Err(error),
            }
        };
        let on = self.name;
        Ok(over(length, limit).then(|| {
            format!("the history list of the {on} has {length} entries, more than {limit}")
        }))
    }
}

fn over(value: u64, limit: u64) -> bool {
    limit > 0 && value > limit
}

/// Why a replica's lag is a reason to wait. A replica that cannot be asked or does not replicate is one.
async fn lag_reason(replica: &ServerConfig, limit_ms: u64) -> Option<String> {
    match replica_lag_ms(replica).await {
        Ok(Some(lag)) if lag > limit_ms => {
            Some(format!("replica {} is {lag} ms behind, more than {limit_ms}", replica.alias))
        }
        Ok(Some(_)) => None,
        Ok(None) => Some(format!("replica {} does not replicate", replica.alias)),
        Err(error) => Some(format!("the lag of replica {} cannot be read: {error}", replica.alias)),
    }
}

async fn replica_lag_ms(replica: &ServerConfig) -> Result<Option<u64>> {
    let mut control = Control::connect(replica, Session::Control).await?;
    let info = control.info().clone();
    let new_name = info.flavor == Flavor::MySql && info.version >= Version(8, 0, 22);
    let statement = if new_name { "SHOW REPLICA STATUS" } else { "SHOW SLAVE STATUS" };
    let lag = control.named(statement, &["Seconds_Behind_Master", "Seconds_Behind_Source"]).await?;
    control.close().await;
    Ok(lag.and_then(|seconds| seconds.parse::<u64>().ok()).map(|seconds| seconds * 1000))
}
