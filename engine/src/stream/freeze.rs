//! The end of a stream at a cutover: it has applied a position, and never applies anything again.
//!
//! The owner is asked to freeze at a position P by the cutover in the same process. When P is applied and no group is under way, one
//! transaction on the target checks that the position in the sidecar is the one this owner saved last, makes the stream Frozen and
//! raises its epoch. So Frozen means: everything up to P is applied, and nothing of any owner of this epoch or an earlier one can
//! commit any more (`apply::target` checks the epoch in every transaction, and this one waited for those that hold it shared).
//! That the group which reached P committed just before, in a transaction of its own, makes no difference: a crash between the
//! two leaves a stream that is not frozen, and the switch is taken back.

use tokio::sync::watch;

use super::Ended;
use super::owner::Owned;
use crate::error::{Error, Result, ResultExt};
use crate::failpoints;
use crate::mysql::gtid::GtidSet;
use crate::mysql::sql;
use crate::workflow::state::StreamState;

/// Asks a stream of this process to freeze.
#[derive(Debug)]
pub struct Request(watch::Sender<Option<GtidSet>>);

/// The stream's end of it.
#[derive(Clone, Debug)]
pub struct Wanted(watch::Receiver<Option<GtidSet>>);

/// A way to ask a stream to freeze; nothing is asked yet.
pub fn request() -> (Request, Wanted) {
    let (sender, receiver) = watch::channel(None);
    (Request(sender), Wanted(receiver))
}

impl Request {
    /// Asks it to freeze as soon as it has applied this position.
    pub fn at(&self, position: GtidSet) {
        self.0.send_replace(Some(position));
    }
}

impl Wanted {
    /// Waits until something is asked; an error if nobody can ask any more. Cancel-safe.
    pub(super) async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        self.0.changed().await
    }
}

impl Owned {
    /// The position that is to be the last one.
    pub(super) fn freeze_at(&self) -> Option<GtidSet> {
        self.freeze.0.borrow().clone()
    }

    /// Whether that position is applied.
    pub(super) fn is_to_freeze(&self) -> bool {
        let applied = &self.positions.applied.gtids;
        self.state == StreamState::Running
            && !self.flow.ahead
            && self.freeze_at().is_some_and(|position| applied.contains_set(&position))
    }

    pub(super) async fn freeze_now(&mut self) -> Result<Ended> {
        let (stream, pos) = (self.tenure.stream, self.positions.applied.gtids.to_string());
        let control = self.steward.begin().await?;
        let sql = format!(
            "UPDATE `_shunt`.`stream` SET state = '{}', message = '', updated_s = UNIX_TIMESTAMP() \
             WHERE id = {stream} AND state = '{}' AND pos = {}",
            StreamState::Frozen,
            StreamState::Running,
            sql::literal(&pos)
        );
        if control.execute(sql).await.context("freeze the stream")?.affected != 1 {
            return Err(Error::retry("the stream in the sidecar is not as this process left it"));
        }
        control
            .execute(format!(
                "UPDATE `_shunt`.`epoch` SET epoch = epoch + 1 WHERE stream_id = {stream}"
            ))
            .await
            .context("freeze the stream")?;
        failpoints::hit(failpoints::FREEZE_BEFORE_COMMIT)?;
        self.steward.commit().await.context("freeze the stream")?;
        failpoints::hit(failpoints::FREEZE_AFTER_COMMIT)?;
        self.state = StreamState::Frozen;
        Ok(Ended::Frozen)
    }
}
