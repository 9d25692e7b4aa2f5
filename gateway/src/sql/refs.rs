//! Lists of tables (FROM, UPDATE, DELETE), and the statements that are about tables as such (SHOW, DDL).

use super::finder::{Parse, Parser, Unparsed};
use super::lexer::Kind;

/// Words behind a table that are no alias of it.
const FOLLOWERS: &[&str] = &[
    "join",
    "inner",
    "cross",
    "left",
    "right",
    "natural",
    "straight_join",
    "on",
    "using",
    "where",
    "group",
    "having",
    "order",
    "limit",
    "union",
    "except",
    "intersect",
    "for",
    "lock",
    "into",
    "procedure",
    "window",
    "set",
    "partition",
    "use",
    "force",
    "ignore",
    "as",
    "select",
    "values",
];

impl Parser<'_> {
    /// Tables with their joins, as far as they go.
    pub(super) fn table_refs(&mut self) -> Parse {
        loop {
            self.table_factor()?;
            self.behind_table()?;
            if !self.next_table()? {
                return Ok(());
            }
        }
    }

    /// Behind the tables only these can follow; anything else was not understood.
    pub(super) fn ends_tables(&self) -> Parse {
        let next = |words: &[&str]| self.sql.is_any(self.at + 1, words);
        let known = self.ended()
            || self.is_sign(b')')
            || self.is_any(&["where", "having", "limit", "for", "lock", "into", "procedure"])
            || (self.is_any(&["group", "order"]) && next(&["by"]))
            || (self.is("on") && next(&["duplicate"]))
            || (self.is("window") && self.sql.is(self.at + 2, "as"))
            || (self.is_any(&["union", "except", "intersect"])
                && (next(&["select", "all", "distinct", "values", "table"])
                    || self.sql.is_sign(self.at + 1, b'(')));
        if known { Ok(()) } else { Err(Unparsed) }
    }

    fn table_factor(&mut self) -> Parse {
        self.take("lateral");
        if self.sign(b'(') {
            if self.starts_query() {
                self.query()?;
            } else {
                self.table_refs()?;
                if self.is_any(&["union", "except", "intersect", "order", "limit"]) {
                    self.block(false)?;
                }
            }
            return self.must_sign(b')');
        }
        if self.is_any(FOLLOWERS) {
            return Err(Unparsed);
        }
        if self.is("dual") && !self.sql.is_sign(self.at + 1, b'.') {
            self.at += 1;
            return Ok(());
        }
        if self.is("json_table") && self.sql.is_sign(self.at + 1, b'(') {
            self.at += 1;
            return self.parentheses();
        }
        self.table_name()?;
        // A function that returns a table, which nobody here knows.
        if self.is_sign(b'(') { Err(Unparsed) } else { Ok(()) }
    }

    /// Partitions, alias, index hints.
    fn behind_table(&mut self) -> Parse {
        loop {
            if self.take("partition") {
                self.parentheses()?;
            } else if self.take("as") {
                if !self.sql.is_name(self.at) && self.sql.kind(self.at) != Some(Kind::Text) {
                    return Err(Unparsed);
                }
                self.at += 1;
            } else if self.is_any(&["use", "force", "ignore"])
                && self.sql.is_any(self.at + 1, &["index", "key"])
            {
                self.at += 2;
                while !self.ended() && !self.is_sign(b'(') {
                    if !self.is_any(&["for", "join", "order", "group", "by"]) {
                        return Err(Unparsed);
                    }
                    self.at += 1;
                }
                self.parentheses()?;
            } else if self.is("for") && self.sql.is_any(self.at + 1, &["system_time", "portion"]) {
                return Err(Unparsed);
            } else if self.sql.is_name(self.at) && !self.is_any(FOLLOWERS) {
                self.at += 1;
            } else if self.is_sign(b'(') {
                // Names of a derived table's columns.
                self.parentheses()?;
            } else {
                return Ok(());
            }
        }
    }

    /// Whether another table follows; its join is read.
    fn next_table(&mut self) -> Parse<bool> {
        loop {
            if self.sign(b',') || self.take("join") || self.take("straight_join") {
                return Ok(true);
            }
            if self.is_any(&["inner", "cross", "left", "right", "natural"]) {
                while self.is_any(&["inner", "cross", "left", "right", "natural", "outer"]) {
                    self.at += 1;
                }
                self.must("join")?;
                return Ok(true);
            }
            if self.is("on") && !self.sql.is(self.at + 1, "duplicate") {
                self.at += 1;
                self.on_condition()?;
            } else if self.is("using") && self.sql.is_sign(self.at + 1, b'(') {
                self.at += 1;
                self.parentheses()?;
            } else {
                return Ok(false);
            }
        }
    }

    /// The condition of a join: up to what ends it at this level.
    fn on_condition(&mut self) -> Parse {
        loop {
            match self.sql.kind(self.at) {
                None | Some(Kind::Sign(b')' | b',')) => return Ok(()),
                Some(Kind::Sign(b';')) => return Err(Unparsed),
                Some(Kind::Sign(b'(')) => self.parentheses()?,
                Some(Kind::Word) if self.ends_condition() => return Ok(()),
                Some(Kind::Word | Kind::Name) => self.name_path()?,
                Some(_) => self.at += 1,
            }
        }
    }

    fn ends_condition(&self) -> bool {
        if self.is_any(&["left", "right"]) {
            return !self.sql.is_sign(self.at + 1, b'(');
        }
        self.is_any(&[
            "join",
            "inner",
            "cross",
            "natural",
            "straight_join",
            "on",
            "using",
            "where",
            "group",
            "having",
            "order",
            "limit",
            "union",
            "except",
            "intersect",
            "for",
            "lock",
            "into",
            "procedure",
            "window",
            "set",
        ])
    }

    /// SHOW: of a table, of a database, or of neither.
    pub(super) fn show(&mut self) -> Parse {
        while self.is_any(&["full", "extended", "open"]) {
            self.at += 1;
        }
        if self.is("create") && self.sql.is(self.at + 1, "table") {
            self.at += 2;
            return self.table_name();
        }
        if self.is_any(&["columns", "fields", "index", "indexes", "keys"]) {
            self.at += 1;
            if !self.is_any(&["from", "in"]) {
                return Err(Unparsed);
            }
            self.at += 1;
            self.table_name()?;
            if self.is_any(&["from", "in"]) {
                // The database behind the table means the same as before it.
                let table = self.found.tables.pop().ok_or(Unparsed)?;
                if table.qualifier.is_some() || !self.sql.is_name(self.at + 1) {
                    return Err(Unparsed);
                }
                let qualifier = Some(self.at + 1);
                self.found.tables.push(super::finder::TableRef { qualifier, ..table });
                self.at += 2;
            }
            return self.block(false);
        }
        let of_database = self.is_any(&["tables", "triggers", "events"])
            || (self.is("table") && self.sql.is(self.at + 1, "status"));
        if of_database {
            self.at += 1 + usize::from(self.is("table"));
            if self.is_any(&["from", "in"]) {
                if !self.sql.is_name(self.at + 1) {
                    return Err(Unparsed);
                }
                self.found.databases.push(self.at + 1);
                self.at += 2;
            }
            return self.block(false);
        }
        if self.is_any(&["create", "procedure", "function", "binlog", "relaylog", "explain"]) {
            return Err(Unparsed);
        }
        self.block(false)
    }

    pub(super) fn create(&mut self) -> Parse {
        while self.is_any(&["or", "replace", "temporary", "unique", "fulltext", "spatial"]) {
            self.at += 1;
        }
        if self.take("index") {
            while !self.ended() && !self.is("on") {
                self.at += 1;
            }
            self.must("on")?;
            self.table_name()?;
            return self.rest_of_ddl();
        }
        self.must("table")?;
        self.existence();
        self.table_name()?;
        if self.take("like") {
            return self.table_name();
        }
        if self.is_sign(b'(') && self.sql.is(self.at + 1, "like") {
            self.at += 2;
            self.table_name()?;
            return self.must_sign(b')');
        }
        self.rest_of_ddl()
    }

    pub(super) fn alter(&mut self) -> Parse {
        while self.is_any(&["online", "ignore"]) {
            self.at += 1;
        }
        self.must("table")?;
        self.existence();
        self.table_name()?;
        let renames = (self.at..self.sql.tokens.len()).any(|at| {
            self.sql.is(at, "exchange")
                || (self.sql.is(at, "rename")
                    && !self.sql.is_any(at + 1, &["column", "index", "key"]))
        });
        if renames { Err(Unparsed) } else { self.rest_of_ddl() }
    }

    pub(super) fn drop_tables(&mut self) -> Parse {
        self.take("temporary");
        if self.take("index") {
            while !self.ended() && !self.is("on") {
                self.at += 1;
            }
            self.must("on")?;
            self.table_name()?;
            return self.rest_of_ddl();
        }
        if !(self.take("table") || self.take("tables")) {
            return Err(Unparsed);
        }
        self.existence();
        self.list()?;
        self.rest_of_ddl()
    }

    pub(super) fn maintenance(&mut self) -> Parse {
        while self.is_any(&["no_write_to_binlog", "local"]) {
            self.at += 1;
        }
        if !(self.take("table") || self.take("tables")) {
            return Err(Unparsed);
        }
        self.list()?;
        self.block(false)
    }

    pub(super) fn lock_tables(&mut self) -> Parse {
        if !(self.take("table") || self.take("tables")) {
            return Err(Unparsed);
        }
        loop {
            self.table_name()?;
            while !self.ended() && !self.is_sign(b',') {
                if !self.sql.is_name(self.at) {
                    return Err(Unparsed);
                }
                self.at += 1;
            }
            if !self.sign(b',') {
                return Ok(());
            }
        }
    }

    fn list(&mut self) -> Parse {
        loop {
            self.table_name()?;
            if !self.sign(b',') {
                return Ok(());
            }
        }
    }

    fn existence(&mut self) {
        if self.take("if") {
            self.take("not");
            self.take("exists");
        }
    }

    pub(super) fn rest_of_ddl(&mut self) -> Parse {
        self.start_ddl();
        self.block(false)
    }
}

#[cfg(test)]
mod tests;
