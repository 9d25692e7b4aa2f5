//! The copied ranges: written with their rows, read when a stream starts.

use std::collections::HashMap;

use crate::apply::target::Tenure;
use crate::error::{Error, Result, ResultExt};
use crate::key::{KeyPlan, Place};
use crate::mysql::control::Control;
use crate::mysql::gtid::GtidSet;
use crate::mysql::server::Flavor;
use crate::mysql::sql;
use crate::mysql::statements::Statements;
use crate::ranges::Bounds;

/// A copied range.
#[derive(Clone, Debug)]
pub struct DoneRange {
    /// Its keys.
    pub bounds: Bounds<Place>,
    /// Once the stream has passed this, the range is equal to the source at the stream's position: H and S together.
    pub settled: GtidSet,
}

/// Rows and bytes copied of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Rows.
    pub rows: u64,
    /// Bytes, as sent to the target.
    pub bytes: u64,
}

/// Records a range as copied; part of the chunk's transaction.
///
/// # Errors
/// Of the connection.
pub async fn record_done(
    connection: &mut impl Statements,
    tenure: Tenure,
    table: &str,
    done: &DoneRange,
    copied: Copied,
) -> Result<()> {
    let sql = format!(
        "INSERT INTO `_shunt`.`range` (stream_id, table_name, lower_key, upper_key, settled, row_count, \
         byte_count) VALUES ({}, {}, {}, {}, {}, {}, {})",
        tenure.stream,
        sql::literal(table),
        key_text(done.bounds.lower.as_ref()),
        key_text(done.bounds.upper.as_ref()),
        sql::literal(&done.settled.to_string()),
        copied.rows,
        copied.bytes
    );
    connection.execute(sql).await.map(drop).context("record a copied range")
}

/// The copied ranges of a table, in key order.
///
/// Where the order is not known here, chunks commit in key order, so that the order of their records is that of their keys.
///
/// # Errors
/// Stop if a record cannot be read.
pub async fn read_done(
    control: &mut Control,
    stream: u64,
    table: &str,
    key: &KeyPlan,
    flavor: Flavor,
) -> Result<Vec<DoneRange>> {
    let query = format!(
        "SELECT lower_key, upper_key, settled FROM `_shunt`.`range` \
         WHERE stream_id = {stream} AND table_name = {} ORDER BY id",
        sql::literal(table)
    );
    let mut done = Vec::new();
    for row in control.rows(query).await.context("read the copied ranges")? {
        let lower = row.text(0).map(|text| parse_key(key, &text)).transpose()?;
        let upper = row.text(1).map(|text| parse_key(key, &text)).transpose()?;
        let settled = GtidSet::parse(flavor, &row.must(2)?)?;
        done.push(DoneRange { bounds: Bounds { lower, upper }, settled });
    }
    if key.exact() {
        done.sort_by(|a, b| a.bounds.lower.cmp(&b.bounds.lower));
    }
    Ok(done)
}

/// The position that a keyless table was copied as of; `None` if it is not copied.
///
/// # Errors
/// Stop if the record cannot be read.
pub async fn read_whole(
    control: &mut Control,
    stream: u64,
    table: &str,
    flavor: Flavor,
) -> Result<Option<GtidSet>> {
    let query = format!(
        "SELECT settled FROM `_shunt`.`range` WHERE stream_id = {stream} AND table_name = {}",
        sql::literal(table)
    );
    let row = control.row(query).await.context("read the copied ranges")?;
    row.map(|row| GtidSet::parse(flavor, &row.must(0)?)).transpose()
}

/// Makes one range of all ranges of a copied table, whose key may have changed; part of the caller's transaction.
///
/// # Errors
/// Of the connection.
pub async fn unite(
    control: &mut Control,
    tenure: Tenure,
    table: &str,
    settled: &GtidSet,
) -> Result<()> {
    let all = copied(control, tenure.stream).await?;
    let copied = all.into_iter().find(|(name, _)| name == table).map(|(_, copied)| copied);
    let sql = format!(
        "DELETE FROM `_shunt`.`range` WHERE stream_id = {} AND table_name = {}",
        tenure.stream,
        sql::literal(table)
    );
    control.execute(sql).await.context("unite the copied ranges")?;
    let bounds = Bounds { lower: None, upper: None };
    let done = DoneRange { bounds, settled: settled.clone() };
    record_done(control, tenure, table, &done, copied.unwrap_or_default()).await
}

/// Rows and bytes copied of each table.
///
/// # Errors
/// Of the connection.
pub async fn copied(control: &mut Control, stream: u64) -> Result<Vec<(String, Copied)>> {
    let query = format!(
        "SELECT table_name, CAST(SUM(row_count) AS UNSIGNED), CAST(SUM(byte_count) AS UNSIGNED) \
         FROM `_shunt`.`range` WHERE stream_id = {stream} GROUP BY table_name"
    );
    let rows = control.rows(query).await.context("read what is copied")?;
    rows.iter()
        .map(|row| Ok((row.must(0)?, Copied { rows: row.number(1)?, bytes: row.number(2)? })))
        .collect()
}

/// How far the front of a table is copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Front {
    /// The table.
    pub table: String,
    /// The last key of what is copied without a gap from the start, as recorded; `None` if nothing or all is.
    pub upper: Option<String>,
    /// Whether all of the table is.
    pub complete: bool,
}

/// How far the front of each table is copied.
///
/// # Errors
/// Of the connection.
pub async fn fronts(control: &mut Control, stream: u64) -> Result<Vec<Front>> {
    let query = format!(
        "SELECT table_name, lower_key, upper_key FROM `_shunt`.`range` WHERE stream_id = {stream}"
    );
    let mut next: HashMap<String, HashMap<Option<String>, Option<String>>> = HashMap::new();
    for row in control.rows(query).await.context("read the copied ranges")? {
        next.entry(row.must(0)?).or_default().insert(row.text(1), row.text(2));
    }
    Ok(next.into_iter().map(|(table, ranges)| front(table, &ranges)).collect())
}

/// Follows the ranges from the start, each beginning where the last one ended.
fn front(table: String, ranges: &HashMap<Option<String>, Option<String>>) -> Front {
    let mut upper = None;
    for _ in 0..ranges.len() {
        match ranges.get(&upper) {
            Some(None) => return Front { table, upper: None, complete: true },
            Some(end) => upper.clone_from(end),
            None => break,
        }
    }
    Front { table, upper, complete: false }
}

/// A key's cells in hexadecimal, separated by commas: any bytes, and easy to read for short keys.
fn key_text(place: Option<&Place>) -> String {
    let Some(place) = place else { return "NULL".into() };
    let hex = |cell: &Vec<u8>| cell.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("'{}'", place.cells.iter().map(hex).collect::<Vec<_>>().join(","))
}

fn parse_key(key: &KeyPlan, text: &str) -> Result<Place> {
    let cells = text.split(',').map(parse_hex).collect::<Option<Vec<_>>>();
    let cells = cells.filter(|cells| cells.len() == key.columns.len());
    key.place(cells.ok_or_else(|| Error::stop("a copied range in the sidecar has a broken key"))?)
}

fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let pair = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{KeyColumn, KeyKind};

    #[test]
    fn keys_survive_the_sidecar() {
        let column = |name: &str, kind| KeyColumn { name: name.into(), ordinal: 0, kind };
        let key = KeyPlan {
            columns: vec![column("a", KeyKind::Integer), column("b", KeyKind::VarBinary)],
            index: "PRIMARY".into(),
        };
        let place = key.place(vec![b"-5".to_vec(), b"\0,'\xff".to_vec()]).unwrap();
        let text = key_text(Some(&place));
        assert_eq!(text, "'2d35,002c27ff'");
        assert_eq!(parse_key(&key, text.trim_matches('\'')).unwrap(), place);
        assert_eq!(parse_key(&key, "2d35,").unwrap().cells[1], b"");
        assert!(parse_key(&key, "2d35").is_err());
        assert!(parse_key(&key, "2d3,00").is_err());
    }
}
