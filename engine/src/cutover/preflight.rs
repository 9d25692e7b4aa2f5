//! What must be so before the pause: looked at when the switch is written and nothing is held up yet.

use super::leak::guard;
use super::settle::{Case, Hands};
use super::sides::Place;
use super::{Options, gateways};
use crate::error::{Error, Result, ResultExt};
use crate::mysql::control::Control;
use crate::mysql::schema;
use crate::mysql::server::{Flavor, Version};

/// How far the opening side's AUTO_INCREMENT is raised above the closing side's ahead of time.
pub const AUTO_INCREMENT_MARGIN: u64 = 1000;

/// Checks both sides.
///
/// # Errors
/// Stop or Usage, with what stands in the way.
pub(super) async fn check(case: &Case<'_>, hands: &mut Hands, options: &Options) -> Result<()> {
    note_leaks(case.opening(), options).await;
    let control = &mut hands.closing.control;
    must_not_replicate(control, case.closing()).await?;
    must_log_rows(&mut hands.opening.control, case, options).await?;
    let control = &mut hands.closing.control;
    let xa = control.rows("XA RECOVER").await.context("look for prepared XA transactions")?;
    if !xa.is_empty() {
        return Err(Error::stop(format!(
            "{} XA transactions are prepared on the {}: their COMMIT would pass the fence",
            xa.len(),
            case.closing().side
        ))
        .advice("Commit or roll them back (XA RECOVER lists them)."));
    }
    check_tables(control, case.closing(), options).await?;
    if options.gateways && gateways::alive(case.store).await? == 0 {
        return Err(Error::usage("no gateway is registered")
            .advice("Start `shunt gateway`, or switch with --no-gateway where clients connect to the servers directly."));
    }
    Ok(())
}

/// What was written on the closed side is there when it opens, and is not on the other. Going back is not refused for it: it
/// may be what has to be done.
async fn note_leaks(opening: &Place, options: &Options) {
    if let Err(error) = guard::must_be_tight(opening, options.timeout).await {
        tracing::warn!("{error}");
    }
}

/// Rows that come in by replication pass every trigger.
async fn must_not_replicate(control: &mut Control, place: &Place) -> Result<()> {
    let statement = match control.info().flavor {
        Flavor::MariaDb => "SHOW ALL SLAVES STATUS",
        Flavor::MySql if control.info().version >= Version(8, 0, 22) => "SHOW REPLICA STATUS",
        Flavor::MySql => "SHOW SLAVE STATUS",
    };
    let channels = control.rows(statement).await.context("look for replication")?;
    if channels.is_empty() {
        return Ok(());
    }
    Err(Error::stop(format!(
        "the {} is itself a replica: rows that come in by replication pass the fence",
        place.side
    ))
    .advice(
        "Switch from the server that takes the writes, or remove the channel (RESET SLAVE ALL).",
    ))
}

/// What is written on the opened side must be in its binlog, to be replicated back.
async fn must_log_rows(control: &mut Control, case: &Case<'_>, options: &Options) -> Result<()> {
    if !options.reverse_replication {
        return Ok(());
    }
    let query = "SELECT @@global.log_bin, @@global.binlog_format, @@global.binlog_row_image";
    let row = control.row(query).await?.unwrap_or_default();
    let (log, format, image) = (row.must(0)?, row.must(1)?, row.must(2)?);
    if log == "1" && format == "ROW" && image == "FULL" {
        return Ok(());
    }
    Err(Error::stop(format!(
        "the {} writes no binlog of full rows, so nothing could be replicated back",
        case.opening().side
    ))
    .advice("Set log_bin, binlog_format=ROW and binlog_row_image=FULL there, or switch with --enable-reverse-replication=false."))
}

async fn check_tables(control: &mut Control, place: &Place, options: &Options) -> Result<()> {
    for table in &place.tables {
        let schema = schema::read_table(control, &place.database, table).await?;
        let schema = schema.ok_or_else(|| Error::stop(format!("table {table} is gone")))?;
        if schema.foreign_keys.iter().any(schema::ForeignKey::changes_child) {
            return Err(Error::stop(format!(
                "rows of {table} change by a cascade of a foreign key, which no trigger sees"
            )));
        }
        if options.reverse_replication && !schema.triggers.is_empty() {
            return Err(Error::stop(format!(
                "{table} has triggers on the {}, which the stream back would fire a second time: {}",
                place.side,
                schema.triggers.join(", ")
            ))
            .advice("Drop them, or switch with --enable-reverse-replication=false."));
        }
    }
    Ok(())
}
