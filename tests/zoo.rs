//! The type zoo: every column type with the values at its edges moves bit by bit, as a row that is copied while it is written, as
//! an inserted, an updated and a deleted one, as an ordinary column and as the key; VDiff says so, finds every cell that is
//! damaged, and mends it; and after a switch all of it goes the other way. Equality is judged by the servers' own hexadecimal.

mod cage;
mod journey;
mod refused;
pub(crate) mod sizes;
pub(crate) mod types;

use std::path::PathBuf;

use self::journey::{Journey, Refused};
use self::types::{Has, Type};
use crate::harness::pair::mysql56;

/// All that is asked of one direction.
async fn check(
    source: Option<PathBuf>,
    target: Option<PathBuf>,
    which: impl Fn(&Type) -> bool,
    refused: &[Refused],
) {
    let mut journey = Journey::begin(source, target, which, refused).await;
    journey.streamed(1).await;
    journey.compared().await;
    journey.reversed(2).await;
    journey.streamed(3).await;
    journey.end().await;
}

/// What is refused wherever it goes.
const COMPRESSED: [Refused; 2] = [
    ("VARCHAR(200) CHARACTER SET latin1 COMPRESSED", "Compressed columns"),
    ("BLOB COMPRESSED", "Compressed columns"),
];

/// What MySQL 5.6 does not have.
const NOT_ON_MYSQL: [Refused; 9] = [
    ("INET6", "type inet6"),
    ("INET4", "type inet4"),
    ("UUID", "type uuid"),
    ("JSON", "CHECK of JSON column"),
    ("INT, s INT AS", "which the server computes"),
    ("INT INVISIBLE", "which is invisible"),
    ("INT, w VARCHAR(36) DEFAULT (UUID())", "which is an expression"),
    ("TEXT DEFAULT", "TEXT or geometry with a default"),
    ("VARCHAR(60) CHARACTER SET utf8mb4 COLLATE uca1400_ai_ci", "does not know the collation"),
];

#[tokio::test(flavor = "multi_thread")]
async fn from_mariadb_to_mariadb() {
    check(None, None, |kind| kind.has != Has::MySql, &COMPRESSED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_mysql_to_mariadb() {
    check(Some(mysql56()), None, |kind| kind.has == Has::Both, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_mariadb_to_mysql() {
    let refused = [&COMPRESSED[..], &NOT_ON_MYSQL].concat();
    check(None, Some(mysql56()), |kind| kind.has != Has::MySql, &refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_mysql_to_mysql() {
    check(Some(mysql56()), Some(mysql56()), |kind| kind.has != Has::MariaDb, &[]).await;
}
