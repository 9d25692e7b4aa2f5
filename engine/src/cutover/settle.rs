//! The end of a switch: finished, or taken back. Every step may be repeated, by this process or another one.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::hooks::{Facts, Hooks, Step, When};
use super::promoted;
use super::sides::{Place, Plan, REVERSE, Sides};
use super::traffic;
use super::triggers;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::failpoints;
use crate::mysql::control::Control;
use crate::mysql::deadline::{Bounded, Bounder};
use crate::sidecar::fence::{self, FenceState};
use crate::sidecar::lease::{self, Owner};
use crate::sidecar::wanted::Wanted;
use crate::sidecar::{self, stream, switch, workflow};
use crate::topology::locks::Locks;
use crate::topology::{Store, switches};
use crate::workflow::state::StreamState;

/// How long taking the fence's triggers off may take; what is left is taken off by Complete.
const DISARM_MAX: Duration = Duration::from_secs(3);
/// How long lowering is tried: writers that were refused and have not rolled back hold it up.
const LOWER_MAX: Duration = Duration::from_secs(20);
/// How long one attempt may take while the fence is up, and how long writers are left alone between two while it is not.
const LOWER_WAIT: Duration = Duration::from_millis(500);
const LOWER_AGAIN: Duration = Duration::from_millis(250);

/// Whether the fence of the side that closes may have been raised by the switch that is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raised {
    /// No: its coordinator never asked for it, or was told each time that it is not, and asks no more. So it need not be lowered, and
    /// nobody who has written is waited for; those who stood in the way of the raise would stand in the way of that too, and every
    /// writer behind it.
    Never,
    /// Perhaps: it was; or a raise whose answer was lost, or whose coordinator is gone, is still under way.
    Perhaps,
}

/// Connections to both sides of a switch.
#[derive(Debug)]
pub struct Hands {
    /// To the side that closes.
    pub closing: Bounder,
    /// To the side that opens.
    pub opening: Bounder,
}

impl Hands {
    /// Connects to both sides.
    ///
    /// # Errors
    /// As [`Control::connect`].
    pub async fn connect(sides: &Sides, plan: &Plan) -> Result<Self> {
        let closing = sides.place(plan.closing).bounder().await?;
        let opening = sides.place(plan.closing.other()).bounder().await?;
        Ok(Self { closing, opening })
    }
}

/// A switch in the hands of a coordinator.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// Both sides.
    pub sides: &'a Sides,
    /// The switch.
    pub plan: &'a Plan,
    /// The coordinator's locks.
    pub locks: &'a Locks,
    /// The topology.
    pub store: &'a dyn Store,
    /// The operator's command.
    pub hooks: &'a Hooks,
}

impl Case<'_> {
    /// The side that closes.
    pub fn closing(&self) -> &Place {
        self.sides.place(self.plan.closing)
    }

    /// The side that opens.
    pub fn opening(&self) -> &Place {
        self.sides.place(self.plan.closing.other())
    }

    /// Runs the operator's command at a step that may still be given up.
    ///
    /// # Errors
    /// As [`Hooks::must`]; LeaseLost if the switch may be another process's by now.
    pub(super) async fn ask(&self, step: Step, when: When, limit: Duration) -> Result<()> {
        self.locks.check()?;
        self.hooks.must((step, when), &Facts::of(self), limit).await
    }

    /// Runs it at a step that nothing un-does; not if the switch may be another process's by now, which tells by itself.
    async fn tell(&self, step: Step, when: When) {
        if let Err(error) = self.locks.check() {
            tracing::warn!("no hook is run {when} {step}: {error}");
            return;
        }
        self.hooks.tell((step, when), &Facts::of(self)).await;
    }

    /// Whether the point of no return is passed. The side that closes says so; if it has become another server that does not know, the other
    /// side does once it is open, which it is only behind that point.
    ///
    /// # Errors
    /// Of the connections.
    pub async fn is_decided(&self, hands: &mut Hands) -> Result<bool> {
        let closing = &mut hands.closing.control;
        let is = |row: Option<fence::FenceRow>, state| {
            row.is_some_and(|row| row.state == state && row.generation == self.plan.generation)
        };
        let row = fence::read(closing, &self.closing().incoming).await?;
        if is(row, FenceState::Closed) {
            return Ok(true);
        }
        let row = fence::read(&mut hands.opening.control, &self.opening().incoming).await?;
        let opened = is(row, FenceState::Open);
        Ok(opened && !self.was_superseded(closing, &self.closing().incoming).await?)
    }

    /// As [`finish`](Self::finish), later or by another process than the one that passed the point of no return: a side may have become
    /// another server.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub async fn finish_anew(&self, hands: &mut Hands) -> Result<()> {
        promoted::make_up(self, hands).await?;
        self.finish(hands).await
    }

    /// Everything after the point of no return. May be repeated.
    ///
    /// # Errors
    /// Of the connections and the store: whoever comes next goes on.
    pub async fn finish(&self, hands: &mut Hands) -> Result<()> {
        self.locks.check()?;
        let (name, generation) = (&self.opening().incoming, self.plan.generation);
        self.tell(Step::Decide, When::After).await;
        self.tell(Step::Open, When::Before).await;
        self.open(&mut hands.opening).await?;
        let row = fence::read(&mut hands.opening.control, name).await?;
        if !row.is_some_and(|row| row.state == FenceState::Open && row.generation >= generation) {
            return Err(Error::new(
                ErrorKind::LeaseLost,
                "the fence of the side that opens is another switch's",
            ));
        }
        failpoints::hit(failpoints::SWITCH_AFTER_OPEN)?;
        self.tell(Step::Open, When::After).await;
        self.tell(Step::Rules, When::Before).await;
        self.lead_rules().await?;
        failpoints::hit(failpoints::SWITCH_AFTER_RULES)?;
        self.tell(Step::Rules, When::After).await;
        self.tell(Step::Release, When::Before).await;
        self.release().await?;
        failpoints::hit(failpoints::SWITCH_AFTER_RELEASE)?;
        self.tell(Step::Release, When::After).await;
        self.tell(Step::Back, When::Before).await;
        if self.plan.reverse_replication {
            self.start_back(&mut hands.closing.control)
                .await
                .context("start the reverse stream")?;
        }
        failpoints::hit(failpoints::SWITCH_AFTER_START)?;
        self.tell(Step::Back, When::After).await;
        self.journal(hands, "switched").await?;
        self.disarm(&mut hands.opening, self.opening()).await;
        self.settle(hands).await
    }

    /// Opens the side, behind those who were refused there and have not rolled back: they hold its fence's row.
    async fn open(&self, bounder: &mut Bounder) -> Result<()> {
        let place = self.opening();
        let sql = fence::open_sql(&place.incoming, self.plan.generation, &self.locks.owner);
        let started = Instant::now();
        loop {
            match bounder.run(&sql, LOWER_WAIT).await.context("open the fence")? {
                Bounded::Done(_) => return Ok(()),
                Bounded::GivenUp(_) if started.elapsed() < LOWER_MAX => {
                    tokio::time::sleep(LOWER_AGAIN).await;
                }
                Bounded::GivenUp(blockers) => {
                    return Err(Error::retry(format!(
                        "the {} cannot be opened: transactions that were refused there do not roll back: {}",
                        place.side,
                        crate::mysql::deadline::list(&blockers)
                    ))
                    .advice("End them (KILL). A `shunt serve` opens it then, or the same command again."));
                }
            }
        }
    }

    async fn lead_rules(&self) -> Result<()> {
        if self.plan.routing_rules {
            let to = self.plan.closing.other();
            traffic::lead_writes(self.sides, self.store, self.locks, to).await?;
        }
        Ok(())
    }

    async fn start_back(&self, control: &mut Control) -> Result<()> {
        control.begin().await?;
        let started = self.start_back_in_transaction(control).await;
        control.end(started).await.context("start the reverse stream")
    }

    async fn start_back_in_transaction(&self, control: &mut Control) -> Result<()> {
        let name = &self.closing().incoming;
        switch::must_coordinate(control, name, self.plan.generation, &self.locks.owner).await?;
        if let Some(row) = workflow::find(control, name).await? {
            let untouched = stream::of_workflow(control, row.id)
                .await?
                .iter()
                .all(|stream| stream.state == StreamState::Stopped);
            if row.wanted == Wanted::Stop && untouched {
                workflow::set_wanted(control, row.id, Wanted::Run).await?;
            }
        }
        Ok(())
    }

    /// Everything is as it was before the switch. May be repeated, and only before the point of no return.
    ///
    /// # Errors
    /// Of the connections and the store: whoever comes next goes on. Stop if the point of no return is passed.
    pub async fn take_back(&self, hands: &mut Hands, raised: Raised) -> Result<()> {
        if raised == Raised::Perhaps {
            self.lower(&mut hands.closing).await?;
        }
        if self.is_decided(hands).await? {
            return Err(Error::stop("the switch is past its point of no return"));
        }
        self.set_free(&mut hands.opening.control).await?;
        self.forget_back(&mut hands.closing.control).await?;
        self.release().await?;
        self.journal(hands, "taken back").await?;
        // Before it is settled: nobody would run it afterwards, and whoever takes over runs it again.
        self.tell(Step::TakeBack, When::After).await;
        self.settle(hands).await?;
        // The source's writers need not pay for a switch that was given up; the target was closed before.
        self.disarm(&mut hands.closing, self.closing()).await;
        Ok(())
    }

    /// Lowers the fence behind whatever of a raise is under way: the row's lock orders them.
    async fn lower(&self, bounder: &mut Bounder) -> Result<()> {
        let name = &self.closing().incoming;
        let sql = fence::lower_sql(name, self.plan.generation);
        let started = Instant::now();
        loop {
            // While it is up writers are refused anyway. While it is not, they are not to wait behind this for long.
            let row = fence::read(&mut bounder.control, name).await?;
            let up = row.is_some_and(|row| row.state == FenceState::Raised && row.refuses);
            let (limit, again) =
                if up { (LOWER_WAIT, Duration::ZERO) } else { (triggers::WAIT_MAX, LOWER_AGAIN) };
            match bounder.run(&sql, limit).await.context("lower the fence")? {
                Bounded::Done(_) => return Ok(()),
                Bounded::GivenUp(_) if started.elapsed() < LOWER_MAX => {
                    tokio::time::sleep(again).await;
                }
                Bounded::GivenUp(blockers) => {
                    return Err(Error::retry(format!(
                        "the fence cannot be lowered: {}; it opens by itself",
                        crate::mysql::deadline::list(&blockers)
                    )));
                }
            }
        }
    }

    /// The stream into the side that stays closed goes on, under a new epoch.
    ///
    /// In one transaction with the check that this switch is still ours: a coordinator that was asleep must not free a stream that
    /// a later switch has frozen.
    async fn set_free(&self, control: &mut Control) -> Result<()> {
        control.begin().await?;
        let freed = self.set_free_in_transaction(control).await;
        control.end(freed).await.context("set the stream free")
    }

    async fn set_free_in_transaction(&self, control: &mut Control) -> Result<()> {
        let (name, owner) = (&self.opening().incoming, &self.locks.owner);
        if self.was_superseded(control, name).await? {
            return Ok(());
        }
        if !switch::is_begun(control, name, self.plan.generation, owner).await? {
            return Ok(());
        }
        let row = fence::read(control, name).await?;
        let opened = |row: fence::FenceRow| {
            row.state == FenceState::Open && row.generation == self.plan.generation
        };
        if row.is_some_and(opened) {
            // This switch had opened it, and then the other side was opened past it: what was written here is nowhere else.
            return Ok(());
        }
        let Some(row) = workflow::find(control, name).await? else { return Ok(()) };
        for found in stream::of_workflow(control, row.id).await? {
            let owner = Owner::new();
            let tenure = lease::seize_in_transaction(control, found.id, &owner).await?;
            let now = stream::of_workflow(control, row.id).await?;
            if now.iter().any(|s| s.id == found.id && s.state == StreamState::Frozen) {
                stream::set_state(control, found.id, StreamState::CatchUp, "").await?;
            }
            lease::release(control, tenure, &owner).await?;
        }
        Ok(())
    }

    /// Whether a side was opened again past a target that was lost ([`lost`](super::lost)): its row has a generation of no switch's
    /// plan. Nothing of this switch is to be taken back there.
    async fn was_superseded(&self, control: &mut Control, name: &str) -> Result<bool> {
        let Some(row) = switch::read(control, name).await? else { return Ok(false) };
        let newer = row.settled && row.generation > self.plan.generation;
        Ok(newer && Plan::parse(&row.plan)?.generation < row.generation)
    }

    /// The reverse stream, if this switch has made one, is forgotten; in one transaction with the check that the switch is ours.
    async fn forget_back(&self, control: &mut Control) -> Result<()> {
        control.begin().await?;
        let forgotten = self.forget_back_in_transaction(control).await;
        control.end(forgotten).await.context("forget the reverse stream")
    }

    async fn forget_back_in_transaction(&self, control: &mut Control) -> Result<()> {
        let (name, owner) = (&self.closing().incoming, &self.locks.owner);
        if self.was_superseded(control, name).await? {
            return Ok(());
        }
        if !switch::is_begun(control, name, self.plan.generation, owner).await? {
            return Ok(());
        }
        let Some(row) = workflow::find(control, name).await? else { return Ok(()) };
        for found in stream::of_workflow(control, row.id).await? {
            if row.wanted == Wanted::Run || found.state != StreamState::Stopped {
                continue;
            }
            if name.ends_with(REVERSE) {
                workflow::forget_in_transaction(control, row.id).await?;
            } else {
                stream::set_state(control, found.id, StreamState::Frozen, "").await?;
            }
        }
        Ok(())
    }

    async fn release(&self) -> Result<()> {
        let (name, token) = (self.sides.spec.name(), self.locks.workflow.token);
        switches::remove(self.store, &name, token).await
    }

    async fn journal(&self, hands: &mut Hands, what: &str) -> Result<()> {
        let detail = self.plan.to_text()?;
        let name = self.sides.spec.name();
        workflow::journal(&mut hands.closing.control, &name, what, &detail).await?;
        workflow::journal(&mut hands.opening.control, &name, what, &detail).await
    }

    async fn settle(&self, hands: &mut Hands) -> Result<()> {
        failpoints::hit(failpoints::SWITCH_BEFORE_SETTLE)?;
        let (generation, owner) = (self.plan.generation, &self.locks.owner);
        let opening = &self.opening().incoming;
        switch::settle(&mut hands.opening.control, opening, generation, owner).await?;
        failpoints::hit(failpoints::SWITCH_HALF_SETTLED)?;
        let closing = &self.closing().incoming;
        switch::settle(&mut hands.closing.control, closing, generation, owner).await
    }

    /// Triggers of an open fence harm nobody but cost time; that they stay is no failure. Those of a later switch are left: this
    /// coordinator may have slept, and they are in force.
    async fn disarm(&self, bounder: &mut Bounder, place: &Place) {
        let until = Instant::now() + DISARM_MAX;
        let never = CancellationToken::new();
        let up_to = self.plan.generation;
        if let Err(error) = triggers::disarm(bounder, place, up_to, until, &never).await {
            tracing::warn!("triggers of the fence stay on tables of {}: {error}", place.keyspace);
        }
    }

    /// Nobody begins a switch before the last one is settled on both sides. Where a side knows a later one all the same, the other is a server
    /// from before it: a primary of old that is back under its address. What it says is of another time.
    async fn must_be_the_last(&self, control: &mut Control, place: &Place) -> Result<()> {
        let row = switch::read(control, &place.incoming).await?;
        let later = row.map(|row| row.generation).filter(|last| *last > self.plan.generation);
        let Some(later) = later else { return Ok(()) };
        if self.was_superseded(control, &place.incoming).await? {
            return Ok(());
        }
        let (side, address) = (place.side, &place.server.address);
        let other = self.sides.place(side.other());
        Err(Error::stop(format!(
            "switch {} is not settled on the {} at {}, but the {side} at {address} knows a later one, {later}",
            self.plan.generation, other.side, other.server.address
        ))
        .advice("One of them is a server from before a failover: correct its address in the configuration."))
    }

    /// Takes a switch over whose coordinator is gone, and finishes it or takes it back. `true` if it is finished.
    ///
    /// # Errors
    /// Of the connections and the store; to be tried again.
    pub async fn recover(&self, hands: &mut Hands) -> Result<bool> {
        let (generation, owner) = (self.plan.generation, &self.locks.owner);
        for (bounder, place) in
            [(&mut hands.closing, self.closing()), (&mut hands.opening, self.opening())]
        {
            sidecar::prepare(&mut bounder.control).await?;
            self.must_be_the_last(&mut bounder.control, place).await?;
            let row = switch::read(&mut bounder.control, &place.incoming).await?;
            if row.is_some_and(|row| row.generation == generation) {
                switch::take_over(bounder, &place.incoming, generation, owner).await?;
            }
        }
        if !self.is_decided(hands).await? {
            match self.take_back(hands, Raised::Perhaps).await {
                // The old coordinator was quicker.
                Err(_) if self.is_decided(hands).await? => {}
                other => return other.map(|()| false),
            }
        }
        self.finish_anew(hands).await.map(|()| true)
    }
}
