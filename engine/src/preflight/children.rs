//! Tables that refer to a moved one and are not moved: those of other databases of the source, and those of the target.
//!
//! Those of the source's own database are read by their definitions, which an account sees with SELECT alone (`facts`); for these,
//! `information_schema` says what the account may see.

use super::facts::Facts;
use super::{Finding, Level, Side};
use crate::error::{Result, ResultExt};
use crate::mysql::control::Control;
use crate::mysql::schema::ForeignKey;
use crate::mysql::schema::definition::Action;
use crate::mysql::sql;

/// A foreign key from a table that is not moved.
#[derive(Clone, Debug)]
pub struct Child {
    /// The database of the table that refers.
    pub database: String,
    /// The table that refers.
    pub table: String,
    /// Its key, without the columns.
    pub key: ForeignKey,
}

/// All foreign keys that refer to tables of a database, as far as the account may see them.
pub(super) async fn referring(control: &mut Control, database: &str) -> Result<Vec<Child>> {
    let query = format!(
        "SELECT constraint_schema, table_name, constraint_name, referenced_table_name, delete_rule, update_rule \
         FROM information_schema.referential_constraints WHERE unique_constraint_schema = {} \
         ORDER BY 1, 2, 3",
        sql::literal(database)
    );
    let rows = control.rows(query).await.context("read the foreign keys")?;
    rows.iter()
        .map(|row| {
            Ok(Child {
                database: row.must(0)?,
                table: row.must(1)?,
                key: ForeignKey {
                    name: row.must(2)?,
                    parent_table: row.must(3)?,
                    on_delete: action(&row.must(4)?),
                    on_update: action(&row.must(5)?),
                    ..ForeignKey::default()
                },
            })
        })
        .collect()
}

fn action(rule: &str) -> Action {
    match rule {
        "CASCADE" => Action::Cascade,
        "SET NULL" => Action::SetNull,
        "SET DEFAULT" => Action::SetDefault,
        _ => Action::Refuse,
    }
}

/// Tables of the target that refer to one that the move fills.
pub(super) fn foreign_keys_on_target(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for Child { database, table, key } in &facts.children_on_target {
        let child = sql::qualified(database, table);
        let subject = format!("{database}.{table}.{}", key.name);
        let parent = &key.parent_table;
        findings.push(if key.changes_child() {
            let reason = format!(
                "The foreign key of {child} on the target refers to {parent}, which the move fills, and its ON DELETE or ON UPDATE changes rows: not while the move writes, and from the switch on by itself, so that rows of {child} would be changed or deleted that nobody meant. Make it RESTRICT, or drop it."
            );
            let fix = format!("ALTER TABLE {child} DROP FOREIGN KEY {}", sql::ident(&key.name));
            Finding::new(Level::Error, Side::Target, subject, reason).fix(fix)
        } else {
            let reason = format!(
                "The foreign key of {child} on the target refers to {parent}, which the move fills: it is not checked while the move writes, and from the switch on it is."
            );
            Finding::new(Level::Warning, Side::Target, subject, reason)
        });
    }
    findings
}
