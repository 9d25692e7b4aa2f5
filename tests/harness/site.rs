//! A place where the real binary works: two keyspaces of a pair of servers, with a `shunt.toml`.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use shunt_cli::sandbox::SandboxServer;
use shunt_engine::error::ErrorKind;
use shunt_engine::mysql::control::{Control, Session};
use shunt_engine::mysql::server::ServerConfig;

use super::binary::Binary;
use super::compare;
use super::pair::{PATIENCE, Pair};
use super::shell::{Said, Serving, Shell};

/// How often a test looks again.
pub(crate) const LOOK: Duration = Duration::from_millis(20);

/// Databases `commerce…` and `customer…` of a pair of servers, with a configuration that knows nothing else. Several of
/// them can be at work on one pair.
pub(crate) struct Site {
    source: SandboxServer,
    target: SandboxServer,
    suffix: String,
    shell: Shell,
    dir: tempfile::TempDir,
}

/// A database on a server, to be connected to again after the server was away.
#[derive(Clone)]
pub(crate) struct Place {
    server: ServerConfig,
    database: String,
}

impl Place {
    pub(crate) fn of(server: &SandboxServer, database: &str) -> Self {
        Self { server: server.config(), database: database.to_owned() }
    }

    pub(crate) async fn connect(&self) -> Control {
        let mut control = connect(&self.server).await;
        control.execute(format!("USE `{}`", self.database)).await.unwrap();
        control
    }
}

impl Site {
    /// Databases of their own, made here unless the suffix is empty.
    pub(crate) async fn new(pair: &Pair, suffix: &str) -> Self {
        let (source, target) = (pair.source_config(), pair.target_config());
        Self::through(pair, suffix, &source, &target).await
    }

    /// The same with logins or addresses that shunt uses and the test does not.
    pub(crate) async fn through(
        pair: &Pair,
        suffix: &str,
        source: &ServerConfig,
        target: &ServerConfig,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut toml =
            String::from("[topology]\nstore = \"sqlite:topology.db\"\n\n[serve]\npoll_ms = 100\n");
        for (name, server) in [("commerce", source), ("customer", target)] {
            let password = dir.path().join(format!("{name}.password"));
            std::fs::write(&password, server.password.expose()).unwrap();
            std::fs::set_permissions(&password, PermissionsExt::from_mode(0o600)).unwrap();
            toml += &format!(
                "\n[keyspaces.{name}{suffix}]\ndatabase = \"{name}{suffix}\"\n\
                 [[keyspaces.{name}{suffix}.servers]]\ntype = \"primary\"\naddress = \"{}\"\n\
                 user = \"{}\"\npassword_file = \"{}\"\n",
                server.address,
                server.user,
                password.display()
            );
        }
        std::fs::write(dir.path().join("shunt.toml"), toml).unwrap();
        let site = Self {
            source: pair.source.primary().clone(),
            target: pair.target.primary().clone(),
            suffix: suffix.to_owned(),
            shell: Shell::new(dir.path()),
            dir,
        };
        if !suffix.is_empty() {
            for (server, database) in
                [(&site.source, site.source_database()), (&site.target, site.target_database())]
            {
                let mut control = connect(&server.config()).await;
                control.execute(format!("CREATE DATABASE `{database}`")).await.unwrap();
            }
        }
        site
    }

    /// Another server, which has the same logins, is the source's primary from now on.
    pub(crate) fn replace_source(&mut self, server: &SandboxServer) {
        let path = self.dir.path().join("shunt.toml");
        let address = |of: &SandboxServer| format!("address = \"{}\"", of.config().address);
        let toml = std::fs::read_to_string(&path).unwrap();
        assert!(toml.contains(&address(&self.source)));
        std::fs::write(&path, toml.replace(&address(&self.source), &address(server))).unwrap();
        self.source = server.clone();
    }

    pub(crate) fn source_database(&self) -> String {
        format!("commerce{}", self.suffix)
    }

    pub(crate) fn target_database(&self) -> String {
        format!("customer{}", self.suffix)
    }

    /// What tells this site's databases from others of the pair.
    pub(crate) fn suffix(&self) -> &str {
        &self.suffix
    }

    /// The folder of the configuration, where commands are run.
    pub(crate) fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// The workflow's full name.
    pub(crate) fn workflow(&self) -> String {
        format!("customer{}.move", self.suffix)
    }

    /// Where the tables are, and where they go.
    pub(crate) fn places(&self) -> [Place; 2] {
        [
            Place::of(&self.source, &self.source_database()),
            Place::of(&self.target, &self.target_database()),
        ]
    }

    /// A connection of the test to the source's database.
    pub(crate) async fn on_source(&self) -> Control {
        self.places()[0].connect().await
    }

    /// A connection of the test to the target's database.
    pub(crate) async fn on_target(&self) -> Control {
        self.places()[1].connect().await
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, binary: Binary, failpoint: Option<&str>, words: &str) -> Said {
        self.shell.run(binary, failpoint, words).await
    }

    /// Runs a command of the released binary that must succeed.
    pub(crate) async fn must(&self, words: &str) -> String {
        self.shell.must(words).await
    }

    /// Runs a command of the released binary until it succeeds: the lock of one that was killed lasts a few seconds, and on a
    /// busy machine a switch may take longer than its pause and be taken back.
    pub(crate) async fn must_at_last(&self, words: &str) -> String {
        let started = Instant::now();
        loop {
            let said = self.run(Binary::Plain, None, words).await;
            if said.code == Some(0) {
                return said.text;
            }
            let again = ["another command is at work", "was taken back for workflow"];
            let again = again.iter().any(|why| said.text.contains(why));
            assert!(again && started.elapsed() < PATIENCE, "shunt {words}: {}", said.text);
            tokio::time::sleep(LOOK * 10).await;
        }
    }

    /// The words of `movetables create` for these tables.
    pub(crate) fn create(&self, tables: &str, overrides: &str) -> String {
        format!(
            "movetables create {} --source {} --tables {tables} --detach --config-overrides {overrides}",
            self.workflow(),
            self.source_database()
        )
    }

    /// Waits, by shunt's own command.
    pub(crate) async fn wait(&self, until: &str) {
        self.must(&format!("movetables wait {} --for {until} --timeout 120s", self.workflow()))
            .await;
    }

    /// Starts `shunt serve`.
    pub(crate) fn serve(&self, binary: Binary, failpoint: Option<&str>) -> Serving {
        self.shell.start(binary, failpoint, "serve")
    }

    /// Starts a command that is not waited for.
    pub(crate) fn start(&self, binary: Binary, failpoint: Option<&str>, words: &str) -> Serving {
        self.shell.start(binary, failpoint, words)
    }

    /// The state of the workflow's stream, or nothing while there is none.
    pub(crate) async fn state(&self, target: &mut Control) -> String {
        self.of_stream(target, "s.state").await
    }

    /// A column of the stream (`s`), its lease (`l`) or its epoch (`e`).
    pub(crate) async fn of_stream(&self, target: &mut Control, column: &str) -> String {
        let query = format!(
            "SELECT {column} FROM _shunt.stream s JOIN _shunt.workflow w ON w.id = s.workflow_id \
             JOIN _shunt.lease l ON l.stream_id = s.id JOIN _shunt.epoch e ON e.stream_id = s.id \
             WHERE w.name = '{}'",
            self.workflow()
        );
        target.row(query).await.unwrap().and_then(|row| row.text(0)).unwrap_or_default()
    }

    /// How many ranges of a table are recorded as copied.
    pub(crate) async fn ranges(&self, target: &mut Control, table: &str) -> u64 {
        let query = format!(
            "SELECT COUNT(*) FROM _shunt.`range` r JOIN _shunt.stream s ON s.id = r.stream_id \
             JOIN _shunt.workflow w ON w.id = s.workflow_id \
             WHERE w.name = '{}' AND r.table_name = '{table}'",
            self.workflow()
        );
        target.row(query).await.unwrap().unwrap().number(0).unwrap()
    }

    /// Waits until so many ranges of a table are copied.
    pub(crate) async fn until_ranges(&self, target: &mut Control, table: &str, count: u64) {
        let started = Instant::now();
        while self.ranges(target, table).await < count {
            assert!(started.elapsed() < PATIENCE, "the copy of {table} does not get on");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Rows and bytes of a table on both sides, as the servers' own client prints them.
    pub(crate) async fn dumps(&self, table: &str) -> (Vec<u8>, Vec<u8>) {
        let (source, target) = (self.source.clone(), self.target.clone());
        let (left, right) = (self.source_database(), self.target_database());
        let table = table.to_owned();
        tokio::task::spawn_blocking(move || {
            (compare::dump(&source, &left, &table), compare::dump(&target, &right, &table))
        })
        .await
        .unwrap()
    }

    /// The tables are equal; says how they differ otherwise.
    pub(crate) async fn equal(&self, tables: &[&str]) -> Result<(), String> {
        for table in tables {
            let (left, right) = self.dumps(table).await;
            if left == right {
                continue;
            }
            let lines = |dump: &[u8]| -> std::collections::BTreeSet<Vec<u8>> {
                dump.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
            };
            let (left, right) = (lines(&left), lines(&right));
            let some = |a: &std::collections::BTreeSet<Vec<u8>>, b| {
                let line = a.difference(b).next().map(|line| line[..line.len().min(200)].to_vec());
                String::from_utf8_lossy(&line.unwrap_or_default()).into_owned()
            };
            return Err(format!(
                "{table}: {} lines differ, {} of them on the target only; source {:?}, target {:?}",
                left.symmetric_difference(&right).count(),
                right.difference(&left).count(),
                some(&left, &right),
                some(&right, &left)
            ));
        }
        Ok(())
    }
}

/// A test's own connection. A server that is too busy to answer in time, or is being restarted, is asked again.
pub(crate) async fn connect(server: &ServerConfig) -> Control {
    let started = Instant::now();
    loop {
        match Control::connect(server, Session::Control).await {
            Ok(control) => return control,
            Err(error) if error.kind() == ErrorKind::Retry && started.elapsed() < PATIENCE => {
                tokio::time::sleep(LOOK).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}
