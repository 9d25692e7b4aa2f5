//! Statements as text: what the gateway does itself, and how the others are run.

use std::sync::Arc;
use std::time::Instant;

use crate::answer::{AUTOCOMMIT, SqlError};
use crate::backend::Trouble;
use crate::limits::{FENCE_LOOK, FENCE_WAIT, STATEMENTS_MAX};
use crate::listing;
use crate::route::Chosen;
use crate::servers::ServerId;
use crate::sql::verb::Verb;
use crate::sql::{self, Sql, set};

use super::Session;
use super::admit::{Admitted, Statement};
use super::exchange::{Body, Guard, Sent};
use super::lost::InsertId;
use super::prepared::PreparedText;

impl Session {
    /// COM_QUERY: one statement, or several that are run one by one.
    pub(super) async fn query(&mut self, text: &[u8]) -> Result<(), Trouble> {
        if let Err(trouble) = self.ensure_settings().await {
            return self.without_server(text, trouble).await;
        }
        let parts = Sql::new(text, self.settings.mode).split();
        if parts.len() <= 1 || !self.client.multi_statements {
            return self.statement(text).await;
        }
        if parts.len() > STATEMENTS_MAX {
            return Err(SqlError::unsupported("too many statements in one packet").into());
        }
        let count = parts.len();
        for (at, part) in parts.into_iter().enumerate() {
            self.more = at + 1 < count;
            self.failed = false;
            let done = self.statement(&text[part]).await;
            self.more = false;
            done?;
            if self.failed {
                break;
            }
        }
        Ok(())
    }

    /// What needs no server is done though the session has none that is fit to serve.
    async fn without_server(&mut self, text: &[u8], trouble: Trouble) -> Result<(), Trouble> {
        let sql = Sql::new(text, self.settings.mode);
        let own = matches!(sql::verb::verb(&sql), Verb::Use | Verb::ShowServers);
        let refused = matches!(trouble, Trouble::Sql(_));
        if !(own && refused) || sql.split().len() > 1 {
            return Err(trouble);
        }
        self.statement(text).await
    }

    /// One statement.
    pub(super) async fn statement(&mut self, text: &[u8]) -> Result<(), Trouble> {
        self.statement_by(text, None).await
    }

    /// One statement; `chosen`: what its names are read by, if not by what the session has chosen.
    pub(super) async fn statement_by(
        &mut self,
        text: &[u8],
        chosen: Option<Chosen>,
    ) -> Result<(), Trouble> {
        if self.settings_are_stale() {
            let verb = sql::verb::verb(&Sql::new(text, self.settings.mode));
            // It would lose the warnings.
            if verb != Verb::ShowWarnings {
                self.refresh_settings().await?;
            }
        }
        let statement = Statement::new(Sql::new(text, self.settings.mode));
        match statement.verb {
            Verb::Empty => Err(SqlError::new(1065, *b"42000", "Query was empty").into()),
            Verb::Begin => self.begin(text, true).await,
            Verb::Commit | Verb::Rollback => self.end(text, true).await,
            Verb::Savepoint if !self.transaction.pending.is_empty() => {
                self.begin(text, false).await
            }
            Verb::Set => self.set(&Statement { chosen, ..statement }).await,
            Verb::Use => {
                self.choose(&named(text, &statement.sql)?)?;
                self.ok().await
            }
            Verb::Kill => {
                let (id, connection) = killed(&statement.sql)?;
                self.kill(id, connection).await
            }
            Verb::ShowServers => {
                let rows = listing::rows(&self.gateway.servers);
                self.tell_rows(&listing::COLUMNS, &rows).await
            }
            Verb::Snapshot => {
                if self.open_transaction().await?.is_some() {
                    self.end(b"COMMIT", false).await?;
                }
                self.run_and_note(&statement).await
            }
            _ if is_connection_id(&statement.sql) => {
                let id = self.id.to_string();
                self.tell_rows(&["CONNECTION_ID()"], &[vec![Some(id)]]).await
            }
            _ => self.run_and_note(&statement).await,
        }
    }

    /// Text in any form of command.
    pub(super) async fn run_text(&mut self, text: &[u8], body: Body<'_>) -> Result<(), Trouble> {
        self.ensure_settings().await?;
        let statement = Statement::new(Sql::new(text, self.settings.mode));
        self.run_statement(&statement, Some(body)).await.map(drop)
    }

    async fn run_and_note(&mut self, statement: &Statement<'_>) -> Result<(), Trouble> {
        let done = self.run_statement(statement, None).await?;
        let Some(server) = done else { return Ok(()) };
        self.note(statement, server);
        Ok(())
    }

    /// Notes what a statement that was run may have left on its server.
    pub(super) fn note(&mut self, statement: &Statement<'_>, server: ServerId) {
        let assigns =
            statement.asks.assigns || statement.verb.runs_others() || statement.verb == Verb::Load;
        if statement.asks.variables && assigns {
            self.variables_assigned(server, &statement.sql);
        }
        if statement.verb == Verb::Prepare {
            self.statements.note_named(&statement.sql, server);
        }
        match statement.verb {
            verb if verb.runs_others() => self.settings_changed(server),
            Verb::Lock => self.locked = Some(server),
            Verb::Unlock => {
                self.locked = None;
                self.clear_mark();
            }
            _ => {}
        }
    }

    async fn set(&mut self, statement: &Statement<'_>) -> Result<(), Trouble> {
        let set = set::read(&statement.sql).map_err(|set::Refused(what)| {
            SqlError::unsupported(format_args!("{what} cannot be carried from server to server"))
        })?;
        if set.next_transaction && self.open_transaction().await?.is_none() {
            self.transaction.preamble = Some(statement.sql.bytes.to_vec());
            return self.ok().await;
        }
        self.note_names(&set)?;
        let Some(server) = self.run_statement(statement, None).await? else { return Ok(()) };
        self.variables_set(server, &set);
        self.settings_changed(server);
        Ok(())
    }

    /// Runs a statement on its server: as text, or as `body`. The server, unless it refused.
    pub(super) async fn run_statement(
        &mut self,
        statement: &Statement<'_>,
        body: Option<Body<'_>>,
    ) -> Result<Option<ServerId>, Trouble> {
        let deadline = Instant::now() + FENCE_WAIT;
        loop {
            let mut admitted = self.admit(statement).await?;
            let text = sql::splice(statement.sql.bytes, &mut admitted.plan.edits);
            let begun = self.send_pending(statement, &admitted).await?;
            let bound;
            let body = match body {
                None => Body::Query(&text),
                Some(Body::Prepare(_, id)) => Body::Prepare(&text, id),
                Some(Body::Execute(packet)) => {
                    bound = self.bind(admitted.server, packet, &text).await?;
                    Body::Execute(&bound)
                }
                Some(other) => other,
            };
            let repeat =
                Instant::now() < deadline && !admitted.plan.once && !statement.asks.assigns;
            let status = self.backends.get(&admitted.server).map_or(AUTOCOMMIT, |b| b.status);
            let opens = !begun.is_empty() || status & AUTOCOMMIT == 0;
            // Nobody could take back what it has committed: the client has to see how far it came.
            let keep_fence =
                (admitted.in_transaction || opens || repeat) && !statement.verb.may_commit_a_part();
            let needs_lease =
                admitted.plan.known && !admitted.in_transaction && statement.only_reads();
            let behind_columns = statement.returns() && body.has_rows();
            let guard = Guard { keep_fence, behind_columns, needs_lease };
            let runs_programs = statement.runs_programs(&admitted.plan);
            let Admitted { server, view, ticket, in_transaction, plan } = admitted;
            let sent = self.exchange(server, &body, Some(ticket), guard).await?;
            if statement.runs {
                self.note_sent(statement, server, runs_programs);
            }
            match sent {
                Sent::Done(end) => {
                    if let Body::Prepare(_, id) = body
                        && let Some((number, parameters)) = end.prepared
                    {
                        let text = PreparedText { typed: statement.sql.bytes, sent: &text };
                        self.note_prepared(id, server, number, parameters, &text);
                    }
                    // One that a COMMIT has chained is open already, and goes by no view yet.
                    let chained = self.transaction.view.is_none() && self.locked.is_none();
                    if self.transaction_server().is_some() && (!in_transaction || chained) {
                        self.transaction.view = Some(view);
                    }
                    return Ok((!self.failed).then_some(server));
                }
                Sent::Fenced if in_transaction || !repeat => {
                    // Its lock on the fence's row would hold up the switch; what it has done before cannot be sent again.
                    if let Some(backend) = self.backends.get_mut(&server) {
                        backend.simple(b"ROLLBACK").await?;
                    }
                    self.roll_back().await?;
                    return Err(SqlError::moved().into());
                }
                Sent::Fenced => {
                    tracing::debug!(tables = ?plan.tables, "fenced: the rules are read again");
                    self.after_fence(server, begun).await?;
                }
            }
        }
    }

    /// Notes what a statement that was sent may have left on its server, though it failed.
    fn note_sent(&mut self, statement: &Statement<'_>, server: ServerId, runs_programs: bool) {
        if runs_programs {
            self.program_ran(server);
        }
        if statement.leaves_insert_id() {
            self.insert_id = InsertId::On(server);
        }
        self.note_kept(statement, server);
    }

    /// Sends BEGIN and what came with it, if this statement is the first that needs it. Returns what was sent.
    async fn send_pending(
        &mut self,
        statement: &Statement<'_>,
        admitted: &Admitted,
    ) -> Result<Vec<Vec<u8>>, Trouble> {
        // A function that nobody knows may write: behind its back nothing could be rolled back.
        let begins = statement.runs && (admitted.plan.bound || statement.may_call());
        let begins = begins && !admitted.in_transaction;
        if !begins || (self.transaction.pending.is_empty() && self.transaction.preamble.is_none()) {
            return Ok(Vec::new());
        }
        let mut begun: Vec<Vec<u8>> = self.transaction.preamble.take().into_iter().collect();
        begun.append(&mut self.transaction.pending);
        let Some(backend) = self.backends.get_mut(&admitted.server) else { return Ok(begun) };
        for text in &begun {
            backend.simple(text).await?;
        }
        Ok(begun)
    }

    /// Nothing of it was done that stands ([`Verb::may_commit_a_part`], [`Plan::once`](crate::route::Plan::once)): what was begun for
    /// the statement is taken back, and after a moment the statement is sent again by the rules as they are then.
    async fn after_fence(&mut self, server: ServerId, begun: Vec<Vec<u8>>) -> Result<(), Trouble> {
        if let Some(backend) = self.backends.get_mut(&server) {
            backend.simple(b"ROLLBACK").await?;
        }
        self.transaction_ended();
        self.transaction.pending = begun;
        let board = Arc::clone(&self.gateway.board);
        let mut changes = board.changes();
        board.look.notify_one();
        let killed = self.peer.killed.clone();
        tokio::select! {
            () = killed.cancelled() => {}
            _ = tokio::time::timeout(FENCE_LOOK, changes.changed()) => {}
        }
        Ok(())
    }
}

/// The name behind USE, which may hold an @.
fn named(text: &[u8], sql: &Sql<'_>) -> Result<String, SqlError> {
    let start = sql.span(sql.first + 1).start;
    let end = sql.tokens.iter().rev().find(|t| t.kind != sql::lexer::Kind::Sign(b';'));
    let end = end.map_or(0, |token| token.end);
    let name = text.get(start..end).unwrap_or_default();
    let name = String::from_utf8_lossy(name).trim().to_owned();
    if name.is_empty() || start == 0 {
        return Err(SqlError::no_database());
    }
    let inner = name.strip_prefix('`').and_then(|name| name.strip_suffix('`'));
    Ok(inner.map_or(name.clone(), |name| name.replace("``", "`")))
}

/// KILL: the session's number, and whether its connection ends.
fn killed(sql: &Sql<'_>) -> Result<(u32, bool), SqlError> {
    let mut at = sql.first + 1;
    while sql.is_any(at, &["hard", "soft", "connection"]) {
        at += 1;
    }
    let query = sql.is(at, "query");
    let id = sql.name(at + usize::from(query)).and_then(|id| id.parse().ok());
    let alone = sql.tokens.len() == at + 1 + usize::from(query);
    match id.filter(|_| alone) {
        Some(id) => Ok((id, !query)),
        None => Err(SqlError::unsupported(
            "KILL of anything else than a number of this gateway's sessions",
        )),
    }
}

fn is_connection_id(sql: &Sql<'_>) -> bool {
    sql.tokens.len() == sql.first + 4
        && sql.is(sql.first, "select")
        && sql.is(sql.first + 1, "connection_id")
        && sql.is_sign(sql.first + 2, b'(')
}
