//! What an account may do, from `SHOW GRANTS`.

use crate::error::Result;
use crate::mysql::schema::definition::lexer::{Kind, Token, tokens};

/// All grants of an account, those of its active roles included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    grants: Vec<Grant>,
}

/// One GRANT, or (MySQL's partial revokes) one REVOKE.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Grant {
    revoked: bool,
    privileges: Vec<String>,
    /// A pattern; none for `*.*`.
    database: Option<String>,
    table: Option<String>,
}

impl Grants {
    /// Reads the lines of `SHOW GRANTS`. Grants of roles and on routines are passed over: the former are listed again
    /// with their own privileges, the latter say nothing about tables.
    ///
    /// # Errors
    /// Stop if a line is not understood.
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let mut grants = Vec::new();
        for line in lines {
            grants.extend(Grant::parse(&tokens(line)?));
        }
        Ok(Self { grants })
    }

    /// Whether a privilege is held on the whole server.
    pub fn has_global(&self, privilege: &str) -> bool {
        self.grants.iter().any(|g| !g.revoked && g.database.is_none() && g.gives(privilege))
    }

    /// Whether a privilege is held on every table of a database, those yet to be created included.
    pub fn has_database(&self, privilege: &str, database: &str) -> bool {
        let revoked = self
            .grants
            .iter()
            .any(|g| g.revoked && g.database.as_deref() == Some(database) && g.gives(privilege));
        let on_database = |grant: &Grant| {
            let pattern = grant.database.as_deref();
            grant.table.is_none() && pattern.is_some_and(|p| like(p, database))
        };
        self.has_global(privilege) && !revoked
            || self.grants.iter().any(|g| !g.revoked && on_database(g) && g.gives(privilege))
    }

    /// Whether a privilege is held on a table.
    pub fn has_table(&self, privilege: &str, database: &str, table: &str) -> bool {
        let on_table = |grant: &Grant| {
            grant.table.as_deref() == Some(table) && grant.database.as_deref() == Some(database)
        };
        self.has_database(privilege, database)
            || self.grants.iter().any(|g| !g.revoked && on_table(g) && g.gives(privilege))
    }
}

impl Grant {
    /// `GRANT a, b (c) ON [TABLE] x.y TO …`; none for roles, routines and proxies.
    fn parse(line: &[Token]) -> Option<Self> {
        let revoked = match line.first()? {
            word if word.is_word("GRANT") => false,
            word if word.is_word("REVOKE") => true,
            _ => return None,
        };
        let on = line.iter().position(|token| token.is_word("ON"))?;
        let mut grant = Self { revoked, privileges: privileges(&line[1..on]), ..Self::default() };
        let mut object = &line[on + 1..];
        if object.first().is_some_and(|token| token.is_word("TABLE")) {
            object = &object[1..];
        }
        let [database, dot, table, ..] = object else { return None };
        if dot.value != "." || dot.kind != Kind::Punct {
            return None;
        }
        grant.database = name_of(database);
        grant.table = name_of(table);
        Some(grant)
    }

    fn gives(&self, privilege: &str) -> bool {
        self.privileges.iter().any(|held| match held.as_str() {
            "ALL" | "ALL PRIVILEGES" => true,
            // MariaDB's old and new names of one privilege.
            "REPLICATION CLIENT" | "BINLOG MONITOR" => {
                matches!(privilege, "REPLICATION CLIENT" | "BINLOG MONITOR")
            }
            held => held == privilege,
        })
    }
}

/// The privileges between GRANT and ON. One on columns only is not held on the table.
fn privileges(part: &[Token]) -> Vec<String> {
    let mut held = Vec::new();
    let mut words: Vec<&str> = Vec::new();
    let mut depth = 0_usize;
    let mut columns_only = false;
    for token in part {
        match (token.kind, token.value.as_str()) {
            (Kind::Punct, "(") => (depth, columns_only) = (depth + 1, true),
            (Kind::Punct, ")") => depth = depth.saturating_sub(1),
            (Kind::Punct, ",") if depth == 0 => {
                if !columns_only {
                    held.push(words.join(" "));
                }
                words.clear();
                columns_only = false;
            }
            (Kind::Word, word) if depth == 0 => words.push(word),
            _ => {}
        }
    }
    if !columns_only {
        held.push(words.join(" "));
    }
    held
}

fn name_of(token: &Token) -> Option<String> {
    (token.kind == Kind::Ident).then(|| token.value.clone())
}

/// SQL's LIKE with `_`, `%` and backslash, as grants on databases match.
fn like(pattern: &str, name: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => name.is_empty(),
        Some('%') => {
            let tails = name.char_indices().map(|(at, _)| at).chain([name.len()]);
            tails.into_iter().any(|at| like(rest.as_str(), &name[at..]))
        }
        Some(c) => {
            let mut chars = name.chars();
            let Some(first) = chars.next() else { return false };
            let wanted = if c == '\\' { rest.next().unwrap_or('\\') } else { c };
            (c == '_' || wanted == first) && like(rest.as_str(), chars.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_understood() {
        let grants = Grants::parse([
            "GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO `s`@`%` IDENTIFIED BY PASSWORD '*00'",
            r"GRANT SELECT, SHOW VIEW ON `comm\_erce`.* TO `s`@`%`",
            "GRANT SELECT ON `a_c%`.* TO `s`@`%`",
            "GRANT SELECT (`id`), UPDATE ON `x`.`t``1` TO `s`@`%` WITH GRANT OPTION",
            "GRANT `reader` TO `s`@`%`",
            "GRANT PROXY ON ''@'%' TO 'root'@'localhost' WITH GRANT OPTION",
            "SET DEFAULT ROLE `reader` FOR `s`@`%`",
        ])
        .unwrap();
        assert!(grants.has_global("REPLICATION CLIENT"));
        assert!(!grants.has_global("SELECT"));
        assert!(grants.has_database("SELECT", "comm_erce"));
        assert!(!grants.has_database("SELECT", "commxerce"));
        assert!(grants.has_table("SELECT", "abcd", "any"));
        assert!(!grants.has_table("SELECT", "x", "t`1"), "a column is not the table");
        assert!(grants.has_table("UPDATE", "x", "t`1"));
    }

    #[test]
    fn all_privileges_and_partial_revokes_are_understood() {
        let grants = Grants::parse([
            "GRANT ALL PRIVILEGES ON *.* TO 'root'@'localhost' WITH GRANT OPTION",
            "REVOKE SELECT ON `hidden`.* FROM `root`@`localhost`",
        ])
        .unwrap();
        assert!(grants.has_database("SELECT", "open"));
        assert!(!grants.has_database("SELECT", "hidden"));
        assert!(grants.has_global("REPLICATION SLAVE"));
    }
}
