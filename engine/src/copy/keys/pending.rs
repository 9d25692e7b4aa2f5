//! The ALTER that adds what was put off, taken apart: what of it a table has, and the statements for the rest.

use crate::error::{Error, Result};
use crate::mysql::names::{lowered, same};
use crate::mysql::schema::Definition;
use crate::mysql::schema::definition::lexer::{Kind, Token, tokens};
use crate::mysql::schema::definition::{Item, ItemKind};
use crate::mysql::sql;

/// The clauses of one ALTER TABLE.
#[derive(Debug)]
pub(super) struct Pending<'a> {
    /// `ALTER TABLE …`, up to the first clause.
    head: &'a str,
    clauses: Vec<Clause<'a>>,
}

/// One clause.
#[derive(Debug)]
pub(super) struct Clause<'a> {
    text: &'a str,
    does: Does,
}

#[derive(Debug)]
enum Does {
    /// `ADD …`
    Add(Item),
    /// `DROP KEY …`
    Drop(String),
}

impl<'a> Pending<'a> {
    /// Takes a statement apart that `target_ddl` has made.
    ///
    /// # Errors
    /// Stop if it is not understood.
    pub(super) fn parse(alter: &'a str) -> Result<Self> {
        let all = tokens(alter)?;
        let starts = clause_starts(&all);
        let first = *starts.first().ok_or_else(|| not_understood(alter))?;
        let mut clauses = Vec::new();
        for (at, start) in starts.iter().enumerate() {
            // In front of the next one stands a comma.
            let end = starts.get(at + 1).map_or(all.len(), |next| next - 1);
            clauses.push(Clause::parse(alter, &all[*start..end])?);
        }
        Ok(Self { head: alter[..all[first].start].trim_end(), clauses })
    }

    /// The clauses that a table of this definition lacks.
    ///
    /// # Errors
    /// Stop if it has something else under one of the names.
    pub(super) fn missing(&self, now: &Definition, table: &str) -> Result<Vec<&Clause<'a>>> {
        let mut missing = Vec::new();
        for clause in &self.clauses {
            let done = match &clause.does {
                Does::Drop(name) => {
                    !now.items.iter().any(|item| is_key(item) && same(&item.name, name))
                }
                Does::Add(item) => has(now, item, table)?,
            };
            if !done {
                missing.push(clause);
            }
        }
        Ok(missing)
    }

    /// The statements that add them: one, unless there are more full-text keys, of which MySQL builds one at a time.
    pub(super) fn statements(&self, missing: &[&Clause<'a>]) -> Vec<String> {
        let (words, others): (Vec<&Clause<'_>>, Vec<&Clause<'_>>) =
            missing.iter().partition(|clause| clause.is_fulltext());
        let mut groups: Vec<Vec<&Clause<'_>>> =
            words.into_iter().map(|clause| vec![clause]).collect();
        match groups.first_mut() {
            Some(first) => first.splice(0..0, others).for_each(drop),
            None => groups.push(others),
        }
        groups.retain(|group| !group.is_empty());
        let statement = |group: &Vec<&Clause<'_>>| {
            let clauses: Vec<&str> = group.iter().map(|clause| clause.text).collect();
            format!("{}\n  {}", self.head, clauses.join(",\n  "))
        };
        groups.iter().map(statement).collect()
    }
}

impl<'a> Clause<'a> {
    fn parse(alter: &'a str, part: &[Token]) -> Result<Self> {
        let [verb, rest @ ..] = part else { return Err(not_understood(alter)) };
        let last = part.last().unwrap_or(verb);
        let text = &alter[verb.start..last.end];
        let does = match rest {
            [key, name] if verb.is_word("DROP") && key.is_word("KEY") => {
                Does::Drop(name.value.clone())
            }
            _ if verb.is_word("ADD") => Does::Add(Item::parse(alter, rest)?),
            _ => return Err(not_understood(text)),
        };
        Ok(Self { text, does })
    }

    fn is_fulltext(&self) -> bool {
        matches!(&self.does, Does::Add(item) if item.kind == ItemKind::Fulltext)
    }
}

/// Where the verbs of the clauses stand, outside of parentheses: the first, and those behind commas.
fn clause_starts(all: &[Token]) -> Vec<usize> {
    let mut depth = 0_usize;
    let mut starts = Vec::new();
    for (at, token) in all.iter().enumerate() {
        match (token.kind, token.value.as_str()) {
            (Kind::Punct, "(") => depth += 1,
            (Kind::Punct, ")") => depth = depth.saturating_sub(1),
            (Kind::Punct, ",") if depth == 0 => starts.push(at + 1),
            (Kind::Word, "ADD" | "DROP") if starts.is_empty() => starts.push(at),
            _ => {}
        }
    }
    starts
}

/// Whether a definition has the item, over the same columns.
fn has(now: &Definition, item: &Item, table: &str) -> Result<bool> {
    let is_constraint = item.kind == ItemKind::ForeignKey;
    let of_name = |other: &&Item| {
        same(&other.name, &item.name)
            && if is_constraint { other.kind == ItemKind::ForeignKey } else { is_key(other) }
    };
    let Some(found) = now.items.iter().find(of_name) else { return Ok(false) };
    if found.kind == item.kind {
        let (mut found, mut wanted) = (columns(found)?, columns(item)?);
        if item.kind == ItemKind::Index {
            // A server may shorten a key that is too long for it.
            [&mut found, &mut wanted]
                .into_iter()
                .for_each(|columns| columns.retain(|c| c.parse::<u32>().is_err()));
        }
        let same = found.iter().filter(|c| *c != "(").eq(wanted.iter().filter(|c| *c != "("));
        if same {
            return Ok(true);
        }
    }
    let name = sql::ident(&item.name);
    let what = if is_constraint { "FOREIGN KEY" } else { "KEY" };
    Err(Error::stop(format!("{table} has another {name} on the target than the source's"))
        .advice(format!("Run ALTER TABLE {table} DROP {what} {name} on the target, then start the workflow again.")))
}

fn is_key(item: &Item) -> bool {
    matches!(
        item.kind,
        ItemKind::Primary
            | ItemKind::Unique
            | ItemKind::Index
            | ItemKind::Fulltext
            | ItemKind::Spatial
    )
}

/// The tokens of an item's first pair of parentheses.
fn columns(item: &Item) -> Result<Vec<String>> {
    let mut depth = 0_usize;
    let mut columns = Vec::new();
    for token in tokens(&item.text)? {
        match (token.kind, token.value.as_str()) {
            (Kind::Punct, "(") => depth += 1,
            (Kind::Punct, ")") if depth == 1 => break,
            (Kind::Punct, ")") => depth = depth.saturating_sub(1),
            _ => {}
        }
        // Names of columns do not differ by case only.
        if depth > 0 {
            columns.push(lowered(&token.value));
        }
    }
    Ok(columns)
}

fn not_understood(text: &str) -> Error {
    Error::stop(format!("the statement that builds a table's keys is not understood: {text}"))
        .advice("Cancel the workflow and create it again.")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALTER: &str = "ALTER TABLE `d`.`t`\n  DROP KEY `_shunt_auto_increment`,\n  ADD UNIQUE KEY `uu` (`u`,`v`(10)),\n  \
        ADD KEY `k` (`k`) COMMENT 'a, ADD KEY `x`',\n  ADD FULLTEXT KEY `f` (`a`),\n  ADD FULLTEXT KEY `g` (`b`),\n  \
        ADD CONSTRAINT `c` FOREIGN KEY (`k`) REFERENCES `p` (`id`) ON DELETE CASCADE";

    fn missing(items: &str) -> Result<Vec<String>> {
        let create = format!("CREATE TABLE `t` (\n  `k` int(11),\n  {items}\n) ENGINE=InnoDB");
        let now = Definition::parse(&create).unwrap();
        let pending = Pending::parse(ALTER)?;
        let missing = pending.missing(&now, "`d`.`t`")?;
        Ok(pending.statements(&missing))
    }

    #[test]
    fn full_text_keys_are_built_one_at_a_time() {
        assert_eq!(
            missing("KEY `_shunt_auto_increment` (`k`)").unwrap(),
            [
                "ALTER TABLE `d`.`t`\n  DROP KEY `_shunt_auto_increment`,\n  ADD UNIQUE KEY `uu` (`u`,`v`(10)),\n  ADD KEY `k` (`k`) \
                 COMMENT 'a, ADD KEY `x`',\n  ADD CONSTRAINT `c` FOREIGN KEY (`k`) REFERENCES `p` (`id`) ON DELETE CASCADE,\n  ADD \
                 FULLTEXT KEY `f` (`a`)",
                "ALTER TABLE `d`.`t`\n  ADD FULLTEXT KEY `g` (`b`)",
            ]
        );
    }

    #[test]
    fn one_key_that_is_there_says_nothing_of_the_others() {
        let alters =
            missing("KEY `K` (`K`), FULLTEXT KEY `f` (`a`), FULLTEXT KEY `g` (`b`)").unwrap();
        assert_eq!(
            alters,
            [
                "ALTER TABLE `d`.`t`\n  ADD UNIQUE KEY `uu` (`u`,`v`(10)),\n  ADD CONSTRAINT `c` FOREIGN KEY (`k`) REFERENCES `p` (`id`) ON DELETE CASCADE"
            ]
        );
        let all = "UNIQUE KEY `uu` (`u`,`v`(10)), KEY `k` (`k`), FULLTEXT KEY `f` (`a`), FULLTEXT KEY `g` (`b`), \
            CONSTRAINT `c` FOREIGN KEY (`k`) REFERENCES `p` (`id`) ON DELETE CASCADE";
        assert!(missing(all).unwrap().is_empty());
    }

    #[test]
    fn something_else_under_a_name_is_refused_and_named() {
        for items in
            ["KEY `uu` (`u`,`v`(10))", "UNIQUE KEY `uu` (`u`)", "UNIQUE KEY `uu` (`u`,`v`)"]
        {
            let error = missing(items).unwrap_err();
            assert!(error.to_string().contains("another `uu`"), "{items}: {error}");
            assert!(error.advice_text().is_some_and(|advice| advice.contains("DROP KEY `uu`")));
        }
    }
}
