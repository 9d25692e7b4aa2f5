//! `shunt bench` between two servers: every step is measured, and nothing stays behind.

use std::time::Instant;

use serde_json::Value;
use shunt_engine::sidecar;

use crate::harness::binary::Binary;
use crate::harness::pair::{PATIENCE, Pair};
use crate::harness::site::{LOOK, Site};

const SMALL: &str = "bench --source commerce --target customer --tables 1 --rows 1000";

/// Databases of the bench, the sidecar, and workflows, that the servers have.
async fn left_behind(pair: &Pair) -> Vec<String> {
    let query = "SELECT schema_name FROM information_schema.schemata \
                 WHERE schema_name LIKE '%shunt%' ORDER BY schema_name";
    let mut left = Vec::new();
    for mut control in [pair.on_source().await, pair.on_target().await] {
        let rows = control.rows(query).await.unwrap();
        left.extend(rows.iter().map(|row| row.must(0).unwrap()));
    }
    let workflows = "SELECT CONCAT('workflow ', name) FROM _shunt.workflow";
    if let Ok(rows) = pair.on_target().await.rows(workflows).await {
        left.extend(rows.iter().map(|row| row.must(0).unwrap()));
    }
    left
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_is_measured_and_nothing_stays() {
    let pair = Pair::start().await;
    let site = Site::new(&pair, "").await;
    let bench = "bench --source commerce --target customer --tables 2 --rows 3100";
    let said = site.must(&format!("{bench} --format json")).await;
    // Behind the report stands what is told meanwhile.
    let mut values = serde_json::Deserializer::from_str(&said).into_iter::<Value>();
    let report = values.next().unwrap().unwrap();
    let steps = report["Steps"].as_array().unwrap();
    let seen: Vec<(&str, u64)> = steps
        .iter()
        .map(|step| (step["What"].as_str().unwrap(), step["Rows"].as_u64().unwrap()))
        .collect();
    let expected = [
        ("copy", 6_200),
        ("copy", 6_200),
        // 200 transactions a table, of a thousand rows as long as there are so many.
        ("catch-up, 1,000 rows a transaction", changed()),
        ("catch-up, 1 row a transaction", 4_000),
        ("vdiff, auto", 6_200),
        ("vdiff, strong", 6_200),
    ];
    assert_eq!(seen, expected);
    for step in steps {
        assert!(step["Seconds"].as_f64().unwrap() > 0.0, "{step}");
        assert!(step["BesideSeconds"].as_f64().unwrap() > 0.0, "{step}");
    }
    assert_eq!(left_behind(&pair).await, [""; 0]);
    // What is there already is somebody's.
    pair.on_target().await.execute("CREATE DATABASE shunt_bench_target").await.unwrap();
    let said = site.run(Binary::Plain, None, bench).await;
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.text.contains("there is a database shunt_bench_target"), "{said:?}");
    assert_eq!(left_behind(&pair).await, ["shunt_bench_target"]);
    pair.on_target().await.execute("DROP DATABASE shunt_bench_target").await.unwrap();
    pair.on_source().await.execute("CREATE TABLE t (id INT PRIMARY KEY)").await.unwrap();
    site.must("movetables create customer.shunt_bench --source commerce --tables t --detach").await;
    let said = site.run(Binary::Plain, None, bench).await;
    assert_eq!(said.code, Some(2), "{said:?}");
    assert_eq!(left_behind(&pair).await, ["_shunt", "workflow customer.shunt_bench"]);
}

/// What another process does is not measured.
#[tokio::test(flavor = "multi_thread")]
async fn a_bench_ends_where_another_process_runs_its_stream() {
    let pair = Pair::start().await;
    let site = Site::new(&pair, "").await;
    let mut target = pair.on_target().await;
    sidecar::prepare(&mut target).await.unwrap();
    // As a `shunt serve` that is faster than the bench; it gives the stream back in time for the bench to remove what it made.
    let faster = "CREATE TRIGGER _shunt.faster BEFORE INSERT ON _shunt.lease FOR EACH ROW \
                  SET NEW.owner = 'another', NEW.expires_us = (UNIX_TIMESTAMP() + 8) * 1000000";
    target.execute(faster).await.unwrap();
    let said = site.run(Binary::Plain, None, SMALL).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    let why =
        "another process runs the bench's workflow customer.shunt_bench. Stop each `shunt serve`";
    assert!(said.text.contains(why), "{said:?}");
    // It was there before.
    assert_eq!(left_behind(&pair).await, ["_shunt"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_somebody_began_to_use_stays() {
    let pair = Pair::start().await;
    let site = Site::new(&pair, "").await;
    let mut bench = site.start(Binary::Plain, None, SMALL);
    let mut target = pair.on_target().await;
    let journal = "INSERT INTO _shunt.journal (workflow, at_s, what, detail) \
                   VALUES ('customer.move', 0, 'created', 't')";
    let started = Instant::now();
    while target.execute(journal).await.is_err() {
        assert!(started.elapsed() < PATIENCE, "the bench makes no sidecar: {}", bench.log());
        tokio::time::sleep(LOOK).await;
    }
    assert_eq!(bench.ended().await.code(), Some(0), "{}", bench.log());
    assert_eq!(left_behind(&pair).await, ["_shunt"]);
}

/// Rows that are updated of two tables of 3,100 rows.
fn changed() -> u64 {
    2 * (0..200).map(|at| (3_100 - at * 1_000 % 3_100).min(1_000)).sum::<u64>()
}
