//! A lane: takes ranges, compares each in its own pair of snapshots, hands on what differs.
//!
//! Before it stands the task that finds ranges ([`crate::finder`]); after it the table's owner, and [`crate::looks`] for keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use shunt_engine::Result;
use shunt_engine::mysql::wire::Wire;
use tokio::sync::{Mutex, mpsc};

use crate::finder::boundary;
use crate::fold::Folding;
use crate::keyless;
use crate::keys;
use crate::limits;
use crate::looks::{Ask, may_try_again};
use crate::narrow::{self, Different, Rows, compare};
use crate::pair::{Pair, Range, Side};
use crate::sides::{Servers, Sides, Stand};
use crate::spec::Spec;
use crate::table::Event;

/// A range with its number.
pub type Numbered = (u64, Range);

/// What a table's tasks share.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The servers.
    pub servers: Servers,
    /// The tables.
    pub pair: Arc<Pair>,
    /// How ranges are folded.
    pub folding: Folding,
    /// How to work.
    pub spec: Spec,
    /// Rows of the next range.
    pub range_rows: Arc<AtomicU64>,
}

/// Compares ranges until there are no more.
///
/// # Errors
/// Of the servers.
pub async fn run(
    shared: Shared,
    ranges: Arc<Mutex<mpsc::Receiver<Numbered>>>,
    events: mpsc::Sender<Event>,
    asks: mpsc::Sender<Ask>,
) -> Result<()> {
    let mut held: Option<Sides> = None;
    loop {
        let Some((seq, range)) = ranges.lock().await.recv().await else { return Ok(()) };
        if !shared.pair.keyed() {
            let counted = keyless::compare(&shared, &events).await?;
            drop(events.send(Event::Keyless(Box::new(counted))).await);
            continue;
        }
        let (mut equal, mut stand) = (0, None);
        let mut parts = vec![range.clone()];
        while let Some(part) = parts.pop() {
            let (sides, compared) = compare_with_retries(&shared, held.take(), &part).await?;
            held = Some(sides);
            note(&mut stand, compared.stand.clone())?;
            equal += compared.equal;
            parts.extend(compared.parts);
            let Compared { keys, stand, .. } = compared;
            let ask = Ask { seq, keys, part: Some(Arc::new(part)), stand };
            if !hand_on(&shared.pair, ask, (&events, &asks)).await {
                return Ok(());
            }
        }
        let event = Event::Range { seq, upper: range.upper, equal, stand };
        if events.send(event).await.is_err() {
            return Ok(());
        }
    }
}

/// Hands keys on, some at a time; false if nobody takes them any more.
async fn hand_on(
    pair: &Pair,
    mut ask: Ask,
    (events, asks): (&mpsc::Sender<Event>, &mpsc::Sender<Ask>),
) -> bool {
    while !ask.keys.is_empty() {
        // Two keys of one pair are asked for together.
        let few = if pair.pairs_by_collation() { ask.keys.len() } else { few(&ask.keys) };
        let keys = ask.keys.split_off(ask.keys.len() - few);
        let event = Event::Keys { seq: ask.seq, keys: keys.len() };
        let (part, stand) = (ask.part.clone(), ask.stand.clone());
        let some = Ask { seq: ask.seq, keys, part, stand };
        if events.send(event).await.is_err() || asks.send(some).await.is_err() {
            return false;
        }
    }
    true
}

/// How many keys of the end are handed on at once.
fn few(keys: &[Different]) -> usize {
    let mut bytes = 0;
    let fits = |different: &&Different| {
        bytes += different.key.len();
        bytes <= limits::ASK_BYTES_MAX
    };
    keys.iter().rev().take(limits::ASK_KEYS_MAX).take_while(fits).count().max(1)
}

/// What comparing a range, or a part of one, gave.
#[derive(Debug, Default)]
struct Compared {
    /// Rows that both sides have alike.
    equal: u64,
    /// Keys that differ so far.
    keys: Vec<Different>,
    /// Parts that it is to be compared in.
    parts: Vec<Range>,
    /// The first P and the last H.
    stand: Option<Stand>,
}

async fn compare_with_retries(
    shared: &Shared,
    mut held: Option<Sides>,
    part: &Range,
) -> Result<(Sides, Compared)> {
    let mut tries = 0;
    loop {
        match Box::pin(compare_part(shared, held.take(), part)).await {
            Err(error) if may_try_again(&error, &shared.spec, tries) => {
                tracing::warn!(%error, "a range could not be compared and will be again");
                tries += 1;
                tokio::time::sleep(limits::LOOK_PAUSE * tries).await;
            }
            done => return done,
        }
    }
}

async fn compare_part(
    shared: &Shared,
    held: Option<Sides>,
    part: &Range,
) -> Result<(Sides, Compared)> {
    let mut sides = match held {
        Some(sides) => sides,
        None => Sides::connect(&shared.servers).await?,
    };
    let pair = &shared.pair;
    let mut result = Compared::default();
    let started = Instant::now();
    note(&mut result.stand, sides.open().await?)?;
    let [source, target] = shared.folding.fold(&mut sides, pair, part).await?;
    sides.close().await?;
    learn(&shared.range_rows, source.rows.max(target.rows), started.elapsed());
    if source == target {
        result.equal = source.rows;
        return Ok((sides, result));
    }
    let larger = if source.rows > target.rows { Side::Source } else { Side::Target };
    if source.rows.max(target.rows) > limits::NARROW_ROWS_MAX {
        let wire = if larger == Side::Source { &mut sides.source } else { &mut sides.target };
        let rows = limits::NARROW_ROWS_MAX / 2;
        if let Some(middle) = boundary(wire, pair, larger, part, rows).await? {
            let (lower, upper) = (part.lower.clone(), part.upper.clone());
            result.parts.push(Range { lower: Some(middle.clone()), upper });
            result.parts.push(Range { lower, upper: Some(middle) });
            return Ok((sides, result));
        }
    }
    note(&mut result.stand, sides.open().await?)?;
    let [source, target] = narrow::read(&mut sides, pair, part).await?;
    sides.close().await?;
    if let Some((side, rows)) = too_many(&source, &target) {
        let wire = if side == Side::Source { &mut sides.source } else { &mut sides.target };
        result.parts = cut(wire, pair, side, part, rows).await?;
        return Ok((sides, result));
    }
    let differences = compare(&source, &target).ok_or_else(|| keys::twice(&pair.name, "source"))?;
    result.equal = differences.equal;
    result.keys = differences.keys;
    Ok((sides, result))
}

/// The side whose keys were too many bytes to be held, and how many rows a part should have there.
fn too_many(source: &Rows, target: &Rows) -> Option<(Side, u64)> {
    let full = [(Side::Source, source.full()), (Side::Target, target.full())];
    let full = full.into_iter().filter_map(|(side, rows)| Some((side, rows?)));
    // Half, since keys are not all of one length; so it is at least one, and less than there are.
    full.min_by_key(|(_, rows)| *rows).map(|(side, rows)| (side, (rows / 2).max(1)))
}

/// A range in parts of so many rows of a side, the first one last.
async fn cut(
    wire: &mut Wire,
    pair: &Pair,
    side: Side,
    range: &Range,
    rows: u64,
) -> Result<Vec<Range>> {
    let (mut parts, mut rest) = (Vec::new(), range.clone());
    while let Some(upper) = boundary(wire, pair, side, &rest, rows).await? {
        let lower = rest.lower.replace(upper.clone());
        parts.push(Range { lower, upper: Some(upper) });
    }
    parts.push(rest);
    parts.reverse();
    Ok(parts)
}

/// Keeps the first P and the last H.
pub(crate) fn note(held: &mut Option<Stand>, next: Option<Stand>) -> Result<()> {
    match (&mut *held, next) {
        (Some(held), Some(next)) => held.high.union(&next.high)?,
        (None, next) => *held = next,
        (Some(_), None) => {}
    }
    Ok(())
}

/// The next ranges take about the time that is aimed at. They change twofold at most, so that one slow range does not decide.
fn learn(range_rows: &AtomicU64, rows: u64, took: Duration) {
    let now = range_rows.load(Ordering::Relaxed);
    if rows < now / 2 {
        return;
    }
    let wish = u128::from(rows) * limits::RANGE_TIME.as_micros() / took.as_micros().max(1);
    let wish = u64::try_from(wish).unwrap_or(u64::MAX).clamp(now / 2, now.saturating_mul(2));
    let wish = wish.clamp(limits::RANGE_ROWS_MIN, limits::RANGE_ROWS_MAX);
    range_rows.store(wish, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_handed_on_by_their_bytes() {
        let keys = |count: usize, length: usize| -> Vec<Different> {
            let key = || Different { key: vec![7; length].into(), shown: [true; 2] };
            (0..count).map(|_| key()).collect()
        };
        assert_eq!(few(&keys(limits::ASK_KEYS_MAX + 5, 1)), limits::ASK_KEYS_MAX);
        assert_eq!(few(&keys(3, 1)), 3);
        assert_eq!(few(&keys(5, limits::ASK_BYTES_MAX / 2)), 2);
        assert_eq!(few(&keys(5, limits::ASK_BYTES_MAX + 1)), 1);
    }

    #[test]
    fn ranges_grow_and_shrink_with_the_time_they_take() {
        let rows = AtomicU64::new(1000);
        learn(&rows, 1000, Duration::from_millis(4));
        assert_eq!(rows.load(Ordering::Relaxed), 2000);
        learn(&rows, 2000, Duration::from_secs(9));
        assert_eq!(rows.load(Ordering::Relaxed), 1000);
        learn(&rows, 3, Duration::from_millis(1));
        assert_eq!(rows.load(Ordering::Relaxed), 1000, "a short last range teaches nothing");
        rows.store(limits::RANGE_ROWS_MAX, Ordering::Relaxed);
        learn(&rows, limits::RANGE_ROWS_MAX, Duration::from_millis(1));
        assert_eq!(rows.load(Ordering::Relaxed), limits::RANGE_ROWS_MAX);
    }
}
