//! The reverse stream: made during a switch, stopped, in the sidecar of the side that closes, with its start position fixed.
//!
//! Its tables are on both sides and equal at that position, so all of each is one copied range that is settled there. Where the
//! workflow exists from an earlier switch its stream is set anew, under a new epoch.

use super::wanted::Wanted;
use super::{range, stream, switch, table_plan, watch, workflow};
use crate::apply::target::Tenure;
use crate::error::{Error, Result, ResultExt};
use crate::failpoints;
use crate::mysql::control::Control;
use crate::mysql::gtid::GtidSet;
use crate::mysql::snapshot::ReadPosition;
use crate::mysql::sql;
use crate::ranges::Bounds;
use crate::workflow::spec::WorkflowSpec;
use crate::workflow::state::StreamState;

/// What the reverse stream is made of.
#[derive(Clone, Debug)]
pub struct ReverseStream {
    /// Its workflow.
    pub spec: WorkflowSpec,
    /// Its tables: name and definition (`TableSchema::fingerprint`) on the server that it reads from.
    pub tables: Vec<(String, String)>,
    /// Where it begins.
    pub start: ReadPosition,
    /// The server that this position is of.
    pub source_identity: String,
    /// The last position of the side that closes: whatever comes after it there is the stream's back, or a leak.
    pub closed_at: GtidSet,
    /// The switch.
    pub generation: u64,
    /// Who makes it; in the same transaction it is checked that it may.
    pub coordinator: String,
}

/// Makes or sets it, in one transaction.
///
/// # Errors
/// LeaseLost if the switch has another coordinator; Stop if the reverse workflow is another move's.
pub async fn put(control: &mut Control, reverse: &ReverseStream) -> Result<()> {
    control.begin().await?;
    let put = put_in_transaction(control, reverse).await;
    if put.is_ok() {
        failpoints::hit(failpoints::SWITCH_BEFORE_REVERSE)?;
    }
    control.end(put).await.context("save the reverse stream")?;
    failpoints::hit(failpoints::SWITCH_AFTER_REVERSE)
}

async fn put_in_transaction(control: &mut Control, reverse: &ReverseStream) -> Result<()> {
    let name = reverse.spec.name();
    switch::must_coordinate(control, &name, reverse.generation, &reverse.coordinator).await?;
    let stream = match workflow::find(control, &name).await? {
        Some(known) => {
            must_be_the_same(&known.spec, &reverse.spec)?;
            let ids = stream::of_workflow(control, known.id).await?;
            let [row] = ids.as_slice() else {
                return Err(Error::stop(format!("workflow {name} has {} streams", ids.len())));
            };
            let sql = format!(
                "UPDATE `_shunt`.`epoch` SET epoch = epoch + 1 WHERE stream_id = {}",
                row.id
            );
            workflow::set_wanted(control, known.id, Wanted::Stop).await?;
            control.execute(sql).await.context("set the reverse stream anew")?;
            row.id
        }
        None => insert(control, &reverse.spec).await?,
    };
    set(control, stream, reverse).await?;
    watch::begin(control, &name, reverse.generation, &reverse.closed_at.to_string()).await?;
    switch::renew_pass(control, &name).await
}

/// A stream that is set anew reads where it read before: its row keeps the old specification.
fn must_be_the_same(old: &WorkflowSpec, new: &WorkflowSpec) -> Result<()> {
    let identity = |spec: &WorkflowSpec| {
        let from = (spec.source_keyspace.clone(), spec.source_database.clone());
        (from, spec.target_keyspace.clone(), spec.target_database.clone())
    };
    if identity(old) == identity(new) {
        return Ok(());
    }
    Err(Error::stop(format!(
        "workflow {} is there already, and leads back from {} and not from {}",
        new.name(),
        old.source_keyspace,
        new.source_keyspace
    ))
    .advice("It belongs to another move of this name: complete or cancel that one first."))
}

async fn insert(control: &mut Control, spec: &WorkflowSpec) -> Result<u64> {
    let id = workflow::insert_row(control, spec, Wanted::Stop).await?;
    stream::insert(control, id, StreamState::Stopped).await
}

/// The stream's row, tables and ranges.
async fn set(control: &mut Control, stream: u64, reverse: &ReverseStream) -> Result<()> {
    let start = &reverse.start;
    let sql = format!(
        "UPDATE `_shunt`.`stream` SET state = '{}', pos = {}, log_file = {}, log_offset = {}, \
         source_identity = {}, ahead_until = NULL, message = '', updated_s = UNIX_TIMESTAMP() WHERE id = {stream}",
        StreamState::Stopped,
        sql::literal(&start.gtids.to_string()),
        sql::literal(&start.log.file),
        start.log.offset,
        sql::literal(&reverse.source_identity),
    );
    control.execute(sql).await.context("set the reverse stream")?;
    let old = table_plan::read(control, stream).await?;
    let copied = range::copied(control, stream).await?;
    for table in ["range", "table_plan"] {
        let sql = format!("DELETE FROM `_shunt`.`{table}` WHERE stream_id = {stream}");
        control.execute(sql).await.context("set the reverse stream")?;
    }
    for (name, fingerprint) in &reverse.tables {
        // What the workflow itself made stays known: Cancel may drop that, and nothing else.
        let before = old.iter().find(|table| table.name == *name).cloned().unwrap_or_default();
        let row = table_plan::TableRow {
            name: name.clone(),
            fingerprint: fingerprint.clone(),
            keys_sql: None,
            keys_built: true,
            ..before
        };
        table_plan::insert(control, stream, &row).await?;
        let done = range::DoneRange {
            bounds: Bounds { lower: None, upper: None },
            settled: start.gtids.clone(),
        };
        let amount = copied.iter().find(|(table, _)| table == name).map(|(_, copied)| *copied);
        let tenure = Tenure { stream, epoch: 0 };
        range::record_done(control, tenure, name, &done, amount.unwrap_or_default()).await?;
    }
    Ok(())
}
