//! One table of the zoo: types as ordinary columns, several to a table, or one as the key.

use super::types::{Type, all};
use crate::harness::load::Random;

/// Types that share a table.
const TOGETHER: usize = 8;
/// Rows that a table of ordinary columns has at least: one for each column to be damaged in, and as many as are written in bulk.
const ROWS_MIN: usize = 16;
/// How far apart the numbers of rows lie that are written at different times.
const STRIDE: usize = 1000;
/// The number of the first row that writers write during the copy.
const WRITTEN: u64 = 5000;

/// One table of the zoo.
#[derive(Clone, Debug)]
pub(crate) struct Cage {
    pub(crate) table: String,
    pub(crate) columns: Vec<Type>,
    /// Its one type is the primary key.
    pub(crate) key: bool,
}

impl Cage {
    /// The tables for the types that are wanted. Those that are picked by `alone`, and those that bring columns of their own, have
    /// a table for themselves.
    pub(crate) fn all(which: impl Fn(&Type) -> bool, alone: impl Fn(&Type) -> bool) -> Vec<Self> {
        let types: Vec<Type> = all().filter(|kind| which(kind)).collect();
        let (single, together): (Vec<Type>, Vec<Type>) =
            types.iter().partition(|kind| alone(kind) || names_itself(kind.definition));
        let tables = together.chunks(TOGETHER).map(<[Type]>::to_vec);
        let tables = tables.chain(single.into_iter().map(|kind| vec![kind])).enumerate();
        let mut cages: Vec<Self> = tables
            .map(|(at, columns)| Self { table: format!("v{at}"), columns, key: false })
            .collect();
        let keys = types.into_iter().filter(|kind| kind.keys > 0).enumerate();
        cages.extend(keys.map(|(at, kind)| Self {
            table: format!("k{at}"),
            columns: vec![kind],
            key: true,
        }));
        cages
    }

    /// The types, to be read.
    pub(crate) fn definitions(&self) -> String {
        self.columns.iter().map(|kind| kind.definition).collect::<Vec<_>>().join(" | ")
    }

    /// The name of a column: definitions that say more call it `v`.
    fn column(&self, at: usize) -> String {
        if self.columns.len() == 1 { "v".to_owned() } else { format!("c{at}") }
    }

    pub(crate) fn create(&self) -> String {
        let table = &self.table;
        if self.key {
            let definition = self.columns[0].definition;
            return format!(
                "CREATE TABLE {table} (v {definition} NOT NULL PRIMARY KEY, n INT) ENGINE=InnoDB"
            );
        }
        let columns = self.columns.iter().enumerate();
        let columns = columns.map(|(at, kind)| format!("{} {}", self.column(at), kind.definition));
        let columns: Vec<String> = columns.collect();
        format!(
            "CREATE TABLE {table} (id INT NOT NULL PRIMARY KEY, {}) ENGINE=InnoDB",
            columns.join(", ")
        )
    }

    /// The value of a column in one of its rows: all values in turn, then NULL where there may be one, and from the start again.
    fn value(&self, at: usize, row: usize) -> &'static str {
        let kind = &self.columns[at];
        if self.key {
            return kind.values[row % kind.keys];
        }
        let row = row % (kind.values.len() + usize::from(has_null(kind)));
        kind.values.get(row).copied().unwrap_or("NULL")
    }

    /// How many rows show all values.
    fn rows(&self) -> usize {
        if self.key {
            return self.columns[0].keys;
        }
        let most = self.columns.iter().map(|kind| kind.values.len() + 1).max();
        most.unwrap_or_default().max(ROWS_MIN)
    }

    /// Rows with all values, from a number on.
    pub(crate) fn insert(&self, from: usize) -> String {
        let rows: Vec<String> = (0..self.rows()).map(|row| self.tuple(from + row, row)).collect();
        format!("INSERT INTO {} {} VALUES {}", self.table, self.names(), rows.join(","))
    }

    fn names(&self) -> String {
        if self.key {
            return "(v, n)".to_owned();
        }
        let names: Vec<String> = (0..self.columns.len()).map(|at| self.column(at)).collect();
        format!("(id, {})", names.join(", "))
    }

    fn tuple(&self, id: usize, row: usize) -> String {
        if self.key {
            return format!("({}, 1)", self.value(0, row));
        }
        let values: Vec<&str> = (0..self.columns.len()).map(|at| self.value(at, row)).collect();
        format!("({id}, {})", values.join(", "))
    }

    /// What happens while the stream runs, in round 1 and so on: every value is inserted, updated to and from, and deleted.
    pub(crate) fn changes(&self, round: usize) -> Vec<String> {
        let (table, base) = (&self.table, 10 * round * STRIDE);
        if self.key {
            let update = format!("UPDATE {table} SET n = n + 1");
            return vec![update.clone(), format!("DELETE FROM {table}"), self.insert(0), update];
        }
        let set = (0..self.columns.len()).map(|at| self.column(at));
        let set: Vec<String> = set.map(|name| format!("a.{name} = b.{name}")).collect();
        vec![
            self.insert(base),
            self.insert(base + STRIDE),
            // Each copied row gets the values of another one.
            format!(
                "UPDATE {table} a, {table} b SET {} WHERE a.id < {STRIDE} AND b.id = a.id + {base} + {round}",
                set.join(", ")
            ),
            format!("DELETE FROM {table} WHERE id >= {base} + {STRIDE} AND id % 2 = 0"),
        ]
    }

    /// A statement of a writer that writes while the table is copied.
    pub(crate) fn write(&self, random: &mut Random) -> String {
        let table = &self.table;
        let mut below =
            |bound: usize| usize::try_from(random.below(u64::try_from(bound).unwrap())).unwrap();
        let (at, row, kind) = (below(self.columns.len()), below(self.rows()), below(4));
        let (name, value, n) = (self.column(at), self.value(at, row), below(9));
        if self.key {
            return match kind {
                0 => format!("REPLACE INTO {table} (v, n) VALUES ({value}, {n})"),
                1 => format!("UPDATE {table} SET n = n + 1 WHERE v = {value}"),
                2 => format!("DELETE FROM {table} WHERE v = {value}"),
                _ => format!("UPDATE IGNORE {table} SET v = {value} WHERE n > {n} LIMIT 1"),
            };
        }
        let mut id = || below(16) + usize::try_from(WRITTEN).unwrap() * below(2);
        let (one, other) = (id(), id());
        match kind {
            0 => format!("REPLACE INTO {table} {} VALUES {}", self.names(), self.tuple(one, row)),
            1 => format!("UPDATE {table} SET {name} = {value} WHERE id = {one}"),
            2 => format!("DELETE FROM {table} WHERE id = {one}"),
            _ => format!("UPDATE IGNORE {table} SET id = {one} WHERE id = {other}"),
        }
    }

    /// Whether a VDiff repairs the table: keys of floating numbers tell no rows apart.
    pub(crate) fn is_repaired(&self) -> bool {
        let floats = ["FLOAT", "DOUBLE"];
        !self.key || !floats.iter().any(|float| self.columns[0].definition.starts_with(float))
    }

    /// Statements that damage the table after round 1 of [`Cage::changes`]: one cell of each type gets the next value; a key
    /// goes missing.
    pub(crate) fn damage(&self) -> Vec<String> {
        let table = &self.table;
        if self.key {
            return vec![format!("DELETE FROM {table} ORDER BY v LIMIT 1")];
        }
        (0..self.columns.len())
            .map(|at| {
                let (name, next, id) = (self.column(at), self.value(at, at + 1), 10 * STRIDE + at);
                format!("UPDATE {table} SET {name} = {next} WHERE id = {id}")
            })
            .collect()
    }
}

/// Whether a definition names its own column, or brings others with it.
fn names_itself(definition: &str) -> bool {
    [", w ", "(v "].iter().any(|part| definition.contains(part))
}

fn has_null(kind: &Type) -> bool {
    !kind.definition.contains("NOT NULL")
}
