//! What both sides have of keys, looked up in two open snapshots.
//!
//! Before this stand the keys that differed ([`crate::looks`]); after it the verdict ([`crate::waiting`]). That a row which is not found is
//! not there is made sure by [`crate::net`].

use std::collections::HashMap;

use shunt_engine::Result;
use shunt_engine::mysql::wire::Wire;

use crate::keys;
use crate::net;
use crate::pair::{Pair, RowKey, Side};
use crate::seen::Seen;
use crate::sides::Sides;
use crate::waiting::Waiting;

/// Where keys are looked up, and how much of a row is kept.
pub(crate) struct Lookup<'a> {
    pub(crate) pair: &'a Pair,
    /// Characters of a cell.
    pub(crate) captured: usize,
}

impl Lookup<'_> {
    /// What both sides have of each of these keys.
    ///
    /// Where keys are paired by their collation, the one in other bytes is looked for on *each* side: both may have changed it.
    /// With a condition, what only one side has under it is looked up without: the other may have the row outside of it, and then it
    /// differs and is not missing.
    ///
    /// # Errors
    /// Of the servers; Stop if a row that a range's read shows is not found by its key.
    pub(crate) async fn read(
        &self,
        sides: &mut Sides,
        batch: &[Waiting],
    ) -> Result<Vec<[Option<Seen>; 2]>> {
        let keys: Vec<&[u8]> = batch.iter().map(|waiting| &*waiting.key).collect();
        let (source, target) = tokio::join!(
            self.side(&mut sides.source, Side::Source, &keys),
            self.side(&mut sides.target, Side::Target, &keys)
        );
        let mut found = Vec::new();
        for (source, target) in source?.into_iter().zip(target?) {
            found.push([source, target]);
        }
        if self.pair.filter.is_some() {
            for (key, seen) in keys.iter().zip(&mut found) {
                self.without_condition(sides, key, seen).await?;
            }
        }
        net::check(sides, self.pair, batch, &found).await?;
        Ok(found)
    }

    /// What one side has of each of these keys, under the condition.
    async fn side(&self, wire: &mut Wire, side: Side, keys: &[&[u8]]) -> Result<Vec<Option<Seen>>> {
        let mut rows = self.rows(wire, self.pair.lookup_query(side, keys, "")?).await?;
        // Without any row there is none in other bytes either.
        let others = self.pair.pairs_by_collation() && !rows.is_empty();
        let mut found: Vec<Option<Seen>> = keys.iter().map(|key| rows.remove(*key)).collect();
        if others {
            let missing = |at: &usize| found[*at].is_none();
            let missing: Vec<usize> = (0..keys.len()).filter(missing).collect();
            for (at, seen) in self.others(wire, side, keys, missing).await? {
                found[at] = Some(seen);
            }
        }
        Ok(found)
    }

    /// For the keys at these places the only row that is equal to each by the collation; none if there are several, of which none is more
    /// the one than another. Most have none, so all are asked for at once, and halves of them while there are some.
    async fn others(
        &self,
        wire: &mut Wire,
        side: Side,
        keys: &[&[u8]],
        missing: Vec<usize>,
    ) -> Result<Vec<(usize, Seen)>> {
        let (mut found, mut parts) = (Vec::new(), vec![missing]);
        while let Some(mut part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            let some: Vec<&[u8]> = part.iter().map(|at| keys[*at]).collect();
            let rows = self.rows(wire, self.pair.lookup_query(side, &some, "")?).await?;
            if let [at] = part[..] {
                let single = rows.len() == 1;
                found.extend(rows.into_values().next().filter(|_| single).map(|seen| (at, seen)));
            } else if !rows.is_empty() {
                parts.push(part.split_off(part.len() / 2));
                parts.push(part);
            }
        }
        Ok(found)
    }

    /// Looks a row that only one side has under the condition up on the other without it.
    async fn without_condition(
        &self,
        sides: &mut Sides,
        key: &[u8],
        seen: &mut [Option<Seen>; 2],
    ) -> Result<()> {
        if seen[0].is_some() == seen[1].is_some() {
            return Ok(());
        }
        let alone = seen.iter().flatten().map(|seen| seen.key.clone()).next();
        let keys: Vec<&[u8]> = alone.iter().map(|key| &**key).chain([key]).collect();
        let whole = |side| self.pair.whole_query(side, &keys);
        let (wire, query, missing) = match seen[0] {
            None => (&mut sides.source, whole(Side::Source)?, &mut seen[0]),
            Some(_) => (&mut sides.target, whole(Side::Target)?, &mut seen[1]),
        };
        let mut rows = self.rows(wire, query).await?;
        let exact = alone.and_then(|alone| rows.remove(&alone));
        let other = || rows.into_values().next().filter(|_| self.pair.pairs_by_collation());
        *missing = exact.or_else(other);
        Ok(())
    }

    async fn rows(&self, wire: &mut Wire, query: Vec<u8>) -> Result<HashMap<RowKey, Seen>> {
        let mut rows = HashMap::new();
        let started = wire.start_rows(query).await;
        started.map_err(|error| keys::explained(error, &self.pair.name))?;
        while let Some(row) = wire.next_row().await? {
            let seen = Seen::of(self.pair, row, self.captured)?;
            if rows.insert(seen.key.clone(), seen).is_some() {
                return Err(keys::twice(&self.pair.name, "source or the target"));
            }
        }
        Ok(rows)
    }
}
