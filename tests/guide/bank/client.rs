//! One client of the bank: an application's driver that knows nothing of shunt.
//!
//! Clients lock accounts in the order of their ids, so that they never deadlock among themselves and every error would be ours.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, Params};
use shunt_engine::{Error, Result};

use super::books::ACCOUNTS;
use crate::harness::load::Random;
use crate::harness::site::LOOK;

/// The fence's error.
const FENCED: u16 = 1644;
/// What clients of a gateway that was stopped may see, and nobody else: a connection that is lost, a lock that was waited for in vain, a
/// transaction that was begun before the switch.
const OF_THE_STOPPED: [u16; 6] = [1205, 1213, FENCED, 2003, 2006, 2013];

/// How a client comes to the tables.
#[derive(Clone, Debug)]
pub(super) enum Way {
    /// Through a gateway.
    Gateway {
        port: u16,
        keyspace: &'static str,
        /// A transaction whose tables were moved is begun anew.
        restarts: bool,
        /// It is stopped, or was a moment ago.
        stopped: Arc<AtomicBool>,
    },
    /// To the servers, the source first; to the other one when it meets the fence.
    Direct([u16; 2]),
}

/// What is known of a client while it works.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Transfers that were acknowledged.
    pub(super) done: AtomicU64,
    /// Transactions that were refused because they reach a second server.
    pub(super) refused: AtomicU64,
    /// Transactions that met the fence.
    pub(super) fenced: AtomicU64,
}

/// What a client has been told.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) acknowledged: Vec<u64>,
    /// Nobody told it what became of these.
    pub(super) doubtful: Vec<u64>,
    /// When each was acknowledged.
    pub(super) at: Vec<Instant>,
    /// The errors of the stopped gateway.
    pub(super) errors: Vec<String>,
}

/// What became of a transfer.
enum Became {
    Acknowledged,
    /// It is not there.
    Refused,
    Doubtful(String),
}

/// A client at work.
pub(super) struct Client {
    number: u64,
    way: Way,
    /// Each of its transactions is about a table too that is not moved.
    spans: bool,
    conn: Conn,
    /// Which server a direct one is at.
    side: usize,
    /// Its statements are prepared.
    prepared: bool,
    /// Its last transfer's id in the ledger.
    last_id: u64,
    random: Random,
}

async fn connect(way: &Way, side: usize) -> mysql_async::Result<Conn> {
    let (port, database) = match way {
        Way::Gateway { port, keyspace, .. } => (*port, *keyspace),
        Way::Direct(ports) => (ports[side], ["commerce", "customer"][side]),
    };
    let options = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(port)
        .user(Some("app"))
        .pass(Some("secret"))
        .db_name(Some(database))
        .prefer_socket(false);
    Conn::new(options).await
}

/// Until the gateway is there again.
async fn connect_again(way: &Way, stopped: &AtomicBool) -> Option<Conn> {
    loop {
        match connect(way, 0).await {
            Ok(conn) => return Some(conn),
            Err(_) if stopped.load(Ordering::Relaxed) => tokio::time::sleep(LOOK).await,
            Err(_) => return None,
        }
    }
}

impl Client {
    pub(super) async fn connect(number: u64, way: Way, spans: bool) -> mysql_async::Result<Self> {
        let conn = connect(&way, 0).await?;
        let random = Random(number * 7919 + 23);
        let prepared = number % 4 < 2;
        Ok(Self { number, way, spans, conn, side: 0, prepared, last_id: 0, random })
    }

    /// Runs a statement with numbers in it, in this client's way.
    async fn run(&mut self, sql: &str, numbers: &[u64]) -> mysql_async::Result<Option<i64>> {
        // A gateway takes these prepared too; MySQL 5.6 itself does not.
        let plain = matches!(self.way, Way::Direct(_)) && ["BEGIN", "COMMIT"].contains(&sql);
        if self.prepared && !plain {
            // Signed, since a balance may be less than nothing.
            let numbers = numbers.iter().map(|n| i64::try_from(*n).unwrap().into()).collect();
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
        let audit = "INSERT INTO commerce.audit (client, n) VALUES (?, ?)";
        let at_once = n % 5 == 4 && !self.spans;
        if !at_once {
            // MySQL 5.6 prepares no BEGIN.
            self.conn.query_drop("BEGIN").await?;
            if self.spans && n.is_multiple_of(2) {
                self.run(audit, &[client, n]).await?;
            }
            if n.is_multiple_of(3) && !matches!(self.way, Way::Direct(_)) {
                let lock = "SELECT balance FROM account WHERE id IN (?, ?) FOR UPDATE";
                self.run(lock, &[one, two]).await?;
            }
            let mut signs = ["-", "+"];
            signs.rotate_left(usize::try_from(n % 2).unwrap());
            for (sign, account) in signs.into_iter().zip([one, two]) {
                let sql = format!("UPDATE account SET balance = balance {sign} ? WHERE id = ?");
                self.run(&sql, &[amount, account]).await?;
            }
        }
        // By itself it is one statement that commits.
        self.run(note, &[client, n]).await?;
        let id = self.conn.last_insert_id().unwrap_or(0);
        assert!(id > self.last_id, "client {client}: id {id} after {}", self.last_id);
        self.last_id = id;
        if self.spans && !n.is_multiple_of(2) {
            self.run(audit, &[client, n]).await?;
        }
        if !at_once {
            self.run("COMMIT", &[]).await?;
        }
        Ok(())
    }

    /// What an acknowledged transfer has written is there, wherever the client is led by now.
    async fn reads_its_own(&mut self, n: u64) -> mysql_async::Result<()> {
        let (id, client) = (self.last_id, self.number);
        let read = "SELECT n FROM ledger WHERE id = ?";
        let there = self.run(read, &[id]).await?.and_then(|n| u64::try_from(n).ok());
        assert_eq!(there, Some(n), "client {client} reads its own write");
        Ok(())
    }

    /// The documented error of a transaction over two servers, in the order in which this one came to them.
    fn over_two_servers(n: u64) -> String {
        let order = if n.is_multiple_of(2) { "commerce, customer" } else { "customer, commerce" };
        format!("shunt: statement or transaction spans keyspaces on different servers ({order})")
    }

    /// What an error of the `n`th transfer means, if this client may see it at all.
    async fn judge(&mut self, n: u64, error: mysql_async::Error) -> Option<Became> {
        let (code, state, text) = match &error {
            mysql_async::Error::Server(error) => {
                (error.code, error.state.as_str(), error.message.as_str())
            }
            _ => (2013, "HY000", ""),
        };
        match &self.way {
            Way::Direct(_) if code == FENCED && text.starts_with("shunt fence g=") => {
                self.conn.query_drop("ROLLBACK").await.ok()?;
                self.side = 1 - self.side;
                self.conn = connect(&self.way, self.side).await.ok()?;
                Some(Became::Refused)
            }
            Way::Gateway { .. }
                if self.spans
                    && (code, state) == (1235, "42000")
                    && text == Self::over_two_servers(n) =>
            {
                self.conn.query_drop("ROLLBACK").await.ok()?;
                Some(Became::Refused)
            }
            Way::Gateway { restarts: true, .. } if code == 1213 && text.starts_with("shunt: ") => {
                self.conn.query_drop("ROLLBACK").await.ok()?;
                Some(Became::Refused)
            }
            Way::Gateway { stopped, .. }
                if stopped.load(Ordering::Relaxed) && OF_THE_STOPPED.contains(&code) =>
            {
                if code == 2013 || self.conn.query_drop("ROLLBACK").await.is_err() {
                    self.conn = connect_again(&self.way, stopped).await?;
                }
                Some(Became::Doubtful(error.to_string()))
            }
            _ => None,
        }
    }

    async fn attempt(&mut self, n: u64) -> mysql_async::Result<Became> {
        let done = self.transfer(n).await;
        let acknowledged = done.is_ok();
        let done = match done {
            Ok(()) => self.reads_its_own(n).await,
            failed => failed,
        };
        let Err(error) = done else { return Ok(Became::Acknowledged) };
        let text = error.to_string();
        match self.judge(n, error).await {
            // The transfer is there; only the look at it failed.
            Some(_) if acknowledged => Ok(Became::Acknowledged),
            Some(became) => Ok(became),
            None => Err(mysql_async::Error::Other(text.into())),
        }
    }

    /// Works until it is told to stop. An error that it must not see ends it.
    pub(super) async fn work(mut self, stop: Arc<AtomicBool>, counts: Arc<Counts>) -> Result<Told> {
        let mut told = Told::default();
        let mut n = 0;
        while !stop.load(Ordering::Relaxed) {
            let doing =
                format!("client {} (prepared: {}), transfer {n}", self.number, self.prepared);
            let became = self.attempt(n).await;
            match became.map_err(|error| Error::stop(format!("{doing}: {error}")))? {
                Became::Acknowledged => {
                    told.acknowledged.push(n);
                    told.at.push(Instant::now());
                    counts.done.fetch_add(1, Ordering::Relaxed);
                }
                Became::Refused if self.spans || matches!(self.way, Way::Gateway { .. }) => {
                    counts.refused.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(LOOK).await;
                }
                Became::Refused => {
                    counts.fenced.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                Became::Doubtful(why) => {
                    told.doubtful.push(n);
                    told.errors.push(why);
                }
            }
            n += 1;
        }
        Ok(told)
    }
}
