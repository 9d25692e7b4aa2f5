//! The format description: who wrote a file, and whether its events carry a checksum.
//!
//! It begins every file and every dump. The decoder asks it for every event that follows.
//!
//! Whether an event has a checksum is said in the event itself, so a bit that flips there could switch the check off. What says it is
//! therefore compared with what else tells it: the length that the event gives for its own kind, and the checksum that would fit.

use bytes::Bytes;

use super::cursor::{Cursor, cut_short};
use super::event::{EventHeader, HEADER_LEN};
use crate::error::{Error, Result};
use crate::mysql::server::{Flavor, ServerInfo, Version};

/// Bytes of a checksum at an event's end.
pub(super) const CHECKSUM_LEN: usize = 4;
/// Where an event's flags stand.
const FLAGS_AT: usize = 17;
/// LOG_EVENT_BINLOG_IN_USE_F, in the first byte of the flags: the server sets it while it writes the file, and counts it
/// as unset in the checksum.
const FLAG_IN_USE: u8 = 1;

/// Bytes behind the lengths: the algorithm and the checksum.
const TAIL_LEN: usize = 1 + CHECKSUM_LEN;
/// Bytes of the body before the lengths.
const BEFORE_LENS: usize = 57;
/// Where the length of format descriptions stands among the lengths.
const OWN_LEN_AT: usize = 14;

const DAMAGED: &str = "If this comes again at the same position, the source's binlog is damaged.";

/// How the events of a file look.
#[derive(Clone, Debug)]
pub(super) struct Description {
    pub(super) server_version: String,
    pub(super) checksum: bool,
    /// Lengths of the fixed parts, by type number minus one.
    post_headers: Bytes,
}

impl Description {
    /// Reads a whole FORMAT_DESCRIPTION event, and checks its checksum.
    pub(super) fn parse(event: &Bytes) -> Result<Self> {
        let mut cursor = Cursor::new(event.slice(HEADER_LEN..));
        let binlog_version = cursor.u16()?;
        let version = cursor.take(50)?;
        cursor.skip(4)?;
        let header_len = usize::from(cursor.u8()?);
        if binlog_version != 4 || header_len != HEADER_LEN {
            return Err(Error::stop(format!("binlog version {binlog_version} is not known")));
        }
        let end = version.iter().position(|&b| b == 0).unwrap_or(version.len());
        let server_version = String::from_utf8_lossy(&version[..end]).into_owned();
        let mut description =
            Self { server_version, checksum: false, post_headers: cursor.into_rest() };
        if description.tells_checksum()? {
            let lens = description.post_headers.len();
            let at = lens.checked_sub(TAIL_LEN).ok_or_else(cut_short)?;
            description.checksum = match description.post_headers[at] {
                0 | 255 if fits_with_checksum(event) => return Err(wrong_checksum()),
                0 | 255 => false,
                1 => true,
                other => {
                    return Err(Error::stop(format!("checksum algorithm {other} is not known")));
                }
            };
            description.post_headers.truncate(at);
        }
        if description.checksum && !has_valid_checksum(event) && !has_valid_checksum_in_use(event) {
            return Err(wrong_checksum());
        }
        Ok(description)
    }

    /// Table numbers have six bytes, but four in files of servers before 5.1.4.
    pub(super) fn table_id_len(&self, kind: u8) -> usize {
        let post_header = usize::from(kind).checked_sub(1).and_then(|at| self.post_headers.get(at));
        if post_header == Some(&6) { 4 } else { 6 }
    }

    /// Whether the writer knows checksums at all; only then the event ends with the algorithm and a checksum.
    ///
    /// Two things tell it: the version, and the length that stands for events of this kind, which is without that end.
    fn tells_checksum(&self) -> Result<bool> {
        let (flavor, version) = ServerInfo::parse_version(&self.server_version)?;
        let by_version = match flavor {
            Flavor::MySql => version >= Version(5, 6, 1),
            Flavor::MariaDb => version >= Version(5, 3, 0),
        };
        let own_len = *self.post_headers.get(OWN_LEN_AT).ok_or_else(cut_short)?;
        let tail = if by_version { TAIL_LEN } else { 0 };
        let fixed = (BEFORE_LENS + self.post_headers.len()).wrapping_sub(tail);
        // One byte holds it, so it is compared by its low bits.
        if fixed.to_le_bytes()[0] != own_len {
            return Err(
                Error::retry("it is longer or shorter than its writer makes it").advice(DAMAGED)
            );
        }
        Ok(by_version)
    }
}

/// Whether the event's last four bytes are the checksum of the rest.
pub(super) fn has_valid_checksum(event: &[u8]) -> bool {
    event.split_last_chunk::<CHECKSUM_LEN>().is_some_and(|(content, checksum)| {
        crc32fast::hash(content) == u32::from_le_bytes(*checksum)
    })
}

/// The same for the description of a file that is still being written.
fn has_valid_checksum_in_use(event: &[u8]) -> bool {
    let Some((content, checksum)) = event.split_last_chunk::<CHECKSUM_LEN>() else {
        return false;
    };
    let Some((before, rest)) = content.split_at_checked(FLAGS_AT) else { return false };
    let Some((flags, after)) = rest.split_first() else { return false };
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(before);
    hasher.update(&[flags & !FLAG_IN_USE]);
    hasher.update(after);
    hasher.finalize() == u32::from_le_bytes(*checksum)
}

/// Whether the checksum of a description that says that there are none is that of one that says there are: a bit of it flipped.
fn fits_with_checksum(event: &[u8]) -> bool {
    let mut event = event.to_vec();
    let Some(algorithm) = event.len().checked_sub(TAIL_LEN).and_then(|at| event.get_mut(at)) else {
        return false;
    };
    *algorithm = 1;
    has_valid_checksum(&event) || has_valid_checksum_in_use(&event)
}

/// The checksum does not fit: the network, the disk, or the log is at fault, and reading again tells which.
pub(super) fn wrong_checksum() -> Error {
    Error::retry("the checksum is wrong").advice(DAMAGED)
}

/// Reads an event's header. `event` must be as long as the header says.
pub(super) fn parse_header(event: &[u8]) -> Result<EventHeader> {
    let head = event.first_chunk::<HEADER_LEN>().ok_or_else(cut_short)?;
    let u32_at =
        |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let header = EventHeader {
        timestamp: u32_at(0),
        kind: head[4],
        server_id: u32_at(5),
        size: u32_at(9),
        log_pos: u32_at(13),
        flags: u16::from_le_bytes([head[FLAGS_AT], head[FLAGS_AT + 1]]),
    };
    if usize::try_from(header.size) != Ok(event.len()) {
        return Err(Error::stop(format!(
            "binlog event of type {}, ending at position {}: it says it has {} bytes, and has {}",
            header.kind,
            header.log_pos,
            header.size,
            event.len()
        )));
    }
    Ok(header)
}
