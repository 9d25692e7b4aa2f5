//! What DDL on a moved table does to its rows, and its text as the target can run it.
//!
//! Before this stands [`super::statement`], which takes statements apart; after it the stream, which decides by `--on-ddl`.
//! Nothing is guessed: what is not known to keep the rows' images changes them, and a text that might mean something else
//! on the target is refused.

use std::borrow::Cow;

use bytes::Bytes;

use super::stable;
use super::statement::{Cursor, Parsed, Token, parse, same};
use crate::error::{Error, Result};
use crate::mysql::binlog::event::QueryEvent;
use crate::mysql::sql;

/// A statement with what its text depends on.
#[derive(Clone, Debug)]
pub struct DdlStatement {
    sql: Bytes,
    /// The default database.
    database: String,
    sql_mode: u64,
    /// The id of `character_set_client`.
    charset: Option<u16>,
    /// The session's time zone; a server says it wherever it used it.
    time_zone: Option<String>,
}

/// What a statement does to a table, from the mildest to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Keys, comments, options: row images stay what they are, and so does what tells rows apart.
    Keeps,
    /// Columns, or the key that tells rows apart, may change.
    Reshapes,
    /// What no copy can follow, whatever `--on-ddl` says: for this reason.
    Stops(&'static str),
}

impl Effect {
    /// Rows or the whole table are replaced or removed.
    pub const REMOVES: Self = Self::Stops("it removes rows or the table itself");
    /// Which rows an ALTER IGNORE removes depends on the order in which the server meets them, and no event says.
    const DEDUPLICATES: Self =
        Self::Stops("IGNORE lets it remove rows, and the binlog does not say which");
    const CASCADES: Self = Self::Stops(
        "its foreign key changes rows by itself (ON DELETE or ON UPDATE), and such changes are in no binlog",
    );
    const OTHER_ENGINE: Self = Self::Stops(
        "it takes the table out of InnoDB, and without transactions its rows cannot be placed in the binlog",
    );
    const VERSIONS: Self = Self::Stops("old versions of rows and periods are not carried");
}

/// Bits of `sql_mode` under which text means something else: `||`, `"…"`, `\`.
const PIPES_AS_CONCAT: u64 = 2;
const ANSI_QUOTES: u64 = 4;
const NO_BACKSLASH_ESCAPES: u64 = 1 << 20;

impl DdlStatement {
    /// The statement of an event.
    pub fn of(query: &QueryEvent) -> Self {
        Self {
            sql: query.sql.clone(),
            database: String::from_utf8_lossy(&query.database).into_owned(),
            sql_mode: query.sql_mode.unwrap_or(0),
            charset: query.charsets.map(|[client, ..]| client),
            time_zone: query
                .time_zone
                .as_ref()
                .map(|zone| String::from_utf8_lossy(zone).into_owned()),
        }
    }

    /// The text for messages; values in it are the operator's own DDL.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.sql)
    }

    /// What it does to a table whose rows are told apart by the key `identity`.
    pub fn effect(&self, identity: Option<&str>) -> Effect {
        let parsed = parse(&self.sql);
        let mut at = parsed.cursor();
        let dropped = |at: &mut Cursor<'_>| {
            at.existence();
            key_effect(at.one_name(), identity)
        };
        match at.word().as_deref() {
            Some("alter") => {
                let mut ignores = false;
                while at.take("online") || at.take("offline") || at.take("ignore") {
                    ignores |= at.tokens[at.at - 1].is("ignore");
                }
                if !at.take("table") || at.table().is_none() {
                    return Effect::REMOVES;
                }
                let worst = clauses(&mut at.clone(), identity).max(anywhere(&at));
                if ignores { Effect::DEDUPLICATES } else { worst }
            }
            Some("create") => {
                let replaces = at.take("or") && at.take("replace");
                while at.take("unique") || at.take("fulltext") || at.take("spatial") {}
                match (at.take("index"), replaces) {
                    (false, _) => Effect::REMOVES,
                    (true, true) => dropped(&mut at),
                    (true, false) => Effect::Keeps,
                }
            }
            Some("drop") if at.take("index") => dropped(&mut at),
            _ => Effect::REMOVES,
        }
    }

    /// The time zone to run it in, as an offset. A statement that does not heed it is given any.
    pub fn time_zone(&self) -> &str {
        self.offset().unwrap_or("+00:00")
    }

    /// The time zone, if it is an offset and means the same everywhere. A server that did not use its time zone says none.
    fn offset(&self) -> Option<&str> {
        let Some(zone) = self.time_zone.as_deref() else { return Some("+00:00") };
        let offset = zone.strip_prefix(['+', '-'])?;
        offset.bytes().all(|byte| byte.is_ascii_digit() || byte == b':').then_some(zone)
    }

    /// The text for the target: names qualified by the source's database are given the target's, the rest stays as typed.
    ///
    /// # Errors
    /// Stop, with the reason, where the text may mean something else there.
    pub fn for_target(&self, source_database: &str, target_database: &str) -> Result<String> {
        let refuse = |why: String| Err(Error::stop(why));
        let Ok(text) = std::str::from_utf8(&self.sql) else {
            return refuse("its text is not valid UTF-8".into());
        };
        if !text.is_ascii() && !self.charset.is_some_and(is_utf8) {
            return refuse(
                "its text is not ASCII, and the client's character set was not UTF-8".into(),
            );
        }
        for (bit, sign) in
            [(PIPES_AS_CONCAT, "||"), (ANSI_QUOTES, "\""), (NO_BACKSLASH_ESCAPES, "\\")]
        {
            if self.sql_mode & bit != 0 && text.contains(sign) {
                return refuse(format!("its sql_mode gives {sign} another meaning"));
            }
        }
        let parsed = parse(&self.sql);
        stable::check(&parsed)?;
        if self.offset().is_none() && stable::heeds_time_zone(&parsed) {
            return refuse(format!(
                "it was run in the time zone {}, which may be another one on the target",
                self.time_zone.as_deref().unwrap_or_default()
            ));
        }
        let foreign = parsed.tokens.iter().any(|token| token.is("references"));
        if foreign && !same(&self.database, source_database) {
            return refuse("it names another table from another default database".into());
        }
        requalified(text, &parsed, source_database, target_database)
    }
}

/// Replaces qualifiers by their place in the text.
fn requalified(text: &str, parsed: &Parsed, source: &str, target: &str) -> Result<String> {
    let mut out = String::with_capacity(text.len() + 16);
    let mut copied = 0;
    for at in 1..parsed.tokens.len() {
        if parsed.tokens[at] != Token::Sign('.') {
            continue;
        }
        let inner = at >= 2 && parsed.tokens[at - 2] == Token::Sign('.');
        let Some(name) = parsed.tokens[at - 1].name().filter(|_| !inner) else { continue };
        if name.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        if !same(name, source) {
            return Err(Error::stop(format!("it names {}, which is not moved", sql::ident(name))));
        }
        let span = &parsed.spans[at - 1];
        out.push_str(&text[copied..span.start]);
        out.push_str(&sql::ident(target));
        copied = span.end;
    }
    out.push_str(&text[copied..]);
    Ok(out)
}

/// Ids of the collations of utf8mb3 and utf8mb4.
fn is_utf8(collation: u16) -> bool {
    matches!(collation, 33 | 45 | 46 | 76 | 83 | 192..=247 | 255..=323 | 576..=640 | 1024..)
}

fn key_effect(name: Option<String>, identity: Option<&str>) -> Effect {
    match (name, identity) {
        (Some(name), Some(identity)) if !same(&name, identity) => Effect::Keeps,
        (Some(_), None) => Effect::Keeps,
        _ => Effect::Reshapes,
    }
}

/// What stands inside of a column's definition as well as in a clause of its own.
fn anywhere(at: &Cursor<'_>) -> Effect {
    let tokens = &at.tokens[at.at.min(at.tokens.len())..];
    let pair = |a: &str, b: &str| tokens.windows(2).any(|two| two[0].is(a) && two[1].is(b));
    let cascades = tokens.windows(3).any(|three| {
        three[0].is("on")
            && (three[1].is("delete") || three[1].is("update"))
            && (three[2].is("cascade") || three[2].is("set"))
    });
    if cascades {
        Effect::CASCADES
    } else if pair("system", "versioning") || pair("period", "for") {
        Effect::VERSIONS
    } else {
        Effect::Keeps
    }
}

/// The clauses of ALTER TABLE, from behind the table's name on: the worst counts.
fn clauses(at: &mut Cursor<'_>, identity: Option<&str>) -> Effect {
    if at.take("wait") {
        at.at += 1;
    }
    at.take("nowait");
    let tokens = &at.tokens[at.at.min(at.tokens.len())..];
    let mut depth = 0_u32;
    let commas = |token: &Token| {
        match token {
            Token::Sign('(') => depth += 1,
            Token::Sign(')') => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && *token == Token::Sign(',')
    };
    tokens
        .split(commas)
        .map(|clause| clause_effect(clause, identity))
        .max()
        .unwrap_or(Effect::Keeps)
}

fn clause_effect(clause: &[Token], identity: Option<&str>) -> Effect {
    let mut at = Cursor { tokens: clause, at: 0 };
    if changes_engine(clause) {
        return Effect::OTHER_ENGINE;
    }
    let Some(first) = at.word() else {
        return if clause.is_empty() { Effect::Keeps } else { Effect::Reshapes };
    };
    match first.as_str() {
        "add" => added(at),
        "drop" => {
            if at.take("partition") {
                return Effect::REMOVES;
            }
            let key = ["index", "key", "constraint", "check"].into_iter().any(|word| at.take(word));
            let foreign = !key && at.take("foreign") && at.take("key");
            if !key && !foreign {
                return Effect::Reshapes;
            }
            at.existence();
            key_effect(at.one_name(), identity)
        }
        "alter" => {
            let key = at.take("index") || at.take("key");
            let default = at
                .tokens
                .windows(2)
                .any(|pair| (pair[0].is("set") || pair[0].is("drop")) && pair[1].is("default"));
            if key || default { Effect::Keeps } else { Effect::Reshapes }
        }
        "rename" if at.take("index") || at.take("key") => key_effect(at.one_name(), identity),
        "rename" if at.take("column") => Effect::Reshapes,
        "rename" | "truncate" | "exchange" | "discard" | "import" => Effect::REMOVES,
        "convert" if at.take("table") || at.take("partition") => Effect::REMOVES,
        "comment" | "auto_increment" | "force" | "algorithm" | "lock" | "row_format"
        | "key_block_size" | "avg_row_length" | "checksum" | "page_checksum" | "max_rows"
        | "min_rows" | "pack_keys" | "stats_persistent" | "stats_auto_recalc"
        | "stats_sample_pages" | "enable" | "disable" | "default" | "character" | "charset"
        | "collate" | "compression" | "page_compressed" | "engine" | "coalesce" | "reorganize"
        | "rebuild" | "analyze" | "check" | "optimize" | "repair" | "remove" | "partition" => {
            Effect::Keeps
        }
        _ => Effect::Reshapes,
    }
}

/// What ADD adds: a key (other than the primary), a constraint or a partition, or else a column.
fn added(mut at: Cursor<'_>) -> Effect {
    const KEYS: [&str; 7] = ["index", "key", "unique", "fulltext", "spatial", "foreign", "check"];
    if at.take("constraint")
        && !KEYS.iter().any(|word| at.tokens.get(at.at).is_some_and(|t| t.is(word)))
    {
        at.at += 1;
    }
    let keeps = KEYS.into_iter().any(|word| at.take(word)) || at.take("partition");
    if keeps { Effect::Keeps } else { Effect::Reshapes }
}

/// Options need no comma between them, so an engine may hide behind a comment. A column may be called engine.
fn changes_engine(clause: &[Token]) -> bool {
    const NAMED: [&str; 11] = [
        "add", "after", "alter", "change", "column", "drop", "exists", "key", "modify", "rename",
        "to",
    ];
    clause.iter().enumerate().any(|(at, token)| {
        let equals = clause.get(at + 1) == Some(&Token::Sign('='));
        let value = clause.get(at + 1 + usize::from(equals));
        let before = at.checked_sub(1).map(|before| &clause[before]);
        let column = before.is_some_and(|before| {
            matches!(before, Token::Sign(_)) || NAMED.iter().any(|word| before.is(word))
        });
        token.is("engine")
            && (equals || !column)
            && !value.is_some_and(|value| value.name().is_some_and(|n| same(n, "innodb")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(sql: &str) -> DdlStatement {
        DdlStatement {
            sql: Bytes::copy_from_slice(sql.as_bytes()),
            database: "commerce".into(),
            sql_mode: 0,
            charset: Some(45),
            time_zone: None,
        }
    }

    #[test]
    fn a_time_zone_is_kept_if_it_is_the_same_everywhere() {
        let modify = "ALTER TABLE t MODIFY v TIMESTAMP NULL";
        for (zone, run_in) in [
            (None, Some("+00:00")),
            (Some("-05:00"), Some("-05:00")),
            (Some("+5:30"), Some("+5:30")),
            (Some("SYSTEM"), None),
            (Some("Europe/Berlin"), None),
        ] {
            let zoned = |sql| DdlStatement { time_zone: zone.map(str::to_owned), ..statement(sql) };
            let modified = zoned(modify);
            let ran = modified.for_target("commerce", "customer").is_ok();
            assert_eq!(ran.then(|| modified.time_zone()), run_in, "{zone:?}");
            assert!(zoned("ALTER TABLE t ADD n INT").for_target("commerce", "customer").is_ok());
        }
    }

    #[test]
    fn what_keeps_the_rows_is_told_from_what_does_not() {
        use Effect::{Keeps, Reshapes};
        for (sql, effect) in [
            ("ALTER TABLE t ADD KEY k (v), COMMENT = 'drop, rename'", Keeps),
            ("ALTER TABLE t ADD CONSTRAINT UNIQUE u (a, b), ALGORITHM=INPLACE", Keeps),
            ("ALTER TABLE a.t ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES b (c)", Keeps),
            ("ALTER TABLE t ADD CONSTRAINT p PRIMARY KEY (a)", Reshapes),
            ("ALTER TABLE t ADD PRIMARY KEY (a)", Reshapes),
            ("ALTER TABLE t ADD `key` INT", Reshapes),
            ("ALTER TABLE t ADD a INT COMMENT 'x'", Reshapes),
            ("ALTER TABLE t ADD (a INT, b INT)", Reshapes),
            ("ALTER TABLE t DROP KEY k, DROP FOREIGN KEY f", Keeps),
            ("ALTER TABLE t DROP KEY uniq", Reshapes),
            ("ALTER TABLE t DROP k", Reshapes),
            ("ALTER TABLE t MODIFY a INT AFTER b", Reshapes),
            ("ALTER TABLE t ALTER a SET DEFAULT 5, RENAME INDEX a TO b", Keeps),
            ("ALTER TABLE t RENAME COLUMN a TO b", Reshapes),
            ("ALTER TABLE t ADD KEY (a), RENAME TO b", Effect::REMOVES),
            ("ALTER TABLE t COMMENT 'x' ENGINE=MyISAM", Effect::OTHER_ENGINE),
            ("ALTER TABLE t ENGINE = InnoDB", Keeps),
            ("ALTER TABLE t ENGINE aria", Effect::OTHER_ENGINE),
            ("ALTER TABLE t ADD KEY (a), engine=`Aria` TRANSACTIONAL=1", Effect::OTHER_ENGINE),
            ("ALTER TABLE t ADD engine INT, MODIFY COLUMN engine INT AFTER engine", Reshapes),
            ("ALTER TABLE pp EXCHANGE PARTITION p0 WITH TABLE t", Effect::REMOVES),
            ("ALTER TABLE pp CONVERT TABLE t TO PARTITION p0", Effect::REMOVES),
            ("ALTER TABLE pp CONVERT PARTITION p0 TO TABLE t", Effect::REMOVES),
            ("ALTER IGNORE TABLE t ADD UNIQUE (v)", Effect::DEDUPLICATES),
            ("alter online ignore table t ADD UNIQUE (v)", Effect::DEDUPLICATES),
            (
                "ALTER TABLE t ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES b (c) ON DELETE CASCADE",
                Effect::CASCADES,
            ),
            (
                "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES b (c) on update set null",
                Effect::CASCADES,
            ),
            (
                "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES b (c) ON DELETE SET DEFAULT",
                Effect::CASCADES,
            ),
            ("ALTER TABLE t ADD COLUMN p INT REFERENCES b (c) ON DELETE CASCADE", Effect::CASCADES),
            ("ALTER TABLE t ADD (p INT REFERENCES b (c) ON UPDATE CASCADE)", Effect::CASCADES),
            ("ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES b (c) ON DELETE NO ACTION", Keeps),
            ("ALTER TABLE t ADD d DATETIME ON UPDATE CURRENT_TIMESTAMP", Reshapes),
            ("ALTER TABLE t ADD SYSTEM VERSIONING", Effect::VERSIONS),
            ("ALTER TABLE t ADD PERIOD FOR p (a, b)", Effect::VERSIONS),
            ("ALTER TABLE t TRUNCATE PARTITION p", Effect::REMOVES),
            ("ALTER TABLE t DROP PARTITION p", Effect::REMOVES),
            ("ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4", Reshapes),
            ("ALTER TABLE t FROBNICATE", Reshapes),
            ("ALTER ONLINE TABLE t WAIT 5 FORCE", Keeps),
            ("CREATE UNIQUE INDEX i ON t (a)", Keeps),
            ("CREATE OR REPLACE INDEX uniq ON t (a)", Reshapes),
            ("DROP INDEX IF EXISTS i ON t", Keeps),
            ("DROP INDEX uniq ON t", Reshapes),
            ("DROP TABLE t", Effect::REMOVES),
            ("CREATE OR REPLACE TABLE t (a INT)", Effect::REMOVES),
            ("RENAME TABLE t TO u", Effect::REMOVES),
        ] {
            assert_eq!(statement(sql).effect(Some("uniq")), effect, "{sql}");
        }
    }

    #[test]
    fn qualifiers_are_replaced_in_place() {
        let run = |sql: &str| statement(sql).for_target("commerce", "custo`mer");
        assert_eq!(
            run("ALTER TABLE `Commerce` . t ADD d DECIMAL(5,2) DEFAULT 1.5, COMMENT 'commerce.t'")
                .unwrap(),
            "ALTER TABLE `custo``mer` . t ADD d DECIMAL(5,2) DEFAULT 1.5, COMMENT 'commerce.t'"
        );
        assert_eq!(run("ALTER TABLE t ADD KEY (a)").unwrap(), "ALTER TABLE t ADD KEY (a)");
        for refused in [
            "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES billing.b (c)",
            "ALTER TABLE t ADD a DATETIME DEFAULT NOW()",
            "ALTER TABLE t ADD a INT AUTO_INCREMENT PRIMARY KEY",
            "ALTER TABLE t ADD a VARCHAR(99) DEFAULT user()",
        ] {
            assert!(run(refused).is_err(), "{refused}");
        }
    }
}
