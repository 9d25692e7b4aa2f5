//! What a group writes: the last operation of each key, as statements.
//!
//! For tables without a key it is how many rows more or less there are of each image; such rows are matched by all their
//! columns, and a delete must find exactly as many as it looks for.

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;
use indexmap::map::Entry;

use super::in_place;
use super::notes;
use super::runs::{self, Deletes};
use super::statement::Does;
pub use super::statement::Statement;
use super::touched::Touched;
use super::upserts;
use crate::changes::{Op, Row};
use crate::error::Result;
use crate::key::{Identity, KeyPlan};
use crate::mysql::sql;
use crate::plan::TablePlan;
use crate::runtime::seeded::Seeded;

/// Values of keys that one statement lists at most: with more the server gives up to look for each of them, and reads the whole table.
/// (MariaDB: `optimizer_max_sel_arg_weight`, 32,000; MySQL: `range_optimizer_max_mem_size`, 8 MiB of 230 bytes each.)
const LISTED_KEYS_MAX: usize = 10_000;

/// How a group may be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Writing {
    /// The target takes rows in bulk.
    pub bulk: bool,
    /// The target is what the source was when the group began: columns that the group does not change may be left alone.
    pub in_place: bool,
}

/// The operations of one transaction on the target, by table.
#[derive(Debug, Default)]
pub struct Group {
    tables: HashMap<usize, Merged, Seeded>,
    /// Tables emptied by the group, before whatever else it does to them.
    emptied: Vec<Statement>,
}

/// Last operations by key, in the order in which the keys first appeared: neighbours are written together.
type Merged = IndexMap<Identity, Change, Seeded>;

#[derive(Debug)]
struct Change {
    op: Op,
    /// Keyless tables: rows more (or less, if negative).
    count: i64,
}

impl Group {
    /// Adds an operation, which replaces what the group knew of its key.
    pub fn add(&mut self, table: usize, identity: Identity, op: Op) {
        let step = match op {
            Op::Upsert(_) | Op::Update(..) => 1,
            Op::Delete(_) => -1,
        };
        match self.tables.entry(table).or_default().entry(identity) {
            Entry::Occupied(mut held) => {
                let held = held.get_mut();
                held.op = op.after(&held.op);
                held.count += step;
            }
            Entry::Vacant(free) => {
                free.insert(Change { op, count: step });
            }
        }
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
        let mut touched = Touched::of_about(self.tables.values().map(Merged::len).sum());
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

    /// The statements: emptied tables, then all deletes, then all rows that are written.
    ///
    /// # Errors
    /// Stop if an image cannot be read.
    pub fn statements(self, how: Writing) -> Result<Vec<Statement>> {
        let mut statements = self.emptied;
        let mut upserts = Vec::new();
        for merged in self.tables.into_values() {
            let keyless =
                merged.first().is_some_and(|(_, change)| change.op.row().layout.plan.key.is_none());
            if keyless {
                push_fewer(&merged, &mut statements)?;
                upserts::push("INSERT", &more(&merged), how.bulk, &mut upserts)?;
                continue;
            }
            let (gone, here): (Vec<&Change>, Vec<&Change>) =
                merged.values().partition(|change| matches!(change.op, Op::Delete(_)));
            push_deletes(&gone, &mut statements)?;
            let (mut whole, mut updated) = (Vec::new(), Vec::new());
            for change in here {
                match &change.op {
                    Op::Update(row, changed) if how.in_place => updated.push((row, *changed)),
                    op => whole.push(op.row()),
                }
            }
            whole.extend(in_place::push(updated, &mut upserts)?);
            upserts::push("REPLACE", &whole, how.bulk, &mut upserts)?;
        }
        statements.append(&mut upserts);
        Ok(statements)
    }
}

/// Keyless rows that are fewer are deleted.
fn push_fewer(merged: &Merged, deletes: &mut Vec<Statement>) -> Result<()> {
    for change in merged.values().filter(|change| change.count < 0) {
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
fn more(merged: &Merged) -> Vec<&Row> {
    let more = merged.values().filter(|change| change.count > 0);
    let rows = more.flat_map(|change| {
        let count = usize::try_from(change.count).unwrap_or(0);
        std::iter::repeat_n(change.op.row(), count)
    });
    rows.collect()
}

fn push_deletes(gone: &[&Change], out: &mut Vec<Statement>) -> Result<()> {
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
    let gone = Deletes::new(rows(true).collect(), rows(false).collect())?;
    for range in gone.ranges {
        let sql = runs::range_statement(key, range)?;
        out.push(Statement::text(plan.clone(), sql, Does::Delete));
    }
    let rows_max = notes::rows_max(&plan.source).min(LISTED_KEYS_MAX / key.columns.len().max(1));
    upserts::push_rows(
        gone.list.into_iter(),
        rows_max,
        [&head, separator, ")"],
        |_| Does::Delete,
        out,
        |row, sql| row.layout.push_key(key, &row.image, sql),
    )
}

#[cfg(test)]
mod tests;
