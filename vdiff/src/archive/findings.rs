//! All differing rows of a table as a Parquet file, each as both sides have it: `--report`.
//!
//! A row of the file is one difference: what kind it is, the key, and for each compared column `source_…` and `target_…` in the
//! form in which they were compared, typed as [`super::convention`] says where both sides have one type, as text where not. A text that
//! is compared in another character set than UTF-8 stands as bytes. Cells beyond [`limits::REPORT_CELL_MAX`] are cut, and what the type
//! of a column cannot hold is NULL; both is said in `remarks`, the latter with the bytes in hexadecimal.
//!
//! The file gets its name when its table is compared completely.

use std::path::{Path, PathBuf};

use shunt_engine::mysql::schema::Column;
use shunt_engine::mysql::sql;
use shunt_engine::{Error, Result};

use super::convention::{Cell, Convention};
use super::schema::{FileColumn, FileSchema};
use super::write::NamedWriter;
use crate::columns::{Compared, Form};
use crate::limits;
use crate::looks::Finding;
use crate::pair::Pair;
use crate::report::hex;

/// Columns before those of the table: kind, remarks.
const OWN: usize = 2;

/// Where differences are written, if they are.
#[derive(Default)]
pub struct Reporter {
    path: Option<PathBuf>,
    by_table: bool,
    open: Option<Open>,
}

struct Open {
    file: NamedWriter,
    conventions: Vec<Convention>,
}

impl Reporter {
    /// Writes nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// Writes to a file; of several tables each to a file of its own, with the table's name before the ending.
    pub fn new(path: &Path, by_table: bool) -> Self {
        Self { path: Some(path.to_owned()), by_table, open: None }
    }

    /// Begins with a table.
    ///
    /// # Errors
    /// Usage if the file cannot be created.
    pub fn begin(&mut self, pair: &Pair) -> Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let path = if self.by_table { path_of(path, &pair.name) } else { path.clone() };
        let conventions: Vec<Convention> =
            pair.columns.iter().map(|c| convention(pair, c)).collect();
        let metadata = [
            ("shunt.report", "1".to_owned()),
            ("shunt.version", env!("CARGO_PKG_VERSION").to_owned()),
            (
                "shunt.source",
                sql::qualified(&pair.source.schema.database, &pair.source.schema.name),
            ),
            (
                "shunt.target",
                sql::qualified(&pair.target.schema.database, &pair.target.schema.name),
            ),
            ("shunt.columns", describe(pair, &conventions)?),
        ];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value)).into();
        let file = NamedWriter::create(&path, schema(pair, &conventions), metadata)?;
        self.open = Some(Open { file, conventions });
        Ok(())
    }

    /// Adds a difference.
    ///
    /// # Errors
    /// Stop if the disk does not take it.
    pub async fn add(&mut self, pair: &Pair, finding: &Finding) -> Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let [source, target] = [&finding.source, &finding.target];
        let kind = match (source, target) {
            (Some(_), Some(_)) => "mismatch",
            (Some(_), None) => "only_source",
            (None, _) => "only_target",
        };
        let mut remarks = Vec::new();
        let mut cell = |side: &str, at: usize, seen: &Option<crate::looks::Seen>| {
            let cell = seen.as_ref()?.cells.get(at)?.as_deref()?;
            let cell = pair.columns[at].lost(cell).unwrap_or(cell);
            let name = format!("{side}_{}", pair.columns[at].source_name);
            let whole = at < pair.key_cells;
            typed(&open.conventions[at], cell, whole, &name, &mut remarks)
        };
        let mut cells = Vec::new();
        for at in 0..pair.key_cells {
            let side = if source.is_some() { source } else { target };
            cells.push(cell("key", at, side));
        }
        for at in 0..pair.columns.len() {
            cells.push(cell("source", at, source));
            cells.push(cell("target", at, target));
        }
        let text = |text: String| Cell::Bytes(text.into_bytes());
        let remarks = (!remarks.is_empty()).then(|| text(remarks.join("; ")));
        let own = [Some(text(kind.to_owned())), remarks];
        open.file.rows.push(own.into_iter().chain(cells)).await
    }

    /// Ends with a table: the file gets its name.
    ///
    /// # Errors
    /// Stop if the disk does not take it.
    pub async fn finish(&mut self) -> Result<()> {
        match self.open.take() {
            Some(open) => open.file.finish().await,
            None => Ok(()),
        }
    }
}

fn path_of(path: &Path, table: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let folder = path.parent().unwrap_or(Path::new(""));
    super::file::archive_path(folder, &format!("{stem}.{table}"))
}

/// The form of a column on both sides.
fn convention(pair: &Pair, compared: &Compared) -> Convention {
    let column = |schema: &shunt_engine::mysql::schema::TableSchema, name: &str| {
        schema.column_index(name).map(|at| schema.columns[at].clone())
    };
    let source = column(&pair.source.schema, &compared.source_name);
    let target = column(&pair.target.schema, &compared.target_name);
    let (Some(source), Some(target)) = (source, target) else { return Convention::Bytes };
    let by_number = matches!(compared.form, Form::Integer { .. });
    let same = source.data_type == target.data_type && source.unsigned() == target.unsigned();
    match Convention::of(&target, by_number) {
        Convention::Text if !is_utf8(&target) => Convention::Bytes,
        typed if same => typed,
        Convention::Bytes => Convention::Bytes,
        _ => Convention::Text,
    }
}

fn is_utf8(column: &Column) -> bool {
    let charset = column.charset.as_deref();
    charset.is_none_or(|charset| matches!(charset, "utf8" | "utf8mb3" | "utf8mb4" | "ascii"))
}

fn schema(pair: &Pair, conventions: &[Convention]) -> FileSchema {
    let text = |name: &str, optional| FileColumn {
        name: name.to_owned(),
        convention: Convention::Text,
        optional,
        companion: None,
    };
    let mut columns = vec![text("difference", false), text("remarks", true)];
    assert_eq!(columns.len(), OWN, "as `add` fills them");
    let column = |side: &str, at: usize| {
        let name = format!("{side}_{}", pair.columns[at].source_name);
        let convention = conventions[at].clone();
        let companion = convention.has_companion().then(|| format!("{name}__text"));
        FileColumn { name, convention, optional: true, companion }
    };
    columns.extend((0..pair.key_cells).map(|at| column("key", at)));
    for at in 0..pair.columns.len() {
        columns.extend([column("source", at), column("target", at)]);
    }
    FileSchema { columns }
}

fn describe(pair: &Pair, conventions: &[Convention]) -> Result<String> {
    let said: serde_json::Map<String, serde_json::Value> = pair
        .columns
        .iter()
        .zip(conventions)
        .map(|(column, convention)| (column.source_name.clone(), convention.describe().into()))
        .collect();
    serde_json::to_string(&said).map_err(|error| Error::stop("describe a report").source(error))
}

/// The cell as its column holds it; NULL, with a remark, if it does not.
fn typed(
    convention: &Convention,
    cell: &[u8],
    whole: bool,
    name: &str,
    remarks: &mut Vec<String>,
) -> Option<Cell> {
    let long = !whole && cell.len() > limits::REPORT_CELL_MAX;
    let mut shown = if long { &cell[..limits::REPORT_CELL_MAX] } else { cell };
    if long {
        remarks.push(format!("{name} is cut"));
        if let (Convention::Text, Err(error)) = (convention, std::str::from_utf8(shown))
            && error.error_len().is_none()
        {
            shown = &shown[..error.valid_up_to()];
        }
    }
    let parsed = convention.parse(shown);
    if parsed.is_none() {
        remarks.push(format!("{name} is 0x{}", hex(shown)));
    }
    parsed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_column_cannot_hold_is_said() {
        let mut remarks = Vec::new();
        let mut put =
            |convention, cell: &[u8]| typed(&convention, cell, false, "source_c", &mut remarks);
        assert_eq!(put(Convention::Text, b"a\xff"), None);
        let mut long = vec![b'x'; limits::REPORT_CELL_MAX - 1];
        long.extend("ää".as_bytes());
        let cut = Cell::Bytes(vec![b'x'; limits::REPORT_CELL_MAX - 1]);
        assert_eq!(put(Convention::Text, &long), Some(cut));
        assert_eq!(remarks, ["source_c is 0x61ff", "source_c is cut"]);
    }

    #[test]
    fn several_tables_have_a_file_each() {
        assert_eq!(path_of(Path::new("d/out.parquet"), "t"), Path::new("d/out.t.parquet"));
        assert_eq!(path_of(Path::new("out.parquet"), "a/b"), Path::new("out.a%2Fb.parquet"));
    }
}
