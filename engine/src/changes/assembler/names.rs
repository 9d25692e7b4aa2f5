//! Whether a statement concerns a moved table: by the names in it, as the source's server reads them.
//!
//! Two errors are possible. A moved table that is not recognised loses its changes; another that is taken for it stops the stream,
//! or, for TRUNCATE, empties the wrong table. So names are compared exactly as the server compares them, and where a name cannot be
//! read, the stream stops.

use super::Assembler;
use crate::changes::legible::Legible;
use crate::changes::lexer::Parsed;
use crate::changes::statement::{Statement, TableName};
use crate::changes::transaction::Item;
use crate::error::{Error, Result};
use crate::mysql::binlog::event::QueryEvent;
use crate::mysql::names::{lowered, same};
use crate::mysql::server::Flavor;
use crate::mysql::sql;

const ADVICE_ROW: &str = "Set binlog_format=ROW on the source for every session, then cancel the workflow and create it again.";

const ADVICE_TEMPORARY: &str = "Set binlog_format=ROW on the source for every session, and change moved tables outside of procedures that use temporary tables; then cancel the workflow and create it again.";

impl Assembler {
    /// DDL of a session that writes statements may mean a temporary table of its own by the name of a moved one; the event's flag says
    /// that such a table took part.
    pub(super) fn check_temporary(
        &self,
        statement: &Statement,
        parsed: &Parsed,
        query: &QueryEvent,
    ) -> Result<()> {
        let names = match statement {
            // Every DROP and CREATE OR REPLACE of a table has the flag; they stop the stream as what they are.
            Statement::TableDdl(names)
                if self.temporary && (parsed.cursor().take("alter") || parsed.is_index_ddl()) =>
            {
                names
            }
            Statement::Truncate(name) if self.temporary => std::slice::from_ref(name),
            Statement::TemporaryTable(name) => std::slice::from_ref(name),
            _ => return Ok(()),
        };
        for name in names {
            let Some(table) = self.moved(name, parsed, query)? else { continue };
            return Err(Error::stop(format!(
                "at {1} {2} it cannot be told whether {0} or a temporary table of that name is meant: the session uses temporary \
                 tables",
                sql::ident(self.tables[table].plan.name()),
                self.log.file,
                self.log.offset
            ))
            .advice(ADVICE_TEMPORARY));
        }
        Ok(())
    }

    /// Which of the moved tables a statement's name means.
    pub(super) fn moved(
        &self,
        name: &TableName,
        parsed: &Parsed,
        query: &QueryEvent,
    ) -> Result<Option<usize>> {
        let default = String::from_utf8_lossy(&query.database);
        let database = name.database.as_deref().unwrap_or(&default);
        let here = self.is_name(database, &self.database);
        if parsed.legible != Legible::Whole {
            // What is not ASCII may be any name of ours that is not.
            let ascii = self.tables.iter().all(|table| table.plan.name().is_ascii());
            let table = name.table.is_ascii() || ascii;
            // The default database is in UTF-8 whatever the client's character set.
            let qualifier =
                name.database.is_none() || database.is_ascii() || self.database.is_ascii();
            if !qualifier || here && !table {
                return Err(self.illegible());
            }
        }
        let found = || self.tables.iter().position(|t| self.is_name(&name.table, t.plan.name()));
        Ok(here.then(found).flatten())
    }

    /// Whether the source's server takes a name for one of ours.
    pub(super) fn is_name(&self, name: &str, ours: &str) -> bool {
        name == ours || self.folds_names && same(name, ours)
    }

    /// A statement whose very structure is in doubt must have nothing to do with the moved database, and fill no table: a function that is
    /// called for it may write anywhere.
    pub(super) fn check_legible(
        &self,
        statement: &Statement,
        parsed: &Parsed,
        query: &QueryEvent,
    ) -> Result<()> {
        let changes = matches!(
            statement,
            Statement::TableDdl(_)
                | Statement::Truncate(_)
                | Statement::DropDatabase(_)
                | Statement::TemporaryTable(_)
                | Statement::Unknown
        );
        let ours = lowered(&self.database);
        let concerned = || {
            same(&String::from_utf8_lossy(&query.database), &self.database)
                || !ours.is_ascii()
                || lowered(&String::from_utf8_lossy(&query.sql)).contains(&ours)
        };
        let fills = || parsed.makes_table() && parsed.may_fill(&query.sql);
        if parsed.legible == Legible::Hardly && (changes && concerned() || fills()) {
            return Err(self.illegible());
        }
        Ok(())
    }

    fn illegible(&self) -> Error {
        Error::stop(format!(
            "of a statement at {} {} it cannot be told whether it changes a moved table, because of its character set or sql_mode",
            self.log.file, self.log.offset
        ))
        .advice(
            "Look at it with mariadb-binlog. Send DDL from a client whose character set is utf8mb4, and prepare it under the sql_mode \
             in which it runs; cancel the workflow and create it again.",
        )
    }

    /// Data in statement format, or a statement that is not understood: passed only if it cannot concern moved tables. A view, a
    /// trigger or a function of any database may stand between data and a moved table, so the names in it prove nothing.
    pub(super) fn doubtful(
        &mut self,
        statement: &Statement,
        parsed: &Parsed,
        query: &QueryEvent,
        out: &mut Vec<Item>,
    ) -> Result<()> {
        let here = same(&String::from_utf8_lossy(&query.database), &self.database);
        let named = self
            .tables
            .iter()
            .find(|table| parsed.mentions(&self.database, table.plan.name()))
            .map(|table| table.plan.name().to_owned());
        let mysql =
            self.open.as_ref().is_some_and(|open| open.start.gtid.flavor() == Flavor::MySql);
        let emptied = mysql && parsed.empties_memory_table();
        let data = *statement == Statement::Data && !emptied;
        if !here && named.is_none() && !data {
            self.finish_statement(out);
            return Ok(());
        }
        let what = match statement {
            Statement::Data => "data was written in statement format",
            _ => "a statement is not understood",
        };
        let about = named.map_or_else(
            || format!("in database {}", sql::ident(&String::from_utf8_lossy(&query.database))),
            |table| format!("naming table {}", sql::ident(&table)),
        );
        Err(Error::stop(format!(
            "{what} {about} at {} {}, so rows of moved tables may be missing in the binlog",
            self.log.file, self.log.offset
        ))
        .advice(ADVICE_ROW))
    }
}
