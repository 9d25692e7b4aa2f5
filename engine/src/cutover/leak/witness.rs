//! What each transaction of a binlog did to some tables, from its events alone.
//!
//! Unlike the stream's [`Assembler`](crate::changes::Assembler) this needs no definitions and stops at nothing: it is to tell who
//! wrote, not what. A transaction is the stream's own if it moves a position in the sidecar as well, which every transaction of
//! a stream does; DDL is ours if it has our mark. What is not understood, and may concern the tables, counts as touching them. Rows
//! that a transaction took back to a savepoint count too.

use std::collections::BTreeMap;

use crate::changes::lexer::{self, Parsed};
use crate::changes::statement::{Statement, TableName};
use crate::error::Result;
use crate::mysql::binlog::event::{
    AlterPhase, Event, EventBody, EventHeader, GtidEvent, QueryEvent,
};
use crate::mysql::binlog::rows::RowsEvent;
use crate::mysql::gtid::Gtid;
use crate::mysql::names::same;
use crate::mysql::server::Flavor;
use crate::mysql::snapshot::LogPosition;
use crate::mysql::sql;

/// Tables of the sidecar, in which every transaction of a stream writes.
const STREAM_TABLES: [&str; 2] = ["stream", "range"];

/// A transaction that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sighting {
    /// Its name.
    pub(super) gtid: Gtid,
    /// Where it ends.
    pub(super) end: LogPosition,
    /// What it did to the tables; `None` if nothing, or if it is ours.
    pub(super) touched: Option<String>,
}

/// Reads events.
#[derive(Debug)]
pub(super) struct Witness {
    database: String,
    tables: Vec<String>,
    log: LogPosition,
    open: Option<Open>,
}

/// A transaction whose end is not read yet.
#[derive(Debug)]
struct Open {
    gtid: Gtid,
    /// It ends with a COMMIT or an XID; otherwise with its one statement.
    framed: bool,
    /// Of MariaDB's two-phase ALTER: it changes nothing yet, or not any more.
    idle: bool,
    ours: bool,
    /// Rows by table.
    rows: BTreeMap<String, u64>,
    statements: Vec<String>,
}

impl Witness {
    pub(super) fn new(database: &str, tables: &[String]) -> Self {
        let log = LogPosition { file: String::new(), offset: 0 };
        Self { database: database.to_owned(), tables: tables.to_vec(), log, open: None }
    }

    /// Takes an event; what it ends is added to `out`.
    ///
    /// # Errors
    /// Stop for rows that are cut short.
    pub(super) fn take(&mut self, event: Event, out: &mut Vec<Sighting>) -> Result<()> {
        self.advance(&event.header);
        self.take_body(event.body, out)
    }

    fn advance(&mut self, header: &EventHeader) {
        if !header.is_artificial() && header.log_pos > 0 {
            self.log.advance(header.log_pos);
        }
    }

    fn take_body(&mut self, body: EventBody, out: &mut Vec<Sighting>) -> Result<()> {
        match body {
            EventBody::Rotate { file, position } => {
                self.log = LogPosition { file, offset: position };
            }
            EventBody::Gtid(start) => self.begin(start),
            EventBody::Query(query) => self.query(&query, out),
            EventBody::Rows(rows) => self.rows(&rows)?,
            // What is prepared has its rows here, and its commit has none.
            EventBody::Xid(_) | EventBody::XaPrepare { .. } => self.finish(out),
            EventBody::Payload(events) => {
                for event in events {
                    self.take_body(event.body, out)?;
                }
            }
            EventBody::AnonymousGtid
            | EventBody::FormatDescription { .. }
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

    fn begin(&mut self, start: GtidEvent) {
        self.open = Some(Open {
            framed: start.gtid.flavor() == Flavor::MariaDb && !start.standalone,
            idle: matches!(start.alter, Some(AlterPhase::Start | AlterPhase::Rollback { .. })),
            gtid: start.gtid,
            ours: false,
            rows: BTreeMap::new(),
            statements: Vec::new(),
        });
    }

    fn finish(&mut self, out: &mut Vec<Sighting>) {
        if let Some(open) = self.open.take() {
            let end = self.log.clone();
            out.push(Sighting { touched: open.touched(&self.database), gtid: open.gtid, end });
        }
    }

    fn rows(&mut self, event: &RowsEvent) -> Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let (database, table) = (&event.table.database, &event.table.table);
        if same(database, "_shunt") {
            open.ours |= STREAM_TABLES.contains(&table.as_str());
        } else if same(database, &self.database) && self.tables.iter().any(|t| same(t, table)) {
            let mut rows = 0;
            for change in event.changes() {
                change?;
                rows += 1;
            }
            *open.rows.entry(table.clone()).or_default() += rows;
        }
        Ok(())
    }

    fn query(&mut self, query: &QueryEvent, out: &mut Vec<Sighting>) {
        let parsed = lexer::parse_event(query);
        match parsed.statement() {
            Statement::Begin => {
                if let Some(open) = &mut self.open {
                    open.framed = true;
                }
            }
            Statement::Frame | Statement::Savepoint(_) | Statement::RollbackTo(_) => {}
            Statement::Commit | Statement::XaOutcome => self.finish(out),
            Statement::Rollback => {
                if let Some(open) = &mut self.open {
                    open.rows.clear();
                }
                self.finish(out);
            }
            Statement::Harmless | Statement::TemporaryTable(_) => self.finish_statement(out),
            Statement::Truncate(name) => {
                self.ddl("emptied", &[name], &parsed, query);
                self.finish_statement(out);
            }
            Statement::TableDdl(names) => {
                self.ddl("changed the definition of", &names, &parsed, query);
                self.finish_statement(out);
            }
            Statement::DropDatabase(name) => {
                if same(&name, &self.database) {
                    self.note("dropped the database of the tables".to_owned());
                }
                self.finish_statement(out);
            }
            Statement::Data | Statement::Unknown => {
                self.doubtful(&parsed, query);
                self.finish_statement(out);
            }
        }
    }

    fn ddl(&mut self, did: &str, names: &[TableName], parsed: &Parsed, query: &QueryEvent) {
        let here = String::from_utf8_lossy(&query.database).into_owned();
        let database = |name: &TableName| name.database.clone().unwrap_or_else(|| here.clone());
        let touched: Vec<String> = names
            .iter()
            .filter(|name| same(&database(name), &self.database))
            .filter(|name| self.tables.iter().any(|table| same(table, &name.table)))
            .map(|name| sql::ident(&name.table))
            .collect();
        let idle = self.open.as_ref().is_some_and(|open| open.idle);
        if idle || sql::is_marked(&query.sql) {
            return;
        }
        if !touched.is_empty() {
            self.note(format!("{did} {}", touched.join(", ")));
        } else if !parsed.is_legible() {
            self.doubtful(parsed, query);
        }
    }

    /// Data in statement format, or a statement that is not understood: it is passed only if it cannot concern the tables.
    fn doubtful(&mut self, parsed: &Parsed, query: &QueryEvent) {
        let named = self.tables.iter().find(|table| parsed.mentions(&self.database, table));
        if let Some(table) = named {
            let table = sql::ident(table);
            self.note(format!(
                "ran a statement that is in the binlog without its rows, on {table}"
            ));
        } else if same(&String::from_utf8_lossy(&query.database), &self.database)
            && !parsed.empties_memory_table()
        {
            self.note("ran a statement that is in the binlog without its rows".to_owned());
        }
    }

    fn note(&mut self, what: String) {
        if let Some(open) = &mut self.open
            && open.statements.is_empty()
        {
            open.statements.push(what);
        }
    }

    fn finish_statement(&mut self, out: &mut Vec<Sighting>) {
        if self.open.as_ref().is_some_and(|open| !open.framed) {
            self.finish(out);
        }
    }
}

impl Open {
    fn touched(&self, database: &str) -> Option<String> {
        if self.ours {
            return None;
        }
        let rows = self.rows.iter().map(|(table, rows)| {
            let noun = if *rows == 1 { "row" } else { "rows" };
            format!("wrote {rows} {noun} of {}", sql::ident(table))
        });
        let did: Vec<String> = rows.chain(self.statements.iter().cloned()).collect();
        (!did.is_empty())
            .then(|| format!("{} in database {}", did.join(", "), sql::ident(database)))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::mysql::binlog::event::SessionVariables;

    fn event(body: EventBody) -> Event {
        let header =
            EventHeader { timestamp: 1, kind: 2, server_id: 1, size: 10, log_pos: 100, flags: 0 };
        Event { header, body }
    }

    fn gtid(standalone: bool) -> Event {
        event(EventBody::Gtid(GtidEvent {
            gtid: Gtid::MariaDb { domain: 0, server: 1, seq: 7 },
            standalone,
            ddl: standalone,
            transactional: true,
            prepared_xa: false,
            completed_xa: false,
            alter: None,
            flags: 0,
            original_commit_us: None,
        }))
    }

    fn query(database: &str, sql: &str) -> Event {
        event(EventBody::Query(QueryEvent {
            database: Bytes::copy_from_slice(database.as_bytes()),
            sql: Bytes::copy_from_slice(sql.as_bytes()),
            error_code: 0,
            thread_id: 1,
            variables: SessionVariables::default(),
            flavor: Flavor::MariaDb,
        }))
    }

    /// What one statement, a transaction by itself, did to table `t` of `shop`.
    fn touched(database: &str, sql: &str) -> Option<String> {
        let mut witness = Witness::new("shop", &["t".to_owned()]);
        let mut out = Vec::new();
        witness.take(gtid(true), &mut out).unwrap();
        witness.take(query(database, sql), &mut out).unwrap();
        assert_eq!(out.len(), 1, "{sql}");
        assert_eq!(out[0].end.offset, 100);
        out.remove(0).touched
    }

    #[test]
    fn statements_on_the_tables_are_seen_and_others_are_not() {
        for (database, sql, what) in [
            ("shop", "TRUNCATE t", "emptied `t`"),
            ("", "TRUNCATE TABLE shop.t", "emptied `t`"),
            ("shop", "ALTER TABLE T ADD x INT", "changed the definition of `T`"),
            ("other", "RENAME TABLE shop.t TO shop.u", "changed the definition of `t`"),
            ("other", "DROP DATABASE shop", "dropped the database"),
            ("other", "UPDATE shop.t SET a = 1", "without its rows, on `t`"),
            ("shop", "CALL something()", "without its rows"),
        ] {
            let seen = touched(database, sql);
            assert!(seen.as_ref().is_some_and(|seen| seen.contains(what)), "{sql}: {seen:?}");
        }
        for (database, sql) in [
            ("other", "TRUNCATE t"),
            ("shop", "TRUNCATE u"),
            ("shop", "CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW SET @a = 1"),
            ("shop", "DROP TRIGGER x"),
            ("other", "UPDATE u SET a = 1"),
        ] {
            assert_eq!(touched(database, sql), None, "{sql}");
        }
    }

    #[test]
    fn ddl_with_our_mark_is_ours() {
        let ours = sql::marked("ALTER TABLE `shop`.`t` AUTO_INCREMENT = 7");
        assert_eq!(touched("", &ours), None);
        assert!(touched("", "/* shunted */ ALTER TABLE `shop`.`t` ENGINE = InnoDB").is_some());
    }

    #[test]
    fn what_was_rolled_back_or_not_begun_yet_is_nothing() {
        let mut witness = Witness::new("shop", &["t".to_owned()]);
        let mut out = Vec::new();
        witness.take(gtid(false), &mut out).unwrap();
        witness.take(query("shop", "ROLLBACK"), &mut out).unwrap();
        let Event { header, body: EventBody::Gtid(start) } = gtid(true) else { unreachable!() };
        let start = GtidEvent { alter: Some(AlterPhase::Start), ..start };
        witness.take(Event { header, body: EventBody::Gtid(start) }, &mut out).unwrap();
        witness.take(query("shop", "ALTER TABLE t ADD x INT"), &mut out).unwrap();
        let touched: Vec<_> = out.iter().map(|seen| seen.touched.clone()).collect();
        assert_eq!(touched, [None, None]);
    }
}
