//! Cancel: what the workflow made or wrote on the target is removed, and nothing else; then the workflow is forgotten.
//!
//! What is whose is known from the sidecar: where each table comes from ([`Origin`]), whether the stream ever began, and what was
//! copied. Rows that this workflow cannot have written stay where they are, and a table that another workflow writes stops the
//! command ([`claims`]).

use super::make::holds_rows;
use super::status::{self, WorkflowStatus};
use super::verbs::own;
use crate::error::{Result, ResultExt};
use crate::failpoints;
use crate::mysql::control::Control;
use crate::mysql::sql;
use crate::sidecar::lease::Owner;
use crate::sidecar::table_plan::Origin;
use crate::sidecar::wanted::Wanted;
use crate::sidecar::{claims, range, workflow};

/// What becomes of a table on the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// The table, quoted, with its database.
    pub table: String,
    /// What becomes of it.
    pub fate: Fate,
}

/// See [`Removal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The workflow made it.
    Drop,
    /// It was there, empty, and the workflow copied rows into it.
    Empty,
    /// It stays as it is, and why.
    Stay(&'static str),
}

impl Removal {
    /// The statement that does it; none where nothing is done.
    pub fn statement(&self) -> Option<String> {
        match self.fate {
            Fate::Drop => Some(format!("DROP TABLE IF EXISTS {}", self.table)),
            Fate::Empty => Some(format!("TRUNCATE TABLE {}", self.table)),
            Fate::Stay(_) => None,
        }
    }
}

/// What a Cancel would do with the tables.
///
/// # Errors
/// Usage if another workflow writes one of them; of the connection.
pub async fn removals(target: &mut Control, status: &WorkflowStatus) -> Result<Vec<Removal>> {
    let spec = &status.workflow.spec;
    claims::must_be_alone(target, spec).await?;
    let mut removals = Vec::new();
    for stream in &status.streams {
        let began = stream.row.has_begun();
        let copied = range::copied(target, stream.row.id).await?;
        for table in &stream.tables {
            let name = sql::qualified(&spec.target_database, &table.row.name);
            let fate = match table.row.origin {
                Origin::Taken => Fate::Stay("somebody else made it"),
                Origin::Planned => Fate::Stay("the workflow has not made it"),
                Origin::Made if !began && holds_rows(target, &name).await? => {
                    Fate::Stay("it holds rows, and the workflow has not written any")
                }
                Origin::Made => Fate::Drop,
                Origin::Found if copied.iter().any(|(name, _)| *name == table.row.name) => {
                    Fate::Empty
                }
                Origin::Found => Fate::Stay("it was there before, and nothing was copied into it"),
            };
            removals.push(Removal { table: name, fate });
        }
    }
    Ok(removals)
}

/// Cancels a workflow. What is left of its tables is in the answer.
///
/// # Errors
/// Of the connection; Usage if another workflow writes one of its tables; Retry if its worker does not give it up.
pub async fn cancel(target: &mut Control, name: &str, keep_data: bool) -> Result<Vec<Removal>> {
    let status = status::read(target, name).await?;
    if !keep_data {
        claims::must_be_alone(target, &status.workflow.spec).await?;
    }
    workflow::set_wanted(target, status.workflow.id, Wanted::Stop).await?;
    workflow::journal(target, name, "cancelled", if keep_data { "data kept" } else { "" }).await?;
    for stream in &status.streams {
        own(target, stream.row.id, &Owner::new()).await?;
    }
    let mut stay = Vec::new();
    if !keep_data {
        // Once more: until its worker gave it up, it may have begun.
        let status = status::read(target, name).await?;
        let removals = removals(target, &status).await?;
        stay = remove(target, removals).await?;
    }
    workflow::forget(target, status.workflow.id).await?;
    Ok(stay)
}

/// Does it, and says what stays.
async fn remove(target: &mut Control, removals: Vec<Removal>) -> Result<Vec<Removal>> {
    target.execute("SET foreign_key_checks=0").await?;
    let mut stay = Vec::new();
    for removal in removals {
        let Some(statement) = removal.statement() else {
            stay.push(removal);
            continue;
        };
        failpoints::hit(failpoints::CANCEL_BEFORE_DROP)?;
        let table = &removal.table;
        target.execute(statement).await.context(format_args!("remove {table}"))?;
        failpoints::hit(failpoints::CANCEL_AFTER_DROP)?;
    }
    target.execute("SET foreign_key_checks=1").await?;
    Ok(stay)
}
