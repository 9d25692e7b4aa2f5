//! A bank behind two gateways. Its clients are an application: a driver that knows nothing of shunt, text and prepared
//! statements, the old keyspace and the new one. While they move money the tables are switched, reversed and switched again.
//! No client sees an error, each reads its own writes, ids only grow, the sum stays, and what was acknowledged is there.
//!
//! Clients lock accounts in the order of their ids, so that they never deadlock among themselves and every error would be ours.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, Params};
use shunt_engine::mysql::control::Control;
use shunt_engine::runtime::tasks::{Task, spawn};
use shunt_engine::{Error, Result};

use crate::harness::binary::Binary;
use crate::harness::load::Random;
use crate::harness::pair::{PATIENCE, mysql56};
use crate::harness::routed::{Routed, ask, once};
use crate::harness::site::LOOK;

const WORKFLOW: &str = "customer.move";
const ACCOUNTS: u64 = 100;
const BALANCE: u64 = 1000;
const CLIENTS: u64 = 8;

/// How many times the traffic is switched.
fn switches() -> u32 {
    if std::env::var_os("SHUNT_SOAK").is_some_and(|value| value == "1") { 10 } else { 3 }
}

/// What a client has been told.
#[derive(Default)]
struct Told {
    acknowledged: Vec<u64>,
    /// The longest time between two of them.
    longest: Duration,
}

/// A client at work.
struct Client {
    number: u64,
    conn: Conn,
    /// Its statements are prepared.
    prepared: bool,
    /// Its last transfer's id in the ledger.
    last_id: u64,
    random: Random,
}

impl Client {
    async fn connect(port: u16, number: u64) -> mysql_async::Result<Self> {
        let keyspace = if number.is_multiple_of(4) { "customer" } else { "commerce" };
        let options = OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(port)
            .user(Some("app"))
            .pass(Some("secret"))
            .db_name(Some(keyspace))
            .prefer_socket(false);
        let conn = Conn::new(options).await?;
        let random = Random(number * 7919 + 23);
        Ok(Self { number, conn, prepared: number % 4 < 2, last_id: 0, random })
    }

    /// Runs a statement with numbers in it, in this client's way.
    async fn run(&mut self, sql: &str, numbers: &[u64]) -> mysql_async::Result<Option<u64>> {
        if self.prepared {
            let numbers = numbers.iter().map(|n| (*n).into()).collect();
            let parameters =
                if sql.contains('?') { Params::Positional(numbers) } else { Params::Empty };
            return self.conn.exec_first(sql, parameters).await;
        }
        let mut text = sql.to_owned();
        for number in numbers {
            text = text.replacen('?', &number.to_string(), 1);
        }
        self.conn.query_first(text).await
    }

    /// The `n`th transfer: it is noted in the ledger in the same transaction.
    async fn transfer(&mut self, n: u64) -> mysql_async::Result<()> {
        let one = 1 + self.random.below(ACCOUNTS - 1);
        let two = one + 1 + self.random.below(ACCOUNTS - one);
        let (amount, client) = (self.random.below(10), self.number);
        let note = "INSERT INTO ledger (client, n) VALUES (?, ?)";
        if n % 5 == 4 {
            // One statement that commits by itself.
            self.run(note, &[client, n]).await?;
        } else {
            self.run("BEGIN", &[]).await?;
            if n.is_multiple_of(3) {
                let lock = "SELECT balance FROM account WHERE id IN (?, ?) FOR UPDATE";
                self.run(lock, &[one, two]).await?;
            }
            let subtract = "UPDATE account SET balance = balance - ? WHERE id = ?";
            self.run(subtract, &[amount, one]).await?;
            let add = "UPDATE account SET balance = balance + ? WHERE id = ?";
            self.run(add, &[amount, two]).await?;
            self.run(note, &[client, n]).await?;
        }
        let id = self.conn.last_insert_id().unwrap_or(0);
        assert!(id > self.last_id, "client {client}: id {id} after {}", self.last_id);
        self.last_id = id;
        if n % 5 != 4 {
            self.run("COMMIT", &[]).await?;
        }
        let read = "SELECT n FROM ledger WHERE id = ?";
        assert_eq!(self.run(read, &[id]).await?, Some(n), "client {client} reads its own write");
        Ok(())
    }

    async fn work(mut self, stop: Arc<AtomicBool>, done: Arc<AtomicU64>) -> Result<Told> {
        let mut told = Told::default();
        let mut last = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let n = u64::try_from(told.acknowledged.len()).unwrap();
            let doing =
                format!("client {} (prepared: {}), transfer {n}", self.number, self.prepared);
            let done_so = self.transfer(n).await;
            done_so.map_err(|error| Error::stop(format!("{doing}: {error}")))?;
            told.acknowledged.push(n);
            told.longest = told.longest.max(last.elapsed());
            last = Instant::now();
            done.fetch_add(1, Ordering::Relaxed);
        }
        Ok(told)
    }
}

/// All clients.
struct Bank {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    clients: Vec<Task<Told>>,
}

impl Bank {
    async fn open(gateways: &[u16]) -> Self {
        let mut bank = Self { stop: Arc::default(), done: Arc::default(), clients: Vec::new() };
        for (number, port) in (0..CLIENTS).zip(gateways.iter().cycle()) {
            let client = Client::connect(*port, number).await.unwrap();
            let work = client.work(bank.stop.clone(), bank.done.clone());
            bank.clients.push(spawn("client", work));
        }
        bank.goes_on().await;
        bank
    }

    /// Waits until more was acknowledged. An error ends its client, and the test here.
    async fn goes_on(&mut self) {
        let (before, started) = (self.done.load(Ordering::Relaxed), Instant::now());
        while self.done.load(Ordering::Relaxed) < before + 100 {
            if let Some(ended) = self.clients.iter().position(Task::is_finished) {
                let why = self.clients.remove(ended).join().await.map(drop);
                panic!("a client saw an error: {why:?}");
            }
            assert!(started.elapsed() < PATIENCE, "the bank does not get on");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Closes it and checks the books.
    async fn close(self, book: &mut Control) {
        self.stop.store(true, Ordering::Relaxed);
        let (mut all, mut longest) = (0, Duration::ZERO);
        for (number, client) in self.clients.into_iter().enumerate() {
            let told = client.join().await.unwrap();
            let query = format!("SELECT n FROM ledger WHERE client = {number} ORDER BY n");
            let rows = book.rows(query).await.unwrap();
            let noted: Vec<u64> = rows.iter().map(|row| row.number(0).unwrap()).collect();
            assert_eq!(noted, told.acknowledged, "the transfers of client {number}");
            all += noted.len();
            longest = longest.max(told.longest);
        }
        println!("{all} transfers, the longest gap {longest:?}");
        check_sum(book).await;
    }
}

/// No money came or went.
async fn check_sum(book: &mut Control) {
    let sum = book.row("SELECT SUM(balance) FROM account").await.unwrap().unwrap();
    assert_eq!(sum.number::<u64>(0).unwrap(), ACCOUNTS * BALANCE);
}

async fn fill(source: &mut Control) {
    let accounts: Vec<String> = (1..=ACCOUNTS).map(|id| format!("({id}, {BALANCE})")).collect();
    for sql in [
        "CREATE TABLE account (id INT NOT NULL PRIMARY KEY, balance BIGINT NOT NULL)".to_owned(),
        "CREATE TABLE ledger (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, client INT NOT NULL, \
         n BIGINT NOT NULL, KEY (client, n))"
            .to_owned(),
        // No server but MariaDB has sequences of numbers.
        format!("INSERT INTO account VALUES {}", accounts.join(", ")),
    ] {
        source.execute(sql).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_two_gateways_see_no_error_while_the_tables_are_switched() {
    no_error_is_seen(Routed::unmoved(0).await, switches()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_see_no_error_while_the_tables_leave_mysql_5_6() {
    no_error_is_seen(Routed::unmoved_from(Some(mysql56()), 0).await, 1).await;
}

/// Switches the tables so many times while clients are at work behind two gateways.
async fn no_error_is_seen(routed: Routed, count: u32) {
    fill(&mut routed.on_commerce().await).await;
    let shell = routed.shell();
    let serving = shell.start(Binary::Plain, None, "serve");
    let gateway = || shell.start(Binary::Plain, None, "--config gateway.toml gateway");
    let mut gateways = [gateway(), gateway()];
    let [one, two] = &mut gateways;
    let ports = [one.gateway_port().await, two.gateway_port().await];

    let create =
        format!("movetables create {WORKFLOW} --source commerce --tables account,ledger --detach");
    shell.must(&create).await;
    for port in ports {
        // Clients of the new keyspace need the rules, which a gateway sees within a moment.
        let led = async || ask(port, "customer", "select count(*) from account").await;
        assert_eq!(once(|said| said == "100", led).await, "100");
    }
    let mut bank = Bank::open(&ports).await;
    shell.must(&format!("movetables wait {WORKFLOW} --for running --timeout 120s")).await;
    bank.goes_on().await;
    let mut source = routed.on_commerce().await;
    let mut target = routed.on_customer().await;
    for at in 0..count {
        let forward = at.is_multiple_of(2);
        let verb = if forward { "switchtraffic" } else { "reversetraffic" };
        let words = format!("movetables {verb} {WORKFLOW}");
        let logs = || gateways.iter().map(|gateway| gateway.log()).collect::<String>();
        let started = Instant::now();
        let said = loop {
            let said = shell.run(Binary::Plain, None, &words).await;
            // On a busy machine a switch may take longer than its pause: it is taken back, and clients see no error of it.
            let again = said.text.contains("was taken back") && started.elapsed() < PATIENCE;
            if said.code == Some(0) || !again {
                break said;
            }
        };
        assert_eq!(said.code, Some(0), "{at} {verb}: {} {}{}", said.text, serving.log(), logs());
        println!("{}", said.text);
        bank.goes_on().await;
        // Whoever is not in charge refuses the writes of clients that come around the gateways.
        let closed = if forward { &mut source } else { &mut target };
        let refused = closed.execute("UPDATE account SET balance = balance + 1").await.unwrap_err();
        assert_eq!(refused.server_code(), Some(1644), "{refused}");
    }
    let at_target = !count.is_multiple_of(2);
    let [book, back] =
        if at_target { [&mut target, &mut source] } else { [&mut source, &mut target] };
    bank.close(book).await;
    let stream = if at_target { "commerce.move_reverse" } else { WORKFLOW };
    shell.must(&format!("movetables wait {stream} --for caught-up --timeout 60s")).await;
    for query in ["SELECT * FROM account ORDER BY id", "SELECT * FROM ledger ORDER BY id"] {
        assert_eq!(book.rows(query).await.unwrap(), back.rows(query).await.unwrap(), "{query}");
    }
    for gateway in gateways {
        gateway.stop().await;
    }
    serving.stop().await;
}
