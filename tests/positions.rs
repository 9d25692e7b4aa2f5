//! A MariaDB server's position while it commits and begins new files: the GTIDs and the place in the files belong together, and the
//! binlog from the place on is the binlog behind the GTIDs. What is simpler is shown to fail. `SHUNT_SOAK=1`: a thousand positions.

use shunt_engine::changes::reader::Feed;
use shunt_engine::mysql::binlog::EventBody;
use shunt_engine::mysql::control::Control;
use shunt_engine::mysql::gtid::{Gtid, GtidSet};
use shunt_engine::mysql::server::{Flavor, Secret, ServerConfig};
use shunt_engine::mysql::snapshot::{
    LogPosition, ReadPosition, Snapshot, current_position, visible_position,
};
use shunt_engine::mysql::wire::Wire;

use crate::harness::load::Load;
use crate::harness::pair::{PATIENCE, Pair};
use crate::harness::soak::soak;

const WRITERS: u64 = 8;
/// Transactions that are compared behind each position.
const COMPARED: usize = 5;

async fn first(feed: &mut Feed) -> Vec<Gtid> {
    let mut gtids = Vec::new();
    while gtids.len() < COMPARED {
        let event = tokio::time::timeout(PATIENCE, feed.next()).await.expect("an event").unwrap();
        if let EventBody::Gtid(start) = event.body {
            gtids.push(start.gtid);
        }
    }
    gtids
}

async fn gtids_at(source: &mut Control, log: &LogPosition) -> GtidSet {
    let ask = format!("SELECT BINLOG_GTID_POS('{}', {})", log.file, log.offset);
    let said: String = source.row(ask).await.unwrap().unwrap().must(0).unwrap();
    GtidSet::parse(Flavor::MariaDb, &said).unwrap()
}

/// What is simpler: each read once.
async fn simple_position(source: &mut Control) -> ReadPosition {
    let row = source.row("SELECT @@global.gtid_binlog_pos").await.unwrap().unwrap();
    let text: String = row.must(0).unwrap();
    let gtids = GtidSet::parse(Flavor::MariaDb, &text).unwrap();
    let row = source.row("SHOW MASTER STATUS").await.unwrap().unwrap();
    let log = LogPosition { file: row.must(0).unwrap(), offset: row.number(1).unwrap() };
    ReadPosition { gtids, log }
}

#[tokio::test(flavor = "multi_thread")]
async fn gtids_and_places_belong_together_while_a_server_commits() {
    let soak = soak();
    let pair = Pair::start().await;
    let mut source = pair.on_source().await;
    for (name, engine) in [("t", "InnoDB"), ("a", "Aria")] {
        let id = "id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, pad CHAR(40)";
        source.execute(format!("CREATE TABLE {name} ({id}) ENGINE={engine}")).await.unwrap();
    }
    let load = Load::start(&pair.source_config(), "commerce", WRITERS, |random| {
        let statement = match random.below(200) {
            0 => "FLUSH BINARY LOGS",
            1..20 => "INSERT INTO a (pad) VALUES ('x')",
            20..30 => "CREATE OR REPLACE VIEW v AS SELECT 1",
            _ => "INSERT INTO t (pad) VALUES ('x')",
        };
        vec![statement.to_owned()]
    });
    let mut wire = Wire::connect(&pair.source_config()).await.unwrap();
    let (positions, mut failed) = (if soak { 1000 } else { 100 }, 0);
    for _ in 0..positions {
        let position = current_position(&mut wire).await.unwrap();
        assert_eq!(gtids_at(&mut source, &position.log).await, position.gtids, "{position:?}");
        let simple = simple_position(&mut source).await;
        failed += u32::from(gtids_at(&mut source, &simple.log).await != simple.gtids);
        let connect = || async { Wire::connect(&pair.source_config()).await.unwrap() };
        let mut behind = Feed::open(connect().await, &position.gtids).await.unwrap();
        let mut from = Feed::open_at(connect().await, &position).await.unwrap();
        let expected = first(&mut behind).await;
        assert!(expected.iter().all(|gtid| !position.gtids.contains(gtid)), "{position:?}");
        assert_eq!(first(&mut from).await, expected, "{position:?}");
    }
    let committed = load.stop().await;
    println!("under {committed} transactions {failed} of {positions} simple readings did not fit");
    assert!(failed > 0, "readings that are not compared did not fail");
}

/// An account that may not ask for InnoDB's state, and one that may not ask for the end of the log either: both learn the position, at
/// rest and while others commit.
#[tokio::test(flavor = "multi_thread")]
async fn accounts_that_may_ask_less_learn_the_position_too() {
    let pair = Pair::start().await;
    let mut source = pair.on_source().await;
    source.execute("CREATE TABLE t (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY)").await.unwrap();
    source.execute("INSERT INTO t VALUES (1)").await.unwrap();
    for (user, privileges) in [("follows", "BINLOG MONITOR"), ("looker", "SELECT")] {
        source.execute(format!("CREATE USER {user}@'%' IDENTIFIED BY 'less'")).await.unwrap();
        source.execute(format!("GRANT {privileges} ON *.* TO {user}@'%'")).await.unwrap();
        let less = ServerConfig {
            user: user.to_owned(),
            password: Secret::new("less"),
            ..pair.source_config()
        };
        let mut wire = Wire::connect(&less).await.unwrap();
        for writers in [0, 4] {
            let load = (writers > 0).then(|| {
                Load::start(&pair.source_config(), "commerce", writers, |_| {
                    vec!["INSERT INTO t VALUES ()".to_owned()]
                })
            });
            let mut known = 0;
            for _ in 0..if writers > 0 { 100 } else { 3 } {
                let position = visible_position(&mut wire, PATIENCE).await.unwrap();
                let at = gtids_at(&mut source, &position.log).await;
                assert_eq!(at, position.gtids, "{user}: {position:?}");
                let mut snapshot = Snapshot::open(&mut wire, &position).await.unwrap();
                let exact = snapshot.exact_position().await.unwrap();
                known += u32::from(exact.is_some());
                assert!(exact.is_none_or(|exact| exact.contains_set(&position.gtids)), "{user}");
                snapshot.end().await.unwrap();
            }
            assert!(known > 0, "{user}: with {writers} writers no snapshot's position was known");
            if let Some(load) = load {
                load.stop().await;
            }
        }
    }
}
