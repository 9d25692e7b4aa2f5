//! What the source has to put up with: an account that can neither write nor lock, snapshots that are short, and nothing
//! else.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use shunt_engine::mysql::server::{Secret, ServerConfig};
use shunt_engine::runtime::tasks::{Task, spawn};

use super::{LIGHT, change, fill, scaled};
use crate::harness::binary::Binary;
use crate::harness::pair::Pair;
use crate::harness::site::{Site, connect};
use crate::harness::writers::Writers;

/// How long a snapshot may stay open.
const SNAPSHOT_MAX: Duration = Duration::from_secs(2);

/// Words that lock or write. An account with SELECT alone could use some of them.
const FORBIDDEN: &[&str] = &[
    "LOCK ",
    "FLUSH",
    "GET_LOCK",
    "FOR UPDATE",
    "SHARE MODE",
    "FOR SHARE",
    "INSERT",
    "UPDATE ",
    "DELETE",
    "REPLACE ",
    "ALTER",
    "CREATE TABLE ",
    "DROP",
    "TRUNCATE",
    "SET GLOBAL",
    "BACKUP",
    "ANALYZE",
    "OPTIMIZE",
];

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_may_only_read_and_replicate_is_enough() {
    let pair = Pair::start().await;
    let mut admin = connect(&pair.source_config()).await;
    for statement in [
        "CREATE USER mover@'%' IDENTIFIED BY 'of tables'",
        "GRANT SELECT ON commerce.* TO mover@'%'",
        "GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO mover@'%'",
        "SET GLOBAL log_output = 'TABLE'",
        "SET GLOBAL general_log = ON",
    ] {
        admin.execute(statement).await.unwrap();
    }
    let mover = ServerConfig {
        user: "mover".to_owned(),
        password: Secret::new("of tables"),
        ..pair.source_config()
    };
    let site = Site::through(&pair, "", &mover, &pair.target_config()).await;
    fill(&site, scaled(60_000, 600_000)).await;
    let load = Writers::start(&pair.source_config(), "commerce", 2, LIGHT, change);
    let watching = Snapshots::watch(&pair.source_config(), "mover").await;
    site.must(&site.create("t", "chunk_rows_max=3000")).await;
    let serving = site.serve(Binary::Plain, None);
    site.wait("running").await;
    load.stop().await;
    site.wait("caught-up").await;
    let (snapshots, longest) = watching.end().await;
    println!("{snapshots} snapshots were seen open, the longest for {longest:?}");
    assert!(snapshots > 0 && longest <= SNAPSHOT_MAX, "{snapshots}, {longest:?}");
    assert_eq!(site.equal(&["t"]).await, Ok(()));
    serving.stop().await;

    admin.execute("SET GLOBAL general_log = OFF").await.unwrap();
    let said = "SELECT DISTINCT CONVERT(argument USING utf8mb4) FROM mysql.general_log \
                WHERE user_host LIKE '%[mover]%' AND command_type IN ('Query', 'Prepare', 'Execute')";
    let said = admin.rows(said).await.unwrap();
    assert!(said.len() > 10, "the general log has {} statements of shunt", said.len());
    for row in said {
        let statement = row.text(0).unwrap();
        let words = statement.to_ascii_uppercase();
        let bad = FORBIDDEN.iter().find(|word| words.contains(*word));
        assert_eq!(bad, None, "{statement}");
    }
}

/// Watches the transactions that an account has open.
struct Snapshots {
    stop: Arc<AtomicBool>,
    watching: Task<(usize, Duration)>,
}

impl Snapshots {
    async fn watch(server: &ServerConfig, user: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut control = connect(server).await;
        let query = format!(
            "SELECT p.id, x.trx_started FROM information_schema.innodb_trx x \
             JOIN information_schema.processlist p ON p.id = x.trx_mysql_thread_id WHERE p.user = '{user}'"
        );
        let stopped = stop.clone();
        let watching = spawn("snapshots", async move {
            let mut first: HashMap<(u64, String), Instant> = HashMap::new();
            let mut longest = Duration::ZERO;
            let mut ticks = tokio::time::interval(Duration::from_millis(10));
            while !stopped.load(Ordering::Relaxed) {
                ticks.tick().await;
                for row in control.rows(&query).await? {
                    let since = first.entry((row.number(0)?, row.must(1)?));
                    longest = longest.max(since.or_insert_with(Instant::now).elapsed());
                }
            }
            Ok((first.len(), longest))
        });
        Self { stop, watching }
    }

    /// How many were seen, and for how long the longest.
    async fn end(self) -> (usize, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        self.watching.join().await.unwrap()
    }
}
