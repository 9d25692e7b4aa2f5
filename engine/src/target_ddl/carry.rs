//! What one server's definition means to another: collations that go without saying, versioned comments, options and
//! types that only one of them knows.
//!
//! Between servers of one flavor the text stays as it is, but for what ties it to one machine's disk. What the other
//! flavor does not know is left out and named where rows and results stay the same, and is an error where they do not.

use crate::error::{Error, Result};
use crate::mysql::schema::definition::lexer::{Kind, Token, tokens};
use crate::mysql::schema::definition::{Item, ItemKind, TableOption};
use crate::mysql::schema::{Column, Definition, Generated, TableSchema};
use crate::mysql::server::{Flavor, ServerInfo, Version};

/// Options that both flavors understand alike.
const COMMON_OPTIONS: &[&str] = &[
    "ENGINE",
    "AUTO_INCREMENT",
    "DEFAULT CHARSET",
    "COLLATE",
    "COMMENT",
    "ROW_FORMAT",
    "KEY_BLOCK_SIZE",
    "STATS_PERSISTENT",
    "STATS_AUTO_RECALC",
    "STATS_SAMPLE_PAGES",
    "MIN_ROWS",
    "MAX_ROWS",
    "AVG_ROW_LENGTH",
    "CHECKSUM",
    "DELAY_KEY_WRITE",
    "PACK_KEYS",
];

/// Options that name a place on the source's disk.
const PLACE_OPTIONS: &[&str] = &["TABLESPACE", "DATA DIRECTORY", "INDEX DIRECTORY"];

/// Column types that only MariaDB has.
const MARIADB_TYPES: &[&str] = &["uuid", "inet4", "inet6", "vector", "xmltype"];

/// MySQL's DECIMAL has so many digits behind the point; MariaDB's has 38.
const SCALE_MAX: u32 = 30;

/// Carries a definition from one server to another.
#[derive(Debug)]
pub(super) struct Carry<'a> {
    from: Flavor,
    to: &'a ServerInfo,
    /// What could not be carried and does not change rows.
    pub(super) left_out: Vec<String>,
}

impl<'a> Carry<'a> {
    pub(super) fn new(from: &ServerInfo, to: &'a ServerInfo) -> Self {
        Self { from: from.flavor, to, left_out: Vec::new() }
    }

    fn same_flavor(&self) -> bool {
        self.from == self.to.flavor
    }

    /// The text of an item for the target; none for one that is left out.
    pub(super) fn item(&mut self, item: &Item, schema: &TableSchema) -> Result<Option<String>> {
        if item.kind == ItemKind::Check && self.passes_over_checks() {
            self.left_out.push(format!("CHECK {}", item.name));
            return Ok(None);
        }
        if item.kind == ItemKind::Period && !self.same_flavor() {
            return Err(cannot("a period", "Leave this table out."));
        }
        let mut edits = Edits::new(&item.text)?;
        self.versioned_comments(item, &mut edits)?;
        if item.kind == ItemKind::Column {
            state_collation(item, schema, &mut edits);
            if edits.calls(&["NEXTVAL", "LASTVAL", "SETVAL"]) {
                return Err(cannot(
                    format!(
                        "the default of column {:?}, which is taken from a sequence,",
                        item.name
                    ),
                    "Sequences are not moved: give the column another default on the source first, or leave the table out.",
                ));
            }
        }
        if !self.same_flavor() {
            self.check_column(item, schema)?;
            self.column_check(item, &mut edits);
            self.hash(item, &mut edits);
            if item.kind == ItemKind::Spatial && self.lacks_spatial_keys() {
                return Err(cannot(
                    format!("spatial key {:?}", item.name),
                    "MySQL has them in InnoDB from 5.7.5 on: leave this table out, or drop the key.",
                ));
            }
            self.generated_not_null(item, &mut edits);
            self.hidden_keys(item, &mut edits);
            let expression = item.kind != ItemKind::Column && edits.has_nested_parentheses();
            if expression && matches!(item.kind, ItemKind::Index | ItemKind::Unique) {
                return Err(cannot(
                    format!("key {:?} over an expression", item.name),
                    "Drop the key on the source, or leave the table out.",
                ));
            }
        }
        Ok(Some(edits.finish()))
    }

    /// The options for the target, each as text.
    pub(super) fn options(
        &mut self,
        definition: &Definition,
        schema: &TableSchema,
    ) -> Result<Vec<String>> {
        let mut options = Vec::new();
        for option in &definition.options {
            if self.keeps_option(option)? {
                options.push(option.text.clone());
            } else {
                self.left_out.push(format!("table option {}", option.text));
            }
            // The default collation of a character set differs between servers.
            if let ("DEFAULT CHARSET", Some(collation), None) =
                (option.name.as_str(), &schema.collation, definition.option("COLLATE"))
            {
                options.push(format!("COLLATE={collation}"));
            }
        }
        Ok(options)
    }

    fn keeps_option(&self, option: &TableOption) -> Result<bool> {
        let name = option.name.as_str();
        if name == "WITH SYSTEM VERSIONING" {
            return Err(cannot("system versioning", "Leave this table out."));
        }
        let known = self.same_flavor() || COMMON_OPTIONS.contains(&name);
        Ok(known && !PLACE_OPTIONS.contains(&name))
    }

    /// A versioned comment is a clause that some servers read and others pass over. What the target would pass over is
    /// written for it in its own way, or named as left out.
    fn versioned_comments(&mut self, item: &Item, edits: &mut Edits<'_>) -> Result<()> {
        for (open, close) in edits.comments() {
            let inside = edits.words_between(open, close);
            // MariaDB would read these by their number, and does not know the words.
            let strange = self.to.flavor == Flavor::MariaDb
                && ["STORAGE ", "COLUMN_FORMAT "].iter().any(|word| inside.starts_with(word));
            if self.reads_comment(&edits.token(open).value) && !strange {
                continue;
            }
            match inside.as_str() {
                "NOT ENFORCED" => {
                    return Err(cannot(
                        format!("constraint {:?}, which is not enforced,", item.name),
                        "Drop the constraint on the source, or leave the table out.",
                    ));
                }
                "INVISIBLE" if self.to.flavor == Flavor::MariaDb => {
                    let word = if item.kind == ItemKind::Column { "INVISIBLE" } else { "IGNORED" };
                    edits.replace(open, close, word);
                }
                _ => {
                    edits.replace(open, close, "");
                    self.left_out.push(format!("{inside} of {}", item.name));
                }
            }
        }
        Ok(())
    }

    /// Whether the target reads what stands in a comment opened like this.
    fn reads_comment(&self, open: &str) -> bool {
        let digits: String = open.chars().filter(char::is_ascii_digit).collect();
        let number: u32 = digits.parse().unwrap_or(0);
        let Version(major, minor, patch) = self.to.version;
        let version = u32::from(major) * 10_000 + u32::from(minor) * 100 + u32::from(patch);
        match self.to.flavor {
            Flavor::MySql => !open.contains('M') && number <= version,
            // MariaDB passes over what MySQL 5.7 and later say to themselves.
            Flavor::MariaDb if open.contains('M') => number <= version,
            Flavor::MariaDb => number <= version && !(50_700..=99_999).contains(&number),
        }
    }

    fn check_column(&self, item: &Item, schema: &TableSchema) -> Result<()> {
        if item.kind != ItemKind::Column {
            return Ok(());
        }
        let column = schema.column_index(&item.name).map(|at| &schema.columns[at]);
        let data_type = column.map_or("", |column| column.data_type.as_str());
        let unknown = match self.to.flavor {
            Flavor::MySql => MARIADB_TYPES.contains(&data_type),
            Flavor::MariaDb => data_type == "json",
        };
        if unknown {
            return Err(cannot(
                format!("column {:?} of type {data_type}", item.name),
                "Leave this table out, or change the type on the source first.",
            ));
        }
        if let Some(lacks) = self.lacks_for_mysql(column) {
            return Err(cannot(
                format!("column {:?}, {lacks},", item.name),
                "Change the column on the source first, or leave the table out.",
            ));
        }
        if self.to.flavor == Flavor::MySql && default_is_expression(item)? {
            return Err(cannot(
                format!("the default of column {:?}, which is an expression,", item.name),
                "Give the column a plain default on the source first, or leave the table out.",
            ));
        }
        Ok(())
    }

    /// MySQL passes over every CHECK before 8.0.16, and refuses one with a function that it does not know, like the JSON_VALID of MariaDB's
    /// JSON columns.
    fn passes_over_checks(&self) -> bool {
        !self.same_flavor()
            && self.to.flavor == Flavor::MySql
            && self.to.version < Version(8, 0, 16)
    }

    /// A column's own CHECK, which ends its definition.
    fn column_check(&mut self, item: &Item, edits: &mut Edits<'_>) {
        let own = item.kind == ItemKind::Column && self.passes_over_checks();
        if let Some(at) = edits.find_words(&["CHECK"]).filter(|_| own) {
            edits.replace(at, edits.closing(at + 1), "");
            self.left_out.push(format!("CHECK of column {}", item.name));
        }
    }

    /// MySQL's InnoDB makes a tree where a hash is asked for; MariaDB makes a hash of a unique key.
    fn hash(&self, item: &Item, edits: &mut Edits<'_>) {
        let unique = item.kind == ItemKind::Unique && self.to.flavor == Flavor::MariaDb;
        if let Some(at) = edits.find_words(&["USING", "HASH"]).filter(|_| unique) {
            edits.replace(at, at + 1, "");
        }
    }

    fn lacks_spatial_keys(&self) -> bool {
        self.to.flavor == Flavor::MySql && self.to.version < Version(5, 7, 5)
    }

    /// What a column may be on MariaDB and not on the target.
    fn lacks_for_mysql(&self, column: Option<&Column>) -> Option<&'static str> {
        let column = column.filter(|_| self.to.flavor == Flavor::MySql)?;
        if column.generated != Generated::No && self.to.version < Version(5, 7, 6) {
            Some("which the server computes")
        } else if column.invisible && self.to.version < Version(8, 0, 23) {
            Some("which is invisible")
        } else if column.compressed {
            Some("which is COMPRESSED")
        } else if column.has_default && is_large(&column.data_type) {
            Some("a BLOB, TEXT or geometry with a default")
        } else if column.data_type == "decimal"
            && column.digits().is_some_and(|(_, behind)| behind > SCALE_MAX)
        {
            Some("a DECIMAL of more than 30 digits behind the point")
        } else {
            None
        }
    }

    /// MariaDB knows no NOT NULL on a generated column.
    fn generated_not_null(&mut self, item: &Item, edits: &mut Edits<'_>) {
        if item.kind != ItemKind::Column || self.to.flavor != Flavor::MariaDb {
            return;
        }
        let Some(generated) = edits.find_words(&["GENERATED", "ALWAYS", "AS"]) else { return };
        if let Some(at) = edits.find_words(&["NOT", "NULL"]).filter(|&at| at > generated) {
            edits.replace(at, at + 1, "");
            self.left_out.push(format!("NOT NULL of the generated column {}", item.name));
        }
    }

    /// A key that the optimizer does not use: IGNORED on MariaDB, INVISIBLE on MySQL 8.
    fn hidden_keys(&mut self, item: &Item, edits: &mut Edits<'_>) {
        if self.to.flavor != Flavor::MySql || item.kind == ItemKind::Column {
            return;
        }
        if let Some(at) = edits.find_words(&["IGNORED"]) {
            let known = self.to.version >= Version(8, 0, 0);
            edits.replace(at, at, if known { "INVISIBLE" } else { "" });
            if !known {
                self.left_out.push(format!("IGNORED of key {}", item.name));
            }
        }
    }
}

/// Types that have no literal default on MySQL.
fn is_large(data_type: &str) -> bool {
    const GEOMETRIES: &[&str] = &[
        "geometry",
        "point",
        "linestring",
        "polygon",
        "multipoint",
        "multilinestring",
        "multipolygon",
        "geometrycollection",
    ];
    data_type.ends_with("blob") || data_type.ends_with("text") || GEOMETRIES.contains(&data_type)
}

/// Writes the collation of a column that names its character set alone: the default differs between servers.
fn state_collation(item: &Item, schema: &TableSchema, edits: &mut Edits<'_>) {
    let column = schema.column_index(&item.name).and_then(|at| schema.columns.get(at));
    let Some(collation) = column.and_then(|column| column.collation.as_deref()) else { return };
    if let Some(at) = edits.find_words(&["CHARACTER", "SET"])
        && edits.find_words(&["COLLATE"]).is_none()
    {
        edits.insert_after(at + 2, &format!(" COLLATE {collation}"));
    }
}

/// Whether a column's default is more than a literal or the current time.
fn default_is_expression(item: &Item) -> Result<bool> {
    let all = tokens(&item.text)?;
    let Some(at) = all.iter().position(|token| token.is_word("DEFAULT")) else { return Ok(false) };
    let Some(first) = all.get(at + 1) else { return Ok(false) };
    let called = all.get(at + 2).is_some_and(|next| next.value == "(");
    Ok(match first.kind {
        Kind::Word => called && !first.is_word("CURRENT_TIMESTAMP"),
        Kind::Punct => !matches!(first.value.as_str(), "-" | "+"),
        Kind::Text => false,
        Kind::Ident | Kind::CommentOpen | Kind::CommentClose => true,
    })
}

fn cannot(what: impl std::fmt::Display, advice: &str) -> Error {
    Error::stop(format!("{what} cannot be carried to the target")).advice(advice)
}

/// A text with replacements by token.
#[derive(Debug)]
struct Edits<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    /// Byte ranges and what stands there instead.
    changes: Vec<(usize, usize, String)>,
}

impl<'a> Edits<'a> {
    fn new(text: &'a str) -> Result<Self> {
        Ok(Self { text, tokens: tokens(text)?, changes: Vec::new() })
    }

    fn token(&self, at: usize) -> &Token {
        &self.tokens[at]
    }

    /// The versioned comments, as the places of their marks.
    fn comments(&self) -> Vec<(usize, usize)> {
        let of = |kind: Kind| {
            let places = self.tokens.iter().enumerate().filter(move |(_, t)| t.kind == kind);
            places.map(|(at, _)| at)
        };
        of(Kind::CommentOpen).zip(of(Kind::CommentClose)).collect()
    }

    /// Whether one of the functions is called.
    fn calls(&self, functions: &[&str]) -> bool {
        self.tokens.windows(2).any(|pair| {
            functions.iter().any(|name| pair[0].is_word(name))
                && pair[1].kind == Kind::Punct
                && pair[1].value == "("
        })
    }

    /// Where the parenthesis that opens here is closed; the end if it is not.
    fn closing(&self, opening: usize) -> usize {
        let mut depth = 0_usize;
        for (at, token) in self.tokens.iter().enumerate().skip(opening) {
            match token.value.as_str() {
                "(" if token.kind == Kind::Punct => depth += 1,
                ")" if token.kind == Kind::Punct && depth <= 1 => return at,
                ")" if token.kind == Kind::Punct => depth -= 1,
                _ => {}
            }
        }
        self.tokens.len() - 1
    }

    fn words_between(&self, open: usize, close: usize) -> String {
        let inside = self.tokens.get(open + 1..close).unwrap_or_default();
        inside.iter().map(|token| token.value.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// Where these words stand in a row, outside all parentheses.
    fn find_words(&self, words: &[&str]) -> Option<usize> {
        let mut depth = 0_usize;
        for (at, token) in self.tokens.iter().enumerate() {
            match token.value.as_str() {
                "(" if token.kind == Kind::Punct => depth += 1,
                ")" if token.kind == Kind::Punct => depth = depth.saturating_sub(1),
                _ => {}
            }
            let rest = &self.tokens[at..];
            if depth == 0
                && rest.len() >= words.len()
                && rest.iter().zip(words).all(|(t, w)| t.is_word(w))
            {
                return Some(at);
            }
        }
        None
    }

    /// Whether a key's list of columns holds an expression: `((…))`.
    fn has_nested_parentheses(&self) -> bool {
        self.tokens.windows(2).any(|pair| {
            pair[0].kind == Kind::Punct
                && matches!(pair[0].value.as_str(), "(" | ",")
                && pair[1].kind == Kind::Punct
                && pair[1].value == "("
        })
    }

    fn replace(&mut self, from: usize, to: usize, with: &str) {
        self.changes.push((self.tokens[from].start, self.tokens[to].end, with.to_owned()));
    }

    fn insert_after(&mut self, at: usize, text: &str) {
        if let Some(token) = self.tokens.get(at) {
            self.changes.push((token.end, token.end, text.to_owned()));
        }
    }

    fn finish(mut self) -> String {
        self.changes.sort_by_key(|change| change.0);
        let mut out = String::with_capacity(self.text.len());
        let mut at = 0;
        for (from, to, with) in &self.changes {
            out += &self.text[at..*from];
            out += with;
            at = *to;
        }
        out += &self.text[at..];
        out.trim_end().to_owned()
    }
}
