//! The bank's tables, and what must be in them at the end.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use shunt_engine::mysql::control::Control;

use super::client::Told;

pub(super) const ACCOUNTS: u64 = 100;
const BALANCE: u64 = 1000;

/// Makes the tables; `audit` is not moved.
pub(super) async fn fill(source: &mut Control) {
    let accounts: Vec<String> = (1..=ACCOUNTS).map(|id| format!("({id}, {BALANCE})")).collect();
    for sql in [
        "CREATE TABLE account (id INT NOT NULL PRIMARY KEY, balance BIGINT NOT NULL)".to_owned(),
        "CREATE TABLE ledger (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, client INT NOT NULL, \
         n BIGINT NOT NULL, KEY (client, n))"
            .to_owned(),
        "CREATE TABLE audit (client INT NOT NULL, n BIGINT NOT NULL, PRIMARY KEY (client, n))"
            .to_owned(),
        // No server but MariaDB has sequences of numbers.
        format!("INSERT INTO account VALUES {}", accounts.join(", ")),
    ] {
        source.execute(sql).await.unwrap();
    }
}

/// No money came or went.
pub(super) async fn check_sum(book: &mut Control) {
    let sum = book.row("SELECT SUM(balance) FROM account").await.unwrap().unwrap();
    assert_eq!(sum.number::<u64>(0).unwrap(), ACCOUNTS * BALANCE);
}

/// What a client has noted in a table.
async fn noted(book: &mut Control, table: &str, client: usize) -> Vec<u64> {
    let query = format!("SELECT n FROM {table} WHERE client = {client} ORDER BY n");
    let rows = book.rows(query).await.unwrap();
    rows.iter().map(|row| row.number(0).unwrap()).collect()
}

/// Each transfer that was acknowledged is in the ledger, once; what else is there, its client was not told of.
pub(super) async fn check_ledger(book: &mut Control, client: usize, told: &Told) {
    let mut there = noted(book, "ledger", client).await;
    let once: BTreeSet<u64> = there.iter().copied().collect();
    assert_eq!(once.len(), there.len(), "client {client}: a transfer is there twice");
    there.retain(|n| !told.doubtful.contains(n));
    assert_eq!(there, told.acknowledged, "the transfers of client {client}");
}

/// A transaction over a table that is moved and one that is not is there whole or not at all.
pub(super) async fn check_whole(book: &mut Control, unmoved: &mut Control, client: usize) {
    let (ledger, audit) =
        (noted(book, "ledger", client).await, noted(unmoved, "audit", client).await);
    assert_eq!(ledger, audit, "client {client}: a transaction is there by half");
}

/// Times between acknowledged commits of one client.
#[derive(Debug)]
pub(super) struct Gaps {
    /// The longest while nothing was switched.
    pub(super) quiet: Duration,
    /// The longest that touched each switch.
    pub(super) switching: Vec<Duration>,
}

impl Gaps {
    pub(super) fn new(at: &[Instant], switches: &[(Instant, Instant)]) -> Self {
        let mut gaps =
            Self { quiet: Duration::ZERO, switching: vec![Duration::ZERO; switches.len()] };
        for pair in at.windows(2) {
            let (begin, end) = (pair[0], pair[1]);
            let mut quiet = true;
            for (longest, (from, to)) in gaps.switching.iter_mut().zip(switches) {
                if begin <= *to && end >= *from {
                    *longest = (*longest).max(end - begin);
                    quiet = false;
                }
            }
            if quiet {
                gaps.quiet = gaps.quiet.max(end - begin);
            }
        }
        gaps
    }
}

/// The middle one.
pub(super) fn median(mut of: Vec<Duration>) -> Duration {
    of.sort();
    of.get(of.len() / 2).copied().unwrap_or_default()
}
