//! Whether a statement gives the rows on the target the values that it gave them on the source.
//!
//! Before this stands [`super::ddl`]. A value that a server computes is equal on both only if nothing in it depends on the session, the
//! server or the moment, and too much does: functions, comparisons of a TIME with a date (`old_mode`), matches (`default_regex_flags`),
//! divisions (`div_precision_increment`). So a statement that computes values, for a new column's default or for a generated column, is
//! refused; a default must be written out. Checks, partitions and keys give no row a value.

use super::ddl::Known;
use super::lexer::{Parsed, Token};
use super::statement::same;
use crate::error::{Error, Result};

/// Refuses what may give the rows on the target other values than on the source. `text` is what the tokens are of.
///
/// # Errors
/// Stop, with the reason.
pub(super) fn check(parsed: &Parsed, text: &str, known: &Known) -> Result<()> {
    let tokens = &parsed.tokens;
    let refuse = |why: &str| Err(Error::stop(why));
    let quoted = |at: usize| {
        parsed.spans.get(at).is_some_and(|span| text.as_bytes().get(span.start) == Some(&b'"'))
    };
    let computes = |at: usize| {
        tokens[at].is("default") && !is_constant(tokens, at + 1) && !quoted(at + 1)
            || tokens[at].is("generated")
            || tokens[at].is("as") && tokens.get(at + 1) == Some(&Token::Sign('('))
    };
    if (0..tokens.len()).any(computes) {
        return refuse(
            "it lets the server compute values (a default that is not written out, or a generated column), and the target's may be others",
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
            "columns exchange their names, and after a crash it could not be told whether that was done",
        );
    }
    let adds = tokens.iter().any(|token| token.is("add"));
    let primary = known.identity.as_deref().is_some_and(|identity| same(identity, "PRIMARY"));
    let numbers = (0..tokens.len()).any(|at| numbers_rows(tokens, at));
    if numbers && (adds || !primary) || (0..tokens.len()).any(|at| is_serial(tokens, at)) {
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

/// Whether a column gets the name of another that gives its own away. Then the table may look as before.
fn exchanges_names(tokens: &[Token]) -> bool {
    let mut renames: Vec<(&str, &str)> = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let change = token.is("change");
        if !change && !token.is("rename") {
            continue;
        }
        let mut next = at + 1;
        let column = tokens.get(next).is_some_and(|token| token.is("column"));
        next += usize::from(column);
        if !change && !column {
            continue;
        }
        if tokens.get(next).is_some_and(|token| token.is("if")) {
            next += 2;
        }
        let to = next + 1 + usize::from(!change);
        let name = |at: usize| tokens.get(at).and_then(Token::name);
        if let (Some(old), Some(new)) = (name(next), name(to)) {
            renames.push((old, new));
        }
    }
    renames.iter().any(|(old, new)| {
        !same(old, new) && renames.iter().any(|(other, _)| same(other, new) && !same(other, old))
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

/// Whether SERIAL stands there as a type or an attribute, not as a column's name.
fn is_serial(tokens: &[Token], at: usize) -> bool {
    const BEFORE_NAMES: [&str; 9] =
        ["add", "after", "change", "column", "drop", "exists", "index", "key", "modify"];
    let before = at.checked_sub(1).map(|before| &tokens[before]);
    let named = before.is_none_or(|before| {
        matches!(before, Token::Sign(_)) || BEFORE_NAMES.iter().any(|word| before.is(word))
    });
    tokens[at].is("serial") && !named
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
        let number =
            token.name().is_some_and(|name| name.starts_with(|c: char| c.is_ascii_digit()));
        let prefixed = next == Some(&Token::Text) && PREFIXES.iter().any(|prefix| token.is(prefix));
        let constant = number
            || prefixed
            || matches!(token, Token::Text | Token::Sign('=' | ',' | '.'))
            || WORDS.iter().any(|word| token.is(word));
        constant && next != Some(&Token::Sign('('))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::lexer::parse;

    fn keyed() -> Known {
        Known { identity: Some("PRIMARY".into()), ..Known::default() }
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
            "ALTER TABLE t ADD a DECIMAL(5,2) DEFAULT .5, ADD b VARBINARY(3) DEFAULT 0xff, ADD c CHAR(9) DEFAULT \"x y\"",
            "ALTER TABLE t ADD a TIMESTAMP NULL DEFAULT NULL ON UPDATE CURRENT_TIMESTAMP",
            "ALTER TABLE t ADD CHECK (v IN (1, 2) AND (c LIKE 'x') AND cast(v AS CHAR(3)) <> '7')",
            "ALTER TABLE t PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10))",
            "ALTER TABLE t AUTO_INCREMENT = 5, ADD d DATETIME(6), ALTER v DROP DEFAULT",
            "ALTER TABLE t AUTO_INCREMENT 5, ADD serial INT, ADD KEY (serial)",
            "ALTER TABLE t MODIFY id BIGINT NOT NULL AUTO_INCREMENT",
            "ALTER TABLE t DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin, CHANGE a b INT, CHANGE b c INT NOT NULL",
            "ALTER TABLE t RENAME COLUMN a TO b, RENAME KEY b TO a",
        ] {
            let known = keyed();
            let renamed = sql.contains("CHANGE b c");
            assert_eq!(checked(sql, &known).is_err(), renamed, "{sql}");
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
        ] {
            let sql = format!("ALTER TABLE t ADD x VARCHAR(99) DEFAULT {default}");
            assert!(checked(&sql, &keyed()).is_err(), "{sql}");
        }
        let unique = Known { identity: Some("u".into()), ..Known::default() };
        for (sql, known) in [
            ("ALTER TABLE t ADD g INT AS (abs(v)) STORED", keyed()),
            ("ALTER TABLE t ADD g INT GENERATED ALWAYS AS (abs(v))", keyed()),
            ("ALTER TABLE t ADD a INT AUTO_INCREMENT PRIMARY KEY", keyed()),
            ("ALTER TABLE t ADD a SERIAL", keyed()),
            ("ALTER TABLE t ADD COLUMN (b INT, a serial)", keyed()),
            ("ALTER TABLE t MODIFY a INT AUTO_INCREMENT", Known::default()),
            ("ALTER TABLE t MODIFY a INT NOT NULL AUTO_INCREMENT", unique),
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
