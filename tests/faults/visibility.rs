//! The visibility race, without chance: a commit that is in the binlog and that no reader can see yet.
//!
//! Under semi-sync with AFTER_SYNC a commit waits for a replica's word between the sync of the binlog and the commit in
//! InnoDB. There is no replica that would give it, so the window stays open until the test closes it. The schedule:
//!
//! 1. The only reading lane is held up at table `a`, so all of table `b` is pending.
//! 2. A row is inserted into `b`. Its event is read from the binlog and discarded: the saved position has passed it. No
//!    reader sees the row.
//! 3. The lane goes on. The range of `b` is opened.
//! 4. Without the bracket it is read now, and recorded as copied without the row. With the bracket it waits.
//! 5. The window is closed: everybody sees the row.
//!
//! And the same with a transaction that is the last of its binlog file: the server begins the next one before it commits, and says of a
//! snapshot opened meanwhile that it is at that file's start, behind the row that is not in it.

use std::time::Duration;

use shunt_engine::mysql::control::Control;
use shunt_engine::mysql::snapshot::visible_position;
use shunt_engine::mysql::wire::Wire;
use shunt_engine::runtime::tasks::spawn;

use super::until;
use crate::harness::binary::Binary;
use crate::harness::pair::{PATIENCE, Pair};
use crate::harness::site::{Site, connect};
use crate::harness::soak::scaled;

/// A source whose commits can be held between binlog and engine.
async fn pair() -> Pair {
    let options = [
        ("rpl-semi-sync-master-enabled", "OFF"),
        ("rpl-semi-sync-master-wait-point", "AFTER_SYNC"),
        ("rpl-semi-sync-master-wait-no-slave", "ON"),
        ("rpl-semi-sync-master-timeout", "600000"),
    ];
    Pair::with(None, None, &options, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_binlogged_and_not_visible_is_not_lost() {
    let pair = pair().await;
    for round in 0..scaled(2, 10) {
        let equal = race(&pair, &format!("w{round}"), None, SMALL).await;
        assert_eq!(equal, Ok(()), "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_end_their_binlog_file_and_are_not_visible_are_not_lost() {
    let pair = pair().await;
    pair.on_source().await.execute("SET GLOBAL max_binlog_size = 4096").await.unwrap();
    for round in 0..scaled(2, 10) {
        let equal = race(&pair, &format!("r{round}"), None, LARGE).await;
        assert_eq!(equal, Ok(()), "round {round}");
    }
}

/// Whoever begins behind it never reads its event. It waits without being prepared, so InnoDB's state does not show it.
#[tokio::test(flavor = "multi_thread")]
async fn a_position_behind_a_transaction_that_waits_unprepared_is_not_taken() {
    let pair = pair().await;
    let mut source = pair.on_source().await;
    for statement in [
        "CREATE TABLE b (id INT NOT NULL PRIMARY KEY)",
        "CREATE TABLE aria (id INT NOT NULL PRIMARY KEY) ENGINE=Aria",
        "SET GLOBAL rpl_semi_sync_master_enabled = ON",
    ] {
        source.execute(statement).await.unwrap();
    }
    let before = binlogged(&mut source).await;
    let mut writer = pair.on_source().await;
    let stalled = spawn("stalled commit", async move {
        for statement in ["BEGIN", "INSERT INTO b VALUES (1)", "SELECT * FROM aria"] {
            writer.execute(statement).await?;
        }
        writer.execute("COMMIT").await.map(drop)
    });
    until("the event", async || binlogged(&mut source).await != before).await;
    let connect = || async { Wire::connect(&pair.source_config()).await.unwrap() };
    let early = visible_position(&mut connect().await, Duration::from_secs(1)).await;
    assert!(early.is_err(), "{early:?} is behind a row that nobody sees");
    source.execute("SET GLOBAL rpl_semi_sync_master_enabled = OFF").await.unwrap();
    stalled.join().await.unwrap();
    let mut wire = connect().await;
    let position = visible_position(&mut wire, PATIENCE).await.unwrap();
    assert_eq!(position.gtids.to_string(), binlogged(&mut source).await);
    let rows = wire.rows("SELECT COUNT(*) FROM commerce.b").await.unwrap();
    assert_eq!(rows[0].number::<u64>(0).unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_bracket_the_row_is_lost_every_time() {
    let pair = pair().await;
    for round in 0..scaled(2, 10) {
        let equal = race(&pair, &format!("o{round}"), Some("bracket.skip:on"), SMALL).await;
        let differs = equal.expect_err("the row is there without the bracket");
        assert!(differs.contains("b: 1 lines differ, 0 of them on the target only"), "{differs}");
        println!("round {round}: {differs}");
    }
}

/// Rows of the transaction that is held; the larger one fills a binlog file.
const SMALL: u64 = 1;
const LARGE: u64 = 1000;

/// The schedule; says whether both sides are equal in the end.
async fn race(pair: &Pair, name: &str, failpoint: Option<&str>, rows: u64) -> Result<(), String> {
    let site = Site::new(pair, name).await;
    let mut source = site.on_source().await;
    for table in ["a", "b"] {
        let create = format!("CREATE TABLE {table} (id INT NOT NULL PRIMARY KEY, v INT)");
        source.execute(create).await.unwrap();
        let fill = format!("INSERT INTO {table} SELECT seq, seq FROM seq_1_to_100");
        source.execute(fill).await.unwrap();
    }
    site.must(&site.create("a,b", "copy_readers=1")).await;

    let mut holder = site.on_source().await;
    holder.execute("LOCK TABLES a WRITE").await.unwrap();
    let binary = if failpoint.is_some() { Binary::Failpoints } else { Binary::Plain };
    let serving = site.serve(binary, failpoint);
    let held = format!(
        "SELECT 1 FROM information_schema.processlist WHERE info LIKE '%`{}`.`a`%' \
         AND state LIKE 'Waiting for table metadata lock'",
        site.source_database()
    );
    until("the reader at a", async || source.row(&held).await.unwrap().is_some()).await;

    let mut target = site.on_target().await;
    let before = binlogged(&mut source).await;
    source.execute("SET GLOBAL rpl_semi_sync_master_enabled = ON").await.unwrap();
    let mut writer = site.on_source().await;
    let stalled = spawn("stalled commit", async move {
        let insert = format!("INSERT INTO b SELECT 1000 + seq, seq FROM seq_1_to_{rows}");
        writer.execute(insert).await.map(drop)
    });
    until("the event", async || binlogged(&mut source).await != before).await;
    let event = binlogged(&mut source).await;
    until("the saved position behind the event", async || {
        site.of_stream(&mut target, "s.pos").await == event
    })
    .await;
    assert_eq!(seen(&site, pair).await, 100);
    assert_eq!(site.ranges(&mut target, "b").await, 0);
    holder.execute("UNLOCK TABLES").await.unwrap();
    if failpoint.is_some() {
        until("the copy of b", async || site.ranges(&mut target, "b").await == 1).await;
    } else {
        until("the open range of b", async || {
            let progress = site.of_stream(&mut target, "l.progress").await;
            progress.contains("[\"b\",[0,1,0,0]]")
        })
        .await;
        assert_eq!(site.ranges(&mut target, "b").await, 0);
    }
    assert_eq!(seen(&site, pair).await, 100, "the window was closed too early");
    source.execute("SET GLOBAL rpl_semi_sync_master_enabled = OFF").await.unwrap();
    stalled.join().await.unwrap();
    assert_eq!(seen(&site, pair).await, 100 + rows);
    site.wait("caught-up").await;
    let equal = site.equal(&["a", "b"]).await;
    serving.stop().await;
    equal
}

async fn binlogged(source: &mut Control) -> String {
    source.row("SELECT @@global.gtid_binlog_pos").await.unwrap().unwrap().must(0).unwrap()
}

/// How many rows of `b` a new reader sees.
async fn seen(site: &Site, pair: &Pair) -> u64 {
    let query = format!("SELECT COUNT(*) FROM `{}`.b", site.source_database());
    let mut reader = connect(&pair.source_config()).await;
    reader.row(query).await.unwrap().unwrap().number(0).unwrap()
}
