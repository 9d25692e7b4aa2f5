//! The target dies after the point of no return and does not come back: said clearly, and the source is opened again on the operator's
//! word. If it does come back, nothing of it goes to the source, and nothing of it is dropped unasked.

use std::time::Instant;

use shunt_engine::failpoints::{
    REOPEN_AFTER_RULES, SWITCH_AFTER_NO_RETURN, SWITCH_AFTER_OPEN, SWITCH_AFTER_RAISE,
};

use super::adversaries::led_to;
use super::bank::{Bank, check_sum};
use super::steps::settled;
use super::{moved, switch};
use crate::harness::binary::Binary;
use crate::harness::pair::{PATIENCE, Pair};
use crate::harness::site::{LOOK, Site};

const WRITE: &str = "UPDATE account SET balance = balance";

/// Everybody says what to do, and the source is not opened unless that is given.
async fn said_by_every_verb(site: &Site) {
    for verb in ["reversetraffic", "complete", "leaks", "status", "cancel"] {
        let words = format!("movetables {verb} customer.move");
        let said = site.run(Binary::Plain, None, &words).await;
        assert_ne!(said.code, Some(0), "{verb}: {}", said.text);
        assert!(said.text.contains("shunt movetables reopen customer.move"), "{}", said.text);
    }
    let said = site.run(Binary::Plain, None, "movetables reopen customer.move").await;
    assert_eq!(said.code, Some(1), "{}", said.text);
    assert!(said.text.contains("does not answer, and it takes the writes"), "{}", said.text);
    let refused = site.on_source().await.execute(WRITE).await.unwrap_err();
    assert_eq!(refused.server_code(), Some(1644), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_lost_after_the_switch() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    let reopen = "movetables reopen customer.move --yes";
    let said = site.run(Binary::Plain, None, reopen).await;
    assert_eq!(said.code, Some(2), "there was no switch yet: {}", said.text);
    let bank = Bank::open(&site, 2).await;
    site.must_at_last(&switch(&site, "switchtraffic")).await;
    bank.until_more(20).await;
    bank.close(&site, 1).await;
    site.must("movetables wait commerce.move_reverse --for caught-up --timeout 60s").await;
    let said = site.run(Binary::Plain, None, reopen).await;
    assert!(said.code == Some(2) && said.text.contains("answers"), "{}", said.text);
    // A setting with which it cannot be connected to is no sign that it is gone.
    let toml = std::fs::read_to_string(site.dir().join("shunt.toml")).unwrap();
    let strict = site.dir().join("strict.toml");
    let address = format!("address = \"{}\"", pair.target_config().address);
    std::fs::write(&strict, toml.replace(&address, &format!("{address}\ntls = \"required\"")))
        .unwrap();
    let strict = format!("--config {} {reopen}", strict.display());
    let said = site.run(Binary::Plain, None, &strict).await;
    assert_ne!(said.code, Some(0), "{}", said.text);
    assert!(said.text.contains("answers") && said.text.contains("no TLS"), "{}", said.text);

    let server = pair.target.primary();
    server.kill9().await.unwrap();
    said_by_every_verb(&site).await;
    let said = site.run(Binary::Plain, None, "movetables reopen commerce.move_reverse").await;
    assert!(said.text.contains("wrote up to ") && said.text.contains("s ago"), "{}", said.text);
    // The rules are led first: a gateway writes on the target no more, should that come back.
    let said =
        site.run(Binary::Failpoints, Some(&format!("{REOPEN_AFTER_RULES}:exit")), reopen).await;
    assert_eq!(said.code, Some(86), "{}", said.text);
    assert!(led_to(&site).await.iter().all(|to| to == "commerce"), "led to the source");
    // It is back at this moment, and goes again.
    server.start().await.unwrap();
    let said = site.run(Binary::Plain, None, reopen).await;
    assert!(said.code == Some(2) && said.text.contains("`switchtraffic` leads"), "{}", said.text);
    site.must_at_last(&switch(&site, "switchtraffic")).await;
    assert!(led_to(&site).await.iter().all(|to| to == "customer"), "led to who is open");
    server.kill9().await.unwrap();
    let mut source = site.on_source().await;
    let refused = source.execute(WRITE).await.unwrap_err();
    assert_eq!(refused.server_code(), Some(1644), "{refused}");
    site.must_at_last(reopen).await;
    check_sum(&mut source).await;
    assert_eq!(source.rows("SHOW TRIGGERS").await.unwrap(), [], "the fence is taken off");
    source.execute("INSERT INTO account VALUES (2001, 0)").await.unwrap();
    assert!(led_to(&site).await.iter().all(|to| to == "commerce"), "led to the source");
    site.must_at_last(reopen).await;

    // It was not for good after all.
    server.start().await.unwrap();
    let mut target = site.on_target().await;
    target.execute("INSERT INTO account VALUES (2002, 0)").await.unwrap();
    let state = "SELECT s.state FROM _shunt.stream s JOIN _shunt.workflow w ON w.id = s.workflow_id \
                 WHERE w.name = 'commerce.move_reverse'";
    let row = source.row(state).await.unwrap().unwrap();
    assert_eq!(row.text(0).as_deref(), Some("Frozen"), "it brings nothing over");
    let status = site.must("movetables status customer.move").await;
    assert!(status.contains("both sides take writes"), "{status}");
    for words in ["movetables cancel customer.move".to_owned(), switch(&site, "switchtraffic")] {
        let said = site.run(Binary::Plain, None, &words).await;
        let why = ["took writes on the target", "both sides take writes"];
        let why = why.iter().any(|why| said.text.contains(why));
        assert!(said.code != Some(0) && why, "{words}: {}", said.text);
    }
    site.must_at_last("movetables cancel customer.move --keep-data").await;
    let there = target.row("SELECT COUNT(*) FROM account WHERE id = 2002").await.unwrap().unwrap();
    assert_eq!(there.number::<u64>(0).unwrap(), 1);
    source.execute(WRITE).await.unwrap();
    serving.stop().await;
}

/// A switch whose coordinator ends at a step.
async fn dies_at(site: &Site, verb: &str, point: &str) {
    let (failpoint, words) = (format!("{point}:exit"), switch(site, verb));
    let started = Instant::now();
    loop {
        let said = site.run(Binary::Failpoints, Some(&failpoint), &words).await;
        if said.code == Some(86) {
            return;
        }
        let again = ["was taken back for workflow", "another command is at work"];
        let again = again.iter().any(|why| said.text.contains(why));
        assert!(again && started.elapsed() < PATIENCE, "{}", said.text);
    }
}

/// Nobody could settle the switch. When the target is there again it is behind, not ahead, and is brought up.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_lost_in_the_middle_of_the_switch() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    dies_at(&site, "switchtraffic", SWITCH_AFTER_NO_RETURN).await;
    let server = pair.target.primary();
    server.kill9().await.unwrap();
    said_by_every_verb(&site).await;
    site.must_at_last("movetables reopen customer.move --yes").await;
    let mut source = site.on_source().await;
    source.execute("INSERT INTO account VALUES (2001, 0)").await.unwrap();

    server.start().await.unwrap();
    assert_eq!(settled(&site, "it is there again").await, 0);
    site.wait("running").await;
    site.must_at_last(&switch(&site, "switchtraffic")).await;
    let mut target = site.on_target().await;
    let row = target.row("SELECT COUNT(*) FROM account WHERE id = 2001").await.unwrap().unwrap();
    assert_eq!(row.number::<u64>(0).unwrap(), 1);
    target.execute(WRITE).await.unwrap();
    serving.stop().await;
}

/// Before the decision nothing is lost but the target: the switch is ended by the same command, without being asked twice. When the target
/// is there after all, the move goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_lost_before_the_decision() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    dies_at(&site, "switchtraffic", SWITCH_AFTER_RAISE).await;
    let server = pair.target.primary();
    server.kill9().await.unwrap();
    let said = site.run(Binary::Plain, None, "movetables cancel customer.move").await;
    assert!(said.text.contains("reopen customer.move` ends the switch"), "{}", said.text);
    let said = site.must_at_last("movetables reopen customer.move").await;
    assert!(said.contains("was lost has been ended"), "{said}");
    let mut source = site.on_source().await;
    source.execute("INSERT INTO account VALUES (2001, 0)").await.unwrap();
    assert_eq!(source.rows("SHOW TRIGGERS").await.unwrap(), []);
    let query = "SELECT COUNT(*) FROM _shunt.switch WHERE settled = 0";
    assert_eq!(source.row(query).await.unwrap().unwrap().number::<u64>(0).unwrap(), 0);

    server.start().await.unwrap();
    until_settled(&site).await;
    site.wait("caught-up").await;
    site.must_at_last(&switch(&site, "switchtraffic")).await;
    let mut target = site.on_target().await;
    let row = target.row("SELECT COUNT(*) FROM account WHERE id = 2001").await.unwrap().unwrap();
    assert_eq!(row.number::<u64>(0).unwrap(), 1);
    serving.stop().await;
}

/// Waits until no switch is unsettled on the target.
async fn until_settled(site: &Site) {
    let started = Instant::now();
    let query = "SELECT COUNT(*) FROM _shunt.switch WHERE settled = 0";
    let mut target = site.on_target().await;
    while target.row(query).await.unwrap().unwrap().number::<u64>(0).unwrap() > 0 {
        assert!(started.elapsed() < PATIENCE, "the switch is not settled");
        tokio::time::sleep(LOOK).await;
    }
}

/// It was open for a moment, and its switch is settled when it is back: what was written on it is not overwritten by the stream.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_lost_just_after_it_was_opened_keeps_what_was_written() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    // Nobody is to settle it before it is gone.
    serving.stop().await;
    let words = format!("{} --force --tablet-types primary", switch(&site, "switchtraffic"));
    let said =
        site.run(Binary::Failpoints, Some(&format!("{SWITCH_AFTER_OPEN}:exit")), &words).await;
    assert_eq!(said.code, Some(86), "{}", said.text);
    let mut target = site.on_target().await;
    target.execute("UPDATE account SET balance = 7 WHERE id = 1").await.unwrap();
    let server = pair.target.primary();
    server.kill9().await.unwrap();
    site.must_at_last("movetables reopen customer.move --yes").await;
    let mut source = site.on_source().await;
    source.execute("UPDATE account SET balance = 8 WHERE id = 1").await.unwrap();

    server.start().await.unwrap();
    let serving = site.serve(Binary::Plain, None);
    until_settled(&site).await;
    let mut target = site.on_target().await;
    let query = "SELECT s.state, (SELECT balance FROM account WHERE id = 1) FROM _shunt.stream s";
    let row = target.row(query).await.unwrap().unwrap();
    assert_eq!((row.text(0).as_deref(), row.text(1).as_deref()), (Some("Frozen"), Some("7")));
    site.must_at_last("movetables cancel customer.move --keep-data").await;
    serving.stop().await;
}

/// The traffic was about to be reversed. Cancel, the way out, is not barred by the switch that nobody could settle.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_lost_while_it_is_switched_away_from() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    site.must_at_last(&switch(&site, "switchtraffic")).await;
    dies_at(&site, "reversetraffic", SWITCH_AFTER_RAISE).await;
    let server = pair.target.primary();
    server.kill9().await.unwrap();
    site.must_at_last("movetables reopen customer.move --yes").await;
    site.on_source().await.execute(WRITE).await.unwrap();
    server.start().await.unwrap();
    until_settled(&site).await;
    site.must_at_last("movetables cancel customer.move --keep-data").await;
    serving.stop().await;
}
