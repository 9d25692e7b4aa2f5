//! What a coordinator asks of the gateways: to hold, and to let go.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::runtime::tasks;
use crate::topology::switches::{self, POLL_ANNOUNCED, POLL_QUIET, Switch};
use crate::topology::{Gateway, Store};

/// Announces the switch and waits until every gateway has had the time to see it.
///
/// # Errors
/// Of the store.
pub async fn announce(
    store: &dyn Store,
    switch: &Switch,
    cancel: &CancellationToken,
) -> Result<()> {
    switches::announce(store, switch).await?;
    if tasks::pause(POLL_QUIET + POLL_QUIET / 2, cancel).await {
        return Ok(());
    }
    Err(super::interrupted())
}

/// Asks for the hold and waits until every gateway with a living lease has confirmed it. One that is gone is waited for until its
/// lease is over. Returns the hold's number, and a gateway that has not confirmed it until `until`, if there is any: transactions that
/// have written or locked the tables are open through it, or it is stopped.
///
/// # Errors
/// Of the store.
pub async fn hold(
    store: &dyn Store,
    switch: &Switch,
    until: Instant,
    cancel: &CancellationToken,
) -> Result<(u64, Option<Gateway>)> {
    let number = switches::hold(store, &switch.workflow, switch.token).await?;
    Ok((number, still_held(store, number, until, cancel).await?))
}

/// Waits until every gateway with a living lease has confirmed a generation, and has not taken that back. Returns one that has not until
/// `until`, if there is any.
///
/// # Errors
/// Of the store.
pub async fn still_held(
    store: &dyn Store,
    generation: u64,
    until: Instant,
    cancel: &CancellationToken,
) -> Result<Option<Gateway>> {
    loop {
        let gateways = store.gateways().await?;
        let missing = gateways.into_iter().find(|gateway| {
            gateway.lease_left.is_some() && gateway.generation_confirmed < generation
        });
        if missing.is_none() || Instant::now() >= until {
            return Ok(missing);
        }
        if !tasks::pause(POLL_ANNOUNCED.min(Duration::from_millis(2)), cancel).await {
            return Err(super::interrupted());
        }
    }
}

/// How many gateways have a living lease.
///
/// # Errors
/// Of the store.
pub async fn alive(store: &dyn Store) -> Result<usize> {
    let gateways = store.gateways().await?;
    Ok(gateways.iter().filter(|gateway| gateway.lease_left.is_some()).count())
}
