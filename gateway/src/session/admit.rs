//! Which server a statement goes to, and when.
//!
//! In this order: the transaction that is open, the rules, the hold and the lease, the server, its connection; and last, when
//! nothing is left to wait for, the ticket of the view that all of it was decided by. If that view has been replaced meanwhile,
//! everything is decided anew.

use std::sync::Arc;
use std::time::{Duration, Instant};

use shunt_engine::Error;
use shunt_engine::routing::TableName;

use crate::answer::{AUTOCOMMIT, SqlError};
use crate::backend::Trouble;
use crate::board::{Hold, Ticket, View};
use crate::limits::FENCE_WAIT;
use crate::route::{Chosen, Plan, Router};
use crate::servers::ServerId;
use crate::sql::Sql;
use crate::sql::builtin::is_built_in;
use crate::sql::finder::{self, Found, TableRef, Unparsed};
use crate::sql::set;
use crate::sql::verb::{self, Asks, Verb};

use super::Session;
use super::carry::{names_at, variables_of};
use super::transaction::doomed;

/// A statement as the session sees it.
#[derive(Clone, Debug)]
pub(crate) struct Statement<'a> {
    pub(crate) sql: Sql<'a>,
    pub(crate) verb: Verb,
    pub(crate) found: Result<Found, Unparsed>,
    pub(crate) asks: Asks,
    /// It is run now, not only prepared.
    pub(crate) runs: bool,
    /// What its names are read by, where that is not what the session has chosen: what it had chosen at the PREPARE.
    pub(crate) chosen: Option<Chosen>,
}

impl<'a> Statement<'a> {
    pub(crate) fn new(sql: Sql<'a>) -> Self {
        let verb = verb::verb(&sql);
        let found = match verb {
            // They are about no table.
            Verb::ShowWarnings | Verb::Unlock | Verb::Savepoint => Ok(Found::default()),
            _ => finder::find(&sql),
        };
        Self { verb, found, asks: verb::asks(&sql), sql, runs: true, chosen: None }
    }

    /// It reads, and locks nothing.
    pub(crate) fn only_reads(&self) -> bool {
        matches!(self.verb, Verb::Read | Verb::ShowWarnings)
            && self.found.as_ref().is_ok_and(|found| !found.locking)
            && !self.asks.sequence
    }

    /// It may leave something on its connection that cannot be made elsewhere.
    pub(super) fn keeps(&self) -> bool {
        let keeps = matches!(self.verb, Verb::Temporary | Verb::Lock) || self.verb.runs_others();
        keeps || self.asks.user_lock || self.found.is_err()
    }

    /// It may set LAST_INSERT_ID without an OK packet that says so.
    pub(super) fn leaves_insert_id(&self) -> bool {
        self.verb.runs_others() || self.asks.insert_id || self.returns()
    }

    /// It writes, and returns rows of what it has written.
    pub(super) fn returns(&self) -> bool {
        !self.only_reads() && self.sql.has("returning")
    }

    /// It may run programs on its server, which may use and set any user variable. A view that is only read is taken for none.
    pub(super) fn runs_programs(&self, plan: &Plan) -> bool {
        self.verb.runs_others() || (plan.once && (!self.only_reads() || self.may_call()))
    }

    /// It may call a stored function that nobody knows here: a name that no server has built in stands in front of a parenthesis.
    pub(super) fn may_call(&self) -> bool {
        let stored = |call: &TableRef| !is_built_in(self.sql.text(call.name));
        self.found.as_ref().is_ok_and(|found| found.calls.iter().any(stored))
    }
}

/// A statement's way by the rules of the router.
///
/// # Errors
/// If it spans servers, or cannot be followed while tables are being moved.
pub(crate) fn resolve(router: &Router<'_>, statement: &Statement<'_>) -> Result<Plan, SqlError> {
    let inside_values = matches!(statement.verb, Verb::Prepare | Verb::Xa);
    if inside_values && !router.view.is_empty() {
        return Err(SqlError::unsupported(
            "PREPARE, EXECUTE and XA as statements are refused while tables are being moved",
        ));
    }
    match &statement.found {
        Ok(found) => {
            let plan = router.plan(&statement.sql, found, !statement.only_reads())?;
            let made = || found.tables.first().and_then(|table| statement.sql.name(table.name));
            let is_known = || made().is_some_and(|name| router.view.knows(&name));
            if statement.verb == Verb::Temporary && is_known() {
                return Err(SqlError::unsupported(
                    "temporary table has the name of a table that is being moved",
                ));
            }
            Ok(plan)
        }
        Err(Unparsed) => {
            router.check_unparsed(&statement.sql)?;
            let servers = router.home_or_first()?;
            let database = router.own_database();
            Ok(Plan { servers, bound: true, database, once: true, ..Plan::default() })
        }
    }
}

/// A statement that may be sent.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) server: ServerId,
    pub(super) plan: Plan,
    pub(super) view: Arc<View>,
    pub(super) ticket: Ticket,
    /// It is sent in a transaction that was open before.
    pub(super) in_transaction: bool,
}

/// Why no server was picked.
enum Unpicked {
    /// Another one than that of the transaction.
    Second(SqlError),
    Refused(SqlError),
}

impl Session {
    /// Waits until a statement may be sent, and makes the connection of its server ready.
    pub(super) async fn admit(&mut self, statement: &Statement<'_>) -> Result<Admitted, Trouble> {
        if self.transaction.doomed {
            return Err(doomed("statement in ").into());
        }
        let mut lease_wait = None;
        loop {
            let open = self.open_transaction().await?;
            let current = self.gateway.board.view();
            let plan = self.plan(statement, &current, open).await?;
            if statement.runs
                && self.must_wait(statement, &current, &plan, open, &mut lease_wait).await?
            {
                continue;
            }
            let server = match self.pick(statement, &current, &plan, open) {
                Ok(server) => server,
                Err(Unpicked::Refused(error)) => return Err(error.into()),
                Err(Unpicked::Second(error)) => return Err(self.doom(error).await),
            };
            self.make_ready(statement, server, &plan).await?;
            let Some(ticket) = self.gateway.board.ticket(&current) else { continue };
            let autocommit = self.backends.get(&server).is_none_or(|b| b.status & AUTOCOMMIT != 0);
            let begins = !self.transaction.pending.is_empty() || !autocommit;
            if statement.runs && (open.is_some() || begins) {
                self.mark(&plan.tables, !statement.only_reads());
            }
            let view = current;
            return Ok(Admitted { server, plan, view, ticket, in_transaction: open.is_some() });
        }
    }

    /// The statement's way by these rules; in a transaction, by those of its start where that is still right.
    async fn plan(
        &mut self,
        statement: &Statement<'_>,
        current: &Arc<View>,
        open: Option<ServerId>,
    ) -> Result<Plan, Trouble> {
        let plan = self.resolve(statement, current)?;
        let Some(pinned) = self.transaction.view.clone().filter(|_| open.is_some()) else {
            return Ok(plan);
        };
        if Arc::ptr_eq(&pinned, current) {
            return Ok(plan);
        }
        let before = self.resolve(statement, &pinned)?;
        if before.servers == plan.servers || !statement.runs {
            return Ok(plan);
        }
        // Its tables were switched. If it has not been at them, they are on a second server now. If it has, its snapshot of them still
        // is what it was; nothing else is.
        if !self.has_touched(&before.tables) {
            return Ok(plan);
        }
        let isolation = self.settings.value("tx_isolation").unwrap_or_default();
        let snapshot = matches!(isolation, b"REPEATABLE-READ" | b"SERIALIZABLE");
        if snapshot && statement.only_reads() {
            return Ok(before);
        }
        self.roll_back().await?;
        Err(SqlError::moved().into())
    }

    fn router<'a>(&'a self, statement: &'a Statement<'_>, view: &'a View) -> Router<'a> {
        let chosen = statement.chosen.as_ref().unwrap_or(&self.chosen);
        Router { servers: &self.gateway.servers, view, chosen }
    }

    fn resolve(&self, statement: &Statement<'_>, view: &View) -> Result<Plan, SqlError> {
        resolve(&self.router(statement, view), statement)
    }

    /// Waits for a hold or for the lease; whether it did, and everything must be decided anew.
    async fn must_wait(
        &mut self,
        statement: &Statement<'_>,
        view: &Arc<View>,
        plan: &Plan,
        open: Option<ServerId>,
        lease_wait: &mut Option<Instant>,
    ) -> Result<bool, Trouble> {
        let hold = view.hold_of(&plan.tables);
        let hold = hold.filter(|hold| open.is_none() || self.comes_late(statement, hold));
        let held = hold.map(|hold| hold.generation);
        let until = if let Some(hold) = hold {
            hold.until + Duration::from_millis(500)
        } else if open.is_none() && plan.bound && !self.gateway.board.may_serve(plan.known) {
            *lease_wait.get_or_insert_with(|| Instant::now() + FENCE_WAIT)
        } else {
            return Ok(false);
        };
        if until <= Instant::now() {
            let text = "its tables cannot be served, because the topology does not answer";
            return Err(SqlError::held(text).into());
        }
        self.park(view, held, until).await?;
        Ok(true)
    }

    /// A transaction that is at work on held tables goes on, so that it can end; one that would only come to them waits. So does one
    /// that has only read them and would write, once the hold is confirmed: it would meet the fence.
    fn comes_late(&self, statement: &Statement<'_>, hold: &Hold) -> bool {
        match self.touched(hold) {
            None => true,
            Some(wrote) => {
                !wrote && !statement.only_reads() && self.gateway.board.confirmed(hold.generation)
            }
        }
    }

    /// Waits for news of the board, in a queue of bounded length; `held`: the hold's generation.
    async fn park(
        &mut self,
        seen: &Arc<View>,
        held: Option<u64>,
        until: Instant,
    ) -> Result<(), Trouble> {
        let board = Arc::clone(&self.gateway.board);
        let Some(_place) = board.wait_place() else {
            if let Some(generation) = held {
                board.overflow(generation);
            }
            return Err(SqlError::held("too many statements wait for a switch of tables").into());
        };
        let mut changes = board.changes();
        if !Arc::ptr_eq(&board.view(), seen) {
            return Ok(());
        }
        // A change of the lease between its check and here is seen by the time-out.
        let wait = until.saturating_duration_since(Instant::now()).min(Duration::from_millis(200));
        let killed = self.peer.killed.clone();
        tokio::select! {
            biased;
            () = killed.cancelled() => Err(Trouble::Client(Error::stop("session was killed"))),
            _ = tokio::time::timeout(wait, changes.changed()) => Ok(()),
        }
    }

    fn pick(
        &self,
        statement: &Statement<'_>,
        view: &View,
        plan: &Plan,
        open: Option<ServerId>,
    ) -> Result<ServerId, Unpicked> {
        let router = self.router(statement, view);
        let home = || router.home_or_first().map_err(Unpicked::Refused);
        let mut candidates = match open.or(self.last) {
            _ if plan.bound => plan.servers.clone(),
            _ if statement.asks.database && open.is_none() => home()?,
            // It may begin the transaction, by a function of the session's own database.
            _ if open.is_none() && !self.transaction.pending.is_empty() && statement.may_call() => {
                home()?
            }
            Some(server) => vec![server],
            None => home()?,
        };
        if statement.verb == Verb::Prepare {
            candidates = self.statements.named(&statement.sql).map_or(candidates, |at| vec![at]);
        }
        if statement.asks.user_lock {
            let primary = self.chosen.keyspace.and_then(|k| self.gateway.servers.primary(k));
            let primary = primary.ok_or_else(|| Unpicked::Refused(SqlError::no_database()))?;
            if plan.bound && !candidates.contains(&primary) {
                let text =
                    "user locks are on the primary of the session's keyspace, the tables are not";
                return Err(Unpicked::Refused(SqlError::unsupported(text)));
            }
            candidates = vec![primary];
        }
        let of_last = statement.asks.last_statement || statement.verb == Verb::ShowWarnings;
        if let Some(last) = self.last.filter(|_| of_last) {
            if plan.bound && !candidates.contains(&last) {
                let text = "FOUND_ROWS, ROW_COUNT and warnings of another server's statement";
                return Err(Unpicked::Refused(SqlError::unsupported(text)));
            }
            candidates = vec![last];
        }
        if let Some(open) = open.filter(|_| statement.runs) {
            if candidates.contains(&open) {
                return Ok(open);
            }
            let first = self.keyspace_of(open);
            let second = plan.tables.first().map_or_else(
                || candidates.first().map_or_else(String::new, |server| self.keyspace_of(*server)),
                |table: &TableName| table.keyspace.clone(),
            );
            return Err(Unpicked::Second(SqlError::two_servers(&first, &second)));
        }
        let opened = candidates.iter().find(|server| self.backends.contains_key(server));
        let last = self.last.filter(|last| candidates.contains(last));
        let balanced = usize::try_from(self.id).unwrap_or(0) % candidates.len().max(1);
        let server = last.or(opened.copied()).or(candidates.get(balanced).copied());
        server.ok_or_else(|| Unpicked::Refused(SqlError::no_database()))
    }

    fn keyspace_of(&self, server: ServerId) -> String {
        let servers = &self.gateway.servers;
        let has = |k: &usize| servers.members(*k).iter().any(|member| member.server == server);
        let at = (0..servers.keyspaces.len()).find(has);
        at.map_or_else(String::new, |k| servers.keyspaces[k].name.clone())
    }

    async fn make_ready(
        &mut self,
        statement: &Statement<'_>,
        server: ServerId,
        plan: &Plan,
    ) -> Result<(), Trouble> {
        self.connect(server).await?;
        self.carry_settings(server).await?;
        if plan.bound || statement.asks.insert_id {
            self.carry_insert_id(server, statement.asks.insert_id).await?;
        }
        if statement.runs_programs(plan) {
            self.carry_literals(server).await?;
        }
        if statement.asks.variables {
            let names = match statement.verb {
                Verb::Set => names_at(&statement.sql, set::used(&statement.sql)),
                _ => variables_of(&statement.sql),
            };
            self.carry_variables(server, names).await?;
        }
        let view = self.gateway.board.view();
        let router = self.router(statement, &view);
        let here = router.home().contains(&server);
        // Databases that differ do not exist on each other's server.
        let own = || if here { router.own_database() } else { None };
        // One that is executed where it was prepared by text is bound to its database already.
        let elsewhere = statement.verb == Verb::Prepare && !here;
        let database = plan.database.clone().filter(|_| !elsewhere).or_else(own);
        if let Some(database) = database
            && let Some(backend) = self.backends.get_mut(&server)
        {
            backend.choose(&database).await?;
        }
        Ok(())
    }

    /// Asks the session's own server for the settings, before anything is read by them.
    pub(super) async fn ensure_settings(&mut self) -> Result<(), Trouble> {
        if self.backends.is_empty() {
            let view = self.gateway.board.view();
            let (servers, chosen) = (&self.gateway.servers, &self.chosen);
            let home = Router { servers, view: &view, chosen }.home_or_first()?;
            let balanced = usize::try_from(self.id).unwrap_or(0) % home.len().max(1);
            if let Some(server) = home.get(balanced) {
                self.connect(*server).await?;
                self.last = Some(*server);
            }
        }
        Ok(())
    }
}
