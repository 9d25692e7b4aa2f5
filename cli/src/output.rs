//! What commands print: aligned text for people, JSON for programs. Results go to stdout, and a closed pipe is not an
//! error. What is said beside them goes to stderr; where nobody can hear it, the work goes on.

use std::io::{ErrorKind, Write};

use clap::ValueEnum;
use serde::Serialize;

/// `--format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Prints a result as it is.
///
/// # Errors
/// If stdout cannot be written, unless its reader has gone.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// Prints a value as JSON.
///
/// # Errors
/// As [`print()`].
pub fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print(&json(value)?)
}

/// Says what became of a command that changes something. That it cannot be said does not make it undone: the exit code stays the command's.
pub fn report(text: &str) {
    if let Err(error) = print(text) {
        note!("shunt: it is done, but the report of it could not be written: {error}\n{text}");
    }
}

/// As [`report`], as JSON.
///
/// # Errors
/// If the value has no JSON.
pub fn report_json(value: &impl Serialize) -> anyhow::Result<()> {
    report(&json(value)?);
    Ok(())
}

/// A value as JSON, with the end of its line.
///
/// # Errors
/// If the value has no JSON.
pub fn json(value: &impl Serialize) -> anyhow::Result<String> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(text)
}

/// Says something beside the result.
pub fn beside(text: &str) {
    // There is nowhere left to say that it cannot be said.
    drop(std::io::stderr().lock().write_all(text.as_bytes()));
}

/// A line beside the result, as `format!` takes it.
macro_rules! note {
    ($($what:tt)*) => { $crate::output::beside(&format!("{}\n", format_args!($($what)*))) };
}
pub(crate) use note;

/// A table with aligned columns under a heading.
pub fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = heading.map(|cell| cell.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for row in std::iter::once(&heading.map(str::to_owned)).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line += &format!("{cell:width$}  ");
        }
        out += line.trim_end();
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_line_up() {
        let rows = [["a".to_owned(), "1".to_owned()], ["längst".to_owned(), String::new()]];
        assert_eq!(super::table(["Name", "N"], &rows), "Name    N\na       1\nlängst\n");
    }
}
