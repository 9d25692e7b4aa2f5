//! What the source did: transactions of row operations, or statements on whole tables.

use std::sync::Arc;

use super::ddl::DdlStatement;
use crate::error::Result;
use crate::key::{Identity, Place};
use crate::mysql::binlog::rows::{RowChange, RowImage};
use crate::mysql::gtid::Gtid;
use crate::mysql::snapshot::LogPosition;
use crate::plan::Layout;
use crate::plan::columns::ColumnSet;

/// A row as the binlog stores it.
#[derive(Clone, Debug)]
pub struct Row {
    /// How its image is read.
    pub layout: Arc<Layout>,
    /// Its image.
    pub image: RowImage,
}

/// What happened to a row.
#[derive(Clone, Debug)]
pub enum Op {
    /// It is now this.
    Upsert(Row),
    /// It was there and is now this; no other columns than these have changed.
    Update(Row, ColumnSet),
    /// It is gone; this was it.
    Delete(Row),
}

impl Op {
    /// The row that it leaves, or that is gone.
    pub fn row(&self) -> &Row {
        match self {
            Self::Upsert(row) | Self::Update(row, _) | Self::Delete(row) => row,
        }
    }

    /// What both did to a row, this one after the other.
    #[must_use]
    pub fn after(self, earlier: &Self) -> Self {
        match (self, earlier) {
            (Self::Update(row, changed), Self::Update(_, before)) => {
                Self::Update(row, changed.union(*before))
            }
            (Self::Update(row, _), _) => Self::Upsert(row),
            (last, _) => last,
        }
    }
}

/// One row's change.
#[derive(Clone, Debug)]
pub struct RowOp {
    /// Index of the table among the stream's.
    pub table: usize,
    /// Which row.
    pub identity: Identity,
    /// Where it lies, while the table is copied and if the order is known here.
    pub place: Option<Box<Place>>,
    /// What happened to it.
    pub op: Op,
    /// What it holds in memory, or will when it is written.
    pub bytes: usize,
}

/// What a transaction did.
#[derive(Clone, Debug)]
pub enum Work {
    /// Changed rows of moved tables; none, if it concerns none.
    Rows(Vec<RowOp>),
    /// Emptied a moved table.
    Truncate(usize),
    /// Changed or removed moved tables.
    Ddl {
        /// Indexes of the tables.
        tables: Vec<usize>,
        /// The statement.
        statement: DdlStatement,
    },
}

/// A transaction of the source, or the last part of one.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// Its name.
    pub gtid: Gtid,
    /// Where it ends in the source's files.
    pub end: LogPosition,
    /// What it did.
    pub work: Work,
    /// What its rows hold in memory.
    pub bytes: usize,
}

/// What the reader hands to the stream.
#[derive(Clone, Debug)]
pub enum Item {
    /// Rows of a transaction that is larger than its bound; it goes on.
    Part {
        /// Its name.
        gtid: Gtid,
        /// These rows.
        rows: Vec<RowOp>,
        /// What they hold in memory.
        bytes: usize,
    },
    /// A transaction's end.
    Transaction(Transaction),
}

impl Item {
    /// What its rows hold in memory.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Part { bytes, .. } => *bytes,
            Self::Transaction(transaction) => transaction.bytes,
        }
    }
}

/// Appends the operations of one row change, and says what they hold in memory: an update that moves the key is a delete and an upsert.
///
/// While its table is copied (`copying`) a row is always written whole.
///
/// # Errors
/// Stop if an image is broken.
pub(crate) fn push_row_ops(
    table: usize,
    layout: &Arc<Layout>,
    RowChange { before, after }: RowChange,
    copying: bool,
    out: &mut Vec<RowOp>,
) -> Result<usize> {
    let mut held = 0;
    let mut push = |image: RowImage, identity: Identity, op: &dyn Fn(Row) -> Op| -> Result<()> {
        let place = if copying { layout.place(&image)?.map(Box::new) } else { None };
        let own = size_of::<RowOp>() + if place.is_some() { size_of::<Place>() } else { 0 };
        let bytes = layout.bytes(&image)?.saturating_add(identity.0.len() + own);
        let row = Row { layout: layout.clone(), image };
        out.push(RowOp { table, identity, place, op: op(row), bytes });
        held += bytes;
        Ok(())
    };
    let identity =
        |image: &Option<RowImage>| image.as_ref().map(|i| layout.identity(i)).transpose();
    let changed = match (&before, &after) {
        (Some(before), Some(after)) if !copying => layout.changed(before, after)?,
        _ => None,
    };
    let new = identity(&after)?;
    // What may be changed in place leaves the key alone.
    let old = if changed.is_some() { None } else { identity(&before)? };
    let moved = changed.is_none() && old != new;
    if let (Some(image), Some(identity)) = (before, old)
        && moved
    {
        push(image, identity, &Op::Delete)?;
    }
    let stays = !moved && layout.plan.key.is_none();
    if let (Some(image), Some(identity)) = (after, new)
        && !stays
    {
        push(image, identity, &|row| match changed {
            Some(columns) => Op::Update(row, columns),
            None => Op::Upsert(row),
        })?;
    }
    Ok(held)
}
