//! What the source has to put up with: an account that can neither write nor lock, snapshots that are short, and nothing
//! else.

use std::collections::HashMap;
use std::time::Duration;

use shunt_engine::mysql::control::Control;
use shunt_engine::mysql::server::{Secret, ServerConfig};

use super::{LIGHT, change, fill};
use crate::harness::binary::Binary;
use crate::harness::pair::Pair;
use crate::harness::site::{Site, connect};
use crate::harness::soak::scaled;
use crate::harness::writers::Writers;

/// How long a snapshot may stay open.
const SNAPSHOT_MAX: Duration = Duration::from_secs(2);

/// What a statement may begin with.
const ALLOWED: &[&str] = &[
    "SELECT ",
    "SHOW ",
    "SET ",
    "START TRANSACTION WITH CONSISTENT SNAPSHOT",
    "ROLLBACK",
    "XA RECOVER",
];

/// What no statement may hold: an account with SELECT alone could do some of it.
const FORBIDDEN: &[&str] =
    &["FOR UPDATE", "SHARE MODE", "FOR SHARE", "GET_LOCK", "SET GLOBAL", "INTO OUTFILE"];

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
    site.must(&site.create("t", "chunk_rows_max=3000")).await;
    let serving = site.serve(Binary::Plain, None);
    site.wait("running").await;
    load.stop().await;
    site.wait("caught-up").await;
    assert_eq!(site.equal(&["t"]).await, Ok(()));
    serving.stop().await;

    admin.execute("SET GLOBAL general_log = OFF").await.unwrap();
    assert_snapshots_short(&mut admin).await;
    let said = "SELECT DISTINCT CONVERT(argument USING utf8mb4) FROM mysql.general_log \
                WHERE user_host LIKE '%[mover]%' AND command_type IN ('Query', 'Prepare', 'Execute')";
    let said = admin.rows(said).await.unwrap();
    assert!(said.len() > 10, "the general log has {} statements of shunt", said.len());
    for row in said {
        let statement = row.text(0).unwrap();
        let words = statement.to_ascii_uppercase();
        let allowed = ALLOWED.iter().any(|start| words.starts_with(start));
        assert!(allowed && FORBIDDEN.iter().all(|bad| !words.contains(bad)), "{statement}");
    }
}

/// By the general log: from the statement that opens a snapshot to the next one of the same connection but the reading.
async fn assert_snapshots_short(admin: &mut Control) {
    let query = "SELECT thread_id, CAST(UNIX_TIMESTAMP(event_time) * 1000000 AS SIGNED), \
                 CONVERT(argument USING utf8mb4) FROM mysql.general_log \
                 WHERE user_host LIKE '%[mover]%' ORDER BY event_time";
    let mut open: HashMap<u64, i64> = HashMap::new();
    let (mut snapshots, mut longest) = (0, 0);
    for row in admin.rows(query).await.unwrap() {
        let (thread, at): (u64, i64) = (row.number(0).unwrap(), row.number(1).unwrap());
        let statement = row.text(2).unwrap_or_default();
        if let Some(opened) = open.get(&thread) {
            longest = longest.max(at - opened);
        }
        if statement.starts_with("START TRANSACTION") {
            snapshots += 1;
            open.insert(thread, at);
        } else if statement == "ROLLBACK" || statement == "COMMIT" {
            open.remove(&thread);
        }
    }
    println!("{snapshots} snapshots in the general log, the longest for {longest} µs");
    assert!(snapshots > 5, "{snapshots}");
    assert!(u128::try_from(longest).unwrap() <= SNAPSHOT_MAX.as_micros(), "{longest} µs");
}
