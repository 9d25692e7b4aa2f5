//! The table plan: how one table's rows map from the source onto the target, and the statements that follow from it.
//!
//! Built once from the source's definition when a stream starts; the copier, the decoder of row events and the applier
//! all work from it. A [`Layout`] joins a plan with the table map of the binlog, which says how row images are stored.
//!
//! Invariants: columns that the server computes are not carried; every other column is, in the source's order.

mod bulk;
pub mod columns;
mod fits;
pub mod in_place;
mod layout;

use self::in_place::InPlace;
pub use self::layout::Layout;
use crate::error::{Error, Result};
use crate::key::{KeyColumn, KeyKind, KeyPlan, Place};
use crate::mysql::binlog::value::Native;
use crate::mysql::schema::{Column, Generated, TableSchema};
use crate::mysql::sql;
use crate::ranges::Bounds;

/// One carried column.
#[derive(Clone, Debug)]
pub struct PlanColumn {
    /// Its name, the same on both sides.
    pub name: String,
    /// Its position in the source table, as in row images.
    pub ordinal: usize,
    /// Whether it is an unsigned number: row images do not say.
    pub unsigned: bool,
    /// How it is read so that no bit is lost.
    pub read: Read,
}

/// The form in which a column is read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// As it stands.
    Plain,
    /// FLOAT and DOUBLE. The text protocol prints FLOAT with six digits, so they are widened to DOUBLE, which is printed
    /// exactly; a factor keeps the sign of -0.0, an addend would not.
    Widened,
    /// UUID, INET4 and INET6 of MariaDB, in so many bytes: a text that comes with the character set `binary` is taken for
    /// these bytes.
    Binary(u8),
    /// An ENUM or SET with an empty label, of which two values read like that label: the error value of an ENUM does, and a SET of
    /// the empty label alone reads like one of none. The value of this number is read as a text of so many letters, which is no label, so that the
    /// target refuses it: by its own text it would become the other one.
    Marked {
        /// The value that no text can tell.
        number: u64,
        /// More bytes than any label has.
        letters: usize,
    },
}

impl Read {
    fn of(column: &Column) -> Self {
        if let Some(marked) = Self::marked(column) {
            return marked;
        }
        match native(column) {
            _ if column.is_float() => Self::Widened,
            Some(_) if column.data_type == "inet4" => Self::Binary(4),
            Some(_) => Self::Binary(16),
            None => Self::Plain,
        }
    }

    fn marked(column: &Column) -> Option<Self> {
        let labels = column.enum_members();
        let empty = labels.iter().position(String::is_empty)?;
        let number = if column.data_type == "enum" { 0 } else { 1 << empty };
        let longest = labels.iter().map(|label| label.chars().count()).max()?;
        // A character has four bytes at most.
        Some(Self::Marked { number, letters: 4 * (longest + 1) })
    }
}

/// How one table is moved.
#[derive(Clone, Debug)]
pub struct TablePlan {
    /// The source's definition.
    pub source: TableSchema,
    /// The target's database; the table keeps its name.
    pub target_database: String,
    /// The carried columns, in the source's order.
    pub columns: Vec<PlanColumn>,
    /// What pages the table and tells its rows apart; none for a keyless table.
    pub key: Option<KeyPlan>,
    /// What may be set of a row that is updated; none if rows are always written whole.
    pub in_place: Option<InPlace>,
}

impl TablePlan {
    /// The plan for a table as the source defines it.
    pub fn new(source: TableSchema, target_database: &str) -> Self {
        let carried = |(ordinal, column): (usize, &Column)| {
            (column.generated == Generated::No).then(|| PlanColumn {
                name: column.name.clone(),
                ordinal,
                unsigned: column.unsigned(),
                read: Read::of(column),
            })
        };
        let columns: Vec<PlanColumn> =
            source.columns.iter().enumerate().filter_map(carried).collect();
        let key = source.identity().map(|key| KeyPlan {
            columns: key.parts.iter().map(|part| key_column(&source, part.column)).collect(),
            index: key.name.clone(),
        });
        let in_place = key.as_ref().and_then(|key| InPlace::of(&source, &columns, key));
        Self { columns, key, in_place, target_database: target_database.to_owned(), source }
    }

    /// The table's name.
    pub fn name(&self) -> &str {
        &self.source.name
    }

    /// The quoted name of the target table.
    pub fn target(&self) -> String {
        sql::qualified(&self.target_database, &self.source.name)
    }

    /// The query that reads a whole table without a key.
    pub fn whole_query(&self) -> String {
        let from = sql::qualified(&self.source.database, &self.source.name);
        format!("SELECT {} FROM {from}", self.select_list())
    }

    /// The query that reads a range in key order: the carried columns, then the key cells that differ from them.
    pub fn copy_query(&self, key: &KeyPlan, bounds: &Bounds<Place>, rows_max: u64) -> Vec<u8> {
        let mut out = b"SELECT ".to_vec();
        out.extend_from_slice(self.select_list().as_bytes());
        for column in key.columns.iter().filter(|column| differs(&column.kind)) {
            out.extend_from_slice(format!(", {}|0", sql::ident(&column.name)).as_bytes());
        }
        let from = sql::qualified(&self.source.database, &self.source.name);
        let index = sql::ident(&key.index);
        out.extend_from_slice(format!(" FROM {from} FORCE INDEX ({index})").as_bytes());
        if let Some(lower) = &bounds.lower {
            out.extend_from_slice(b" WHERE ");
            key.push_above(lower, &mut out);
        }
        if let Some(upper) = &bounds.upper {
            out.extend_from_slice(if bounds.lower.is_some() { b" AND " } else { b" WHERE " });
            key.push_up_to(upper, &mut out);
        }
        let order = key.order_list();
        out.extend_from_slice(format!(" ORDER BY {order} LIMIT {rows_max}").as_bytes());
        out
    }

    /// The carried columns as they are selected.
    pub fn select_list(&self) -> String {
        let expression = |column: &PlanColumn| {
            let name = sql::ident(&column.name);
            match column.read {
                Read::Plain => name,
                Read::Widened => format!("{name}*1E0"),
                Read::Binary(bytes) => format!("CAST({name} AS BINARY({bytes}))"),
                Read::Marked { number, letters } => {
                    let mark = sql::literal(&"x".repeat(letters));
                    format!("IF(CAST({name} AS UNSIGNED)={number},{mark},{name})")
                }
            }
        };
        self.columns.iter().map(expression).collect::<Vec<_>>().join(", ")
    }

    /// The carried columns' names.
    pub fn column_list(&self) -> String {
        sql::ident_list(self.columns.iter().map(|column| column.name.as_str()))
    }

    /// Where the key's cells stand in the rows that [`TablePlan::copy_query`] returns.
    ///
    /// # Errors
    /// Stop if the server computes a key column.
    pub fn key_positions(&self, key: &KeyPlan) -> Result<Vec<usize>> {
        let mut extra = self.columns.len();
        key.columns
            .iter()
            .map(|column| {
                if differs(&column.kind) {
                    extra += 1;
                    return Ok(extra - 1);
                }
                self.position(column)
            })
            .collect()
    }

    /// Where a key column stands among the carried ones.
    fn position(&self, column: &KeyColumn) -> Result<usize> {
        self.columns.iter().position(|carried| carried.ordinal == column.ordinal).ok_or_else(|| {
            let name = sql::ident(&column.name);
            Error::stop(format!(
                "key column {name} is computed by the server and cannot be carried"
            ))
        })
    }
}

/// Whether the key cell is not simply the column's text.
fn differs(kind: &KeyKind) -> bool {
    matches!(kind, KeyKind::Number | KeyKind::Bit)
}

fn key_column(table: &TableSchema, ordinal: usize) -> KeyColumn {
    let column = &table.columns[ordinal];
    KeyColumn { name: column.name.clone(), ordinal, kind: key_kind(column) }
}

fn key_kind(column: &Column) -> KeyKind {
    let length = || usize::try_from(column.binary_length().unwrap_or(0)).unwrap_or(0);
    match column.data_type.as_str() {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "year" => KeyKind::Integer,
        "bit" => KeyKind::Bit,
        "enum" | "set" => KeyKind::Number,
        "binary" => KeyKind::Binary(length()),
        "varbinary" => KeyKind::VarBinary,
        "decimal" => decimal_kind(&column.column_type),
        "date" | "datetime" | "timestamp" => KeyKind::Temporal,
        "time" => KeyKind::Time,
        "inet4" => KeyKind::Binary(4),
        "inet6" => KeyKind::Binary(16),
        // Read as bytes, but kept and ordered in another way.
        "uuid" => KeyKind::Opaque { charset: Some("binary".to_owned()) },
        _ => KeyKind::Opaque { charset: column.charset.clone() },
    }
}

/// `decimal(p,s)`: p − s digits stand before the point.
fn decimal_kind(column_type: &str) -> KeyKind {
    let inside = column_type.split(['(', ')']).nth(1).unwrap_or("10,0");
    let mut numbers = inside.split(',').map(|n| n.trim().parse::<usize>().unwrap_or(0));
    let (precision, scale) = (numbers.next().unwrap_or(10), numbers.next().unwrap_or(0));
    KeyKind::Decimal { integer: precision.saturating_sub(scale) }
}

fn native(column: &Column) -> Option<Native> {
    match column.data_type.as_str() {
        "uuid" => Some(Native::Uuid),
        "inet4" | "inet6" => Some(Native::Address),
        _ => None,
    }
}
