//! Statements in the binlog, plain and compressed.
//!
//! Called by the decoder; whoever gathers transactions tells BEGIN, COMMIT and DDL apart.

use bytes::Bytes;

use super::compress::inflate;
use super::cursor::Cursor;
use super::event::QueryEvent;
use crate::error::Result;

/// Reads a QUERY event behind its header.
pub(super) fn parse(body: Bytes) -> Result<QueryEvent> {
    let mut cursor = Cursor::new(body);
    let thread_id = cursor.u32()?;
    cursor.skip(4)?;
    let database_len = usize::from(cursor.u8()?);
    let error_code = cursor.u16()?;
    let variables_len = usize::from(cursor.u16()?);
    let (sql_mode, charsets) = parse_variables(cursor.take(variables_len)?)?;
    let database = cursor.take(database_len)?;
    cursor.skip(1)?;
    let sql = cursor.into_rest();
    Ok(QueryEvent { database, sql, error_code, thread_id, sql_mode, charsets })
}

/// Reads a MariaDB QUERY_COMPRESSED event: only the text is compressed.
pub(super) fn parse_compressed(body: Bytes) -> Result<QueryEvent> {
    let mut query = parse(body)?;
    query.sql = inflate(query.sql)?;
    Ok(query)
}

/// Picks out what we use. Both values stand near the front, so an unknown variable, whose length nobody can know, only
/// ends the search.
fn parse_variables(bytes: Bytes) -> Result<(Option<u64>, Option<[u16; 3]>)> {
    let mut cursor = Cursor::new(bytes);
    let (mut sql_mode, mut charsets) = (None, None);
    while !cursor.is_empty() {
        match cursor.u8()? {
            0 | 3 | 10 => cursor.skip(4)?,
            1 => sql_mode = Some(cursor.u64()?),
            2 => drop(cursor.short_name()?),
            4 => charsets = Some([cursor.u16()?, cursor.u16()?, cursor.u16()?]),
            5 | 6 => {
                let len = usize::from(cursor.u8()?);
                cursor.skip(len)?;
            }
            7 | 8 => cursor.skip(2)?,
            9 => cursor.skip(8)?,
            _ => break,
        }
    }
    Ok((sql_mode, charsets))
}
