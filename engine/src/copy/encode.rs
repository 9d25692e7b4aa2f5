//! Rows of the text protocol as the target takes them, without a value object or an allocation per cell.

use bytes::Bytes;

use crate::apply::notes;
use crate::error::{Error, Result};
use crate::limits;
use crate::mysql::sql;
use crate::mysql::wire::TextCells;
use crate::mysql::wire::writing::BulkRows;
use crate::plan::TablePlan;

/// A row or cell for which it is worth counting what it takes.
const LARGE: usize = 1 << 20;

/// How the rows of a block are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For a prepared INSERT that is run in bulk: cheapest for the target.
    Bulk,
    /// Lines for `LOAD DATA LOCAL INFILE`.
    Load,
    /// A multi-row INSERT, where the target allows neither.
    Insert,
}

/// How rows travel to the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carrier {
    /// All but large ones.
    pub rows: Form,
    /// Rows that would make a command too large.
    pub large: Form,
}

impl Carrier {
    /// The best that a target takes.
    pub fn of(takes_bulk: bool, local_infile: bool) -> Self {
        let large = if local_infile { Form::Load } else { Form::Insert };
        Self { rows: if takes_bulk { Form::Bulk } else { large }, large }
    }

    fn of_row(self, bytes: usize) -> Form {
        if bytes > limits::BULK_ROW_MAX { self.large } else { self.rows }
    }
}

/// The statements that write a table's rows. Under an order that is known here, no row of a chunk is on the target yet, and one
/// that is there is an error (with `LOAD DATA LOCAL` a warning, which is one to us). Otherwise rows replace what they meet.
#[derive(Debug)]
pub struct Destination<'a> {
    /// The table.
    pub plan: &'a TablePlan,
    /// Whether rows replace what they meet.
    pub replace: bool,
}

impl Destination<'_> {
    /// Takes the blocks of [`Form::Load`].
    pub fn load(&self) -> String {
        format!(
            "LOAD DATA LOCAL INFILE 'shunt' {} INTO TABLE {} CHARACTER SET binary \
             FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' ({})",
            if self.replace { "REPLACE" } else { "IGNORE" },
            self.plan.target(),
            self.plan.column_list()
        )
    }

    /// Takes the blocks of [`Form::Bulk`].
    pub fn bulk(&self) -> String {
        let places = vec!["?"; self.plan.columns.len()].join(",");
        format!("{}({places})", self.head())
    }

    /// What stands before the first row.
    fn head(&self) -> String {
        let verb = if self.replace { "REPLACE" } else { "INSERT" };
        format!("{verb} INTO {} ({}) VALUES ", self.plan.target(), self.plan.column_list())
    }
}

/// Encoded rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// How.
    pub form: Form,
    /// The rows; with [`Form::Insert`] a statement.
    pub bytes: Bytes,
}

/// Encodes the rows of one chunk into blocks.
#[derive(Debug)]
pub struct Encoder {
    carrier: Carrier,
    columns: usize,
    /// Of the block that is being filled.
    form: Form,
    /// Which cells of a row are kept of the last one, by position.
    wanted: Vec<usize>,
    head: Vec<u8>,
    blocks: Vec<Block>,
    block: Vec<u8>,
    /// The wanted cells of the last row.
    last: Vec<Vec<u8>>,
    rows: u64,
    bytes: usize,
    /// How many rows a block holds at most, and this one by now.
    block_rows: (usize, usize),
}

impl Encoder {
    /// For rows of `plan`, of which the cells that it carries are sent; the cells at `wanted` are remembered of the last row.
    pub fn new(carrier: Carrier, plan: &TablePlan, replace: bool, wanted: Vec<usize>) -> Self {
        let head = Destination { plan, replace }.head();
        Self {
            carrier,
            form: carrier.rows,
            columns: plan.columns.len(),
            last: vec![Vec::new(); wanted.len()],
            wanted,
            head: head.into_bytes(),
            blocks: Vec::new(),
            block: Vec::new(),
            rows: 0,
            bytes: 0,
            block_rows: (notes::rows_max(&plan.source), 0),
        }
    }

    /// Adds a row packet.
    ///
    /// # Errors
    /// Retry if the packet is broken.
    pub fn push(&mut self, row: &[u8]) -> Result<()> {
        let form = self.carrier.of_row(row.len());
        if form != self.form {
            self.end_block();
            self.form = form;
        }
        if self.block.is_empty() {
            if row.len() < LARGE {
                self.block.reserve(limits::BLOCK_BYTES + row.len());
            }
            if form == Form::Insert {
                self.block.extend_from_slice(&self.head);
            }
        } else if form == Form::Insert {
            self.block.push(b',');
        }
        for (at, cell) in TextCells::new(row).enumerate() {
            let cell = cell?;
            if at < self.columns {
                match (form, cell) {
                    (Form::Bulk, Some(cell)) => BulkRows(&mut self.block).bytes(cell),
                    (Form::Bulk, None) => BulkRows(&mut self.block).null(),
                    (Form::Load, _) => push_field(&mut self.block, at, cell),
                    (Form::Insert, _) => push_value(&mut self.block, at, cell),
                }
            }
            if let Some(kept) = self.wanted.iter().position(|wanted| *wanted == at) {
                let cell =
                    cell.ok_or_else(|| Error::stop("a key column of a copied row is NULL"))?;
                self.last[kept].clear();
                self.last[kept].extend_from_slice(cell);
            }
        }
        match form {
            Form::Bulk => {}
            Form::Load => self.block.push(b'\n'),
            Form::Insert => self.block.push(b')'),
        }
        self.rows += 1;
        self.block_rows.1 += 1;
        if self.block.len() >= limits::BLOCK_BYTES || self.block_rows.1 >= self.block_rows.0 {
            self.end_block();
        }
        Ok(())
    }

    fn end_block(&mut self) {
        if !self.block.is_empty() {
            self.bytes += self.block.len();
            self.block_rows.1 = 0;
            let bytes = std::mem::take(&mut self.block).into();
            self.blocks.push(Block { form: self.form, bytes });
        }
    }

    /// Takes the blocks that are full; their bytes still count.
    pub fn ready(&mut self) -> Vec<Block> {
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

    /// The blocks.
    pub fn finish(mut self) -> Vec<Block> {
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
    if rest.len() >= LARGE {
        // Exactly as much as it takes: growing by doubling would hold a large cell several times.
        out.reserve_exact(
            rest.len() + memchr::memchr3_iter(b'\t', b'\n', b'\\', rest).count() + 64,
        );
    }
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
