//! Rows of the text protocol as the target takes them, without a value object or an allocation per cell.

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::limits;
use crate::mysql::sql;
use crate::mysql::wire::TextCells;
use crate::plan::TablePlan;

/// How rows travel to the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// `LOAD DATA LOCAL INFILE`: fastest.
    Load,
    /// Multi-row INSERT, where the target does not allow the other.
    Insert,
}

impl Carrier {
    /// The statement that loads a chunk. Under an order that is known here, no row of a chunk is on the target yet, and one
    /// that is would be skipped with a warning, which is an error to us. Otherwise rows replace what they meet.
    pub fn load_statement(plan: &TablePlan, replace: bool) -> String {
        format!(
            "LOAD DATA LOCAL INFILE 'shunt' {} INTO TABLE {} CHARACTER SET binary \
             FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' ({})",
            if replace { "REPLACE" } else { "IGNORE" },
            plan.target(),
            plan.column_list()
        )
    }
}

/// Encodes the rows of one chunk into blocks.
#[derive(Debug)]
pub struct Encoder {
    carrier: Carrier,
    columns: usize,
    /// Which cells of a row are kept of the last one, by position.
    wanted: Vec<usize>,
    head: Vec<u8>,
    blocks: Vec<Bytes>,
    block: Vec<u8>,
    /// The wanted cells of the last row.
    last: Vec<Vec<u8>>,
    rows: u64,
    bytes: usize,
}

impl Encoder {
    /// For rows of `plan` with the first `columns` cells carried; the cells at `wanted` are remembered of the last row.
    pub fn new(carrier: Carrier, plan: &TablePlan, replace: bool, wanted: Vec<usize>) -> Self {
        let verb = if replace { "REPLACE" } else { "INSERT" };
        let head = format!("{verb} INTO {} ({}) VALUES ", plan.target(), plan.column_list());
        Self {
            carrier,
            columns: plan.columns.len(),
            last: vec![Vec::new(); wanted.len()],
            wanted,
            head: head.into_bytes(),
            blocks: Vec::new(),
            block: Vec::new(),
            rows: 0,
            bytes: 0,
        }
    }

    /// Adds a row packet.
    ///
    /// # Errors
    /// Retry if the packet is broken.
    pub fn push(&mut self, row: &[u8]) -> Result<()> {
        if self.block.is_empty() {
            self.block.reserve(limits::BLOCK_BYTES + row.len());
            if self.carrier == Carrier::Insert {
                self.block.extend_from_slice(&self.head);
            }
        } else if self.carrier == Carrier::Insert {
            self.block.push(b',');
        }
        for (at, cell) in TextCells::new(row).enumerate() {
            let cell = cell?;
            if at < self.columns {
                match self.carrier {
                    Carrier::Load => push_field(&mut self.block, at, cell),
                    Carrier::Insert => push_value(&mut self.block, at, cell),
                }
            }
            if let Some(kept) = self.wanted.iter().position(|wanted| *wanted == at) {
                let cell =
                    cell.ok_or_else(|| Error::stop("a key column of a copied row is NULL"))?;
                self.last[kept].clear();
                self.last[kept].extend_from_slice(cell);
            }
        }
        self.block.push(if self.carrier == Carrier::Load { b'\n' } else { b')' });
        self.rows += 1;
        if self.block.len() >= limits::BLOCK_BYTES {
            self.end_block();
        }
        Ok(())
    }

    fn end_block(&mut self) {
        if !self.block.is_empty() {
            self.bytes += self.block.len();
            self.blocks.push(std::mem::take(&mut self.block).into());
        }
    }

    /// Takes the blocks that are full; their bytes still count.
    pub fn ready(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.blocks)
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes so far.
    pub fn bytes(&self) -> usize {
        self.bytes + self.block.len()
    }

    /// The wanted cells of the last row.
    pub fn last(&self) -> &[Vec<u8>] {
        &self.last
    }

    /// The blocks: with [`Carrier::Insert`] each is a statement.
    pub fn finish(mut self) -> Vec<Bytes> {
        self.end_block();
        self.blocks
    }
}

/// A field of a LOAD DATA line. Only what would be taken for a separator or an escape is escaped; any other byte stands for
/// itself, since the character set is binary.
fn push_field(out: &mut Vec<u8>, at: usize, cell: Option<&[u8]>) {
    if at > 0 {
        out.push(b'\t');
    }
    let Some(mut rest) = cell else {
        out.extend_from_slice(b"\\N");
        return;
    };
    while let Some(found) = memchr::memchr3(b'\t', b'\n', b'\\', rest) {
        out.extend_from_slice(&rest[..found]);
        out.push(b'\\');
        out.push(match rest[found] {
            b'\t' => b't',
            b'\n' => b'n',
            other => other,
        });
        rest = &rest[found + 1..];
    }
    out.extend_from_slice(rest);
}

fn push_value(out: &mut Vec<u8>, at: usize, cell: Option<&[u8]>) {
    out.push(if at == 0 { b'(' } else { b',' });
    match cell {
        None => out.extend_from_slice(b"NULL"),
        Some(cell) => sql::push_literal(out, cell),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(cell: Option<&[u8]>) -> Vec<u8> {
        let mut out = Vec::new();
        push_field(&mut out, 1, cell);
        out
    }

    #[test]
    fn fields_escape_what_would_be_misread() {
        assert_eq!(field(None), b"\t\\N");
        assert_eq!(field(Some(b"")), b"\t");
        assert_eq!(field(Some(b"a\tb\nc\\d\0\r'\xff")), b"\ta\\tb\\nc\\\\d\0\r'\xff");
        assert_eq!(field(Some(b"\\N")), b"\t\\\\N");
    }

    #[test]
    fn values_are_quoted() {
        let mut out = Vec::new();
        push_value(&mut out, 0, Some(b"it's"));
        push_value(&mut out, 1, None);
        assert_eq!(out, b"('it\\'s',NULL");
    }
}
