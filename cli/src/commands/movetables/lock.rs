//! The topology's lock of a workflow, held while the workflow is made, started or removed.
//!
//! The sidecar's unique name and the streams' leases keep two such commands from harming rows; the lock keeps them from
//! confusing their users.

use std::time::{Duration, Instant};

use shunt_engine::runtime::tasks::{self, Task};
use shunt_engine::topology::sqlite::SqliteStore;
use shunt_engine::topology::{Lease, Store};
use shunt_engine::{Error, ErrorKind, Result};
use tokio_util::sync::CancellationToken;

use super::site::Site;

const TTL: Duration = Duration::from_secs(10);
/// How long the lock is waited for, and how often it is asked for.
const WAIT: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(50);

pub(super) struct Lock {
    cancel: CancellationToken,
    renewing: Task<()>,
}

impl Lock {
    pub(super) async fn take(site: &Site<'_>) -> Result<Self> {
        let store = SqliteStore::open(&site.config.topology).await?;
        let name = format!("workflow/{}", site.name);
        let owner = uuid::Uuid::new_v4().to_string();
        let lease = store.acquire(&name, &owner, TTL).await?.ok_or_else(|| {
            Error::retry(format!("another command is at work on {}", site.name))
                .advice("Try again when it is done.")
        })?;
        let cancel = CancellationToken::new();
        let renewing = tasks::spawn("workflow lock", renew(store, lease, cancel.clone()));
        Ok(Self { cancel, renewing })
    }

    /// Takes it when the command that has it is done, if that is soon.
    pub(super) async fn wait(site: &Site<'_>) -> Result<Self> {
        let (asked, never) = (Instant::now(), CancellationToken::new());
        loop {
            match Self::take(site).await {
                Err(error) if error.kind() == ErrorKind::Retry && asked.elapsed() < WAIT => {
                    tasks::pause(LOOK, &never).await;
                }
                taken => return taken,
            }
        }
    }

    pub(super) async fn release(self) {
        self.cancel.cancel();
        if let Err(error) = self.renewing.join().await {
            tracing::warn!("the workflow's lock was not given back: {error}");
        }
    }
}

async fn renew(store: SqliteStore, mut lease: Lease, cancel: CancellationToken) -> Result<()> {
    while tasks::pause(TTL / 4, &cancel).await {
        lease = store.renew(&lease, TTL).await?;
    }
    store.release(&lease).await
}
