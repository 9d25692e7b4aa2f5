//! A real MariaDB server in a temporary directory, for one test file.
//!
//! It listens on a free loopback port and a unix socket, writes a row binlog, and is killed and removed when dropped.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use shunt_engine::mysql::control::{Control, Session};
use shunt_engine::mysql::server::{Address, Secret, ServerConfig, TlsMode};
use tempfile::TempDir;

const READY_WITHIN: Duration = Duration::from_secs(60);

/// A running server. Its account `root` has no password.
pub(crate) struct Server {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl Server {
    /// Installs and starts a server with these further options, and waits until it takes logins.
    pub(crate) async fn start(options: &[String]) -> Self {
        let dir = tempfile::Builder::new().prefix("shunt-wire-").tempdir().unwrap();
        install(dir.path());
        // Free when asked; the server fails, and the test with it, if somebody takes it meanwhile.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = std::fs::File::create(dir.path().join("server.log")).unwrap();
        let child = Command::new("/usr/sbin/mariadbd")
            .args(["--no-defaults", "--user=root", "--skip-name-resolve"])
            .arg(format!("--datadir={}", dir.path().join("data").display()))
            .arg(format!("--socket={}", dir.path().join("socket").display()))
            // A server that starts deletes what looks like its temporary tables, those of its neighbours included.
            .arg(format!("--tmpdir={}", dir.path().display()))
            .arg(format!("--pid-file={}", dir.path().join("pid").display()))
            .args(["--bind-address=127.0.0.1".to_owned(), format!("--port={port}")])
            .args(["--log-bin=binlog", "--server-id=1", "--binlog-format=ROW"])
            .args(["--max-allowed-packet=256M", "--innodb-log-file-size=256M"])
            .arg("--innodb-flush-log-at-trx-commit=0")
            .args(options)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut server = Self { child, port, dir };
        server.wait_until_ready().await;
        server
    }

    /// How to log in over TCP.
    pub(crate) fn config(&self, user: &str, password: &str) -> ServerConfig {
        ServerConfig {
            alias: "test".to_owned(),
            address: Address::Tcp { host: "127.0.0.1".to_owned(), port: self.port },
            user: user.to_owned(),
            password: Secret::new(password),
            tls: TlsMode::Disabled,
            tls_ca: None,
        }
    }

    /// The same over the unix socket.
    pub(crate) fn socket_config(&self, user: &str, password: &str) -> ServerConfig {
        ServerConfig {
            address: Address::Unix(self.dir.path().join("socket")),
            ..self.config(user, password)
        }
    }

    /// A control connection as root.
    pub(crate) async fn control(&self) -> Control {
        Control::connect(&self.config("root", ""), Session::Control).await.unwrap()
    }

    async fn wait_until_ready(&mut self) {
        let config = self.socket_config("root", "");
        let started = Instant::now();
        loop {
            let error = match Control::connect(&config, Session::Control).await {
                Ok(control) => return control.close().await,
                Err(error) => error,
            };
            let exited = self.child.try_wait().unwrap();
            assert!(
                exited.is_none() && started.elapsed() < READY_WITHIN,
                "server is not ready ({error}):\n{}",
                std::fs::read_to_string(self.dir.path().join("server.log")).unwrap_or_default()
            );
            // There is no event to wait for before the server listens.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already is as good as killed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn install(dir: &Path) {
    let output = Command::new("mariadb-install-db")
        .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
        .args(["--user=root", "--skip-name-resolve"])
        .arg(format!("--datadir={}", dir.join("data").display()))
        .env("TMPDIR", dir)
        .arg(format!("--tmpdir={}", dir.display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// An authority and a certificate for `localhost` signed by it, made on the spot.
pub(crate) struct Certificates {
    dir: TempDir,
}

impl Certificates {
    /// Makes them with the openssl command.
    pub(crate) fn make() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for authority in ["ca", "other"] {
            openssl(
                dir.path(),
                &format!(
                    "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={authority} \
                 -keyout {authority}-key.pem -out {authority}.pem"
                ),
            );
        }
        std::fs::write(dir.path().join("names"), "subjectAltName=DNS:localhost\n").unwrap();
        openssl(
            dir.path(),
            "req -newkey rsa:2048 -nodes -subj /CN=server -keyout key.pem -out request.pem",
        );
        openssl(
            dir.path(),
            "x509 -req -in request.pem -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 \
             -extfile names -out cert.pem",
        );
        Self { dir }
    }

    /// A file of them: `ca.pem`, `other.pem` (an authority that signed nothing), `cert.pem`, `key.pem`.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

fn openssl(dir: &Path, arguments: &str) {
    let output = Command::new("openssl")
        .current_dir(dir)
        .args(arguments.split_whitespace())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
