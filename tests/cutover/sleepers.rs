//! In the middle of a switch a server dies and comes back, a coordinator is stopped and wakes when others have settled the
//! switch and begun the next, a gateway is stopped just after it has confirmed. A `serve` lives and no command is given meanwhile.
//!
//! `SHUNT_SOAK=1` takes every step.

use std::time::Instant;

use shunt_engine::failpoints::{
    GATEWAY_AFTER_CONFIRM, SWITCH_AFTER_NO_RETURN, SWITCH_AFTER_RAISE, SWITCH_BEFORE_NO_RETURN,
};
use shunt_engine::topology::GatewayRegistry;

use super::bank::Bank;
use super::steps::{SERVED, equal_at_last, settled};
use super::{moved, switch};
use crate::harness::binary::Binary;
use crate::harness::pair::{PATIENCE, Pair};
use crate::harness::routed::{Routed, Talk};
use crate::harness::shell::Serving;
use crate::harness::site::{LOOK, Site};
use crate::harness::switches::{is_decided, steps};

/// A switch that is stopped at a step.
async fn stopped_at(site: &Site, point: &str) -> Serving {
    let (failpoint, verb) = (format!("{point}:stop"), switch(site, "switchtraffic"));
    let started = Instant::now();
    loop {
        let mut command = site.start(Binary::Failpoints, Some(&failpoint), &verb);
        if command.until_stopped().await {
            return command;
        }
        // On a busy machine the pause may be over before the step.
        let taken_back = command.log().contains("was taken back for workflow");
        assert!(taken_back && started.elapsed() < PATIENCE, "{point}: {}", command.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_source_dies_in_the_middle_of_a_switch() {
    let pair = Pair::start().await;
    for (number, point) in steps(&[SWITCH_AFTER_RAISE, SWITCH_AFTER_NO_RETURN]).iter().enumerate() {
        server_dies(&pair, number, point, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_target_dies_in_the_middle_of_a_switch() {
    let pair = Pair::start().await;
    for (number, point) in
        steps(&[SWITCH_BEFORE_NO_RETURN, SWITCH_AFTER_NO_RETURN]).iter().enumerate()
    {
        server_dies(&pair, number, point, 1).await;
    }
}

async fn server_dies(pair: &Pair, number: usize, point: &str, which: usize) {
    let (site, serving) = moved(pair, &number.to_string()).await;
    let bank = Bank::open(&site, 2).await;
    let mut command = stopped_at(&site, point).await;
    let server = [&pair.source, &pair.target][which].primary();
    server.kill9().await.unwrap();
    command.signal("-CONT");
    let status = command.ended().await;
    println!("{point}, server {which}: {status}: {}", command.log());
    server.start().await.unwrap();
    bank.serves_within(SERVED, point).await;
    let side = settled(&site, point).await;
    assert_eq!(side, usize::from(is_decided(point)), "{point}: {}", command.log());
    bank.until_more(20).await;
    next_switch_and_books(&site, bank, point, side).await;
    serving.stop().await;
}

/// The next command finds a finished state and goes on from it; all that was acknowledged is there.
async fn next_switch_and_books(site: &Site, bank: Bank, point: &str, side: usize) {
    let verb = if side == 0 { "switchtraffic" } else { "reversetraffic" };
    site.must_at_last(&switch(site, verb)).await;
    bank.until_more(20).await;
    bank.close(site, 1 - side).await;
    equal_at_last(site, point, side).await;
    let leaks = site.must(&format!("movetables leaks {}", site.workflow())).await;
    assert_eq!(leaks, "No leaks found\n", "{point}");
}

/// What is kept about a switch, on both sides and in the topology.
async fn state(site: &Site) -> String {
    let mut all = site.must("routing-rules get").await;
    for mut control in super::both(site).await {
        for query in [
            "SELECT workflow, generation, state, closed_until_s FROM _shunt.fence ORDER BY 1",
            "SELECT workflow, pass, generation, coordinator, settled, plan FROM _shunt.switch ORDER BY 1",
            "SELECT name, desired FROM _shunt.workflow ORDER BY 1",
        ] {
            all += &format!("{:?}\n", control.rows(query).await.unwrap());
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_wakes_when_others_have_gone_on_changes_nothing() {
    let pair = Pair::start().await;
    let few = [SWITCH_AFTER_RAISE, SWITCH_BEFORE_NO_RETURN, SWITCH_AFTER_NO_RETURN];
    for (number, point) in steps(&few).iter().enumerate() {
        let (site, serving) = moved(&pair, &number.to_string()).await;
        let bank = Bank::open(&site, 2).await;
        let mut command = stopped_at(&site, point).await;
        bank.serves_within(SERVED, point).await;
        let side = settled(&site, point).await;
        if number % 2 == 0 {
            // The other way since: what the old one would finish is long undone, or done anew.
            let verb = if side == 0 { "switchtraffic" } else { "reversetraffic" };
            site.must_at_last(&switch(&site, verb)).await;
        }
        let (before, side) = (state(&site).await, settled(&site, point).await);
        command.signal("-CONT");
        let status = command.ended().await;
        let said = command.log();
        println!("{point}: {status}: {said}");
        // Past the point of no return others have finished it, and it may say so.
        let done = is_decided(point) && status.code() == Some(0);
        assert!(done || matches!(status.code(), Some(1 | 4)), "{point}: {status}: {said}");
        assert!(said.contains("another") || said.contains("lost"), "{point}: {said}");
        assert_eq!(state(&site).await, before, "{point}: {said}");
        bank.until_more(20).await;
        next_switch_and_books(&site, bank, point, side).await;
        serving.stop().await;
    }
}

/// Once it sleeps until its lease is over, once it wakes while others think that it holds.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_sleeps_after_it_confirmed_lets_nothing_through() {
    let routed = Routed::unmoved(0).await;
    let shell = routed.shell();
    let serving = shell.start(Binary::Plain, None, "serve");
    let create =
        "movetables create customer.move --source commerce --tables corder,customer --detach";
    shell.must(create).await;
    shell.must("movetables wait customer.move --for running --timeout 120s").await;
    let [mut source, mut target] = [routed.on_commerce().await, routed.on_customer().await];
    let price = "SELECT price FROM corder WHERE order_id = 1";
    for (verb, price_new, sleeps_long) in
        [("switchtraffic", "1077", true), ("reversetraffic", "1078", false)]
    {
        let failpoint = format!("{GATEWAY_AFTER_CONFIRM}:stop");
        let words = "--config gateway.toml gateway";
        let mut gateway = shell.start(Binary::Failpoints, Some(&failpoint), words);
        let mut client = Talk::start(gateway.gateway_port().await, "commerce");
        let said = client.ask("update corder set price = price + 1 where order_id = 1;");
        assert_eq!(said, "", "{verb}");
        let said =
            shell.run(Binary::Plain, None, &format!("movetables {verb} customer.move")).await;
        assert!(gateway.until_stopped().await, "{}", gateway.log());
        assert_eq!(said.code, Some(0), "{verb}: {} {}", said.text, gateway.log());
        let (open, closed) = match verb {
            "switchtraffic" => (&mut target, &mut source),
            _ => (&mut source, &mut target),
        };
        // It lies in the socket of a gateway that sleeps.
        client.say(&format!("update corder set price = {price_new} where order_id = 1;"));
        if sleeps_long {
            let started = Instant::now();
            while routed.store.gateways().await.unwrap().iter().any(|g| g.lease_left.is_some()) {
                assert!(started.elapsed() < PATIENCE);
                tokio::time::sleep(LOOK).await;
            }
        }
        gateway.signal("-CONT");
        let said = client.hear(PATIENCE).unwrap();
        assert_eq!(
            said,
            "",
            "{verb}: a statement that waited goes to the new side: {}",
            gateway.log()
        );
        let row = open.row(price).await.unwrap().unwrap();
        assert_eq!(row.text(0).as_deref(), Some(price_new), "{verb}");
        drop(client);
        gateway.stop().await;
        // The closed side gets it from the stream, and from nobody else.
        let stream =
            if verb == "switchtraffic" { "commerce.move_reverse" } else { "customer.move" };
        shell.must(&format!("movetables wait {stream} --for caught-up --timeout 60s")).await;
        let row = closed.row(price).await.unwrap().unwrap();
        assert_eq!(row.text(0).as_deref(), Some(price_new), "{verb}");
        assert_eq!(shell.must("movetables leaks customer.move").await, "No leaks found\n");
    }
    serving.stop().await;
}
