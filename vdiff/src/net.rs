//! A row that a range's read has shown and that its own key does not find.
//!
//! What is read of a key is turned into a literal, and by that the row is looked up. Where the key is converted (another character set), or
//! where only the server compares it (text, UUID, DOUBLE), the literal may name nothing, or another row, for reasons that nobody has
//! thought of: two codes for one character, bytes that are not of their character set. Such a row must not count as gone: if it is
//! missing on the target, that would be *equal*, and if it is on both sides, a repair would delete the target's.
//!
//! So where a side had a row with the very key when its range was read, and the lookup finds none there now, the range's keys are **read
//! again in the same snapshot**, without any literal but the range's ends. Two reads of one snapshot agree; so either the key is not among
//! them, and the row is gone indeed, or the lookup is wrong, and the comparison ends with an error that names the key. What repair takes
//! for "not on the source" has passed this as well.
//!
//! Whole numbers, decimals, times and bytes that stand as they are need no net.

use std::collections::HashSet;
use std::sync::Arc;

use shunt_engine::mysql::sql;
use shunt_engine::mysql::wire::{TextCells, Wire};
use shunt_engine::{Error, Result};

use crate::columns::Compared;
use crate::pair::{Pair, Range, Side};
use crate::report::hex;
use crate::seen::Seen;
use crate::sides::Sides;
use crate::waiting::Waiting;

/// Bytes of a key's cell in a message.
const SHOWN_MAX: usize = 64;

/// Reads again, in the open snapshots, what the lookups did not find.
///
/// # Errors
/// Stop if a key is there; of the servers.
pub(crate) async fn check(
    sides: &mut Sides,
    pair: &Pair,
    batch: &[Waiting],
    found: &[[Option<Seen>; 2]],
) -> Result<()> {
    if !pair.needs_net() {
        return Ok(());
    }
    for (at, side) in [Side::Source, Side::Target].into_iter().enumerate() {
        let parts = missing(batch, found, at);
        let wire = if side == Side::Source { &mut sides.source } else { &mut sides.target };
        for (part, keys) in parts {
            check_part(wire, pair, side, part, &keys).await?;
        }
    }
    Ok(())
}

/// The keys that a side had when their ranges were read and that its lookup did not find, by what was read.
fn missing<'a>(
    batch: &'a [Waiting],
    found: &[[Option<Seen>; 2]],
    at: usize,
) -> Vec<(&'a Arc<Range>, HashSet<&'a [u8]>)> {
    let mut parts: Vec<(&Arc<Range>, HashSet<&[u8]>)> = Vec::new();
    for (waiting, seen) in batch.iter().zip(found) {
        let Some(part) = &waiting.part else { continue };
        if !waiting.shown[at] || seen[at].is_some() {
            continue;
        }
        match parts.iter_mut().find(|(other, _)| Arc::ptr_eq(other, part)) {
            Some((_, keys)) => drop(keys.insert(&*waiting.key)),
            None => parts.push((part, HashSet::from([&*waiting.key]))),
        }
    }
    parts
}

async fn check_part(
    wire: &mut Wire,
    pair: &Pair,
    side: Side,
    part: &Range,
    missing: &HashSet<&[u8]>,
) -> Result<()> {
    wire.start_rows(pair.range_keys_query(side, part)).await?;
    let mut there = None;
    while let Some(row) = wire.next_row().await? {
        let key = pair.key_of(row)?;
        if there.is_none() && missing.contains(key) {
            there = Some(shown(&pair.columns, key));
        }
    }
    let Some(key) = there else { return Ok(()) };
    let side = if side == Side::Source { "source" } else { "target" };
    Err(Error::stop(format!(
        "table {}: the {side} has a row that its key, printed alike on both sides, does not find: {key}",
        sql::ident(&pair.name)
    ))
    .advice(
        "Are its bytes not of its character set, or does that have two codes for a character? Mend the row, or leave the table out.",
    ))
}

/// A key for a message.
fn shown(columns: &[Compared], key: &[u8]) -> String {
    let cell = |(at, cell): (usize, Result<Option<&[u8]>>)| {
        let cell = cell.ok().flatten().unwrap_or_default();
        let cell = columns.get(at).and_then(|column| column.lost(cell)).unwrap_or(cell);
        match std::str::from_utf8(cell) {
            Ok(text) if !text.contains(char::is_control) => {
                format!("'{}'", text.chars().take(SHOWN_MAX).collect::<String>())
            }
            _ => format!("x'{}'", hex(&cell[..cell.len().min(SHOWN_MAX)])),
        }
    };
    TextCells::new(key).enumerate().map(cell).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::narrow::Different;

    #[test]
    fn what_was_read_and_is_not_found_is_read_again() {
        let part = Arc::new(Range { lower: None, upper: None });
        let other = Arc::new(Range { lower: None, upper: None });
        let waiting = |key: &str, shown, part: Option<&Arc<Range>>| {
            let different = Different { key: key.as_bytes().into(), shown };
            let mut waiting = Waiting::new(0, different, Duration::ZERO);
            waiting.part = part.cloned();
            waiting
        };
        let batch = [
            waiting("both", [true, true], Some(&part)),
            waiting("source", [true, false], Some(&part)),
            waiting("elsewhere", [true, true], Some(&other)),
            waiting("found", [true, true], Some(&part)),
            waiting("repaired", [true, true], None),
        ];
        let seen = || {
            let key = b"found".as_slice().into();
            Some(Seen { hash: 1, key, cells: Vec::new() })
        };
        let found = [[None, None], [None, None], [None, None], [seen(), seen()], [None, None]];
        let keys = |at: usize| -> Vec<Vec<&[u8]>> {
            let parts = missing(&batch, &found, at).into_iter();
            parts.map(|(_, keys)| keys.into_iter().collect()).collect()
        };
        let lengths = |at: usize| keys(at).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!((lengths(0), lengths(1)), (vec![2, 1], vec![1, 1]));
        assert_eq!(keys(1), [vec![b"both".as_slice()], vec![b"elsewhere".as_slice()]]);
    }

    #[test]
    fn a_message_names_the_key() {
        assert_eq!(shown(&[], b"\x03it?\x02\xed\x40"), "'it?', x'ed40'");
        assert_eq!(shown(&[], &[&[80_u8][..], &[b'x'; 80]].concat()).len(), SHOWN_MAX + 2);
    }
}
