//! Writing rows as bytes: in bulk through a prepared statement, where the server takes it, and by `LOAD DATA LOCAL`.
//!
//! Before this stands whoever has rows ([`BulkRows`] lays them out), after it the server. `COM_STMT_BULK_EXECUTE` of MariaDB
//! runs one prepared INSERT or REPLACE over many rows in one command: no text is parsed, a value is found by its length, and a
//! row that is refused is an error and not a warning.
//!
//! Invariant: an error of the server leaves the connection ready, whichever command it answers.

use bytes::Bytes;
use futures_util::{Stream, StreamExt};

use super::fields::Fields;
use super::{Head, State, Wire, reply};
use crate::error::{Error, Result};
use crate::mysql::control::Outcome;

const COM_STMT_PREPARE: u8 = 0x16;
const COM_STMT_CLOSE: u8 = 0x19;
const COM_STMT_BULK_EXECUTE: u8 = 0xfa;

/// The types of the parameters stand before the rows.
const SEND_TYPES: u16 = 128;

/// What is sent of lines at a time, since it is copied once.
const PIECE_BYTES: usize = 256 << 10;

/// Statements that a connection keeps prepared; a move of more tables prepares some of them again.
const PREPARED_MAX: usize = 64;

/// How the values of one parameter are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Parameter {
    /// Bytes behind their length, taken as they are.
    Bytes,
    /// Eight bytes, lowest first: a signed integer.
    Int,
    /// Eight bytes, lowest first: an unsigned integer.
    UInt,
    /// Eight bytes, lowest first: a DOUBLE.
    Double,
}

impl Parameter {
    /// The type's number in the protocol, and its flags.
    fn code(self) -> [u8; 2] {
        const LONGLONG: u8 = 8;
        const DOUBLE: u8 = 5;
        const BLOB: u8 = 252;
        const UNSIGNED: u8 = 0x80;
        match self {
            Self::Bytes => [BLOB, 0],
            Self::Int => [LONGLONG, 0],
            Self::UInt => [LONGLONG, UNSIGNED],
            Self::Double => [DOUBLE, 0],
        }
    }
}

/// Appends values as the rows of a bulk command hold them: row by row, each value behind its indicator.
#[derive(Debug)]
pub struct BulkRows<'a>(pub &'a mut Vec<u8>);

impl BulkRows<'_> {
    const VALUE: u8 = 0;
    const NULL: u8 = 1;

    /// NULL.
    pub fn null(&mut self) {
        self.0.push(Self::NULL);
    }

    /// A value of a [`Parameter::Bytes`].
    pub fn bytes(&mut self, value: &[u8]) {
        self.0.push(Self::VALUE);
        let length = u64::try_from(value.len()).unwrap_or(u64::MAX).to_le_bytes();
        match value.len() {
            0..=0xfa => self.0.push(length[0]),
            0xfb..=0xffff => {
                self.0.push(0xfc);
                self.0.extend_from_slice(&length[..2]);
            }
            0x1_0000..=0xff_ffff => {
                self.0.push(0xfd);
                self.0.extend_from_slice(&length[..3]);
            }
            _ => {
                self.0.push(0xfe);
                self.0.extend_from_slice(&length);
            }
        }
        self.0.extend_from_slice(value);
    }

    /// A value of a parameter of eight bytes.
    pub fn eight(&mut self, value: [u8; 8]) {
        self.0.push(Self::VALUE);
        self.0.extend_from_slice(&value);
    }
}

/// A statement that the server keeps for a connection.
#[derive(Debug)]
pub(super) struct Prepared {
    sql: Box<str>,
    id: u32,
}

impl Wire {
    /// Whether [`Self::execute_bulk`] works on this connection.
    pub fn takes_bulk(&self) -> bool {
        self.bulk
    }

    /// Runs an INSERT or REPLACE with one placeholder a parameter over `rows`, as [`BulkRows`] has laid them out. The outcome
    /// is that of all rows together.
    ///
    /// # Errors
    /// By the server's code: the first row that is refused ends the statement, and the transaction is to be rolled back.
    pub async fn execute_bulk(
        &mut self,
        sql: &str,
        parameters: &[Parameter],
        rows: &[u8],
    ) -> Result<Outcome> {
        if !self.bulk {
            return Err(Error::stop(
                "this connection to the server takes no rows in bulk, as others to it do",
            )
            .advice("If the address leads to several servers, give that of one."));
        }
        let id = self.prepared(sql, parameters.len()).await?;
        let mut head = Vec::with_capacity(6 + 2 * parameters.len());
        head.extend_from_slice(&id.to_le_bytes());
        head.extend_from_slice(&SEND_TYPES.to_le_bytes());
        head.extend(parameters.iter().flat_map(|parameter| parameter.code()));
        self.begin()?;
        self.packets.command_of_parts(COM_STMT_BULK_EXECUTE, &head, rows).await?;
        self.outcome("a bulk command").await
    }

    /// Runs a `LOAD DATA LOCAL INFILE` statement and feeds it from `data`.
    ///
    /// # Errors
    /// By the server's code; see [`kind_of_server_code`](crate::error::kind_of_server_code). The server turns refused rows
    /// into warnings.
    pub async fn load<S>(&mut self, sql: impl AsRef<[u8]>, mut data: S) -> Result<Outcome>
    where
        S: Stream<Item = Bytes> + Unpin,
    {
        self.begin()?;
        self.packets.command(super::COM_QUERY, sql.as_ref()).await?;
        let payload = self.packets.read().await?;
        match payload.first() {
            Some(&reply::LOCAL_INFILE) => {}
            Some(&reply::ERR) => {
                let error = reply::parse_error(payload);
                self.state = State::Ready;
                return Err(error);
            }
            _ => return Err(Error::stop("server does not ask for the rows that it was to load")),
        }
        while let Some(block) = data.next().await {
            // In pieces, of which none is empty: that would be the end.
            for piece in block.chunks(PIECE_BYTES) {
                self.packets.send(piece).await?;
            }
        }
        self.packets.send(&[]).await?;
        self.outcome("LOAD DATA").await
    }

    /// The server's number of a statement, prepared now unless it is already.
    async fn prepared(&mut self, sql: &str, parameters: usize) -> Result<u32> {
        if let Some(held) = self.prepared.iter().find(|held| &*held.sql == sql) {
            return Ok(held.id);
        }
        if self.prepared.len() >= PREPARED_MAX {
            let oldest = self.prepared.remove(0);
            self.begin()?;
            // It has no answer.
            self.packets.command(COM_STMT_CLOSE, &oldest.id.to_le_bytes()).await?;
            self.state = State::Ready;
        }
        self.begin()?;
        self.packets.command(COM_STMT_PREPARE, sql.as_bytes()).await?;
        let payload = self.packets.read().await?;
        if payload.first() == Some(&reply::ERR) {
            let error = reply::parse_error(payload);
            self.state = State::Ready;
            return Err(error);
        }
        let mut fields = Fields(payload);
        fields.u8()?;
        let (id, columns, asked) = (fields.u32()?, fields.u16()?, fields.u16()?);
        if columns > 0 || usize::from(asked) != parameters {
            return Err(Error::stop("server understands a prepared statement otherwise"));
        }
        // The definitions of the parameters, if there are any, and their end.
        for _ in 0..asked + u16::from(asked > 0) {
            self.packets.read().await?;
        }
        self.state = State::Ready;
        self.prepared.push(Prepared { sql: sql.into(), id });
        Ok(id)
    }

    async fn outcome(&mut self, what: &str) -> Result<Outcome> {
        match self.result_head().await? {
            Head::Done(end) if !end.more_results => {
                self.state = State::Ready;
                Ok(end.outcome)
            }
            _ => Err(Error::stop(format!("answer of the server to {what} is not understood"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::TextCells;
    use super::*;

    #[test]
    fn values_stand_behind_their_indicators() {
        let mut out = Vec::new();
        let mut rows = BulkRows(&mut out);
        rows.null();
        rows.bytes(b"ab");
        rows.bytes(b"");
        rows.eight(7u64.to_le_bytes());
        assert_eq!(out, b"\x01\0\x02ab\0\0\0\x07\0\0\0\0\0\0\0");
    }

    #[test]
    fn lengths_are_those_of_the_text_protocol() {
        for length in [0, 0xfa, 0xfb, 0xffff, 0x1_0000, 0xff_ffff, 0x100_0000] {
            let value = vec![b'x'; length];
            let mut out = Vec::new();
            BulkRows(&mut out).bytes(&value);
            let cell = TextCells::new(&out[1..]).next().unwrap().unwrap();
            assert!(cell == Some(&value[..]), "{length}");
        }
    }
}
