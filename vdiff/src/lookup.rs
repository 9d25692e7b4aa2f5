//! What both sides have of keys, looked up in two open snapshots.
//!
//! Before this stand the keys that differed ([`crate::looks`]); after it the verdict ([`crate::waiting`]). That a row which is not found is
//! not there is made sure by [`crate::net`].

use std::collections::HashMap;

use shunt_engine::Result;
use shunt_engine::mysql::wire::Wire;

use crate::keys;
use crate::limits;
use crate::net;
use crate::pair::{self, Pair, RowKey, Side};
use crate::seen::Seen;
use crate::sides::Sides;
use crate::waiting::Waiting;

/// Which rows are looked up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Under {
    /// Those for which the condition holds, if there is one.
    Condition,
    /// All.
    Nothing,
}

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
            self.side(&mut sides.source, Side::Source, &keys, Under::Condition),
            self.side(&mut sides.target, Side::Target, &keys, Under::Condition)
        );
        let mut found = Vec::new();
        for (source, target) in source?.into_iter().zip(target?) {
            found.push([source, target]);
        }
        if self.pair.filter.is_some() {
            self.without_condition(&mut sides.source, Side::Source, &mut found).await?;
            self.without_condition(&mut sides.target, Side::Target, &mut found).await?;
        }
        net::check(sides, self.pair, batch, &found).await?;
        Ok(found)
    }

    /// What one side has of each of these keys.
    async fn side(
        &self,
        wire: &mut Wire,
        side: Side,
        keys: &[&[u8]],
        under: Under,
    ) -> Result<Vec<Option<Seen>>> {
        let mut rows = self.rows(wire, self.query(side, keys, under)?).await?;
        // Without any row there is none in other bytes either.
        let others = self.pair.pairs_by_collation() && !rows.is_empty();
        let mut found = of_keys(&mut rows, keys);
        if others {
            let missing = |at: &usize| found[*at].is_none();
            let missing: Vec<usize> = (0..keys.len()).filter(missing).collect();
            // What nobody asked for in these bytes was found by the collation. Else most have none, and all are asked for at once first.
            let asked: Vec<&[u8]> = missing.iter().map(|at| keys[*at]).collect();
            if !rows.is_empty() || !self.has_none(wire, side, &asked, under).await? {
                for (at, seen) in self.others(wire, side, keys, missing, under).await? {
                    found[at] = Some(seen);
                }
            }
        }
        Ok(found)
    }

    /// Whether no row is equal to one of these keys by the collation.
    async fn has_none(
        &self,
        wire: &mut Wire,
        side: Side,
        keys: &[&[u8]],
        under: Under,
    ) -> Result<bool> {
        Ok(keys.is_empty() || self.rows(wire, self.query(side, keys, under)?).await?.is_empty())
    }

    /// For the keys at these places the only row that is equal to each by the collation; none if there are several, of which none is more
    /// the one than another.
    async fn others(
        &self,
        wire: &mut Wire,
        side: Side,
        keys: &[&[u8]],
        missing: Vec<usize>,
        under: Under,
    ) -> Result<Vec<(usize, Seen)>> {
        let mut found = Vec::new();
        for part in missing.chunks(limits::COLLATION_KEYS_MAX) {
            let mut part = part.to_vec();
            while !part.is_empty() {
                let some: Vec<&[u8]> = part.iter().map(|at| keys[*at]).collect();
                let named = self.named_rows(wire, side, &some, under).await?;
                let Some(rows) = named else { break };
                // Each row names the first of the keys that it is equal to; what is left is asked for again.
                let mut left = Vec::new();
                for (at, mut rows) in part.into_iter().zip(rows) {
                    match (rows.pop(), rows.is_empty()) {
                        (None, _) => left.push(at),
                        (Some(seen), true) => found.push((at, seen)),
                        (Some(_), false) => {}
                    }
                }
                part = left;
            }
        }
        Ok(found)
    }

    /// The rows that are equal to each of these keys by the collation and to none before it; none if there is none at all.
    async fn named_rows(
        &self,
        wire: &mut Wire,
        side: Side,
        keys: &[&[u8]],
        under: Under,
    ) -> Result<Option<Vec<Vec<Seen>>>> {
        let mut rows: Vec<Vec<Seen>> = keys.iter().map(|_| Vec::new()).collect();
        let mut any = false;
        let query = self.pair.named_query(side, keys, under == Under::Condition)?;
        let started = wire.start_rows(query).await;
        started.map_err(|error| keys::explained(error, &self.pair.name))?;
        while let Some(row) = wire.next_row().await? {
            let (name, row) = pair::split_name(row)?;
            if let Some(rows) = name.and_then(|name| rows.get_mut(name)) {
                rows.push(Seen::of(self.pair, row, self.captured)?);
                any = true;
            }
        }
        Ok(any.then_some(rows))
    }

    /// Looks rows that only the other side has under the condition up on this one without it.
    async fn without_condition(
        &self,
        wire: &mut Wire,
        side: Side,
        found: &mut [[Option<Seen>; 2]],
    ) -> Result<()> {
        let (here, there) = if side == Side::Source { (0, 1) } else { (1, 0) };
        let mut alone = Vec::new();
        for (at, seen) in found.iter().enumerate() {
            if let (None, Some(other)) = (&seen[here], &seen[there]) {
                alone.push((at, other.key.clone()));
            }
        }
        if alone.is_empty() {
            return Ok(());
        }
        let keys: Vec<&[u8]> = alone.iter().map(|(_, key)| &**key).collect();
        let seen = self.side(wire, side, &keys, Under::Nothing).await?;
        for ((at, _), seen) in alone.iter().zip(seen) {
            found[*at][here] = seen;
        }
        Ok(())
    }

    fn query(&self, side: Side, keys: &[&[u8]], under: Under) -> Result<Vec<u8>> {
        match under {
            Under::Condition => self.pair.lookup_query(side, keys, ""),
            Under::Nothing => self.pair.whole_query(side, keys),
        }
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

/// Takes the row of each key. Two ranges may ask for one key, where the sides order keys differently: both find its row.
fn of_keys(rows: &mut HashMap<RowKey, Seen>, keys: &[&[u8]]) -> Vec<Option<Seen>> {
    let mut places: HashMap<&[u8], usize> = HashMap::with_capacity(keys.len());
    let mut found: Vec<Option<Seen>> = Vec::with_capacity(keys.len());
    for key in keys {
        let seen = match places.get(key) {
            Some(first) => found[*first].clone(),
            None => rows.remove(*key),
        };
        places.entry(key).or_insert(found.len());
        found.push(seen);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_asked_for_twice_is_found_twice() {
        let seen = |key: &str| Seen { hash: 1, key: key.as_bytes().into(), cells: Vec::new() };
        let row = |key: &str| (RowKey::from(key.as_bytes()), seen(key));
        let mut rows = HashMap::from([row("a"), row("b"), row("other")]);
        let keys: [&[u8]; 4] = [b"a", b"none", b"b", b"a"];
        let found = of_keys(&mut rows, &keys);
        assert_eq!(found, [Some(seen("a")), None, Some(seen("b")), Some(seen("a"))]);
        assert_eq!(rows.into_keys().collect::<Vec<_>>(), [RowKey::from(b"other".as_slice())]);
    }
}
