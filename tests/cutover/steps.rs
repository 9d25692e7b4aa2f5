//! A coordinator that dies at each step in turn: a `serve` that lives finishes the switch or takes it back, clients are served
//! again soon, and the next command finds a settled state. One side, never both, takes writes in the end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use shunt_engine::failpoints::{
    COMPLETE_AFTER_FREEZE, COMPLETE_STEPS, SWITCH_AFTER_NO_RETURN, SWITCH_AFTER_OPEN,
    SWITCH_AFTER_RAISE, SWITCH_BEFORE_SETTLE, SWITCH_STEPS,
};
use shunt_engine::runtime::tasks::spawn;
use tokio::sync::Semaphore;

use super::bank::Bank;
use super::{moved, switch};
use crate::harness::binary::Binary;
use crate::harness::pair::{PATIENCE, Pair};
use crate::harness::shell::Said;
use crate::harness::site::Site;
use crate::harness::switches;

/// The exit code of a process that ended at a failpoint.
const DIED: i32 = 86;
/// How long clients may go without being served. The design's ten seconds, and as much again for a machine that runs several
/// of these at once.
pub(super) const SERVED: Duration = Duration::from_secs(20);
const AT_ONCE: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_dies_at_any_step_is_followed() {
    let (pair, at_once) = (Arc::new(Pair::start().await), Arc::new(Semaphore::new(AT_ONCE)));
    let mut cases = Vec::new();
    for (number, &point) in SWITCH_STEPS.iter().enumerate() {
        let (pair, at_once) = (pair.clone(), at_once.clone());
        let case = spawn("case", async move {
            let _turn = at_once.acquire_owned().await;
            Box::pin(dies_at(&pair, number, point)).await;
            Ok(())
        });
        cases.push((point, case));
    }
    let mut failed = Vec::new();
    for (point, case) in cases {
        if let Err(error) = case.join().await {
            failed.push(format!("{point}: {error}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

async fn dies_at(pair: &Pair, number: usize, point: &str) {
    let (site, serving) = moved(pair, &number.to_string()).await;
    let bank = Bank::open(&site, 2).await;
    let failpoint = format!("{point}:exit");
    let verb = switch(&site, "switchtraffic");
    let started = Instant::now();
    loop {
        let said = site.run(Binary::Failpoints, Some(&failpoint), &verb).await;
        if said.code == Some(DIED) {
            break;
        }
        // On a busy machine the pause may be over before the step.
        let taken_back = said.text.contains("was taken back for workflow");
        assert!(taken_back && started.elapsed() < PATIENCE, "{point}: {said:?}");
    }
    bank.serves_within(SERVED, point).await;
    let side = settled(&site, point).await;
    bank.until_more(20).await;
    // The next command finds a finished state and goes on from it.
    let verb = if side == 0 { "switchtraffic" } else { "reversetraffic" };
    site.must_at_last(&switch(&site, verb)).await;
    bank.until_more(20).await;
    bank.close(&site, 1 - side).await;
    equal_at_last(&site, point, side).await;
    serving.stop().await;
}

/// Waits until the switch is settled; the side that takes writes then.
pub(super) async fn settled(site: &Site, point: &str) -> usize {
    let suffix = site.suffix();
    let names = [format!("commerce{suffix}.move_reverse"), format!("customer{suffix}.move")];
    switches::settled(&site.places(), &names, point).await
}

/// The stream into the closed side brings it up to the other.
pub(super) async fn equal_at_last(site: &Site, point: &str, closed: usize) {
    let suffix = site.suffix();
    let name = if closed == 0 {
        format!("commerce{suffix}.move_reverse")
    } else {
        format!("customer{suffix}.move")
    };
    site.must(&format!("movetables wait {name} --for caught-up --timeout 60s")).await;
    assert_eq!(site.equal(&["account", "ledger"]).await, Ok(()), "{point}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_that_dies_is_given_again() {
    let pair = Pair::start().await;
    for (number, point) in COMPLETE_STEPS.iter().enumerate() {
        let (site, serving) = moved(&pair, &number.to_string()).await;
        site.must_at_last(&switch(&site, "switchtraffic")).await;
        let words = format!("movetables complete {}", site.workflow());
        let said = site.run(Binary::Failpoints, Some(&format!("{point}:exit")), &words).await;
        assert_eq!(said.code, Some(DIED), "{point}: {}", said.text);
        site.must_at_last(&words).await;
        assert_eq!(site.must("routing-rules get").await, "{\n  \"rules\": []\n}\n", "{point}");
        let gone = site.on_source().await.execute("SELECT * FROM account").await.unwrap_err();
        assert_eq!(gone.server_code(), Some(1146), "{point}");
        site.on_target().await.execute("UPDATE account SET balance = balance").await.unwrap();
        serving.stop().await;
    }
}

/// A command that is given until it gets the locks, which a dead one holds for some seconds.
async fn with_locks(site: &Site, failpoint: Option<&str>, words: &str) -> Said {
    let started = Instant::now();
    loop {
        let said = site.run(Binary::Failpoints, failpoint, words).await;
        if !said.text.contains("another command is at work") {
            return said;
        }
        assert!(started.elapsed() < PATIENCE, "{words}: {}", said.text);
    }
}

/// A switch that is decided is not said to have failed by the next command that cannot finish it; one that is taken back is.
#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_switch_that_cannot_be_settled_is_unknown_only_past_its_decision() {
    let pair = Pair::start().await;
    let cases = [
        (SWITCH_AFTER_RAISE, SWITCH_BEFORE_SETTLE, 1, 0),
        (SWITCH_AFTER_NO_RETURN, SWITCH_AFTER_OPEN, 4, 1),
    ];
    for (number, (dies, fails, code, side)) in cases.into_iter().enumerate() {
        let (site, serving) = moved(&pair, &number.to_string()).await;
        serving.stop().await;
        let words = format!("{} --force --tablet-types primary", switch(&site, "switchtraffic"));
        let said = site.run(Binary::Failpoints, Some(&format!("{dies}:exit")), &words).await;
        assert_eq!(said.code, Some(DIED), "{dies}: {}", said.text);
        let said = with_locks(&site, Some(&format!("{fails}:lose-reply")), &words).await;
        assert!(said.code == Some(code) && said.text.contains("reply is lost"), "{}", said.text);
        assert_eq!(said.text.contains("past its point of no return"), code == 4, "{}", said.text);
        let serving = site.serve(Binary::Plain, None);
        assert_eq!(settled(&site, dies).await, side, "{dies}");
        serving.stop().await;
    }
}

/// The reverse stream goes on if nothing was removed, or what it takes is said: it is not led to data that grows old.
#[tokio::test(flavor = "multi_thread")]
async fn a_complete_that_fails_before_it_removes_anything_leaves_the_way_back_open() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    site.must_at_last(&switch(&site, "switchtraffic")).await;
    let caught_up = "movetables wait commerce.move_reverse --for caught-up --timeout 60s";
    site.must(caught_up).await;
    let complete = "movetables complete customer.move";
    let fails = format!("{COMPLETE_AFTER_FREEZE}:lose-reply");
    let said = with_locks(&site, Some(&fails), complete).await;
    assert!(said.code == Some(1) && said.text.contains("reply is lost"), "{}", said.text);
    let mut target = site.on_target().await;
    target.execute("INSERT INTO account VALUES (2001, 0)").await.unwrap();
    site.must(caught_up).await;

    let dies = format!("{COMPLETE_AFTER_FREEZE}:exit");
    let said = with_locks(&site, Some(&dies), complete).await;
    assert_eq!(said.code, Some(DIED), "{}", said.text);
    target.execute("INSERT INTO account VALUES (2002, 0)").await.unwrap();
    let all = switch(&site, "reversetraffic");
    for words in [all.clone(), format!("{all} --tablet-types replica")] {
        let said = with_locks(&site, None, &words).await;
        let why = "`complete` of customer.move was begun and did not end";
        assert!(said.code == Some(1) && said.text.contains(why), "{words}: {}", said.text);
    }
    // What was frozen by the one that died is set free by the one that fails.
    let said = with_locks(&site, Some(&fails), complete).await;
    assert!(said.code == Some(1) && said.text.contains("reply is lost"), "{}", said.text);
    site.must(caught_up).await;
    let mut source = site.on_source().await;
    let query = "SELECT COUNT(*) FROM account WHERE id IN (2001, 2002)";
    assert_eq!(source.row(query).await.unwrap().unwrap().number::<u64>(0).unwrap(), 2);
    site.must_at_last(&all).await;
    source.execute("UPDATE account SET balance = balance").await.unwrap();
    serving.stop().await;
}
