//! GTIDs and sets of them: parse, print, contain, unite. No I/O.
//!
//! A position in the engine is a [`GtidSet`]. The two servers mean different things by it: MySQL counts every
//! transaction ([`mysql::UuidSets`]), MariaDB remembers the last one of each domain ([`mariadb::GtidList`]), so a MariaDB
//! set cannot express a gap. `binlog` produces single [`Gtid`]s; whoever closes a transaction inserts them.
//!
//! Invariants: a set's text is canonical, so equal sets print equally, and parsing what was printed gives the same set.

pub mod mariadb;
pub mod mysql;

use std::fmt;

use crate::error::{Error, Result};
use crate::mysql::server::Flavor;

pub use mariadb::{GtidList, HeldGtids};
pub use mysql::UuidSets;

/// The name of one transaction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gtid {
    /// MySQL: `sid:gno` or `sid:tag:gno`.
    MySql {
        /// The UUID of the server that committed it first.
        sid: [u8; 16],
        /// Its tag in lower case; empty for most, and always before MySQL 8.3.
        tag: String,
        /// Its number, from 1.
        gno: u64,
    },
    /// MariaDB: `domain-server-seq`.
    MariaDb {
        /// Replication domain.
        domain: u32,
        /// The server that committed it first.
        server: u32,
        /// Its number within the domain.
        seq: u64,
    },
}

impl Gtid {
    /// Parses `uuid:5`, `uuid:tag:5` or `0-1-100`.
    pub fn parse(flavor: Flavor, text: &str) -> Result<Self> {
        match flavor {
            Flavor::MySql => mysql::parse_gtid(text),
            Flavor::MariaDb => mariadb::parse_gtid(text),
        }
    }

    /// Whose GTID it is.
    pub fn flavor(&self) -> Flavor {
        match self {
            Self::MySql { .. } => Flavor::MySql,
            Self::MariaDb { .. } => Flavor::MariaDb,
        }
    }
}

impl fmt::Display for Gtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MySql { sid, tag, gno } => {
                mysql::write_uuid(f, sid)?;
                if !tag.is_empty() {
                    write!(f, ":{tag}")?;
                }
                write!(f, ":{gno}")
            }
            Self::MariaDb { domain, server, seq } => write!(f, "{domain}-{server}-{seq}"),
        }
    }
}

/// A set of transactions: a position, or all that a server has executed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum GtidSet {
    /// MySQL: intervals per source.
    MySql(UuidSets),
    /// MariaDB: the last transaction of each domain.
    MariaDb(GtidList),
}

impl GtidSet {
    /// The set without transactions.
    pub fn empty(flavor: Flavor) -> Self {
        match flavor {
            Flavor::MySql => Self::MySql(UuidSets::default()),
            Flavor::MariaDb => Self::MariaDb(GtidList::default()),
        }
    }

    /// Parses the server's text; the empty text is the empty set.
    pub fn parse(flavor: Flavor, text: &str) -> Result<Self> {
        Ok(match flavor {
            Flavor::MySql => Self::MySql(UuidSets::parse(text)?),
            Flavor::MariaDb => Self::MariaDb(GtidList::parse(text)?),
        })
    }

    /// Whose set it is.
    pub fn flavor(&self) -> Flavor {
        match self {
            Self::MySql(_) => Flavor::MySql,
            Self::MariaDb(_) => Flavor::MariaDb,
        }
    }

    /// Whether there is no transaction in it.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::MySql(set) => set.is_empty(),
            Self::MariaDb(list) => list.is_empty(),
        }
    }

    /// Whether the transaction is in it; never for one of the other flavor.
    pub fn contains(&self, gtid: &Gtid) -> bool {
        match (self, gtid) {
            (Self::MySql(set), Gtid::MySql { sid, tag, gno }) => set.contains(sid, tag, *gno),
            (Self::MariaDb(list), Gtid::MariaDb { domain, seq, .. }) => {
                list.contains(*domain, *seq)
            }
            _ => false,
        }
    }

    /// Whether every transaction of `other` is in it. The empty set is in every set, of either flavor.
    pub fn contains_set(&self, other: &GtidSet) -> bool {
        match (self, other) {
            (Self::MySql(set), Self::MySql(other)) => set.contains_set(other),
            (Self::MariaDb(list), Self::MariaDb(other)) => list.contains_set(other),
            _ => other.is_empty(),
        }
    }

    /// Whether some transaction is in both.
    pub fn intersects(&self, other: &GtidSet) -> bool {
        match (self, other) {
            (Self::MySql(set), Self::MySql(other)) => set.intersects(other),
            (Self::MariaDb(list), Self::MariaDb(other)) => list.intersects(other),
            _ => false,
        }
    }

    /// Adds a transaction. On MariaDB it becomes the last of its domain, as it does on a replica, even if its number is
    /// lower than that of the one before.
    pub fn insert(&mut self, gtid: &Gtid) -> Result<()> {
        match (self, gtid) {
            (Self::MySql(set), Gtid::MySql { sid, tag, gno }) => set.insert(sid, tag, *gno),
            (Self::MariaDb(list), Gtid::MariaDb { domain, server, seq }) => {
                list.insert(*domain, *server, *seq);
                Ok(())
            }
            (set, gtid) => Err(mixed(set.flavor(), gtid.flavor())),
        }
    }

    /// Adds all transactions of `other`. On MariaDB the higher number of a domain stays.
    pub fn union(&mut self, other: &GtidSet) -> Result<()> {
        match (self, other) {
            (Self::MySql(set), Self::MySql(other)) => set.union(other),
            (Self::MariaDb(list), Self::MariaDb(other)) => list.union(other),
            (set, other) => return Err(mixed(set.flavor(), other.flavor())),
        }
        Ok(())
    }
}

impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MySql(set) => set.fmt(f),
            Self::MariaDb(list) => list.fmt(f),
        }
    }
}

/// Sets of two flavors met: positions of one server were used with another.
fn mixed(set: Flavor, other: Flavor) -> Error {
    Error::stop(format!("a {other:?} GTID cannot be added to a {set:?} GTID set"))
        .advice("A position belongs to the server it was read from.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flavors_do_not_mix() {
        let mut mysql = GtidSet::empty(Flavor::MySql);
        let maria = GtidSet::parse(Flavor::MariaDb, "0-1-5").unwrap();
        let gtid = Gtid::parse(Flavor::MariaDb, "0-1-5").unwrap();
        assert!(mysql.insert(&gtid).is_err());
        assert!(mysql.union(&maria).is_err());
        assert!(!mysql.contains(&gtid) && !mysql.contains_set(&maria));
        assert!(!mysql.intersects(&maria));
        assert!(maria.contains_set(&mysql));
    }

    #[test]
    fn single_gtids_parse_and_print() {
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        for (flavor, text) in [
            (Flavor::MySql, format!("{uuid}:23")),
            (Flavor::MySql, format!("{uuid}:a_tag1:1")),
            (Flavor::MariaDb, "0-1-18446744073709551615".to_owned()),
        ] {
            assert_eq!(Gtid::parse(flavor, &text).unwrap().to_string(), text);
        }
        for text in
            ["", "x:1", &format!("{uuid}:0"), &format!("{uuid}:1-2"), &format!("{uuid}:1:2")]
        {
            assert!(Gtid::parse(Flavor::MySql, text).is_err(), "{text}");
        }
        for text in ["", "0-1", "0-1-2-3", "0-1--2", "4294967296-1-1", "0-1-2,1-1-2"] {
            assert!(Gtid::parse(Flavor::MariaDb, text).is_err(), "{text}");
        }
    }
}
