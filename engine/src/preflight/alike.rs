//! Whether a table that stands on the target is the one that the move would make there.
//!
//! Compared is what the server prints of it with the source's definition as it would be carried ([`TargetDdl::items`]), each in one
//! form: servers of other versions and flavors print the same in other words. What decides about rows, or about what a client may write
//! after the switch, must agree: columns with types, defaults, expressions and attributes, checks, the key that tells rows apart, and all
//! other keys under their names, which index hints and later DDL use. May differ: comments, the AUTO_INCREMENT counter, names of
//! checks, storage and partitions, and further keys of the target that are not unique.

use super::facts::Facts;
use crate::error::Result;
use crate::mysql::names::lowered;
use crate::mysql::schema::definition::lexer::{Kind, Token, tokens};
use crate::mysql::schema::definition::{Item, ItemKind};
use crate::mysql::schema::{Column, Definition, KeyKind, TableSchema};
use crate::target_ddl::{TargetDdl, TargetDdlInput};

/// What makes an existing table unfit; none where it can take the source's rows.
pub(super) fn difference(
    facts: &Facts,
    source: &TableSchema,
    existing: &TableSchema,
) -> Option<String> {
    columns(source, existing)
        .or_else(|| keys_and_more(source, existing))
        .or_else(|| printed(facts, source, existing))
}

fn columns(source: &TableSchema, existing: &TableSchema) -> Option<String> {
    if source.columns.len() != existing.columns.len() {
        return Some("it has another number of columns".into());
    }
    let mut pairs = source.columns.iter().zip(&existing.columns);
    pairs.find_map(|(ours, theirs)| {
        let what = column(ours, theirs)?;
        Some(format!("column {} differs: {what}", ours.name))
    })
}

fn column(ours: &Column, theirs: &Column) -> Option<String> {
    if ours.name != theirs.name {
        return Some(format!("in its place is {}", theirs.name));
    }
    let collations = [ours, theirs].map(|column| plain_collation(column.collation.as_deref()));
    let differs = [
        (plain_type(&ours.column_type) != plain_type(&theirs.column_type), "its type"),
        (ours.nullable != theirs.nullable, "whether it may be NULL"),
        (ours.generated != theirs.generated, "whether it is generated"),
        (collations[0] != collations[1], "its collation"),
        (ours.auto_increment != theirs.auto_increment, "AUTO_INCREMENT"),
        (ours.on_update != theirs.on_update, "ON UPDATE"),
        (ours.invisible != theirs.invisible, "whether it is invisible"),
    ];
    differs.into_iter().find(|(differs, _)| *differs).map(|(_, what)| what.to_owned())
}

fn keys_and_more(source: &TableSchema, existing: &TableSchema) -> Option<String> {
    if source.identity_columns() != existing.identity_columns() {
        return Some("the key that tells rows apart differs".into());
    }
    if existing.without_overlaps {
        return Some("it has a key WITHOUT OVERLAPS".into());
    }
    if !existing.engine.eq_ignore_ascii_case("InnoDB") {
        return Some(format!("its engine is {}", existing.engine));
    }
    if plain_collation(source.collation.as_deref())
        != plain_collation(existing.collation.as_deref())
    {
        return Some("its default collation differs".into());
    }
    if let Some(other) = other_unique(existing).or_else(|| other_unique(source)) {
        return Some(format!("the unique key {other} must be built after the copy"));
    }
    if let Some(key) = source.foreign_keys.first() {
        return Some(format!("the foreign key {} must be built after the copy", key.name));
    }
    if !existing.foreign_keys.is_empty() || !existing.triggers.is_empty() {
        return Some("it has foreign keys or triggers already".into());
    }
    None
}

/// A unique key beside the one that tells rows apart.
fn other_unique(table: &TableSchema) -> Option<&str> {
    let unique = |kind: KeyKind| matches!(kind, KeyKind::Unique | KeyKind::Primary);
    let identity = table.identity().map(|key| key.name.as_str());
    let mut names = table.keys.iter().filter(|key| unique(key.kind)).map(|key| key.name.as_str());
    names.find(|name| Some(*name) != identity)
}

/// What only the printed definitions show.
fn printed(facts: &Facts, source: &TableSchema, existing: &TableSchema) -> Option<String> {
    let carried = TargetDdl::new(TargetDdlInput {
        schema: source,
        source: &facts.source.info,
        target: &facts.target.info,
        database: &facts.target_database,
        table: &existing.name,
        defer_secondary_keys: false,
    });
    // What cannot be carried is another check's to say.
    let carried = carried.ok()?;
    let Ok(there) = Definition::parse(&existing.create_sql) else {
        return Some("its definition is not understood".into());
    };
    // A flavor's own servers set the same parentheses.
    let same_flavor = facts.source.info.flavor == facts.target.info.flavor;
    compare(&carried.items, &there.items, same_flavor)
        .unwrap_or_else(|_| Some("its definition is not understood".into()))
}

fn compare(ours: &[Item], theirs: &[Item], same_flavor: bool) -> Result<Option<String>> {
    let of = |items: &[Item], kinds: &[ItemKind]| -> Result<Vec<(String, String)>> {
        let items = items.iter().filter(|item| kinds.contains(&item.kind));
        items.map(|item| Ok((item.name.clone(), plain(item, same_flavor)?))).collect()
    };
    let kinds = [ItemKind::Column];
    for (ours, theirs) in of(ours, &kinds)?.iter().zip(&of(theirs, &kinds)?) {
        if ours.1 != theirs.1 {
            return Ok(Some(format!(
                "column {} differs: its default, its expression, its check or another attribute",
                ours.0
            )));
        }
    }
    let kinds = [ItemKind::Check, ItemKind::Period];
    let mut checks = [of(ours, &kinds)?, of(theirs, &kinds)?]
        .map(|items| items.into_iter().map(|item| item.1).collect::<Vec<_>>());
    checks.iter_mut().for_each(|checks| checks.sort());
    if checks[0] != checks[1] {
        return Ok(Some("its CHECK constraints or periods differ".into()));
    }
    let kinds = [ItemKind::Index, ItemKind::Fulltext, ItemKind::Spatial];
    let there = of(theirs, &kinds)?;
    // Their names, in lower case, are in the texts.
    let mut keys = of(ours, &kinds)?.into_iter();
    let missing = keys.find(|(_, text)| there.iter().all(|(_, other)| other != text));
    Ok(missing.map(|key| format!("it lacks the key {}, or has another of this name", key.0)))
}

/// An item in the one form in which all servers' texts compare, without its type, which is compared as such.
fn plain(item: &Item, same_flavor: bool) -> Result<String> {
    let all = tokens(&item.text)?;
    let mut at = match item.kind {
        ItemKind::Column => behind_type(&all),
        // CONSTRAINT and its name.
        ItemKind::Check if all.first().is_some_and(|token| token.is_word("CONSTRAINT")) => 2,
        _ => 0,
    };
    // MySQL sets them around every operation, MariaDB where they are needed.
    let loose = !same_flavor && matches!(item.kind, ItemKind::Column | ItemKind::Check);
    let mut out = String::new();
    while let Some(token) = all.get(at) {
        let rest = &all[at..];
        let skipped = passed_over(rest, item.kind);
        if skipped == 0 {
            let parenthesis =
                token.kind == Kind::Punct && matches!(token.value.as_str(), "(" | ")");
            if !(parenthesis && loose) {
                say(token, &mut out)?;
            }
        }
        at += skipped.max(1);
    }
    Ok(out)
}

/// How many tokens stand here that say nothing that has to agree, or that only some servers print.
fn passed_over(rest: &[Token], kind: ItemKind) -> usize {
    let is = |at: usize, word: &str| rest.get(at).is_some_and(|token| token.is_word(word));
    let punct = |at: usize, mark: &str| {
        rest.get(at).is_some_and(|token| token.kind == Kind::Punct && token.value == mark)
    };
    let text = |at: usize| rest.get(at).is_some_and(|token| token.kind == Kind::Text);
    let first = &rest[0];
    match first.kind {
        Kind::CommentOpen | Kind::CommentClose => 1,
        Kind::Word if is(0, "COMMENT") && text(1) => 2,
        // A literal's character set.
        Kind::Word if first.value.starts_with('_') && text(1) => 1,
        Kind::Word if is(0, "USING") && (is(1, "BTREE") || is(1, "HASH")) => 2,
        Kind::Word if is(0, "KEY_BLOCK_SIZE") && punct(1, "=") => 3,
        Kind::Word if kind != ItemKind::Column => 0,
        Kind::Word if is(0, "CHARACTER") && is(1, "SET") => 3,
        Kind::Word if is(0, "COLLATE") || is(0, "STORAGE") || is(0, "COLUMN_FORMAT") => 2,
        Kind::Word if is(0, "NOT") && is(1, "NULL") => 2,
        Kind::Word if is(0, "DEFAULT") && is(1, "NULL") => 2,
        Kind::Word if is(0, "NULL") => 1,
        Kind::Word if is(0, "GENERATED") && is(1, "ALWAYS") => 2,
        Kind::Word if is(0, "STORED") || is(0, "PERSISTENT") || is(0, "VIRTUAL") => 1,
        Kind::Punct if punct(0, "(") && punct(1, ")") => 2,
        _ => 0,
    }
}

/// Where a column's type ends: behind its name, the type's word, its length or labels, and what makes it unsigned.
fn behind_type(all: &[Token]) -> usize {
    let mut at = 2;
    if all.get(at).is_some_and(|token| token.kind == Kind::Punct && token.value == "(") {
        let close = |token: &Token| token.kind == Kind::Punct && token.value == ")";
        at += all[at..].iter().position(close).map_or(0, |close| close + 1);
    }
    while all.get(at).is_some_and(|token| token.is_word("UNSIGNED") || token.is_word("ZEROFILL")) {
        at += 1;
    }
    at
}

/// A number is the same with quotes and without.
fn say(token: &Token, out: &mut String) -> Result<()> {
    match token.kind {
        Kind::Text if token.value.parse::<f64>().is_ok() => {
            for inner in tokens(&token.value)? {
                say(&inner, out)?;
            }
        }
        Kind::Text => *out += &format!(" {:?}", token.value),
        Kind::Ident => *out += &format!(" `{}`", lowered(&token.value)),
        Kind::Word | Kind::Punct | Kind::CommentOpen | Kind::CommentClose => {
            out.push(' ');
            *out += &token.value;
        }
    }
    Ok(())
}

/// A type without the display width of integers and years, which MySQL 8 no longer prints.
fn plain_type(column_type: &str) -> String {
    let integer = ["year", "tinyint", "smallint", "mediumint", "int", "bigint"]
        .into_iter()
        .find(|word| column_type.split(['(', ' ']).next() == Some(word));
    match (integer, column_type.split_once(')')) {
        (Some(word), Some((_, rest))) if !rest.contains("zerofill") => format!("{word}{rest}"),
        _ => column_type.to_owned(),
    }
}

fn plain_collation(collation: Option<&str>) -> Option<String> {
    collation.map(|name| match name.strip_prefix("utf8mb3_") {
        Some(rest) => format!("utf8_{rest}"),
        None => name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(ours: &str, theirs: &str, same_flavor: bool) -> bool {
        let [ours, theirs] = [ours, theirs].map(|column| {
            let sql = format!("CREATE TABLE `t` (\n  `c` {column}\n) ENGINE=InnoDB");
            Definition::parse(&sql).unwrap().items
        });
        compare(&ours, &theirs, same_flavor).unwrap().is_none()
    }

    #[test]
    fn columns_compare_by_what_they_say() {
        for (ours, theirs) in [
            ("int(11) NOT NULL DEFAULT 0 COMMENT 'a'", "int NOT NULL DEFAULT '0'"),
            ("decimal(9,2) DEFAULT -1.50", "decimal(9,2) DEFAULT '-1.50'"),
            ("text DEFAULT NULL", "text"),
            (
                "timestamp(3) NULL DEFAULT current_timestamp(3) ON UPDATE current_timestamp(3)",
                "timestamp(3) NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3)",
            ),
            (
                "timestamp NOT NULL DEFAULT current_timestamp()",
                "timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP",
            ),
            (
                "int(11) GENERATED ALWAYS AS (`a` + 1) VIRTUAL",
                "int GENERATED ALWAYS AS ((`a` + 1)) VIRTUAL NULL",
            ),
            ("int(11) INVISIBLE", "int /*!80023 INVISIBLE */"),
            (
                "varchar(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT 'x'",
                "varchar(9) COLLATE utf8mb4_bin DEFAULT 'x'",
            ),
        ] {
            assert!(check(ours, theirs, false), "{ours} / {theirs}");
        }
        for (ours, theirs) in [
            ("int DEFAULT 1", "int DEFAULT 2"),
            ("int DEFAULT 1", "int"),
            ("varchar(9) DEFAULT 'NULL'", "varchar(9) DEFAULT NULL"),
            ("varchar(9) DEFAULT 'x'", "varchar(9) DEFAULT 'X'"),
            (
                "int GENERATED ALWAYS AS (`a` + 1) VIRTUAL",
                "int GENERATED ALWAYS AS (`a` + 2) VIRTUAL",
            ),
            ("int CHECK (`c` > 0)", "int"),
            ("int INVISIBLE", "int"),
            ("timestamp NULL ON UPDATE current_timestamp()", "timestamp NULL"),
        ] {
            assert!(!check(ours, theirs, true), "{ours} / {theirs}");
            assert!(!check(ours, theirs, false), "{ours} / {theirs}");
        }
        let (ours, theirs) = ("int AS ((`a` + 1) * 2) STORED", "int AS (`a` + 1 * 2) STORED");
        assert!(!check(ours, theirs, true), "parentheses of one flavor mean what they say");
    }

    #[test]
    fn keys_and_checks_compare_by_what_they_say() {
        let source = "int NOT NULL,\n  KEY `k` (`c`) USING BTREE COMMENT 'x',\n  CONSTRAINT `CONSTRAINT_1` CHECK (`c` > 0)";
        let alike = "int NOT NULL,\n  KEY `more` (`c`),\n  KEY `K` (`c`),\n  CONSTRAINT `other` CHECK (`c` > 0)";
        assert!(check(source, alike, true));
        for other in [
            "int NOT NULL,\n  KEY `k` (`c`)",
            "int NOT NULL,\n  KEY `k` (`c`),\n  CHECK (`c` > 1)",
            "int NOT NULL,\n  CONSTRAINT `CONSTRAINT_1` CHECK (`c` > 0)",
            "int NOT NULL,\n  KEY `k` (`c` DESC),\n  CONSTRAINT `CONSTRAINT_1` CHECK (`c` > 0)",
            "int NOT NULL,\n  KEY `other` (`c`),\n  CONSTRAINT `CONSTRAINT_1` CHECK (`c` > 0)",
        ] {
            assert!(!check(source, other, true), "{other}");
        }
    }
}
