//! Which names stand in the text of a view or a body.

use crate::mysql::names::lowered;
use std::collections::{BTreeSet, HashSet};

use super::{Hidden, Key, Kind, Listed, Names, is_of_system, key};
use crate::changes::lexer;

/// A body without any of these words writes nothing by itself.
const WRITES: [&str; 5] = ["insert", "update", "delete", "replace", "load"];

/// What a text names.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) hidden: Option<Hidden>,
    /// It may write what it uses.
    pub(super) writes: bool,
    pub(super) uses: BTreeSet<Key>,
    pub(super) calls: BTreeSet<Key>,
}

pub(super) fn names(program: &Listed, relations: &Names, routines: &Names) -> Found {
    let Some(text) = &program.text else {
        return Found { hidden: Some(Hidden::Definition), ..Found::default() };
    };
    let escapes = !program.sql_mode.contains("NO_BACKSLASH_ESCAPES");
    if program.kind == Kind::View {
        return of_view(text, relations, routines);
    }
    let words = lexer::names(text, escapes);
    let has = |word: &str| words.contains(word);
    // A procedure of the server's own runs the text that it is given.
    let of_system = || has("call") && words.iter().any(|word| is_of_system(word));
    let dynamic = has("prepare") || (has("execute") && has("immediate")) || of_system();
    let own = lowered(&program.database);
    Found {
        writes: WRITES.iter().any(|word| has(word)),
        hidden: dynamic.then_some(Hidden::Dynamic),
        uses: of_body(&own, &words, relations),
        calls: of_body(&own, &words, routines),
    }
}

/// The server prints every table and every routine of a view with its database.
fn of_view(text: &str, relations: &Names, routines: &Names) -> Found {
    let known = |names: &Names, key: &Key| names.get(&key.0).is_some_and(|n| n.contains(&key.1));
    let mut found = Found::default();
    for (database, name) in lexer::pairs(text) {
        let key = key(&database, &name);
        if known(routines, &key) {
            found.calls.insert(key.clone());
        }
        if known(relations, &key) {
            found.uses.insert(key);
        }
    }
    found
}

fn of_body(own: &str, words: &HashSet<String>, known: &Names) -> BTreeSet<Key> {
    let mut keys = BTreeSet::new();
    let named = |database: &str| database == own || words.contains(database);
    for (database, names) in known.iter().filter(|(database, _)| named(database)) {
        let (few, many) = if names.len() < words.len() { (names, words) } else { (words, names) };
        let both = few.iter().filter(|name| many.contains(*name));
        keys.extend(both.map(|name| (database.clone(), name.clone())));
    }
    keys
}
