//! What a group writes: the last operation of each key, as statements.
//!
//! For tables without a key it is how many rows more or less there are of each image; such rows are matched by all their
//! columns, and a delete must find exactly as many as it looks for.

use std::collections::HashMap;
use std::sync::Arc;

use super::notes::{self, strict};
use super::runs::{self, Deletes};
use super::touched::Touched;
use crate::changes::{Op, Row};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{Identity, KeyPlan};
use crate::limits;
use crate::mysql::sql;
use crate::mysql::wire::Wire;
use crate::mysql::wire::writing::Parameter;
use crate::plan::TablePlan;
use crate::runtime::seeded::Seeded;

/// Fewer rows are sent as text: a statement that is not prepared yet costs a round trip.
const BULK_ROWS_MIN: usize = 16;

/// The operations of one transaction on the target, by table.
#[derive(Debug, Default)]
pub struct Group {
    tables: HashMap<usize, Merged>,
    order: usize,
    /// Tables emptied by the group, before whatever else it does to them.
    emptied: Vec<Statement>,
}

/// Last operations by key, with the order in which the keys first appeared: neighbours are written together.
type Merged = HashMap<Identity, Change, Seeded>;

#[derive(Debug)]
struct Change {
    order: usize,
    op: Op,
    /// Keyless tables: rows more (or less, if negative).
    count: i64,
}

/// A statement, whose table it writes, and what it must do.
#[derive(Clone, Debug)]
pub struct Statement {
    plan: Arc<TablePlan>,
    body: Body,
    does: Does,
}

/// What the server must say that a statement did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    /// It deletes the rows that are there.
    Delete,
    /// It deletes so many rows.
    DeleteJust(u64),
    /// It writes so many rows, as they are. A replaced row counts twice.
    Write(u64),
}

/// How a statement is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Body {
    /// As text.
    Text(Vec<u8>),
    /// Prepared, over rows in bulk.
    Bulk { sql: Arc<str>, parameters: Box<[Parameter]>, rows: Vec<u8> },
}

impl Statement {
    fn text(plan: Arc<TablePlan>, sql: Vec<u8>, does: Does) -> Self {
        Self { plan, body: Body::Text(sql), does }
    }

    /// Runs it.
    ///
    /// # Errors
    /// Of the server; Stop for a value that the target would change; Divergence if it is another number of rows than it must be.
    pub async fn run(&self, wire: &mut Wire) -> Result<()> {
        let outcome = match &self.body {
            Body::Text(sql) => wire.execute(sql).await,
            Body::Bulk { sql, parameters, rows } => wire.execute_bulk(sql, parameters, rows).await,
        };
        let outcome = outcome.map_err(|e| self.explained(e))?;
        let affected = outcome.affected;
        let diverged = match self.does {
            Does::DeleteJust(rows) if rows != affected => {
                format!("{affected} rows of a table without a key were found to delete, not {rows}")
            }
            Does::Write(rows) => {
                let strictly = strict(wire, &self.plan.source, outcome).await;
                strictly.map_err(|e| self.explained(e))?;
                if affected >= rows {
                    return Ok(());
                }
                let table = self.plan.target();
                format!("the target says that it wrote {affected} of {rows} rows of {table}")
            }
            _ => return Ok(()),
        };
        Err(Error::new(ErrorKind::Divergence, diverged)
            .advice("Somebody else writes to the target's tables, or a trigger does. Cancel the workflow and create it again."))
    }

    /// Values were right on the source, so a target that refuses them or does not know a column is defined differently.
    fn explained(&self, error: Error) -> Error {
        let misfit = matches!(
            error.server_code(),
            Some(1048 | 1054 | 1136 | 1146 | 1264 | 1265 | 1292 | 1366 | 1406 | 3819 | 4025)
        );
        let error = error.context(format_args!("write {}", self.plan.target()));
        if !misfit {
            return error;
        }
        error.advice(
            "The table's definition on the target is not the one that the row was written under: was it changed on either \
             server, perhaps with sql_log_bin=0? Cancel the workflow and create it again. Or the row holds what no statement can \
             write: the error value '' of an ENUM, bytes that are not of their character set.",
        )
    }
}

impl Group {
    /// Adds an operation, which replaces what the group knew of its key.
    pub fn add(&mut self, table: usize, identity: Identity, op: Op) {
        self.order += 1;
        let order = self.order;
        let step = match op {
            Op::Upsert(_) => 1,
            Op::Delete(_) => -1,
        };
        self.tables
            .entry(table)
            .or_default()
            .entry(identity)
            .and_modify(|held| {
                held.op = op.clone();
                held.count += step;
            })
            .or_insert(Change { order, op, count: step });
    }

    /// Empties a table: what the group held of it is void.
    pub fn empty(&mut self, table: usize, plan: &Arc<TablePlan>) {
        self.tables.remove(&table);
        let sql = format!("DELETE FROM {}", plan.target()).into_bytes();
        self.emptied.push(Statement::text(plan.clone(), sql, Does::Delete));
    }

    /// The rows that it touches; none if it cannot be applied beside another group.
    pub fn touched(&self) -> Option<Touched> {
        if !self.emptied.is_empty() {
            return None;
        }
        let mut touched = Touched::default();
        for (table, merged) in &self.tables {
            for (row, change) in merged {
                let key = change.op.row().layout.plan.key.as_ref();
                if !key.is_some_and(KeyPlan::exact) {
                    return None;
                }
                touched.add(*table, row);
            }
        }
        Some(touched)
    }

    /// The statements: emptied tables, then all deletes, then all upserts; these in bulk where there are many and the target
    /// takes them so.
    ///
    /// # Errors
    /// Stop if an image cannot be read.
    pub fn statements(self, takes_bulk: bool) -> Result<Vec<Statement>> {
        let mut statements = self.emptied;
        let mut upserts = Vec::new();
        for merged in self.tables.into_values() {
            let mut changes: Vec<Change> = merged.into_values().collect();
            changes.sort_unstable_by_key(|change| change.order);
            let keyless =
                changes.first().is_some_and(|change| change.op.row().layout.plan.key.is_none());
            if keyless {
                push_fewer(&changes, &mut statements)?;
                push_upserts("INSERT", &more(&changes), takes_bulk, &mut upserts)?;
                continue;
            }
            let (here, gone): (Vec<Change>, Vec<Change>) =
                changes.into_iter().partition(|change| matches!(change.op, Op::Upsert(_)));
            push_deletes(&gone, &mut statements)?;
            let rows: Vec<&Row> = here.iter().map(|change| change.op.row()).collect();
            push_upserts("REPLACE", &rows, takes_bulk, &mut upserts)?;
        }
        statements.append(&mut upserts);
        Ok(statements)
    }
}

/// Keyless rows that are fewer are deleted.
fn push_fewer(changes: &[Change], deletes: &mut Vec<Statement>) -> Result<()> {
    for change in changes.iter().filter(|change| change.count < 0) {
        let row = change.op.row();
        let count = change.count.unsigned_abs();
        let plan = row.layout.plan.clone();
        let mut sql = format!("DELETE FROM {} WHERE ", plan.target()).into_bytes();
        row.layout.push_match(&row.image, &mut sql)?;
        sql.extend_from_slice(format!(" LIMIT {count}").as_bytes());
        deletes.push(Statement::text(plan, sql, Does::DeleteJust(count)));
    }
    Ok(())
}

/// Keyless rows that are more are inserted.
fn more(changes: &[Change]) -> Vec<&Row> {
    let more = changes.iter().filter(|change| change.count > 0);
    let rows = more.flat_map(|change| {
        let count = usize::try_from(change.count).unwrap_or(0);
        std::iter::repeat_n(change.op.row(), count)
    });
    rows.collect()
}

fn push_deletes(gone: &[Change], out: &mut Vec<Statement>) -> Result<()> {
    let Some(plan) = gone.first().map(|change| &change.op.row().layout.plan) else { return Ok(()) };
    let Some(key) = &plan.key else { return Ok(()) };
    let (head, separator) = match key.columns.as_slice() {
        [column] => {
            let name = sql::ident(&column.name);
            (format!("DELETE FROM {} WHERE {name} IN (", plan.target()), ",")
        }
        _ => (format!("DELETE FROM {} WHERE (", plan.target()), " OR "),
    };
    // Others may never have been on the target: they came and went within the group.
    let rows = |there: bool| {
        gone.iter()
            .filter(move |change| (change.count == -1) == there)
            .map(|change| change.op.row())
    };
    let gone = Deletes::new(key, rows(true).collect(), rows(false).collect())?;
    for range in gone.ranges {
        let sql = runs::range_statement(key, range)?;
        out.push(Statement::text(plan.clone(), sql, Does::Delete));
    }
    push_rows(
        gone.list.into_iter(),
        [&head, separator, ")"],
        |_| Does::Delete,
        out,
        |row, sql| row.layout.push_key(key, &row.image, sql),
    )
}

/// Which order the rows are written in does not matter: no key is among them twice.
fn push_upserts(
    verb: &str,
    rows: &[&Row],
    takes_bulk: bool,
    out: &mut Vec<Statement>,
) -> Result<()> {
    let Some(plan) = rows.first().map(|row| row.layout.plan.clone()) else { return Ok(()) };
    let bulk = takes_bulk && rows.len() >= BULK_ROWS_MIN;
    let head = format!("{verb} INTO {} ({}) VALUES ", plan.target(), plan.column_list());
    // What cannot be told is an error where the row is read.
    let large =
        |row: &Row| !row.layout.bytes(&row.image).is_ok_and(|bytes| bytes <= limits::BULK_ROW_MAX);
    let as_text = |row: &&&Row| !bulk || large(row);
    let texts = rows.iter().filter(as_text).copied();
    push_rows(texts, [&head, ",", ""], Does::Write, out, |row, sql| {
        row.layout.push_tuple(&row.image, sql)
    })?;
    let sql: Arc<str> = format!("{head}({})", vec!["?"; plan.columns.len()].join(",")).into();
    let rows_max = notes::rows_max(&plan.source);
    let mut rest = rows.iter().filter(|row| !as_text(row)).copied().peekable();
    while let Some(first) = rest.peek() {
        // Rows under another table map may have other types.
        let parameters = first.layout.parameters();
        let mut rows = Vec::with_capacity(limits::BLOCK_BYTES + limits::BLOCK_BYTES / 4);
        let mut count = 0;
        while let Some(row) = rest.next_if(|row| {
            rows.len() < limits::BLOCK_BYTES
                && count < rows_max
                && row.layout.parameters() == parameters
        }) {
            row.layout.push_bulk(&row.image, &mut rows)?;
            count += 1;
        }
        let body = Body::Bulk { sql: sql.clone(), parameters: parameters.into(), rows };
        out.push(Statement { plan: plan.clone(), body, does: Does::Write(count as u64) });
    }
    Ok(())
}

/// Fills statements of bounded size with one piece of text a row, between head, separators and tail.
fn push_rows<'a>(
    rows: impl Iterator<Item = &'a Row>,
    [head, separator, tail]: [&str; 3],
    does: impl Fn(u64) -> Does,
    out: &mut Vec<Statement>,
    push: impl Fn(&Row, &mut Vec<u8>) -> Result<()>,
) -> Result<()> {
    let mut sql: Vec<u8> = Vec::new();
    let mut count = 0;
    let mut rows = rows.peekable();
    let rows_max = rows.peek().map_or(0, |row| notes::rows_max(&row.layout.plan.source));
    while let Some(row) = rows.next() {
        let before = if sql.is_empty() { head } else { separator };
        sql.extend_from_slice(before.as_bytes());
        push(row, &mut sql)?;
        count += 1;
        let full = sql.len() >= limits::STATEMENT_BYTES_MAX || count >= rows_max;
        if full || rows.peek().is_none() {
            sql.extend_from_slice(tail.as_bytes());
            let does = does(std::mem::take(&mut count) as u64);
            out.push(Statement::text(row.layout.plan.clone(), std::mem::take(&mut sql), does));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mysql::schema::TableSchema;

    #[test]
    fn a_target_that_refuses_a_value_is_named_with_what_to_do() {
        let schema = TableSchema { name: "t".into(), ..TableSchema::default() };
        let plan = Arc::new(TablePlan::new(schema, "d"));
        let statement = Statement::text(plan, Vec::new(), Does::Delete);
        let error = statement.explained(Error::stop("ERROR 1264 (22003)").code(1264));
        assert!(error.to_string().starts_with("write `d`.`t`: ERROR 1264 (22003)"), "{error}");
        assert!(error.advice_text().is_some_and(|advice| advice.contains("definition")));
        let error = statement.explained(Error::retry("ERROR 1213 (40001)").code(1213));
        assert_eq!((error.kind(), error.advice_text()), (ErrorKind::Retry, None));
    }
}
