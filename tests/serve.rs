//! `shunt serve` looks after what it can: a workflow that it cannot look after keeps nothing else of its keyspace from going on.

use std::time::Instant;

use crate::harness::binary::Binary;
use crate::harness::pair::{PATIENCE, Pair};
use crate::harness::site::{LOOK, Site};

/// A third keyspace, beside the source's on its server, which the configuration knows for a while.
struct Third {
    known: String,
    unknown: String,
}

impl Third {
    fn new(site: &Site) -> Self {
        let unknown = config(site);
        let start = unknown.find("\n[keyspaces.commerce]").unwrap();
        let end = unknown.find("\n[keyspaces.customer]").unwrap();
        let third = unknown[start..end]
            .replace("keyspaces.commerce", "keyspaces.third")
            .replace("database = \"commerce\"", "database = \"third\"");
        Self { known: format!("{unknown}{third}"), unknown }
    }
}

fn config(site: &Site) -> String {
    std::fs::read_to_string(site.dir().join("shunt.toml")).unwrap()
}

fn configure(site: &Site, toml: &str) {
    std::fs::write(site.dir().join("shunt.toml"), toml).unwrap();
}

/// `customer.a`, from the third keyspace, and `customer.z`, both running. What is looked at in order comes to `a` first.
async fn two_workflows(site: &Site) {
    let mut source = site.on_source().await;
    source.execute("CREATE DATABASE third").await.unwrap();
    for (table, keyspace) in [("a", "third"), ("z", "commerce")] {
        for sql in [
            format!("CREATE TABLE {keyspace}.{table} (id INT NOT NULL PRIMARY KEY, v INT)"),
            format!("INSERT INTO {keyspace}.{table} VALUES (1, 1), (2, 2)"),
        ] {
            source.execute(sql).await.unwrap();
        }
        site.must(&format!(
            "movetables create customer.{table} --source {keyspace} --tables {table} --detach"
        ))
        .await;
    }
    let serving = site.serve(Binary::Plain, None);
    for table in ["a", "z"] {
        site.must(&format!("movetables wait customer.{table} --for running --timeout 120s")).await;
    }
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vdiffs_beside_one_whose_servers_are_unknown() {
    let pair = Pair::start().await;
    let site = Site::new(&pair, "").await;
    let third = Third::new(&site);
    configure(&site, &third.known);
    two_workflows(&site).await;
    for table in ["a", "z"] {
        site.must(&format!("vdiff create customer.{table}")).await;
    }
    configure(&site, &third.unknown);
    let mut target = site.on_target().await;
    let mut serving = site.serve(Binary::Plain, None);
    serving.until_logged("cannot be looked after").await;
    let completed = "SELECT workflow FROM _shunt.vdiff WHERE state = 'completed'";
    let started = Instant::now();
    let done = loop {
        if let Some(row) = target.row(completed).await.unwrap() {
            break row.text(0);
        }
        assert!(started.elapsed() < PATIENCE, "no VDiff is run: {}", serving.log());
        tokio::time::sleep(LOOK).await;
    };
    assert_eq!(done.as_deref(), Some("customer.z"), "{}", serving.log());
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_sides_beside_one_whose_servers_are_unknown() {
    let pair = Pair::start().await;
    let site = Site::new(&pair, "").await;
    let third = Third::new(&site);
    configure(&site, &third.known);
    two_workflows(&site).await;
    let serving = site.serve(Binary::Plain, None);
    for verb in ["switchtraffic", "reversetraffic"] {
        for table in ["a", "z"] {
            site.must_at_last(&format!("movetables {verb} customer.{table} --no-gateway")).await;
        }
    }
    serving.stop().await;
    configure(&site, &third.unknown);
    let mut serving = site.serve(Binary::Plain, None);
    serving.until_logged("cannot be looked after").await;
    serving.until_logged("watching the closed side").await;
    let log = serving.log();
    let line = log.lines().find(|line| line.contains("watching the closed side")).unwrap();
    assert!(line.contains("customer.z"), "{log}");
    serving.stop().await;
}
