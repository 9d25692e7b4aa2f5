//! Statements in the binlog, plain and compressed.
//!
//! Called by the decoder; whoever gathers transactions tells BEGIN, COMMIT and DDL apart.

use bytes::Bytes;

use super::compress::inflate;
use super::cursor::Cursor;
use super::event::{QueryEvent, SessionVariables};
use crate::error::Result;
use crate::mysql::server::Flavor;

/// Reads a QUERY event behind its header.
pub(super) fn parse(body: Bytes, flavor: Flavor) -> Result<QueryEvent> {
    let mut cursor = Cursor::new(body);
    let thread_id = cursor.u32()?;
    cursor.skip(4)?;
    let database_len = usize::from(cursor.u8()?);
    let error_code = cursor.u16()?;
    let variables_len = usize::from(cursor.u16()?);
    let variables = parse_variables(cursor.take(variables_len)?)?;
    let database = cursor.take(database_len)?;
    cursor.skip(1)?;
    let sql = cursor.into_rest();
    Ok(QueryEvent { database, sql, error_code, thread_id, variables, flavor })
}

/// Reads a MariaDB QUERY_COMPRESSED event: only the text is compressed.
pub(super) fn parse_compressed(body: Bytes) -> Result<QueryEvent> {
    let mut query = parse(body, Flavor::MariaDb)?;
    query.sql = inflate(query.sql)?;
    Ok(query)
}

/// Picks out what we use. The values stand near the front, so an unknown variable, whose length nobody can know, only
/// ends the search.
fn parse_variables(bytes: Bytes) -> Result<SessionVariables> {
    let mut cursor = Cursor::new(bytes);
    let mut variables = SessionVariables::default();
    while !cursor.is_empty() {
        match cursor.u8()? {
            0 | 10 => cursor.skip(4)?,
            1 => variables.sql_mode = Some(cursor.u64()?),
            2 => drop(cursor.short_name()?),
            3 => variables.numbering = Some([cursor.u16()?, cursor.u16()?]),
            4 => variables.charsets = Some([cursor.u16()?, cursor.u16()?, cursor.u16()?]),
            5 => {
                let len = usize::from(cursor.u8()?);
                variables.time_zone = Some(cursor.take(len)?);
            }
            6 => {
                let len = usize::from(cursor.u8()?);
                cursor.skip(len)?;
            }
            7 | 8 => cursor.skip(2)?,
            9 => cursor.skip(8)?,
            // Who calls a routine, and from where.
            11 => {
                for _ in 0..2 {
                    let len = usize::from(cursor.u8()?);
                    cursor.skip(len)?;
                }
            }
            13 | 128 => variables.microseconds = u24(&mut cursor)?,
            _ => break,
        }
    }
    Ok(variables)
}

fn u24(cursor: &mut Cursor) -> Result<u32> {
    let low = u32::from(cursor.u16()?);
    Ok(low | u32::from(cursor.u8()?) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_zone_stands_behind_what_is_not_used() {
        let mut bytes = vec![0, 1, 2, 3, 4, 3, 2, 0, 1, 0, 1];
        bytes.extend(7u64.to_le_bytes());
        bytes.extend(
            b"\x06\x03std\x04\x2d\x00\x2d\x00\x08\x00\x05\x06-05:00\x80\x40\xe2\x01\xffabc",
        );
        let found = parse_variables(bytes.into()).unwrap();
        let time_zone = Some(Bytes::from_static(b"-05:00"));
        let expected = SessionVariables {
            sql_mode: Some(7),
            charsets: Some([45, 45, 8]),
            time_zone,
            numbering: Some([2, 1]),
            microseconds: 123_456,
        };
        assert_eq!(found, expected);
        assert!(parse_variables(Bytes::from_static(b"\x05\x06-05")).is_err());
    }
}
