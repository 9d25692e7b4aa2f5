//! What a group writes: the last operation of each key, as statements.

use std::collections::HashMap;

use crate::changes::{Op, Row};
use crate::error::Result;
use crate::key::Identity;
use crate::limits;
use crate::plan::TablePlan;

/// The operations of one transaction on the target, by table.
#[derive(Debug, Default)]
pub struct Group {
    tables: HashMap<usize, Merged>,
    order: usize,
    /// Tables emptied by the group, before whatever else it does to them.
    emptied: Vec<(usize, String)>,
}

/// Last operations by key, with the order in which the keys first appeared: neighbours are written together.
type Merged = HashMap<Identity, (usize, Op)>;

impl Group {
    /// Adds an operation, which replaces what the group knew of its key.
    pub fn add(&mut self, table: usize, identity: Identity, op: Op) {
        self.order += 1;
        let order = self.order;
        self.tables
            .entry(table)
            .or_default()
            .entry(identity)
            .and_modify(|held| held.1 = op.clone())
            .or_insert((order, op));
    }

    /// Empties a table: what the group held of it is void.
    pub fn empty(&mut self, table: usize, plan: &TablePlan) {
        self.tables.remove(&table);
        self.emptied.push((table, format!("DELETE FROM {}", plan.target())));
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.emptied.is_empty()
    }

    /// The statements: emptied tables, then all deletes, then all upserts.
    ///
    /// # Errors
    /// Stop if an image cannot be read.
    pub fn statements(self) -> Result<Vec<Vec<u8>>> {
        let mut statements: Vec<Vec<u8>> =
            self.emptied.into_iter().map(|(_, sql)| sql.into_bytes()).collect();
        let mut upserts = Vec::new();
        for merged in self.tables.into_values() {
            let mut ops: Vec<(usize, Op)> = merged.into_values().collect();
            ops.sort_unstable_by_key(|(order, _)| *order);
            let mut gone = Vec::new();
            let mut here = Vec::new();
            for (_, op) in ops {
                match op {
                    Op::Delete(row) => gone.push(row),
                    Op::Upsert(row) => here.push(row),
                }
            }
            push_deletes(&gone, &mut statements)?;
            push_upserts(&here, &mut upserts)?;
        }
        statements.append(&mut upserts);
        Ok(statements)
    }
}

fn push_deletes(rows: &[Row], out: &mut Vec<Vec<u8>>) -> Result<()> {
    let Some(plan) = rows.first().map(|row| row.layout.plan.clone()) else { return Ok(()) };
    let Some(key) = &plan.key else { return Ok(()) };
    let head = match key.columns.as_slice() {
        [column] => {
            let name = crate::mysql::sql::ident(&column.name);
            format!("DELETE FROM {} WHERE {name} IN (", plan.target())
        }
        _ => format!("DELETE FROM {} WHERE (", plan.target()),
    };
    let separator: &[u8] = if key.columns.len() == 1 { b"," } else { b" OR " };
    push_rows(rows, head.as_bytes(), separator, b")", out, |row, sql| {
        row.layout.push_key(key, &row.image, sql)
    })
}

fn push_upserts(rows: &[Row], out: &mut Vec<Vec<u8>>) -> Result<()> {
    let Some(plan) = rows.first().map(|row| row.layout.plan.clone()) else { return Ok(()) };
    let head = format!("REPLACE INTO {} ({}) VALUES ", plan.target(), plan.column_list());
    push_rows(rows, head.as_bytes(), b",", b"", out, |row, sql| {
        row.layout.push_tuple(&row.image, sql)
    })
}

/// Fills statements of bounded size with one piece of text a row.
fn push_rows(
    rows: &[Row],
    head: &[u8],
    separator: &[u8],
    tail: &[u8],
    out: &mut Vec<Vec<u8>>,
    push: impl Fn(&Row, &mut Vec<u8>) -> Result<()>,
) -> Result<()> {
    let mut sql: Vec<u8> = Vec::new();
    for row in rows {
        if sql.is_empty() {
            sql.extend_from_slice(head);
        } else {
            sql.extend_from_slice(separator);
        }
        push(row, &mut sql)?;
        if sql.len() >= limits::STATEMENT_BYTES_MAX {
            sql.extend_from_slice(tail);
            out.push(std::mem::take(&mut sql));
        }
    }
    if !sql.is_empty() {
        sql.extend_from_slice(tail);
        out.push(sql);
    }
    Ok(())
}
