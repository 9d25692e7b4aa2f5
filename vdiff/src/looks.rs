//! Keys that differed, looked at again until each is settled.
//!
//! Before this stand the lanes, which found the keys; after it the ledger, which counts verdicts. One task looks, over two
//! connections of its own, at many keys at once: it waits until the stream has passed what the last snapshots could contain, opens
//! new ones, and decides by the rule of [`crate::sides`]. Where no position ties the sides, a key differs if several looks in a row
//! show the same two rows.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use shunt_engine::mysql::gtid::GtidSet;
use shunt_engine::mysql::wire::Wire;
use shunt_engine::{Error, ErrorKind, Result};
use tokio::sync::mpsc;

use crate::hot::HotRow;
use crate::limits;
use crate::lookup::Lookup;
use crate::narrow::Different;
use crate::pair::{Pair, Range, RowKey};
pub(crate) use crate::seen::cells_of;
use crate::seen::hash;
pub use crate::seen::{Finding, Seen, Verdict};
use crate::sides::{Servers, Sides, Stand, Tie, read_stream};
use crate::spec::Spec;
use crate::table::Event;
use crate::touched::{self, Touched};
use crate::twice::Twice;
use crate::waiting::{Waiting, judge};

/// Keys to be looked at.
#[derive(Debug)]
pub struct Ask {
    /// The range that they are of.
    pub seq: u64,
    /// The keys.
    pub keys: Vec<Different>,
    /// What was read when they differed; none if they were not read in a range.
    pub part: Option<Arc<Range>>,
    /// What the snapshots were that showed them different.
    pub stand: Option<Stand>,
}

/// Looks until nobody asks any more and all keys are settled.
///
/// # Errors
/// Of the servers.
pub async fn run(
    servers: Servers,
    pair: Arc<Pair>,
    spec: Spec,
    mut asks: mpsc::Receiver<Ask>,
    events: mpsc::Sender<Event>,
) -> Result<()> {
    let (waiting, twice) = (VecDeque::new(), Twice::default());
    let mut looker = Looker { servers, pair, spec, sides: None, waiting, bytes: 0, twice };
    loop {
        if looker.waiting.is_empty() {
            let Some(ask) = asks.recv().await else { return Ok(()) };
            looker.add(ask);
        }
        while looker.waiting.len() < limits::LOOK_KEYS_WAITING
            && looker.bytes < limits::LOOK_BYTES_WAITING
            && let Ok(ask) = asks.try_recv()
        {
            looker.add(ask);
        }
        for (seq, verdict) in looker.look_with_retries().await? {
            if events.send(Event::Settled { seq, verdict }).await.is_err() {
                return Ok(());
            }
        }
    }
}

struct Looker {
    servers: Servers,
    pair: Arc<Pair>,
    spec: Spec,
    sides: Option<Sides>,
    waiting: VecDeque<Waiting>,
    /// Bytes of the keys that wait.
    bytes: usize,
    twice: Twice,
}

impl Looker {
    fn add(&mut self, ask: Ask) {
        let high = ask.stand.map(|stand| stand.high);
        let time = self.spec.recheck_for;
        let by_collation = self.pair.pairs_by_collation();
        let asked: Option<Arc<HashSet<RowKey>>> = by_collation
            .then(|| Arc::new(ask.keys.iter().map(|asked| asked.key.clone()).collect()));
        for different in ask.keys {
            self.bytes += different.key.len();
            let mut waiting = Waiting::new(ask.seq, different, time);
            waiting.part.clone_from(&ask.part);
            waiting.high.clone_from(&high);
            waiting.asked.clone_from(&asked);
            self.waiting.push_back(waiting);
        }
    }

    /// The next keys to be looked at, with their time begun.
    fn batch(&mut self) -> Vec<Waiting> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < self.spec.look_keys()
            && bytes < limits::LOOK_BYTES_MAX
            && let Some(mut waiting) = self.waiting.pop_front()
        {
            waiting.until();
            bytes += waiting.key.len();
            batch.push(waiting);
        }
        self.bytes -= bytes;
        batch
    }

    async fn look_with_retries(&mut self) -> Result<Vec<(u64, Verdict)>> {
        let mut batch = self.batch();
        let mut tries = 0;
        loop {
            match Box::pin(self.look(&mut batch)).await {
                Ok(settled) => {
                    self.bytes += batch.iter().map(|waiting| waiting.key.len()).sum::<usize>();
                    self.waiting.extend(batch);
                    return Ok(settled);
                }
                Err(error) if may_try_again(&error, &self.spec, tries) => {
                    tracing::warn!(%error, "keys could not be looked at and will be again");
                    self.sides = None;
                    tries += 1;
                    tokio::time::sleep(limits::LOOK_PAUSE * tries).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// One look; what it settles is taken out of the batch.
    async fn look(&mut self, batch: &mut Vec<Waiting>) -> Result<Vec<(u64, Verdict)>> {
        let mut sides = match self.sides.take() {
            Some(sides) => sides,
            None => Sides::connect(&self.servers).await?,
        };
        self.wait(&mut sides.target, batch).await?;
        let stand = sides.open().await?;
        let found = self.lookup().read(&mut sides, batch).await?;
        sides.close().await?;
        let touched = self.touched(stand.as_ref(), batch, &found).await?;
        let (mut settled, mut left, mut hot) = (Vec::new(), Vec::new(), Vec::new());
        for (mut waiting, seen) in batch.drain(..).zip(found) {
            match judge(&mut waiting, seen, touched.as_ref()) {
                Some(Verdict::Unsettled(_)) if self.spec.lock_hot_rows && stand.is_some() => {
                    hot.push(waiting);
                }
                Some(verdict) => {
                    let verdict = self.twice.once(&self.pair, &waiting, verdict);
                    settled.push((waiting.seq, verdict));
                }
                None => {
                    waiting.high = stand.as_ref().map(|stand| stand.high.clone());
                    waiting.looked = Some(Instant::now());
                    left.push(waiting);
                }
            }
        }
        *batch = left;
        self.sides = Some(sides);
        for waiting in hot {
            let verdict = self.settle_hot(&waiting).await?;
            settled.push((waiting.seq, self.twice.once(&self.pair, &waiting, verdict)));
        }
        Ok(settled)
    }

    /// The verdict on a key that never rests. It is unsettled already, and stays so if a connection is lost: what the batch has settled is
    /// not given up for it.
    async fn settle_hot(&mut self, waiting: &Waiting) -> Result<Verdict> {
        match Box::pin(self.look_at_held(waiting)).await {
            Err(error) if error.kind() == ErrorKind::Retry => {
                tracing::warn!(%error, "a row could not be looked at while it was locked");
                Ok(Verdict::Unsettled(waiting.key.clone()))
            }
            done => done,
        }
    }

    /// A last look at a key while its row is held on the source; see [`crate::hot`].
    async fn look_at_held(&mut self, waiting: &Waiting) -> Result<Verdict> {
        let mut sides = match self.sides.take() {
            Some(sides) => sides,
            None => Sides::connect(&self.servers).await?,
        };
        let held = HotRow::lock(&self.servers.source, &self.pair, &waiting.key).await?;
        let mut seen = None;
        if let Some(held) = held {
            let looking = Box::pin(self.look_while_held(&mut sides, waiting, held.left()));
            let looked = tokio::time::timeout(held.left(), looking).await;
            // First of all. An error says that the row may not have been held any more.
            held.release().await?;
            // A look that was cut off leaves its connections in the middle of an answer: they are dropped.
            let Ok(looked) = looked else { return Ok(Verdict::Unsettled(waiting.key.clone())) };
            seen = looked?;
        }
        self.sides = Some(sides);
        Ok(seen.unwrap_or_else(|| Verdict::Unsettled(waiting.key.clone())))
    }

    /// The verdict, if the stream passes in this time what the source shows now.
    async fn look_while_held(
        &self,
        sides: &mut Sides,
        waiting: &Waiting,
        time: Duration,
    ) -> Result<Option<Verdict>> {
        let high = sides.open().await?.map(|stand| stand.high);
        sides.close().await?;
        let mut last = [waiting.again(time, high)];
        self.wait(&mut sides.target, &mut last).await?;
        let stand = sides.open().await?;
        let found = self.lookup().read(sides, &last).await?.remove(0);
        sides.close().await?;
        let [waiting] = &mut last;
        let passed = match (&stand, &waiting.high) {
            (Some(stand), Some(high)) => stand.applied.contains_set(high),
            _ => false,
        };
        let touched = if passed { Touched::Keys(HashSet::new()) } else { Touched::All };
        Ok(judge(waiting, found, Some(&touched)))
    }

    /// Waits until the stream has passed what the last snapshots could contain, or until the first key's time is over.
    async fn wait(&self, target: &mut Wire, batch: &mut [Waiting]) -> Result<()> {
        let Tie::Stream { id } = self.servers.tie else {
            // Since the latest look at any of them.
            let latest = batch.iter().filter_map(|waiting| waiting.looked).max();
            if let Some(latest) = latest {
                tokio::time::sleep(limits::LOOK_PAUSE.saturating_sub(latest.elapsed())).await;
            }
            return Ok(());
        };
        let mut high: Option<GtidSet> = None;
        for next in batch.iter().filter_map(|waiting| waiting.high.as_ref()) {
            match &mut high {
                Some(high) => high.union(next)?,
                None => high = Some(next.clone()),
            }
        }
        let (Some(high), Some(until)) = (high, batch.iter_mut().map(Waiting::until).min()) else {
            return Ok(());
        };
        while Instant::now() < until {
            let applied = GtidSet::parse(high.flavor(), &read_stream(target, id).await?.pos)?;
            if applied.contains_set(&high) {
                return Ok(());
            }
            tokio::time::sleep(limits::POSITION_PAUSE).await;
        }
        Ok(())
    }

    fn lookup(&self) -> Lookup<'_> {
        Lookup { pair: &self.pair, captured: self.spec.captured() }
    }

    async fn touched(
        &self,
        stand: Option<&Stand>,
        batch: &[Waiting],
        found: &[[Option<Seen>; 2]],
    ) -> Result<Option<Touched>> {
        let Some(stand) = stand else { return Ok(None) };
        let mut keys = Vec::new();
        for (waiting, [source, target]) in batch.iter().zip(found) {
            if hash(source) != hash(target) {
                keys.push(waiting.key.clone());
                keys.extend(source.iter().chain(target).map(|seen| seen.key.clone()));
            }
        }
        keys.sort_unstable();
        keys.dedup();
        if keys.is_empty() {
            return Ok(Some(Touched::Keys(keys.into_iter().collect())));
        }
        touched::between(&self.servers.source, stand, &self.pair, &keys).await.map(Some)
    }
}

/// Whether work that failed may be done again over new connections.
pub(crate) fn may_try_again(error: &Error, spec: &Spec, tries: u32) -> bool {
    error.kind() == ErrorKind::Retry && spec.auto_retry && tries < limits::RANGE_TRIES
}
