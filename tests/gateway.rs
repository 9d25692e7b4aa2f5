//! The gateway, by the stock client: which server a statement reaches, what a session carries, what a switch does to it.

use std::time::Duration;

use shunt_engine::routing::{ServerType, Side};

use super::harness::routed::{Routed, Talk, ask, ask_with, once};
use super::harness::site::LOOK;

mod edges;
mod endings;
mod evasions;
mod mysql56;
mod prepared;
mod programs;
mod sessions;
mod switches;

/// Waits until a statement has this answer.
async fn until(port: u16, database: &str, sql: &str, expected: &str) {
    let started = std::time::Instant::now();
    loop {
        let said = ask(port, database, sql).await;
        if said == expected {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{sql}: {said:?}, not {expected:?}");
        tokio::time::sleep(LOOK).await;
    }
}

const EMAILS: &str = "select min(email) from customer";
const OLD: &str = "alice@domain.com";
const NEW: &str = "new-alice@domain.com";

#[tokio::test(flavor = "multi_thread")]
async fn rules_lead_names_of_all_kinds_at_every_stage() {
    let routed = Routed::start(1).await;
    let gateway = routed.gateway("").await;
    let port = gateway.port;
    let tablets = "show vitess_tablets";
    let masked = |text: &str| {
        let mut text = text.to_owned();
        while let Some(at) = text.find("Z |").filter(|at| text.as_bytes()[at - 9] == b'T') {
            text.replace_range(at - 19..at + 1, "<the primary's start>");
        }
        text
    };
    until(port, "commerce", "select count(*) from product", "2").await;
    let serving = |listing: &str| !listing.contains("NOT_SERVING");
    let listing = once(serving, async || ask_with(port, &["--table", "-e", tablets]).await).await;
    assert_eq!(masked(&listing), include_str!("gateway/tablets.txt").trim_end());

    routed.rules(|moved, rules| moved.create(rules).unwrap()).await;
    // Both keyspaces mean the source's table, on each type of server.
    for database in ["commerce", "customer", "commerce@replica", "customer@rdonly"] {
        until(port, database, EMAILS, OLD).await;
    }
    until(port, "", "select min(email) from customer.customer", OLD).await;
    until(port, "", EMAILS, OLD).await;

    routed.rules(|moved, rules| moved.lead_reads(rules, &ServerType::READS, Side::Target)).await;
    until(port, "commerce@replica", EMAILS, NEW).await;
    until(
        port,
        "commerce@rdonly",
        "select min(commerce.customer.email) from commerce.customer",
        NEW,
    )
    .await;
    assert_eq!(ask(port, "commerce", EMAILS).await, OLD);

    routed.rules(|moved, rules| moved.lead_writes(rules, Side::Target)).await;
    for database in ["commerce", "customer", "commerce@replica"] {
        until(port, database, EMAILS, NEW).await;
    }
    assert_eq!(
        ask(port, "commerce", "select count(*) from product; select min(email) from customer")
            .await,
        format!("2\n{NEW}")
    );
    let join = "select * from product p join corder c on p.sku = c.sku";
    assert_eq!(
        ask(port, "commerce", join).await,
        "ERROR 1235 (42000) at line 1: shunt: statement or transaction spans keyspaces on different servers (commerce, customer)"
    );
    let unparsed = ask(port, "commerce", "rename table customer to elsewhere").await;
    assert!(
        unparsed.starts_with("ERROR 1235 (42000)") && unparsed.contains("not understood"),
        "{unparsed}"
    );

    routed.rules(|moved, rules| moved.remove(rules)).await;
    until(port, "commerce", EMAILS, OLD).await;
    assert_eq!(ask(port, "customer", EMAILS).await, NEW);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_stays_on_one_server_or_ends() {
    let routed = Routed::start(0).await;
    routed.rules(|moved, rules| moved.create(rules).unwrap()).await;
    routed.rules(|moved, rules| moved.lead_writes(rules, Side::Target)).await;
    let gateway = routed.gateway("").await;
    let mut talk = Talk::start(gateway.port, "commerce");
    let doomed = "ERROR 1235 (42000)";
    // BEGIN waits for the server of its first statement.
    assert_eq!(talk.ask("begin; update corder set price = 7 where order_id = 1; commit;"), "");
    assert_eq!(talk.ask("select price from corder where order_id = 1;"), "7");

    assert_eq!(talk.ask("begin; update corder set price = 8 where order_id = 1;"), "");
    let said = talk.ask("update product set price = 0;");
    assert!(said.contains("different servers (customer, commerce)"), "{said}");
    for refused in ["select * from corder;", "begin;", "commit;"] {
        let said = talk.ask(refused);
        assert!(said.starts_with(doomed) && said.contains("rolled back"), "{refused} {said}");
    }
    assert_eq!(
        talk.ask("select price from corder where order_id = 1; select max(price) from product;"),
        "7\n100"
    );

    // Without BEGIN, too.
    assert_eq!(talk.ask("set autocommit = 0; update product set price = 1;"), "");
    assert!(talk.ask("delete from corder;").starts_with(doomed));
    assert_eq!(talk.ask("rollback; set autocommit = 1; select max(price) from product; select count(*) from corder;"), "100\n5");

    // Savepoints before the first statement are kept for it; a snapshot pins at once.
    assert_eq!(talk.ask("begin; savepoint a; insert into corder (price) values (1); rollback to a; commit; select count(*) from corder;"), "5");
    assert_eq!(
        talk.ask("start transaction with consistent snapshot; select count(*) from product;"),
        "2"
    );
    assert!(talk.ask("select * from corder;").starts_with(doomed));
    assert_eq!(talk.ask("rollback;"), "");
    // LOCK TABLES pins as well.
    assert_eq!(talk.ask("lock tables product read;"), "");
    assert!(talk.ask("select * from corder;").starts_with(doomed));
    drop(talk);
    gateway.stop().await;
}
