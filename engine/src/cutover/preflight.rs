//! What must be so before the pause: looked at when nothing is written yet and nothing is held up.
//!
//! [`refusals`] are what stops a switch. What an operator should know, and what would break though the switch itself is right, is in
//! [`survey`](super::survey).

use std::time::{Duration, Instant};

use super::leak::guard;
use super::sides::Place;
use super::{Options, gateways, triggers};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::mysql::control::Control;
use crate::mysql::schema;
use crate::mysql::server::{Flavor, Version};
use crate::mysql::sql;
use crate::preflight::{self, Finding, Level};
use crate::routing::Side;
use crate::sidecar::stream::{self, StreamRow};
use crate::sidecar::{lease, watch, workflow};
use crate::topology::Store;
use crate::workflow::state::StreamState;

/// How far the opening side's AUTO_INCREMENT is raised above the closing side's ahead of time.
pub const AUTO_INCREMENT_MARGIN: u64 = 1000;
/// How long a worker may take to take the stream up again after a switch that was taken back.
const WORKER_WAIT: Duration = Duration::from_secs(5);
const WORKER_LOOK: Duration = Duration::from_millis(100);

/// Both sides of a switch, and how it is to be done.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// The side that closes.
    pub closing: &'a Place,
    /// The side that opens.
    pub opening: &'a Place,
    /// The topology.
    pub store: &'a dyn Store,
    /// How.
    pub options: &'a Options,
}

/// A side as findings have it.
pub(super) fn side_of(place: &Place) -> preflight::Side {
    match place.side {
        Side::Source => preflight::Side::Source,
        Side::Target => preflight::Side::Target,
    }
}

/// An error about a side; `fix` is what to do.
fn refusal(
    id: &'static str,
    place: &Place,
    subject: impl Into<String>,
    reason: impl Into<String>,
    fix: impl Into<String>,
) -> Finding {
    Finding { id, ..Finding::new(Level::Error, side_of(place), subject, reason).fix(fix) }
}

/// Refuses what must not be switched.
///
/// # Errors
/// Stop or Usage, with all that stands in the way.
pub(super) async fn check(
    look: Look<'_>,
    closing: &mut Control,
    opening: &mut Control,
) -> Result<()> {
    if look.options.gateways && gateways::alive(look.store).await? == 0 {
        return Err(Error::usage("no gateway is registered")
            .advice("Start `shunt gateway`, or switch with --no-gateway where clients connect to the servers directly."));
    }
    let found = refusals(look, closing, opening).await?;
    if found.is_empty() {
        return Ok(());
    }
    let all = |text: fn(&Finding) -> Option<&str>, between: &str| {
        found.iter().filter_map(text).collect::<Vec<_>>().join(between)
    };
    let reasons = all(|finding| Some(&finding.reason), "; ");
    Err(Error::stop(reasons).advice(all(|finding| finding.fix.as_deref(), " ")))
}

/// All that stops a switch.
///
/// # Errors
/// Of the connections.
pub(super) async fn refusals(
    look: Look<'_>,
    closing: &mut Control,
    opening: &mut Control,
) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    found.extend(replicates(closing, look.closing).await?);
    found.extend(logs_no_rows(opening, look).await?);
    let xa = closing.rows("XA RECOVER").await.context("look for prepared XA transactions")?;
    if !xa.is_empty() {
        let reason = format!(
            "{} XA transactions are prepared on the {}: their COMMIT would pass the fence",
            xa.len(),
            look.closing.side
        );
        let fix = "Commit or roll them back (XA RECOVER lists them).";
        found.push(refusal("prepared_xa", look.closing, "XA RECOVER", reason, fix));
    }
    found.extend(check_tables(closing, look.closing, look.options).await?);
    for (control, place) in [(&mut *closing, look.closing), (&mut *opening, look.opening)] {
        found.extend(belongs_to_another(control, place).await?);
    }
    found.extend(leaked(look).await?);
    found.extend(left_behind(closing, look).await?);
    found.extend(has_no_worker(opening, look).await?);
    Ok(found)
}

/// Where another move has closed a table, what is in it now comes from elsewhere, and it is for that move to open it.
async fn belongs_to_another(control: &mut Control, place: &Place) -> Result<Vec<Finding>> {
    let closed = triggers::closed_by_others(control, place).await?;
    let finding = |(table, other): (String, String)| {
        let reason = format!(
            "table {} of the {} is closed by another move, whose workflow into it is {other}",
            sql::ident(&table),
            place.side
        );
        let fix = "Switch that move back, complete or cancel it first. If it was completed with --keep-data, it has left the table as it was: drop the \
                   triggers of its fence (SHOW TRIGGERS lists them) to move the table anew.";
        refusal("other_move", place, table, reason, fix)
    };
    Ok(closed.into_iter().map(finding).collect())
}

/// What was written on the closed side is there when it opens, and is not on the other; what was emptied there is empty then. Going back may
/// be what has to be done all the same.
async fn leaked(look: Look<'_>) -> Result<Option<Finding>> {
    match guard::must_be_tight(look.opening, look.options.timeout).await {
        Ok(()) => Ok(None),
        Err(error) if look.options.force || look.options.rehearsal => {
            tracing::warn!("{error}");
            Ok(None)
        }
        Err(error) if error.kind() == ErrorKind::Retry => Err(error),
        Err(error) => {
            let fix = "Look at them with `shunt movetables leaks`, deal with them, and acknowledge them there; or go to that side as it is, with --force.";
            Ok(Some(refusal("leaks", look.opening, "leaks", error.to_string(), fix)))
        }
    }
}

/// What was written on the side that closes while it was closed before, and was not dealt with, was carried by no stream.
async fn left_behind(control: &mut Control, look: Look<'_>) -> Result<Option<Finding>> {
    let place = look.closing;
    let leaks = watch::leaks(control, &place.incoming).await?;
    let open = leaks.iter().filter(|leak| !leak.acknowledged).count();
    if open == 0 || look.options.force || look.options.rehearsal {
        return Ok(None);
    }
    let reason = format!(
        "the {} has {open} transactions that were made while it was closed: no stream has carried them to the {}",
        place.side, look.opening.side
    );
    let fix =
        "Look at them with `shunt movetables leaks`, bring them over, and acknowledge them there.";
    Ok(Some(refusal("leaks", place, "leaks", reason, fix)))
}

/// Rows that come in by replication pass every trigger.
async fn replicates(control: &mut Control, place: &Place) -> Result<Option<Finding>> {
    let statement = match control.info().flavor {
        Flavor::MariaDb => "SHOW ALL SLAVES STATUS",
        Flavor::MySql if control.info().version >= Version(8, 0, 22) => "SHOW REPLICA STATUS",
        Flavor::MySql => "SHOW SLAVE STATUS",
    };
    let channels = control.rows(statement).await.context("look for replication")?;
    let reason = format!(
        "the {} is itself a replica: rows that come in by replication pass the fence",
        place.side
    );
    let fix =
        "Switch from the server that takes the writes, or remove the channel (RESET SLAVE ALL).";
    Ok((!channels.is_empty()).then(|| refusal("upstream", place, "replica status", reason, fix)))
}

/// What is written on the opened side must be in its binlog, to be replicated back.
async fn logs_no_rows(control: &mut Control, look: Look<'_>) -> Result<Option<Finding>> {
    if !look.options.reverse_replication {
        return Ok(None);
    }
    let query = "SELECT @@global.log_bin, @@global.binlog_format, @@global.binlog_row_image";
    let row = control.row(query).await?.unwrap_or_default();
    let (log, format, image) = (row.must(0)?, row.must(1)?, row.must(2)?);
    if log == "1" && format == "ROW" && image == "FULL" {
        return Ok(None);
    }
    let place = look.opening;
    let reason = format!(
        "the {} writes no binlog of full rows, so nothing could be replicated back",
        place.side
    );
    let fix = "Set log_bin, binlog_format=ROW and binlog_row_image=FULL there, or switch with --enable-reverse-replication=false.";
    Ok(Some(refusal("target_binlog", place, "binlog", reason, fix)))
}

async fn check_tables(
    control: &mut Control,
    place: &Place,
    options: &Options,
) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    for table in &place.tables {
        let schema = schema::read_table(control, &place.database, table).await?;
        let schema = schema.ok_or_else(|| gone(table))?;
        for key in schema.foreign_keys.iter().filter(|key| key.changes_child()) {
            let reason = format!(
                "rows of {table} change by a cascade of the foreign key {}, which no trigger sees",
                key.name
            );
            let fix = "Make it RESTRICT for the time of the move.";
            found.push(refusal("cascades", place, format!("{table}.{}", key.name), reason, fix));
        }
        if options.reverse_replication && !schema.triggers.is_empty() {
            let reason = format!(
                "{table} has triggers on the {}, which the reverse stream would fire a second time: {}",
                place.side,
                schema.triggers.join(", ")
            );
            let fix = "Drop them, or switch with --enable-reverse-replication=false.";
            found.push(refusal("triggers", place, table, reason, fix));
        }
    }
    Ok(found)
}

/// What is written on the opened side is replicated back only while somebody runs the reverse stream. Whoever runs the stream of now
/// will; it may just be taking it up again after a switch that was taken back.
async fn has_no_worker(control: &mut Control, look: Look<'_>) -> Result<Option<Finding>> {
    if !look.options.reverse_replication || look.options.rehearsal || look.options.force {
        return Ok(None);
    }
    let place = look.opening;
    let until = Instant::now() + WORKER_WAIT.min(look.options.timeout);
    loop {
        let Some(row) = workflow::find(control, &place.incoming).await? else { return Ok(None) };
        for stream in stream::of_workflow(control, row.id).await? {
            if lease::read(control, stream.id).await?.0 {
                return Ok(None);
            }
            if matches!(stream.state, StreamState::Error | StreamState::Stopped) {
                return Ok(Some(stands_still(place, &stream)));
            }
        }
        if Instant::now() >= until {
            break;
        }
        tokio::time::sleep(WORKER_LOOK).await;
    }
    let reason = format!(
        "nobody runs the stream of {}, so nobody would replicate back what is written after the switch",
        place.incoming
    );
    let fix = "Start a `shunt serve`, or switch with --force and start one later.";
    Ok(Some(refusal("worker", place, place.incoming.clone(), reason, fix)))
}

fn gone(table: &str) -> Error {
    Error::stop(format!("table {table} is gone")).advice("Restore it, or cancel the workflow.")
}

/// A stream that ended by itself, or was stopped, is nobody's to take up again unasked.
fn stands_still(place: &Place, stream: &StreamRow) -> Finding {
    let (incoming, why) = (&place.incoming, stream.why_ended());
    let reason = format!(
        "the stream into the {}, {incoming}, has ended ({}): {why}",
        place.side, stream.state
    );
    let fix = format!("Fix the cause, then run `shunt movetables start {incoming}`.");
    refusal("worker", place, incoming.clone(), reason, fix)
}
