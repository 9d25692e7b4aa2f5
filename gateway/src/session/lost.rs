//! Connections that are lost while the session does not need them: it goes on without.
//!
//! A connection is needed where only it has something of the session: a transaction, locks, temporary tables, a user variable, a
//! cursor, settings that were not read yet. Its end is then the session's. Of the others nothing is missed but LAST_INSERT_ID, which
//! is an error if it is asked for before there is another one.

use shunt_engine::Error;

use crate::answer::{IN_TRANSACTION, SqlError};
use crate::backend::Trouble;
use crate::servers::ServerId;

use super::Session;
use super::admit::Statement;

/// Where the session's LAST_INSERT_ID is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum InsertId {
    /// No server has one.
    #[default]
    None,
    /// On this one, unless another one was given it.
    On(ServerId),
    /// It was on a connection that is lost.
    Lost,
}

impl Session {
    /// Notes what a statement may have left on its server that cannot be made elsewhere.
    pub(super) fn note_kept(&mut self, statement: &Statement<'_>, server: ServerId) {
        if statement.keeps()
            && let Some(backend) = self.backends.get_mut(&server)
        {
            backend.keeps = true;
        }
    }

    /// Goes on without a connection that is lost.
    ///
    /// # Errors
    /// The one that was met, if the session cannot.
    pub(super) fn go_on_without(&mut self, server: ServerId, error: Error) -> Result<(), Trouble> {
        let Some(backend) = self.backends.get(&server) else { return Ok(()) };
        let needed = backend.keeps
            || backend.status & IN_TRANSACTION != 0
            || self.locked == Some(server)
            || self.settings.are_on(server)
            || self.variables.are_on(server)
            || self.statements.have_cursor_on(server);
        if needed {
            return Err(Trouble::Lost(error));
        }
        tracing::debug!("a connection is lost that is not needed: {error}");
        self.backends.remove(&server);
        self.statements.forget(server);
        self.last = self.last.filter(|last| *last != server);
        if self.insert_id == InsertId::On(server) {
            self.insert_id = InsertId::Lost;
        }
        self.note_backends();
        Ok(())
    }

    /// The same for what has become of a statement of the gateway's own.
    pub(super) fn unless_lost(
        &mut self,
        server: ServerId,
        done: Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        match done {
            Err(Trouble::Lost(error)) => self.go_on_without(server, error),
            other => other,
        }
    }

    /// Gives a server the session's LAST_INSERT_ID; `asked`: it is needed there.
    pub(super) async fn carry_insert_id(
        &mut self,
        server: ServerId,
        asked: bool,
    ) -> Result<(), Trouble> {
        if let InsertId::On(from) = self.insert_id
            && from != server
            && let Some(backend) = self.backends.get_mut(&from)
        {
            match backend.row("SELECT LAST_INSERT_ID()").await {
                Ok(mut row) => {
                    let id = row.pop().flatten().unwrap_or_default();
                    self.set_insert_id(server, &id).await?;
                }
                Err(Trouble::Lost(error)) => self.go_on_without(from, error)?,
                Err(other) => return Err(other),
            }
        }
        if asked && self.insert_id == InsertId::Lost {
            return Err(SqlError::unsupported(
                "LAST_INSERT_ID was on a connection that is lost: insert again, or ask for the row itself",
            )
            .into());
        }
        Ok(())
    }

    async fn set_insert_id(&mut self, server: ServerId, id: &[u8]) -> Result<(), Trouble> {
        let Some(backend) = self.backends.get_mut(&server) else { return Ok(()) };
        if !id.is_empty() && id.iter().all(u8::is_ascii_digit) {
            backend.simple(&[b"SET last_insert_id=", id].concat()).await?;
        }
        self.insert_id = InsertId::On(server);
        Ok(())
    }
}
