//! Numbers of different types beside each other: by the exact number, never by a rounded text.
//!
//! An integer prints alike whatever its width, but for ZEROFILL and YEAR, which `+0` takes away. In a checksum it is a word of bits,
//! where -1 and 2^64-1 are one; so integers of different signs are framed as they print. Beside a DECIMAL both are cast to one of 65
//! digits, which holds every integer; a DECIMAL with fewer digits after the point is rounded as the target would. A DOUBLE holds what
//! the server makes of an integer or DECIMAL when it is written there, which `*1E0` is too. FLOAT rounds once more, and nothing prints
//! that on every version, so only floats are compared with it.

use shunt_engine::mysql::schema::Column;

use super::{Form, Printed, to_type};

/// Digits of a DECIMAL at most.
const DIGITS_MAX: u32 = 65;

/// Kinds of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    /// Also YEAR.
    Integer,
    Bit,
    Decimal,
    Float,
}

impl Number {
    pub(super) fn of(column: &Column) -> Option<Self> {
        if column.is_float() {
            return Some(Self::Float);
        }
        match column.data_type.as_str() {
            "bit" => Some(Self::Bit),
            "decimal" => Some(Self::Decimal),
            "year" => Some(Self::Integer),
            _ => column.is_integer().then_some(Self::Integer),
        }
    }

    /// Whether the server prints it exactly.
    pub(super) fn is_printed(self) -> bool {
        matches!(self, Self::Integer | Self::Decimal)
    }
}

pub(super) fn printed(source: &Column, s: Number, target: &Column, t: Number) -> Option<Printed> {
    let converted = |from: &str, to: &str| {
        Printed::converted(from.into(), to.into(), Form::Plain, to_type(source, target))
    };
    Some(match (s, t) {
        // A factor keeps the sign of -0.0; FLOAT by itself is printed with six digits.
        (Number::Float, Number::Float) => Printed {
            names_key: source.data_type == target.data_type,
            ..Printed::both("{}*1E0", Form::Plain)
        },
        (Number::Integer | Number::Decimal, Number::Float) if target.data_type != "float" => {
            converted("{}*1E0", "{}*1E0")
        }
        (Number::Float, _) | (_, Number::Float) => return None,
        (Number::Integer, Number::Integer) => integers(source, target),
        // Not with `+0`, which makes -1 of a SET whose 64 members are all there.
        (Number::Bit, Number::Bit) => Printed::both("{}|0", Form::Integer { wide: true }),
        (Number::Bit, Number::Integer) => converted("{}|0", "{}+0"),
        (Number::Integer, Number::Bit) => converted("{}+0", "{}|0"),
        (Number::Bit, _) | (_, Number::Bit) => return None,
        (Number::Decimal, Number::Decimal) if source.column_type == target.column_type => {
            Printed::as_it_stands(Form::Plain)
        }
        // Beyond its digits a cast makes the largest number there is of any.
        (Number::Decimal, Number::Decimal) if whole(source) + scale(target) > DIGITS_MAX => {
            return None;
        }
        (Number::Decimal, Number::Decimal) => {
            let cast = exactly(scale(target));
            let mut printed = converted(&cast, &cast);
            printed.names_key = scale(source) <= scale(target);
            printed
        }
        (Number::Decimal, Number::Integer) => {
            let cast = exactly(scale(source));
            converted(&cast, &cast)
        }
        (Number::Integer, Number::Decimal) => {
            let cast = exactly(scale(target));
            converted(&cast, &cast)
        }
    })
}

fn integers(source: &Column, target: &Column) -> Printed {
    let same = source.column_type == target.column_type;
    let is_year = |column: &Column| column.data_type == "year";
    let filled = |column: &Column| column.column_type.contains("zerofill");
    let plain = same || !filled(source) && !filled(target) && is_year(source) == is_year(target);
    let expression = if plain { "{}" } else { "{}+0" };
    let form = match source.unsigned() == target.unsigned() {
        true => Form::Integer { wide: !same || source.data_type == "bigint" },
        false => Form::Plain,
    };
    // A YEAR takes 5 for 2005.
    Printed { names_key: is_year(source) == is_year(target), ..Printed::both(expression, form) }
}

fn exactly(scale: u32) -> String {
    format!("CAST({{}} AS DECIMAL(65,{scale}))")
}

/// Digits before the point of a DECIMAL; 0 of anything else.
pub(crate) fn digits_before_point(column: &Column) -> usize {
    let is_decimal = column.data_type == "decimal";
    if is_decimal { usize::try_from(whole(column)).unwrap_or(0) } else { 0 }
}

fn whole(column: &Column) -> u32 {
    let inside = column.column_type.split(['(', ')']).nth(1).unwrap_or("10,0");
    let digits = inside.split(',').next().and_then(|digits| digits.trim().parse().ok());
    digits.unwrap_or(DIGITS_MAX).min(DIGITS_MAX).saturating_sub(scale(column))
}

/// Digits after the point of a DECIMAL.
fn scale(column: &Column) -> u32 {
    let inside = column.column_type.split(['(', ')']).nth(1).unwrap_or("10,0");
    inside.split(',').nth(1).and_then(|scale| scale.trim().parse().ok()).unwrap_or(0).min(38)
}
