//! Large transactions, large rows and a plain copy: moved, equal, and within the memory that is promised.
//!
//! The stream runs in a process of its own, so that its peak memory is its own: the test program again, with
//! [`stream_of_a_child`] as the only test, told by the environment where its servers are.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use shunt_cli::sandbox::Sandbox;
use shunt_engine::mysql::control::{Control, Session};
use shunt_engine::stream::{self, StreamConfig};
use shunt_engine::workflow::spec::Tuning;
use shunt_engine::workflow::status;
use shunt_engine::workflow::verbs::WaitFor;
use tokio_util::sync::CancellationToken;

use crate::harness::compare::{assert_equal, assert_equal_hex};
use crate::harness::pair::{Pair, WORKFLOW};
use crate::harness::soak::scaled;

/// The folder of the sandboxes whose stream the child runs.
const CHILD_DIR: &str = "SHUNT_TEST_CHILD_DIR";
const MIB: u64 = 1 << 20;

/// Not a test by itself: what [`Worker`] runs.
#[tokio::test(flavor = "multi_thread")]
async fn stream_of_a_child() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let source = Sandbox::open(Path::new(&dir), "commerce").unwrap().unwrap();
    let target = Sandbox::open(Path::new(&dir), "customer").unwrap().unwrap();
    let config = target.primary().config();
    let mut control = Control::connect(&config, Session::Control).await.unwrap();
    let status = status::read(&mut control, WORKFLOW).await.unwrap();
    control.close().await;
    let config = StreamConfig {
        source: source.primary().config(),
        replicas: Vec::new(),
        target: config,
        stream: status.streams[0].row.id,
        workflow: WORKFLOW.into(),
    };
    stream::run(config, CancellationToken::new()).await.unwrap();
}

/// A process that runs the stream of a pair; it ends with this.
struct Worker(Child);

impl Worker {
    fn start(pair: &Pair) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "large::stream_of_a_child", "--nocapture"])
            .env(CHILD_DIR, pair.dir())
            .stdout(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    /// The most memory it has held so far, in MiB.
    fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }

    fn assert_below(&self, most: u64, what: &str) {
        let peak = self.peak();
        println!("{what}: {peak} MiB at the peak");
        assert!(peak <= most, "{what} took {peak} MiB, more than {most}");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself, which is the test's to notice.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Large redo logs, so that the servers are not what is tested.
async fn pair() -> Pair {
    let options = [("innodb_log_file_size", "1G")];
    Pair::with(None, None, &options, &options).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_copy() {
    let pair = pair().await;
    let mut source = pair.on_source().await;
    let rows = scaled(200_000, 1_000_000);
    for table in ["sbtest1", "sbtest2"] {
        let create = format!(
            "CREATE TABLE {table} (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL DEFAULT 0, \
             c CHAR(120) NOT NULL DEFAULT '', pad CHAR(60) NOT NULL DEFAULT '', KEY k_1 (k))"
        );
        source.execute(create).await.unwrap();
        let fill = format!(
            "INSERT INTO {table} SELECT seq, seq * 7 % 1000000, CONCAT_WS('-', MD5(seq), MD5(seq + 1), MD5(seq + 2)), \
             CONCAT(MD5(-seq), seq) FROM seq_1_to_{rows}"
        );
        source.execute(fill).await.unwrap();
    }
    let moved = pair.create(&["sbtest1", "sbtest2"], Tuning::default()).await;
    let worker = Worker::start(&pair);
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    for table in ["sbtest1", "sbtest2"] {
        let columns = ["id", "k", "c", "pad"];
        let seen = assert_equal_hex(pair.source.primary(), pair.target.primary(), &columns, table);
        assert_eq!(seen, rows);
    }
    worker.assert_below(256, "a plain copy");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_transaction() {
    let pair = pair().await;
    let mut source = pair.on_source().await;
    source.execute("CREATE TABLE t (id INT NOT NULL PRIMARY KEY, c MEDIUMTEXT)").await.unwrap();
    // Rows of a KiB.
    let rows = scaled(96 * 1024, 1024 * 1024);
    let insert = |from: usize| {
        format!(
            "INSERT INTO t SELECT seq, RPAD(seq, 1000, MD5(seq)) FROM seq_{}_to_{}",
            from + 1,
            from + rows
        )
    };
    source.execute(insert(0)).await.unwrap();
    let moved = pair.create(&["t"], Tuning::default()).await;
    let worker = Worker::start(&pair);
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    for statement in [
        insert(rows),
        format!("UPDATE t SET c = REVERSE(c) WHERE id <= {rows}"),
        // One that may go back to a savepoint is held longer, and not as a whole either.
        format!(
            "BEGIN; UPDATE t SET c = 'first' WHERE id = 1; SAVEPOINT s; \
             UPDATE t SET c = REVERSE(c) WHERE id <= {rows}; COMMIT"
        ),
        format!("DELETE FROM t WHERE id > {rows} AND id % 3 <> 0"),
    ] {
        source.execute(statement).await.unwrap();
    }
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    let columns = ["id", "MD5(c)"];
    let seen = assert_equal_hex(pair.source.primary(), pair.target.primary(), &columns, "t");
    assert!(seen > rows, "{seen} rows are left");
    worker.assert_below(512, "large transactions");
    assert_eq!(moved.stream().await.row.ahead_until, None);
}

/// What a transaction takes back, again and again, does not count for what may be held of it. A table that cannot be taken back has the
/// server log all of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_goes_back_to_its_savepoint_many_times() {
    let pair = pair().await;
    let mut source = pair.on_source().await;
    for statement in [
        "CREATE TABLE t (id INT NOT NULL PRIMARY KEY, c VARCHAR(2000) CHARACTER SET latin1)",
        "CREATE TABLE kept (n INT NOT NULL) ENGINE=MyISAM",
        "INSERT INTO t SELECT seq, REPEAT('a', 2000) FROM seq_1_to_3000",
    ] {
        source.execute(statement).await.unwrap();
    }
    let moved = pair.create(&["t"], Tuning::default()).await;
    let _worker = Worker::start(&pair);
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    // 6 MB of rows each time: more than the bound after the sixth.
    let taken_back =
        "INSERT INTO kept VALUES (1); UPDATE t SET c = REPEAT('b', 2000); ROLLBACK TO s; ";
    let changes = "UPDATE t SET c = 'kept' WHERE id = 7; INSERT INTO t VALUES (4000, 'new')";
    source
        .execute(format!(
            "BEGIN; UPDATE t SET c = 'first' WHERE id = 1; SAVEPOINT s; {}{changes}; COMMIT",
            taken_back.repeat(8)
        ))
        .await
        .unwrap();
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    assert_eq!(assert_equal(pair.source.primary(), pair.target.primary(), "t"), 3001);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_64_mib() {
    let pair = pair().await;
    let mut source = pair.on_source().await;
    source.execute("CREATE TABLE t (id INT NOT NULL PRIMARY KEY, b LONGBLOB)").await.unwrap();
    source
        .execute("INSERT INTO t SELECT seq, REPEAT('x', 1000) FROM seq_10_to_5000")
        .await
        .unwrap();
    // All bytes that are escaped somewhere, and some that are not.
    let blob = |unit: &str| format!("REPEAT(UNHEX('{unit}'), {})", 64 * MIB / 8);
    source
        .execute(format!("INSERT INTO t VALUES (1, {})", blob("00275C0AFF0D1A41")))
        .await
        .unwrap();
    let moved = pair.create(&["t"], Tuning::default()).await;
    let worker = Worker::start(&pair);
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    worker.assert_below(512, "the copy of a row of 64 MiB");
    for statement in [
        format!("INSERT INTO t VALUES (2, {})", blob("0941425C27004344")),
        format!("UPDATE t SET b = {} WHERE id = 1", blob("FFFE000102030405")),
        "DELETE FROM t WHERE id = 2".to_owned(),
    ] {
        source.execute(statement).await.unwrap();
        moved.wait(WaitFor::CaughtUp).await.unwrap();
        let columns = ["id", "LENGTH(b)", "SHA2(b, 256)"];
        assert_equal_hex(pair.source.primary(), pair.target.primary(), &columns, "t");
        worker.assert_below(512, "the stream of a row of 64 MiB");
    }
}
