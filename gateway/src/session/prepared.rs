//! Prepared statements: known to the client by a number of the gateway's, prepared on each server that has needed them.
//!
//! Each execution is routed anew, by the rules of the moment but from the keyspace that was chosen at the PREPARE: servers bind names
//! then, so a USE since changes nothing. A server that has not prepared the statement yet, or has it with other qualifiers or bound
//! to another default database, is asked to, unseen by the client; types of parameters, which clients send with the first execution
//! only, are kept and sent again there. Long data is kept until the execution, because only that knows the server.
//!
//! What the gateway does itself (BEGIN, COMMIT, SET, …) is prepared here and run as text: its answers are the same in both protocols.

use shunt_engine::mysql::names::lowered;
use std::collections::HashMap;

use shunt_engine::Error;
use shunt_engine::mysql::wire::{fields::Fields, reply};

use crate::answer::SqlError;
use crate::backend::{Trouble, server_error};
use crate::limits::{LONG_DATA_MAX, PREPARED_MAX};
use crate::route::Chosen;
use crate::servers::ServerId;
use crate::sql::Sql;
use crate::sql::verb::Verb;

use super::Session;
use super::admit::Statement;
use super::exchange::{Body, Guard};

pub(super) const COM_STMT_PREPARE: u8 = 0x16;
pub(super) const COM_STMT_EXECUTE: u8 = 0x17;
const COM_STMT_SEND_LONG_DATA: u8 = 0x18;
const COM_STMT_CLOSE: u8 = 0x19;
const COM_STMT_RESET: u8 = 0x1a;
pub(super) const COM_STMT_FETCH: u8 = 0x1c;

/// Bytes of COM_STMT_EXECUTE before the parameters: number, flags, iterations.
const HEAD: usize = 9;

/// The session's prepared statements.
#[derive(Debug, Default)]
pub(crate) struct Statements {
    known: HashMap<u32, Prepared>,
    next: u32,
    long_bytes: usize,
    /// Those that were prepared by text, by their names.
    named: HashMap<String, Named>,
}

/// Where the last statement of a name is.
#[derive(Debug)]
struct Named {
    on: ServerId,
    /// Another server has an older one of the name, which must not be found when this one is gone.
    hides: bool,
}

impl Statements {
    /// Where EXECUTE or DEALLOCATE finds its statement: where that was prepared, whatever the session has chosen since.
    pub(super) fn named(&self, sql: &Sql<'_>) -> Option<ServerId> {
        let name = name_in_text(sql).filter(|_| !sql.is(sql.first, "prepare"))?;
        self.named.get(&name).map(|named| named.on)
    }

    /// A connection is gone, and what was prepared there.
    pub(super) fn forget(&mut self, server: ServerId) {
        self.known.values_mut().for_each(|prepared| drop(prepared.on.remove(&server)));
        self.named.retain(|_, named| named.on != server);
    }

    pub(super) fn have_cursor_on(&self, server: ServerId) -> bool {
        self.known.values().any(|prepared| prepared.cursor == Some(server))
    }

    /// Notes what PREPARE or DEALLOCATE has done.
    pub(super) fn note_named(&mut self, sql: &Sql<'_>, server: ServerId) {
        let Some(name) = name_in_text(sql) else { return };
        if sql.is(sql.first, "prepare") {
            let named = self.named.entry(name).or_insert(Named { on: server, hides: false });
            *named = Named { on: server, hides: named.hides || named.on != server };
        } else if !sql.is(sql.first, "execute") && !self.named.get(&name).is_some_and(|n| n.hides) {
            self.named.remove(&name);
        }
    }
}

/// The name behind PREPARE, EXECUTE, DEALLOCATE PREPARE, DROP PREPARE; servers compare it without regard to case.
fn name_in_text(sql: &Sql<'_>) -> Option<String> {
    let at = sql.first + 1 + usize::from(sql.is_any(sql.first, &["deallocate", "drop"]));
    sql.name(at).map(|name| lowered(&name))
}

#[derive(Debug)]
struct Prepared {
    text: Vec<u8>,
    /// What the session had chosen at the PREPARE: names are bound by that, whatever it has chosen since.
    chosen: Chosen,
    /// Run by the gateway, as text.
    own: bool,
    parameters: usize,
    /// Two bytes a parameter, as the client sent them last.
    types: Vec<u8>,
    /// Pieces of long data: number of the parameter, bytes.
    long: Vec<(u16, Vec<u8>)>,
    on: HashMap<ServerId, Remote>,
    /// Where a cursor is open.
    cursor: Option<ServerId>,
}

#[derive(Debug)]
struct Remote {
    number: u32,
    text: Vec<u8>,
    /// The connection's default database when it was prepared there: the server has bound its names by that.
    database: Option<String>,
    has_types: bool,
}

fn unknown(id: u32) -> SqlError {
    SqlError::new(1243, *b"HY000", format!("Unknown prepared statement handler ({id}) given"))
}

fn malformed() -> Trouble {
    Trouble::Client(Error::stop("command of the client is not understood"))
}

impl Session {
    pub(super) async fn prepared_command(
        &mut self,
        command: u8,
        body: &[u8],
    ) -> Result<(), Trouble> {
        if command == COM_STMT_PREPARE {
            return self.prepare(body).await;
        }
        let id = body.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        match (command, id) {
            (COM_STMT_EXECUTE, Some(id)) => self.execute(id, body).await,
            (COM_STMT_SEND_LONG_DATA, Some(id)) => self.long_data(id, body),
            (COM_STMT_CLOSE, Some(id)) => self.close(id).await,
            (COM_STMT_RESET, Some(id)) => self.reset(id).await,
            (COM_STMT_FETCH, Some(id)) => self.fetch(id, body).await,
            _ => Err(SqlError::new(1047, *b"08S01", "Unknown command").into()),
        }
    }

    async fn prepare(&mut self, text: &[u8]) -> Result<(), Trouble> {
        self.ensure_settings().await?;
        self.refresh_settings().await?;
        if self.statements.known.len() >= PREPARED_MAX {
            return Err(
                SqlError::new(1461, *b"42000", "shunt: too many prepared statements").into()
            );
        }
        self.statements.next += 1;
        let id = self.statements.next;
        let sql = Sql::new(text, self.settings.mode);
        if sql.split().len() > 1 {
            return Err(SqlError::unsupported("several statements prepared as one").into());
        }
        let mut statement = Statement::new(sql);
        statement.runs = false;
        let own = match statement.verb {
            Verb::Begin
            | Verb::Snapshot
            | Verb::Commit
            | Verb::Rollback
            | Verb::Savepoint
            | Verb::Set
            | Verb::Use => true,
            Verb::ShowServers | Verb::Kill | Verb::Prepare | Verb::Xa => {
                let text = "This command is not supported in the prepared statement protocol yet";
                return Err(SqlError::new(1295, *b"HY000", text).into());
            }
            _ => false,
        };
        if own {
            if (0..statement.sql.tokens.len()).any(|at| statement.sql.is_sign(at, b'?')) {
                return Err(SqlError::unsupported("parameters of this statement").into());
            }
            self.insert_prepared(id, text, true, 0);
            let mut packet = vec![reply::OK];
            packet.extend_from_slice(&id.to_le_bytes());
            packet.extend_from_slice(&[0; 7]);
            return self.tell(&packet).await;
        }
        let body = Body::Prepare(text, id);
        self.run_statement(&statement, Some(body)).await.map(drop)
    }

    fn insert_prepared(&mut self, id: u32, text: &[u8], own: bool, parameters: usize) {
        let prepared = Prepared {
            text: text.to_vec(),
            chosen: self.chosen.clone(),
            own,
            parameters,
            types: Vec::new(),
            long: Vec::new(),
            on: HashMap::new(),
            cursor: None,
        };
        self.statements.known.insert(id, prepared);
    }

    /// Notes a statement that was prepared on a server, with `sent` as its text there.
    pub(super) fn note_prepared(
        &mut self,
        id: u32,
        server: ServerId,
        number: u32,
        parameters: u16,
        text: &PreparedText<'_>,
    ) {
        self.insert_prepared(id, text.typed, false, usize::from(parameters));
        let database = self.backends.get(&server).and_then(|backend| backend.database.clone());
        let remote = Remote { number, text: text.sent.to_vec(), database, has_types: false };
        if let Some(prepared) = self.statements.known.get_mut(&id) {
            prepared.on.insert(server, remote);
        }
    }

    async fn execute(&mut self, id: u32, body: &[u8]) -> Result<(), Trouble> {
        let prepared = self.statements.known.get_mut(&id).ok_or_else(|| unknown(id))?;
        // Names mean what they meant at the PREPARE; the type of server is chosen for each execution.
        let text = prepared.text.clone();
        let keyspace = prepared.chosen.keyspace;
        let chosen = Some(Chosen { keyspace, server_type: self.chosen.server_type });
        if prepared.own {
            return self.statement_by(&text, chosen).await;
        }
        if body.len() < HEAD {
            return Err(malformed());
        }
        let has_cursor = body[4] != 0;
        self.refresh_settings().await?;
        let sql = Sql::new(&text, self.settings.mode);
        let statement = Statement { chosen, ..Statement::new(sql) };
        let ran = self.run_statement(&statement, Some(Body::Execute(body))).await;
        if let Some(prepared) = self.statements.known.get_mut(&id) {
            let freed: usize = prepared.long.drain(..).map(|(_, data)| data.len()).sum();
            self.statements.long_bytes -= freed.min(self.statements.long_bytes);
            prepared.cursor = ran.as_ref().ok().copied().flatten().filter(|_| has_cursor);
        }
        if let Some(server) = ran? {
            self.note(&statement, server);
        }
        Ok(())
    }

    /// The packet of an execution for this server, which is made to know the statement first.
    pub(super) async fn bind(
        &mut self,
        server: ServerId,
        body: &[u8],
        text: &[u8],
    ) -> Result<Vec<u8>, Trouble> {
        let id =
            body.first_chunk().map(|bytes| u32::from_le_bytes(*bytes)).ok_or_else(malformed)?;
        self.prepare_on(server, id, text).await?;
        let prepared = self.statements.known.get_mut(&id).ok_or_else(|| unknown(id))?;
        let backend = self.backends.get_mut(&server).ok_or_else(|| unknown(id))?;
        let number = prepared.on.get(&server).ok_or_else(|| unknown(id))?.number;
        for (parameter, data) in &prepared.long {
            let piece = [&number.to_le_bytes()[..], &parameter.to_le_bytes(), data].concat();
            backend
                .packets
                .command(COM_STMT_SEND_LONG_DATA, &piece)
                .await
                .map_err(Trouble::Lost)?;
        }
        let mut out = body.to_vec();
        out[..4].copy_from_slice(&number.to_le_bytes());
        if prepared.parameters == 0 {
            return Ok(out);
        }
        let flag = HEAD + prepared.parameters.div_ceil(8);
        let types = flag + 1..flag + 1 + 2 * prepared.parameters;
        match body.get(flag) {
            Some(1) => {
                prepared.types = body.get(types).ok_or_else(malformed)?.to_vec();
                prepared.on.values_mut().for_each(|remote| remote.has_types = false);
            }
            Some(_) => {
                let has_types = prepared.on.get(&server).is_some_and(|remote| remote.has_types);
                if !has_types && !prepared.types.is_empty() {
                    out[flag] = 1;
                    out.splice(flag + 1..flag + 1, prepared.types.iter().copied());
                }
            }
            None => return Err(malformed()),
        }
        if let Some(remote) = prepared.on.get_mut(&server) {
            remote.has_types = true;
        }
        Ok(out)
    }

    /// Prepares a statement on a server that has not, or has it with other names in it, or bound to another database.
    async fn prepare_on(&mut self, server: ServerId, id: u32, text: &[u8]) -> Result<(), Trouble> {
        let prepared = self.statements.known.get_mut(&id).ok_or_else(|| unknown(id))?;
        let backend = self.backends.get_mut(&server).ok_or_else(|| unknown(id))?;
        if let Some(remote) = prepared.on.get(&server) {
            if remote.text == text && remote.database == backend.database {
                return Ok(());
            }
            let number = remote.number.to_le_bytes();
            backend.packets.command(COM_STMT_CLOSE, &number).await.map_err(Trouble::Lost)?;
            prepared.on.remove(&server);
        }
        backend.packets.command(COM_STMT_PREPARE, text).await.map_err(Trouble::Lost)?;
        let payload = backend.packets.read().await.map_err(Trouble::Lost)?;
        if payload.first() == Some(&reply::ERR) {
            return Err(Trouble::Sql(server_error(payload)));
        }
        let mut fields = Fields(payload);
        let mut head = || -> shunt_engine::Result<(u32, u16, u16)> {
            fields.u8()?;
            Ok((fields.u32()?, fields.u16()?, fields.u16()?))
        };
        let (number, columns, parameters) = head().map_err(Trouble::Lost)?;
        for count in [parameters, columns] {
            if count > 0 {
                for _ in 0..=count {
                    backend.packets.read().await.map_err(Trouble::Lost)?;
                }
            }
        }
        let database = backend.database.clone();
        let remote = Remote { number, text: text.to_vec(), database, has_types: false };
        prepared.on.insert(server, remote);
        Ok(())
    }

    fn long_data(&mut self, id: u32, body: &[u8]) -> Result<(), Trouble> {
        // There is no answer to this command, not even an error.
        let (Some(prepared), Some(parameter)) =
            (self.statements.known.get_mut(&id), body.get(4..6))
        else {
            return Ok(());
        };
        let data = body[6..].to_vec();
        self.statements.long_bytes += data.len();
        if self.statements.long_bytes > LONG_DATA_MAX {
            return Err(Trouble::Client(Error::stop("too much long data of prepared statements")));
        }
        prepared.long.push((u16::from_le_bytes([parameter[0], parameter[1]]), data));
        Ok(())
    }

    async fn close(&mut self, id: u32) -> Result<(), Trouble> {
        let Some(prepared) = self.statements.known.remove(&id) else { return Ok(()) };
        let freed: usize = prepared.long.iter().map(|(_, data)| data.len()).sum();
        self.statements.long_bytes -= freed.min(self.statements.long_bytes);
        for (server, remote) in prepared.on {
            if let Some(backend) = self.backends.get_mut(&server) {
                let number = remote.number.to_le_bytes();
                let closed = backend.packets.command(COM_STMT_CLOSE, &number).await;
                self.unless_lost(server, closed.map_err(Trouble::Lost))?;
            }
        }
        Ok(())
    }

    async fn reset(&mut self, id: u32) -> Result<(), Trouble> {
        let prepared = self.statements.known.get_mut(&id).ok_or_else(|| unknown(id))?;
        let freed: usize = prepared.long.drain(..).map(|(_, data)| data.len()).sum();
        self.statements.long_bytes -= freed.min(self.statements.long_bytes);
        prepared.cursor = None;
        let on: Vec<_> =
            prepared.on.iter().map(|(server, remote)| (*server, remote.number)).collect();
        for (server, number) in on {
            if let Some(backend) = self.backends.get_mut(&server) {
                let reset = backend.command(COM_STMT_RESET, &number.to_le_bytes()).await;
                self.unless_lost(server, reset)?;
            }
        }
        self.ok().await
    }

    async fn fetch(&mut self, id: u32, body: &[u8]) -> Result<(), Trouble> {
        let prepared = self.statements.known.get(&id).ok_or_else(|| unknown(id))?;
        let at =
            prepared.cursor.and_then(|server| Some((server, prepared.on.get(&server)?.number)));
        let Some((server, number)) = at else {
            let text = "The statement has no open cursor";
            return Err(SqlError::new(1421, *b"HY000", text).into());
        };
        let mut body = body.to_vec();
        body[..4].copy_from_slice(&number.to_le_bytes());
        self.exchange(server, &Body::Fetch(&body), None, Guard::default()).await.map(drop)
    }
}

/// A statement as it was typed, and as a server knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct PreparedText<'a> {
    pub(super) typed: &'a [u8],
    pub(super) sent: &'a [u8],
}
