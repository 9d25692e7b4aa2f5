//! A random table: columns of the zoo's types, a random key, and the statements that change it.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::harness::load::Random;
use crate::zoo::types::{Has, Type, all};

/// Numbers of rows are below this.
const IDS: u64 = 700;

/// Which of the servers are MariaDB; the others are MySQL.
#[derive(Clone, Copy, Debug)]
pub(super) struct Servers {
    pub(super) source: bool,
    pub(super) target: bool,
}

/// A table: `id`, columns `c0` and so on, and `u`.
#[derive(Clone)]
pub(super) struct Table {
    pub(super) name: String,
    columns: Vec<Type>,
    /// The columns of the primary key, in its order; none: the table has no such key.
    key: Vec<String>,
    /// A unique key of its own over `u`, or over `u` and another column.
    unique: Option<Vec<String>>,
    rows: u64,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} rows)", self.create(), self.rows)
    }
}

/// Random tables of what both servers have.
pub(super) fn strategy(servers: Servers) -> impl Strategy<Value = Table> {
    let columns = proptest::collection::vec(select(types(servers)), 1..=6);
    (columns, 0..10_u8, proptest::bool::ANY, 100..IDS).prop_flat_map(
        move |(columns, shape, unique, rows)| {
            let able = columns.iter().enumerate().filter(|(_, kind)| kind.keys > 0);
            let able: Vec<String> = able.map(|(at, _)| format!("c{at}")).collect();
            let most = able.len().min(2);
            let second = [able.clone(), vec!["u".to_owned()]].concat();
            (subsequence(able, 0..=most), select(second), 0..3_usize).prop_map(
                move |(others, second, place)| {
                    let mut key = others;
                    // Where values are few, the number tells rows apart; now and then there is no key, or the values are it.
                    match shape {
                        // MySQL has no exact snapshot while somebody always commits: such a table waits for a quiet moment.
                        0 if servers.source => key.clear(),
                        1 if !key.is_empty() => {}
                        _ => key.insert(place.min(key.len()), "id".to_owned()),
                    }
                    let unique = unique.then(|| vec!["u".to_owned(), second.clone()]);
                    let unique = unique.map(|mut key| {
                        key.dedup();
                        key
                    });
                    // Each change of a table without a key is a scan.
                    let rows = if key.is_empty() { rows.min(120) } else { rows };
                    Table { name: String::new(), columns: columns.clone(), key, unique, rows }
                },
            )
        },
    )
}

/// Types of one column that both servers have and that are carried.
fn types(servers: Servers) -> Vec<Type> {
    let both = servers.source && servers.target;
    let refused = ["YEAR(2)", ", ", "CHECK", "INVISIBLE", "DEFAULT 'abc'"];
    let fits = |kind: &Type| {
        let there = match kind.has {
            Has::Both => true,
            Has::MariaDb | Has::BetweenMariaDbs => both,
            Has::MySql => !servers.source && !servers.target,
        };
        there && !refused.iter().any(|word| kind.definition.contains(word))
    };
    all().filter(fits).collect()
}

/// Not a value of many bytes: there are many rows.
fn is_small(value: &str) -> bool {
    let count = value.strip_prefix("REPEAT(").and_then(|rest| rest.rsplit([',', ')']).nth(1));
    count.is_none_or(|count| count.trim().parse::<u32>().is_ok_and(|count| count < 1000))
}

impl Table {
    pub(super) fn create(&self) -> String {
        let mut items = vec!["id INT NOT NULL".to_owned()];
        for (at, kind) in self.columns.iter().enumerate() {
            let in_key = self.key.contains(&format!("c{at}"));
            let not_null = if in_key { " NOT NULL" } else { "" };
            items.push(format!("c{at} {}{not_null}", kind.definition));
        }
        items.push("u INT".to_owned());
        if !self.key.is_empty() {
            items.push(format!("PRIMARY KEY ({})", self.key.join(", ")));
        }
        if !self.key.iter().any(|name| name == "id") {
            items.push("KEY (id)".to_owned());
        }
        if let Some(unique) = &self.unique {
            items.push(format!("UNIQUE KEY uu ({})", unique.join(", ")));
        }
        format!("CREATE TABLE {} ({}) ENGINE=InnoDB", self.name, items.join(", "))
    }

    /// Statements that fill it.
    pub(super) fn fill(&self, random: &mut Random) -> Vec<String> {
        let rows: Vec<String> = (0..self.rows).map(|id| self.tuple(id, random)).collect();
        rows.chunks(50)
            .map(|rows| format!("INSERT IGNORE INTO {} VALUES {}", self.name, rows.join(",")))
            .collect()
    }

    fn tuple(&self, id: u64, random: &mut Random) -> String {
        let cells: Vec<String> =
            (0..self.columns.len()).map(|at| self.value(at, random).to_owned()).collect();
        format!("({id}, {}, {})", cells.join(", "), some_or_null(random))
    }

    /// A value of column `c<at>`.
    fn value(&self, at: usize, random: &mut Random) -> &'static str {
        let kind = &self.columns[at];
        let nullable =
            !kind.definition.contains("NOT NULL") && !self.key.contains(&format!("c{at}"));
        if nullable && random.below(8) == 0 {
            return "NULL";
        }
        let values: Vec<&str> = kind.values.iter().copied().filter(|v| is_small(v)).collect();
        pick(random, &values)
    }

    /// A statement of a transaction.
    fn change(&self, random: &mut Random) -> String {
        let name = &self.name;
        let id = random.below(IDS);
        let at = usize::try_from(random.below(self.columns.len() as u64)).unwrap();
        let value = self.value(at, random);
        match random.below(13) {
            0 => format!("INSERT IGNORE INTO {name} VALUES {}", self.tuple(id, random)),
            1 | 2 => format!("REPLACE INTO {name} VALUES {}", self.tuple(id, random)),
            3 | 4 => format!(
                "INSERT INTO {name} VALUES {} ON DUPLICATE KEY UPDATE c{at} = VALUES(c{at})",
                self.tuple(id, random)
            ),
            5 => format!("UPDATE IGNORE {name} SET id = {} WHERE id = {id}", random.below(IDS)),
            6 | 7 => format!("UPDATE IGNORE {name} SET c{at} = {value} WHERE id = {id}"),
            8 => format!(
                "UPDATE IGNORE {name} SET c{at} = {value}, u = {} WHERE id BETWEEN {id} AND {id} + 9",
                some_or_null(random)
            ),
            9 => format!("UPDATE IGNORE {name} SET u = {} WHERE id = {id}", some_or_null(random)),
            10 => format!("UPDATE {name} SET u = NULL WHERE id BETWEEN {id} AND {id} + 3"),
            11 => format!("DELETE FROM {name} WHERE id = {id}"),
            _ => format!("DELETE FROM {name} WHERE u = {}", random.below(IDS)),
        }
    }
}

/// The statements of a transaction, with savepoints; some take all of a table, some are taken back.
pub(super) fn transaction(tables: &[Table], random: &mut Random) -> Vec<String> {
    let some =
        |random: &mut Random| &tables[usize::try_from(random.below(tables.len() as u64)).unwrap()];
    let mut statements = vec![some(random).change(random)];
    for _ in 0..random.below(5) {
        match random.below(6) {
            0 => {
                statements.push("SAVEPOINT `s p`".to_owned());
                statements.push(some(random).change(random));
                statements.push("ROLLBACK TO SAVEPOINT `s p`".to_owned());
            }
            _ => statements.push(some(random).change(random)),
        }
    }
    if random.below(40) == 0 {
        let table = some(random);
        statements.push(format!("UPDATE {} SET u = NULL WHERE id % 3 = 0", table.name));
    }
    if random.below(10) == 0 {
        statements.push("ROLLBACK".to_owned());
    }
    statements
}

fn some_or_null(random: &mut Random) -> String {
    match random.below(4) {
        0 => "NULL".to_owned(),
        _ => random.below(IDS).to_string(),
    }
}

fn pick<'a>(random: &mut Random, values: &[&'a str]) -> &'a str {
    values[usize::try_from(random.below(values.len() as u64)).unwrap()]
}
