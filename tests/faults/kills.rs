//! `kill -9` of the worker in the copy, in the index build, in catch-up and while running, with rows written in each.
//!
//! A phase is not waited for by chance but held: index builds are long enough to be met, and catch-up lasts because the
//! test holds the lock of a row that every group has to write.

use super::{LIGHT, change, fill, until};
use crate::harness::binary::Binary;
use crate::harness::pair::Pair;
use crate::harness::shell::Serving;
use crate::harness::site::Site;
use crate::harness::soak::scaled;
use crate::harness::writers::Writers;

struct Killing<'a> {
    site: &'a Site,
    load: &'a Writers,
    serving: Option<Serving>,
    kills: Vec<String>,
}

impl Killing<'_> {
    /// Kills the worker, says in which phase, and starts the next one.
    async fn kill(&mut self, phase: &str) {
        let mut target = self.site.on_target().await;
        self.serving.take().unwrap().kill();
        let state = self.site.state(&mut target).await;
        let ranges = self.site.ranges(&mut target, "t").await;
        let written = self.load.committed();
        println!(
            "killed in {phase}: state {state}, {ranges} ranges copied, {written} transactions written"
        );
        self.kills.push(format!("{phase} {state}"));
        self.load.until_more().await;
        self.serving = Some(self.site.serve(Binary::Plain, None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_in_every_phase_leaves_nothing_wrong() {
    let pair = Pair::start().await;
    let site = Site::new(&pair, "").await;
    fill(&site, scaled(150_000, 1_500_000)).await;
    let load = Writers::start(&pair.source_config(), "commerce", 2, LIGHT, change);
    let mut target = site.on_target().await;
    site.must(&site.create("t", &format!("chunk_rows_max={}", scaled(3000, 20_000)))).await;
    let serving = Some(site.serve(Binary::Plain, None));
    let mut killing = Killing { site: &site, load: &load, serving, kills: Vec::new() };

    for round in 0..scaled(1, 3) {
        let goal = site.ranges(&mut target, "t").await + 5 + 4 * round;
        site.until_ranges(&mut target, "t", goal).await;
        killing.kill("copy").await;
    }
    // The row that every transaction writes is copied by now, and no group gets past it.
    let mut holder = site.on_target().await;
    holder.execute("BEGIN").await.unwrap();
    holder.execute("SELECT * FROM t WHERE id = 1 FOR UPDATE").await.unwrap();
    for _ in 0..scaled(1, 2) {
        until("catch-up", async || site.state(&mut target).await == "CatchUp").await;
        load.until_more().await;
        killing.kill("catch-up").await;
    }
    holder.execute("ROLLBACK").await.unwrap();
    let building = "SELECT COUNT(*) FROM information_schema.processlist \
                    WHERE info LIKE 'ALTER TABLE%' AND command <> 'Killed'";
    for _ in 0..scaled(1, 2) {
        until("an index build", async || {
            target.row(building).await.unwrap().unwrap().text(0).as_deref() == Some("1")
        })
        .await;
        load.until_more().await;
        killing.kill("index build").await;
        // A killed worker's ALTER goes on until the next worker ends it: that one's is another.
        let epoch = site.of_stream(&mut target, "e.epoch").await;
        until("the next worker", async || site.of_stream(&mut target, "e.epoch").await != epoch)
            .await;
    }
    for _ in 0..scaled(1, 3) {
        site.wait("running").await;
        load.until_more().await;
        killing.kill("running").await;
    }
    load.until_more().await;
    site.wait("running").await;
    let Killing { serving, kills, .. } = killing;
    load.stop().await;
    site.wait("caught-up").await;
    assert_eq!(site.equal(&["t"]).await, Ok(()), "after {kills:?}");
    for (phase, state) in [
        ("copy", "Copying"),
        ("catch-up", "CatchUp"),
        ("index build", "CatchUp"),
        ("running", "Running"),
    ] {
        assert!(kills.contains(&format!("{phase} {state}")), "{kills:?}");
    }
    serving.unwrap().stop().await;
}
