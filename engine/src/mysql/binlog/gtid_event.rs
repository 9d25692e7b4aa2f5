//! Events that begin a transaction or tell a position, of both servers.
//!
//! Called by the decoder.

use bytes::Bytes;

use super::cursor::Cursor;
use super::event::{AlterPhase, EventHeader, GtidEvent};
use crate::error::{Error, Result};
use crate::mysql::gtid::{Gtid, GtidList, GtidSet, mysql};

const FL_STANDALONE: u8 = 1;
const FL_GROUP_COMMIT_ID: u8 = 2;
const FL_TRANSACTIONAL: u8 = 4;
const FL_DDL: u8 = 32;
const FL_PREPARED_XA: u8 = 64;
const FL_COMPLETED_XA: u8 = 128;

const EXTRA_MULTI_ENGINE: u8 = 1;
const EXTRA_START_ALTER: u8 = 2;
const EXTRA_COMMIT_ALTER: u8 = 4;
const EXTRA_ROLLBACK_ALTER: u8 = 8;
const EXTRA_THREAD_ID: u8 = 16;

/// Set in the first commit time if a second one, that of the first server, follows.
const ORIGINAL_TIME_FOLLOWS: u64 = 1 << 55;

/// MySQL's GTID event.
pub(super) fn parse_mysql(body: Bytes) -> Result<GtidEvent> {
    let mut cursor = Cursor::new(body);
    let flags = cursor.u8()?;
    let sid = parse_sid(&cursor.take(16)?)?;
    let gno = cursor.u64()?;
    // Since 5.7: logical clocks behind a marker; since 8.0: commit times.
    let mut original_commit_us = None;
    if cursor.len() >= 17 + 7 && cursor.u8()? == 2 {
        cursor.skip(16)?;
        let immediate = cursor.uint(7)?;
        original_commit_us = Some(match immediate & ORIGINAL_TIME_FOLLOWS {
            0 => immediate,
            _ => cursor.uint(7)?,
        });
    }
    mysql_event(sid, String::new(), gno, flags, original_commit_us)
}

/// MySQL's tagged GTID event: numbered fields in the server's serialization format.
pub(super) fn parse_tagged(body: Bytes) -> Result<GtidEvent> {
    let body_len = body.len();
    let mut cursor = Cursor::new(body);
    let version = varlen(&mut cursor)?;
    if version != 1 {
        return Err(Error::stop(format!("serialization version {version} is not known")));
    }
    let size = varlen(&mut cursor)?;
    if usize::try_from(size) != Ok(body_len) {
        return Err(Error::stop("the message has not the length it announces"));
    }
    let needed = varlen(&mut cursor)?;
    let (mut flags, mut sid, mut gno, mut tag) = (0, None, None, String::new());
    let (mut immediate, mut original) = (None, None);
    while !cursor.is_empty() {
        match varlen(&mut cursor)? {
            0 => flags = u8::try_from(varlen(&mut cursor)?).map_err(|_| out_of_range())?,
            1 => {
                let mut bytes = [0; 16];
                for byte in &mut bytes {
                    *byte = u8::try_from(varlen(&mut cursor)?).map_err(|_| out_of_range())?;
                }
                sid = Some(bytes);
            }
            2 => gno = Some(varlen_signed(&mut cursor)?),
            3 => {
                let len = usize::try_from(varlen(&mut cursor)?).map_err(|_| out_of_range())?;
                tag = parse_tag(&cursor.take(len)?)?;
            }
            4 | 5 => drop(varlen_signed(&mut cursor)?),
            6 => immediate = Some(varlen(&mut cursor)?),
            7 => original = Some(varlen(&mut cursor)?),
            8..=11 => drop(varlen(&mut cursor)?),
            // Later fields come last, in order, so there is nothing for us behind one that may be ignored.
            other if other > needed => break,
            other => return Err(Error::stop(format!("GTID field {other} is not known"))),
        }
    }
    match (sid, gno) {
        (Some(sid), Some(gno)) => mysql_event(sid, tag, gno, flags, original.or(immediate)),
        _ => Err(Error::stop("a GTID is without its source or number")),
    }
}

fn mysql_event(
    sid: [u8; 16],
    tag: String,
    gno: u64,
    flags: u8,
    original_commit_us: Option<u64>,
) -> Result<GtidEvent> {
    if gno == 0 || gno >= i64::MAX.cast_unsigned() {
        return Err(Error::stop(format!("transaction number {gno} is out of range")));
    }
    Ok(GtidEvent {
        gtid: Gtid::MySql { sid, tag, gno },
        standalone: false,
        ddl: false,
        transactional: true,
        prepared_xa: false,
        completed_xa: false,
        alter: None,
        flags,
        original_commit_us,
    })
}

/// MariaDB's GTID event. The server id is the header's.
pub(super) fn parse_mariadb(header: &EventHeader, body: Bytes) -> Result<GtidEvent> {
    let mut cursor = Cursor::new(body);
    let seq = cursor.u64()?;
    let domain = cursor.u32()?;
    let flags = cursor.u8()?;
    if flags & FL_GROUP_COMMIT_ID != 0 {
        cursor.skip(8)?;
    }
    if flags & (FL_PREPARED_XA | FL_COMPLETED_XA) != 0 {
        cursor.skip(4)?;
        let len = usize::from(cursor.u8()?) + usize::from(cursor.u8()?);
        cursor.skip(len)?;
    }
    Ok(GtidEvent {
        gtid: Gtid::MariaDb { domain, server: header.server_id, seq },
        standalone: flags & FL_STANDALONE != 0,
        ddl: flags & FL_DDL != 0,
        transactional: flags & FL_TRANSACTIONAL != 0,
        prepared_xa: flags & FL_PREPARED_XA != 0,
        completed_xa: flags & FL_COMPLETED_XA != 0,
        alter: parse_alter(cursor)?,
        flags,
        original_commit_us: None,
    })
}

/// The second byte of flags, since 10.8. Short events are filled up with zeros, which say nothing.
fn parse_alter(mut cursor: Cursor) -> Result<Option<AlterPhase>> {
    const KNOWN: u8 = EXTRA_MULTI_ENGINE
        | EXTRA_START_ALTER
        | EXTRA_COMMIT_ALTER
        | EXTRA_ROLLBACK_ALTER
        | EXTRA_THREAD_ID;
    if cursor.is_empty() {
        return Ok(None);
    }
    let extra = cursor.u8()?;
    if extra & !KNOWN != 0 {
        return Err(Error::stop(format!("GTID flags {extra:#04x} are not known")));
    }
    if extra & EXTRA_MULTI_ENGINE != 0 {
        cursor.skip(1)?;
    }
    Ok(match extra & (EXTRA_START_ALTER | EXTRA_COMMIT_ALTER | EXTRA_ROLLBACK_ALTER) {
        0 => None,
        EXTRA_START_ALTER => Some(AlterPhase::Start),
        EXTRA_COMMIT_ALTER => Some(AlterPhase::Commit { start_seq: cursor.u64()? }),
        EXTRA_ROLLBACK_ALTER => Some(AlterPhase::Rollback { start_seq: cursor.u64()? }),
        _ => return Err(Error::stop("a GTID names two phases of an ALTER")),
    })
}

/// MariaDB's GTID_LIST event. A domain may come several times, once for each server; the last one counts.
pub(super) fn parse_list(body: Bytes) -> Result<GtidSet> {
    let mut cursor = Cursor::new(body);
    let count = cursor.u32()? & 0x0fff_ffff;
    let mut list = GtidList::default();
    for _ in 0..count {
        let domain = cursor.u32()?;
        let server = cursor.u32()?;
        list.insert(domain, server, cursor.u64()?);
    }
    Ok(GtidSet::MariaDb(list))
}

fn parse_sid(bytes: &[u8]) -> Result<[u8; 16]> {
    bytes.try_into().map_err(|_| out_of_range())
}

fn parse_tag(bytes: &[u8]) -> Result<String> {
    match std::str::from_utf8(bytes) {
        Ok("") => Ok(String::new()),
        Ok(text) => mysql::parse_tag(text).map_err(|_| Error::stop("a GTID tag is not a name")),
        Err(_) => Err(Error::stop("a GTID tag is not text")),
    }
}

/// A number of one to nine bytes: the ones at the low end of the first byte say how many follow it.
fn varlen(cursor: &mut Cursor) -> Result<u64> {
    let first = cursor.u8()?;
    let more = first.trailing_ones();
    if more == 8 {
        return cursor.u64();
    }
    let len = usize::try_from(more).map_err(|_| out_of_range())?;
    let high = cursor.uint(len)?;
    // The first byte keeps 7 - more bits of the number; with seven more bytes it keeps none.
    let low = u64::from(first).checked_shr(more + 1).unwrap_or(0);
    Ok(high << (7 - more) | low)
}

/// The same with the sign in the lowest bit; a negative number is out of range wherever we read one.
fn varlen_signed(cursor: &mut Cursor) -> Result<u64> {
    let value = varlen(cursor)?;
    if value & 1 == 0 { Ok(value >> 1) } else { Err(out_of_range()) }
}

fn out_of_range() -> Error {
    Error::stop("a GTID field is out of range")
}
