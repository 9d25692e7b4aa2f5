//! `SHOW CREATE TABLE` taken apart: columns, keys, constraints, options, partitions, each as the text that the server
//! wrote.
//!
//! [`lexer`] makes tokens, so that quotes, comments and parentheses inside names and strings mean nothing here. What is
//! not understood is an error: a definition is carried over whole or not at all.

pub(crate) mod lexer;

use crate::error::{Error, Result};
use lexer::{Cursor, Kind, Token, tokens};

/// A table's definition in its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Definition {
    /// What stands between the parentheses, in order.
    pub items: Vec<Item>,
    /// The table's options, in order.
    pub options: Vec<TableOption>,
    /// The partition clause as it stands.
    pub partition: Option<String>,
}

/// One column, key or constraint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What it is.
    pub kind: ItemKind,
    /// Its name; `PRIMARY` for the primary key.
    pub name: String,
    /// The whole text, as the server wrote it.
    pub text: String,
}

/// What stands in one place of a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemKind {
    /// A column.
    Column,
    /// The primary key.
    Primary,
    /// Another unique key.
    Unique,
    /// A secondary key.
    Index,
    /// A full-text key.
    Fulltext,
    /// A spatial key.
    Spatial,
    /// A foreign key.
    ForeignKey,
    /// A CHECK constraint.
    Check,
    /// A period (MariaDB).
    Period,
}

/// One table option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableOption {
    /// Its words in upper case, e.g. `DEFAULT CHARSET`.
    pub name: String,
    /// Its value without quotes.
    pub value: String,
    /// The whole text, comment marks included.
    pub text: String,
}

/// A foreign key, seen from its child.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForeignKey {
    /// The constraint's name.
    pub name: String,
    /// The child's columns.
    pub columns: Vec<String>,
    /// The parent's database, where it is not the child's own.
    pub parent_database: Option<String>,
    /// The parent.
    pub parent_table: String,
    /// The parent's columns.
    pub parent_columns: Vec<String>,
    /// What a delete in the parent does to the child.
    pub on_delete: Action,
    /// What an update in the parent does to the child.
    pub on_update: Action,
}

/// What happens to a child's rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// The parent's change is refused (RESTRICT, NO ACTION).
    #[default]
    Refuse,
    /// The child follows (CASCADE).
    Cascade,
    /// The child's columns become NULL.
    SetNull,
    /// The child's columns get their default.
    SetDefault,
}

impl ForeignKey {
    /// Whether the server changes rows of the child by itself: such changes are in no binlog.
    pub fn changes_child(&self) -> bool {
        self.on_delete != Action::Refuse || self.on_update != Action::Refuse
    }
}

impl Definition {
    /// Takes a definition apart.
    ///
    /// # Errors
    /// Stop if anything in it is not understood.
    pub fn parse(create_sql: &str) -> Result<Self> {
        let all = tokens(create_sql)?;
        let mut cursor = Cursor::new(create_sql, &all);
        cursor.expect_word("CREATE")?;
        cursor.expect_word("TABLE")?;
        cursor.expect_ident()?;
        cursor.expect_punct('(')?;
        let mut definition = Self::default();
        loop {
            let (part, more) = cursor.take_part()?;
            definition.items.push(Item::parse(create_sql, part)?);
            if !more {
                break;
            }
        }
        definition.parse_tail(&mut cursor)?;
        Ok(definition)
    }

    /// Whether a key of it admits no periods that overlap.
    ///
    /// # Errors
    /// Stop if one is not understood.
    pub fn has_key_without_overlaps(&self) -> Result<bool> {
        let keys = [ItemKind::Primary, ItemKind::Unique];
        for item in self.items.iter().filter(|item| keys.contains(&item.kind)) {
            let words = tokens(&item.text)?;
            if words.windows(2).any(|two| two[0].is_word("WITHOUT") && two[1].is_word("OVERLAPS")) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The foreign keys among its items.
    ///
    /// # Errors
    /// Stop if one is not understood.
    pub fn foreign_keys(&self) -> Result<Vec<ForeignKey>> {
        let keys = self.items.iter().filter(|item| item.kind == ItemKind::ForeignKey);
        keys.map(|item| ForeignKey::parse(&item.text)).collect()
    }

    /// The value of an option, by its words in upper case.
    pub fn option(&self, name: &str) -> Option<&str> {
        let option = self.options.iter().find(|option| option.name == name)?;
        Some(&option.value)
    }

    fn parse_tail(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        while let Some(token) = cursor.peek() {
            let start = token.start;
            let commented = token.kind == Kind::CommentOpen;
            let ahead = usize::from(commented);
            if cursor.peek_at(ahead).is_some_and(|next| next.is_word("PARTITION")) {
                self.partition = Some(cursor.rest_from(start).trim_end().to_owned());
                return Ok(());
            }
            cursor.skip(ahead);
            let (name, value) = parse_option(cursor)?;
            if commented {
                cursor.expect_comment_close()?;
            }
            let text = cursor.text_from(start).to_owned();
            self.options.push(TableOption { name, value, text });
        }
        Ok(())
    }
}

impl Item {
    /// Reads what stands in one place of a definition, of whose text `part` are tokens.
    ///
    /// # Errors
    /// Stop if it is not understood.
    pub(crate) fn parse(sql: &str, part: &[Token]) -> Result<Self> {
        let mut cursor = Cursor::new(sql, part);
        let (kind, name) = match part.first().map(|token| token.kind) {
            Some(Kind::Ident) => (ItemKind::Column, cursor.expect_ident()?),
            Some(Kind::Word) => Self::parse_named(&mut cursor)?,
            _ => return Err(cursor.not_understood()),
        };
        let text = match (part.first(), part.last()) {
            (Some(first), Some(last)) => sql[first.start..last.end].to_owned(),
            _ => return Err(cursor.not_understood()),
        };
        Ok(Self { kind, name, text })
    }

    fn parse_named(cursor: &mut Cursor<'_>) -> Result<(ItemKind, String)> {
        let word = cursor.next_word()?;
        let kind = match word.as_str() {
            "PRIMARY" => {
                cursor.expect_word("KEY")?;
                return Ok((ItemKind::Primary, "PRIMARY".to_owned()));
            }
            "PERIOD" => return Ok((ItemKind::Period, String::new())),
            "CHECK" => return Ok((ItemKind::Check, String::new())),
            "CONSTRAINT" => return Self::parse_constraint(cursor),
            "KEY" => ItemKind::Index,
            "UNIQUE" | "FULLTEXT" | "SPATIAL" => {
                cursor.expect_word("KEY")?;
                match word.as_str() {
                    "UNIQUE" => ItemKind::Unique,
                    "FULLTEXT" => ItemKind::Fulltext,
                    _ => ItemKind::Spatial,
                }
            }
            _ => return Err(cursor.not_understood()),
        };
        Ok((kind, cursor.expect_ident()?))
    }

    fn parse_constraint(cursor: &mut Cursor<'_>) -> Result<(ItemKind, String)> {
        let name = cursor.expect_ident()?;
        match cursor.next_word()?.as_str() {
            "FOREIGN" => Ok((ItemKind::ForeignKey, name)),
            "CHECK" => Ok((ItemKind::Check, name)),
            _ => Err(cursor.not_understood()),
        }
    }
}

impl ForeignKey {
    fn parse(text: &str) -> Result<Self> {
        let all = tokens(text)?;
        let mut cursor = Cursor::new(text, &all);
        cursor.expect_word("CONSTRAINT")?;
        let mut key = Self { name: cursor.expect_ident()?, ..Self::default() };
        cursor.expect_word("FOREIGN")?;
        cursor.expect_word("KEY")?;
        key.columns = cursor.ident_list()?;
        cursor.expect_word("REFERENCES")?;
        key.parent_table = cursor.expect_ident()?;
        if cursor.take_punct('.') {
            let table = cursor.expect_ident()?;
            key.parent_database = Some(std::mem::replace(&mut key.parent_table, table));
        }
        key.parent_columns = cursor.ident_list()?;
        while cursor.peek().is_some() {
            key.parse_clause(&mut cursor)?;
        }
        Ok(key)
    }

    fn parse_clause(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        if cursor.next_word()? == "MATCH" {
            return cursor.next_word().map(drop);
        }
        let event = cursor.next_word()?;
        let action = match cursor.next_word()?.as_str() {
            "CASCADE" => Action::Cascade,
            "RESTRICT" => Action::Refuse,
            "NO" => {
                cursor.expect_word("ACTION")?;
                Action::Refuse
            }
            "SET" if cursor.next_word()? == "NULL" => Action::SetNull,
            "SET" => Action::SetDefault,
            _ => return Err(cursor.not_understood()),
        };
        match event.as_str() {
            "DELETE" => self.on_delete = action,
            "UPDATE" => self.on_update = action,
            _ => return Err(cursor.not_understood()),
        }
        Ok(())
    }
}

/// `NAME=value`, `TWO WORDS=value`, and the few that have no equals sign.
fn parse_option(cursor: &mut Cursor<'_>) -> Result<(String, String)> {
    let mut words = Vec::new();
    loop {
        if cursor.take_punct('=') {
            return Ok((words.join(" "), cursor.value()?));
        }
        let token = cursor.peek().ok_or_else(|| Error::stop("table option has no value"))?;
        match token.kind {
            // MariaDB writes options of engines as quoted names.
            Kind::Ident if words.is_empty() => words.push(cursor.expect_ident()?.to_uppercase()),
            Kind::Ident if words == ["TABLESPACE"] => {
                return Ok((words.join(" "), cursor.expect_ident()?));
            }
            Kind::Word => words.push(cursor.next_word()?),
            _ => return Err(cursor.not_understood()),
        }
        if words == ["WITH", "SYSTEM", "VERSIONING"] {
            return Ok((words.join(" "), String::new()));
        }
        if words.len() > 3 {
            return Err(cursor.not_understood());
        }
    }
}

/// All quoted strings of a text such as `('a','it''s')`, unescaped; none where the text is no list of strings.
pub(super) fn split_strings(text: &str) -> Vec<String> {
    let strings = tokens(text).unwrap_or_default().into_iter().filter(|t| t.kind == Kind::Text);
    strings.map(|token| token.value).collect()
}

/// A definition without the counter that rows move.
pub fn without_counter(create: &str) -> String {
    // The table's options stand behind its last line, the comment last of all.
    let options = create.rfind("\n) ").unwrap_or(0);
    let Some(start) = create[options..].find(" AUTO_INCREMENT=") else { return create.to_owned() };
    let start = options + start;
    let value = &create[start + " AUTO_INCREMENT=".len()..];
    let end = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    format!("{}{}", &create[..start], &value[end..])
}

#[cfg(test)]
mod tests;
