//! Whether the source's tables can be carried to the target.

use super::facts::Facts;
use super::{Finding, Level, Side};
use crate::mysql::schema::{Column, Generated, TableKind, TableSchema};
use crate::mysql::server::{Flavor, Version};
use crate::mysql::sql;
use crate::target_ddl::{TargetDdl, TargetDdlInput};

fn on_table(level: Level, table: &TableSchema, reason: impl Into<String>) -> Finding {
    Finding::new(level, Side::Source, table.name.clone(), reason)
}

/// Every name asked for is a table.
pub(super) fn table_exists(facts: &Facts) -> Vec<Finding> {
    let what = |kind: &Option<TableKind>| match kind {
        None => "There is no such table, or the account may not see it.",
        Some(TableKind::View) => {
            "It is a view: views are not moved. Create it on the target after the move."
        }
        Some(TableKind::Sequence) => {
            "It is a sequence: sequences are not moved. Create it on the target after the move."
        }
        Some(_) => "It is not an ordinary table.",
    };
    let missing = facts.not_tables.iter();
    missing
        .map(|(name, kind)| Finding::new(Level::Error, Side::Source, name.clone(), what(kind)))
        .collect()
}

/// Only InnoDB has snapshots, and transactions whose order is the binlog's.
pub(super) fn engine(facts: &Facts) -> Vec<Finding> {
    let other = facts.tables.iter().filter(|table| !table.engine.eq_ignore_ascii_case("InnoDB"));
    other
        .map(|table| {
            let name = sql::qualified(&table.database, &table.name);
            let reason = format!(
                "The table's engine is {}: without transactions no snapshot of it can be placed in the binlog.",
                table.engine
            );
            on_table(Level::Error, table, reason).fix(format!("ALTER TABLE {name} ENGINE = InnoDB"))
        })
        .collect()
}

/// Old row versions are not carried. A period is no more than two columns and a check; but where a key watches it, periods may overlap
/// between two rows that are written.
pub(super) fn system_versioning(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for table in &facts.tables {
        if table.system_versioned {
            let reason = "The table keeps old versions of its rows (system versioning), which are not carried yet.";
            findings.push(on_table(Level::Error, table, reason));
        }
        if table.without_overlaps {
            let reason = "A key of the table admits no overlapping periods (WITHOUT OVERLAPS): rows are written in another order than they were, and between two of them periods may overlap. Make it a key of the columns alone, or leave the table out.";
            findings.push(on_table(Level::Error, table, reason));
        }
    }
    findings
}

/// Column types that are not carried bit by bit yet.
pub(super) fn column_types(facts: &Facts) -> Vec<Finding> {
    let mysql = facts.source.info.flavor == Flavor::MySql;
    let mut findings = Vec::new();
    for table in &facts.tables {
        for column in &table.columns {
            let reason = if mysql && column.data_type == "json" {
                "JSON columns of MySQL are not carried yet."
            } else if column.data_type == "uuid" && keeps_uuids_reversed(facts, column) {
                "The server keeps this UUID column in the form of before MariaDB 10.11.5, which is not carried yet."
            } else if column.column_type == "year(2)" {
                "A YEAR(2) reads alike for the years 0000 and 2000. Make it a YEAR(4) on the source first."
            } else if column.labels_are_hidden() {
                "A label is listed with a question mark, which stands for any character that utf8mb3 has not: the target's label could be another. Give the label another name."
            } else {
                continue;
            };
            let subject = format!("{}.{}", table.name, column.name);
            findings.push(Finding::new(Level::Error, Side::Source, subject, reason));
        }
    }
    findings
}

/// A default that the server does not list as it is.
pub(super) fn defaults(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for table in &facts.tables {
        for column in table.columns.iter().filter(|column| column.default_is_hidden()) {
            let reason = "Its default is listed with a question mark, which stands for any character that utf8mb3 has not. If it is not one, rows that are inserted without a value after the switch get another one: set the default on the target yourself.";
            let subject = format!("{}.{}", table.name, column.name);
            findings.push(Finding::new(Level::Warning, Side::Source, subject, reason));
        }
    }
    findings
}

/// A DOUBLE with digits is rounded to them whenever it is written: the server takes its part behind the point times a power of ten,
/// rounds that, divides it and adds it again. A value that was rounded so stays as it is if the digits are far from DOUBLE's own
/// precision, which they are up to 15 in all, or up to 14 behind the point. Near it, the rounding errors of the four steps may make
/// it a neighbour of what it was (some 30 of 30,000 random values from 1 to 1000 of a DOUBLE(20,15); FLOAT(M,D) is computed with digits to
/// spare and is not concerned). No statement can write the value that was.
pub(super) fn rounded_numbers(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for table in &facts.tables {
        let doubles = table.columns.iter().filter(|column| column.data_type == "double");
        for column in doubles {
            if !column.digits().is_some_and(|(all, behind)| all > 15 && behind > 14) {
                continue;
            }
            let reason = format!(
                "A server rounds a {} again whenever it is written: near the limit of its precision about one value in a thousand changes in the last bit. VDiff reports such rows and cannot repair them. A plain DOUBLE is carried exactly.",
                column.column_type
            );
            let subject = format!("{}.{}", table.name, column.name);
            findings.push(Finding::new(Level::Warning, Side::Source, subject, reason));
        }
    }
    findings
}

/// Before MDEV-29959 all UUIDs were kept with their groups in reverse; a column made then says so.
fn keeps_uuids_reversed(facts: &Facts, column: &Column) -> bool {
    let version = facts.source.info.version;
    version < Version(10, 11, 5)
        || version >= Version(11, 0, 0) && version < Version(11, 0, 3)
        || version >= Version(11, 1, 0) && version < Version(11, 1, 2)
        || column.column_type.contains("old")
}

/// Generated columns are computed again on the target.
pub(super) fn generated_columns(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for table in &facts.tables {
        let generated = table.columns.iter().filter(|c| c.generated != Generated::No);
        let names: Vec<&str> = generated.map(|column| column.name.as_str()).collect();
        if !names.is_empty() {
            let reason = format!(
                "The target computes these columns itself, and VDiff does not compare them: {}. They are equal only if both servers compute alike, whatever the session's settings and the day (a TIME that is compared with a date is taken as of today).",
                names.join(", ")
            );
            findings.push(on_table(Level::Warning, table, reason));
        }
    }
    findings
}

/// The target's definition can be made from the source's.
pub(super) fn definition(facts: &Facts) -> Vec<Finding> {
    let unknown = facts.not_understood.iter().map(|(table, why)| {
        let reason =
            format!("The definition is not understood, so the table cannot be moved: {why}");
        Finding::new(Level::Error, Side::Source, table.clone(), reason)
    });
    let mut findings: Vec<Finding> = unknown.collect();
    for table in &facts.tables {
        let ddl = TargetDdl::new(TargetDdlInput {
            schema: table,
            source: &facts.source.info,
            target: &facts.target.info,
            database: &facts.target_database,
            table: &table.name,
            defer_secondary_keys: true,
        });
        match ddl {
            Err(error) => {
                let reason = format!("The definition cannot be carried to the target: {error}.");
                findings.push(on_table(Level::Error, table, reason.replace("..", ".")));
            }
            Ok(ddl) => findings.extend(ddl.left_out.iter().map(|what| {
                let reason = format!("The target's definition will be without this: {what}.");
                on_table(Level::Warning, table, reason)
            })),
        }
    }
    findings
}

/// Every collation of a column exists on the target: an unknown one cannot be created, and none can stand for it.
pub(super) fn collations(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for table in &facts.tables {
        let columns = table
            .columns
            .iter()
            .map(|column| (format!("{}.{}", table.name, column.name), &column.collation));
        for (subject, collation) in columns.chain([(table.name.clone(), &table.collation)]) {
            let Some(collation) = collation else { continue };
            if facts.knows_collation(collation) {
                continue;
            }
            let reason = format!(
                "The target does not know the collation {collation}: keys would be ordered and compared differently there. Change it on the source to one that both know."
            );
            findings.push(Finding::new(Level::Error, Side::Target, subject, reason));
        }
    }
    findings
}
