//! A statement that writes rows of one table, and what the server must say of it.

use std::sync::Arc;

use super::notes::strict;
use super::upserts;
use crate::changes::Row;
use crate::error::{Error, ErrorKind, Result};
use crate::mysql::wire::Wire;
use crate::mysql::wire::writing::Parameter;
use crate::plan::TablePlan;

/// A statement, whose table it writes, and what it must do.
#[derive(Clone, Debug)]
pub struct Statement {
    plan: Arc<TablePlan>,
    body: Body,
    does: Does,
}

/// What the server must say that a statement did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    /// It deletes the rows that are there.
    Delete,
    /// It deletes so many rows.
    DeleteJust(u64),
    /// It writes so many rows, as they are. A replaced row counts twice.
    Write(u64),
}

/// How a statement is sent.
#[derive(Clone, Debug)]
enum Body {
    /// As text.
    Text(Vec<u8>),
    /// Prepared, over rows in bulk.
    Bulk { sql: Arc<str>, parameters: Box<[Parameter]>, rows: Vec<u8> },
    /// As text that changes columns of these rows, which are written whole where one of them is not there.
    InPlace { sql: Vec<u8>, rows: Vec<Row> },
}

impl Statement {
    pub(super) fn text(plan: Arc<TablePlan>, sql: Vec<u8>, does: Does) -> Self {
        Self { plan, body: Body::Text(sql), does }
    }

    /// Of so many rows, laid out by `parameters`.
    pub(super) fn bulk(
        plan: Arc<TablePlan>,
        sql: Arc<str>,
        parameters: Box<[Parameter]>,
        (rows, count): (Vec<u8>, u64),
    ) -> Self {
        Self { plan, body: Body::Bulk { sql, parameters, rows }, does: Does::Write(count) }
    }

    /// Changes columns of `rows`, which are there.
    pub(super) fn in_place(plan: Arc<TablePlan>, sql: Vec<u8>, rows: Vec<Row>) -> Self {
        let does = Does::Write(rows.len() as u64);
        Self { plan, body: Body::InPlace { sql, rows }, does }
    }

    /// What it says; of rows in bulk without the rows.
    #[cfg(test)]
    pub(super) fn as_text(&self) -> String {
        match &self.body {
            Body::Text(sql) | Body::InPlace { sql, .. } => {
                String::from_utf8_lossy(sql).into_owned()
            }
            Body::Bulk { sql, .. } => sql.to_string(),
        }
    }

    /// Runs it.
    ///
    /// # Errors
    /// Of the server; Stop for a value that the target would change; Divergence if it is another number of rows than it must be.
    pub async fn run(&self, wire: &mut Wire) -> Result<()> {
        let outcome = match &self.body {
            Body::Text(sql) | Body::InPlace { sql, .. } => wire.execute(sql).await,
            Body::Bulk { sql, parameters, rows } => wire.execute_bulk(sql, parameters, rows).await,
        };
        let outcome = match (&self.body, outcome) {
            (Body::InPlace { rows, .. }, Err(error)) if is_of_values(&error) => {
                let table = self.plan.target();
                tracing::debug!(%table, "rows are written whole, since they cannot be changed in place: {error}");
                return replace(rows, wire).await;
            }
            (_, outcome) => outcome.map_err(|e| self.explained(e))?,
        };
        let affected = outcome.affected;
        let diverged = match self.does {
            Does::DeleteJust(rows) if rows != affected => {
                format!("{affected} rows of a table without a key were found to delete, not {rows}")
            }
            Does::Write(rows) => {
                let strictly = strict(wire, &self.plan.source, outcome).await;
                strictly.map_err(|e| self.explained(e))?;
                if affected >= rows {
                    return Ok(());
                }
                let table = self.plan.target();
                if let Body::InPlace { rows: whole, .. } = &self.body {
                    tracing::warn!(%table, missing = rows - affected, "rows that the source changed are not on the target: they are written anew. A VDiff tells whether others are missing");
                    return replace(whole, wire).await;
                }
                format!("the target says that it wrote {affected} of {rows} rows of {table}")
            }
            _ => return Ok(()),
        };
        Err(Error::new(ErrorKind::Divergence, diverged)
            .advice("Somebody else writes to the target's tables, or a trigger does. Cancel the workflow and create it again."))
    }

    /// Values were right on the source, so a target that refuses them or does not know a column is defined differently.
    fn explained(&self, error: Error) -> Error {
        let code = error.server_code();
        let error = error.context(format_args!("write {}", self.plan.target()));
        match code {
            Some(1048 | 1054 | 1136 | 1264 | 1265 | 1292 | 1366 | 1406 | 3819 | 4025) => error.advice(
                "The table's definition on the target is not the one that the row was written under: was it changed on either \
                 server, perhaps with sql_log_bin=0? Cancel the workflow and create it again. Or the row holds what no statement can \
                 write: the error value '' of an ENUM, bytes that are not of their character set.",
            ),
            Some(1146) => error.advice(
                "The table was dropped or renamed on the server that this stream writes to. If it was renamed, rename it back and start the \
                 workflow again. If it is gone, the stream cannot go on: cancel the workflow and create it again; after a switch, end the \
                 move with `shunt movetables complete` instead, if you do not need a way back.",
            ),
            Some(1153) => error.advice(
                "A row takes up to twice its size in a statement. Raise max_allowed_packet on the target (SET GLOBAL max_allowed_packet = …, \
                 1 GiB at most), then start the workflow again.",
            ),
            _ => error,
        }
    }
}

/// A value is refused, by a unique key, a CHECK or a type. The server has taken the statement back, and the transaction goes on.
fn is_of_values(error: &Error) -> bool {
    matches!(
        error.server_code(),
        Some(1048 | 1062 | 1264 | 1265 | 1292 | 1366 | 1406 | 3819 | 4025)
    )
}

/// Writes rows whole.
async fn replace(rows: &[Row], wire: &mut Wire) -> Result<()> {
    let rows: Vec<&Row> = rows.iter().collect();
    let mut statements = Vec::new();
    upserts::push("REPLACE", &rows, false, &mut statements)?;
    for statement in statements {
        Box::pin(statement.run(wire)).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mysql::schema::TableSchema;

    #[test]
    fn a_target_that_refuses_a_value_is_named_with_what_to_do() {
        let schema = TableSchema { name: "t".into(), ..TableSchema::default() };
        let plan = Arc::new(TablePlan::new(schema, "d"));
        let statement = Statement::text(plan, Vec::new(), Does::Delete);
        let error = statement.explained(Error::stop("ERROR 1264 (22003)").code(1264));
        assert!(error.to_string().starts_with("write `d`.`t`: ERROR 1264 (22003)"), "{error}");
        assert!(error.advice_text().is_some_and(|advice| advice.contains("definition")));
        let error = statement.explained(Error::retry("ERROR 1213 (40001)").code(1213));
        assert_eq!((error.kind(), error.advice_text()), (ErrorKind::Retry, None));
    }
}
