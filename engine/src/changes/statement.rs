//! What a statement in the binlog is to us: the frame of a transaction, DDL on a moved table, or nothing.
//!
//! Rows come as row events; a statement is looked at only to tell whether it concerns a moved table. Where that cannot
//! be told, the answer is the cautious one: it does. Nothing here changes or builds SQL.

use super::legible::Legible;
use super::lexer::{Parsed, Token};
use crate::mysql::names::same;

/// What a statement is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// BEGIN, XA START: a transaction's rows follow.
    Begin,
    /// COMMIT.
    Commit,
    /// ROLLBACK of the whole transaction.
    Rollback,
    /// SAVEPOINT of this name.
    Savepoint(String),
    /// ROLLBACK TO SAVEPOINT of this name.
    RollbackTo(String),
    /// XA END, RELEASE SAVEPOINT: nothing changes.
    Frame,
    /// XA COMMIT or XA ROLLBACK of a transaction that was prepared before.
    XaOutcome,
    /// CREATE TEMPORARY TABLE: in this session the name means something else from now on.
    TemporaryTable(TableName),
    /// TRUNCATE of one table.
    Truncate(TableName),
    /// DDL that changes or removes these tables.
    TableDdl(Vec<TableName>),
    /// Data in statement format.
    Data,
    /// Anything that changes no table: users, views, routines, statistics.
    Harmless,
    /// A whole database is dropped, by DROP or by CREATE OR REPLACE.
    DropDatabase(String),
    /// Not understood.
    Unknown,
}

/// A table as a statement names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName {
    /// The qualifier, if there is one.
    pub database: Option<String>,
    /// The table.
    pub table: String,
}

impl Parsed {
    /// The start of the statement, behind MariaDB's SET STATEMENT var=value, … FOR, of which there may be several.
    pub(super) fn cursor(&self) -> Cursor<'_> {
        let mut at = Cursor { tokens: &self.tokens, at: 0 };
        loop {
            let start = at.clone();
            if !(at.take("set") && at.take("statement")) {
                return start;
            }
            while at.more() && !at.take("for") {
                at.at += 1;
            }
        }
    }

    /// What the statement is.
    pub fn statement(&self) -> Statement {
        let mut at = self.cursor();
        let Some(first) = at.word() else { return Statement::Unknown };
        match first.as_str() {
            "begin" => Statement::Begin,
            "start" if at.take("transaction") => Statement::Begin,
            "commit" => Statement::Commit,
            "rollback" => rollback(at),
            "savepoint" => at.one_name().map_or(Statement::Unknown, Statement::Savepoint),
            "release" => Statement::Frame,
            "xa" => xa(at),
            "truncate" => {
                at.take("table");
                at.table().map_or(Statement::Unknown, Statement::Truncate)
            }
            "insert" | "replace" | "update" | "delete" | "load" | "call" | "select" | "with"
            | "do" => Statement::Data,
            "alter" | "create" | "drop" | "rename" => ddl(&first, at),
            // MariaDB runs what it analyzes, data that is changed included.
            "analyze" => {
                let _local = at.take("local") || at.take("no_write_to_binlog");
                if at.take("table") || at.take("tables") {
                    Statement::Harmless
                } else {
                    Statement::Data
                }
            }
            "set" | "grant" | "revoke" | "optimize" | "repair" | "flush" | "comment"
            | "install" | "uninstall" | "check" | "checksum" | "reset" | "purge" | "lock"
            | "unlock" => Statement::Harmless,
            _ => Statement::Unknown,
        }
    }

    /// Whether it begins as CREATE TABLE does.
    pub(super) fn makes_table(&self) -> bool {
        let mut at = self.cursor();
        let creates = at.take("create");
        while ["or", "replace", "temporary"].into_iter().any(|word| at.take(word)) {}
        creates && at.take("table")
    }

    /// Whether it makes or drops an index.
    pub(super) fn is_index_ddl(&self) -> bool {
        const BETWEEN: [&str; 8] =
            ["or", "replace", "online", "offline", "ignore", "unique", "fulltext", "spatial"];
        let mut at = self.cursor();
        let ddl = at.take("create") || at.take("drop");
        while BETWEEN.into_iter().any(|word| at.take(word)) {}
        ddl && at.take("index")
    }

    /// Whether words that fill a table stand anywhere in its text, strings and comments included.
    pub(super) fn may_fill(&self, sql: &[u8]) -> bool {
        let text = String::from_utf8_lossy(sql).to_ascii_lowercase();
        text.contains("select") || text.contains("values")
    }

    /// Whether all of its text can be read.
    pub fn is_legible(&self) -> bool {
        self.legible == Legible::Whole
    }

    /// Whether this is what MySQL before 8.0 writes by itself when it first opens a MEMORY table after it was started, and finds it
    /// empty: `DELETE FROM a.b`, nothing else. (A session that writes statements could delete all rows of a view by the same words.)
    pub fn empties_memory_table(&self) -> bool {
        let mut at = self.cursor();
        at.take("delete") && at.take("from") && at.table().is_some() && !at.more()
    }

    /// Whether the statement may contain this table's name: qualified by `database`, or unqualified.
    pub fn mentions(&self, database: &str, table: &str) -> bool {
        match self.legible {
            Legible::Whole => {}
            Legible::Ascii if database.is_ascii() && table.is_ascii() => {}
            Legible::Ascii | Legible::Hardly => return true,
        }
        self.tokens.iter().enumerate().any(|(at, token)| {
            let named = token.name().is_some_and(|name| same(name, table));
            let qualifier = (at >= 2 && self.tokens[at - 1] == Token::Sign('.'))
                .then(|| self.tokens[at - 2].name())
                .flatten();
            named && qualifier.is_none_or(|qualifier| same(qualifier, database))
        })
    }
}

fn rollback(mut at: Cursor<'_>) -> Statement {
    at.take("work");
    if !at.take("to") {
        return Statement::Rollback;
    }
    at.take("savepoint");
    at.one_name().map_or(Statement::Unknown, Statement::RollbackTo)
}

fn xa(mut at: Cursor<'_>) -> Statement {
    match at.word().as_deref() {
        Some("start" | "begin") => Statement::Begin,
        Some("end" | "prepare") => Statement::Frame,
        Some("commit" | "rollback") => Statement::XaOutcome,
        _ => Statement::Unknown,
    }
}

/// Whether CREATE TABLE fills what it makes. A session that writes rows says the table and its rows apart.
fn fills(at: &Cursor<'_>) -> bool {
    at.tokens.iter().enumerate().any(|(nth, token)| {
        let listed = at.tokens.get(nth + 1) == Some(&Token::Sign('('));
        token.is("select") || token.is("values") && listed
    })
}

fn ddl(verb: &str, mut at: Cursor<'_>) -> Statement {
    if verb == "rename" {
        return if at.take("table") || at.take("tables") {
            at.renames()
        } else {
            Statement::Harmless
        };
    }
    let mut table = at.clone();
    while ["or", "replace", "temporary"].into_iter().any(|word| table.take(word)) {}
    if verb == "create" && table.take("table") && fills(&at) {
        return Statement::Data;
    }
    // Words that may stand between the verb and what it is about.
    let mut replaces = false;
    loop {
        if at.take("or") {
            replaces = at.take("replace");
        } else if at.take("temporary") {
            return temporary(verb, at);
        } else if !(at.take("online") || at.take("offline") || at.take("ignore")) {
            break;
        }
    }
    if at.take("table") || at.take("tables") {
        // A moved table is there, so this made nothing; a table that was removed before has stopped the stream there.
        let mut exists = at.clone();
        if verb == "create" && !replaces && exists.take("if") && exists.take("not") {
            return Statement::Harmless;
        }
        return if verb == "alter" { at.altered() } else { at.tables() };
    }
    let mut about = at.clone();
    while about.take("unique") || about.take("fulltext") || about.take("spatial") {}
    if about.take("index") {
        while about.more() && !about.take("on") {
            about.at += 1;
        }
        return about.table().map_or(Statement::Unknown, |table| Statement::TableDdl(vec![table]));
    }
    if at.take("database") || at.take("schema") {
        at.existence();
        return match at.one_name() {
            Some(name) if verb == "drop" || replaces => Statement::DropDatabase(name),
            _ => Statement::Harmless,
        };
    }
    if at.take("sequence") {
        // What is dropped as a sequence is none of the moved tables.
        return if verb == "drop" { Statement::Harmless } else { at.tables() };
    }
    Statement::Harmless
}

/// A temporary table: nobody but its session sees it, and no row of it is in a binlog of rows. A session that writes rows does
/// not even say that it made one.
fn temporary(verb: &str, mut at: Cursor<'_>) -> Statement {
    let named = verb == "create" && (at.take("table") || at.take("sequence"));
    if !named {
        return Statement::Harmless;
    }
    at.table().map_or(Statement::Unknown, Statement::TemporaryTable)
}

/// Reads tokens from the left.
#[derive(Clone)]
pub(super) struct Cursor<'a> {
    pub(super) tokens: &'a [Token],
    pub(super) at: usize,
}

impl Cursor<'_> {
    fn more(&self) -> bool {
        self.at < self.tokens.len()
    }

    pub(super) fn take(&mut self, word: &str) -> bool {
        let found = self.tokens.get(self.at).is_some_and(|token| token.is(word));
        self.at += usize::from(found);
        found
    }

    fn sign(&mut self, sign: char) -> bool {
        let found = self.tokens.get(self.at) == Some(&Token::Sign(sign));
        self.at += usize::from(found);
        found
    }

    pub(super) fn word(&mut self) -> Option<String> {
        let Some(Token::Word(word)) = self.tokens.get(self.at) else { return None };
        self.at += 1;
        Some(word.to_ascii_lowercase())
    }

    pub(super) fn one_name(&mut self) -> Option<String> {
        let name = self.tokens.get(self.at)?.name()?.to_owned();
        self.at += 1;
        Some(name)
    }

    pub(super) fn existence(&mut self) {
        if self.take("if") {
            self.take("not");
            self.take("exists");
        }
    }

    pub(super) fn table(&mut self) -> Option<TableName> {
        self.existence();
        let first = self.one_name()?;
        if self.sign('.') {
            return Some(TableName { database: Some(first), table: self.one_name()? });
        }
        Some(TableName { database: None, table: first })
    }

    /// What ALTER TABLE changes: the table it begins with, and every other that it gives rows to or takes them from, each
    /// behind the word TABLE: `EXCHANGE PARTITION p WITH TABLE t`, `CONVERT TABLE t TO PARTITION p`, `CONVERT PARTITION p TO
    /// TABLE t`. The word is reserved, so nothing else is called that.
    fn altered(&mut self) -> Statement {
        let Some(first) = self.table() else { return Statement::Unknown };
        let mut tables = vec![first];
        while self.more() {
            if !self.take("table") {
                self.at += 1;
            } else if let Some(other) = self.table() {
                tables.push(other);
            } else {
                return Statement::Unknown;
            }
        }
        Statement::TableDdl(tables)
    }

    /// `[IF EXISTS] a, b.c …`: the tables of DROP TABLE; of CREATE TABLE the first one is followed by something else than a
    /// comma.
    fn tables(&mut self) -> Statement {
        let mut tables = Vec::new();
        loop {
            let Some(table) = self.table() else { return Statement::Unknown };
            tables.push(table);
            if !self.sign(',') {
                return Statement::TableDdl(tables);
            }
        }
    }

    /// `a TO b, c TO d`: all of them.
    fn renames(&mut self) -> Statement {
        let mut tables = Vec::new();
        loop {
            let Some(from) = self.table() else { return Statement::Unknown };
            while self.more() && !self.take("to") {
                self.at += 1;
            }
            let Some(to) = self.table() else { return Statement::Unknown };
            tables.extend([from, to]);
            if !self.sign(',') {
                return Statement::TableDdl(tables);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::lexer::parse;
    use super::*;

    fn check(sql: &str, expected: &Statement) {
        assert_eq!(&parse(sql.as_bytes()).statement(), expected, "{sql}");
    }

    fn ddl_on(names: &[(&str, &str)]) -> Statement {
        let name = |(database, table): &(&str, &str)| TableName {
            database: (!database.is_empty()).then(|| (*database).to_owned()),
            table: (*table).to_owned(),
        };
        Statement::TableDdl(names.iter().map(name).collect())
    }

    #[test]
    fn frames_are_recognised() {
        check("BEGIN", &Statement::Begin);
        check("XA START X'31',X'',1", &Statement::Begin);
        check("COMMIT /* x */", &Statement::Commit);
        check("ROLLBACK", &Statement::Rollback);
        check("SAVEPOINT `a b`", &Statement::Savepoint("a b".into()));
        check("ROLLBACK TO SAVEPOINT sp", &Statement::RollbackTo("sp".into()));
        check("ROLLBACK TO `sp`", &Statement::RollbackTo("sp".into()));
        check("XA COMMIT X'31'", &Statement::XaOutcome);
    }

    #[test]
    fn ddl_names_its_tables() {
        check("ALTER TABLE corder ADD x int", &ddl_on(&[("", "corder")]));
        check(
            "alter online table if exists `a``b`.`c d` engine=InnoDB",
            &ddl_on(&[("a`b", "c d")]),
        );
        check(
            "DROP TABLE IF EXISTS `a`,b . c /* generated by server */",
            &ddl_on(&[("", "a"), ("b", "c")]),
        );
        check("CREATE OR REPLACE TABLE t (a int)", &ddl_on(&[("", "t")]));
        check(
            "RENAME TABLE a TO x.b, c TO d",
            &ddl_on(&[("", "a"), ("x", "b"), ("", "c"), ("", "d")]),
        );
        check(
            "CREATE UNIQUE INDEX IF NOT EXISTS i USING BTREE ON db.t (a)",
            &ddl_on(&[("db", "t")]),
        );
        check("DROP INDEX i ON t", &ddl_on(&[("", "t")]));
        check("/*!40000 ALTER TABLE `t` DISABLE KEYS */", &ddl_on(&[("", "t")]));
        check("SET STATEMENT a=1 FOR ALTER TABLE t FORCE", &ddl_on(&[("", "t")]));
        let nested = "SET STATEMENT a=1 FOR SET STATEMENT b=2 FOR TRUNCATE t";
        let emptied = TableName { database: None, table: "t".into() };
        check(nested, &Statement::Truncate(emptied));
        let truncated = TableName { database: Some("db".into()), table: "t".into() };
        check("TRUNCATE TABLE db.t", &Statement::Truncate(truncated));
        check("DROP DATABASE IF EXISTS commerce", &Statement::DropDatabase("commerce".into()));
    }

    #[test]
    fn a_database_that_is_replaced_is_dropped() {
        let dropped = Statement::DropDatabase("commerce".into());
        check("CREATE OR REPLACE DATABASE commerce", &dropped);
        check("create or replace schema `commerce` character set utf8mb4", &dropped);
        check("DROP SCHEMA commerce", &dropped);
        check("CREATE DATABASE IF NOT EXISTS commerce", &Statement::Harmless);
        check("ALTER DATABASE commerce COLLATE utf8mb4_bin", &Statement::Harmless);
    }

    #[test]
    fn tables_that_give_their_rows_to_another_or_take_its_are_named() {
        let both = [("", "pp"), ("db", "t1")];
        check("alter table pp exchange partition p0 with table db.t1", &ddl_on(&both));
        check(
            "ALTER TABLE pp EXCHANGE PARTITION p WITH TABLE `db`.`t1` WITHOUT VALIDATION",
            &ddl_on(&both),
        );
        check(
            "ALTER TABLE pp CONVERT TABLE db.t1 TO PARTITION p1 VALUES LESS THAN (9)",
            &ddl_on(&both),
        );
        check("ALTER TABLE IF EXISTS pp CONVERT PARTITION p1 TO TABLE db.t1", &ddl_on(&both));
        check("ALTER TABLE pp ADD `table` INT, ADD KEY (`table`)", &ddl_on(&[("", "pp")]));
    }

    #[test]
    fn other_statements_are_told_apart() {
        check("CREATE VIEW v AS SELECT * FROM customer", &Statement::Harmless);
        check("GRANT ALL ON *.* TO u", &Statement::Harmless);
        check("CREATE USER u", &Statement::Harmless);
        check("CREATE TABLE IF NOT EXISTS t (a INT)", &Statement::Harmless);
        check("DROP TEMPORARY TABLE IF EXISTS `a`.`t`", &Statement::Harmless);
        let temporary = TableName { database: Some("a".into()), table: "t".into() };
        check(
            "CREATE TEMPORARY TABLE IF NOT EXISTS a.t (i INT)",
            &Statement::TemporaryTable(temporary),
        );
        check("ANALYZE LOCAL TABLE t", &Statement::Harmless);
        check("DROP SEQUENCE IF EXISTS t", &Statement::Harmless);
        for data in [
            "ANALYZE UPDATE t SET v = 1",
            "ANALYZE FORMAT=JSON DELETE FROM t",
            "CREATE OR REPLACE TABLE other.kk SELECT src.f()",
            "CREATE TABLE IF NOT EXISTS other.y AS VALUES (f())",
            "CREATE TEMPORARY TABLE other.z AS WITH x AS (SELECT f()) SELECT * FROM x",
        ] {
            check(data, &Statement::Data);
        }
        check("SET PASSWORD = 'x'", &Statement::Harmless);
        check("INSERT INTO t VALUES ('a''b\\'', \"x\")", &Statement::Data);
        check("FROBNICATE t", &Statement::Unknown);
        check("", &Statement::Unknown);
    }

    #[test]
    fn mentions_looks_at_names_not_at_strings() {
        let parsed = parse(b"INSERT INTO `Commerce`.corder SELECT 'customer' FROM x -- customer\n");
        assert!(parsed.mentions("commerce", "CORDER"));
        assert!(!parsed.mentions("commerce", "customer"));
        assert!(!parsed.mentions("billing", "corder"));
        assert!(parse(b"update customer set a=1").mentions("commerce", "customer"));
    }
}
