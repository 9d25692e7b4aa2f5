//! The type zoo: every column type with the values at its edges moves bit by bit, as a copied row, as an inserted, an updated
//! and a deleted one, as an ordinary column and as the key; equality is judged by the servers' own hexadecimal.

mod oracles;
mod types;

use std::fmt::Write as _;

use shunt_engine::mysql::control::{Control, Row};
use shunt_engine::workflow::spec::Tuning;
use shunt_engine::workflow::verbs::WaitFor;

use self::types::{Has, Shown, TYPES, Type};
use crate::harness::pair::{Pair, mysql56};

/// One table of the zoo.
struct Cage {
    table: String,
    kind: &'static Type,
    /// The type is the primary key.
    key: bool,
}

impl Cage {
    fn all(which: impl Fn(&Type) -> bool) -> Vec<Self> {
        let mut cages = Vec::new();
        for (at, kind) in TYPES.iter().enumerate().filter(|(_, kind)| which(kind)) {
            cages.push(Self { table: format!("v{at}"), kind, key: false });
            if kind.keys > 0 {
                cages.push(Self { table: format!("k{at}"), kind, key: true });
            }
        }
        cages
    }

    fn create(&self) -> String {
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

    /// Rows from a number on; the table's own one of NULL, where there may be one.
    fn insert(&self, from: usize) -> String {
        let mut sql = format!("INSERT INTO {} VALUES ", self.table);
        let values = if self.key { &self.kind.values[..self.kind.keys] } else { self.kind.values };
        for (at, value) in values.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let row = if self.key {
                format!("({value}, 1)")
            } else {
                format!("({}, {value})", from + at)
            };
            write!(sql, "{comma}{row}").unwrap();
        }
        let nullable = !self.key && !self.kind.definition.contains("NOT NULL");
        if nullable {
            write!(sql, ",({}, NULL)", from + values.len()).unwrap();
        }
        sql
    }

    /// What happens while the stream runs: every value is inserted, updated to and from, and deleted.
    fn changes(&self) -> Vec<String> {
        let table = &self.table;
        if self.key {
            let again = self.insert(0);
            let update = format!("UPDATE {table} SET n = n + 1");
            return vec![update.clone(), format!("DELETE FROM {table}"), again, update];
        }
        vec![
            self.insert(100),
            self.insert(200),
            // Each copied row gets the next one's value.
            format!(
                "UPDATE {table} a, {table} b SET a.v = b.v WHERE a.id < 100 AND b.id = a.id + 101"
            ),
            format!("DELETE FROM {table} WHERE id >= 200 AND id % 2 = 0"),
        ]
    }

    async fn shown(&self, control: &mut Control) -> Vec<Row> {
        let other = if self.key { "n" } else { "id" };
        let shown = self.kind.shown.expression();
        let query = format!("SELECT {other}, {shown} FROM {} ORDER BY 1, 2", self.table);
        control.rows(query).await.unwrap()
    }
}

/// What the zoo's own sessions admit: zero dates, odd dates, out of range values never.
const LENIENT: &str = "SET NAMES utf8mb4, sql_mode = 'ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO', time_zone = '+00:00'";

/// Moves what both sides have; `refused` are the types that preflight does not let through, by definition.
async fn check(pair: &Pair, which: impl Fn(&Type) -> bool, refused: &[&str]) {
    let mut source = pair.on_source().await;
    source.execute(LENIENT).await.unwrap();
    let cages = Cage::all(which);
    let mut moving = Vec::new();
    for cage in &cages {
        source
            .execute(cage.create())
            .await
            .unwrap_or_else(|error| panic!("{}: {error}", cage.kind.definition));
        let insert = cage.insert(0);
        source.execute(&insert).await.unwrap_or_else(|error| panic!("{insert}: {error}"));
        let lets = pair.preflight(&[&cage.table]).await;
        let refuses = refused.contains(&cage.kind.definition);
        assert_eq!(lets.is_err(), refuses, "{}: {lets:?}", cage.kind.definition);
        if !refuses {
            moving.push(cage);
        }
    }
    let names: Vec<&str> = moving.iter().map(|cage| cage.table.as_str()).collect();
    let mut moved = pair.create(&names, Tuning::default()).await;
    moved.run().await;
    moved.wait(WaitFor::Running).await.unwrap();
    let mut target = pair.on_target().await;
    assert_same(&moving, &mut source, &mut target, "copied").await;
    for cage in &moving {
        for change in cage.changes() {
            source.execute(&change).await.unwrap_or_else(|error| panic!("{change}: {error}"));
        }
    }
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    assert_same(&moving, &mut source, &mut target, "streamed").await;
    moved.cancel().await.unwrap();
}

async fn assert_same(cages: &[&Cage], source: &mut Control, target: &mut Control, how: &str) {
    let mut differing = Vec::new();
    for cage in cages {
        let (here, there) = (cage.shown(source).await, cage.shown(target).await);
        assert!(!here.is_empty(), "{}", cage.table);
        if here != there {
            let pairs = here.iter().zip(&there).filter(|(here, there)| here != there);
            let pairs: Vec<_> = pairs.take(3).collect();
            let kind = cage.kind.definition;
            differing.push(format!(
                "{} {kind}: {} rows, {} there: {pairs:?}",
                cage.table,
                here.len(),
                there.len()
            ));
        }
    }
    assert!(differing.is_empty(), "{how} wrongly:\n{}", differing.join("\n"));
}

/// The zoo is worth nothing if a shown value hides bits.
#[test]
fn floating_numbers_are_shown_in_full() {
    for kind in TYPES.iter().filter(|kind| kind.definition.starts_with("FLOAT")) {
        assert_eq!(kind.shown, Shown::Double, "{}", kind.definition);
    }
}

const COMPRESSED: &[&str] = &["VARCHAR(200) CHARACTER SET latin1 COMPRESSED", "BLOB COMPRESSED"];

#[tokio::test(flavor = "multi_thread")]
async fn from_mariadb_to_mariadb() {
    check(&Pair::start().await, |kind| kind.has != Has::MySql, COMPRESSED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_mysql_to_mariadb() {
    let pair = Pair::with(Some(mysql56()), None, &[], &[]).await;
    check(&pair, |kind| kind.has == Has::Both, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_mariadb_to_mysql() {
    let pair = Pair::with(None, Some(mysql56()), &[], &[]).await;
    let refused = [
        COMPRESSED,
        &[
            "INET6",
            "INET4",
            "UUID",
            "JSON",
            "VARCHAR(60) CHARACTER SET utf8mb4 COLLATE uca1400_ai_ci",
        ],
    ];
    check(&pair, |kind| kind.has != Has::MySql, &refused.concat()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_mysql_to_mysql() {
    let pair = Pair::with(Some(mysql56()), Some(mysql56()), &[], &[]).await;
    check(&pair, |kind| kind.has != Has::MariaDb, &[]).await;
}
