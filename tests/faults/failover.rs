//! A source whose replica takes its place, and gives it back: the stream goes on there, as long as that server has what was applied.

use shunt_cli::sandbox::SandboxServer;
use shunt_engine::mysql::control::Control;

use super::{LIGHT, change, fill, until};
use crate::harness::binary::Binary;
use crate::harness::pair::{PATIENCE, Pair};
use crate::harness::site::{Site, connect};
use crate::harness::soak::scaled;
use crate::harness::writers::Writers;

const ROWS: u64 = 20_000;

/// The source's servers, the first primary first.
fn servers(pair: &Pair) -> [SandboxServer; 2] {
    pair.source.servers().to_vec().try_into().unwrap()
}

/// All of them that a server has written.
async fn gtids(control: &mut Control) -> String {
    control.row("SELECT @@gtid_binlog_pos").await.unwrap().unwrap().text(0).unwrap()
}

/// Waits until a replica has all that its primary has.
async fn receives_all(primary: &mut Control, replica: &mut Control) {
    let wait =
        format!("SELECT MASTER_GTID_WAIT('{}', {})", gtids(primary).await, PATIENCE.as_secs());
    let waited = replica.row(wait).await.unwrap().unwrap().text(0).unwrap();
    assert_eq!(waited, "0", "the replica does not get on");
}

async fn run(control: &mut Control, statements: &[&str]) {
    for statement in statements {
        control.execute(*statement).await.unwrap();
    }
}

/// The replica takes the primary's place when it has everything, and the primary becomes its replica; shunt is told by the configuration.
async fn change_places(site: &mut Site, primary: &SandboxServer, replica: &SandboxServer) {
    let (mut old, mut new) = (connect(&primary.config()).await, connect(&replica.config()).await);
    run(&mut old, &["SET GLOBAL read_only = 1"]).await;
    receives_all(&mut old, &mut new).await;
    run(&mut new, &["STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL read_only = 0"]).await;
    let config = replica.config();
    let follow = format!(
        "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {}, MASTER_USER = '{}', MASTER_PASSWORD = '{}', MASTER_USE_GTID = slave_pos",
        replica.port(),
        config.user,
        config.password.expose(),
    );
    let pos = format!("SET GLOBAL gtid_slave_pos = '{}'", gtids(&mut old).await);
    run(&mut old, &[&pos, &follow, "START SLAVE"]).await;
    site.replace_source(replica);
}

/// Rows on both sides are equal, and a VDiff says so.
async fn is_proven_equal(site: &Site, log: &str) {
    assert_eq!(site.equal(&["t"]).await, Ok(()), "{log}");
    let said = site.must(&format!("vdiff create {} --wait --format json", site.workflow())).await;
    assert!(
        said.contains("\"State\": \"completed\"") && said.contains("\"HasMismatch\": false"),
        "{said}"
    );
}

/// In the copy, in the course of the stream, and back: each time the other server holds the same transactions in files of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_and_its_replica_change_places() {
    let pair = Pair::with_replica().await;
    let mut site = Site::new(&pair, "").await;
    fill(&site, scaled(ROWS, 10 * ROWS)).await;
    let [first, second] = servers(&pair);
    site.must(&site.create("t", "chunk_rows_max=500")).await;
    let mut on_target = site.on_target().await;
    for (round, (primary, replica)) in
        [(&first, &second), (&second, &first), (&first, &second)].into_iter().enumerate()
    {
        let serving = site.serve(Binary::Plain, None);
        let load = Writers::start(&primary.config(), "commerce", 2, LIGHT, change);
        if round == 0 {
            site.until_ranges(&mut on_target, "t", 5).await;
        } else {
            site.wait("running").await;
        }
        load.until_more().await;
        serving.stop().await;
        load.until_more().await;
        load.stop().await;
        change_places(&mut site, primary, replica).await;

        let serving = site.serve(Binary::Plain, None);
        let load = Writers::start(&replica.config(), "commerce", 2, LIGHT, change);
        site.wait("running").await;
        load.until_more().await;
        load.stop().await;
        site.wait("caught-up").await;
        is_proven_equal(&site, &serving.log()).await;
        serving.stop().await;
    }
}

/// What was applied is on the target only. It must not be taken for what the new primary wrote in its place.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lacks_what_was_applied_is_no_source() {
    let pair = Pair::with_replica().await;
    let mut site = Site::new(&pair, "").await;
    fill(&site, 1000).await;
    let [first, second] = servers(&pair);
    site.must(&site.create("t", "chunk_rows_max=500")).await;
    let serving = site.serve(Binary::Plain, None);
    site.wait("caught-up").await;
    let (mut old, mut new) = (connect(&first.config()).await, connect(&second.config()).await);
    receives_all(&mut old, &mut new).await;
    run(&mut new, &["STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL read_only = 0", "USE commerce"])
        .await;
    run(
        &mut old,
        &["USE commerce", "UPDATE t SET k = 77 WHERE id = 1", "UPDATE t SET k = 77 WHERE id = 2"],
    )
    .await;
    site.wait("caught-up").await;
    serving.stop().await;
    site.replace_source(&second);
    let mut on_target = site.on_target().await;
    let before = on_target.rows("SELECT * FROM t ORDER BY id").await.unwrap();

    // It has fewer transactions; then as many, and others; then more.
    for written in 0..4 {
        if written > 0 {
            run(&mut new, &["UPDATE t SET k = k + 1000 WHERE id = 3"]).await;
        }
        let serving = site.serve(Binary::Plain, None);
        until("the stop", async || site.state(&mut on_target).await == "Error").await;
        let why = site.of_stream(&mut on_target, "s.message").await;
        // Where the server has transactions of these numbers, it is the one who knows that they are others.
        let expected = if written < 2 {
            "another server than before"
        } else {
            "the server no longer has, or never had"
        };
        assert!(why.contains(expected), "{written}: {why}");
        assert!(on_target.rows("SELECT * FROM t ORDER BY id").await.unwrap() == before);
        serving.stop().await;
        site.must(&format!("movetables start {}", site.workflow())).await;
    }
}

/// Snapshots have seen what the stream has not applied yet. A new primary without it has nothing that would take it back, and gives its
/// numbers to other transactions.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lacks_what_was_copied_is_no_source() {
    let pair = Pair::with_replica().await;
    let mut site = Site::new(&pair, "").await;
    fill(&site, ROWS).await;
    let [first, second] = servers(&pair);
    site.must(&site.create("t", "chunk_rows_max=20")).await;
    let serving = site.serve(Binary::Plain, None);
    let mut on_target = site.on_target().await;
    site.until_ranges(&mut on_target, "t", 8).await;
    // What is applied waits for this row from now on; what is copied does not.
    let mut held = site.on_target().await;
    run(&mut held, &["BEGIN", "SELECT * FROM t WHERE id = 1 FOR UPDATE"]).await;
    let (mut old, mut new) = (connect(&first.config()).await, connect(&second.config()).await);
    run(&mut old, &["USE commerce", "UPDATE t SET k = 77 WHERE id = 1"]).await;
    receives_all(&mut old, &mut new).await;
    run(&mut new, &["STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL read_only = 0", "USE commerce"])
        .await;
    run(&mut old, &["UPDATE t SET k = 78 WHERE id = 19999"]).await;
    let last = gtids(&mut old).await;
    let query = format!("SELECT COUNT(*) FROM _shunt.`range` WHERE settled = '{last}'");
    until("a chunk that was read behind it", async || {
        on_target.row(&query).await.unwrap().unwrap().must(0).unwrap() != "0"
    })
    .await;
    serving.kill();
    run(&mut held, &["ROLLBACK"]).await;
    site.replace_source(&second);

    for _ in 0..3 {
        run(&mut new, &["UPDATE t SET k = k + 1000 WHERE id = 3"]).await;
        let serving = site.serve(Binary::Plain, None);
        until("the stop", async || site.state(&mut on_target).await == "Error").await;
        let why = site.of_stream(&mut on_target, "s.message").await;
        assert!(why.contains("copied or applied already") && why.contains(&last), "{why}");
        serving.stop().await;
        site.must(&format!("movetables start {}", site.workflow())).await;
    }
}
