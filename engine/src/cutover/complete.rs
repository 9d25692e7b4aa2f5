//! Complete: the move is over. The stream back is frozen, the source's tables are renamed, rules and state are
//! removed. Every step may be repeated: whoever is killed in between is followed by the same command.
//!
//! Nothing that was written on the closed source may be thrown away unseen. So its binlog is read to its end before anything is
//! done, and, since a write may pass at the last moment, once more when the tables have gone from their names: only then are they
//! dropped, if they are to be, and only then is the move forgotten. A leak that the operator has not acknowledged ends the command.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::leak::guard;
use super::locks::{self, Locks};
use super::sides::{Place, Sides};
use super::{fence as triggers, traffic};
use crate::error::{Error, Result, ResultExt};
use crate::failpoints;
use crate::mysql::control::Control;
use crate::mysql::deadline::Bounder;
use crate::mysql::sql;
use crate::routing::document;
use crate::sidecar::lease::{self, Owner};
use crate::sidecar::{fence, stream, switch, watch, workflow};
use crate::topology::Store;
use crate::workflow::state::StreamState;

/// What becomes of the source's tables and the rules.
#[derive(Clone, Copy, Debug)]
pub struct Completing {
    /// They stay, and stay closed.
    pub keep_data: bool,
    /// They are dropped instead of renamed.
    pub drop_tables: bool,
    /// The rules stay.
    pub keep_routing_rules: bool,
    /// How long it may take to get hold of the tables.
    pub timeout: Duration,
}

/// The name that a table of the source gets.
pub fn old_name(table: &str, generation: u64) -> String {
    let kept: String = table.chars().take(50).collect();
    format!("_{kept}_{generation}_old")
}

/// Completes a workflow whose traffic is all at the target.
///
/// # Errors
/// Usage if it is not; Retry if the tables are in use all the time.
pub async fn complete(
    sides: &Sides,
    store: &dyn Store,
    locks: &Locks,
    how: Completing,
    cancel: &CancellationToken,
) -> Result<()> {
    must_be_switched(sides, store).await?;
    let place = &sides.source;
    guard::must_be_tight(place, how.timeout).await?;
    let mut bounder = place.bounder().await?;
    freeze_back(&mut bounder.control, place).await?;
    failpoints::hit(failpoints::COMPLETE_AFTER_FREEZE)?;
    let row = fence::read(&mut bounder.control, &place.incoming).await?;
    let generation = row.map_or(0, |row| row.generation);
    let until = Instant::now() + how.timeout;
    if !how.keep_data {
        let there = existing(&mut bounder.control, place).await?;
        bounder.control.execute("SET foreign_key_checks=0").await?;
        if let Some(rename) = renaming(place, &there, generation) {
            removed(&mut bounder, &sql::marked(&rename), until, cancel).await?;
        }
        failpoints::hit(failpoints::COMPLETE_AFTER_RENAME)?;
        guard::must_be_tight(place, how.timeout).await?;
        let renamed = renamed(place, generation);
        let left = existing(&mut bounder.control, &renamed).await?;
        match dropping(&renamed, &left) {
            Some(drop) if how.drop_tables => removed(&mut bounder, &drop, until, cancel).await?,
            _ => drop_triggers(&mut bounder.control, &renamed).await?,
        }
    }
    if !how.keep_routing_rules {
        let moved = sides.moved();
        document::change_as(store, &locks.workflow, locks::TTL, |rules| {
            moved.remove(rules);
            Ok(())
        })
        .await?;
    }
    failpoints::hit(failpoints::COMPLETE_AFTER_RULES)?;
    forget(&mut bounder.control, place, !how.keep_data).await?;
    failpoints::hit(failpoints::COMPLETE_HALF_FORGOTTEN)?;
    // The target's own last: it is what the command is found by when it is given again.
    let mut target = sides.target.bounder().await?;
    triggers::disarm(&mut target, &sides.target, u64::MAX, until, cancel).await?;
    workflow::journal(&mut target.control, &sides.spec.name(), "completed", "").await?;
    forget(&mut target.control, &sides.target, true).await
}

/// # Errors
/// Usage, with what is not switched.
pub async fn must_be_switched(sides: &Sides, store: &dyn Store) -> Result<()> {
    let traffic = traffic::read(sides, store).await?;
    if traffic.all_at_target() || was_begun(sides).await? {
        return Ok(());
    }
    Err(Error::usage(format!("the traffic of {} is not switched: {traffic}", sides.spec.name()))
        .advice("Switch all of it first: `shunt movetables switchtraffic`."))
}

/// Whether a Complete that was killed has forgotten the source's part already: then the target's fence alone stands, open.
async fn was_begun(sides: &Sides) -> Result<bool> {
    let mut source = sides.source.connect().await?;
    let mut target = sides.target.connect().await?;
    let gone = fence::read(&mut source, &sides.source.incoming).await?.is_none();
    let row = fence::read(&mut target, &sides.target.incoming).await?;
    Ok(gone && row.is_some_and(|row| row.state == fence::FenceState::Open && row.generation > 0))
}

async fn removed(
    bounder: &mut Bounder,
    statement: &str,
    until: Instant,
    cancel: &CancellationToken,
) -> Result<()> {
    triggers::bounded(bounder, statement, until, cancel).await.context("remove the source's tables")
}

/// The same side with the names that its tables get.
fn renamed(place: &Place, generation: u64) -> Place {
    let tables = place.tables.iter().map(|table| old_name(table, generation)).collect();
    Place { tables, ..place.clone() }
}

/// The statements that will be run on the source.
pub fn removal(place: &Place, tables: &[String], generation: u64, drop: bool) -> Vec<String> {
    let renamed: Vec<String> = tables.iter().map(|table| old_name(table, generation)).collect();
    let rename = renaming(place, tables, generation);
    let drop = if drop { dropping(place, &renamed) } else { None };
    rename.into_iter().chain(drop).collect()
}

fn dropping(place: &Place, tables: &[String]) -> Option<String> {
    let names: Vec<String> = tables.iter().map(|t| sql::qualified(&place.database, t)).collect();
    (!names.is_empty()).then(|| format!("DROP TABLE {}", names.join(", ")))
}

fn renaming(place: &Place, tables: &[String], generation: u64) -> Option<String> {
    let renames: Vec<String> = tables
        .iter()
        .map(|table| {
            let old = old_name(table, generation);
            format!(
                "{} TO {}",
                sql::qualified(&place.database, table),
                sql::qualified(&place.database, &old)
            )
        })
        .collect();
    (!renames.is_empty()).then(|| format!("RENAME TABLE {}", renames.join(", ")))
}

/// The moved tables that are still there.
///
/// # Errors
/// Of the connection.
pub async fn existing(control: &mut Control, place: &Place) -> Result<Vec<String>> {
    let found = crate::mysql::schema::list_tables(control, &place.database).await?;
    let there = |table: &&String| found.iter().any(|(name, _)| name == *table);
    Ok(place.tables.iter().filter(there).cloned().collect())
}

/// The triggers went with the renamed tables.
async fn drop_triggers(control: &mut Control, renamed: &Place) -> Result<()> {
    for (name, _) in triggers::triggers(control, renamed).await? {
        let sql = format!("DROP TRIGGER IF EXISTS {}", sql::qualified(&renamed.database, &name));
        control.execute(sql).await.context("take the fence off the renamed tables")?;
    }
    Ok(())
}

async fn freeze_back(control: &mut Control, place: &Place) -> Result<()> {
    let Some(row) = workflow::find(control, &place.incoming).await? else { return Ok(()) };
    workflow::set_wanted(control, row.id, false).await?;
    for found in stream::of_workflow(control, row.id).await? {
        let owner = Owner::new();
        let tenure = lease::seize(control, found.id, &owner).await?;
        stream::set_state(control, found.id, StreamState::Frozen, "completed").await?;
        lease::release(control, tenure, &owner).await?;
    }
    Ok(())
}

/// Removes a side's part of the workflow; with `fence`, its fence too.
async fn forget(control: &mut Control, place: &Place, fence: bool) -> Result<()> {
    watch::forget(control, &place.incoming).await?;
    if fence {
        fence::forget(control, &place.incoming).await?;
        switch::forget(control, &place.incoming).await?;
    }
    match workflow::find(control, &place.incoming).await? {
        Some(row) => workflow::forget(control, row.id).await,
        None => Ok(()),
    }
}

/// Takes the fences of a workflow that was never switched off again, for Cancel.
///
/// # Errors
/// Usage if its writes are switched, Retry if the tables are in use all the time.
pub async fn unfence(sides: &Sides, until: Instant, cancel: &CancellationToken) -> Result<()> {
    for place in [&sides.target, &sides.source] {
        let mut bounder = place.bounder().await?;
        triggers::disarm(&mut bounder, place, u64::MAX, until, cancel).await?;
        fence::forget(&mut bounder.control, &place.incoming).await?;
        watch::forget(&mut bounder.control, &place.incoming).await?;
        switch::forget(&mut bounder.control, &place.incoming).await?;
        if let Some(row) = workflow::find(&mut bounder.control, &place.incoming).await?
            && place.side == crate::routing::Side::Source
        {
            workflow::forget(&mut bounder.control, row.id).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_names_fit_and_carry_the_generation() {
        assert_eq!(old_name("corder", 3), "_corder_3_old");
        let long = old_name(&"ü".repeat(64), 12_345);
        assert!(long.chars().count() <= 64 && long.ends_with("ü_12345_old"), "{long}");
    }
}
