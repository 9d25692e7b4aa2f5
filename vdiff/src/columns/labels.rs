//! ENUM and SET beside each other. By number where the labels of the one begin with those of the other, as after a label was added at
//! the end; else by their labels. A SET prints its labels in the order of its definition, so its text is built anew in an order that
//! is the same for both: that of the labels' bytes.

use shunt_engine::key::push_hex;
use shunt_engine::mysql::schema::Column;

use super::{Form, Printed, text};

pub(super) fn printed(source: &Column, target: &Column) -> Printed {
    let (here, there) = (source.enum_members(), target.enum_members());
    let shorter = here.len().min(there.len());
    let is_set = |column: &Column| column.data_type == "set";
    if source.data_type == target.data_type && here[..shorter] == there[..shorter] {
        return Printed::both("{}|0", Form::Integer { wide: is_set(source) });
    }
    let note = "by its labels, which are not the same on both sides".to_owned();
    if is_set(source) && is_set(target) {
        return Printed::converted(sorted(&here), sorted(&there), Form::Bytes, note);
    }
    Printed { note: Some(note), form: Form::Bytes, ..text(source, target) }
}

fn sorted(labels: &[String]) -> String {
    let mut labels: Vec<(usize, &String)> = labels.iter().enumerate().collect();
    labels.sort_unstable_by_key(|(_, label)| *label);
    let part = |(at, label): (usize, &String)| {
        let mut hex = Vec::new();
        push_hex(format!("{label},").as_bytes(), &mut hex);
        let hex = String::from_utf8_lossy(&hex).into_owned();
        format!("IF(({{}}|0)&{},_utf8mb4 {hex},'')", 1_u64 << (at % 64))
    };
    let parts: Vec<String> = labels.into_iter().map(part).collect();
    format!("IF({{}} IS NULL,NULL,TRIM(TRAILING ',' FROM CONCAT({})))", parts.join(","))
}
