//! Answers of the gateway's own: OK, errors, small results.

use std::fmt;

use shunt_engine::mysql::wire::reply;

/// An error as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SqlError {
    pub(crate) code: u16,
    pub(crate) state: [u8; 5],
    pub(crate) text: String,
}

impl SqlError {
    pub(crate) fn new(code: u16, state: [u8; 5], text: impl Into<String>) -> Self {
        Self { code, state, text: text.into() }
    }

    /// What the gateway does not do, though a server would.
    pub(crate) fn unsupported(text: impl fmt::Display) -> Self {
        Self::new(1235, *b"42000", format!("shunt: {text}"))
    }

    /// A statement, or a transaction, over two servers. The text is fixed.
    pub(crate) fn two_servers(first: &str, second: &str) -> Self {
        Self::unsupported(format_args!(
            "statement or transaction spans keyspaces on different servers ({first}, {second})"
        ))
    }

    /// No database is chosen.
    pub(crate) fn no_database() -> Self {
        Self::new(1046, *b"3D000", "No database selected")
    }

    /// There is no such keyspace.
    pub(crate) fn unknown_database(name: &str) -> Self {
        Self::new(1049, *b"42000", format!("Unknown database '{name}'"))
    }

    /// A statement that could not wait any longer.
    pub(crate) fn held(text: &str) -> Self {
        Self::new(1205, *b"HY000", format!("shunt: {text}; try restarting transaction"))
    }

    /// A transaction whose tables are elsewhere now; it was rolled back. Clients know the code as one to begin anew after.
    pub(crate) fn moved() -> Self {
        let text = "shunt: its tables were moved while the transaction was open; try restarting transaction";
        Self::new(1213, *b"40001", text)
    }

    pub(crate) fn packet(&self) -> Vec<u8> {
        let mut out = vec![reply::ERR];
        out.extend_from_slice(&self.code.to_le_bytes());
        out.push(b'#');
        out.extend_from_slice(&self.state);
        out.extend_from_slice(self.text.as_bytes());
        out
    }
}

impl From<shunt_engine::Error> for SqlError {
    fn from(error: shunt_engine::Error) -> Self {
        let code = error.server_code();
        Self::new(code.unwrap_or(2003), *b"HY000", format!("shunt: {error}"))
    }
}

/// Status flag: a transaction is open.
pub(crate) const IN_TRANSACTION: u16 = 0x0001;
/// Status flag: autocommit is on.
pub(crate) const AUTOCOMMIT: u16 = 0x0002;
/// Status flag: another result follows.
pub(crate) const MORE_RESULTS: u16 = reply::MORE_RESULTS;

/// An OK packet.
pub(crate) fn ok(status: u16) -> Vec<u8> {
    let mut out = vec![reply::OK, 0, 0];
    out.extend_from_slice(&status.to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    out
}

pub(crate) fn eof(status: u16) -> Vec<u8> {
    let mut out = vec![reply::EOF, 0, 0];
    out.extend_from_slice(&status.to_le_bytes());
    out
}

/// A result of text columns, as its packets.
pub(crate) fn rows(columns: &[&str], rows: &[Vec<Option<String>>], status: u16) -> Vec<Vec<u8>> {
    let count = u8::try_from(columns.len()).expect("few columns");
    let mut out = vec![vec![count]];
    out.extend(columns.iter().map(|column| definition(column)));
    out.push(eof(status));
    for row in rows {
        let mut packet = Vec::new();
        for cell in row {
            match cell {
                Some(cell) => text(&mut packet, cell.as_bytes()),
                None => packet.push(0xfb),
            }
        }
        out.push(packet);
    }
    out.push(eof(status));
    out
}

fn definition(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for part in ["def", "", "", "", name, ""] {
        text(&mut out, part.as_bytes());
    }
    // Fixed part: utf8mb4, up to 1024 bytes, VAR_STRING, no flags.
    out.extend_from_slice(&[0x0c, 45, 0, 0, 4, 0, 0, 0xfd, 0, 0, 0, 0, 0]);
    out
}

fn text(out: &mut Vec<u8>, bytes: &[u8]) {
    match u8::try_from(bytes.len()) {
        Ok(length) if length < 0xfb => out.push(length),
        _ => {
            let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
            out.push(0xfc);
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(&bytes[..usize::from(length)]);
            return;
        }
    }
    out.extend_from_slice(bytes);
}
