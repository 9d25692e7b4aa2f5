//! As many columns as a table can have: bitmaps of many bytes, and a count that takes several bytes itself.

use shunt_engine::workflow::spec::Tuning;
use shunt_engine::workflow::verbs::WaitFor;

use crate::harness::cells;
use crate::harness::pair::{Pair, mysql56};

/// InnoDB's most, on MySQL 5.6 as well, together with the number.
const COLUMNS: usize = 1016;

/// Three of four columns are NULL, at other places in each row.
fn row(id: usize) -> String {
    let cell = |at: usize| match (at + id) % 4 {
        0 => ((at * 7 + id) % 127).to_string(),
        _ => "NULL".to_owned(),
    };
    format!("({id}, {})", (0..COLUMNS).map(cell).collect::<Vec<_>>().join(", "))
}

async fn check(pair: &Pair) {
    let mut source = pair.on_source().await;
    let columns: Vec<String> = (0..COLUMNS).map(|at| format!("c{at} TINYINT")).collect();
    let create = format!("CREATE TABLE t (id INT NOT NULL PRIMARY KEY, {})", columns.join(", "));
    source.execute(create).await.unwrap();
    let insert = |ids: std::ops::Range<usize>| {
        format!("INSERT INTO t VALUES {}", ids.map(row).collect::<Vec<_>>().join(","))
    };
    source.execute(insert(0..50)).await.unwrap();
    let mut moved = pair.create(&["t"], Tuning::default()).await;
    moved.run().await;
    moved.wait(WaitFor::Running).await.unwrap();
    for statement in [
        insert(50..100),
        "UPDATE t SET c0 = 1, c255 = c256, c1015 = -id WHERE id % 3 = 0".to_owned(),
        "UPDATE t SET id = id + 1000, c250 = NULL, c251 = 5 WHERE id % 5 = 0".to_owned(),
        "DELETE FROM t WHERE id % 7 = 0".to_owned(),
    ] {
        assert!(source.execute(&statement).await.unwrap().affected > 10, "{statement:.80}");
    }
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    let mut target = pair.on_target().await;
    // MySQL's own is too small for such a row.
    for control in [&mut source, &mut target] {
        control.execute("SET sort_buffer_size = 16777216").await.unwrap();
    }
    assert_eq!(cells::differs(&mut source, &mut target, "t").await, None);
    moved.cancel().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_columns_from_mariadb_to_mysql() {
    check(&Pair::with(None, Some(mysql56()), &[], &[]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_columns_from_mysql_to_mariadb() {
    check(&Pair::with(Some(mysql56()), None, &[], &[]).await).await;
}
