//! The one place that quotes identifiers and values.
//!
//! Statements carry values as bytes; sessions run with `SET NAMES binary` and without `NO_BACKSLASH_ESCAPES` and
//! `ANSI_QUOTES` (the connection constructors pin `sql_mode`), so one escaping holds everywhere.

/// A value for which it is worth counting what it takes.
const LARGE: usize = 1 << 20;

/// A backquoted identifier.
pub fn ident(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 2);
    out.push('`');
    for c in name.chars() {
        if c == '`' {
            out.push('`');
        }
        out.push(c);
    }
    out.push('`');
    out
}

/// `` `database`.`table` ``.
pub fn qualified(database: &str, table: &str) -> String {
    format!("{}.{}", ident(database), ident(table))
}

/// What our DDL on moved tables begins with, so that it is known again in the binlog.
const MARK: &str = "/* shunt */ ";

/// DDL with the mark that says who runs it.
pub fn marked(ddl: &str) -> String {
    format!("{MARK}{ddl}")
}

/// Whether a statement of a binlog has that mark.
pub fn is_marked(statement: &[u8]) -> bool {
    statement.starts_with(MARK.as_bytes())
}

/// Identifiers, quoted and separated by commas.
pub fn ident_list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(ident).collect::<Vec<_>>().join(", ")
}

/// Appends `value` as a quoted string literal.
pub fn push_literal(out: &mut Vec<u8>, value: &[u8]) {
    if value.len() >= LARGE {
        // Exactly as much as it takes: growing by doubling would hold a large value several times.
        out.reserve_exact(value.len() + value.iter().filter(|&&b| needs_escape(b)).count() + 64);
    }
    out.push(b'\'');
    let mut rest = value;
    while let Some(at) = rest.iter().position(|&b| needs_escape(b)) {
        out.extend_from_slice(&rest[..at]);
        out.push(b'\\');
        out.push(match rest[at] {
            0 => b'0',
            b'\n' => b'n',
            b'\r' => b'r',
            0x1a => b'Z',
            other => other,
        });
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'\'');
}

fn needs_escape(b: u8) -> bool {
    matches!(b, 0 | b'\n' | b'\r' | 0x1a | b'\\' | b'\'')
}

/// A quoted string literal of text, for statements that are built as strings.
pub fn literal(value: &str) -> String {
    let mut out = Vec::with_capacity(value.len() + 2);
    push_literal(&mut out, value.as_bytes());
    // Escaping inserts only ASCII between whole characters.
    String::from_utf8(out).expect("escaping keeps UTF-8 valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_quoted() {
        assert_eq!(ident("corder"), "`corder`");
        assert_eq!(ident("a`b"), "`a``b`");
        assert_eq!(qualified("über-db", "t 1"), "`über-db`.`t 1`");
        assert_eq!(ident_list(["a", "b"]), "`a`, `b`");
    }

    #[test]
    fn values_are_escaped() {
        assert_eq!(literal("it's"), r"'it\'s'");
        let mut out = Vec::new();
        push_literal(&mut out, b"\0\n\r\x1a\\'\xff");
        assert_eq!(out, b"'\\0\\n\\r\\Z\\\\\\'\xff'");
    }
}
