//! A live table against its archive. How, and why that is right, is argued in [`super`].

use std::collections::{HashMap, HashSet};
use std::ops::Range as Numbers;
use std::path::PathBuf;
use std::sync::Arc;

use shunt_engine::error::ResultExt;
use shunt_engine::key::Place;
use shunt_engine::mysql::schema::TableSchema;
use shunt_engine::mysql::server::ServerConfig;
use shunt_engine::mysql::sql;
use shunt_engine::mysql::wire::{TextCells, Wire};
use shunt_engine::{Error, Result};
use tokio::sync::watch;

use super::create::{check_definition, check_engine, open_exact};
use super::findings::Reporter;
use super::read::{Archive, Codec};
use crate::definitions::read_schema;
use crate::hash::row_hash;
use crate::ledger::Tally;
use crate::limits;
use crate::looks::{Finding, Seen, Verdict};
use crate::narrow::compare_counts;
use crate::pair::{Pair, Range, RowKey, Side};
use crate::report::{Show, State, TableRecord};
use crate::spec::{Spec, Strength};
use crate::table::Progress;

/// What is compared.
#[derive(Clone, Debug)]
pub struct Job {
    /// The live table's server.
    pub server: ServerConfig,
    /// The database on it.
    pub database: String,
    /// The folder of the archives.
    pub folder: PathBuf,
    /// How.
    pub spec: Spec,
}

impl Job {
    /// Refuses what an archive cannot do.
    ///
    /// # Errors
    /// Usage.
    pub fn check(&self) -> Result<()> {
        let spec = &self.spec;
        let refused = [
            (spec.filter.is_some(), "--where"),
            (spec.limit.is_some(), "--limit"),
            (!spec.map.is_empty(), "--map"),
            (spec.repair, "--repair"),
            (spec.strength == Strength::Fast, "--strength fast"),
        ];
        match refused.iter().find(|(asked, _)| *asked) {
            Some((_, option)) => {
                Err(Error::usage(format!("an archive is compared without {option}")))
            }
            None => Ok(()),
        }
    }
}

/// Compares a table with its archive; its record says what was found.
///
/// # Errors
/// Usage if there is no such table or archive, or if their columns have nothing in common; of the server and of the file.
pub async fn run(
    job: &Job,
    record: &mut TableRecord,
    reporter: &mut Reporter,
    progress: &watch::Sender<Progress>,
) -> Result<()> {
    let archive = Archive::open(&job.folder, &record.target_name)?;
    let live = read_schema(&job.server, &job.database, &record.name).await?;
    let mut archived = archive.meta.schema()?;
    let mut source = live.clone();
    let key: Vec<&str> =
        live.identity_columns().iter().map(|at| live.columns[*at].name.as_str()).collect();
    if key != archive.meta.key {
        source.keys.clear();
        archived.keys.clear();
    }
    let pair = Pair::new(source, archived, &job.spec)?;
    let mut wire = Wire::connect(&job.server).await?;
    let position = match open(&mut wire, &live).await? {
        Ok(position) => Some(position),
        Err(why) => {
            wire = Wire::connect(&job.server).await?;
            wire.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT").await?;
            record.compared.push(format!("the table's position is not known: {why}"));
            None
        }
    };
    check_definition(&mut wire, &live).await?;
    record.state = State::Started;
    record.rows_estimate = live.rows_estimate;
    record.strength = "strong: 128 bits, xxh3 of every row".into();
    record.compared.extend(notes(&pair, &archive, position.as_deref()));
    record.from = Some(archive.meta.gtid.clone());
    record.to = position;
    reporter.begin(&pair)?;
    let codecs = Codec::of(&pair, &archive.meta)?;
    let held = Held { pair, archive, codecs, spec: job.spec.clone(), reporter, progress };
    let mut comparison =
        Comparison { held, wire, tally: Tally::default(), archived: 0, place: record.name.clone() };
    if comparison.held.pair.keyed() {
        Box::pin(comparison.keyed()).await?;
    } else {
        Box::pin(comparison.keyless()).await?;
    }
    let Comparison { held, mut wire, tally, .. } = comparison;
    let show = Show {
        rows: job.spec.sample_rows,
        truncate_at: job.spec.truncate_at,
        only_pks: job.spec.only_pks,
    };
    record.add(&held.pair, &tally, &show);
    wire.execute("ROLLBACK").await.context("end the snapshot")?;
    reporter.finish().await?;
    record.state = State::Completed;
    Ok(())
}

/// Opens a snapshot at a position, or says why there is none. The connection is of no further use then.
async fn open(wire: &mut Wire, live: &TableSchema) -> Result<std::result::Result<String, Error>> {
    if let Err(why) = check_engine(live) {
        return Ok(Err(why));
    }
    match open_exact(wire).await {
        Err(why) if why.kind() == shunt_engine::ErrorKind::Stop => Ok(Err(why)),
        opened => opened.map(Ok),
    }
}

/// What the report says beside what is said of any pair.
fn notes(pair: &Pair, archive: &Archive, position: Option<&str>) -> Vec<String> {
    let meta = &archive.meta;
    let of = sql::qualified(&meta.database, &meta.table);
    let mut notes = vec![format!(
        "the archive is of {of} at {} ({} UTC), the table at {}",
        shown(&meta.gtid),
        meta.taken_at,
        position.map_or("a position that is not known", shown)
    )];
    notes.extend(pair.notes());
    notes
}

fn shown(position: &str) -> &str {
    if position.is_empty() { "the empty position" } else { position }
}

/// What does not change but for what is told to others.
struct Held<'a> {
    pair: Pair,
    archive: Archive,
    codecs: Arc<[Codec]>,
    spec: Spec,
    reporter: &'a mut Reporter,
    progress: &'a watch::Sender<Progress>,
}

impl Held<'_> {
    /// A live row, printed as the archive would.
    fn canonical(&self, row: &[u8], packet: &mut Vec<u8>) -> Result<()> {
        packet.clear();
        for (cell, codec) in TextCells::new(row).zip(&*self.codecs) {
            codec.push_live(cell?, packet);
        }
        Ok(())
    }

    fn seen(&self, packet: &[u8]) -> Result<Seen> {
        Seen::of(&self.pair, packet, self.spec.captured())
    }
}

struct Comparison<'a> {
    held: Held<'a>,
    wire: Wire,
    tally: Tally,
    /// Rows of the archive so far.
    archived: u64,
    place: String,
}

impl Comparison<'_> {
    async fn keyed(&mut self) -> Result<()> {
        let exact =
            self.held.pair.source.key.as_ref().is_some_and(shunt_engine::key::KeyPlan::exact);
        let groups = self.held.archive.groups();
        let (mut lower, mut pending) = (None::<Place>, HashSet::new());
        for at in 0..groups.max(1) {
            let (mut archived, last) = self.read_group(at..groups.min(at + 1)).await?;
            self.archived += u64::try_from(archived.len()).unwrap_or(u64::MAX);
            let last = last.map(|key| self.held.pair.place(&key)).transpose()?;
            if exact && lower.is_some() && last <= lower {
                return Err(Error::stop("the archive's rows are not in the order of its key"));
            }
            let upper = last.filter(|_| at + 1 < groups);
            let range = Range { lower, upper: upper.clone() };
            let mut unsettled = self.live(&range, &mut archived, exact).await?;
            lower = upper;
            unsettled.extend(archived.into_keys());
            if exact {
                self.settle(at..groups.min(at + 1), unsettled).await?;
            } else {
                pending.extend(unsettled);
                if pending.len() > limits::ARCHIVE_KEYS_MAX {
                    return Err(Error::stop(format!(
                        "more than {} keys differ or stand in another order than in the archive",
                        limits::ARCHIVE_KEYS_MAX
                    ))
                    .advice(
                        "Is it the archive of this table, and has its key the same collation?",
                    ));
                }
            }
            self.show();
        }
        self.settle(0..groups, pending).await?;
        let found = self.tally.mismatched + self.tally.extra_target;
        self.tally.matching = self.archived.saturating_sub(found);
        Ok(())
    }

    /// Keys and hashes of a row group, and its last key.
    async fn read_group(
        &self,
        groups: Numbers<usize>,
    ) -> Result<(HashMap<RowKey, u128>, Option<RowKey>)> {
        let mut keys = HashMap::new();
        let mut last = None;
        let (mut blocks, reading) = self.held.archive.rows(groups, &self.held.codecs);
        while let Some(block) = blocks.recv().await {
            for row in block.rows() {
                let key: RowKey = self.held.pair.key_of(row)?.into();
                if keys.insert(key.clone(), row_hash(row)).is_some() {
                    return Err(Error::stop("the archive has a key twice"));
                }
                last = Some(key);
            }
        }
        reading.join().await?;
        Ok((keys, last))
    }

    /// Reads a range of the table. What is alike is taken out of the archived rows; returned are the keys that differ, and those
    /// that are not among them where order is not known here. Where it is, such a row is found at once.
    async fn live(
        &mut self,
        range: &Range,
        archived: &mut HashMap<RowKey, u128>,
        exact: bool,
    ) -> Result<HashSet<RowKey>> {
        let mut unsettled = HashSet::new();
        let mut packet = Vec::new();
        let query = self.held.pair.rows_query(Side::Source, range);
        self.wire.start_rows(query).await.context("read the table")?;
        while let Some(row) = self.wire.next_row().await.context("read the table")? {
            self.held.canonical(row, &mut packet)?;
            let key = self.held.pair.key_of(&packet)?;
            match archived.remove(key) {
                Some(hash) if hash == row_hash(&packet) => {}
                None if exact => {
                    let seen = self.held.seen(&packet)?;
                    found(&mut self.held, &mut self.tally, Some(seen), None).await?;
                }
                _ => {
                    unsettled.insert(key.into());
                    if unsettled.len() > limits::ARCHIVE_KEYS_MAX {
                        return Err(Error::stop("too many rows are not in the archive"));
                    }
                }
            }
        }
        Ok(unsettled)
    }

    /// Settles keys of these row groups, each with both rows.
    async fn settle(&mut self, groups: Numbers<usize>, mut keys: HashSet<RowKey>) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let (mut blocks, reading) = self.held.archive.rows(groups, &self.held.codecs);
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some(block) = blocks.recv().await {
            for row in block.rows() {
                if !keys.remove(self.held.pair.key_of(row)?) {
                    continue;
                }
                bytes += row.len();
                batch.push(self.held.seen(row)?);
                if batch.len() >= self.held.spec.look_keys() || bytes > limits::GROUP_BYTES_MAX {
                    self.judge(std::mem::take(&mut batch)).await?;
                    bytes = 0;
                }
            }
        }
        reading.join().await?;
        self.judge(batch).await?;
        let left: Vec<RowKey> = keys.into_iter().collect();
        for keys in left.chunks(self.held.spec.look_keys()) {
            for seen in self.look(keys).await?.into_values() {
                found(&mut self.held, &mut self.tally, Some(seen), None).await?;
            }
        }
        Ok(())
    }

    /// Archived rows beside the live ones of their keys.
    async fn judge(&mut self, batch: Vec<Seen>) -> Result<()> {
        let keys: Vec<RowKey> = batch.iter().map(|seen| seen.key().into()).collect();
        let mut live = self.look(&keys).await?;
        for archived in batch {
            let source = live.remove(archived.key());
            if source.as_ref().is_some_and(|source| source.same(&archived)) {
                continue;
            }
            found(&mut self.held, &mut self.tally, source, Some(archived)).await?;
        }
        Ok(())
    }

    /// The live rows of exactly these keys.
    async fn look(&mut self, keys: &[RowKey]) -> Result<HashMap<RowKey, Seen>> {
        let mut rows = HashMap::new();
        if keys.is_empty() {
            return Ok(rows);
        }
        let asked: HashSet<&RowKey> = keys.iter().collect();
        let plain: Vec<&[u8]> = keys.iter().map(|key| &**key).collect();
        let query = self.held.pair.lookup_query(Side::Source, &plain, "")?;
        let mut packet = Vec::new();
        self.wire.start_rows(query).await.context("look rows up")?;
        while let Some(row) = self.wire.next_row().await? {
            self.held.canonical(row, &mut packet)?;
            let key: RowKey = self.held.pair.key_of(&packet)?.into();
            // A collation may bring others as well.
            if asked.contains(&key) {
                rows.insert(key, self.held.seen(&packet)?);
            }
        }
        Ok(rows)
    }

    /// Rows without a key: how often each comes on both sides.
    async fn keyless(&mut self) -> Result<()> {
        let (mut live, mut archived) = (Vec::new(), Vec::new());
        let mut packet = Vec::new();
        let whole = Range { lower: None, upper: None };
        let query = self.held.pair.rows_query(Side::Source, &whole);
        self.wire.start_rows(&query).await.context("read the table")?;
        while let Some(row) = self.wire.next_row().await.context("read the table")? {
            self.held.canonical(row, &mut packet)?;
            hold(&mut live, &packet)?;
        }
        let groups = 0..self.held.archive.groups();
        let (mut blocks, reading) = self.held.archive.rows(groups.clone(), &self.held.codecs);
        while let Some(block) = blocks.recv().await {
            block.rows().try_for_each(|row| hold(&mut archived, row))?;
        }
        reading.join().await?;
        let (equal, mut counts) = compare_counts(live, archived);
        self.tally.matching = equal;
        if counts.is_empty() {
            return Ok(());
        }
        self.wire.start_rows(query).await.context("read the table")?;
        while let Some(row) = self.wire.next_row().await.context("read the table")? {
            self.held.canonical(row, &mut packet)?;
            if let Some(count) = counts.get_mut(&row_hash(&packet)).filter(|count| **count > 0) {
                *count -= 1;
                let seen = self.held.seen(&packet)?;
                found(&mut self.held, &mut self.tally, Some(seen), None).await?;
            }
        }
        let (mut blocks, reading) = self.held.archive.rows(groups, &self.held.codecs);
        while let Some(block) = blocks.recv().await {
            for row in block.rows() {
                if let Some(count) = counts.get_mut(&row_hash(row)).filter(|count| **count < 0) {
                    *count += 1;
                    let seen = self.held.seen(row)?;
                    found(&mut self.held, &mut self.tally, None, Some(seen)).await?;
                }
            }
        }
        reading.join().await
    }

    fn show(&self) {
        let tally = &self.tally;
        self.held.progress.send_replace(Progress {
            table: self.place.clone(),
            rows: self.archived,
            rows_estimate: self.held.pair.source.schema.rows_estimate,
            differences: tally.mismatched + tally.extra_source + tally.extra_target,
        });
    }
}

async fn found(
    held: &mut Held<'_>,
    tally: &mut Tally,
    source: Option<Seen>,
    target: Option<Seen>,
) -> Result<()> {
    let key = source.as_ref().or(target.as_ref()).map(|seen| seen.key().into());
    let key = key.unwrap_or_default();
    let finding = Finding { key, target_key: None, source, target };
    held.reporter.add(&held.pair, &finding).await?;
    tally.add(Verdict::Differs(Box::new(finding)), held.spec.sample_rows);
    Ok(())
}

fn hold(hashes: &mut Vec<u128>, row: &[u8]) -> Result<()> {
    if hashes.len() >= limits::KEYLESS_ROWS_MAX {
        let max = limits::KEYLESS_ROWS_MAX;
        return Err(Error::stop(format!(
            "the table has no key, or another than its archive, and more than {max} rows: it is too large to be compared"
        )));
    }
    hashes.push(row_hash(row));
    Ok(())
}
