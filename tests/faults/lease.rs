//! Two workers for one stream: one is frozen for longer than its lease lasts, and goes on when the other has taken over.

use std::collections::BTreeSet;

use super::{LIGHT, change, fill, until};
use crate::harness::binary::Binary;
use crate::harness::pair::Pair;
use crate::harness::proxy::Proxy;
use crate::harness::shell::Serving;
use crate::harness::site::{Site, connect};
use crate::harness::soak::scaled;
use crate::harness::writers::Writers;

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_worker_that_wakes_up_late_commits_nothing() {
    let pair = Pair::start().await;
    let site = Site::new(&pair, "").await;
    fill(&site, scaled(60_000, 600_000)).await;
    let load = Writers::start(&pair.source_config(), "commerce", 2, LIGHT, change);
    let mut log = connect(&pair.target_config()).await;
    log.execute("SET GLOBAL log_output = 'TABLE'").await.unwrap();
    site.must(&site.create("t", "chunk_rows_max=1000")).await;
    let mut target = site.on_target().await;
    let mut owner = site.serve(Binary::Plain, None);
    site.until_ranges(&mut target, "t", 5).await;
    // In the copy first; then, with roles swapped, while running.
    let mut other = site.serve(Binary::Plain, None);
    for round in 0..scaled(2, 6) {
        let state = site.state(&mut target).await;
        let epoch = take_over(&site, &mut log, &owner, &load).await;
        println!("round {round}: taken over in state {state}, epoch {epoch}");
        assert!(owner.runs());
        site.wait("running").await;
        std::mem::swap(&mut owner, &mut other);
    }
    load.stop().await;
    site.wait("caught-up").await;
    assert_eq!(site.equal(&["t"]).await, Ok(()), "{}\n{}", owner.log(), other.log());
    owner.stop().await;
    other.stop().await;
}

/// Freezes the owner until the other has the stream, lets it go on, and looks at every statement that it still sends.
async fn take_over(
    site: &Site,
    log: &mut shunt_engine::mysql::control::Control,
    owner: &Serving,
    load: &Writers,
) -> u64 {
    let mut target = site.on_target().await;
    let noted = site.of_stream(&mut target, "l.connections").await;
    let name = site.of_stream(&mut target, "l.owner").await;
    owner.signal("-STOP");
    let frozen_ids: BTreeSet<u64> = noted.split(',').filter_map(|id| id.parse().ok()).collect();
    assert!(!frozen_ids.is_empty());
    until("another owner", async || site.of_stream(&mut target, "l.owner").await != name).await;
    let epoch = site.of_stream(&mut target, "e.epoch").await;
    load.until_more().await;
    log.execute("TRUNCATE TABLE mysql.general_log").await.unwrap();
    log.execute("SET GLOBAL general_log = ON").await.unwrap();
    let position = site.of_stream(&mut target, "s.pos").await;
    owner.signal("-CONT");
    owner_gives_up(owner).await;
    load.until_more().await;
    until("progress of the other", async || site.of_stream(&mut target, "s.pos").await != position)
        .await;
    log.execute("SET GLOBAL general_log = OFF").await.unwrap();
    // Nothing came from the connections that write rows; they were ended by the takeover.
    let list = noted.trim_matches(',');
    let query = format!("SELECT COUNT(*) FROM mysql.general_log WHERE thread_id IN ({list})");
    assert_eq!(log.row(query).await.unwrap().unwrap().number::<u64>(0).unwrap(), 0);
    let query = format!("SELECT COUNT(*) FROM information_schema.processlist WHERE id IN ({list})");
    assert_eq!(log.row(query).await.unwrap().unwrap().number::<u64>(0).unwrap(), 0);
    // Nor did it get the stream back.
    assert_eq!(site.of_stream(&mut target, "e.epoch").await, epoch);
    assert_ne!(site.of_stream(&mut target, "l.owner").await, name);
    epoch.parse().unwrap()
}

/// The worker has noticed, and says that the stream ended here.
async fn owner_gives_up(owner: &Serving) {
    until("the end of the stream in the worker that was frozen", async || {
        let log = owner.log();
        log.rfind(" ended ").or(log.rfind("how=Elsewhere")) > log.rfind(" running ")
    })
    .await;
}

/// To set up takes several times as long as a lease: nobody takes the stream from who is at it.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_far_from_its_servers_keeps_the_stream() {
    const TABLES: u32 = 40;
    let pair = Pair::start().await;
    let to_source = Proxy::start(&pair.source_config()).await;
    let source = to_source.before(&pair.source_config());
    let site = Site::through(&pair, "", &source, &pair.target_config()).await;
    let mut control = site.on_source().await;
    for number in 0..TABLES {
        let create = format!("CREATE TABLE t{number} (id INT NOT NULL PRIMARY KEY)");
        control.execute(create).await.unwrap();
        control.execute(format!("INSERT INTO t{number} VALUES (1)")).await.unwrap();
    }
    let names: Vec<String> = (0..TABLES).map(|number| format!("t{number}")).collect();
    site.must(&site.create(&names.join(","), "chunk_rows_max=1000")).await;
    to_source.move_away(8);
    let workers = [site.serve(Binary::Plain, None), site.serve(Binary::Plain, None)];
    let started = std::time::Instant::now();
    site.wait("running").await;
    assert!(started.elapsed() > shunt_engine::limits::LEASE_TTL, "it was no test");
    let mut target = site.on_target().await;
    assert_eq!(site.of_stream(&mut target, "e.epoch").await, "1");
    for worker in workers {
        worker.stop().await;
    }
}
