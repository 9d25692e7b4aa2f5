//! Transactions that write moved and other tables together, counted in the end of a server's binlog.
//!
//! What is read is bounded in bytes and time: from the beginning of a file to the position at which it was asked, or as far as
//! the time goes. So it is a sample, and the findings say of how much; silence about a table proves nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::{Finding, Level, Side};
use crate::changes::reader::Feed;
use crate::error::{Error, Result};
use crate::limits;
use crate::mysql::binlog::event::EventBody;
use crate::mysql::control::{Control, Session};
use crate::mysql::gtid::{Gtid, GtidSet};
use crate::mysql::names::same;
use crate::mysql::server::{Flavor, ServerConfig};
use crate::mysql::snapshot::current_gtids;
use crate::mysql::sql;
use crate::mysql::wire::Wire;

const ID: &str = "mixed_transactions";

/// What was counted.
#[derive(Debug, Default)]
struct Count {
    /// Transactions of clients that wrote a moved table.
    moved: u64,
    /// Of these, those that wrote others too: how many, by what they wrote.
    mixed: BTreeMap<(String, String), u64>,
    bytes: u64,
    open: Open,
}

/// The transaction that is read.
#[derive(Debug, Default)]
struct Open {
    gtid: Option<Gtid>,
    moved: BTreeSet<String>,
    others: BTreeSet<String>,
    /// It moves a position of a stream: it is the stream's.
    ours: bool,
}

/// Reads the end of a server's binlog.
///
/// # Errors
/// Of the connection that statements are run on. If the binlog cannot be read, that is a finding.
pub(crate) async fn look(
    server: &ServerConfig,
    side: Side,
    database: &str,
    tables: &[String],
) -> Result<Vec<Finding>> {
    let mut control = Control::connect(server, Session::Control).await?;
    let counted = count(&mut control, server, database, tables).await;
    control.close().await;
    Ok(match counted {
        Ok(count) => findings(side, &count),
        Err(error) => vec![Finding {
            id: ID,
            ..Finding::new(
                Level::NotChecked,
                side,
                "binlog",
                format!(
                    "Whether transactions write moved and other tables together was not counted: {error}"
                ),
            )
        }],
    })
}

fn findings(side: Side, count: &Count) -> Vec<Finding> {
    let sample = format!(
        "of {} that wrote moved tables in the last {} KiB of the binlog",
        count.moved,
        count.bytes >> 10
    );
    let mut mixed: Vec<_> = count.mixed.iter().collect();
    mixed.sort_by_key(|(_, times)| std::cmp::Reverse(**times));
    let finding = |((moved, others), times): (&(String, String), &u64)| {
        let reason = format!(
            "{times} transactions {sample} also wrote {others}, which is not moved: after the switch such a transaction spans two servers, and the gateway refuses it with error 1235. Move these tables together, or take the transactions apart."
        );
        Finding { id: ID, ..Finding::new(Level::Warning, side, moved.clone(), reason) }
    };
    mixed.into_iter().take(limits::FINDINGS_SHOWN).map(finding).collect()
}

async fn count(
    control: &mut Control,
    server: &ServerConfig,
    database: &str,
    tables: &[String],
) -> Result<Count> {
    let until = Instant::now() + limits::BINLOG_SAMPLE_TIME;
    let start = start_of_sample(control).await?;
    let mut wire = Wire::connect(server).await?;
    let goal = current_gtids(&mut wire).await?;
    let mut count = Count::default();
    let mut followed = start.clone();
    if followed.contains_set(&goal) {
        return Ok(count);
    }
    let mut feed = Feed::open(wire, &start).await?;
    while !followed.contains_set(&goal) && count.bytes < limits::BINLOG_SAMPLE_BYTES * 2 {
        let left = until.saturating_duration_since(Instant::now());
        // The feed is not used again when the wait expires.
        let Ok(event) = tokio::time::timeout(left, feed.next()).await else { break };
        let event = event?;
        if matches!(event.body, EventBody::Heartbeat { .. }) {
            break;
        }
        if !event.header.is_artificial() {
            count.bytes += u64::from(event.header.size);
        }
        if let Some(gtid) = count.take(event.body, database, tables) {
            followed.insert(&gtid)?;
        }
    }
    if followed.contains_set(&goal) {
        count.finish();
    }
    Ok(count)
}

/// Where the last files begin that together are no larger than the sample, or the last one of all.
async fn start_of_sample(control: &mut Control) -> Result<GtidSet> {
    let files = control.rows("SHOW BINARY LOGS").await?;
    let (mut bytes, mut first) = (0_u64, None);
    for row in files.iter().rev() {
        bytes = bytes.saturating_add(row.number(1)?);
        if first.is_some() && bytes > limits::BINLOG_SAMPLE_BYTES {
            break;
        }
        first = Some(row.must(0)?);
    }
    let first = first.ok_or_else(|| Error::stop("the server has no binlog"))?;
    // The list of GTIDs is the first or second event behind the file's description.
    let query = format!("SHOW BINLOG EVENTS IN {} LIMIT 4", sql::literal(&first));
    for row in control.rows(query).await? {
        let (kind, info) = (row.must(2)?, row.text(5).unwrap_or_default());
        match kind.as_str() {
            "Previous_gtids" => return GtidSet::parse(Flavor::MySql, &info),
            "Gtid_list" => return list_of(&info),
            _ => {}
        }
    }
    Err(Error::stop("the binlog file does not say with which GTIDs it begins"))
}

/// `[0-1-5,0-2-7]`: of a domain the last one counts.
fn list_of(info: &str) -> Result<GtidSet> {
    let inner = info.trim().trim_start_matches('[').trim_end_matches(']');
    let mut last: BTreeMap<&str, &str> = BTreeMap::new();
    for gtid in inner.split(',').map(str::trim).filter(|gtid| !gtid.is_empty()) {
        last.insert(gtid.split('-').next().unwrap_or_default(), gtid);
    }
    let list = last.into_values().collect::<Vec<_>>().join(",");
    GtidSet::parse(Flavor::MariaDb, &list)
}

impl Count {
    /// Takes an event; the name of the transaction that it ends.
    fn take(&mut self, body: EventBody, database: &str, tables: &[String]) -> Option<Gtid> {
        match body {
            EventBody::Gtid(start) => {
                // One without rows ended with its statement.
                let before = self.finish();
                self.open.gtid = Some(start.gtid);
                before
            }
            EventBody::Rows(rows) => {
                self.note(&rows.table.database, &rows.table.table, database, tables);
                None
            }
            EventBody::Payload(events) => {
                let ended = events.into_iter().map(|event| self.take(event.body, database, tables));
                ended.fold(None, |first, ended| first.or(ended))
            }
            EventBody::Xid(_) | EventBody::XaPrepare { .. } => self.finish(),
            // The last transaction of all may be a statement by itself.
            EventBody::Query(query) if !query.sql.eq_ignore_ascii_case(b"BEGIN") => {
                self.open.gtid.clone()
            }
            _ => None,
        }
    }

    fn note(&mut self, of: &str, table: &str, database: &str, tables: &[String]) {
        let here = same(of, database);
        if same(of, "_shunt") {
            self.open.ours = true;
        } else if here && tables.iter().any(|moved| same(moved, table)) {
            self.open.moved.insert(table.to_owned());
        } else if !same(of, "mysql") {
            let name = if here { table.to_owned() } else { format!("{of}.{table}") };
            self.open.others.insert(name);
        }
    }

    fn finish(&mut self) -> Option<Gtid> {
        let open = std::mem::take(&mut self.open);
        if !open.ours && !open.moved.is_empty() {
            self.moved += 1;
            if !open.others.is_empty() {
                let list =
                    |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>().join(", ");
                *self.mixed.entry((list(open.moved), list(open.others))).or_default() += 1;
            }
        }
        open.gtid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_gtids_may_name_a_domain_twice() {
        assert_eq!(list_of("[0-1-5,0-2-7, 3-1-1]").unwrap().to_string(), "0-2-7,3-1-1");
        assert!(list_of("[]").unwrap().is_empty());
    }

    #[test]
    fn only_transactions_of_clients_that_write_both_are_counted() {
        let tables = ["t".to_owned()];
        let mut count = Count::default();
        for written in [
            &[("shop", "T"), ("shop", "u")][..],
            &[("shop", "t"), ("shop", "u")],
            &[("shop", "t"), ("shop", "t")],
            &[("shop", "t"), ("other", "t")],
            &[("shop", "u"), ("shop", "v")],
            &[("shop", "t"), ("shop", "u"), ("_shunt", "stream")],
        ] {
            for (database, table) in written {
                count.note(database, table, "shop", &tables);
            }
            count.finish();
        }
        assert_eq!(count.moved, 4);
        let mixed: Vec<_> = count.mixed.iter().map(|((m, o), n)| format!("{m} {o} {n}")).collect();
        assert_eq!(mixed, ["T u 1", "t other.t 1", "t u 1"]);
        assert_eq!(findings(Side::Source, &count).len(), 3);
    }
}
