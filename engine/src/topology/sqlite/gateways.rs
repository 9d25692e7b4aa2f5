//! The gateways' registrations in the topology's file.

use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use rusqlite::{OptionalExtension, Transaction, params};

use super::{Now, SqliteStore, failed, signed, unsigned};
use crate::error::{Error, ErrorKind, Result};
use crate::topology::gateways::{Gateway, GatewayRegistry, LEASE_MAX};

/// Times are as those of locks.
pub(super) const SCHEMA: &str = "
    CREATE TABLE gateway (
        id         TEXT PRIMARY KEY,
        address    TEXT NOT NULL,
        boot       TEXT NOT NULL,
        expires_ms INTEGER NOT NULL,
        generation_confirmed INTEGER NOT NULL
    ) STRICT;
";

impl GatewayRegistry for SqliteStore {
    fn register_gateway<'a>(
        &'a self,
        id: &'a str,
        address: &'a str,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool>> {
        let (id, address, ttl) = (id.to_owned(), address.to_owned(), ttl.min(LEASE_MAX));
        self.transaction("register a gateway", move |tx| register(tx, &id, &address, ttl)).boxed()
    }

    fn confirm_generation<'a>(&'a self, id: &'a str, generation: u64) -> BoxFuture<'a, Result<()>> {
        let id = id.to_owned();
        self.transaction("confirm a generation", move |tx| confirm(tx, &id, generation)).boxed()
    }

    fn withdraw_generation<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        let id = id.to_owned();
        self.transaction("withdraw a generation", move |tx| {
            let sql = "UPDATE gateway SET generation_confirmed = 0 WHERE id = ?1";
            tx.execute(sql, [id]).map(drop).map_err(failed)
        })
        .boxed()
    }

    fn gateways(&self) -> BoxFuture<'_, Result<Vec<Gateway>>> {
        self.transaction("list the gateways", list).boxed()
    }

    fn remove_gateway<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        let id = id.to_owned();
        self.transaction("remove a gateway", move |tx| {
            tx.execute("DELETE FROM gateway WHERE id = ?1", [id]).map(drop).map_err(failed)
        })
        .boxed()
    }
}

fn is_alive(tx: &Transaction<'_>, id: &str, now: &Now) -> Result<bool> {
    let sql = "SELECT boot, expires_ms FROM gateway WHERE id = ?1";
    let row = tx.query_row(sql, [id], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)));
    let row = row.optional().map_err(failed)?;
    Ok(row.is_some_and(|(boot, expires_ms)| now.is_before(&boot, expires_ms)))
}

fn register(tx: &Transaction<'_>, id: &str, address: &str, ttl: Duration) -> Result<bool> {
    let now = Now::read()?;
    let anew = !is_alive(tx, id, &now)?;
    let sql = "INSERT INTO gateway (id, address, boot, expires_ms, generation_confirmed) \
               VALUES (?1, ?2, ?3, ?4, 0) \
               ON CONFLICT (id) DO UPDATE SET address = excluded.address, boot = excluded.boot, \
               expires_ms = excluded.expires_ms, \
               generation_confirmed = CASE WHEN ?5 THEN 0 ELSE generation_confirmed END";
    let values = params![id, address, now.boot, now.after(ttl)?, anew];
    tx.execute(sql, values).map_err(failed)?;
    Ok(anew)
}

fn confirm(tx: &Transaction<'_>, id: &str, generation: u64) -> Result<()> {
    if !is_alive(tx, id, &Now::read()?)? {
        return Err(Error::new(ErrorKind::LeaseLost, format!("the lease of gateway {id} is over")));
    }
    let sql =
        "UPDATE gateway SET generation_confirmed = max(generation_confirmed, ?2) WHERE id = ?1";
    tx.execute(sql, params![id, signed(generation)?]).map(drop).map_err(failed)
}

fn list(tx: &Transaction<'_>) -> Result<Vec<Gateway>> {
    let now = Now::read()?;
    let sql = "SELECT id, address, boot, expires_ms, generation_confirmed FROM gateway ORDER BY id";
    let mut statement = tx.prepare(sql).map_err(failed)?;
    let rows = statement.query_map([], |row| {
        let lease = (row.get::<_, String>(2)?, row.get::<_, i64>(3)?);
        Ok((row.get(0)?, row.get(1)?, lease, row.get::<_, i64>(4)?))
    });
    let mut gateways = Vec::new();
    for row in rows.map_err(failed)? {
        let (id, address, (boot, expires_ms), generation) = row.map_err(failed)?;
        gateways.push(Gateway {
            id,
            address,
            lease_left: now.left(&boot, expires_ms),
            generation_confirmed: unsigned(generation)?,
        });
    }
    Ok(gateways)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lapsed_lease_forgets_what_was_confirmed() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("t.db")).await.unwrap();
        let lost = store.confirm_generation("a", 1).await.unwrap_err();
        assert_eq!(lost.kind(), ErrorKind::LeaseLost);
        let ttl = Duration::from_secs(3600);
        assert!(store.register_gateway("a", "h:1", ttl).await.unwrap());
        assert!(!store.register_gateway("a", "h:2", ttl).await.unwrap());
        store.confirm_generation("a", 5).await.unwrap();
        store.confirm_generation("a", 4).await.unwrap();
        let seen = store.gateways().await.unwrap();
        assert_eq!((seen[0].generation_confirmed, seen[0].address.as_str()), (5, "h:2"));
        assert!(seen[0].lease_left.is_some_and(|left| left <= LEASE_MAX), "{seen:?}");
        store.withdraw_generation("a").await.unwrap();
        assert_eq!(store.gateways().await.unwrap()[0].generation_confirmed, 0);
        store.confirm_generation("a", 5).await.unwrap();

        assert!(!store.register_gateway("a", "h:2", Duration::ZERO).await.unwrap());
        assert_eq!(store.gateways().await.unwrap()[0].lease_left, None);
        let lost = store.confirm_generation("a", 6).await.unwrap_err();
        assert_eq!(lost.kind(), ErrorKind::LeaseLost);
        assert!(store.register_gateway("a", "h:2", ttl).await.unwrap());
        assert_eq!(store.gateways().await.unwrap()[0].generation_confirmed, 0);
        store.remove_gateway("a").await.unwrap();
        assert_eq!(store.gateways().await.unwrap(), []);
    }
}
