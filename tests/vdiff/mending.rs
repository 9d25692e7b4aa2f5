//! Repair and the statements that mend: no row is lost that was right, and none that was found is forgotten.

use std::time::Duration;

use shunt_engine::Error;
use shunt_engine::sidecar::vdiff as registered;
use shunt_engine::workflow::spec::Tuning;
use shunt_engine::workflow::verbs::WaitFor;
use shunt_vdiff::archive::findings::Reporter;
use shunt_vdiff::fix::Fixer;
use shunt_vdiff::report::{Record, State, TableRecord, hex};
use shunt_vdiff::run::{self, Job};
use shunt_vdiff::sides::{Servers, Tie};
use shunt_vdiff::spec::{Spec, Strength};
use shunt_vdiff::store::{self, Store};
use shunt_vdiff::table::{Ended, Progress};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::keys::fill;
use super::{STRENGTHS, execute, read_tables, register, result, spec, standalone, try_standalone};
use crate::harness::binary::Binary;
use crate::harness::compare::assert_equal;
use crate::harness::load::{Load, Random};
use crate::harness::pair::Pair;
use crate::harness::site::Site;

pub(super) async fn rows(pair: &Pair) -> Vec<String> {
    let rows = pair.on_target().await.rows("SELECT * FROM t ORDER BY 1, 2").await.unwrap();
    let text = |at: usize, row: &shunt_engine::mysql::control::Row| {
        row.text(at).unwrap_or_else(|| "NULL".into())
    };
    rows.iter().map(|row| format!("{} {}", text(0, row), text(1, row))).collect()
}

/// Runs the command and executes what it wrote.
async fn emit_and_apply(pair: &Pair, site: &Site, options: &str) -> Option<i32> {
    let file = site.dir().join("fix.sql");
    drop(std::fs::remove_file(&file));
    let run = format!(
        "vdiff run --source commerce --target customer --tables t --state {}.json --emit-sql fix.sql {options}",
        super::unique()
    );
    let said = site.run(Binary::Plain, None, &run).await;
    let statements = std::fs::read_to_string(file).unwrap_or_default();
    let mut target = pair.on_target().await;
    for statement in statements.split(";\n").filter(|statement| !statement.trim().is_empty()) {
        target.execute(statement).await.unwrap();
    }
    said.code
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_outside_of_the_condition_is_not_deleted() {
    let pair = Pair::start().await;
    let site = Site::new(&pair, "").await;
    let create = "CREATE TABLE t (id INT PRIMARY KEY, s CHAR(1), v INT)";
    let source = format!("{create};INSERT INTO t VALUES (1, 'y', 1), (2, 'x', 2), (3, 'x', 3)");
    let target = format!(
        "{create};INSERT INTO t VALUES (1, 'x', 1), (2, 'x', 2), (3, 'y', 3), (4, 'x', 4), (5, 'y', 5)"
    );
    let mended = ["1 y", "2 x", "3 x", "5 y"];
    let filter = || Some("s = 'x'".to_owned());
    for strength in STRENGTHS {
        fill(&pair, &source, &target).await;
        let spec = Spec { filter: filter(), ..spec(strength) };
        let table = standalone(&pair, spec, &mut Fixer::repair()).await;
        assert_eq!((table.mismatched, table.extra_source, table.extra_target), (2, 0, 1));
        assert_eq!(table.repaired, 3, "{table:?}");
        assert_eq!(rows(&pair).await, mended);
    }
    fill(&pair, &source, &target).await;
    assert_eq!(emit_and_apply(&pair, &site, "--where s=_latin1'x'").await, Some(3));
    assert_eq!(rows(&pair).await, mended);
}

/// Each row that is written raises a note for the column that rounds.
#[tokio::test(flavor = "multi_thread")]
async fn rows_whose_computed_columns_round_are_mended() {
    let pair = Pair::start().await;
    let create =
        "CREATE TABLE t (id INT PRIMARY KEY, v DECIMAL(9,3), w DECIMAL(9,1) AS (v) STORED)";
    let source = format!("{create};INSERT INTO t (id, v) VALUES (1, 1.255), (2, -2.249), (3, 3)");
    let target = format!("{create};INSERT INTO t (id, v) VALUES (1, 1.254), (3, 3), (4, 4.75)");
    for strength in STRENGTHS {
        fill(&pair, &source, &target).await;
        let table = standalone(&pair, spec(strength), &mut Fixer::repair()).await;
        assert_eq!((table.mismatched, table.extra_source, table.extra_target), (1, 1, 1));
        assert_eq!(table.repaired, 3, "{table:?}");
        assert_eq!(rows(&pair).await, ["1 1.255", "2 -2.249", "3 3.000"]);
    }
}

/// The target's keys are stricter than the source's: what the source has does not fit there.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_equal_is_not_deleted_for_another_one() {
    let pair = Pair::start().await;
    let site = Site::new(&pair, "").await;
    let unique = |collation: &str| {
        format!("CREATE TABLE t (id INT PRIMARY KEY, u VARCHAR(9) COLLATE {collation}, UNIQUE (u))")
    };
    let key = |collation: &str| {
        format!("CREATE TABLE t (u VARCHAR(9) COLLATE {collation} PRIMARY KEY, v INT)")
    };
    let cases = [
        (
            format!("{};INSERT INTO t VALUES (1, 'a'), (2, 'A'), (3, 'c')", unique("utf8mb4_bin")),
            format!("{};INSERT INTO t VALUES (1, 'a'), (3, 'c')", unique("utf8mb4_general_ci")),
        ),
        (
            format!("{};INSERT INTO t VALUES (1, 'abcd'), (2, 'abce')", unique("utf8mb4_bin")),
            format!(
                "{};INSERT INTO t VALUES (1, 'abcd')",
                unique("utf8mb4_bin").replace("(u))", "(u(3)))")
            ),
        ),
        (
            format!("{};INSERT INTO t VALUES ('a', 1), ('A', 2)", key("utf8mb4_bin")),
            format!("{};INSERT INTO t VALUES ('a', 1)", key("utf8mb4_general_ci")),
        ),
    ];
    for (source, target) in cases {
        fill(&pair, &source, &target).await;
        let before = rows(&pair).await;
        let ended = try_standalone(&pair, spec(Strength::Fast), &mut Fixer::repair()).await;
        let error: Error = ended.expect_err("it cannot be repaired");
        assert!(error.to_string().contains("unique"), "{error}");
        assert_eq!(rows(&pair).await, before);
        let file = site.dir().join("fix.sql");
        drop(std::fs::remove_file(&file));
        let run = format!(
            "vdiff run --source commerce --target customer --tables t --state {}.json --emit-sql fix.sql",
            super::unique()
        );
        site.run(Binary::Plain, None, &run).await;
        let statements = std::fs::read_to_string(file).unwrap();
        let mut control = pair.on_target().await;
        for statement in statements.split(";\n").filter(|statement| !statement.trim().is_empty()) {
            if control.execute(statement).await.is_err() {
                control.execute("ROLLBACK").await.unwrap();
                break;
            }
        }
        assert_eq!(rows(&pair).await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_a_unique_key_that_have_changed_places_are_mended() {
    let pair = Pair::start().await;
    let site = Site::new(&pair, "").await;
    let create = "CREATE TABLE t (id INT PRIMARY KEY, u INT, x VARCHAR(9), UNIQUE (u, x))";
    let insert =
        |u: &str| format!("{create};INSERT INTO t SELECT seq, {u}, 'x' FROM seq_1_to_1000");
    let (source, target) = (insert("seq"), insert("IF(seq = 1000, 1, seq + 1)"));
    fill(&pair, &source, &target).await;
    let table = standalone(&pair, spec(Strength::Fast), &mut Fixer::repair()).await;
    assert_eq!((table.mismatched, table.repaired), (1000, 1000));
    assert_equal(pair.source.primary(), pair.target.primary(), "t");
    fill(&pair, &source, &target).await;
    assert_eq!(emit_and_apply(&pair, &site, "").await, Some(3));
    assert_equal(pair.source.primary(), pair.target.primary(), "t");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_row_of_the_very_key_is_mended_where_collations_differ() {
    let pair = Pair::start().await;
    let site = Site::new(&pair, "").await;
    let table = |collation: &str, rows: &str| {
        format!(
            "CREATE TABLE t (id VARCHAR(9) COLLATE {collation} PRIMARY KEY, v INT);INSERT INTO t VALUES {rows}"
        )
    };
    let source = table("utf8mb4_general_ci", "('a', 1), ('b', 2), ('d', 3)");
    let target = table("utf8mb4_bin", "('a', 1), ('A', 9), ('b', 7), ('D', 3)");
    fill(&pair, &source, &target).await;
    let record = standalone(&pair, spec(Strength::Strong), &mut Fixer::repair()).await;
    assert_eq!(
        (record.mismatched, record.extra_source, record.extra_target, record.repaired),
        (1, 1, 2, 4)
    );
    assert_eq!(rows(&pair).await, ["a 1", "b 2", "d 3"]);
    fill(&pair, &source, &target).await;
    assert_eq!(emit_and_apply(&pair, &site, "").await, Some(3));
    assert_eq!(rows(&pair).await, ["a 1", "b 2", "d 3"]);
}

/// A run that is interrupted while keys wait for repair; the next process has nothing but what was saved.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_repair_survives_an_interruption() {
    let pair = Pair::start().await;
    let create = "CREATE TABLE t (id INT PRIMARY KEY, v INT);INSERT INTO t SELECT seq, 0 FROM seq_1_to_200000";
    fill(&pair, create, create).await;
    pair.on_target().await.execute("UPDATE t SET v = 7 WHERE id <= 150").await.unwrap();
    // The last row never rests, so that the table is not done before it is interrupted.
    let write = |_: &mut Random| vec!["UPDATE t SET v = v + 1 WHERE id = 200000".to_owned()];
    let load = Load::start(&pair.source_config(), "commerce", 1, write);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.json");
    let job = Job {
        servers: Servers {
            source: pair.source_config(),
            target: pair.target_config(),
            tie: Tie::Nothing,
        },
        source_database: "commerce".into(),
        target_database: "customer".into(),
        spec: Spec {
            repair: true,
            recheck_for: Duration::from_secs(300),
            parallelism: 1,
            ..spec(Strength::Strong)
        },
    };
    let (cancel, (progress, mut shown)) =
        (CancellationToken::new(), watch::channel(Progress::default()));
    let interrupt = async {
        shown.wait_for(|progress| progress.differences >= 150).await.unwrap();
        cancel.cancel();
    };
    let mut tables = vec![TableRecord::new("t", "t")];
    let record = Record { tables: tables.clone(), ..Record::default() };
    let mut store = Store::File { path: path.clone(), record: Box::new(record) };
    let (mut fixer, mut reporter) = (Fixer::repair(), Reporter::none());
    let running =
        run::run(&job, &mut tables, &mut store, &mut fixer, &mut reporter, &progress, &cancel);
    let (ended, ()) = tokio::join!(Box::pin(running), interrupt);
    assert_eq!(ended.unwrap(), Ended::Stopped);
    load.stop().await;
    // Another process.
    let record = store::read(&path).unwrap().unwrap();
    let mut tables = record.tables.clone();
    let mut store = Store::File { path, record: Box::new(record) };
    let (mut fixer, mut reporter) = (Fixer::repair(), Reporter::none());
    let cancel = CancellationToken::new();
    let running =
        run::run(&job, &mut tables, &mut store, &mut fixer, &mut reporter, &progress, &cancel);
    assert_eq!(Box::pin(running).await.unwrap(), Ended::Completed);
    assert_eq!((tables[0].mismatched, tables[0].repaired), (151, 151), "{:?}", tables[0]);
    assert_equal(pair.source.primary(), pair.target.primary(), "t");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_not_compared_twice_in_one_run() {
    let pair = Pair::start().await;
    let site = Site::new(&pair, "").await;
    let create = "CREATE TABLE t (id INT PRIMARY KEY)";
    fill(&pair, create, create).await;
    let run = "vdiff run --source commerce --target customer --state state.json --tables";
    let said = site.run(Binary::Plain, None, &format!("{run} t:t,t:b")).await;
    assert_eq!(said.code, Some(2), "{}", said.text);
    assert!(said.text.contains("twice"), "{}", said.text);
}

/// A file of statements and the state of a run that died: its front is saved, two keys of it wait, and a statement is torn.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_statements_survives_a_kill() {
    let pair = Pair::start().await;
    let site = Site::new(&pair, "").await;
    let create =
        "CREATE TABLE t (id INT PRIMARY KEY, v INT);INSERT INTO t SELECT seq, 0 FROM seq_1_to_1000";
    fill(&pair, create, create).await;
    pair.on_target().await.execute("UPDATE t SET v = 7 WHERE id IN (5, 6, 900)").await.unwrap();
    let run = "vdiff run --source commerce --target customer --tables t --emit-sql fix.sql --state state.json";
    let said = site.run(Binary::Plain, None, run).await;
    assert_eq!(said.code, Some(3), "{}", said.text);
    let state = site.dir().join("state.json");
    let mut record = store::read(&state).unwrap().unwrap();
    let head = shunt_vdiff::fix::EMIT_HEAD;
    let key = |cell: &str| format!("{:02x}{}", cell.len(), hex(cell.as_bytes()));
    record.state = State::Started;
    record.tables[0] = TableRecord {
        state: State::Started,
        definition: record.tables[0].definition.clone(),
        lastpk: Some(vec![hex(b"500")]),
        matching: 498,
        mismatched: 2,
        to_repair: vec![key("5"), key("6")],
        emitted: u64::try_from(head.len()).unwrap(),
        ..TableRecord::new("t", "t")
    };
    std::fs::write(&state, serde_json::to_string(&record).unwrap()).unwrap();
    let file = site.dir().join("fix.sql");
    std::fs::write(&file, format!("{head}BEGIN;\nDELETE FROM `customer`.`t` WHERE `id` IN (1"))
        .unwrap();
    let other = site.run(Binary::Plain, None, &format!("{run} --where id<10")).await;
    assert_eq!(other.code, Some(2), "it is of another VDiff: {}", other.text);
    let said = site.run(Binary::Plain, None, run).await;
    assert_eq!(said.code, Some(3), "{}", said.text);
    let mut target = pair.on_target().await;
    let statements = std::fs::read_to_string(&file).unwrap();
    for statement in statements.split(";\n").filter(|statement| !statement.trim().is_empty()) {
        target.execute(statement).await.unwrap();
    }
    assert_equal(pair.source.primary(), pair.target.primary(), "t");
    // An interrupted run that only compared has mended nothing: one that mends begins anew.
    record.fixing = String::new();
    record.tables[0].to_repair.clear();
    std::fs::write(&state, serde_json::to_string(&record).unwrap()).unwrap();
    target.execute("UPDATE t SET v = 7 WHERE id = 5").await.unwrap();
    let run =
        "vdiff run --source commerce --target customer --tables t --repair --state state.json";
    let said = site.run(Binary::Plain, None, run).await;
    assert_eq!(said.code, Some(0), "{}", said.text);
    assert_equal(pair.source.primary(), pair.target.primary(), "t");
}

/// What is settled is all up to a key in the order of the old one; in that of another one it lies elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_key_was_altered_is_compared_from_its_start() {
    let pair = Pair::start().await;
    let site = Site::new(&pair, "").await;
    let create = "CREATE TABLE t (id INT NOT NULL PRIMARY KEY, u INT NOT NULL UNIQUE, v INT);INSERT INTO t SELECT seq, 1001 - seq, 0 FROM seq_1_to_1000";
    fill(&pair, create, create).await;
    let interrupted = TableRecord {
        state: State::Started,
        definition: read_tables(&pair, &Spec::default()).await.definition(),
        lastpk: Some(vec![hex(b"500")]),
        matching: 500,
        ..TableRecord::new("t", "t")
    };
    let run = "vdiff run --source commerce --target customer --tables t --state state.json";
    let first = site.run(Binary::Plain, None, run).await;
    assert_eq!(first.code, Some(0), "{}", first.text);
    let state = site.dir().join("state.json");
    let interrupt = |emitted: u64| {
        let mut record = store::read(&state).unwrap().unwrap();
        assert_eq!(record.tables[0].definition, interrupted.definition, "it is saved");
        record.state = State::Started;
        record.fixing = if emitted > 0 { "emit-sql fix.sql".into() } else { String::new() };
        record.tables[0] = TableRecord { emitted, ..interrupted.clone() };
        std::fs::write(&state, serde_json::to_string(&record).unwrap()).unwrap();
    };
    // With the same definition it goes on.
    interrupt(0);
    let same = site.run(Binary::Plain, None, run).await;
    assert_eq!(same.code, Some(0), "{}", same.text);
    assert!(!same.text.contains("begun anew"), "{}", same.text);
    interrupt(0);
    for mut control in [pair.on_source().await, pair.on_target().await] {
        control.execute("ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (u)").await.unwrap();
    }
    pair.on_target().await.execute("UPDATE t SET v = 7 WHERE u = 100").await.unwrap();
    let said = site.run(Binary::Plain, None, &format!("{run} --format json")).await;
    assert_eq!(said.code, Some(3), "{}", said.text);
    assert!(said.text.contains("\"MismatchedRows\": 1"), "{}", said.text);
    assert!(said.text.contains("\"MatchingRows\": 999"), "{}", said.text);
    assert!(said.text.contains("begun anew"), "{}", said.text);
    // Statements of the old definition are not mixed with others.
    let mut record = store::read(&state).unwrap().unwrap();
    record.tables[0].definition.clone_from(&interrupted.definition);
    std::fs::write(&state, serde_json::to_string(&record).unwrap()).unwrap();
    interrupt(10);
    std::fs::write(site.dir().join("fix.sql"), "0123456789").unwrap();
    let mixed = site.run(Binary::Plain, None, &format!("{run} --emit-sql fix.sql")).await;
    assert_eq!(mixed.code, Some(2), "{}", mixed.text);
    assert!(mixed.text.contains("definition"), "{}", mixed.text);
}

/// The target's key is a part of the source's: another row with that part gives way.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_a_part_of_the_sources_is_mended() {
    let pair = Pair::start().await;
    let create = |key: &str, b: &str| {
        format!(
            "CREATE TABLE t (a INT, b INT, PRIMARY KEY ({key}));INSERT INTO t SELECT seq, {b} FROM seq_1_to_900"
        )
    };
    for (key, here, there) in [("a", "2", "1"), ("b", "seq + 1", "seq")] {
        fill(&pair, &create("a, b", here), &create(key, there)).await;
        let table = standalone(&pair, spec(Strength::Fast), &mut Fixer::repair()).await;
        // A row that gave way before its range was compared is not counted as one that only the target has.
        assert_eq!(table.extra_source, 900);
        assert!((1..=900).contains(&table.extra_target), "{table:?}");
        assert_eq!(table.repaired, table.extra_source + table.extra_target);
        let after = standalone(&pair, spec(Strength::Strong), &mut Fixer::Nothing).await;
        assert_eq!((after.matching, after.differs()), (900, false), "{after:?}");
    }
}

/// A VDiff of a workflow whose process died: one key waits for its repair, one to be looked at again (and differs still).
#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_vdiff_mends_what_was_found_before() {
    let pair = Pair::start().await;
    let mut source = pair.on_source().await;
    source.execute("CREATE TABLE t (id INT NOT NULL PRIMARY KEY, v INT)").await.unwrap();
    source.execute("INSERT INTO t SELECT seq, 0 FROM seq_1_to_1000").await.unwrap();
    let mut moved = pair.create(&["t"], Tuning::default()).await;
    moved.run().await;
    moved.wait(WaitFor::Running).await.unwrap();
    let mut target = pair.on_target().await;
    target.execute("UPDATE t SET v = 7 WHERE id IN (5, 6, 900)").await.unwrap();
    let work = register(&pair, &Spec { repair: true, ..spec(Strength::Strong) }).await;
    let row = registered::tables(&mut target, work.row.id).await.unwrap().remove(0);
    let died = TableRecord {
        state: State::Started,
        definition: read_tables(&pair, &Spec::default()).await.definition(),
        lastpk: Some(vec![hex(b"500")]),
        matching: 498,
        mismatched: 2,
        to_repair: vec![hex(b"\x015")],
        to_check: vec![hex(b"\x016")],
        ..TableRecord::new("t", "t")
    };
    let save = registered::TableRow { record: serde_json::to_string(&died).unwrap(), ..row };
    assert!(registered::take(&mut target, work.row.id, "dead").await.unwrap());
    registered::save_table(&mut target, work.row.id, "dead", &save).await.unwrap();
    target.execute("UPDATE _shunt.vdiff SET expires_us = 0").await.unwrap();
    assert_eq!(execute(&work, &CancellationToken::new()).await, Some(Ended::Completed));
    let table = result(&pair, &work).await.tables.remove(0);
    assert_eq!((table.mismatched, table.unrepaired, table.repaired), (3, 1, 2), "{table:?}");
    assert!(table.to_repair.is_empty() && table.to_check.is_empty());
    let left = target.rows("SELECT id FROM t WHERE v <> 0").await.unwrap();
    let left: Vec<String> = left.iter().map(|row| row.must(0).unwrap()).collect();
    assert_eq!(left, ["6"], "what was repaired before is looked at, not repaired again");
    moved.cancel().await.unwrap();
}
