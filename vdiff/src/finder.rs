//! Where one range ends and the next begins: found on the source, ahead of the lanes ([`crate::lane`]).
//!
//! Counting rows along the key finds an end exactly, but reads every row once more than the comparison does. Where the key is one
//! whole number, the end is guessed by how far apart its values lay so far, and the server's estimate of the rows in between says
//! whether the guess will do. Any end is right, whether there is such a row or not: ranges have no gap between them. Only their
//! size is at stake, so a guess that is off by more than twofold is not taken.

use std::sync::atomic::Ordering;

use shunt_engine::key::{KeyKind, Place};
use shunt_engine::mysql::wire::Wire;
use shunt_engine::{Error, Result};
use tokio::sync::mpsc;

use crate::explain::explain;
use crate::lane::{Numbered, Shared};
use crate::limits;
use crate::looks::may_try_again;
use crate::pair::{Pair, Range, Side};
use crate::table::Event;

/// Finds ranges in the source's order. Where a connection is lost the same end is looked for again: nothing of it was sent yet.
///
/// # Errors
/// Of the source.
pub async fn find_ranges(
    shared: Shared,
    after: Option<Place>,
    mut rows_left: Option<u64>,
    ranges: mpsc::Sender<Numbered>,
    events: mpsc::Sender<Event>,
) -> Result<()> {
    // What is to be counted is counted.
    let guesses = Guesses::new(&shared.pair).filter(|_| rows_left.is_none());
    let mut finder = Finder { shared, wire: None, guesses };
    let (mut lower, mut seq) = (after, 0);
    loop {
        let mut rows = finder.shared.range_rows.load(Ordering::Relaxed);
        if let Some(left) = &mut rows_left {
            if *left == 0 {
                break;
            }
            rows = rows.min(*left);
            *left -= rows;
        }
        let upper = match finder.shared.pair.keyed() {
            true => finder.next_with_retries(&lower, rows).await?,
            false => None,
        };
        if upper.is_some() && upper == lower {
            return Err(Error::stop("the source's keys do not come in one order")
                .advice("Is a key column of a type whose text is not exact?"));
        }
        let last = upper.is_none();
        if ranges.send((seq, Range { lower, upper: upper.clone() })).await.is_err() {
            return Ok(());
        }
        (lower, seq) = (upper, seq + 1);
        if last {
            break;
        }
    }
    // An owner that is gone needs no telling.
    drop(events.send(Event::Found(seq)).await);
    Ok(())
}

struct Finder {
    shared: Shared,
    /// To the source; none before it is needed, and after it failed.
    wire: Option<Wire>,
    guesses: Option<Guesses>,
}

impl Finder {
    async fn next_with_retries(
        &mut self,
        lower: &Option<Place>,
        rows: u64,
    ) -> Result<Option<Place>> {
        let mut tries = 0;
        loop {
            match self.next(lower, rows).await {
                Err(error) if may_try_again(&error, &self.shared.spec, tries) => {
                    tracing::warn!(%error, "the end of a range could not be found and will be looked for again");
                    self.wire = None;
                    tries += 1;
                    tokio::time::sleep(limits::LOOK_PAUSE * tries).await;
                }
                done => return done,
            }
        }
    }

    async fn next(&mut self, lower: &Option<Place>, rows: u64) -> Result<Option<Place>> {
        let wire = match &mut self.wire {
            Some(wire) => wire,
            None => self.wire.insert(Wire::connect(&self.shared.servers.source).await?),
        };
        let (pair, guesses) = (&self.shared.pair, &mut self.guesses);
        if let (Some(guesses), Some(lower)) = (guesses.as_mut(), lower)
            && let Some(guess) = guesses.guess(wire, pair, lower, rows).await?
        {
            return Ok(Some(guess));
        }
        let rest = Range { lower: lower.clone(), upper: None };
        let upper = boundary(wire, pair, Side::Source, &rest, rows).await?;
        if let (Some(guesses), Some(lower), Some(upper)) = (guesses, lower, &upper) {
            guesses.learn(lower, upper, rows);
        }
        Ok(upper)
    }
}

/// The key of the row `rows` behind a range's lower end, by counting.
///
/// # Errors
/// Of the server.
pub(crate) async fn boundary(
    wire: &mut Wire,
    pair: &Pair,
    side: Side,
    range: &Range,
    rows: u64,
) -> Result<Option<Place>> {
    wire.start_rows(pair.boundary_query(side, range, rows)?).await?;
    let place = wire.next_row().await?.map(|row| pair.place(row)).transpose()?;
    while wire.next_row().await?.is_some() {}
    Ok(place)
}

/// How far apart the values of a key of one whole number lie.
#[derive(Debug)]
struct Guesses {
    /// Distance and rows of the latest range.
    seen: Option<(i128, u64)>,
}

impl Guesses {
    /// None for other keys, and where a condition picks the rows.
    fn new(pair: &Pair) -> Option<Self> {
        let columns = pair.source.key.as_ref().map(|key| key.columns.as_slice());
        let [column] = columns.unwrap_or_default() else { return None };
        let plain = column.kind == KeyKind::Integer && pair.filter.is_none();
        plain.then_some(Self { seen: None })
    }

    fn learn(&mut self, lower: &Place, upper: &Place, rows: u64) {
        if let (Some(lower), Some(upper)) = (number(lower), number(upper)) {
            self.seen = Some((upper - lower, rows.max(1)));
        }
    }

    async fn guess(
        &mut self,
        wire: &mut Wire,
        pair: &Pair,
        lower: &Place,
        rows: u64,
    ) -> Result<Option<Place>> {
        let Some((distance, of_rows)) = self.seen else { return Ok(None) };
        let (Some(start), Some(key)) = (number(lower), &pair.source.key) else { return Ok(None) };
        let distance = (distance.saturating_mul(i128::from(rows)) / i128::from(of_rows)).max(1);
        let upper = key.place(vec![start.saturating_add(distance).to_string().into_bytes()])?;
        let range = Range { lower: Some(lower.clone()), upper: Some(upper.clone()) };
        let plan = explain(wire, &pair.count_query(Side::Source, &range)).await?;
        let estimate = plan.map_or(0, |plan| plan.rows);
        if estimate < rows / 2 || estimate > rows.saturating_mul(2) {
            return Ok(None);
        }
        self.learn(lower, &upper, estimate);
        Ok(Some(upper))
    }
}

fn number(place: &Place) -> Option<i128> {
    let [cell] = place.cells.as_slice() else { return None };
    std::str::from_utf8(cell).ok()?.parse().ok()
}
