//! With a threshold crossed on the source the copy stands still within two seconds, says why, and goes on afterwards.

use std::time::{Duration, Instant};

use shunt_engine::mysql::control::{Control, Session};
use shunt_engine::mysql::server::ServerConfig;
use shunt_engine::runtime::tasks::{Task, spawn};
use shunt_engine::sidecar::lease::Progress;
use shunt_engine::workflow::spec::Tuning;
use shunt_engine::workflow::verbs::WaitFor;

use crate::harness::compare::assert_equal;
use crate::harness::pair::{Move, PATIENCE, Pair};
use crate::harness::soak::soak;
use crate::harness::until;

/// A copy of so many chunks that it does not end by itself while a test looks at it.
async fn long_copy<'a>(pair: &'a Pair, tuning: &[(&str, &str)]) -> Move<'a> {
    let mut source = pair.on_source().await;
    source.execute("CREATE TABLE t (id INT NOT NULL PRIMARY KEY, v INT)").await.unwrap();
    source.execute("INSERT INTO t SELECT seq, seq FROM seq_1_to_100000").await.unwrap();
    let mut all = Tuning::default();
    for (name, value) in [("chunk_rows_max", "20")].iter().chain(tuning) {
        all.set(name, value).unwrap();
    }
    pair.create(&["t"], all).await
}

/// Waits for something in the progress that the lease row shows.
async fn until(moved: &Move<'_>, what: &str, good: impl Fn(&Progress) -> bool) -> Progress {
    let started = Instant::now();
    loop {
        let progress = moved.stream().await.progress;
        if good(&progress) {
            return progress;
        }
        assert!(started.elapsed() < PATIENCE, "{what} does not happen: {progress:?}");
    }
}

fn is_throttled(progress: &Progress) -> bool {
    progress.throttled.is_some()
}

/// The copy has been throttled for some renewals of the lease: no further range is copied meanwhile.
async fn assert_stands(pair: &Pair, moved: &Move<'_>) {
    // What was asked for before the word came is still read and written.
    let settled = |progress: &Progress| {
        progress.ranges.iter().all(|(_, [_, open, closing, _])| open + closing == 0)
    };
    until(moved, "the end of the chunks in flight", settled).await;
    renewals(pair, 2).await;
    let before = pair.ranges().await;
    renewals(pair, 4).await;
    assert_eq!(pair.ranges().await, before, "ranges are copied although the copy is throttled");
    assert_eq!(moved.stream().await.progress.doing, "throttled");
}

/// Waits until the lease has been renewed so often.
async fn renewals(pair: &Pair, count: u32) {
    let mut target = pair.on_target().await;
    let query = "SELECT expires_us FROM _shunt.lease";
    let started = Instant::now();
    let (mut seen, mut last) = (0, String::new());
    while seen <= count {
        let now = target.row(query).await.unwrap().unwrap().must(0).unwrap();
        seen += u32::from(now != last);
        last = now;
        assert!(started.elapsed() < PATIENCE, "the lease is not renewed");
    }
}

fn sleepers(server: &ServerConfig, count: u32) -> Vec<Task<()>> {
    let sleeper = |_| {
        let server = server.clone();
        spawn("sleeper", async move {
            let mut control = Control::connect(&server, Session::Control).await?;
            control.execute("SELECT SLEEP(600)").await.map(drop)
        })
    };
    (0..count).map(sleeper).collect()
}

/// When the source itself says that more threads run.
async fn until_running(pair: &Pair, more_than: u64) -> Instant {
    let mut source = pair.on_source().await;
    let started = Instant::now();
    loop {
        let row = source.row("SHOW GLOBAL STATUS LIKE 'Threads_running'").await.unwrap();
        if row.unwrap().number::<u64>(1).unwrap() > more_than {
            return Instant::now();
        }
        assert!(started.elapsed() < PATIENCE, "the sleepers do not run");
    }
}

async fn wake(pair: &Pair) {
    let mut source = pair.on_source().await;
    let query = "SELECT id FROM information_schema.processlist WHERE info = 'SELECT SLEEP(600)'";
    for row in source.rows(query).await.unwrap() {
        source.execute(format!("KILL {}", row.must(0).unwrap())).await.unwrap();
    }
}

/// How long it took is of interest on a quiet machine only.
fn in_time(since: Instant, seconds: u64) {
    let took = since.elapsed();
    assert!(!soak() || took < Duration::from_secs(seconds), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn running_threads_on_the_source_slow_the_copy() {
    let pair = Pair::start().await;
    let mut moved = long_copy(&pair, &[("throttle_threads_running", "12")]).await;
    moved.run().await;
    pair.until_ranges(20).await;
    assert_eq!(moved.stream().await.progress.throttled, None);
    let sleeping = sleepers(&pair.source_config(), 20);
    let crossed = until_running(&pair, 12).await;
    let progress = until(&moved, "throttling", is_throttled).await;
    in_time(crossed, 2);
    let reason = progress.throttled.unwrap();
    assert!(reason.contains("threads run on the source, more than 12"), "{reason}");
    assert_stands(&pair, &moved).await;

    // The stream follows meanwhile: only the copy waits.
    let before = moved.stream().await.row.pos;
    pair.on_source().await.execute("UPDATE t SET v = -v WHERE id % 100 = 0").await.unwrap();
    until::until("a later position", async || moved.stream().await.row.pos != before).await;

    let calm = Instant::now();
    wake(&pair).await;
    until(&moved, "going on", |progress| progress.throttled.is_none()).await;
    in_time(calm, 3);
    drop(sleeping);
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    assert_eq!(assert_equal(pair.source.primary(), pair.target.primary(), "t"), 100_000);
    moved.cancel().await.unwrap();
}

/// Stops the replica, changes it and starts it again.
async fn change_replica(replica: &mut Control, delay_s: u32) {
    for statement in
        ["STOP SLAVE", &format!("CHANGE MASTER TO MASTER_DELAY={delay_s}"), "START SLAVE"]
    {
        replica.execute(statement).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lagging_replica_slows_the_copy() {
    let pair = Pair::with_replica().await;
    let mut moved = long_copy(&pair, &[("throttle_replica_lag_ms", "1500")]).await;
    let config = pair.replicas().remove(0);
    let mut replica = Control::connect(&config, Session::Control).await.unwrap();
    moved.run().await;
    pair.until_ranges(20).await;

    // A replica that applies nothing says no lag at all.
    replica.execute("STOP SLAVE SQL_THREAD").await.unwrap();
    let stopped = Instant::now();
    let progress = until(&moved, "throttling", is_throttled).await;
    in_time(stopped, 2);
    let reason = progress.throttled.unwrap();
    assert!(reason.contains("does not replicate") && reason.contains(&config.alias), "{reason}");
    assert_stands(&pair, &moved).await;
    replica.execute("START SLAVE SQL_THREAD").await.unwrap();
    until(&moved, "going on", |progress| progress.throttled.is_none()).await;

    // One that is late says by how much.
    change_replica(&mut replica, 600).await;
    pair.on_source().await.execute("UPDATE t SET v = -v WHERE id < 10").await.unwrap();
    let behind = |progress: &Progress| {
        progress
            .throttled
            .as_ref()
            .is_some_and(|reason| reason.contains("ms behind, more than 1500"))
    };
    until(&moved, "throttling by lag", behind).await;
    assert_stands(&pair, &moved).await;
    change_replica(&mut replica, 0).await;
    until(&moved, "going on", |progress| progress.throttled.is_none()).await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    assert_eq!(assert_equal(pair.source.primary(), pair.target.primary(), "t"), 100_000);
    moved.cancel().await.unwrap();
}
