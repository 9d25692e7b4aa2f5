//! The columns of a file, as Parquet describes them: those of the table, then the companions of those that have one.

use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::schema::types::{Type, TypePtr};
use shunt_engine::Result;

use super::convention::{Convention, decimal_length};
use super::file::parquet_error;

/// A value of the file's own, beside the table's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileColumn {
    /// Its name.
    pub name: String,
    /// How its values stand.
    pub convention: Convention,
    /// Whether it may be NULL in the file.
    pub optional: bool,
    /// The name of its companion.
    pub companion: Option<String>,
}

/// The columns of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileSchema {
    /// In their order, without the companions.
    pub columns: Vec<FileColumn>,
}

impl FileSchema {
    /// Where the companion of a column stands among the file's columns.
    pub fn companion(&self, at: usize) -> Option<usize> {
        self.columns[at].companion.as_ref()?;
        let before = self.columns[..at].iter().filter(|column| column.companion.is_some()).count();
        Some(self.columns.len() + before)
    }

    /// As Parquet describes it.
    ///
    /// # Errors
    /// Stop if a type cannot be described.
    pub fn to_parquet(&self) -> Result<TypePtr> {
        let mut fields = Vec::new();
        for column in &self.columns {
            fields.push(field(&column.name, &column.convention, column.optional)?);
        }
        for column in &self.columns {
            if let Some(name) = &column.companion {
                fields.push(field(name, &Convention::Text, true)?);
            }
        }
        let root = Type::group_type_builder("schema").with_fields(fields).build();
        root.map(Arc::new).map_err(|error| parquet_error(error, "describe the columns"))
    }
}

fn field(name: &str, convention: &Convention, optional: bool) -> Result<TypePtr> {
    let repetition = if optional { Repetition::OPTIONAL } else { Repetition::REQUIRED };
    let (physical, logical) = types(convention);
    let mut builder = Type::primitive_type_builder(name, physical)
        .with_repetition(repetition)
        .with_logical_type(logical);
    if let Some(length) = fixed_length(convention) {
        builder = builder.with_length(i32::try_from(length).unwrap_or(16));
    }
    if let Convention::Decimal { precision, scale } = convention {
        let digits = |number: u32| i32::try_from(number).unwrap_or(0);
        builder = builder.with_precision(digits(*precision)).with_scale(digits(*scale));
    }
    let built = builder.build();
    built.map(Arc::new).map_err(|error| parquet_error(error, "describe a column"))
}

/// Bytes of a value, where all have the same.
fn fixed_length(convention: &Convention) -> Option<usize> {
    match convention {
        Convention::Decimal { precision, .. } => Some(decimal_length(*precision)),
        Convention::Uuid => Some(16),
        _ => None,
    }
}

fn types(convention: &Convention) -> (Physical, Option<LogicalType>) {
    let micros = |utc| LogicalType::timestamp(utc, TimeUnit::MICROS);
    match convention {
        Convention::Integer { bits: 64, signed } => {
            (Physical::INT64, (!signed).then(|| LogicalType::integer(64, false)))
        }
        Convention::Integer { bits, signed } => {
            let bits = i8::try_from(*bits).unwrap_or(32);
            (Physical::INT32, Some(LogicalType::integer(bits, *signed)))
        }
        Convention::Float => (Physical::FLOAT, None),
        Convention::Double => (Physical::DOUBLE, None),
        Convention::Decimal { precision, scale } => {
            let digits = |number: u32| i32::try_from(number).unwrap_or(0);
            let logical = LogicalType::decimal(digits(*scale), digits(*precision));
            (Physical::FIXED_LEN_BYTE_ARRAY, Some(logical))
        }
        Convention::Date => (Physical::INT32, Some(LogicalType::Date)),
        Convention::Moment { utc, .. } => (Physical::INT64, Some(micros(*utc))),
        Convention::Time { .. } => (Physical::INT64, None),
        Convention::Uuid => (Physical::FIXED_LEN_BYTE_ARRAY, Some(LogicalType::Uuid)),
        Convention::Bytes => (Physical::BYTE_ARRAY, None),
        Convention::Digits
        | Convention::Label(_)
        | Convention::Labels(_)
        | Convention::Text
        | Convention::Inet4
        | Convention::Inet6 => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
    }
}
