//! What a switch would break is named before it, on both sides, and what must not be switched is refused; how it may be forced,
//! and switched without triggers.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use shunt_engine::mysql::control::Control;

use super::bank::{Bank, check_sum};
use super::{both, moved, switch};
use crate::harness::binary::Binary;
use crate::harness::pair::Pair;
use crate::harness::shell::Said;
use crate::harness::site::Site;

async fn run_all(control: &mut Control, statements: &[&str]) {
    for sql in statements {
        control.execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

/// Everything that ties the bank's tables to others or to their server.
async fn tie(site: &Site) {
    run_all(
        &mut site.on_source().await,
        &[
            "CREATE DATABASE reports",
            "CREATE TABLE audit (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, note INT)",
            "CREATE TABLE child (id INT NOT NULL PRIMARY KEY, a INT, CONSTRAINT to_account FOREIGN KEY (a) REFERENCES account (id))",
            "CREATE VIEW rich AS SELECT id FROM account WHERE balance > 1000",
            "CREATE VIEW reports.richest AS SELECT MAX(id) FROM commerce.rich",
            "CREATE VIEW harmless AS SELECT note AS account FROM audit",
            "CREATE FUNCTION transfers() RETURNS BIGINT READS SQL DATA RETURN (SELECT COUNT(*) FROM Ledger)",
            "CREATE PROCEDURE any_table(t TEXT) BEGIN EXECUTE IMMEDIATE CONCAT('SELECT * FROM ', t); END",
            "CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY DISABLE DO DELETE FROM ledger WHERE n < 0",
            "CREATE TRIGGER noted AFTER INSERT ON audit FOR EACH ROW UPDATE account SET balance = balance + 1 WHERE id = NEW.note",
            // The trigger writes a moved table as well.
            "INSERT INTO audit (note) VALUES (1)",
            "INSERT INTO audit (note) VALUES (2)",
            "BEGIN",
            "INSERT INTO ledger (client, n) VALUES (99, 1)",
            "INSERT INTO child VALUES (1, 1)",
            "COMMIT",
            "SELECT COUNT(*) FROM audit JOIN ledger ON audit.note = ledger.n",
            "SELECT COUNT(*) FROM account JOIN ledger ON account.id = ledger.client",
        ],
    )
    .await;
    run_all(
        &mut site.on_target().await,
        &[
            "CREATE VIEW rich AS SELECT id FROM account WHERE balance > 1000",
            "SET GLOBAL sql_mode = 'ANSI_QUOTES'",
        ],
    )
    .await;
}

fn json(said: &Said) -> Value {
    let text = &said.text[said.text.find('{').unwrap()..=said.text.rfind('}').unwrap()];
    serde_json::from_str(text).unwrap()
}

/// Level, check, side and subject of each finding.
fn findings(said: &Said, key: &str) -> Vec<String> {
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
    let line = |finding: &Value| {
        ["Level", "Check", "Side", "Subject"].map(|name| text(finding, name)).join(" ")
    };
    let mut lines: Vec<String> = json(said)[key].as_array().unwrap().iter().map(line).collect();
    lines.sort();
    lines
}

const WARNINGS: [&str; 14] = [
    "warning foreign_keys source child.to_account",
    "warning joins source ledger",
    "warning mixed_transactions source account",
    "warning mixed_transactions source ledger",
    "warning programs source any_table",
    "warning programs source nightly",
    "warning programs source noted",
    "warning programs source reports.richest",
    "warning programs source rich",
    "warning programs source transfers",
    "warning programs target rich",
    "warning session_defaults target sql_mode",
    "warning session_defaults target wait_timeout",
    "warning vdiff target customer.move",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_a_switch_would_break_is_named_and_what_it_must_not_do_refused() {
    let pair =
        Pair::with(None, None, &[("performance-schema", "ON")], &[("wait-timeout", "999")]).await;
    let (site, serving) = moved(&pair, "").await;
    tie(&site).await;
    let dry = format!("{} --dry-run", switch(&site, "switchtraffic"));
    let said = site.run(Binary::Plain, None, &format!("{dry} --format json")).await;
    assert_eq!(said.code, Some(0), "{}", said.text);
    assert_eq!(findings(&said, "findings"), WARNINGS, "{}", said.text);
    assert_eq!(json(&said)["passed"], true);
    for counted in [
        "2 transactions of 4 that wrote moved tables",
        "also wrote audit, which is not moved",
        "1 transactions of 4 that wrote moved tables",
        "also wrote child, which is not moved",
        "1 statements, run 1 times",
        "builds statements when it runs",
    ] {
        assert!(said.text.contains(counted), "{counted}: {}", said.text);
    }
    // A VDiff leaves one less.
    site.must("vdiff create customer.move --wait").await;
    let said = site.run(Binary::Plain, None, &format!("{dry} --format json")).await;
    assert_eq!(findings(&said, "findings"), WARNINGS[..13], "{}", said.text);
    // Before the workflow was made most of it would have been said, too.
    let preflight =
        "preflight customer.other --source commerce --tables account,ledger --format json";
    let said = site.run(Binary::Plain, None, preflight).await;
    let before = findings(&said, "Findings");
    for check in [
        "mentions source rich",
        "mixed_transactions source account",
        "joins source ledger",
        "session_defaults target sql_mode",
        "foreign_keys_in source child",
        "mentions target rich",
    ] {
        assert!(before.contains(&format!("warning {check}")), "{check}: {before:?}");
    }

    // What must not be switched is refused with all of its reasons, by the dry run and by the switch.
    let mut writer = site.on_source().await;
    run_all(
        &mut writer,
        &[
            "XA START 'x'",
            "UPDATE account SET balance = balance WHERE id = 1",
            "XA END 'x'",
            "XA PREPARE 'x'",
        ],
    )
    .await;
    site.on_source()
        .await
        .execute("CREATE TRIGGER own BEFORE INSERT ON ledger FOR EACH ROW SET @a = 1")
        .await
        .unwrap();
    let said = site.run(Binary::Plain, None, &dry).await;
    assert_eq!(said.code, Some(1), "{}", said.text);
    assert!(said.text.contains("Errors:") && said.text.contains("It would be refused"));
    let real = site.run(Binary::Plain, None, &switch(&site, "switchtraffic")).await;
    assert_eq!(real.code, Some(1), "{}", real.text);
    for said in [said, real] {
        for why in [
            "1 XA transactions are prepared on the source",
            "ledger has triggers on the source",
            "Drop them, or switch with",
        ] {
            assert!(said.text.contains(why), "{why}: {}", said.text);
        }
    }
    run_all(&mut writer, &["XA ROLLBACK 'x'", "DROP TRIGGER own"]).await;
    let said = site.must_at_last(&switch(&site, "switchtraffic")).await;
    assert!(said.contains("Warnings:") && said.contains("reports.richest"), "{said}");
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_without_a_worker_is_refused_unless_it_is_forced() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    serving.stop().await;
    let words = format!("{} --tablet-types primary", switch(&site, "switchtraffic"));
    let said = site.run(Binary::Plain, None, &words).await;
    assert_eq!(said.code, Some(1), "{}", said.text);
    assert!(said.text.contains("nobody runs the stream of customer.move"), "{}", said.text);
    for fence in ["locks", "read-only"] {
        let said = site.run(Binary::Plain, None, &format!("{words} --fence {fence}")).await;
        assert!(said.code == Some(2) && said.text.contains("is not built"), "{}", said.text);
    }
    // Neither the fence nor the wait for who has written is skipped.
    let bank = Bank::open(&site, 1).await;
    let mut blocker = site.on_source().await;
    run_all(&mut blocker, &["BEGIN", "UPDATE account SET balance = balance WHERE id = 1"]).await;
    let forced = format!("{words} --force");
    let said =
        site.run(Binary::Plain, None, &format!("{forced} --timeout 2s --max-pause 1s")).await;
    assert!(said.code == Some(1) && said.text.contains("taken back"), "{}", said.text);
    assert!(said.text.contains(&format!("connection {} of ", blocker.id())), "{}", said.text);
    blocker.execute("ROLLBACK").await.unwrap();
    site.must_at_last(&forced).await;
    let fenced = blocker.execute("UPDATE account SET balance = 0").await.unwrap_err();
    assert_eq!(fenced.server_code(), Some(1644), "{fenced}");
    // A worker that comes later takes the stream back up.
    let serving = site.serve(Binary::Plain, None);
    bank.until_more(20).await;
    bank.close(&site, 1).await;
    site.must("movetables wait commerce.move_reverse --for caught-up --timeout 60s").await;
    assert_eq!(site.equal(&["account", "ledger"]).await, Ok(()));
    serving.stop().await;
}

/// Stops and lets go the clients of the test, who ask for a file before each transfer.
const STOPPER: &str = r#"#!/bin/sh
[ "$SHUNT_WHEN-$SHUNT_STEP" = before-pause ] && touch stopped
exit 0
"#;

async fn triggers(control: &mut Control) -> usize {
    control.rows("SHOW TRIGGERS").await.unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_the_operators_command_stops_are_switched_without_triggers() {
    let pair = Pair::start().await;
    let (site, mut serving) = moved(&pair, "").await;
    let words = format!("{} --fence external", switch(&site, "switchtraffic"));
    let said = site.run(Binary::Plain, None, &words).await;
    assert!(said.code == Some(2) && said.text.contains("[hooks]"), "{}", said.text);
    let still = site.must(&format!("{} --dry-run", switch(&site, "switchtraffic"))).await;
    assert!(still.contains("\"Reads Not Switched. Writes Not Switched\""), "{still}");
    let (script, toml) = (site.dir().join("hook.sh"), site.dir().join("shunt.toml"));
    std::fs::write(&script, STOPPER).unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    let text = std::fs::read_to_string(&toml).unwrap();
    std::fs::write(&toml, text + "\n[hooks]\ncommand = [\"./hook.sh\"]\n").unwrap();

    // Who has written and is not done is waited for; a reader is not.
    let mut reader = site.on_source().await;
    run_all(&mut reader, &["BEGIN", "SELECT * FROM account"]).await;
    let mut blocker = site.on_source().await;
    run_all(&mut blocker, &["BEGIN", "UPDATE account SET balance = balance + 5 WHERE id = 1"])
        .await;
    let said = site.run(Binary::Plain, None, &format!("{words} --max-pause 1s")).await;
    assert!(said.code == Some(1) && said.text.contains("taken back"), "{}", said.text);
    assert!(said.text.contains(&format!("connection {} of ", blocker.id())), "{}", said.text);
    run_all(&mut blocker, &["UPDATE account SET balance = balance - 5 WHERE id = 2", "COMMIT"])
        .await;
    let started = std::time::Instant::now();
    loop {
        // A failed command's lock may last a moment.
        let said = site.run(Binary::Plain, None, &words).await;
        if said.code == Some(0) {
            break;
        }
        assert!(started.elapsed() < crate::harness::pair::PATIENCE, "{}", said.text);
    }
    assert!(site.dir().join("stopped").exists());
    let [mut source, mut target] = both(&site).await;
    assert_eq!((triggers(&mut source).await, triggers(&mut target).await), (0, 0));
    check_sum(&mut target).await;
    target.execute("UPDATE account SET balance = balance + 1 WHERE id = 3").await.unwrap();
    site.must("movetables wait commerce.move_reverse --for caught-up --timeout 60s").await;
    assert_eq!(site.equal(&["account", "ledger"]).await, Ok(()));
    // Nothing refuses a client that was not stopped; it is seen.
    serving.until_logged("watching the closed side").await;
    source.execute("UPDATE account SET balance = balance + 1 WHERE id = 4").await.unwrap();
    serving.until_logged("LEAK: the closed source was written to").await;
    serving.stop().await;
}
