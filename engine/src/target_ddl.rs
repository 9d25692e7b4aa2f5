//! The target's definition, made from the source's: what is created before the copy, and what is added after it.
//!
//! Before comes [`crate::mysql::schema`]; after it, the copy creates the table with [`TargetDdl::create`] and, once every
//! range is done and the stream has passed every range's H, completes it with [`TargetDdl::alter_sql`].
//!
//! Invariants:
//! - Of all keys only the identity is unique in `create`. An intermediate state of the copy may hold another unique value
//!   twice, and a REPLACE would then destroy a row whose event is already past.
//! - `create` and then `alter_sql` give the source's definition, but for what `left_out` names.
//! - No trigger is carried, and no database name but the target's own.

mod carry;

use crate::error::{Error, Result};
use crate::mysql::schema::definition::{Item, ItemKind};
use crate::mysql::schema::{Definition, TableSchema};
use crate::mysql::server::ServerInfo;
use crate::mysql::sql;
use carry::Carry;

/// A key that stands in for the one that AUTO_INCREMENT needs, while that one, being unique, is still to be built.
const STAND_IN: &str = "_shunt_auto_increment";

/// From what and to where a definition is carried.
#[derive(Clone, Copy, Debug)]
pub struct TargetDdlInput<'a> {
    /// The source's table.
    pub schema: &'a TableSchema,
    /// The source's server.
    pub source: &'a ServerInfo,
    /// The target's server.
    pub target: &'a ServerInfo,
    /// The target's database.
    pub database: &'a str,
    /// The target's table.
    pub table: &'a str,
    /// Whether secondary keys that are not unique are built after the copy as well.
    pub defer_secondary_keys: bool,
}

/// The statements that make a table on the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetDdl {
    /// `CREATE TABLE`, before the copy.
    pub create: String,
    /// What is added after the copy, in the source's order.
    pub deferred: Vec<DeferredKey>,
    /// All that `create` and `alter_sql` say between the parentheses, in the source's order, each as the target's server reads it.
    pub items: Vec<Item>,
    /// What the source's definition says and the target's cannot, or must not.
    pub left_out: Vec<String>,
    table: String,
    stand_in: bool,
}

/// A key or foreign key that is added after the copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeferredKey {
    /// Its name.
    pub name: String,
    /// The clause of `ALTER TABLE` that adds it.
    pub sql: String,
    /// What it is.
    pub kind: DeferredKind,
}

/// What is added after the copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeferredKind {
    /// A secondary key.
    Secondary,
    /// A unique key that is not the identity; the primary key too may be one.
    Unique,
    /// A foreign key.
    ForeignKey,
    /// A full-text key.
    Fulltext,
    /// A spatial key.
    Spatial,
}

impl TargetDdl {
    /// Makes the target's definition.
    ///
    /// # Errors
    /// Stop where the definition is not understood, or says what the target's server cannot.
    pub fn new(input: TargetDdlInput<'_>) -> Result<Self> {
        let definition = Definition::parse(&input.schema.create_sql)?;
        let mut carry = Carry::new(input.source, input.target);
        let keep_for_auto_increment = auto_increment_key(input.schema);
        let mut before = Vec::new();
        let mut items = Vec::new();
        let mut deferred = Vec::new();
        let mut stand_in = false;
        for item in &definition.items {
            let Some(text) = carry.item(item, input.schema)? else { continue };
            items.push(Item { text: text.clone(), ..item.clone() });
            let needed = keep_for_auto_increment.as_ref() == Some(&item.name);
            match deferred_kind(item, input) {
                None => before.push(text),
                Some(DeferredKind::Secondary) if needed => before.push(text),
                Some(kind) => {
                    if needed {
                        before.push(stand_in_key(input.schema)?);
                        stand_in = true;
                    }
                    deferred.push(DeferredKey {
                        name: item.name.clone(),
                        sql: format!("ADD {text}"),
                        kind,
                    });
                }
            }
        }
        let table = sql::qualified(input.database, input.table);
        let mut create = format!("CREATE TABLE {table} (\n  {}\n)", before.join(",\n  "));
        for option in carry.options(&definition, input.schema)? {
            create += " ";
            create += &option;
        }
        if let Some(partition) = &definition.partition {
            create += "\n";
            create += partition;
        }
        Ok(Self { create, deferred, items, left_out: carry.left_out, table, stand_in })
    }

    /// The one statement that adds everything deferred; none where nothing is.
    pub fn alter_sql(&self) -> Option<String> {
        self.alter_sql_of(|_| true)
    }

    /// As [`TargetDdl::alter_sql`], for the kinds that `wanted` picks: foreign keys may have to wait for the keys of
    /// other tables.
    pub fn alter_sql_of(&self, wanted: impl Fn(DeferredKind) -> bool) -> Option<String> {
        let wanted: Vec<_> = self.deferred.iter().filter(|key| wanted(key.kind)).collect();
        let drops_stand_in =
            self.stand_in && wanted.iter().any(|key| key.kind == DeferredKind::Unique);
        let mut clauses = Vec::new();
        if drops_stand_in {
            clauses.push(format!("DROP KEY {}", sql::ident(STAND_IN)));
        }
        clauses.extend(wanted.iter().map(|key| key.sql.clone()));
        (!clauses.is_empty())
            .then(|| format!("ALTER TABLE {}\n  {}", self.table, clauses.join(",\n  ")))
    }
}

/// Whether an item waits for the end of the copy.
fn deferred_kind(item: &Item, input: TargetDdlInput<'_>) -> Option<DeferredKind> {
    let identity = input.schema.identity();
    let is_identity = || identity.is_some_and(|key| key.name == item.name);
    let kind = match item.kind {
        ItemKind::Column | ItemKind::Check | ItemKind::Period => return None,
        // Over the first letters of a column it tells no rows apart, and another key does.
        ItemKind::Primary if is_identity() || identity.is_none() => return None,
        ItemKind::Primary => return Some(DeferredKind::Unique),
        ItemKind::ForeignKey => return Some(DeferredKind::ForeignKey),
        ItemKind::Unique if is_identity() => return None,
        ItemKind::Unique => return Some(DeferredKind::Unique),
        ItemKind::Index => DeferredKind::Secondary,
        ItemKind::Fulltext => DeferredKind::Fulltext,
        ItemKind::Spatial => DeferredKind::Spatial,
    };
    input.defer_secondary_keys.then_some(kind)
}

/// The key that must stay for AUTO_INCREMENT's sake, where the identity does not begin with that column: a plain
/// secondary key if there is one.
fn auto_increment_key(schema: &TableSchema) -> Option<String> {
    let column = schema.columns.iter().position(|column| column.auto_increment)?;
    let leads = |key: &&crate::mysql::schema::Key| {
        key.btree && key.parts.first().is_some_and(|part| part.column == column)
    };
    if schema.identity().is_some_and(|key| leads(&key)) {
        return None;
    }
    let mut keys: Vec<_> = schema.keys.iter().filter(leads).collect();
    keys.sort_by_key(|key| key.kind != crate::mysql::schema::KeyKind::Index);
    keys.first().map(|key| key.name.clone())
}

fn stand_in_key(schema: &TableSchema) -> Result<String> {
    let column = schema.columns.iter().find(|column| column.auto_increment);
    let column = column.ok_or_else(|| Error::stop("no AUTO_INCREMENT column where one was"))?;
    Ok(format!("KEY {} ({})", sql::ident(STAND_IN), sql::ident(&column.name)))
}

#[cfg(test)]
mod tests;
