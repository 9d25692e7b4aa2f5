//! Prepared statements and drivers: what a statement means was settled at its PREPARE, and semicolons end it.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use shunt_engine::routing::{Side, TableName, document};

use super::super::harness::routed::{Routed, Talk, driver};
use super::{EMAILS, NEW, OLD, until};

/// The e-mail of `alice` in the keyspace that is made beside `commerce`.
const BESIDE: &str = "beside-alice@domain.com";

async fn email(conn: &mut Conn, statement: &mysql_async::Statement) -> String {
    conn.exec_first(statement, ()).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_statement_keeps_the_database_it_was_prepared_in() {
    let mut routed = Routed::start(0).await;
    routed.add_keyspace("beside").await;
    let gateway = routed.gateway("").await;
    let mut conn = driver(gateway.port, "commerce").await;
    let first = conn.prep(EMAILS).await.unwrap();
    let own = conn.prep(format!("SET @seen = ({EMAILS})")).await.unwrap();
    assert_eq!(email(&mut conn, &first).await, OLD);
    // On another server, in another database of the same one, and back.
    for (keyspace, here) in [("customer", NEW), ("beside", BESIDE), ("commerce", OLD)] {
        conn.query_drop(format!("USE {keyspace}")).await.unwrap();
        let text: Option<String> = conn.query_first(EMAILS).await.unwrap();
        assert_eq!(text.as_deref(), Some(here), "{keyspace}");
        assert_eq!(email(&mut conn, &first).await, OLD, "{keyspace}");
        conn.exec_drop(&own, ()).await.unwrap();
        let seen: Option<String> = conn.query_first("SELECT @seen").await.unwrap();
        assert_eq!(seen.as_deref(), Some(OLD), "{keyspace}");
        // The same text means something else where it is prepared again.
        let again = conn.prep(EMAILS).await.unwrap();
        conn.query_drop("USE commerce").await.unwrap();
        assert_eq!(email(&mut conn, &again).await, here, "{keyspace}");
        conn.query_drop("UPDATE product SET price = price").await.unwrap();
        assert_eq!(email(&mut conn, &again).await, here, "{keyspace}");
    }
    // By text the server keeps it, and a name means what it was given last.
    let mut talk = Talk::start(gateway.port, "commerce");
    let prepare = format!("prepare s from '{EMAILS}';");
    assert_eq!(
        talk.ask(&format!("{prepare} use customer; execute s; use beside; execute S;")),
        format!("{OLD}\n{OLD}")
    );
    assert_eq!(talk.ask(&format!("use customer; {prepare} use commerce; execute s;")), NEW);
    let said = talk.ask("use beside; deallocate prepare `s`; execute s;");
    assert!(said.starts_with("ERROR 1243"), "{said}");
    drop(talk);
    let write = conn.prep("UPDATE corder SET price = ? WHERE order_id = 1").await.unwrap();
    conn.query_drop("USE beside").await.unwrap();
    conn.exec_drop(&write, (7,)).await.unwrap();
    let prices = "SELECT (SELECT price FROM commerce.corder WHERE order_id = 1), (SELECT price FROM beside.corder WHERE order_id = 1)";
    let prices: Option<(i64, i64)> = conn.query_first(prices).await.unwrap();
    assert_eq!(prices, Some((7, 100)));
    conn.disconnect().await.unwrap();
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_statement_follows_a_table_between_two_databases_of_a_server() {
    let mut routed = Routed::start(0).await;
    routed.add_keyspace("beside").await;
    let gateway = routed.gateway("").await;
    let mut conn = driver(gateway.port, "commerce").await;
    let statement = conn.prep(EMAILS).await.unwrap();
    for (keyspace, here) in [("beside", BESIDE), ("commerce", OLD), ("beside", BESIDE)] {
        document::change(&*routed.store, |rules| {
            let to = TableName { keyspace: keyspace.into(), table: "customer".into() };
            rules.set("commerce.customer".parse()?, to);
            Ok(())
        })
        .await
        .unwrap();
        until(gateway.port, "commerce", EMAILS, here).await;
        assert_eq!(email(&mut conn, &statement).await, here);
        assert_eq!(email(&mut conn, &statement).await, here);
    }
    conn.disconnect().await.unwrap();
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn semicolons_and_settings_of_a_statement_are_understood() {
    let routed = Routed::start(0).await;
    routed.rules(|moved, rules| moved.create(rules).unwrap()).await;
    routed.rules(|moved, rules| moved.lead_writes(rules, Side::Target)).await;
    let gateway = routed.gateway("").await;
    // Drivers send what is in front of the end of the text; the stock client takes the semicolon off.
    let mut conn = driver(gateway.port, "commerce").await;
    for text in [
        format!("{EMAILS};"),
        format!("{EMAILS} ;;\n"),
        format!("{EMAILS};\n-- no more"),
        format!("SET STATEMENT max_statement_time = 60 FOR {EMAILS};"),
        format!(
            "SET STATEMENT sort_buffer_size = 100000, max_statement_time = 60 FOR SET STATEMENT lock_wait_timeout = 9 FOR {EMAILS}"
        ),
    ] {
        let said: Option<String> = conn.query_first(&text).await.unwrap();
        assert_eq!(said.as_deref(), Some(NEW), "{text}");
        let prepared = conn.prep(&text).await.unwrap();
        assert_eq!(email(&mut conn, &prepared).await, NEW, "{text}");
    }
    let id: Option<u32> = conn.query_first("SELECT CONNECTION_ID();").await.unwrap();
    assert_eq!(id, Some(conn.id()));
    conn.disconnect().await.unwrap();

    // The statement behind the settings is one of its transaction, and says where that is.
    let mut talk = Talk::start(gateway.port, "commerce");
    let settings = "set statement max_statement_time = 60 for";
    let update = format!("{settings} update corder set price = 1 where order_id = 1;");
    let price = "select price from corder where order_id = 1;";
    assert_eq!(talk.ask("select max(price) from product;"), "100");
    assert_eq!(talk.ask(&format!("begin; {update} {price} rollback; {price}")), "1\n1100");
    assert_eq!(talk.ask(&format!("begin; {update} {settings} commit; {price}")), "1");
    let said = talk.ask(&format!("{settings} select * from product join corder using (sku);"));
    assert!(said.contains("different servers"), "{said}");
    assert_eq!(talk.ask(&format!("{settings} use customer; select database();")), "customer");
    let said = talk.ask(&format!("{settings} rename table customer to elsewhere;"));
    assert!(said.contains("not understood"), "{said}");
    drop(talk);
    gateway.stop().await;
}
