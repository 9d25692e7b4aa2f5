//! Our own thin connection, where the bytes matter: rows as the server sent them, and the binlog.
//!
//! [`Wire::connect`] is its only constructor: it logs in, sets every session setting and reads who the server is. What
//! comes after are the readers of copy and VDiff ([`Wire::start_rows`], [`TextCells`]) and the binlog reader
//! ([`Wire::next_event`]); or the writers of the target ([`Wire::connect_writing`], [`writing`]). It knows neither events nor
//! values.
//!
//! The gateway forwards packets between clients and servers: for it framing, login and the short answers are open
//! ([`packet`], [`login`], [`auth`], [`reply`], [`fields`], [`transport`]).
//!
//! Invariants:
//! - A `Wire` is owned by one task and no call of it is cancel-safe. A dropped call leaves half an answer behind; the
//!   connection notices and refuses further calls.
//! - A server's error in answer to a statement leaves the connection usable. Every other error does not: it is dropped,
//!   which closes it.
//! - Packets are bounds-checked and their sequence is verified: hostile input is an error, never a panic.
//! - The password is never sent in clear, except over TLS or a unix socket.

pub mod auth;
mod binlog;
pub mod fields;
pub mod login;
pub mod packet;
pub mod reply;
mod rows;
mod session;
pub(crate) mod tls;
pub mod transport;
pub mod writing;

use std::fmt;

use bytes::Bytes;
use mysql_common::constants::CapabilityFlags;

use self::login::Hello;
use self::packet::{At, Packets};
pub use self::rows::TextCells;
use self::transport::Stream;
use crate::error::{Error, Result, ResultExt};
use crate::mysql::control::{CONNECT_TIMEOUT, Outcome, Row, Session, identity_query};
use crate::mysql::server::{Flavor, ServerConfig, ServerInfo, Version};
use crate::mysql::snapshot::LogPosition;
use crate::mysql::statements;

const COM_QUERY: u8 = 0x03;

/// What the next packet of the server belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// To nothing: a command may be sent.
    Ready,
    /// To the rows of a result.
    Rows,
    /// To a binlog dump.
    Dump,
    /// Unknown: a call failed or was dropped half way.
    Lost,
}

/// What a connection is for; each has its own session settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Reading,
    Writing,
}

/// The first packet of a result.
enum Head {
    Done(reply::End),
    Columns(usize),
}

/// A connection for raw rows and the binlog.
pub struct Wire {
    packets: Packets<Stream>,
    state: State,
    info: ServerInfo,
    id: u32,
    /// Whether the server takes rows in bulk.
    bulk: bool,
    /// What the server keeps prepared, the oldest first.
    prepared: Vec<writing::Prepared>,
    /// Up to where all that is in a MariaDB server's binlog is known to be visible to its readers.
    visible_to: Option<LogPosition>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire")
            .field("id", &self.id)
            .field("state", &self.state)
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

impl Wire {
    /// Logs in for reading, pins the session's settings and reads the server's identity.
    ///
    /// # Errors
    /// Retry if the server cannot be reached or is not ready within ten seconds, Stop if it refuses the login or lacks
    /// TLS that is required.
    pub async fn connect(server: &ServerConfig) -> Result<Self> {
        Self::connect_in_time(server, Hello::default(), Purpose::Reading).await
    }

    /// Logs in for writing rows on a target: the session of [`Session::Apply`].
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn connect_writing(server: &ServerConfig) -> Result<Self> {
        let reading = Hello::default();
        // An UPDATE says how many rows it found, not how many it changed.
        let writing = CapabilityFlags::CLIENT_LOCAL_FILES | CapabilityFlags::CLIENT_FOUND_ROWS;
        let capabilities = reading.capabilities | writing;
        let hello = Hello { capabilities, bulk: true, ..reading };
        Self::connect_in_time(server, hello, Purpose::Writing).await
    }

    async fn connect_in_time(
        server: &ServerConfig,
        hello: Hello,
        purpose: Purpose,
    ) -> Result<Self> {
        // Whatever is half done at the expiry is dropped, and the connection with it.
        let connecting = Box::pin(Self::connect_untimed(server, &hello, purpose));
        tokio::time::timeout(CONNECT_TIMEOUT, connecting)
            .await
            .unwrap_or_else(|_| Err(Error::retry("server did not answer in time")))
            .context(format_args!("connect to {}", server.address))
    }

    async fn connect_untimed(
        server: &ServerConfig,
        hello: &Hello,
        purpose: Purpose,
    ) -> Result<Self> {
        let login::Login { packets, id, bulk, .. } = login::login(server, hello).await?;
        // Known only after the first query.
        let info = ServerInfo {
            flavor: Flavor::MySql,
            version: Version(0, 0, 0),
            identity: String::new(),
            folds_names: false,
        };
        let mut wire = Self {
            packets,
            state: State::Ready,
            info,
            id,
            bulk,
            prepared: Vec::new(),
            visible_to: None,
        };
        wire.info = wire.read_info().await.context("read the server's identity")?;
        wire.pin_session(purpose).await.context("set up the session")?;
        Ok(wire)
    }

    async fn read_info(&mut self) -> Result<ServerInfo> {
        let version = self.first_text("SELECT @@version").await?;
        let (flavor, version) = ServerInfo::parse_version(&version)?;
        let row = self.rows(identity_query(flavor)).await?.into_iter().next().unwrap_or_default();
        let (identity, folds_names) = (row.must(0)?, row.must(1)? != "0");
        Ok(ServerInfo { flavor, version, identity, folds_names })
    }

    async fn first_text(&mut self, sql: &str) -> Result<String> {
        self.rows(sql).await?.into_iter().next().unwrap_or_default().must(0)
    }

    async fn pin_session(&mut self, purpose: Purpose) -> Result<()> {
        let settings = match purpose {
            Purpose::Reading => session::settings(&self.info),
            Purpose::Writing => statements::settings(Session::Apply, &self.info),
        };
        for setting in settings {
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
        self.id
    }

    /// Runs one statement, or several separated by semicolons; the outcome is that of the last. Rows are read and
    /// dropped.
    ///
    /// # Errors
    /// By the server's code; see [`kind_of_server_code`](crate::error::kind_of_server_code).
    pub async fn execute(&mut self, sql: impl AsRef<[u8]>) -> Result<Outcome> {
        let mut head = self.query(sql.as_ref()).await?;
        loop {
            let end = match head {
                Head::Done(end) => end,
                Head::Columns(_) => self.skip_rows().await?,
            };
            if !end.more_results {
                self.state = State::Ready;
                return Ok(end.outcome);
            }
            head = self.result_head().await?;
        }
    }

    /// Runs a query and returns all its rows. For small results only.
    ///
    /// # Errors
    /// By the server's code; see [`kind_of_server_code`](crate::error::kind_of_server_code).
    pub async fn rows(&mut self, sql: impl AsRef<[u8]>) -> Result<Vec<Row>> {
        self.start_rows(sql).await?;
        let mut rows = Vec::new();
        while let Some(row) = self.next_row().await? {
            let cells = TextCells::new(row).map(|cell| cell.map(|cell| cell.map(<[u8]>::to_vec)));
            rows.push(Row::new(cells.collect::<Result<_>>()?));
        }
        Ok(rows)
    }

    /// Runs a query and leaves its rows to [`Self::next_row`]. Returns the number of columns; none if the statement
    /// returns no rows.
    ///
    /// # Errors
    /// By the server's code; see [`kind_of_server_code`](crate::error::kind_of_server_code).
    pub async fn start_rows(&mut self, sql: impl AsRef<[u8]>) -> Result<usize> {
        let columns = match self.query(sql.as_ref()).await? {
            Head::Columns(columns) => columns,
            Head::Done(end) if end.more_results => {
                return Err(Error::stop("rows are read from one statement, not from several"));
            }
            Head::Done(_) => 0,
        };
        self.state = if columns == 0 { State::Ready } else { State::Rows };
        Ok(columns)
    }

    /// The next row's packet, to be walked with [`TextCells`]; `None` at the end. A row that lies whole in the read
    /// buffer is not copied.
    ///
    /// # Errors
    /// By the server's code, if it breaks the result off; Retry if the connection breaks.
    pub async fn next_row(&mut self) -> Result<Option<&[u8]>> {
        if self.state != State::Rows {
            return self.no_rows();
        }
        let at = match self.packets.buffered()? {
            Some(at) => at,
            None => self.read().await?,
        };
        let payload = self.packets.payload(at);
        // A row's first byte is the length of its first cell. Most are short.
        if payload.first().is_some_and(|&first| first >= reply::EOF) && self.ends_rows(at).await? {
            return Ok(None);
        }
        Ok(Some(self.packets.payload(at)))
    }

    /// After the end there is no further row; anything else is misuse.
    #[cold]
    fn no_rows(&self) -> Result<Option<&[u8]>> {
        match self.state {
            State::Ready => Ok(None),
            _ => Err(self.misuse()),
        }
    }

    /// Whether the packet is the end of the rows (or an error), and not a row.
    #[cold]
    async fn ends_rows(&mut self, at: At) -> Result<bool> {
        let payload = self.packets.payload(at);
        if payload[0] == reply::ERR {
            let error = reply::parse_error(payload);
            self.state = State::Ready;
            return Err(error);
        }
        if !reply::is_eof(payload) {
            return Ok(false);
        }
        let mut end = reply::parse_eof(payload)?;
        self.state = State::Lost;
        // A procedure's result is followed by its outcome.
        while end.more_results {
            end = match self.result_head().await? {
                Head::Done(end) => end,
                Head::Columns(_) => {
                    return Err(Error::stop("rows are read from one statement, not from several"));
                }
            };
        }
        self.state = State::Ready;
        Ok(true)
    }

    /// Up to where all that is in the server's binlog is visible to snapshots opened from now on, as far as it is known.
    pub(super) fn visible_to(&self) -> Option<&LogPosition> {
        self.visible_to.as_ref()
    }

    /// Remembers it.
    pub(super) fn see_to(&mut self, end: Option<LogPosition>) {
        self.visible_to = end.or_else(|| self.visible_to.take());
    }

    /// Asks a MySQL server for its binlog behind a GTID set, given as its encoded SID block.
    ///
    /// # Errors
    /// By the server's code if it refuses to know us as a replica. What is wrong with the position is the error of the
    /// first [`Self::next_event`].
    pub async fn start_binlog_mysql(&mut self, server_id: u32, gtid_set: &[u8]) -> Result<()> {
        let request = binlog::dump_gtid(server_id, gtid_set)?;
        self.start_dump(server_id, binlog::COM_BINLOG_DUMP_GTID, &request).await
    }

    /// Asks a MariaDB server for its binlog, behind the position that the caller has set as `@slave_connect_state`.
    ///
    /// # Errors
    /// By the server's code if it refuses to know us as a replica. What is wrong with the position is the error of the
    /// first [`Self::next_event`].
    pub async fn start_binlog_mariadb(&mut self, server_id: u32) -> Result<()> {
        let request = binlog::dump(server_id, "", binlog::START);
        self.start_dump(server_id, binlog::COM_BINLOG_DUMP, &request).await
    }

    /// Asks a MariaDB server for its binlog from a place in its files on, where a transaction ends.
    ///
    /// # Errors
    /// As of [`Self::start_binlog_mariadb`].
    pub async fn start_binlog_at(&mut self, server_id: u32, file: &str, at: u32) -> Result<()> {
        let request = binlog::dump(server_id, file, at);
        self.start_dump(server_id, binlog::COM_BINLOG_DUMP, &request).await
    }

    async fn start_dump(&mut self, server_id: u32, command: u8, request: &[u8]) -> Result<()> {
        self.begin()?;
        self.packets.command(binlog::COM_REGISTER_SLAVE, &binlog::register(server_id)).await?;
        match self.result_head().await.context("register as a replica")? {
            Head::Done(_) => {}
            Head::Columns(_) => {
                return Err(Error::stop("registration as a replica is not understood"));
            }
        }
        self.packets.command(command, request).await?;
        self.state = State::Dump;
        Ok(())
    }

    /// The next binlog event, whole and in memory of its own; `None` if the server ends the dump. Waits for one as long
    /// as the server is silent; heartbeats are the caller's to ask for.
    ///
    /// # Errors
    /// By the server's code (1236: what comes next is purged or not its own); Retry if the connection breaks.
    pub async fn next_event(&mut self) -> Result<Option<Bytes>> {
        if self.state != State::Dump {
            return Err(self.misuse());
        }
        let at = self.read().await?;
        self.state = State::Lost;
        let payload = self.packets.payload(at);
        match payload.first() {
            Some(&reply::OK) => {}
            Some(&reply::ERR) => return Err(reply::parse_error(payload)),
            Some(&reply::EOF) if reply::is_eof(payload) => {
                self.state = State::Ready;
                return Ok(None);
            }
            _ => return Err(Error::stop("packet of the binlog dump is not understood")),
        }
        self.state = State::Dump;
        Ok(Some(self.packets.take(at, 1)))
    }

    /// Reads a packet. If the call is dropped meanwhile the connection is lost.
    async fn read(&mut self) -> Result<At> {
        let state = std::mem::replace(&mut self.state, State::Lost);
        let at = self.packets.next().await?;
        self.state = state;
        Ok(at)
    }

    async fn query(&mut self, sql: &[u8]) -> Result<Head> {
        self.begin()?;
        self.packets.command(COM_QUERY, sql).await?;
        self.result_head().await
    }

    /// Takes the connection for a command. Until its answer is read the connection counts as lost.
    fn begin(&mut self) -> Result<()> {
        if self.state != State::Ready {
            return Err(self.misuse());
        }
        self.state = State::Lost;
        Ok(())
    }

    #[cold]
    fn misuse(&self) -> Error {
        match self.state {
            State::Ready => Error::stop("connection is asked for a result that it does not have"),
            State::Rows => Error::stop("connection is used while rows are still to be read"),
            State::Dump => Error::stop("connection is used while it reads a binlog"),
            State::Lost => Error::retry("connection is lost after an error"),
        }
    }

    /// Reads the start of a result up to its rows. An error of the server leaves the connection ready.
    async fn result_head(&mut self) -> Result<Head> {
        let payload = self.packets.read().await?;
        let mut fields = fields::Fields(payload);
        match payload.first() {
            Some(&reply::OK) => return reply::parse_ok(payload).map(Head::Done),
            Some(&reply::ERR) => {
                let error = reply::parse_error(payload);
                self.state = State::Ready;
                return Err(error);
            }
            Some(&reply::LOCAL_INFILE) => {
                return Err(Error::stop("server asks for a local file, which was not offered"));
            }
            _ => {}
        }
        let columns = usize::try_from(fields.lenenc()?)
            .map_err(|_| Error::stop("result of the server has too many columns"))?;
        for _ in 0..columns {
            let definition = self.packets.read().await?;
            if definition.first() == Some(&reply::ERR) {
                return Err(reply::parse_error(definition));
            }
        }
        if !reply::is_eof(self.packets.read().await?) {
            return Err(Error::stop("result of the server is not understood"));
        }
        Ok(Head::Columns(columns))
    }

    async fn skip_rows(&mut self) -> Result<reply::End> {
        loop {
            let payload = self.packets.read().await?;
            if reply::is_eof(payload) {
                return reply::parse_eof(payload);
            }
            if payload.first() == Some(&reply::ERR) {
                let error = reply::parse_error(payload);
                self.state = State::Ready;
                return Err(error);
            }
        }
    }
}
