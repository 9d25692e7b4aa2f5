//! The rules as a document of the topology.

use std::time::Duration;

use super::rules::RoutingRules;
use crate::error::{Error, Result, ResultExt};
use crate::topology::{Lease, Put, Store};

/// The document's key.
pub const KEY: &str = "routing_rules";

/// How often a change is tried again when somebody else has changed the rules meanwhile.
const TRIES: u32 = 100;

/// The rules, and the version of their document; 0 where there is none yet.
///
/// # Errors
/// Of the store, or Stop if the document cannot be read.
pub async fn read(store: &dyn Store) -> Result<(u64, RoutingRules)> {
    match store.get(KEY).await? {
        None => Ok((0, RoutingRules::default())),
        Some(document) => Ok((document.version, parse(&document.body)?)),
    }
}

/// The rules of a document's body.
///
/// # Errors
/// Stop if they cannot be read.
pub fn parse(body: &[u8]) -> Result<RoutingRules> {
    RoutingRules::parse(body)
        .map_err(|error| error.with_kind(crate::error::ErrorKind::Stop).context("the topology"))
}

/// Changes the rules by compare-and-swap: `change` is called again on whatever others have written meanwhile, so it must be
/// good for any rules, its own result included. Returns the rules as they are then.
///
/// # Errors
/// Of `change`, which leaves the document as it was, or of the store.
pub async fn change<F>(store: &dyn Store, change: F) -> Result<RoutingRules>
where
    F: Fn(&mut RoutingRules) -> Result<()> + Send + Sync,
{
    change_if(store, None, change).await
}

/// The same for whoever holds a lock: whoever has lost it changes nothing. The lock's token is checked between reading and
/// writing, and a new owner's change makes the write fail, so a coordinator that slept cannot put back old rules over new ones.
///
/// # Errors
/// As [`change`], or LeaseLost.
pub async fn change_as<F>(
    store: &dyn Store,
    lease: &Lease,
    ttl: Duration,
    change: F,
) -> Result<RoutingRules>
where
    F: Fn(&mut RoutingRules) -> Result<()> + Send + Sync,
{
    change_if(store, Some((lease, ttl)), change).await
}

/// Puts rules in the place of those that were read as `version`; `false` if somebody has written meanwhile. For who has judged the new
/// rules by the state of the servers: a switch that went on since then has changed the document.
///
/// # Errors
/// Of the store.
pub async fn replace(store: &dyn Store, version: u64, rules: &RoutingRules) -> Result<bool> {
    let body = rules.to_json().into_bytes();
    let put = store.put(KEY, version, body).await.context("change the routing rules")?;
    Ok(matches!(put, Put::Written(_)))
}

async fn change_if<F>(
    store: &dyn Store,
    lease: Option<(&Lease, Duration)>,
    change: F,
) -> Result<RoutingRules>
where
    F: Fn(&mut RoutingRules) -> Result<()> + Send + Sync,
{
    for _ in 0..TRIES {
        let (version, before) = read(store).await?;
        if let Some((lease, ttl)) = lease {
            store.renew(lease, ttl).await?;
        }
        let mut rules = before.clone();
        change(&mut rules)?;
        if rules == before {
            return Ok(rules);
        }
        let body = rules.to_json().into_bytes();
        match store.put(KEY, version, body).await.context("change the routing rules")? {
            Put::Written(_) => return Ok(rules),
            Put::Conflict(_) => {}
        }
    }
    Err(Error::retry("the routing rules are changed by others all the time"))
}
