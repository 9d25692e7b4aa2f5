//! A switch of the writes, step by step. What each step is for stands in [`super`]; the pause itself is in `pause`.
//!
//! Nothing of the preparation holds a client up for longer than a short lock wait; the stream is taken over by this process,
//! so that it can be frozen without asking another one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::leak::LeakWatch;
use super::pause::{self, Paused, Ready};
use super::settle::{Case, Hands, Raised};
use super::sides::{Plan, Sides};
use super::{Fence, Options, Outcome, gateways, interrupted, namesake, preflight, triggers};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::failpoints;
use crate::mysql::control::Control;
use crate::mysql::snapshot::current_gtids;
use crate::mysql::wire::Wire;
use crate::routing::{Side, document};
use crate::runtime::tasks::{self, Task};
use crate::sidecar::fence::{self, FenceState};
use crate::sidecar::lease::{self, Owner};
use crate::sidecar::{self, stream, switch, workflow};
use crate::stream::{self as streams, Ended, StreamConfig, freeze};
use crate::topology::Store;
use crate::topology::locks::Locks;
use crate::topology::switches::{self, Switch, SwitchState};
use crate::workflow::state::StreamState;

/// How often the stream's position is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Switches the writes to a side.
///
/// # Errors
/// Usage or Stop if it cannot be begun; once it is begun, the outcome says what became of it.
pub async fn switch_writes(
    sides: &Sides,
    store: &Arc<dyn Store>,
    locks: &Locks,
    to: Side,
    options: &Options,
    cancel: &CancellationToken,
) -> Result<Outcome> {
    let plan = begin(sides, store.as_ref(), to, options).await?;
    let hooks = options.hooks.as_ref();
    let case = Case { sides, plan: &plan, locks, store: store.as_ref(), hooks };
    let mut hands = Hands::connect(sides, &plan).await?;
    let (closing, opening) = (case.closing(), case.opening());
    let look = preflight::Look { closing, opening, store: case.store, options };
    preflight::check(look, &mut hands.closing.control, &mut hands.opening.control).await?;
    let done = match write_intent(&case, &mut hands).await {
        Ok(()) => attempt(&case, &mut hands, options, cancel).await,
        Err(error) => Err(error),
    };
    let (why, pause, raised) = match done {
        Ok(Paused::Decided { raised }) => {
            // From here on only forward.
            return Ok(match case.finish(&mut hands).await {
                Ok(()) => Outcome::Switched { generation: plan.generation, pause: raised },
                Err(error) => Outcome::Unknown(
                    error.context("the switch is past its point of no return, and not finished"),
                ),
            });
        }
        Ok(Paused::Rehearsed { pause }) => {
            let why = Error::retry("it was a rehearsal");
            return Ok(match back(&case, why, Some(pause), Raised::Perhaps).await {
                Outcome::TakenBack { .. } => Outcome::Rehearsed { pause },
                other => other,
            });
        }
        Ok(Paused::Given { why, pause, raised }) => (why, pause, raised),
        // From before the pause.
        Err(why) => (why, None, Raised::Never),
    };
    Ok(back(&case, why, pause, raised).await)
}

/// Takes back, over new connections: those at hand may be broken.
async fn back(case: &Case<'_>, why: Error, pause: Option<Duration>, raised: Raised) -> Outcome {
    let taken = async {
        let mut hands = Hands::connect(case.sides, case.plan).await?;
        match case.take_back(&mut hands, raised).await {
            // The reply to the point of no return was lost, or it passed while this was about to take back.
            Err(_) if case.is_decided(&mut hands).await? => {
                case.finish_anew(&mut hands).await?;
                Ok::<bool, Error>(true)
            }
            other => other.map(|()| false),
        }
    };
    match Box::pin(taken).await {
        Ok(true) => {
            Outcome::Switched { generation: case.plan.generation, pause: pause.unwrap_or_default() }
        }
        Ok(false) => Outcome::TakenBack { why, pause },
        Err(error) if [why.kind(), error.kind()].contains(&ErrorKind::LeaseLost) => {
            tracing::warn!("{error}");
            Outcome::Unknown(why.context("another process settles the switch"))
        }
        Err(error) => Outcome::Unknown(
            error.context(format_args!("the switch failed ({why}) and is not taken back yet")),
        ),
    }
}

/// Step 0 and 1 as far as nothing is changed but that both sides have their rows: what the switch is.
async fn begin(sides: &Sides, store: &dyn Store, to: Side, options: &Options) -> Result<Plan> {
    let (closing, opening) = (sides.place(to.other()), sides.place(to));
    let mut source = sides.source.connect().await?;
    namesake::must_be_none(&mut source, &sides.spec).await?;
    source.close().await;
    let mut above = 0;
    for (place, state) in [(closing, FenceState::Open), (opening, FenceState::Closed)] {
        let mut control = place.connect().await?;
        sidecar::prepare(&mut control).await?;
        fence::insert_missing(&mut control, &place.incoming, state).await?;
        switch::insert_missing(&mut control, &place.incoming).await?;
        let row = fence::read(&mut control, &place.incoming).await?;
        let row = row.ok_or_else(|| Error::stop("the fence's row is gone"))?;
        if row.state != state {
            return Err(Error::usage(format!(
                "the traffic of {} is at its {to} already: the fence of the {} is {}",
                sides.spec.name(),
                place.side,
                row.state
            )));
        }
        let last = switch::read(&mut control, &place.incoming).await?;
        above = above.max(row.generation).max(last.map_or(0, |last| last.generation));
        control.close().await;
    }
    let (_, rules) = document::read(store).await?;
    Ok(Plan {
        spec: sides.spec.clone(),
        generation: switches::next_generation(store, above).await?,
        closing: to.other(),
        reverse_replication: options.reverse_replication,
        routing_rules: sides.is_routed(&rules),
        rehearsal: options.rehearsal,
    })
}

/// From here on the switch is to be settled, by whomever.
async fn write_intent(case: &Case<'_>, hands: &mut Hands) -> Result<()> {
    let (text, owner) = (case.plan.to_text()?, &case.locks.owner);
    let generation = case.plan.generation;
    failpoints::hit(failpoints::SWITCH_BEFORE_INTENT)?;
    let closing = &case.closing().incoming;
    switch::begin(&mut hands.closing.control, closing, generation, owner, &text).await?;
    failpoints::hit(failpoints::SWITCH_HALF_INTENT)?;
    // One that slept here may find the switch settled on the side that it has written, and would begin it again on the other.
    case.locks.check()?;
    let opening = &case.opening().incoming;
    switch::begin(&mut hands.opening.control, opening, generation, owner, &text).await?;
    failpoints::hit(failpoints::SWITCH_AFTER_INTENT)
}

/// Prepares, and pauses as often as blockers make it necessary.
async fn attempt(
    case: &Case<'_>,
    hands: &mut Hands,
    options: &Options,
    cancel: &CancellationToken,
) -> Result<Paused> {
    let until = Instant::now() + options.timeout;
    case.locks.check()?;
    let announced = announcement(case, options);
    if options.gateways {
        gateways::announce(case.store, &announced, cancel).await?;
    }
    let stream = OwnStream::take(case, &mut hands.opening.control).await?;
    stream.until_near(case, options.lag_max, until, cancel).await?;
    let margin = preflight::AUTO_INCREMENT_MARGIN;
    pause::raise_auto_increments(hands, case, margin, (until, cancel)).await?;
    case.locks.check()?;
    if options.fence == Fence::Row {
        let generation = case.plan.generation;
        let any = (generation, triggers::Accept::Any);
        triggers::arm(&mut hands.opening, case.opening(), any, until, cancel).await?;
        let own = (generation, triggers::Accept::Own);
        triggers::arm(&mut hands.closing, case.closing(), own, until, cancel).await?;
    }
    failpoints::hit(failpoints::SWITCH_AFTER_ARM)?;
    let leak = LeakWatch::start(case.closing()).await?;
    stream.until_near(case, options.lag_max, until, cancel).await?;
    let ready = Ready { stream, leak, announced };
    let began = Instant::now();
    let paused = pause::run(case, hands, ready, options, cancel).await;
    tracing::info!(took = ?began.elapsed(), "the pause is over");
    paused
}

fn announcement(case: &Case<'_>, options: &Options) -> Switch {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Switch {
        workflow: case.sides.spec.name(),
        generation: case.plan.generation,
        token: case.locks.workflow.token,
        closing: case.closing().keyspace.clone(),
        opening: case.opening().keyspace.clone(),
        tables: case.sides.spec.tables.clone(),
        state: SwitchState::Announced,
        // Longer than the coordinator's own bound: it releases first.
        hold_ms: millis(options.max_pause) + 500,
    }
}

/// The stream into the side that opens, run by this process.
#[derive(Debug)]
pub(super) struct OwnStream {
    id: u64,
    request: freeze::Request,
    /// Until it has ended.
    task: Option<Task<Ended>>,
    cancel: CancellationToken,
}

impl OwnStream {
    async fn take(case: &Case<'_>, control: &mut Control) -> Result<Self> {
        let name = &case.opening().incoming;
        let row = workflow::find(control, name).await?;
        let row = row.ok_or_else(|| crate::workflow::status::no_workflow(name))?;
        let found = stream::of_workflow(control, row.id).await?;
        let [found] = found.as_slice() else {
            return Err(Error::stop(format!("workflow {name} has {} streams", found.len())));
        };
        let owner = Owner::new();
        lease::seize(control, found.id, &owner).await?;
        let config = StreamConfig {
            source: case.sides.reads_from(case.opening().side).clone(),
            replicas: Vec::new(),
            target: case.opening().server.clone(),
            stream: found.id,
            workflow: name.clone(),
        };
        let (request, wanted) = freeze::request();
        let cancel = CancellationToken::new();
        let run = Box::pin(streams::run_as(config, owner, wanted, cancel.clone()));
        let task = tasks::spawn("stream", run);
        Ok(Self { id: found.id, request, task: Some(task), cancel })
    }

    /// Waits until the stream is Running and what the closing side had committed was applied within `lag_max`.
    async fn until_near(
        &self,
        case: &Case<'_>,
        lag_max: Duration,
        until: Instant,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let mut control = case.opening().connect().await?;
        let mut wire = Wire::connect(&case.closing().server).await?;
        let mut goal = current_gtids(&mut wire).await?;
        let mut asked = Instant::now();
        loop {
            if self.has_ended() {
                return Err(Error::retry("the stream ended; its state says why"));
            }
            let row = self.row(&mut control, case).await?;
            let position = row.position(goal.flavor())?;
            let there = position.is_some_and(|at| at.gtids.contains_set(&goal))
                && row.state == StreamState::Running;
            // Less than a look cannot be told from nothing.
            if there && asked.elapsed() <= lag_max.max(LOOK) {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(Error::retry(format!(
                    "the stream is behind by more than {lag_max:?}, or not running: it is {}",
                    row.state
                ))
                .advice("`movetables status` shows what it waits for."));
            }
            if !tasks::pause(LOOK, cancel).await {
                return Err(interrupted());
            }
            if there {
                goal = current_gtids(&mut wire).await?;
                asked = Instant::now();
            }
        }
    }

    fn has_ended(&self) -> bool {
        self.task.as_ref().is_none_or(Task::is_finished)
    }

    async fn row(&self, control: &mut Control, case: &Case<'_>) -> Result<stream::StreamRow> {
        let missing = || Error::stop("the stream is not in the sidecar any more");
        let name = &case.opening().incoming;
        let row = workflow::find(control, name).await?.ok_or_else(missing)?;
        let rows = stream::of_workflow(control, row.id).await?;
        rows.into_iter().find(|row| row.id == self.id).ok_or_else(missing)
    }

    /// Asks it to apply up to `position` and to freeze there, and waits for its end.
    pub(super) async fn freeze(
        &mut self,
        case: &Case<'_>,
        control: &mut Control,
        position: &crate::mysql::gtid::GtidSet,
        until: Instant,
        cancel: &CancellationToken,
    ) -> Result<()> {
        self.request.at(position.clone());
        while !self.has_ended() {
            if Instant::now() >= until {
                return Err(Error::retry("the stream did not apply the last position in time"));
            }
            if !tasks::pause(Duration::from_millis(1), cancel).await {
                return Err(interrupted());
            }
        }
        let row = self.row(control, case).await?;
        let applied = row.position(position.flavor())?;
        let all = applied.is_some_and(|at| at.gtids.contains_set(position));
        if row.state == StreamState::Frozen && all {
            return Ok(());
        }
        self.cancel.cancel();
        if let Some(task) = self.task.take() {
            task.join().await.context("freeze the stream")?;
        }
        Err(Error::retry(format!("the stream ended as {} before the last position", row.state)))
    }
}
