//! What VDiff has said of a move: traffic is better led to a copy that was found equal.

use shunt_engine::Result;
use shunt_engine::cutover::back::FROZEN_BY_COMPLETE;
use shunt_engine::cutover::{lost, traffic};
use shunt_engine::preflight::{self, Finding, Level};
use shunt_engine::routing::Side;
use shunt_engine::sidecar::{self, stream, vdiff, workflow as workflows};
use shunt_engine::workflow::state::StreamState;
use shunt_vdiff::report::{Record, State, TableRecord};
use shunt_vdiff::workflow;

use super::traffic::Ground;
use crate::commands::vdiff::exit_of;
use crate::exit::Exit;

/// What the operator should know before a switch of the writes to a side. On the way back there is nothing to prove: what is led back
/// to was served from there.
///
/// # Errors
/// Of the connection; Stop if the sidecar's text is broken.
pub(super) async fn finding(ground: &Ground<'_>, to: Side) -> Result<Option<Finding>> {
    if to != Side::Target {
        return Ok(None);
    }
    let spec = &ground.sides.spec;
    let mut control = ground.sides.place(to).connect().await?;
    sidecar::prepare(&mut control).await?;
    let last = vdiff::of_workflow(&mut control, &spec.name()).await?.into_iter().next();
    let record = match last {
        Some(row) => Some(workflow::record(&mut control, &row).await?),
        None => None,
    };
    control.close().await;
    let Some(reason) = doubt(record.as_ref(), &spec.tables) else { return Ok(None) };
    let fix = format!("`shunt vdiff create {} --wait` compares all rows.", spec.name());
    Ok(Some(Finding {
        id: "vdiff",
        level: Level::Warning,
        side: preflight::Side::Target,
        subject: spec.name(),
        reason,
        fix: Some(fix),
    }))
}

/// What stops every switch: both sides took writes, and nothing leads from one to the other.
///
/// # Errors
/// Of the connections.
pub(super) async fn orphan(ground: &Ground<'_>) -> Result<Option<Finding>> {
    let name = ground.sides.spec.name();
    if !lost::is_orphan(&ground.sides).await? {
        return Ok(None);
    }
    Ok(Some(Finding {
        id: "orphan",
        level: Level::Error,
        side: preflight::Side::Target,
        subject: name.clone(),
        reason: "both sides take writes: one was opened past the other, or is a server from before a switch. Neither has all that the other has".to_owned(),
        fix: Some(format!(
            "Copy what you need, `shunt movetables cancel {name} --keep-data`, and create it anew."
        )),
    }))
}

/// What stops the way back: nothing brings the source up to the target any more.
///
/// # Errors
/// Of the connection.
pub(super) async fn half_completed(ground: &Ground<'_>, to: Side) -> Result<Option<Finding>> {
    if to != Side::Source {
        return Ok(None);
    }
    let place = &ground.sides.source;
    let mut control = place.connect().await?;
    let streams = match workflows::find(&mut control, &place.incoming).await? {
        Some(row) => stream::of_workflow(&mut control, row.id).await?,
        None => Vec::new(),
    };
    control.close().await;
    // A switch that is under way has frozen it without these words.
    let by_complete = |stream: &stream::StreamRow| {
        stream.state == StreamState::Frozen && stream.message == FROZEN_BY_COMPLETE
    };
    if !streams.iter().any(by_complete) {
        return Ok(None);
    }
    let (reason, fix) = traffic::half_completed(&ground.sides);
    Ok(Some(Finding {
        id: "completing",
        level: Level::Error,
        side: preflight::Side::Source,
        subject: place.incoming.clone(),
        reason,
        fix: Some(fix),
    }))
}

/// Why the last VDiff does not say that these tables are equal.
fn doubt(last: Option<&Record>, tables: &[String]) -> Option<String> {
    let Some(last) = last else { return Some("No VDiff has compared its tables.".to_owned()) };
    let uuid = &last.uuid;
    if last.state != State::Completed {
        return Some(format!("The last VDiff, {uuid}, is not completed: it is {}.", last.state));
    }
    match exit_of(last) {
        Exit::Done => {}
        Exit::Unknown => {
            return Some(format!(
                "The last VDiff, {uuid}, left rows open that changed all the time."
            ));
        }
        _ => return Some(format!("The last VDiff, {uuid}, found rows that differ.")),
    }
    let first = last.tables.iter().filter(|table| tables.contains(&table.name));
    if let Some(rows) = first.filter_map(TableRecord::compared_part).max() {
        return Some(format!(
            "The last VDiff, {uuid}, compared {rows} rows of each table at most (--limit)."
        ));
    }
    let compared = |table: &String| last.tables.iter().any(|record| record.name == *table);
    let left_out: Vec<&str> = tables.iter().filter(|t| !compared(t)).map(String::as_str).collect();
    let left_out = left_out.join(", ");
    (!left_out.is_empty()).then(|| format!("The last VDiff, {uuid}, left out {left_out}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(state: State, tables: &[(&str, u64, u64)]) -> Record {
        let table = |&(name, mismatched, repaired): &(&str, u64, u64)| TableRecord {
            name: name.to_owned(),
            mismatched,
            repaired,
            ..TableRecord::default()
        };
        let tables = tables.iter().map(table).collect();
        Record { uuid: "u".to_owned(), state, tables, ..Record::default() }
    }

    #[test]
    fn only_a_whole_and_clean_vdiff_leaves_no_doubt() {
        let tables = ["a".to_owned(), "b".to_owned()];
        let clean = [("a", 0, 0), ("b", 2, 2)];
        let mut limited = record(State::Completed, &clean);
        limited.tables[1].first_rows = Some(1000);
        for (last, said) in [
            (None, Some("No VDiff")),
            (Some(record(State::Completed, &clean)), None),
            (Some(record(State::Stopped, &clean)), Some("it is stopped")),
            (Some(record(State::Completed, &[("a", 1, 0), ("b", 0, 0)])), Some("rows that differ")),
            (Some(record(State::Completed, &clean[..1])), Some("left out b")),
            (Some(limited), Some("compared 1000 rows of each table at most")),
        ] {
            let doubt = doubt(last.as_ref(), &tables);
            assert_eq!(doubt.is_some(), said.is_some(), "{doubt:?}");
            assert!(doubt.unwrap_or_default().contains(said.unwrap_or_default()), "{said:?}");
        }
    }
}
