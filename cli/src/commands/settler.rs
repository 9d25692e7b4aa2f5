//! Settles switches whose coordinator is gone: finishes them, or takes them back.
//!
//! `shunt serve` does it for the keyspaces it looks after. `shunt gateway` does it too: where only a gateway is left alive, its clients
//! are not to wait for a command that nobody gives. Any number may try; the topology's locks let one of them act.

use shunt_engine::Result;
use shunt_engine::cutover::sides::Plan;
use shunt_engine::mysql::control::Control;
use shunt_engine::runtime::tasks;
use shunt_engine::sidecar::switch::{self, SwitchRow};
use shunt_engine::topology::Store;
use shunt_engine::topology::locks::Locks;
use shunt_engine::topology::sqlite::SqliteStore;
use shunt_engine::workflow::verbs;
use tokio_util::sync::CancellationToken;

use super::movetables::traffic::Ground;
use crate::config::{Config, Keyspace};

/// Settles what a keyspace's primary knows to be unsettled, of which nobody holds the locks. What cannot be settled now is tried
/// again at the next look.
///
/// # Errors
/// Of the connection.
pub(super) async fn settle(config: &Config, control: &mut Control) -> Result<()> {
    let unsettled = match switch::unsettled(control).await {
        // No switch has been asked of such an account.
        Err(error) if error.is_denied() => Vec::new(),
        other => other?,
    };
    for row in unsettled {
        let settled = Box::pin(settle_one(config, control, &row)).await;
        if let Err(error) = settled {
            tracing::warn!(workflow = %row.workflow, "a switch is not settled yet: {error}");
        }
    }
    Ok(())
}

async fn settle_one(config: &Config, control: &mut Control, row: &SwitchRow) -> Result<()> {
    let plan = Plan::parse(&row.plan)?;
    let topology = SqliteStore::open(&config.topology).await?.uuid();
    if let Err(error) = plan.spec.must_be_of(topology) {
        tracing::debug!("a switch is left to the processes of its own topology: {error}");
        return Ok(());
    }
    let ground = Ground::of(config, plan.spec).await?;
    // Who cannot reach both sides would keep the locks from others for nothing.
    for place in [&ground.sides.source, &ground.sides.target] {
        place.connect().await?.close().await;
    }
    // Its coordinator may have ended meanwhile, and the next command wants the locks.
    if switch::read(control, &row.workflow).await?.is_none_or(|row| row.settled) {
        return Ok(());
    }
    let spec = &ground.sides.spec;
    let keyspaces = [spec.source_keyspace.as_str(), spec.target_keyspace.as_str()];
    let Some(locks) = Locks::take(&ground.store, &spec.name(), &keyspaces).await? else {
        return Ok(());
    };
    let recovered = ground.recover(&locks).await;
    locks.release().await;
    recovered
}

/// Settles what there is in a keyspace until cancelled.
///
/// # Errors
/// None: what fails is logged and tried again.
pub(super) async fn watch(
    config: Config,
    keyspace: Keyspace,
    cancel: CancellationToken,
) -> Result<()> {
    let mut complaint = Complaint::of(&keyspace);
    let mut kept = None;
    loop {
        let looked = async {
            let mut control = match kept.take() {
                Some(control) => control,
                None => verbs::connect(&keyspace.primary()?.connection()?).await?,
            };
            settle(&config, &mut control).await?;
            kept = Some(control);
            Ok(())
        };
        tokio::select! {
            biased;
            // The look is dropped with its connection, which nobody uses any more.
            () = cancel.cancelled() => return Ok(()),
            looked = looked => complaint.about(looked),
        }
        if !tasks::pause(config.serve.poll(), &cancel).await {
            return Ok(());
        }
    }
}

/// Why a keyspace cannot be looked at, said when it changes.
pub(super) struct Complaint {
    keyspace: String,
    last: String,
}

impl Complaint {
    /// None yet.
    pub(super) fn of(keyspace: &Keyspace) -> Self {
        Self { keyspace: keyspace.name.clone(), last: String::new() }
    }

    /// What came of a look.
    pub(super) fn about(&mut self, looked: Result<()>) {
        let why = looked.err().map(|error| error.to_string()).unwrap_or_default();
        if why == self.last {
            return;
        }
        if why.is_empty() {
            tracing::warn!(keyspace = %self.keyspace, "the keyspace can be served again");
        } else {
            tracing::warn!(keyspace = %self.keyspace, "{why}; trying again");
        }
        self.last = why;
    }
}
