//! The way back while `complete` works: the reverse stream stands still from before the first table is renamed, and goes on if nothing
//! was removed after all.
//!
//! A stream that wrote to a table on its way out of its name would fail, or write where nobody looks; one that stayed frozen when the
//! tables are where they were would leave the operator without a way back. So it is frozen under its lease, which ends what a worker
//! has under way, and set free in one transaction with the check that nobody has begun another switch meanwhile.

use super::complete::existing;
use super::sides::{Place, Plan};
use crate::error::{Error, Result, ResultExt};
use crate::mysql::control::Control;
use crate::sidecar::lease::{self, Owner};
use crate::sidecar::stream::{self, StreamRow};
use crate::sidecar::switch::{self, SwitchRow};
use crate::sidecar::wanted::Wanted;
use crate::sidecar::workflow::{self, WorkflowRow};
use crate::topology::locks::Locks;
use crate::workflow::state::StreamState;

/// What the reverse stream says that `complete` has frozen.
pub const FROZEN_BY_COMPLETE: &str = "completed";

/// The reverse stream as it was before `complete` froze it.
pub(super) struct Back {
    workflow: Option<WorkflowRow>,
    streams: Vec<StreamRow>,
}

impl Back {
    pub(super) async fn read(control: &mut Control, place: &Place) -> Result<Self> {
        let workflow = workflow::find(control, &place.incoming).await?;
        let streams = match &workflow {
            Some(row) => stream::of_workflow(control, row.id).await?,
            None => Vec::new(),
        };
        Ok(Self { workflow, streams })
    }

    pub(super) fn is_frozen(&self) -> bool {
        self.streams.iter().any(|stream| stream.state == StreamState::Frozen)
    }

    /// What a worker has under way ends with its lease.
    pub(super) async fn freeze(&self, control: &mut Control) -> Result<()> {
        let Some(row) = &self.workflow else { return Ok(()) };
        workflow::set_wanted(control, row.id, Wanted::Stop).await?;
        for found in &self.streams {
            let owner = Owner::new();
            let tenure = lease::seize(control, found.id, &owner).await?;
            let (frozen, why) = (StreamState::Frozen, FROZEN_BY_COMPLETE);
            stream::set_state(control, found.id, frozen, why).await?;
            lease::release(control, tenure, &owner).await?;
        }
        Ok(())
    }

    /// Nothing was removed: it goes on, so that the traffic can be reversed. The error that ended the command, with what to do if it
    /// cannot.
    pub(super) async fn set_free(
        self,
        control: &mut Control,
        place: &Place,
        locks: &Locks,
        why: Error,
    ) -> Error {
        let Some(row) = &self.workflow else { return why };
        let Err(error) = self.try_free(control, place, locks, row).await else { return why };
        tracing::warn!(workflow = %place.incoming, "the reverse stream stays frozen: {error}");
        let advice = format!(
            "{} Give `complete` again: the reverse stream stays frozen until then, and `reversetraffic` needs it.",
            why.advice_text().unwrap_or_default()
        );
        why.advice(advice.trim_start())
    }

    /// Over the connection that was to rename: its statement has ended. Another one could not tell whether it is still under way.
    async fn try_free(
        &self,
        control: &mut Control,
        place: &Place,
        locks: &Locks,
        row: &WorkflowRow,
    ) -> Result<()> {
        locks.check()?;
        if existing(control, place).await?.len() != place.tables.len() {
            return Err(Error::stop("tables of the source are gone from their names"));
        }
        let last = switch::read(control, &place.incoming).await?;
        let last = last.ok_or_else(|| Error::stop("the switch is not in the sidecar any more"))?;
        control.begin().await?;
        let freed = self.free_in_transaction(control, row, &last).await;
        control.end(freed).await.context("set the reverse stream free")
    }

    /// With the check that nobody has begun another switch.
    async fn free_in_transaction(
        &self,
        control: &mut Control,
        row: &WorkflowRow,
        last: &SwitchRow,
    ) -> Result<()> {
        let (name, generation) = (&last.workflow, last.generation);
        switch::must_coordinate(control, name, generation, &last.coordinator).await?;
        // What it was before an attempt that was killed is not known; so it is what the switch had wanted.
        let wanted = self.is_frozen() && Plan::parse(&last.plan)?.reverse_replication;
        workflow::set_wanted(control, row.id, Wanted::of(row.wanted == Wanted::Run || wanted))
            .await?;
        for stream in &self.streams {
            let owner = Owner::new();
            let tenure = lease::seize_in_transaction(control, stream.id, &owner).await?;
            let (state, message) = match stream.state {
                StreamState::Frozen if wanted => (StreamState::CatchUp, ""),
                StreamState::Frozen => (StreamState::Stopped, ""),
                state => (state, stream.message.as_str()),
            };
            stream::set_state(control, stream.id, state, message).await?;
            lease::release(control, tenure, &owner).await?;
        }
        Ok(())
    }
}
