//! The control connection: statements and DDL, over mysql_async.
//!
//! [`Control::connect`] is its only constructor. It sets every session setting, so that nothing depends on a server's
//! defaults, and reads who the server is.
//!
//! Invariants:
//! - A `Control` is owned by one task, and no call of it is dropped half way: a cancelled call leaves the reply of one
//!   statement to be read as that of the next. Deadlines are set on the server (`lock_wait_timeout`) or by a KILL from a
//!   second connection; where the server answers neither, the connection is lost and says so ([`Control::lose`]). After an error of
//!   kind Retry the connection is dropped, never used again.
//! - `prefer_socket` is off: it would silently reconnect to whatever server listens on the local socket path.

use std::path::PathBuf;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, DriverError, Opts, OptsBuilder, SslOpts, Value};

use crate::error::{Error, Result, ResultExt, kind_of_server_code};
use crate::mysql::server::{Address, Flavor, ServerConfig, ServerInfo, TlsMode};
use crate::mysql::statements;
use crate::mysql::wire::login::offers_no_tls;
use crate::mysql::wire::tls;
use crate::mysql::wire::transport::KEEPALIVE_IDLE;

/// How long a server may take until a session is ready.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What a control connection is for; each has its own session settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    /// Metadata, the sidecar and DDL: text is utf8mb4.
    Control,
    /// Writing rows on a target: bytes as they are, no foreign-key checks, what the source holds is admitted.
    Apply,
}

/// The result of a statement that returns no rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Rows affected, as the server counts them.
    pub affected: u64,
    /// Warnings raised.
    pub warnings: u16,
}

/// One row of a result, as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row(Vec<Option<Vec<u8>>>);

impl Row {
    /// A row of these cells.
    pub(crate) fn new(cells: Vec<Option<Vec<u8>>>) -> Self {
        Self(cells)
    }

    /// The bytes of a column; `None` for NULL or where there is no such column.
    pub fn bytes(&self, index: usize) -> Option<&[u8]> {
        self.0.get(index)?.as_deref()
    }

    /// A column as text; invalid UTF-8 is replaced.
    pub fn text(&self, index: usize) -> Option<String> {
        Some(String::from_utf8_lossy(self.bytes(index)?).into_owned())
    }

    /// A column that must not be NULL, as text.
    pub fn must(&self, index: usize) -> Result<String> {
        self.text(index).ok_or_else(|| {
            Error::stop(format!("column {index} of a server's answer is NULL or missing"))
        })
    }

    /// A column that must be a number.
    pub fn number<T: std::str::FromStr>(&self, index: usize) -> Result<T> {
        let text = self.must(index)?;
        text.parse().map_err(|_| {
            Error::stop(format!("column {index} of a server's answer is not a number in range"))
        })
    }
}

/// A connection for statements, DDL and apply.
#[derive(Debug)]
pub struct Control {
    conn: Conn,
    info: ServerInfo,
    /// A call was dropped half way: what is read next would be its answer.
    lost: bool,
}

impl Control {
    /// Logs in, pins the session's settings and reads the server's identity.
    ///
    /// # Errors
    /// Retry if the server cannot be reached or is not ready within ten seconds, Stop if it refuses the login or lacks TLS that is required.
    pub async fn connect(server: &ServerConfig, session: Session) -> Result<Self> {
        // Whatever is half done at the expiry is dropped, and the connection with it.
        tokio::time::timeout(CONNECT_TIMEOUT, Box::pin(Self::connect_untimed(server, session)))
            .await
            .unwrap_or_else(|_| Err(Error::retry("server did not answer in time")))
            .context(format_args!("connect to {}", server.address))
    }

    async fn connect_untimed(server: &ServerConfig, session: Session) -> Result<Self> {
        // mysql_async takes text only; a path that is none would silently become a TCP connection to localhost.
        if matches!(&server.address, Address::Unix(path) if path.to_str().is_none()) {
            return Err(Error::usage("path of the unix socket is not UTF-8"));
        }
        let tls = matches!(server.address, Address::Tcp { .. }) && server.tls != TlsMode::Disabled;
        if tls && server.tls.is_verified() {
            tls::check_authorities(server).await?;
        }
        let mut conn = match open(server, tls).await {
            Err(mysql_async::Error::Driver(DriverError::NoClientSslFlagFromServer))
                if server.tls == TlsMode::Preferred =>
            {
                open(server, false).await
            }
            other => other,
        }
        .map_err(from_login)?;
        let info = read_info(&mut conn).await.context("read the server's identity")?;
        let mut control = Self { conn, info, lost: false };
        control.pin_session(session).await.context("set up the session")?;
        Ok(control)
    }

    async fn pin_session(&mut self, session: Session) -> Result<()> {
        for setting in statements::settings(session, &self.info) {
            match self.execute(&setting.sql).await {
                Err(error) if setting.may_lack(&error) => {}
                other => drop(other?),
            }
        }
        Ok(())
    }

    /// Who the server is.
    pub fn info(&self) -> &ServerInfo {
        &self.info
    }

    /// The server's id of this connection, for KILL.
    pub fn id(&self) -> u32 {
        self.conn.id()
    }

    /// A call was dropped half way: no other one is made.
    pub(crate) fn lose(&mut self) {
        self.lost = true;
    }

    fn conn(&mut self) -> Result<&mut Conn> {
        if self.lost {
            return Err(Error::retry(
                "the connection was given up, since the server did not answer",
            ));
        }
        Ok(&mut self.conn)
    }

    /// Begins a transaction, which [`Self::end`] ends.
    ///
    /// # Errors
    /// Of the connection.
    pub async fn begin(&mut self) -> Result<()> {
        self.execute("BEGIN").await.map(drop)
    }

    /// Ends the transaction: commits it if `done` is well, else takes it back.
    ///
    /// # Errors
    /// That of `done`, or of the commit. Where a transaction cannot be taken back its connection is lost, and the server does it.
    pub async fn end<T>(&mut self, done: Result<T>) -> Result<T> {
        if done.is_ok() {
            self.execute("COMMIT").await.context("commit")?;
        } else if let Err(error) = self.execute("ROLLBACK").await {
            tracing::debug!("the transaction ends with its connection: {error}");
        }
        done
    }

    /// Runs one statement, or several separated by semicolons; the outcome is that of the last.
    ///
    /// # Errors
    /// By the server's code; see [`kind_of_server_code`].
    pub async fn execute(&mut self, sql: impl AsRef<[u8]>) -> Result<Outcome> {
        let result = self.conn()?.query_iter(sql.as_ref()).await.map_err(from_driver)?;
        result.drop_result().await.map_err(from_driver)?;
        Ok(Outcome { affected: self.conn.affected_rows(), warnings: self.conn.get_warnings() })
    }

    /// Runs a query and returns all its rows. For small results only.
    ///
    /// # Errors
    /// By the server's code; see [`kind_of_server_code`].
    pub async fn rows(&mut self, sql: impl AsRef<[u8]>) -> Result<Vec<Row>> {
        let rows: Vec<mysql_async::Row> =
            self.conn()?.query(sql.as_ref()).await.map_err(from_driver)?;
        Ok(rows
            .into_iter()
            .map(|row| Row(row.unwrap().into_iter().map(bytes_of).collect()))
            .collect())
    }

    /// The first row of a query, if there is one.
    ///
    /// # Errors
    /// By the server's code; see [`kind_of_server_code`].
    pub async fn row(&mut self, sql: impl AsRef<[u8]>) -> Result<Option<Row>> {
        Ok(self.rows(sql).await?.into_iter().next())
    }

    /// A column of the first row of a statement whose columns differ between versions, found by one of its names.
    ///
    /// # Errors
    /// By the server's code; see [`kind_of_server_code`].
    pub async fn named(&mut self, sql: &str, names: &[&str]) -> Result<Option<String>> {
        let row: Option<mysql_async::Row> =
            self.conn()?.query_first(sql).await.map_err(from_driver)?;
        let Some(row) = row else { return Ok(None) };
        let columns = row.columns();
        let at = columns.iter().position(|column| names.contains(&&*column.name_str()));
        let values = Row(row.unwrap().into_iter().map(bytes_of).collect());
        Ok(at.and_then(|at| values.text(at)))
    }

    /// Says goodbye to the server.
    pub async fn close(self) {
        // The work is done; a connection that breaks while closing changes nothing.
        drop(self.conn.disconnect().await);
    }
}

async fn open(server: &ServerConfig, tls: bool) -> mysql_async::Result<Conn> {
    let mut builder = OptsBuilder::default()
        .user(Some(&server.user))
        .pass(Some(server.password.expose()))
        .prefer_socket(false)
        .stmt_cache_size(0)
        .tcp_nodelay(true)
        .tcp_keepalive(Some(KEEPALIVE_IDLE))
        .max_allowed_packet(Some(1 << 30));
    builder = match &server.address {
        Address::Tcp { host, port } => builder.ip_or_hostname(host.clone()).tcp_port(*port),
        Address::Unix(path) => builder.socket(path.to_str()),
    };
    if tls {
        builder = builder.ssl_opts(tls_options(server.tls, server.tls_ca.clone()));
    }
    Conn::new(Opts::from(builder)).await
}

fn tls_options(mode: TlsMode, ca: Option<PathBuf>) -> SslOpts {
    let options = SslOpts::default()
        .with_danger_accept_invalid_certs(!mode.is_verified())
        .with_danger_skip_domain_validation(mode != TlsMode::VerifyIdentity);
    match ca.filter(|_| mode.is_verified()) {
        // No other authority counts: with any of the built-in ones whoever has a certificate for any name could sit between.
        Some(ca) => options.with_root_certs(vec![ca.into()]).with_disable_built_in_roots(true),
        None => options,
    }
}

async fn read_info(conn: &mut Conn) -> Result<ServerInfo> {
    let row: Option<mysql_async::Row> =
        conn.query_first("SELECT @@version").await.map_err(from_driver)?;
    let version = first_text(row)?;
    let (flavor, version) = ServerInfo::parse_version(&version)?;
    let row: Option<mysql_async::Row> =
        conn.query_first(identity_query(flavor)).await.map_err(from_driver)?;
    let row = row_of(row);
    let (identity, folds_names) = (row.must(0)?, row.must(1)? != "0");
    Ok(ServerInfo { flavor, version, identity, folds_names })
}

/// The query for what names a server, and for how it folds names; the same on every kind of connection, so that identities compare.
pub(crate) fn identity_query(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::MySql => "SELECT @@server_uuid, @@lower_case_table_names",
        Flavor::MariaDb => {
            "SELECT CONCAT_WS('|', @@hostname, @@port, @@server_id, @@datadir), @@lower_case_table_names"
        }
    }
}

fn first_text(row: Option<mysql_async::Row>) -> Result<String> {
    row_of(row).must(0)
}

fn row_of(row: Option<mysql_async::Row>) -> Row {
    Row(row.map(|r| r.unwrap().into_iter().map(bytes_of).collect()).unwrap_or_default())
}

/// A value of the text protocol as bytes.
fn bytes_of(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(bytes),
        other => Some(other.as_sql(true).into_bytes()),
    }
}

/// Our error for one of a login: what trying again does not change is Stop.
fn from_login(error: mysql_async::Error) -> Error {
    if let Some(failed) = tls::failed_elsewhere(&error) {
        return failed;
    }
    match error {
        mysql_async::Error::Driver(DriverError::NoClientSslFlagFromServer) => offers_no_tls(),
        mysql_async::Error::Driver(
            plugin @ (DriverError::UnknownAuthPlugin { .. }
            | DriverError::MysqlOldPasswordDisabled
            | DriverError::CleartextPluginDisabled),
        ) => Error::stop("login is asked for in a way that shunt does not know")
            .source(plugin)
            .advice("Give the account mysql_native_password or caching_sha2_password."),
        other => from_driver(other),
    }
}

/// Our error for mysql_async's: server codes decide their kind, a broken connection is Retry.
pub(crate) fn from_driver(error: mysql_async::Error) -> Error {
    match error {
        mysql_async::Error::Server(server) => {
            server_error(server.code, &server.state, &server.message)
        }
        mysql_async::Error::Io(io) => Error::retry("connection failed").source(io),
        mysql_async::Error::Driver(driver) => Error::retry("connection unusable").source(driver),
        other => Error::stop("connection cannot be made").source(other),
    }
}

/// The error for a server's error packet. Values of rows that the server quotes in its message are left out.
pub(crate) fn server_error(code: u16, state: &str, message: &str) -> Error {
    let message = match code {
        // Duplicate entry, wrong or truncated value: the message quotes the value first.
        1062 | 1264 | 1265 | 1292 | 1366 | 1406 | 1411 => without_first_quoted(message),
        _ => message.to_owned(),
    };
    Error::new(kind_of_server_code(code), format!("ERROR {code} ({state}): {message}")).code(code)
}

fn without_first_quoted(message: &str) -> String {
    let Some(start) = message.find('\'') else { return message.to_owned() };
    // The value itself may hold quotes; what follows it starts with one of the server's fixed phrases.
    let tail = ["' for key", "' for column", "' for function", "' at row"]
        .iter()
        .filter_map(|phrase| message[start + 1..].rfind(phrase))
        .max();
    let tail = tail.map_or("", |at| &message[start + 2 + at..]);
    format!("{}…{tail}", &message[..start])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn row_values_are_left_out_of_errors() {
        let error = server_error(1062, "23000", "Duplicate entry 'o'neil@x' for key 'email'");
        let text = error.to_string();
        assert!(!text.contains("neil"), "{text}");
        assert!(text.contains("for key 'email'"), "{text}");
        assert_eq!(error.kind(), ErrorKind::Stop);
        assert_eq!(error.server_code(), Some(1062));
    }

    #[test]
    fn no_other_authority_is_believed_than_the_given_one() {
        for (mode, given, alone) in [
            (TlsMode::VerifyCa, true, true),
            (TlsMode::VerifyIdentity, true, true),
            (TlsMode::VerifyCa, false, false),
            (TlsMode::Required, true, false),
        ] {
            let options = tls_options(mode, given.then(|| PathBuf::from("ca.pem")));
            assert_eq!(options.disable_built_in_roots(), alone, "{mode:?}");
            assert_eq!(options.root_certs().len(), usize::from(alone), "{mode:?}");
        }
    }

    #[test]
    fn what_trying_again_does_not_change_is_not_tried_again() {
        let unknown = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let io = |error| mysql_async::Error::from(std::io::Error::other(error));
        for error in
            [io(unknown.clone()), unknown.into(), DriverError::NoClientSslFlagFromServer.into()]
        {
            let error = from_login(error);
            assert_eq!(error.kind(), ErrorKind::Stop, "{error}");
            assert!(error.to_string().contains("TLS"), "{error}");
        }
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        for error in [mysql_async::Error::from(refused), DriverError::ConnectionClosed.into()] {
            assert_eq!(from_login(error).kind(), ErrorKind::Retry);
        }
    }

    #[test]
    fn a_deadlock_is_retried() {
        assert_eq!(server_error(1213, "40001", "Deadlock found").kind(), ErrorKind::Retry);
    }
}
