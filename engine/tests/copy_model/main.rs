//! A model of the copy protocol, checked in every interleaving around the real [`shunt_engine::ranges::Ranges`].
//!
//! The source commits a script of three transactions; each is in the binlog first and visible to snapshots later, out of
//! order where two have no key and no unique value in common (`source`). A worker does what the stream, its readers and
//! its writers do (`worker`); the target keeps rows, position, copied ranges and epoch, and has REPLACE with a second
//! unique key (`target`). A worker may die once; another may take the lease once from one that lives (`model`).
//!
//! What must hold in every state:
//! - at the end, target and source are equal, and the end is always reached;
//! - once all ranges are copied and the position has passed every H and S, the target is equal *at its position*;
//! - building the second unique key never meets a duplicate, and no REPLACE destroys the row of another key;
//! - where the order of keys is known, no row of a chunk is on the target before it.
//!
//! `cargo test --test copy_model -- --nocapture` prints the number of states, and for each part that is taken out a
//! shortest schedule that goes wrong. A number behind `/` says which of the worker's readings or chunks is meant.
//!
//! | without | what goes wrong | schedule |
//! |---|---|---|
//! | the bracket | an event is discarded, and the snapshot opened afterwards lacks its row | commit, read, open, open, snapshot, close, snapshot, close, chunk, chunk, group |
//! | the buffer | the rows of an open range stay as the snapshot had them | commit, open, open, read, snapshot, close, snapshot, close, chunk, chunk, group |
//! | the events after the close | as before, between S and the chunk's commit | commit, open, open, snapshot, close, snapshot, close, chunk, read, chunk, group |
//! | the gate | a group writes a row, then the chunk meets it with an older one | open, snapshot, commit, close, read, group, chunk |
//! | the epoch | the chunk of a paused worker lands on a range that another has copied | open, snapshot, close, takeover, open, snapshot, close, chunk, stale chunk |
//! | the wait for H | a row that moves is in two snapshots, with its unique value | commit, open, open, snapshot/0, show 1, close/0, snapshot, close, chunk, chunk, build |
//! | the wait for the end of a transaction in parts | the buffer holds a part of a transaction beyond S; its other rows are not there yet | open, open, snapshot, close, snapshot, commit, read (a part), close, chunk, chunk |
//! | the copy before the keys | a chunk's REPLACE destroys a row whose event is past | commit, open, open, read, snapshot, close, snapshot, close, chunk/1, build, chunk |
//! | new names for reopened ranges | a snapshot of an earlier opening is taken for one of this: R and buffer do not fit it | commit, open, open, read, snapshot, …, give up, open, close (of the first reading), chunk |
//! | emptying first | after a TRUNCATE a range is read again before the target was emptied, which removes its rows | commit ×3, read ×2 (TRUNCATE), open, open, read, snapshot, close, snapshot, close, chunk, chunk, group of 3 |
//! | closing a transaction before opening | a part was discarded, R does not cover it, the snapshot lacks it | commit, read, read (two parts), open, open, read, snapshot, close, snapshot, close, chunk, chunk, part, part, group |
//!
//! Two things keep the numbers small and lose nothing. Names of the two workers are forgotten: one holds the lease, the other
//! has lost it. And of one that lost it usually only the epoch is kept ([`Stale::Any`]), as the check looks at nothing else; with
//! [`Stale::Work`] and [`Stale::Everything`] it lives on with all that it had.

#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod model;
mod source;
mod target;
mod worker;

use std::collections::BTreeSet;
use std::time::Instant;

use source::{Source, Write};
use stateright::{Checker, HasDiscoveries, Model};

use Write::{Delete, Insert, Move, Touch, Truncate, Unique};

/// A part of the protocol that is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Without {
    /// A snapshot contains everything up to R.
    Bracket,
    /// Events of an open range are laid over its rows.
    Buffer,
    /// Events of a closing range go to groups.
    LaterEvents,
    /// No group passes the S of a closing range.
    Gate,
    /// A transaction of a worker that lost the lease is refused.
    Epoch,
    /// A range is settled when H is passed, not S alone.
    WaitForHigh,
    /// A range that closes within a transaction in parts is settled after that transaction.
    WaitForParts,
    /// Unique keys are built when all is settled.
    CopyBeforeKeys,
    /// A chunk counts for its own opening of the range only.
    RangeNames,
    /// After a TRUNCATE nothing is opened until it is applied.
    EmptyFirst,
    /// Nothing is opened within a transaction in parts.
    OpenBetween,
}

/// Who knows which range a key is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// We do; the table is cut here from the start.
    Known(Vec<u8>),
    /// Only the server does.
    Unknown,
}

/// How much is kept of a worker that lost the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stale {
    /// Only its epoch: it tries some commit at any time. All that the check looks at, so nothing is lost by it.
    Any,
    /// What it was about to commit, as of a process that is paused and resumed.
    Work,
    /// Everything: it goes on reading and copying.
    Everything,
}

/// What is checked: a script, how it is copied, and what may happen.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    source: Source,
    order: Order,
    /// Rows of a chunk at most.
    chunk_rows: usize,
    without: Option<Without>,
    crashes: u8,
    takeovers: u8,
    give_ups: u8,
    stale: Stale,
    /// How many transactions are in the binlog, none of them visible, when the stream begins.
    begin: Vec<u8>,
}

impl Setting {
    fn new(source: Source, order: Order) -> Self {
        Self {
            source,
            order,
            chunk_rows: 9,
            without: None,
            crashes: 0,
            takeovers: 0,
            give_ups: 0,
            stale: Stale::Any,
            begin: vec![0],
        }
    }

    fn is_without(&self, part: Without) -> bool {
        self.without == Some(part)
    }

    /// Visits every state; all that must hold does, and the end is reached.
    fn holds(self, name: &str) {
        let started = Instant::now();
        let checker =
            self.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_dfs().join();
        println!(
            "{name}: {} states, {} steps, depth {}, {:.1?}",
            checker.unique_state_count(),
            checker.state_count(),
            checker.max_depth(),
            started.elapsed()
        );
        for (property, path) in checker.discoveries() {
            if checker.model().property(property).expectation.discovery_is_failure() {
                println!("  not \"{property}\": {}", show(path.into_actions()));
            }
        }
        checker.assert_properties();
    }

    /// Finds a shortest schedule after which `property` does not hold, with `part` taken out.
    fn fails(self, part: Without, property: &'static str) {
        let started = Instant::now();
        let checker = Self { without: Some(part), ..self }
            .checker()
            .finish_when(HasDiscoveries::AllOf(BTreeSet::from([property])))
            .spawn_bfs()
            .join();
        let (states, found) = (checker.unique_state_count(), checker.discovery(property));
        println!("without {part:?}: {states} states, {:.1?}", started.elapsed());
        let path = found.expect("a counterexample");
        println!("  not \"{property}\": {}", show(path.into_actions()));
    }
}

fn show(actions: Vec<model::Action>) -> String {
    actions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Two ranges, cut behind slot 1.
fn known() -> Order {
    Order::Known(vec![1])
}

/// Keys that move from one range to the other.
fn moves() -> Source {
    Source::new(&[(0, 1), (2, 2)], &[&[Move(0, 3)], &[Touch(2), Insert(1, 4)], &[Delete(3)]])
}

/// Only two transactions.
fn short() -> Source {
    Source::new(&[(0, 1), (2, 2)], &[&[Move(0, 3)], &[Insert(0, 4)]])
}

/// Unique values that are swapped between the ranges.
fn swaps() -> Source {
    Source::new(
        &[(0, 1), (2, 2)],
        &[&[Unique(0, 3), Unique(2, 1), Unique(0, 2)], &[Delete(2)], &[Insert(1, 1)]],
    )
}

/// A unique value that passes from one row to another, by transactions of their own.
fn hands_on() -> Source {
    Source::new(&[(0, 1), (2, 2)], &[&[Unique(0, 3)], &[Unique(2, 1)], &[Move(2, 1)]])
}

/// A TRUNCATE.
fn empties() -> Source {
    Source::new(&[(0, 1), (2, 2)], &[&[Touch(0)], &[Truncate], &[Insert(2, 1)]])
}

/// A transaction that is delivered and applied in parts.
fn parts() -> Source {
    let source = Source::new(
        &[(0, 1), (2, 3)],
        &[&[Unique(2, 5), Unique(2, 6), Unique(0, 5)], &[Touch(2)], &[Delete(0)]],
    );
    source.in_parts(0)
}

/// 0 is 'b', 1 is 'a' and 3 is 'A'.
fn collated() -> Source {
    Source::collated(
        [0, 1, 2, 1, 3, 3],
        &[(0, 1), (1, 2)],
        &[&[Move(1, 3)], &[Move(3, 1), Touch(0)], &[Move(0, 2), Delete(1)]],
    )
}

const END: &str = "the end is equal";
const SETTLED: &str = "settled is equal at the position";
const DUPLICATE: &str = "no duplicate meets the key being built";
const DESTROYED: &str = "no row of another key is destroyed";
const MET: &str = "no row of a chunk is there before";

/// With a crash and a takeover, beginning with nothing or with one invisible transaction in the binlog.
fn holds_through_all(name: &str, source: Source) {
    let unknown = Setting { chunk_rows: 1, ..Setting::new(source.clone(), Order::Unknown) };
    for setting in [Setting::new(source, known()), unknown] {
        let name = format!("{name}, order {:?}", setting.order);
        Setting { crashes: 1, takeovers: 1, begin: vec![0, 1], ..setting }.holds(&name);
    }
}

#[test]
fn keys_that_move_between_ranges() {
    holds_through_all("moves", moves());
}

#[test]
fn unique_values_that_are_swapped() {
    holds_through_all("swaps", swaps());
}

#[test]
fn unique_values_that_are_handed_on() {
    holds_through_all("hands on", hands_on());
}

#[test]
fn truncate() {
    holds_through_all("empties", empties());
}

#[test]
fn large_transactions_in_parts() {
    holds_through_all("parts", parts());
}

#[test]
fn keys_with_two_stored_forms() {
    let setting = Setting { chunk_rows: 1, ..Setting::new(collated(), Order::Unknown) };
    Setting { crashes: 1, takeovers: 1, begin: vec![0, 1], ..setting }.holds("collated");
}

#[test]
fn ranges_that_are_cut_and_given_up() {
    let cut = Setting { chunk_rows: 1, ..Setting::new(short(), Order::Known(vec![])) };
    Setting { crashes: 1, ..cut.clone() }.holds("cut, crash");
    Setting { give_ups: 1, ..cut }.holds("cut, given up");
    for source in [hands_on(), empties()] {
        Setting { give_ups: 1, ..Setting::new(source.clone(), known()) }.holds("given up");
        let unknown = Setting { chunk_rows: 1, ..Setting::new(source, Order::Unknown) };
        Setting { give_ups: 1, ..unknown }.holds("given up, order unknown");
    }
}

#[test]
fn a_paused_worker_with_all_it_had_at_hand() {
    let paused = Setting::new(hands_on(), Order::Unknown);
    let paused = Setting { takeovers: 1, stale: Stale::Work, ..paused };
    paused.clone().holds("paused");
    Setting { source: short(), stale: Stale::Everything, ..paused }.holds("not paused");
}

#[test]
fn without_the_bracket() {
    Setting::new(moves(), known()).fails(Without::Bracket, END);
    Setting::new(moves(), Order::Unknown).fails(Without::Bracket, SETTLED);
}

#[test]
fn without_the_buffer() {
    Setting::new(moves(), known()).fails(Without::Buffer, END);
    Setting::new(moves(), Order::Unknown).fails(Without::Buffer, SETTLED);
}

#[test]
fn without_the_events_after_the_close() {
    Setting::new(moves(), known()).fails(Without::LaterEvents, END);
}

#[test]
fn without_the_gate() {
    Setting::new(moves(), known()).fails(Without::Gate, END);
    Setting::new(moves(), known()).fails(Without::Gate, MET);
}

#[test]
fn without_the_gate_where_the_order_is_unknown() {
    Setting::new(moves(), Order::Unknown).fails(Without::Gate, SETTLED);
}

#[test]
fn without_the_epoch() {
    let setting = Setting { takeovers: 1, stale: Stale::Work, ..Setting::new(moves(), known()) };
    setting.fails(Without::Epoch, MET);
}

#[test]
fn without_the_epoch_where_the_order_is_unknown() {
    let setting =
        Setting { takeovers: 1, stale: Stale::Work, ..Setting::new(moves(), Order::Unknown) };
    setting.fails(Without::Epoch, SETTLED);
}

#[test]
fn without_waiting_for_what_snapshots_contain() {
    Setting::new(moves(), known()).fails(Without::WaitForHigh, SETTLED);
    Setting::new(moves(), known()).fails(Without::WaitForHigh, DUPLICATE);
}

#[test]
fn without_waiting_for_the_end_of_a_transaction_in_parts() {
    Setting::new(parts(), known()).fails(Without::WaitForParts, SETTLED);
    let source = Source::new(
        &[(0, 1), (2, 3)],
        &[&[Unique(2, 5), Unique(2, 6), Unique(0, 5), Insert(1, 7)]],
    );
    Setting::new(source.in_parts(0), known()).fails(Without::WaitForParts, DESTROYED);
}

#[test]
fn without_the_copy_before_the_keys() {
    Setting::new(moves(), known()).fails(Without::CopyBeforeKeys, DESTROYED);
    Setting::new(swaps(), known()).fails(Without::CopyBeforeKeys, DUPLICATE);
}

#[test]
fn without_new_names_for_reopened_ranges() {
    let setting = Setting { give_ups: 1, ..Setting::new(moves(), known()) };
    setting.fails(Without::RangeNames, SETTLED);
}

#[test]
fn without_emptying_before_reading_again() {
    Setting::new(empties(), known()).fails(Without::EmptyFirst, SETTLED);
}

#[test]
fn without_closing_a_transaction_before_opening() {
    Setting::new(parts(), known()).fails(Without::OpenBetween, SETTLED);
}
