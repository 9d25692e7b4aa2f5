//! Writes past the fence after the switch: found whoever looks and whenever, shown, and a bar to Complete until they are
//! acknowledged. What the reverse stream and shunt itself write on the closed side is none.

use shunt_engine::mysql::control::Control;

use super::bank::Bank;
use super::{moved, switch};
use crate::harness::binary::Binary;
use crate::harness::pair::Pair;
use crate::harness::site::Site;

/// As an operator who knows no better.
async fn drop_fence(source: &mut Control, table: &str) {
    for row in source.rows(format!("SHOW TRIGGERS LIKE '{table}'")).await.unwrap() {
        source.execute(format!("DROP TRIGGER `{}`", row.text(0).unwrap())).await.unwrap();
    }
}

async fn tables(site: &Site) -> Vec<String> {
    let rows = site.on_source().await.rows("SHOW TABLES").await.unwrap();
    rows.iter().map(|row| row.text(0).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_past_the_fence_is_alarmed_and_bars_complete() {
    let pair = Pair::start().await;
    let (site, mut serving) = moved(&pair, "").await;
    let bank = Bank::open(&site, 2).await;
    site.must_at_last(&switch(&site, "switchtraffic")).await;
    serving.until_logged("watching the closed side").await;
    let mut source = site.on_source().await;
    drop_fence(&mut source, "account").await;
    source.execute("INSERT INTO account VALUES (1001, 0), (1002, 0)").await.unwrap();
    let gtid = source.row("SELECT @@last_gtid").await.unwrap().unwrap().text(0).unwrap();
    serving
        .until_logged(&format!("LEAK: the closed source was written to: transaction {gtid}"))
        .await;
    // The reverse stream goes on writing there, and is no leak.
    bank.until_more(20).await;
    bank.close(&site, 1).await;

    let what = "wrote 2 rows of `account` in database `commerce`";
    for workflow in ["customer.move", "commerce.move_reverse"] {
        let status = site.must(&format!("movetables status {workflow}")).await;
        assert!(status.contains("LEAK: closed source: transaction"), "{status}");
        assert!(status.contains(&gtid) && status.contains(what), "{status}");
        let show = site.must(&format!("workflow show {workflow}")).await;
        let show: serde_json::Value = serde_json::from_str(&show).unwrap();
        assert_eq!(show["Leaks"].as_array().unwrap().len(), 1, "{show}");
        assert_eq!(show["Leaks"][0]["GTID"], gtid.as_str(), "{show}");
    }
    let said = site.run(Binary::Plain, None, "movetables complete customer.move").await;
    assert_eq!(said.code, Some(1), "{}", said.text);
    for part in [what, &gtid, "--acknowledge"] {
        assert!(said.text.contains(part), "{part}: {}", said.text);
    }
    assert!(tables(&site).await.contains(&"account".to_owned()), "nothing was done");

    let wrong = "movetables leaks customer.move --acknowledge 9-9-9";
    assert_eq!(site.run(Binary::Plain, None, wrong).await.code, Some(2));
    let said = site.must(&format!("movetables leaks customer.move --acknowledge {gtid}")).await;
    assert!(said.starts_with("acknowledged: ") && said.lines().count() == 1, "{said}");
    let status = site.must("movetables status customer.move").await;
    assert!(!status.contains("LEAK"), "{status}");
    site.must_at_last("movetables complete customer.move").await;
    serving.stop().await;
}

/// TRUNCATE fires no trigger; and nobody is watching when it is run.
#[tokio::test(flavor = "multi_thread")]
async fn complete_looks_for_itself_and_drops_nothing_unseen() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    site.must_at_last(&switch(&site, "switchtraffic")).await;
    serving.kill();
    let mut source = site.on_source().await;
    source.execute("TRUNCATE TABLE ledger").await.unwrap();
    source.execute("ALTER TABLE account COMMENT = 'mine'").await.unwrap();
    let complete = "movetables complete customer.move --drop-tables";
    let would = site.run(Binary::Plain, None, &format!("{complete} --dry-run")).await;
    assert_eq!(would.code, Some(1), "{}", would.text);
    for part in ["RENAME TABLE", "DROP TABLE", "It would be refused: ", "emptied `ledger`"] {
        assert!(would.text.contains(part), "{part}: {}", would.text);
    }
    let said = site.run(Binary::Plain, None, complete).await;
    assert_eq!(said.code, Some(1), "{}", said.text);
    for part in ["emptied `ledger`", "changed the definition of `account`"] {
        assert!(said.text.contains(part), "{part}: {}", said.text);
    }
    assert_eq!(tables(&site).await, ["account", "ledger"]);
    let status = site.must("movetables status customer.move").await;
    assert!(status.contains("LEAK"), "{status}");
    site.must("movetables leaks customer.move --acknowledge all").await;
    site.must_at_last(complete).await;
    assert_eq!(tables(&site).await, Vec::<String>::new());
    let left = source.rows("SELECT * FROM _shunt.leak").await.unwrap();
    assert_eq!(left, []);
}

/// What was emptied on the closed side is not what clients are led back to unasked, nor is the other side's copy dropped then.
#[tokio::test(flavor = "multi_thread")]
async fn going_back_to_what_was_emptied_is_refused() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    site.must_at_last(&switch(&site, "switchtraffic")).await;
    let mut source = site.on_source().await;
    source.execute("TRUNCATE TABLE ledger").await.unwrap();
    let back = switch(&site, "reversetraffic");
    for words in [back.clone(), format!("{back} --dry-run")] {
        let said = site.run(Binary::Plain, None, &words).await;
        assert_eq!(said.code, Some(1), "{words}: {}", said.text);
        for part in ["emptied `ledger`", "--force"] {
            assert!(said.text.contains(part), "{words}, {part}: {}", said.text);
        }
    }
    site.must_at_last(&format!("{back} --force")).await;
    let cancel = "movetables cancel customer.move";
    let said = site.run(Binary::Plain, None, cancel).await;
    assert!(said.code == Some(1) && said.text.contains("emptied `ledger`"), "{}", said.text);
    let mut target = site.on_target().await;
    target.row("SELECT COUNT(*) FROM ledger").await.unwrap();
    let said = site.run(Binary::Plain, None, &switch(&site, "switchtraffic")).await;
    assert!(said.code == Some(1) && said.text.contains("no stream has carried"), "{}", said.text);
    site.must("movetables leaks customer.move --acknowledge all").await;
    site.must_at_last(cancel).await;
    serving.stop().await;
}

/// Complete is not given the last copy to drop, nor a name that is taken. A reverse stream that has failed is said to have.
#[tokio::test(flavor = "multi_thread")]
async fn complete_looks_whether_the_target_has_all_of_it() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    site.must_at_last(&switch(&site, "switchtraffic")).await;
    let complete = "movetables complete customer.move";
    let mut source = site.on_source().await;
    source.execute("CREATE TABLE _ledger_1_old (a INT)").await.unwrap();
    let said = site.run(Binary::Plain, None, complete).await;
    assert!(said.code == Some(1) && said.text.contains("_ledger_1_old is there"), "{}", said.text);
    source.execute("DROP TABLE _ledger_1_old").await.unwrap();
    let mut target = site.on_target().await;
    target.execute("RENAME TABLE ledger TO mislaid").await.unwrap();
    for words in [format!("{complete} --drop-tables"), format!("{complete} --dry-run")] {
        let said = site.run(Binary::Plain, None, &words).await;
        let why = said.text.contains("ledger is not on the target any more");
        assert!(said.code == Some(1) && why, "{words}: {}", said.text);
    }
    assert_eq!(tables(&site).await, ["account", "ledger"]);
    target.execute("RENAME TABLE mislaid TO ledger").await.unwrap();
    let wait = "movetables wait commerce.move_reverse --for caught-up --timeout 60s";
    let said = site.run(Binary::Plain, None, wait).await;
    assert_ne!(said.code, Some(0), "{}", said.text);
    let status = site.must("movetables status customer.move").await;
    let start = "movetables start commerce.move_reverse";
    assert!(status.contains("not replicated back: ") && status.contains(start), "{status}");
    let said = site.run(Binary::Plain, None, &switch(&site, "reversetraffic")).await;
    assert!(said.code == Some(1) && said.text.contains(start), "{}", said.text);
    site.must_at_last(complete).await;
    serving.stop().await;
}

/// `--keep-data`: the tables stay, and stay closed.
#[tokio::test(flavor = "multi_thread")]
async fn complete_may_leave_the_tables_closed() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    site.must_at_last(&switch(&site, "switchtraffic")).await;
    site.must_at_last("movetables complete customer.move --keep-data").await;
    assert_eq!(tables(&site).await, ["account", "ledger"]);
    let mut source = site.on_source().await;
    let refused = source.execute("UPDATE account SET balance = 0").await.unwrap_err();
    assert_eq!(refused.server_code(), Some(1644), "{refused}");
    site.on_target().await.execute("UPDATE account SET balance = balance").await.unwrap();
    assert_eq!(site.must("routing-rules get").await, "{\n  \"rules\": []\n}\n");
    serving.stop().await;
}
