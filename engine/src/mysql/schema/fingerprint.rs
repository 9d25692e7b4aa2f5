//! A table's fingerprint: what copying and decoding depend on, as rows that any kind of connection can read.
//!
//! The copier runs the query inside each snapshot, after it has touched the table (from then on the metadata lock keeps
//! the definition as it is), and compares with the fingerprint that its plan was made from.

use crate::mysql::sql;

/// The query for the fingerprint of a table whose rows are told apart by the key `identity`. It returns one text a row;
/// no row at all means that there is no such table. Only columns of `information_schema` that every server has are named.
pub fn fingerprint_query(database: &str, table: &str, identity: Option<&str>) -> String {
    let (schema, name) = (sql::literal(database), sql::literal(table));
    let columns = format!(
        "SELECT CONCAT_WS('|', 'column', LPAD(ordinal_position, 5, '0'), column_name, column_type, is_nullable, \
         COALESCE(character_set_name, ''), COALESCE(collation_name, ''), \
         REPLACE(REPLACE(REPLACE(UPPER(extra), 'DEFAULT_GENERATED', ''), '()', ''), 'PERSISTENT', 'STORED')) \
         FROM information_schema.columns WHERE table_schema = {schema} AND table_name = {name}"
    );
    let Some(identity) = identity else { return columns };
    format!(
        "{columns} UNION ALL SELECT CONCAT_WS('|', 'key', LPAD(seq_in_index, 5, '0'), index_name, column_name, \
         COALESCE(sub_part, ''), COALESCE(collation, ''), non_unique, index_type) \
         FROM information_schema.statistics WHERE table_schema = {schema} AND table_name = {name} \
         AND index_name = {}",
        sql::literal(identity)
    )
}

/// The fingerprint from the query's rows, in whatever order they come.
pub fn fingerprint_of<R: AsRef<[u8]>>(rows: impl IntoIterator<Item = R>) -> String {
    let text = |row: R| String::from_utf8_lossy(row.as_ref()).into_owned();
    let mut lines: Vec<String> = rows.into_iter().map(text).collect();
    lines.sort_unstable();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_rows_does_not_matter() {
        let one = fingerprint_of([b"key|00001|PRIMARY".as_slice(), b"column|00001|id"]);
        let other = fingerprint_of([b"column|00001|id".as_slice(), b"key|00001|PRIMARY"]);
        assert_eq!(one, other);
        assert_eq!(one, "column|00001|id\nkey|00001|PRIMARY");
    }

    #[test]
    fn names_are_quoted() {
        let query = fingerprint_query("it's", "a\\b", Some("PRIMARY"));
        assert!(query.contains(r"table_schema = 'it\'s' AND table_name = 'a\\b'"), "{query}");
    }
}
