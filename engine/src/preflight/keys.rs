//! Keys, foreign keys and triggers.

use super::facts::Facts;
use super::{Finding, Level, Side};
use crate::mysql::names::same;
use crate::mysql::schema::{ForeignKey, Key, KeyKind, KeyPart, TableSchema};
use crate::mysql::server::{Flavor, Version};
use crate::mysql::sql;

fn on_table(level: Level, table: &TableSchema, reason: impl Into<String>) -> Finding {
    Finding::new(level, Side::Source, table.name.clone(), reason)
}

/// A table without a key that tells its rows apart costs more, and is refused above a size.
pub(super) fn identity_key(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for table in facts.tables.iter().filter(|table| table.identity().is_none()) {
        let name = sql::qualified(&table.database, &table.name);
        let mib = table.data_bytes >> 20;
        if table.data_bytes > facts.keyless_bytes_max {
            let reason = format!(
                "The table has no primary key and no unique key without NULLs, and about {mib} MiB: it would be copied in one transaction of the source that stays open all the while. Allow it with --allow-large-keyless, or add a key."
            );
            findings.push(
                on_table(Level::Error, table, reason).fix(format!(
                    "ALTER TABLE {name} ADD COLUMN id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY"
                )),
            );
        } else {
            let reason = format!(
                "The table has no primary key and no unique key without NULLs: it is copied in one transaction (about {mib} MiB), and every changed row is looked for by all of its columns, which reads the whole table on the target each time."
            );
            findings.push(on_table(Level::Warning, table, reason));
        }
    }
    findings
}

/// A hashed unique key is a hidden column of every row image.
pub(super) fn hashed_keys(facts: &Facts) -> Vec<Finding> {
    let hashed = facts.tables.iter().filter_map(|table| Some((table, table.hashed_key()?)));
    hashed
        .map(|(table, key)| {
            let reason = format!(
                "The unique key {} is kept as a hash (USING HASH; so is every unique key over TEXT, BLOB or very long columns): row events then hold a hidden column that no definition shows, which is not carried. Drop it, or make it a key over a prefix or shorter columns without USING HASH.",
                key.name
            );
            let name = sql::qualified(&table.database, &table.name);
            let subject = format!("{}.{}", table.name, key.name);
            Finding::new(Level::Error, Side::Source, subject, reason)
                .fix(format!("ALTER TABLE {name} DROP KEY {}", sql::ident(&key.name)))
        })
        .collect()
}

/// Members of a SET that fill its number.
const SET_MEMBERS_MAX: usize = 64;
/// Members of a SET whose number a DOUBLE holds.
const SET_MEMBERS_EXACT: usize = 53;

/// A SET of 64 members is ordered as an unsigned number and compared as a signed one: `>` finds what stands before. MySQL compares a
/// SET with a number as DOUBLE: from the 54th member on `>` and `=` take different values for one.
pub(super) fn inexact_sets(facts: &Facts) -> Vec<Finding> {
    let mysql = [&facts.source, &facts.target].iter().any(|s| s.info.flavor == Flavor::MySql);
    let mut findings = Vec::new();
    for table in &facts.tables {
        for column in table.identity_columns().iter().map(|at| &table.columns[*at]) {
            let reason = match (column.data_type.as_str(), column.enum_members().len()) {
                ("set", SET_MEMBERS_MAX..) => {
                    "The key that tells rows apart holds a SET of 64 members, which servers order as an unsigned number and compare as a signed one, so that no range of the table can be read by it. Give the table another primary key, or leave it out."
                }
                ("set", members) if mysql && members > SET_MEMBERS_EXACT => {
                    "The key that tells rows apart holds a SET of more than 53 members, which MySQL compares with numbers as a DOUBLE, so that it takes different values for one. Give the table another primary key, or leave it out."
                }
                _ => continue,
            };
            let subject = format!("{}.{}", table.name, column.name);
            findings.push(Finding::new(Level::Error, Side::Source, subject, reason));
        }
    }
    findings
}

/// Bytes of a column that InnoDB takes into a key where it does not take long ones.
const SHORT_KEY_BYTES: u64 = 767;

/// Servers of before MySQL 5.7.7 and MariaDB 10.2.2 refuse keys over long columns, most of them only after the copy, when they are built.
pub(super) fn long_keys(facts: &Facts) -> Vec<Finding> {
    // Newer servers have no such variable.
    let large = facts.target.variable("innodb_large_prefix");
    let mut findings = Vec::new();
    for table in facts.tables.iter().filter(|_| !large.is_empty()) {
        let dynamic = matches!(table.row_format.as_deref(), Some("Dynamic" | "Compressed"));
        let barracuda = facts.target.variable("innodb_file_format") == "BARRACUDA";
        let stated = table.create_sql.contains("ROW_FORMAT=");
        if large == "ON" && barracuda && dynamic && stated {
            continue;
        }
        for key in table.keys.iter().filter(|key| has_long_part(table, key)) {
            let reason = format!(
                "A column of the key {} takes more than {SHORT_KEY_BYTES} bytes, which the target refuses in this row format: it would be noticed after the copy. Make the key one over a prefix, or set innodb_large_prefix=ON and innodb_file_format=Barracuda on the target and state ROW_FORMAT=DYNAMIC in the table's definition.",
                key.name
            );
            let subject = format!("{}.{}", table.name, key.name);
            findings.push(Finding::new(Level::Error, Side::Target, subject, reason));
        }
    }
    findings
}

fn has_long_part(table: &TableSchema, key: &Key) -> bool {
    let plain = !matches!(key.kind, KeyKind::Fulltext | KeyKind::Spatial);
    let bytes = |part: &KeyPart| {
        let column = table.columns.get(part.column)?;
        let length = part.prefix.or_else(|| column.char_length().or(column.binary_length()))?;
        Some(u64::from(length) * column.charset.as_deref().map_or(1, bytes_of_character))
    };
    plain && key.parts.iter().filter_map(bytes).any(|bytes| bytes > SHORT_KEY_BYTES)
}

/// Bytes of a character of a set, at most.
fn bytes_of_character(charset: &str) -> u64 {
    match charset {
        "utf8mb4" | "utf16" | "utf16le" | "utf32" | "gb18030" => 4,
        "utf8" | "utf8mb3" | "ujis" | "eucjpms" => 3,
        "big5" | "cp932" | "euckr" | "gb2312" | "gbk" | "sjis" | "ucs2" => 2,
        _ => 1,
    }
}

/// Rows that a server changes through a foreign key are in no binlog.
pub(super) fn cascades(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for table in &facts.tables {
        for key in table.foreign_keys.iter().filter(|key| key.changes_child()) {
            let reason = format!(
                "The foreign key {} changes rows of {} when {} changes (ON DELETE or ON UPDATE), and such changes are in no binlog. Make it RESTRICT for the time of the move, or leave the table out.",
                key.name, table.name, key.parent_table
            );
            let subject = format!("{}.{}", table.name, key.name);
            findings.push(
                Finding::new(Level::Error, Side::Source, subject, reason).fix(restrict(table, key)),
            );
        }
    }
    findings
}

/// The statement that makes a foreign key refuse instead of cascade.
fn restrict(table: &TableSchema, key: &ForeignKey) -> String {
    let parent = match &key.parent_database {
        Some(database) => sql::qualified(database, &key.parent_table),
        None => sql::ident(&key.parent_table),
    };
    format!(
        "ALTER TABLE {} DROP FOREIGN KEY {name}, ADD CONSTRAINT {} FOREIGN KEY ({}) REFERENCES {parent} ({})",
        sql::qualified(&table.database, &table.name),
        sql::ident(&format!("{}_restrict", key.name)),
        sql::ident_list(key.columns.iter().map(String::as_str)),
        sql::ident_list(key.parent_columns.iter().map(String::as_str)),
        name = sql::ident(&key.name),
    )
}

/// A foreign key can be created on the target only if its parent is there.
pub(super) fn foreign_keys_out(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for table in &facts.tables {
        for key in table.foreign_keys.iter().filter(|key| !facts.moves_parent(key)) {
            let parent = &key.parent_table;
            let subject = format!("{}.{}", table.name, key.name);
            let here = key.parent_database.is_none();
            if here && facts.target_names.contains(parent) {
                let reason = format!(
                    "The foreign key refers to {parent}, which is not moved, though the target has a table of that name: the key is checked against that one."
                );
                findings.push(Finding::new(Level::Warning, Side::Source, subject, reason));
            } else {
                let reason = format!(
                    "The foreign key refers to {parent}, which is not moved and not on the target: the key could not be created there. Add {parent} to --tables, or drop the key."
                );
                let name = sql::qualified(&table.database, &table.name);
                findings.push(
                    Finding::new(Level::Error, Side::Source, subject, reason).fix(format!(
                        "ALTER TABLE {name} DROP FOREIGN KEY {}",
                        sql::ident(&key.name)
                    )),
                );
            }
        }
    }
    findings
}

/// A foreign key's name is one of the database, and would be found to be taken only after the copy.
pub(super) fn foreign_key_names(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let target = &facts.target.info;
    if target.flavor == Flavor::MariaDb && target.version >= Version(12, 1, 0) {
        // There it is one of the table.
        return findings;
    }
    for table in &facts.tables {
        for key in &table.foreign_keys {
            let taken = facts
                .target_foreign_keys
                .iter()
                .find(|(name, holder)| same(name, &key.name) && *holder != table.name);
            let Some((name, holder)) = taken else { continue };
            let holder = sql::qualified(&facts.target_database, holder);
            let name = sql::ident(name);
            let reason = format!(
                "The target's table {holder} has a foreign key of the same name, {name}: this one could not be created there. Drop that one if the table is left over from an earlier move, or give one of them another name."
            );
            let subject = format!("{}.{}", table.name, key.name);
            findings.push(
                Finding::new(Level::Error, Side::Target, subject, reason)
                    .fix(format!("ALTER TABLE {holder} DROP FOREIGN KEY {name}")),
            );
        }
    }
    findings
}

/// Children that stay behind refer to a parent that is written elsewhere after the switch.
pub(super) fn foreign_keys_in(facts: &Facts) -> Vec<Finding> {
    let mut findings: Vec<Finding> = facts
        .children_left_behind
        .iter()
        .map(|(child, key)| {
            let reason = format!(
                "The foreign key {} of {child}, which is not moved, refers to {}: after the switch it would be checked against rows that nobody writes any more. Add {child} to --tables, or drop the key before the switch.",
                key.name, key.parent_table
            );
            Finding::new(Level::Warning, Side::Source, child.clone(), reason)
        })
        .collect();
    findings.extend(facts.unseen_tables.iter().map(|table| {
        let reason = "The definition of this table cannot be seen with this account: whether it refers to a moved table was not checked.";
        Finding::new(Level::NotChecked, Side::Source, table.clone(), reason)
    }));
    findings
}

/// Triggers stay behind.
pub(super) fn triggers(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for table in &facts.tables {
        if !table.triggers.is_empty() {
            let reason = format!(
                "Its triggers are not moved: {}. Rows that they wrote are. Create them on the target after the switch, and note that writes of the reverse stream would fire those of the source again.",
                table.triggers.join(", ")
            );
            findings.push(on_table(Level::Warning, table, reason));
        }
        let grants = &facts.source.grants;
        if !grants.has_table("TRIGGER", &table.database, &table.name) {
            let name = sql::qualified(&table.database, &table.name);
            let reason = "Whether the table has triggers cannot be seen without the TRIGGER privilege; triggers are not moved.";
            findings.push(
                on_table(Level::NotChecked, table, reason)
                    .fix(format!("GRANT TRIGGER ON {name} TO {}", facts.source.account)),
            );
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mysql::schema::{Key, KeyKind};

    fn key(kind: KeyKind, btree: bool) -> Key {
        Key { name: "u".into(), kind, parts: Vec::new(), btree, usable: true }
    }

    #[test]
    fn only_a_unique_key_that_is_no_tree_is_hashed() {
        for (kind, btree, hashed) in [
            (KeyKind::Unique, false, true),
            (KeyKind::Unique, true, false),
            (KeyKind::Primary, true, false),
            (KeyKind::Fulltext, false, false),
            (KeyKind::Index, false, false),
        ] {
            let table = TableSchema { keys: vec![key(kind, btree)], ..TableSchema::default() };
            assert_eq!(table.hashed_key().is_some(), hashed, "{kind:?} {btree}");
        }
    }
}
