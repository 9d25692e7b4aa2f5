//! What was put off until after the copy: secondary and unique keys and foreign keys, one ALTER a table.
//!
//! They are built once every range is done and the stream has passed every H: before that a unique value may be on the
//! target twice. No group is applied meanwhile, so no transient duplicate meets a unique key that is being built. An ALTER of
//! a process that died was ended by the takeover of the lease; whether it had finished is seen in the table itself.

use crate::apply::target::{Target, Tenure};
use crate::error::{Error, Result, ResultExt};
use crate::failpoints;
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
        let name = sql::ident(&table.name);
        let control = target.control();
        control.execute(format!("USE {}", sql::ident(database))).await?;
        control.execute("SET lock_wait_timeout=5").await?;
        tracing::info!(table = %table.name, "building keys");
        match control.execute(alter).await {
            // Duplicate key name, duplicate constraint: built by an owner that could not record it any more. One ALTER
            // makes all or nothing, so one existing key means all exist.
            Err(error) if was_built(&error) => {
                tracing::info!(table = %table.name, "the keys were built before");
            }
            other => drop(other.context(format_args!("build the keys of {name}"))?),
        }
    }
    failpoints::hit(failpoints::KEYS_AFTER_ALTER)?;
    let control = target.begin().await?;
    set_keys_built(control, tenure, &table.name).await?;
    target.commit().await?;
    failpoints::hit(failpoints::KEYS_AFTER_RECORD)
}

/// Duplicate key name or duplicate constraint name; InnoDB reports the latter as its own error 121 within 1005.
fn was_built(error: &Error) -> bool {
    match error.server_code() {
        Some(1061 | 1826) => true,
        Some(1005) => error.to_string().contains("errno: 121"),
        _ => false,
    }
}
