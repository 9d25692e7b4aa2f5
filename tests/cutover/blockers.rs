//! What stands in the way of a switch is named, the switch is taken back in time, and clients are served as before.

use std::time::{Duration, Instant};

use super::bank::Bank;
use super::{moved, switch};
use crate::harness::binary::Binary;
use crate::harness::pair::Pair;

/// From the first hold to the end of taking back, with a margin for a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn who_blocks_is_named_and_the_switch_taken_back() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    // Armed by a rehearsal that is interrupted by nothing: a blocker of the raise has to have written behind the triggers.
    let bank = Bank::open(&site, 2).await;
    for (what, blocks) in [
        (
            "an idle transaction that has written",
            "UPDATE account SET balance = balance WHERE id = 1",
        ),
        ("an open reader", "SELECT * FROM account"),
        ("a table lock", "LOCK TABLES ledger READ"),
    ] {
        let mut blocker = site.on_source().await;
        blocker.execute("SET SESSION autocommit = 0").await.unwrap();
        blocker.execute(blocks).await.unwrap();
        let started = Instant::now();
        let words = format!("{} --timeout 2s --max-pause 1s", switch(&site, "switchtraffic"));
        let said = site.run(Binary::Plain, None, &words).await;
        assert_eq!(said.code, Some(1), "{what}: {}", said.text);
        assert!(started.elapsed() < PATIENCE, "{what}: {}", said.text);
        let named = said.text.contains(&format!("connection {} of ", blocker.id()));
        assert!(named && said.text.contains("was taken back"), "{what}: {}", said.text);
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
