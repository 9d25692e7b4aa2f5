//! Unpacking what servers compress: MySQL's transaction payloads, MariaDB's compressed statements and rows.
//!
//! Called by the decoder. Output is bounded: it grows with what really comes out and never past what the event announced
//! or [`UNPACKED_BYTES_MAX`].

use std::io::Read;

use bytes::Bytes;

use super::cursor::{Cursor, be_uint, cut_short};
use crate::error::{Error, Result};

/// Most bytes that one event may unpack to. A server's own limit for an event is 1 GiB.
pub(super) const UNPACKED_BYTES_MAX: u64 = 1 << 30;

/// A MySQL transaction payload: the events in it, as they stand in the log.
pub(super) fn unpack_payload(body: Bytes) -> Result<Bytes> {
    let mut cursor = Cursor::new(body);
    let mut packed_len = None;
    let mut unpacked_len = None;
    let mut method = None;
    loop {
        let field = cursor.lenenc()?;
        if field == 0 {
            break;
        }
        let mut value = Cursor::new(cursor.lenenc_bytes()?);
        match field {
            1 => packed_len = Some(value.lenenc()?),
            2 => method = Some(value.lenenc()?),
            3 => unpacked_len = Some(value.lenenc()?),
            other => return Err(Error::stop(format!("payload field {other} is not known"))),
        }
    }
    let len = packed_len.and_then(|len| usize::try_from(len).ok());
    if len != Some(cursor.len()) {
        return Err(Error::stop("the payload's length does not fit its event"));
    }
    let packed = cursor.into_rest();
    match method {
        Some(0) => {
            let reader = zstd::stream::read::Decoder::new(&packed[..])
                .map_err(|error| Error::stop("zstd cannot be started").source(error))?;
            read_bounded(reader, unpacked_len.ok_or_else(cut_short)?)
        }
        // Payloads that compression would have made longer.
        Some(255) => Ok(packed),
        _ => Err(Error::stop(format!("payload compression {method:?} is not known"))),
    }
}

/// MariaDB's compressed part of an event: a byte with the method and the size of the length, the length with its most
/// significant byte first, and a zlib stream.
pub(super) fn inflate(body: Bytes) -> Result<Bytes> {
    let mut cursor = Cursor::new(body);
    let head = cursor.u8()?;
    let len_len = usize::from(head & 0x07);
    if head & 0xf8 != 0x80 || !(1..=4).contains(&len_len) {
        return Err(Error::stop(format!("compression header {head:#04x} is not known")));
    }
    let len = be_uint(&cursor.take(len_len)?);
    read_bounded(flate2::bufread::ZlibDecoder::new(&cursor.into_rest()[..]), len)
}

/// Reads exactly `len` bytes and the end.
fn read_bounded(reader: impl Read, len: u64) -> Result<Bytes> {
    if len > UNPACKED_BYTES_MAX {
        return Err(Error::stop(format!("it would unpack to {len} bytes"))
            .advice("Turn compression of the source's binlog off for transactions of this size."));
    }
    let mut unpacked = Vec::new();
    reader
        .take(len + 1)
        .read_to_end(&mut unpacked)
        .map_err(|error| Error::stop("compressed data is broken").source(error))?;
    if u64::try_from(unpacked.len()) != Ok(len) {
        return Err(Error::stop("compressed data has not the length it announces"));
    }
    Ok(unpacked.into())
}
