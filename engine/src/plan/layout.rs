//! How the row images of a table are read: a plan joined with the table map of the binlog, which says how cells are stored.

use std::sync::Arc;

use super::columns::ColumnSet;
use super::{TablePlan, bulk, key_kind, native};
use crate::error::{Error, Result};
use crate::key::{Identity, KeyKind, KeyPlan, Place, push_hex};
use crate::mysql::binlog::rows::{Bitmap, RowImage};
use crate::mysql::binlog::table_map::TableMap;
use crate::mysql::binlog::value::{self, Native, Value};
use crate::mysql::schema::Column;
use crate::mysql::sql;
use crate::mysql::wire::writing::Parameter;

/// A plan with the table map under which its row images are stored.
#[derive(Debug)]
pub struct Layout {
    /// The plan.
    pub plan: Arc<TablePlan>,
    /// The table map.
    pub map: Arc<TableMap>,
    /// The columns present in its images: all of them.
    columns: Bitmap,
    /// By ordinal: whether the column is an unsigned number.
    unsigned: Vec<bool>,
    /// By ordinal: whether the column is a UUID or an address.
    native: Vec<Option<Native>>,
    /// By ordinal: whether the column is carried.
    carried: Vec<bool>,
    /// Of the carried columns: how their values are laid out in bulk.
    parameters: Vec<Parameter>,
    /// Whether a carried column is COMPRESSED.
    compressed: bool,
    /// The ordinals of the key, in key order.
    key: Vec<usize>,
}

impl Layout {
    /// Joins a plan and a table map whose images hold `columns`.
    ///
    /// # Errors
    /// Stop if they do not fit, or if the images are not full.
    pub fn new(plan: Arc<TablePlan>, map: Arc<TableMap>, columns: Bitmap) -> Result<Self> {
        plan.check_fits(&map)?;
        if !columns.is_full() {
            return Err(Error::stop(format!(
                "the row images of table {} lack columns",
                sql::ident(plan.name())
            ))
            .advice(
                "Set binlog_row_image=FULL on the source, for every session that writes. What is in the binlog stays as it \
                 is, so then cancel the workflow and create it again.",
            ));
        }
        let unsigned: Vec<bool> = plan.source.columns.iter().map(Column::unsigned).collect();
        let native = plan.source.columns.iter().map(native).collect();
        let mut carried = vec![false; map.columns.len()];
        for column in &plan.columns {
            carried[column.ordinal] = true;
        }
        let key = plan.key.iter().flat_map(|key| key.columns.iter().map(|c| c.ordinal)).collect();
        let parameter = |at: usize| bulk::parameter(&map.columns[at], unsigned[at]);
        let parameters = plan.columns.iter().map(|column| parameter(column.ordinal)).collect();
        let compressed =
            map.columns.iter().zip(&carried).any(|(c, carried)| *carried && c.is_compressed());
        Ok(Self { plan, map, columns, unsigned, native, carried, parameters, compressed, key })
    }

    /// What an image takes in memory at most, as it is or with its compressed cells unpacked, as they are when it is written.
    ///
    /// # Errors
    /// Stop if the image is broken.
    pub fn bytes(&self, image: &RowImage) -> Result<usize> {
        let mut bytes = image.bytes.len();
        if !self.compressed {
            return Ok(bytes);
        }
        for cell in image.cells(&self.map, &self.columns) {
            let (ordinal, Some(cell)) = cell? else { continue };
            let column = &self.map.columns[ordinal];
            if self.carried[ordinal] && column.is_compressed() {
                let value = usize::try_from(value::value_len(column, cell)?).unwrap_or(usize::MAX);
                bytes = bytes.saturating_add(value.saturating_sub(cell.len()));
            }
        }
        Ok(bytes)
    }

    /// The identity of an image's row: the stored bytes of its key.
    ///
    /// # Errors
    /// Stop if the image is broken.
    pub fn identity(&self, image: &RowImage) -> Result<Identity> {
        if self.plan.key.is_none() {
            // Without a key a row is all that it holds.
            return Ok(Identity(image.bytes.to_vec().into_boxed_slice()));
        }
        if let [ordinal] = self.key.as_slice() {
            return identity_of(&[self.key_cell(*ordinal, image)?]);
        }
        identity_of(&self.key_image(image)?)
    }

    /// The number of an image's row, where its key is a single integer.
    ///
    /// # Errors
    /// Stop if the image is broken.
    pub fn number(&self, image: &RowImage) -> Result<Option<i128>> {
        let columns = self.plan.key.as_ref().map(|key| key.columns.as_slice());
        let Some([column]) = columns.filter(|columns| columns[0].kind == KeyKind::Integer) else {
            return Ok(None);
        };
        let cell = self.key_cell(column.ordinal, image)?;
        Ok(match self.value(column.ordinal, Some(cell))? {
            Value::Int(number) => Some(i128::from(number)),
            Value::UInt(number) => Some(i128::from(number)),
            _ => None,
        })
    }

    /// The place of an image's row, if its order is known here.
    ///
    /// # Errors
    /// Stop if the image is broken.
    pub fn place(&self, image: &RowImage) -> Result<Option<Place>> {
        let Some(key) = self.plan.key.as_ref().filter(|key| key.exact()) else { return Ok(None) };
        key.place_of_event(&self.key_values(image)?)
    }

    /// Appends `(…, …)`: the image's carried columns as literals.
    ///
    /// # Errors
    /// Stop if the image is broken or a type is not known.
    pub fn push_tuple(&self, image: &RowImage, out: &mut Vec<u8>) -> Result<()> {
        let mut separator = b'(';
        for value in self.carried(image) {
            out.push(separator);
            separator = b',';
            value::push_literal(&value?, out)?;
        }
        out.push(b')');
        Ok(())
    }

    /// How the values of [`Self::push_bulk`] are laid out, by carried column.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Appends the image's carried columns as a row of a bulk command.
    ///
    /// # Errors
    /// Stop if the image is broken or a type is not known.
    pub fn push_bulk(&self, image: &RowImage, out: &mut Vec<u8>) -> Result<()> {
        for (value, parameter) in self.carried(image).zip(&self.parameters) {
            bulk::push(&value?, *parameter, out)?;
        }
        Ok(())
    }

    /// The columns in which an update changes a row; none if it cannot be updated in place.
    ///
    /// # Errors
    /// Stop if an image is broken.
    pub fn changed(&self, before: &RowImage, after: &RowImage) -> Result<Option<ColumnSet>> {
        let Some(in_place) = &self.plan.in_place else { return Ok(None) };
        let mut changed = ColumnSet::default();
        for (before, after) in self.carried_cells(before).zip(self.carried_cells(after)) {
            let ((ordinal, before), (_, after)) = (before?, after?);
            if before == after {
                continue;
            }
            if !in_place.settable.contains(ordinal) {
                return Ok(None);
            }
            changed.insert(ordinal);
        }
        Ok((!changed.is_empty()).then_some(changed))
    }

    /// The values of an image's carried columns, in order.
    fn carried<'a>(&'a self, image: &'a RowImage) -> impl Iterator<Item = Result<Value<'a>>> {
        self.carried_values(image).map(|value| value.map(|(_, value)| value))
    }

    /// The same, each with its column's ordinal. A value is decoded when it is asked for.
    pub fn carried_values<'a>(
        &'a self,
        image: &'a RowImage,
    ) -> impl Iterator<Item = Result<(usize, Value<'a>)>> {
        let value = |(ordinal, cell)| Ok((ordinal, self.value(ordinal, cell)?));
        self.carried_cells(image).map(move |cell| cell.and_then(value))
    }

    /// The stored cells of an image's carried columns, in order.
    fn carried_cells<'a>(
        &'a self,
        image: &'a RowImage,
    ) -> impl Iterator<Item = Result<(usize, Option<&'a [u8]>)>> {
        let cells = image.cells(&self.map, &self.columns);
        cells.filter(|cell| !matches!(cell, Ok((ordinal, _)) if !self.carried[*ordinal]))
    }

    /// Appends `k = …` or `(k1 = … AND k2 = …)`, or for the single column of a key just the literal.
    ///
    /// # Errors
    /// Stop if the image is broken.
    pub fn push_key(&self, key: &KeyPlan, image: &RowImage, out: &mut Vec<u8>) -> Result<()> {
        let values = self.key_values(image)?;
        if let [value] = values.as_slice() {
            push_key_literal(&key.columns[0].kind, value, out)?;
            return Ok(());
        }
        let mut separator: &[u8] = b"(";
        for (column, value) in key.columns.iter().zip(&values) {
            out.extend_from_slice(separator);
            separator = b" AND ";
            out.extend_from_slice(sql::ident(&column.name).as_bytes());
            out.extend_from_slice(b" = ");
            push_key_literal(&column.kind, value, out)?;
        }
        out.push(b')');
        Ok(())
    }

    /// Appends a condition that matches the image's row by all its columns, byte for byte: for tables without a key.
    ///
    /// # Errors
    /// Stop if the image is broken.
    pub fn push_match(&self, image: &RowImage, out: &mut Vec<u8>) -> Result<()> {
        let mut separator: &[u8] = b"";
        for cell in image.cells(&self.map, &self.columns) {
            let (ordinal, cell) = cell?;
            if !self.carried[ordinal] {
                continue;
            }
            out.extend_from_slice(separator);
            separator = b" AND ";
            let column = &self.plan.source.columns[ordinal];
            let name = sql::ident(&column.name);
            let value = self.value(ordinal, cell)?;
            // Without BINARY a collation would take 'a' for 'A' and 'a ' for 'a'.
            let bytewise = column.charset.is_some() || matches!(value, Value::Bytes(_));
            let binary = if bytewise && !matches!(value, Value::Enum(_) | Value::Set(_)) {
                "BINARY "
            } else {
                ""
            };
            out.extend_from_slice(format!("{binary}{name} <=> ").as_bytes());
            push_key_literal(&key_kind(column), &value, out)?;
        }
        Ok(())
    }

    fn value<'a>(&self, ordinal: usize, cell: Option<&'a [u8]>) -> Result<Value<'a>> {
        let Some(cell) = cell else { return Ok(Value::Null) };
        let column = &self.map.columns[ordinal];
        match self.native[ordinal] {
            Some(native) => value::decode_native(native, column, cell),
            None => value::decode(column, self.unsigned[ordinal], cell),
        }
    }

    /// The values of the key, in key order.
    ///
    /// # Errors
    /// Stop if the image is broken.
    pub fn key_values<'a>(&'a self, image: &'a RowImage) -> Result<Vec<Value<'a>>> {
        let cells = self.key_image(image)?;
        self.key.iter().zip(cells).map(|(ordinal, cell)| self.value(*ordinal, Some(cell))).collect()
    }

    /// The stored cells of the key, in key order.
    fn key_image<'a>(&'a self, image: &'a RowImage) -> Result<Vec<&'a [u8]>> {
        let mut found = vec![None; self.key.len()];
        let last = self.key.iter().copied().max().unwrap_or(0);
        for cell in image.cells(&self.map, &self.columns) {
            let (ordinal, cell) = cell?;
            if let Some(at) = self.key.iter().position(|key| *key == ordinal) {
                found[at] = cell;
            }
            if ordinal >= last {
                break;
            }
        }
        found.into_iter().map(|cell| cell.ok_or_else(key_is_missing)).collect()
    }

    /// The stored cell of a key of one column, at `ordinal`.
    fn key_cell<'a>(&'a self, ordinal: usize, image: &'a RowImage) -> Result<&'a [u8]> {
        let cell = image.cells(&self.map, &self.columns).nth(ordinal).transpose()?;
        cell.and_then(|(_, cell)| cell).ok_or_else(key_is_missing)
    }
}

fn key_is_missing() -> Error {
    Error::stop("a key column is NULL or missing in a row event")
}

fn identity_of(cells: &[&[u8]]) -> Result<Identity> {
    let mut bytes = Vec::with_capacity(cells.iter().map(|cell| 4 + cell.len()).sum());
    for cell in cells {
        let length =
            u32::try_from(cell.len()).map_err(|_| Error::stop("a key cell is too long"))?;
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(cell);
    }
    Ok(Identity(bytes.into_boxed_slice()))
}

/// A key value as a literal that compares by the column's own rules.
fn push_key_literal(kind: &KeyKind, value: &Value<'_>, out: &mut Vec<u8>) -> Result<()> {
    match (kind, value) {
        (KeyKind::Binary(length), Value::Bytes(bytes)) => {
            let mut padded = bytes.to_vec();
            padded.resize((*length).max(bytes.len()), 0);
            push_hex(&padded, out);
        }
        (KeyKind::VarBinary, Value::Bytes(bytes)) => push_hex(bytes, out),
        (_, Value::Native(native)) => push_hex(native.as_bytes(), out),
        (KeyKind::Opaque { charset: Some(charset) }, Value::Bytes(bytes)) => {
            out.push(b'_');
            out.extend_from_slice(charset.as_bytes());
            out.push(b' ');
            push_hex(bytes, out);
        }
        (KeyKind::Bit, Value::Bit(bytes)) => {
            let number = bytes.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
            out.extend_from_slice(number.to_string().as_bytes());
        }
        (KeyKind::Decimal { .. }, Value::Text(text)) => out.extend_from_slice(text.as_bytes()),
        // Beside a number a SET counts as signed: its 64th member is the sign.
        (_, Value::Set(members)) => {
            out.extend_from_slice(members.cast_signed().to_string().as_bytes());
        }
        _ => value::push_literal(value, out)?,
    }
    Ok(())
}
