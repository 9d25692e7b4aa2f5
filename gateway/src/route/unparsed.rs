//! Statements that are not understood: while tables are being moved they pass only if they can reach none of those.
//!
//! No token of such a statement may be a name that rules know, or one of a view, routine or trigger that reaches one. What is built
//! while it runs may name anything, so a statement that could run such text is refused as a whole.
//!
//! Where not even the tokens are certain (a comment that only some servers skip may hold a quote), the bytes themselves are searched:
//! a server cannot read a name that does not stand there.

use shunt_engine::mysql::names::lowered;
use std::collections::HashSet;

use shunt_engine::programs;

use super::Router;
use crate::answer::SqlError;
use crate::sql::Sql;
use crate::sql::lexer::Kind;

impl Router<'_> {
    /// Whether a statement that was not understood may pass.
    ///
    /// # Errors
    /// If it may reach a table that rules know.
    pub(crate) fn check_unparsed(&self, sql: &Sql<'_>) -> Result<(), SqlError> {
        if self.view.is_empty() {
            return Ok(());
        }
        self.check_tokens(sql)?;
        if sql.uncertain {
            self.check_bytes(sql)?;
        }
        check_dynamic(sql)
    }

    fn check_bytes(&self, sql: &Sql<'_>) -> Result<(), SqlError> {
        let text = lowered(&String::from_utf8_lossy(sql.bytes));
        if let Some(name) = self.view.known().find(|name| holds(&text, name)) {
            return Err(names_moved(name));
        }
        if !text.is_ascii() && !sql.is_utf8() && self.view.has_foreign_names() {
            return Err(not_ascii());
        }
        let words: HashSet<&str> = text.split(|c| !is_of_word(c)).collect();
        if words.iter().any(|word| matches!(*word, "prepare" | "execute")) {
            return Err(dynamic());
        }
        self.check_programs(&text)
    }

    /// No view, routine or trigger whose name stands anywhere reaches a table that rules know.
    fn check_programs(&self, text: &str) -> Result<(), SqlError> {
        for server in self.home_or_first()? {
            let Some(programs) = self.servers.programs(server) else { continue };
            for name in programs.names().filter(|name| holds(text, name)) {
                self.check_behind(name)?;
            }
        }
        Ok(())
    }

    fn check_tokens(&self, sql: &Sql<'_>) -> Result<(), SqlError> {
        for at in 0..sql.tokens.len() {
            if !matches!(sql.kind(at), Some(Kind::Word | Kind::Name | Kind::Text)) {
                continue;
            }
            match token_name(sql, at) {
                Some(name) => self.check_name(&name)?,
                None if sql.kind(at) == Some(Kind::Text) => {}
                None if !self.view.has_foreign_names() => {}
                None => return Err(not_ascii()),
            }
        }
        Ok(())
    }

    /// Neither known to rules nor of something that reaches what is.
    fn check_name(&self, name: &str) -> Result<(), SqlError> {
        if self.view.knows(name) {
            return Err(names_moved(name));
        }
        self.check_behind(name)
    }
}

/// A string may be a name under another sql_mode.
fn token_name(sql: &Sql<'_>, at: usize) -> Option<String> {
    if sql.kind(at) == Some(Kind::Text) {
        let text = sql.text(at);
        let inner = text.get(1..text.len().saturating_sub(1))?;
        return std::str::from_utf8(inner).ok().map(str::to_owned);
    }
    sql.name(at).map(std::borrow::Cow::into_owned)
}

/// Text that is built while a statement runs, which may name anything, is refused; not where the words only grant a privilege or
/// stand in the body of a program that is made, which is judged when it is called. Nothing runs behind that: servers are asked to take
/// one statement a packet.
fn check_dynamic(sql: &Sql<'_>) -> Result<(), SqlError> {
    let only_says =
        !sql.uncertain && sql.is_any(sql.first, &["grant", "revoke", "create", "alter"]);
    let of_system = |at: usize| sql.name(at).is_some_and(|name| programs::is_of_system(&name));
    let calls_system = sql.has("call") && (0..sql.tokens.len()).any(of_system);
    if only_says || !(sql.has("prepare") || sql.has("execute") || calls_system) {
        return Ok(());
    }
    Err(dynamic())
}

/// Whether a name stands in the text as a word, whatever quotes it. A letter beyond ASCII may be anything, so it ends a word.
fn holds(text: &str, name: &str) -> bool {
    let stands = |name: &str| {
        text.match_indices(name).any(|(at, _)| {
            let before = text[..at].chars().next_back();
            let behind = text[at + name.len()..].chars().next();
            !before.is_some_and(is_of_word) && !behind.is_some_and(is_of_word)
        })
    };
    !name.is_empty() && (stands(name) || name.contains('`') && stands(&name.replace('`', "``")))
}

fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '$')
}

fn dynamic() -> SqlError {
    SqlError::unsupported(
        "statement may run text that it builds itself (PREPARE, EXECUTE, procedures of sys), which is refused while tables are being moved: send what it would run as statements of their own",
    )
}

fn names_moved(name: &str) -> SqlError {
    SqlError::unsupported(format_args!(
        "statement names {name}, which is being moved, and is not understood"
    ))
}

fn not_ascii() -> SqlError {
    SqlError::unsupported("statement is not understood and holds a name that is not ASCII")
}
