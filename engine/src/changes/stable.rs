//! Whether a statement gives the rows on the target the values that it gave them on the source.
//!
//! Before this stands [`super::ddl`]. The default of a new column and the value of a generated one are computed on each
//! server; they are equal only if nothing in them depends on the session, the server or the moment. The functions that are
//! known to be so are listed, and every other call refuses: a function that is missing here costs a stop, one too many a
//! row.

use super::ddl::Known;
use super::lexer::{Parsed, Token};
use crate::error::{Error, Result};

/// Words that call a function without parentheses, or may.
const BARE: &[&str] = &[
    "current_date",
    "current_role",
    "current_time",
    "current_timestamp",
    "current_user",
    "localtime",
    "localtimestamp",
    "nextval",
    "sysdate",
    "utc_date",
    "utc_time",
    "utc_timestamp",
];

/// Functions that may be called with one number, as a type or the prefix of a key's column may be written.
const NUMBERED: &[&str] = &[
    "benchmark",
    "convert_tz",
    "curtime",
    "from_unixtime",
    "last_insert_id",
    "load_file",
    "now",
    "rand",
    "random_bytes",
    "sleep",
    "unix_timestamp",
    "uuid_short",
    "uuid",
];

/// What may stand before a parenthesis: functions of their arguments only,
const FUNCTIONS: &[&str] = &[
    "abs",
    "cast",
    "ceil",
    "ceiling",
    "char_length",
    "character_length",
    "coalesce",
    "concat",
    "concat_ws",
    "convert",
    "crc32",
    "floor",
    "greatest",
    "hex",
    "if",
    "ifnull",
    "json_extract",
    "json_unquote",
    "json_valid",
    "json_value",
    "lcase",
    "least",
    "left",
    "length",
    "lower",
    "ltrim",
    "md5",
    "mod",
    "nullif",
    "octet_length",
    "replace",
    "right",
    "round",
    "rtrim",
    "sha1",
    "sha2",
    "substr",
    "substring",
    "trim",
    "truncate",
    "ucase",
    "unhex",
    "upper",
];

/// … the words of a definition and its operators,
const STRUCTURE: &[&str] = &[
    "add",
    "and",
    "as",
    "between",
    "binary",
    "by",
    "case",
    "check",
    "collate",
    "column",
    "columns",
    "default",
    "div",
    "else",
    "fulltext",
    "hash",
    "in",
    "index",
    "into",
    "is",
    "key",
    "like",
    "list",
    "not",
    "or",
    "partition",
    "range",
    "regexp",
    "rlike",
    "spatial",
    "than",
    "then",
    "unique",
    "values",
    "when",
    "xor",
];

/// … and types that take more than one number.
const TYPES: &[&str] =
    &["dec", "decimal", "double", "enum", "fixed", "float", "numeric", "precision", "real", "set"];

/// Words behind which the name of a key or a table stands.
const NAMED: &[&str] = &[
    "btree",
    "exists",
    "fulltext",
    "hash",
    "index",
    "key",
    "on",
    "references",
    "spatial",
    "unique",
];

/// Refuses what may give the rows on the target other values than on the source.
///
/// # Errors
/// Stop, with the reason.
pub(super) fn check(parsed: &Parsed, known: &Known) -> Result<()> {
    let tokens = &parsed.tokens;
    let keyed = known.identity.is_some();
    for (at, token) in tokens.iter().enumerate() {
        let Some(name) = token.name() else { continue };
        let word = matches!(token, Token::Word(_));
        let sequence = token.is("next") && tokens.get(at + 1).is_some_and(|t| t.is("value"));
        if word && (is_one_of(name, BARE) || name.contains('@')) || sequence || calls(tokens, at) {
            return Err(Error::stop(format!("{name} may give the target's rows other values")));
        }
    }
    if tokens.contains(&Token::Sign('/')) {
        return Err(Error::stop(
            "how many digits a division has depends on div_precision_increment",
        ));
    }
    if makes_dates_of_times(tokens, known) {
        return Err(Error::stop(
            "what date a TIME becomes depends on old_mode, which is not in the binlog",
        ));
    }
    let unsaid = tokens.windows(2).any(|two| {
        two[1].is("default") && ["charset", "collate"].into_iter().any(|word| two[0].is(word))
    });
    let unsaid = unsaid
        || tokens
            .windows(3)
            .any(|three| three[0].is("character") && three[1].is("set") && three[2].is("default"));
    if unsaid {
        return Err(Error::stop(
            "the default character set of the target's database may be another one",
        ));
    }
    let adds = tokens.iter().any(|token| token.is("add"));
    let numbers = (0..tokens.len()).any(|at| numbers_rows(tokens, at));
    if numbers && (adds || !keyed) || (0..tokens.len()).any(|at| is_serial(tokens, at)) {
        return Err(Error::stop("a new AUTO_INCREMENT column numbers the target's rows anew"));
    }
    Ok(())
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
    const WORDS: [&str; 5] = ["null", "true", "false", "character", "charset"];
    let at = at + usize::from(tokens.get(at) == Some(&Token::Sign('-')));
    let number = |token: &Token| is_number(token) || *token == Token::Sign('.');
    tokens.get(at).is_none_or(|token| {
        let constant = *token == Token::Text
            || number(token)
            || matches!(token, Token::Sign('=' | ','))
            || WORDS.iter().any(|word| token.is(word));
        constant && tokens.get(at + 1) != Some(&Token::Sign('('))
    })
}

/// Whether the name at `at` calls a function that is not known to be stable.
fn calls(tokens: &[Token], at: usize) -> bool {
    if tokens.get(at + 1) != Some(&Token::Sign('(')) {
        return false;
    }
    let Some(name) = tokens[at].name() else { return false };
    let before = at.checked_sub(1).map(|before| &tokens[before]);
    let named = before.is_some_and(|before| {
        *before == Token::Sign('.') || NAMED.iter().any(|word| before.is(word))
    });
    // `c(10)`: a type, or the prefix of a key's column.
    let numbered = tokens.get(at + 3) == Some(&Token::Sign(')'))
        && tokens[at + 2].name().is_some_and(|n| n.bytes().all(|byte| byte.is_ascii_digit()));
    let known = [FUNCTIONS, STRUCTURE, TYPES].into_iter().any(|list| is_one_of(name, list));
    !(named || known || numbered && !is_one_of(name, NUMBERED))
}

fn is_one_of(name: &str, words: &[&str]) -> bool {
    words.iter().any(|word| name.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::lexer::parse;

    fn keyed() -> Known {
        Known { identity: Some("PRIMARY".into()), ..Known::default() }
    }

    #[test]
    fn what_depends_on_its_arguments_only_is_run() {
        for sql in [
            "ALTER TABLE t ADD COLUMN n INT UNSIGNED DEFAULT 4000000000 AFTER id, ADD KEY (v)",
            "ALTER TABLE t MODIFY c VARCHAR(100) FIRST, ADD (a DECIMAL(5,2), b ENUM('x','y'))",
            "CREATE UNIQUE INDEX u ON `t` (c, id)",
            "ALTER TABLE t ADD UNIQUE KEY IF NOT EXISTS k (c(10), id), ADD INDEX `i` (c(5) DESC)",
            "ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY f (a) REFERENCES db.b (c)",
            "ALTER TABLE t ADD u UUID, ADD now INT, ADD user VARCHAR(20) DEFAULT 'user()'",
            "ALTER TABLE t ADD g INT AS (abs(v) + if(v > 3, 1, 2)) STORED",
            "ALTER TABLE t ADD g VARCHAR(9) DEFAULT (concat(upper(c), '-', v))",
            "ALTER TABLE t ADD CHECK (v IN (1, 2) AND (c LIKE 'x'))",
            "ALTER TABLE t PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10))",
            "ALTER TABLE t AUTO_INCREMENT = 5, ADD d DATETIME(6)",
            "ALTER TABLE t AUTO_INCREMENT 5, ADD serial INT, ADD KEY (serial)",
            "ALTER TABLE t MODIFY id BIGINT NOT NULL AUTO_INCREMENT",
        ] {
            check(&parse(sql.as_bytes()), &keyed())
                .unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
    }

    #[test]
    fn what_depends_on_the_session_the_server_or_the_moment_is_refused() {
        for default in [
            "user()",
            "USER ()",
            "`user`()",
            "session_user()",
            "system_user()",
            "current_user",
            "current_user()",
            "current_role",
            "current_role()",
            "database()",
            "schema()",
            "version()",
            "connection_id()",
            "last_insert_id()",
            "last_insert_id(5)",
            "@@server_id",
            "@x",
            "@@global.server_id",
            "(@@server_id + 1)",
            "(concat('a', user()))",
            "now()",
            "now(6)",
            "current_timestamp",
            "uuid()",
            "rand()",
            "rand(3)",
            "from_unixtime(1)",
            "nextval(s)",
            "(next value for s)",
            "date_format(d, '%M')",
            "last_value(a)",
            "unknown_function(1, 2)",
        ] {
            let sql = format!("ALTER TABLE t ADD x VARCHAR(99) DEFAULT {default}");
            assert!(check(&parse(sql.as_bytes()), &keyed()).is_err(), "{sql}");
        }
        for (sql, known) in [
            ("ALTER TABLE t ADD a INT AUTO_INCREMENT PRIMARY KEY", keyed()),
            ("ALTER TABLE t ADD a SERIAL", keyed()),
            ("ALTER TABLE t ADD COLUMN (b INT, a serial)", keyed()),
            ("ALTER TABLE t MODIFY a INT AUTO_INCREMENT", Known::default()),
            ("ALTER TABLE t ADD a INT DEFAULT (v / w)", keyed()),
            ("ALTER TABLE t ADD x DATETIME DEFAULT (cast(tm AS DATETIME))", keyed()),
            ("ALTER TABLE t MODIFY tm DATETIME", Known { has_time: true, ..keyed() }),
            ("ALTER TABLE t CONVERT TO CHARACTER SET DEFAULT", keyed()),
        ] {
            assert!(check(&parse(sql.as_bytes()), &known).is_err(), "{sql}");
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
