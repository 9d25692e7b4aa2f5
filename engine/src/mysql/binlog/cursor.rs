//! Reading numbers and slices off an event, with every length checked.
//!
//! Used by all decoders of this folder. What is taken stays a slice of the event's own memory; numbers are read where they are, since
//! a slice counts who holds the event, in memory that all threads share.

use bytes::{Buf, Bytes};

use crate::error::{Error, Result};

/// The rest of an event.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    rest: Bytes,
}

impl Cursor {
    pub(super) fn new(rest: Bytes) -> Self {
        Self { rest }
    }

    pub(super) fn len(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Everything that is left.
    pub(super) fn into_rest(self) -> Bytes {
        self.rest
    }

    pub(super) fn take(&mut self, len: usize) -> Result<Bytes> {
        if len > self.rest.len() {
            return Err(cut_short());
        }
        Ok(self.rest.split_to(len))
    }

    pub(super) fn skip(&mut self, len: usize) -> Result<()> {
        self.peek(len)?;
        self.rest.advance(len);
        Ok(())
    }

    /// The next bytes, which are not taken.
    pub(super) fn peek(&self, len: usize) -> Result<&[u8]> {
        self.rest.get(..len).ok_or_else(cut_short)
    }

    /// Reads a number of so many bytes.
    fn number<T>(&mut self, len: usize, read: impl FnOnce(&[u8]) -> T) -> Result<T> {
        let number = read(self.peek(len)?);
        self.rest.advance(len);
        Ok(number)
    }

    /// A little-endian number of up to eight bytes.
    pub(super) fn uint(&mut self, len: usize) -> Result<u64> {
        self.number(len, le_uint)
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        self.number(1, |bytes| bytes[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16> {
        self.number(2, |bytes| u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        self.number(4, |bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        self.uint(8)
    }

    /// The protocol's length-encoded integer.
    pub(super) fn lenenc(&mut self) -> Result<u64> {
        match self.u8()? {
            small @ 0..=250 => Ok(u64::from(small)),
            252 => self.uint(2),
            253 => self.uint(3),
            254 => self.uint(8),
            other => Err(Error::stop(format!("{other} does not begin a length"))),
        }
    }

    /// As many bytes as a length-encoded integer says.
    pub(super) fn lenenc_bytes(&mut self) -> Result<Bytes> {
        let len = usize::try_from(self.lenenc()?).map_err(|_| cut_short())?;
        self.take(len)
    }

    /// A name after its one-byte length, with the zero byte behind it where the format has one.
    pub(super) fn short_name(&mut self) -> Result<Bytes> {
        let len = usize::from(self.u8()?);
        let name = self.take(len)?;
        self.skip(1)?;
        Ok(name)
    }
}

/// A little-endian number of up to eight bytes.
pub(super) fn le_uint(bytes: &[u8]) -> u64 {
    debug_assert!(bytes.len() <= 8, "a number has at most eight bytes");
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// A big-endian number of up to eight bytes.
pub(super) fn be_uint(bytes: &[u8]) -> u64 {
    debug_assert!(bytes.len() <= 8, "a number has at most eight bytes");
    bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// The event has fewer bytes than its own lengths say.
pub(super) fn cut_short() -> Error {
    Error::stop("it is cut short")
}

/// Names are UTF-8 on both servers, so anything else means that the bytes are not what we take them for.
pub(super) fn utf8(bytes: &[u8], what: &str) -> Result<String> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(Error::stop(format!("{what} is not UTF-8"))),
    }
}
