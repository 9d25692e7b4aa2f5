//! The three short answers of a server: OK, ERR and EOF.

use super::fields::Fields;
use crate::error::{Error, Result};
use crate::mysql::control::{Outcome, server_error};

/// First byte of an OK packet.
pub const OK: u8 = 0x00;
/// First byte of a question during the login.
pub const MORE_DATA: u8 = 0x01;
/// First byte of a request for a local file.
pub const LOCAL_INFILE: u8 = 0xfb;
/// First byte of an EOF packet.
pub const EOF: u8 = 0xfe;
/// First byte of an ERR packet.
pub const ERR: u8 = 0xff;

/// Status flag: another result of the same statement text follows.
pub const MORE_RESULTS: u16 = 0x0008;

/// The end of one result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// Rows affected and warnings.
    pub outcome: Outcome,
    /// Whether another result of the same statement text follows.
    pub more_results: bool,
    /// The server's status flags.
    pub status: u16,
    /// The AUTO_INCREMENT value that was given, or 0.
    pub insert_id: u64,
}

/// Whether a packet ends rows, column definitions or a binlog dump. A row that starts with the same byte has a cell of
/// 16 MiB or more, so its packet is longer.
pub fn is_eof(payload: &[u8]) -> bool {
    payload.first() == Some(&EOF) && payload.len() < 9
}

/// Reads an OK packet.
///
/// # Errors
/// Stop if it is cut short.
pub fn parse_ok(payload: &[u8]) -> Result<End> {
    let mut fields = Fields(payload);
    fields.u8()?;
    let affected = fields.lenenc()?;
    let insert_id = fields.lenenc()?;
    let status = fields.u16()?;
    let warnings = fields.u16()?;
    let more_results = status & MORE_RESULTS != 0;
    Ok(End { outcome: Outcome { affected, warnings }, more_results, status, insert_id })
}

/// Reads an EOF packet.
///
/// # Errors
/// Stop if it is cut short.
pub fn parse_eof(payload: &[u8]) -> Result<End> {
    let mut fields = Fields(payload);
    fields.u8()?;
    let warnings = fields.u16()?;
    let status = fields.u16()?;
    let (outcome, more_results) = (Outcome { affected: 0, warnings }, status & MORE_RESULTS != 0);
    Ok(End { outcome, more_results, status, insert_id: 0 })
}

/// The error that an ERR packet carries. Before the login its state is missing.
pub fn parse_error(payload: &[u8]) -> Error {
    let mut fields = Fields(payload);
    let code = match fields.u8().and_then(|_| fields.u16()) {
        Ok(code) => code,
        Err(error) => return error,
    };
    let mut state: &[u8] = b"HY000";
    if fields.0.first() == Some(&b'#')
        && let Some(marked) = fields.0.get(..6)
    {
        state = &marked[1..];
        fields.0 = &fields.0[6..];
    }
    let message = String::from_utf8_lossy(fields.rest());
    server_error(code, &String::from_utf8_lossy(state), &message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn answers_parse() {
        let ok = parse_ok(b"\x00\xfc\x10\x27\x00\x0a\x00\x02\x00info").unwrap();
        assert_eq!(ok.outcome, Outcome { affected: 10_000, warnings: 2 });
        assert!(ok.more_results);
        let eof = parse_eof(b"\xfe\x01\x00\x22\x00").unwrap();
        assert_eq!(eof.outcome, Outcome { affected: 0, warnings: 1 });
        assert!(!eof.more_results);
    }

    #[test]
    fn error_packets_parse_with_and_without_a_state() {
        let error = parse_error(b"\xff\x15\x04#28000Access denied");
        assert_eq!(error.to_string(), "ERROR 1045 (28000): Access denied");
        assert_eq!(error.kind(), ErrorKind::Stop);
        let error = parse_error(b"\xff\x10\x04Too many connections");
        assert_eq!(error.to_string(), "ERROR 1040 (HY000): Too many connections");
        assert_eq!(error.kind(), ErrorKind::Retry);
    }

    #[test]
    fn short_answers_are_errors() {
        for cut in 0..9 {
            assert!(parse_ok(&b"\x00\xfc\x10\x27\x00\x0a\x00\x02\x00"[..cut]).is_err());
        }
        for cut in 0..5 {
            assert!(parse_eof(&b"\xfe\x01\x00\x22\x00"[..cut]).is_err());
        }
        for packet in [&b"\xff"[..], b"\xff\x15", b"\xff\x15\x04#28"] {
            assert_eq!(parse_error(packet).kind(), ErrorKind::Stop);
        }
    }
}
