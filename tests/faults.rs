//! Crashes, cuts and races, with the real binary: whatever happens, both sides are equal at the end and nobody has to do
//! anything for it but start `shunt serve` again.
//!
//! `SHUNT_SOAK=1` runs the long version: more rows, more kills, more repetitions.

/// What the source's account may do, and what it does.
mod account;
/// A source and its replica that change places.
mod failover;
/// Death and lost replies at every step.
mod failpoints;
/// Kills at moments that are chosen by what the workflow is doing.
mod kills;
/// Two workers for one stream.
mod lease;
/// Servers that die and connections that break.
mod outages;
/// Rows that are in the binlog before anybody can see them.
mod visibility;

use std::time::Duration;

use crate::harness::load::Random;
use crate::harness::site::Site;
use crate::harness::until::until;

/// The table of most of these tests; besides its primary key it has a unique one and two more.
const TABLE: &str = "CREATE TABLE t (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, u INT NULL, k INT NOT NULL, \
                     c VARCHAR(200) NOT NULL, UNIQUE KEY u (u), KEY k (k), KEY c (c))";

/// Makes the table with so many rows.
async fn fill(site: &Site, rows: u64) {
    let mut source = site.on_source().await;
    source.execute(TABLE).await.unwrap();
    source
        .execute(format!(
            "INSERT INTO t SELECT seq, seq, seq % 100, CONCAT(MD5(seq), REPEAT('x', seq % 90)) \
             FROM seq_1_to_{rows}"
        ))
        .await
        .unwrap();
}

/// A transaction of the load: changes, moves of keys and of unique values, deletes, rows that come back, and one row that
/// every transaction writes.
fn change(random: &mut Random) -> Vec<String> {
    let (a, b, c) = (random.below(20_000) + 2, random.below(20_000) + 2, random.below(1 << 30));
    vec![
        "UPDATE t SET k = k + 1 WHERE id = 1".to_owned(),
        format!("UPDATE t SET c = 'changed {c}', k = {b} WHERE id = {a}"),
        format!("DELETE FROM t WHERE id = {b}"),
        format!("UPDATE IGNORE t SET u = NULL WHERE id = {a}"),
        format!("UPDATE IGNORE t SET u = {b} WHERE id = {a}"),
        format!("UPDATE IGNORE t SET id = {} WHERE id = {}", a + 20_000, random.below(20_000) + 2),
        format!("INSERT IGNORE INTO t VALUES ({b}, {a}, 7, 'back {c}')"),
        format!("INSERT INTO t (u, k, c) VALUES (NULL, 1, 'new {c}')"),
    ]
}

/// The pace of a light load.
const LIGHT: Duration = Duration::from_millis(5);
