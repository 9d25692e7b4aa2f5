//! What a switch asks of registered gateways, with a gateway's part played by the test: it registers, watches, confirms.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use shunt_engine::error::Result;
use shunt_engine::routing::document;
use shunt_engine::runtime::tasks::{Task, spawn};
use shunt_engine::topology::gateways::{GatewayRegistry, LEASE_MAX};
use shunt_engine::topology::sqlite::SqliteStore;
use shunt_engine::topology::switches::{self, SwitchState};

use super::moved;
use crate::harness::binary::Binary;
use crate::harness::gate::Gate;
use crate::harness::pair::Pair;
use crate::harness::site::Site;
use crate::harness::until::until;

/// Holds until it is stopped; gives back, for each switch that it held, where the rules led at its end.
fn gateway(store: SqliteStore, stop: Arc<AtomicBool>) -> Task<Vec<(u64, String)>> {
    spawn("gateway", async move { watch(&store, &stop).await })
}

async fn watch(store: &SqliteStore, stop: &AtomicBool) -> Result<Vec<(u64, String)>> {
    let mut held = None;
    let mut ended = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        store.register_gateway("g", "127.0.0.1:1", LEASE_MAX).await?;
        let seen = switches::read(store).await?;
        let hold = seen.switches.iter().find(|switch| switch.state == SwitchState::Hold);
        match (held, hold) {
            (None, Some(switch)) => {
                held = Some(switch.generation);
                store.confirm_generation("g", switch.generation).await?;
            }
            (Some(generation), None) => {
                held = None;
                let (_, rules) = document::read(store).await?;
                let to = rules.lookup(None, "account", shunt_engine::routing::ServerType::Primary);
                ended.push((generation, to.map(|to| to.keyspace.clone()).unwrap_or_default()));
            }
            _ => {}
        }
        tokio::time::sleep(seen.poll()).await;
    }
    Ok(ended)
}

/// Is there, and never holds, until it is stopped.
fn deaf(store: SqliteStore, stop: Arc<AtomicBool>) -> Task<()> {
    spawn("deaf", async move {
        while !stop.load(Ordering::Relaxed) {
            store.register_gateway("deaf", "127.0.0.1:2", LEASE_MAX).await?;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        store.remove_gateway("deaf").await
    })
}

async fn until_registered(store: &SqliteStore) {
    until("a gateway", async || !store.gateways().await.unwrap().is_empty()).await;
}

/// The log of a switch that does something at a step and is taken back.
async fn taken_back(
    site: &Site,
    gate: &Gate,
    at: &str,
    pause: &str,
    act: impl AsyncFnOnce(),
) -> String {
    gate.shut(at);
    let words = format!("movetables switchtraffic {} --max-pause {pause}", site.workflow());
    let mut command = site.start(Binary::Plain, None, &words);
    assert!(gate.until_at(at, &mut command).await, "{}", command.log());
    act().await;
    gate.open(at);
    assert_eq!(command.ended().await.code(), Some(1), "{}", command.log());
    assert!(command.log().contains("was taken back"), "{}", command.log());
    command.log()
}

/// It may wait for a transaction that has only locked rows: the fence would not.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_does_not_hold_is_named_and_who_may_be_why() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    let gate = Gate::build(site.dir());
    let store = SqliteStore::open(&site.dir().join("topology.db")).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let renewing = deaf(store.clone(), stop.clone());
    until_registered(&store).await;
    for (locks, sure) in [
        ("SELECT * FROM account WHERE id = 1 FOR UPDATE", false),
        ("UPDATE account SET balance = balance WHERE id = 1", true),
    ] {
        let mut locker = site.on_source().await;
        let log = taken_back(&site, &gate, "before-pause", "1s", async || {
            locker.execute("BEGIN").await.unwrap();
            locker.execute(locks).await.unwrap();
        })
        .await;
        let reason = log.split_once("Reason: ").expect(&log).1;
        let named = format!("connection {} of ", locker.id());
        assert!(reason.contains("gateway deaf at 127.0.0.1:2 does not hold"), "{log}");
        assert!(reason.contains(&named), "{log}");
        assert_eq!(!reason.contains("candidate"), sure, "{log}");
        locker.execute("ROLLBACK").await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    renewing.join().await.unwrap();
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_waits_for_every_gateway_with_a_lease() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    let words = format!("movetables switchtraffic {} --max-pause 1s", site.workflow());
    let said = site.run(Binary::Plain, None, &words).await;
    assert!(
        said.code == Some(2) && said.text.contains("no gateway is registered"),
        "{}",
        said.text
    );

    let store = SqliteStore::open(&site.dir().join("topology.db")).await.unwrap();
    // One that does: it is released when the rules lead elsewhere, never before.
    let stop = Arc::new(AtomicBool::new(false));
    let watching = gateway(store.clone(), stop.clone());
    until_registered(&store).await;
    site.must(&words).await;
    site.must(&words.replace("switchtraffic", "reversetraffic")).await;
    stop.store(true, Ordering::Relaxed);
    let ended = watching.join().await.unwrap();
    let to: Vec<&str> = ended.iter().map(|(_, to)| to.as_str()).collect();
    assert_eq!(to.last(), Some(&"commerce"), "{ended:?}");
    assert!(to.contains(&"customer"), "{ended:?}");
    assert!(ended.is_sorted_by_key(|(generation, _)| *generation), "{ended:?}");
    assert_eq!(switches::read(&store).await.unwrap().switches, []);
    serving.stop().await;
}

/// The fence must not go up on the word that a gateway gave for a hold that was let go since.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_is_asked_for_again_is_confirmed_again() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    let gate = Gate::build(site.dir());
    let store = SqliteStore::open(&site.dir().join("topology.db")).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let watching = gateway(store.clone(), stop.clone());
    until_registered(&store).await;
    // The fence cannot be raised for as long as this is open, and is tried again and again.
    let mut writer = site.on_source().await;
    taken_back(&site, &gate, "before-pause", "3s", async || {
        writer.execute("BEGIN").await.unwrap();
        writer.execute("UPDATE account SET balance = balance WHERE id = 1").await.unwrap();
    })
    .await;
    writer.execute("ROLLBACK").await.unwrap();
    stop.store(true, Ordering::Relaxed);
    let holds = watching.join().await.unwrap();
    assert!(holds.len() > 1, "{holds:?}");
    assert!(holds.windows(2).all(|two| two[0].0 < two[1].0), "{holds:?}");
    serving.stop().await;
}

/// A gateway whose queue is full says so, and the switch is taken back before clients are refused for long.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_a_gateway_takes_back_ends_the_switch() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    let gate = Gate::build(site.dir());
    let store = SqliteStore::open(&site.dir().join("topology.db")).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let watching = gateway(store.clone(), stop.clone());
    until_registered(&store).await;
    let log = taken_back(&site, &gate, "before-decide", "5s", async || {
        store.withdraw_generation("g").await.unwrap();
    })
    .await;
    assert!(log.contains("does not hold any more"), "{log}");
    site.must_at_last(&format!("movetables switchtraffic {}", site.workflow())).await;
    stop.store(true, Ordering::Relaxed);
    watching.join().await.unwrap();
    serving.stop().await;
}
