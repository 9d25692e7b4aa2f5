//! Unpacking what servers compress: MySQL's transaction payloads, MariaDB's compressed statements, rows and columns.
//!
//! Called by the decoder, and for cells by [`super::value`]. Output is bounded: it grows with what really comes out and never past
//! what was announced or [`UNPACKED_BYTES_MAX`]. What comes out is as long as announced and all of what went in is used, or it is an error.

use std::borrow::Cow;
use std::io::Read;

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};

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
    let len = bounded_event(be_uint(&cursor.take(len_len)?))?;
    inflate_exactly(&cursor.into_rest(), true, len).map(Bytes::from)
}

/// A cell of a COMPRESSED column of MariaDB (VARCHAR, VARBINARY, TEXT, BLOB), of which a value has at most `len_max` bytes.
///
/// | stored | value |
/// |---|---|
/// | nothing | empty |
/// | 0x00, bytes | the bytes: those that are short, or would not become shorter |
/// | 0x80 + n, a length of n bytes with its most significant one first, a zlib stream | what that inflates to |
/// | 0x88 + n, likewise, raw deflate (as by default) | likewise |
pub(super) fn unpack_cell(cell: &[u8], len_max: u64) -> Result<Cow<'_, [u8]>> {
    let Some((&head, rest)) = cell.split_first() else { return Ok(Cow::Borrowed(cell)) };
    let len = unpacked_len(cell)?;
    if len > len_max {
        return Err(Error::stop(format!(
            "a compressed value of {len} bytes is longer than its column, which holds {len_max}"
        )));
    }
    if head == 0 {
        return Ok(Cow::Borrowed(rest));
    }
    let packed = rest.get(usize::from(head & 0x07)..).ok_or_else(cut_short)?;
    inflate_exactly(packed, head & 0x08 == 0, len).map(Cow::Owned)
}

/// How long the value of such a cell is, as it says itself.
pub(super) fn unpacked_len(cell: &[u8]) -> Result<u64> {
    let Some((&head, rest)) = cell.split_first() else { return Ok(0) };
    if head == 0 {
        return Ok(u64::try_from(rest.len()).unwrap_or(u64::MAX));
    }
    let len_len = usize::from(head & 0x07);
    if head & 0xf0 != 0x80 || !(1..=4).contains(&len_len) {
        return Err(Error::stop(format!("compression header {head:#04x} is not known")));
    }
    Ok(be_uint(rest.get(..len_len).ok_or_else(cut_short)?))
}

/// The first piece of memory that something is unpacked to, at most; what is longer than that is likely to be that long.
const FIRST_BYTES: usize = 64 << 10;

/// All of what `packed` (a zlib stream, or raw deflate) inflates to: exactly `len` bytes.
fn inflate_exactly(packed: &[u8], zlib: bool, len: u64) -> Result<Vec<u8>> {
    let wrong_len = || Error::stop("compressed data has not the length it announces");
    let len = usize::try_from(bounded(len)?).map_err(|_| wrong_len())?;
    let mut inflater = Decompress::new(zlib);
    let mut unpacked = Vec::new();
    let mut rest = packed;
    loop {
        // One more than there should be, so that it shows if there is more.
        let step = FIRST_BYTES.max(unpacked.len()).min(len + 1 - unpacked.len());
        unpacked.reserve_exact(step);
        let before = (rest.len(), unpacked.len());
        let status = inflater
            .decompress_vec(rest, &mut unpacked, FlushDecompress::None)
            .map_err(|error| Error::stop("compressed data is broken").source(error))?;
        let used = usize::try_from(inflater.total_in()).map_err(|_| wrong_len())?;
        rest = packed.get(used..).ok_or_else(wrong_len)?;
        if status == Status::StreamEnd && rest.is_empty() && unpacked.len() == len {
            return Ok(unpacked);
        }
        if status == Status::StreamEnd || unpacked.len() > len {
            return Err(wrong_len());
        }
        if before == (rest.len(), unpacked.len()) {
            return Err(cut_short());
        }
    }
}

/// The length, if so much is unpacked at all.
fn bounded(len: u64) -> Result<u64> {
    if len <= UNPACKED_BYTES_MAX {
        return Ok(len);
    }
    Err(Error::stop(format!("it would unpack to {len} bytes")))
}

/// The same of an event.
fn bounded_event(len: u64) -> Result<u64> {
    bounded(len).map_err(|error| {
        error.advice("Turn compression of the source's binlog off for transactions of this size.")
    })
}

/// Reads exactly `len` bytes and the end.
fn read_bounded(reader: impl Read, len: u64) -> Result<Bytes> {
    let mut unpacked = Vec::new();
    reader
        .take(bounded_event(len)? + 1)
        .read_to_end(&mut unpacked)
        .map_err(|error| Error::stop("compressed data is broken").source(error))?;
    if u64::try_from(unpacked.len()) != Ok(len) {
        return Err(Error::stop("compressed data has not the length it announces"));
    }
    Ok(unpacked.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As MariaDB 10.11 stored them in columns of 500 bytes at most, and what it says that they are.
    fn stored() -> Vec<(&'static [u8], Vec<u8>)> {
        vec![
            (b"", vec![]),
            (b"\0ab", b"ab".to_vec()),
            (b"\0abc   ", b"abc   ".to_vec()),
            // Raw deflate, with one byte for the length and with two.
            (b"\x89\xc8\x4b\x4c\x1c\x1e\0\0", vec![b'a'; 200]),
            (b"\x8a\x01\xf4\x4b\x4a\x1a\x05\x23\x0d\0\0", vec![b'b'; 500]),
            // column_compression_zlib_wrap=ON.
            (b"\x81\x96\x78\x9c\x4b\x4a\x1a\x8c\0\0\xf0\xe0\x39\x6d", vec![b'b'; 150]),
            (
                b"\x81\x28\x78\x9c\xfb\x30\x7f\x46\xc3\x07\x22\x30\0\x26\xb4\x1a\x87",
                "\u{1f600}".repeat(10).into_bytes(),
            ),
        ]
    }

    #[test]
    fn cells_are_what_the_server_says_they_are() {
        for (cell, value) in stored() {
            assert_eq!(unpacked_len(cell).unwrap(), u64::try_from(value.len()).unwrap());
            assert_eq!(unpack_cell(cell, 500).unwrap(), value);
        }
    }

    #[test]
    fn cells_that_are_cut_short_or_go_on_are_errors() {
        for (cell, _) in stored().iter().filter(|(cell, _)| cell.first().is_some_and(|h| *h != 0)) {
            for len in 1..cell.len() {
                assert!(unpack_cell(&cell[..len], 500).is_err(), "{len} of {cell:02x?}");
            }
            for more in [0, 1, 0xff] {
                assert!(unpack_cell(&[cell, &[more][..]].concat(), 500).is_err(), "{cell:02x?}");
            }
        }
    }

    #[test]
    fn a_value_that_has_not_the_announced_length_is_an_error() {
        for (cell, value) in stored().iter().filter(|(cell, _)| cell.first() == Some(&0x89)) {
            for len in (0..=u8::MAX).filter(|len| usize::from(*len) != value.len()) {
                let mut other = cell.to_vec();
                other[1] = len;
                assert!(unpack_cell(&other, 500).is_err(), "{len} for {}", value.len());
            }
        }
    }

    #[test]
    fn a_value_that_is_longer_than_its_column_is_not_unpacked() {
        for (cell, value) in stored().into_iter().filter(|(_, value)| !value.is_empty()) {
            let len = u64::try_from(value.len()).unwrap();
            assert!(unpack_cell(cell, len).is_ok());
            let error = unpack_cell(cell, len - 1).unwrap_err().to_string();
            assert!(error.contains("longer than its column"), "{error}");
        }
        // Four GiB in a LONGBLOB, which no packet holds.
        let error = unpack_cell(b"\x8c\xff\xff\xff\xff\x03\0", u64::from(u32::MAX)).unwrap_err();
        assert!(error.to_string().contains("would unpack to"), "{error}");
    }

    #[test]
    fn other_headers_are_errors() {
        for head in (1..=u8::MAX).filter(|head| !matches!(head, 0x81..=0x84 | 0x89..=0x8c)) {
            let error = unpack_cell(&[head, 1, 0, 0, 0, 0, 0, 0, 0], 500).unwrap_err().to_string();
            assert!(error.contains("is not known"), "{head:#04x}: {error}");
        }
    }

    #[test]
    fn what_is_longer_than_the_first_piece_of_memory_is_unpacked_whole() {
        use std::io::Write as _;
        let value: Vec<u8> = (0..300_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let mut packer =
            flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        packer.write_all(&value).unwrap();
        let packed = packer.finish().unwrap();
        let len = u32::try_from(value.len()).unwrap();
        let cell = [&[0x8c][..], &len.to_be_bytes(), &packed].concat();
        assert_eq!(unpack_cell(&cell, u64::from(len)).unwrap(), value);
        for wrong in [len - 1, len + 1] {
            let cell = [&[0x8c][..], &wrong.to_be_bytes(), &packed].concat();
            assert!(unpack_cell(&cell, u64::from(u32::MAX)).is_err(), "{wrong}");
        }
    }
}
