//! Whether a statement gives the rows on the target the values that it gave them on the source.
//!
//! Before this stands [`super::ddl`]. A value that a server computes is equal on both only if nothing in it depends on the session, the
//! server or the moment, and too much does: functions, comparisons of a TIME with a date (`old_mode`), matches (`default_regex_flags`),
//! divisions (`div_precision_increment`). So a statement that computes values, for a new column's default or for a generated column, is
//! refused; a default must be written out. Checks, partitions and keys give no row a value.
//!
//! Nor is the text always read as its event says: SET STATEMENT and PREPARE give it another `sql_mode`, and some settings are in no event.
//! So what means something else under another mode is refused, even though most sessions have none. A definition that came out
//! otherwise on the target is noticed later, but not if another ALTER makes the two equal before.

use super::ddl::{Kinship, Known};
use super::lexer::{Parsed, Token};
use crate::error::{Error, Result};
use crate::mysql::names::same;

/// Refuses what may give the rows on the target other values than on the source. `text` is what the tokens are of.
///
/// # Errors
/// Stop, with the reason.
pub(super) fn check(parsed: &Parsed, text: &str, known: &Known) -> Result<()> {
    let tokens = &parsed.tokens;
    let refuse = |why: &str| Err(Error::stop(why));
    let computes = |at: usize| {
        tokens[at].is("default") && !is_constant(tokens, at + 1)
            || tokens[at].is("generated")
            || tokens[at].is("as") && tokens.get(at + 1) == Some(&Token::Sign('('))
    };
    if (0..tokens.len()).any(computes) {
        return refuse(
            "it lets the server compute values (a default that is not a number or a string in single quotes, or a generated column), and the target's may be others",
        );
    }
    if let Some(why) = foreign(text, known.kinship) {
        return refuse(why);
    }
    if depends_on_mode(tokens) {
        return refuse(
            "which type DATE, REAL or BLOB is depends on the sql_mode under which it was prepared",
        );
    }
    if (0..tokens.len()).any(|at| is_type(tokens, at, "timestamp") && !is_explicit(&tokens[at..])) {
        return refuse(
            "what a TIMESTAMP is by default depends on explicit_defaults_for_timestamp, which is not in the binlog; write NULL, or NOT NULL with a DEFAULT",
        );
    }
    if makes_dates_of_times(tokens, known) {
        return refuse("what date a TIME becomes depends on old_mode, which is not in the binlog");
    }
    if (0..tokens.len()).any(|at| takes_default_charset(tokens, at)) {
        return refuse("the default character set of the target's database may be another one");
    }
    let literal = |at: usize| {
        let span = parsed.spans.get(at).filter(|_| tokens[at] == Token::Text)?;
        text.get(span.clone()).map(|literal| literal.trim_matches('\''))
    };
    if (0..tokens.len()).any(|at| tokens[at].name().or_else(|| literal(at)).is_some_and(is_alias)) {
        return refuse(
            "which character set utf8 is depends on old_mode, which is not in the binlog; name utf8mb3 or utf8mb4",
        );
    }
    if exchanges_names(tokens) {
        return refuse(
            "a column's name before or after it stands for another column too, and after a crash it could not be told whether that was done",
        );
    }
    let adds = tokens.iter().any(|token| token.is("add"));
    let primary = known.identity.as_deref().is_some_and(|identity| same(identity, "PRIMARY"));
    let numbers = (0..tokens.len()).any(|at| numbers_rows(tokens, at));
    if numbers && (adds || !primary || !known.single)
        || (0..tokens.len()).any(|at| is_type(tokens, at, "serial"))
    {
        return refuse("AUTO_INCREMENT may number the target's rows in another order");
    }
    Ok(())
}

/// `utf8`, or the name of one of its collations: utf8mb3 or utf8mb4.
fn is_alias(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let name = name.strip_prefix('_').unwrap_or(&name);
    name == "utf8" || name.starts_with("utf8_")
}

/// `CHARACTER SET`, `CHARSET` or `COLLATE`, and then `DEFAULT`.
fn takes_default_charset(tokens: &[Token], at: usize) -> bool {
    let set = tokens[at].is("set") && at > 0 && tokens[at - 1].is("character");
    let equals = tokens.get(at + 1) == Some(&Token::Sign('='));
    let value = tokens.get(at + 1 + usize::from(equals));
    (set || tokens[at].is("charset") || tokens[at].is("collate"))
        && value.is_some_and(|value| value.is("default"))
}

/// Why a server of another flavour or version might make something else of it: their defaults, their rounding and their `sql_mode`s are
/// not the same, and each runs comments that the other does not.
fn foreign(text: &str, kinship: Kinship) -> Option<&'static str> {
    let comments = || text.contains("/*!") || text.contains("/*M!");
    match kinship {
        Kinship::None => Some("MySQL's DDL is not run on MariaDB, nor MariaDB's on MySQL"),
        Kinship::Flavor if comments() => Some("it has a comment that only some versions run"),
        Kinship::Flavor | Kinship::Version => None,
    }
}

/// Types that are others under `sql_mode=ORACLE` or `REAL_AS_FLOAT`, and that values are converted to.
fn depends_on_mode(tokens: &[Token]) -> bool {
    let converts = tokens.iter().any(|token| token.is("modify") || token.is("change"));
    let named = |at| ["date", "real", "blob"].iter().any(|word| is_type(tokens, at, word));
    converts && (0..tokens.len()).any(named)
}

/// Whether the column of this type says whether it holds NULL, and what it holds by default otherwise.
fn is_explicit(rest: &[Token]) -> bool {
    let mut depth = 0_i32;
    let ends = |token: &Token| {
        match token {
            Token::Sign('(') => depth += 1,
            Token::Sign(')') => depth -= 1,
            _ => {}
        }
        depth < 0 || depth == 0 && *token == Token::Sign(',')
    };
    let end = rest.iter().position(ends).unwrap_or(rest.len());
    let words = &rest[..end];
    let null = |at: usize| words[at].is("null") && !words[at - 1].is("default");
    let not = |at: usize| words[at - 1].is("not");
    let nulls = (1..words.len()).any(|at| null(at) && !not(at));
    let refuses = (1..words.len()).any(|at| null(at) && not(at));
    nulls || refuses && words.iter().any(|token| token.is("default"))
}

/// Whether a column's name before or after it is renamed stands elsewhere in the statement as well: of a column that is dropped, added or
/// renamed itself. Then the table may look as before.
fn exchanges_names(tokens: &[Token]) -> bool {
    const CLAUSES: [&str; 6] = ["add", "alter", "change", "drop", "modify", "rename"];
    let first = (1..tokens.len()).find(|at| CLAUSES.iter().any(|word| tokens[*at].is(word)));
    let first = first.unwrap_or(tokens.len());
    let name = |at: usize| tokens.get(at).and_then(Token::name);
    (first..tokens.len()).any(|at| {
        let change = tokens[at].is("change");
        let column = tokens.get(at + 1).is_some_and(|token| token.is("column"));
        let renames = change || column && tokens[at].is("rename");
        if !renames {
            return false;
        }
        let exists = tokens.get(at + 1 + usize::from(column)).is_some_and(|token| token.is("if"));
        let from = at + 1 + usize::from(column) + if exists { 2 } else { 0 };
        let to = from + 1 + usize::from(!change);
        let (Some(old), Some(new)) = (name(from), name(to)) else { return false };
        let elsewhere = |other: usize| {
            other != from
                && other != to
                && name(other).is_some_and(|name| same(name, old) || same(name, new))
        };
        !same(old, new) && (first..tokens.len()).any(elsewhere)
    })
}

/// Whether a TIME may become a date: by CAST, or by a change of a column's type.
fn makes_dates_of_times(tokens: &[Token], known: &Known) -> bool {
    let date =
        |token: &Token| ["date", "datetime", "timestamp"].into_iter().any(|word| token.is(word));
    let casts = tokens.windows(2).any(|two| two[0].is("as") && date(&two[1]));
    let changes = tokens.iter().any(|token| token.is("modify") || token.is("change"));
    let defaults = tokens
        .iter()
        .enumerate()
        .any(|(at, token)| token.is("default") && !is_constant(tokens, at + 1));
    casts || known.has_time && (changes || defaults) && tokens.iter().any(date)
}

/// Whether AUTO_INCREMENT stands there as an attribute of a column, not as the table's option.
fn numbers_rows(tokens: &[Token], at: usize) -> bool {
    let next = tokens.get(at + 1);
    tokens[at].is("auto_increment")
        && next != Some(&Token::Sign('='))
        && !next.is_some_and(is_number)
}

/// Whether a word stands there as a type or an attribute, not as a column's name.
fn is_type(tokens: &[Token], at: usize, word: &str) -> bool {
    const BEFORE_NAMES: [&str; 13] = [
        "add", "after", "alter", "by", "change", "column", "drop", "exists", "index", "key",
        "modify", "rename", "to",
    ];
    let before = at.checked_sub(1).map(|before| &tokens[before]);
    let named = before.is_none_or(|before| {
        matches!(before, Token::Sign(_)) || BEFORE_NAMES.iter().any(|word| before.is(word))
    });
    tokens[at].is(word) && !named
}

fn is_number(token: &Token) -> bool {
    token.name().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether values may depend on the session's time zone: one is converted between TIMESTAMP and another type, or computed.
pub(super) fn heeds_time_zone(parsed: &Parsed) -> bool {
    let tokens = &parsed.tokens;
    tokens.iter().enumerate().any(|(at, token)| {
        ["timestamp", "modify", "change", "as", "check"].into_iter().any(|word| token.is(word))
            || token.is("default") && (!is_constant(tokens, at + 1) || changes_default(tokens, at))
    })
}

/// `SET DEFAULT`: of which type the column is, is not said.
fn changes_default(tokens: &[Token], at: usize) -> bool {
    at.checked_sub(1).is_some_and(|before| tokens[before].is("set"))
}

/// Whether a number, a string or a word like NULL stands there, and no expression begins with it.
fn is_constant(tokens: &[Token], at: usize) -> bool {
    const WORDS: [&str; 6] = ["null", "true", "false", "character", "charset", "collate"];
    const PREFIXES: [&str; 3] = ["b", "x", "n"];
    let at = at + usize::from(tokens.get(at) == Some(&Token::Sign('-')));
    let next = tokens.get(at + 1);
    tokens.get(at).is_none_or(|token| {
        let signed = matches!(next, Some(Token::Sign('-' | '+')));
        let number = matches!(token, Token::Word(word) if is_literal(word, signed));
        let prefixed = next == Some(&Token::Text) && PREFIXES.iter().any(|prefix| token.is(prefix));
        let constant = number
            || prefixed
            || matches!(token, Token::Text | Token::Sign('=' | ',' | '.'))
            || WORDS.iter().any(|word| token.is(word));
        constant && next != Some(&Token::Sign('('))
    })
}

/// Whether a word is a number; a column's name may begin with digits as well. `signed`: behind it stands the sign of its exponent.
fn is_literal(word: &str, signed: bool) -> bool {
    let digits = |text: &str, radix| !text.is_empty() && text.chars().all(|c| c.is_digit(radix));
    let exponent = |(base, power): (&str, &str)| {
        digits(base, 10) && (digits(power, 10) || power.is_empty() && signed)
    };
    digits(word, 10)
        || word.strip_prefix("0x").is_some_and(|rest| digits(rest, 16))
        || word.strip_prefix("0b").is_some_and(|rest| digits(rest, 2))
        || word.split_once(['e', 'E']).is_some_and(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::lexer::parse;

    fn keyed() -> Known {
        let identity = Some("PRIMARY".into());
        Known { identity, single: true, kinship: Kinship::Version, ..Known::default() }
    }

    fn checked(sql: &str, known: &Known) -> Result<()> {
        check(&parse(sql.as_bytes()), sql, known)
    }

    #[test]
    fn what_is_written_out_is_run() {
        for sql in [
            "ALTER TABLE t ADD COLUMN n INT UNSIGNED DEFAULT 4000000000 AFTER id, ADD KEY (v)",
            "ALTER TABLE t MODIFY c VARCHAR(100) FIRST, ADD (a DECIMAL(5,2), b ENUM('x','y'))",
            "CREATE UNIQUE INDEX u ON `t` (c, id)",
            "ALTER TABLE t ADD UNIQUE KEY IF NOT EXISTS k (c(10), id), ADD INDEX `i` (c(5) DESC)",
            "ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY f (a) REFERENCES db.b (c)",
            "ALTER TABLE t ADD u UUID, ADD now INT, ADD user VARCHAR(20) DEFAULT 'user()'",
            "ALTER TABLE t ADD a INT DEFAULT -5, ADD b DOUBLE DEFAULT 1e-5, ADD c BIT(3) DEFAULT b'101'",
            "ALTER TABLE t ADD a DECIMAL(5,2) DEFAULT .5, ADD b VARBINARY(3) DEFAULT 0xff, ADD c CHAR(9) DEFAULT 'x y'",
            "ALTER TABLE t ADD a TIMESTAMP NULL DEFAULT NULL ON UPDATE CURRENT_TIMESTAMP, ADD KEY (timestamp)",
            "ALTER TABLE t ADD (a TIMESTAMP(3) NOT NULL DEFAULT '2020-01-01', b INT), ADD d DATE",
            "ALTER TABLE t ADD CHECK (v IN (1, 2) AND (c LIKE 'x') AND cast(v AS CHAR(3)) <> '7')",
            "ALTER TABLE t PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10))",
            "ALTER TABLE t AUTO_INCREMENT = 5, ADD d DATETIME(6), ALTER v DROP DEFAULT",
            "ALTER TABLE t AUTO_INCREMENT 5, ADD serial INT, ADD KEY (serial)",
            "ALTER TABLE t MODIFY id BIGINT NOT NULL AUTO_INCREMENT",
            "ALTER TABLE t DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin, CHANGE a b INT, CHANGE d c INT NOT NULL",
            "ALTER TABLE a RENAME COLUMN a TO b, RENAME KEY c TO d",
        ] {
            let known = keyed();
            checked(sql, &known).expect(sql);
        }
    }

    #[test]
    fn what_depends_on_the_session_the_server_or_the_moment_is_refused() {
        for default in [
            "user()",
            "`user`()",
            "current_user",
            "current_role",
            "@@server_id",
            "(1)",
            "(c REGEXP 'a.b')",
            "(tm > d)",
            "greatest(tm, d)",
            "now(6)",
            "current_timestamp",
            "ts",
            "CASE WHEN ts > '2020' THEN 1 ELSE 0 END",
            "(next value for s)",
            "DATE '2020-01-01'",
            "\"c\"",
            "1tm",
            "`1`",
            "0xfg",
            "1e",
        ] {
            let sql = format!("ALTER TABLE t ADD x VARCHAR(99) DEFAULT {default}");
            assert!(checked(&sql, &keyed()).is_err(), "{sql}");
        }
        let unique = Known { identity: Some("u".into()), ..keyed() };
        let other_flavor = Known { kinship: Kinship::None, ..keyed() };
        let other_version = Known { kinship: Kinship::Flavor, ..keyed() };
        for (sql, known) in [
            ("ALTER TABLE t ADD g INT AS (abs(v)) STORED", keyed()),
            ("ALTER TABLE t ADD g INT GENERATED ALWAYS AS (abs(v))", keyed()),
            ("ALTER TABLE t ADD a INT AUTO_INCREMENT PRIMARY KEY", keyed()),
            ("ALTER TABLE t ADD a SERIAL", keyed()),
            ("ALTER TABLE t ADD COLUMN (b INT, a serial)", keyed()),
            ("ALTER TABLE t MODIFY a INT AUTO_INCREMENT", Known::default()),
            ("ALTER TABLE t MODIFY a INT NOT NULL AUTO_INCREMENT", unique),
            (
                "ALTER TABLE t MODIFY id INT NOT NULL AUTO_INCREMENT",
                Known { single: false, ..keyed() },
            ),
            ("ALTER TABLE t ADD x INT DEFAULT 5", other_flavor),
            ("ALTER TABLE t ADD z INT /*M! DEFAULT 7 */", other_version),
            ("ALTER TABLE t ADD ts TIMESTAMP", keyed()),
            ("ALTER TABLE t ADD (a INT, ts TIMESTAMP NOT NULL, b INT NULL)", keyed()),
            ("ALTER TABLE t MODIFY ts TIMESTAMP DEFAULT NULL", keyed()),
            ("ALTER TABLE t CHANGE ts at TIMESTAMP DEFAULT '2020-01-01'", keyed()),
            ("ALTER TABLE t MODIFY d DATE", keyed()),
            ("ALTER TABLE t CHANGE r r REAL", keyed()),
            ("ALTER TABLE t DROP COLUMN c, CHANGE b c INT, ADD COLUMN b INT AFTER a", keyed()),
            ("ALTER TABLE t DROP c, RENAME COLUMN b TO c, ADD b INT AFTER a", keyed()),
            ("ALTER TABLE t CHANGE a b INT, CHANGE b c INT NOT NULL", keyed()),
            ("ALTER TABLE t MODIFY tm DATETIME", Known { has_time: true, ..keyed() }),
            ("ALTER TABLE t CONVERT TO CHARACTER SET DEFAULT", keyed()),
            ("ALTER TABLE t CHARACTER SET = DEFAULT, MODIFY c VARCHAR(40)", keyed()),
            ("ALTER TABLE t COLLATE=DEFAULT", keyed()),
            ("ALTER TABLE t MODIFY c VARCHAR(40) CHARACTER SET utf8", keyed()),
            ("ALTER TABLE t MODIFY c VARCHAR(40) COLLATE 'utf8_bin'", keyed()),
            ("ALTER TABLE t CHANGE b a INT AFTER id, CHANGE a b INT", keyed()),
            ("ALTER TABLE t RENAME COLUMN a TO B, CHANGE COLUMN IF EXISTS b a INT", keyed()),
        ] {
            assert!(checked(sql, &known).is_err(), "{sql}");
        }
    }

    #[test]
    fn conversions_heed_the_time_zone() {
        for (sql, heeds) in [
            ("ALTER TABLE t MODIFY v TIMESTAMP NULL", true),
            ("ALTER TABLE t MODIFY v DATETIME", true),
            ("ALTER TABLE t ADD d TIMESTAMP NOT NULL DEFAULT '2020-01-01 12:00:00'", true),
            ("ALTER TABLE t ADD d VARCHAR(30) DEFAULT (concat(v, ''))", true),
            ("ALTER TABLE t ADD d VARCHAR(30) DEFAULT concat(v, '')", true),
            ("ALTER TABLE t ADD d VARCHAR(30) AS (v)", true),
            ("ALTER TABLE t ADD d DATETIME DEFAULT ts", true),
            ("ALTER TABLE t ADD d INT DEFAULT CASE WHEN ts > '2020' THEN 1 ELSE 0 END", true),
            ("ALTER TABLE t ALTER COLUMN ts SET DEFAULT '2020-06-01 00:00:00'", true),
            ("ALTER TABLE t ADD CHECK (ts >= '2020-01-01')", true),
            ("ALTER TABLE t ADD d INT DEFAULT 5, ADD KEY (v)", false),
            ("ALTER TABLE t ADD d DECIMAL(5,2) DEFAULT -.5, ADD e CHAR(3) DEFAULT NULL", false),
            ("ALTER TABLE t DEFAULT CHARACTER SET utf8mb4", false),
            ("ALTER TABLE t DROP d, COMMENT 'timestamp'", false),
        ] {
            assert_eq!(heeds_time_zone(&parse(sql.as_bytes())), heeds, "{sql}");
        }
    }
}
