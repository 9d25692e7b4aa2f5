//! A table's definition as a live server states it: columns, keys, foreign keys, and the key that rows are told apart by.
//!
//! [`read_table`] reads it over a control connection, from `information_schema` where that has one form on all servers
//! and from `SHOW CREATE TABLE` (taken apart by [`definition`]) where privileges or versions make `information_schema`
//! say less. Above it stand the preflight, the target's definition (`target_ddl`), the table plans and the decoder of
//! row images.
//!
//! Invariants:
//! - `columns` are in the table's own order, which is that of the binlog's row images; none is left out, invisible and
//!   generated ones included.
//! - [`TableSchema::identity`] is a key that no two rows share and whose columns are never NULL, or none.
//! - Two tables with the same fingerprint are copied and decoded alike. The fingerprint is read by SQL that any
//!   connection can run, so that it can be taken again inside a snapshot.

pub mod definition;
mod fingerprint;
mod read;

pub use definition::{Definition, ForeignKey};
pub use fingerprint::{fingerprint_of, fingerprint_query};
pub use read::{FENCE_TRIGGER_PREFIX, TableKind, list_tables, read_table, read_table_settled};

use crate::mysql::names::lowered;
use definition::split_strings;

/// One table of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableSchema {
    /// The database, as the server spells it.
    pub database: String,
    /// The table, as the server spells it.
    pub name: String,
    /// The storage engine, e.g. `InnoDB`.
    pub engine: String,
    /// The row format in force, e.g. `Dynamic`.
    pub row_format: Option<String>,
    /// The table's default collation.
    pub collation: Option<String>,
    /// What `SHOW CREATE TABLE` answers.
    pub create_sql: String,
    /// All columns in the table's order.
    pub columns: Vec<Column>,
    /// All keys, the primary key first.
    pub keys: Vec<Key>,
    /// The foreign keys of which this table is the child.
    pub foreign_keys: Vec<ForeignKey>,
    /// Names of the triggers on it, as far as the account may see them.
    pub triggers: Vec<String>,
    /// Whether it has partitions.
    pub partitioned: bool,
    /// Rows, as the engine estimates them.
    pub rows_estimate: u64,
    /// Bytes of the rows (of the clustered index), as the engine estimates them.
    pub data_bytes: u64,
    /// The next AUTO_INCREMENT value, where one was used.
    pub auto_increment: Option<u64>,
    /// Whether MariaDB keeps old row versions in it.
    pub system_versioned: bool,
    /// Whether a key of it admits no periods that overlap (MariaDB).
    pub without_overlaps: bool,
    /// See [`TableSchema::fingerprint`].
    pub fingerprint: String,
}

/// One column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The type's word in lower case, e.g. `bigint`.
    pub data_type: String,
    /// The whole type, e.g. `bigint(20) unsigned`.
    pub column_type: String,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// Its character set; none for numbers, times and binary types.
    pub charset: Option<String>,
    /// Its collation; none for numbers, times and binary types.
    pub collation: Option<String>,
    /// Whether the server computes its value.
    pub generated: Generated,
    /// Whether `SELECT *` leaves it out.
    pub invisible: bool,
    /// Whether it is the AUTO_INCREMENT column.
    pub auto_increment: bool,
    /// Whether an update of the row sets it to the time.
    pub on_update: bool,
    /// Whether it has a default other than NULL.
    pub has_default: bool,
    /// Its default where that is a constant, as the server lists it; none for NULL and for what is computed.
    pub default_constant: Option<String>,
    /// Whether MariaDB stores it compressed.
    pub compressed: bool,
}

/// Character sets all of whose values utf8mb3 shows.
const WITHIN_UTF8MB3: [&str; 4] = ["latin1", "ucs2", "utf8", "utf8mb3"];

/// Whether and how the server computes a column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Generated {
    /// An ordinary column.
    #[default]
    No,
    /// Computed when read.
    Virtual,
    /// Computed when written, and stored.
    Stored,
}

/// What a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// The primary key.
    Primary,
    /// Another unique key.
    Unique,
    /// An ordinary secondary key.
    Index,
    /// Words of a text.
    Fulltext,
    /// An R-tree over geometry.
    Spatial,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name; `PRIMARY` for the primary key.
    pub name: String,
    /// What it is.
    pub kind: KeyKind,
    /// Its columns in order. A part over an expression has none; then `usable` is false.
    pub parts: Vec<KeyPart>,
    /// Whether it is ordered (a B-tree), rather than hashed.
    pub btree: bool,
    /// Whether the optimizer may use it and all of its parts are columns.
    pub usable: bool,
}

/// One column of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPart {
    /// Index into [`TableSchema::columns`].
    pub column: usize,
    /// Where only the first characters or bytes are in the key: how many.
    pub prefix: Option<u32>,
    /// Whether the index runs from high to low.
    pub descending: bool,
}

impl TableSchema {
    /// The key that tells rows apart and orders the copy: the primary key, else the best unique key whose columns are
    /// never NULL, else none.
    pub fn identity(&self) -> Option<&Key> {
        let fit = |key: &&Key| self.is_fit_as_identity(key);
        let primary = self.keys.iter().find(|key| key.kind == KeyKind::Primary).filter(fit);
        let unique = || {
            let unique = self.keys.iter().filter(|key| key.kind == KeyKind::Unique).filter(fit);
            // The first of equals, so that source and target choose alike.
            unique.min_by_key(|key| self.cost_as_identity(key))
        };
        primary.or_else(unique)
    }

    /// A unique key that the server checks by a hash of its columns, as MariaDB does for TEXT and BLOB, for what is too
    /// long for an index, and where `USING HASH` is said. The hash is a hidden column, which row images contain and no
    /// definition shows.
    pub fn hashed_key(&self) -> Option<&Key> {
        self.keys.iter().find(|key| key.kind == KeyKind::Unique && !key.btree)
    }

    /// Whether the server computes a column.
    pub fn computes(&self) -> bool {
        self.columns.iter().any(|column| column.generated != Generated::No)
    }

    /// The columns of the identity key, in the key's order; empty where there is none.
    pub fn identity_columns(&self) -> Vec<usize> {
        self.identity().map_or_else(Vec::new, |key| key.parts.iter().map(|p| p.column).collect())
    }

    /// The index of the column of this name. Column names do not differ by case only.
    pub fn column_index(&self, name: &str) -> Option<usize> {
        let name = lowered(name);
        self.columns.iter().position(|column| lowered(&column.name) == name)
    }

    /// A stable text of what matters for copying and decoding: the columns in order with type, charset, collation,
    /// nullability and how they are generated, and the identity key. Comments, the AUTO_INCREMENT counter and row
    /// counts are not in it.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The query whose rows, given to [`fingerprint_of`], are this table's fingerprint now.
    pub fn fingerprint_query(&self) -> String {
        let identity = self.identity().map(|key| key.name.as_str());
        fingerprint_query(&self.database, &self.name, identity)
    }

    fn is_fit_as_identity(&self, key: &Key) -> bool {
        let fit = |part: &KeyPart| {
            let column = self.columns.get(part.column);
            part.prefix.is_none()
                && column.is_some_and(|c| !c.nullable && c.generated != Generated::Virtual)
        };
        key.btree && key.usable && !key.parts.is_empty() && key.parts.iter().all(fit)
    }

    /// Lower is better: keys whose order we know without asking the server first, then the narrower ones.
    fn cost_as_identity(&self, key: &Key) -> (u32, u64) {
        let columns = || key.parts.iter().filter_map(|part| self.columns.get(part.column));
        let worst = columns().map(Column::order_cost).max().unwrap_or(u32::MAX);
        (worst, columns().map(Column::key_bytes).sum())
    }
}

impl Column {
    /// Whether it is an unsigned number.
    pub fn unsigned(&self) -> bool {
        self.type_words().any(|word| word == "unsigned" || word == "zerofill")
    }

    /// FLOAT or DOUBLE.
    pub fn is_float(&self) -> bool {
        matches!(self.data_type.as_str(), "float" | "double" | "real")
    }

    /// A whole number of any size, BIT not included.
    pub fn is_integer(&self) -> bool {
        matches!(self.data_type.as_str(), "tinyint" | "smallint" | "mediumint" | "int" | "bigint")
    }

    /// Whether it holds characters, which a collation orders.
    pub fn is_text(&self) -> bool {
        self.collation.as_deref().is_some_and(|collation| collation != "binary")
            && !matches!(self.data_type.as_str(), "enum" | "set")
    }

    /// The labels of an ENUM or SET, in their order; empty for any other type.
    pub fn enum_members(&self) -> Vec<String> {
        match (self.data_type.as_str(), self.column_type.find('(')) {
            ("enum" | "set", Some(open)) => split_strings(&self.column_type[open..]),
            _ => Vec::new(),
        }
    }

    /// Whether its ENUM or SET labels may be others than those listed. Servers list definitions in utf8mb3, with a question mark for
    /// what that has not: characters beyond the basic plane, bytes that are no characters.
    pub fn labels_are_hidden(&self) -> bool {
        self.may_be_beyond_utf8mb3() && self.enum_members().iter().any(|l| l.contains('?'))
    }

    /// The same of its default.
    pub fn default_is_hidden(&self) -> bool {
        self.may_be_beyond_utf8mb3()
            && self.default_constant.as_ref().is_some_and(|text| text.contains('?'))
    }

    fn may_be_beyond_utf8mb3(&self) -> bool {
        // The collation stays what it was where an archive has texts in another character set.
        let named = self.collation.as_deref().or(self.charset.as_deref());
        let charset = named.map(|named| named.split('_').next().unwrap_or(named));
        let has_bytes =
            || matches!(self.data_type.as_str(), "binary" | "varbinary" | "enum" | "set");
        charset.map_or_else(has_bytes, |name| !WITHIN_UTF8MB3.contains(&name))
    }

    /// The declared number of characters of CHAR or VARCHAR.
    pub fn char_length(&self) -> Option<u32> {
        matches!(self.data_type.as_str(), "char" | "varchar").then(|| self.type_number()).flatten()
    }

    /// The declared number of bytes of BINARY or VARBINARY.
    pub fn binary_length(&self) -> Option<u32> {
        matches!(self.data_type.as_str(), "binary" | "varbinary")
            .then(|| self.type_number())
            .flatten()
    }

    /// Digits after the second of TIME, DATETIME and TIMESTAMP; zero for anything else.
    pub fn fsp(&self) -> u32 {
        match self.data_type.as_str() {
            "time" | "datetime" | "timestamp" => self.type_number().unwrap_or(0),
            _ => 0,
        }
    }

    /// The declared digits of DECIMAL, FLOAT or DOUBLE: how many in all, and how many of them behind the point.
    pub fn digits(&self) -> Option<(u32, u32)> {
        let is_number = self.is_float() || self.data_type == "decimal";
        let inside = &self.column_type[self.column_type.find('(')? + 1..];
        let (all, behind) = inside.split(')').next()?.split_once(',')?;
        is_number.then_some((all.trim().parse().ok()?, behind.trim().parse().ok()?))
    }

    /// The first number in the type's parentheses.
    fn type_number(&self) -> Option<u32> {
        let inside = &self.column_type[self.column_type.find('(')? + 1..];
        inside.split([',', ')']).next()?.trim().parse().ok()
    }

    /// The words of the type outside parentheses, so that no ENUM label is taken for one.
    fn type_words(&self) -> impl Iterator<Item = &str> {
        let after = match self.column_type.rfind(')') {
            Some(close) => &self.column_type[close + 1..],
            None => &self.column_type,
        };
        after.split_whitespace()
    }

    /// Types whose order is known here come before those that only the server can compare; floating numbers, whose
    /// text is not exact, come last.
    fn order_cost(&self) -> u32 {
        match self.data_type.as_str() {
            "float" | "double" | "real" => 4,
            "json" | "vector" => 5,
            "inet4" | "inet6" | "uuid" => 2,
            _ if self.is_text() => 3,
            "enum" | "set" | "bit" => 1,
            _ => 0,
        }
    }

    /// Bytes that a value takes in a key, at most; roughly.
    fn key_bytes(&self) -> u64 {
        match self.data_type.as_str() {
            "tinyint" | "year" => 1,
            "smallint" | "enum" => 2,
            "mediumint" | "date" => 3,
            "int" | "float" | "inet4" => 4,
            "bigint" | "double" | "datetime" | "timestamp" | "time" | "bit" | "set" => 8,
            "decimal" | "inet6" | "uuid" => 16,
            "char" | "varchar" => 4 * u64::from(self.type_number().unwrap_or(255)),
            _ => u64::from(self.type_number().unwrap_or(1024)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_mark_hides_a_label_where_utf8mb3_lacks_characters() {
        for (data_type, column_type, collation, hidden) in [
            ("enum", "enum('?','b')", Some("utf8mb4_general_ci"), true),
            ("set", "set('a','x?')", Some("utf16_bin"), true),
            ("enum", "enum('?')", Some("binary"), true),
            ("enum", "enum('?')", None, true),
            ("enum", "enum('?')", Some("cp1251_bin"), true),
            ("enum", "enum('?')", Some("latin1_swedish_ci"), false),
            ("enum", "enum('?')", Some("utf8_bin"), false),
            ("enum", "enum('a','ä')", Some("utf8mb4_bin"), false),
            ("varchar", "varchar(9)", Some("utf8mb4_bin"), false),
        ] {
            let column = Column {
                data_type: data_type.to_owned(),
                column_type: column_type.to_owned(),
                collation: collation.map(str::to_owned),
                ..Column::default()
            };
            assert_eq!(column.labels_are_hidden(), hidden, "{column_type} {collation:?}");
        }
    }
}
