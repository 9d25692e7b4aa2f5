//! Every bit of every cell of a table, as the server itself prints it.

use shunt_engine::mysql::control::{Control, Row};
use shunt_engine::mysql::sql;

/// The expression that tells two values of a column apart if any bit differs.
///
/// FLOAT and DOUBLE: the digits of DOUBLE tell every bit of either, and the angle tells whether a zero is negative. Labels by
/// number: the error value of an ENUM reads like an empty label.
pub(crate) fn expression(name: &str, data_type: &str) -> String {
    let v = sql::ident(name);
    match data_type {
        "float" | "double" => format!("CONCAT(ABS({v} * 1e0), ' ', ATAN2({v}, -1) < 0)"),
        "bit" | "enum" | "set" => format!("CAST({v} AS UNSIGNED)"),
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" | "year" | "date"
        | "time" | "datetime" | "timestamp" | "inet4" | "inet6" | "uuid" => {
            format!("HEX(CAST({v} AS CHAR))")
        }
        // Strings and geometries.
        _ => format!("HEX({v})"),
    }
}

/// The query for all cells of a table of the connection's database, in an order that bits alone decide.
pub(crate) async fn query(control: &mut Control, table: &str) -> String {
    let columns = format!(
        "SELECT column_name, data_type FROM information_schema.columns \
         WHERE table_schema = DATABASE() AND table_name = {} ORDER BY ordinal_position",
        sql::literal(table)
    );
    let columns = control.rows(columns).await.unwrap();
    assert!(!columns.is_empty(), "{table} has no columns");
    let shown = columns.iter().map(|row| expression(&row.must(0).unwrap(), &row.must(1).unwrap()));
    let shown: Vec<String> = shown.collect();
    let order: Vec<String> = (1..=shown.len()).map(|at| at.to_string()).collect();
    format!("SELECT {} FROM {} ORDER BY {}", shown.join(", "), sql::ident(table), order.join(", "))
}

/// All cells of a table on both sides, by one query.
pub(crate) async fn both(source: &mut Control, target: &mut Control, table: &str) -> [Vec<Row>; 2] {
    let query = query(source, table).await;
    [source.rows(&query).await.unwrap(), target.rows(&query).await.unwrap()]
}

/// How a table differs, in a few words; nothing where no cell does.
pub(crate) async fn differs(
    source: &mut Control,
    target: &mut Control,
    table: &str,
) -> Option<String> {
    let [here, there] = both(source, target, table).await;
    if here == there {
        return None;
    }
    let text = |rows: &[Row], at: usize| {
        let cell = |row: &Row, at| row.text(at).map(|c| c.chars().take(80).collect::<String>());
        rows.get(at).map(|row| (0..12).filter_map(|at| cell(row, at)).collect::<Vec<_>>().join(" "))
    };
    let longest = here.len().max(there.len());
    let first = (0..longest).find(|at| here.get(*at) != there.get(*at)).unwrap_or_default();
    Some(format!(
        "{table}: {} rows, {} there; row {first}: {:?}, there {:?}",
        here.len(),
        there.len(),
        text(&here, first),
        text(&there, first)
    ))
}
