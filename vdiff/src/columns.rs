//! How one column is compared: the expressions that print it alike on both sides, and how it is framed in a checksum.
//!
//! What is compared is the *value as it must be after the move*, bit by bit: a column of the same definition on both sides
//! as it stands; one of another character set converted by the source's server, as the copy does; FLOAT and DOUBLE widened so
//! that the text holds every bit; ENUM, SET and BIT by number. Collations never matter. Whatever is not compared as it stands
//! is said in the report ([`Compared::note`]).
//!
//! How the columns of a row become one checksum is in [`crate::frame`].

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
}

/// Expressions with `{}` for the column.
struct Printed {
    source: String,
    target: String,
    form: Form,
    note: Option<String>,
}

impl Printed {
    fn as_it_stands(form: Form) -> Self {
        Self::both("{}", form)
    }

    fn both(expression: &str, form: Form) -> Self {
        Self { source: expression.into(), target: expression.into(), form, note: None }
    }

    fn converted(expression: String, form: Form, note: String) -> Self {
        Self { source: expression, target: "{}".into(), form, note: Some(note) }
    }
}

impl Compared {
    /// How a pair of columns is compared.
    ///
    /// # Errors
    /// Usage if their types have nothing in common.
    pub fn new(source: &Column, target: &Column) -> Result<Self> {
        let printed = printed(source, target);
        let write = |expression: &str, name: &str| expression.replace("{}", &sql::ident(name));
        let inexact = |a: &Column, b: &Column| a.is_float() && !number(b);
        if inexact(source, target) || inexact(target, source) {
            return Err(Error::usage(format!(
                "column {} is {} on the source and {} on the target",
                sql::ident(&source.name),
                source.column_type,
                target.column_type
            ))
            .advice("Leave it out with --columns."));
        }
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
        })
    }
}

fn number(column: &Column) -> bool {
    column.is_float() || column.is_integer() || column.data_type == "decimal"
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

fn printed(source: &Column, target: &Column) -> Printed {
    let (s, t) = (source.data_type.as_str(), target.data_type.as_str());
    let same = source.column_type == target.column_type;
    if source.is_float() && target.is_float() {
        // A factor keeps the sign of -0.0; FLOAT by itself is printed with six digits.
        return Printed::both("{}*1E0", Form::Plain);
    }
    if (source.is_integer() || s == "year") && (target.is_integer() || t == "year") {
        return Printed::both("{}", Form::Integer { wide: !same || s == "bigint" });
    }
    match (s, t) {
        // Not with `+0`, which makes -1 of a SET whose 64 members are all there.
        ("bit", "bit") => Printed::both("{}|0", Form::Integer { wide: true }),
        ("enum" | "set", "enum" | "set") if same => {
            Printed::both("{}|0", Form::Integer { wide: s == "set" })
        }
        ("enum" | "set", "enum" | "set") => Printed {
            note: Some("by its labels, which are not the same on both sides".into()),
            ..Printed::as_it_stands(Form::Bytes)
        },
        ("decimal", "decimal") if same => Printed::as_it_stands(Form::Plain),
        ("decimal", "decimal") => cast(source, target, &digits(target)),
        ("date", "date") => Printed::as_it_stands(Form::Plain),
        ("datetime" | "timestamp", "datetime" | "timestamp") if source.fsp() == target.fsp() => {
            Printed::as_it_stands(Form::Plain)
        }
        ("datetime" | "timestamp", "datetime" | "timestamp") => {
            cast(source, target, &format!("DATETIME({})", target.fsp()))
        }
        ("time", "time") if source.fsp() == target.fsp() => Printed::as_it_stands(Form::Plain),
        ("time", "time") => cast(source, target, &format!("TIME({})", target.fsp())),
        // In the bytes that the engine's key places hold as well.
        ("inet4", "inet4") => Printed::both("CAST({} AS BINARY(4))", Form::Bytes),
        ("uuid", "uuid") | ("inet6", "inet6") => {
            Printed::both("CAST({} AS BINARY(16))", Form::Bytes)
        }
        ("uuid" | "inet4" | "inet6", _) => Printed::both("CAST({} AS CHAR)", Form::Bytes),
        _ => text(source, target),
    }
}

/// `DECIMAL(p,s)` of a column.
fn digits(column: &Column) -> String {
    let inside = column.column_type.split(['(', ')']).nth(1).unwrap_or("10,0");
    format!("DECIMAL({inside})")
}

fn cast(source: &Column, target: &Column, to: &str) -> Printed {
    Printed::converted(
        format!("CAST({{}} AS {to})"),
        Form::Plain,
        format!("{} converted to {}", source.column_type, target.column_type),
    )
}

fn text(source: &Column, target: &Column) -> Printed {
    let bounded = |column: &Column| {
        matches!(
            column.data_type.as_str(),
            "char" | "varchar" | "binary" | "varbinary" | "enum" | "set"
        )
    };
    let form = if bounded(source) && bounded(target) { Form::Bytes } else { Form::Large };
    match (&source.charset, &target.charset) {
        (Some(from), Some(to)) if charset_name(from) != charset_name(to) => Printed::converted(
            format!("CONVERT({{}} USING {to})"),
            form,
            format!("{from} converted to {to} by the source"),
        ),
        _ if source.data_type == target.data_type => Printed::as_it_stands(form),
        _ => Printed {
            note: Some(format!("{} and {} by their text", source.data_type, target.data_type)),
            ..Printed::as_it_stands(form)
        },
    }
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
                "CAST(`d` AS DECIMAL(9,4))",
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
        ];
        for (source, target, expected) in cases {
            assert_eq!(Compared::new(&source, &target).unwrap().source, expected);
        }
        let (float, text) =
            (column("x", "float", "float", None), column("x", "text", "text", None));
        assert!(Compared::new(&float, &text).is_err());
    }
}
