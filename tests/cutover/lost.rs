//! The target dies after the point of no return and does not come back: said clearly, and the source is opened again on the operator's
//! word. If it does come back, nothing of it goes to the source, and nothing of it is dropped unasked.

use shunt_engine::failpoints::SWITCH_AFTER_NO_RETURN;

use super::adversaries::led_to;
use super::bank::{Bank, check_sum};
use super::steps::settled;
use super::{moved, switch};
use crate::harness::binary::Binary;
use crate::harness::pair::Pair;
use crate::harness::site::Site;

const WRITE: &str = "UPDATE account SET balance = balance";

/// Everybody says what to do, and the source is not opened unless that is given.
async fn said_by_every_verb(site: &Site) {
    for verb in ["reversetraffic", "complete", "leaks"] {
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

    let server = pair.target.primary();
    server.kill9().await.unwrap();
    said_by_every_verb(&site).await;
    let said = site.run(Binary::Plain, None, "movetables reopen commerce.move_reverse").await;
    assert!(said.text.contains("wrote up to ") && said.text.contains("s ago"), "{}", said.text);
    site.must_at_last(reopen).await;
    let mut source = site.on_source().await;
    check_sum(&mut source).await;
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
    for words in ["movetables cancel customer.move".to_owned(), switch(&site, "switchtraffic")] {
        let said = site.run(Binary::Plain, None, &words).await;
        let why = said.text.contains("took writes when the source was opened again");
        assert!(said.code != Some(0) && why, "{words}: {}", said.text);
    }
    site.must_at_last("movetables cancel customer.move --keep-data").await;
    let there = target.row("SELECT COUNT(*) FROM account WHERE id = 2002").await.unwrap().unwrap();
    assert_eq!(there.number::<u64>(0).unwrap(), 1);
    source.execute(WRITE).await.unwrap();
    serving.stop().await;
}

/// Nobody could settle the switch. When the target is there again it is behind, not ahead, and is brought up.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_lost_in_the_middle_of_the_switch() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    let failpoint = format!("{SWITCH_AFTER_NO_RETURN}:exit");
    loop {
        let words = switch(&site, "switchtraffic");
        let said = site.run(Binary::Failpoints, Some(&failpoint), &words).await;
        if said.code == Some(86) {
            break;
        }
        assert!(said.text.contains("was taken back for workflow"), "{}", said.text);
    }
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
