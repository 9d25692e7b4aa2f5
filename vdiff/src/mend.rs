//! Which rows of the target give way so that others can be written, and the statements that do it.
//!
//! Before this stands [`crate::fix`] with the keys that differ, inside one transaction (or writing one to a file). All rows of
//! these keys are deleted first, then the source's rows are inserted; so rows that have exchanged the values of a unique key are
//! mended together.
//!
//! # No row is lost that was right
//! `INSERT` and not `REPLACE`: a row of the target that stands in the way is never removed silently. Two kinds of rows may stand there,
//! because the target's keys may be stricter than the source's: a row with another key but with the value of a unique key that a
//! source's row has, and, where collations differ, a row whose key is the same only by the target's. They are looked up before anything is
//! deleted. One that *differs from the source itself* is mended in the same transaction, and what stands in its way too, until nothing
//! more does. One that is *equal to the source's row* is right, so what the source has cannot be held by the target's keys: that is an
//! error, and nothing is changed. What is not looked up (unique keys over a part of a column or an expression) fails at the INSERT, and
//! the transaction with it.
//!
//! # Conditions
//! Rows are read and deleted by key alone, whatever `--where` says: a row of the source that the condition leaves out is still the row
//! of that key, so it is written and not missing.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::Write;

use shunt_engine::apply::notes::strict;
use shunt_engine::error::ResultExt;
use shunt_engine::key::push_hex;
use shunt_engine::mysql::control::Control;
use shunt_engine::mysql::schema::{Column, KeyKind};
use shunt_engine::mysql::sql;
use shunt_engine::mysql::wire::{TextCells, Wire};
use shunt_engine::{Error, Result, limits as engine_limits};

use crate::columns::{Compared, Form};
use crate::hash::row_hash;
use crate::limits;
use crate::pair::{Pair, RowKey, Side};

/// A file of statements.
pub struct Emitted {
    out: Box<dyn Write + Send>,
    written: u64,
}

impl Emitted {
    /// A file in which so many bytes stand already.
    pub fn new(out: Box<dyn Write + Send>, written: u64) -> Self {
        Self { out, written }
    }

    /// Writes a statement and what ends it.
    ///
    /// # Errors
    /// Of the file.
    pub(crate) fn write(&mut self, statement: &[u8]) -> Result<()> {
        self.out.write_all(statement)?;
        self.out.write_all(b";\n")?;
        self.written += u64::try_from(statement.len()).unwrap_or(u64::MAX) + 2;
        Ok(())
    }

    /// Gives everything to the file; returns how many bytes stand in it.
    ///
    /// # Errors
    /// Of the file.
    pub(crate) fn flush(&mut self) -> Result<u64> {
        self.out.flush()?;
        Ok(self.written)
    }
}

/// Where statements go.
pub(crate) enum Sink<'a> {
    /// To the target, in its open transaction.
    Server(&'a mut Control),
    /// To a file.
    File(&'a mut Emitted),
}

impl Sink<'_> {
    async fn take(&mut self, statement: &[u8], pair: &Pair) -> Result<()> {
        match self {
            Self::Server(control) => match control.execute(statement).await {
                // The server's words hold the row's value.
                Err(error) if error.is_duplicate() => Err(conflict(pair)),
                other => match other.context("write repaired rows")? {
                    // Such a one may be of the optimizer, and changes nothing.
                    _ if statement.starts_with(b"DELETE") => Ok(()),
                    outcome => strict(*control, &pair.target.schema, outcome)
                        .await
                        .map(drop)
                        .context("write repaired rows"),
                },
            },
            Self::File(file) => file.write(statement),
        }
    }

    /// Files are read by clients of any character set, so nothing but ASCII stands in them.
    fn wants_ascii(&self) -> bool {
        matches!(self, Self::File(_))
    }
}

fn conflict(pair: &Pair) -> Error {
    Error::stop(format!(
        "table {} cannot be repaired: a row of the source has a value of a unique key that another row of the target has, and that row \
         is right",
        sql::ident(&pair.name)
    ))
    .advice("Compare the unique keys of both tables and the collations of their columns. Nothing of these rows was changed.")
}

/// How the rows of one pair are mended.
pub(crate) struct Mending<'a> {
    pair: &'a Pair,
    /// The target's other unique keys, by their columns' places in the pair.
    uniques: Vec<Vec<usize>>,
}

impl<'a> Mending<'a> {
    /// For a pair with a key.
    pub(crate) fn new(pair: &'a Pair) -> Self {
        let schema = &pair.target.schema;
        let place = |at: usize| {
            let name = schema.columns.get(at).map(|column| column.name.as_str())?;
            pair.columns.iter().position(|c| c.target_name.eq_ignore_ascii_case(name))
        };
        let unique = |key: &&shunt_engine::mysql::schema::Key| {
            matches!(key.kind, KeyKind::Primary | KeyKind::Unique)
                && key.usable
                && key.parts.iter().all(|part| part.prefix.is_none())
        };
        let keys = schema.keys.iter().filter(unique);
        let places = |key: &shunt_engine::mysql::schema::Key| -> Option<Vec<usize>> {
            key.parts.iter().map(|part| place(part.column)).collect()
        };
        let others = keys.filter_map(places);
        // A key over all of the pair's key and nothing else gives way with it. One over a part of it may have another row.
        let whole: BTreeSet<usize> = (0..pair.key_cells).collect();
        let others =
            others.filter(|places| places.iter().copied().collect::<BTreeSet<_>>() != whole);
        Self { pair, uniques: others.collect() }
    }

    /// These keys and those of all rows that have to give way with them. With a connection to lock by, the target's rows are locked
    /// before the source's are read.
    ///
    /// # Errors
    /// Stop if a row that is right stands in the way, or if there are too many; of the servers.
    pub(crate) async fn all_keys(
        &self,
        keys: &[RowKey],
        source: &mut Wire,
        target: &mut Wire,
        mut lock: Option<&mut Control>,
    ) -> Result<Vec<RowKey>> {
        let mut all: BTreeSet<RowKey> = BTreeSet::new();
        let mut fresh: Vec<RowKey> =
            keys.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect();
        while !fresh.is_empty() {
            all.extend(fresh.iter().cloned());
            if all.len() > limits::MEND_KEYS_MAX {
                return Err(Error::stop(format!(
                    "more than {} rows of table {} have exchanged values of a unique key",
                    limits::MEND_KEYS_MAX,
                    sql::ident(&self.pair.name)
                ))
                .advice("Drop that key on the target, repair, and make it again."));
            }
            let plain: Vec<&[u8]> = fresh.iter().map(|key| &**key).collect();
            if let Some(control) = &mut lock {
                let query = self.pair.keys_query(Side::Target, &plain, " FOR UPDATE")?;
                control.rows(query).await.context("lock the target's rows")?;
            }
            let mut in_the_way = BTreeSet::new();
            if !self.pair.keys_agree() {
                let query = self.pair.keys_query(Side::Target, &plain, "")?;
                read_keys(self.pair, target, &query, &mut in_the_way).await?;
            }
            for query in self.holders(&plain, source).await? {
                read_keys(self.pair, target, &query, &mut in_the_way).await?;
            }
            fresh = in_the_way.into_iter().filter(|key| !all.contains(key)).collect();
            self.check_wrong(&fresh, source, target).await?;
        }
        Ok(all.into_iter().collect())
    }

    /// Queries for the target's rows that hold values of unique keys which the source's rows of these keys have.
    async fn holders(&self, keys: &[&[u8]], source: &mut Wire) -> Result<Vec<Vec<u8>>> {
        let mut queries: Vec<Vec<u8>> = Vec::new();
        if self.uniques.is_empty() {
            return Ok(queries);
        }
        let name = target_name(self.pair);
        let head = format!("SELECT {} FROM {name} WHERE ", self.pair.key_list(Side::Target));
        let mut open = Vec::new();
        let asked: HashSet<&[u8]> = keys.iter().copied().collect();
        source.start_rows(self.pair.whole_query(Side::Source, keys)?).await?;
        while let Some(row) = source.next_row().await? {
            if !self.is_meant(self.pair.key_of(row)?, &asked) {
                continue;
            }
            let cells: Vec<Option<&[u8]>> = TextCells::new(row).collect::<Result<_>>()?;
            for unique in &self.uniques {
                // NULL is unlike everything.
                let values: Option<Vec<&[u8]>> =
                    unique.iter().map(|at| cells.get(*at).copied().flatten()).collect();
                let Some(values) = values else { continue };
                for (at, value) in unique.iter().zip(&values) {
                    check_fits(self.pair, *at, value)?;
                }
                open.extend_from_slice(if open.is_empty() { head.as_bytes() } else { b" OR " });
                for (nth, (at, value)) in unique.iter().zip(values).enumerate() {
                    open.extend_from_slice(if nth == 0 { b"(" } else { b" AND " });
                    self.push_equal(*at, value, &mut open);
                }
                open.push(b')');
                if open.len() > limits::FIX_BYTES_MAX {
                    queries.push(std::mem::take(&mut open));
                }
            }
        }
        queries.extend(Some(open).filter(|open| !open.is_empty()));
        Ok(queries)
    }

    /// `column = value`, by the rules of the target's column.
    fn push_equal(&self, at: usize, value: &[u8], out: &mut Vec<u8>) {
        let compared = &self.pair.columns[at];
        out.extend_from_slice(sql::ident(&compared.target_name).as_bytes());
        out.push(b'=');
        let column = self.column(compared);
        match column.map_or("", |column| column.data_type.as_str()) {
            _ if is_number(compared, column) => out.extend_from_slice(value),
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" | "float"
            | "double" | "real" => out.extend_from_slice(value),
            "date" | "datetime" | "timestamp" | "time" => sql::push_literal(out, value),
            _ => {
                if let Some(charset) = column.and_then(|column| column.charset.as_deref()) {
                    out.extend_from_slice(format!("_{charset} ").as_bytes());
                }
                push_hex(value, out);
            }
        }
    }

    fn column(&self, compared: &Compared) -> Option<&Column> {
        let schema = &self.pair.target.schema;
        schema.column_index(&compared.target_name).map(|at| &schema.columns[at])
    }

    /// A row that stands in the way must differ itself.
    async fn check_wrong(
        &self,
        keys: &[RowKey],
        source: &mut Wire,
        target: &mut Wire,
    ) -> Result<()> {
        for keys in keys.chunks(limits::LOOK_KEYS_MAX) {
            let plain: Vec<&[u8]> = keys.iter().map(|key| &**key).collect();
            let here = hashes(self.pair, source, Side::Source, &plain).await?;
            let there = hashes(self.pair, target, Side::Target, &plain).await?;
            let right =
                |key: &RowKey| here.get(key).is_some_and(|hash| there.get(key) == Some(hash));
            if keys.iter().any(right) {
                return Err(conflict(self.pair));
            }
        }
        Ok(())
    }

    /// Whether a source's row that was found by these keys is of one of them, and not only by the source's collation.
    fn is_meant(&self, key: &[u8], asked: &HashSet<&[u8]>) -> bool {
        self.pair.keys_agree() || asked.contains(key)
    }

    /// Deletes the target's rows of these keys and inserts the source's.
    ///
    /// # Errors
    /// Stop if a row does not fit; of the servers and the file.
    pub(crate) async fn write(
        &self,
        keys: &[RowKey],
        source: &mut Wire,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        for keys in keys.chunks(limits::LOOK_KEYS_MAX) {
            let plain: Vec<&[u8]> = keys.iter().map(|key| &**key).collect();
            let mut delete = format!("DELETE FROM {} WHERE ", target_name(self.pair)).into_bytes();
            self.pair.push_keys(Side::Target, &plain, &mut delete)?;
            sink.take(&delete, self.pair).await?;
        }
        let mut done: HashSet<RowKey> = HashSet::new();
        for keys in keys.chunks(limits::LOOK_KEYS_MAX) {
            let plain: Vec<&[u8]> = keys.iter().map(|key| &**key).collect();
            let asked: HashSet<&[u8]> = plain.iter().copied().collect();
            let mut statement = Vec::new();
            source.start_rows(self.pair.whole_query(Side::Source, &plain)?).await?;
            while let Some(row) = source.next_row().await? {
                let key = self.pair.key_of(row)?;
                // Two keys that are equal by their collation find the same row.
                if !self.is_meant(key, &asked) || !done.insert(key.into()) {
                    continue;
                }
                self.push_row(row, sink.wants_ascii(), &mut statement)?;
                if statement.len() >= engine_limits::STATEMENT_BYTES_MAX {
                    sink.take(&std::mem::take(&mut statement), self.pair).await?;
                }
            }
            if !statement.is_empty() {
                sink.take(&statement, self.pair).await?;
            }
        }
        Ok(())
    }

    /// Adds a row to a statement, which is begun if it is empty.
    fn push_row(&self, row: &[u8], ascii: bool, out: &mut Vec<u8>) -> Result<()> {
        let pair = self.pair;
        if out.is_empty() {
            let columns = sql::ident_list(pair.columns.iter().map(|c| c.target_name.as_str()));
            let head = format!("INSERT INTO {} ({columns}) VALUES ", target_name(pair));
            out.extend_from_slice(head.as_bytes());
        } else {
            out.push(b',');
        }
        for (at, cell) in TextCells::new(row).enumerate() {
            out.push(if at == 0 { b'(' } else { b',' });
            let compared = &pair.columns[at];
            let column = self.column(compared);
            let cell = cell?;
            cell.map_or(Ok(()), |cell| check_fits(pair, at, cell))?;
            match cell {
                None => out.extend_from_slice(b"NULL"),
                Some(cell) if is_number(compared, column) => out.extend_from_slice(cell),
                Some(cell) => push_value(compared, column, cell, ascii, out),
            }
        }
        out.push(b')');
        Ok(())
    }
}

/// What the target's character set cannot hold is not written there as something else.
fn check_fits(pair: &Pair, at: usize, cell: &[u8]) -> Result<()> {
    let compared = &pair.columns[at];
    if compared.lost(cell).is_none() {
        return Ok(());
    }
    Err(Error::stop(format!(
        "table {} cannot be repaired: column {} of a row has characters, or the error value of an ENUM, that the target's column cannot hold",
        sql::ident(&pair.name),
        sql::ident(&compared.source_name)
    ))
    .advice("Give the target's column the source's type and character set, or utf8mb4. Nothing of these rows was changed."))
}

/// ENUM, SET, BIT and YEAR by number: in quotes it would be a label, a character, or a year of two digits.
fn is_number(compared: &Compared, column: Option<&Column>) -> bool {
    matches!(compared.form, Form::Integer { .. })
        || column.is_some_and(|column| matches!(column.data_type.as_str(), "bit" | "year"))
}

fn push_value(
    compared: &Compared,
    column: Option<&Column>,
    cell: &[u8],
    ascii: bool,
    out: &mut Vec<u8>,
) {
    // MySQL makes no JSON of a binary string.
    let json = column.is_some_and(|column| column.data_type == "json");
    let charset = if json { Some("utf8mb4") } else { compared.spelt.then_some("latin1") };
    if charset.is_some() {
        out.extend_from_slice(b"CONVERT(");
    }
    if ascii && !cell.is_ascii() {
        push_hex(cell, out);
    } else {
        sql::push_literal(out, cell);
    }
    if let Some(charset) = charset {
        out.extend_from_slice(format!(" USING {charset})").as_bytes());
    }
}

fn target_name(pair: &Pair) -> String {
    sql::qualified(&pair.target.schema.database, &pair.target.schema.name)
}

async fn read_keys(
    pair: &Pair,
    wire: &mut Wire,
    query: &[u8],
    keys: &mut BTreeSet<RowKey>,
) -> Result<()> {
    wire.start_rows(query).await?;
    while let Some(row) = wire.next_row().await? {
        keys.insert(pair.key_of(row)?.into());
    }
    Ok(())
}

async fn hashes(
    pair: &Pair,
    wire: &mut Wire,
    side: Side,
    keys: &[&[u8]],
) -> Result<HashMap<RowKey, u128>> {
    let mut rows = HashMap::new();
    wire.start_rows(pair.whole_query(side, keys)?).await?;
    while let Some(row) = wire.next_row().await? {
        rows.insert(pair.key_of(row)?.into(), row_hash(row));
    }
    Ok(rows)
}
