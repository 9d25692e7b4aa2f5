//! Random tables under random transactions: each seed makes tables out of the zoo's types with a random key, moves them while
//! sessions change them in every way, and compares every cell by the servers' own hexadecimal.
//!
//! A seed decides on the tables, their rows and the statements of each session; how the sessions meet is left to the servers.
//! It is printed before its move begins. `SHUNT_SEED=n` runs that one alone, `SHUNT_SOAK=1` fifty in each direction.

mod table;

use std::sync::Arc;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use shunt_engine::workflow::cancel;
use shunt_engine::workflow::spec::Tuning;
use shunt_engine::workflow::verbs::WaitFor;

use self::table::{Servers, Table};
use crate::harness::cells;
use crate::harness::load::{Load, Random};
use crate::harness::pair::{Pair, WORKFLOW, mysql56};
use crate::harness::soak::soak;
use crate::harness::until::until;

/// What the sessions admit.
const LENIENT: &str = "SET NAMES utf8mb4, sql_mode = 'ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO', time_zone = '+00:00'";
/// Transactions that are committed while the copy runs, and after it, before sessions stop.
const AFTER: u64 = 60;

/// All that a seed decides.
#[derive(Clone, Debug)]
struct Plan {
    tables: Vec<Table>,
    chunk_rows: u64,
    crash: bool,
}

impl Plan {
    fn of(seed: u64, servers: Servers) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let tables = proptest::collection::vec(table::strategy(servers), 1..=2);
        let chunks = proptest::sample::select(vec![7_u64, 40, 150]);
        let plan = (tables, chunks, proptest::bool::weighted(0.3));
        let (mut tables, chunk_rows, crash) = plan.new_tree(&mut runner).unwrap().current();
        for (at, table) in tables.iter_mut().enumerate() {
            table.name = format!("t{seed}_{at}");
        }
        Self { tables, chunk_rows, crash }
    }
}

async fn check(
    servers: Servers,
    source: Option<std::path::PathBuf>,
    target: Option<std::path::PathBuf>,
) {
    let pair = Pair::with(source, target, &[], &[]).await;
    let seeds = match std::env::var("SHUNT_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) if soak() => (0..50).collect(),
        Err(_) => (0..4).collect(),
    };
    for seed in seeds {
        let plan = Plan::of(seed, servers);
        println!("SHUNT_SEED={seed}: {plan:#?}");
        moves(&pair, seed, &plan).await;
    }
}

async fn moves(pair: &Pair, seed: u64, plan: &Plan) {
    let mut source = pair.on_source().await;
    source.execute(LENIENT).await.unwrap();
    let mut random = Random(seed);
    for table in &plan.tables {
        for statement in [vec![table.create()], table.fill(&mut random)].concat() {
            let done = source.execute(&statement).await;
            done.unwrap_or_else(|error| panic!("SHUNT_SEED={seed}: {statement}: {error}"));
        }
    }
    let tables = Arc::new(plan.tables.clone());
    let load = Load::seeded(&pair.source_config(), "commerce", 3, seed, move |random| {
        let mut statements = vec![LENIENT.to_owned(), "DO SLEEP(0.002)".to_owned()];
        statements.extend(table::transaction(&tables, random));
        statements
    });
    let names: Vec<&str> = plan.tables.iter().map(|table| table.name.as_str()).collect();
    let mut tuning = Tuning::default();
    tuning.set("chunk_rows_max", &plan.chunk_rows.to_string()).unwrap();
    let mut moved = pair.create(&names, tuning).await;
    moved.run().await;
    if plan.crash {
        pair.until_ranges(1).await;
        moved.crash();
        moved.run().await;
    }
    moved.wait(WaitFor::Running).await.unwrap_or_else(|error| panic!("SHUNT_SEED={seed}: {error}"));
    let before = load.committed();
    until("more of the load", async || load.committed() >= before + AFTER).await;
    let committed = load.stop().await;
    moved
        .wait(WaitFor::CaughtUp)
        .await
        .unwrap_or_else(|error| panic!("SHUNT_SEED={seed}: {error}"));
    let mut target = pair.on_target().await;
    target.execute(LENIENT).await.unwrap();
    for table in &plan.tables {
        let differs = cells::differs(&mut source, &mut target, &table.name).await;
        assert_eq!(differs, None, "SHUNT_SEED={seed} after {committed} transactions: {plan:#?}");
    }
    moved.cancel().await.unwrap();
    cancel::cancel(&mut target, WORKFLOW, false).await.unwrap();
    for table in &plan.tables {
        source.execute(format!("DROP TABLE {}", table.name)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn from_mariadb_to_mariadb() {
    check(Servers { source: true, target: true }, None, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_mysql_to_mariadb() {
    check(Servers { source: false, target: true }, Some(mysql56()), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_mariadb_to_mysql() {
    check(Servers { source: true, target: false }, None, Some(mysql56())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_mysql_to_mysql() {
    check(Servers { source: false, target: false }, Some(mysql56()), Some(mysql56())).await;
}
