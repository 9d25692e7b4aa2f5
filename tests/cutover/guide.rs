//! The guide's commands and what they print, and the traffic going to and fro under load.

use std::time::Duration;

use super::bank::{Bank, check_sum};
use super::{both, moved, switch};
use crate::harness::binary::Binary;
use crate::harness::pair::Pair;
use crate::harness::site::Site;
use crate::harness::soak::scaled;

/// How many times the traffic goes there and back.
fn rounds() -> u32 {
    scaled(2, 10)
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_goes_to_and_fro_and_nothing_is_lost() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    let bank = Bank::open(&site, 4).await;
    for round in 0..rounds() {
        for verb in ["switchtraffic", "reversetraffic"] {
            println!("{round} {verb}: {}", site.must_at_last(&switch(&site, verb)).await);
            bank.until_more(50).await;
        }
    }
    site.must_at_last(&switch(&site, "switchtraffic")).await;
    bank.until_more(50).await;
    bank.close(&site, 1).await;
    // The reverse stream brings the other side up to it.
    site.must("movetables wait commerce.move_reverse --for caught-up --timeout 60s").await;
    assert_eq!(site.equal(&["account", "ledger"]).await, Ok(()), "{}", serving.log());
    for book in &mut both(&site).await {
        check_sum(book).await;
    }
    assert_eq!(site.must("movetables leaks customer.move").await, "No leaks found\n");
    serving.stop().await;
}

/// The names of the rules that lead to a keyspace.
async fn led_to(site: &Site, keyspace: &str) -> Vec<String> {
    let text = site.must("routing-rules get").await;
    let rules: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut names = Vec::new();
    for rule in rules["rules"].as_array().unwrap() {
        if rule["to_tables"][0].as_str().unwrap().starts_with(&format!("{keyspace}.")) {
            names.push(rule["from_table"].as_str().unwrap().to_owned());
        }
    }
    assert!(names.is_sorted());
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guide_from_create_to_complete() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    assert_eq!(led_to(&site, "commerce").await.len(), 16);
    let bare = r#"{"rules":[{"from_table":"ledger","to_tables":["customer.ledger"]}]}"#;
    std::fs::write(site.dir().join("rules.json"), bare).unwrap();
    let apply = "routing-rules apply --rules-file rules.json";
    let said = site.run(Binary::Plain, None, apply).await;
    assert!(said.code == Some(2) && said.text.contains("which is closed"), "{}", said.text);

    let reads =
        format!("movetables switchtraffic {} --tablet-types rdonly,replica", site.workflow());
    let expected = "\nSwitchTraffic was successful for workflow customer.move\n\
                    Start State: Reads Not Switched. Writes Not Switched\n\
                    Current State: All Reads Switched. Writes Not Switched\n";
    assert_eq!(site.must(&reads).await, expected);
    assert_eq!(led_to(&site, "customer").await.len(), 12);
    let back = reads.replace("switchtraffic", "reversetraffic");
    assert!(
        site.must(&back).await.contains("Current State: Reads Not Switched. Writes Not Switched")
    );

    let rehearsed =
        site.must(&format!("movetables rehearse {} --no-gateway", site.workflow())).await;
    assert!(rehearsed.contains("nothing is switched"), "{rehearsed}");
    let said = site.must_at_last(&switch(&site, "switchtraffic")).await;
    let expected = "\nSwitchTraffic was successful for workflow customer.move\n\
                    Start State: Reads Not Switched. Writes Not Switched\n\
                    Current State: All Reads Switched. Writes Switched\nWrite Pause: ";
    assert!(said.starts_with(expected), "{said}");
    assert_eq!(led_to(&site, "customer").await.len(), 16);
    let mut source = site.on_source().await;
    let refused = source.execute("UPDATE account SET balance = 0").await.unwrap_err();
    assert!(refused.to_string().contains("ERROR 1644 (45000): shunt fence g="), "{refused}");
    site.on_target().await.execute("UPDATE account SET balance = balance").await.unwrap();

    let show = site.must("workflow show commerce.move_reverse").await;
    let show: serde_json::Value = serde_json::from_str(&show).unwrap();
    let shard = show["ShardStatuses"].as_object().unwrap().values().next().unwrap();
    let denied = serde_json::json!([{ "tablet_type": 1, "denied_tables": ["account", "ledger"] }]);
    assert_eq!(shard["TabletControls"], denied, "{show}");
    site.must("movetables wait commerce.move_reverse --for running --timeout 60s").await;

    let cancel = site.run(Binary::Plain, None, "movetables cancel customer.move").await;
    assert_eq!(cancel.code, Some(2), "{}", cancel.text);
    let would = site.must("movetables complete customer.move --dry-run").await;
    assert!(would.contains("RENAME TABLE"), "{would}");
    let expected = "\nComplete was successful for workflow customer.move\n\
                    Start State: All Reads Switched. Writes Switched\n\
                    Current State: Workflow Not Found\n";
    assert_eq!(site.must("movetables complete customer.move").await, expected);
    let gone = source.execute("SELECT * FROM account").await.unwrap_err();
    assert_eq!(gone.server_code(), Some(1146));
    let left = source.rows("SHOW TABLES").await.unwrap();
    let left: Vec<String> = left.iter().map(|row| row.text(0).unwrap()).collect();
    assert!(left.len() == 2 && left.iter().all(|name| name.ends_with("_old")), "{left:?}");
    assert_eq!(source.rows("SHOW TRIGGERS").await.unwrap(), []);
    assert_eq!(site.on_target().await.rows("SHOW TRIGGERS").await.unwrap(), []);
    assert_eq!(site.must("routing-rules get").await, "{\n  \"rules\": []\n}\n");
    for keyspace in ["customer", "commerce"] {
        let list = site.must(&format!("workflow list {keyspace}")).await;
        assert_eq!(list, format!("No workflows found in keyspace {keyspace}\n"));
    }
    serving.stop().await;
}

/// Rows that come in by replication, and a statement that no trigger sees, are found before the point of no return.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_trigger_sees_is_refused() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    let mut source = site.on_source().await;
    let prepare =
        ["XA START 'x'", "UPDATE account SET balance = balance", "XA END 'x'", "XA PREPARE 'x'"];
    for sql in prepare {
        source.execute(sql).await.unwrap();
    }
    let said = site.run(Binary::Plain, None, &switch(&site, "switchtraffic")).await;
    assert!(said.code == Some(1) && said.text.contains("XA"), "{}", said.text);
    source.execute("XA ROLLBACK 'x'").await.unwrap();
    source.execute("CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=1").await.unwrap();
    let said = site.run(Binary::Plain, None, &switch(&site, "switchtraffic")).await;
    assert!(said.code == Some(1) && said.text.contains("itself a replica"), "{}", said.text);
    source.execute("RESET SLAVE ALL").await.unwrap();
    source
        .execute("CREATE TRIGGER mine BEFORE INSERT ON ledger FOR EACH ROW SET @x = 1")
        .await
        .unwrap();
    let said = site.run(Binary::Plain, None, &switch(&site, "switchtraffic")).await;
    assert!(said.code == Some(1) && said.text.contains("mine"), "{}", said.text);
    let without = format!("{} --enable-reverse-replication=false", switch(&site, "switchtraffic"));
    site.must(&without).await;
    tokio::time::timeout(Duration::from_secs(5), site.on_target()).await.unwrap();
    serving.stop().await;
}

/// One rule leads elsewhere than its like.
async fn lead_one(site: &Site, name: &str, to: &str) {
    let text = site.must("routing-rules get").await;
    let mut rules: serde_json::Value = serde_json::from_str(&text).unwrap();
    for rule in rules["rules"].as_array_mut().unwrap() {
        if rule["from_table"] == name {
            rule["to_tables"] = serde_json::json!([to]);
        }
    }
    std::fs::write(site.dir().join("rules.json"), rules.to_string()).unwrap();
    site.must("routing-rules apply --rules-file rules.json").await;
}

/// Tables' rules may disagree: what one table is read by is not dropped or renamed.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_one_rule_leads_readers_to_stays() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    for name in ["ledger@replica", "commerce.ledger@rdonly"] {
        lead_one(&site, name, "customer.ledger").await;
        for words in
            ["movetables cancel customer.move --dry-run", "movetables cancel customer.move"]
        {
            let said = site.run(Binary::Plain, None, words).await;
            let why = format!("the routing rule {name} leads there");
            assert!(said.code == Some(2) && said.text.contains(&why), "{words}: {}", said.text);
        }
        lead_one(&site, name, "commerce.ledger").await;
    }
    site.must_at_last(&switch(&site, "switchtraffic")).await;
    lead_one(&site, "ledger@replica", "commerce.ledger").await;
    let complete = "movetables complete customer.move";
    let said = site.run(Binary::Plain, None, complete).await;
    let why = "The routing rule ledger@replica leads to commerce";
    assert!(said.code == Some(2) && said.text.contains(why), "{}", said.text);
    site.must_at_last(&switch(&site, "switchtraffic")).await;
    site.must_at_last(complete).await;
    serving.stop().await;
}
