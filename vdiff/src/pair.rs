//! A pair of tables and the statements that read them: the same rows, printed alike, on both sides.
//!
//! Cells come in one order on both sides: those of the key first, then the others. A row packet of the text protocol is its
//! cells with their lengths, so equal packets are equal rows, and the front of a packet is the row's key.
//!
//! # Boundaries
//! Ranges `(b₀,b₁], (b₁,b₂], …` are found on one server and asked of both. Servers may order strings differently, but whatever
//! their order, every row lies in at least one range: take the first boundary that is not below its key. So no row is
//! overlooked; a row that another order puts into another range, or into two, makes their checksums differ, and is found
//! equal when its key is looked up.

use std::sync::Arc;

use shunt_engine::key::{KeyKind, KeyPlan, Place};
use shunt_engine::mysql::schema::{Generated, TableSchema};
use shunt_engine::mysql::sql;
use shunt_engine::mysql::wire::TextCells;
use shunt_engine::plan::TablePlan;
use shunt_engine::ranges::Bounds;
use shunt_engine::{Error, Result};

use crate::columns::Compared;
use crate::condition;
use crate::frame::Sums;
use crate::hash::row_hash;
use crate::keys;
use crate::spec::Spec;

mod choose;

/// The front of a row packet that holds its key cells. It stands in several lists at a time and is shared between them.
pub type RowKey = Arc<[u8]>;

/// A range of keys.
pub type Range = Bounds<Place>;

/// Which of the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What is right.
    Source,
    /// What is checked.
    Target,
}

/// One side's table.
#[derive(Clone, Debug)]
pub struct SideTable {
    /// Its definition.
    pub schema: TableSchema,
    /// Its key as it is ordered and compared there; none for tables without one.
    pub key: Option<KeyPlan>,
    select: String,
}

/// A pair of tables that are compared.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The table's name on the source, which names it in reports.
    pub name: String,
    /// What is compared: the key's columns, then the others.
    pub columns: Vec<Compared>,
    /// How many of them are the key.
    pub key_cells: usize,
    /// The source.
    pub source: SideTable,
    /// The target.
    pub target: SideTable,
    /// Only rows for which this SQL condition holds are compared; see [`crate::condition`].
    pub filter: Option<String>,
    /// Why rows are counted and not told apart by the key, if they are.
    counted: Option<String>,
    /// Columns that only the target has, if all of the source's are compared.
    only_target: Vec<String>,
    /// Columns of the source that were left out.
    left_out: Vec<String>,
    /// A key column of which the sides have different collations, in words.
    other_collation: Option<String>,
}

impl Pair {
    /// Joins two definitions.
    ///
    /// # Errors
    /// Usage if the target lacks a column, or if the keys cannot be compared.
    pub fn new(source: TableSchema, target: TableSchema, spec: &Spec) -> Result<Self> {
        let filter = spec.filter.as_deref().map(|typed| condition::read(typed, &spec.map));
        let filter = filter.transpose()?;
        let plan = TablePlan::new(source, "");
        let columns = choose::compared(&plan, &target, spec)?;
        let counted = keys::why_counted(&plan, &target, &columns);
        let key = plan.key.clone().filter(|_| counted.is_none());
        let (mut columns, key_cells) = choose::in_order(columns, key.as_ref());
        columns.iter_mut().for_each(Compared::guard);
        let other_collation = keys::other_collation(&plan.source, &target, &columns[..key_cells]);
        let keys =
            key.map(|key| keys::of_sides(key, &columns[..key_cells], &target)).transpose()?;
        let (source_key, target_key) = keys.unzip();
        let only_target = choose::only_target(&plan, &target, &columns, spec);
        let left_out = choose::left_out(&plan, &columns);
        let select =
            |side: fn(&Compared) -> &str| columns.iter().map(side).collect::<Vec<_>>().join(", ");
        Ok(Self {
            name: plan.source.name.clone(),
            source: SideTable {
                select: select(|column| &column.source),
                schema: plan.source,
                key: source_key,
            },
            target: SideTable {
                select: select(|column| &column.target),
                schema: target,
                key: target_key,
            },
            columns,
            key_cells,
            filter,
            counted,
            only_target,
            left_out,
            other_collation,
        })
    }

    /// Whether rows are told apart by a key.
    pub fn keyed(&self) -> bool {
        self.key_cells > 0
    }

    /// A short text that is another one once a definition, or the key that orders the ranges, is another: a saved key is then of another order.
    pub fn definition(&self) -> String {
        let mut text = Vec::new();
        let key = self.columns[..self.key_cells].iter().map(|column| column.source_name.as_str());
        let sides = [&self.source, &self.target].map(|side| side.schema.fingerprint());
        for part in sides.into_iter().chain(key) {
            text.extend_from_slice(part.as_bytes());
            text.push(0);
        }
        format!("{:032x}", row_hash(&text))
    }

    /// What the report says about how columns are compared, and what is not.
    pub fn notes(&self) -> Vec<String> {
        let note = |column: &Compared| {
            let note = column.note.as_ref()?;
            Some(format!("{}: {note}", column.source_name))
        };
        let mut notes: Vec<String> = self.columns.iter().filter_map(note).collect();
        let computed = self.source.schema.columns.iter().filter(|c| c.generated != Generated::No);
        notes.extend(computed.map(|c| format!("{}: computed by the source, not compared", c.name)));
        let only = |name: &String| format!("{name}: only on the target, not compared");
        notes.extend(self.only_target.iter().map(only));
        if !self.left_out.is_empty() {
            notes
                .push(format!("{}: left out by --columns, not compared", self.left_out.join(", ")));
        }
        if self.filter.is_some() {
            notes.push("rows for which --where does not hold: not compared".into());
        }
        notes.extend(self.other_collation.clone());
        if let Some(why) = &self.counted {
            notes.push(format!("{why}: rows are counted, whole row by whole row"));
        }
        notes
    }

    /// Whether the other side may have a row's key in other bytes; see [`crate::keys`].
    pub fn pairs_by_collation(&self) -> bool {
        let columns = self.source.key.iter().flat_map(|key| &key.columns);
        self.other_collation.is_none()
            && columns.into_iter().any(|c| matches!(c.kind, KeyKind::Opaque { charset: Some(_) }))
    }

    /// Whether a key might not be found by what is printed of it, though nobody knows of one: what is converted, and what only servers
    /// compare. See [`crate::net`].
    pub fn needs_net(&self) -> bool {
        let converted = self.columns[..self.key_cells].iter().any(|column| !column.stands);
        converted || self.keyed() && !self.keys_in_order()
    }

    /// Whether the order of keys is known here, and so the same on both sides.
    pub fn keys_in_order(&self) -> bool {
        self.source.key.as_ref().is_some_and(KeyPlan::exact)
    }

    /// Whether keys are told apart alike on both sides.
    pub fn keys_agree(&self) -> bool {
        self.other_collation.is_none()
    }

    /// One side.
    pub fn side(&self, side: Side) -> &SideTable {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }

    /// The key of a row packet: its front.
    ///
    /// # Errors
    /// Stop if the packet is broken.
    pub fn key_of<'a>(&self, row: &'a [u8]) -> Result<&'a [u8]> {
        let mut cells = TextCells::new(row);
        let mut end = 0;
        for _ in 0..self.key_cells {
            let cell = cells.next().ok_or_else(|| Error::stop("a row has too few cells"))??;
            let cell = cell.ok_or_else(|| Error::stop("a key column of a row is NULL"))?;
            end += cell.len() + length_bytes(cell.len());
        }
        Ok(&row[..end])
    }

    /// The place of a key.
    ///
    /// # Errors
    /// Stop if it is not of its columns' form.
    pub fn place(&self, key: &[u8]) -> Result<Place> {
        let plan = self.source_key()?;
        let cells = TextCells::new(key).map(|cell| Ok(cell?.unwrap_or_default().to_vec()));
        plan.place(cells.collect::<Result<_>>()?)
    }

    fn source_key(&self) -> Result<&KeyPlan> {
        let key = self.source.key.as_ref();
        key.ok_or_else(|| Error::stop("a table without a key is not read by keys"))
    }

    /// Reads all rows of a range: the key's cells, then the others. In no particular order.
    pub fn rows_query(&self, side: Side, range: &Range) -> Vec<u8> {
        let mut out = format!("SELECT {}", self.side(side).select).into_bytes();
        self.push_from(side, &mut out);
        self.push_where(side, range, &mut out);
        out
    }

    /// Reads the key's cells of all rows of a range.
    pub fn range_keys_query(&self, side: Side, range: &Range) -> Vec<u8> {
        let mut out = format!("SELECT {}", self.key_list(side)).into_bytes();
        self.push_from(side, &mut out);
        self.push_where(side, range, &mut out);
        out
    }

    /// Folds a range on the server: rows, and the sum of their values. One value of a table without a key may come twice
    /// and would cancel itself out in an exclusive or; its values are added up.
    pub fn fold_query(&self, side: Side, range: &Range, sums: Sums) -> Vec<u8> {
        let row = sums.row(&self.columns, side == Side::Source);
        let fold = if self.keyed() { "BIT_XOR" } else { "SUM" };
        let mut out = format!("SELECT COUNT(*), {fold}({row})").into_bytes();
        self.push_from(side, &mut out);
        self.push_where(side, range, &mut out);
        out
    }

    /// Counts the rows of a range.
    pub fn count_query(&self, side: Side, range: &Range) -> Vec<u8> {
        let mut out = b"SELECT COUNT(*)".to_vec();
        self.push_from(side, &mut out);
        self.push_where(side, range, &mut out);
        out
    }

    /// The key of the row `rows` behind the lower end of a range, in that side's order; no row if there are fewer.
    ///
    /// # Errors
    /// Stop for a table without a key.
    pub fn boundary_query(&self, side: Side, range: &Range, rows: u64) -> Result<Vec<u8>> {
        let key = self.source_key()?;
        let table = self.side(side);
        let mut out = format!("SELECT {}", self.key_list(side)).into_bytes();
        self.push_from(side, &mut out);
        self.push_where(side, range, &mut out);
        let order = table.key.as_ref().unwrap_or(key).order_list();
        let offset = rows.saturating_sub(1);
        out.extend_from_slice(format!(" ORDER BY {order} LIMIT {offset}, 1").as_bytes());
        Ok(out)
    }

    /// Reads the rows of these keys, as far as the condition holds for them.
    ///
    /// # Errors
    /// Stop for a table without a key.
    pub fn lookup_query(&self, side: Side, keys: &[&[u8]], lock: &str) -> Result<Vec<u8>> {
        self.by_keys(self.side(side).select.as_bytes(), side, keys, (self.filter.as_deref(), lock))
    }

    /// Reads nothing under the condition, if there is one: the server says whether it understands it.
    pub fn condition_query(&self, side: Side) -> Option<Vec<u8>> {
        let filter = self.filter.as_ref()?;
        let mut out = b"SELECT 1".to_vec();
        self.push_from(side, &mut out);
        out.extend_from_slice(format!(" WHERE ({filter}) AND (1=1) LIMIT 0").as_bytes());
        Some(out)
    }

    /// Reads the rows of these keys, whatever the condition says.
    ///
    /// # Errors
    /// Stop for a table without a key.
    pub fn whole_query(&self, side: Side, keys: &[&[u8]]) -> Result<Vec<u8>> {
        self.by_keys(self.side(side).select.as_bytes(), side, keys, (None, ""))
    }

    /// Reads the rows of these keys, each behind the place of the first of the keys that it is equal to; see [`split_name`].
    ///
    /// # Errors
    /// Stop for a table without a key.
    pub fn named_query(&self, side: Side, keys: &[&[u8]], filtered: bool) -> Result<Vec<u8>> {
        let mut name = b"CASE".to_vec();
        for (at, key) in keys.iter().enumerate() {
            name.extend_from_slice(b" WHEN ");
            self.push_keys(side, &[key], &mut name)?;
            name.extend_from_slice(format!(" THEN {at}").as_bytes());
        }
        name.extend_from_slice(format!(" END, {}", self.side(side).select).as_bytes());
        let filter = self.filter.as_deref().filter(|_| filtered);
        self.by_keys(&name, side, keys, (filter, ""))
    }

    /// Reads the key's cells of the rows of these keys, whatever the condition says.
    ///
    /// # Errors
    /// Stop for a table without a key.
    pub fn keys_query(&self, side: Side, keys: &[&[u8]], lock: &str) -> Result<Vec<u8>> {
        self.by_keys(self.key_list(side).as_bytes(), side, keys, (None, lock))
    }

    fn by_keys(
        &self,
        select: &[u8],
        side: Side,
        keys: &[&[u8]],
        (filter, lock): (Option<&str>, &str),
    ) -> Result<Vec<u8>> {
        let mut out = b"SELECT ".to_vec();
        out.extend_from_slice(select);
        self.push_from(side, &mut out);
        out.extend_from_slice(b" WHERE ");
        if let Some(filter) = filter {
            out.extend_from_slice(format!("({filter}) AND ").as_bytes());
        }
        self.push_keys(side, keys, &mut out)?;
        out.extend_from_slice(lock.as_bytes());
        Ok(out)
    }

    /// The key's cells as they are selected.
    pub fn key_list(&self, side: Side) -> String {
        let cells = self.columns[..self.key_cells].iter();
        let cells: Vec<&str> = cells
            .map(|column| if side == Side::Source { &*column.source } else { &*column.target })
            .collect();
        cells.join(", ")
    }

    /// Appends a condition that holds for the rows of these keys; without any key, for none.
    ///
    /// # Errors
    /// Stop for a table without a key.
    pub fn push_keys(&self, side: Side, keys: &[&[u8]], out: &mut Vec<u8>) -> Result<()> {
        let plan = self.side(side).key.as_ref();
        let plan = plan.ok_or_else(|| Error::stop("a table without a key is not read by keys"))?;
        if keys.is_empty() {
            out.extend_from_slice(b"1=0");
            return Ok(());
        }
        let column = |at: usize| sql::ident(&plan.columns[at].name);
        let single = plan.columns.len() == 1;
        let (head, separator) =
            if single { (format!("{} IN (", column(0)), ",") } else { ("(".to_owned(), " OR ") };
        for (nth, key) in keys.iter().enumerate() {
            out.extend_from_slice(if nth == 0 { head.as_bytes() } else { separator.as_bytes() });
            for (at, cell) in TextCells::new(key).enumerate() {
                if !single {
                    let before = if at == 0 { "(" } else { " AND " };
                    out.extend_from_slice(format!("{before}{} = ", column(at)).as_bytes());
                }
                plan.push_cell(at, cell?.unwrap_or_default(), out);
            }
            if !single {
                out.push(b')');
            }
        }
        out.push(b')');
        Ok(())
    }

    fn push_from(&self, side: Side, out: &mut Vec<u8>) {
        let table = self.side(side);
        let name = sql::qualified(&table.schema.database, &table.schema.name);
        out.extend_from_slice(format!(" FROM {name}").as_bytes());
        if let Some(key) = table.key.as_ref().filter(|key| !key.index.is_empty()) {
            let index = sql::ident(&key.index);
            out.extend_from_slice(format!(" FORCE INDEX ({index})").as_bytes());
        }
    }

    fn push_where(&self, side: Side, range: &Range, out: &mut Vec<u8>) {
        let mut before: &[u8] = b" WHERE ";
        if let Some(filter) = &self.filter {
            out.extend_from_slice(format!(" WHERE ({filter})").as_bytes());
            before = b" AND ";
        }
        let Some(key) = &self.side(side).key else { return };
        if let Some(lower) = &range.lower {
            out.extend_from_slice(before);
            key.push_above(lower, out);
            before = b" AND ";
        }
        if let Some(upper) = &range.upper {
            out.extend_from_slice(before);
            key.push_up_to(upper, out);
        }
    }
}

/// Splits a row of [`Pair::named_query`]: the place of its key, and the row as others are.
///
/// # Errors
/// Stop if the packet is broken.
pub(crate) fn split_name(row: &[u8]) -> Result<(Option<usize>, &[u8])> {
    let name = TextCells::new(row).next().ok_or_else(|| Error::stop("a row has no cells"))??;
    let end = name.map_or(1, |name| name.len() + length_bytes(name.len()));
    let name = name.and_then(|name| std::str::from_utf8(name).ok()?.parse().ok());
    Ok((name, &row[end..]))
}

/// How many bytes a length takes in front of its cell.
fn length_bytes(length: usize) -> usize {
    match length {
        0..=0xfa => 1,
        0xfb..=0xffff => 3,
        0x1_0000..=0xff_ffff => 4,
        _ => 9,
    }
}

#[cfg(test)]
mod tests {
    use shunt_engine::mysql::schema::{Column, Key, KeyPart};

    use super::*;

    /// A table of three numbers, of which the first is the key.
    fn table() -> TableSchema {
        let column = |name: &str| Column {
            name: name.into(),
            data_type: "int".into(),
            column_type: "int(11)".into(),
            ..Column::default()
        };
        let parts = vec![KeyPart { column: 0, prefix: None, descending: false }];
        let kind = shunt_engine::mysql::schema::KeyKind::Primary;
        let primary = Key { name: "PRIMARY".into(), kind, parts, btree: true, usable: true };
        TableSchema {
            database: "d".into(),
            name: "t".into(),
            columns: vec![column("id"), column("a"), column("b")],
            keys: vec![primary],
            ..TableSchema::default()
        }
    }

    #[test]
    fn no_keys_name_no_rows() {
        let pair = Pair::new(table(), table(), &Spec::default()).unwrap();
        let asked = |keys: &[&[u8]]| {
            String::from_utf8(pair.keys_query(Side::Source, keys, "").unwrap()).unwrap()
        };
        assert!(asked(&[]).ends_with(" WHERE 1=0"), "{}", asked(&[]));
        assert!(asked(&[b"\x015", b"\x016"]).ends_with(" WHERE `id` IN (5,6)"));
    }

    #[test]
    fn what_is_left_out_is_said() {
        let notes = |spec: &Spec| Pair::new(table(), table(), spec).unwrap().notes();
        assert!(notes(&Spec::default()).is_empty());
        let part =
            Spec { columns: vec!["A".into()], filter: Some("a = 1".into()), ..Spec::default() };
        assert_eq!(
            notes(&part),
            [
                "b: left out by --columns, not compared",
                "rows for which --where does not hold: not compared"
            ]
        );
    }
}
