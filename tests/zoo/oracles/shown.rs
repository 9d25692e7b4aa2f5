//! How the server is asked for a value so that every bit of it shows, and how that is read.

use crate::harness::cells;

/// What [`expression`] gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// The stored bytes.
    Hex,
    /// The text of a number or a date, which is exact, as hexadecimal.
    Text,
    /// A number in DOUBLE's digits, which tell every bit of a FLOAT as well, and whether it is negative: -0 is.
    Double,
    /// The number of an ENUM, SET or BIT.
    Number,
}

impl Shown {
    /// How a type of the zoo is shown.
    pub(super) fn of(definition: &str) -> Self {
        match word(definition).as_str() {
            "float" | "double" => Self::Double,
            "bit" | "enum" | "set" => Self::Number,
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" | "year"
            | "date" | "time" | "datetime" | "timestamp" => Self::Text,
            _ => Self::Hex,
        }
    }
}

/// The expression for the column `v`. What MariaDB prints in a form of its own is asked for as the bytes that shunt hands over.
pub(super) fn expression(definition: &str) -> String {
    match word(definition).as_str() {
        "uuid" | "inet6" => "HEX(CAST(v AS BINARY(16)))".to_owned(),
        "inet4" => "HEX(CAST(v AS BINARY(4)))".to_owned(),
        word => cells::expression("v", word),
    }
}

/// The type's name, as `information_schema` has it.
fn word(definition: &str) -> String {
    definition.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_lowercase()
}
