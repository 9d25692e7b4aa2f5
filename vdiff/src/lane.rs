//! A lane: takes ranges, compares each in its own pair of snapshots, hands on what differs.
//!
//! Before it stands the task that finds ranges ([`crate::finder`]); after it the table's owner, and [`crate::looks`] for keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use shunt_engine::Result;
use tokio::sync::{Mutex, mpsc};

use crate::finder::boundary;
use crate::fold::Folding;
use crate::keyless;
use crate::limits;
use crate::looks::{Ask, may_try_again};
use crate::narrow::{self, compare};
use crate::pair::{Pair, Range, RowKey, Side};
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

/// What comparing a range gave.
#[derive(Debug, Default)]
pub struct Compared {
    /// Rows that both sides have alike.
    pub equal: u64,
    /// Keys that differ so far.
    pub keys: Vec<RowKey>,
    /// The first P and the last H.
    pub stand: Option<Stand>,
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
        let mut tries = 0;
        let (sides, compared) = loop {
            match Box::pin(compare_range(&shared, held.take(), &range)).await {
                Ok(done) => break done,
                Err(error) if may_try_again(&error, &shared.spec, tries) => {
                    tracing::warn!(%error, "a range could not be compared and will be again");
                    tries += 1;
                    tokio::time::sleep(limits::LOOK_PAUSE * tries).await;
                }
                Err(error) => return Err(error),
            }
        };
        held = Some(sides);
        let Compared { equal, keys, stand } = compared;
        let event =
            Event::Range { seq, upper: range.upper, equal, keys: keys.len(), stand: stand.clone() };
        if events.send(event).await.is_err() {
            return Ok(());
        }
        if !keys.is_empty() && asks.send(Ask { seq, keys, stand }).await.is_err() {
            return Ok(());
        }
    }
}

async fn compare_range(
    shared: &Shared,
    held: Option<Sides>,
    range: &Range,
) -> Result<(Sides, Compared)> {
    let mut sides = match held {
        Some(sides) => sides,
        None => Sides::connect(&shared.servers).await?,
    };
    let pair = &shared.pair;
    let mut result = Compared::default();
    let mut parts = vec![range.clone()];
    while let Some(part) = parts.pop() {
        let started = Instant::now();
        note(&mut result.stand, sides.open().await?)?;
        let [source, target] = shared.folding.fold(&mut sides, pair, &part).await?;
        sides.close().await?;
        learn(&shared.range_rows, source.rows.max(target.rows), started.elapsed());
        if source == target {
            result.equal += source.rows;
            continue;
        }
        let larger = if source.rows > target.rows { Side::Source } else { Side::Target };
        if source.rows.max(target.rows) > limits::NARROW_ROWS_MAX {
            let wire = if larger == Side::Source { &mut sides.source } else { &mut sides.target };
            let rows = limits::NARROW_ROWS_MAX / 2;
            if let Some(middle) = boundary(wire, pair, larger, &part, rows).await? {
                parts.push(Range { lower: Some(middle.clone()), upper: part.upper });
                parts.push(Range { lower: part.lower, upper: Some(middle) });
                continue;
            }
        }
        note(&mut result.stand, sides.open().await?)?;
        let [source, target] = narrow::read(&mut sides, pair, &part).await?;
        sides.close().await?;
        let differences = compare(&source, &target);
        result.equal += differences.equal;
        result.keys.extend(differences.keys);
    }
    Ok((sides, result))
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
