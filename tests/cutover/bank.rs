//! A bank: clients move money between accounts and note each transfer in a ledger, on whichever side lets them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use shunt_engine::error::{ErrorKind, Result};
use shunt_engine::mysql::control::Control;
use shunt_engine::runtime::tasks::{Task, spawn};

use super::both;
use crate::harness::load::Random;
use crate::harness::pair::PATIENCE;
use crate::harness::site::{LOOK, Place, Site};

const ACCOUNTS: u64 = 100;
const BALANCE: u64 = 1000;
/// The fence's error.
const FENCED: u16 = 1644;

/// Makes the tables.
pub(super) async fn fill(source: &mut Control) {
    for sql in [
        "CREATE TABLE account (id INT NOT NULL PRIMARY KEY, balance BIGINT NOT NULL)".to_owned(),
        "CREATE TABLE ledger (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, client INT NOT NULL, \
         n BIGINT NOT NULL, KEY (client, n))"
            .to_owned(),
        format!("INSERT INTO account SELECT seq, {BALANCE} FROM seq_1_to_{ACCOUNTS}"),
    ] {
        source.execute(sql).await.unwrap();
    }
}

/// Clients at work.
pub(super) struct Bank {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    clients: Vec<Task<Client>>,
    /// How long each transfer took, its refusals included, since somebody asked.
    took: Arc<Mutex<Vec<Duration>>>,
}

/// What a client knows at the end.
struct Client {
    /// Its transfers that were acknowledged.
    acknowledged: Vec<u64>,
    /// Its transfers whose server died under them: nobody told what became of them.
    doubtful: Vec<u64>,
    /// The longest time between two of them.
    longest: Duration,
}

impl Bank {
    /// Opens it with so many clients.
    pub(super) async fn open(site: &Site, clients: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicU64::new(0));
        let took: Arc<Mutex<Vec<Duration>>> = Arc::default();
        let mut tasks = Vec::new();
        for client in 0..clients {
            let (stop, done, took) = (stop.clone(), done.clone(), took.clone());
            tasks.push(spawn("client", work(client, site.places(), stop, done, took)));
        }
        let bank = Self { stop, done, clients: tasks, took };
        bank.until_more(20).await;
        bank
    }

    /// Waits until so many more transfers were acknowledged.
    pub(super) async fn until_more(&self, more: u64) {
        let (before, started) = (self.done.load(Ordering::Relaxed), Instant::now());
        while self.done.load(Ordering::Relaxed) < before + more {
            let ended = self.clients.iter().any(Task::is_finished);
            assert!(!ended && started.elapsed() < PATIENCE, "the bank does not get on");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// How long a transfer took at most since this was last asked, but for one in a hundred; and how many there were.
    pub(super) fn p99(&self) -> (Duration, usize) {
        let mut took = std::mem::take(&mut *self.took.lock().unwrap());
        took.sort();
        let at = took.len() * 99 / 100;
        (took.get(at).copied().unwrap_or_default(), took.len())
    }

    /// How long until the next few transfers are acknowledged.
    pub(super) async fn serves_within(&self, limit: Duration, why: &str) {
        let (before, started) = (self.done.load(Ordering::Relaxed), Instant::now());
        while self.done.load(Ordering::Relaxed) < before + 5 {
            assert!(started.elapsed() < limit, "{why}: clients are not served within {limit:?}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Closes it, and checks the books of the side that takes the writes (0 source, 1 target): no money came or went, every
    /// acknowledged transfer is there once, and no other.
    pub(super) async fn close(self, site: &Site, side: usize) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        let mut longest = Duration::ZERO;
        let mut books = both(site).await;
        let book = &mut books[side];
        let mut acknowledged = 0;
        for (number, client) in self.clients.into_iter().enumerate() {
            let client = client.join().await.unwrap();
            longest = longest.max(client.longest);
            let query = format!("SELECT n FROM ledger WHERE client = {number} ORDER BY n");
            let rows = book.rows(query).await.unwrap();
            let mut noted: Vec<u64> = rows.iter().map(|row| row.number(0).unwrap()).collect();
            noted.retain(|n| !client.doubtful.contains(n));
            assert_eq!(noted, client.acknowledged, "the transfers of client {number}");
            acknowledged += noted.len();
        }
        check_sum(book).await;
        assert!(acknowledged > 0);
        println!("{acknowledged} transfers, the longest gap {longest:?}");
        longest
    }
}

/// No money came or went.
pub(super) async fn check_sum(book: &mut Control) {
    let sum = book.row("SELECT SUM(balance) FROM account").await.unwrap().unwrap();
    assert_eq!(sum.number::<u64>(0).unwrap(), ACCOUNTS * BALANCE);
}

async fn work(
    client: u64,
    places: [Place; 2],
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    took: Arc<Mutex<Vec<Duration>>>,
) -> Result<Client> {
    let mut random = Random(client * 7919 + 23);
    let (mut side, mut n) = (0, 0);
    let mut result =
        Client { acknowledged: Vec::new(), doubtful: Vec::new(), longest: Duration::ZERO };
    let mut sides = [places[0].connect().await, places[1].connect().await];
    let mut last = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        match transfer(&mut sides[side], client, n, &mut random).await {
            Ok(()) => {
                result.acknowledged.push(n);
                result.longest = result.longest.max(last.elapsed());
                took.lock().unwrap().push(last.elapsed());
                last = Instant::now();
                done.fetch_add(1, Ordering::Relaxed);
                n += 1;
            }
            Err(error) if error.kind() == ErrorKind::Retry && error.server_code().is_none() => {
                result.doubtful.push(n);
                n += 1;
                sides[side] = places[side].connect().await;
            }
            Err(error) => {
                let fenced = error.server_code() == Some(FENCED);
                if !fenced && error.kind() != ErrorKind::Retry {
                    return Err(error);
                }
                if sides[side].execute("ROLLBACK").await.is_err() {
                    sides[side] = places[side].connect().await;
                }
                if fenced {
                    side = 1 - side;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
        }
    }
    Ok(result)
}

async fn transfer(control: &mut Control, client: u64, n: u64, random: &mut Random) -> Result<()> {
    let (from, to, amount) =
        (1 + random.below(ACCOUNTS), 1 + random.below(ACCOUNTS), random.below(10));
    control.execute("BEGIN").await?;
    if n.is_multiple_of(3) {
        control.row(format!("SELECT balance FROM account WHERE id = {from} FOR UPDATE")).await?;
    }
    for sql in [
        format!("UPDATE account SET balance = balance - {amount} WHERE id = {from}"),
        format!("UPDATE account SET balance = balance + {amount} WHERE id = {to}"),
        format!("INSERT INTO ledger (client, n) VALUES ({client}, {n})"),
    ] {
        control.execute(sql).await?;
    }
    control.execute("COMMIT").await.map(drop)
}
