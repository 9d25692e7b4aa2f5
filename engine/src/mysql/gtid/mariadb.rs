//! MariaDB's positions: the last transaction of each replication domain.
//!
//! Such a position stands for all transactions of a domain up to its number. `gtid.rs` wraps it. Knows nothing of gaps:
//! MariaDB's binlog cannot express them.

use std::collections::BTreeMap;
use std::fmt;

use super::{Gtid, GtidSet};
use crate::error::{Error, Result};

/// The last transaction of each domain, in the order of the domains.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct GtidList {
    /// Domain to (server, sequence number).
    domains: BTreeMap<u32, (u32, u64)>,
}

impl GtidList {
    /// Parses `0-1-100,1-2-5`. A domain named twice is an error: the text would be no position.
    pub fn parse(text: &str) -> Result<Self> {
        let mut list = Self::default();
        if text.trim().is_empty() {
            return Ok(list);
        }
        for part in text.split(',') {
            let (domain, server, seq) = parse_parts(part.trim())?;
            if list.domains.insert(domain, (server, seq)).is_some() {
                return Err(Error::usage(format!(
                    "GTID position {text:?} names domain {domain} twice"
                )));
            }
        }
        Ok(list)
    }

    /// Whether there is no domain in it.
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }

    /// Whether the domain has come as far as `seq`.
    pub fn contains(&self, domain: u32, seq: u64) -> bool {
        self.domains.get(&domain).is_some_and(|&(_, last)| seq <= last)
    }

    /// Whether every domain has come at least as far as in `other`.
    pub fn contains_set(&self, other: &GtidList) -> bool {
        other.domains.iter().all(|(&domain, &(_, seq))| self.contains(domain, seq))
    }

    /// Whether a domain is in both: its first transaction is then in both.
    pub fn intersects(&self, other: &GtidList) -> bool {
        other.domains.keys().any(|domain| self.domains.contains_key(domain))
    }

    /// Makes the transaction the last of its domain.
    pub fn insert(&mut self, domain: u32, server: u32, seq: u64) {
        self.domains.insert(domain, (server, seq));
    }

    /// Brings each domain as far as it is in either.
    pub fn union(&mut self, other: &GtidList) {
        for (&domain, &(server, seq)) in &other.domains {
            if !self.contains(domain, seq) {
                self.domains.insert(domain, (server, seq));
            }
        }
    }

    /// The last transaction of each domain.
    pub fn iter(&self) -> impl Iterator<Item = Gtid> + '_ {
        self.domains.iter().map(|(&domain, &(server, seq))| Gtid::MariaDb { domain, server, seq })
    }
}

impl fmt::Display for GtidList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (domain, (server, seq))) in self.domains.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{domain}-{server}-{seq}")?;
        }
        Ok(())
    }
}

/// What a server's binlog has ever held: the last number of each domain and server (`gtid_binlog_state`).
#[derive(Clone, Debug, Default)]
pub struct HeldGtids(BTreeMap<(u32, u32), u64>);

impl HeldGtids {
    /// Parses `0-1-100,0-2-105`.
    pub fn parse(text: &str) -> Result<Self> {
        let mut held = Self::default();
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let (domain, server, seq) = parse_parts(part.trim())?;
            held.0.insert((domain, server), seq);
        }
        Ok(held)
    }

    /// Whether the last transaction of each domain of `position` is among them, but for those that `applied` contains.
    pub fn hold(&self, position: &GtidSet, applied: &GtidSet) -> bool {
        let GtidSet::MariaDb(position) = position else { return position.is_empty() };
        position.iter().all(|gtid| {
            let Gtid::MariaDb { domain, server, seq } = gtid else { return false };
            applied.contains(&gtid)
                || self.0.get(&(domain, server)).is_some_and(|last| seq <= *last)
        })
    }
}

/// Parses one `domain-server-seq`.
pub(super) fn parse_gtid(text: &str) -> Result<Gtid> {
    let (domain, server, seq) = parse_parts(text.trim())?;
    Ok(Gtid::MariaDb { domain, server, seq })
}

fn parse_parts(text: &str) -> Result<(u32, u32, u64)> {
    let bad = || Error::usage(format!("{text:?} is not a MariaDB GTID (domain-server-sequence)"));
    // `parse` alone would take a sign.
    if !text.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
        return Err(bad());
    }
    let mut parts = text.split('-');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(domain), Some(server), Some(seq), None) => Ok((
            domain.parse().map_err(|_| bad())?,
            server.parse().map_err(|_| bad())?,
            seq.parse().map_err(|_| bad())?,
        )),
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list() -> impl Strategy<Value = GtidList> {
        proptest::collection::btree_map(0..4_u32, (1..3_u32, 0..6_u64), 0..4)
            .prop_map(|domains| GtidList { domains })
    }

    proptest! {
        #[test]
        fn printed_positions_parse_back(list in list()) {
            prop_assert_eq!(GtidList::parse(&list.to_string()).unwrap(), list);
        }

        #[test]
        fn a_union_contains_both_and_nothing_further(a in list(), b in list()) {
            let mut both = a.clone();
            both.union(&b);
            prop_assert!(both.contains_set(&a) && both.contains_set(&b));
            for domain in 0..4 {
                for seq in 0..7 {
                    let expected = a.contains(domain, seq) || b.contains(domain, seq);
                    prop_assert_eq!(both.contains(domain, seq), expected);
                }
            }
            prop_assert_eq!(a.intersects(&b), b.intersects(&a));
            prop_assert_eq!(a.contains_set(&b) && !b.is_empty(), a.contains_set(&b) && a.intersects(&b));
        }
    }

    #[test]
    fn bad_positions_are_refused() {
        for text in
            ["0-1-5,", ",", "0-1-5,0-2-6", "0-1", "+0-1-5", "a-1-5", "0-1-18446744073709551616"]
        {
            assert!(GtidList::parse(text).is_err(), "{text}");
        }
        assert!(GtidList::parse(" ").unwrap().is_empty());
        assert_eq!(GtidList::parse("1-2-5, 0-1-100").unwrap().to_string(), "0-1-100,1-2-5");
    }

    #[test]
    fn a_number_of_another_server_is_not_held() {
        let held = HeldGtids::parse("0-1-145,0-2-160, 1-1-7").unwrap();
        let set = |text: &str| GtidSet::MariaDb(GtidList::parse(text).unwrap());
        let applied = set("0-1-140,5-1-3");
        for (position, expected) in [
            ("", true),
            ("0-1-140", true),
            ("0-1-145,1-1-7", true),
            ("0-1-146", false),
            ("0-2-160", true),
            ("0-3-141", false),
            ("1-1-8", false),
            ("5-1-3", true),
            ("5-1-4", false),
        ] {
            assert_eq!(held.hold(&set(position), &applied), expected, "{position}");
        }
    }

    #[test]
    fn the_last_transaction_of_a_domain_replaces_the_one_before() {
        let mut list = GtidList::parse("0-1-100").unwrap();
        list.insert(0, 2, 50);
        assert_eq!(list.to_string(), "0-2-50");
    }
}
