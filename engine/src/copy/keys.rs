//! What was put off until after the copy: secondary and unique keys and foreign keys, one ALTER a table.
//!
//! They are built once every range is done and the stream has passed every H: before that a unique value may be on the
//! target twice. No group is applied meanwhile, so no transient duplicate meets a unique key that is being built. An ALTER of
//! a process that died was ended by the takeover of the lease; whether it had finished is seen in the table itself, clause by
//! clause ([`pending`]): somebody may have added one of the keys by hand, and a name that is taken proves nothing of the others.

mod pending;

use self::pending::Pending;
use crate::apply::target::{Target, Tenure};
use crate::error::{Error, Result, ResultExt};
use crate::failpoints;
use crate::mysql::control::Control;
use crate::mysql::schema::Definition;
use crate::mysql::sql;
use crate::sidecar::table_plan::{TableRow, set_keys_built};

/// Builds what a table lacks and records it.
///
/// # Errors
/// Stop if the target cannot build it, e.g. for duplicates; Retry for lost connections.
pub async fn build(
    target: &mut Target,
    tenure: Tenure,
    database: &str,
    table: &TableRow,
) -> Result<()> {
    failpoints::hit(failpoints::KEYS_BEFORE_ALTER)?;
    if let Some(alter) = &table.keys_sql {
        let name = sql::qualified(database, &table.name);
        let control = target.control();
        control.execute(format!("USE {}", sql::ident(database))).await?;
        control.execute("SET lock_wait_timeout=5").await?;
        tracing::info!(table = %table.name, "building keys");
        add_missing(control, &name, &Pending::parse(alter)?)
            .await
            .context(format_args!("build the keys of {name}"))?;
    }
    failpoints::hit(failpoints::KEYS_AFTER_ALTER)?;
    let control = target.begin().await?;
    set_keys_built(control, tenure, &table.name).await?;
    target.commit().await?;
    failpoints::hit(failpoints::KEYS_AFTER_RECORD)
}

/// Builds what is not there. An ALTER of an earlier owner may end just when the table has been looked at; then a second look tells.
async fn add_missing(control: &mut Control, table: &str, pending: &Pending<'_>) -> Result<()> {
    let mut looks = 0;
    loop {
        looks += 1;
        let row = control.row(format!("SHOW CREATE TABLE {table}")).await?;
        let definition = Definition::parse(&row.unwrap_or_default().must(1)?)?;
        let missing = pending.missing(&definition, table)?;
        let mut failed = None;
        for alter in pending.statements(&missing) {
            if let Err(error) = control.execute(alter).await {
                failed = Some(error);
                break;
            }
        }
        match failed {
            None => return Ok(()),
            Some(error) if looks == 1 && is_of_names(&error) => {}
            Some(error) => return Err(explained(error)),
        }
    }
}

/// A name is taken, or one that is to go is not there. InnoDB reports a constraint's name as its own error 121 within 1005.
fn is_of_names(error: &Error) -> bool {
    match error.server_code() {
        Some(1061 | 1091 | 1823 | 1826) => true,
        Some(1005) => error.to_string().contains("errno: 121"),
        _ => false,
    }
}

fn explained(error: Error) -> Error {
    let is_of_constraint = is_of_names(&error) && !matches!(error.server_code(), Some(1061 | 1091));
    if !is_of_constraint {
        return error;
    }
    error.advice(
        "Another table of the target's database has a foreign key of this name, perhaps one that an earlier move has left under a \
         name that ends in _old (information_schema.referential_constraints tells which). Drop that foreign key or that table, then \
         start the workflow again.",
    )
}
