//! Whether the rows of a pair may be written on the target: what a repair, or statements for one, would do beside writing them.
//!
//! Before this stands [`crate::run`], which asks before a table is compared; after it [`crate::fix`].

use shunt_engine::error::ResultExt;
use shunt_engine::mysql::control::Control;
use shunt_engine::mysql::schema::{FENCE_TRIGGER_PREFIX, Generated, TableSchema};
use shunt_engine::mysql::sql;
use shunt_engine::{Error, Result};

use crate::pair::Pair;

/// Refuses a pair of which a row that is written anew would lose columns, or do more than be written.
///
/// # Errors
/// Usage.
pub(crate) fn check(pair: &Pair) -> Result<()> {
    // A row that is written anew would lose what was not compared.
    let covers = |table: &TableSchema| {
        let own = table.columns.iter().filter(|c| c.generated == Generated::No);
        own.count() == pair.columns.len()
    };
    let whole = covers(&pair.source.schema) && covers(&pair.target.schema);
    let name = sql::ident(&pair.name);
    if !pair.keyed() || !whole {
        let why =
            if pair.keyed() { "is compared in part" } else { "has no key that both sides share" };
        return Err(Error::usage(format!("table {name} {why} and cannot be repaired"))
            .advice("Leave it out with --tables, or run without repair."));
    }
    let triggers = &pair.target.schema.triggers;
    if triggers.is_empty() {
        return Ok(());
    }
    // They would count or log each mended row as one that a client wrote.
    Err(Error::usage(format!(
        "table {name} cannot be repaired: deleting and inserting its rows would fire the target's triggers on it: {}",
        triggers.join(", ")
    ))
    .advice("Drop them until it is repaired, leave the table out with --tables, or run without repair."))
}

/// Refuses a table of a side that a switch has closed: its fence lets nobody but the stream write there.
///
/// # Errors
/// Usage; of the connection.
pub(crate) async fn check_open(control: &mut Control, database: &str, table: &str) -> Result<()> {
    let query = format!(
        "SELECT action_statement FROM information_schema.triggers WHERE event_object_schema = {} \
         AND event_object_table = {} AND LEFT(trigger_name, {}) = {}",
        sql::literal(database),
        sql::literal(table),
        FENCE_TRIGGER_PREFIX.len(),
        sql::literal(FENCE_TRIGGER_PREFIX)
    );
    let triggers = control.rows(query).await.context("look for a fence on the target's table")?;
    if triggers.is_empty() {
        return Ok(());
    }
    let closed = "SELECT workflow FROM `_shunt`.`fence` WHERE closed_until_s > UNIX_TIMESTAMP()";
    let closed = control.rows(closed).await.context("read the fences of the target")?;
    for workflow in closed.iter().filter_map(|row| row.text(0)) {
        let name = sql::literal(&workflow);
        if triggers.iter().any(|row| row.text(0).is_some_and(|body| body.contains(&name))) {
            return Err(Error::usage(format!(
                "table {} cannot be repaired: it is closed by the fence of a switch or a rehearsal, which only the stream of {workflow} passes",
                sql::qualified(database, table)
            ))
            .advice(
                "Run without repair, and do not switch the writes to this side while rows differ. A row that is deleted and inserted \
                 again on the other side, in one transaction, comes over whole.",
            ));
        }
    }
    Ok(())
}
