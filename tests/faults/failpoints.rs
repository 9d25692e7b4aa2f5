//! A process that dies at each durable step in turn, before and after it; and one that never hears that a step was done.
//!
//! The list of steps is the engine's own, so a step that is added without being passed here fails this test.

use std::sync::Arc;

use shunt_engine::failpoints::{self as points, STEPS};
use shunt_engine::runtime::tasks::spawn;
use tokio::sync::Semaphore;

use super::{LIGHT, change, fill};
use crate::harness::binary::Binary;
use crate::harness::pair::Pair;
use crate::harness::shell::Serving;
use crate::harness::site::Site;
use crate::harness::writers::Writers;

const ROWS: u64 = 20_000;
/// The exit code of a process that ended at a failpoint.
const DIED: i32 = 86;
/// Cases at work at the same time on the one pair of servers.
const AT_ONCE: usize = 3;

/// Steps whose reply may be lost while a stream runs.
const REPLIES: &[&str] = &[
    points::CHUNK_AFTER_COMMIT,
    points::GROUP_AFTER_COMMIT,
    points::PART_AFTER_COMMIT,
    points::START_AFTER_POSITION,
    points::LEASE_AFTER_TAKE,
    points::STATE_AFTER_WRITE,
    points::KEYS_AFTER_ALTER,
    points::KEYS_AFTER_RECORD,
];

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_at_any_step_is_replaced() {
    check_all(STEPS, "exit").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_whose_reply_is_lost_is_not_done_twice_nor_forgotten() {
    check_all(REPLIES, "lose-reply").await;
}

/// A source that has committed nothing has a position without a GTID, which is not the same as none.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_goes_on_whose_source_has_no_gtid_yet() {
    let pair = Pair::start().await;
    let site = Site::new(&pair, "").await;
    fill(&site, 100).await;
    site.on_source().await.execute("RESET MASTER").await.unwrap();
    site.must(&site.create("t", "chunk_rows_max=10,copy_readers=1")).await;
    let failpoint = format!("{}:exit:3", points::CHUNK_AFTER_COMMIT);
    let mut serving = site.serve(Binary::Failpoints, Some(&failpoint));
    assert_eq!(serving.ended().await.code(), Some(DIED), "{}", serving.log());
    let mut target = site.on_target().await;
    assert_eq!(site.of_stream(&mut target, "s.pos").await, "");
    let would = site.must(&format!("movetables cancel {} --dry-run", site.workflow())).await;
    assert!(would.contains("DROP TABLE"), "what was copied is its own: {would}");
    let serving = site.serve(Binary::Plain, None);
    site.wait("running").await;
    assert_eq!(site.equal(&["t"]).await, Ok(()), "{}", serving.log());
    serving.stop().await;
}

/// Create dies before it has made a table; the worker dies as soon as the position is saved; the next one makes the tables.
#[tokio::test(flavor = "multi_thread")]
async fn tables_are_made_by_whoever_comes_after_two_deaths() {
    let pair = Pair::start().await;
    let site = Site::new(&pair, "").await;
    fill(&site, 100).await;
    let failpoint = format!("{}:exit", points::CREATE_BEFORE_TABLE);
    let words = site.create("t", "chunk_rows_max=2000");
    let said = site.run(Binary::Failpoints, Some(&failpoint), &words).await;
    assert_eq!(said.code, Some(DIED), "{}", said.text);
    let failpoint = format!("{}:exit", points::START_AFTER_POSITION);
    let mut serving = site.serve(Binary::Failpoints, Some(&failpoint));
    assert_eq!(serving.ended().await.code(), Some(DIED), "{}", serving.log());
    let serving = site.serve(Binary::Plain, None);
    site.wait("caught-up").await;
    assert_eq!(site.equal(&["t"]).await, Ok(()), "{}", serving.log());
    serving.stop().await;
}

async fn check_all(points: &[&'static str], action: &'static str) {
    let (pair, at_once) = (Arc::new(Pair::start().await), Arc::new(Semaphore::new(AT_ONCE)));
    let mut cases = Vec::new();
    for (number, &point) in points.iter().enumerate() {
        let (pair, at_once) = (pair.clone(), at_once.clone());
        let case = spawn("case", async move {
            let _turn = at_once.acquire_owned().await;
            Box::pin(check(&pair, number, point, action)).await;
            Ok(())
        });
        cases.push((point, case));
    }
    let mut failed = Vec::new();
    for (point, case) in cases {
        if let Err(error) = case.join().await {
            failed.push(format!("{point}:{action}: {error}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// One table, one load, one fault, equal in the end.
async fn check(pair: &Pair, number: usize, point: &str, action: &str) {
    let site = Site::new(pair, &number.to_string()).await;
    fill(&site, ROWS).await;
    let mut source = site.on_source().await;
    source.execute("CREATE TABLE big (id INT NOT NULL PRIMARY KEY, b MEDIUMBLOB)").await.unwrap();
    let load = Writers::start(&pair.source_config(), &site.source_database(), 1, 2 * LIGHT, change);
    let failpoint = format!("{point}:{action}");
    let serving = if point.starts_with("create.") {
        at_create(&site, &failpoint).await;
        None
    } else if point.starts_with("cancel.") {
        Some(at_cancel(&site, &failpoint).await)
    } else {
        at_serve(&site, point, action).await
    };
    let serving = serving.unwrap_or_else(|| site.serve(Binary::Plain, None));
    load.until_more().await;
    site.wait("running").await;
    load.stop().await;
    site.wait("caught-up").await;
    let equal = site.equal(&["t", "big"]).await;
    assert_eq!(equal, Ok(()), "{point}:{action}: {}", serving.log());
    serving.stop().await;
}

fn words(site: &Site) -> String {
    site.create("t,big", "chunk_rows_max=2000")
}

/// Create dies. If it had saved the workflow, serve goes on with it; else it is created again.
async fn at_create(site: &Site, failpoint: &str) {
    let said = site.run(Binary::Failpoints, Some(failpoint), &words(site)).await;
    assert_eq!(said.code, Some(DIED), "{failpoint}: {}", said.text);
    if site.state(&mut site.on_target().await).await.is_empty() {
        site.must_at_last(&words(site)).await;
    }
    site.must(&format!("movetables show {}", site.workflow())).await;
}

/// Cancel dies while a worker looks on. It is given again, nothing is left on the target, and the move begins anew.
async fn at_cancel(site: &Site, failpoint: &str) -> Serving {
    site.must(&words(site)).await;
    let serving = site.serve(Binary::Plain, None);
    site.wait("running").await;
    let cancel = format!("movetables cancel {}", site.workflow());
    let said = site.run(Binary::Failpoints, Some(failpoint), &cancel).await;
    assert_eq!(said.code, Some(DIED), "{failpoint}: {}", said.text);
    site.must_at_last(&cancel).await;
    let mut target = site.on_target().await;
    assert_eq!(target.rows("SHOW TABLES").await.unwrap(), [], "{failpoint}");
    assert_eq!(site.state(&mut target).await, "", "{failpoint}");
    site.must(&words(site)).await;
    serving
}

/// Serve dies, or loses a reply and goes on by itself; then it is given back.
async fn at_serve(site: &Site, point: &str, action: &str) -> Option<Serving> {
    let on_ddl = if point.starts_with("ddl.") { "EXEC" } else { "STOP" };
    site.must(&format!("{} --on-ddl {on_ddl}", words(site))).await;
    let failpoint = format!("{point}:{action}");
    let mut serving = site.serve(Binary::Failpoints, Some(&failpoint));
    if point.starts_with("ddl.") {
        site.wait("running").await;
        let alter = "ALTER TABLE big ADD COLUMN n INT DEFAULT 7";
        site.on_source().await.execute(alter).await.unwrap();
    }
    if point.starts_with("part.") {
        // One transaction that is too large to be applied in one piece; its rows belong to a range that is copied.
        let mut target = site.on_target().await;
        site.until_ranges(&mut target, "big", 1).await;
        let big = "INSERT INTO big SELECT seq, RANDOM_BYTES(1000) FROM seq_1_to_20000";
        site.on_source().await.execute(big).await.unwrap();
    }
    if action == "exit" {
        let status = serving.ended().await;
        assert_eq!(status.code(), Some(DIED), "{failpoint}: {}", serving.log());
        return None;
    }
    serving.until_logged(&format!("failpoint {point}: {action}")).await;
    Some(serving)
}
