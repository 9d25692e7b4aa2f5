//! How one column is compared: the expressions that print it alike on both sides, and how it is framed in a checksum.
//!
//! What is compared is the *value as it must be after the move*, bit by bit: a column of the same definition on both sides
//! as it stands; one of another character set converted by the source's server, as the copy does; FLOAT and DOUBLE widened so
//! that the text holds every bit; ENUM, SET and BIT by number; numbers of different types by the exact number ([`numbers`]); labels
//! that stand elsewhere on the target by their text ([`labels`]). Collations never matter. Whatever is not compared as it stands
//! is said in the report ([`Compared::note`]), and two types between which no exact conversion is known are refused by name: a wrong
//! "equal" is worse than none.
//!
//! A key's column that is printed otherwise than a literal that names its value ([`Compared::names_key`]) tells no rows apart; see
//! [`crate::keys`].
//!
//! How the columns of a row become one checksum is in [`crate::frame`].

mod labels;
mod numbers;

use shunt_engine::mysql::schema::Column;
use shunt_engine::mysql::sql;
use shunt_engine::{Error, Result};

/// What the text of a column can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A whole number, printed as one.
    Integer {
        /// Whether it may need 64 bits, not 32.
        wide: bool,
    },
    /// Another number or a time: short, in ASCII, and without a comma.
    Plain,
    /// Bytes of a bounded length.
    Bytes,
    /// Bytes of any length: TEXT, BLOB, JSON, GEOMETRY.
    Large,
}

/// A column that is compared.
#[derive(Clone, Debug)]
pub struct Compared {
    /// Its name on the source.
    pub source_name: String,
    /// Its name on the target.
    pub target_name: String,
    /// The expression that prints it on the source.
    pub source: String,
    /// The expression that prints it on the target.
    pub target: String,
    /// What its text can hold.
    pub form: Form,
    /// Whether its text is UTF-8 or ASCII on both sides, so that a byte above 0xF7 is not expected in it.
    pub utf8: bool,
    /// Whether either side may hold NULL.
    pub nullable: bool,
    /// Whether samples show it in hexadecimal.
    pub binary: bool,
    /// How it is compared, if not as it stands.
    pub note: Option<String>,
    /// Whether what is printed, as a literal, names the value on both sides, so that rows can be looked up by it.
    pub names_key: bool,
    /// Whether it is printed as text for an address on the target, which takes bytes without a character set for its own.
    pub spelt: bool,
}

/// Expressions with `{}` for the column.
struct Printed {
    source: String,
    target: String,
    form: Form,
    note: Option<String>,
    names_key: bool,
}

impl Printed {
    fn as_it_stands(form: Form) -> Self {
        Self::both("{}", form)
    }

    fn both(expression: &str, form: Form) -> Self {
        let (source, target) = (expression.into(), expression.into());
        Self { source, target, form, note: None, names_key: true }
    }

    /// Printed otherwise than it stands, so that no row can be looked up by it.
    fn converted(source: String, target: String, form: Form, note: String) -> Self {
        Self { source, target, form, note: Some(note), names_key: false }
    }
}

impl Compared {
    /// How a pair of columns is compared.
    ///
    /// # Errors
    /// Usage if their types have nothing in common.
    pub fn new(source: &Column, target: &Column) -> Result<Self> {
        let printed = printed(source, target).ok_or_else(|| {
            Error::usage(format!(
                "column {} is {} on the source and {} on the target",
                sql::ident(&source.name),
                source.column_type,
                target.column_type
            ))
            .advice("Leave it out with --columns.")
        })?;
        let write = |expression: &str, name: &str| expression.replace("{}", &sql::ident(name));
        Ok(Self {
            source: write(&printed.source, &source.name),
            target: write(&printed.target, &target.name),
            source_name: source.name.clone(),
            target_name: target.name.clone(),
            form: printed.form,
            utf8: printed.form == Form::Plain || target.charset.as_deref().is_some_and(is_utf8),
            nullable: source.nullable || target.nullable,
            binary: is_binary(target),
            note: printed.note,
            names_key: printed.names_key,
            spelt: matches!((Kind::of(source), Kind::of(target)), (Kind::Words, Kind::Address(_))),
        })
    }
}

fn is_binary(column: &Column) -> bool {
    column.charset.is_none()
        && matches!(
            column.data_type.as_str(),
            "binary"
                | "varbinary"
                | "blob"
                | "tinyblob"
                | "mediumblob"
                | "longblob"
                | "geometry"
                | "point"
                | "linestring"
                | "polygon"
                | "multipoint"
                | "multilinestring"
                | "multipolygon"
                | "geometrycollection"
                | "vector"
                | "uuid"
                | "inet4"
                | "inet6"
        )
}

fn is_utf8(charset: &str) -> bool {
    matches!(charset, "utf8" | "utf8mb3" | "utf8mb4" | "ascii")
}

/// `utf8` is what older servers call `utf8mb3`.
pub fn charset_name(charset: &str) -> &str {
    if charset == "utf8" { "utf8mb3" } else { charset }
}

/// None if the types have nothing in common.
fn printed(source: &Column, target: &Column) -> Option<Printed> {
    let kinds = (Kind::of(source), Kind::of(target));
    match kinds {
        (Kind::Number(s), Kind::Number(t)) => numbers::printed(source, s, target, t),
        (Kind::Labels, Kind::Labels) => Some(labels::printed(source, target)),
        (Kind::Date | Kind::Moment | Kind::Time, Kind::Date | Kind::Moment | Kind::Time) => {
            moments(source, kinds.0, target, kinds.1)
        }
        (Kind::Address(_), _) | (_, Kind::Address(_)) => {
            addresses(source, kinds.0, target, kinds.1)
        }
        (Kind::Bytes, Kind::Bytes) => Some(bytes(source, target)),
        (Kind::Words | Kind::Labels | Kind::Bytes, Kind::Words | Kind::Labels | Kind::Bytes) => {
            Some(text(source, target))
        }
        // By what the server prints: neither a float, which it prints inexactly, nor bits, which it does not print.
        (Kind::Words, other) | (other, Kind::Words) if other.is_printed() => {
            Some(text(source, target))
        }
        (Kind::Geometry, Kind::Geometry | Kind::Bytes) | (Kind::Bytes, Kind::Geometry) => {
            Some(text(source, target))
        }
        (Kind::Other, Kind::Other) if source.data_type == target.data_type => {
            Some(text(source, target))
        }
        _ => None,
    }
}

/// What types have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Number(numbers::Number),
    /// ENUM, SET.
    Labels,
    Date,
    /// DATETIME, TIMESTAMP.
    Moment,
    Time,
    /// UUID, INET4, INET6: kept in so many bytes.
    Address(u8),
    /// Characters.
    Words,
    Bytes,
    Geometry,
    Other,
}

impl Kind {
    fn of(column: &Column) -> Self {
        if let Some(number) = numbers::Number::of(column) {
            return Self::Number(number);
        }
        match column.data_type.as_str() {
            "enum" | "set" => Self::Labels,
            "date" => Self::Date,
            "datetime" | "timestamp" => Self::Moment,
            "time" => Self::Time,
            "uuid" | "inet6" => Self::Address(16),
            "inet4" => Self::Address(4),
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "json" => {
                Self::Words
            }
            "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Self::Bytes,
            "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
            | "multipolygon" | "geometrycollection" | "geomcollection" => Self::Geometry,
            _ => Self::Other,
        }
    }

    fn is_printed(self) -> bool {
        match self {
            Self::Number(number) => number.is_printed(),
            Self::Date | Self::Moment | Self::Time => true,
            _ => false,
        }
    }
}

fn to_type(source: &Column, target: &Column) -> String {
    format!("{} converted to {}", source.column_type, target.column_type)
}

/// More digits after the second are added as text, and so is a time to a date: a cast would make NULL of a zero date. Fewer are what
/// the source's server makes of it. A date without its time is something else.
fn moments(source: &Column, from: Kind, target: &Column, to: Kind) -> Option<Printed> {
    let (has, wants) = (source.fsp(), target.fsp());
    let zeros = |count: u32| "0".repeat(usize::try_from(count).unwrap_or(0));
    let fraction =
        |digits: u32| if digits == 0 { String::new() } else { format!(".{}", zeros(digits)) };
    let added = |text: String| {
        let expression = format!("CONCAT({{}},'{text}')");
        Printed::converted(expression, "{}".into(), Form::Plain, to_type(source, target))
    };
    Some(match (from, to) {
        (Kind::Date, Kind::Moment) => added(format!(" 00:00:00{}", fraction(wants))),
        _ if from != to => return None,
        _ if has == wants => Printed::as_it_stands(Form::Plain),
        _ if has == 0 => added(fraction(wants)),
        _ if has < wants => added(zeros(wants - has)),
        _ => {
            let word = if to == Kind::Time { "TIME" } else { "DATETIME" };
            // As text at once: the result would have the digits of both.
            let expression = format!("IFNULL(CONCAT(CAST({{}} AS {word}({wants}))),{{}})");
            Printed::converted(expression, "{}".into(), Form::Plain, to_type(source, target))
        }
    })
}

/// Beside each other in the bytes that the engine's key places hold as well; beside a text by their own.
fn addresses(source: &Column, from: Kind, target: &Column, to: Kind) -> Option<Printed> {
    let note = || to_type(source, target);
    let bytes = |length: u8| format!("CAST({{}} AS BINARY({length}))");
    // Without a character set it would be its bytes again.
    let text = || "CAST({} AS CHAR CHARACTER SET latin1)".to_owned();
    let it = || "{}".to_owned();
    Some(match (from, to) {
        (Kind::Address(length), Kind::Address(_)) if source.data_type == target.data_type => {
            Printed::both(&bytes(length), Form::Bytes)
        }
        (Kind::Address(length), Kind::Bytes) => {
            Printed::converted(bytes(length), it(), Form::Bytes, note())
        }
        (Kind::Bytes, Kind::Address(length)) => {
            Printed::converted(it(), bytes(length), Form::Bytes, note())
        }
        (Kind::Address(_), Kind::Words) => Printed::converted(text(), it(), Form::Bytes, note()),
        (Kind::Words, Kind::Address(_)) => Printed::converted(it(), text(), Form::Bytes, note()),
        _ => return None,
    })
}

fn is_bounded(column: &Column) -> bool {
    matches!(
        column.data_type.as_str(),
        "char" | "varchar" | "binary" | "varbinary" | "enum" | "set"
    )
}

/// BINARY holds what is shorter with zeros behind it.
fn bytes(source: &Column, target: &Column) -> Printed {
    match target.binary_length().filter(|_| target.data_type == "binary") {
        Some(length) if source.column_type != target.column_type => {
            let padded = format!("IF(LENGTH({{}})<{length},RPAD({{}},{length},x'00'),{{}})");
            let form = if is_bounded(source) { Form::Bytes } else { Form::Large };
            Printed::converted(padded, "{}".into(), form, to_type(source, target))
        }
        _ => text(source, target),
    }
}

fn text(source: &Column, target: &Column) -> Printed {
    let form = if is_bounded(source) && is_bounded(target) { Form::Bytes } else { Form::Large };
    let mut printed = match (&source.charset, &target.charset) {
        (Some(from), Some(to)) if charset_name(from) != charset_name(to) => Printed {
            source: format!("CONVERT({{}} USING {to})"),
            note: Some(format!("{from} converted to {to} by the source")),
            ..Printed::as_it_stands(form)
        },
        _ if source.data_type == target.data_type => Printed::as_it_stands(form),
        _ => Printed {
            note: Some(format!("{} and {} by their text", source.data_type, target.data_type)),
            ..Printed::as_it_stands(form)
        },
    };
    if target.data_type == "char" && !matches!(source.data_type.as_str(), "char" | "enum" | "set") {
        printed.source = format!("TRIM(TRAILING ' ' FROM {})", printed.source);
        printed.note =
            Some(format!("{}, which CHAR holds without the spaces at the end", source.data_type));
        printed.names_key = false;
    }
    let labels = |column: &Column| matches!(column.data_type.as_str(), "enum" | "set");
    printed.names_key &= !labels(source) && !labels(target);
    printed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, data_type: &str, column_type: &str, charset: Option<&str>) -> Column {
        Column {
            name: name.into(),
            data_type: data_type.into(),
            column_type: column_type.into(),
            charset: charset.map(Into::into),
            nullable: true,
            ..Column::default()
        }
    }

    #[test]
    fn columns_are_compared_by_the_value_after_the_move() {
        let cases = [
            (column("f", "float", "float", None), column("f", "double", "double", None), "`f`*1E0"),
            (column("i", "int", "int(11)", None), column("i", "bigint", "bigint(20)", None), "`i`"),
            (
                column("d", "decimal", "decimal(5,2)", None),
                column("d", "decimal", "decimal(9,4)", None),
                "CAST(`d` AS DECIMAL(65,4))",
            ),
            (
                column("v", "varchar", "varchar(9)", Some("latin1")),
                column("v", "varchar", "varchar(9)", Some("utf8mb4")),
                "CONVERT(`v` USING utf8mb4)",
            ),
            (
                column("v", "varchar", "varchar(9)", Some("utf8")),
                column("v", "varchar", "varchar(9)", Some("utf8mb3")),
                "`v`",
            ),
            (
                column("e", "enum", "enum('a')", None),
                column("e", "enum", "enum('a')", None),
                "`e`|0",
            ),
            (column("e", "enum", "enum('a')", None), column("e", "enum", "enum('b')", None), "`e`"),
            (
                column("e", "enum", "enum('a')", None),
                column("e", "enum", "enum('a','b')", None),
                "`e`|0",
            ),
            (
                column("a", "date", "date", None),
                column("a", "datetime", "datetime(3)", None),
                "CONCAT(`a`,' 00:00:00.000')",
            ),
        ];
        for (source, target, expected) in cases {
            assert_eq!(Compared::new(&source, &target).unwrap().source, expected);
        }
        for (source, target) in [
            ("float", "text"),
            ("int", "float"),
            ("double", "decimal"),
            ("bit", "text"),
            ("datetime", "date"),
            ("int", "date"),
            ("time", "datetime"),
            ("uuid", "inet6"),
        ] {
            let column = |data_type| column("x", data_type, data_type, None);
            assert!(Compared::new(&column(source), &column(target)).is_err(), "{source} {target}");
        }
    }
}
