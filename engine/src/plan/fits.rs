//! Whether row images of a table map can be written by a definition: neither misread, nor rounded without a word of the server.

use super::TablePlan;
use crate::error::{Error, Result};
use crate::mysql::binlog::table_map::{ColumnType, TableMap, kind};
use crate::mysql::schema::Column;
use crate::mysql::sql;

impl TablePlan {
    /// Whether events of a table map can be read with this plan, and its values be written by the definition.
    ///
    /// # Errors
    /// Stop if the table in the binlog has another number of columns, or one that is rounded silently: its definition changed.
    pub fn check_fits(&self, map: &TableMap) -> Result<()> {
        let table = sql::ident(self.name());
        let (here, there) = (self.source.columns.len(), map.columns.len());
        if here != there {
            return Err(Error::stop(format!(
                "table {table} has {there} columns in the binlog and {here} in its definition"
            ))
            .advice(
                "Either its definition changed while it is moved, or it was given a unique key that MariaDB keeps as a hash in a \
                 hidden column (USING HASH in SHOW CREATE TABLE; over TEXT or BLOB). Drop such a key; then cancel the workflow \
                 and create it again.",
            ));
        }
        let mut columns = self.source.columns.iter().zip(&map.columns);
        match columns.find(|(column, there)| rounds(there, column)) {
            None => Ok(()),
            Some((column, _)) => Err(Error::stop(format!(
                "column {} of {table} has values in the binlog that {}, its type by the definition, would round",
                sql::ident(&column.name),
                column.column_type
            ))
            .advice(
                "Was its definition changed on one of the servers with sql_log_bin=0? Cancel the workflow and create it again, or have \
                 both servers at one definition.",
            )),
        }
    }
}

/// Whether a value of the binlog's type may be rounded by the column's without a warning. All that a server warns of, or refuses, is
/// seen when it is written.
fn rounds(there: &ColumnType, column: &Column) -> bool {
    let is = |types: &[&str]| types.contains(&column.data_type.as_str());
    match there.kind {
        kind::DOUBLE => !is(&["double"]),
        kind::FLOAT => !is(&["float", "double"]),
        kind::NEWDECIMAL => !is(&["decimal"]),
        kind::TIMESTAMP2 | kind::DATETIME2 | kind::TIME2 => {
            there.meta > 0 && !is(&["timestamp", "datetime", "time"])
                || there.meta > fraction_digits(column)
        }
        _ => false,
    }
}

/// Digits behind the second of a TIME, DATETIME or TIMESTAMP.
fn fraction_digits(column: &Column) -> u16 {
    let digits = column.column_type.split(['(', ')']).nth(1);
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_rounds_without_a_word() {
        for (kind, meta, column_type, expected) in [
            (kind::DOUBLE, 8, "double unsigned", false),
            (kind::DOUBLE, 8, "float", true),
            (kind::FLOAT, 4, "double", false),
            (kind::FLOAT, 4, "int(11)", true),
            (kind::NEWDECIMAL, 0, "decimal(10,2)", false),
            (kind::NEWDECIMAL, 0, "bigint(20)", true),
            (kind::DATETIME2, 6, "datetime(6)", false),
            (kind::DATETIME2, 6, "datetime(3)", true),
            (kind::TIMESTAMP2, 1, "timestamp", true),
            (kind::TIME2, 0, "time", false),
            (kind::TIME2, 3, "time(6)", false),
            (kind::LONGLONG, 0, "int(11)", false),
        ] {
            let data_type = column_type.split(['(', ' ']).next().unwrap().to_owned();
            let column =
                Column { data_type, column_type: column_type.to_owned(), ..Column::default() };
            assert_eq!(
                rounds(&ColumnType { kind, meta }, &column),
                expected,
                "{kind} {column_type}"
            );
        }
    }
}
