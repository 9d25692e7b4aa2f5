//! What all sessions of this gateway agree on at one moment: the rules, which tables are held, whether its lease lives.
//!
//! A [`View`] is never changed, only replaced. A session routes by one view and, just before it sends, takes a [`Ticket`] of it,
//! which it gets only while that view is the current one. So after a view with a hold has been published and all tickets of
//! the views before are back, nothing that was routed without the hold is still to be sent. What was sent before is the
//! servers' business: a write meets the fence or is waited for by it; a read has begun before the switch.
//!
//! A ticket is taken after the server's connection is ready and given back when the statement is written, so it is short. In the
//! same step the session notes in its [`Mark`] which tables its transaction has touched, so that no transaction is overlooked
//! either.
//!
//! The lease is by a clock that counts suspend. Past it nothing of a table that rules know is sent, and, until the topology has
//! been asked again, nothing of any table: a process that slept does not know how old its rules are.

use shunt_engine::mysql::names::lowered;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use shunt_engine::routing::{RoutingRules, TableName};
use shunt_engine::runtime::clock::BootInstant;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::servers::ServerId;

/// A switch whose tables are held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) workflow: String,
    pub(crate) generation: u64,
    /// The two keyspaces.
    pub(crate) keyspaces: [String; 2],
    pub(crate) tables: Vec<String>,
    /// When it was first seen.
    pub(crate) since: Instant,
    /// When the hold ends by itself.
    pub(crate) until: Instant,
}

impl Hold {
    pub(crate) fn concerns(&self, table: &TableName) -> bool {
        self.keyspaces.contains(&table.keyspace) && self.tables.contains(&table.table)
    }
}

/// The rules and holds of one moment.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) rules: RoutingRules,
    pub(crate) holds: Vec<Hold>,
    /// Names of tables that rules or holds know, in lower case.
    known: BTreeSet<String>,
    /// Statements that are routed by this view and not sent yet.
    unsent: AtomicUsize,
}

impl View {
    pub(crate) fn new(rules: RoutingRules, holds: Vec<Hold>) -> Self {
        let mut known: BTreeSet<String> = BTreeSet::new();
        for (name, to) in rules.iter() {
            known.extend([lowered(&name.table), lowered(&to.table)]);
        }
        known.extend(holds.iter().flat_map(|hold| hold.tables.iter().map(|t| lowered(t))));
        Self { rules, holds, known, unsent: AtomicUsize::new(0) }
    }

    /// Whether rules or holds know a table of this name, in whatever keyspace.
    pub(crate) fn knows(&self, name: &str) -> bool {
        !self.known.is_empty() && self.known.contains(&lowered(name))
    }

    /// Those names, in lower case.
    pub(crate) fn known(&self) -> impl Iterator<Item = &str> {
        self.known.iter().map(String::as_str)
    }

    /// Whether no table is led anywhere.
    pub(crate) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Whether a known name cannot be compared with one that is not UTF-8.
    pub(crate) fn has_foreign_names(&self) -> bool {
        self.known.iter().any(|name| !name.is_ascii())
    }

    /// The hold of any of these tables.
    pub(crate) fn hold_of(&self, tables: &[TableName]) -> Option<&Hold> {
        self.holds.iter().find(|hold| tables.iter().any(|table| hold.concerns(table)))
    }
}

/// The right to send a statement by a view.
#[derive(Debug)]
pub(crate) struct Ticket(Arc<View>);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.unsent.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What a session's open transaction has touched.
#[derive(Debug, Default)]
pub(crate) struct Mark(Vec<Touched>);

#[derive(Debug)]
struct Touched {
    table: TableName,
    /// It was written or locked.
    wrote: bool,
}

impl Mark {
    /// Notes a statement on these tables; `wrote`: it does more than read.
    pub(crate) fn add(&mut self, tables: &[TableName], wrote: bool) {
        for table in tables {
            match self.0.iter_mut().find(|touched| touched.table == *table) {
                Some(touched) => touched.wrote |= wrote,
                None => self.0.push(Touched { table: table.clone(), wrote }),
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it has been at all of these.
    pub(crate) fn covers(&self, tables: &[TableName]) -> bool {
        tables.iter().all(|table| self.0.iter().any(|touched| touched.table == *table))
    }

    /// Whether it has been at a table of the hold, and whether it has done more than read there.
    pub(crate) fn on(&self, hold: &Hold) -> Option<bool> {
        let at = self.0.iter().filter(|touched| hold.concerns(&touched.table));
        at.map(|touched| touched.wrote).reduce(|one, other| one || other)
    }
}

/// A session, as others see it.
#[derive(Debug)]
pub(crate) struct Peer {
    user: Mutex<String>,
    pub(crate) mark: Mutex<Mark>,
    /// Its connections, for KILL.
    pub(crate) backends: Mutex<Vec<(ServerId, u32)>>,
    pub(crate) killed: CancellationToken,
}

impl Peer {
    pub(crate) fn new(user: String) -> Self {
        let (mark, backends) = (Mutex::default(), Mutex::default());
        Self { user: Mutex::new(user), mark, backends, killed: CancellationToken::new() }
    }

    /// Whose session it is.
    pub(crate) fn user(&self) -> String {
        lock(&self.user).clone()
    }

    /// It has become this user's.
    pub(crate) fn is_of(&self, user: &str) {
        user.clone_into(&mut lock(&self.user));
    }
}

/// The state of the gateway.
#[derive(Debug)]
pub(crate) struct Board {
    view: Mutex<Arc<View>>,
    /// Views that were replaced and may have tickets out.
    replaced: Mutex<Vec<Arc<View>>>,
    changes: watch::Sender<u64>,
    /// Rules were changed or a switch was announced.
    news: watch::Sender<u64>,
    lease: Mutex<BootInstant>,
    /// The topology was asked in vain since the lease ended.
    asked_in_vain: AtomicBool,
    peers: Mutex<HashMap<u32, Arc<Peer>>>,
    held: AtomicUsize,
    held_max: usize,
    /// The generation up to which holds are confirmed, or are about to be.
    confirmed: AtomicU64,
    /// The last hold in which the queue was full.
    overflowed: AtomicU64,
    /// Somebody needs news of the topology now.
    pub(crate) look: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Board {
    pub(crate) fn new(held_max: usize) -> Self {
        Self {
            view: Mutex::default(),
            replaced: Mutex::default(),
            changes: watch::Sender::new(0),
            news: watch::Sender::new(0),
            lease: Mutex::new(BootInstant::now()),
            asked_in_vain: AtomicBool::new(false),
            peers: Mutex::default(),
            held: AtomicUsize::new(0),
            held_max,
            confirmed: AtomicU64::new(0),
            overflowed: AtomicU64::new(0),
            look: Notify::new(),
        }
    }

    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&lock(&self.view))
    }

    /// News: a number that changes with every view and every lease.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// A number that changes when rules are changed and when a switch is announced.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    pub(crate) fn tell_news(&self) {
        self.news.send_modify(|count| *count += 1);
    }

    /// The right to send by this view; none if it is not the current one any more.
    pub(crate) fn ticket(&self, view: &Arc<View>) -> Option<Ticket> {
        let current = lock(&self.view);
        if !Arc::ptr_eq(&current, view) {
            return None;
        }
        view.unsent.fetch_add(1, Ordering::SeqCst);
        Some(Ticket(Arc::clone(view)))
    }

    pub(crate) fn publish(&self, view: View) {
        let old = std::mem::replace(&mut *lock(&self.view), Arc::new(view));
        // Nobody gets a ticket of it any more.
        if old.unsent.load(Ordering::SeqCst) > 0 {
            lock(&self.replaced).push(old);
        }
        self.changes.send_modify(|count| *count += 1);
    }

    /// Whether everything that was routed by an earlier view has been sent.
    pub(crate) fn all_sent(&self) -> bool {
        let mut replaced = lock(&self.replaced);
        replaced.retain(|view| view.unsent.load(Ordering::SeqCst) > 0);
        replaced.is_empty()
    }

    /// Whether a transaction has touched tables of the hold: (written or locked them or others, only read).
    pub(crate) fn transactions_on(&self, hold: &Hold) -> (bool, bool) {
        let peers = lock(&self.peers);
        let touching = peers.values().filter_map(|peer| lock(&peer.mark).on(hold));
        touching.fold((false, false), |(wrote, read), w| (wrote || w, read || !w))
    }

    /// The sessions whose transactions have written or locked tables of the hold, with their users.
    pub(crate) fn writers_on(&self, hold: &Hold) -> Vec<(u32, String)> {
        let peers = lock(&self.peers);
        let wrote = peers.iter().filter(|(_, peer)| lock(&peer.mark).on(hold) == Some(true));
        let mut writers: Vec<_> = wrote.map(|(id, peer)| (*id, peer.user())).collect();
        writers.sort_unstable();
        writers
    }

    /// The queue was full in the hold of this generation.
    pub(crate) fn overflow(&self, generation: u64) {
        self.overflowed.fetch_max(generation, Ordering::SeqCst);
        self.look.notify_one();
    }

    pub(crate) fn overflowed(&self, generation: u64) -> bool {
        self.overflowed.load(Ordering::SeqCst) >= generation
    }

    /// From now on nothing begins to write held tables up to this generation.
    pub(crate) fn confirm(&self, generation: u64) {
        self.confirmed.store(generation, Ordering::SeqCst);
    }

    /// Numbers begin anew.
    pub(crate) fn forget_confirmed(&self) {
        self.confirmed.store(0, Ordering::SeqCst);
        self.overflowed.store(0, Ordering::SeqCst);
    }

    pub(crate) fn confirmed(&self, generation: u64) -> bool {
        self.confirmed.load(Ordering::SeqCst) >= generation
    }

    pub(crate) fn renew_lease(&self, until: BootInstant) {
        *lock(&self.lease) = until;
        self.asked_in_vain.store(false, Ordering::SeqCst);
        self.changes.send_modify(|count| *count += 1);
    }

    pub(crate) fn lease_failed(&self) {
        if lock(&self.lease).is_past() {
            self.asked_in_vain.store(true, Ordering::SeqCst);
            self.changes.send_modify(|count| *count += 1);
        }
    }

    pub(crate) fn lease_lives(&self) -> bool {
        !lock(&self.lease).is_past()
    }

    /// Whether statements on tables may be sent; `known`: on tables that rules know.
    pub(crate) fn may_serve(&self, known: bool) -> bool {
        self.lease_lives() || (!known && self.asked_in_vain.load(Ordering::SeqCst))
    }

    pub(crate) fn join(&self, id: u32, peer: Arc<Peer>) {
        lock(&self.peers).insert(id, peer);
    }

    pub(crate) fn leave(&self, id: u32) {
        lock(&self.peers).remove(&id);
    }

    pub(crate) fn peer(&self, id: u32) -> Option<Arc<Peer>> {
        lock(&self.peers).get(&id).cloned()
    }

    /// A place in the queue of statements that wait, if there is one left.
    pub(crate) fn wait_place(&self) -> Option<WaitPlace<'_>> {
        if self.held.fetch_add(1, Ordering::SeqCst) >= self.held_max {
            self.held.fetch_sub(1, Ordering::SeqCst);
            return None;
        }
        Some(WaitPlace(&self.held))
    }
}

/// A place in the queue.
#[derive(Debug)]
pub(crate) struct WaitPlace<'a>(&'a AtomicUsize);

impl Drop for WaitPlace<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn table(keyspace: &str, table: &str) -> TableName {
        TableName { keyspace: keyspace.to_owned(), table: table.to_owned() }
    }

    fn hold() -> Hold {
        let now = Instant::now();
        Hold {
            workflow: "customer.w".to_owned(),
            generation: 3,
            keyspaces: ["commerce".to_owned(), "customer".to_owned()],
            tables: vec!["corder".to_owned()],
            since: now,
            until: now + Duration::from_secs(1),
        }
    }

    #[test]
    fn a_ticket_is_only_of_the_current_view_and_is_waited_for() {
        let board = Board::new(1);
        let before = board.view();
        let ticket = board.ticket(&before).unwrap();
        board.publish(View::new(RoutingRules::default(), vec![hold()]));
        assert!(board.ticket(&before).is_none());
        assert!(!board.all_sent());
        drop(ticket);
        assert!(board.all_sent());
        assert!(board.view().hold_of(&[table("customer", "corder")]).is_some());
        assert!(board.view().hold_of(&[table("billing", "corder")]).is_none());
        assert!(board.view().knows("COrder"));
    }

    /// As a server folds them: letter by letter, where a language has another letter at the end of a word.
    #[test]
    fn names_are_known_in_every_spelling_that_servers_take() {
        let hold = Hold { tables: vec!["ΟΔΟΣ".to_owned()], ..hold() };
        let view = View::new(RoutingRules::default(), vec![hold]);
        for (name, known) in [("ΟΔΟΣ", true), ("οδοσ", true), ("Οδοσ", true), ("οδος", false)]
        {
            assert_eq!(view.knows(name), known, "{name}");
        }
    }

    #[test]
    fn transactions_that_touch_a_held_table_are_seen() {
        let board = Board::new(1);
        let peer = Arc::new(Peer::new("app".to_owned()));
        board.join(7, Arc::clone(&peer));
        assert_eq!(board.transactions_on(&hold()), (false, false));
        lock(&peer.mark).add(&[table("commerce", "corder")], false);
        assert_eq!(board.transactions_on(&hold()), (false, true));
        lock(&peer.mark).add(&[table("commerce", "product")], true);
        assert_eq!(board.transactions_on(&hold()), (false, true), "another table was written");
        lock(&peer.mark).add(&[table("commerce", "corder")], true);
        assert_eq!(board.transactions_on(&hold()), (true, false));
        assert_eq!(board.writers_on(&hold()), [(7, "app".to_owned())]);
        board.leave(7);
        assert_eq!(board.transactions_on(&hold()), (false, false));
    }

    #[test]
    fn past_the_lease_nothing_known_is_served() {
        let board = Board::new(1);
        assert!(!board.may_serve(true) && !board.may_serve(false));
        board.lease_failed();
        assert!(!board.may_serve(true) && board.may_serve(false));
        board.renew_lease(BootInstant::now().after(Duration::from_secs(60)));
        assert!(board.may_serve(true) && board.may_serve(false));
    }

    #[test]
    fn the_queue_is_bounded() {
        let board = Board::new(1);
        let place = board.wait_place();
        assert!(place.is_some() && board.wait_place().is_none());
        drop(place);
        assert!(board.wait_place().is_some());
    }
}
