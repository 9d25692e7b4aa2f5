//! The sandbox against real servers: MariaDB from the machine, MySQL 5.6 as `scripts/setup.sh` unpacks it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::path::{Path, PathBuf};
use std::process::Command;

use shunt_cli::config::{Config, ServerType};
use shunt_cli::sandbox::{Ended, Sandbox, SandboxServer, SandboxSpec};
use shunt_engine::mysql::control::{Control, Session};

fn spec(dir: &Path, mysqld: Option<PathBuf>) -> SandboxSpec {
    SandboxSpec {
        name: "com_merce".to_owned(),
        dir: dir.to_owned(),
        mysqld,
        replicas: 1,
        rdonly: 0,
        options: Vec::new(),
    }
}

fn mysql56() -> PathBuf {
    let home = PathBuf::from(std::env::var_os("HOME").unwrap());
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or(home.join(".cache"), PathBuf::from);
    let mysqld = cache.join("shunt/mysql-5.6/server/mysqld");
    assert!(mysqld.is_file(), "{} is missing; run scripts/setup.sh", mysqld.display());
    mysqld
}

async fn login(server: &SandboxServer) -> Control {
    Control::connect(&server.config(), Session::Control).await.unwrap()
}

/// Waits, on the server, until a replica has applied all that the primary has in its binlog.
async fn wait_applied(sandbox: &Sandbox) {
    let mut primary = login(sandbox.primary()).await;
    let row = primary.row("SHOW MASTER STATUS").await.unwrap().unwrap();
    let (file, position) = (row.must(0).unwrap(), row.must(1).unwrap());
    for replica in sandbox.of_type(ServerType::Replica) {
        let wait = format!("SELECT MASTER_POS_WAIT('{file}', {position}, 60)");
        let row = login(replica).await.row(wait).await.unwrap().unwrap();
        let events: i64 = row.number(0).expect("replication runs");
        assert!(events >= 0, "the replica did not follow within a minute");
    }
}

async fn count_rows(server: &SandboxServer) -> u32 {
    let row = login(server).await.row("SELECT COUNT(*) FROM com_merce.t").await.unwrap();
    row.unwrap().number(0).unwrap()
}

async fn insert(sandbox: &Sandbox) {
    login(sandbox.primary()).await.execute("INSERT INTO com_merce.t VALUES (NULL)").await.unwrap();
}

async fn check_life(mysqld: Option<PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    let spec = spec(dir.path(), mysqld);
    let sandbox = Sandbox::start(spec.clone()).await.unwrap();
    let table = "CREATE TABLE com_merce.t (id INT AUTO_INCREMENT PRIMARY KEY)";
    login(sandbox.primary()).await.execute(table).await.unwrap();
    insert(&sandbox).await;
    wait_applied(&sandbox).await;
    let replica = sandbox.of_type(ServerType::Replica).next().unwrap();
    assert_eq!(count_rows(replica).await, 1);

    // Stopped and started: the same servers on the same data.
    let port = sandbox.primary().port();
    let identity = login(sandbox.primary()).await.info().identity.clone();
    assert!(sandbox.stop().await.unwrap().iter().all(|&ended| ended == Ended::Clean));
    assert_eq!(sandbox.primary().pid().unwrap(), None);
    assert!(Control::connect(&sandbox.primary().config(), Session::Control).await.is_err());
    let sandbox = Sandbox::start(spec.clone()).await.unwrap();
    assert_eq!(sandbox.primary().port(), port);
    assert_eq!(login(sandbox.primary()).await.info().identity, identity);

    // Killed: recovered, and the replica goes on.
    insert(&sandbox).await;
    let pid = sandbox.primary().pid().unwrap();
    sandbox.primary().kill9().await.unwrap();
    assert_eq!(sandbox.primary().pid().unwrap(), None);
    sandbox.primary().restart().await.unwrap();
    assert_ne!(sandbox.primary().pid().unwrap(), pid);
    insert(&sandbox).await;
    wait_applied(&sandbox).await;
    let replica = sandbox.of_type(ServerType::Replica).next().unwrap();
    assert_eq!((count_rows(sandbox.primary()).await, count_rows(replica).await), (3, 3));

    // Frozen: alive, and stopping it works all the same.
    sandbox.primary().pause().unwrap();
    assert!(sandbox.primary().pid().unwrap().is_some());
    sandbox.primary().resume().unwrap();
    assert_eq!(count_rows(sandbox.primary()).await, 3);
    sandbox.primary().pause().unwrap();
    assert_eq!(sandbox.primary().stop().await.unwrap(), Ended::Clean);

    let more = SandboxSpec { replicas: 2, ..spec };
    let error = Sandbox::start(more).await.unwrap_err();
    assert!(error.to_string().contains("exists with other servers"), "{error}");
    sandbox.destroy().await.unwrap();
    assert!(!dir.path().join("com_merce").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mariadb_sandbox_lives_and_dies() {
    check_life(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mysql_5_6_sandbox_lives_and_dies() {
    check_life(Some(mysql56())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_log_what_a_move_needs() {
    for mysqld in [None, Some(mysql56())] {
        let dir = tempfile::tempdir().unwrap();
        let is_mysql = mysqld.is_some();
        let sandbox = Sandbox::start(spec(dir.path(), mysqld)).await.unwrap();
        let gtid = if is_mysql { "@@gtid_mode" } else { "IF(@@gtid_strict_mode, 'ON', 'OFF')" };
        let query = format!(
            "SELECT @@binlog_format, @@log_bin, @@sync_binlog, @@innodb_flush_log_at_trx_commit, \
             @@local_infile, @@bind_address, {gtid}"
        );
        let mut ids = Vec::new();
        for server in sandbox.servers() {
            let mut control = login(server).await;
            let row = control.row(&query).await.unwrap().unwrap();
            let values: Vec<String> = (0..7).map(|column| row.must(column).unwrap()).collect();
            assert_eq!(values, ["ROW", "1", "1", "1", "1", "127.0.0.1", "ON"]);
            ids.push(control.row("SELECT @@server_id").await.unwrap().unwrap().must(0).unwrap());
        }
        assert_ne!(ids[0], ids[1]);
        // The application's account sees its database and nothing else.
        let mut app = sandbox.primary().config();
        app.user = shunt_cli::sandbox::APP_USER.to_owned();
        app.password = sandbox.app_password().clone();
        let mut control = Control::connect(&app, Session::Control).await.unwrap();
        control.execute("CREATE TABLE com_merce.t (id INT PRIMARY KEY)").await.unwrap();
        // In a grant "_" stands for any character, unless it is escaped.
        assert!(control.execute("CREATE DATABASE comXmerce").await.is_err());
        assert!(control.row("SELECT 1 FROM mysql.user").await.is_err());
        sandbox.destroy().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_start_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let options = vec![("no-such-option".to_owned(), "1".to_owned())];
    let bad = SandboxSpec { options, ..spec(dir.path(), None) };
    let error = Sandbox::start(bad).await.unwrap_err().to_string();
    assert!(error.contains("no-such-option"), "{error}");
    // The name is free for a better attempt.
    let sandbox = Sandbox::start(spec(dir.path(), None)).await.unwrap();
    sandbox.destroy().await.unwrap();
}

fn shunt(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_shunt")).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "shunt {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command that must end with this code; gives all that it says.
fn fails(code: i32, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_shunt")).args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert_eq!(output.status.code(), Some(code), "shunt {arguments:?}: {said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_outlive_the_command_and_its_toml_works() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let text = shunt(&["sandbox", "start", "commerce", "customer", "--rdonly", "1", "--dir", path]);
    for name in ["commerce", "customer"] {
        let password = std::fs::read_to_string(dir.path().join(name).join("password")).unwrap();
        assert!(!text.contains(&password), "the password is printed");
    }
    let config = Config::parse(&text, &dir.path().join("shunt.toml")).unwrap();
    let customer = config.keyspace("customer").unwrap();
    assert_eq!(customer.of_type(ServerType::Rdonly).count(), 1);
    let connection = customer.primary().unwrap().connection().unwrap();
    let mut control = Control::connect(&connection, Session::Control).await.unwrap();
    control.execute("CREATE TABLE customer.t (id INT PRIMARY KEY)").await.unwrap();

    let status = shunt(&["sandbox", "status", "--format", "json", "--dir", path]);
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let servers = status.as_array().unwrap();
    assert_eq!(servers.len(), 4);
    assert!(servers.iter().all(|server| server["Running"] == true && server["Pid"].is_number()));

    shunt(&["sandbox", "stop", "commerce", "--dir", path]);
    let status = shunt(&["sandbox", "status", "commerce", "--dir", path]);
    assert_eq!(status.matches("stopped").count(), 2, "{status}");
    shunt(&["sandbox", "destroy", "commerce", "customer", "--dir", path]);
    assert!(Sandbox::names(dir.path()).unwrap().is_empty());
}

/// As if the server program of a sandbox had been removed; says where it was.
fn without_program(folder: &Path) -> String {
    let file = folder.join("sandbox.json");
    let mut layout: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let gone = folder.join("mysqld").to_str().unwrap().to_owned();
    layout["mysqld"] = gone.clone().into();
    std::fs::write(&file, layout.to_string()).unwrap();
    gone
}

#[test]
fn without_its_program_a_sandbox_is_shown_stopped_and_destroyed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    shunt(&["sandbox", "start", "commerce", "customer", "--dir", path]);
    let gone = without_program(&dir.path().join("commerce"));
    without_program(&dir.path().join("customer"));
    let status = || shunt(&["sandbox", "status", "--dir", path]);
    assert_eq!(status().matches("running").count(), 2);
    // They run, so there is nothing to start.
    shunt(&["sandbox", "start", "commerce", "--dir", path]);
    shunt(&["sandbox", "stop", "commerce", "--dir", path]);
    let said = status();
    assert!(said.matches("stopped").count() == 1 && said.contains("running"), "{said}");
    let said = fails(2, &["sandbox", "start", "commerce", "--dir", path]);
    for part in ["start commerce/primary", &gone, "Install it again"] {
        assert!(said.contains(part), "{said}");
    }
    // One that is stopped, and one that runs.
    shunt(&["sandbox", "destroy", "commerce", "customer", "--dir", path]);
    assert!(Sandbox::names(dir.path()).unwrap().is_empty());
}

#[test]
fn what_is_wrong_with_one_sandbox_does_not_keep_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    shunt(&["sandbox", "start", "b", "c", "--dir", path]);
    std::fs::create_dir(dir.path().join("a")).unwrap();
    let damaged = dir.path().join("a/sandbox.json");
    std::fs::write(&damaged, "{").unwrap();
    let wrong = format!("{} is damaged", damaged.display());
    let said = fails(1, &["sandbox", "status", "--dir", path]);
    assert!(said.contains(&wrong) && said.matches("running").count() == 2, "{said}");
    let said = fails(1, &["sandbox", "stop", "a", "none", "b", "--dir", path]);
    assert!(said.contains("b/primary stopped"), "{said}");
    // Both are told; the first is what the command ends with.
    let last = said.lines().last().unwrap();
    assert!(said.contains("no sandbox \"none\"") && last.contains(&wrong), "{said}");
    let said = fails(1, &["sandbox", "destroy", "a", "b", "c", "--dir", path]);
    assert!(said.contains("c destroyed") && said.contains(&wrong), "{said}");
    assert_eq!(Sandbox::names(dir.path()).unwrap(), ["a"]);
}

#[test]
fn mistakes_end_with_exit_code_2() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("none.toml");
    let cases: [&[&str]; 3] = [
        &["no-such-command"],
        &["--config", missing.to_str().unwrap(), "keyspace", "list"],
        &["sandbox", "stop", "none", "--dir", dir.path().to_str().unwrap()],
    ];
    for arguments in cases {
        let output = Command::new(env!("CARGO_BIN_EXE_shunt")).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}
