//! DDL on a moved table, everything before it applied.

use super::Ended;
use super::owner::Owned;
use super::queue::{Queued, QueuedWork};
use crate::error::{Error, Result};
use crate::mysql::gtid::Gtid;
use crate::mysql::snapshot::LogPosition;
use crate::mysql::sql;
use crate::workflow::spec::OnDdl;

impl Owned {
    /// Does what `--on-ddl` says.
    pub(super) fn ddl(&mut self, queued: Queued) -> Result<Option<Ended>> {
        let QueuedWork::Ddl { tables, statement, end } = queued.work else {
            unreachable!("only DDL is handed out as DDL");
        };
        if self.spec.on_ddl == OnDdl::Ignore && !removes(&statement) {
            tracing::warn!(%statement, "DDL on the source is passed over, as --on-ddl says");
            self.flow.queue.push_front(Queued {
                seq: queued.seq,
                gtid: queued.gtid,
                work: QueuedWork::Rows { rows: Vec::new(), end },
                share: None,
            });
            return Ok(None);
        }
        let names: Vec<String> =
            tables.iter().map(|at| sql::ident(&self.tables[*at].row.name)).collect();
        Err(ddl_error(&names.join(", "), &statement, &queued.gtid, &end))
    }
}

/// DDL that removes the table or puts another in its place stops even a stream that passes DDL over.
fn removes(statement: &str) -> bool {
    let words: Vec<String> =
        statement.split_whitespace().take(8).map(str::to_ascii_lowercase).collect();
    let partitions = ["partition", "exchange"];
    matches!(words.first().map(String::as_str), Some("drop" | "rename" | "create"))
        || statement.to_ascii_lowercase().split_whitespace().any(|word| partitions.contains(&word))
        || statement.to_ascii_lowercase().contains("rename")
}

fn ddl_error(tables: &str, statement: &str, gtid: &Gtid, end: &LogPosition) -> Error {
    let mut shown: String = statement.chars().take(200).collect();
    if shown.len() < statement.len() {
        shown.push('…');
    }
    Error::stop(format!(
        "DDL on {tables} at {gtid} ({} {}): {shown}",
        end.file, end.offset
    ))
    .advice(
        "The stream stands before it. If the copy can do without it: `shunt workflow update --on-ddl IGNORE`, then start; \
         otherwise cancel the workflow and create it again.",
    )
}
