//! Finds where a statement names tables, databases and routines.
//!
//! Names stand in few places: behind FROM, JOIN, INTO, UPDATE and TABLE, as targets of DELETE, in front of a column
//! (`keyspace.table.column`) and of a routine (`keyspace.routine(…)`). The finder walks the tokens by levels of
//! parentheses. FROM introduces tables only at a level that has a SELECT of its own, so `TRIM(x FROM y)` is none; a list of
//! tables ends only at a word that may end it, so that a table behind something unknown cannot be overlooked: anything
//! else is [`Unparsed`].
//!
//! Invariant: if a statement is parsed, every table that the server would open for it (views, triggers and routines aside)
//! is in [`Found::tables`] or is the name of one of its common table expressions.

use super::Sql;
use super::lexer::Kind;

/// The statement is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unparsed;

pub(super) type Parse<T = ()> = Result<T, Unparsed>;

/// A table as it is named, by positions of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableRef {
    /// The token of the qualifier.
    pub(crate) qualifier: Option<usize>,
    /// The token of the name.
    pub(crate) name: usize,
}

/// Where names stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Tables that are opened.
    pub(crate) tables: Vec<TableRef>,
    /// Qualified tables in front of a column, or as the target of a DELETE over several tables: they repeat one of `tables`.
    pub(crate) columns: Vec<TableRef>,
    /// Unqualified targets of a DELETE over several tables: names or aliases of `tables`.
    pub(crate) targets: Vec<usize>,
    /// Qualifiers of routines.
    pub(crate) routines: Vec<usize>,
    /// What is called: routines, and whatever else stands in front of a parenthesis.
    pub(crate) calls: Vec<TableRef>,
    /// Databases named as such (SHOW TABLES FROM …).
    pub(crate) databases: Vec<usize>,
    /// Names of common table expressions: such a name alone is no table.
    pub(crate) ctes: Vec<usize>,
    /// It locks rows that it reads.
    pub(crate) locking: bool,
}

/// Finds the names of a statement.
///
/// # Errors
/// If it is not understood.
pub(crate) fn find(sql: &Sql<'_>) -> Parse<Found> {
    if sql.uncertain || sql.has_settings() {
        return Err(Unparsed);
    }
    let mut parser = Parser { sql, at: sql.first, depth: 0, found: Found::default(), ddl: false };
    parser.statement()?;
    if parser.at < sql.tokens.len() {
        return Err(Unparsed);
    }
    Ok(parser.found)
}

/// Nesting deeper than this is not followed.
const DEPTH_MAX: usize = 60;

pub(super) struct Parser<'a> {
    pub(super) sql: &'a Sql<'a>,
    pub(super) at: usize,
    depth: usize,
    pub(super) found: Found,
    /// REFERENCES names a table here.
    ddl: bool,
}

impl Parser<'_> {
    pub(super) fn is(&self, word: &str) -> bool {
        self.sql.is(self.at, word)
    }

    pub(super) fn is_any(&self, words: &[&str]) -> bool {
        self.sql.is_any(self.at, words)
    }

    pub(super) fn take(&mut self, word: &str) -> bool {
        let found = self.is(word);
        self.at += usize::from(found);
        found
    }

    fn take_any(&mut self, words: &[&str]) -> bool {
        let found = self.is_any(words);
        self.at += usize::from(found);
        found
    }

    pub(super) fn must(&mut self, word: &str) -> Parse {
        if self.take(word) { Ok(()) } else { Err(Unparsed) }
    }

    pub(super) fn sign(&mut self, sign: u8) -> bool {
        let found = self.sql.is_sign(self.at, sign);
        self.at += usize::from(found);
        found
    }

    pub(super) fn must_sign(&mut self, sign: u8) -> Parse {
        if self.sign(sign) { Ok(()) } else { Err(Unparsed) }
    }

    pub(super) fn is_sign(&self, sign: u8) -> bool {
        self.sql.is_sign(self.at, sign)
    }

    pub(super) fn ended(&self) -> bool {
        self.at >= self.sql.tokens.len()
    }

    fn statement(&mut self) -> Parse {
        if self.starts_query() || self.is_sign(b'(') {
            return self.query();
        }
        let first = self.at;
        self.at += 1;
        if self.sql.kind(first) != Some(Kind::Word) {
            return Err(Unparsed);
        }
        match self.sql.text(first).to_ascii_lowercase().as_slice() {
            b"insert" | b"replace" => self.insert(),
            b"update" => self.update(),
            b"delete" => self.delete(),
            b"load" => self.load(),
            b"desc" | b"describe" | b"explain" => self.explain(),
            b"show" => self.show(),
            b"do" | b"set" => self.block(false),
            b"call" => self.name_path().and_then(|()| self.block(false)),
            b"truncate" => {
                self.take("table");
                self.table_name()?;
                self.rest_of_ddl()
            }
            b"create" => self.create(),
            b"alter" => self.alter(),
            b"drop" => self.drop_tables(),
            b"lock" => self.lock_tables(),
            b"analyze"
                if self.is_any(&[
                    "format", "select", "update", "delete", "insert", "replace", "with",
                ]) =>
            {
                self.explain()
            }
            b"analyze" | b"check" | b"checksum" | b"optimize" | b"repair" => self.maintenance(),
            _ => Err(Unparsed),
        }
    }

    pub(super) fn starts_query(&self) -> bool {
        self.is_any(&["select", "with", "values", "table"])
    }

    /// A query, or the UPDATE or DELETE behind WITH.
    pub(super) fn query(&mut self) -> Parse {
        self.deeper(|parser| {
            if parser.take("with") {
                parser.common_tables()?;
                if parser.take("update") {
                    return parser.update();
                }
                if parser.take("delete") {
                    return parser.delete();
                }
            }
            if parser.take("table") {
                parser.table_name()?;
            }
            parser.block(false)
        })
    }

    fn deeper(&mut self, inner: impl FnOnce(&mut Self) -> Parse) -> Parse {
        if self.depth == DEPTH_MAX {
            return Err(Unparsed);
        }
        self.depth += 1;
        let done = inner(self);
        self.depth -= 1;
        done
    }

    fn common_tables(&mut self) -> Parse {
        self.take("recursive");
        loop {
            if !self.sql.is_name(self.at) {
                return Err(Unparsed);
            }
            self.found.ctes.push(self.at);
            self.at += 1;
            if self.is_sign(b'(') {
                self.parentheses()?;
            }
            self.must("as")?;
            self.must_sign(b'(')?;
            self.query()?;
            self.must_sign(b')')?;
            if !self.sign(b',') {
                return Ok(());
            }
        }
    }

    /// Everything in parentheses, which may be a query.
    pub(super) fn parentheses(&mut self) -> Parse {
        self.must_sign(b'(')?;
        self.deeper(|parser| {
            if parser.is_any(&["select", "with", "table"]) {
                parser.query()
            } else {
                parser.block(false)
            }
        })?;
        self.must_sign(b')')
    }

    /// Everything up to the end of this level: expressions, and the tables of a query.
    pub(super) fn block(&mut self, mut query: bool) -> Parse {
        loop {
            match self.sql.kind(self.at) {
                None | Some(Kind::Sign(b')')) => return Ok(()),
                Some(Kind::Sign(b';')) => return Err(Unparsed),
                Some(Kind::Sign(b'(')) => self.parentheses()?,
                Some(Kind::System) => self.system_variable(),
                Some(Kind::Word) => self.word(&mut query)?,
                Some(Kind::Name) => self.name_path()?,
                Some(Kind::Number | Kind::Text | Kind::Variable | Kind::Sign(_)) => self.at += 1,
            }
        }
    }

    fn word(&mut self, query: &mut bool) -> Parse {
        if self.take("select") {
            *query = true;
            return Ok(());
        }
        if *query && self.take("from") {
            self.table_refs()?;
            return self.ends_tables();
        }
        // Behind a query in parentheses, too.
        if self.is("for") && self.sql.is_any(self.at + 1, &["update", "share"]) {
            self.found.locking = true;
            self.at += 2;
            return Ok(());
        }
        if self.is("lock") && self.sql.is(self.at + 1, "in") {
            self.found.locking = true;
            self.at += 1;
            return Ok(());
        }
        // A table as a query, wherever a query can stand; and a table that is made a partition.
        if self.take("table") {
            return self.table_name();
        }
        if self.is_any(&["next", "previous"])
            && self.sql.is(self.at + 1, "value")
            && self.sql.is(self.at + 2, "for")
        {
            self.at += 3;
            return self.table_name();
        }
        if self.ddl && self.take("references") {
            return self.table_name();
        }
        if self.ddl && self.is("union") && self.sql.is_sign(self.at + 1, b'=') {
            return Err(Unparsed);
        }
        // Sequences as functions: their argument is a table.
        if self.is_any(&["nextval", "lastval", "setval"]) && self.sql.is_sign(self.at + 1, b'(') {
            self.at += 2;
            self.table_name()?;
            self.block(false)?;
            return self.must_sign(b')');
        }
        self.name_path()
    }

    /// `@@session.name`: its parts are no tables.
    fn system_variable(&mut self) {
        self.at += 1;
        while self.sql.is_name(self.at) {
            self.at += 1;
            if !self.sign(b'.') {
                break;
            }
        }
    }

    /// `a`, `a.b`, `a.b.c`: a word, a column, or a routine.
    pub(super) fn name_path(&mut self) -> Parse {
        let first = self.at;
        self.at += 1;
        let mut parts = 1;
        while self.is_sign(b'.')
            && (self.sql.is_name(self.at + 1) || self.sql.is_sign(self.at + 1, b'*'))
        {
            self.at += 2;
            parts += 1;
        }
        // CALL needs no parentheses.
        let called = self.is_sign(b'(') || self.sql.is_called_by_name(first);
        match parts {
            1 if called => self.found.calls.push(TableRef { qualifier: None, name: first }),
            1 => {}
            2 if called => {
                self.found.routines.push(first);
                self.found.calls.push(TableRef { qualifier: Some(first), name: first + 2 });
            }
            2 => {}
            3 if self.is_sign(b'(') => return Err(Unparsed),
            3 => self.found.columns.push(TableRef { qualifier: Some(first), name: first + 2 }),
            _ => return Err(Unparsed),
        }
        Ok(())
    }

    /// `[database.]table`, which is opened.
    pub(super) fn table_name(&mut self) -> Parse {
        let first = self.at;
        if !self.sql.is_name(first) {
            return Err(Unparsed);
        }
        self.at += 1;
        if !self.sign(b'.') {
            self.found.tables.push(TableRef { qualifier: None, name: first });
            return Ok(());
        }
        if !self.sql.is_name(self.at) || self.sql.is_sign(self.at + 1, b'.') {
            return Err(Unparsed);
        }
        self.found.tables.push(TableRef { qualifier: Some(first), name: self.at });
        self.at += 1;
        Ok(())
    }

    fn insert(&mut self) -> Parse {
        while self.take_any(&["low_priority", "delayed", "high_priority", "ignore"]) {}
        self.take("into");
        self.table_name()?;
        if self.take("partition") {
            self.parentheses()?;
        }
        if self.is_sign(b'(') {
            self.parentheses()?;
        }
        if self.is_any(&["with", "table"]) {
            return self.query();
        }
        if !(self.is_any(&["values", "value", "select", "set", "as"])
            || self.is_sign(b'(')
            || self.ended())
        {
            return Err(Unparsed);
        }
        self.block(false)
    }

    fn update(&mut self) -> Parse {
        while self.take_any(&["low_priority", "ignore"]) {}
        self.table_refs()?;
        self.must("set")?;
        self.block(false)
    }

    fn delete(&mut self) -> Parse {
        while self.take_any(&["low_priority", "quick", "ignore"]) {}
        if !self.take("from") {
            self.delete_targets()?;
            self.must("from")?;
            self.table_refs()?;
            self.ends_tables()?;
            return self.block(false);
        }
        let (start, before) = (self.at, self.found.clone());
        // DELETE FROM targets USING tables, or DELETE FROM table.
        if self.delete_targets().is_ok() && self.take("using") {
            self.table_refs()?;
        } else {
            (self.at, self.found) = (start, before);
            self.table_refs()?;
        }
        if !self.is("returning") {
            self.ends_tables()?;
        }
        self.block(false)
    }

    fn delete_targets(&mut self) -> Parse {
        loop {
            let first = self.at;
            if !self.sql.is_name(first) {
                return Err(Unparsed);
            }
            self.at += 1;
            if self.is_sign(b'.') && self.sql.is_name(self.at + 1) {
                self.found.columns.push(TableRef { qualifier: Some(first), name: self.at + 1 });
                self.at += 2;
            } else {
                self.found.targets.push(first);
            }
            if self.is_sign(b'.') && self.sql.is_sign(self.at + 1, b'*') {
                self.at += 2;
            }
            if !self.sign(b',') {
                return Ok(());
            }
        }
    }

    fn load(&mut self) -> Parse {
        while !(self.ended() || self.is("into") && self.sql.is(self.at + 1, "table")) {
            self.at += 1;
        }
        self.must("into")?;
        self.must("table")?;
        self.table_name()?;
        self.block(false)
    }

    fn explain(&mut self) -> Parse {
        while self.take_any(&["extended", "partitions", "analyze"]) {}
        if self.take("format") {
            self.must_sign(b'=')?;
            self.at += 1;
        }
        if self.starts_query()
            || self.is_sign(b'(')
            || self.is_any(&["insert", "replace", "update", "delete"])
        {
            return self.deeper(Self::statement);
        }
        if self.is("for") {
            return Err(Unparsed);
        }
        self.table_name()?;
        self.at = self.sql.tokens.len();
        Ok(())
    }

    pub(super) fn start_ddl(&mut self) {
        self.ddl = true;
    }
}
