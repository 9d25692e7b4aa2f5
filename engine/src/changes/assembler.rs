//! Makes transactions of events. Pure: one event in, items out.

mod names;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::ddl::DdlStatement;
use super::lexer::{self, Parsed};
use super::statement::{Statement, TableName};
use super::transaction::{Item, RowOp, Transaction, Work, push_row_ops};
use crate::error::{Error, Result};
use crate::limits;
use crate::mysql::binlog::event::{AlterPhase, EventBody, EventHeader, GtidEvent, QueryEvent};
use crate::mysql::binlog::rows::RowsEvent;
use crate::mysql::binlog::table_map::{ColumnType, kind};
use crate::mysql::server::Flavor;
use crate::mysql::snapshot::LogPosition;
use crate::mysql::sql;
use crate::plan::{Layout, TablePlan};

/// The flag of an event that is about temporary tables of its session.
const THREAD_SPECIFIC: u16 = 4;

/// A table as the assembler sees it.
#[derive(Debug)]
pub struct Followed {
    /// Its plan.
    pub plan: Arc<TablePlan>,
    /// Whether it is still being copied, so that places are wanted.
    pub copying: AtomicBool,
}

/// Makes transactions of events.
#[derive(Debug)]
pub struct Assembler {
    database: String,
    /// The source takes names that differ in case for one.
    folds_names: bool,
    tables: Arc<Vec<Followed>>,
    /// The layout of each table as its latest table map had it.
    layouts: Vec<Option<Arc<Layout>>>,
    log: LogPosition,
    /// When the latest event was written, in seconds since 1970.
    time: u32,
    /// Whether the latest event is about temporary tables of its session.
    temporary: bool,
    open: Option<OpenTransaction>,
}

#[derive(Debug)]
struct OpenTransaction {
    start: GtidEvent,
    /// It ends with a COMMIT or an XID; otherwise with its one statement.
    framed: bool,
    rows: Vec<RowOp>,
    bytes: usize,
    /// Parts were handed on already.
    parted: bool,
    /// It changes tables without a key, so it is never handed on in parts.
    keyless: bool,
    /// It changes tables that are still being copied.
    copying: bool,
    /// How many rows there were at each savepoint.
    savepoints: HashMap<String, usize>,
}

impl OpenTransaction {
    /// What is held of it at most, unless it has to be held whole.
    fn bytes_max(&self) -> usize {
        if self.savepoints.is_empty() || self.parted {
            limits::TRANSACTION_BYTES_MAX
        } else {
            limits::SAVEPOINT_BYTES_MAX
        }
    }

    /// Lets go of all rows but so many.
    fn keep(&mut self, rows: usize) {
        let gone = self.rows.drain(rows.min(self.rows.len())..).map(|row| row.bytes);
        self.bytes = self.bytes.saturating_sub(gone.sum());
    }

    /// A transaction that changes keyless tables is held in memory as a whole.
    fn check_keyless(&self) -> Result<()> {
        if !self.keyless || (!self.parted && self.bytes <= limits::KEYLESS_TRANSACTION_BYTES_MAX) {
            return Ok(());
        }
        Err(Error::stop(format!(
            "transaction {} changes a table without a key and is too large to be applied at once",
            self.start.gtid
        ))
        .advice("Give the table a primary key, or write to it in smaller transactions. The transaction stays in the binlog, so then \
             cancel the workflow and create it again."))
    }

    /// MariaDB ends a transaction with a COMMIT instead of an XID where an engine takes part that cannot prepare. Snapshots are then placed
    /// behind it before InnoDB shows its rows, so a range may have been read without them.
    fn check_prepared(&self) -> Result<()> {
        if !self.copying || self.start.gtid.flavor() != Flavor::MariaDb {
            return Ok(());
        }
        Err(Error::stop(format!(
            "transaction {} changes moved tables while they are copied, and was committed without being prepared: it also read or wrote \
             tables of Aria or another engine that cannot prepare; or, before MariaDB 10.5, called a routine or was an XA transaction",
            self.start.gtid
        ))
        .advice("Until the copy is done, let the application write the moved tables in transactions that use InnoDB tables only, or bring the \
             others to InnoDB (ALTER TABLE … ENGINE=InnoDB; on a replica mysql.gtid_slave_pos is one, too). Where they are only read, a replica \
             as the source helps. The transaction stays in the binlog, so then cancel the workflow and create it again."))
    }
}

impl Assembler {
    /// Follows `tables` of `database`, reading from `log` on. `folds_names` is the source's
    /// [`ServerInfo::folds_names`](crate::mysql::server::ServerInfo).
    pub fn new(
        database: &str,
        tables: Arc<Vec<Followed>>,
        log: LogPosition,
        folds_names: bool,
    ) -> Self {
        let layouts = tables.iter().map(|_| None).collect();
        let database = database.to_owned();
        Self { database, folds_names, tables, layouts, log, time: 0, temporary: false, open: None }
    }

    /// Notes where and when the next event is.
    pub(super) fn advance(&mut self, header: &EventHeader) {
        if header.is_artificial() || header.log_pos == 0 {
            return;
        }
        self.time = header.timestamp;
        self.temporary = header.flags & THREAD_SPECIFIC != 0;
        self.log.advance(header.log_pos);
    }

    /// Takes what an event says.
    ///
    /// # Errors
    /// Stop for what is not understood or cannot be followed.
    pub(super) fn take(&mut self, body: EventBody, out: &mut Vec<Item>) -> Result<()> {
        match body {
            EventBody::Rotate { file, position } => {
                self.log = LogPosition { file, offset: position };
            }
            EventBody::Gtid(start) => self.begin(start)?,
            EventBody::Query(query) => self.query(&query, out)?,
            EventBody::Rows(rows) => self.rows(&rows, out)?,
            EventBody::Xid(_) => self.commit(out)?,
            EventBody::XaPrepare { one_phase: true, .. } => self.commit(out)?,
            EventBody::XaPrepare { .. } => self.prepare(out)?,
            EventBody::Payload(events) => {
                for event in events {
                    self.take(event.body, out)?;
                }
            }
            EventBody::AnonymousGtid => {
                return Err(Error::stop("the source wrote a transaction without a GTID")
                    .advice("Set gtid_mode=ON and enforce_gtid_consistency=ON on the source."));
            }
            EventBody::FormatDescription { .. }
            | EventBody::PreviousGtids(_)
            | EventBody::GtidList(_)
            | EventBody::TableMap(_)
            | EventBody::Heartbeat { .. }
            | EventBody::Annotate(_)
            | EventBody::RowsQuery(_)
            | EventBody::BinlogCheckpoint { .. }
            | EventBody::Stop
            | EventBody::StatementContext(_)
            | EventBody::Ignorable(_) => {}
        }
        Ok(())
    }

    fn begin(&mut self, start: GtidEvent) -> Result<()> {
        if let Some(torn) = &self.open
            && (torn.parted || !torn.rows.is_empty())
        {
            return Err(Error::stop(format!(
                "transaction {} of the source has no end in its binlog",
                torn.start.gtid
            ))
            .advice(
                "The source probably crashed while it wrote it. Create the workflow again: rows of it may be on the target.",
            ));
        }
        // MariaDB's GTID event stands for BEGIN and says if it does not; MySQL writes a BEGIN.
        let framed = start.gtid.flavor() == Flavor::MariaDb && !start.standalone;
        self.open = Some(OpenTransaction {
            framed,
            start,
            rows: Vec::new(),
            bytes: 0,
            parted: false,
            keyless: false,
            copying: false,
            savepoints: HashMap::new(),
        });
        Ok(())
    }

    fn open_mut(&mut self, what: &str) -> Result<&mut OpenTransaction> {
        let log = &self.log;
        self.open.as_mut().ok_or_else(|| {
            Error::stop(format!("{what} outside of a transaction at {} {}", log.file, log.offset))
        })
    }

    fn commit(&mut self, out: &mut Vec<Item>) -> Result<()> {
        self.open_mut("a commit")?;
        self.finish(None, out);
        Ok(())
    }

    /// Hands on the open transaction, with its rows or with `work` in their place.
    fn finish(&mut self, work: Option<Work>, out: &mut Vec<Item>) {
        if let Some(open) = self.open.take() {
            out.push(Item::Transaction(Transaction {
                gtid: open.start.gtid,
                end: self.log.clone(),
                work: work.unwrap_or(Work::Rows(open.rows)),
                bytes: open.bytes,
            }));
        }
    }

    fn prepare(&mut self, out: &mut Vec<Item>) -> Result<()> {
        let open = self.open_mut("an XA PREPARE")?;
        if open.parted || !open.rows.is_empty() {
            return Err(Error::stop(format!(
                "XA transaction {} changes moved tables, which is not supported",
                open.start.gtid
            ))
            .advice("Let the application write these tables without XA, then start the workflow again from a new copy."));
        }
        self.finish(None, out);
        Ok(())
    }

    fn query(&mut self, query: &QueryEvent, out: &mut Vec<Item>) -> Result<()> {
        let parsed = lexer::parse_event(query);
        let statement = parsed.statement();
        self.check_legible(&statement, &parsed, query)?;
        self.check_temporary(&statement, &parsed, query)?;
        match statement {
            Statement::Begin => {
                self.open_mut("a BEGIN")?.framed = true;
                Ok(())
            }
            Statement::Frame => Ok(()),
            Statement::Commit => {
                self.open_mut("a commit")?.check_prepared()?;
                self.commit(out)
            }
            Statement::Rollback => self.rollback(out),
            Statement::Savepoint(name) => {
                let open = self.open_mut("a SAVEPOINT")?;
                open.savepoints.insert(name.to_ascii_lowercase(), open.rows.len());
                Ok(())
            }
            Statement::RollbackTo(name) => self.rollback_to(&name),
            Statement::XaOutcome => {
                self.finish(None, out);
                Ok(())
            }
            Statement::Harmless | Statement::TemporaryTable(_) => {
                self.finish_statement(out);
                Ok(())
            }
            Statement::Truncate(name) => {
                match self.moved(&name, &parsed, query)?.map(Work::Truncate) {
                    Some(work) => self.finish(Some(work), out),
                    None => self.finish_statement(out),
                }
                Ok(())
            }
            Statement::TableDdl(names) => self.ddl(&names, &parsed, query, out),
            Statement::DropDatabase(name) if self.is_name(&name, &self.database) => {
                let tables = (0..self.tables.len()).collect();
                let statement = DdlStatement::of(query, self.time);
                self.finish(Some(Work::Ddl { tables, statement }), out);
                Ok(())
            }
            Statement::DropDatabase(_) => {
                self.finish_statement(out);
                Ok(())
            }
            Statement::Data | Statement::Unknown => self.doubtful(&statement, &parsed, query, out),
        }
    }

    /// A statement that is a transaction by itself ends it; inside BEGIN … COMMIT (as in CREATE TABLE … SELECT) it does not.
    fn finish_statement(&mut self, out: &mut Vec<Item>) {
        if self.open.as_ref().is_some_and(|open| !open.framed) {
            self.finish(None, out);
        }
    }

    fn rollback(&mut self, out: &mut Vec<Item>) -> Result<()> {
        let open = self.open_mut("a ROLLBACK")?;
        if open.parted {
            return Err(Error::stop(format!(
                "large transaction {} was rolled back after parts of it were applied",
                open.start.gtid
            ))
            .advice("Create the workflow again: rows of it may be on the target."));
        }
        open.keep(0);
        self.finish(None, out);
        Ok(())
    }

    fn rollback_to(&mut self, name: &str) -> Result<()> {
        let open = self.open_mut("a ROLLBACK TO SAVEPOINT")?;
        // Servers take letters with and without accents for the same here, so such a name may be another's.
        let plain = name.is_ascii() && open.savepoints.keys().all(|name| name.is_ascii());
        match open.savepoints.get(&name.to_ascii_lowercase()).copied() {
            Some(kept) if !open.parted && plain => {
                open.keep(kept);
                Ok(())
            }
            _ => Err(Error::stop(format!(
                "transaction {} goes back to a savepoint that is not known any more",
                open.start.gtid
            ))
            .advice("Create the workflow again: rows of it may be on the target.")),
        }
    }

    fn ddl(
        &mut self,
        names: &[TableName],
        parsed: &Parsed,
        query: &QueryEvent,
        out: &mut Vec<Item>,
    ) -> Result<()> {
        let mut tables = Vec::new();
        for name in names {
            tables.extend(self.moved(name, parsed, query)?);
        }
        let phase = self.open.as_ref().and_then(|open| open.start.alter);
        // Of MariaDB's two-phase ALTER only the COMMIT takes effect.
        let nothing_yet = matches!(phase, Some(AlterPhase::Start | AlterPhase::Rollback { .. }));
        let work = (!tables.is_empty() && !nothing_yet)
            .then(|| Work::Ddl { tables, statement: DdlStatement::of(query, self.time) });
        match work {
            Some(work) => self.finish(Some(work), out),
            None => self.finish_statement(out),
        }
        Ok(())
    }

    fn rows(&mut self, event: &RowsEvent, out: &mut Vec<Item>) -> Result<()> {
        let Some(table) = self.table_of(event) else {
            return self.open_mut("a row event").map(drop);
        };
        let layout = self.layout(table, event)?;
        let copying = self.tables[table].copying.load(Ordering::Relaxed);
        for change in event.changes() {
            let change = change?;
            let open = self.open_mut("a row event")?;
            open.keyless |= layout.plan.key.is_none();
            open.copying |= copying;
            open.check_keyless()?;
            open.bytes += push_row_ops(table, &layout, change, copying, &mut open.rows)?;
            self.part_if_large(out);
        }
        Ok(())
    }

    /// Hands on what is there of a transaction that has grown over its bound, which is higher where it may go back to a savepoint. (It does
    /// so in the binlog only if it has changed tables that cannot; otherwise the server leaves out what was taken back.)
    fn part_if_large(&mut self, out: &mut Vec<Item>) {
        if let Some(open) = &mut self.open
            && !open.keyless
            && open.bytes > open.bytes_max()
        {
            open.parted = true;
            out.push(Item::Part {
                gtid: open.start.gtid.clone(),
                rows: std::mem::take(&mut open.rows),
                bytes: std::mem::take(&mut open.bytes),
            });
        }
    }

    fn table_of(&self, event: &RowsEvent) -> Option<usize> {
        // Where the server folds names, the event has its spelling, and the configuration may have another.
        if !self.is_name(&event.table.database, &self.database) {
            return None;
        }
        self.tables.iter().position(|table| self.is_name(&event.table.table, table.plan.name()))
    }

    /// The layout for an event: that of the first event of its table.
    fn layout(&mut self, table: usize, event: &RowsEvent) -> Result<Arc<Layout>> {
        for columns in [&event.columns_before, &event.columns_after] {
            if !columns.is_empty() && !columns.is_full() {
                return Layout::new(
                    self.tables[table].plan.clone(),
                    event.table.clone(),
                    columns.clone(),
                )
                .map(Arc::new);
            }
        }
        if let Some(layout) = &self.layouts[table] {
            if Arc::ptr_eq(&layout.map, &event.table) || layout.map.columns == event.table.columns {
                return Ok(layout.clone());
            }
            // DDL in the binlog ends the attempt, and what comes after it is read by another assembler.
            if !only_rebuilt(layout, &event.table.columns) {
                return Err(redefined(&layout.plan));
            }
        }
        let columns = if event.columns_before.is_empty() {
            &event.columns_after
        } else {
            &event.columns_before
        };
        let plan = self.tables[table].plan.clone();
        let layout = Arc::new(Layout::new(plan, event.table.clone(), columns.clone())?);
        self.layouts[table] = Some(layout.clone());
        Ok(layout)
    }
}

/// Whether the columns that are stored otherwise by now are old temporal types in their new form, as OPTIMIZE brings it, and none of them
/// tells rows apart.
fn only_rebuilt(layout: &Layout, now: &[ColumnType]) -> bool {
    let Some(key) = &layout.plan.key else { return false };
    let rebuilt = |(before, now): (&ColumnType, &ColumnType)| {
        let pair = (before.kind, now.kind);
        now.meta == 0
            && [
                (kind::TIME, kind::TIME2),
                (kind::DATETIME, kind::DATETIME2),
                (kind::TIMESTAMP, kind::TIMESTAMP2),
            ]
            .contains(&pair)
    };
    let is_key = |at: usize| key.columns.iter().any(|column| column.ordinal == at);
    let mut columns = layout.map.columns.iter().zip(now).enumerate();
    layout.map.columns.len() == now.len()
        && columns.all(|(at, (before, now))| before == now || rebuilt((before, now)) && !is_key(at))
}

/// A key of other types would tell rows apart by other bytes, and a wider column's values may not fit.
fn redefined(plan: &TablePlan) -> Error {
    Error::stop(format!(
        "the columns of {} change in the middle of the source's binlog, and no statement in it says how",
        sql::ident(plan.name())
    ))
    .advice(
        "Was the table altered or rebuilt with sql_log_bin=0? If both servers have one definition, start the workflow again; else cancel it and create it again.",
    )
}
