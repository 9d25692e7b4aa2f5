//! A table of a target belongs to one workflow: what two streams write is nobody's, and what one of them removes was the other's.
//!
//! A new workflow is saved in a transaction that first locks the one row of `meta` ([`lock`]). Whoever else saves one waits there,
//! and, since sessions read what is committed (READ COMMITTED), finds the other's tables when it goes on. Older sidecars may hold
//! two workflows with one table all the same: Cancel asks ([`of_others`]).

use crate::error::{Error, Result, ResultExt};
use crate::mysql::control::Control;
use crate::mysql::names::same;
use crate::mysql::sql;
use crate::sidecar::workflow;
use crate::workflow::spec::WorkflowSpec;

/// A table of a workflow that another one lists, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The table, as the one that asks spells it.
    pub table: String,
    /// The other workflow's full name.
    pub workflow: String,
    /// Whether that one may have routing rules.
    pub routed: bool,
}

/// Nobody else saves a workflow on this server until the caller's transaction ends.
///
/// # Errors
/// Of the connection; Retry if somebody else is at it for long.
pub async fn lock(control: &mut Control) -> Result<()> {
    let query = "SELECT id FROM `_shunt`.`meta` WHERE id = 1 FOR UPDATE";
    control.row(query).await.map(drop).context("wait for other workflows that are being created")
}

/// Which of a workflow's tables other workflows write, by what is committed now. Names are compared as this server does.
///
/// # Errors
/// Of the connection, or Stop if a specification cannot be read.
pub async fn of_others(control: &mut Control, spec: &WorkflowSpec) -> Result<Vec<Claim>> {
    let folds = control.info().folds_names;
    let is_one = |a: &str, b: &str| a == b || folds && same(a, b);
    let name = spec.name();
    let mut claims = Vec::new();
    for other in workflow::all(control).await?.into_iter().map(|row| row.spec) {
        if other.name() == name || !is_one(&other.target_database, &spec.target_database) {
            continue;
        }
        let common = spec.tables.iter().filter(|t| other.tables.iter().any(|o| is_one(o, t)));
        claims.extend(common.map(|table| Claim {
            table: table.clone(),
            workflow: other.name(),
            routed: other.routed != Some(false),
        }));
    }
    Ok(claims)
}

/// No other workflow writes a table of this one.
///
/// # Errors
/// Usage if one does; as [`of_others`].
pub async fn must_be_free(control: &mut Control, spec: &WorkflowSpec) -> Result<()> {
    let claims = of_others(control, spec).await?;
    let Some(first) = claims.first() else { return Ok(()) };
    Err(Error::usage(format!("{} on the target", list(&claims))).advice(format!(
        "A table has one workflow. Cancel or complete {0} first (`shunt movetables show {0}`), or leave these tables out.",
        first.workflow
    )))
}

/// Nothing may be removed of what another workflow writes.
///
/// # Errors
/// Usage if there is such a table; as [`of_others`].
pub async fn must_be_alone(control: &mut Control, spec: &WorkflowSpec) -> Result<()> {
    let claims = of_others(control, spec).await?;
    if claims.is_empty() {
        return Ok(());
    }
    Err(Error::usage(format!("{}: its rows are not this workflow's to remove", list(&claims)))
        .advice(format!(
            "Cancel {} with --keep-data: that removes no table, and no rule that the other workflow has.",
            spec.name()
        )))
}

/// `` table `a` belongs to workflow x, table `b` … ``.
fn list(claims: &[Claim]) -> String {
    let each = claims.iter().map(|claim| {
        format!("table {} belongs to workflow {}", sql::ident(&claim.table), claim.workflow)
    });
    each.collect::<Vec<_>>().join(", ")
}
