//! Reads the fields of a packet in turn. Every read is bounds-checked: a short packet is an error, never a panic.

use crate::error::{Error, Result};

/// What is left of a packet.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    /// The next bytes.
    ///
    /// # Errors
    /// Stop if the packet is shorter.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(length).ok_or_else(truncated)?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk::<N>().ok_or_else(truncated)?;
        self.0 = tail;
        Ok(*head)
    }

    /// One byte.
    ///
    /// # Errors
    /// Stop if the packet is shorter.
    pub fn u8(&mut self) -> Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Two bytes, little-endian.
    ///
    /// # Errors
    /// Stop if the packet is shorter.
    pub fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Three bytes, little-endian.
    ///
    /// # Errors
    /// Stop if the packet is shorter.
    pub fn u24(&mut self) -> Result<u32> {
        self.array().map(|[a, b, c]| u32::from_le_bytes([a, b, c, 0]))
    }

    /// Four bytes, little-endian.
    ///
    /// # Errors
    /// Stop if the packet is shorter.
    pub fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// A length-encoded integer. 0xfb (NULL) and 0xff (error) are none.
    ///
    /// # Errors
    /// Stop if the packet is shorter, or holds no length.
    pub fn lenenc(&mut self) -> Result<u64> {
        match self.u8()? {
            0xfb | 0xff => Err(Error::stop("packet of the server holds an invalid length")),
            0xfc => self.u16().map(u64::from),
            0xfd => self.u24().map(u64::from),
            0xfe => self.array().map(u64::from_le_bytes),
            small => Ok(u64::from(small)),
        }
    }

    /// Bytes up to a zero byte; where the zero byte is missing, all that is left.
    pub fn until_zero(&mut self) -> &'a [u8] {
        match memchr::memchr(0, self.0) {
            Some(at) => {
                let head = &self.0[..at];
                self.0 = &self.0[at + 1..];
                head
            }
            None => std::mem::take(&mut self.0),
        }
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}

/// The error for a packet that is too short.
pub fn truncated() -> Error {
    Error::stop("packet of the server is cut short")
}
