//! Named points before and after every durable step, where the fault tests kill, freeze or blind the process.
//!
//! With the cargo feature `failpoints`, `SHUNT_FAILPOINT=name:action[:n]` takes effect at the n-th (default first)
//! passing of that point. Actions: `exit` (the process ends at once, as after `kill -9`), `stop` (SIGSTOP),
//! `lose-reply` (the caller sees a lost connection although the step was done), `on` (for points that switch something
//! off, such as the bracket). Without the feature all of this is empty.

#[cfg(not(feature = "failpoints"))]
use crate::error::Result;

/// The position of a new stream is written, not committed.
pub const START_BEFORE_POSITION: &str = "start.before-position";
/// The position of a new stream has been saved.
pub const START_AFTER_POSITION: &str = "start.after-position";
/// The workflow is about to be written to the sidecar.
pub const CREATE_BEFORE_WORKFLOW: &str = "create.before-workflow";
/// The workflow is in the sidecar; no target table exists yet.
pub const CREATE_AFTER_WORKFLOW: &str = "create.after-workflow";
/// A target table is about to be created.
pub const CREATE_BEFORE_TABLE: &str = "create.before-table";
/// A target table has been created.
pub const CREATE_AFTER_TABLE: &str = "create.after-table";
/// A lease is about to be taken (nothing changed yet).
pub const LEASE_BEFORE_TAKE: &str = "lease.before-take";
/// A lease has been taken, with a new epoch.
pub const LEASE_AFTER_TAKE: &str = "lease.after-take";
/// A chunk's rows and record are written, not committed.
pub const CHUNK_BEFORE_COMMIT: &str = "chunk.before-commit";
/// A chunk has committed.
pub const CHUNK_AFTER_COMMIT: &str = "chunk.after-commit";
/// A group's rows and position are written, not committed.
pub const GROUP_BEFORE_COMMIT: &str = "group.before-commit";
/// A group has committed.
pub const GROUP_AFTER_COMMIT: &str = "group.after-commit";
/// A part of a large transaction is written, not committed.
pub const PART_BEFORE_COMMIT: &str = "part.before-commit";
/// A part of a large transaction has committed.
pub const PART_AFTER_COMMIT: &str = "part.after-commit";
/// The deferred keys of a table are about to be built.
pub const KEYS_BEFORE_ALTER: &str = "keys.before-alter";
/// The deferred keys of a table are built, the sidecar does not know it yet.
pub const KEYS_AFTER_ALTER: &str = "keys.after-alter";
/// The sidecar knows that the keys of a table are built.
pub const KEYS_AFTER_RECORD: &str = "keys.after-record";
/// DDL is about to be run on the target; the sidecar knows that it is begun.
pub const DDL_BEFORE_EXEC: &str = "ddl.before-exec";
/// DDL has been run on the target; the position is still before it.
pub const DDL_AFTER_EXEC: &str = "ddl.after-exec";
/// The stream's new state is written, not committed.
pub const STATE_BEFORE_WRITE: &str = "state.before-write";
/// The stream's state has changed in the sidecar.
pub const STATE_AFTER_WRITE: &str = "state.after-write";
/// Cancel is about to drop a target table.
pub const CANCEL_BEFORE_DROP: &str = "cancel.before-drop";
/// Cancel has dropped a target table.
pub const CANCEL_AFTER_DROP: &str = "cancel.after-drop";
/// Cancel is about to forget the workflow.
pub const CANCEL_BEFORE_FORGET: &str = "cancel.before-forget";
/// The switch is about to be written to both sidecars.
pub const SWITCH_BEFORE_INTENT: &str = "switch.before-intent";
/// The switch is in the sidecar of the side that closes, not in the other.
pub const SWITCH_HALF_INTENT: &str = "switch.half-intent";
/// The switch is in both sidecars.
pub const SWITCH_AFTER_INTENT: &str = "switch.after-intent";
/// Both sides are armed.
pub const SWITCH_AFTER_ARM: &str = "switch.after-arm";
/// The gateways hold.
pub const SWITCH_AFTER_HOLD: &str = "switch.after-hold";
/// A gateway has confirmed that it holds.
pub const GATEWAY_AFTER_CONFIRM: &str = "gateway.after-confirm";
/// The fence is raised.
pub const SWITCH_AFTER_RAISE: &str = "switch.after-raise";
/// The stream is frozen, not committed.
pub const FREEZE_BEFORE_COMMIT: &str = "freeze.before-commit";
/// The stream is frozen.
pub const FREEZE_AFTER_COMMIT: &str = "freeze.after-commit";
/// The reverse stream is written, not committed.
pub const SWITCH_BEFORE_REVERSE: &str = "switch.before-reverse";
/// The reverse stream is there, stopped.
pub const SWITCH_AFTER_REVERSE: &str = "switch.after-reverse";
/// The point of no return is next.
pub const SWITCH_BEFORE_NO_RETURN: &str = "switch.before-no-return";
/// The point of no return is passed.
pub const SWITCH_AFTER_NO_RETURN: &str = "switch.after-no-return";
/// The other side is open.
pub const SWITCH_AFTER_OPEN: &str = "switch.after-open";
/// The routing rules are led along.
pub const SWITCH_AFTER_RULES: &str = "switch.after-rules";
/// The gateways are released.
pub const SWITCH_AFTER_RELEASE: &str = "switch.after-release";
/// The reverse stream is started.
pub const SWITCH_AFTER_START: &str = "switch.after-start";
/// All is done but to say so.
pub const SWITCH_BEFORE_SETTLE: &str = "switch.before-settle";
/// The switch is settled on one side.
pub const SWITCH_HALF_SETTLED: &str = "switch.half-settled";
/// The rules are led to the source again; its tables are still closed.
pub const REOPEN_AFTER_RULES: &str = "reopen.after-rules";
/// Complete has frozen the reverse stream.
pub const COMPLETE_AFTER_FREEZE: &str = "complete.after-freeze";
/// Complete has renamed the tables.
pub const COMPLETE_AFTER_RENAME: &str = "complete.after-rename";
/// Complete has removed the rules.
pub const COMPLETE_AFTER_RULES: &str = "complete.after-rules";
/// Complete has forgotten the reverse workflow.
pub const COMPLETE_HALF_FORGOTTEN: &str = "complete.half-forgotten";
/// Switch: with `on`, snapshots are not checked to contain R. For the test that shows what the bracket is for.
pub const BRACKET_SKIP: &str = "bracket.skip";

/// Every step point of a move, in the order of a workflow's life. Those of a cutover have lists of their own.
pub const STEPS: &[&str] = &[
    CREATE_BEFORE_WORKFLOW,
    CREATE_AFTER_WORKFLOW,
    CREATE_BEFORE_TABLE,
    CREATE_AFTER_TABLE,
    LEASE_BEFORE_TAKE,
    LEASE_AFTER_TAKE,
    START_BEFORE_POSITION,
    START_AFTER_POSITION,
    CHUNK_BEFORE_COMMIT,
    CHUNK_AFTER_COMMIT,
    PART_BEFORE_COMMIT,
    PART_AFTER_COMMIT,
    GROUP_BEFORE_COMMIT,
    GROUP_AFTER_COMMIT,
    KEYS_BEFORE_ALTER,
    KEYS_AFTER_ALTER,
    KEYS_AFTER_RECORD,
    DDL_BEFORE_EXEC,
    DDL_AFTER_EXEC,
    STATE_BEFORE_WRITE,
    STATE_AFTER_WRITE,
    CANCEL_BEFORE_DROP,
    CANCEL_AFTER_DROP,
    CANCEL_BEFORE_FORGET,
];

/// Every step point of a switch, in its order.
pub const SWITCH_STEPS: &[&str] = &[
    SWITCH_BEFORE_INTENT,
    SWITCH_HALF_INTENT,
    SWITCH_AFTER_INTENT,
    SWITCH_AFTER_ARM,
    SWITCH_AFTER_HOLD,
    SWITCH_AFTER_RAISE,
    FREEZE_BEFORE_COMMIT,
    FREEZE_AFTER_COMMIT,
    SWITCH_BEFORE_REVERSE,
    SWITCH_AFTER_REVERSE,
    SWITCH_BEFORE_NO_RETURN,
    SWITCH_AFTER_NO_RETURN,
    SWITCH_AFTER_OPEN,
    SWITCH_AFTER_RULES,
    SWITCH_AFTER_RELEASE,
    SWITCH_AFTER_START,
    SWITCH_BEFORE_SETTLE,
    SWITCH_HALF_SETTLED,
];

/// Every step point of Complete, in its order.
pub const COMPLETE_STEPS: &[&str] =
    &[COMPLETE_AFTER_FREEZE, COMPLETE_AFTER_RENAME, COMPLETE_AFTER_RULES, COMPLETE_HALF_FORGOTTEN];

/// Passes a point.
///
/// # Errors
/// With the feature, Retry where the environment asks for a lost reply. Never without it.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn hit(_name: &'static str) -> Result<()> {
    Ok(())
}

/// Whether a switch is on.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn switched_on(_name: &'static str) -> bool {
    false
}

#[cfg(feature = "failpoints")]
pub use armed::{hit, switched_on};

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use crate::error::{Error, Result};

    /// The exit code of a process that ended at a failpoint.
    const EXIT: i32 = 86;

    struct Armed {
        name: String,
        action: String,
        countdown: AtomicU64,
    }

    fn armed() -> Option<&'static Armed> {
        static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
        ARMED
            .get_or_init(|| {
                let text = std::env::var("SHUNT_FAILPOINT").ok()?;
                let mut parts = text.split(':').map(str::to_owned);
                let (name, action) = (parts.next()?, parts.next()?);
                let countdown = parts.next().and_then(|n| n.parse().ok()).unwrap_or(1);
                Some(Armed { name, action, countdown: AtomicU64::new(countdown) })
            })
            .as_ref()
    }

    /// Passes a point: does what the environment asks for at it.
    pub fn hit(name: &'static str) -> Result<()> {
        let Some(armed) = armed().filter(|armed| armed.name == name) else { return Ok(()) };
        if armed.countdown.fetch_sub(1, Ordering::SeqCst) != 1 {
            return Ok(());
        }
        eprintln!("failpoint {name}: {}", armed.action);
        match armed.action.as_str() {
            "exit" => std::process::exit(EXIT),
            "stop" => freeze(),
            "lose-reply" => Err(Error::retry(format!("failpoint {name}: the reply is lost"))),
            other => Err(Error::usage(format!("failpoint action {other:?} is not known"))),
        }
    }

    fn freeze() -> Result<()> {
        let id = std::process::id().to_string();
        std::process::Command::new("kill").args(["-STOP", &id]).status()?;
        Ok(())
    }

    /// Whether a switch is on.
    pub fn switched_on(name: &'static str) -> bool {
        armed().is_some_and(|armed| armed.name == name && armed.action == "on")
    }
}
