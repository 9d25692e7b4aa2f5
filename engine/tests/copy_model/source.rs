//! The source: a short log of transactions, and what a snapshot shows when only some of them are visible.

/// Keys as the binlog stores them.
pub(crate) const KEYS: usize = 6;
/// Keys as the servers compare them.
pub(crate) const SLOTS: usize = 4;

/// A row: its key's stored form, the value under the second unique key, and a number that each write makes new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    pub(crate) key: u8,
    pub(crate) unique: u8,
    pub(crate) version: u8,
}

/// The rows of a table, by slot.
pub(crate) type Table = [Option<Row>; SLOTS];

/// What a row event does to its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    Upsert(Row),
    Delete,
}

/// A row event: a key as stored, and what happens to it.
pub(crate) type Change = (u8, Op);

/// What the application does to a row.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Write {
    /// Inserts a key with a unique value.
    Insert(u8, u8),
    /// Changes the row of a key, but neither key nor unique value.
    Touch(u8),
    /// Gives the row of a key another unique value.
    Unique(u8, u8),
    /// Moves the row of a key to another key.
    Move(u8, u8),
    /// Deletes the row of a key.
    Delete(u8),
    /// Empties the table; stands alone in its transaction.
    Truncate,
}

#[derive(Clone, Debug)]
pub(crate) struct Transaction {
    pub(crate) changes: Vec<Change>,
    pub(crate) truncate: bool,
    /// Larger than the bound of a group: it is delivered and applied in parts, here one change each.
    pub(crate) in_parts: bool,
    /// The transactions before it that it has a key or a unique value in common with.
    after: u8,
}

#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) log: Vec<Transaction>,
    /// The slot of each stored key: two stored forms of one collated key share one.
    pub(crate) slots: [u8; KEYS],
    /// The rows by the set of visible transactions.
    states: Vec<Table>,
}

impl Source {
    /// `rows` are there from the start, as key and unique value.
    pub(crate) fn new(rows: &[(u8, u8)], log: &[&[Write]]) -> Self {
        Self::collated([0, 1, 2, 3, 3, 3], rows, log)
    }

    pub(crate) fn collated(slots: [u8; KEYS], rows: &[(u8, u8)], log: &[&[Write]]) -> Self {
        let mut table = Table::default();
        for &(key, unique) in rows {
            table[at(slots, key)] = Some(Row { key, unique, version: 0 });
        }
        let first = table;
        let mut transactions: Vec<Transaction> = Vec::new();
        let mut touched: Vec<u32> = Vec::new();
        let mut version = 0;
        for writes in log {
            let truncate = matches!(writes, [Write::Truncate]);
            let mut changes = Vec::new();
            let mut touches = if truncate { u32::MAX } else { 0 };
            for write in *writes {
                version += 1;
                apply(*write, version, slots, &mut table, &mut changes, &mut touches);
            }
            let conflicts = (0..touched.len()).filter(|earlier| touched[*earlier] & touches != 0);
            let after = conflicts.fold(0, |mask, earlier| mask | 1 << earlier);
            transactions.push(Transaction { changes, truncate, in_parts: false, after });
            touched.push(touches);
        }
        let mut source = Self { log: transactions, slots, states: Vec::new() };
        source.states = (0..1 << source.log.len()).map(|mask| source.state(first, mask)).collect();
        source
    }

    /// Makes a transaction one that is delivered in parts.
    pub(crate) fn in_parts(mut self, transaction: usize) -> Self {
        self.log[transaction].in_parts = true;
        self
    }

    fn state(&self, mut table: Table, visible: u8) -> Table {
        for (number, transaction) in self.log.iter().enumerate() {
            if visible & 1 << number == 0 {
                continue;
            }
            if transaction.truncate {
                table = Table::default();
            }
            for (key, op) in &transaction.changes {
                table[self.slot(*key)] = match op {
                    Op::Upsert(row) => Some(*row),
                    Op::Delete => None,
                };
            }
        }
        table
    }

    pub(crate) fn slot(&self, key: u8) -> usize {
        at(self.slots, key)
    }

    /// How many transactions there will be.
    pub(crate) fn len(&self) -> u8 {
        u8::try_from(self.log.len()).unwrap()
    }

    pub(crate) fn transaction(&self, number: u8) -> &Transaction {
        &self.log[usize::from(number)]
    }

    /// What a snapshot shows.
    pub(crate) fn seen(&self, visible: u8) -> &Table {
        &self.states[usize::from(visible)]
    }

    /// The state at a position: after so many transactions.
    pub(crate) fn at(&self, position: u8) -> &Table {
        self.seen(before(position))
    }

    /// Whether a binlogged transaction may become visible now: whatever it has a key in common with is.
    pub(crate) fn may_show(&self, number: u8, visible: u8) -> bool {
        visible & 1 << number == 0 && self.transaction(number).after & !visible == 0
    }
}

/// The set of the first transactions.
pub(crate) fn before(position: u8) -> u8 {
    (1 << position) - 1
}

fn at(slots: [u8; KEYS], key: u8) -> usize {
    usize::from(slots[usize::from(key)])
}

/// Writes as a server would: unique at every step, or the script is wrong.
fn apply(
    write: Write,
    version: u8,
    slots: [u8; KEYS],
    table: &mut Table,
    changes: &mut Vec<Change>,
    touches: &mut u32,
) {
    let take = |table: &mut Table, key: u8| {
        let row = table[at(slots, key)].take().expect("the row is there");
        assert_eq!(row.key, key, "the row has this form of the key");
        row
    };
    let (old, new) = match write {
        Write::Insert(key, unique) => (None, Some(Row { key, unique, version })),
        Write::Touch(key) => {
            let row = take(table, key);
            (Some(row), Some(Row { version, ..row }))
        }
        Write::Unique(key, unique) => {
            let row = take(table, key);
            (Some(row), Some(Row { unique, version, ..row }))
        }
        Write::Move(from, key) => {
            let row = take(table, from);
            (Some(row), Some(Row { key, version, ..row }))
        }
        Write::Delete(key) => (Some(take(table, key)), None),
        Write::Truncate => {
            *table = Table::default();
            (None, None)
        }
    };
    for row in [old, new].into_iter().flatten() {
        *touches |= 1 << at(slots, row.key) | 1 << (usize::from(row.unique) + SLOTS);
    }
    if let Some(row) = old
        && new.is_none_or(|new| new.key != row.key)
    {
        changes.push((row.key, Op::Delete));
    }
    if let Some(row) = new {
        assert!(table.iter().flatten().all(|other| other.unique != row.unique), "a duplicate");
        let place = &mut table[at(slots, row.key)];
        assert!(place.is_none(), "a duplicate key");
        *place = Some(row);
        changes.push((row.key, Op::Upsert(row)));
    }
}
