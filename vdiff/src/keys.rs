//! Whether a pair's rows are told apart by the source's key, and how two keys are found to be the same. Pure.
//!
//! # When rows are counted instead
//! Keys are looked up, and each stands for one row of each side. That is only so where the printed key names one row on both:
//! - the source's key is printed as a literal that names its value ([`crate::columns`]). The number of a SET's 64th member is none:
//!   servers compare it as a negative one;
//! - **the target has a unique key of its own, never NULL, over some of the same columns**. Without it a row that is there twice
//!   could not be told from one, and one with a NULL would be in no range at all.
//!
//! A pair of which that does not hold is compared like one without a key: whole rows are counted ([`crate::keyless`]), which needs no
//! key on any side.
//!
//! Then the printed keys of the target are all different, whatever its collation (values that a unique key admits differ by it, so
//! by their bytes). Let a range have as many rows on both sides and the same exclusive or. The target's rows are a set T; of the source's
//! rows those that come an odd number of times are T as well (but for the checksum's chance), and there are as many rows as T has: so each
//! comes once, and the sides are equal. A conversion that makes one key of two on the source is therefore never taken for equality; it is
//! found when the range is read by rows, and refused.
//!
//! # Which rows are a pair
//! Rows with the same bytes in the key are a pair. Where every key column has the same collation on both sides, so are two rows whose keys
//! are equal under it: there is at most one on each side, since both keys are unique. Where a collation differs, 'a' on the source may
//! have both 'a' and 'A' beside it on the target; there only the bytes count, and the report says so.

use shunt_engine::Error;
use shunt_engine::Result;
use shunt_engine::key::{KeyKind, KeyPlan};
use shunt_engine::mysql::schema::{Column, Key, KeyKind as Kind, TableSchema};
use shunt_engine::mysql::sql;
use shunt_engine::plan::TablePlan;

use crate::columns::labels::SET_MAX;
use crate::columns::numbers::digits_before_point;
use crate::columns::{Compared, charset_name};

/// ER_INVALID_CHARACTER_STRING.
const INVALID_STRING: u16 = 1300;

/// Why rows are not told apart by the key; none if they are. `columns` are those compared, by their place in the source.
pub(crate) fn why_counted(
    plan: &TablePlan,
    target: &TableSchema,
    columns: &[(usize, Compared)],
) -> Option<String> {
    let Some(key) = &plan.key else { return Some("without a key".into()) };
    let mut names = Vec::new();
    let there = |compared: &Compared| {
        target.column_index(&compared.target_name).map(|at| &target.columns[at])
    };
    for column in &key.columns {
        let Some((_, compared)) = columns.iter().find(|(at, _)| *at == column.ordinal) else {
            return Some(format!("key column {} is computed by the server", column.name));
        };
        // FLOAT is printed and compared inexactly.
        let here = &plan.source.columns[column.ordinal];
        if here.data_type == "float" {
            return Some(format!("key column {} is a FLOAT", column.name));
        }
        if is_full_set(here) || there(compared).is_some_and(is_full_set) {
            return Some(format!("key column {} is a SET of 64 members", column.name));
        }
        if !compared.names_key {
            return Some(format!("key column {} is of another type on the target", column.name));
        }
        names.push(compared.target_name.as_str());
    }
    let own = target.keys.iter().any(|key| names_rows(target, key, &names));
    (!own).then(|| "the target has no unique key, never NULL, on the source's key columns".into())
}

fn is_full_set(column: &Column) -> bool {
    column.data_type == "set" && column.enum_members().len() >= SET_MAX
}

/// Whether no two rows of a table are alike in these columns, because of this key.
fn names_rows(table: &TableSchema, key: &Key, columns: &[&str]) -> bool {
    let unique = matches!(key.kind, Kind::Primary | Kind::Unique) && key.usable;
    let within = |at: usize| {
        let column = table.columns.get(at);
        column.is_some_and(|column| {
            !column.nullable && columns.iter().any(|name| name.eq_ignore_ascii_case(&column.name))
        })
    };
    let parts = &key.parts;
    unique
        && !parts.is_empty()
        && parts.iter().all(|part| part.prefix.is_none() && within(part.column))
}

/// The first key column whose collation differs, with both.
pub(crate) fn other_collation(
    source: &TableSchema,
    target: &TableSchema,
    columns: &[Compared],
) -> Option<String> {
    let column = |table: &TableSchema, name: &str| -> Option<Column> {
        table.column_index(name).map(|at| table.columns[at].clone())
    };
    columns.iter().find_map(|compared| {
        let here = column(source, &compared.source_name)?;
        let there = column(target, &compared.target_name)?;
        let (here, there) = (collation(&here), collation(&there));
        (here != there).then(|| {
            format!(
                "{}: {here} on the source and {there} on the target tell keys apart differently; rows are paired byte by byte",
                compared.source_name
            )
        })
    })
}

fn collation(column: &Column) -> String {
    let name = column.collation.as_deref().filter(|_| column.is_text()).unwrap_or("binary");
    match name.strip_prefix("utf8_") {
        Some(rest) => format!("utf8mb3_{rest}"),
        None => name.to_owned(),
    }
}

/// The key as each side orders it. Its cells are the same text on both: what the target's column prints.
pub(crate) fn of_sides(
    mut source: KeyPlan,
    columns: &[Compared],
    schema: &TableSchema,
) -> Result<(KeyPlan, KeyPlan)> {
    let mut target = source.clone();
    let mut ordinals = Vec::new();
    let there = TablePlan::new(schema.clone(), "");
    for (at, column) in columns.iter().enumerate() {
        let ordinal = schema.column_index(&column.target_name);
        let ordinal =
            ordinal.ok_or_else(|| Error::stop("a compared column is not in its table"))?;
        ordinals.push(ordinal);
        let kind = there.key.as_ref().and_then(|key| {
            key.columns.iter().find(|c| c.ordinal == ordinal).map(|c| c.kind.clone())
        });
        if let (KeyKind::Opaque { charset }, Some(KeyKind::Opaque { charset: Some(name) })) =
            (&mut source.columns[at].kind, &kind)
            && charset.as_deref().map(charset_name) != Some(charset_name(name))
        {
            *charset = Some(name.clone());
        }
        // Either side may have the longer numbers.
        if let KeyKind::Decimal { integer } = &mut source.columns[at].kind {
            *integer = (*integer).max(digits_before_point(&schema.columns[ordinal]));
        }
        target.columns[at].kind = source.columns[at].kind.clone();
        target.columns[at].name.clone_from(&column.target_name);
        target.columns[at].ordinal = ordinal;
    }
    let same = schema.identity().filter(|_| schema.identity_columns() == ordinals);
    target.index = same.map(|key| key.name.clone()).unwrap_or_default();
    Ok((source, target))
}

/// The error of a statement with a key that was marked as lost: not every character set takes the mark for characters.
pub(crate) fn explained(error: Error, table: &str) -> Error {
    if error.server_code() != Some(INVALID_STRING) {
        return error;
    }
    Error::stop(format!(
        "a key of table {} has bytes that are no characters of the target's character set",
        sql::ident(table)
    ))
    .advice("Mend the rows whose key is not of its own character set, or leave the table out.")
}

/// Two rows of one side that print the same key.
pub(crate) fn twice(table: &str, side: &str) -> Error {
    Error::stop(format!(
        "two rows of table {} on the {side} have the same key once it is printed alike on both sides",
        sql::ident(table)
    ))
    .advice("Does the target's key hold less than the source's (another character set)? Give it the source's type.")
}

#[cfg(test)]
mod tests {
    use shunt_engine::mysql::schema::KeyPart;

    use super::*;

    fn table(nullable: bool, prefix: Option<u32>, kind: Kind) -> TableSchema {
        let column = |name: &str| Column { name: name.into(), nullable, ..Column::default() };
        let parts = vec![KeyPart { column: 0, prefix, descending: false }];
        TableSchema {
            columns: vec![column("a"), column("b")],
            keys: vec![Key { name: "k".into(), kind, parts, btree: true, usable: true }],
            ..TableSchema::default()
        }
    }

    #[test]
    fn a_key_that_admits_two_rows_names_none() {
        let names =
            |table: TableSchema, columns: &[&str]| names_rows(&table, &table.keys[0], columns);
        assert!(names(table(false, None, Kind::Unique), &["A", "b"]));
        assert!(!names(table(false, None, Kind::Unique), &["b"]));
        assert!(!names(table(true, None, Kind::Unique), &["a"]));
        assert!(!names(table(false, Some(3), Kind::Primary), &["a"]));
        assert!(!names(table(false, None, Kind::Index), &["a"]));
    }
}
