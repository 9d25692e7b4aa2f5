//! A row group in memory: the rows that are to be written, column by column. Bounded by its owner ([`Group::is_full`]).

use bytes::Bytes;
use parquet::basic::Type as Physical;
use parquet::data_type::{
    ByteArray, ByteArrayType, DoubleType, FixedLenByteArray, FixedLenByteArrayType, FloatType,
    Int32Type, Int64Type,
};
use parquet::file::writer::SerializedColumnWriter;
use parquet::schema::types::Type;
use shunt_engine::{Error, Result};

use super::convention::Cell;
use crate::limits;

/// Values of one column, without the NULLs.
#[derive(Debug)]
enum Values {
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Bytes { data: Vec<u8>, ends: Vec<usize>, fixed: bool },
}

/// One column of a row group.
#[derive(Debug)]
pub struct Column {
    values: Values,
    /// 1 for a value, 0 for NULL; none where the column is never NULL.
    levels: Option<Vec<i16>>,
}

impl Column {
    fn new(field: &Type) -> Result<Self> {
        let values = match field.get_physical_type() {
            Physical::INT32 => Values::Int32(Vec::new()),
            Physical::INT64 => Values::Int64(Vec::new()),
            Physical::FLOAT => Values::Float(Vec::new()),
            Physical::DOUBLE => Values::Double(Vec::new()),
            Physical::BYTE_ARRAY => {
                Values::Bytes { data: Vec::new(), ends: Vec::new(), fixed: false }
            }
            Physical::FIXED_LEN_BYTE_ARRAY => {
                Values::Bytes { data: Vec::new(), ends: Vec::new(), fixed: true }
            }
            other => return Err(Error::stop(format!("no column is written as {other}"))),
        };
        Ok(Self { values, levels: field.is_optional().then(Vec::new) })
    }

    /// Adds a value or NULL; false if the column cannot hold it.
    fn push(&mut self, cell: Option<&Cell>) -> bool {
        match (&mut self.levels, cell) {
            (None, None) => return false,
            (Some(levels), cell) => levels.push(i16::from(cell.is_some())),
            (None, Some(_)) => {}
        }
        let Some(cell) = cell else { return true };
        match (&mut self.values, cell) {
            (Values::Int32(values), Cell::Integer(number)) => {
                // What is unsigned keeps its 32 bits.
                let narrow = i32::try_from(*number)
                    .or_else(|_| u32::try_from(*number).map(u32::cast_signed));
                let Ok(narrow) = narrow else { return false };
                values.push(narrow);
            }
            (Values::Int64(values), Cell::Integer(number)) => values.push(*number),
            (Values::Float(values), Cell::Float(number)) => values.push(*number),
            (Values::Double(values), Cell::Double(number)) => values.push(*number),
            (Values::Bytes { data, ends, .. }, Cell::Bytes(bytes) | Cell::Odd(bytes)) => {
                data.extend_from_slice(bytes);
                ends.push(data.len());
            }
            _ => return false,
        }
        true
    }

    /// Writes all values.
    ///
    /// # Errors
    /// Of the file.
    pub fn write(self, writer: &mut SerializedColumnWriter<'_>) -> parquet::errors::Result<usize> {
        let levels = self.levels.as_deref();
        match self.values {
            Values::Int32(values) => writer.typed::<Int32Type>().write_batch(&values, levels, None),
            Values::Int64(values) => writer.typed::<Int64Type>().write_batch(&values, levels, None),
            Values::Float(values) => writer.typed::<FloatType>().write_batch(&values, levels, None),
            Values::Double(values) => {
                writer.typed::<DoubleType>().write_batch(&values, levels, None)
            }
            Values::Bytes { data, ends, fixed } => {
                let data = Bytes::from(data);
                let starts = std::iter::once(0).chain(ends.iter().copied());
                let arrays =
                    starts.zip(&ends).map(|(start, &end)| ByteArray::from(data.slice(start..end)));
                if fixed {
                    let values: Vec<FixedLenByteArray> = arrays.map(Into::into).collect();
                    writer.typed::<FixedLenByteArrayType>().write_batch(&values, levels, None)
                } else {
                    let values: Vec<ByteArray> = arrays.collect();
                    writer.typed::<ByteArrayType>().write_batch(&values, levels, None)
                }
            }
        }
    }
}

/// Rows that become a row group.
#[derive(Debug)]
pub struct Group {
    columns: Vec<Column>,
    rows: usize,
    bytes: usize,
}

impl Group {
    /// An empty one with the columns of a file.
    ///
    /// # Errors
    /// Stop if a column cannot be written.
    pub fn new(schema: &Type) -> Result<Self> {
        let columns = schema.get_fields().iter().map(|field| Column::new(field));
        Ok(Self { columns: columns.collect::<Result<_>>()?, rows: 0, bytes: 0 })
    }

    /// Adds a value to a column; each column gets one for each row. False if it cannot hold it.
    pub fn push(&mut self, column: usize, cell: Option<&Cell>) -> bool {
        self.bytes += match cell {
            Some(Cell::Bytes(bytes) | Cell::Odd(bytes)) => 8 + bytes.len(),
            _ => 8,
        };
        self.columns[column].push(cell)
    }

    /// A row is complete.
    pub fn end_row(&mut self) {
        self.rows += 1;
    }

    /// How many rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether it is to be written.
    pub fn is_full(&self) -> bool {
        self.rows >= limits::GROUP_ROWS_MAX || self.bytes >= limits::GROUP_BYTES_MAX
    }

    /// Its columns, in the file's order.
    pub fn into_columns(self) -> Vec<Column> {
        self.columns
    }
}
