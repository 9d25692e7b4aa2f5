//! Who does the worst thing in the middle of a switch, one after the other: refused, taken back, or alarmed, and nothing lost.
//!
//! The switch waits at a step for its adversary (`harness::gate`). Sessions that stand in its way are in `blockers`, processes and
//! servers that die in `steps` and `sleepers`, writes on the closed side long after it in `leaks`.

use std::io::Read;
use std::process::{Command, Stdio};

use shunt_cli::sandbox::{Sandbox, SandboxServer};
use shunt_engine::mysql::control::Control;

use super::bank::{self, Bank};
use super::switch;
use crate::harness::binary::Binary;
use crate::harness::gate::Gate;
use crate::harness::pair::{Alone, Pair, spec_of};
use crate::harness::shell::{Said, Serving};
use crate::harness::site::{Site, connect};
use crate::harness::until::until;

/// Rows that are moved beside the bank's: enough for a dump to take a while.
const ROWS: u64 = 20_000;
const TABLES: [&str; 3] = ["account", "extra", "ledger"];

/// A place with a bank, a table for the adversaries, one that is not moved, and a gate.
struct Scene {
    site: Site,
    serving: Serving,
    gate: Gate,
    bank: Bank,
}

impl Scene {
    async fn open(pair: &Pair, suffix: &str) -> Self {
        let site = Site::new(pair, suffix).await;
        let mut source = site.on_source().await;
        bank::fill(&mut source).await;
        for sql in [
            "CREATE TABLE extra (id INT NOT NULL PRIMARY KEY, v INT, filler VARCHAR(200), KEY (v))"
                .to_owned(),
            format!("INSERT INTO extra SELECT seq, NULL, REPEAT('x', 200) FROM seq_1_to_{ROWS}"),
            "CREATE TABLE unmoved (id INT NOT NULL PRIMARY KEY)".to_owned(),
            "INSERT INTO unmoved VALUES (1)".to_owned(),
        ] {
            source.execute(sql).await.unwrap();
        }
        site.must(&site.create("account,extra,ledger", "chunk_rows_max=20000 --on-ddl IGNORE"))
            .await;
        let serving = site.serve(Binary::Plain, None);
        site.wait("running").await;
        let gate = Gate::build(site.dir());
        let bank = Bank::open(&site, 2).await;
        Self { site, serving, gate, bank }
    }

    /// A switch to the target, met by an adversary at a step. On a busy machine it may be taken back before that, and is given again.
    async fn switch<T>(&self, at: &str, adversary: impl AsyncFn() -> T) -> (Said, T) {
        self.gate.shut(at);
        let words = format!("{} --max-pause 20s", switch(&self.site, "switchtraffic"));
        let mut command = loop {
            let mut command = self.site.start(Binary::Plain, None, &words);
            if self.gate.until_at(at, &mut command).await {
                break command;
            }
            let log = command.log();
            let again = ["was taken back", "is further behind than"];
            assert!(again.iter().any(|why| log.contains(why)), "{log}");
        };
        let done = adversary().await;
        self.gate.open(at);
        let status = command.ended().await;
        println!("{at}: {status}: {}", command.log());
        (Said { code: status.code(), text: command.log() }, done)
    }

    /// It is given up, for these reasons; the source serves, and the stream goes on until both sides are equal.
    async fn taken_back(&self, said: &Said, reasons: &[&str]) {
        assert_eq!(said.code, Some(1), "{}", said.text);
        for reason in [&["was taken back"], reasons].concat() {
            assert!(said.text.contains(reason), "no {reason:?}: {}", said.text);
        }
        self.bank.until_more(20).await;
        self.site.on_source().await.execute("UPDATE extra SET v = id WHERE id < 10").await.unwrap();
    }

    /// The bank's books are right on this side, and the other becomes equal to it.
    async fn close(self, side: usize) -> (Site, Serving) {
        let Self { site, serving, bank, .. } = self;
        bank.close(&site, side).await;
        let stream = if side == 1 { "commerce" } else { "customer" };
        let back = if side == 1 { "_reverse" } else { "" };
        let stream = format!("{stream}{}.move{back}", site.suffix());
        site.must(&format!("movetables wait {stream} --for caught-up --timeout 60s")).await;
        assert_eq!(site.equal(&TABLES).await, Ok(()));
        (site, serving)
    }
}

async fn count(control: &mut Control, table: &str) -> u64 {
    let query = format!("SELECT COUNT(*) FROM {table}");
    control.row(query).await.unwrap().unwrap().number(0).unwrap()
}

/// A transaction that is prepared and left, as by an application server that has died.
async fn prepared(site: &Site, sql: &str) {
    let mut control = site.on_source().await;
    for sql in ["XA START 'x'", sql, "XA END 'x'", "XA PREPARE 'x'"] {
        control.execute(sql).await.unwrap();
    }
    let id = control.id();
    control.close().await;
    let mut look = site.on_source().await;
    let query = format!("SELECT 1 FROM information_schema.processlist WHERE id = {id}");
    until("the connection's end", async || look.row(&query).await.unwrap().is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_the_raised_fence_has_the_switch_taken_back() {
    let pair = Pair::start().await;
    let scene = Scene::open(&pair, "").await;
    let site = &scene.site;
    let mut source = site.on_source().await;

    let (said, ()) = scene
        .switch("before-pause", async || prepared(site, "INSERT INTO unmoved VALUES (2)").await)
        .await;
    scene.taken_back(&said, &["XA transactions are prepared"]).await;
    source.execute("XA ROLLBACK 'x'").await.unwrap();

    let truncate = async || site.on_source().await.execute("TRUNCATE TABLE extra").await.unwrap();
    let (said, _) = scene.switch("before-decide", truncate).await;
    scene.taken_back(&said, &["emptied `extra`"]).await;
    source.execute("INSERT INTO extra SELECT seq, NULL, 'again' FROM seq_1_to_100").await.unwrap();

    let alter = "ALTER TABLE extra COMMENT = 'mine'";
    let alter = async || site.on_source().await.execute(alter).await.unwrap();
    let (said, _) = scene.switch("before-decide", alter).await;
    scene.taken_back(&said, &["changed the definition of `extra`"]).await;

    // Rows of a parent that is not moved take rows of a moved table with them, and no binlog has those.
    let (site, serving) = scene.close(0).await;
    serving.stop().await;
    for sql in [
        "UPDATE extra SET v = 1 WHERE id = 20",
        "UPDATE extra SET v = NULL WHERE id <> 20",
        "ALTER TABLE extra ADD FOREIGN KEY (v) REFERENCES unmoved (id) ON DELETE CASCADE",
    ] {
        source.execute(sql).await.unwrap();
    }
    // Reads are not switched: they would wait for the stream, which nobody runs.
    let words = format!("{} --tablet-types primary", switch(&site, "switchtraffic"));
    let said = site.run(Binary::Plain, None, &words).await;
    assert_eq!(said.code, Some(1), "{}", said.text);
    assert!(said.text.contains("rows of extra change by a cascade"), "{}", said.text);
    source.execute("DELETE FROM unmoved WHERE id = 1").await.unwrap();
    assert_eq!(count(&mut source, "extra WHERE id = 20").await, 0);
}

/// A transaction that has written a moved table and is prepared holds the fence's row, whoever is connected.
#[tokio::test(flavor = "multi_thread")]
async fn a_detached_xa_transaction_on_a_moved_table_is_waited_for_and_named() {
    let pair = Pair::start().await;
    let scene = Scene::open(&pair, "").await;
    let site = &scene.site;
    scene.gate.shut("before-pause");
    let words = format!("{} --max-pause 3s", switch(site, "switchtraffic"));
    let mut command = site.start(Binary::Plain, None, &words);
    assert!(scene.gate.until_at("before-pause", &mut command).await, "{}", command.log());
    prepared(site, "UPDATE extra SET v = 77 WHERE id = 1").await;
    scene.gate.open("before-pause");
    let status = command.ended().await;
    println!("{status}: {}", command.log());
    assert_eq!(status.code(), Some(1), "{}", command.log());
    assert!(command.log().contains("was taken back"), "{}", command.log());
    assert!(command.log().contains("XA"), "{}", command.log());
    scene.bank.until_more(20).await;
    let mut source = site.on_source().await;
    source.execute("XA COMMIT 'x'").await.unwrap();
    assert_eq!(count(&mut source, "extra WHERE id = 1 AND v = 77").await, 1);
    scene.bank.close(site, 0).await;
    scene.serving.stop().await;
}

/// What an operator of another system has replicated into the source.
async fn upstream_of(site: &Site, pair: &Pair) -> Alone {
    let upstream = Sandbox::start(spec_of(pair.dir(), "upstream", None, &[])).await.unwrap();
    let upstream = Alone(upstream);
    let mut control = connect(&upstream.0.primary().config()).await;
    let database = site.source_database();
    let log = control.row("SHOW MASTER STATUS").await.unwrap().unwrap();
    let (file, offset) = (log.text(0).unwrap(), log.text(1).unwrap());
    for sql in [
        "SET sql_log_bin = 0".to_owned(),
        format!("CREATE DATABASE IF NOT EXISTS {database}"),
        format!(
            "CREATE TABLE {database}.extra (id INT NOT NULL PRIMARY KEY, v INT, filler VARCHAR(200), KEY (v))"
        ),
        "SET sql_log_bin = 1, gtid_domain_id = 7".to_owned(),
        format!("INSERT INTO {database}.extra VALUES (1000001, 0, 'from upstream')"),
    ] {
        control.execute(sql).await.unwrap();
    }
    let (port, config) = (upstream.0.primary().port(), upstream.0.primary().config());
    let change = format!(
        "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={port}, MASTER_USER='{}', MASTER_PASSWORD='{}', \
         MASTER_LOG_FILE='{file}', MASTER_LOG_POS={offset}, MASTER_USE_GTID=no, MASTER_CONNECT_RETRY=1",
        config.user,
        config.password.expose()
    );
    let mut source = site.on_source().await;
    source.execute(change).await.unwrap();
    source.execute("START SLAVE").await.unwrap();
    until("the upstream's row", async || {
        let state = source.rows("SHOW ALL SLAVES STATUS").await.unwrap();
        assert!(!format!("{state:?}").contains("Error '"), "{state:?}");
        count(&mut source, "extra WHERE id = 1000001").await > 0
    })
    .await;
    upstream
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_replicated_into_the_closed_source_are_found() {
    let pair = Pair::start().await;
    let scene = Scene::open(&pair, "").await;
    let site = &scene.site;
    let replicate = async || upstream_of(site, &pair).await;
    let (said, upstream) = scene.switch("before-decide", replicate).await;
    scene.taken_back(&said, &["wrote 1 row of `extra`"]).await;
    // As long as it is a replica it is refused.
    let said = site.run(Binary::Plain, None, &switch(site, "switchtraffic")).await;
    assert!(said.code == Some(1) && said.text.contains("itself a replica"), "{}", said.text);
    let mut source = site.on_source().await;
    for sql in ["STOP SLAVE", "RESET SLAVE ALL"] {
        source.execute(sql).await.unwrap();
    }
    drop(upstream);
    site.must_at_last(&switch(site, "switchtraffic")).await;
    let mut target = site.on_target().await;
    assert_eq!(count(&mut target, "extra WHERE id = 1000001").await, 1, "it was replicated on");
    scene.bank.until_more(20).await;
    let (_, serving) = scene.close(1).await;
    serving.stop().await;
}

/// A dump that is under way; it waits when nobody takes what it says.
fn dump(server: &SandboxServer, database: &str) -> std::process::Child {
    let config = server.config();
    Command::new("mariadb-dump")
        .args(["--no-defaults", "--protocol=TCP", "--host=127.0.0.1", "--single-transaction"])
        .args([&format!("--port={}", server.port()), &format!("--user={}", config.user)])
        .args([
            "--quick",
            "--skip-extended-insert",
            "--skip-triggers",
            "--no-create-info",
            database,
        ])
        .args(["account", "extra"])
        .env("MYSQL_PWD", config.password.expose())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Past the point of no return what no trigger sees is alarmed. Dumps are in nobody's way, and changes of other rules are kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_truncate_past_the_point_of_no_return_is_alarmed() {
    let pair = Pair::start().await;
    let scene = Scene::open(&pair, "").await;
    let site = &scene.site;
    let (said, dumps) = scene
        .switch("before-pause", async || {
            // It is past this step only if the dumps hold nothing up.
            scene.gate.shut("after-decide");
            let mut dumps = [
                dump(pair.source.primary(), &site.source_database()),
                dump(pair.target.primary(), &site.target_database()),
            ];
            for dump in &mut dumps {
                let mut begun = [0; 1024];
                dump.stdout.as_mut().unwrap().read_exact(&mut begun).unwrap();
            }
            let more = compete(site).await;
            assert_eq!(more.code, Some(0), "{}", more.text);
            scene.gate.open("before-pause");
            let decided = site.dir().join("at-after-decide");
            until("the decision", async || decided.exists()).await;
            site.on_source().await.execute("TRUNCATE TABLE ledger").await.unwrap();
            let stale = "routing-rules apply --rules-file stale.json";
            let stale = site.run(Binary::Plain, None, stale).await;
            assert_eq!(stale.code, Some(2), "{}", stale.text);
            assert!(stale.text.contains("which is closed"), "{}", stale.text);
            scene.gate.open("after-decide");
            dumps
        })
        .await;
    assert_eq!(said.code, Some(0), "{}", said.text);
    for dump in dumps {
        let output = dump.wait_with_output().unwrap();
        let lines = output.stdout.split(|byte| *byte == b'\n');
        let rows = lines.filter(|line| line.starts_with(b"INSERT INTO `extra`")).count();
        assert!(output.status.success(), "{}", output.status);
        assert_eq!(u64::try_from(rows).unwrap(), ROWS, "a dump has all of one moment");
    }
    // Both changes of the rules are there: the other operator's, and the switch's.
    assert_eq!(led_to(site).await, ["customer"; 25]);
    // The open side has what was acknowledged; the closed one is not trusted.
    scene.bank.until_more(20).await;
    let leaks = site.must("movetables leaks customer.move").await;
    assert!(leaks.contains("emptied `ledger`"), "{leaks}");
    let said = site.run(Binary::Plain, None, "movetables complete customer.move").await;
    assert!(said.code == Some(1) && said.text.contains("emptied `ledger`"), "{}", said.text);
    scene.bank.close(site, 1).await;
    scene.serving.stop().await;
}

/// A channel that somebody opens then, and a definition that is changed.
#[tokio::test(flavor = "multi_thread")]
async fn rows_from_upstream_and_an_alter_past_the_point_of_no_return_are_alarmed() {
    let pair = Pair::start().await;
    let scene = Scene::open(&pair, "").await;
    let site = &scene.site;
    let (said, upstream) = scene
        .switch("after-decide", async || {
            let mut source = site.on_source().await;
            source.execute("ALTER TABLE ledger COMMENT = 'mine'").await.unwrap();
            upstream_of(site, &pair).await
        })
        .await;
    assert_eq!(said.code, Some(0), "{}", said.text);
    scene.bank.until_more(20).await;
    let complete = "movetables complete customer.move";
    for words in ["movetables leaks customer.move", complete] {
        let said = site.run(Binary::Plain, None, words).await;
        for part in ["changed the definition of `ledger`", "wrote 1 row of `extra`"] {
            assert!(said.text.contains(part), "{words}: no {part}: {}", said.text);
        }
        assert!(words != complete || said.code == Some(1), "{}", said.text);
    }
    let mut source = site.on_source().await;
    for sql in ["STOP SLAVE", "RESET SLAVE ALL", "DELETE FROM extra WHERE id = 1000001"] {
        // What is not the stream's is refused by the fence, here as everywhere.
        let done = source.execute(sql).await;
        assert_eq!(done.is_err(), sql.starts_with("DELETE"), "{sql}: {done:?}");
    }
    drop(upstream);
    let mut target = site.on_target().await;
    assert_eq!(count(&mut target, "extra WHERE id = 1000001").await, 0);
    scene.bank.close(site, 1).await;
    scene.serving.stop().await;
}

/// Another operator adds a rule; the listing of before is left in `stale.json`.
async fn compete(site: &Site) -> Said {
    let rules = site.must("routing-rules get").await;
    std::fs::write(site.dir().join("stale.json"), &rules).unwrap();
    let other = r#"{"rules": [{"from_table": "other", "to_tables": ["customer.other"]},"#;
    let more = rules.replacen("{\n  \"rules\": [", other, 1);
    assert_ne!(more, rules);
    std::fs::write(site.dir().join("more.json"), more).unwrap();
    site.run(Binary::Plain, None, "routing-rules apply --rules-file more.json").await
}

/// The keyspaces that rules lead to.
pub(super) async fn led_to(site: &Site) -> Vec<String> {
    let rules: serde_json::Value =
        serde_json::from_str(&site.must("routing-rules get").await).unwrap();
    let to = |rule: &serde_json::Value| {
        let table = rule["to_tables"][0].as_str().unwrap();
        table.split_once('.').unwrap().0.to_owned()
    };
    rules["rules"].as_array().unwrap().iter().map(to).collect()
}

/// The topology's file as it was at some time.
fn files(site: &Site) -> Vec<(std::path::PathBuf, Option<Vec<u8>>)> {
    let names = ["topology.db", "topology.db-wal", "topology.db-shm"];
    names
        .map(|name| site.dir().join(name))
        .map(|path| (path.clone(), std::fs::read(path).ok()))
        .into()
}

/// The topology is that of before the switch: which side takes the writes is not asked of it. Nothing that it says opens the closed side,
/// or closes the open one, and the next switch is a newer one than any before.
#[tokio::test(flavor = "multi_thread")]
async fn a_topology_from_an_old_backup_opens_nothing() {
    let pair = Pair::start().await;
    let scene = Scene::open(&pair, "").await;
    scene.serving.stop().await;
    let Scene { site, bank, .. } = scene;
    let backup = files(&site);
    let serving = site.serve(Binary::Plain, None);
    site.must_at_last(&switch(&site, "switchtraffic")).await;
    bank.until_more(20).await;
    serving.stop().await;
    for (path, bytes) in backup {
        match bytes {
            Some(bytes) => std::fs::write(path, bytes).unwrap(),
            None => drop(std::fs::remove_file(path)),
        }
    }
    assert!(led_to(&site).await.contains(&"commerce".to_owned()), "it is the old one");
    let serving = site.serve(Binary::Plain, None);
    let mut source = site.on_source().await;
    let refused = source.execute("UPDATE account SET balance = 0").await.unwrap_err();
    assert_eq!(refused.server_code(), Some(1644), "{refused}");
    bank.until_more(20).await;
    // The rules are led to the side that takes the writes by the command that would have switched them.
    let primary = format!("{} --tablet-types primary", switch(&site, "switchtraffic"));
    site.must_at_last(&primary).await;
    assert_eq!(site.run(Binary::Plain, None, &primary).await.code, Some(2));
    site.must_at_last(&switch(&site, "switchtraffic")).await;
    assert_eq!(led_to(&site).await, ["customer"; 24]);
    site.must_at_last(&switch(&site, "reversetraffic")).await;
    bank.until_more(20).await;
    assert_eq!(led_to(&site).await, ["commerce"; 24]);
    site.must_at_last(&switch(&site, "switchtraffic")).await;
    bank.until_more(20).await;
    bank.close(&site, 1).await;
    site.must("movetables wait commerce.move_reverse --for caught-up --timeout 60s").await;
    assert_eq!(site.equal(&TABLES).await, Ok(()));
    assert_eq!(site.must("movetables leaks customer.move").await, "No leaks found\n");
    serving.stop().await;
}
