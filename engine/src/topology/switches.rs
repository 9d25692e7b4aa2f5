//! The announcement of switches: the document that gateways watch.
//!
//! A coordinator announces its switch, so that gateways look more often ([`POLL_ANNOUNCED`]); asks for the hold; waits until
//! every gateway with a living lease has confirmed the hold's number; and at the end, the routing rules written before, takes the
//! switch out of the document.
//!
//! For a gateway:
//! - **Announced**: look every [`POLL_ANNOUNCED`] from now on; nothing else changes.
//! - **Hold**: statements on the tables (by any name that leads to the closing or the opening keyspace) that would start a
//!   transaction or run outside of one wait; open transactions go on. Once none of them has written or locked the tables, confirm the
//!   generation, and not before: the fence would refuse what they do next. How long that is waited for is the coordinator's decision.
//! - The switch is not in the document any more: read the routing rules *after* having seen this, and let what waits go by them. This
//!   is the end of a switch and of one that was taken back alike.
//! - After `hold_ms` from the moment when it first saw the hold, a gateway lets everything go by the rules as they are then, as
//!   if it were over: the coordinator may be dead. That is safe, because the side that is closed answers with the fence.
//!
//! Invariants:
//! - Generations only grow; the document remembers the last one. A hold gets its own in the write that asks for it, whether it is the
//!   first of its switch or was let go and is asked for again. A gateway confirms the largest number among all holds that it
//!   keeps; so one that has confirmed a number that is not smaller has read a document in which this hold stood, whoever's the
//!   number is.
//! - There is at most one switch of a workflow in it. What a coordinator writes carries the token of its lock on the workflow;
//!   an entry of a larger token is never touched by an older one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Put, Store};
use crate::error::{Error, ErrorKind, Result, ResultExt};

/// The document's key.
pub const KEY: &str = "switches";
/// How often a gateway looks while nothing is announced.
pub const POLL_QUIET: Duration = Duration::from_millis(100);
/// How often a gateway looks while a switch is in the document.
pub const POLL_ANNOUNCED: Duration = Duration::from_millis(5);

const TRIES: u32 = 100;

/// All switches under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switches {
    /// The largest generation ever given.
    pub generation: u64,
    /// The switches.
    pub switches: Vec<Switch>,
}

/// One switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// The workflow, `<target keyspace>.<name>`.
    pub workflow: String,
    /// The switch's generation; once it was asked for, that of its last hold.
    pub generation: u64,
    /// The token of the coordinator's lock on the workflow.
    pub token: u64,
    /// The keyspace whose tables are closed to writes.
    pub closing: String,
    /// The keyspace whose tables are opened afterwards.
    pub opening: String,
    /// The tables, which have the same names in both.
    pub tables: Vec<String>,
    /// How far it is.
    pub state: SwitchState,
    /// How long a gateway holds at most.
    pub hold_ms: u64,
}

/// How far a switch is, for gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SwitchState {
    /// It is about to begin.
    Announced,
    /// Statements on its tables wait.
    Hold,
}

impl Switches {
    /// Reads the document's body.
    ///
    /// # Errors
    /// Stop if it is not understood.
    pub fn parse(body: &[u8]) -> Result<Self> {
        serde_json::from_slice(body)
            .map_err(|error| Error::stop("the announced switches cannot be read").source(error))
    }

    /// How often a gateway that has seen this looks again.
    pub fn poll(&self) -> Duration {
        if self.switches.is_empty() { POLL_QUIET } else { POLL_ANNOUNCED }
    }

    /// The switch of a workflow.
    pub fn of(&self, workflow: &str) -> Option<&Switch> {
        self.switches.iter().find(|switch| switch.workflow == workflow)
    }

    /// Puts a switch in place of the workflow's last one.
    fn announce(&mut self, switch: &Switch) -> Result<()> {
        self.check(&switch.workflow, switch.token)?;
        self.generation = self.generation.max(switch.generation);
        self.switches.retain(|held| held.workflow != switch.workflow);
        self.switches.push(switch.clone());
        Ok(())
    }

    /// Puts the workflow's switch on hold, under a new number, which is returned.
    fn hold(&mut self, workflow: &str, token: u64) -> Result<u64> {
        self.check(workflow, token)?;
        let held = self.switches.iter_mut().find(|held| held.workflow == workflow);
        let held = held.filter(|held| held.token == token).ok_or_else(|| taken_over(workflow))?;
        self.generation += 1;
        held.generation = self.generation;
        held.state = SwitchState::Hold;
        Ok(held.generation)
    }

    /// Lets the hold go, if it is still there.
    fn let_go(&mut self, workflow: &str, token: u64) -> Result<()> {
        self.check(workflow, token)?;
        let held = self.switches.iter_mut().find(|held| held.workflow == workflow);
        if let Some(held) = held.filter(|held| held.token == token) {
            held.state = SwitchState::Announced;
        }
        Ok(())
    }

    fn remove(&mut self, workflow: &str, token: u64) -> Result<()> {
        self.check(workflow, token)?;
        self.switches.retain(|held| held.workflow != workflow);
        Ok(())
    }

    fn check(&self, workflow: &str, token: u64) -> Result<()> {
        match self.of(workflow) {
            Some(held) if held.token > token => Err(taken_over(workflow)),
            _ => Ok(()),
        }
    }
}

fn taken_over(workflow: &str) -> Error {
    let what = format!("another command has taken over the switch of {workflow}");
    Error::new(ErrorKind::LeaseLost, what)
}

/// The switches as they are.
///
/// # Errors
/// Of the store, or Stop if the document is not understood.
pub async fn read(store: &dyn Store) -> Result<Switches> {
    Ok(read_versioned(store).await?.1)
}

async fn read_versioned(store: &dyn Store) -> Result<(u64, Switches)> {
    match store.get(KEY).await? {
        None => Ok((0, Switches::default())),
        Some(document) => Ok((document.version, Switches::parse(&document.body)?)),
    }
}

/// Announces a switch. May be repeated.
///
/// # Errors
/// LeaseLost if the workflow's switch has another coordinator.
pub async fn announce(store: &dyn Store, switch: &Switch) -> Result<()> {
    change(store, |switches| switches.announce(switch)).await
}

/// Asks the gateways to hold, and returns the number that they confirm. May be repeated, and has another number then.
///
/// # Errors
/// LeaseLost if the workflow's switch has another coordinator, or was ended by one.
pub async fn hold(store: &dyn Store, workflow: &str, token: u64) -> Result<u64> {
    let given = AtomicU64::new(0);
    change(store, |switches| {
        given.store(switches.hold(workflow, token)?, Ordering::Relaxed);
        Ok(())
    })
    .await?;
    Ok(given.into_inner())
}

/// Lets the hold go; it may be asked for again. May be repeated.
///
/// # Errors
/// LeaseLost if the workflow's switch has another coordinator.
pub async fn let_go(store: &dyn Store, workflow: &str, token: u64) -> Result<()> {
    change(store, |switches| switches.let_go(workflow, token)).await
}

/// Takes a workflow's switch, whatever it was, out of the document. May be repeated.
///
/// # Errors
/// LeaseLost if the workflow's switch has another coordinator.
pub async fn remove(store: &dyn Store, workflow: &str, token: u64) -> Result<()> {
    change(store, |switches| switches.remove(workflow, token)).await
}

/// Reserves a generation that is larger than any that the topology has given and than `above`.
///
/// # Errors
/// Of the store.
pub async fn next_generation(store: &dyn Store, above: u64) -> Result<u64> {
    let given = AtomicU64::new(0);
    change(store, |switches| {
        switches.generation = switches.generation.max(above) + 1;
        given.store(switches.generation, Ordering::Relaxed);
        Ok(())
    })
    .await?;
    Ok(given.into_inner())
}

async fn change<F>(store: &dyn Store, change: F) -> Result<()>
where
    F: Fn(&mut Switches) -> Result<()> + Send + Sync,
{
    for _ in 0..TRIES {
        let (version, before) = read_versioned(store).await?;
        let mut switches = before.clone();
        change(&mut switches)?;
        if switches == before {
            return Ok(());
        }
        let body = serde_json::to_vec(&switches)
            .map_err(|error| Error::stop("write the announced switches").source(error))?;
        match store.put(KEY, version, body).await.context("announce a switch")? {
            Put::Written(_) => return Ok(()),
            Put::Conflict(_) => {}
        }
    }
    Err(Error::retry("the announced switches are changed by others all the time"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::sqlite::SqliteStore;

    fn switch(generation: u64, token: u64) -> Switch {
        Switch {
            workflow: "customer.move".into(),
            generation,
            token,
            closing: "commerce".into(),
            opening: "customer".into(),
            tables: vec!["t".into()],
            state: SwitchState::Announced,
            hold_ms: 2000,
        }
    }

    #[tokio::test]
    async fn a_switch_is_announced_held_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("t.db")).await.unwrap();
        assert_eq!(read(&store).await.unwrap().poll(), POLL_QUIET);
        let name = "customer.move";
        assert_eq!(hold(&store, name, 1).await.unwrap_err().kind(), ErrorKind::LeaseLost);
        let generation = next_generation(&store, 7).await.unwrap();
        assert_eq!(generation, 8);
        announce(&store, &switch(generation, 1)).await.unwrap();
        assert_eq!(hold(&store, name, 1).await.unwrap(), 9);
        let seen = read(&store).await.unwrap();
        assert_eq!((seen.switches[0].state, seen.poll()), (SwitchState::Hold, POLL_ANNOUNCED));
        assert_eq!(seen.switches[0].generation, 9, "what gateways confirm");
        let_go(&store, name, 1).await.unwrap();
        assert_eq!(read(&store).await.unwrap().switches[0].state, SwitchState::Announced);
        assert_eq!(hold(&store, name, 1).await.unwrap(), 10, "no hold has another's number");

        // Whoever took the lock over is not disturbed by the old coordinator.
        let second = switch(next_generation(&store, 0).await.unwrap(), 2);
        announce(&store, &second).await.unwrap();
        for late in [
            hold(&store, name, 1).await.map(drop),
            let_go(&store, name, 1).await,
            remove(&store, name, 1).await,
            announce(&store, &switch(99, 1)).await,
        ] {
            assert_eq!(late.unwrap_err().kind(), ErrorKind::LeaseLost);
        }
        remove(&store, name, 2).await.unwrap();
        assert_eq!(read(&store).await.unwrap().poll(), POLL_QUIET);
        assert_eq!(next_generation(&store, 0).await.unwrap(), 12, "numbers are not forgotten");
    }

    /// Two moves are switched at once: what one has confirmed does not count for the other, and neither's numbers are in the other's way.
    #[tokio::test]
    async fn a_number_that_was_confirmed_is_of_a_document_with_the_hold() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("t.db")).await.unwrap();
        let first = switch(next_generation(&store, 0).await.unwrap(), 1);
        let second = Switch {
            workflow: "billing.move".into(),
            generation: next_generation(&store, 0).await.unwrap(),
            ..first.clone()
        };
        announce(&store, &second).await.unwrap();
        announce(&store, &first).await.unwrap();
        let confirmed = hold(&store, "billing.move", 1).await.unwrap();
        let wanted = hold(&store, "customer.move", 1).await.unwrap();
        assert!(
            confirmed < wanted,
            "a gateway that has not seen the second hold has confirmed {confirmed}"
        );
    }
}
