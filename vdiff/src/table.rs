//! One table's comparison: the owner of its record, between the tasks that work.
//!
//! One task finds ranges, lanes compare them, one task looks at keys again; this owner adds up what they say, saves a settled front
//! of it, and applies repairs. Everything they send is an [`Event`]; their channels are bounded, and dropping the owner ends
//! them all.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use shunt_engine::key::Place;
use shunt_engine::mysql::sql;
use shunt_engine::runtime::tasks::TaskSet;
use shunt_engine::sidecar::wanted::Wanted;
use shunt_engine::{Error, Result};
use tokio::sync::{Mutex, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::archive::findings::Reporter;
use crate::definitions::Definitions;
use crate::finder;
use crate::fix::Fixer;
use crate::keyless::Counted;
use crate::lane::{self, Shared};
use crate::ledger::Ledger;
use crate::limits;
use crate::looks::{self, Finding, Verdict, may_try_again};
use crate::pair::Pair;
use crate::report::{Show, State, TableRecord, hex, unhex};
use crate::sides::Stand;
use crate::store::Store;

/// What the tasks of a table say.
#[derive(Debug)]
pub enum Event {
    /// Keys of a range differ so far and are to be settled.
    Keys {
        /// The range's number.
        seq: u64,
        /// How many.
        keys: usize,
    },
    /// A range was compared, and all keys of it that differ so far were said.
    Range {
        /// Its number.
        seq: u64,
        /// Its last key.
        upper: Option<Place>,
        /// Rows that are alike.
        equal: u64,
        /// The first P and the last H.
        stand: Option<Stand>,
    },
    /// A key was settled.
    Settled {
        /// The range it is of.
        seq: u64,
        /// What became of it.
        verdict: Verdict,
    },
    /// A row that only one side of a table without a key has; for the file of all differences.
    Extra(Box<Finding>),
    /// All ranges are found; there are so many.
    Found(u64),
    /// A table without a key was compared.
    Keyless(Box<Counted>),
}

/// How a comparison ended, if not by an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All is compared.
    Completed,
    /// The operator wants it stopped, or this process ends.
    Stopped,
    /// Its time is over; it goes on after a rest.
    Rests,
}

/// What is shown while a table is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The table.
    pub table: String,
    /// Rows judged.
    pub rows: u64,
    /// Rows, as the source estimates them.
    pub rows_estimate: u64,
    /// Differences found.
    pub differences: u64,
}

/// A table's comparison.
pub struct TableRun<'a> {
    /// What its tasks share.
    pub shared: Shared,
    /// Its record, as it was saved.
    pub record: TableRecord,
    /// Where it is saved.
    pub store: &'a mut Store,
    /// What is done about differences.
    pub fixer: &'a mut Fixer,
    /// Where they are written.
    pub reporter: &'a mut Reporter,
    /// What is shown.
    pub progress: &'a watch::Sender<Progress>,
    ledger: Ledger,
    total: Option<u64>,
    keyless_done: bool,
}

impl<'a> TableRun<'a> {
    /// A comparison that begins, or goes on where the record says.
    pub fn new(
        shared: Shared,
        record: TableRecord,
        store: &'a mut Store,
        fixer: &'a mut Fixer,
        reporter: &'a mut Reporter,
        progress: &'a watch::Sender<Progress>,
    ) -> Self {
        let ledger = Ledger::new(shared.spec.sample_rows);
        Self {
            shared,
            record,
            store,
            fixer,
            reporter,
            progress,
            ledger,
            total: None,
            keyless_done: false,
        }
    }

    /// Compares until done, stopped or failed; the record has been saved then. It says *completed* only if the definitions are still
    /// those that were compared by.
    ///
    /// # Errors
    /// Whatever ends it; Stop if a definition changed.
    pub(crate) async fn run(
        &mut self,
        definitions: &Definitions,
        cancel: &CancellationToken,
    ) -> Result<Ended> {
        let pair = self.shared.pair.clone();
        self.record.state = State::Started;
        self.record.rows_estimate = pair.source.schema.rows_estimate;
        self.record.strength = self.shared.folding.describe(pair.keyed());
        self.record.first_rows = self.shared.spec.limit.filter(|_| pair.keyed());
        self.record.compared = self.notes();
        let mut tasks = TaskSet::default();
        let events = self.start(&mut tasks)?;
        let ended = self.work(events, &mut tasks, cancel).await?;
        self.record.state = match ended {
            Ended::Completed => {
                // Whoever goes on does not compare again what is saved as completed.
                self.check(definitions).await?;
                // Behind the last range that was read there is no row.
                let whole = self.record.lastpk.is_none();
                self.record.first_rows = self.record.first_rows.filter(|_| !whole);
                self.record.compared = self.notes();
                State::Completed
            }
            Ended::Rests => State::Started,
            Ended::Stopped => State::Stopped,
        };
        let wanted = self.save().await?;
        Ok(if wanted == Wanted::Stop && ended == Ended::Rests { Ended::Stopped } else { ended })
    }

    /// How rows are compared, and which are not.
    fn notes(&self) -> Vec<String> {
        let mut notes = self.shared.pair.notes();
        if let Some(rows) = self.record.first_rows {
            notes.push(format!("rows behind the first {rows} by the key: not compared (--limit)"));
        }
        if self.record.began_anew {
            notes.push("begun anew: a definition changed since this VDiff was interrupted".into());
        }
        notes
    }

    /// Makes sure that the definitions are those that were compared by.
    async fn check(&mut self, definitions: &Definitions) -> Result<()> {
        let (pair, advice) = (self.shared.pair.clone(), begin_anew(self.store, self.fixer));
        let spec = &self.shared.spec;
        let still = async {
            let mut tries = 0;
            let still = loop {
                match definitions.are_those_of(&pair).await {
                    Err(error) if may_try_again(&error, spec, tries) => {
                        tries += 1;
                        tokio::time::sleep(limits::LOOK_PAUSE * tries).await;
                    }
                    read => break read?,
                }
            };
            if still {
                return Ok(());
            }
            let table = sql::ident(&pair.name);
            Err(Error::stop(format!("the definition of {table} changed while it was compared"))
                .advice(advice))
        };
        self.store.keep_lease(still).await
    }

    /// Saves the record, and with it what is still to be done about differences.
    async fn save(&mut self) -> Result<Wanted> {
        self.fixer.checkpoint(&mut self.record)?;
        self.store.save(&self.record).await
    }

    fn start(&self, tasks: &mut TaskSet) -> Result<mpsc::Receiver<Event>> {
        let shared = &self.shared;
        let after = lastpk(&shared.pair, &self.record)?;
        let left = shared.spec.limit.map(|limit| limit.saturating_sub(self.record.compared_rows()));
        let (events, received) =
            mpsc::channel(if shared.spec.report { limits::REPORT_KEYS_MAX } else { 1024 });
        let (send_range, ranges) = mpsc::channel(limits::RANGES_AHEAD);
        let (asks, asked) = mpsc::channel(limits::ASKS_AHEAD);
        let ranges = Arc::new(Mutex::new(ranges));
        tasks.spawn(
            "ranges",
            finder::find_ranges(shared.clone(), after, left, send_range, events.clone()),
        );
        for _ in 0..shared.spec.parallelism {
            tasks.spawn(
                "compare",
                lane::run(shared.clone(), ranges.clone(), events.clone(), asks.clone()),
            );
        }
        let (servers, pair) = (shared.servers.clone(), shared.pair.clone());
        tasks.spawn("looks", looks::run(servers, pair, shared.spec.clone(), asked, events));
        Ok(received)
    }

    async fn work(
        &mut self,
        mut events: mpsc::Receiver<Event>,
        tasks: &mut TaskSet,
        cancel: &CancellationToken,
    ) -> Result<Ended> {
        let started = Instant::now();
        let mut save = tokio::time::interval(limits::SAVE_INTERVAL);
        save.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // Every branch is cancel-safe; the operator's wish comes first, then failures.
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(Ended::Stopped),
                error = tasks.failure() => return Err(error),
                _ = save.tick() => {
                    if self.save().await? == Wanted::Stop {
                        return Ok(Ended::Stopped);
                    }
                    if self.is_over(started.elapsed()) {
                        return Ok(Ended::Rests);
                    }
                }
                event = events.recv() => match event {
                    Some(event) => self.take(event).await?,
                    None => return Err(why_ended(tasks).await),
                },
            }
            if self.is_done() {
                let work = self.fixer.finish_table(&self.shared, &mut self.record);
                self.store.keep_lease(work).await?;
                return Ok(Ended::Completed);
            }
        }
    }

    fn is_over(&self, elapsed: Duration) -> bool {
        self.ledger.taken() > 0
            && self.shared.spec.max_diff_duration.is_some_and(|longest| elapsed >= longest)
    }

    fn is_done(&self) -> bool {
        self.keyless_done || self.shared.pair.keyed() && self.total == Some(self.ledger.taken())
    }

    async fn take(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Found(total) => self.total = Some(total),
            Event::Keys { seq, keys } => self.ledger.asked(seq, keys),
            Event::Range { seq, upper, equal, stand } => {
                self.ledger.compared(seq, upper, equal, stand);
            }
            Event::Settled { seq, verdict } => {
                if let Verdict::Differs(finding) = &verdict {
                    self.reporter.add(&self.shared.pair, finding).await?;
                    let work = self.fixer.add(&self.shared, finding, &mut self.record);
                    self.store.keep_lease(work).await?;
                }
                self.ledger.settled(seq, verdict);
            }
            Event::Extra(finding) => self.reporter.add(&self.shared.pair, &finding).await?,
            Event::Keyless(counted) => self.count(*counted),
        }
        let show = self.show();
        while let Some((upper, tally)) = self.ledger.take() {
            self.record.add(&self.shared.pair, &tally, &show);
            self.record.lastpk =
                upper.map(|place| place.cells.iter().map(|cell| hex(cell)).collect());
        }
        self.progress.send_replace(Progress {
            table: self.record.name.clone(),
            rows: self.record.compared_rows() + self.ledger.ahead(),
            rows_estimate: self.record.rows_estimate,
            differences: self.record.mismatched
                + self.record.extra_source
                + self.record.extra_target,
        });
        Ok(())
    }

    fn count(&mut self, counted: Counted) {
        let show = self.show();
        let pair = &self.shared.pair;
        let [source, target] = counted.extra;
        self.record.matching = counted.equal;
        self.record.unsettled = counted.unsettled;
        if counted.unsettled == 0 {
            self.record.extra_source = source.rows;
            self.record.extra_target = target.rows;
        }
        self.record.extra_source_sample =
            source.sample.iter().map(|cells| show.row(pair, cells)).collect();
        self.record.extra_target_sample =
            target.sample.iter().map(|cells| show.row(pair, cells)).collect();
        self.record.from = counted.stand.as_ref().map(|stand| stand.applied.to_string());
        self.record.to = counted.stand.as_ref().map(|stand| stand.high.to_string());
        self.keyless_done = true;
    }

    fn show(&self) -> Show {
        let spec = &self.shared.spec;
        Show { rows: spec.sample_rows, truncate_at: spec.truncate_at, only_pks: spec.only_pks }
    }
}

/// How the table is compared with another definition.
fn begin_anew(store: &Store, fixer: &Fixer) -> &'static str {
    match (store, fixer) {
        (_, Fixer::Emit { .. }) => {
            "Remove the file of statements, if there is one, and the state (--state), and run it again."
        }
        (Store::Sidecar { .. }, _) => {
            "`shunt vdiff resume` compares the table from its start, with the definition that it has then."
        }
        (Store::File { .. } | Store::Memory { .. }, _) => {
            "The same command compares the table from its start, with the definition that it has then."
        }
    }
}

/// Why nobody says anything any more: a task's channel is closed a little before its error can be had.
async fn why_ended(tasks: &mut TaskSet) -> Error {
    let failure = tokio::time::timeout(limits::TASKS_END, tasks.failure()).await;
    failure.unwrap_or_else(|_| Error::retry("the comparing tasks ended"))
}

/// Where a record goes on.
fn lastpk(pair: &Pair, record: &TableRecord) -> Result<Option<Place>> {
    let Some(cells) = record.lastpk.as_ref().filter(|_| pair.keyed()) else { return Ok(None) };
    let broken = || Error::stop("a stored key of a VDiff is broken");
    let key = pair.source.key.as_ref().ok_or_else(broken)?;
    let cells: Option<Vec<Vec<u8>>> = cells.iter().map(|cell| unhex(cell)).collect();
    let cells = cells.filter(|cells| cells.len() == key.columns.len()).ok_or_else(broken)?;
    key.place(cells).map(Some)
}

/// Rows of the first ranges, by the source's statistics.
pub fn first_range_rows(pair: &Pair) -> Arc<AtomicU64> {
    let schema = &pair.source.schema;
    let width = schema.data_bytes.checked_div(schema.rows_estimate).unwrap_or(0).max(1);
    let rows =
        (limits::RANGE_BYTES / width).clamp(limits::RANGE_ROWS_MIN, limits::RANGE_ROWS_MAX / 2);
    Arc::new(AtomicU64::new(rows))
}
