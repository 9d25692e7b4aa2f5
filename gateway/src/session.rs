//! A session: one client, and what it has on each server.
//!
//! [`Session::run`] reads commands; [`statement`] takes text apart and does itself what the gateway must (USE, SET, KILL, BEGIN);
//! [`admit`] decides which server a statement goes to and when, and makes that server's connection ready ([`carry`]);
//! [`exchange`] sends it and passes the answer on; [`prepared`] does the same for prepared statements; [`lost`] says what becomes of a
//! session whose connection to a server ends.
//!
//! Invariant: while a transaction is open on one server, nothing of the session is sent to another one.

mod admit;
mod carry;
mod exchange;
mod lost;
mod prepared;
mod statement;
mod transaction;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use shunt_engine::routing::ServerType;
use shunt_engine::{Error, Result};

use crate::answer::{self, AUTOCOMMIT, IN_TRANSACTION, SqlError};
use crate::backend::{Backend, Trouble};
use crate::board::Peer;
use crate::client::Client;
use crate::limits::LOGIN_MAX;
use crate::route::Chosen;
use crate::server::Gateway;
use crate::servers::ServerId;

pub(crate) use self::admit::{Statement, resolve};
use self::carry::{Settings, Variables};
use self::lost::InsertId;
use self::prepared::Statements;
use self::transaction::Transaction;

const COM_QUIT: u8 = 0x01;
const COM_INIT_DB: u8 = 0x02;
const COM_QUERY: u8 = 0x03;
const COM_FIELD_LIST: u8 = 0x04;
const COM_STATISTICS: u8 = 0x09;
const COM_PING: u8 = 0x0e;
const COM_PROCESS_KILL: u8 = 0x0c;
const COM_CHANGE_USER: u8 = 0x11;
const COM_SET_OPTION: u8 = 0x1b;
const COM_RESET_CONNECTION: u8 = 0x1f;

/// A session and all that it owns.
pub(crate) struct Session {
    gateway: Arc<Gateway>,
    client: Client,
    id: u32,
    peer: Arc<Peer>,
    chosen: Chosen,
    backends: HashMap<ServerId, Backend>,
    /// The server of the last statement.
    last: Option<ServerId>,
    transaction: Transaction,
    /// LOCK TABLES holds here.
    locked: Option<ServerId>,
    settings: Settings,
    variables: Variables,
    insert_id: InsertId,
    statements: Statements,
    /// Another statement of the same packet follows.
    more: bool,
    /// The last statement ended with a server's error.
    failed: bool,
}

impl Session {
    pub(crate) fn new(gateway: Arc<Gateway>, client: Client, id: u32, peer: Arc<Peer>) -> Self {
        Self {
            gateway,
            client,
            id,
            peer,
            chosen: Chosen { keyspace: None, server_type: ServerType::Primary },
            backends: HashMap::new(),
            last: None,
            transaction: Transaction::default(),
            locked: None,
            settings: Settings::default(),
            variables: Variables::default(),
            insert_id: InsertId::None,
            statements: Statements::default(),
            more: false,
            failed: false,
        }
    }

    /// Serves the client until it leaves.
    ///
    /// # Errors
    /// If a connection breaks.
    pub(crate) async fn run(mut self) -> Result<()> {
        if let Some(database) = self.client.database.clone() {
            match self.choose(&database) {
                Ok(()) => {}
                Err(error) => return self.client.packets.send(&error.packet()).await,
            }
        }
        self.client.welcome().await?;
        let (killed, ends) = (self.peer.killed.clone(), self.gateway.ends.clone());
        loop {
            self.client.packets.restart();
            let rests = self.rests();
            tokio::select! {
                biased;
                () = killed.cancelled() => return Ok(()),
                () = ends.cancelled(), if rests => {
                    let text = "Server shutdown in progress";
                    return self.client.packets.send(&SqlError::new(1053, *b"08S01", text).packet()).await;
                }
                waited = self.client.packets.wait() => waited?,
            }
            let at = match self.client.packets.next().await {
                Ok(at) => at,
                Err(error) => return Err(self.too_large(error).await),
            };
            let payload = self.client.packets.take(at, 0);
            let Some((&command, body)) = payload.split_first() else {
                return Err(Error::stop("empty packet of the client"));
            };
            if command == COM_QUIT {
                return Ok(());
            }
            match self.command(command, body).await {
                Ok(()) => {}
                Err(Trouble::Sql(error)) => self.client.packets.send(&error.packet()).await?,
                Err(Trouble::Lost(error)) => {
                    let text = "Lost connection to server during query";
                    let told = SqlError::new(2013, *b"HY000", text);
                    self.client.packets.send(&told.packet()).await?;
                    return Err(error);
                }
                Err(Trouble::Client(error)) => return Err(error),
            }
            match self.settle().await {
                Ok(()) | Err(Trouble::Sql(_)) => {}
                Err(Trouble::Lost(error) | Trouble::Client(error)) => return Err(error),
            }
            if self.peer.killed.is_cancelled() {
                return Ok(());
            }
        }
    }

    /// Whether nothing is open that a client is about to end: no transaction, not even one whose server is not known yet, and no LOCK TABLES.
    fn rests(&self) -> bool {
        self.transaction_server().is_none()
            && self.transaction.pending.is_empty()
            && !self.transaction.doomed
    }

    /// The client is told why, if that is why its packet was not read. It listens only once it has written all of it.
    async fn too_large(&mut self, error: Error) -> Error {
        let skipped = tokio::time::timeout(LOGIN_MAX, self.client.packets.skip_refused()).await;
        if let Ok(Ok(true)) = skipped {
            let text = "Got a packet bigger than 'max_allowed_packet' bytes: raise packet_bytes_max of the gateway";
            let told = SqlError::new(1153, *b"08S01", text);
            drop(self.client.packets.send(&told.packet()).await);
        }
        error
    }

    async fn command(&mut self, command: u8, body: &[u8]) -> Result<(), Trouble> {
        match command {
            COM_QUERY => self.query(body).await,
            COM_INIT_DB => {
                self.choose(&String::from_utf8_lossy(body))?;
                self.ok().await
            }
            COM_PING => self.ok().await,
            COM_FIELD_LIST => self.field_list(body).await,
            COM_STATISTICS => self.tell(b"shunt gateway").await,
            COM_PROCESS_KILL => {
                let id = body.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
                self.kill(id.unwrap_or_default(), true).await
            }
            COM_CHANGE_USER => {
                self.forget();
                self.chosen = Chosen { keyspace: None, server_type: ServerType::Primary };
                let gateway = Arc::clone(&self.gateway);
                let changed = self.client.change_user(body, &gateway.config).await;
                if !changed.map_err(Trouble::Client)? {
                    return Err(Trouble::Client(Error::stop("access denied")));
                }
                self.peer.is_of(&self.client.user.name);
                if let Some(database) = self.client.database.clone() {
                    self.choose(&database)?;
                }
                self.ok().await
            }
            COM_RESET_CONNECTION => {
                self.forget();
                self.ok().await
            }
            // Several statements in a packet are taken apart here: nothing changes.
            COM_SET_OPTION => self.tell(&answer::eof(self.status())).await,
            _ => self.prepared_command(command, body).await,
        }
    }

    /// Leaves nothing of the session behind but the login and the keyspace. The servers' connections end.
    fn forget(&mut self) {
        self.backends.clear();
        self.last = None;
        self.transaction = Transaction::default();
        self.locked = None;
        self.settings = Settings::default();
        self.variables = Variables::default();
        self.insert_id = InsertId::None;
        self.statements = Statements::default();
        self.clear_mark();
        self.note_backends();
    }

    /// Chooses a keyspace, or `keyspace@type`.
    fn choose(&mut self, name: &str) -> Result<(), SqlError> {
        let (keyspace, server_type) = match name.split_once('@') {
            None => (name, ServerType::Primary),
            Some((keyspace, server_type)) => {
                let parsed = server_type.parse().map_err(|_| SqlError::unknown_database(name))?;
                (keyspace, parsed)
            }
        };
        let at = self.gateway.servers.keyspace(keyspace);
        let at = at.ok_or_else(|| SqlError::unknown_database(name))?;
        self.chosen = Chosen { keyspace: Some(at), server_type };
        Ok(())
    }

    /// The status flags that the client is told with the gateway's own answers.
    fn status(&self) -> u16 {
        let server = self.transaction_server().or(self.last);
        let status = server.and_then(|id| self.backends.get(&id)).map_or(AUTOCOMMIT, |b| b.status);
        let begun = if self.transaction.pending.is_empty() { 0 } else { IN_TRANSACTION };
        (status | begun) & (AUTOCOMMIT | IN_TRANSACTION)
    }

    async fn ok(&mut self) -> Result<(), Trouble> {
        let more = if self.more { answer::MORE_RESULTS } else { 0 };
        let packet = answer::ok(self.status() | more);
        self.tell(&packet).await
    }

    async fn tell(&mut self, packet: &[u8]) -> Result<(), Trouble> {
        self.client.packets.send(packet).await.map_err(Trouble::Client)
    }

    /// A result of the gateway's own.
    async fn tell_rows(
        &mut self,
        columns: &[&str],
        rows: &[Vec<Option<String>>],
    ) -> Result<(), Trouble> {
        let more = if self.more { answer::MORE_RESULTS } else { 0 };
        for packet in answer::rows(columns, rows, self.status() | more) {
            self.client.packets.queue(&packet);
        }
        self.client.packets.flush().await.map_err(Trouble::Client)
    }

    /// Lets others know which connections KILL must reach.
    fn note_backends(&self) {
        let connections = self.backends.values().map(|b| (b.server, b.connection)).collect();
        *self.peer.backends.lock().unwrap_or_else(PoisonError::into_inner) = connections;
    }

    /// KILL of a session of this gateway.
    async fn kill(&mut self, id: u32, connection: bool) -> Result<(), Trouble> {
        let unknown = || SqlError::new(1094, *b"HY000", format!("Unknown thread id: {id}"));
        let peer = self.gateway.board.peer(id).ok_or_else(unknown)?;
        if peer.user() != self.client.user.name {
            return Err(SqlError::new(
                1095,
                *b"HY000",
                format!("You are not owner of thread {id}"),
            )
            .into());
        }
        let targets = peer.backends.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if connection {
            peer.killed.cancel();
        }
        let verb = if connection { "KILL" } else { "KILL QUERY" };
        for (server, number) in targets {
            let config = self.gateway.servers.config(server);
            let (user, client) = (&self.client.user, &self.client);
            let mut killer =
                Backend::open(server, config, user, client.capabilities, client.collation).await?;
            match killer.simple(format!("{verb} {number}").as_bytes()).await {
                // It is gone already.
                Ok(()) | Err(Trouble::Sql(SqlError { code: 1094, .. })) => {}
                Err(error) => return Err(error),
            }
        }
        if id == self.id {
            let text = "Connection was killed";
            return Err(SqlError::new(1927, *b"70100", text).into());
        }
        self.ok().await
    }

    async fn field_list(&mut self, body: &[u8]) -> Result<(), Trouble> {
        let end = memchr::memchr(0, body).unwrap_or(body.len());
        let table = String::from_utf8_lossy(&body[..end]).into_owned();
        let text = format!("desc {}", shunt_engine::mysql::sql::ident(&table));
        self.run_text(text.as_bytes(), exchange::Body::Command(COM_FIELD_LIST, body)).await
    }
}
