//! Keys that differed, looked at again until each is settled.
//!
//! Before this stand the lanes, which found the keys; after it the ledger, which counts verdicts. One task looks, over two
//! connections of its own, at many keys at once: it waits until the stream has passed what the last snapshots could contain, opens
//! new ones, and decides by the rule of [`crate::sides`]. Where no position ties the sides, a key differs if several looks in a row
//! show the same two rows.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use shunt_engine::mysql::gtid::GtidSet;
use shunt_engine::mysql::wire::{TextCells, Wire};
use shunt_engine::{Error, ErrorKind, Result};
use tokio::sync::mpsc;

use crate::hash::row_hash;
use crate::hot::HotRow;
use crate::keys;
use crate::limits;
use crate::pair::{Pair, RowKey, Side};
use crate::sides::{Servers, Sides, Stand, Tie, read_stream};
use crate::spec::Spec;
use crate::table::Event;
use crate::touched::{self, Touched};

/// Keys to be looked at.
#[derive(Debug)]
pub struct Ask {
    /// The range that they are of.
    pub seq: u64,
    /// The keys.
    pub keys: Vec<RowKey>,
    /// What the snapshots were that showed them different.
    pub stand: Option<Stand>,
}

/// What became of a key.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Both sides have the same row.
    Equal,
    /// Neither side has it any more, or it is the other half of a pair that was counted.
    Gone,
    /// The sides differ.
    Differs(Box<Finding>),
    /// It changed all the time.
    Unsettled(RowKey),
}

/// A difference.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The key, as the source has it if the source has it.
    pub key: RowKey,
    /// The key as the target has it, if that differs: equal to the other one under the collation.
    pub target_key: Option<RowKey>,
    /// The source's row, its long cells cut.
    pub source: Option<Seen>,
    /// The target's row, its long cells cut.
    pub target: Option<Seen>,
}

/// A row as a look saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    hash: u128,
    key: RowKey,
    /// Its cells; each is cut a little behind what is shown of it, unless it is of the key.
    pub cells: Vec<Option<Vec<u8>>>,
}

impl Seen {
    /// A row by its packet, each cell cut a little behind `truncate_at` characters.
    pub(crate) fn of(pair: &Pair, row: &[u8], truncate_at: usize) -> Result<Self> {
        let key: RowKey = pair.key_of(row)?.into();
        let cells = cells_of(row, pair.key_cells, truncate_at)?;
        Ok(Self { hash: row_hash(row), key, cells })
    }

    /// Its key.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    /// Whether it is the same row, whole.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

struct Waiting {
    seq: u64,
    key: RowKey,
    until: Instant,
    high: Option<GtidSet>,
    last: Option<[Option<u128>; 2]>,
    agreed: u32,
    looked: Option<Instant>,
    /// All keys of its range that were asked for, where a pair may be asked for by both of its keys.
    asked: Option<Arc<HashSet<RowKey>>>,
}

impl Waiting {
    fn new(seq: u64, key: RowKey, time: Duration, high: Option<GtidSet>) -> Self {
        let until = Instant::now() + time;
        Self { seq, key, until, high, last: None, agreed: 0, looked: None, asked: None }
    }

    /// Whether this other key was asked for, too.
    fn is_asked_by(&self, key: &RowKey) -> bool {
        *key != self.key && self.asked.as_ref().is_some_and(|asked| asked.contains(key))
    }
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
    let mut looker = Looker { servers, pair, spec, sides: None, waiting: VecDeque::new() };
    loop {
        if looker.waiting.is_empty() {
            let Some(ask) = asks.recv().await else { return Ok(()) };
            looker.add(ask);
        }
        while looker.waiting.len() < limits::LOOK_KEYS_WAITING
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
}

impl Looker {
    fn add(&mut self, ask: Ask) {
        let high = ask.stand.map(|stand| stand.high);
        let time = self.spec.recheck_for;
        let by_collation = self.pair.pairs_by_collation();
        let asked: Option<Arc<HashSet<RowKey>>> =
            by_collation.then(|| Arc::new(ask.keys.iter().cloned().collect()));
        let waiting = |key| Waiting {
            asked: asked.clone(),
            ..Waiting::new(ask.seq, key, time, high.clone())
        };
        self.waiting.extend(ask.keys.into_iter().map(waiting));
    }

    async fn look_with_retries(&mut self) -> Result<Vec<(u64, Verdict)>> {
        let count = self.waiting.len().min(self.spec.look_keys());
        let mut batch: Vec<Waiting> = self.waiting.drain(..count).collect();
        let mut tries = 0;
        loop {
            match Box::pin(self.look(&mut batch)).await {
                Ok(settled) => {
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
        let found = self.read(&mut sides, batch).await?;
        sides.close().await?;
        let touched = self.touched(stand.as_ref(), batch, &found).await?;
        let mut settled = Vec::new();
        let mut left = Vec::new();
        for (mut waiting, seen) in batch.drain(..).zip(found) {
            let mut verdict = judge(&mut waiting, seen, touched.as_ref());
            if matches!(verdict, Some(Verdict::Unsettled(_))) && self.spec.lock_hot_rows {
                verdict = Some(Box::pin(self.look_at_held(&mut sides, &waiting)).await?);
            }
            match verdict {
                Some(verdict) => settled.push((waiting.seq, verdict)),
                None => {
                    waiting.high = stand.as_ref().map(|stand| stand.high.clone());
                    waiting.looked = Some(Instant::now());
                    left.push(waiting);
                }
            }
        }
        *batch = left;
        self.sides = Some(sides);
        Ok(settled)
    }

    /// A last look at a key while its row is held on the source; see [`crate::hot`].
    async fn look_at_held(&self, sides: &mut Sides, waiting: &Waiting) -> Result<Verdict> {
        let unsettled = Verdict::Unsettled(waiting.key.clone());
        if self.servers.tie == Tie::Nothing {
            return Ok(unsettled);
        }
        let Some(held) = HotRow::lock(&self.servers.source, &self.pair, &waiting.key).await? else {
            return Ok(unsettled);
        };
        let high = sides.open().await?.map(|stand| stand.high);
        sides.close().await?;
        let again = Waiting::new(waiting.seq, waiting.key.clone(), limits::HOT_LOCK, high);
        let mut last = [Waiting { asked: waiting.asked.clone(), ..again }];
        self.wait(&mut sides.target, &last).await?;
        let stand = sides.open().await?;
        let found = self.read(sides, &last).await?.remove(0);
        sides.close().await?;
        held.release().await?;
        let [waiting] = &mut last;
        let passed = match (&stand, &waiting.high) {
            (Some(stand), Some(high)) => stand.applied.contains_set(high),
            _ => false,
        };
        let touched = if passed { Touched::Keys(HashSet::new()) } else { Touched::All };
        Ok(judge(waiting, found, Some(&touched)).unwrap_or(unsettled))
    }

    /// Waits until the stream has passed what the last snapshots could contain, or until the first key's time is over.
    async fn wait(&self, target: &mut Wire, batch: &[Waiting]) -> Result<()> {
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
        let (Some(high), Some(until)) = (high, batch.iter().map(|waiting| waiting.until).min())
        else {
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

    /// What both sides have of each key of the batch.
    ///
    /// Where keys are paired by their collation, the one in other bytes is looked for on *each* side: both may have changed it.
    /// With a condition, what only one side has under it is looked up without: the other may have the row outside of it, and then it
    /// differs and is not missing.
    async fn read(&self, sides: &mut Sides, batch: &[Waiting]) -> Result<Vec<[Option<Seen>; 2]>> {
        let keys: Vec<&[u8]> = batch.iter().map(|waiting| &*waiting.key).collect();
        let query = |side| self.pair.lookup_query(side, &keys, "");
        let (source, target) = (query(Side::Source)?, query(Side::Target)?);
        let (source, target) = tokio::join!(
            self.rows(&mut sides.source, source),
            self.rows(&mut sides.target, target)
        );
        let (mut source, mut target) = (source?, target?);
        let mut found = Vec::new();
        for key in &keys {
            let mut seen = [source.remove(*key), target.remove(*key)];
            if self.pair.pairs_by_collation() {
                let single = |side| self.pair.lookup_query(side, &[key], "");
                if seen[0].is_none() {
                    seen[0] = self.only(&mut sides.source, single(Side::Source)?).await?;
                }
                if seen[1].is_none() {
                    seen[1] = self.only(&mut sides.target, single(Side::Target)?).await?;
                }
            }
            if self.pair.filter.is_some() && seen[0].is_some() != seen[1].is_some() {
                let alone = seen.iter().flatten().map(|seen| seen.key.clone()).next();
                let keys: Vec<&[u8]> = alone.iter().map(|key| &**key).chain([*key]).collect();
                let whole = |side| self.pair.whole_query(side, &keys);
                let (wire, query, missing) = match seen[0] {
                    None => (&mut sides.source, whole(Side::Source)?, &mut seen[0]),
                    Some(_) => (&mut sides.target, whole(Side::Target)?, &mut seen[1]),
                };
                let mut rows = self.rows(wire, query).await?;
                let exact = alone.and_then(|alone| rows.remove(&alone));
                let other = || rows.into_values().next().filter(|_| self.pair.pairs_by_collation());
                *missing = exact.or_else(other);
            }
            found.push(seen);
        }
        Ok(found)
    }

    /// The only row; none if there are several, of which none is more the one than another.
    async fn only(&self, wire: &mut Wire, query: Vec<u8>) -> Result<Option<Seen>> {
        let rows = self.rows(wire, query).await?;
        let single = rows.len() == 1;
        Ok(rows.into_values().next().filter(|_| single))
    }

    async fn rows(&self, wire: &mut Wire, query: Vec<u8>) -> Result<HashMap<RowKey, Seen>> {
        let mut rows = HashMap::new();
        wire.start_rows(query).await?;
        while let Some(row) = wire.next_row().await? {
            let seen = Seen::of(&self.pair, row, self.spec.captured())?;
            if rows.insert(seen.key.clone(), seen).is_some() {
                return Err(keys::twice(&self.pair.name, "source or the target"));
            }
        }
        Ok(rows)
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

fn hash(seen: &Option<Seen>) -> Option<u128> {
    seen.as_ref().map(|seen| seen.hash)
}

/// Whether work that failed may be done again over new connections.
pub(crate) fn may_try_again(error: &Error, spec: &Spec, tries: u32) -> bool {
    error.kind() == ErrorKind::Retry && spec.auto_retry && tries < limits::RANGE_TRIES
}

/// A row's cells, each with a little more than is shown of it.
pub(crate) fn cells_of(
    row: &[u8],
    key_cells: usize,
    truncate_at: usize,
) -> Result<Vec<Option<Vec<u8>>>> {
    // A character has four bytes at most.
    let shown = truncate_at.saturating_mul(4).saturating_add(4);
    let cell = |(at, cell): (usize, Result<Option<&[u8]>>)| {
        let end = |cell: &[u8]| if at < key_cells { cell.len() } else { cell.len().min(shown) };
        Ok(cell?.map(|cell| cell[..end(cell)].to_vec()))
    };
    TextCells::new(row).enumerate().map(cell).collect()
}

/// The verdict on a key, or none if it has to be looked at again. `touched` is none where no position ties the sides.
fn judge(
    waiting: &mut Waiting,
    [source, target]: [Option<Seen>; 2],
    touched: Option<&Touched>,
) -> Option<Verdict> {
    let hashes = [hash(&source), hash(&target)];
    // The source's row is looked at by its own key as well.
    let elsewhere = source.as_ref().is_some_and(|source| waiting.is_asked_by(&source.key));
    if hashes[0] == hashes[1] {
        let counted = hashes[0].is_some() && !elsewhere;
        return Some(if counted { Verdict::Equal } else { Verdict::Gone });
    }
    let proven = match touched {
        Some(touched) => {
            let keys = source.iter().chain(&target).map(|seen| &seen.key);
            !keys.chain([&waiting.key]).any(|key| touched.contains(key))
        }
        None => {
            waiting.agreed = if waiting.last == Some(hashes) { waiting.agreed + 1 } else { 1 };
            waiting.last = Some(hashes);
            waiting.agreed >= limits::LOOKS_UNTIED
        }
    };
    if !proven {
        let over = Instant::now() >= waiting.until;
        return over.then(|| Verdict::Unsettled(waiting.key.clone()));
    }
    let target_key = match (&source, &target) {
        // The pair is counted where the source's key is looked at.
        (Some(_), Some(_)) if elsewhere => return Some(Verdict::Gone),
        (Some(s), Some(t)) if s.key != t.key => Some(t.key.clone()),
        _ => None,
    };
    let seen = source.as_ref().or(target.as_ref());
    let key = seen.map_or_else(|| waiting.key.clone(), |seen| seen.key.clone());
    Some(Verdict::Differs(Box::new(Finding { key, target_key, source, target })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting() -> Waiting {
        Waiting::new(0, b"\x011".as_slice().into(), Duration::from_secs(60), None)
    }

    fn seen(hash: u128, key: &[u8]) -> Option<Seen> {
        Some(Seen { hash, key: key.into(), cells: Vec::new() })
    }

    fn keys(keys: &[&[u8]]) -> Touched {
        Touched::Keys(keys.iter().map(|key| RowKey::from(*key)).collect::<HashSet<_>>())
    }

    #[test]
    fn a_key_with_an_event_between_the_snapshots_is_not_judged() {
        let one = b"\x011";
        let rows = || [seen(1, one), seen(2, one)];
        assert!(judge(&mut waiting(), rows(), Some(&keys(&[one]))).is_none());
        assert!(judge(&mut waiting(), rows(), Some(&Touched::All)).is_none());
        let verdict = judge(&mut waiting(), rows(), Some(&keys(&[b"\x012"])));
        assert!(matches!(verdict, Some(Verdict::Differs(_))), "{verdict:?}");
        let verdict = judge(&mut waiting(), [seen(1, one), seen(1, one)], Some(&Touched::All));
        assert!(matches!(verdict, Some(Verdict::Equal)), "{verdict:?}");
        let mut late = waiting();
        late.until = Instant::now();
        let verdict = judge(&mut late, rows(), Some(&Touched::All));
        assert!(matches!(verdict, Some(Verdict::Unsettled(_))), "{verdict:?}");
    }

    #[test]
    fn without_a_position_several_looks_must_agree() {
        let one = b"\x011";
        let mut waiting = waiting();
        for hash in [2, 3, 2, 2] {
            assert!(judge(&mut waiting, [seen(1, one), seen(hash, one)], None).is_none());
        }
        let verdict = judge(&mut waiting, [seen(1, one), seen(2, one)], None);
        assert!(matches!(verdict, Some(Verdict::Differs(_))), "{verdict:?}");
    }

    #[test]
    fn keys_that_differ_in_case_are_one_pair() {
        let (lower, upper) = (b"\x01a", b"\x01A");
        let rows = || [seen(1, lower), seen(2, upper)];
        let mut asked = waiting();
        asked.key = lower.as_slice().into();
        let Some(Verdict::Differs(finding)) = judge(&mut asked, rows(), Some(&keys(&[]))) else {
            panic!("the pair differs")
        };
        assert_eq!(finding.target_key.as_deref(), Some(upper.as_slice()));
        asked.key = upper.as_slice().into();
        // Only the target's key was asked for: the source had another one then.
        let verdict = judge(&mut asked, rows(), Some(&keys(&[])));
        let Some(Verdict::Differs(finding)) = verdict else { panic!("nobody else counts it") };
        assert_eq!(&*finding.key, lower.as_slice());
        let both = [lower.as_slice().into(), upper.as_slice().into()];
        asked.asked = Some(Arc::new(both.into_iter().collect()));
        assert!(matches!(judge(&mut asked, rows(), Some(&keys(&[]))), Some(Verdict::Gone)));
        let same = || [seen(1, lower), seen(1, lower)];
        assert!(matches!(judge(&mut asked, same(), Some(&keys(&[]))), Some(Verdict::Gone)));
    }
}
