//! One table of the zoo: a type as an ordinary column, or as the key.

use std::fmt::Write as _;

use super::sizes;
use super::types::{TYPES, Type};
use crate::harness::load::Random;

/// How far apart the numbers of rows lie that are written at different times.
const STRIDE: usize = 1000;
/// The number of the first row that writers write during the copy.
const WRITTEN: u64 = 5000;

/// One table of the zoo.
#[derive(Clone, Debug)]
pub(crate) struct Cage {
    pub(crate) table: String,
    pub(crate) kind: Type,
    /// The type is the primary key.
    pub(crate) key: bool,
}

impl Cage {
    /// The tables for the types that are wanted.
    pub(crate) fn all(which: impl Fn(&Type) -> bool) -> Vec<Self> {
        let types = TYPES.iter().copied().chain(sizes::types()).enumerate();
        let mut cages = Vec::new();
        for (at, kind) in types.filter(|(_, kind)| which(kind)) {
            cages.push(Self { table: format!("v{at}"), kind, key: false });
            if kind.keys > 0 {
                cages.push(Self { table: format!("k{at}"), kind, key: true });
            }
        }
        cages
    }

    pub(crate) fn create(&self) -> String {
        let (table, definition) = (&self.table, self.kind.definition);
        if self.key {
            format!(
                "CREATE TABLE {table} (v {definition} NOT NULL PRIMARY KEY, n INT) ENGINE=InnoDB"
            )
        } else {
            format!(
                "CREATE TABLE {table} (id INT NOT NULL PRIMARY KEY, v {definition}) ENGINE=InnoDB"
            )
        }
    }

    fn values(&self) -> &[&'static str] {
        if self.key { &self.kind.values[..self.kind.keys] } else { self.kind.values }
    }

    /// Rows from a number on; the table's own one of NULL, where there may be one.
    pub(crate) fn insert(&self, from: usize) -> String {
        let columns = if self.key { "v, n" } else { "id, v" };
        let mut sql = format!("INSERT INTO {} ({columns}) VALUES ", self.table);
        for (at, value) in self.values().iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let row = if self.key {
                format!("({value}, 1)")
            } else {
                format!("({}, {value})", from + at)
            };
            write!(sql, "{comma}{row}").unwrap();
        }
        if self.has_null() {
            write!(sql, ",({}, NULL)", from + self.values().len()).unwrap();
        }
        sql
    }

    fn has_null(&self) -> bool {
        !self.key && !self.kind.definition.contains("NOT NULL")
    }

    /// What happens while the stream runs, in round 1 and so on: every value is inserted, updated to and from, and deleted.
    pub(crate) fn changes(&self, round: usize) -> Vec<String> {
        let (table, base) = (&self.table, 10 * round * STRIDE);
        if self.key {
            let update = format!("UPDATE {table} SET n = n + 1");
            return vec![update.clone(), format!("DELETE FROM {table}"), self.insert(0), update];
        }
        vec![
            self.insert(base),
            self.insert(base + STRIDE),
            // Each copied row gets the next one's value.
            format!(
                "UPDATE {table} a, {table} b SET a.v = b.v WHERE a.id < {STRIDE} AND b.id = a.id + {base} + {round}"
            ),
            format!("DELETE FROM {table} WHERE id >= {base} + {STRIDE} AND id % 2 = 0"),
        ]
    }

    /// A statement of a writer that writes while the table is copied.
    pub(crate) fn write(&self, random: &mut Random) -> String {
        let table = &self.table;
        let value = pick(random, self.values());
        if self.key {
            return match random.below(4) {
                0 => format!("REPLACE INTO {table} (v, n) VALUES ({value}, {})", random.below(9)),
                1 => format!("UPDATE {table} SET n = n + 1 WHERE v = {value}"),
                2 => format!("DELETE FROM {table} WHERE v = {value}"),
                _ => {
                    format!(
                        "UPDATE IGNORE {table} SET v = {value} WHERE n > {} LIMIT 1",
                        random.below(9)
                    )
                }
            };
        }
        let mut id = || random.below(16) + WRITTEN * random.below(2);
        let (one, other) = (id(), id());
        match random.below(4) {
            0 => format!("REPLACE INTO {table} (id, v) VALUES ({one}, {value})"),
            1 => format!("UPDATE {table} SET v = {value} WHERE id = {one}"),
            2 => format!("DELETE FROM {table} WHERE id = {one}"),
            _ => format!("UPDATE IGNORE {table} SET id = {one} WHERE id = {other}"),
        }
    }

    /// Whether a VDiff repairs the table: keys of floating numbers tell no rows apart.
    pub(crate) fn is_repaired(&self) -> bool {
        !self.key || !["FLOAT", "DOUBLE"].iter().any(|t| self.kind.definition.starts_with(t))
    }

    /// Statements that damage the table after round 1 of [`Cage::changes`]: every value becomes its neighbour, a key goes missing.
    pub(crate) fn damage(&self) -> Vec<String> {
        let table = &self.table;
        if self.key {
            return vec![format!("DELETE FROM {table} ORDER BY v LIMIT 1")];
        }
        let (base, values) = (10 * STRIDE, self.values());
        let mut damage: Vec<String> = (0..values.len())
            .filter_map(|at| Some((at, values.get(at + 1).or(self.has_null().then_some(&"NULL"))?)))
            .map(|(at, next)| format!("UPDATE {table} SET v = {next} WHERE id = {}", base + at))
            .collect();
        if self.has_null() {
            let null = base + values.len();
            damage.push(format!("UPDATE {table} SET v = {} WHERE id = {null}", values[0]));
        }
        damage
    }
}

fn pick<'a>(random: &mut Random, values: &[&'a str]) -> &'a str {
    values[usize::try_from(random.below(values.len() as u64)).unwrap()]
}
