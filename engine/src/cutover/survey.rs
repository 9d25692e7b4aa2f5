//! What a switch would break though it is right itself: whatever ties moved tables to others, or to their server.
//!
//! All of it is looked for anew at each switch, on both sides: what was so when the workflow was created need not be so now. Nothing
//! is written. What cannot be seen is a finding too.

use std::collections::HashMap;

use super::preflight::{Look, refusals, side_of};
use super::sides::Place;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::mysql::control::Control;
use crate::mysql::sql;
use crate::preflight::{Finding, Level, defaults, joins, mixed, needs, users};
use crate::programs::Programs;

/// Findings of which the reasons of a refusal are errors, and all others warnings.
///
/// # Errors
/// Of the connections.
pub async fn survey(look: Look<'_>) -> Result<Vec<Finding>> {
    let mut closing = look.closing.connect().await?;
    let mut opening = look.opening.connect().await?;
    let mut found = Vec::new();
    if look.options.gateways && super::gateways::alive(look.store).await? == 0 {
        let reason = "No gateway is registered: start `shunt gateway`, or switch with --no-gateway where clients connect to the servers directly.";
        found.push(Finding {
            id: "gateways",
            ..Finding::new(Level::Error, side_of(look.closing), "gateways", reason)
        });
    }
    found.extend(refusals(look, &mut closing, &mut opening).await?);
    found.extend(warnings(look, &mut closing, &mut opening).await?);
    closing.close().await;
    opening.close().await;
    Ok(found)
}

/// What does not stop a switch.
///
/// # Errors
/// Of the connections.
pub async fn warn(look: Look<'_>) -> Result<Vec<Finding>> {
    let mut closing = look.closing.connect().await?;
    let mut opening = look.opening.connect().await?;
    let found = warnings(look, &mut closing, &mut opening).await;
    closing.close().await;
    opening.close().await;
    found
}

async fn warnings(
    look: Look<'_>,
    closing: &mut Control,
    opening: &mut Control,
) -> Result<Vec<Finding>> {
    let (from, to) = (look.closing, look.opening);
    let mut found = Vec::new();
    let then = format!(
        "after the switch it reads what is only replicated back, and its writes are refused by the fence. Make it on the {} as well and use that one; the gateway refuses statements that name this one, and an event has to be disabled here.",
        to.side
    );
    found.extend(seen("programs", from, programs(closing, from, &then).await)?);
    let then = "from the switch on it works on the rows that clients write. If the same runs on the other side as well, decide which one is to.";
    found.extend(seen("programs", to, programs(opening, to, then).await)?);
    found.extend(seen("foreign_keys", from, foreign_keys(closing, from, to).await)?);
    let (side, database, tables) = (side_of(from), &from.database, &from.tables);
    found.extend(mixed::look(&from.server, side, database, tables).await?);
    found.extend(joins::look(closing, side, database, tables).await?);
    let (ours, theirs) = (variables(closing).await?, variables(opening).await?);
    let differing = defaults::differences(side_of(to), &ours, &theirs);
    found.extend(differing.into_iter().map(|f| Finding { id: "session_defaults", ..f }));
    Ok(found)
}

/// What a server refuses to tell is not checked.
fn seen(id: &'static str, place: &Place, found: Result<Vec<Finding>>) -> Result<Vec<Finding>> {
    match found {
        Err(error) if error.kind() != ErrorKind::Retry => {
            let reason = format!("It could not be looked for: {error}");
            let finding = Finding::new(Level::NotChecked, side_of(place), id, reason);
            Ok(vec![Finding { id, ..finding }])
        }
        other => Ok(other?.into_iter().map(|finding| Finding { id, ..finding }).collect()),
    }
}

async fn programs(control: &mut Control, place: &Place, then: &str) -> Result<Vec<Finding>> {
    let programs = Programs::read(control).await?;
    let account = needs::account(control).await?;
    let hidden = users::unseen(&programs, control.info(), &account.grants, &place.database);
    let using = programs.users(&place.database, &place.tables);
    let side = side_of(place);
    let mut found: Vec<Finding> = using.iter().map(|u| users::used(side, u, then)).collect();
    found.extend(users::hidden_bodies(side, &account.name, &hidden));
    Ok(found)
}

/// Foreign keys of which only one end moves.
async fn foreign_keys(control: &mut Control, from: &Place, to: &Place) -> Result<Vec<Finding>> {
    let database = sql::literal(&from.database);
    let query = format!(
        "SELECT constraint_schema, table_name, constraint_name, unique_constraint_schema, \
         referenced_table_name, delete_rule, update_rule \
         FROM information_schema.referential_constraints \
         WHERE constraint_schema = {database} OR unique_constraint_schema = {database}"
    );
    let moves = |schema: &str, table: &String| {
        schema.eq_ignore_ascii_case(&from.database) && from.tables.contains(table)
    };
    let mut found = Vec::new();
    for row in control.rows(query).await.context("read the foreign keys")? {
        let (child_in, child, name) = (row.must(0)?, row.must(1)?, row.must(2)?);
        let (parent_in, parent) = (row.must(3)?, row.must(4)?);
        let acts = [row.must(5)?, row.must(6)?].iter().any(|r| r != "RESTRICT" && r != "NO ACTION");
        let reason = match (moves(&child_in, &child), moves(&parent_in, &parent)) {
            (true, false) => format!(
                "It refers to {parent}, which is not moved: from the switch on it is checked against the table of that name on the {}, if it was made there at all, and no more against this one.",
                to.side
            ),
            (false, true) => format!(
                "{child}, which is not moved, refers to {parent}: from the switch on it is checked against rows that are only replicated back{}, and rows of {parent} that it refers to can be deleted. Move it too, or drop the key.",
                if acts { ", its ON DELETE or ON UPDATE no longer reaches it" } else { "" }
            ),
            _ => continue,
        };
        let subject = format!("{child}.{name}");
        found.push(Finding::new(Level::Warning, side_of(from), subject, reason));
    }
    Ok(found)
}

async fn variables(control: &mut Control) -> Result<HashMap<String, String>> {
    let mut variables = HashMap::new();
    for row in control.rows("SHOW GLOBAL VARIABLES").await.context("read the settings")? {
        variables.insert(row.must(0)?.to_lowercase(), row.must(1)?.to_uppercase());
    }
    if variables.is_empty() {
        return Err(Error::retry("the server does not say its settings"));
    }
    Ok(variables)
}
