//! The whole: a source that commits, two workers, a target, and what must hold in every state.

use std::fmt;

use stateright::{Model, Property};

use crate::source::before;
use crate::target::{Target, Wrong};
use crate::worker::{Step, Worker};
use crate::{Setting, Stale};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// Transactions in the binlog.
    logged: u8,
    /// Those that a snapshot opened now shows.
    visible: u8,
    pub(crate) target: Target,
    /// The worker that took the lease last, unless it died.
    holder: Option<Worker>,
    /// The one that it took the lease from, and that does not know it yet.
    stale: Option<Worker>,
    crashes: u8,
    takeovers: u8,
    give_ups: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The source writes its next transaction into the binlog.
    Commit,
    /// A transaction becomes visible.
    Show(u8),
    /// The holder of the lease dies.
    Crash,
    /// A worker takes the lease of one that died.
    Start,
    /// A worker takes the lease of one that lives.
    TakeOver,
    /// The holder works.
    Holder(Step),
    /// The one that lost the lease works on.
    Stale(Step),
}

impl fmt::Display for Action {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commit => out.write_str("commit"),
            Self::Show(number) => write!(out, "show {}", number + 1),
            Self::Crash => out.write_str("CRASH"),
            Self::Start => out.write_str("start"),
            Self::TakeOver => out.write_str("TAKEOVER"),
            Self::Holder(step) => write!(out, "{step}"),
            Self::Stale(step) => write!(out, "stale {step}"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read => out.write_str("read"),
            Self::Open => out.write_str("open"),
            Self::Snapshot(at) => write!(out, "snapshot/{at}"),
            Self::GiveUp(at) => write!(out, "give up/{at}"),
            Self::Close(at) => write!(out, "close/{at}"),
            Self::Chunk(at) => write!(out, "chunk/{at}"),
            Self::Group(0) => out.write_str("part"),
            Self::Group(count) => write!(out, "group of {count}"),
            Self::Build => out.write_str("build"),
            Self::Record => out.write_str("record"),
        }
    }
}

impl State {
    fn new(logged: u8) -> Self {
        let mut target = Target::new(logged);
        target.epoch = 1;
        Self {
            logged,
            visible: 0,
            target,
            holder: None,
            stale: None,
            crashes: 0,
            takeovers: 0,
            give_ups: 0,
        }
    }

    /// A worker takes the lease: under a new epoch, and only then it reads what the target holds.
    fn take(&mut self, setting: &Setting) {
        self.target.epoch += 1;
        self.holder = Some(Worker::start(setting, &self.target));
    }

    fn work(&mut self, setting: &Setting, stale: bool, step: Step) {
        self.give_ups += u8::from(matches!(step, Step::GiveUp(_)));
        let worker = if stale { &mut self.stale } else { &mut self.holder };
        let source = (self.logged, self.visible);
        let worked =
            worker.as_mut().expect("it works").step(setting, step, source, &mut self.target);
        if worked.is_err() {
            *worker = None;
        }
    }

    /// Everything is done.
    fn is_end(&self, setting: &Setting) -> bool {
        self.logged == setting.source.len()
            && self.holder.as_ref().is_some_and(|worker| worker.has_finished(setting))
    }
}

impl Setting {
    fn steps(&self, state: &State, stale: bool, actions: &mut Vec<Action>) {
        let worker = if stale { &state.stale } else { &state.holder };
        let Some(worker) = worker else { return };
        let mut steps = Vec::new();
        worker.steps(self, state.logged, state.visible, &mut steps);
        if state.give_ups < self.give_ups {
            for (at, reading) in worker.readings.iter().enumerate() {
                if worker.ranges.is_open(reading.id) {
                    steps.push(Step::GiveUp(at));
                }
            }
        }
        if stale && self.stale == Stale::Any {
            steps = vec![Step::Group(1)];
        } else if stale && self.stale == Stale::Work {
            steps.retain(|step| step.commits());
        }
        actions.extend(steps.into_iter().map(if stale { Action::Stale } else { Action::Holder }));
    }
}

impl Model for Setting {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let start = |logged: &u8| {
            let mut state = State::new(*logged);
            state.take(self);
            state
        };
        self.begin.iter().map(start).collect()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.target.wrong.is_some() {
            return;
        }
        if state.logged < self.source.len() {
            actions.push(Action::Commit);
        }
        // What is copied is read no more.
        if !state.target.is_copied() {
            let may_show = |number: &u8| self.source.may_show(*number, state.visible);
            actions.extend((0..state.logged).filter(may_show).map(Action::Show));
        }
        if state.holder.is_none() {
            actions.push(Action::Start);
        } else {
            if state.crashes < self.crashes {
                actions.push(Action::Crash);
            }
            if state.takeovers < self.takeovers && state.stale.is_none() {
                actions.push(Action::TakeOver);
            }
        }
        self.steps(state, false, actions);
        self.steps(state, true, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut state = state.clone();
        match action {
            Action::Commit => state.logged += 1,
            Action::Show(number) => state.visible |= 1 << number,
            Action::Crash => {
                state.crashes += 1;
                state.holder = None;
            }
            Action::Start => state.take(self),
            Action::TakeOver => {
                state.takeovers += 1;
                state.stale = state.holder.take();
                if self.stale == Stale::Any {
                    state.stale = state.stale.map(|worker| Worker::forgotten(worker.epoch));
                }
                state.take(self);
            }
            Action::Holder(step) => state.work(self, false, step),
            Action::Stale(step) => state.work(self, true, step),
        }
        // A paused worker that has nothing to commit is none.
        if self.stale == Stale::Work
            && state.stale.as_ref().is_some_and(|worker| !worker.has_work())
        {
            state.stale = None;
        }
        if state.target.is_copied() {
            state.visible = before(state.logged);
        }
        Some(state)
    }

    fn format_action(&self, action: &Action) -> String {
        action.to_string()
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("the end is equal", |setting: &Self, state: &State| {
                let source = setting.source.at(setting.source.len());
                !state.is_end(setting) || state.target.rows == *source
            }),
            Property::always(
                "settled is equal at the position",
                |setting: &Self, state: &State| {
                    let target = &state.target;
                    let exact = target.is_settled() && !target.ahead;
                    !exact || target.rows == *setting.source.at(target.position)
                },
            ),
            Property::always("no duplicate meets the key being built", |_, state: &State| {
                state.target.wrong != Some(Wrong::Duplicate)
            }),
            Property::always("no row of another key is destroyed", |_, state: &State| {
                state.target.wrong != Some(Wrong::Destroyed)
            }),
            Property::always("no row of a chunk is there before", |_, state: &State| {
                state.target.wrong != Some(Wrong::Met)
            }),
            Property::always("nothing is stuck", |setting: &Self, state: &State| {
                let mut actions = Vec::new();
                setting.actions(state, &mut actions);
                !actions.is_empty() || state.target.wrong.is_some() || state.is_end(setting)
            }),
            Property::sometimes("the end is reached", |setting: &Self, state: &State| {
                state.is_end(setting)
                    && state.crashes == setting.crashes
                    && state.takeovers == setting.takeovers
                    && state.give_ups == setting.give_ups
            }),
        ]
    }
}
