//! The owner's view from above: Copying → CatchUp → keys → Running, and what it shows of itself.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::owner::Owned;
use super::table::{self, Table};
use super::{Ended, change_state};
use crate::apply::target::Target;
use crate::copy::keys;
use crate::error::{Error, Result};
use crate::sidecar::lease::{self, Progress};
use crate::workflow::state::StreamState;

impl Owned {
    /// Moves the state on as far as it has come: Copying → CatchUp → Running.
    pub(super) async fn settle_state(&mut self) -> Result<Option<Ended>> {
        self.check_ddl_came()?;
        let copied = self.tables.iter().all(Table::finished);
        if !copied {
            self.become_state(StreamState::Copying).await?;
            return Ok(None);
        }
        if self.state != StreamState::Running || self.ddl_awaited.is_some() {
            self.become_state(StreamState::CatchUp).await?;
        }
        if self.flow.ahead || !self.positions.applied.gtids.contains_set(&self.positions.settled) {
            return Ok(None);
        }
        if self.tables.iter().any(|table| !table.row.keys_built) {
            self.build_keys().await?;
            return Ok(None);
        }
        if self.ddl_awaited.is_some() {
            // The definitions differ until that DDL comes; if it does not, this ends with an error.
            return Ok(None);
        }
        if self.state != StreamState::Running {
            self.become_state(StreamState::Running).await?;
            if self.spec.stop_after_copy {
                return Ok(Some(Ended::Stopped));
            }
        }
        Ok(None)
    }

    async fn become_state(&mut self, state: StreamState) -> Result<()> {
        if self.state == state {
            return Ok(());
        }
        assert!(self.state.can_become(state), "{} does not become {state}", self.state);
        tracing::info!(workflow = %self.config.workflow, %state, "the stream moves on");
        change_state(&mut self.steward, self.tenure, state, "").await?;
        self.state = state;
        Ok(())
    }

    /// Starts building what was put off, once; no group is applied until all of it is done.
    async fn build_keys(&mut self) -> Result<()> {
        if self.flow.keys_left > 0 || !self.flow.groups.is_empty() {
            return Ok(());
        }
        let left: Vec<usize> =
            (0..self.tables.len()).filter(|at| !self.tables[*at].row.keys_built).collect();
        self.flow.keys_left = left.len();
        let (done, receiver) = mpsc::channel(left.len().max(1));
        self.flow.keys_done = Some(receiver);
        let mut lanes = Vec::new();
        for _ in 0..self.spec.tuning.copy_writers.min(left.len()) {
            let target = Target::connect(&self.config.target, self.tenure).await?;
            self.noted.push(target.id());
            lanes.push(target);
        }
        // A takeover has to be able to end an ALTER, so the connections are noted first.
        let control = self.steward.control();
        lease::note_connections(control, self.tenure, &self.owner, &self.noted).await?;
        self.steward.commit().await?;
        let queue = Arc::new(std::sync::Mutex::new(left));
        for mut target in lanes {
            let rows: Vec<_> = self.tables.iter().map(|table| table.row.clone()).collect();
            let (queue, done, tenure) = (queue.clone(), done.clone(), self.tenure);
            let database = self.spec.target_database.clone();
            self.flow.keys.spawn("keys", async move {
                loop {
                    let next = queue.lock().map_err(|_| Error::stop("a key builder failed"))?.pop();
                    let Some(at) = next else { return Ok(()) };
                    keys::build(&mut target, tenure, &database, &rows[at]).await?;
                    if done.send(at).await.is_err() {
                        return Ok(());
                    }
                }
            });
        }
        Ok(())
    }

    pub(super) fn show(&self) {
        let progress = Progress {
            lag_ms: self.lag_ms(),
            throttled: self.throttle.reason(),
            doing: self.doing(),
            waits: self.waits(),
            ranges: self.tables.iter().map(table::shown).collect(),
            changes_applied: self.flow.changes_applied,
        };
        self.channels.progress.send_if_modified(|held| {
            let changed = *held != progress;
            *held = progress;
            changed
        });
    }

    /// What each stage waits for: source, target, throttle, order (of commits), keys.
    fn waits(&self) -> Vec<(String, String)> {
        let readers_idle = !self.flow.wants.is_empty();
        let reader = match () {
            () if self.throttle.reason().is_some() => "throttle",
            () if readers_idle && self.tables.iter().any(|table| table.counts().closing > 0) => {
                "target"
            }
            () if readers_idle => "order",
            () => "source",
        };
        let applier = match () {
            () if self.flow.keys_left > 0 => "keys",
            () if !self.flow.groups.is_empty() => "target",
            () if !self.flow.queue.is_empty() => "order",
            () => "source",
        };
        let mut waits = Vec::new();
        if !self.tables.iter().all(Table::finished) {
            waits.push(("reading".to_owned(), reader.to_owned()));
        }
        waits.push(("applying".to_owned(), applier.to_owned()));
        waits
    }

    fn lag_ms(&self) -> Option<u64> {
        self.flow.lag.now().map(|lag| u64::try_from(lag.as_millis()).unwrap_or(u64::MAX))
    }

    fn doing(&self) -> String {
        let copying = !self.tables.iter().all(Table::finished);
        match self.state {
            StreamState::CatchUp if self.flow.keys_left > 0 => "building keys".into(),
            _ if copying && self.throttle.reason().is_some() => "throttled".into(),
            state => state.to_string(),
        }
    }
}
