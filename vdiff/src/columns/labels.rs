//! ENUM and SET beside each other. By number where the labels of the one begin with those of the other, as after a label was added at
//! the end. Else an ENUM by its label, and a SET by the number that the target has for the same labels: its text does not tell an empty
//! label from none, and stands in the order of the definition. A label that the target lacks is a bit that no value of the target has.

use shunt_engine::mysql::schema::Column;

use super::{Form, Printed, text};

/// Members of a SET at most.
const SET_MAX: usize = 64;

/// None if there is no bit left for labels that the target lacks, or if an ENUM's labels do not tell its values apart.
pub(super) fn printed(source: &Column, target: &Column) -> Option<Printed> {
    let (here, there) = (source.enum_members(), target.enum_members());
    let shorter = here.len().min(there.len());
    let is_set = |column: &Column| column.data_type == "set";
    if source.data_type == target.data_type && here[..shorter] == there[..shorter] {
        return Some(Printed::both("{}|0", Form::Integer { wide: is_set(source) }));
    }
    let note = "by its labels, which are not the same on both sides".to_owned();
    if is_set(source) && is_set(target) {
        let form = Form::Integer { wide: true };
        let note = format!("{note}, as the target numbers them");
        return Some(Printed::converted(renumbered(&here, &there)?, "{}|0".into(), form, note));
    }
    // An ENUM's error value reads like an empty label.
    if here.iter().chain(&there).any(String::is_empty) {
        return None;
    }
    Some(Printed { note: Some(note), form: Form::Bytes, ..text(source, target) })
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
