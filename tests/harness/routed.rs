//! Two keyspaces behind gateways that run in this process, and the stock client.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use mysql_async::{Conn, OptsBuilder};
use mysql_common::constants::CapabilityFlags;
use shunt_cli::config::Config;
use shunt_cli::sandbox::{Sandbox, SandboxSpec, shunt_toml};
use shunt_engine::mysql::control::Control;
use shunt_engine::mysql::server::{Address, Secret, ServerConfig, TlsMode};
use shunt_engine::mysql::wire::login::{Hello, login};
use shunt_engine::mysql::wire::packet::Packets;
use shunt_engine::mysql::wire::transport::Stream;
use shunt_engine::routing::{MovedTables, RoutingRules, document};
use shunt_engine::runtime::tasks::{Task, spawn};
use shunt_engine::topology::Store;
use shunt_engine::topology::sqlite::SqliteStore;
use shunt_engine::topology::switches::{self, Switch, SwitchState};
use tokio_util::sync::CancellationToken;

use super::pair::PATIENCE;
use super::shell::Shell;
use super::site::{LOOK, Place, connect};

/// The tables of the seed guide that move.
pub(crate) const TABLES: [&str; 2] = ["corder", "customer"];

/// `commerce` and `customer`, with the seed guide's tables on both (the target's are marked), and an account `app`.
pub(crate) struct Routed {
    sandboxes: [Sandbox; 2],
    pub(crate) store: Arc<SqliteStore>,
    toml: String,
    dir: tempfile::TempDir,
}

/// A gateway in this process. It ends when dropped.
pub(crate) struct Gateway {
    pub(crate) port: u16,
    cancel: CancellationToken,
    task: Task<()>,
}

impl Gateway {
    /// Ends it as a signal does.
    pub(crate) async fn stop(self) {
        self.cancel.cancel();
        self.task.join().await.unwrap();
    }
}

impl Drop for Routed {
    fn drop(&mut self) {
        self.sandboxes.iter().for_each(super::pair::kill_servers);
    }
}

impl Routed {
    /// With so many replicas and rdonly servers each.
    pub(crate) async fn start(others: u16) -> Self {
        let routed = Self::unmoved(others).await;
        routed.copy().await;
        routed
    }

    /// The same before anything is moved: the tables are in `commerce` only.
    pub(crate) async fn unmoved(others: u16) -> Self {
        Self::unmoved_from(None, others).await
    }

    /// The same with this server at `commerce`.
    pub(crate) async fn unmoved_from(commerce: Option<PathBuf>, others: u16) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let spec = |name: &str| SandboxSpec {
            name: name.to_owned(),
            dir: dir.path().join("sandbox"),
            mysqld: commerce.clone().filter(|_| name == "commerce"),
            replicas: others,
            rdonly: others,
            options: vec![("max-allowed-packet".to_owned(), "67108864".to_owned())],
        };
        let (commerce, customer) =
            tokio::try_join!(Sandbox::start(spec("commerce")), Sandbox::start(spec("customer")))
                .unwrap();
        let store = SqliteStore::open(&dir.path().join("topology.db")).await.unwrap();
        let sandboxes = [commerce, customer];
        let mut routed = Self { sandboxes, store: Arc::new(store), toml: String::new(), dir };
        routed.fill().await;
        std::fs::write(routed.dir.path().join("password"), "secret").unwrap();
        routed.toml = shunt_toml(&routed.sandboxes)
            .replace("sqlite:shunt-topology.db", "sqlite:topology.db")
            + "\n[gateway]\nlisten = \"127.0.0.1:0\"\n%settings%\n[[gateway.users]]\nname = \"app\"\npassword_file = \"password\"\n";
        routed
    }

    /// Another keyspace, on the servers of `commerce`: a database of its own with the tables that move, marked with its name.
    pub(crate) async fn add_keyspace(&mut self, name: &str) {
        let mut control = self.on_commerce().await;
        control.execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        control.execute(&format!("GRANT ALL ON {name}.* TO app@'%'")).await.unwrap();
        control.execute(&format!("USE {name}")).await.unwrap();
        make_tables(&mut control).await;
        let mark = format!("UPDATE customer SET email = CONCAT('{name}-', email)");
        control.execute(&mark).await.unwrap();
        let start = self.toml.find("[keyspaces.commerce]").unwrap();
        let end = self.toml.find("[keyspaces.customer]").unwrap();
        let section = self.toml[start..end]
            .replace("[keyspaces.commerce", &format!("[keyspaces.{name}"))
            .replace("database = \"commerce\"", &format!("database = \"{name}\""));
        self.toml.insert_str(end, &section);
    }

    /// The client's account, and the tables of `commerce`.
    async fn fill(&self) {
        for mut control in [self.on_commerce().await, self.on_customer().await] {
            control.execute("SET PASSWORD FOR app@'%' = PASSWORD('secret')").await.unwrap();
            control.execute("GRANT SELECT ON mysql.* TO app@'%'").await.unwrap();
        }
        make_tables(&mut self.on_commerce().await).await;
    }

    /// Marked copies of the tables that move.
    async fn copy(&self) {
        let mut control = self.on_customer().await;
        make_tables(&mut control).await;
        control.execute("DROP TABLE product").await.unwrap();
        control.execute("UPDATE customer SET email = CONCAT('new-', email)").await.unwrap();
        control.execute("UPDATE corder SET price = price + 1000").await.unwrap();
    }

    pub(crate) fn commerce(&self) -> &Sandbox {
        &self.sandboxes[0]
    }

    pub(crate) fn customer(&self) -> &Sandbox {
        &self.sandboxes[1]
    }

    pub(crate) async fn on_commerce(&self) -> Control {
        let mut control = connect(&self.commerce().primary().config()).await;
        control.execute("USE commerce").await.unwrap();
        control
    }

    pub(crate) async fn on_customer(&self) -> Control {
        let mut control = connect(&self.customer().primary().config()).await;
        control.execute("USE customer").await.unwrap();
        control
    }

    /// Where the tables are, and where they go.
    pub(crate) fn places(&self) -> [Place; 2] {
        [
            Place::of(self.commerce().primary(), "commerce"),
            Place::of(self.customer().primary(), "customer"),
        ]
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes `shunt.toml` and `gateway.toml`, which has `[gateway]` in addition, for the real binary.
    pub(crate) fn shell(&self) -> Shell {
        let toml = self.toml("").replace("[gateway]", "[serve]\npoll_ms = 100\n\n[gateway]");
        let plain = toml.split_once("[gateway]").unwrap().0;
        std::fs::write(self.dir().join("shunt.toml"), plain).unwrap();
        std::fs::write(self.dir().join("gateway.toml"), toml).unwrap();
        Shell::new(self.dir())
    }

    /// The configuration, with more settings of the gateway.
    pub(crate) fn toml(&self, settings: &str) -> String {
        self.toml.replace("%settings%", settings)
    }

    /// Starts a gateway.
    pub(crate) async fn gateway(&self, settings: &str) -> Gateway {
        let config =
            Config::parse(&self.toml(settings), &self.dir.path().join("shunt.toml")).unwrap();
        let cancel = CancellationToken::new();
        let (tell, told) = tokio::sync::oneshot::channel();
        let store: Arc<dyn Store> = self.store.clone();
        let run =
            shunt_gateway::run(config.gateway().unwrap(), store, cancel.clone(), move |address| {
                let port = address.rsplit_once(':').unwrap().1.parse().unwrap();
                tell.send(port).unwrap();
            });
        let task = spawn("gateway", run);
        Gateway { port: told.await.unwrap(), cancel, task }
    }

    /// Changes the rules as a workflow on [`TABLES`] does.
    pub(crate) async fn rules(
        &self,
        change: impl Fn(&MovedTables<'_>, &mut RoutingRules) + Send + Sync,
    ) {
        let tables = TABLES.map(str::to_owned);
        let moved = MovedTables { source: "commerce", target: "customer", tables: &tables };
        document::change(&*self.store, |rules| {
            change(&moved, rules);
            Ok(())
        })
        .await
        .unwrap();
    }

    /// Announces a switch of [`TABLES`] in this state.
    pub(crate) async fn switch(&self, generation: u64, state: SwitchState, hold: Duration) {
        let switch = Switch {
            workflow: "customer.move".to_owned(),
            generation,
            token: generation,
            closing: "commerce".to_owned(),
            opening: "customer".to_owned(),
            tables: TABLES.map(str::to_owned).to_vec(),
            state,
            hold_ms: u64::try_from(hold.as_millis()).unwrap(),
        };
        switches::announce(&*self.store, &switch).await.unwrap();
    }

    /// Ends it.
    pub(crate) async fn end_switch(&self, token: u64) {
        switches::remove(&*self.store, "customer.move", token).await.unwrap();
    }

    /// Waits until so many gateways have confirmed a generation.
    pub(crate) async fn until_confirmed(&self, generation: u64, count: usize) {
        let started = Instant::now();
        while self.confirmed(generation).await < count {
            assert!(started.elapsed() < PATIENCE, "generation {generation} is not confirmed");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until no gateway has it confirmed any more.
    pub(crate) async fn until_withdrawn(&self, generation: u64) {
        let started = Instant::now();
        while self.confirmed(generation).await > 0 {
            assert!(started.elapsed() < PATIENCE, "generation {generation} stays confirmed");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// How many gateways have confirmed a generation.
    pub(crate) async fn confirmed(&self, generation: u64) -> usize {
        use shunt_engine::topology::GatewayRegistry;
        let gateways = self.store.gateways().await.unwrap();
        gateways.iter().filter(|g| g.generation_confirmed >= generation).count()
    }
}

async fn make_tables(control: &mut Control) {
    for statement in include_str!("../fixtures/commerce.sql").split(";\n") {
        if !statement.trim().is_empty() {
            control.execute(statement).await.unwrap();
        }
    }
}

/// A driver's connection to a gateway.
pub(crate) async fn driver(port: u16, database: &str) -> Conn {
    let options = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(port)
        .user(Some("app"))
        .pass(Some("secret"))
        .db_name(Some(database))
        .stmt_cache_size(0)
        .prefer_socket(false);
    Conn::new(options).await.unwrap()
}

/// A connection to a gateway whose packets can be looked at.
pub(crate) async fn raw(port: u16) -> Packets<Stream> {
    let account = ServerConfig {
        alias: "gateway".to_owned(),
        address: Address::Tcp { host: "127.0.0.1".to_owned(), port },
        user: "app".to_owned(),
        password: Secret::new("secret"),
        tls: TlsMode::Disabled,
        tls_ca: None,
    };
    let capabilities = CapabilityFlags::CLIENT_MULTI_RESULTS;
    let hello = Hello { capabilities, collation: 45, buffer_bytes: 1 << 12, bulk: false };
    let mut packets = login(&account, &hello).await.unwrap().packets;
    packets.command(2, b"commerce").await.unwrap();
    packets.read().await.unwrap();
    packets
}

/// The client's arguments for a gateway.
pub(crate) fn client(port: u16, arguments: &[&str]) -> Command {
    let mut command = Command::new("mariadb");
    command
        .args(["--no-defaults", "--protocol=TCP", "--host=127.0.0.1", "--user=app"])
        .arg(format!("--port={port}"))
        .args(arguments)
        .env("MYSQL_PWD", "secret")
        .stdin(Stdio::null());
    command
}

/// Runs statements by the stock client; what it prints, errors behind results.
pub(crate) async fn ask(port: u16, database: &str, sql: &str) -> String {
    ask_with(port, &["--skip-column-names", "--force", database, "-e", sql]).await
}

/// The same with other arguments.
pub(crate) async fn ask_with(port: u16, arguments: &[&str]) -> String {
    let mut command = client(port, arguments);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    // The client repeats a statement that failed between lines of dashes.
    let mut echo = false;
    let lines = text.lines().filter(|line| {
        let dashes = *line == "--------------";
        echo ^= dashes;
        !dashes && !echo
    });
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// What is heard once it is as wanted; the last answer if that takes too long.
pub(crate) async fn once(wanted: impl Fn(&str) -> bool, hear: impl AsyncFn() -> String) -> String {
    let started = Instant::now();
    loop {
        let said = hear().await;
        if wanted(&said) || started.elapsed() > Duration::from_secs(20) {
            return said;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// A client that stays connected, and is told statements one after the other.
pub(crate) struct Talk {
    child: Child,
    /// Lines, and whether they came as errors.
    lines: Receiver<(bool, String)>,
    asked: u32,
}

impl Talk {
    pub(crate) fn start(port: u16, database: &str) -> Self {
        let arguments =
            ["--batch", "--skip-column-names", "--unbuffered", "--force", "--silent", database];
        let mut command = client(port, &arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (send, lines) = channel();
        let outputs: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for (errors, output) in [false, true].into_iter().zip(outputs) {
            let send = send.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines() {
                    if send.send((errors, line.unwrap())).is_err() {
                        return;
                    }
                }
            });
        }
        Self { child, lines, asked: 0 }
    }

    /// Sends statements, each ended by a semicolon, and does not wait.
    pub(crate) fn say(&mut self, sql: &str) {
        self.asked += 1;
        let text = format!("{sql}\n\\! echo '~~{}'\n", self.asked);
        self.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
        self.child.stdin.as_mut().unwrap().flush().unwrap();
    }

    /// The answer to what was said; none if it does not come in this time.
    pub(crate) fn hear(&mut self, patience: Duration) -> Option<String> {
        let end = format!("~~{}", self.asked);
        let deadline = Instant::now() + patience;
        let (mut heard, mut ended) = (Vec::new(), false);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // What went to stderr may come a moment later.
            let left = if ended { LOOK } else { left };
            match self.lines.recv_timeout(left) {
                Ok((false, line)) if line == end => ended = true,
                Ok((false, line)) => heard.push(line),
                // Errors come with the statement between lines of dashes.
                Ok((true, line)) if line.starts_with("ERROR") => heard.push(line),
                Ok((true, _)) => {}
                Err(_) if ended => return Some(heard.join("\n")),
                Err(_) => return None,
            }
        }
    }

    /// Sends statements and waits for the answer.
    pub(crate) fn ask(&mut self, sql: &str) -> String {
        self.say(sql);
        self.hear(PATIENCE).unwrap()
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
