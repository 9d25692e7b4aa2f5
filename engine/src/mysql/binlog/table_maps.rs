//! The table maps of a statement, by the numbers that its row events call them by.
//!
//! They live no longer than their statement, so their number is bounded by the tables of one. What they said is remembered all the
//! same: small transactions say the same of the same tables again and again, and to read it took a tenth of the time that a backlog of
//! them takes. It is taken again only for an event of the very same bytes, and that event alone makes it good.

use std::collections::HashMap;
use std::sync::Arc;

use super::cursor::{cut_short, le_uint};
use super::table_map::TableMap;
use crate::error::{Error, Result};
use crate::runtime::seeded::Seeded;

/// The most tables one statement may have; far more than a server can join or trigger.
const TABLES_MAX: usize = 100_000;
/// So many are remembered; then all are forgotten, and the next ones remembered.
const REMEMBERED_MAX: usize = 256;
/// An event with more bytes is not remembered: some servers write all names and labels of columns into it.
const REMEMBERED_BYTES_MAX: usize = 16 << 10;

/// Those that are good now, and those that were.
#[derive(Clone, Debug, Default)]
pub(super) struct TableMaps {
    good: HashMap<u64, Arc<TableMap>, Seeded>,
    remembered: HashMap<u64, Arc<TableMap>, Seeded>,
}

impl TableMaps {
    /// The table that a row event means.
    pub(super) fn get(&self, id: u64) -> Option<Arc<TableMap>> {
        self.good.get(&id).map(Arc::clone)
    }

    /// Takes a TABLE_MAP event behind its header. `id_len` is 6, or 4 in logs of ancient servers.
    pub(super) fn take(&mut self, body: &[u8], id_len: usize) -> Result<Arc<TableMap>> {
        if self.good.len() >= TABLES_MAX {
            return Err(Error::stop("a statement has too many tables"));
        }
        let table = self.read(body, id_len)?;
        self.good.insert(table.id, Arc::clone(&table));
        Ok(table)
    }

    fn read(&mut self, body: &[u8], id_len: usize) -> Result<Arc<TableMap>> {
        let id = le_uint(body.get(..id_len).ok_or_else(cut_short)?);
        if let Some(table) = self.remembered.get(&id).filter(|table| table.is_of(body)) {
            return Ok(Arc::clone(table));
        }
        let table = Arc::new(TableMap::parse(body, id_len)?);
        if body.len() <= REMEMBERED_BYTES_MAX {
            if self.remembered.len() >= REMEMBERED_MAX {
                self.remembered.clear();
            }
            self.remembered.insert(id, Arc::clone(&table));
        }
        Ok(table)
    }

    /// The statement is over.
    pub(super) fn end_statement(&mut self) {
        self.good.clear();
    }

    /// Another file begins, whose events may be laid out otherwise.
    pub(super) fn begin_file(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Table 9 is `d.t` with one INT.
    const TABLE: &[u8] = b"\x09\0\0\0\0\0\0\0\x01d\0\x01t\0\x01\x03\0\x01";

    #[test]
    fn a_table_map_is_remembered_for_the_same_bytes_only() {
        let mut maps = TableMaps::default();
        let first = maps.take(TABLE, 6).unwrap();
        maps.end_statement();
        assert!(maps.get(9).is_none(), "remembered, and not good");
        assert!(Arc::ptr_eq(&first, &maps.take(TABLE, 6).unwrap()));
        assert!(maps.get(9).is_some());
        // The same number and name, and the column is a BIGINT by now.
        let altered = [&TABLE[..15], b"\x08", &TABLE[16..]].concat();
        let second = maps.take(&altered, 6).unwrap();
        assert_eq!((first.columns[0].kind, second.columns[0].kind), (3, 8));
        assert_eq!(maps.get(9).unwrap().columns[0].kind, 8);
        assert!(Arc::ptr_eq(&second, &maps.take(&altered, 6).unwrap()));
        maps.begin_file();
        assert!(maps.get(9).is_none());
        assert!(!Arc::ptr_eq(&second, &maps.take(&altered, 6).unwrap()));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut maps = TableMaps::default();
        for id in 0..1000_u64 {
            maps.take(&[&id.to_le_bytes()[..6], &TABLE[6..]].concat(), 6).unwrap();
        }
        assert!(maps.remembered.len() <= REMEMBERED_MAX);
        let long = [TABLE, &vec![0; REMEMBERED_BYTES_MAX]].concat();
        let table = maps.take(&long, 6).unwrap();
        assert!(!Arc::ptr_eq(&table, &maps.take(&long, 6).unwrap()));
    }

    #[test]
    fn what_is_cut_short_is_an_error_and_leaves_nothing() {
        for len in 0..TABLE.len() {
            let mut maps = TableMaps::default();
            assert!(maps.take(&TABLE[..len], 6).is_err(), "{len} bytes");
            assert!(maps.get(9).is_none() && maps.remembered.is_empty());
        }
    }
}
