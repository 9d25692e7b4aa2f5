//! A table without a key: how often each whole row comes on both sides.
//!
//! There are no keys to look at again, so the whole is compared again: until it is equal, or differs while the table had no
//! event at all between the target's position and what the source's snapshot can contain, or, where no position ties the sides,
//! differs in the same rows several times. Rows are told apart by their hashes.

use std::collections::HashMap;
use std::time::Instant;

use shunt_engine::Result;
use tokio::sync::mpsc;

use crate::hash::row_hash;
use crate::lane::{Shared, note};
use crate::limits;
use crate::looks::{Finding, Seen, cells_of};
use crate::narrow;
use crate::pair::{Pair, Range, Side};
use crate::sides::{Servers, Sides, Stand, Tie, read_stream};
use crate::table::Event;
use crate::touched::{self, Touched};

/// Rows of a side that the other lacks, and some of them as samples.
#[derive(Debug, Default)]
pub struct Extra {
    /// How many.
    pub rows: u64,
    /// Cells of some, cut.
    pub sample: Vec<Vec<Option<Vec<u8>>>>,
}

/// What comparing a table without a key gave.
#[derive(Debug, Default)]
pub struct Counted {
    /// Rows that both sides have.
    pub equal: u64,
    /// On the source only, and on the target only.
    pub extra: [Extra; 2],
    /// The table was written all the time, so that the difference is not proven.
    pub unsettled: bool,
    /// The first P and the last H.
    pub stand: Option<Stand>,
}

/// Compares the whole table until it is settled.
///
/// # Errors
/// Of the servers, or Stop if it is too large.
pub(crate) async fn compare(shared: &Shared, events: &mpsc::Sender<Event>) -> Result<Counted> {
    let until = Instant::now() + shared.spec.recheck_for;
    let whole = Range { lower: None, upper: None };
    let mut sides = Sides::connect(&shared.servers).await?;
    let mut result = Counted::default();
    let (mut last, mut agreed) = (HashMap::new(), 0);
    loop {
        let stand = sides.open().await?;
        note(&mut result.stand, stand.clone())?;
        let [source, target] = shared.folding.fold(&mut sides, &shared.pair, &whole).await?;
        if source == target {
            sides.close().await?;
            result.equal = source.rows;
            return Ok(result);
        }
        let (equal, counts) = counts(&mut sides, &shared.pair).await?;
        let over = Instant::now() >= until;
        let proven = match &stand {
            Some(stand) => {
                let touched = touched::between(&shared.servers.source, stand, &shared.pair, &[]);
                touched.await? != Touched::All
            }
            None => {
                agreed = if counts == last { agreed + 1 } else { 1 };
                agreed >= limits::LOOKS_UNTIED
            }
        };
        if proven || over {
            result.equal = equal;
            result.unsettled = !proven;
            result.extra = extras(&mut sides, shared, counts, (proven, events)).await?;
            sides.close().await?;
            return Ok(result);
        }
        last = counts;
        sides.close().await?;
        wait(&shared.servers, &mut sides, stand.as_ref(), until).await?;
    }
}

async fn counts(sides: &mut Sides, pair: &Pair) -> Result<(u64, HashMap<u128, i64>)> {
    let max = limits::KEYLESS_ROWS_MAX;
    let (source, target) = tokio::join!(
        narrow::read_hashes(&mut sides.source, pair, Side::Source, max),
        narrow::read_hashes(&mut sides.target, pair, Side::Target, max)
    );
    Ok(narrow::compare_counts(source?, target?))
}

/// Reads both tables once more in the same snapshots, for samples of what differs, and for the file of all differences.
async fn extras(
    sides: &mut Sides,
    shared: &Shared,
    mut counts: HashMap<u128, i64>,
    (proven, events): (bool, &mpsc::Sender<Event>),
) -> Result<[Extra; 2]> {
    let whole = Range { lower: None, upper: None };
    let mut found = [Extra::default(), Extra::default()];
    for (at, side) in [Side::Source, Side::Target].into_iter().enumerate() {
        let sign = if side == Side::Source { 1 } else { -1 };
        let more = counts.values().map(|count| u64::try_from(count * sign).unwrap_or(0));
        found[at].rows = more.sum();
        let wire = if side == Side::Source { &mut sides.source } else { &mut sides.target };
        wire.start_rows(shared.pair.rows_query(side, &whole)).await?;
        while let Some(row) = wire.next_row().await? {
            let Some(count) = counts.get_mut(&row_hash(row)).filter(|count| **count * sign > 0)
            else {
                continue;
            };
            *count -= sign;
            if found[at].sample.len() < shared.spec.sample_rows {
                found[at].sample.push(cells_of(row, 0, shared.spec.truncate_at)?);
            }
            if shared.spec.report && proven {
                let seen = Some(Seen::of(&shared.pair, row, shared.spec.captured())?);
                let (source, target) =
                    if side == Side::Source { (seen, None) } else { (None, seen) };
                let finding = Finding { key: [].into(), target_key: None, source, target };
                if events.send(Event::Extra(Box::new(finding))).await.is_err() {
                    return Ok(found);
                }
            }
        }
    }
    Ok(found)
}

async fn wait(
    servers: &Servers,
    sides: &mut Sides,
    stand: Option<&Stand>,
    until: Instant,
) -> Result<()> {
    let (Tie::Stream { id }, Some(stand)) = (&servers.tie, stand) else {
        tokio::time::sleep(limits::LOOK_PAUSE).await;
        return Ok(());
    };
    while Instant::now() < until {
        let now = read_stream(&mut sides.target, *id).await?;
        let applied = shunt_engine::mysql::gtid::GtidSet::parse(stand.high.flavor(), &now.pos)?;
        if applied.contains_set(&stand.high) {
            return Ok(());
        }
        tokio::time::sleep(limits::POSITION_PAUSE).await;
    }
    Ok(())
}
