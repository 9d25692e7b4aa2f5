//! The gateway as a member of the topology: its registration, the switches and the rules that it follows.
//!
//! One task does all of it, in the order that `shunt_engine::topology::gateways` asks for: the time of the lease is taken before
//! the registration is sent; after a lapse the switches and rules are read anew before the lease counts; the rules are read after
//! the switches, so whoever sees a switch released has the rules that were written before that.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shunt_engine::Result;
use shunt_engine::error::ErrorKind;
use shunt_engine::failpoints;
use shunt_engine::routing::{RoutingRules, document};
use shunt_engine::runtime::clock::BootInstant;
use shunt_engine::topology::switches::{self, Switch, SwitchState, Switches};
use shunt_engine::topology::{Document, Store};
use tokio_util::sync::CancellationToken;

use crate::board::{Board, Hold, View};
use crate::limits::{LEASE, LEASE_RENEW, READERS_GRACE, WRITERS_GRACE};

/// Follows the topology for the gateway.
pub(crate) struct Member {
    store: Arc<dyn Store>,
    board: Arc<Board>,
    id: String,
    address: String,
    /// The documents as they were read last, and what they say. Compared as a whole: one that was restored from a backup may have the
    /// version of another one.
    switches: (Option<Document>, Switches),
    rules: (Option<Document>, RoutingRules),
    holds: Vec<Hold>,
    /// Holds that ended by themselves.
    expired: Vec<(String, u64)>,
    confirmed: u64,
    /// The confirmed generation that was taken back.
    withdrawn: u64,
    /// The generation whose writers were named.
    told: u64,
    renewed: Option<Instant>,
    complaint: String,
}

impl Member {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        board: Arc<Board>,
        id: String,
        address: String,
    ) -> Self {
        Self {
            store,
            board,
            id,
            address,
            switches: (None, Switches::default()),
            rules: (None, RoutingRules::default()),
            holds: Vec::new(),
            expired: Vec::new(),
            confirmed: 0,
            withdrawn: 0,
            told: 0,
            renewed: None,
            complaint: String::new(),
        }
    }

    /// Follows until cancelled, then takes its registration back.
    pub(crate) async fn run(mut self, cancel: CancellationToken) -> Result<()> {
        let board = Arc::clone(&self.board);
        while !cancel.is_cancelled() {
            let done = answered(&board, self.step()).await;
            self.complain(done.err().map(|error| error.to_string()));
            let wait = self.switches.1.poll();
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                () = board.look.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        self.store.remove_gateway(&self.id).await
    }

    /// Registers, and reads switches and rules.
    pub(crate) async fn step(&mut self) -> Result<()> {
        let due = self.renewed.is_none_or(|at| at.elapsed() >= LEASE_RENEW);
        if due || !self.board.lease_lives() {
            let before = BootInstant::now();
            let registered = self.store.register_gateway(&self.id, &self.address, LEASE).await;
            let anew = registered.inspect_err(|_| self.board.lease_failed())?;
            if anew {
                self.confirmed = 0;
            }
            self.read().await.inspect_err(|_| self.board.lease_failed())?;
            self.renewed = Some(Instant::now());
            self.board.renew_lease(before.after(LEASE));
        } else {
            self.read().await?;
        }
        self.confirm().await
    }

    async fn read(&mut self) -> Result<()> {
        let switches = self.store.get(switches::KEY).await?;
        let mut changed = self.switches.0 != switches;
        if changed {
            let parsed = switches.as_ref().map(|document| Switches::parse(&document.body));
            let parsed = parsed.transpose()?.unwrap_or_default();
            if parsed.generation < self.switches.1.generation {
                // An older topology: its numbers are given once more.
                self.board.forget_confirmed();
                (self.confirmed, self.withdrawn, self.told) = (0, 0, 0);
            }
            self.switches = (switches, parsed);
            let begins = |switch: &Switch| switch.state == SwitchState::Announced;
            if self.switches.1.switches.iter().any(begins) {
                self.board.tell_news();
            }
        }
        let rules = self.store.get(document::KEY).await?;
        if self.rules.0 != rules {
            let parsed = rules.as_ref().map(|document| document::parse(&document.body));
            let parsed = parsed.transpose()?.unwrap_or_default();
            self.rules = (rules, parsed);
            changed = true;
        }
        let holds = self.current_holds();
        if changed || holds != self.holds {
            self.holds.clone_from(&holds);
            let same = self.board.view().rules == self.rules.1;
            self.board.publish(View::new(self.rules.1.clone(), holds));
            if !same {
                self.board.tell_news();
            }
        }
        Ok(())
    }

    /// The switches in state Hold, but those that have been held for long enough.
    fn current_holds(&mut self) -> Vec<Hold> {
        let now = Instant::now();
        let mut holds = Vec::new();
        for switch in &self.switches.1.switches {
            let key = (switch.workflow.clone(), switch.generation);
            if switch.state != SwitchState::Hold || self.expired.contains(&key) {
                continue;
            }
            let known =
                self.holds.iter().find(|hold| hold.workflow == key.0 && hold.generation == key.1);
            let hold = known.cloned().unwrap_or_else(|| hold(switch, now));
            if hold.until <= now {
                tracing::warn!(workflow = %switch.workflow, "the hold has lasted too long and is given up");
                self.expired.push(key);
            } else {
                holds.push(hold);
            }
        }
        let switches = &self.switches.1;
        self.expired.retain(|(workflow, generation)| {
            switches.of(workflow).is_some_and(|switch| switch.generation == *generation)
        });
        holds
    }

    /// Confirms what is held, once nothing of it passes any more; takes that back when what comes cannot be held.
    async fn confirm(&mut self) -> Result<()> {
        let Some(generation) = self.holds.iter().map(|hold| hold.generation).max() else {
            return Ok(());
        };
        if self.board.overflowed(generation) {
            if generation == self.confirmed && self.withdrawn < generation {
                self.store.withdraw_generation(&self.id).await?;
                self.withdrawn = generation;
            }
            return Ok(());
        }
        if generation <= self.confirmed || !self.board.all_sent() {
            return Ok(());
        }
        let drained = |hold: &Hold| {
            let (wrote, read) = self.board.transactions_on(hold);
            !wrote && (!read || hold.since.elapsed() >= READERS_GRACE)
        };
        if !self.holds.iter().all(drained) {
            self.tell_writers(generation);
            return Ok(());
        }
        self.board.confirm(generation);
        match self.store.confirm_generation(&self.id, generation).await {
            Ok(()) => {
                self.confirmed = generation;
                failpoints::hit(failpoints::GATEWAY_AFTER_CONFIRM)?;
            }
            Err(error) if error.kind() == ErrorKind::LeaseLost => self.renewed = None,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Says once a generation whose transactions the switch waits for.
    fn tell_writers(&mut self, generation: u64) {
        let late = self
            .holds
            .iter()
            .find(|hold| hold.generation == generation && hold.since.elapsed() >= WRITERS_GRACE);
        let Some(hold) = late.filter(|_| self.told < generation) else { return };
        self.told = generation;
        for (session, user) in self.board.writers_on(hold) {
            tracing::warn!(workflow = %hold.workflow, session, %user, "the switch waits for the transaction of this session: end it, or KILL the session");
        }
    }

    fn complain(&mut self, complaint: Option<String>) {
        let complaint = complaint.unwrap_or_default();
        if complaint != self.complaint {
            if complaint.is_empty() {
                tracing::warn!("the topology can be followed again");
            } else {
                tracing::warn!("{complaint}; trying again");
            }
            self.complaint = complaint;
        }
    }
}

/// Waits for a step, which a lock on the topology may hold up for longer than the lease lasts. Then it has been asked in vain, so
/// that tables which no rule knows need not wait with the others; but not by a process that slept: it has not asked since.
async fn answered<T>(board: &Board, step: impl Future<Output = T>) -> T {
    let mut step = pin!(step);
    let mut over = false;
    loop {
        let wakes = BootInstant::now().after(2 * LEASE_RENEW);
        match tokio::time::timeout(LEASE_RENEW, &mut step).await {
            Ok(done) => return done,
            Err(_) => {
                let is_over = !board.lease_lives() && !wakes.is_past();
                if is_over && over {
                    board.lease_failed();
                }
                over = is_over;
            }
        }
    }
}

fn hold(switch: &Switch, now: Instant) -> Hold {
    Hold {
        workflow: switch.workflow.clone(),
        generation: switch.generation,
        keyspaces: [switch.closing.clone(), switch.opening.clone()],
        tables: switch.tables.clone(),
        since: now,
        until: now + Duration::from_millis(switch.hold_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_topology_that_does_not_answer_was_asked_in_vain() {
        let board = Board::new(1);
        let waits = async {
            while !board.may_serve(false) {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = answered(&board, std::future::pending()) => {}
            () = waits => {}
        }
        assert!(board.may_serve(false) && !board.may_serve(true));
    }
}
