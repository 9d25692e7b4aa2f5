//! The cells of a row as the text protocol sends it: length-encoded strings one after the other, 0xfb for NULL.
//!
//! [`super::Wire::next_row`] comes before, whoever copies, compares or forwards the row after. Invariant: a cell is a
//! slice of the packet; nothing is copied, allocated or converted here.

use super::fields::{Fields, truncated};
use crate::error::{Error, Result};

/// The marker of NULL in place of a cell's length.
const NULL: u8 = 0xfb;

/// Lengths up to this one are the byte itself.
const LARGEST_SHORT: u8 = 0xfa;

/// Walks the cells of one row packet. After an error it ends.
#[derive(Clone, Debug)]
pub struct TextCells<'a> {
    rest: &'a [u8],
}

impl<'a> TextCells<'a> {
    /// The cells of a row packet.
    pub fn new(row: &'a [u8]) -> Self {
        Self { rest: row }
    }

    #[cold]
    fn long_cell(&mut self, first: u8) -> Result<Option<&'a [u8]>> {
        let mut fields = Fields(self.rest);
        let cell = fields
            .lenenc()
            .and_then(|length| usize::try_from(length).map_err(|_| truncated()))
            .and_then(|length| fields.take(length));
        // What follows a broken cell means nothing.
        self.rest = if cell.is_ok() { fields.0 } else { &[] };
        match cell {
            Ok(cell) => Ok(Some(cell)),
            Err(_) if first == 0xff => {
                Err(Error::stop("row of the server holds an invalid length"))
            }
            Err(_) => Err(Error::stop("row of the server is cut short")),
        }
    }
}

impl<'a> Iterator for TextCells<'a> {
    type Item = Result<Option<&'a [u8]>>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (&first, tail) = self.rest.split_first()?;
        if first <= LARGEST_SHORT
            && let Some((cell, tail)) = tail.split_at_checked(usize::from(first))
        {
            self.rest = tail;
            return Some(Ok(Some(cell)));
        }
        if first == NULL {
            self.rest = tail;
            return Some(Ok(None));
        }
        Some(self.long_cell(first))
    }
}

impl std::iter::FusedIterator for TextCells<'_> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn put(out: &mut Vec<u8>, cell: Option<&[u8]>) {
        let Some(cell) = cell else { return out.push(NULL) };
        let length = u64::try_from(cell.len()).unwrap().to_le_bytes();
        match cell.len() {
            0..=0xfa => out.push(length[0]),
            0xfb..=0xffff => {
                out.push(0xfc);
                out.extend(&length[..2]);
            }
            0x1_0000..=0xff_ffff => {
                out.push(0xfd);
                out.extend(&length[..3]);
            }
            _ => {
                out.push(0xfe);
                out.extend(length);
            }
        }
        out.extend(cell);
    }

    #[test]
    fn cells_of_every_length_encoding_are_found() {
        for length in [0, 1, 0xfa, 0xfb, 0xfc, 0xff, 0x100, 0xffff, 0x1_0000, 0xff_ffff, 0x100_0000]
        {
            let cell = vec![b'x'; length];
            let mut row = Vec::new();
            put(&mut row, None);
            put(&mut row, Some(&cell));
            put(&mut row, Some(b""));
            let cells: Vec<_> = TextCells::new(&row).map(Result::unwrap).collect();
            assert!(cells == [None, Some(&cell[..]), Some(b"")], "{length}");
        }
    }

    #[test]
    fn broken_rows_are_errors_and_end_the_walk() {
        let huge = [&[0xfe][..], &[0xff; 8]].concat();
        let rows: [&[u8]; 7] =
            [b"\x01", b"\xfa123", b"\xfc\x01", b"\xfc\xff\xff-", b"\xfd\x01\x00", b"\xff", &huge];
        for row in rows {
            let mut cells = TextCells::new(row);
            assert!(cells.next().unwrap().is_err(), "{row:x?}");
            assert!(cells.next().is_none(), "{row:x?}");
        }
        assert!(TextCells::new(b"").next().is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked_without_a_panic(row in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut walked = 0;
            for cell in TextCells::new(&row) {
                walked += 1 + cell.ok().flatten().map_or(0, <[u8]>::len);
            }
            prop_assert!(walked <= row.len());
        }

        #[test]
        fn what_was_encoded_is_read_back(
            cells in proptest::collection::vec(
                proptest::option::of(proptest::collection::vec(any::<u8>(), 0..400)), 0..20)
        ) {
            let mut row = Vec::new();
            for cell in &cells {
                put(&mut row, cell.as_deref());
            }
            let read: Vec<_> =
                TextCells::new(&row).map(|cell| cell.unwrap().map(<[u8]>::to_vec)).collect();
            prop_assert_eq!(read, cells);
        }
    }
}
