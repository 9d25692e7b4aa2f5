//! Which columns of a table an UPDATE may set while it leaves the others alone, and how their values may be told.
//!
//! The row is found by its key, a single integer, so that a run of rows is a range. No other key that is unique may hold a column that
//! is set: two rows may exchange such values, and only rows that are written whole and may remove one another can do that in any
//! order (`apply`).
//!
//! A server sets some TIMESTAMP and DATETIME columns to the time of an UPDATE that does not name them, and the target's definition
//! decides which: so all that stay as they are are named ([`InPlace::clocks`]).

use super::PlanColumn;
use super::columns::ColumnSet;
use crate::key::{KeyKind, KeyPlan};
use crate::mysql::schema::{self, Generated, TableSchema};

/// What an UPDATE may set of a table.
#[derive(Clone, Debug)]
pub struct InPlace {
    /// Columns that may be set.
    pub settable: ColumnSet,
    /// Of them, those whose values may be told as text that a function picks from a list.
    pub listable: ColumnSet,
    /// Columns that are named though they stay as they are.
    pub clocks: ColumnSet,
}

impl InPlace {
    /// Of a table with this key; none if its rows are always to be written whole.
    pub fn of(table: &TableSchema, columns: &[PlanColumn], key: &KeyPlan) -> Option<Self> {
        let [key] = key.columns.as_slice() else { return None };
        if key.kind != KeyKind::Integer || table.without_overlaps {
            return None;
        }
        let mut held = vec![false; table.columns.len()];
        held[key.ordinal] = true;
        // The primary key is another one where it does not tell rows apart: over first letters, say.
        let is_unique = |key: &&schema::Key| {
            matches!(key.kind, schema::KeyKind::Unique | schema::KeyKind::Primary)
        };
        for unique in table.keys.iter().filter(is_unique) {
            let computed = |part: &schema::KeyPart| {
                table.columns.get(part.column).is_none_or(|c| c.generated != Generated::No)
            };
            if !unique.usable || unique.parts.iter().any(computed) {
                return None;
            }
            for part in &unique.parts {
                held[part.column] = true;
            }
        }
        let mut in_place = Self {
            settable: ColumnSet::default(),
            listable: ColumnSet::default(),
            clocks: ColumnSet::default(),
        };
        for ordinal in columns.iter().map(|column| column.ordinal) {
            let data_type = table.columns[ordinal].data_type.as_str();
            let is_clock = matches!(data_type, "timestamp" | "datetime");
            if is_clock && !in_place.clocks.insert(ordinal) {
                return None;
            }
            if !held[ordinal] && in_place.settable.insert(ordinal) && is_listable(data_type) {
                in_place.listable.insert(ordinal);
            }
        }
        Some(in_place)
    }
}

/// A function's result is text, of which a column makes what it makes of the same text as a literal. For ENUM, SET and BIT their number
/// would become a label or bytes; the text '0' is the YEAR 2000, the number 0 is 0000; and types that have their own idea of what may be assigned to them are left out too.
fn is_listable(data_type: &str) -> bool {
    matches!(
        data_type,
        "tinyint"
            | "smallint"
            | "mediumint"
            | "int"
            | "bigint"
            | "decimal"
            | "float"
            | "double"
            | "date"
            | "time"
            | "datetime"
            | "timestamp"
            | "char"
            | "varchar"
            | "binary"
            | "varbinary"
    ) || data_type.ends_with("text")
        || data_type.ends_with("blob")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mysql::schema::{Column, Key, KeyPart, TableSchema};
    use crate::plan::TablePlan;

    fn table(columns: &[(&str, &str)]) -> TableSchema {
        let column = |(name, data_type): &(&str, &str)| Column {
            name: (*name).to_owned(),
            data_type: (*data_type).to_owned(),
            column_type: (*data_type).to_owned(),
            ..Column::default()
        };
        let columns = columns.iter().map(column).collect();
        TableSchema {
            columns,
            keys: vec![key("PRIMARY", schema::KeyKind::Primary, &[0])],
            ..TableSchema::default()
        }
    }

    fn key(name: &str, kind: schema::KeyKind, columns: &[usize]) -> Key {
        let part = |column: &usize| KeyPart { column: *column, prefix: None, descending: false };
        Key {
            name: name.to_owned(),
            kind,
            parts: columns.iter().map(part).collect(),
            btree: true,
            usable: true,
        }
    }

    fn in_place(table: TableSchema) -> Option<[Vec<usize>; 3]> {
        let plan = TablePlan::new(table, "d");
        plan.in_place.map(|in_place| {
            [in_place.settable, in_place.listable, in_place.clocks].map(|set| set.iter().collect())
        })
    }

    #[test]
    fn columns_of_no_unique_key_may_be_set() {
        let mut shop = table(&[
            ("id", "int"),
            ("u", "int"),
            ("c", "enum"),
            ("t", "timestamp"),
            ("x", "longtext"),
        ]);
        shop.keys.push(key("u", schema::KeyKind::Unique, &[1]));
        shop.keys.push(key("t", schema::KeyKind::Index, &[3]));
        assert_eq!(in_place(shop.clone()), Some([vec![2, 3, 4], vec![3, 4], vec![3]]));
        let mut letters = shop.clone();
        letters.keys[0] = key("id", schema::KeyKind::Unique, &[0]);
        letters.keys.push(key("PRIMARY", schema::KeyKind::Primary, &[4]));
        letters.keys[3].parts[0].prefix = Some(1);
        assert_eq!(in_place(letters), Some([vec![2, 3], vec![3], vec![3]]), "first letters");
        shop.columns[1].generated = Generated::Virtual;
        assert_eq!(in_place(shop), None, "a computed column that is unique");
    }

    #[test]
    fn rows_of_other_keys_are_written_whole() {
        assert_eq!(in_place(table(&[("id", "varchar"), ("c", "int")])), None);
        let mut two = table(&[("a", "int"), ("b", "int"), ("c", "int")]);
        two.keys = vec![key("PRIMARY", schema::KeyKind::Primary, &[0, 1])];
        assert_eq!(in_place(two), None);
        let without_key = TableSchema { keys: Vec::new(), ..table(&[("a", "int")]) };
        assert_eq!(in_place(without_key), None);
    }

    #[test]
    fn of_a_wide_table_the_first_columns_may_be_set_unless_a_clock_is_behind_them() {
        let mut columns = vec![("c", "int"); 70];
        let wide = in_place(table(&columns)).expect("an integer key");
        assert_eq!(wide[0], (1..64).collect::<Vec<_>>());
        columns[69].1 = "datetime";
        assert_eq!(in_place(table(&columns)), None);
    }
}
