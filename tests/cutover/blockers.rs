//! What stands in the way of a switch is named, the switch is refused or taken back in time, and other clients are served as before.
//!
//! How long others waited meanwhile is printed; it decides nothing but with `SHUNT_SOAK=1`.

use std::time::{Duration, Instant};

use shunt_engine::failpoints::SWITCH_AFTER_RAISE;
use shunt_engine::mysql::control::Control;
use shunt_engine::runtime::tasks::{Task, spawn};

use super::bank::Bank;
use super::steps::settled;
use super::{moved, switch};
use crate::harness::binary::Binary;
use crate::harness::gate::Gate;
use crate::harness::pair::Pair;
use crate::harness::shell::Said;
use crate::harness::site::Site;
use crate::harness::soak::soak;

/// From the first hold to the end of taking back, with a margin for a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// What issue 4 allows other clients to wait while a switch is refused or taken back.
const P99_MAX: Duration = Duration::from_millis(200);
/// An account that no client of the bank uses.
const SPARE: &str = "INSERT INTO account VALUES (1001, 0)";
const WRITES: &str = "UPDATE account SET balance = balance WHERE id = 1001";
/// How long others waited since the last time.
fn others(bank: &Bank, what: &str) {
    let (p99, count) = bank.p99();
    println!("{what}: p99 of {count} transfers of others: {p99:?}");
    assert!(!soak() || p99 <= P99_MAX, "{what}: p99 of others: {p99:?}");
}

/// The switch was given up for these reasons.
fn taken_back(bank: &Bank, what: &str, said: &Said, reasons: &[&str]) {
    assert_eq!(said.code, Some(1), "{what}: {}", said.text);
    assert!(said.text.contains("was taken back"), "{what}: {}", said.text);
    for reason in reasons {
        assert!(said.text.contains(reason), "{what}: no {reason:?}: {}", said.text);
    }
    others(bank, what);
}

/// Sessions that were there first keep the fence from being put up at all.
#[tokio::test(flavor = "multi_thread")]
async fn who_keeps_the_fence_from_the_tables_is_named() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    site.on_source().await.execute(SPARE).await.unwrap();
    let bank = Bank::open(&site, 2).await;
    for (what, blocks) in [
        ("an idle transaction that has written", WRITES),
        ("a pool that only reads, without autocommit", "SELECT * FROM account"),
        ("a table lock", "LOCK TABLES ledger READ"),
    ] {
        let mut blocker = site.on_source().await;
        blocker.execute("SET SESSION autocommit = 0").await.unwrap();
        blocker.execute(blocks).await.unwrap();
        bank.p99();
        let started = Instant::now();
        let words = format!("{} --timeout 2s --max-pause 1s", switch(&site, "switchtraffic"));
        let said = site.run(Binary::Plain, None, &words).await;
        assert!(started.elapsed() < PATIENCE, "{what}: {}", said.text);
        let named = format!("connection {} of ", blocker.id());
        taken_back(&bank, what, &said, &[&named, "in use all the time"]);
        blocker.execute("UNLOCK TABLES").await.unwrap();
        blocker.execute("ROLLBACK").await.unwrap();
        bank.serves_within(Duration::from_secs(10), what).await;
    }
    let json = format!("{} --format json", switch(&site, "switchtraffic"));
    let said = site.run(Binary::Plain, None, &json).await;
    assert_eq!(said.code, Some(0), "{}", said.text);
    assert!(said.text.contains("\"outcome\": \"switched\""), "{}", said.text);
    bank.until_more(20).await;
    bank.close(&site, 1).await;
    serving.stop().await;
}

/// A statement that runs until it is over or its connection ends.
fn running(mut control: Control, sql: &'static str) -> Task<()> {
    spawn("blocker", async move { control.rows(sql).await.map(drop) })
}

/// A switch that comes to a step, where the blocker comes into its way.
async fn switch_past<T>(
    site: &Site,
    gate: &Gate,
    at: &str,
    block: impl AsyncFn() -> T,
) -> (Said, T) {
    gate.shut(at);
    let words = format!("{} --timeout 10s --max-pause 3s", switch(site, "switchtraffic"));
    let mut command = loop {
        let mut command = site.start(Binary::Plain, None, &words);
        if gate.until_at(at, &mut command).await {
            break command;
        }
        // A `serve` may be about to settle the one before.
        let log = command.log();
        let again = ["another command is at work", "was taken back", "is further behind than"];
        assert!(again.iter().any(|why| log.contains(why)), "{log}");
    };
    let blocker = block().await;
    gate.open(at);
    let (passed, status) = (Instant::now(), command.ended().await);
    println!("{at}: {status} {:?} later", passed.elapsed());
    (Said { code: status.code(), text: command.log() }, blocker)
}

/// Writers that come once the fence is on the tables are in the way of its raising, and are known exactly.
#[tokio::test(flavor = "multi_thread")]
async fn who_keeps_the_fence_from_being_raised_is_named() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    let gate = Gate::build(site.dir());
    let spare = "INSERT INTO account SELECT seq, 0 FROM seq_1001_to_1100";
    site.on_source().await.execute(spare).await.unwrap();
    let bank = Bank::open(&site, 2).await;

    let what = "an idle transaction that has written";
    bank.p99();
    let (said, mut blocker) = switch_past(&site, &gate, "before-pause", async || {
        let mut blocker = site.on_source().await;
        blocker.execute("BEGIN").await.unwrap();
        blocker.execute(WRITES).await.unwrap();
        blocker
    })
    .await;
    let named = format!("connection {} of ", blocker.id());
    let reasons = ["have written the tables do not end", &named];
    taken_back(&bank, what, &said, &reasons);
    let reason = said.text.split_once("Reason: ").unwrap().1;
    assert!(!reason.contains("candidate"), "{what}: {reason}");
    // Others write while it is still there; it was waited for in vain, and not harmed.
    bank.serves_within(Duration::from_secs(10), what).await;
    blocker.execute("COMMIT").await.unwrap();

    let what = "a long transaction that has written";
    bank.p99();
    let (said, (id, long)) = switch_past(&site, &gate, "before-pause", async || {
        let mut blocker = site.on_source().await;
        blocker.execute("BEGIN").await.unwrap();
        blocker.execute(WRITES).await.unwrap();
        (blocker.id(), running(blocker, "SELECT SLEEP(8)"))
    })
    .await;
    let named = format!("connection {id} of ");
    let reasons = ["have written the tables do not end", &named];
    taken_back(&bank, what, &said, &reasons);
    bank.serves_within(Duration::from_secs(10), what).await;
    long.join().await.unwrap();

    lagging_targets_are_not_waited_for(&site, &gate, &bank).await;
    readers_are_in_nobodys_way(&site, &gate, &bank).await;
    bank.close(&site, 1).await;
    serving.stop().await;
}

/// Pools that only read do not hold up a switch that has its fence on the tables.
async fn readers_are_in_nobodys_way(site: &Site, gate: &Gate, bank: &Bank) {
    let what = "readers without autocommit";
    bank.p99();
    let (said, readers) = switch_past(site, gate, "before-pause", async || {
        let mut pool = Vec::new();
        for _ in 0..4 {
            for mut reader in super::both(site).await {
                reader.execute("SET SESSION autocommit = 0").await.unwrap();
                reader.rows("SELECT * FROM account, ledger LIMIT 1").await.unwrap();
                pool.push(reader);
            }
        }
        pool
    })
    .await;
    assert_eq!(said.code, Some(0), "{what}: {}", said.text);
    others(bank, what);
    bank.until_more(20).await;
    drop(readers);
}

/// A stream that cannot apply, because somebody on the target is in its way.
async fn lagging_targets_are_not_waited_for(site: &Site, gate: &Gate, bank: &Bank) {
    let lock = async || {
        let mut blocker = site.on_target().await;
        blocker.execute("BEGIN").await.unwrap();
        blocker.rows("SELECT * FROM account WHERE id > 1000 FOR UPDATE").await.unwrap();
        // There is something to be applied there; money comes to one half of these accounts from the other.
        let write = "UPDATE account SET balance = balance + IF(id % 2, 1, -1) WHERE id > 1000";
        site.on_source().await.execute(write).await.unwrap();
        blocker
    };
    let what = "a target that is behind";
    let mut blocker = lock().await;
    bank.p99();
    let words = format!("{} --timeout 2s --tablet-types primary", switch(site, "switchtraffic"));
    let said = site.run(Binary::Plain, None, &words).await;
    // Rows that the stream has begun to write behind the fence hold the switch's row too, so that it may not even be begun.
    let reasons = ["the stream is behind by more than 1s", "begin the switch: "];
    assert!(reasons.iter().any(|reason| said.text.contains(reason)), "{what}: {}", said.text);
    assert!(matches!(said.code, Some(1 | 4)), "{what}: {}", said.text);
    others(bank, what);
    bank.serves_within(Duration::from_secs(10), what).await;
    blocker.execute("ROLLBACK").await.unwrap();
    assert_eq!(settled(site, what).await, 0);

    let what = "a target that falls behind in the pause";
    bank.p99();
    let (said, mut blocker) = switch_past(site, gate, "before-pause", lock).await;
    let reason = "the stream did not apply the last position in time";
    assert!(said.text.contains(reason), "{what}: {}", said.text);
    // The source serves. What the stream has begun on the target may be there still, and be ended by a `serve` only.
    assert!(matches!(said.code, Some(1 | 4)), "{what}: {}", said.text);
    others(bank, what);
    bank.serves_within(Duration::from_secs(10), what).await;
    assert_eq!(settled(site, what).await, 0);
    blocker.execute("ROLLBACK").await.unwrap();
}

/// No lag at all is what can be told from none; the wait for it ends in time, or when it is told to.
#[tokio::test(flavor = "multi_thread")]
async fn no_lag_is_allowed_and_waited_for_no_longer_than_told() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    let bank = Bank::open(&site, 2).await;
    let words = format!(
        "{} --max-replication-lag-allowed 0s --tablet-types primary",
        switch(&site, "switchtraffic")
    );
    let stopped = "LOCK TABLES account WRITE";
    let mut blocker = site.on_target().await;
    blocker.execute(stopped).await.unwrap();
    bank.until_more(2).await;
    let started = Instant::now();
    let said = site.run(Binary::Plain, None, &format!("{words} --timeout 2s")).await;
    assert_eq!(said.code, Some(1), "{}", said.text);
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
    blocker.execute("UNLOCK TABLES").await.unwrap();
    settled(&site, "taken back").await;
    bank.close(&site, 0).await;
    site.must_at_last(&words).await;
    serving.stop().await;
}

/// Whoever reads the tables on the source keeps the fence there from being taken off. What a second cancel goes by stays until it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_that_cannot_take_the_fence_off_is_given_again() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    serving.stop().await;
    let words = format!("{} --force --tablet-types primary", switch(&site, "switchtraffic"));
    let died = format!("{SWITCH_AFTER_RAISE}:exit");
    let said = site.run(Binary::Failpoints, Some(&died), &words).await;
    assert_eq!(said.code, Some(86), "{}", said.text);
    let mut reader = site.on_source().await;
    reader.execute("BEGIN").await.unwrap();
    reader.execute("SELECT * FROM account").await.unwrap();
    let started = Instant::now();
    let said = loop {
        let said = site.run(Binary::Plain, None, "movetables cancel customer.move").await;
        if !said.text.contains("another command is at work") {
            break said;
        }
        assert!(started.elapsed() < PATIENCE, "{}", said.text);
    };
    assert_eq!(said.code, Some(1), "{}", said.text);
    let mut source = site.on_source().await;
    assert_ne!(source.rows("SHOW TRIGGERS").await.unwrap(), []);
    reader.execute("ROLLBACK").await.unwrap();
    site.must_at_last("movetables cancel customer.move").await;
    assert_eq!(source.rows("SHOW TRIGGERS").await.unwrap(), []);
    for table in ["fence", "switch", "workflow"] {
        let rows = source.rows(format!("SELECT * FROM _shunt.{table}")).await.unwrap();
        assert_eq!(rows, [], "{table}");
    }
    source.execute(WRITES).await.unwrap();
}
