//! What an archive says about itself: the file's key-value metadata.
//!
//! Keys begin with `shunt.`; all values are text, lists are JSON. [`Meta::schema`] makes of it the definition of a table whose values are
//! the archive's, which a live table is then paired with.

use serde::{Deserialize, Serialize};
use shunt_engine::mysql::names::lowered;
use shunt_engine::mysql::schema::{Column, Generated, Key, KeyKind, KeyPart, TableSchema};
use shunt_engine::{Error, Result};

use super::convention::Convention;

/// The layout of archives; another one is not read.
pub const FORMAT: &str = "1";

/// Key of the layout, which says that a file is an archive.
const FORMAT_KEY: &str = "shunt.archive";

/// A column of an archived table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedColumn {
    /// Its name.
    pub name: String,
    /// The type's word in lower case.
    pub data_type: String,
    /// The whole type.
    pub column_type: String,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// The character set in which its text is compared with the archive: a UTF-8 one.
    pub charset: Option<String>,
    /// The column's collation on the server.
    pub collation: Option<String>,
    /// How its values stand in the file, in words.
    pub convention: String,
    /// The name of its companion in the file, for types that have one.
    pub companion: Option<String>,
}

impl ArchivedColumn {
    /// As a column of a table.
    pub fn as_column(&self) -> Column {
        Column {
            name: self.name.clone(),
            data_type: self.data_type.clone(),
            column_type: self.column_type.clone(),
            nullable: self.nullable,
            charset: self.charset.clone(),
            collation: self.collation.clone(),
            ..Column::default()
        }
    }
}

/// What an archive says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// The version of shunt that wrote it.
    pub version: String,
    /// The position that the rows are of, exactly.
    pub gtid: String,
    /// Who the server is.
    pub server: String,
    /// When, in UTC.
    pub taken_at: String,
    /// The database.
    pub database: String,
    /// The table.
    pub table: String,
    /// What `SHOW CREATE TABLE` answered.
    pub create_table: String,
    /// Its columns, in their order.
    pub columns: Vec<ArchivedColumn>,
    /// The columns of the key that orders the rows; none for a table without one.
    pub key: Vec<String>,
}

impl Meta {
    /// As keys and values.
    ///
    /// # Errors
    /// Stop if it cannot be written as text.
    pub fn to_pairs(&self) -> Result<Vec<(String, String)>> {
        let json = |text: serde_json::Result<String>| {
            text.map_err(|error| Error::stop("write an archive's metadata").source(error))
        };
        let columns = json(serde_json::to_string(&self.columns))?;
        let key = json(serde_json::to_string(&self.key))?;
        let pairs = [
            (FORMAT_KEY, FORMAT),
            ("shunt.version", &self.version),
            ("shunt.gtid", &self.gtid),
            ("shunt.server", &self.server),
            ("shunt.taken_at", &self.taken_at),
            ("shunt.database", &self.database),
            ("shunt.table", &self.table),
            ("shunt.create_table", &self.create_table),
            ("shunt.columns", &columns),
            ("shunt.key", &key),
        ];
        Ok(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into())
    }

    /// From the keys and values of a file.
    ///
    /// # Errors
    /// Usage if they are not those of an archive that is understood.
    pub fn from_pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let pairs: std::collections::HashMap<&str, &str> = pairs.collect();
        match pairs.get(FORMAT_KEY) {
            None => return Err(Error::usage("it is no archive of shunt")),
            Some(&FORMAT) => {}
            Some(other) => {
                return Err(Error::usage(format!(
                    "its layout is {other}, and {FORMAT} is what this shunt reads"
                )));
            }
        }
        let text = |key: &str| {
            let value = pairs.get(key).copied().map(str::to_owned);
            value.ok_or_else(|| Error::usage(format!("it does not say its {key}")))
        };
        let bad = |error| Error::usage("its metadata is not understood").source(error);
        let columns: Vec<ArchivedColumn> =
            serde_json::from_str(&text("shunt.columns")?).map_err(bad)?;
        // These words come to stand in statements, and a file may come from anywhere.
        let words = |column: &ArchivedColumn| {
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let words =
                [Some(&column.data_type), column.charset.as_ref(), column.collation.as_ref()];
            words.into_iter().flatten().all(|word| word.chars().all(is_word))
        };
        if let Some(column) = columns.iter().find(|column| !words(column)) {
            return Err(Error::usage(format!(
                "its metadata names a type or character set of column {:?} that cannot be one",
                column.name
            )));
        }
        if let Some(column) = columns.iter().find(|column| !is_type(&column.as_column())) {
            return Err(Error::usage(format!(
                "its metadata gives column {:?} a type that cannot be one: {:.80?}",
                column.name, column.column_type
            )));
        }
        Ok(Self {
            version: text("shunt.version")?,
            gtid: text("shunt.gtid")?,
            server: text("shunt.server")?,
            taken_at: text("shunt.taken_at")?,
            database: text("shunt.database")?,
            table: text("shunt.table")?,
            create_table: text("shunt.create_table")?,
            columns,
            key: serde_json::from_str(&text("shunt.key")?).map_err(bad)?,
        })
    }

    /// Whether a file's columns are the ones that are told of: those of the table in their order, then the companions.
    ///
    /// # Errors
    /// Usage if not.
    pub fn check_columns<'a>(&self, file: impl Iterator<Item = &'a str>) -> Result<()> {
        let file: Vec<&str> = file.collect();
        let own = self.columns.iter().map(|column| column.name.as_str());
        let companions = self.columns.iter().filter_map(|column| column.companion.as_deref());
        if own.chain(companions).eq(file.iter().copied()) {
            return Ok(());
        }
        Err(Error::usage(format!(
            "its metadata tells of other columns than it has: {}",
            file.join(", ")
        )))
    }

    /// Where the column of this name stands.
    ///
    /// # Errors
    /// Stop if there is none.
    pub fn column_index(&self, name: &str) -> Result<usize> {
        let found = self.columns.iter().position(|column| column.name == name);
        found.ok_or_else(|| Error::stop("a compared column is not in the archive"))
    }

    /// The definition of a table whose values are the archive's.
    ///
    /// # Errors
    /// Usage if the key names a column that is not there.
    pub fn schema(&self) -> Result<TableSchema> {
        let mut schema = TableSchema {
            database: self.database.clone(),
            name: self.table.clone(),
            columns: self.columns.iter().map(ArchivedColumn::as_column).collect(),
            ..TableSchema::default()
        };
        let part = |name: &String| {
            let column = schema.column_index(name);
            let column = column.ok_or_else(|| Error::usage("its key is not among its columns"))?;
            Ok(KeyPart { column, prefix: None, descending: false })
        };
        let parts: Vec<KeyPart> = self.key.iter().map(part).collect::<Result<_>>()?;
        if !parts.is_empty() {
            schema.keys.push(Key {
                name: "PRIMARY".into(),
                kind: KeyKind::Primary,
                parts,
                btree: true,
                usable: true,
            });
        }
        Ok(schema)
    }
}

/// Whether what the type says in numbers can be.
fn is_type(column: &Column) -> bool {
    let numbers = || {
        let inside = column.column_type.split(['(', ')']).nth(1).unwrap_or("0");
        let numbers: Option<Vec<u32>> =
            inside.split(',').map(|number| number.trim().parse().ok()).collect();
        numbers.unwrap_or_else(|| vec![u32::MAX])
    };
    match column.data_type.as_str() {
        "time" | "datetime" | "timestamp" => matches!(numbers()[..], [0..=6]),
        "decimal" => match numbers()[..] {
            [precision] => precision <= 65,
            [precision, scale] => precision <= 65 && scale <= 38 && scale <= precision,
            _ => false,
        },
        "bit" => matches!(numbers()[..], [0..=64]),
        "binary" => matches!(numbers()[..], [0..=255]),
        "varbinary" => matches!(numbers()[..], [0..=65_535]),
        "set" => (1..=64).contains(&column.enum_members().len()),
        "enum" => (1..=65_535).contains(&column.enum_members().len()),
        _ => true,
    }
}

/// The columns of a live table as they are archived: those that the server does not compute, with their text in UTF-8.
pub fn columns(schema: &TableSchema) -> Vec<ArchivedColumn> {
    let mut taken: Vec<String> = schema.columns.iter().map(|c| lowered(&c.name)).collect();
    let mut archived = Vec::new();
    for column in schema.columns.iter().filter(|column| column.generated == Generated::No) {
        let convention = Convention::of(column, true);
        let companion = convention.has_companion().then(|| {
            let mut name = format!("{}__text", column.name);
            while taken.contains(&lowered(&name)) {
                name.push('_');
            }
            taken.push(lowered(&name));
            name
        });
        archived.push(ArchivedColumn {
            name: column.name.clone(),
            data_type: column.data_type.clone(),
            column_type: column.column_type.clone(),
            nullable: column.nullable,
            charset: column.charset.as_deref().map(utf8_charset),
            collation: column.collation.clone(),
            convention: convention.describe(),
            companion,
        });
    }
    archived
}

/// UTF-8 and what is part of it stay as they are, so that no server converts what it might not convert back.
fn utf8_charset(charset: &str) -> String {
    let stays = matches!(charset, "utf8" | "utf8mb3" | "utf8mb4" | "ascii" | "binary");
    if stays { charset.to_owned() } else { "utf8mb4".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_knows_itself_again() {
        let column = |name: &str, data_type: &str| Column {
            name: name.into(),
            data_type: data_type.into(),
            column_type: data_type.into(),
            charset: (data_type == "varchar").then(|| "latin1".into()),
            ..Column::default()
        };
        let columns_of = vec![column("d", "date"), column("D__TEXT", "varchar")];
        let schema = TableSchema { columns: columns_of, ..TableSchema::default() };
        let meta = Meta {
            gtid: "0-1-7".into(),
            table: "t".into(),
            columns: columns(&schema),
            key: vec!["d".into()],
            ..Meta::default()
        };
        assert_eq!(meta.columns[0].companion.as_deref(), Some("d__text_"));
        assert_eq!(meta.columns[1].charset.as_deref(), Some("utf8mb4"));
        let pairs = meta.to_pairs().unwrap();
        let again = Meta::from_pairs(pairs.iter().map(|(key, value)| (&**key, &**value))).unwrap();
        assert_eq!(again, meta);
        assert_eq!(again.schema().unwrap().identity_columns(), [0]);
        let mut forged = meta.clone();
        forged.columns[1].charset = Some("utf8mb4) FROM t INTO OUTFILE '/tmp/x' --".into());
        let pairs = forged.to_pairs().unwrap();
        let refused = Meta::from_pairs(pairs.iter().map(|(key, value)| (&**key, &**value)));
        assert!(refused.unwrap_err().to_string().contains("D__TEXT"));
        assert!(meta.check_columns(["d", "D__TEXT", "d__text_"].into_iter()).is_ok());
        for other in [&["d", "D__TEXT"][..], &["D__TEXT", "d", "d__text_"], &["d", "D__TEXT", "x"]]
        {
            assert!(meta.check_columns(other.iter().copied()).is_err(), "{other:?}");
        }
        assert!(Meta::from_pairs(std::iter::empty()).is_err());
        assert!(Meta::from_pairs([("shunt.archive", "2")].into_iter()).is_err());
    }

    #[test]
    fn types_that_no_server_has_are_refused() {
        let read = |data_type: &str, column_type: &str| {
            let column = ArchivedColumn {
                name: "c".into(),
                data_type: data_type.into(),
                column_type: column_type.into(),
                ..ArchivedColumn::default()
            };
            let meta = Meta { columns: vec![column], ..Meta::default() };
            let pairs = meta.to_pairs().unwrap();
            Meta::from_pairs(pairs.iter().map(|(key, value)| (&**key, &**value)))
        };
        let labels = |count: usize| {
            let labels: Vec<String> = (0..count).map(|at| format!("'l{at}'")).collect();
            format!("set({})", labels.join(","))
        };
        for (data_type, column_type) in [
            ("datetime", "datetime(7)"),
            ("datetime", "datetime(99999999)"),
            ("time", "time(six)"),
            ("decimal", "decimal(66,2)"),
            ("decimal", "decimal(65,39)"),
            ("decimal", "decimal(10,99999999999)"),
            ("decimal", "decimal(2,3)"),
            ("set", &labels(65)),
            ("set", "set"),
            ("enum", "enum"),
            ("bit", "bit(65)"),
            ("binary", "binary(4000000000)"),
        ] {
            let refused = read(data_type, column_type);
            assert!(refused.unwrap_err().to_string().contains("cannot be one"), "{column_type}");
        }
        for (data_type, column_type) in [
            ("datetime", "datetime"),
            ("timestamp", "timestamp(6)"),
            ("decimal", "decimal(65,38)"),
            ("decimal", "decimal(10,2) unsigned zerofill"),
            ("set", &labels(64)),
            ("enum", "enum('it''s','')"),
            ("bit", "bit(64)"),
        ] {
            assert!(read(data_type, column_type).is_ok(), "{column_type}");
        }
    }
}
