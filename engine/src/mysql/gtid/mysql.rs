//! MySQL's GTID sets: for every source (server UUID and tag) the intervals of its transactions.
//!
//! `gtid.rs` wraps them. Besides the text there is the binary form, in which a position is sent with
//! COM_BINLOG_DUMP_GTID and comes in PREVIOUS_GTIDS events; it has a second layout for tags since MySQL 8.3.
//!
//! Invariants: the intervals of a source are sorted, not empty, and neither overlap nor touch; no source is without
//! intervals. Numbers lie in 1..`GNO_END`.

use std::collections::BTreeMap;
use std::fmt;

use super::Gtid;
use crate::error::{Error, Result};

/// Transaction numbers are below this, as on the server.
const GNO_END: u64 = i64::MAX.cast_unsigned();
/// Longest tag.
const TAG_LEN_MAX: usize = 32;
/// First and last byte of the count of sources in the layout with tags.
const FORMAT_TAGGED: u64 = 1;

/// Numbers `start..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Interval {
    start: u64,
    end: u64,
}

/// A server's UUID, and the tag (empty for none).
type Source = ([u8; 16], String);

/// The transactions of each source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UuidSets {
    sources: BTreeMap<Source, Vec<Interval>>,
}

impl UuidSets {
    /// Parses `uuid:1-5:7:tag:1-3,uuid:1`; spaces and line breaks after commas are as the server prints them.
    pub fn parse(text: &str) -> Result<Self> {
        let mut set = Self::default();
        if text.trim().is_empty() {
            return Ok(set);
        }
        for part in text.split(',') {
            set.parse_uuid_set(part.trim())?;
        }
        Ok(set)
    }

    fn parse_uuid_set(&mut self, text: &str) -> Result<()> {
        let mut parts = text.split(':').map(str::trim);
        let sid = parse_uuid(parts.next().unwrap_or_default())?;
        let mut tag = String::new();
        let mut intervals = 0_usize;
        let mut tag_is_open = true;
        for part in parts {
            if part.starts_with(|c: char| c.is_ascii_digit()) {
                let interval = parse_interval(part)?;
                self.insert_interval(&sid, &tag, interval);
                intervals += 1;
                tag_is_open = false;
            } else {
                if tag_is_open && !tag.is_empty() {
                    return Err(Error::usage(format!(
                        "tag {tag:?} is without an interval in GTID set {text:?}"
                    )));
                }
                tag = parse_tag(part)?;
                tag_is_open = true;
            }
        }
        if intervals == 0 || tag_is_open {
            return Err(Error::usage(format!(
                "GTID set {text:?} has a source without an interval"
            )));
        }
        Ok(())
    }

    /// Whether there is no transaction in it.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Whether the transaction is in it.
    pub fn contains(&self, sid: &[u8; 16], tag: &str, gno: u64) -> bool {
        self.intervals(sid, tag).is_some_and(|intervals| {
            let after = intervals.partition_point(|interval| interval.start <= gno);
            after > 0 && gno < intervals[after - 1].end
        })
    }

    /// Whether every transaction of `other` is in it.
    pub fn contains_set(&self, other: &UuidSets) -> bool {
        other.sources.iter().all(|(source, theirs)| {
            let ours = self.sources.get(source).map_or(&[][..], Vec::as_slice);
            theirs.iter().all(|interval| {
                // Ours do not touch each other, so one of them must hold it whole.
                let after = ours.partition_point(|o| o.start <= interval.start);
                after > 0 && interval.end <= ours[after - 1].end
            })
        })
    }

    /// Those of one server, by its UUID's text.
    ///
    /// # Errors
    /// Usage if it is none.
    pub fn of_server(&self, uuid: &str) -> Result<UuidSets> {
        let sid = parse_uuid(uuid)?;
        let ours = self.sources.iter().filter(|((source, _), _)| *source == sid);
        Ok(Self { sources: ours.map(|(source, all)| (source.clone(), all.clone())).collect() })
    }

    /// Whether some transaction is in both.
    pub fn intersects(&self, other: &UuidSets) -> bool {
        other.sources.iter().any(|(source, theirs)| {
            let ours = self.sources.get(source).map_or(&[][..], Vec::as_slice);
            theirs.iter().any(|interval| {
                let after = ours.partition_point(|o| o.start < interval.end);
                after > 0 && interval.start < ours[after - 1].end
            })
        })
    }

    /// Adds a transaction.
    pub fn insert(&mut self, sid: &[u8; 16], tag: &str, gno: u64) -> Result<()> {
        if gno == 0 || gno >= GNO_END {
            return Err(Error::stop(format!("transaction number {gno} is out of range")));
        }
        self.insert_interval(sid, tag, Interval { start: gno, end: gno + 1 });
        Ok(())
    }

    /// Adds all transactions of `other`.
    pub fn union(&mut self, other: &UuidSets) {
        for ((sid, tag), intervals) in &other.sources {
            for &interval in intervals {
                self.insert_interval(sid, tag, interval);
            }
        }
    }

    /// The binary form. With a tag anywhere it is the layout of MySQL 8.3, which older servers do not know; without, the
    /// one that all know.
    pub fn encode(&self) -> Vec<u8> {
        let tagged = self.sources.keys().any(|(_, tag)| !tag.is_empty());
        let count = len_u64(self.sources.len());
        let head = if tagged { FORMAT_TAGGED << 56 | count << 8 | FORMAT_TAGGED } else { count };
        let mut out = head.to_le_bytes().to_vec();
        for ((sid, tag), intervals) in &self.sources {
            out.extend_from_slice(sid);
            if tagged {
                // A variable-length integer; a tag's length always fits its one-byte form, which is the value doubled.
                out.push(u8::try_from(tag.len() * 2).expect("tags are at most 32 bytes"));
                out.extend_from_slice(tag.as_bytes());
            }
            out.extend_from_slice(&len_u64(intervals.len()).to_le_bytes());
            for interval in intervals {
                out.extend_from_slice(&interval.start.to_le_bytes());
                out.extend_from_slice(&interval.end.to_le_bytes());
            }
        }
        out
    }

    /// Reads the binary form, all of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut rest = bytes;
        let head = take_u64(&mut rest)?;
        let (tagged, count) = match head >> 56 {
            0 => (false, head),
            FORMAT_TAGGED => (true, head << 8 >> 16),
            other => return Err(bad_encoding(&format!("unknown layout {other}"))),
        };
        let mut set = Self::default();
        // Counts are not believed: each round takes bytes, and ends when there are none left.
        for _ in 0..count {
            let sid: [u8; 16] = take(&mut rest, 16)?.try_into().expect("16 bytes were taken");
            let tag = if tagged { take_tag(&mut rest)? } else { String::new() };
            for _ in 0..take_u64(&mut rest)? {
                let interval = Interval { start: take_u64(&mut rest)?, end: take_u64(&mut rest)? };
                if interval.start == 0 || interval.start >= interval.end || interval.end > GNO_END {
                    return Err(bad_encoding("an interval is out of range"));
                }
                set.insert_interval(&sid, &tag, interval);
            }
        }
        if rest.is_empty() { Ok(set) } else { Err(bad_encoding("bytes are left over")) }
    }

    fn intervals(&self, sid: &[u8; 16], tag: &str) -> Option<&Vec<Interval>> {
        // Without a tag the key costs no allocation, and that is the usual case.
        self.sources.get(&(*sid, tag.to_owned()))
    }

    /// Adds numbers, melting them with the intervals they overlap or touch.
    fn insert_interval(&mut self, sid: &[u8; 16], tag: &str, new: Interval) {
        let intervals = self.sources.entry((*sid, tag.to_owned())).or_default();
        let first = intervals.partition_point(|interval| interval.end < new.start);
        let after = intervals.partition_point(|interval| interval.start <= new.end);
        if first == after {
            intervals.insert(first, new);
            return;
        }
        let melted = Interval {
            start: new.start.min(intervals[first].start),
            end: new.end.max(intervals[after - 1].end),
        };
        intervals[first] = melted;
        intervals.drain(first + 1..after);
    }
}

impl fmt::Display for UuidSets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last: Option<&[u8; 16]> = None;
        for ((sid, tag), intervals) in &self.sources {
            // Tags of one server follow each other behind its UUID.
            if last != Some(sid) {
                f.write_str(if last.is_some() { "," } else { "" })?;
                write_uuid(f, sid)?;
                last = Some(sid);
            }
            if !tag.is_empty() {
                write!(f, ":{tag}")?;
            }
            for interval in intervals {
                write!(f, ":{}", interval.start)?;
                if interval.end - interval.start > 1 {
                    write!(f, "-{}", interval.end - 1)?;
                }
            }
        }
        Ok(())
    }
}

/// Parses one `uuid:5` or `uuid:tag:5`.
pub(super) fn parse_gtid(text: &str) -> Result<Gtid> {
    let bad =
        || Error::usage(format!("{text:?} is not a MySQL GTID (uuid:number or uuid:tag:number)"));
    let parts: Vec<&str> = text.trim().split(':').collect();
    let (sid, tag, gno) = match parts[..] {
        [sid, gno] => (sid, String::new(), gno),
        [sid, tag, gno] => (sid, parse_tag(tag)?, gno),
        _ => return Err(bad()),
    };
    Ok(Gtid::MySql { sid: parse_uuid(sid)?, tag, gno: parse_gno(gno).ok_or_else(bad)? })
}

/// Prints a UUID as the server does.
pub(super) fn write_uuid(f: &mut fmt::Formatter<'_>, sid: &[u8; 16]) -> fmt::Result {
    write!(f, "{}", uuid::Uuid::from_bytes(*sid).hyphenated())
}

/// Checks a tag that came over the wire, or from text, and puts it in lower case.
pub(crate) fn parse_tag(text: &str) -> Result<String> {
    let mut bytes = text.bytes();
    let starts = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if starts && text.len() <= TAG_LEN_MAX && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
    {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(Error::usage(format!("{text:?} is not a GTID tag")))
    }
}

fn parse_uuid(text: &str) -> Result<[u8; 16]> {
    match uuid::Uuid::try_parse(text) {
        Ok(uuid) if text.len() == 36 || text.len() == 32 => Ok(uuid.into_bytes()),
        _ => Err(Error::usage(format!("{text:?} is not a server UUID"))),
    }
}

fn parse_interval(text: &str) -> Result<Interval> {
    let bad = || Error::usage(format!("{text:?} is not an interval of transaction numbers"));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let first = parse_gno(first.trim()).ok_or_else(bad)?;
    let last = parse_gno(last.trim()).ok_or_else(bad)?;
    if first > last {
        return Err(bad());
    }
    Ok(Interval { start: first, end: last + 1 })
}

fn parse_gno(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|&gno| digits && gno > 0 && gno < GNO_END)
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(len).ok_or_else(|| bad_encoding("it is cut short"))?;
    *rest = tail;
    Ok(head)
}

fn take_u64(rest: &mut &[u8]) -> Result<u64> {
    Ok(u64::from_le_bytes(take(rest, 8)?.try_into().expect("8 bytes were taken")))
}

fn take_tag(rest: &mut &[u8]) -> Result<String> {
    let len = take(rest, 1)?[0];
    if len % 2 != 0 || usize::from(len / 2) > TAG_LEN_MAX {
        return Err(bad_encoding("a tag is too long"));
    }
    let text = std::str::from_utf8(take(rest, usize::from(len / 2))?);
    match text {
        Ok("") => Ok(String::new()),
        Ok(text) => parse_tag(text).map_err(|_| bad_encoding("a tag is not a name")),
        Err(_) => Err(bad_encoding("a tag is not text")),
    }
}

fn len_u64(len: usize) -> u64 {
    u64::try_from(len).expect("a count in memory fits 64 bits")
}

fn bad_encoding(why: &str) -> Error {
    Error::stop(format!("the binary GTID set is broken: {why}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "4e11fa47-71ca-11e1-9e33-c80aa9429562";

    type Model = BTreeSet<(u8, u8, u64)>;

    fn build(model: &Model) -> UuidSets {
        let mut set = UuidSets::default();
        for &(sid, tag, gno) in model {
            set.insert(&[sid; 16], ["", "t", "u"][usize::from(tag)], gno).unwrap();
        }
        set
    }

    fn model() -> impl Strategy<Value = Model> {
        proptest::collection::btree_set((0..2_u8, 0..3_u8, 1..12_u64), 0..30)
    }

    proptest! {
        #[test]
        fn sets_behave_as_sets(a in model(), b in model()) {
            let (left, right) = (build(&a), build(&b));
            prop_assert_eq!(left.contains_set(&right), a.is_superset(&b));
            prop_assert_eq!(left.intersects(&right), !a.is_disjoint(&b));
            prop_assert_eq!(left.is_empty(), a.is_empty());
            let mut both = left.clone();
            both.union(&right);
            let union: Model = a.union(&b).copied().collect();
            prop_assert_eq!(&both, &build(&union));
            for gno in 1..13 {
                prop_assert_eq!(both.contains(&[1; 16], "t", gno), union.contains(&(1, 1, gno)));
            }
        }

        #[test]
        fn order_of_insertion_does_not_matter(list in proptest::collection::vec(1..40_u64, 0..40)) {
            let mut set = UuidSets::default();
            let mut model = Model::new();
            for gno in list {
                set.insert(&[0; 16], "", gno).unwrap();
                model.insert((0, 0, gno));
            }
            prop_assert_eq!(set, build(&model));
        }

        #[test]
        fn text_and_bytes_read_back(a in model()) {
            let set = build(&a);
            prop_assert_eq!(&UuidSets::parse(&set.to_string()).unwrap(), &set);
            prop_assert_eq!(&UuidSets::decode(&set.encode()).unwrap(), &set);
        }

        #[test]
        fn broken_bytes_are_errors(a in model(), cut in any::<usize>(), at in any::<usize>(), bit in 0..8_u8) {
            let mut bytes = build(&a).encode();
            prop_assert!(UuidSets::decode(&bytes[..cut % bytes.len()]).is_err());
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            let _ = UuidSets::decode(&bytes);
        }
    }

    #[test]
    fn text_is_canonical() {
        let cases = [
            (format!("{A}:1-5:7"), format!("{A}:1-5:7")),
            (format!("{B}:1,\n{A}:3:1-2"), format!("{A}:1-3,{B}:1")),
            (format!("{A}:Tag_1:1-3,{A}:5:4"), format!("{A}:4-5:tag_1:1-3")),
            (format!("{A}:1:b:1:a:2-2"), format!("{A}:1:a:2:b:1")),
            (" ".to_owned(), String::new()),
            (A.to_uppercase() + ":9223372036854775806", format!("{A}:9223372036854775806")),
        ];
        for (text, canonical) in cases {
            assert_eq!(UuidSets::parse(&text).unwrap().to_string(), canonical);
        }
    }

    #[test]
    fn bad_text_is_refused() {
        for text in [
            A.to_owned(),
            format!("{A}:"),
            format!("{A}:0"),
            format!("{A}:5-3"),
            format!("{A}:1-"),
            format!("{A}:tag"),
            format!("{A}:tag:tag:1"),
            format!("{A}:1:tag"),
            format!("{A}:1,"),
            format!("{A}:9223372036854775807"),
            format!("{A}:t-g:1"),
            format!("{A}:{}:1", "t".repeat(33)),
            "0-1-5".to_owned(),
        ] {
            assert!(UuidSets::parse(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_binary_form_is_the_servers() {
        let plain = UuidSets::parse("01010101-0101-0101-0101-010101010101:1-5").unwrap().encode();
        let mut expected = vec![1, 0, 0, 0, 0, 0, 0, 0];
        expected.extend([1; 16]);
        expected.extend([1, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([1, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(plain, expected);
        let tagged =
            UuidSets::parse("01010101-0101-0101-0101-010101010101:tag:1").unwrap().encode();
        let mut expected = vec![1, 1, 0, 0, 0, 0, 0, 1];
        expected.extend([1; 16]);
        expected.extend(b"\x06tag");
        expected.extend([1, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(tagged, expected);
        assert_eq!(UuidSets::default().encode(), [0; 8]);
    }
}
