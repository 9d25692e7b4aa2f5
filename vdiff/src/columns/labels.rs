//! ENUM and SET. Beside each other by number where the labels of the one begin with those of the other, as after a label was added at
//! the end. Else an ENUM by its label, and a SET by the number that the target has for the same labels: its text does not tell an empty
//! label from none, and stands in the order of the definition. A label that the target lacks is a bit that no value of the target has.
//!
//! Beside a text, and an ENUM beside a SET, by the text that they print. An ENUM's error value prints like an empty label, and so does a
//! SET of nothing beside one of the empty label; so empty labels are refused there, and the error value is printed as what no text is.
//!
//! # Labels that nobody can read
//! Servers print definitions in `utf8mb3`, with `?` for each character that it lacks and each byte of `CHARACTER SET binary` that is none
//! of its characters: '😀' and '😁' are the same label there. Where a label has a `?` and its character set has such characters, it may be any
//! other; ENUM and SET of such labels are not compared by their labels, but refused.

use shunt_engine::mysql::schema::Column;
use shunt_engine::mysql::sql;
use shunt_engine::{Error, Result};

use super::{Form, Printed, text};

/// Members of a SET at most.
pub(crate) const SET_MAX: usize = 64;

/// Refuses labels that may be others than the definition says.
///
/// # Errors
/// Usage.
pub(super) fn check_readable(column: &Column, side: &str) -> Result<()> {
    if !column.labels_are_hidden() {
        return Ok(());
    }
    Err(Error::usage(format!(
        "column {} is {} on the {side}: a \"?\" there may stand for any character that servers do not print in definitions",
        sql::ident(&column.name),
        column.column_type
    ))
    .advice("Give that label another text, or leave the column out (vdiff run --columns); of a key or an archive, the table."))
}

/// ENUM and SET beside each other. None if there is no bit left for labels that the target lacks, or if an ENUM's labels do not tell its
/// values apart.
pub(super) fn printed(source: &Column, target: &Column) -> Option<Printed> {
    let (here, there) = (source.enum_members(), target.enum_members());
    let shorter = here.len().min(there.len());
    if source.data_type == target.data_type && here[..shorter] == there[..shorter] {
        return Some(Printed::both("{}|0", Form::Integer { wide: is_set(source) }));
    }
    let note = "by its labels, which are not the same on both sides".to_owned();
    if is_set(source) && is_set(target) {
        let form = Form::Integer { wide: true };
        let note = format!("{note}, as the target numbers them");
        return Some(Printed::converted(renumbered(&here, &there)?, "{}|0".into(), form, note));
    }
    Some(Printed { note: Some(note), form: Form::Bytes, ..by_text(source, target)? })
}

/// An ENUM or SET beside a text, or beside the other of them; none if a label is empty.
pub(super) fn by_text(source: &Column, target: &Column) -> Option<Printed> {
    let labels =
        |column: &Column| if is_labels(column) { column.enum_members() } else { Vec::new() };
    if labels(source).iter().chain(&labels(target)).any(String::is_empty) {
        return None;
    }
    let mut printed = text(source, target);
    let error = "({}|0)=0";
    match (source.data_type == "enum", target.data_type == "enum") {
        (true, false) => {
            let lost = printed.lost.map(|lost| format!("{error} OR {lost}"));
            printed.lost = Some(lost.unwrap_or_else(|| error.to_owned()));
        }
        (false, true) => printed.wrong = Some(error.to_owned()),
        // The error value is the same on both sides.
        _ => {}
    }
    Some(printed)
}

fn is_set(column: &Column) -> bool {
    column.data_type == "set"
}

fn is_labels(column: &Column) -> bool {
    is_set(column) || column.data_type == "enum"
}

/// The number that a SET with other labels has for the same value.
fn renumbered(here: &[String], there: &[String]) -> Option<String> {
    let part = |(at, label): (usize, &String)| {
        let lacking = (there.len() < SET_MAX).then_some(SET_MAX - 1);
        let to = there.iter().position(|other| other == label).or(lacking)?;
        Some(format!("IF(({{}}|0)&{},{},0)", 1_u64 << (at % SET_MAX), 1_u64 << (to % SET_MAX)))
    };
    let parts: Option<Vec<String>> = here.iter().enumerate().map(part).collect();
    parts.map(|parts| format!("IF({{}} IS NULL,NULL,{})", parts.join("|")))
}
