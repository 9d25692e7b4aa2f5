//! MySQL 5.6 behind the gateway: text and prepared statements, values of many types, transactions.

use mysql_async::prelude::Queryable;
use mysql_async::{TxOpts, Value};

use super::super::harness::pair::mysql56;
use super::super::harness::routed::{Routed, Talk, ask, driver};

#[tokio::test(flavor = "multi_thread")]
async fn sessions_on_mysql_5_6() {
    let routed = Routed::unmoved_from(Some(mysql56()), 0).await;
    routed.rules(|moved, rules| moved.create(rules).unwrap()).await;
    let gateway = routed.gateway("").await;
    let port = gateway.port;
    assert!(ask(port, "commerce", "select @@version").await.starts_with("5.6."));
    let mut talk = Talk::start(port, "commerce");
    assert_eq!(
        talk.ask("begin; update product set price = 7; rollback; select max(price) from product;"),
        "100"
    );
    assert_eq!(talk.ask("insert into corder (price) values (3); select last_insert_id();"), "6");
    assert_eq!(talk.ask("begin; savepoint a; insert into corder (price) values (4); rollback to a; commit; select count(*) from customer.corder;"), "6");
    assert_eq!(talk.ask("set names latin1, sql_mode = 'ANSI_QUOTES'; select \"order_id\" from \"corder\" where price = 3;"), "6");
    let said = talk.ask("select nosuch from corder;");
    assert!(said.starts_with("ERROR 1054 (42S22)"), "{said}");
    drop(talk);

    let mut conn = driver(port, "commerce").await;
    conn.query_drop("CREATE TABLE kinds (id BIGINT PRIMARY KEY, d DECIMAL(20,5), f DOUBLE, at DATETIME(6), t TIME(3), b BLOB, s VARCHAR(9))")
        .await
        .unwrap();
    let insert = "INSERT INTO kinds VALUES (?, ?, ?, ?, ?, ?, ?)";
    let row = |id: i64| -> Vec<Value> {
        let at = Value::Date(2026, 11, 23, 1, 2, 3, 456_789);
        let time = Value::Time(true, 1, 2, 3, 4, 5000);
        let bytes = Value::Bytes(vec![0, 255, b'\'', b'\\']);
        vec![id.into(), "-12345.67890".into(), 0.1.into(), at, time, bytes, Value::NULL]
    };
    let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
    transaction.exec_drop(insert, row(i64::MIN)).await.unwrap();
    transaction.exec_drop(insert, row(2)).await.unwrap();
    transaction.commit().await.unwrap();
    let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
    transaction.exec_drop(insert, row(3)).await.unwrap();
    transaction.rollback().await.unwrap();
    let rows: Vec<mysql_async::Row> =
        conn.exec("SELECT * FROM kinds WHERE id <> ? ORDER BY id", (5,)).await.unwrap();
    let rows: Vec<Vec<Value>> = rows.into_iter().map(mysql_async::Row::unwrap).collect();
    let as_sent = |id: i64| {
        let mut row = row(id);
        row[1] = Value::Bytes(b"-12345.67890".to_vec());
        row
    };
    assert_eq!(rows, [as_sent(i64::MIN), as_sent(2)]);
    let error = conn.exec_drop(insert, row(2)).await.unwrap_err();
    assert!(error.to_string().contains("1062"), "{error}");
    let count: Option<u64> = conn.exec_first("SELECT COUNT(*) FROM corder", ()).await.unwrap();
    assert_eq!(count, Some(6));
    conn.disconnect().await.unwrap();
    gateway.stop().await;
}
