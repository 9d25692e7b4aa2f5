//! Whose a table is: two workflows do not write one, and no command removes rows that its workflow has not written.

use shunt_engine::failpoints::{CREATE_BEFORE_TABLE, CREATE_BEFORE_WORKFLOW};
use shunt_engine::mysql::control::Control;

use crate::harness::binary::Binary;
use crate::harness::pair::{PATIENCE, Pair};
use crate::harness::shell::Said;
use crate::harness::site::{LOOK, Site};

const TABLE: &str = "CREATE TABLE y (id INT NOT NULL PRIMARY KEY, v INT)";

/// Rows on the source; on the target the empty table, if it is `there`.
async fn site(pair: &Pair, there: bool) -> Site {
    let site = Site::new(pair, "").await;
    let mut source = site.on_source().await;
    source.execute(TABLE).await.unwrap();
    source.execute("INSERT INTO y VALUES (1, 1), (2, 2), (3, 3)").await.unwrap();
    if there {
        site.on_target().await.execute(TABLE).await.unwrap();
    }
    site
}

fn create(name: &str) -> String {
    format!("movetables create customer.{name} --source commerce --tables y --detach")
}

/// A command that must fail, and say all of this.
fn assert_refused(said: &Said, says: &[&str]) {
    assert!(matches!(said.code, Some(1 | 2)), "{:?}: {}", said.code, said.text);
    for part in says {
        assert!(said.text.contains(part), "{part:?} is not said: {}", said.text);
    }
}

async fn count(control: &mut Control, table: &str) -> u64 {
    let query = format!("SELECT COUNT(*) FROM {table}");
    control.row(query).await.unwrap().unwrap().number(0).unwrap()
}

/// What older shunts let happen: another workflow, `yb`, that lists the table of `ya`.
async fn double(target: &mut Control) {
    let spec = "REPLACE(spec, '\"workflow\":\"ya\"', '\"workflow\":\"yb\"')";
    for sql in [
        &format!(
            "INSERT INTO _shunt.workflow (name, target_keyspace, spec, desired, created_s) \
             SELECT 'customer.yb', target_keyspace, {spec}, 'Stopped', created_s FROM _shunt.workflow"
        ),
        "INSERT INTO _shunt.stream (workflow_id, state, pos, log_file, log_offset, source_identity, \
         message, commits, updated_s) \
         SELECT MAX(id), 'Stopped', '', '', 0, '', '', 0, 0 FROM _shunt.workflow",
        "INSERT INTO _shunt.epoch SELECT MAX(id), 0 FROM _shunt.stream",
        "INSERT INTO _shunt.lease SELECT MAX(id), '', 0, 0, '', '{}' FROM _shunt.stream",
        "INSERT INTO _shunt.table_plan SELECT (SELECT MAX(id) FROM _shunt.stream), table_name, \
         fingerprint, create_sql, created, keys_sql, keys_built, rows_estimate, bytes_estimate \
         FROM _shunt.table_plan",
    ] {
        target.execute(sql).await.unwrap();
    }
}

/// The target's table was there, empty: the second workflow would have truncated it.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_there_has_one_workflow() {
    one_workflow(true).await;
}

/// The first workflow made the table: the second would have dropped it.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_made_has_one_workflow() {
    one_workflow(false).await;
}

async fn one_workflow(there: bool) {
    let pair = Pair::start().await;
    let site = site(&pair, there).await;
    site.must(&create("ya")).await;
    let rules = site.must("routing-rules get").await;
    for words in [create("yb"), create("yb --dry-run"), create("yb --auto-start=false")] {
        let said = site.run(Binary::Plain, None, &words).await;
        assert_refused(&said, &["table `y` belongs to workflow customer.ya", "leave these tables"]);
    }
    assert_eq!(site.must("routing-rules get").await, rules);

    let mut target = site.on_target().await;
    double(&mut target).await;
    let serving = site.serve(Binary::Plain, None);
    site.must("movetables wait customer.ya --for running --timeout 120s").await;
    site.must_at_last("movetables switchtraffic customer.ya --no-gateway").await;
    target.execute("INSERT INTO y VALUES (4, 4)").await.unwrap();
    let rules = site.must("routing-rules get").await;
    for words in ["movetables cancel customer.yb", "movetables cancel customer.yb --dry-run"] {
        let said = site.run(Binary::Plain, None, words).await;
        assert_refused(&said, &["belongs to workflow customer.ya", "--keep-data"]);
    }
    site.must_at_last("movetables cancel customer.yb --keep-data").await;
    assert_eq!(site.must("routing-rules get").await, rules);
    assert_eq!(count(&mut target, "y").await, 4);
    site.must_at_last("movetables reversetraffic customer.ya --no-gateway").await;
    site.must_at_last("movetables cancel customer.ya").await;
    assert_eq!(count(&mut site.on_source().await, "y").await, 4);
    match there {
        true => assert_eq!(count(&mut target, "y").await, 0),
        false => assert_eq!(target.rows("SHOW TABLES").await.unwrap(), []),
    }
    assert!(!site.must("routing-rules get").await.contains("commerce.y"));
    serving.stop().await;
}

/// Whoever is led to the tables reads them.
#[tokio::test(flavor = "multi_thread")]
async fn tables_that_are_read_are_not_removed() {
    let pair = Pair::start().await;
    let site = site(&pair, false).await;
    site.must(&create("ya")).await;
    let serving = site.serve(Binary::Plain, None);
    site.must("movetables wait customer.ya --for running --timeout 120s").await;
    let reads = "customer.ya --no-gateway --tablet-types replica,rdonly";
    site.must_at_last(&format!("movetables switchtraffic {reads}")).await;
    for words in ["movetables cancel customer.ya", "movetables cancel customer.ya --dry-run"] {
        let said = site.run(Binary::Plain, None, words).await;
        assert_refused(&said, &["reads of customer.ya", "reversetraffic customer.ya"]);
    }
    let mut target = site.on_target().await;
    assert_eq!(count(&mut target, "y").await, 3);
    site.must_at_last(&format!("movetables reversetraffic {reads}")).await;
    site.must_at_last("movetables cancel customer.ya").await;
    assert_eq!(target.rows("SHOW TABLES").await.unwrap(), []);
    serving.stop().await;
}

/// One that looked before the other was there, and comes after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_create_that_looked_too_early() {
    let pair = Pair::start().await;
    let site = site(&pair, false).await;
    let stop = format!("{CREATE_BEFORE_WORKFLOW}:stop");
    let mut early = site.start(Binary::Failpoints, Some(&stop), &create("ya"));
    assert!(early.until_stopped().await, "{}", early.log());
    site.must(&create("yb")).await;
    early.signal("-CONT");
    assert_eq!(early.ended().await.code(), Some(2));
    let log = early.log();
    assert!(log.contains("table `y` belongs to workflow customer.yb"), "{log}");
    let mut target = site.on_target().await;
    assert_eq!(count(&mut target, "_shunt.workflow").await, 1);
    assert_eq!(count(&mut target, "y").await, 0);
}

/// Both have looked, and save at the same moment: they are held up where the second one has to wait for the first.
#[tokio::test(flavor = "multi_thread")]
async fn two_creates_at_once() {
    let pair = Pair::start().await;
    let site = site(&pair, false).await;
    let stop = format!("{CREATE_BEFORE_WORKFLOW}:stop");
    let start = |name: &str| site.start(Binary::Failpoints, Some(&stop), &create(name));
    let mut both = ["ya", "yb"].map(start);
    for one in &mut both {
        assert!(one.until_stopped().await, "{}", one.log());
    }
    let [mut holder, mut target] = [site.on_target().await, site.on_target().await];
    holder.execute("BEGIN").await.unwrap();
    holder.row("SELECT * FROM _shunt.meta FOR UPDATE").await.unwrap();
    both.iter().for_each(|one| one.signal("-CONT"));
    let waiting = "SELECT COUNT(*) FROM information_schema.processlist \
                   WHERE info LIKE 'SELECT id FROM%meta%FOR UPDATE'";
    let started = std::time::Instant::now();
    while target.row(waiting).await.unwrap().unwrap().number::<u64>(0).unwrap() < 2 {
        assert!(started.elapsed() < PATIENCE, "they do not wait: {}", both[0].log());
        tokio::time::sleep(LOOK).await;
    }
    holder.execute("COMMIT").await.unwrap();
    let mut codes = Vec::new();
    for one in &mut both {
        codes.push(one.ended().await.code());
    }
    codes.sort();
    assert_eq!(codes, [Some(0), Some(2)], "{} {}", both[0].log(), both[1].log());
    assert_eq!(count(&mut target, "_shunt.workflow").await, 1);
}

/// Somebody makes the table and fills it between the preflight and our CREATE TABLE.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_somebody_else_makes_meanwhile() {
    let pair = Pair::start().await;
    let site = site(&pair, false).await;
    let stop = format!("{CREATE_BEFORE_TABLE}:stop");
    let words = create("ya --auto-start=false");
    let mut creating = site.start(Binary::Failpoints, Some(&stop), &words);
    assert!(creating.until_stopped().await, "{}", creating.log());
    let mut target = site.on_target().await;
    target.execute(TABLE).await.unwrap();
    target.execute("INSERT INTO y VALUES (7, 7)").await.unwrap();
    creating.signal("-CONT");
    assert_eq!(creating.ended().await.code(), Some(1));
    let log = creating.log();
    assert!(log.contains("somebody else made a table of this name"), "{log}");
    site.must("movetables start customer.ya").await;
    let serving = site.serve(Binary::Plain, None);
    let said = site
        .run(Binary::Plain, None, "movetables wait customer.ya --for running --timeout 60s")
        .await;
    assert_refused(&said, &["somebody else made a table of this name"]);
    let said = site.must_at_last("movetables cancel customer.ya").await;
    assert!(said.contains("`customer`.`y` stays as it is: somebody else made it"), "{said}");
    assert_eq!(count(&mut target, "y").await, 1);
    serving.stop().await;
}

/// Rows that come into the table before the stream begins are nobody's to mix with, and not Cancel's to remove.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_come_before_the_stream_begins() {
    for there in [true, false] {
        let pair = Pair::start().await;
        let site = site(&pair, there).await;
        site.must(&create("ya --auto-start=false")).await;
        let mut target = site.on_target().await;
        target.execute("INSERT INTO y VALUES (7, 7)").await.unwrap();
        let serving = site.serve(Binary::Plain, None);
        site.must("movetables start customer.ya").await;
        let wait = "movetables wait customer.ya --for running --timeout 60s";
        let said = site.run(Binary::Plain, None, wait).await;
        assert_refused(&said, &["holds rows before anything was copied into it"]);
        let said = site.must_at_last("movetables cancel customer.ya").await;
        assert!(said.contains("`customer`.`y` stays as it is"), "{said}");
        assert_eq!(count(&mut target, "y").await, 1);
        serving.stop().await;
    }
}

/// Two moves of one name from one keyspace are one in the source's sidecar: the second is not taken for the first.
#[tokio::test(flavor = "multi_thread")]
async fn one_name_to_two_targets() {
    let pair = Pair::start().await;
    let site = site(&pair, false).await;
    let mut source = site.on_source().await;
    source.execute("CREATE TABLE z (id INT NOT NULL PRIMARY KEY, v INT)").await.unwrap();
    source.execute("INSERT INTO z VALUES (1, 1)").await.unwrap();
    site.on_target().await.execute("CREATE DATABASE archive").await.unwrap();
    let path = site.dir().join("shunt.toml");
    let toml = std::fs::read_to_string(&path).unwrap();
    let customer = &toml[toml.find("[keyspaces.customer]").unwrap()..];
    let archive = customer
        .replace("keyspaces.customer", "keyspaces.archive")
        .replace("database = \"customer\"", "database = \"archive\"");
    std::fs::write(&path, format!("{toml}\n{archive}")).unwrap();

    site.must(&create("ya")).await;
    let second = "movetables create archive.ya --source commerce --tables z --detach";
    site.must(second).await;
    let serving = site.serve(Binary::Plain, None);
    for name in ["customer.ya", "archive.ya"] {
        site.must(&format!("movetables wait {name} --for running --timeout 120s")).await;
    }
    site.must_at_last("movetables switchtraffic customer.ya --no-gateway").await;
    for words in [
        "movetables switchtraffic archive.ya --no-gateway",
        "movetables reversetraffic archive.ya --no-gateway",
        "movetables complete archive.ya",
    ] {
        let said = site.run(Binary::Plain, None, words).await;
        assert_refused(&said, &["workflow customer.ya moves from commerce under the same name"]);
    }
    source.execute("INSERT INTO z VALUES (2, 2)").await.unwrap();
    site.must_at_last("movetables cancel archive.ya").await;
    let said = site.run(Binary::Plain, None, second).await;
    assert_refused(&said, &["under the same name", "Choose another name"]);
    assert_eq!(count(&mut source, "z").await, 2);

    // The first one is as it was: its stream leads back, and its source is closed.
    site.on_target().await.execute("INSERT INTO y VALUES (4, 4)").await.unwrap();
    site.must("movetables wait commerce.ya_reverse --for caught-up --timeout 120s").await;
    assert_eq!(count(&mut source, "y").await, 4);
    assert!(source.execute("INSERT INTO y VALUES (5, 5)").await.is_err());
    serving.stop().await;
}
