//! A model of the copy protocol.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod model;
mod source;
mod target;
mod worker;

use std::time::Instant;

use source::{Source, Write};
use stateright::{Checker, HasDiscoveries, Model};

use Write::{Delete, Insert, Move, Touch};

/// A part of the protocol that is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Without {
    Bracket,
    Buffer,
    LaterEvents,
    Gate,
    Epoch,
    WaitForHigh,
    WaitForParts,
    CopyBeforeKeys,
    RangeNames,
    EmptyFirst,
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
    /// Whether a worker that lost the lease goes on reading, rather than only committing what it has at hand.
    stale_reads: bool,
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
            stale_reads: false,
            begin: vec![0],
        }
    }

    fn is_without(&self, part: Without) -> bool {
        self.without == Some(part)
    }

    fn holds(self, name: &str) {
        let started = Instant::now();
        let checker = self
            .checker()
            .threads(2)
            .finish_when(HasDiscoveries::AnyFailures)
            .timeout(std::time::Duration::from_secs(40))
            .spawn_dfs()
            .join();
        println!(
            "{name}: {} states, {} steps, depth {}, {:.1?}",
            checker.unique_state_count(),
            checker.state_count(),
            checker.max_depth(),
            started.elapsed()
        );
        for (property, path) in checker.discoveries() {
            if checker.model().property(property).expectation.discovery_is_failure() {
                let actions = path.into_actions();
                println!("{property}: {}", show(&actions));
            }
        }
        if !checker.is_done() { println!("NOT DONE"); }
    }

    fn fails(self, part: Without) {
        let started = Instant::now();
        let checker = Self { without: Some(part), ..self }
            .checker()
            .finish_when(HasDiscoveries::AnyFailures)
            .spawn_bfs()
            .join();
        let found = checker.discoveries();
        let failures = found
            .into_iter()
            .filter(|(name, _)| checker.model().property(name).expectation.discovery_is_failure());
        let shortest = failures
            .map(|(name, path)| (name, path.into_actions()))
            .min_by_key(|(name, actions)| (actions.len(), *name));
        println!("without {part:?}: {} states, {:.1?}", checker.unique_state_count(), started.elapsed());
        let (name, actions) = shortest.expect("a counterexample");
        println!("  not \"{name}\": {}", show(&actions));
    }
}

fn show(actions: &[model::Action]) -> String {
    actions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn known() -> Order {
    Order::Known(vec![1])
}

fn moves() -> Source {
    Source::new(&[(0, 1), (2, 2)], &[&[Move(0, 3)], &[Touch(2), Insert(1, 4)], &[Delete(3)]])
}

#[test]
fn plain() {
    Setting::new(moves(), known()).holds("plain");
    Setting::new(moves(), Order::Unknown).holds("plain unknown");
    Setting { crashes: 1, ..Setting::new(moves(), known()) }.holds("crash");
    Setting { crashes: 1, chunk_rows: 1, ..Setting::new(moves(), Order::Unknown) }.holds("crash unknown");
    Setting { takeovers: 1, ..Setting::new(moves(), known()) }.holds("takeover");
    Setting { takeovers: 1, crashes: 1, ..Setting::new(moves(), known()) }.holds("takeover + crash");
    Setting { takeovers: 1, stale_reads: true, ..Setting::new(moves(), known()) }.holds("takeover, stale reads");
}
