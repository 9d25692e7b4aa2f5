//! One command to one server, and its answer to the client.

use shunt_engine::Error;

use crate::answer::{IN_TRANSACTION, MORE_RESULTS};
use crate::backend::{COM_QUERY, Trouble, fence_of};
use crate::board::Ticket;
use crate::forward::{Answer, Broken, End, Forward, columns, has_columns};
use crate::servers::ServerId;

use super::Session;
use super::lost::InsertId;
use super::prepared::{COM_STMT_EXECUTE, COM_STMT_FETCH, COM_STMT_PREPARE};

/// What a server is sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body<'a> {
    /// COM_QUERY with this text.
    Query(&'a [u8]),
    /// COM_STMT_PREPARE of this text; the client knows the statement by this number.
    Prepare(&'a [u8], u32),
    /// COM_STMT_EXECUTE.
    Execute(&'a [u8]),
    /// COM_STMT_FETCH.
    Fetch(&'a [u8]),
    /// A command with this code whose answer are rows.
    Command(u8, &'a [u8]),
}

impl<'a> Body<'a> {
    /// Rows come with the answer, and are not fetched later.
    pub(super) fn has_rows(&self) -> bool {
        match self {
            Self::Query(_) => true,
            // Behind the statement's number: whether a cursor is asked for.
            Self::Execute(body) => body.get(4) == Some(&0),
            Self::Prepare(..) | Self::Fetch(_) | Self::Command(..) => false,
        }
    }

    fn parts(&self) -> (u8, &'a [u8], Answer) {
        match *self {
            Self::Query(text) => (COM_QUERY, text, Answer::Results),
            Self::Prepare(text, id) => (COM_STMT_PREPARE, text, Answer::Prepared { id }),
            Self::Execute(body) => (COM_STMT_EXECUTE, body, Answer::Results),
            Self::Fetch(body) => (COM_STMT_FETCH, body, Answer::Rows),
            Self::Command(code, body) => (code, body, Answer::Rows),
        }
    }
}

/// What is looked at before an answer is passed on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Guard {
    /// The fence's refusal is not passed on: the statement can be sent again, or its transaction begun again.
    pub(super) keep_fence: bool,
    /// The fence's refusal may come behind column definitions.
    pub(super) behind_columns: bool,
    /// The answer was read of a table that rules know: it is worth something only while the lease lives. A gateway that was
    /// stopped between its check of the lease and here would show rows of a side that is closed.
    pub(super) needs_lease: bool,
}

/// What became of it.
#[derive(Debug)]
pub(super) enum Sent {
    /// The client has the answer.
    Done(End),
    /// The server's tables are closed: nothing was done, and the client has not been told.
    Fenced,
}

impl Session {
    /// Sends a command and passes its answer on. The ticket is given back once the command is written.
    pub(super) async fn exchange(
        &mut self,
        server: ServerId,
        body: &Body<'_>,
        ticket: Option<Ticket>,
        guard: Guard,
    ) -> Result<Sent, Trouble> {
        let (code, bytes, answer) = body.parts();
        let backend = self.backends.get_mut(&server);
        let backend = backend.ok_or_else(|| Trouble::Lost(Error::stop("no connection")))?;
        backend.packets.command(code, bytes).await.map_err(Trouble::Lost)?;
        drop(ticket);
        let (mut at, mut last) = backend.packets.next_frame().await.map_err(Trouble::Lost)?;
        self.last = Some(server);
        if guard.needs_lease && !self.gateway.board.lease_lives() {
            return Err(Trouble::Lost(Error::retry("the gateway's lease ended under a read")));
        }
        let mut held = Vec::new();
        if guard.keep_fence && guard.behind_columns && has_columns(backend.packets.payload(at)) {
            held = columns(&mut backend.packets, at).await.map_err(Trouble::Lost)?;
            (at, last) = backend.packets.next_frame().await.map_err(Trouble::Lost)?;
        }
        if guard.keep_fence && fence_of(backend.packets.payload(at)).is_some() {
            return Ok(Sent::Fenced);
        }
        let more = if self.more { MORE_RESULTS } else { 0 };
        let begun = if self.transaction.pending.is_empty() { 0 } else { IN_TRANSACTION };
        let mut forward = Forward {
            backend: &mut backend.packets,
            client: &mut self.client.packets,
            flags: more | begun,
        };
        let end = match held.as_slice() {
            [] => forward.run(answer, at, last).await,
            columns => forward.run_behind(columns, at, last).await,
        };
        let end = end.map_err(|broken| match broken {
            // Half an answer cannot be taken back: the client's connection ends with it.
            Broken::Backend(error) | Broken::Client(error) => Trouble::Client(error),
        })?;
        self.ended(server, &end);
        Ok(Sent::Done(end))
    }

    fn ended(&mut self, server: ServerId, end: &End) {
        self.failed = end.error.is_some();
        let Some(backend) = self.backends.get_mut(&server) else { return };
        match end.status {
            None => backend.uncertain = true,
            Some(status) => {
                backend.status = status;
                backend.uncertain = false;
                if status & IN_TRANSACTION == 0 && self.locked.is_none() {
                    self.transaction_ended();
                }
            }
        }
        if end.insert_id != 0 {
            self.insert_id = InsertId::On(server);
        }
    }
}
