//! The server as the judge: the rows that our decoder's changes add up to are the rows that the server shows.

use std::collections::BTreeMap;

use shunt_engine::mysql::binlog::table_map::kind;
use shunt_engine::mysql::binlog::value::{self, Native};
use shunt_engine::mysql::binlog::{Bitmap, RowImage, RowsEvent, TableMap};

use super::compare::{Difference, Other, What};
use super::ours;
use super::scene::{self, Rows};
use super::seen::{Cell, Column};
use super::shown::Shown;
use crate::zoo::types::Type;

/// The zoo's tables as the changes make them.
#[derive(Default)]
pub(super) struct Model {
    /// By table and id: the value and its column.
    tables: BTreeMap<String, BTreeMap<String, (Cell, Column)>>,
}

impl Model {
    /// Applies the rows of a table of the zoo. What was there before must be what the images before say.
    pub(super) fn apply(&mut self, rows: &RowsEvent) {
        let table = &rows.table;
        let Some(animal) = scene::animal(&table.table) else { return };
        let column = ours::column(table, 1);
        let model = self.tables.entry(table.table.clone()).or_default();
        for change in rows.changes() {
            let change = change.unwrap();
            let mut was = None;
            if let Some(before) = change.before {
                let [id, value] = image(table, animal, &before, &rows.columns_before);
                let Cell::Text(id) = id else { panic!("{}: an image without id", table.table) };
                let (old, _) = model.remove(&id).unwrap();
                assert!(value == Cell::Absent || value == old, "{}: {value:?}", table.table);
                was = Some((id, old));
            }
            if let Some(after) = change.after {
                let [id, value] = image(table, animal, &after, &rows.columns_after);
                let id = if let Cell::Text(id) = id { id } else { was.clone().unwrap().0 };
                let value = if value == Cell::Absent { was.unwrap().1 } else { value };
                assert!(model.insert(id, (value, column)).is_none(), "{}", table.table);
            }
        }
    }

    /// How it differs from what the server shows.
    pub(super) fn differences(&self, truth: &BTreeMap<String, Rows>) -> Vec<Difference> {
        let mut differences = Vec::new();
        for (table, rows) in truth {
            let animal = scene::animal(table).unwrap();
            let model = &self.tables[table];
            assert!(model.keys().eq(rows.keys()), "{table} has other rows");
            for (id, shown) in rows {
                let (cell, column) = &model[id];
                if !agrees(animal, cell, shown.as_deref()) {
                    let theirs = Cell::Text(shown.clone().unwrap_or_default());
                    let (ours, column) = (cell.clone(), *column);
                    let what = What::Cell { ours, theirs, column };
                    let place = format!("row {id} of {table}");
                    differences.push(Difference { other: Other::Server, place, event: 0, what });
                }
            }
        }
        differences
    }
}

/// Id and value, as whoever moves the table takes them.
fn image(table: &TableMap, animal: &Type, image: &RowImage, columns: &Bitmap) -> [Cell; 2] {
    let mut cells = [Cell::Absent, Cell::Absent];
    let native = match animal.definition {
        "UUID" => Some(Native::Uuid),
        "INET4" | "INET6" => Some(Native::Address),
        _ => None,
    };
    for found in image.cells(table, columns) {
        let (at, bytes) = found.unwrap();
        // The server computes what stands behind them.
        if at >= cells.len() {
            continue;
        }
        let column = &table.columns[at];
        let unsigned = ours::column(table, at).is_unsigned();
        cells[at] = bytes.map_or(Cell::Null, |bytes| {
            let value = match native.filter(|_| at == 1) {
                Some(native) => value::decode_native(native, column, bytes),
                None => value::decode(column, unsigned, bytes),
            };
            value.map_or_else(|error| Cell::Refused(error.to_string()), |value| ours::cell(&value))
        });
    }
    cells
}

/// Whether a cell is what the server shows.
fn agrees(animal: &Type, cell: &Cell, shown: Option<&str>) -> bool {
    let Some(shown) = shown else { return *cell == Cell::Null };
    match cell {
        Cell::Absent | Cell::Null | Cell::Refused(_) => false,
        Cell::Bytes(bytes) => Shown::of(animal.definition) == Shown::Hex && hex(bytes) == shown,
        Cell::Text(text) => match Shown::of(animal.definition) {
            Shown::Hex => false,
            Shown::Number => text == shown,
            Shown::Double => {
                let (abs, negative) = shown.split_once(' ').unwrap();
                let (ours, abs) = (text.parse::<f64>().unwrap(), abs.parse::<f64>().unwrap());
                ours.abs().to_bits() == abs.to_bits()
                    && ours.is_sign_negative() == (negative == "1")
            }
            Shown::Text => {
                let printed = String::from_utf8(unhex(shown)).unwrap();
                match animal.definition {
                    "YEAR(2)" => text.get(2..) == Some(&printed),
                    // Zeros in front are the server's to print.
                    filled if filled.contains("ZEROFILL") || filled == "YEAR" => {
                        text.trim_start_matches('0') == printed.trim_start_matches('0')
                    }
                    _ => *text == printed,
                }
            }
        },
    }
}

/// As the server's HEX prints it.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}

/// Whether the bytes are of a fixed length, so that the log leaves out what fills them up.
pub(super) fn is_filled_up(column: Column) -> bool {
    column.kind == kind::STRING
}
