//! Moves under writes.

use shunt_engine::workflow::spec::Tuning;
use shunt_engine::workflow::verbs::WaitFor;

use crate::harness::compare::assert_equal;
use crate::harness::load::{Load, Random};
use crate::harness::pair::Pair;

/// Small chunks, so that a table of a test has many ranges.
fn small_chunks() -> Tuning {
    let mut tuning = Tuning::default();
    tuning.set("chunk_rows_max", "1000").unwrap();
    tuning
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_an_integer_key_moves_under_writes() {
    let pair = Pair::start().await;
    let mut source = pair.on_source().await;
    source
        .execute(
            "CREATE TABLE t (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL, c VARCHAR(80), f FLOAT, \
             KEY (k)) ENGINE=InnoDB",
        )
        .await
        .unwrap();
    source
        .execute("INSERT INTO t (k, c, f) SELECT seq, CONCAT('row ', seq), seq * 0.1 FROM seq_1_to_100000")
        .await
        .unwrap();
    let load = Load::start(&pair.source_config(), "commerce", 2, |random: &mut Random| {
        let id = random.below(100_000) + 1;
        vec![
            format!("UPDATE t SET k = k + 1, f = f * 1.1 WHERE id = {id}"),
            format!("DELETE FROM t WHERE id = {}", random.below(100_000) + 1),
            format!("INSERT INTO t (k, c) VALUES ({id}, 'new')"),
            format!("UPDATE IGNORE t SET id = {} WHERE id = {}", random.below(200_000) + 1, id + 3),
        ]
    });
    let mut moved = pair.create(&["t"], small_chunks()).await;
    moved.run().await;
    moved.wait(WaitFor::Running).await.unwrap();
    load.stop().await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    let rows = assert_equal(pair.source.primary(), pair.target.primary(), "t");
    assert!(rows > 50_000);
    moved.cancel().await.unwrap();
}
