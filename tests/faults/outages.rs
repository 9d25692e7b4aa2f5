//! Servers that die and come back, and connections that break in the middle of a transaction. The worker is never touched:
//! it has to find its way by itself.

use super::{LIGHT, change, fill, until};
use crate::harness::binary::Binary;
use crate::harness::pair::Pair;
use crate::harness::proxy::Proxy;
use crate::harness::site::{LOOK, Site};
use crate::harness::soak::scaled;
use crate::harness::writers::Writers;

const ROWS: u64 = 60_000;

#[tokio::test(flavor = "multi_thread")]
async fn the_target_server_dies_and_comes_back() {
    server_dies(|pair| pair.target.primary()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_source_server_dies_and_comes_back() {
    server_dies(|pair| pair.source.primary()).await;
}

/// Once in the copy, once while running.
async fn server_dies(which: fn(&Pair) -> &shunt_cli::sandbox::SandboxServer) {
    let pair = Pair::start().await;
    let site = Site::new(&pair, "").await;
    fill(&site, scaled(ROWS, 10 * ROWS)).await;
    let load = Writers::start(&pair.source_config(), "commerce", 2, LIGHT, change);
    site.must(&site.create("t", "chunk_rows_max=1000")).await;
    let mut serving = site.serve(Binary::Plain, None);
    for round in 0..scaled(1, 3) {
        let mut target = site.on_target().await;
        let goal = site.ranges(&mut target, "t").await + 5 + 5 * round;
        site.until_ranges(&mut target, "t", goal).await;
        which(&pair).kill9().await.unwrap();
        which(&pair).start().await.unwrap();
        assert_eq!(site.state(&mut site.on_target().await).await, "Copying");
    }
    site.wait("running").await;
    load.until_more().await;
    which(&pair).kill9().await.unwrap();
    which(&pair).start().await.unwrap();
    load.until_more().await;
    load.stop().await;
    site.wait("caught-up").await;
    assert_eq!(site.equal(&["t"]).await, Ok(()), "{}", serving.log());
    assert!(serving.runs());
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_break_in_the_middle_of_transactions() {
    let pair = Pair::start().await;
    let to_source = Proxy::start(&pair.source_config()).await;
    let to_target = Proxy::start(&pair.target_config()).await;
    let source = to_source.before(&pair.source_config());
    let target = to_target.before(&pair.target_config());
    let site = Site::through(&pair, "", &source, &target).await;
    fill(&site, scaled(ROWS, 10 * ROWS)).await;
    let load = Writers::start(&pair.source_config(), "commerce", 2, LIGHT, change);
    site.must(&site.create("t", "chunk_rows_max=1000")).await;
    let mut serving = site.serve(Binary::Plain, None);
    let mut on_target = site.on_target().await;
    site.until_ranges(&mut on_target, "t", 3).await;
    // Once a connection to either side in turn, after an amount that ends somewhere else each time.
    for round in 0..scaled(4_u64, 40) {
        let proxy = if round % 2 == 0 { &to_source } else { &to_target };
        let before = proxy.cuts();
        proxy.cut_after(30_011 + 7919 * round);
        until("a cut", async || proxy.cuts() > before).await;
    }
    println!("cut in state {}", site.state(&mut on_target).await);
    site.wait("running").await;
    // Each of the transaction's rows carries a mark: where a tenth of them has passed is its middle, on its way from the
    // source as on its way to the target.
    let mut on_source = site.on_source().await;
    for (round, proxy) in [&to_source, &to_target].into_iter().enumerate() {
        let before = proxy.cuts();
        let mark = format!("<mark {round}>");
        proxy.cut_at(&mark, 1000);
        let large = format!(
            "UPDATE t SET c = CONCAT('{mark}', id, REPEAT('{round}', 150)) WHERE id > 1 LIMIT 10000"
        );
        // The load may be in the way.
        until("the large transaction", async || {
            on_source.execute(&large).await.is_ok_and(|done| done.affected == 10_000)
        })
        .await;
        until("a cut", async || proxy.cuts() > before).await;
    }
    for _ in 0..scaled(2, 10) {
        load.until_more().await;
        to_source.cut();
        to_target.cut();
        tokio::time::sleep(LOOK).await;
    }
    load.stop().await;
    site.wait("caught-up").await;
    assert_eq!(site.equal(&["t"]).await, Ok(()), "{}", serving.log());
    assert!(serving.runs());
    serving.stop().await;
}
