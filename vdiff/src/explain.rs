//! What a server plans to do for a query on one table, without doing it.

use shunt_engine::Result;
use shunt_engine::mysql::server::{Flavor, Version};
use shunt_engine::mysql::wire::Wire;

/// A plan.
#[derive(Debug)]
pub(crate) struct Explained {
    /// Whether one row at most is read, by a unique key.
    pub(crate) single: bool,
    /// Rows that are read, as the server estimates them.
    pub(crate) rows: u64,
}

/// Asks for the plan; none if it is not of one table.
///
/// # Errors
/// Of the server.
pub(crate) async fn explain(wire: &mut Wire, query: &[u8]) -> Result<Option<Explained>> {
    let info = wire.info();
    // MySQL since 5.7 says partitions before the type.
    let newer = info.flavor == Flavor::MySql && info.version >= Version(5, 7, 0);
    let (access, rows) = if newer { (4, 9) } else { (3, 8) };
    let plan = wire.rows([b"EXPLAIN ", query].concat()).await?;
    let [row] = plan.as_slice() else { return Ok(None) };
    let missing = (access..12).filter_map(|at| row.text(at)).any(|text| {
        text.starts_with("Impossible WHERE noticed") || text == "no matching row in const table"
    });
    let single = row.text(access).as_deref() == Some("const") || missing;
    Ok(Some(Explained { single, rows: row.number(rows).unwrap_or(0) }))
}
