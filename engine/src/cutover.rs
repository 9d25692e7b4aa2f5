//! Cutover: which side of a move takes client writes, and how that changes without a moment in which both or, for long, none does.
//!
//! Before this stands the operator's verb (`switchtraffic`, `reversetraffic`, `complete`) or a `serve` that finds a switch without a
//! coordinator; after it the routing rules, the gateways and the reverse stream. A switch closes one side, *C*, and opens the other, *O*; the
//! first one closes the source, reversing closes the target, and so on as often as wanted.
//!
//! # What is durable, and where
//! - The **fence row** of each side ([`crate::sidecar::fence`]), which triggers on its tables read: `open`, `raised` until a time, `closed`.
//! - The **switch row** of each side ([`crate::sidecar::switch`]): generation, coordinator, what is being switched, whether it is
//!   settled. Client writes never lock it.
//! - The streams: the one into O, which is frozen, and the one into C, which is made stopped, its start fixed.
//! - Rules and announcement in the topology. They are derived from the above.
//!
//! # One side is open at any moment
//! O is `closed` from before the switch until step 7. C's row goes `open` → `raised` → `closed` or back to `open`. O is opened by one
//! statement after, and only after, C's row says `closed` with this generation; nothing leads C back from `closed` but a later
//! switch that closes O first. So there is no moment when both are open.
//!
//! Raising waits for every transaction that has written a moved table (each holds the row shared until it ends), and the fence was
//! armed when no transaction was open that had used the tables. So when the UPDATE returns, every acknowledged write is in C's binlog,
//! and P, read afterwards, contains it. The forward stream applies P and is frozen: it can never bring an old value back over a
//! new one. The reverse stream begins at a position of O that was read after the freeze and before O opens: it contains nothing that a
//! client writes there, and lacks nothing of it.
//!
//! # Who wins after a crash
//! The point of no return is one UPDATE of C's fence row from `raised` to `closed`, under the conditions that the raise is this
//! switch's, that the coordinator is still the one in the switch row, and that the dead man's time is further away than a lock wait
//! may last. Taking back is one UPDATE of the same row from `raised` to `open`. A row lock orders them: exactly one changes the row, and the
//! other sees that it did not. Whoever comes after a dead coordinator first writes itself into C's switch row (after
//! which the dead one, should it wake, changes nothing any more: every transaction of it checks that row in itself, every statement on
//! the fence has the state as its condition, a trigger is removed by name, which carries the generation, and writing the rules needs
//! the lock's token; a transaction that it left open is ended with its connection), then tries to take back, then reads the row:
//! `closed` with this generation means forward, by the same idempotent steps; else all is taken back. O's row being `open` with this
//! generation means forward as well: C may be a replica by now that was promoted and lacks the decision (`promoted`). C must be reachable for that;
//! until it is, nobody needs to decide, since what a dead server has not opened or closed nobody writes.
//!
//! If nobody comes, a raised fence is open again after its time: the source serves as before. A stale `raised` row is lowered by whoever
//! comes later.
//!
//! Taking back, in this order: lower C (from here on the point of no return cannot pass; not where the coordinator itself knows that it never raised it,
//! since that would wait for the very transactions that did not let it), set the frozen stream free under a new epoch
//! (a freeze that is still under way then fails at its epoch), forget the reverse stream, release the gateways, settle.

pub mod back;
pub mod complete;
pub mod coordinator;
pub mod gateways;
pub mod hooks;
pub mod leak;
pub mod lost;
pub mod namesake;
mod pause;
pub mod preflight;
pub mod promoted;
pub mod reads;
pub mod settle;
pub mod sides;
pub mod survey;
pub mod traffic;
pub mod triggers;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::hooks::Hooks;
use crate::error::{Error, Result};

/// How a switch is to be done.
#[derive(Clone, Debug)]
pub struct Options {
    /// From the hold to the release at most; after it everything is taken back.
    pub max_pause: Duration,
    /// How long preparing may take: catching up, arming.
    pub timeout: Duration,
    /// How far behind the stream may be when the pause begins.
    pub lag_max: Duration,
    /// Whether what is written on the opened side is replicated back.
    pub reverse_replication: bool,
    /// Whether registered gateways are waited for.
    pub gateways: bool,
    /// Measure, and take back.
    pub rehearsal: bool,
    /// What stops the writes.
    pub fence: Fence,
    /// Go on without a worker for the reverse stream, and without readers that are gone or too far behind. The fence and the drain
    /// are never skipped.
    pub force: bool,
    /// The operator's command.
    pub hooks: Arc<Hooks>,
}

impl Options {
    /// Refuses what cannot be done, whatever the servers say: before anything is switched, reads too.
    ///
    /// # Errors
    /// Usage.
    pub fn check(&self) -> Result<()> {
        if self.fence == Fence::External && !self.hooks.is_set() {
            return Err(Error::usage("--fence external needs a command that stops the writes")
                .advice("Say which in [hooks]; it is run `before` the step `pause`."));
        }
        Ok(())
    }
}

/// What stops the writes of a side that closes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fence {
    /// Triggers that read the fence's row ([`triggers`]).
    #[default]
    Row,
    /// The operator's command, which must have stopped them when it has ended well at the pause. No trigger is put on any table. What
    /// is left of open transactions is waited for under locks, and what is written all the same is a leak.
    External,
}

/// How a switch ended.
#[derive(Debug)]
pub enum Outcome {
    /// The other side takes the writes.
    Switched {
        /// The generation.
        generation: u64,
        /// From the raise of the fence to the opening of the other side.
        pause: Duration,
    },
    /// Everything is as before.
    TakenBack {
        /// Why.
        why: Error,
        /// For how long writes were refused or held up.
        pause: Option<Duration>,
    },
    /// A rehearsal came to its end. Everything is as before.
    Rehearsed {
        /// For how long writes were refused or held up.
        pause: Duration,
    },
    /// It is past its point of no return or cannot be seen; a `serve` finishes it or takes it back.
    Unknown(Error),
}

/// The operator's Ctrl-C.
pub(crate) fn interrupted() -> Error {
    Error::retry("interrupted")
}
