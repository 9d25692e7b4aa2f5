//! Two moves of one name from one keyspace, to two targets.
//!
//! The source's sidecar knows a move by the workflow that leads back, `<source keyspace>.<name>_reverse`, whichever target it comes
//! from. So only one of two such moves can have its fence, its switch and its reverse stream there. The other must not take them for
//! its own: it would be said to be switched when the first one is, and what is written on the one target would be carried to where
//! the other one's was. It is refused a name when it is created, and, since nothing stands in the source's sidecar before the first
//! switch, again before its own.

use super::sides::{Plan, REVERSE};
use crate::error::{Error, Result};
use crate::mysql::control::Control;
use crate::sidecar::fence::{self, FenceState};
use crate::sidecar::{switch, workflow};
use crate::workflow::spec::WorkflowSpec;

/// The full name of the move that has this one's name on the source.
///
/// # Errors
/// Of the connection, or Stop if what the sidecar says cannot be read.
pub async fn find(source: &mut Control, spec: &WorkflowSpec) -> Result<Option<String>> {
    let incoming = format!("{}.{}{REVERSE}", spec.source_keyspace, spec.workflow);
    let back = workflow::find(source, &incoming).await?.map(|row| row.spec.source_keyspace);
    let row = switch::read(source, &incoming).await?.filter(|row| !row.plan.is_empty());
    let switched = row.map(|row| Plan::parse(&row.plan)).transpose()?;
    let targets = [back, switched.map(|plan| plan.spec.target_keyspace)];
    let other = targets.into_iter().flatten().find(|target| *target != spec.target_keyspace);
    Ok(other.map(|target| format!("{target}.{}", spec.workflow)))
}

/// The name is free on the source, as one that is made now needs it: nothing of an earlier move stands there, either. Complete leaves the
/// fence where it leaves the tables (`--keep-data`): they stay closed under that name, and a new move would take that for its own.
///
/// # Errors
/// Usage if it is not; as [`find`].
pub async fn must_be_free(source: &mut Control, spec: &WorkflowSpec) -> Result<()> {
    must_be_none(source, spec).await?;
    let incoming = format!("{}.{}{REVERSE}", spec.source_keyspace, spec.workflow);
    let row = fence::read(source, &incoming).await?;
    if row.is_none_or(|row| row.state != FenceState::Closed) {
        return Ok(());
    }
    Err(Error::usage(format!(
        "an earlier move named {} has closed tables of {}, and they were kept closed under that name",
        spec.workflow, spec.source_keyspace
    ))
    .advice("Choose another name for the workflow."))
}

/// There is no such move.
///
/// # Errors
/// Usage if there is; as [`find`].
pub async fn must_be_none(source: &mut Control, spec: &WorkflowSpec) -> Result<()> {
    let Some(other) = find(source, spec).await? else { return Ok(()) };
    Err(Error::usage(format!(
        "workflow {other} moves from {} under the same name, and has its switch there",
        spec.source_keyspace
    ))
    .advice(format!(
        "Choose another name: cancel {} and create it anew under that. Or complete or cancel {other} first.",
        spec.name()
    )))
}
