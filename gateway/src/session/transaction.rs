//! Transactions: BEGIN waits for the statement that says which server it is about.
//!
//! Whether one is open is the server's word (its status flags), never ours. A transaction that reaches a second server is rolled
//! back and doomed: everything is refused until the client ends it. While one is open it goes by the rules of its start
//! ([`Transaction::view`]), so that the tables of its snapshot stay where they are.

use std::sync::{Arc, PoisonError};

use shunt_engine::routing::TableName;

use crate::answer::SqlError;
use crate::backend::Trouble;
use crate::board::{Hold, Mark, View};
use crate::limits::PENDING_MAX;
use crate::servers::ServerId;
use crate::sql::Sql;
use crate::sql::verb::{self, Verb};

use super::Session;
use super::exchange::{Body, Guard};

/// What is known of the session's transaction.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    /// BEGIN and what came behind it, not sent yet.
    pub(crate) pending: Vec<Vec<u8>>,
    /// SET TRANSACTION, for the next one.
    pub(crate) preamble: Option<Vec<u8>>,
    /// It was rolled back here, and the client has not ended it yet.
    pub(crate) doomed: bool,
    /// The view that its first statement was routed by.
    pub(crate) view: Option<Arc<View>>,
}

impl Session {
    /// The server on which a transaction is open, or tables are locked, as far as is known.
    pub(super) fn transaction_server(&self) -> Option<ServerId> {
        let open = self.backends.values().find(|b| b.status & crate::answer::IN_TRANSACTION != 0);
        open.map(|backend| backend.server).or(self.locked)
    }

    /// The same, for sure.
    pub(super) async fn open_transaction(&mut self) -> Result<Option<ServerId>, Trouble> {
        let Some(server) = self.transaction_server() else { return Ok(None) };
        if let Some(backend) = self.backends.get_mut(&server)
            && !backend.in_transaction().await?
            && self.locked != Some(server)
        {
            self.transaction_ended();
            return Ok(None);
        }
        Ok(Some(server))
    }

    pub(super) fn transaction_ended(&mut self) {
        self.transaction.view = None;
        self.clear_mark();
    }

    pub(super) fn clear_mark(&self) {
        *self.peer.mark.lock().unwrap_or_else(PoisonError::into_inner) = Mark::default();
    }

    /// Notes what the transaction touches, before it is sent.
    pub(super) fn mark(&self, tables: &[TableName], wrote: bool) {
        self.peer.mark.lock().unwrap_or_else(PoisonError::into_inner).add(tables, wrote);
    }

    pub(super) fn has_touched(&self, tables: &[TableName]) -> bool {
        self.peer.mark.lock().unwrap_or_else(PoisonError::into_inner).covers(tables)
    }

    /// Whether it has been at a held table, and whether it has done more than read there.
    pub(super) fn touched(&self, hold: &Hold) -> Option<bool> {
        self.peer.mark.lock().unwrap_or_else(PoisonError::into_inner).on(hold)
    }

    /// BEGIN, or what follows it before its server is known.
    pub(super) async fn begin(&mut self, text: &[u8], begins: bool) -> Result<(), Trouble> {
        if self.transaction.doomed {
            return Err(doomed("statement in ").into());
        }
        if begins && let Some(server) = self.locked.take() {
            // It unlocks the tables, where they are.
            return self
                .exchange(server, &Body::Query(text), None, Guard::default())
                .await
                .map(drop);
        }
        if begins && self.open_transaction().await?.is_some() {
            // It commits the one before, where that is.
            self.end(b"COMMIT", false).await?;
        }
        if begins {
            self.transaction.pending.clear();
        }
        if self.transaction.pending.len() >= PENDING_MAX {
            return Err(
                SqlError::unsupported("too many statements at the start of a transaction").into()
            );
        }
        self.transaction.pending.push(text.to_vec());
        self.ok().await
    }

    /// Ends the transaction on its server, and on no other; `told`: the server's answer is passed on.
    pub(super) async fn end(&mut self, text: &[u8], told: bool) -> Result<(), Trouble> {
        if std::mem::take(&mut self.transaction.doomed) {
            self.transaction_ended();
            if verb::verb(&Sql::new(text, self.settings.mode)) != Verb::Rollback {
                return Err(doomed("COMMIT of ").into());
            }
            return if told { self.ok().await } else { Ok(()) };
        }
        let pending = !self.transaction.pending.is_empty();
        let server = match self.open_transaction().await? {
            Some(server) => Some(server),
            None if pending => None,
            None => self.last,
        };
        self.transaction.pending.clear();
        let Some(server) = server.filter(|server| self.backends.contains_key(server)) else {
            return if told { self.ok().await } else { Ok(()) };
        };
        if !told {
            if let Some(backend) = self.backends.get_mut(&server) {
                backend.simple(text).await?;
            }
            self.transaction_ended();
            return Ok(());
        }
        self.exchange(server, &Body::Query(text), None, Guard::default()).await?;
        // Another one may have begun with its end (AND CHAIN), which has touched nothing yet.
        if !self.failed {
            self.transaction_ended();
        }
        Ok(())
    }

    /// After a command: whether the transaction that others wait for is still open, where an error has left that open. Nobody
    /// knows when the client comes back, and until then a switch would wait for what is over.
    pub(super) async fn settle(&mut self) -> Result<(), Trouble> {
        if self.peer.mark.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            return Ok(());
        }
        let servers: Vec<ServerId> = self.backends.keys().copied().collect();
        for server in servers {
            let Some(backend) = self.backends.get_mut(&server) else { continue };
            let asked = backend.in_transaction().await.map(drop);
            self.unless_lost(server, asked)?;
        }
        if self.transaction_server().is_none() {
            self.transaction_ended();
        }
        Ok(())
    }

    /// Rolls back what is open and refuses everything until the client ends it.
    pub(super) async fn doom(&mut self, error: SqlError) -> Trouble {
        if let Err(trouble) = self.roll_back().await {
            return trouble;
        }
        self.transaction.doomed = true;
        error.into()
    }

    /// Rolls back what is open.
    pub(super) async fn roll_back(&mut self) -> Result<(), Trouble> {
        self.transaction.pending.clear();
        if let Some(server) = self.transaction_server()
            && let Some(backend) = self.backends.get_mut(&server)
        {
            backend.simple(b"ROLLBACK").await?;
        }
        self.transaction_ended();
        Ok(())
    }
}

pub(super) fn doomed(what: &str) -> SqlError {
    SqlError::unsupported(format_args!(
        "{what}a transaction that was rolled back because it reached a second server"
    ))
}
