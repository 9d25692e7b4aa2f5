//! Equality by the servers' own client: `mariadb-dump` of both sides, compared byte by byte.

use std::process::Command;

use shunt_cli::sandbox::SandboxServer;

/// Every row of a table as `mariadb-dump` prints it, in key order, binary columns in hexadecimal.
pub(crate) fn dump(server: &SandboxServer, database: &str, table: &str) -> Vec<u8> {
    let config = server.config();
    let output = Command::new("mariadb-dump")
        .args(["--no-defaults", "--protocol=TCP", "--host=127.0.0.1"])
        .arg(format!("--port={}", server.port()))
        .arg(format!("--user={}", config.user))
        .args([
            "--order-by-primary",
            "--hex-blob",
            "--no-create-info",
            "--skip-comments",
            "--compact",
        ])
        .args([
            "--skip-extended-insert",
            "--single-transaction",
            "--complete-insert",
            "--skip-triggers",
        ])
        .args([database, table])
        .env("MYSQL_PWD", config.password.expose())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Every row of a table as the `mariadb` client prints it, each cell in hexadecimal: for servers that are too old for
/// `mariadb-dump`.
pub(crate) fn hex_rows(
    server: &SandboxServer,
    database: &str,
    columns: &[&str],
    table: &str,
) -> Vec<u8> {
    let config = server.config();
    let cells: Vec<String> =
        columns.iter().map(|name| format!("HEX(CAST({name} AS CHAR))")).collect();
    let query = format!("SELECT {} FROM {table} ORDER BY 1", cells.join(", "));
    let output = Command::new("mariadb")
        .args(["--no-defaults", "--protocol=TCP", "--host=127.0.0.1", "--batch", "--quick"])
        .args(["--skip-column-names", &format!("--port={}", server.port())])
        .args([&format!("--user={}", config.user), &format!("--execute={query}"), database])
        .env("MYSQL_PWD", config.password.expose())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// As [`assert_equal`], by [`hex_rows`].
pub(crate) fn assert_equal_hex(
    source: &SandboxServer,
    target: &SandboxServer,
    columns: &[&str],
    table: &str,
) -> usize {
    let left = hex_rows(source, "commerce", columns, table);
    let right = hex_rows(target, "customer", columns, table);
    assert_same(&left, &right, table, |line| !line.is_empty())
}

/// Panics, naming the first differing line, unless the table is equal on both sides.
pub(crate) fn assert_equal(source: &SandboxServer, target: &SandboxServer, table: &str) -> usize {
    let (left, right) = (dump(source, "commerce", table), dump(target, "customer", table));
    assert_same(&left, &right, table, |line| line.starts_with(b"INSERT"))
}

/// Compares line by line; returns how many lines are rows.
fn assert_same(left: &[u8], right: &[u8], table: &str, is_row: impl Fn(&[u8]) -> bool) -> usize {
    let rows = |dump: &[u8]| dump.split(|b| *b == b'\n').filter(|line| is_row(line)).count();
    let lines = rows(left);
    if left != right {
        let pairs = left.split(|b| *b == b'\n').zip(right.split(|b| *b == b'\n'));
        let first = pairs.enumerate().find(|(_, (a, b))| a != b);
        let shown = first.map(|(at, (a, b))| {
            format!(
                "line {at}\n  source {}\n  target {}",
                String::from_utf8_lossy(a),
                String::from_utf8_lossy(b)
            )
        });
        let right_lines = rows(right);
        panic!(
            "{table} differs: {lines} rows against {right_lines}; {}",
            shown.unwrap_or_default()
        );
    }
    lines
}
