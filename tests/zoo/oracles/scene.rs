//! What is written on the server: the zoo's tables in several acts, each with other settings of the binlog, and what the server
//! itself says of the rows in the end.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use shunt_engine::mysql::control::Control;
use shunt_engine::mysql::server::Flavor;

use super::shown;
use crate::zoo::types::{Type, all};

/// What the values need.
const LENIENT: &str = "SET NAMES utf8mb4, sql_mode = 'ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO', time_zone = '+00:00'";

/// Each value is some ten statements in each act. Of the types with more values, which are every byte by itself, the zoo has
/// others with the same bytes in one value.
const VALUES_MAX: usize = 20;

/// The zoo, in an order that lasts as long as the tests. Nothing is left out for the other decoders' sake: what they cannot take
/// is told by the faults.
static ANIMALS: LazyLock<Vec<Type>> =
    LazyLock::new(|| all().filter(|kind| kind.values.len() <= VALUES_MAX).collect());

/// What differs between the acts.
pub(super) struct Act {
    /// The tables' names begin with it.
    pub(super) name: &'static str,
    before: &'static [&'static str],
    after: &'static [&'static str],
    on_mysql: bool,
    /// The types that it is about.
    holds: fn(&Type) -> bool,
}

fn all_types(_: &Type) -> bool {
    true
}

/// Times in whole seconds, which had another form before MySQL 5.6. Its tables may still have it, after upgrades; the servers
/// at hand make such columns only on MariaDB, where preflight refuses them.
fn whole_seconds(kind: &Type) -> bool {
    let word = kind.definition.split(' ').next();
    matches!(word, Some("TIME" | "DATETIME" | "TIMESTAMP"))
}

fn compressed(kind: &Type) -> bool {
    kind.definition.contains("COMPRESSED")
}

impl Act {
    /// The names of the tables, and the type that each holds.
    fn tables(&self, on_mariadb: bool) -> impl Iterator<Item = (String, &'static Type)> {
        let here = ANIMALS
            .iter()
            .enumerate()
            .filter(move |(_, kind)| kind.has.is_on(on_mariadb) && (self.holds)(kind));
        here.map(|(at, animal)| (format!("{}_{at}", self.name), animal))
    }
}

pub(super) const ACTS: &[Act] = &[
    Act { name: "full", before: &[], after: &[], on_mysql: true, holds: all_types },
    Act {
        name: "minimal",
        before: &["SET binlog_row_image = MINIMAL"],
        after: &["SET binlog_row_image = FULL"],
        on_mysql: true,
        holds: all_types,
    },
    Act {
        name: "noblob",
        before: &["SET binlog_row_image = NOBLOB"],
        after: &["SET binlog_row_image = FULL"],
        on_mysql: true,
        holds: all_types,
    },
    Act {
        name: "packed",
        before: &["SET GLOBAL log_bin_compress_min_len = 10", "SET GLOBAL log_bin_compress = ON"],
        after: &["SET GLOBAL log_bin_compress = OFF"],
        on_mysql: false,
        holds: all_types,
    },
    Act {
        name: "wrapped",
        before: &[
            "SET column_compression_zlib_wrap = ON, column_compression_threshold = 1, column_compression_zlib_level = 9",
        ],
        after: &[
            "SET column_compression_zlib_wrap = OFF, column_compression_threshold = 100, column_compression_zlib_level = 6",
        ],
        on_mysql: false,
        holds: compressed,
    },
    Act {
        name: "old",
        before: &["SET GLOBAL mysql56_temporal_format = OFF"],
        after: &["SET GLOBAL mysql56_temporal_format = ON"],
        on_mysql: false,
        holds: whole_seconds,
    },
];

/// What has no column of the zoo: DDL, several tables in a transaction, savepoints, odd names, other character sets.
const ODDS: &[&str] = &[
    "CREATE TABLE `odd ``ä` (a INT, b VARCHAR(10)) ENGINE=InnoDB",
    "BEGIN",
    "INSERT INTO `odd ``ä` VALUES (1, 'x'), (NULL, NULL)",
    "SAVEPOINT s",
    "INSERT INTO `odd ``ä` VALUES (2, 'y')",
    "ROLLBACK TO SAVEPOINT s",
    "INSERT INTO `odd ``ä` VALUES (3, 'z')",
    "COMMIT",
    "ALTER TABLE `odd ``ä` ADD c INT FIRST",
    "UPDATE `odd ``ä` SET c = a, b = 'é'",
    "SET NAMES latin1",
    "CREATE TABLE later (a INT) COMMENT 'x\u{e9}'",
    "INSERT INTO later VALUES (-5)",
    "SET NAMES utf8mb4",
    "DELETE FROM later",
    "TRUNCATE TABLE later",
    "SET tx_isolation = 'REPEATABLE-READ', binlog_format = STATEMENT",
    "SET @a = 5",
    "INSERT INTO later VALUES (@a)",
    "INSERT INTO later VALUES (FLOOR(RAND() * 100))",
    "SET tx_isolation = 'READ-COMMITTED', binlog_format = ROW",
    "CREATE TABLE wide (a INT PRIMARY KEY, b TEXT, c INT, d INT, e INT, f INT, g INT, h INT, i INT, j INT)",
    "INSERT INTO wide (a, j) VALUES (1, -1), (2, NULL)",
    "UPDATE wide SET b = 'x', j = a",
    "DELETE a, b FROM wide a, `odd ``ä` b WHERE a.a = b.a",
    "FLUSH LOGS",
];

const MARIADB_ODDS: &[&str] = &[
    "SET gtid_domain_id = 7",
    "XA START 'x', 'y'",
    "INSERT INTO later VALUES (6)",
    "XA END 'x', 'y'",
    "XA PREPARE 'x', 'y'",
    "XA COMMIT 'x', 'y'",
    "SET gtid_domain_id = 0",
    "SET GLOBAL log_bin_compress = ON",
    "INSERT INTO later VALUES (7) /* a long statement: --------------------------------------------- */",
    "CREATE TABLE packed_ddl (a INT COMMENT '-----------------------------------------------------')",
    "SET GLOBAL log_bin_compress = OFF",
    "FLUSH LOGS",
];

/// The type that a table of the zoo holds.
pub(super) fn animal(table: &str) -> Option<&'static Type> {
    let (act, number) = table.rsplit_once('_')?;
    ACTS.iter().find(|known| known.name == act)?;
    ANIMALS.get(number.parse::<usize>().ok()?)
}

/// The table's rows in the end: by id, what [`truth`] shows of the value.
pub(super) type Rows = BTreeMap<String, Option<String>>;

/// Plays all acts. Gives the rows that the server has then, by table.
pub(super) async fn play(control: &mut Control, flavor: Flavor) -> BTreeMap<String, Rows> {
    control.execute(LENIENT).await.unwrap();
    let mariadb = flavor == Flavor::MariaDb;
    for act in ACTS.iter().filter(|act| mariadb || act.on_mysql) {
        run(control, act.before).await;
        for (table, animal) in act.tables(mariadb) {
            // What is packed is decided when a statement is written.
            for statement in statements(&table, animal) {
                execute(control, &statement).await;
            }
        }
        run(control, act.after).await;
    }
    run(control, ODDS).await;
    if mariadb {
        run(control, MARIADB_ODDS).await;
    }
    let mut all = BTreeMap::new();
    for act in ACTS.iter().filter(|act| mariadb || act.on_mysql) {
        for (table, animal) in act.tables(mariadb) {
            let shown = shown::expression(animal.definition);
            let query = format!("SELECT id, {shown} FROM {table}");
            let rows = control.rows(query).await.unwrap();
            let rows = rows.iter().map(|row| (row.text(0).unwrap(), row.text(1)));
            all.insert(table, rows.collect());
        }
    }
    all
}

/// Each value in an event of its own and in one with all others; updated from another value to it; deleted.
fn statements(table: &str, animal: &Type) -> Vec<String> {
    let definition = animal.definition;
    let mut values: Vec<&str> = animal.values.to_vec();
    if !definition.contains("NOT NULL") {
        values.push("NULL");
    }
    let row = |from: usize| {
        let rows = values.iter().enumerate().map(|(at, value)| format!("({}, {value})", from + at));
        rows.collect::<Vec<_>>()
    };
    let mut all = vec![
        format!("CREATE TABLE {table} (id INT NOT NULL PRIMARY KEY, v {definition}) ENGINE=InnoDB"),
        "BEGIN".to_owned(),
    ];
    all.extend(row(0).iter().map(|row| format!("INSERT INTO {table} (id, v) VALUES {row}")));
    all.push("COMMIT".to_owned());
    all.push("BEGIN".to_owned());
    all.extend(
        [100, 200]
            .map(|from| format!("INSERT INTO {table} (id, v) VALUES {}", row(from).join(","))),
    );
    // The next one's value, from the rows that stay; one statement a row, so that each has an event.
    for at in 0..values.len() {
        let (to, from) = (100 + at, (at + 1) % values.len());
        all.push(format!(
            "UPDATE {table} a, {table} b SET a.v = b.v WHERE a.id = {to} AND b.id = {from}"
        ));
    }
    all.push(format!("UPDATE {table} SET id = id + 1000 WHERE id >= 200 ORDER BY id DESC"));
    all.push("COMMIT".to_owned());
    all.extend(
        (0..values.len())
            .step_by(2)
            .map(|at| format!("DELETE FROM {table} WHERE id = {}", 1200 + at)),
    );
    all.push(format!("DELETE FROM {table} WHERE id >= 1200"));
    all
}

async fn run(control: &mut Control, statements: &[&str]) {
    for statement in statements {
        execute(control, statement).await;
    }
}

async fn execute(control: &mut Control, statement: &str) {
    control
        .execute(statement)
        .await
        .unwrap_or_else(|error| panic!("{}: {error}", &statement[..statement.len().min(200)]));
}
