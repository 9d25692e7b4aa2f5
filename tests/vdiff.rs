//! VDiff on real servers: exactly what differs is found, on live tables, by both strengths, and mended.

mod charsets;
mod conditions;
mod damage;
mod definitions;
mod keyless;
mod keys;
mod labels;
mod lost;
mod mending;
mod options;
mod refused;
mod waits;

use std::collections::BTreeSet;

use shunt_engine::Error;
use shunt_engine::mysql::wire::Wire;
use shunt_engine::ranges::Bounds;
use shunt_engine::sidecar::vdiff as registered;
use shunt_engine::sidecar::wanted::Wanted;
use shunt_engine::workflow::spec::Tuning;
use shunt_engine::workflow::status;
use shunt_engine::workflow::verbs::WaitFor;
use shunt_vdiff::archive::findings::Reporter;
use shunt_vdiff::fix::Fixer;
use shunt_vdiff::fold::Folding;
use shunt_vdiff::pair::Pair as Tables;
use shunt_vdiff::report::{Record, State, TableRecord};
use shunt_vdiff::run::{self, Job};
use shunt_vdiff::sides::{Servers, Sides, Tie};
use shunt_vdiff::spec::{Spec, Strength};
use shunt_vdiff::store::Store;
use shunt_vdiff::table::{Ended, Progress};
use shunt_vdiff::workflow::{self, Which, Work};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::harness::binary::Binary;
use crate::harness::compare::assert_equal;
use crate::harness::load::Random;
use crate::harness::pair::{Pair, WORKFLOW, mysql56};
use crate::harness::site::Site;

const STRENGTHS: [Strength; 2] = [Strength::Fast, Strength::Strong];

/// A table of everything that is easily compared wrongly.
const CREATE: &str = "CREATE TABLE t (id INT NOT NULL PRIMARY KEY, f FLOAT, d DOUBLE NOT NULL, b BLOB, \
     c VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci, n VARCHAR(10), k INT NOT NULL)";

fn fill(rows: u64) -> String {
    format!(
        "INSERT INTO t SELECT seq, 16777216, 0.3, UNHEX(MD5(seq)), CONCAT('row ', seq % 90 + 10), \
         IF(seq % 2, '', NULL), 0 FROM seq_1_to_{rows}"
    )
}

/// Writes at keys above 10,000 only.
fn load(random: &mut Random) -> Vec<String> {
    let id = 10_001 + random.below(10_000);
    vec![
        format!("UPDATE t SET k = 1 - k, f = IF(k, 16777216, 1) WHERE id = {id}"),
        // A row that flips between two values all the time.
        "UPDATE t SET k = 1 - k WHERE id = 10001".into(),
        format!("DELETE FROM t WHERE id = {}", 10_001 + random.below(10_000)),
        format!("INSERT IGNORE INTO t VALUES ({id}, 1, 2, 'x', 'new', NULL, 0)"),
    ]
}

fn spec(strength: Strength) -> Spec {
    Spec { strength, sample_rows: 2000, ..Spec::default() }
}

async fn register(pair: &Pair, spec: &Spec) -> Work {
    let mut control = pair.on_target().await;
    let uuid = format!("{:?}-{}", spec.strength, unique());
    workflow::create(&mut control, WORKFLOW, &uuid, spec, &[], Wanted::Run).await.unwrap();
    let row = workflow::find(&mut control, WORKFLOW, &Which::Uuid(uuid)).await.unwrap().remove(0);
    Work { source: pair.source_config(), target: pair.target_config(), row }
}

/// A number that no other VDiff of this process has.
pub(crate) fn unique() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

async fn execute(work: &Work, cancel: &CancellationToken) -> Option<Ended> {
    let (progress, _) = watch::channel(Progress::default());
    Box::pin(workflow::execute(work, &progress, cancel)).await.unwrap()
}

async fn result(pair: &Pair, work: &Work) -> Record {
    let mut control = pair.on_target().await;
    let which = Which::Uuid(work.row.uuid.clone());
    let row = workflow::find(&mut control, WORKFLOW, &which).await.unwrap().remove(0);
    workflow::record(&mut control, &row).await.unwrap()
}

/// A whole VDiff of the workflow.
async fn vdiff(pair: &Pair, spec: &Spec) -> TableRecord {
    let work = register(pair, spec).await;
    assert_eq!(execute(&work, &CancellationToken::new()).await, Some(Ended::Completed));
    let mut record = result(pair, &work).await;
    assert_eq!(record.state, State::Completed, "{record:?}");
    record.tables.remove(0)
}

fn id(row: &shunt_vdiff::report::RowSample) -> i64 {
    row.row["id"].as_str().unwrap().parse().unwrap()
}

/// Mismatched, only on the source, only on the target.
fn found(table: &TableRecord) -> [BTreeSet<i64>; 3] {
    [
        table.mismatched_sample.iter().map(|pair| id(&pair.source)).collect(),
        table.extra_source_sample.iter().map(id).collect(),
        table.extra_target_sample.iter().map(id).collect(),
    ]
}

/// The schedule of `sides`: with the source read first, a lost event is taken for equality.
#[tokio::test(flavor = "multi_thread")]
async fn with_the_source_first_a_lost_event_looks_equal_and_with_the_target_first_it_does_not() {
    let pair = Pair::start().await;
    let mut source = pair.on_source().await;
    source.execute(CREATE).await.unwrap();
    source.execute(fill(100)).await.unwrap();
    let mut moved = pair.create(&["t"], Tuning::default()).await;
    moved.run().await;
    moved.wait(WaitFor::Running).await.unwrap();
    let stream = moved.stream().await.row.id;
    let tables = read_tables(&pair, &Spec::default()).await;
    let servers = Servers {
        source: pair.source_config(),
        target: pair.target_config(),
        tie: Tie::Stream { id: stream },
    };
    let mut sides = Sides::connect(&servers).await.unwrap();
    let folding = Folding::choose(Strength::Strong, &mut sides, &tables, 1).await.unwrap();
    // The source's snapshot first; then the event, which the target loses; then the target's snapshot.
    let snapshot = "START TRANSACTION WITH CONSISTENT SNAPSHOT";
    sides.source.execute(snapshot).await.unwrap();
    sides.source.rows("SELECT 1 FROM commerce.t LIMIT 1").await.unwrap();
    source.execute("UPDATE t SET k = 7 WHERE id = 50").await.unwrap();
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    let lose = "UPDATE t SET k = 0 WHERE id = 50";
    assert_eq!(pair.on_target().await.execute(lose).await.unwrap().affected, 1);
    sides.target.execute(snapshot).await.unwrap();
    let whole = Bounds { lower: None, upper: None };
    let [left, right] = folding.fold(&mut sides, &tables, &whole).await.unwrap();
    assert_eq!(left, right, "turned round, the lost event is not seen");
    sides.close().await.unwrap();
    // In the right order it is.
    sides.open().await.unwrap();
    let [left, right] = folding.fold(&mut sides, &tables, &whole).await.unwrap();
    assert_ne!(left, right, "the target first: the source's snapshot has the event");
    sides.close().await.unwrap();
    let table = vdiff(&pair, &spec(Strength::Fast)).await;
    assert_eq!(found(&table)[0], BTreeSet::from([50]));
    moved.cancel().await.unwrap();
}

async fn read_tables(pair: &Pair, spec: &Spec) -> Tables {
    use shunt_engine::mysql::schema::read_table;
    let source = read_table(&mut pair.on_source().await, "commerce", "t").await.unwrap().unwrap();
    let target = read_table(&mut pair.on_target().await, "customer", "t").await.unwrap().unwrap();
    Tables::new(source, target, spec).unwrap()
}

/// Compares without a workflow.
async fn standalone(pair: &Pair, spec: Spec, fixer: &mut Fixer) -> TableRecord {
    try_standalone(pair, spec, fixer).await.unwrap()
}

async fn try_standalone(pair: &Pair, spec: Spec, fixer: &mut Fixer) -> Result<TableRecord, Error> {
    let dir = tempfile::tempdir().unwrap();
    let servers =
        Servers { source: pair.source_config(), target: pair.target_config(), tie: Tie::Nothing };
    let job = Job {
        servers,
        source_database: "commerce".into(),
        target_database: "customer".into(),
        spec,
    };
    let mut tables = vec![TableRecord::new("t", "t")];
    let mut store =
        Store::File { path: dir.path().join("state.json"), record: Box::new(Record::default()) };
    let (progress, _) = watch::channel(Progress::default());
    let cancel = CancellationToken::new();
    let ended = {
        let mut reporter = Reporter::none();
        let running =
            run::run(&job, &mut tables, &mut store, fixer, &mut reporter, &progress, &cancel);
        Box::pin(running).await
    };
    assert_eq!(ended?, Ended::Completed);
    Ok(tables.remove(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_look_alike_are_told_apart() {
    let pair = Pair::start().await;
    let create = "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(20) COLLATE utf8mb4_general_ci, \
         b VARCHAR(20) COLLATE utf8mb4_general_ci, n INT, f FLOAT, d DOUBLE, x BLOB, bits BIT(12), \
         e ENUM('', 'a', 'b'), s SET('a', 'b'), j JSON, at DATETIME(6), t TIME(3), m DECIMAL(20,6), \
         r VARBINARY(10), l VARCHAR(20) CHARACTER SET latin1, y YEAR, u UUID)";
    let row = |id: u32| {
        format!(
            "({id}, 'a,b', 'c', NULL, 0, 0, x'ff00', b'101', 'a', 'a,b', '{{\"a\": 1}}', \
             '2020-01-01 00:00:00.000001', '-00:00:01.5', 1.5, x'00', 'ä', 2020, \
             '123e4567-e89b-12d3-a456-426655440000')"
        )
    };
    let changes = [
        "a = 'a', b = 'b,c'",
        "n = 0",
        "a = 'A,b'",
        "a = 'a,b '",
        "b = NULL",
        "b = ''",
        "f = 1.17549435e-38",
        "d = 2.2250738585072014e-308",
        "f = NULL",
        "f = 1e-45",
        "d = 5e-324",
        "x = x'ff0000'",
        "x = ''",
        "x = NULL",
        "bits = b'100'",
        "e = ''",
        "e = NULL",
        "s = 'a'",
        "j = '{\"a\":1}'",
        "at = '2020-01-01'",
        "t = '00:00:01.5'",
        "m = 1.500001",
        "r = x'0000'",
        "r = ''",
        "l = 'Ä'",
        "y = 0",
        "u = '123e4567-e89b-12d3-a456-426655440001'",
        "a = _utf8mb4 x'612c62c3a4'",
    ];
    let ids: Vec<u32> = (1..=40).collect();
    let rows: Vec<String> = ids.iter().map(|id| row(*id)).collect();
    let insert = format!("INSERT INTO t VALUES {}", rows.join(","));
    for control in [&mut pair.on_source().await, &mut pair.on_target().await] {
        control.execute(create).await.unwrap();
        control.execute(&insert).await.unwrap();
    }
    for strength in STRENGTHS {
        let same = standalone(&pair, spec(strength), &mut Fixer::Nothing).await;
        assert!(!same.differs() && same.matching == 40, "{strength:?}: {same:?}");
    }
    let mut target = pair.on_target().await;
    for (id, change) in (1..).zip(changes) {
        target.execute(format!("UPDATE t SET {change} WHERE id = {id}")).await.unwrap();
    }
    let count = i64::try_from(changes.len()).unwrap();
    let expected: BTreeSet<i64> = (1..=count).collect();
    for strength in STRENGTHS {
        let differs = standalone(&pair, spec(strength), &mut Fixer::Nothing).await;
        assert_eq!(found(&differs)[0], expected, "{strength:?}");
        assert_eq!(differs.matching, 40 - u64::try_from(count).unwrap());
    }
    let repaired = standalone(&pair, spec(Strength::Fast), &mut Fixer::repair()).await;
    assert_eq!(repaired.repaired, u64::try_from(count).unwrap());
    assert_equal(pair.source.primary(), pair.target.primary(), "t");
}

/// MySQL has no CRC32C: the other pair of sums, from one flavour to the other.
#[tokio::test(flavor = "multi_thread")]
async fn mysql_and_mariadb_fold_alike() {
    let pair = Pair::with(Some(mysql56()), None, &[], &[]).await;
    let create = "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(20) CHARACTER SET utf8mb4, \
         b VARCHAR(20) CHARACTER SET utf8mb4 NOT NULL, n INT, f FLOAT, d DOUBLE NOT NULL, x LONGBLOB, \
         l TEXT CHARACTER SET latin1, e ENUM('a', 'b'), m DECIMAL(20,6), \
         p VARCHAR(9) CHARACTER SET latin1, q VARCHAR(9) CHARACTER SET greek) ENGINE=InnoDB";
    let rows: Vec<String> = (1..=40)
        .map(|id| {
            format!("({id}, 'a,b', 'c', {id}, 0.1, 1e300, x'00ff', 'ä', 'b', -1.5, 'ö', 'α')")
        })
        .collect();
    let insert = format!("INSERT INTO t VALUES {}", rows.join(","));
    for control in [&mut pair.on_source().await, &mut pair.on_target().await] {
        control.execute(create).await.unwrap();
        control.execute(&insert).await.unwrap();
    }
    // The same value in another character set is the same value.
    let mut target = pair.on_target().await;
    target.execute("ALTER TABLE t MODIFY l TEXT CHARACTER SET utf8mb4").await.unwrap();
    for strength in [Strength::Fast, Strength::Strong, Strength::Auto] {
        let same = standalone(&pair, spec(strength), &mut Fixer::Nothing).await;
        assert!(!same.differs() && same.matching == 40, "{strength:?}: {same:?}");
        assert!(same.compared[0].contains("latin1 converted to utf8mb4"), "{:?}", same.compared);
    }
    let changes = [
        "a = 'a', b = 'b,c'",
        "a = NULL",
        "n = NULL",
        "f = 0.10000001",
        "x = NULL",
        "x = ''",
        "l = 'Ä'",
        "e = NULL",
    ];
    for (id, change) in (1..).zip(changes) {
        target.execute(format!("UPDATE t SET {change} WHERE id = {id}")).await.unwrap();
    }
    // Values that have changed places.
    target.execute("UPDATE t SET n = IF(id = 33, 34, 33) WHERE id IN (33, 34)").await.unwrap();
    for strength in STRENGTHS {
        let differs = standalone(&pair, spec(strength), &mut Fixer::Nothing).await;
        let expected: BTreeSet<i64> = (1..=8).chain([33, 34]).collect();
        assert_eq!(found(&differs)[0], expected, "{strength:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_all_kinds_and_tables_without_one() {
    let pair = Pair::start().await;
    let creates = [
        "CREATE TABLE t (id VARCHAR(40) COLLATE utf8mb4_unicode_ci NOT NULL PRIMARY KEY, v INT)",
        "CREATE TABLE t (g DATE NOT NULL, id VARCHAR(40) COLLATE utf8mb4_general_ci NOT NULL, v INT, PRIMARY KEY (g, id))",
        "CREATE TABLE t (id VARCHAR(40), v INT)",
    ];
    for (case, create) in creates.into_iter().enumerate() {
        for control in [&mut pair.on_source().await, &mut pair.on_target().await] {
            control.execute("DROP TABLE IF EXISTS t").await.unwrap();
            control.execute(create).await.unwrap();
            let columns = if case == 1 { "'2020-01-01' + INTERVAL seq % 9 DAY," } else { "" };
            control
                .execute(format!(
                    "INSERT INTO t SELECT {columns} CONCAT(ELT(seq % 3 + 1, 'ä', 'a', 'Z'), seq), seq FROM seq_1_to_3000"
                ))
                .await
                .unwrap();
        }
        let mut target = pair.on_target().await;
        target.execute("UPDATE t SET id = UPPER(id) WHERE v = 7").await.unwrap();
        target.execute("DELETE FROM t WHERE v BETWEEN 20 AND 24").await.unwrap();
        if case == 2 {
            // Rows that come twice: a pair would cancel itself out in an exclusive or.
            target.execute("INSERT INTO t SELECT * FROM t WHERE v IN (100, 101)").await.unwrap();
            target.execute("INSERT INTO t SELECT * FROM t WHERE v = 100").await.unwrap();
        }
        for strength in STRENGTHS {
            let table = standalone(&pair, spec(strength), &mut Fixer::Nothing).await;
            let counts = (table.mismatched, table.extra_source, table.extra_target);
            let expected = if case == 2 { (0, 6, 5) } else { (1, 5, 0) };
            assert_eq!(counts, expected, "{create} {strength:?}: {table:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_side_is_empty_or_keys_lie_unevenly() {
    let pair = Pair::start().await;
    for control in [&mut pair.on_source().await, &mut pair.on_target().await] {
        control.execute("CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, v INT)").await.unwrap();
    }
    let mut source = pair.on_source().await;
    source.execute("INSERT INTO t SELECT seq * seq * seq, seq FROM seq_1_to_2500").await.unwrap();
    let table = standalone(&pair, spec(Strength::Fast), &mut Fixer::Nothing).await;
    assert_eq!((table.extra_source, table.extra_target, table.matching), (2500, 0, 0));
    let mut target = pair.on_target().await;
    target.execute("INSERT INTO t SELECT seq * seq * seq, seq FROM seq_1_to_1250").await.unwrap();
    let table = standalone(&pair, spec(Strength::Strong), &mut Fixer::Nothing).await;
    assert_eq!((table.extra_source, table.extra_target, table.matching), (1250, 0, 1250));
    source.execute("DELETE FROM t").await.unwrap();
    let repaired = standalone(&pair, spec(Strength::Auto), &mut Fixer::repair()).await;
    assert_eq!((repaired.extra_target, repaired.repaired), (1250, 1250));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_vdiff_goes_on_where_it_was() {
    let pair = Pair::start().await;
    let mut source = pair.on_source().await;
    source.execute(CREATE).await.unwrap();
    source.execute(fill(60_000)).await.unwrap();
    let mut moved = pair.create(&["t"], Tuning::default()).await;
    moved.run().await;
    moved.wait(WaitFor::Running).await.unwrap();
    let mut target = pair.on_target().await;
    target.execute("DELETE FROM t WHERE id % 1000 = 7").await.unwrap();
    let work = register(&pair, &Spec { limit: None, ..spec(Strength::Strong) }).await;
    // A process that did its first third and died: its front is what it saved.
    let row = registered::tables(&mut target, work.row.id).await.unwrap().remove(0);
    let first = Spec { limit: Some(20_000), ..spec(Strength::Strong) };
    let third = vdiff(&pair, &first).await;
    assert_eq!((third.compared_rows(), third.extra_source), (20_000, 20));
    let died = TableRecord { state: State::Started, ..third };
    let save = registered::TableRow {
        rows_compared: died.compared_rows(),
        record: serde_json::to_string(&died).unwrap(),
        ..row
    };
    assert!(registered::take(&mut target, work.row.id, "dead").await.unwrap());
    registered::save_table(&mut target, work.row.id, "dead", &save).await.unwrap();
    assert_eq!(execute(&work, &CancellationToken::new()).await, None, "its lease is not over");
    target.execute("UPDATE _shunt.vdiff SET expires_us = 0").await.unwrap();
    // What lies behind its front is not compared again.
    target.execute("DELETE FROM t WHERE id = 5").await.unwrap();
    assert_eq!(execute(&work, &CancellationToken::new()).await, Some(Ended::Completed));
    let table = result(&pair, &work).await.tables.remove(0);
    assert_eq!((table.compared_rows(), table.extra_source), (60_000, 60));
    // Stopped before it begins, resumed, deleted.
    let work = register(&pair, &spec(Strength::Fast)).await;
    registered::stop(&mut target, work.row.id).await.unwrap();
    assert_eq!(execute(&work, &CancellationToken::new()).await, None, "it is stopped");
    registered::resume(&mut target, work.row.id).await.unwrap();
    assert_eq!(execute(&work, &CancellationToken::new()).await, Some(Ended::Completed));
    assert_eq!(result(&pair, &work).await.tables[0].extra_source, 61);
    registered::delete(&mut target, work.row.id).await.unwrap();
    let left = workflow::find(&mut target, WORKFLOW, &Which::Uuid(work.row.uuid)).await;
    assert!(left.is_err());
    moved.cancel().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_that_copies_is_not_compared() {
    let pair = Pair::start().await;
    let mut source = pair.on_source().await;
    source.execute(CREATE).await.unwrap();
    let moved = pair.create(&["t"], Tuning::default()).await;
    let mut control = pair.on_target().await;
    let refused =
        workflow::create(&mut control, WORKFLOW, "u", &Spec::default(), &[], Wanted::Run).await;
    assert!(refused.unwrap_err().to_string().contains("Running"));
    assert!(status::read(&mut control, WORKFLOW).await.is_ok());
    drop(moved);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_print_the_guides_report_and_say_by_their_code_whether_it_differs() {
    let pair = Pair::start().await;
    let site = Site::new(&pair, "").await;
    let mut source = site.on_source().await;
    source.execute(CREATE).await.unwrap();
    source.execute(fill(500)).await.unwrap();
    site.must(&site.create("t", "chunk_rows_max=3000")).await;
    let serving = site.serve(Binary::Plain, None);
    site.wait("running").await;
    let name = site.workflow();
    let said = site.must(&format!("vdiff create {name} --wait --format json")).await;
    assert!(
        said.contains("\"State\": \"completed\"") && said.contains("\"HasMismatch\": false"),
        "{said}"
    );
    site.on_target().await.execute("DELETE FROM t WHERE id = 77").await.unwrap();
    let said = site.run(Binary::Plain, None, &format!("vdiff create {name} --wait")).await;
    assert_eq!(said.code, Some(3), "{}", said.text);
    assert!(said.text.contains("only on the source: {\"b\""), "{}", said.text);
    let shown = site.must(&format!("vdiff show {name} last")).await;
    assert!(
        shown.contains("\"ExtraRowsSource\": 1") && shown.contains("\"id\": \"77\""),
        "{shown}"
    );
    let run = "vdiff run --source commerce --target customer --tables t --state state.json";
    let said = site.run(Binary::Plain, None, run).await;
    assert_eq!(said.code, Some(3), "{}", said.text);
    let said = site.run(Binary::Plain, None, &format!("{run} --repair")).await;
    assert_eq!(said.code, Some(0), "{}", said.text);
    let said = site.run(Binary::Plain, None, run).await;
    assert_eq!(said.code, Some(0), "{}", said.text);
    site.must(&format!("vdiff delete {name} all")).await;
    let said = site.run(Binary::Plain, None, &format!("vdiff show {name} last")).await;
    assert_eq!(said.code, Some(2), "{}", said.text);
    serving.stop().await;
}

/// Not a test of speed: the connection of a large row must not be held in memory many times over.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_row_is_compared() {
    let options = [("max_allowed_packet", "256M"), ("innodb_log_file_size", "512M")];
    let pair = Pair::with(None, None, &options, &options).await;
    for control in [&mut pair.on_source().await, &mut pair.on_target().await] {
        control.execute("CREATE TABLE t (id INT PRIMARY KEY, b LONGBLOB)").await.unwrap();
        control.execute("INSERT INTO t VALUES (1, REPEAT('x', 64 << 20)), (2, 'y')").await.unwrap();
    }
    let same = standalone(&pair, spec(Strength::Strong), &mut Fixer::Nothing).await;
    assert_eq!((same.matching, same.differs()), (2, false));
    let change = "UPDATE t SET b = CONCAT(LEFT(b, (64 << 20) - 1), 'y') WHERE id = 1";
    pair.on_target().await.execute(change).await.unwrap();
    for strength in STRENGTHS {
        let table = standalone(&pair, spec(strength), &mut Fixer::Nothing).await;
        assert_eq!(table.mismatched, 1, "{strength:?}");
    }
    drop(Wire::connect(&pair.source_config()).await.unwrap());
}
