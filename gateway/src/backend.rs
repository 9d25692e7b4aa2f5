//! A session's connection to one server, opened as the client's own user.
//!
//! Its own statements (settings, default database, BEGIN) go through [`Backend::simple`] and [`Backend::row`]; the client's are sent
//! by the session and their answers passed on by [`crate::forward`]. Owned by the session's task; no call is cancel-safe, and after
//! [`Trouble::Lost`] the connection is not used again.

use std::collections::HashSet;

use mysql_common::constants::CapabilityFlags as Caps;
use shunt_engine::mysql::server::{Flavor, ServerConfig, ServerInfo};
use shunt_engine::mysql::wire::login::{self, Hello};
use shunt_engine::mysql::wire::packet::Packets;
use shunt_engine::mysql::wire::transport::Stream;
use shunt_engine::mysql::wire::{TextCells, fields::Fields, reply};
use shunt_engine::{Error, Result};

use crate::answer::{IN_TRANSACTION, SqlError};
use crate::config::User;
use crate::limits::{BACKEND_BUFFER, LOGIN_MAX};
use crate::servers::ServerId;

pub(crate) const COM_INIT_DB: u8 = 0x02;
pub(crate) const COM_QUERY: u8 = 0x03;
const COM_PING: u8 = 0x0e;

/// Why a statement has no answer of a server.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The client is told, and the session goes on.
    Sql(SqlError),
    /// A server's connection is lost, and with it what the session had there: the client is told, and the session ends.
    Lost(Error),
    /// The client is gone.
    Client(Error),
}

impl From<SqlError> for Trouble {
    fn from(error: SqlError) -> Self {
        Self::Sql(error)
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) server: ServerId,
    pub(crate) packets: Packets<Stream>,
    /// The server's number of it, for KILL.
    pub(crate) connection: u32,
    /// The default database, once it is known.
    pub(crate) database: Option<String>,
    /// The server's last status flags.
    pub(crate) status: u16,
    /// An error came since: the server may have ended the transaction.
    pub(crate) uncertain: bool,
    /// Something may be here that no other connection can have: a temporary table, a user lock, what a program left.
    pub(crate) keeps: bool,
    /// Which version of the session's settings it has.
    pub(crate) settings: u64,
    /// User variables that were set here from a literal.
    pub(crate) variables: HashSet<Vec<u8>>,
    /// The server calls it `transaction_isolation`, not `tx_isolation`.
    pub(crate) new_names: bool,
}

impl Backend {
    /// Logs in as the session's user.
    pub(crate) async fn open(
        server: ServerId,
        config: &ServerConfig,
        user: &User,
        capabilities: Caps,
        collation: u8,
    ) -> Result<Self, Trouble> {
        let account = ServerConfig {
            user: user.backend_user.clone(),
            password: user.backend_password.clone(),
            ..config.clone()
        };
        let hello = Hello { capabilities, collation, buffer_bytes: BACKEND_BUFFER, bulk: false };
        // Whatever is half done at the expiry is dropped, and the connection with it.
        let login = tokio::time::timeout(LOGIN_MAX, Box::pin(login::login(&account, &hello))).await;
        let login = login
            .unwrap_or_else(|_| Err(Error::retry("server did not answer in time")))
            .map_err(|error| {
                Trouble::Sql(error.context(format_args!("connect to {}", config.alias)).into())
            })?;
        let version = String::from_utf8_lossy(&login.version).into_owned();
        let parsed = ServerInfo::parse_version(&version).map_err(Trouble::Lost)?;
        Ok(Self {
            server,
            packets: login.packets,
            connection: login.id,
            database: None,
            status: crate::answer::AUTOCOMMIT,
            uncertain: false,
            keeps: false,
            settings: 0,
            variables: HashSet::new(),
            new_names: parsed.0 == Flavor::MySql && parsed.1.0 >= 8,
        })
    }

    /// Runs a statement of the gateway's that returns no rows.
    pub(crate) async fn simple(&mut self, sql: &[u8]) -> Result<(), Trouble> {
        self.command(COM_QUERY, sql).await
    }

    /// Sends a command whose answer is one packet.
    pub(crate) async fn command(&mut self, code: u8, body: &[u8]) -> Result<(), Trouble> {
        self.packets.command(code, body).await.map_err(Trouble::Lost)?;
        let payload = self.packets.read().await.map_err(Trouble::Lost)?;
        match payload.first() {
            Some(&reply::OK) => {
                self.status = reply::parse_ok(payload).map_err(Trouble::Lost)?.status;
                Ok(())
            }
            Some(&reply::ERR) => {
                let trouble = refused(payload);
                self.uncertain = true;
                Err(trouble)
            }
            _ => Err(Trouble::Lost(Error::stop("answer of the server is not understood"))),
        }
    }

    /// The only row of a query of the gateway's.
    pub(crate) async fn row(&mut self, sql: &str) -> Result<Vec<Option<Vec<u8>>>, Trouble> {
        self.packets.command(COM_QUERY, sql.as_bytes()).await.map_err(Trouble::Lost)?;
        let payload = self.packets.read().await.map_err(Trouble::Lost)?;
        if payload.first() == Some(&reply::ERR) {
            let trouble = refused(payload);
            self.uncertain = true;
            return Err(trouble);
        }
        let columns = Fields(payload).lenenc().map_err(Trouble::Lost)?;
        for _ in 0..=columns {
            self.packets.read().await.map_err(Trouble::Lost)?;
        }
        let mut row = Vec::new();
        loop {
            let payload = self.packets.read().await.map_err(Trouble::Lost)?;
            if reply::is_eof(payload) {
                self.status = reply::parse_eof(payload).map_err(Trouble::Lost)?.status;
                return Ok(row);
            }
            if payload.first() == Some(&reply::ERR) {
                return Err(Trouble::Sql(server_error(payload)));
            }
            let cells =
                TextCells::new(payload).map(|cell| cell.map(|cell| cell.map(<[u8]>::to_vec)));
            row = cells.collect::<Result<_>>().map_err(Trouble::Lost)?;
        }
    }

    /// Makes this the default database.
    pub(crate) async fn choose(&mut self, database: &str) -> Result<(), Trouble> {
        if self.database.as_deref() != Some(database) {
            self.command(COM_INIT_DB, database.as_bytes()).await?;
            self.database = Some(database.to_owned());
        }
        Ok(())
    }

    /// Whether a transaction is open here. Asks the server where an error has left that open.
    pub(crate) async fn in_transaction(&mut self) -> Result<bool, Trouble> {
        if self.uncertain {
            self.command(COM_PING, &[]).await?;
            self.uncertain = false;
        }
        Ok(self.status & IN_TRANSACTION != 0)
    }
}

/// What an ERR packet means: of the statement, or of the connection, which a server may end at any time (shutdown, KILL, idle for too
/// long).
fn refused(payload: &[u8]) -> Trouble {
    let error = server_error(payload);
    match error.code {
        1053 | 1927 | 4031 => {
            let text = format!("the server ended the connection: {} ({})", error.text, error.code);
            Trouble::Lost(Error::retry(text))
        }
        _ => Trouble::Sql(error),
    }
}

/// An ERR packet as it came.
pub(crate) fn server_error(payload: &[u8]) -> SqlError {
    let code = payload.get(1..3).map_or(1105, |code| u16::from_le_bytes([code[0], code[1]]));
    let rest = payload.get(3..).unwrap_or_default();
    let (state, text) = match rest {
        [b'#', a, b, c, d, e, text @ ..] => ([*a, *b, *c, *d, *e], text),
        _ => (*b"HY000", rest),
    };
    SqlError::new(code, state, String::from_utf8_lossy(text))
}

/// The generation of the fence that an ERR packet tells of.
pub(crate) fn fence_of(payload: &[u8]) -> Option<u64> {
    if payload.first() != Some(&reply::ERR) {
        return None;
    }
    let error = server_error(payload);
    if error.code != 1644 {
        return None;
    }
    let rest = error.text.strip_prefix("shunt fence g=")?;
    rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fence_is_known_by_its_error() {
        let packet = SqlError::new(1644, *b"45000", "shunt fence g=17: closed").packet();
        assert_eq!(fence_of(&packet), Some(17));
        for error in [
            SqlError::new(1644, *b"45000", "something else"),
            SqlError::new(1643, *b"45000", "shunt fence g=17: closed"),
        ] {
            assert_eq!(fence_of(&error.packet()), None);
            assert_eq!(server_error(&error.packet()), error);
        }
        assert_eq!(fence_of(b"\xff"), None);
    }
}
