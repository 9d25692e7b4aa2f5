//! A bank behind two gateways. Its clients are an application: a driver that knows nothing of shunt, text and prepared
//! statements, the old keyspace and the new one; some come to the servers directly, and two have transactions that are about a
//! table too that stays. While they move money the tables are switched, reversed and switched again; a gateway is stopped just
//! after it has confirmed a switch, and another time at any moment.
//!
//! No client of a gateway sees an error (of the stopped one: what a stopped server gives), direct ones only the fence's, those over two
//! servers exactly the documented one. Each reads its own writes, ids only grow, the sum stays, what was acknowledged is there once. That
//! no client wrote on a closed side is read from both binlogs.
//!
//! How long a client waits at a switch is printed; it decides nothing but with `SHUNT_SOAK=1`, which also switches more often.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use shunt_engine::failpoints::GATEWAY_AFTER_CONFIRM;
use shunt_engine::mysql::control::Control;
use shunt_engine::runtime::tasks::{Task, spawn};

use self::books::{Gaps, check_sum, median};
use self::client::{Client, Counts, Told, Way};
use crate::harness::binary::Binary;
use crate::harness::binlog::Closable;
use crate::harness::gate::Gate;
use crate::harness::load::Random;
use crate::harness::pair::{PATIENCE, mysql56};
use crate::harness::routed::{Routed, ask, once};
use crate::harness::shell::{Serving, Shell};
use crate::harness::site::LOOK;
use crate::harness::soak::{scaled, soak};

/// Tables and what must be in them.
mod books;
/// One client.
mod client;
/// Who is left alive settles a switch.
mod survivors;

const WORKFLOW: &str = "customer.move";
const TABLES: [&str; 2] = ["account", "ledger"];
/// The clients, numbered in this order.
#[derive(Clone, Copy, Debug)]
struct Crew {
    /// Of the two gateways.
    routed: u64,
    /// Of the servers.
    direct: u64,
    /// Whose transactions are about two servers while the tables are away.
    spanning: u64,
    /// They begin a transaction anew that a gateway gave up because its tables were moved.
    restarts: bool,
}

const CREW: Crew = Crew { routed: 16, direct: 4, spanning: 2, restarts: false };

/// What issue 4 allows a client to wait at a switch, longer than without one.
const MEDIAN_MAX: Duration = Duration::from_millis(150);
const WORST_MAX: Duration = Duration::from_millis(500);

/// How many times the traffic is switched: ten times undisturbed in the long version.
fn switches() -> usize {
    scaled(3, 13)
}

/// All clients.
struct Bank {
    crew: Crew,
    stop: Arc<AtomicBool>,
    /// The second gateway is stopped, or was a moment ago.
    stopped: Arc<AtomicBool>,
    clients: Vec<(Arc<Counts>, Task<Told>)>,
}

impl Bank {
    async fn open(crew: Crew, gateways: [u16; 2], servers: [u16; 2]) -> Self {
        let (stop, stopped) = (Arc::default(), Arc::default());
        let mut bank = Self { crew, stop, stopped, clients: Vec::new() };
        let first_spanning = crew.routed + crew.direct;
        for number in 0..first_spanning + crew.spanning {
            let direct = (crew.routed..first_spanning).contains(&number);
            let spans = number >= first_spanning;
            let second = !number.is_multiple_of(2);
            let way = if direct {
                Way::Direct(servers)
            } else {
                Way::Gateway {
                    port: gateways[usize::from(second)],
                    keyspace: if number % 8 < 2 { "customer" } else { "commerce" },
                    restarts: crew.restarts,
                    stopped: if second { bank.stopped.clone() } else { Arc::default() },
                }
            };
            let client = Client::connect(number, way, spans).await.unwrap();
            let counts = Arc::new(Counts::default());
            let work = client.work(bank.stop.clone(), counts.clone());
            bank.clients.push((counts, spawn("client", work)));
        }
        bank.goes_on(false).await;
        bank
    }

    fn counted(&self, of: impl Fn(&Counts) -> u64) -> Vec<u64> {
        self.clients.iter().map(|(counts, _)| of(counts)).collect()
    }

    /// Waits until each client has got on: those over two servers to an error, while that is what they are. An error that a
    /// client must not see ends it, and the test here.
    async fn goes_on(&mut self, spanning: bool) {
        let first = usize::try_from(self.crew.routed + self.crew.direct).unwrap();
        let count = |bank: &Self| {
            let mut counted = bank.counted(|counts| counts.done.load(Ordering::Relaxed));
            if spanning {
                let refused = bank.counted(|counts| counts.refused.load(Ordering::Relaxed));
                counted.splice(first.., refused[first..].iter().copied());
            }
            counted
        };
        self.until_more(count, PATIENCE, "the bank does not get on").await;
    }

    /// Waits until each client has got on, those of the second gateway left out if it is dead.
    async fn serves_within(&mut self, limit: Duration, second_is_dead: bool, what: &str) {
        let routed = usize::try_from(self.crew.routed).unwrap();
        let count = |bank: &Self| {
            let counted = bank.counted(|counts| counts.done.load(Ordering::Relaxed));
            let of_the_dead = |at: usize| second_is_dead && at < routed && !at.is_multiple_of(2);
            let lives = counted.into_iter().enumerate().filter(|(at, _)| !of_the_dead(*at));
            lives.map(|(_, count)| count).collect()
        };
        self.until_more(count, limit, what).await;
    }

    async fn until_more(&mut self, count: impl Fn(&Self) -> Vec<u64>, limit: Duration, what: &str) {
        let (before, started) = (count(self), Instant::now());
        while count(self).iter().zip(&before).any(|(now, before)| *now < before + 3) {
            if let Some(ended) = self.clients.iter().position(|(_, task)| task.is_finished()) {
                let why = self.clients.remove(ended).1.join().await.map(drop);
                panic!("{what}: a client saw an error: {why:?}");
            }
            let now = count(self);
            assert!(started.elapsed() < limit, "{what}: {before:?} {now:?} after {limit:?}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What clients over two servers have had: (acknowledged, refused).
    fn spanning(&self) -> [Vec<u64>; 2] {
        let first = usize::try_from(self.crew.routed + self.crew.direct).unwrap();
        let last = |all: Vec<u64>| all[first..].to_vec();
        let done = self.counted(|counts| counts.done.load(Ordering::Relaxed));
        [last(done), last(self.counted(|counts| counts.refused.load(Ordering::Relaxed)))]
    }

    /// Closes it and checks the books; what each client was told.
    async fn close(self, book: &mut Control, unmoved: &mut Control) -> Vec<Told> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for (number, (counts, client)) in self.clients.into_iter().enumerate() {
            let client = client.join().await.unwrap();
            books::check_ledger(book, number, &client).await;
            let (at, crew) = (u64::try_from(number).unwrap(), self.crew);
            if at >= crew.routed + crew.direct {
                books::check_whole(book, unmoved, number).await;
            } else if at >= crew.routed {
                assert!(counts.fenced.load(Ordering::Relaxed) > 0, "client {number} met no fence");
            }
            if !client.errors.is_empty() {
                println!("client {number} of the stopped gateway: {:?}", client.errors);
            }
            all.push(client);
        }
        check_sum(book).await;
        all
    }
}

/// Readers that stay open: an idle one and one that takes its time, on each side.
struct Readers {
    idle: Vec<Control>,
    long: Vec<Task<()>>,
}

impl Readers {
    async fn open(routed: &Routed) -> Self {
        let mut readers = Self { idle: Vec::new(), long: Vec::new() };
        for mut control in [routed.on_commerce().await, routed.on_customer().await] {
            control.execute("BEGIN").await.unwrap();
            control.rows("SELECT * FROM account").await.unwrap();
            readers.idle.push(control);
        }
        for mut control in [routed.on_commerce().await, routed.on_customer().await] {
            let work = async move { control.rows("SELECT SLEEP(0.02) FROM account").await };
            readers.long.push(spawn("reader", async move { work.await.map(drop) }));
        }
        readers
    }

    async fn close(self) {
        for reader in self.long {
            reader.join().await.unwrap();
        }
        drop(self.idle);
    }
}

/// What is done to the second gateway while the traffic is switched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disturbance {
    /// It stops itself just after it has confirmed that it holds.
    AfterConfirm,
    /// It is stopped this long after the command was given.
    After(Duration),
    /// Nothing; readers are open on both sides instead.
    Readers,
    /// Nothing at all.
    None,
}

fn disturbance(at: usize) -> Disturbance {
    match at {
        0 => Disturbance::AfterConfirm,
        2 => {
            let seed = std::process::id();
            println!("a random moment by {seed}");
            Disturbance::After(Duration::from_millis(Random(seed.into()).below(800)))
        }
        _ => Disturbance::Readers,
    }
}

/// The place of the test.
struct Scene<'a> {
    routed: &'a Routed,
    shell: &'a Shell,
    gate: Gate,
    gateway: Serving,
    stopped: Arc<AtomicBool>,
}

impl Scene<'_> {
    /// One command under one disturbance; whether the traffic was switched.
    async fn give(&mut self, verb: &str, disturbance: Disturbance) -> bool {
        // Transactions of the stopped gateway are in the way for as long as that lasts.
        let words = format!("movetables {verb} {WORKFLOW} --timeout 5s");
        let stops = matches!(disturbance, Disturbance::AfterConfirm | Disturbance::After(_));
        if stops {
            self.stopped.store(true, Ordering::Relaxed);
        } else if disturbance == Disturbance::Readers {
            self.gate.shut("before-pause");
        }
        let mut command = self.shell.start(Binary::Plain, None, &words);
        let readers = match disturbance {
            Disturbance::Readers => {
                let there = self.gate.until_at("before-pause", &mut command).await;
                let readers = if there { Some(Readers::open(self.routed).await) } else { None };
                self.gate.open("before-pause");
                readers
            }
            Disturbance::After(moment) => {
                tokio::time::sleep(moment).await;
                self.gateway.signal("-STOP");
                None
            }
            Disturbance::AfterConfirm | Disturbance::None => None,
        };
        let status = command.ended().await;
        println!("{verb}, {disturbance:?}: {status}: {}", command.log());
        let switched = status.code() == Some(0);
        if disturbance == Disturbance::AfterConfirm && switched {
            assert!(self.gateway.until_stopped().await, "{}", self.gateway.log());
        }
        if stops {
            self.gateway.signal("-CONT");
        }
        if let Some(readers) = readers {
            readers.close().await;
        }
        let log = command.log();
        // On a busy machine a switch may take longer than its pause; and one is right to be taken back for a gateway that is stopped.
        let again = ["was taken back for workflow", "is further behind than"];
        let again = again.iter().any(|why| log.contains(why));
        assert!(switched || again, "{status}: {log}");
        switched
    }
}

/// When the traffic was switched, and whether what clients waited then counts.
type Windows = Vec<(Instant, Instant, bool)>;

/// Switches once, again and again if need be.
async fn switch(scene: &mut Scene<'_>, at: usize, windows: &mut Windows) {
    let verb = if at.is_multiple_of(2) { "switchtraffic" } else { "reversetraffic" };
    let mut disturbance = disturbance(at);
    loop {
        let begun = Instant::now();
        let switched = scene.give(verb, disturbance).await;
        let counts = switched && disturbance == Disturbance::Readers;
        windows.push((begun, Instant::now(), counts));
        if switched {
            return;
        }
        if disturbance != Disturbance::Readers {
            disturbance = Disturbance::None;
        }
    }
}

/// How much longer than without a switch clients of gateways waited for their next commit: prints the median and the worst of
/// the switches, for each of which its worst client counts.
fn print_waits(told: &[Told], windows: &Windows) {
    let switches: Vec<_> = windows.iter().map(|(from, to, _)| (*from, *to)).collect();
    let clients = usize::try_from(CREW.routed).unwrap();
    let gaps: Vec<Gaps> = told[..clients].iter().map(|c| Gaps::new(&c.at, &switches)).collect();
    let mut worst = Vec::new();
    for (at, (_, _, counts)) in windows.iter().enumerate() {
        let longer: Vec<Duration> =
            gaps.iter().map(|gaps| gaps.switching[at].saturating_sub(gaps.quiet)).collect();
        let longest = gaps.iter().map(|gaps| gaps.switching[at]).max().unwrap();
        let most = longer.iter().max().copied().unwrap();
        let half = median(longer);
        println!(
            "switch {at}, counts: {counts}: longest gap {longest:?}; longer than without, per client: median {half:?}, worst {most:?}"
        );
        if *counts {
            worst.push(most);
        }
    }
    let quiet: Vec<Duration> = gaps.iter().map(|gaps| gaps.quiet).collect();
    let (half, most) = (median(worst.clone()), worst.into_iter().max().unwrap_or_default());
    println!("longest gap without a switch: median {:?}", median(quiet));
    println!("write pause per switch, its worst client: median {half:?}, worst {most:?}");
    if soak() {
        assert!(half <= MEDIAN_MAX && most <= WORST_MAX, "median {half:?}, worst {most:?}");
    }
}

/// What both binlogs say.
fn check_binlogs(routed: &Routed) {
    let source = Closable {
        server: routed.commerce().primary(),
        database: "commerce",
        tables: &TABLES,
        fence: "commerce.move_reverse",
        closed: false,
    };
    let target = Closable {
        server: routed.customer().primary(),
        database: "customer",
        tables: &TABLES,
        fence: WORKFLOW,
        closed: true,
    };
    let [source, target] = [source.written(), target.written()];
    println!("source: {source:?}; target: {target:?}");
    for written in [&source, &target] {
        assert!(written.by_clients > 0 && written.by_stream > 0, "{written:?}");
    }
    assert!(source.closings >= switches().div_ceil(2), "{source:?}");
    assert!(target.closings >= switches() / 2, "{target:?}");
}

/// At the target those over two servers are refused each time; at the source never.
async fn check_spanning(bank: &mut Bank, away: bool) {
    bank.goes_on(away).await;
    let before = bank.spanning();
    bank.goes_on(away).await;
    let after = bank.spanning();
    let still = if away { 0 } else { 1 };
    assert_eq!(before[still], after[still], "tables are away: {away}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_behind_two_gateways_is_switched_to_and_fro_while_it_is_open() {
    switched_to_and_fro(Routed::unmoved(0).await, switches()).await;
}

/// The binlog of MySQL is not read: it has the stream's rows and the clients' in another form.
#[tokio::test(flavor = "multi_thread")]
async fn a_bank_leaves_mysql_5_6_while_it_is_open() {
    switched_to_and_fro(Routed::unmoved_from(Some(mysql56()), 0).await, 1).await;
}

async fn switched_to_and_fro(routed: Routed, count: usize) {
    books::fill(&mut routed.on_commerce().await).await;
    let shell = routed.shell();
    let gate = Gate::build(routed.dir());
    let serving = shell.start(Binary::Plain, None, "serve");
    let words = "--config gateway.toml gateway";
    let stops = format!("{GATEWAY_AFTER_CONFIRM}:stop");
    let mut first = shell.start(Binary::Plain, None, words);
    let mut second = shell.start(Binary::Failpoints, Some(&stops), words);
    let ports = [first.gateway_port().await, second.gateway_port().await];
    let create =
        format!("movetables create {WORKFLOW} --source commerce --tables account,ledger --detach");
    shell.must(&create).await;
    for port in ports {
        // Clients of the new keyspace need the rules, which a gateway sees within a moment.
        let led = async || ask(port, "customer", "select count(*) from account").await;
        assert_eq!(once(|said| said == "100", led).await, "100");
    }
    let servers = [routed.commerce(), routed.customer()].map(|server| server.primary().port());
    let mut bank = Bank::open(CREW, ports, servers).await;
    shell.must(&format!("movetables wait {WORKFLOW} --for running --timeout 120s")).await;
    check_spanning(&mut bank, false).await;

    let (gateway, stopped) = (second, bank.stopped.clone());
    let mut scene = Scene { routed: &routed, shell: &shell, gate, gateway, stopped };
    let mut windows = Vec::new();
    for at in 0..count {
        switch(&mut scene, at, &mut windows).await;
        check_spanning(&mut bank, at.is_multiple_of(2)).await;
        bank.stopped.store(false, Ordering::Relaxed);
    }
    let [mut source, mut target] = [routed.on_commerce().await, routed.on_customer().await];
    let told = bank.close(&mut target, &mut source).await;
    let stream = "commerce.move_reverse";
    shell.must(&format!("movetables wait {stream} --for caught-up --timeout 60s")).await;
    for query in ["SELECT * FROM account ORDER BY id", "SELECT * FROM ledger ORDER BY id"] {
        assert_eq!(target.rows(query).await.unwrap(), source.rows(query).await.unwrap(), "{query}");
    }
    assert_eq!(
        shell.must(&format!("movetables leaks {WORKFLOW}")).await,
        "No leaks found
"
    );
    if count == switches() {
        check_binlogs(&routed);
    }
    print_waits(&told, &windows);
    let Scene { gateway, .. } = scene;
    for process in [first, gateway, serving] {
        process.stop().await;
    }
}
