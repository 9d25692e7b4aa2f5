//! Names as a server that folds case compares them.

/// Whether two names are the same to a server that folds case: character by character, as servers do.
pub fn same(a: &str, b: &str) -> bool {
    a == b || a.chars().map(folded).eq(b.chars().map(folded))
}

/// A name as a server stores it that keeps names in lower case (`lower_case_table_names=1`).
pub fn lowered(name: &str) -> String {
    name.chars().map(folded).collect()
}

/// The character in lower case, as servers have it: their tables are older than many letters.
fn folded(c: char) -> char {
    match c {
        'İ' => 'i',
        'Ƞ'
        | '\u{23a}'..='\u{37f}'
        | '\u{3cf}'..='\u{3d8}'
        | '\u{3f4}'..='\u{3ff}'
        | '\u{48a}'
        | '\u{4c0}'
        | '\u{4c5}'
        | '\u{4c9}'
        | '\u{4cd}'
        | '\u{4f6}'
        | '\u{4fa}'..='\u{52e}'
        | '\u{10a0}'..='\u{1cbf}'
        | 'ẞ'
        | '\u{1efa}'..='\u{1efe}'
        | '\u{2132}'
        | '\u{2183}'
        | '\u{2c00}'..='\u{a7f5}' => c,
        _ => c.to_lowercase().next().unwrap_or(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_folded_as_servers_do() {
        assert!(same("ΟΔΟΣ", "οδοσ") && same("İt", "it") && same("BÄR", "bär"));
        assert!(!same("ΟΔΟΣ", "οδος") && !same("bar", "bär"));
        assert_eq!(lowered("ÄRGER_İ"), "ärger_i");
        assert!(!same("ẞ", "ß") && !same("Ⴀ", "ⴀ") && same("Ω", "ω") && same("Ж", "ж"));
    }
}
