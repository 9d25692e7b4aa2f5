//! What a VDiff says: records as they are stored, and the report with the guide's fields.
//!
//! There is one shard, `0`. Beside the guide's fields a report says how far it is (`Progress`), how rows were compared
//! (`Strength`, `Compared`), and between which positions of the source equality was witnessed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shunt_engine::mysql::wire::TextCells;

use crate::columns::Compared;
use crate::date::date;
pub use crate::date::now_s;
use crate::ledger::Tally;
use crate::looks::Seen;
use crate::pair::Pair;
pub use crate::state::State;

/// A row in a sample.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RowSample {
    /// Its cells by column; binary ones in hexadecimal, long ones cut.
    pub row: serde_json::Map<String, serde_json::Value>,
}

/// A row that differs, as both sides have it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PairSample {
    /// On the source.
    pub source: RowSample,
    /// On the target.
    pub target: RowSample,
}

/// One table's comparison, as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TableRecord {
    /// Its name on the source.
    pub name: String,
    /// Its name on the target.
    pub target_name: String,
    /// What it is doing.
    pub state: State,
    /// Rows, as the source estimates them.
    pub rows_estimate: u64,
    /// What the tables and their key were when that began; see [`Pair::definition`].
    pub definition: String,
    /// Whether it was interrupted, and compared from its start again because a definition had changed.
    pub began_anew: bool,
    /// The last key of what is settled from the start, its cells in hexadecimal.
    pub lastpk: Option<Vec<String>>,
    /// Only so many rows, the first by the key, are compared; none if all are.
    pub first_rows: Option<u64>,
    /// Rows that are alike.
    pub matching: u64,
    /// Rows that differ.
    pub mismatched: u64,
    /// Rows that only the source has.
    pub extra_source: u64,
    /// Rows that only the target has.
    pub extra_target: u64,
    /// Rows that changed all the time.
    pub unsettled: u64,
    /// Differences that were repaired.
    pub repaired: u64,
    /// Rows that still differed when they were looked at after their repair.
    pub unrepaired: u64,
    /// Keys that were found and are not mended yet, in hexadecimal.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to_repair: Vec<String>,
    /// Keys that were repaired and are to be looked at again, in hexadecimal.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to_check: Vec<String>,
    /// Bytes of the file of statements that belong to this record.
    pub emitted: u64,
    /// How ranges were folded.
    pub strength: String,
    /// Columns that are not compared as they stand, and how they are.
    pub compared: Vec<String>,
    /// The first position at which the target was seen.
    pub from: Option<String>,
    /// What the last source snapshot can contain at most.
    pub to: Option<String>,
    /// Rows that only the source has.
    pub extra_source_sample: Vec<RowSample>,
    /// Rows that only the target has.
    pub extra_target_sample: Vec<RowSample>,
    /// Rows that differ.
    pub mismatched_sample: Vec<PairSample>,
    /// Keys of rows that changed all the time.
    pub unsettled_sample: Vec<RowSample>,
}

impl TableRecord {
    /// A table that is still to be compared.
    pub fn new(name: &str, target_name: &str) -> Self {
        Self { name: name.into(), target_name: target_name.into(), ..Self::default() }
    }

    /// All rows that were judged.
    pub fn compared_rows(&self) -> u64 {
        self.matching + self.mismatched + self.extra_source + self.extra_target + self.unsettled
    }

    /// How many rows were compared, if these need not be all. A record of before that was noted has the key behind which nothing was read.
    pub fn compared_part(&self) -> Option<u64> {
        let cut = self.state == State::Completed && self.lastpk.is_some();
        self.first_rows.or_else(|| cut.then(|| self.compared_rows()))
    }

    /// Whether the sides differ.
    pub fn differs(&self) -> bool {
        self.mismatched + self.extra_source + self.extra_target > 0
    }

    /// Adds what a settled range found.
    pub fn add(&mut self, pair: &Pair, tally: &Tally, show: &Show) {
        self.matching += tally.matching;
        self.mismatched += tally.mismatched;
        self.extra_source += tally.extra_source;
        self.extra_target += tally.extra_target;
        self.unsettled += tally.unsettled;
        for finding in &tally.findings {
            let row = |seen: &Seen| show.row(pair, &seen.cells);
            match (&finding.source, &finding.target) {
                (Some(source), Some(target)) => show.keep(
                    &mut self.mismatched_sample,
                    PairSample { source: row(source), target: row(target) },
                ),
                (Some(source), None) => show.keep(&mut self.extra_source_sample, row(source)),
                (None, Some(target)) => show.keep(&mut self.extra_target_sample, row(target)),
                (None, None) => {}
            }
        }
        for key in &tally.unsettled_keys {
            let cells: Vec<Option<Vec<u8>>> =
                TextCells::new(key).flatten().map(|cell| cell.map(<[u8]>::to_vec)).collect();
            show.keep(&mut self.unsettled_sample, show.row(pair, &cells));
        }
        if let Some(stand) = &tally.stand {
            self.from.get_or_insert_with(|| stand.applied.to_string());
            self.to = Some(stand.high.to_string());
        }
    }
}

/// How much of a row a sample shows.
#[derive(Clone, Copy, Debug)]
pub struct Show {
    /// Rows of each kind.
    pub rows: usize,
    /// Characters of a cell that is not of the key.
    pub truncate_at: usize,
    /// Nothing but keys.
    pub only_pks: bool,
}

impl Show {
    fn keep<T>(&self, sample: &mut Vec<T>, row: T) {
        if sample.len() < self.rows {
            sample.push(row);
        }
    }

    /// A row as a sample.
    pub fn row(&self, pair: &Pair, cells: &[Option<Vec<u8>>]) -> RowSample {
        let keys_only = self.only_pks && pair.keyed();
        let shown = if keys_only { pair.key_cells } else { pair.columns.len() };
        let cells = pair.columns.iter().zip(cells).take(shown).enumerate();
        let row = cells.map(|(at, (column, cell))| {
            let max = if at < pair.key_cells { usize::MAX } else { self.truncate_at };
            (column.source_name.clone(), shown_cell(column, cell.as_deref(), max))
        });
        RowSample { row: row.collect() }
    }
}

fn shown_cell(column: &Compared, cell: Option<&[u8]>, max: usize) -> serde_json::Value {
    let Some(cell) = cell else { return serde_json::Value::Null };
    let cell = column.lost(cell).unwrap_or(cell);
    let text = match std::str::from_utf8(cell) {
        Ok(text) if !column.binary => text.to_owned(),
        Err(error) if !column.binary && error.error_len().is_none() && cell.len() > max => {
            // Cut within a character.
            String::from_utf8_lossy(&cell[..error.valid_up_to()]).into_owned()
        }
        _ => format!("0x{}", hex(cell)),
    };
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}...[TRUNCATED]", &text[..end]).into(),
        None => text.into(),
    }
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes from hexadecimal.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let pair = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(pair).collect()
}

/// A whole VDiff, as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// The workflow's own name; empty for a standalone run.
    pub workflow: String,
    /// The target's keyspace or server.
    pub keyspace: String,
    /// Its name.
    pub uuid: String,
    /// What it is doing.
    pub state: State,
    /// Why, after an error.
    pub message: String,
    /// Seconds since 1970.
    pub started_s: Option<i64>,
    /// Seconds since 1970.
    pub completed_s: Option<i64>,
    /// What a standalone run does about differences.
    pub fixing: String,
    /// What a standalone run compares, and how, in words.
    pub what: String,
    /// Its tables.
    pub tables: Vec<TableRecord>,
}

impl Record {
    /// Rows judged.
    pub fn compared_rows(&self) -> u64 {
        self.tables.iter().map(TableRecord::compared_rows).sum()
    }

    /// Whether any table differs.
    pub fn differs(&self) -> bool {
        self.tables.iter().any(TableRecord::differs)
    }

    /// Whether some rows could not be judged.
    pub fn unsettled(&self) -> bool {
        self.tables.iter().any(|table| table.unsettled > 0)
    }

    /// Whether there may be rows that nobody compared.
    pub fn in_part(&self) -> bool {
        self.tables.iter().any(|table| table.compared_part().is_some())
    }

    /// How many of a hundred rows are judged, by the source's estimate.
    pub fn percentage(&self) -> f64 {
        if self.state == State::Completed {
            return 100.0;
        }
        let expected: u64 =
            self.tables.iter().map(|t| t.rows_estimate.max(t.compared_rows())).sum();
        let permille = (self.compared_rows() * 10_000).checked_div(expected).unwrap_or(0);
        f64::from(u32::try_from(permille.min(9_999)).unwrap_or(0)) / 100.0
    }

    /// The report; samples and tables are left out while there is nothing to show, unless `verbose`.
    pub fn view(&self, verbose: bool) -> View<'_> {
        let details = verbose || self.differs() || self.unsettled() || self.in_part();
        let tables = self.tables.iter().filter(|_| details);
        let errors = BTreeMap::from([("0", self.message.as_str())]);
        View {
            workflow: &self.workflow,
            keyspace: &self.keyspace,
            state: self.state,
            uuid: &self.uuid,
            rows_compared: self.compared_rows(),
            has_mismatch: self.differs(),
            shards: "0",
            started_at: self.started_s.map(date).unwrap_or_default(),
            completed_at: self.completed_s.map(date).unwrap_or_default(),
            table_summary: tables
                .clone()
                .map(|table| (table.name.as_str(), summary(table)))
                .collect(),
            reports: tables
                .map(|table| (table.name.as_str(), BTreeMap::from([("0", report(table))])))
                .collect(),
            errors: (!self.message.is_empty()).then_some(errors),
            progress: ProgressView { percentage: self.percentage(), eta: self.eta() },
        }
    }

    /// When it will be done, if it goes on as it did.
    fn eta(&self) -> Option<String> {
        let (State::Started, Some(started)) = (self.state, self.started_s) else { return None };
        let done = self.percentage();
        if done < 0.01 {
            return None;
        }
        let elapsed = i32::try_from(now_s() - started).ok()?;
        let left = f64::from(elapsed) * (100.0 - done) / done;
        // Beyond a year it says nothing.
        (left < 31_536_000.0).then(|| date(now_s() + whole(left)))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "below a year in seconds")]
fn whole(seconds: f64) -> i64 {
    seconds as i64
}

/// The report of a VDiff.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct View<'a> {
    workflow: &'a str,
    keyspace: &'a str,
    state: State,
    #[serde(rename = "UUID")]
    uuid: &'a str,
    rows_compared: u64,
    has_mismatch: bool,
    shards: &'static str,
    started_at: String,
    completed_at: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    table_summary: BTreeMap<&'a str, SummaryView<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    reports: BTreeMap<&'a str, BTreeMap<&'static str, ReportView<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<BTreeMap<&'static str, &'a str>>,
    progress: ProgressView,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ProgressView {
    percentage: f64,
    #[serde(rename = "ETA", skip_serializing_if = "Option::is_none")]
    eta: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct SummaryView<'a> {
    table_name: &'a str,
    state: State,
    rows_compared: u64,
    matching_rows: u64,
    mismatched_rows: u64,
    extra_rows_source: u64,
    extra_rows_target: u64,
    #[serde(skip_serializing_if = "is_zero")]
    unsettled_rows: u64,
    #[serde(skip_serializing_if = "is_zero")]
    repaired_rows: u64,
    strength: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    compared: &'a [String],
    witnessed_from: Option<&'a str>,
    witnessed_to: Option<&'a str>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn summary(table: &TableRecord) -> SummaryView<'_> {
    SummaryView {
        table_name: &table.name,
        state: table.state,
        rows_compared: table.compared_rows(),
        matching_rows: table.matching,
        mismatched_rows: table.mismatched,
        extra_rows_source: table.extra_source,
        extra_rows_target: table.extra_target,
        unsettled_rows: table.unsettled,
        repaired_rows: table.repaired,
        strength: &table.strength,
        compared: &table.compared,
        witnessed_from: table.from.as_deref(),
        witnessed_to: table.to.as_deref(),
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ReportView<'a> {
    table_name: &'a str,
    processed_rows: u64,
    matching_rows: u64,
    mismatched_rows: u64,
    extra_rows_source: u64,
    extra_rows_target: u64,
    #[serde(skip_serializing_if = "<[RowSample]>::is_empty")]
    extra_rows_source_sample: &'a [RowSample],
    #[serde(skip_serializing_if = "<[RowSample]>::is_empty")]
    extra_rows_target_sample: &'a [RowSample],
    #[serde(skip_serializing_if = "<[PairSample]>::is_empty")]
    mismatched_rows_sample: &'a [PairSample],
    #[serde(skip_serializing_if = "<[RowSample]>::is_empty")]
    unsettled_rows_sample: &'a [RowSample],
}

fn report(table: &TableRecord) -> ReportView<'_> {
    ReportView {
        table_name: &table.name,
        processed_rows: table.compared_rows(),
        matching_rows: table.matching,
        mismatched_rows: table.mismatched,
        extra_rows_source: table.extra_source,
        extra_rows_target: table.extra_target,
        extra_rows_source_sample: &table.extra_source_sample,
        extra_rows_target_sample: &table.extra_target_sample,
        mismatched_rows_sample: &table.mismatched_sample,
        unsettled_rows_sample: &table.unsettled_sample,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_the_fields_of_the_guide() {
        let table = TableRecord {
            state: State::Completed,
            matching: 5,
            strength: "fast".into(),
            ..TableRecord::new("corder", "corder")
        };
        let record = Record {
            workflow: "commerce2customer".into(),
            keyspace: "customer".into(),
            uuid: "d050262e-8c5f-11ed-ac72-920702940ee0".into(),
            state: State::Completed,
            started_s: Some(1_672_857_866),
            completed_s: Some(1_672_857_866),
            tables: vec![table],
            ..Record::default()
        };
        let text = serde_json::to_string(&record.view(true)).unwrap();
        assert!(text.starts_with(
            "{\"Workflow\":\"commerce2customer\",\"Keyspace\":\"customer\",\"State\":\"completed\",\
             \"UUID\":\"d050262e-8c5f-11ed-ac72-920702940ee0\",\"RowsCompared\":5,\"HasMismatch\":false,\
             \"Shards\":\"0\",\"StartedAt\":\"2023-01-04 18:44:26\",\"CompletedAt\":\"2023-01-04 18:44:26\",\
             \"TableSummary\":{\"corder\":{\"TableName\":\"corder\",\"State\":\"completed\",\"RowsCompared\":5,\
             \"MatchingRows\":5,\"MismatchedRows\":0,\"ExtraRowsSource\":0,\"ExtraRowsTarget\":0"
        ), "{text}");
        assert!(text.contains(
            "\"Reports\":{\"corder\":{\"0\":{\"TableName\":\"corder\",\"ProcessedRows\":5,\"MatchingRows\":5,\
             \"MismatchedRows\":0,\"ExtraRowsSource\":0,\"ExtraRowsTarget\":0}}}"
        ), "{text}");
        let short = serde_json::to_string(&record.view(false)).unwrap();
        assert!(!short.contains("TableSummary") && !short.contains("Reports"), "{short}");
    }

    #[test]
    fn bytes_survive_hexadecimal() {
        assert_eq!(unhex(&hex(b"\0\xff'x")).unwrap(), b"\0\xff'x");
        assert!(unhex("0").is_none() && unhex("0g").is_none());
    }
}
