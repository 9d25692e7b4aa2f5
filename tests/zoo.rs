//! The type zoo: every column type with the values at its edges moves bit by bit, as a row that is copied while it is written, as
//! an inserted, an updated and a deleted one, as an ordinary column and as the key; VDiff says so, finds every cell that is
//! damaged, and mends it; and after a switch all of it goes the other way. Equality is judged by the servers' own hexadecimal.

mod cage;
mod fidelity;
mod journey;
mod oracles;
mod refused;
mod sizes;
pub(crate) mod types;
mod wide;

use std::path::PathBuf;

use self::journey::{Journey, Refused};
use self::types::{Has, Type};
use crate::harness::pair::mysql56;

/// From which server to which, and what is refused on the way.
pub(crate) struct Direction {
    name: &'static str,
    from_mysql: bool,
    to_mysql: bool,
    refused: &'static [&'static [Refused]],
}

impl Direction {
    fn source(&self) -> Option<PathBuf> {
        self.from_mysql.then(mysql56)
    }

    fn target(&self) -> Option<PathBuf> {
        self.to_mysql.then(mysql56)
    }

    /// Whether the source has a type, and its values are such that the target can have them.
    fn has(&self, kind: &Type) -> bool {
        match kind.has {
            Has::Both => true,
            Has::MariaDb => !self.from_mysql,
            Has::MySql => self.from_mysql && self.to_mysql,
            Has::BetweenMariaDbs => !self.from_mysql && !self.to_mysql,
        }
    }

    fn refused(&self) -> Vec<Refused> {
        self.refused.concat()
    }
}

/// What is refused wherever it goes.
const ANYWHERE: &[Refused] = &[("YEAR(2)", "reads alike for the years 0000 and 2000")];

const COMPRESSED: &str = "which is COMPRESSED";

/// What MySQL 5.6 does not have.
const NOT_ON_MYSQL: &[Refused] = &[
    ("INET6", "type inet6"),
    ("INET4", "type inet4"),
    ("UUID", "type uuid"),
    ("VARCHAR(60) CHARACTER SET utf8mb4 COLLATE uca1400_ai_ci", "does not know the collation"),
    ("INT, s INT AS", "which the server computes"),
    ("DECIMAL(9,3), w DECIMAL(9,1) AS", "which the server computes"),
    ("DATETIME(3), w DATE AS", "which the server computes"),
    ("VARCHAR(20), w CHAR(3) AS", "which the server computes"),
    ("INT INVISIBLE", "which is invisible"),
    ("INT, w VARCHAR(36) DEFAULT (UUID())", "which is an expression"),
    ("TEXT DEFAULT", "TEXT or geometry with a default"),
    ("VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin", "does not know the collation"),
    ("DECIMAL(38,38)", "more than 30 digits behind the point"),
    ("INT, s VARCHAR(20) AS", "which the server computes"),
    ("DATE NOT NULL, w DATE", "a period"),
    ("VARCHAR(200) CHARACTER SET latin1 COMPRESSED", COMPRESSED),
    ("VARCHAR(255) CHARACTER SET latin1 COMPRESSED", COMPRESSED),
    ("VARCHAR(40) CHARACTER SET utf8mb4 COMPRESSED", COMPRESSED),
    ("VARBINARY(300) COMPRESSED", COMPRESSED),
    ("TINYTEXT CHARACTER SET latin1 COMPRESSED", COMPRESSED),
    ("TEXT CHARACTER SET utf8mb4 COMPRESSED", COMPRESSED),
    ("BLOB COMPRESSED", COMPRESSED),
    ("MEDIUMBLOB COMPRESSED", COMPRESSED),
    ("LONGTEXT CHARACTER SET utf16 COMPRESSED", COMPRESSED),
    ("VARCHAR(200) COMPRESSED, w", COMPRESSED),
];

const DIRECTIONS: &[Direction] = &[
    Direction {
        name: "MariaDB to MariaDB",
        from_mysql: false,
        to_mysql: false,
        refused: &[ANYWHERE],
    },
    Direction { name: "MySQL 5.6 to MariaDB", from_mysql: true, to_mysql: false, refused: &[] },
    Direction {
        name: "MariaDB to MySQL 5.6",
        from_mysql: false,
        to_mysql: true,
        refused: &[ANYWHERE, NOT_ON_MYSQL],
    },
    Direction { name: "MySQL 5.6 to MySQL 5.6", from_mysql: true, to_mysql: true, refused: &[] },
];

/// All that is asked of one direction.
async fn check(direction: &Direction) {
    let mut journey = Journey::begin(direction).await;
    journey.streamed(1).await;
    journey.compared().await;
    journey.reversed(2).await;
    journey.streamed(3).await;
    journey.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_mariadb_to_mariadb() {
    check(&DIRECTIONS[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_mysql_to_mariadb() {
    check(&DIRECTIONS[1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_mariadb_to_mysql() {
    check(&DIRECTIONS[2]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_mysql_to_mysql() {
    check(&DIRECTIONS[3]).await;
}
