//! Which keys the source changed between two positions, as its binlog says.
//!
//! Before this stand two snapshots that show a key differently; after it the verdict: a key without an event between the target's
//! position P and the source's bound H differs for good ([`crate::sides`]).
//!
//! The answer errs on one side only: a key may be called touched that is not, never the other way round. So a statement that may
//! change the table without row events (DDL, TRUNCATE, what is not understood) touches all keys, and so does every event
//! of a table whose keys cannot be told from row images here.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shunt_engine::Result;
use shunt_engine::changes::lexer;
use shunt_engine::changes::reader::Feed;
use shunt_engine::changes::statement::Statement;
use shunt_engine::error::ResultExt;
use shunt_engine::key::{KeyColumn, KeyKind, KeyPlan};
use shunt_engine::mysql::binlog::event::QueryEvent;
use shunt_engine::mysql::binlog::{Bitmap, EventBody, RowsEvent, RowsKind, Value};
use shunt_engine::mysql::gtid::{Gtid, GtidSet};
use shunt_engine::mysql::names;
use shunt_engine::mysql::server::{Flavor, ServerConfig};
use shunt_engine::mysql::wire::{TextCells, Wire};
use shunt_engine::plan::{Layout, TablePlan};

use crate::pair::{Pair, RowKey};
use crate::sides::Stand;

/// A scan that takes longer says that any key may have been touched.
const SCAN_MAX: Duration = Duration::from_secs(60);

/// Keys that had an event, of those that were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touched {
    /// These; as they were asked for.
    Keys(HashSet<RowKey>),
    /// Possibly any.
    All,
}

impl Touched {
    /// Whether the key may have had an event.
    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            Self::Keys(keys) => keys.contains(key),
            Self::All => true,
        }
    }
}

/// Reads the source's binlog from P to H.
///
/// # Errors
/// Retry if the source is lost; Stop if its binlog is purged or not understood.
pub async fn between(
    source: &ServerConfig,
    stand: &Stand,
    pair: &Pair,
    keys: &[RowKey],
) -> Result<Touched> {
    if stand.applied.contains_set(&stand.high) {
        return Ok(Touched::Keys(HashSet::new()));
    }
    let wire = Wire::connect(source).await?;
    let flavor = wire.info().flavor;
    let mut feed = Feed::open(wire, &stand.applied).await?;
    let mut scan = Scan::new(flavor, stand, pair, keys)?;
    let started = Instant::now();
    while started.elapsed() < SCAN_MAX {
        let event = feed.next().await.context("find out what the source changed meanwhile")?;
        if scan.take(event.body)? {
            return Ok(scan.touched);
        }
    }
    Ok(Touched::All)
}

struct Scan<'a> {
    flavor: Flavor,
    pair: &'a Pair,
    plan: Arc<TablePlan>,
    /// How row images are compared with the keys; none if they cannot be.
    key: Option<KeyForm>,
    /// The keys that are asked for, each behind its form.
    wanted: Vec<(Vec<u8>, RowKey)>,
    seen: GtidSet,
    high: GtidSet,
    open: Option<Gtid>,
    /// The open transaction ends with a COMMIT or an XID; otherwise with its one statement.
    framed: bool,
    touched: Touched,
}

impl<'a> Scan<'a> {
    fn new(flavor: Flavor, stand: &Stand, pair: &'a Pair, keys: &[RowKey]) -> Result<Self> {
        let plan = Arc::new(TablePlan::new(pair.source.schema.clone(), ""));
        let key = KeyForm::new(&plan, pair);
        let mut wanted = Vec::new();
        for asked in key.iter().flat_map(|_| keys) {
            let form = key.as_ref().map(|key| key.of_row(asked)).transpose()?;
            wanted.push((form.unwrap_or_default(), asked.clone()));
        }
        wanted.sort_unstable();
        Ok(Self {
            flavor,
            pair,
            plan,
            key,
            wanted,
            seen: stand.applied.clone(),
            high: stand.high.clone(),
            open: None,
            framed: false,
            touched: Touched::Keys(HashSet::new()),
        })
    }

    /// Takes an event; true when all up to H has been seen, or nothing more can be learnt.
    fn take(&mut self, body: EventBody) -> Result<bool> {
        match body {
            EventBody::Gtid(start) => {
                self.end()?;
                if self.seen.contains_set(&self.high) {
                    return Ok(true);
                }
                self.framed = self.flavor == Flavor::MariaDb && !start.standalone;
                self.open = Some(start.gtid);
            }
            EventBody::Rows(rows) => self.rows(&rows)?,
            EventBody::Query(query) => self.query(&query)?,
            EventBody::Payload(events) => {
                for event in events {
                    if self.take(event.body)? {
                        return Ok(true);
                    }
                }
            }
            EventBody::Xid(_) | EventBody::XaPrepare { .. } => self.end()?,
            // MariaDB has sent everything that was written by now, and H was read before. MySQL also sends heartbeats
            // while it passes over transactions.
            EventBody::Heartbeat { .. } if self.flavor == Flavor::MariaDb => return Ok(true),
            _ => {}
        }
        let done = self.open.is_none() && self.seen.contains_set(&self.high);
        Ok(done || self.touched == Touched::All)
    }

    fn end(&mut self) -> Result<()> {
        self.open.take().map_or(Ok(()), |gtid| self.seen.insert(&gtid))
    }

    fn query(&mut self, query: &QueryEvent) -> Result<()> {
        let parsed = lexer::parse_event(query);
        let schema = &self.pair.source.schema;
        let mentioned = parsed.mentions(&schema.database, &schema.name);
        match parsed.statement() {
            Statement::Begin => self.framed = true,
            Statement::Commit | Statement::Rollback => return self.end(),
            Statement::Savepoint(_) | Statement::RollbackTo(_) | Statement::Frame => {}
            Statement::Harmless | Statement::TemporaryTable(_) => {}
            Statement::Unknown | Statement::XaOutcome | Statement::DropDatabase(_) => {
                self.touched = Touched::All;
            }
            // A view, a trigger or a function may stand between the statement and the table.
            Statement::Data => self.touched = Touched::All,
            Statement::Truncate(_) | Statement::TableDdl(_) if mentioned => {
                self.touched = Touched::All;
            }
            Statement::Truncate(_) | Statement::TableDdl(_) => {}
        }
        if self.framed { Ok(()) } else { self.end() }
    }

    fn rows(&mut self, rows: &RowsEvent) -> Result<()> {
        let schema = &self.pair.source.schema;
        if !names::same(&rows.table.database, &schema.database)
            || !names::same(&rows.table.table, &schema.name)
        {
            return Ok(());
        }
        let layout = |columns: &Bitmap| {
            Layout::new(self.plan.clone(), rows.table.clone(), columns.clone()).ok()
        };
        let before = layout(&rows.columns_before).filter(|_| rows.kind != RowsKind::Insert);
        let after = layout(&rows.columns_after).filter(|_| rows.kind != RowsKind::Delete);
        for change in rows.changes() {
            let change = change?;
            for (layout, image) in [(&before, &change.before), (&after, &change.after)] {
                let Some(image) = image else { continue };
                // Without a layout the images are partial, or of another definition.
                let form = match (layout, &self.key) {
                    (Some(layout), Some(key)) => key.of_values(&layout.key_values(image)?)?,
                    _ => None,
                };
                self.touch(form);
            }
        }
        Ok(())
    }

    fn touch(&mut self, form: Option<Vec<u8>>) {
        let Some(form) = form else {
            self.touched = Touched::All;
            return;
        };
        let start = self.wanted.partition_point(|(wanted, _)| *wanted < form);
        if let Touched::Keys(keys) = &mut self.touched {
            let same = self.wanted[start..].iter().take_while(|(wanted, _)| *wanted == form);
            keys.extend(same.map(|(_, key)| key.clone()));
        }
    }
}

/// A form in which keys of rows and keys of row images are the same bytes: the order of each column where it is known here,
/// and strings as they are stored.
struct KeyForm(Vec<KeyPlan>);

impl KeyForm {
    /// None for keys that the source does not print as it stores them.
    fn new(plan: &TablePlan, pair: &Pair) -> Option<Self> {
        let key = plan.key.as_ref().filter(|_| pair.keyed())?;
        let compared = &pair.columns[..pair.key_cells];
        let readable = key.columns.iter().zip(compared).all(|(column, compared)| {
            compared.note.is_none() && column.kind != KeyKind::Opaque { charset: None }
        });
        let single =
            |column: &KeyColumn| KeyPlan { columns: vec![column.clone()], index: String::new() };
        readable.then(|| Self(key.columns.iter().map(single).collect()))
    }

    fn of_row(&self, key: &[u8]) -> Result<Vec<u8>> {
        let mut form = Vec::new();
        for (column, cell) in self.0.iter().zip(TextCells::new(key)) {
            let cell = cell?.unwrap_or_default();
            if column.exact() {
                push(&column.place(vec![cell.to_vec()])?.order, &mut form);
            } else {
                push(cell, &mut form);
            }
        }
        Ok(form)
    }

    fn of_values(&self, values: &[Value<'_>]) -> Result<Option<Vec<u8>>> {
        let mut form = Vec::new();
        for (column, value) in self.0.iter().zip(values) {
            match (column.place_of_event(std::slice::from_ref(value))?, value) {
                (Some(place), _) => push(&place.order, &mut form),
                (None, Value::Bytes(bytes)) => push(bytes, &mut form),
                // A UUID, which is printed as these bytes, too.
                (None, Value::Native(native)) => push(native.as_bytes(), &mut form),
                (None, _) => return Ok(None),
            }
        }
        Ok(Some(form))
    }
}

fn push(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
    out.extend_from_slice(bytes);
}
