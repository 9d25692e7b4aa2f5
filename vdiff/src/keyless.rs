//! A table without a key: how often each whole row comes on both sides.
//!
//! There are no keys to look at again, so the whole is compared again until it is settled. Rows are told apart by their hashes.
//!
//! # Where a position ties the sides
//! The argument of [`crate::sides`] for *equal* does not hold here. It says that a row with an event between the target's position P and
//! the source's snapshot becomes what its last event says, whatever the target shows of it before. Of a table without a key an event
//! only means *one more* or *one fewer* of a row. The schedule: somebody adds a row to the target; a client of the source inserts
//! the same row; the target's snapshot is at P before that event, the source's contains it. Both show the row once: *equal*. Then the
//! stream applies the event, and the target has the row twice for good.
//!
//! So both verdicts, *equal* and *different*, need the same: that **the table had no event at all between P and H**, the bound of what the
//! source's snapshot can contain, as the source's binlog says ([`crate::touched`]). Then the source showed at P what it shows in the
//! snapshot, and the two snapshots are of one position: what they show alike is right, what they show differently is wrong. While
//! there was such an event the whole is compared again, once the stream has passed H, until the time is over; then
//! the table is unsettled, all of it if its rows were as many and the same on both sides: an event may be of any row.
//!
//! # Where none does
//! Both sides are taken as they stand: equal is equal, and what differs in the same rows several times is different.

use std::collections::HashMap;
use std::time::Instant;

use shunt_engine::Result;
use tokio::sync::mpsc;

use crate::hash::row_hash;
use crate::lane::{Shared, note};
use crate::limits;
use crate::looks::{Finding, Seen, cells_of, may_try_again};
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
    /// Rows of which nothing is proven, because the table was written all the time.
    pub unsettled: u64,
    /// The first P and the last H.
    pub stand: Option<Stand>,
}

/// Compares the whole table until it is settled. Where a connection is lost it is compared anew.
///
/// # Errors
/// Of the servers, or Stop if it is too large.
pub(crate) async fn compare(shared: &Shared, events: &mpsc::Sender<Event>) -> Result<Counted> {
    let mut whole = Whole { shared, events, told: false };
    let mut tries = 0;
    loop {
        match Box::pin(whole.compare()).await {
            // What was told of single rows would be told once more.
            Err(error) if !whole.told && may_try_again(&error, &shared.spec, tries) => {
                tracing::warn!(%error, "a table without a key could not be compared and will be again");
                tries += 1;
                tokio::time::sleep(limits::LOOK_PAUSE * tries).await;
            }
            done => return done,
        }
    }
}

/// A table that is compared as a whole.
struct Whole<'a> {
    shared: &'a Shared,
    events: &'a mpsc::Sender<Event>,
    /// Somebody was told of a row that differs.
    told: bool,
}

impl Whole<'_> {
    async fn compare(&mut self) -> Result<Counted> {
        let (shared, whole) = (self.shared, Range { lower: None, upper: None });
        let mut sides = Sides::connect(&shared.servers).await?;
        let mut result = Counted::default();
        let (mut last, mut agreed) = (HashMap::new(), 0);
        // Its time begins when it was compared once, however long that took.
        let mut until = None;
        loop {
            let stand = sides.open().await?;
            note(&mut result.stand, stand.clone())?;
            let [source, target] = shared.folding.fold(&mut sides, &shared.pair, &whole).await?;
            let until = *until.get_or_insert_with(|| Instant::now() + shared.spec.recheck_for);
            let over = Instant::now() >= until;
            if source == target {
                sides.close().await?;
                if self.rests(stand.as_ref()).await?.unwrap_or(true) {
                    result.equal = source.rows;
                    return Ok(result);
                }
                if over {
                    result.unsettled = source.rows.max(1);
                    return Ok(result);
                }
            } else {
                let (equal, counts) = counts(&mut sides, &shared.pair).await?;
                agreed = if counts == last { agreed + 1 } else { 1 };
                let rests = self.rests(stand.as_ref()).await?;
                let proven = rests.unwrap_or(agreed >= limits::LOOKS_UNTIED);
                if proven || over {
                    result.equal = equal;
                    result.extra = self.extras(&mut sides, counts, proven).await?;
                    let rows: u64 = result.extra.iter().map(|extra| extra.rows).sum();
                    result.unsettled = if proven { 0 } else { rows.max(1) };
                    sides.close().await?;
                    return Ok(result);
                }
                last = counts;
                sides.close().await?;
            }
            wait(&shared.servers, &mut sides, stand.as_ref(), until).await?;
        }
    }

    /// Whether the table had no event between the snapshots; none where no position ties them.
    async fn rests(&self, stand: Option<&Stand>) -> Result<Option<bool>> {
        let Some(stand) = stand else { return Ok(None) };
        let (source, pair) = (&self.shared.servers.source, &self.shared.pair);
        Ok(Some(touched::between(source, stand, pair, &[]).await? != Touched::All))
    }

    /// Reads both tables once more in the same snapshots, for samples of what differs, and for the file of all differences.
    async fn extras(
        &mut self,
        sides: &mut Sides,
        mut counts: HashMap<u128, i64>,
        proven: bool,
    ) -> Result<[Extra; 2]> {
        let mut found = [Extra::default(), Extra::default()];
        for (at, side) in [Side::Source, Side::Target].into_iter().enumerate() {
            let sign = if side == Side::Source { 1 } else { -1 };
            let more = counts.values().map(|count| u64::try_from(count * sign).unwrap_or(0));
            found[at].rows = more.sum();
            let wire = if side == Side::Source { &mut sides.source } else { &mut sides.target };
            let whole = Range { lower: None, upper: None };
            wire.start_rows(self.shared.pair.rows_query(side, &whole)).await?;
            while let Some(row) = wire.next_row().await? {
                let Some(count) = counts.get_mut(&row_hash(row)).filter(|count| **count * sign > 0)
                else {
                    continue;
                };
                *count -= sign;
                let spec = &self.shared.spec;
                if found[at].sample.len() < spec.sample_rows {
                    found[at].sample.push(cells_of(row, 0, spec.truncate_at)?);
                }
                if spec.report && proven && !self.tell(side, row).await? {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }

    /// Tells of a row that one side has alone; false if nobody listens any more.
    async fn tell(&mut self, side: Side, row: &[u8]) -> Result<bool> {
        let seen = Some(Seen::of(&self.shared.pair, row, self.shared.spec.captured())?);
        let (source, target) = if side == Side::Source { (seen, None) } else { (None, seen) };
        let finding = Finding { key: [].into(), target_key: None, source, target };
        self.told = true;
        Ok(self.events.send(Event::Extra(Box::new(finding))).await.is_ok())
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

/// Waits a little, and until the stream has passed what the snapshots could contain. Each look reads the source's binlog.
async fn wait(
    servers: &Servers,
    sides: &mut Sides,
    stand: Option<&Stand>,
    until: Instant,
) -> Result<()> {
    tokio::time::sleep(limits::LOOK_PAUSE).await;
    let (Tie::Stream { id }, Some(stand)) = (&servers.tie, stand) else { return Ok(()) };
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
