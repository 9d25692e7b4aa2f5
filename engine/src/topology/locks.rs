//! The locks of a command: the workflow, and of a switch both keyspaces. Their owner's name is a switch's coordinator.
//!
//! Where a workflow is made, started or removed, the sidecar's unique name and the streams' leases keep two commands from harming rows; the
//! lock keeps them from confusing their users.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::{Lease, Store};
use crate::error::{Error, ErrorKind, Result};
use crate::runtime::clock::BootInstant;
use crate::runtime::tasks::{self, Task};

/// How long a coordinator that died is waited for.
pub const TTL: Duration = Duration::from_secs(3);
/// How often locks are asked for that somebody else holds.
const LOOK: Duration = Duration::from_millis(50);
const RENEW: Duration = Duration::from_millis(500);

/// Locks that are held and renewed.
#[derive(Debug)]
pub struct Locks {
    /// The coordinator's name.
    pub owner: String,
    /// The lock on the workflow, whose token goes into what is written.
    pub workflow: Lease,
    valid_until: Arc<Mutex<BootInstant>>,
    cancel: CancellationToken,
    renewing: Task<()>,
}

impl Locks {
    /// Takes the locks of a workflow (by the name it was created under) and its keyspaces; `None` if somebody else holds one.
    ///
    /// # Errors
    /// Of the store.
    pub async fn take(
        store: &Arc<dyn Store>,
        workflow: &str,
        keyspaces: &[&str],
    ) -> Result<Option<Self>> {
        let owner = uuid::Uuid::new_v4().to_string();
        let mut names = vec![format!("workflow/{workflow}")];
        names.extend(keyspaces.iter().map(|keyspace| format!("keyspace/{keyspace}")));
        names[1..].sort();
        let mut leases = Vec::new();
        for name in names {
            match store.acquire(&name, &owner, TTL).await? {
                Some(lease) => leases.push(lease),
                None => {
                    for lease in &leases {
                        store.release(lease).await?;
                    }
                    return Ok(None);
                }
            }
        }
        let first = leases.iter().map(|lease| lease.valid_until).min();
        let valid_until = Arc::new(Mutex::new(first.unwrap_or_else(BootInstant::now)));
        let cancel = CancellationToken::new();
        let workflow = leases[0].clone();
        let renewing = renew(store.clone(), leases, valid_until.clone(), cancel.clone());
        let renewing = tasks::spawn("workflow locks", renewing);
        Ok(Some(Self { owner, workflow, valid_until, cancel, renewing }))
    }

    /// The same, once whoever holds them has let them go, if that is within `patience`.
    ///
    /// # Errors
    /// Retry if it is not; of the store.
    pub async fn wait(
        store: &Arc<dyn Store>,
        workflow: &str,
        keyspaces: &[&str],
        patience: Duration,
    ) -> Result<Self> {
        let until = Instant::now() + patience;
        loop {
            if let Some(locks) = Self::take(store, workflow, keyspaces).await? {
                return Ok(locks);
            }
            if Instant::now() >= until {
                let or = if keyspaces.is_empty() { "" } else { " or its keyspaces" };
                return Err(Error::retry(format!("another command is at work on {workflow}{or}"))
                    .advice("Try again when it is done."));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The locks are surely still held.
    ///
    /// # Errors
    /// LeaseLost if they may not be.
    pub fn check(&self) -> Result<()> {
        if !self.valid_until.lock().unwrap_or_else(PoisonError::into_inner).is_past() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::LeaseLost, "the locks of the workflow were lost"))
    }

    /// Gives them back.
    pub async fn release(self) {
        self.cancel.cancel();
        if let Err(error) = self.renewing.join().await {
            tracing::warn!("the locks of the workflow were not given back: {error}");
        }
    }
}

async fn renew(
    store: Arc<dyn Store>,
    mut leases: Vec<Lease>,
    valid_until: Arc<Mutex<BootInstant>>,
    cancel: CancellationToken,
) -> Result<()> {
    while tasks::pause(RENEW, &cancel).await {
        match renew_all(store.as_ref(), &mut leases).await {
            Ok(Some(first)) => {
                *valid_until.lock().unwrap_or_else(PoisonError::into_inner) = first;
            }
            Ok(None) => {}
            // They are valid for a while, and nobody else may want them.
            Err(error) if error.kind() == ErrorKind::Retry => tracing::warn!("{error}"),
            Err(error) => return Err(error),
        }
    }
    for lease in &leases {
        store.release(lease).await?;
    }
    Ok(())
}

/// Until when all of them are valid.
async fn renew_all(store: &dyn Store, leases: &mut [Lease]) -> Result<Option<BootInstant>> {
    for lease in leases.iter_mut() {
        *lease = store.renew(lease, TTL).await?;
    }
    Ok(leases.iter().map(|lease| lease.valid_until).min())
}
