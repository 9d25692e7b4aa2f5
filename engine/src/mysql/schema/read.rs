//! Reading tables from a live server.

use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::mysql::control::{Control, Row};
use crate::mysql::schema::definition::{ItemKind, without_counter};
use crate::mysql::schema::{
    Column, Definition, Generated, Key, KeyKind, KeyPart, TableSchema, fingerprint_of,
};
use crate::mysql::server::{Flavor, ServerInfo, Version};
use crate::mysql::sql;

/// What a name in a database stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableKind {
    /// An ordinary table.
    Base,
    /// A table that keeps old versions of its rows (MariaDB).
    SystemVersioned,
    /// A view.
    View,
    /// A sequence (MariaDB).
    Sequence,
    /// Something else that cannot be moved.
    Other,
}

/// The names in a database and what they are, sorted; temporary tables are not among them.
///
/// # Errors
/// As the server's.
pub async fn list_tables(
    control: &mut Control,
    database: &str,
) -> Result<Vec<(String, TableKind)>> {
    let query = format!(
        "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = {} \
         AND table_type NOT LIKE '%TEMPORARY%'",
        sql::literal(database)
    );
    let rows = control.rows(query).await.context(format_args!("list tables of {database:?}"))?;
    let mut tables = Vec::with_capacity(rows.len());
    for row in rows {
        tables.push((row.must(0)?, kind_of(&row.must(1)?)));
    }
    tables.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(tables)
}

fn kind_of(table_type: &str) -> TableKind {
    match table_type {
        "BASE TABLE" => TableKind::Base,
        "SYSTEM VERSIONED" => TableKind::SystemVersioned,
        "VIEW" | "SYSTEM VIEW" => TableKind::View,
        "SEQUENCE" => TableKind::Sequence,
        _ => TableKind::Other,
    }
}

/// Reads a table's definition; `None` where there is no table of this name (a view or a sequence is none).
///
/// # Errors
/// As the server's, or Stop where the definition is not understood.
pub async fn read_table(
    control: &mut Control,
    database: &str,
    table: &str,
) -> Result<Option<TableSchema>> {
    read(control, database, table)
        .await
        .context(format_args!("read the definition of {database:?}.{table:?}"))
}

/// The same, read until two readings agree: a definition is read by several queries, and between two of them an ALTER could make
/// another table of it. Nothing is locked, so that a client that holds the table does not hold us up.
///
/// # Errors
/// As [`read_table`]; Retry if the definition changes all the time.
pub async fn read_table_settled(
    control: &mut Control,
    database: &str,
    table: &str,
) -> Result<Option<TableSchema>> {
    let mut last = read_table(control, database, table).await;
    for _ in 0..SETTLE_TRIES {
        let next = read_table(control, database, table).await;
        match (last, next) {
            (Ok(last), Ok(next)) if alike(last.as_ref(), next.as_ref()) => return Ok(next),
            // What is not understood twice is no half of an ALTER.
            (Err(_), Err(error)) => return Err(error),
            (_, Err(error)) if error.kind() != ErrorKind::Stop => return Err(error),
            (_, next) => last = next,
        }
    }
    Err(Error::retry(format!("the definition of {database:?}.{table:?} changes all the time")))
}

/// How often a definition is read again until it holds still.
const SETTLE_TRIES: usize = 20;

fn alike(a: Option<&TableSchema>, b: Option<&TableSchema>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => {
            without_counter(&a.create_sql) == without_counter(&b.create_sql)
                && (&a.columns, &a.keys, &a.fingerprint) == (&b.columns, &b.keys, &b.fingerprint)
        }
        (None, None) => true,
        _ => false,
    }
}

async fn read(control: &mut Control, database: &str, table: &str) -> Result<Option<TableSchema>> {
    let Some(mut schema) = read_status(control, database, table).await? else { return Ok(None) };
    schema.create_sql = read_create(control, database, table).await?;
    let definition = Definition::parse(&schema.create_sql)?;
    schema.foreign_keys = definition.foreign_keys()?;
    schema.without_overlaps = definition.has_key_without_overlaps()?;
    if let Some(next) = definition.option("AUTO_INCREMENT") {
        schema.auto_increment =
            Some(next.parse().map_err(|_| Error::stop("AUTO_INCREMENT is not a number"))?);
    }
    schema.columns = read_columns(control, &schema).await?;
    schema.keys = read_keys(control, &schema).await?;
    schema.triggers = read_triggers(control, &schema).await?;
    let mut rows = Vec::new();
    for row in control.rows(schema.fingerprint_query()).await? {
        rows.push(row.must(0)?);
    }
    schema.fingerprint = fingerprint_of(rows);
    Ok(Some(schema))
}

/// Name, engine and sizes. `information_schema` finds a table by the exact name but compares without case, so the row
/// must be the one asked for.
async fn read_status(
    control: &mut Control,
    database: &str,
    table: &str,
) -> Result<Option<TableSchema>> {
    if control.info().flavor == Flavor::MySql && control.info().version >= Version(8, 0, 0) {
        // Else row counts and sizes may be a day old.
        control.execute("SET SESSION information_schema_stats_expiry = 0").await?;
    }
    let query = format!(
        "SELECT table_schema, table_name, table_type, engine, row_format, table_rows, data_length, \
         table_collation, create_options FROM information_schema.tables WHERE {}",
        where_table(database, table)
    );
    let rows = control.rows(query).await?;
    let exact = rows.iter().find(|row| row.text(1).as_deref() == Some(table));
    let Some(row) = exact.or(rows.first()) else { return Ok(None) };
    let kind = kind_of(&row.must(2)?);
    if !matches!(kind, TableKind::Base | TableKind::SystemVersioned) {
        return Ok(None);
    }
    Ok(Some(TableSchema {
        database: row.must(0)?,
        name: row.must(1)?,
        engine: row.text(3).unwrap_or_default(),
        row_format: row.text(4),
        rows_estimate: row.text(5).and_then(|n| n.parse().ok()).unwrap_or(0),
        data_bytes: row.text(6).and_then(|n| n.parse().ok()).unwrap_or(0),
        collation: row.text(7),
        partitioned: row.text(8).is_some_and(|options| options.contains("partitioned")),
        system_versioned: kind == TableKind::SystemVersioned,
        ..TableSchema::default()
    }))
}

async fn read_create(control: &mut Control, database: &str, table: &str) -> Result<String> {
    let query = format!("SHOW CREATE TABLE {}", sql::qualified(database, table));
    let row = control.row(query).await?.unwrap_or_default();
    let bytes = row.bytes(1).ok_or_else(|| Error::stop("server shows no definition"))?;
    String::from_utf8(bytes.to_vec())
        .map_err(|_| Error::stop("table definition is not valid UTF-8"))
}

async fn read_columns(control: &mut Control, schema: &TableSchema) -> Result<Vec<Column>> {
    let query = format!(
        "SELECT column_name, data_type, column_type, is_nullable, character_set_name, collation_name, \
         column_default, extra FROM information_schema.columns WHERE {} ORDER BY ordinal_position",
        where_table(&schema.database, &schema.name)
    );
    let flavor = control.info().flavor;
    control.rows(query).await?.iter().map(|row| column_of(row, flavor)).collect()
}

fn column_of(row: &Row, flavor: Flavor) -> Result<Column> {
    let extra = row.text(7).unwrap_or_default().to_uppercase();
    let column_type = row.must(2)?;
    let generated = if extra.contains("VIRTUAL GENERATED") {
        Generated::Virtual
    } else if extra.contains("STORED GENERATED") || extra.contains("PERSISTENT") {
        Generated::Stored
    } else {
        Generated::No
    };
    // MariaDB writes the default NULL as a word, MySQL as no value.
    let default = row.text(6).filter(|default| default != "NULL");
    let is_constant = |default: &String| match flavor {
        Flavor::MariaDb => default.starts_with('\''),
        Flavor::MySql => !extra.contains("DEFAULT_GENERATED"),
    };
    Ok(Column {
        name: row.must(0)?,
        data_type: row.must(1)?.to_lowercase(),
        nullable: row.must(3)? == "YES",
        charset: row.text(4),
        collation: row.text(5),
        generated,
        invisible: extra.contains("INVISIBLE"),
        auto_increment: extra.contains("AUTO_INCREMENT"),
        on_update: extra.contains("ON UPDATE"),
        has_default: default.is_some(),
        default_constant: default.filter(is_constant),
        compressed: column_type.ends_with("COMPRESSED*/"),
        column_type,
    })
}

async fn read_keys(control: &mut Control, schema: &TableSchema) -> Result<Vec<Key>> {
    let query = format!(
        "SELECT index_name, non_unique, column_name, sub_part, collation, index_type, {} \
         FROM information_schema.statistics WHERE {} ORDER BY index_name, seq_in_index",
        visible_column(control.info()),
        where_table(&schema.database, &schema.name)
    );
    let mut keys: Vec<Key> = Vec::new();
    for row in control.rows(query).await? {
        let name = row.must(0)?;
        if keys.last().is_none_or(|key| key.name != name) {
            keys.push(key_of(&row, name)?);
        }
        let part = part_of(&row, schema)?;
        if let Some(key) = keys.last_mut() {
            key.usable &= part.is_some();
            key.parts.extend(part);
        }
    }
    // The order of the definition, primary key first: the choice among equal keys must not depend on a collation.
    let order = order_of_keys(schema)?;
    keys.sort_by_key(|key| order.iter().position(|name| *name == key.name));
    Ok(keys)
}

fn order_of_keys(schema: &TableSchema) -> Result<Vec<String>> {
    let definition = Definition::parse(&schema.create_sql)?;
    let keys = definition.items.into_iter().filter(|item| item.kind != ItemKind::Column);
    Ok(keys.map(|item| item.name).collect())
}

/// An expression that is 1 for keys that the optimizer uses.
fn visible_column(info: &ServerInfo) -> &'static str {
    match info.flavor {
        Flavor::MySql if info.version >= Version(8, 0, 0) => "is_visible = 'YES'",
        Flavor::MariaDb if info.version >= Version(10, 6, 0) => "ignored = 'NO'",
        _ => "1",
    }
}

fn key_of(row: &Row, name: String) -> Result<Key> {
    let index_type = row.must(5)?;
    let kind = match (name.as_str(), index_type.as_str(), row.must(1)?.as_str()) {
        ("PRIMARY", ..) => KeyKind::Primary,
        (_, "FULLTEXT", _) => KeyKind::Fulltext,
        (_, "SPATIAL" | "RTREE", _) => KeyKind::Spatial,
        (_, _, "0") => KeyKind::Unique,
        _ => KeyKind::Index,
    };
    let usable = row.must(6)? == "1";
    Ok(Key { name, kind, parts: Vec::new(), btree: index_type == "BTREE", usable })
}

/// A part of a key; `None` where it is an expression.
fn part_of(row: &Row, schema: &TableSchema) -> Result<Option<KeyPart>> {
    let Some(name) = row.text(2) else { return Ok(None) };
    let column = schema
        .column_index(&name)
        .ok_or_else(|| Error::stop(format!("a key names the unknown column {name:?}")))?;
    let prefix = match row.bytes(3) {
        Some(_) => Some(row.number(3)?),
        None => None,
    };
    let descending = row.text(4).as_deref() == Some("D");
    Ok(Some(KeyPart { column, prefix, descending }))
}

/// How the names of our fence's triggers begin.
pub const FENCE_TRIGGER_PREFIX: &str = "_shunt_fence_";

/// The table's triggers, but for those of our fence.
async fn read_triggers(control: &mut Control, schema: &TableSchema) -> Result<Vec<String>> {
    let query = format!(
        "SELECT trigger_name FROM information_schema.triggers WHERE event_object_schema = {} \
         AND event_object_table = {} AND LEFT(trigger_name, {}) <> {} ORDER BY trigger_name",
        sql::literal(&schema.database),
        sql::literal(&schema.name),
        FENCE_TRIGGER_PREFIX.len(),
        sql::literal(FENCE_TRIGGER_PREFIX)
    );
    control.rows(query).await?.iter().map(|row| row.must(0)).collect()
}

fn where_table(database: &str, table: &str) -> String {
    format!("table_schema = {} AND table_name = {}", sql::literal(database), sql::literal(table))
}
