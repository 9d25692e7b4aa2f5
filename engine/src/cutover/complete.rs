//! Complete: the move is over. The reverse stream is frozen, the source's tables are renamed, rules and state are
//! removed. Every step may be repeated: whoever is killed in between is followed by the same command.
//!
//! Nothing that was written on the closed source may be thrown away unseen. So its binlog is read to its end before anything is
//! done, and, since a write may pass at the last moment, once more when the tables have gone from their names: only then are they
//! dropped, if they are to be, and only then is the move forgotten. A leak that the operator has not acknowledged ends the command.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::xxh3_64;

use super::back::Back;
use super::leak::guard;
use super::sides::{Place, Sides};
use super::{traffic, triggers};
use crate::error::{Error, Result, ResultExt};
use crate::failpoints;
use crate::mysql::control::Control;
use crate::mysql::deadline::Bounder;
use crate::mysql::names::same;
use crate::mysql::sql;
use crate::routing::document;
use crate::sidecar::{fence, switch, watch, workflow};
use crate::topology::Store;
use crate::topology::locks::{self, Locks};

/// What becomes of the source's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tables {
    /// They stay under their names, closed.
    Keep,
    /// They get other names, and are open.
    Rename,
    /// They are dropped.
    Drop,
}

/// What becomes of the source's tables and the rules.
#[derive(Clone, Copy, Debug)]
pub struct Completing {
    /// The tables.
    pub tables: Tables,
    /// The rules stay.
    pub keep_routing_rules: bool,
    /// How long it may take to get hold of the tables.
    pub timeout: Duration,
}

/// Characters of a table's name that its new name has at most; names have 64.
const NAME_MAX: usize = 48;
/// What is left of a longer one, beside a hash of all of it: others may begin in the same way.
const NAME_CUT: usize = 39;

/// What the source's journal says before its tables are dropped.
const DROPPING: &str = "dropping";

/// The name that a table of the source gets.
pub fn old_name(table: &str, generation: u64) -> String {
    if table.chars().count() <= NAME_MAX {
        return format!("_{table}_{generation}_old");
    }
    let kept: String = table.chars().take(NAME_CUT).collect();
    let hash = xxh3_64(table.as_bytes()) & 0xffff_ffff;
    format!("_{kept}_{hash:08x}_{generation}_old")
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
    let mut bounder = place.bounder().await?;
    let back = Back::read(&mut bounder.control, place).await?;
    if let Err(why) = must_be_harmless(sides, how).await {
        // An earlier attempt that was killed may have left it frozen.
        return Err(match back.is_frozen() {
            true => back.set_free(&mut bounder.control, place, locks, why).await,
            false => why,
        });
    }
    let row = fence::read(&mut bounder.control, &place.incoming).await?;
    let generation = row.map_or(0, |row| row.generation);
    let until = Instant::now() + how.timeout;
    back.freeze(&mut bounder.control).await?;
    if let Err(why) = rename(&mut bounder, place, (how, generation), until, cancel).await {
        return Err(back.set_free(&mut bounder.control, place, locks, why).await);
    }
    if how.tables != Tables::Keep {
        failpoints::hit(failpoints::COMPLETE_AFTER_RENAME)?;
        guard::must_be_tight(place, how.timeout).await?;
        let renamed = renamed(place, generation);
        let left = existing(&mut bounder.control, &renamed).await?;
        match drop_sql(&renamed, &left) {
            Some(drop) if how.tables == Tables::Drop => {
                let number = generation.to_string();
                workflow::journal(&mut bounder.control, &place.incoming, DROPPING, &number).await?;
                run_when_free(&mut bounder, &drop, until, cancel).await?;
            }
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
    if how.tables != Tables::Keep {
        forget_switches(&mut bounder.control, place).await?;
    }
    forget_workflow(&mut bounder.control, place).await?;
    failpoints::hit(failpoints::COMPLETE_HALF_FORGOTTEN)?;
    // The target's own last: it is what the command is found by when it is given again.
    let mut target = sides.target.bounder().await?;
    triggers::disarm(&mut target, &sides.target, u64::MAX, until, cancel).await?;
    workflow::journal(&mut target.control, &sides.spec.name(), "completed", "").await?;
    forget_switches(&mut target.control, &sides.target).await?;
    forget_workflow(&mut target.control, &sides.target).await
}

/// # Errors
/// Usage, with what is not switched.
pub async fn must_be_switched(sides: &Sides, store: &dyn Store) -> Result<()> {
    let traffic = traffic::read(sides, store).await?;
    if traffic.all_at_target() || was_begun(sides).await? {
        return Ok(());
    }
    let rule = match &traffic.to_source {
        Some(rule) => format!(". The routing rule {rule} leads to {}", sides.source.keyspace),
        None => String::new(),
    };
    let name = sides.spec.name();
    Err(Error::usage(format!("the traffic of {name} is not switched: {traffic}{rule}"))
        .advice("Switch all of it first: `shunt movetables switchtraffic`."))
}

/// What is to be gone is all on the target, and the names that tables get are free.
///
/// # Errors
/// Stop, with the leaks, or with what is missing or in the way; of the connections.
pub async fn must_be_harmless(sides: &Sides, how: Completing) -> Result<()> {
    let place = &sides.source;
    guard::must_be_tight(place, how.timeout).await?;
    if how.tables == Tables::Keep {
        return Ok(());
    }
    let mut source = place.connect().await?;
    let left = existing(&mut source, place).await?;
    let fence = fence::read(&mut source, &place.incoming).await?;
    if let Some(fence) = &fence {
        must_be_somewhere(&mut source, place, &left, fence.generation).await?;
    }
    let generation = fence.map_or(0, |fence| fence.generation);
    let taken = existing(
        &mut source,
        &renamed(&Place { tables: left.clone(), ..place.clone() }, generation),
    )
    .await?;
    source.close().await;
    if !taken.is_empty() {
        return Err(Error::stop(format!(
            "{} is there already in {}",
            taken.join(", "),
            place.database
        ))
        .advice(
            "Rename or drop it: a table of the move gets its name. Or complete with --keep-data.",
        ));
    }
    let mut target = sides.target.connect().await?;
    let there = existing(&mut target, &sides.target).await?;
    target.close().await;
    let missing: Vec<&str> =
        left.iter().filter(|table| !there.contains(table)).map(String::as_str).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::stop(format!("{} is not on the target any more", missing.join(", "))).advice(
        "Bring it back there, or complete with --keep-data and deal with the source's tables yourself.",
    ))
}

/// Each table is under its name, or under the one that an earlier attempt gave it: what is under neither would be said to be removed, and
/// is not. Only an earlier attempt may have dropped it.
async fn must_be_somewhere(
    source: &mut Control,
    place: &Place,
    left: &[String],
    generation: u64,
) -> Result<()> {
    let old = existing(source, &renamed(place, generation)).await?;
    let is_lost =
        |table: &&String| !left.contains(table) && !old.contains(&old_name(table, generation));
    let lost: Vec<&str> = place.tables.iter().filter(is_lost).map(String::as_str).collect();
    let dropping = workflow::last_journal(source, &place.incoming, DROPPING).await?;
    if lost.is_empty() || dropping == Some(generation.to_string()) {
        return Ok(());
    }
    Err(Error::stop(format!(
        "{} is on the source neither under its name nor under that which it is to get ({})",
        lost.join(", "),
        old_name(lost[0], generation)
    ))
    .advice(
        "Whoever renamed or dropped it: see what became of it. Then complete with --keep-data, and deal with the source's tables yourself.",
    ))
}

/// Whether a Complete that was killed has forgotten the source's part already: then the target's fence alone stands, open.
async fn was_begun(sides: &Sides) -> Result<bool> {
    let mut source = sides.source.connect().await?;
    let mut target = sides.target.connect().await?;
    let gone = fence::read(&mut source, &sides.source.incoming).await?.is_none();
    let row = fence::read(&mut target, &sides.target.incoming).await?;
    Ok(gone && row.is_some_and(|row| row.state == fence::FenceState::Open && row.generation > 0))
}

async fn run_when_free(
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

/// The statements that will be run on the source, of tables that do not stay.
pub fn removal_sql(
    place: &Place,
    tables: &[String],
    generation: u64,
    becomes: Tables,
) -> Vec<String> {
    let renamed: Vec<String> = tables.iter().map(|table| old_name(table, generation)).collect();
    let rename = rename_sql(place, tables, generation);
    let drop = if becomes == Tables::Drop { drop_sql(place, &renamed) } else { None };
    rename.into_iter().chain(drop).collect()
}

fn drop_sql(place: &Place, tables: &[String]) -> Option<String> {
    let names: Vec<String> = tables.iter().map(|t| sql::qualified(&place.database, t)).collect();
    (!names.is_empty()).then(|| format!("DROP TABLE {}", names.join(", ")))
}

fn rename_sql(place: &Place, tables: &[String], generation: u64) -> Option<String> {
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
    // An older shunt kept names as they were typed.
    let folds = control.info().folds_names;
    let is_one = |name: &str, table: &str| name == table || folds && same(name, table);
    let there = |table: &&String| found.iter().any(|(name, _)| is_one(name, table));
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

/// Takes the tables from their names, if that is wanted.
async fn rename(
    bounder: &mut Bounder,
    place: &Place,
    (how, generation): (Completing, u64),
    until: Instant,
    cancel: &CancellationToken,
) -> Result<()> {
    failpoints::hit(failpoints::COMPLETE_AFTER_FREEZE)?;
    if how.tables == Tables::Keep {
        return Ok(());
    }
    let there = existing(&mut bounder.control, place).await?;
    bounder.control.execute("SET foreign_key_checks=0").await?;
    match rename_sql(place, &there, generation) {
        Some(rename) => run_when_free(bounder, &sql::marked(&rename), until, cancel).await,
        None => Ok(()),
    }
}

/// What a side knows of switches: that it was closed, and by which.
async fn forget_switches(control: &mut Control, place: &Place) -> Result<()> {
    watch::forget(control, &place.incoming).await?;
    fence::forget(control, &place.incoming).await?;
    switch::forget(control, &place.incoming).await
}

/// A side's workflow, and what is watched for it.
async fn forget_workflow(control: &mut Control, place: &Place) -> Result<()> {
    watch::forget(control, &place.incoming).await?;
    match workflow::find(control, &place.incoming).await? {
        Some(row) => workflow::forget(control, row.id).await,
        None => Ok(()),
    }
}

/// Takes the fences of a workflow off again, for Cancel. Nothing that a repetition goes by is forgotten while a trigger may stand: the
/// tables could be written by nobody once `_shunt` is gone.
///
/// # Errors
/// Usage if its writes are switched, Retry if the tables are in use all the time.
pub async fn unfence(sides: &Sides, until: Instant, cancel: &CancellationToken) -> Result<()> {
    let mut disarmed = Vec::new();
    for place in [&sides.target, &sides.source] {
        let mut bounder = place.bounder().await?;
        triggers::disarm(&mut bounder, place, u64::MAX, until, cancel).await?;
        disarmed.push((place, bounder));
    }
    for (place, mut bounder) in disarmed {
        forget_switches(&mut bounder.control, place).await?;
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
        assert!(long.chars().count() <= 64 && long.ends_with("_12345_old"), "{long}");
        let names = ["1", "2"].map(|end| old_name(&format!("{}{end}", "x".repeat(63)), 3));
        assert_ne!(names[0], names[1]);
        assert!(names[0].len() <= 64 && names[0].starts_with("_xxx"), "{names:?}");
        assert_eq!(old_name(&"y".repeat(48), 99_999_999).len(), 62);
    }
}
