//! Differences, one by one, and how they are explained.

use std::collections::BTreeMap;

use super::faults::{FAULTS, Fault};
use super::seen::{Cell, Change, Column, Seen};

/// With whom our decoder is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Other {
    Cdc,
    Common,
    /// The rows that the server shows in the end.
    Server,
}

/// Where the bytes are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    MariaDb,
    MySql56,
    /// Recordings of MySQL 5.1 to 9.6, and of MariaDB 10.5.
    Recordings,
}

/// Our decoder and another do not see the same.
#[derive(Clone, Debug)]
pub(super) struct Difference {
    pub(super) other: Other,
    /// Where: event, table.
    pub(super) place: String,
    /// Number of the event's type.
    pub(super) event: u8,
    pub(super) what: What,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    /// The event as a whole, with the columns of its table.
    Event { ours: Seen, theirs: Seen, columns: Vec<Column> },
    /// A cell of rows that are alike otherwise.
    Cell { ours: Cell, theirs: Cell, column: Column },
}

impl Difference {
    /// Those that are shown once for all of their sort.
    fn sort(&self) -> String {
        match &self.what {
            What::Cell { column, .. } => {
                let definition = column.animal.map_or("", |animal| animal.definition);
                format!("{:?} cell of type {} {definition:.60}", self.other, column.kind)
            }
            What::Event { theirs, columns, .. } => {
                let animal = columns.get(1).and_then(|column| column.animal);
                let definition = animal.map_or("", |animal| animal.definition);
                let how = format!("{theirs:.20?}").chars().take(12).collect::<String>();
                format!("{:?} event {} {how} {definition:.60}", self.other, self.event)
            }
        }
    }

    /// The event's differences.
    pub(super) fn between(
        other: Other,
        place: &str,
        event: u8,
        columns: &[Column],
        ours: &Seen,
        theirs: &Seen,
    ) -> Vec<Self> {
        let difference = |what| Self { other, place: place.to_owned(), event, what };
        let whole = || {
            let (ours, theirs) = (ours.clone(), theirs.clone());
            vec![difference(What::Event { ours, theirs, columns: columns.to_vec() })]
        };
        match (ours, theirs) {
            _ if ours == theirs => vec![],
            (Seen::Rows(ours), Seen::Rows(theirs)) => match cells(ours, theirs) {
                None => whole(),
                Some(pairs) => pairs
                    .into_iter()
                    .filter(|(_, ours, theirs)| ours != theirs)
                    .map(|(at, ours, theirs)| {
                        let (ours, theirs, column) = (ours.clone(), theirs.clone(), columns[at]);
                        difference(What::Cell { ours, theirs, column })
                    })
                    .collect(),
            },
            (Seen::Many(ours), Seen::Many(theirs)) if ours.len() == theirs.len() => {
                let pairs = ours.iter().zip(theirs);
                pairs
                    .flat_map(|(ours, theirs)| {
                        Self::between(other, place, event, columns, ours, theirs)
                    })
                    .collect()
            }
            _ => whole(),
        }
    }
}

/// Cells in pairs, if there are as many of them and the same images.
fn cells<'a>(ours: &'a [Change], theirs: &'a [Change]) -> Option<Vec<(usize, &'a Cell, &'a Cell)>> {
    let images = |change: &'a Change| [change.before.as_ref(), change.after.as_ref()];
    let (ours, theirs): (Vec<_>, Vec<_>) =
        (ours.iter().flat_map(images).collect(), theirs.iter().flat_map(images).collect());
    if ours.len() != theirs.len() {
        return None;
    }
    let mut pairs = Vec::new();
    for image in ours.into_iter().zip(theirs) {
        match image {
            (Some(ours), Some(theirs)) if ours.len() == theirs.len() => pairs.extend(
                ours.iter().zip(theirs).enumerate().map(|(at, (ours, theirs))| (at, ours, theirs)),
            ),
            (None, None) => {}
            _ => return None,
        }
    }
    Some(pairs)
}

/// Every difference has a fault that explains it, and every fault that can occur here occurs.
pub(super) fn explain(from: From, differences: &[Difference]) {
    let mut used: BTreeMap<(Other, &str), usize> = BTreeMap::new();
    let mut unexplained: BTreeMap<String, Vec<&Difference>> = BTreeMap::new();
    for difference in differences {
        let fits = |fault: &&Fault| {
            fault.of == difference.other
                && fault.from.contains(&from)
                && [0, difference.event].contains(&fault.event)
                && (fault.explains)(difference)
        };
        match FAULTS.iter().find(fits) {
            Some(fault) => *used.entry((fault.of, fault.name)).or_default() += 1,
            None => unexplained.entry(difference.sort()).or_default().push(difference),
        }
    }
    let gone: Vec<_> = FAULTS
        .iter()
        .filter(|fault| fault.from.contains(&from) && !used.contains_key(&(fault.of, fault.name)))
        .map(|fault| (fault.of, fault.name))
        .collect();
    println!("{from:?}: {} differences: {used:#?}", differences.len());
    let shown: Vec<_> = unexplained
        .iter()
        .map(|(sort, all)| {
            let (first, what) = (all[0], format!("{:?}", all[0].what));
            format!("{} x {sort}, first in {}: {what:.900}", all.len(), first.place)
        })
        .collect();
    assert!(
        unexplained.is_empty() && gone.is_empty(),
        "differences without explanation:\n{}\nknown faults that do not occur any more: {gone:#?}",
        shown.join("\n")
    );
}
