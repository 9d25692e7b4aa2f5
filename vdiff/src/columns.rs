//! How one column is compared: the expressions that print it alike on both sides, and how it is framed in a checksum.
//!
//! What is compared is the *value as it must be after the move*, bit by bit: a column of the same definition on both sides
//! as it stands; one of another character set converted by the source's server, as the copy does; FLOAT and DOUBLE widened so
//! that the text holds every bit; ENUM, SET and BIT by number; numbers of different types by the exact number ([`numbers`]); labels
//! that stand elsewhere on the target by their text, if that can be read at all ([`labels`]). Collations never matter. Whatever is not compared as it stands
//! is said in the report ([`Compared::note`]), and two types between which no exact conversion is known are refused by name: a wrong
//! "equal" is worse than none. So is what a character set cannot hold: see [`charsets`].
//!
//! A key's column that is printed otherwise than a literal that names its value ([`Compared::names_key`]) tells no rows apart; see
//! [`crate::keys`]. A number, a moment or bytes beside a text is such a one: the text '01' is the number 1, which is not the text '1'.
//!
//! How the columns of a row become one checksum is in [`crate::frame`].

mod charsets;
pub(crate) mod labels;
pub(crate) mod numbers;

use shunt_engine::key::push_hex;
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
    /// Whether what both sides print is the very text of columns of one type and character set.
    pub stands: bool,
    /// A condition that holds on the source where the target's column cannot hold its text.
    lost: Option<String>,
    /// A condition that holds on the target where no text of the source becomes what it has.
    wrong: Option<String>,
}

/// Expressions with `{}` for the column.
struct Printed {
    source: String,
    target: String,
    form: Form,
    note: Option<String>,
    names_key: bool,
    /// Where something is lost of it; see [`charsets::lost`].
    lost: Option<String>,
    /// Where the target has what no text becomes.
    wrong: Option<String>,
}

impl Printed {
    fn as_it_stands(form: Form) -> Self {
        Self::both("{}", form)
    }

    fn both(expression: &str, form: Form) -> Self {
        let (source, target) = (expression.into(), expression.into());
        Self { source, target, form, note: None, names_key: true, lost: None, wrong: None }
    }

    fn stands(&self) -> bool {
        self.source == "{}" && self.target == "{}" && self.note.is_none()
    }

    /// Printed otherwise than it stands, so that no row can be looked up by it.
    fn converted(source: String, target: String, form: Form, note: String) -> Self {
        let note = Some(note);
        Self { source, target, form, note, names_key: false, lost: None, wrong: None }
    }
}

impl Compared {
    /// How a pair of columns is compared.
    ///
    /// # Errors
    /// Usage if their types have nothing in common, or if nobody can read what their labels are.
    pub fn new(source: &Column, target: &Column) -> Result<Self> {
        if Kind::of(source) == Kind::Labels && Kind::of(target) == Kind::Labels {
            labels::check_readable(source, "source")?;
            labels::check_readable(target, "target")?;
        }
        let printed = printed(source, target).ok_or_else(|| {
            Error::usage(format!(
                "column {} is {} on the source and {} on the target",
                sql::ident(&source.name),
                source.column_type,
                target.column_type
            ))
            .advice("Leave it out with --columns.")
        })?;
        let stands = printed.stands() && charset_of(source) == charset_of(target);
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
            names_key: printed.names_key && Kind::of(source) == Kind::of(target),
            spelt: matches!((Kind::of(source), Kind::of(target)), (Kind::Words, Kind::Address(_))),
            stands,
            lost: printed.lost.map(|condition| write(&condition, &source.name)),
            wrong: printed.wrong.map(|condition| write(&condition, &target.name)),
        })
    }

    /// Prints what the target's column cannot hold so that it is like nothing there, and what no text becomes like no text.
    pub(crate) fn guard(&mut self) {
        let marked = |condition: &str, name: &str, printed: &str| {
            let mut mark = Vec::new();
            push_hex(charsets::mark(), &mut mark);
            let mark = String::from_utf8_lossy(&mark).into_owned();
            format!("IF({condition},CONCAT({mark},CAST({} AS BINARY)),{printed})", sql::ident(name))
        };
        if let Some(lost) = &self.lost {
            self.source = marked(lost, &self.source_name, &self.source);
        }
        if let Some(wrong) = &self.wrong {
            self.target = marked(wrong, &self.target_name, &self.target);
        }
    }

    /// The bytes of a cell that was printed as one that the other side cannot have.
    pub fn lost<'a>(&self, cell: &'a [u8]) -> Option<&'a [u8]> {
        let marked = self.lost.as_ref().or(self.wrong.as_ref());
        marked.and_then(|_| cell.strip_prefix(charsets::mark()))
    }
}

fn charset_of(column: &Column) -> Option<&str> {
    column.charset.as_deref().map(charset_name)
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
        (Kind::Labels, Kind::Labels) => labels::printed(source, target),
        (Kind::Date | Kind::Moment | Kind::Time, Kind::Date | Kind::Moment | Kind::Time) => {
            moments(source, kinds.0, target, kinds.1)
        }
        (Kind::Address(_), _) | (_, Kind::Address(_)) => {
            addresses(source, kinds.0, target, kinds.1)
        }
        (Kind::Bytes, Kind::Bytes) => Some(bytes(source, target)),
        (Kind::Labels, Kind::Words | Kind::Bytes) | (Kind::Words | Kind::Bytes, Kind::Labels) => {
            labels::by_text(source, target)
        }
        (Kind::Words | Kind::Bytes, Kind::Words | Kind::Bytes) => Some(text(source, target)),
        // By what the server prints: neither a float, which it prints inexactly, nor bits, which it does not print.
        (Kind::Words, other) | (other, Kind::Words) if other.is_printed() => {
            Some(in_one_charset(source, target, text(source, target)))
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
        (Kind::Address(_), Kind::Words) => {
            let printed = Printed::converted(text(), it(), Form::Bytes, note());
            in_one_charset(source, target, printed)
        }
        (Kind::Words, Kind::Address(_)) => {
            let printed = Printed::converted(it(), text(), Form::Bytes, note());
            in_one_charset(source, target, printed)
        }
        _ => return None,
    })
}

/// What a server prints in ASCII, beside a text of another kind: that of the source in ASCII as well, or in the target's.
fn in_one_charset(source: &Column, target: &Column, printed: Printed) -> Printed {
    let wide =
        |column: &Column| column.charset.clone().filter(|charset| charsets::is_wide(charset));
    let to = wide(source).map(|_| "utf8mb4".to_owned()).or_else(|| wide(target));
    match to {
        Some(to) => {
            Printed { source: format!("CONVERT({} USING {to})", printed.source), ..printed }
        }
        None => printed,
    }
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
            names_key: charsets::names_key(from, to),
            lost: charsets::lost(from, to),
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
mod tests;
