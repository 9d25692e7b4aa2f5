//! Sessions while tables are switched: holds, the fence, and prepared statements that change servers.

use std::process::{Command, Stdio};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use shunt_engine::routing::{MovedTables, Side};
use shunt_engine::topology::switches::SwitchState;

use super::super::harness::routed::{Routed, Talk, ask, driver};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(150);

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_parks_statements_waits_for_writers_and_releases_to_the_new_rules() {
    let routed = Routed::start(0).await;
    routed.rules(|moved, rules| moved.create(rules).unwrap()).await;
    let gateways = [routed.gateway("").await, routed.gateway("held_max = 1").await];
    let [one, two] = [gateways[0].port, gateways[1].port];
    let mut writer = Talk::start(one, "commerce");
    let mut reader = Talk::start(one, "commerce");
    let mut idle = Talk::start(one, "commerce");
    assert_eq!(writer.ask("begin; update corder set price = 1 where order_id = 1;"), "");
    assert_eq!(reader.ask("begin; select price from corder where order_id = 2;"), "30");

    let mut late = Talk::start(one, "commerce");
    assert_eq!(late.ask("begin; update product set price = 31 where sku = 'SKU-1002';"), "");
    routed.switch(1, SwitchState::Announced, LONG).await;
    routed.switch(1, SwitchState::Hold, LONG).await;
    // The second gateway has nothing to wait for; the first has a transaction that wrote.
    routed.until_confirmed(1, 1).await;
    // It may see the hold a moment after the second; until then it serves.
    let mut before = 0;
    loop {
        idle.say("select price from corder where order_id = 1;");
        let Some(said) = idle.hear(SHORT) else { break };
        before += 1;
        assert!(said == "100" && before < 100, "{said}");
    }
    let mut parked = Talk::start(two, "customer");
    parked.say("select max(price) from corder;");
    assert_eq!(parked.hear(SHORT), None);
    assert_eq!(routed.confirmed(1).await, 1, "a transaction that wrote is waited for");
    // The queue is bounded; other tables are served; the transaction goes on.
    let said = ask(two, "customer", "select * from corder").await;
    assert!(said.starts_with("ERROR 1205"), "{said}");
    // Then it takes back what it has confirmed, so that the switch is.
    routed.until_withdrawn(1).await;
    assert_eq!(ask(two, "commerce", "select count(*) from product").await, "2");
    assert_eq!(writer.ask("update corder set price = 2 where order_id = 1; commit;"), "");
    routed.until_confirmed(1, 1).await;
    // A transaction that only now comes to a held table waits, and meets a second server.
    late.say("update corder set price = 3; commit; select max(price) from product where sku = 'SKU-1002';");
    assert_eq!(late.hear(SHORT), None);

    routed.rules(|moved, rules| moved.lead_writes(rules, Side::Target)).await;
    assert_eq!(idle.hear(SHORT), None, "rules alone release nothing");
    routed.end_switch(1).await;
    assert_eq!(idle.hear(LONG).unwrap(), "1100");
    assert_eq!(parked.hear(LONG).unwrap(), "1100");
    let said = late.hear(LONG).unwrap();
    assert!(
        said.contains("different servers (commerce, customer)") && said.ends_with("30"),
        "{said}"
    );
    // A transaction that has only read keeps its snapshot, and cannot write.
    assert_eq!(reader.ask("select price from corder where order_id = 2;"), "30");
    let said = reader.ask("update corder set price = 9;");
    assert!(said.starts_with("ERROR 1213 (40001)"), "{said}");
    assert_eq!(reader.ask("select price from corder where order_id = 2;"), "1030");

    // A coordinator that dies leaves nobody waiting.
    routed.switch(2, SwitchState::Hold, Duration::from_millis(700)).await;
    routed.until_confirmed(2, 2).await;
    assert_eq!(ask(one, "commerce", "select price from corder where order_id = 1").await, "1100");
    drop((writer, reader, idle, parked, late));
    for gateway in gateways {
        gateway.stop().await;
    }
    use shunt_engine::topology::GatewayRegistry;
    assert_eq!(routed.store.gateways().await.unwrap(), []);
}

/// Transactions that have only locked rows, which no fence knows of, and such that have only read so far.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_waits_for_who_locked_rows_and_makes_wait_who_only_read() {
    let routed = Routed::start(0).await;
    routed.rules(|moved, rules| moved.create(rules).unwrap()).await;
    let gateway = routed.gateway("").await;
    let mut locker = Talk::start(gateway.port, "commerce");
    let mut reader = Talk::start(gateway.port, "commerce");
    let locks = "begin; select price from corder where order_id = 1 for update;";
    assert_eq!(locker.ask(locks), "100");
    assert_eq!(reader.ask("begin; select price from corder where order_id = 2;"), "30");
    routed.switch(1, SwitchState::Hold, LONG).await;
    let mut parked = Talk::start(gateway.port, "commerce");
    // Served until the gateway sees the hold; then it waits, for longer than any coordinator waits for a hold.
    loop {
        parked.say("select price from corder where order_id = 2;");
        let Some(said) = parked.hear(2 * SHORT) else { break };
        assert_eq!(said, "30");
    }
    assert_eq!(routed.confirmed(1).await, 0, "a transaction that locked is waited for");
    assert_eq!(locker.ask("update corder set price = 101 where order_id = 1; commit;"), "");
    routed.until_confirmed(1, 1).await;
    // It would meet the fence. The switch is taken back: it goes on as if nothing had been.
    reader.say("update corder set price = 31 where order_id = 2; select price from corder where order_id = 2;");
    assert_eq!(reader.hear(SHORT), None);
    routed.end_switch(1).await;
    assert_eq!(reader.hear(LONG).unwrap(), "31");
    assert_eq!(parked.hear(LONG).unwrap(), "30");
    assert_eq!(reader.ask("commit;"), "");
    drop((locker, reader, parked));
    gateway.stop().await;
}

/// A backup, or a tool, holds the topology's file locked for longer than the lease lasts.
#[tokio::test(flavor = "multi_thread")]
async fn a_locked_topology_stops_only_the_tables_of_rules() {
    let routed = Routed::start(0).await;
    routed.rules(|moved, rules| moved.create(rules).unwrap()).await;
    let gateway = routed.gateway("").await;
    let mut talk = Talk::start(gateway.port, "commerce");
    assert_eq!(talk.ask("select max(price) from corder;"), "100");
    let lock = rusqlite::Connection::open(routed.dir().join("topology.db")).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut known = Talk::start(gateway.port, "commerce");
    // Served until the lease ends.
    loop {
        known.say("select max(price) from corder;");
        if known.hear(2 * SHORT).is_none() {
            break;
        }
    }
    assert_eq!(talk.ask("select max(price) from product;"), "100");
    assert_eq!(known.hear(SHORT), None);
    lock.execute_batch("ROLLBACK").unwrap();
    assert_eq!(known.hear(LONG).unwrap(), "100");
    drop((talk, known));
    gateway.stop().await;
}

/// The client says nothing behind the end of its transaction, so the gateway has to find out.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_over_holds_up_no_switch() {
    let routed = Routed::start(0).await;
    routed.rules(|moved, rules| moved.create(rules).unwrap()).await;
    let gateway = routed.gateway("").await;
    let mut victim = Talk::start(gateway.port, "commerce");
    let mut other = Talk::start(gateway.port, "commerce");
    let mut chained = Talk::start(gateway.port, "commerce");
    // The one with less to roll back ends by the deadlock.
    let more = "begin; update corder set price = 1 where order_id > 1; update product set price = price + 1;";
    assert_eq!(other.ask(more), "");
    assert_eq!(victim.ask("begin; update corder set price = 2 where order_id = 1;"), "");
    victim.say("update corder set price = 2 where order_id = 2;");
    assert_eq!(victim.hear(SHORT), None);
    assert_eq!(other.ask("update corder set price = 1 where order_id = 1; commit;"), "");
    assert!(victim.hear(LONG).unwrap().starts_with("ERROR 1213"));
    // One more has begun, and has touched nothing.
    assert_eq!(chained.ask("begin; update corder set price = 3; commit and chain;"), "");
    // An error alone ends nothing.
    let mut open = Talk::start(gateway.port, "commerce");
    let said = open.ask("begin; update corder set price = 4 where order_id = 3; insert into corder (order_id) values (1);");
    assert!(said.starts_with("ERROR 1062"), "{said}");
    routed.switch(1, SwitchState::Hold, LONG).await;
    let mut parked = Talk::start(gateway.port, "commerce");
    loop {
        parked.say("select price from corder where order_id = 2;");
        let Some(said) = parked.hear(2 * SHORT) else { break };
        assert_eq!(said, "3");
    }
    assert_eq!(routed.confirmed(1).await, 0);
    assert_eq!(open.ask("rollback;"), "");
    routed.until_confirmed(1, 1).await;
    routed.rules(|moved, rules| moved.lead_writes(rules, Side::Target)).await;
    routed.end_switch(1).await;
    assert_eq!(parked.hear(LONG).unwrap(), "1030");
    assert_eq!(victim.ask("select price from corder where order_id = 2;"), "1030");
    assert_eq!(chained.ask("rollback; select price from corder where order_id = 2;"), "1030");
    drop((victim, other, chained, open, parked));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_is_followed_and_never_shown() {
    let routed = Routed::start(0).await;
    routed.rules(|moved, rules| moved.create(rules).unwrap()).await;
    let gateway = routed.gateway("").await;
    let mut source = routed.on_commerce().await;
    source
        .execute(
            "CREATE TRIGGER _shunt_fence_ins_test BEFORE INSERT ON corder FOR EACH ROW \
             SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 1644, MESSAGE_TEXT = 'shunt fence g=1: closed'",
        )
        .await
        .unwrap();
    let mut plain = Talk::start(gateway.port, "commerce");
    let mut begun = Talk::start(gateway.port, "commerce");
    let mut inside = Talk::start(gateway.port, "commerce");
    let mut returns = Talk::start(gateway.port, "commerce");
    plain.say("insert into corder (order_id, price) values (101, 5);");
    // The server sends what its columns are before the refusal.
    returns.say(
        "insert into corder (order_id, price) values (103, 5), (104, 6) returning order_id, price;",
    );
    begun.say("begin; insert into corder (order_id, price) values (102, 5); select count(*) from corder; commit;");
    assert_eq!(plain.hear(SHORT), None);
    assert_eq!(begun.hear(SHORT), None);
    assert_eq!(returns.hear(SHORT), None);
    // A transaction that has done something already is rolled back, so that it holds nobody up, and is to be begun again.
    let said = inside.ask("begin; update corder set price = 1 where order_id = 1; insert into corder (price) values (1);");
    assert!(said.starts_with("ERROR 1213 (40001)") && said.contains("try restarting"), "{said}");
    let open = "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_rows_modified > 0";
    assert_eq!(source.row(open).await.unwrap().unwrap().text(0).unwrap(), "0");
    routed.rules(|moved, rules| moved.lead_writes(rules, Side::Target)).await;
    assert_eq!(plain.hear(LONG).unwrap(), "");
    assert_eq!(returns.hear(LONG).unwrap(), "103\t5\n104\t6");
    let count: u32 = begun.hear(LONG).unwrap().parse().unwrap();
    assert!((6..=9).contains(&count), "{count}");
    assert_eq!(returns.ask("delete from corder where order_id > 102 returning price;"), "5\n6");
    assert_eq!(returns.ask("delete from corder where order_id > 102 returning price;"), "");
    let mut target = routed.on_customer().await;
    let query = "SELECT COUNT(*) FROM corder WHERE order_id IN (101, 102)";
    assert_eq!(target.row(query).await.unwrap().unwrap().text(0).unwrap(), "2");
    assert_eq!(source.row(query).await.unwrap().unwrap().text(0).unwrap(), "0");
    drop((plain, begun, inside, returns));
    gateway.stop().await;
}

/// A procedure commits what it does statement by statement: sent again, it would do the first ones again.
#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_committed_a_part_is_not_sent_again_after_a_fence() {
    let routed = Routed::start(0).await;
    let mut source = routed.on_commerce().await;
    for sql in [
        "CREATE TABLE log (i INT AUTO_INCREMENT PRIMARY KEY)",
        "CREATE TABLE notes (i INT AUTO_INCREMENT PRIMARY KEY) ENGINE=MyISAM",
        "CREATE PROCEDURE orders() BEGIN INSERT INTO log VALUES (); INSERT INTO corder (price) VALUES (1); END",
        "CREATE FUNCTION noted() RETURNS INT BEGIN INSERT INTO notes VALUES (); RETURN 1; END",
        "GRANT EXECUTE ON commerce.* TO app@'%'",
        "CREATE TRIGGER _shunt_fence_ins_test BEFORE INSERT ON corder FOR EACH ROW \
         SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 1644, MESSAGE_TEXT = 'shunt fence g=1: closed'",
    ] {
        source.execute(sql).await.unwrap();
    }
    let fenced = "ERROR 1644 (45000)";
    let count = "select count(*) from log;";
    // Without rules, as well as with them.
    for rules in [false, true] {
        if rules {
            routed.rules(|moved, rules| moved.create(rules).unwrap()).await;
        }
        let gateway = routed.gateway("").await;
        let mut talk = Talk::start(gateway.port, "commerce");
        let before: u32 = talk.ask(count).parse().unwrap();
        let said = talk.ask("call orders();");
        assert!(said.starts_with(fenced) && said.contains("shunt fence g=1: closed"), "{said}");
        assert_eq!(talk.ask(count), (before + 1).to_string());
        // In a transaction, too: what the procedure did before is the client's to commit.
        let said = talk.ask("begin; call orders();");
        assert!(said.starts_with(fenced), "{said}");
        assert_eq!(talk.ask(&format!("commit; {count}")), (before + 2).to_string());
        // What a function wrote into a table without transactions stands; so does what a variable counted.
        let notes = "select count(*) from notes;";
        let noted: u32 = talk.ask(notes).parse().unwrap();
        let said = talk.ask("insert into corder (price) values (noted());");
        assert!(said.starts_with(fenced), "{said}");
        assert_eq!(talk.ask(notes), (noted + 1).to_string());
        let said = talk.ask("set @n = 0; insert into corder (price) values (@n := @n + 1);");
        assert!(said.starts_with(fenced), "{said}");
        assert_eq!(talk.ask("select @n;"), "1");
        if !rules {
            let mut conn = driver(gateway.port, "commerce").await;
            let compound = "BEGIN NOT ATOMIC INSERT INTO log VALUES (); INSERT INTO corder (price) VALUES (1); END;";
            for text in [compound, "EXECUTE IMMEDIATE 'CALL orders()'"] {
                let error = conn.query_drop(text).await.unwrap_err();
                assert!(error.to_string().contains("1644"), "{text}: {error}");
            }
            assert_eq!(talk.ask(count), (before + 4).to_string());
            conn.disconnect().await.unwrap();
        }
        drop(talk);
        gateway.stop().await;
    }
}

/// Reads by sysbench, prepared and as text, while its table is led to and fro.
#[tokio::test(flavor = "multi_thread")]
async fn prepared_statements_follow_the_rules() {
    let routed = Routed::start(0).await;
    let tables = ["sbtest1".to_owned()];
    let moved = MovedTables { source: "commerce", target: "customer", tables: &tables };
    for (server, database) in [(routed.commerce(), "commerce"), (routed.customer(), "customer")] {
        let made = sysbench(server.primary().port(), database, &["prepare"]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
    }
    let lead = |side: Side| {
        let moved = &moved;
        let store = &*routed.store;
        shunt_engine::routing::document::change(store, move |rules| {
            moved.create(rules).ok();
            moved.lead_writes(rules, side);
            Ok(())
        })
    };
    lead(Side::Source).await.unwrap();
    let gateway = routed.gateway("").await;
    let mut runs = Vec::new();
    for mode in ["auto", "disable"] {
        let mode = format!("--db-ps-mode={mode}");
        let mut command =
            sysbench(gateway.port, "commerce", &["--time=4", "--threads=2", &mode, "run"]);
        runs.push(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    }
    let mut side = Side::Source;
    let mut flips = 0;
    while runs.iter_mut().any(|run| run.try_wait().unwrap().is_none()) {
        side = side.other();
        lead(side).await.unwrap();
        flips += 1;
        tokio::time::sleep(Duration::from_millis(120)).await;
    }
    assert!(flips > 5, "{flips}");
    for run in runs {
        let output = run.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text} {}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains("ignored errors:                      0 "), "{text}");
    }
    gateway.stop().await;
}

fn sysbench(port: u16, database: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("sysbench");
    command
        .args([
            "oltp_read_only",
            "--mysql-host=127.0.0.1",
            "--mysql-user=app",
            "--mysql-password=secret",
        ])
        .args([format!("--mysql-port={port}"), format!("--mysql-db={database}")])
        .args(["--tables=1", "--table-size=500"])
        .args(arguments);
    command
}
