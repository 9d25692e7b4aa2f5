//! From MySQL 5.6 to MariaDB, live: its GTIDs, its binlog, and the bracket of a server whose `gtid_executed` is early.

use shunt_engine::workflow::spec::Tuning;
use shunt_engine::workflow::verbs::WaitFor;

use crate::harness::compare::assert_equal_hex;
use crate::harness::load::{Load, Random};
use crate::harness::pair::{Pair, mysql56};

/// Statements of a file, as the seed guide gives them.
fn statements(sql: &str) -> impl Iterator<Item = &str> {
    sql.split(";\n").map(str::trim).filter(|statement| !statement.is_empty())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guides_tables_move_live() {
    let pair = Pair::with(Some(mysql56()), None, &[], &[]).await;
    let mut source = pair.on_source().await;
    for statement in statements(include_str!("fixtures/commerce.sql")) {
        source.execute(statement).await.unwrap();
    }
    let load = Load::start(&pair.source_config(), "commerce", 3, |random| {
        let (customer, price) = (random.below(40) + 1, random.below(500));
        vec![
            format!("INSERT INTO customer (email) VALUES ('c{price}@domain.com')"),
            format!(
                "INSERT INTO corder (customer_id, sku, price) VALUES ({customer}, 'SKU-1001', {price})"
            ),
            format!(
                "UPDATE customer SET email = 'new{price}@domain.com' WHERE customer_id = {customer}"
            ),
            format!("UPDATE corder SET price = NULL WHERE customer_id = {customer} LIMIT 1"),
            format!("DELETE FROM corder WHERE order_id = {}", random.below(200)),
            format!("UPDATE product SET price = {price} WHERE sku = 'SKU-1002'"),
        ]
    });
    let mut moved = pair.create(&["customer", "corder"], Tuning::default()).await;
    moved.run().await;
    moved.wait(WaitFor::Running).await.unwrap();
    let before = load.committed();
    while load.committed() < before + 200 {
        tokio::task::yield_now().await;
    }
    load.stop().await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    let tables: [(&str, &[&str]); 2] = [
        ("customer", &["customer_id", "email"]),
        ("corder", &["order_id", "customer_id", "sku", "price"]),
    ];
    for (table, columns) in tables {
        let rows = assert_equal_hex(pair.source.primary(), pair.target.primary(), columns, table);
        assert!(rows > 100, "{table} has {rows} rows");
    }
    moved.cancel().await.unwrap();
}

const ROWS: u64 = 100_000;

fn some(random: &mut Random) -> u64 {
    random.below(ROWS) + 1
}

/// MySQL has no sequence tables: five numbers of ten digits each, crossed.
fn fill() -> String {
    let digits = "(SELECT 0 d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 \
                  UNION SELECT 7 UNION SELECT 8 UNION SELECT 9)";
    let tables = ["a", "b", "c", "e", "f"].map(|name| format!("{digits} {name}")).join(", ");
    let number = "a.d + 10*b.d + 100*c.d + 1000*e.d + 10000*f.d + 1";
    format!(
        "INSERT INTO t SELECT {number}, {number}, CONCAT('row ', {number}), '2020-01-01' + INTERVAL {number} SECOND, \
         {number} / 3 FROM {tables}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_table_moves_in_many_ranges_under_load() {
    let pair = Pair::with(Some(mysql56()), None, &[], &[]).await;
    let mut source = pair.on_source().await;
    let create = "CREATE TABLE t (id INT UNSIGNED NOT NULL PRIMARY KEY, u INT, c VARCHAR(60), at DATETIME(3), \
                  d DOUBLE, UNIQUE KEY (u), KEY (c))";
    source.execute(create).await.unwrap();
    source.execute(fill()).await.unwrap();
    let load = Load::start(&pair.source_config(), "commerce", 3, |random| {
        vec![
            format!(
                "UPDATE t SET u = NULL, at = at + INTERVAL 1 SECOND WHERE id = {}",
                some(random)
            ),
            format!(
                "UPDATE IGNORE t SET u = {} WHERE id = {}",
                random.below(2 * ROWS),
                some(random)
            ),
            format!("DELETE FROM t WHERE id = {}", some(random)),
            format!(
                "UPDATE IGNORE t SET id = {} WHERE id = {}",
                random.below(2 * ROWS),
                some(random)
            ),
            format!("INSERT IGNORE INTO t VALUES ({}, NULL, 'again', NULL, 0.1)", some(random)),
        ]
    });
    let mut tuning = Tuning::default();
    tuning.set("chunk_rows_max", "3000").unwrap();
    let mut moved = pair.create(&["t"], tuning).await;
    moved.run().await;
    moved.wait(WaitFor::Running).await.unwrap();
    load.stop().await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    let columns = ["id", "u", "c", "at", "d"];
    let rows = assert_equal_hex(pair.source.primary(), pair.target.primary(), &columns, "t");
    assert!(rows > 50_000, "{rows} rows are left");
    let ranges = pair.ranges().await;
    assert!(ranges > 20, "the table was copied in {ranges} ranges");
    moved.cancel().await.unwrap();
}
