//! Throw-away servers.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use shunt_engine::mysql::control::{Control, Session};
use shunt_engine::mysql::server::{Address, Secret, ServerConfig, TlsMode};

/// A throw-away server, gone with its directory when dropped.
pub(crate) struct Server {
    child: Child,
    dir: tempfile::TempDir,
}

impl Server {
    pub(crate) fn start(options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = format!("--datadir={}", dir.path().join("data").display());
        let installed = Command::new("mariadb-install-db")
            .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
            .arg(&data)
            .env("TMPDIR", dir.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&installed.stdout);
        assert!(installed.status.success(), "{said}");
        let mut server = Command::new("mariadbd");
        server.args(["--no-defaults", "--user=root", &data]).args(options);
        Self::wait_for(server, dir)
    }

    /// A MySQL 5.6 from the directory of an unpacked server, whose `share` makes the system tables.
    pub(crate) fn start_mysql_5_6(home: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        std::fs::create_dir_all(data.join("mysql")).unwrap();
        let command = || {
            let mut server = Command::new(format!("{home}/mysqld"));
            server.env("LD_LIBRARY_PATH", home).args(["--no-defaults", "--user=root"]);
            server.arg(format!("--lc-messages-dir={home}/share"));
            server.arg(format!("--datadir={}", data.display()));
            server
        };
        let script = dir.path().join("boot.sql");
        let mut text = String::from("use mysql;\n");
        for part in ["mysql_system_tables.sql", "mysql_system_tables_data.sql"] {
            text += &std::fs::read_to_string(format!("{home}/share/{part}")).unwrap();
        }
        std::fs::write(&script, text).unwrap();
        let mut install = command();
        install.env("TMPDIR", dir.path());
        install.arg("--bootstrap").stdin(std::fs::File::open(script).unwrap());
        assert!(install.stderr(Stdio::null()).status().unwrap().success());
        let mut server = command();
        server.args(["--log-bin=b", "--server-id=56", "--gtid-mode=ON", "--log-slave-updates"]);
        server.args(["--enforce-gtid-consistency", "--binlog-format=ROW"]);
        Self::wait_for(server, dir)
    }

    fn wait_for(mut server: Command, dir: tempfile::TempDir) -> Self {
        let socket = format!("--socket={}", dir.path().join("s").display());
        server.args(["--skip-networking", &socket]);
        // A starting server deletes every server's temporary tables in its temporary directory: it must be its own.
        server.env("TMPDIR", dir.path());
        let mut child = server.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let ready = lines.by_ref().any(|line| line.unwrap().contains("ready for connections"));
        assert!(ready, "the server ended before it was ready");
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, dir }
    }

    pub(crate) fn source() -> Self {
        Self::start(&[
            "--log-bin=b",
            "--server-id=11",
            "--binlog-format=ROW",
            "--gtid-strict-mode=1",
        ])
    }

    pub(crate) fn config(&self, user: &str) -> ServerConfig {
        ServerConfig {
            alias: "test".into(),
            address: Address::Unix(self.dir.path().join("s")),
            user: user.into(),
            password: Secret::default(),
            tls: TlsMode::Disabled,
            tls_ca: None,
        }
    }

    pub(crate) async fn connect(&self) -> Control {
        self.connect_as("root").await
    }

    pub(crate) async fn connect_as(&self, user: &str) -> Control {
        Control::connect(&self.config(user), Session::Control).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
