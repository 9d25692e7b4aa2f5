//! A connection that writes to the target under the stream's epoch.
//!
//! Every transaction starts by reading the epoch with a shared lock. A takeover raises the epoch, which waits for these
//! locks; so when it has committed, no transaction of the old owner is open, and none can commit any more. The epoch's row
//! changes at takeovers only, so the shared locks cost nothing.

use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::limits;
use crate::mysql::control::{Control, Session};
use crate::mysql::server::ServerConfig;

/// Names the stream and the epoch under which this process owns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenure {
    /// The stream's id in the sidecar.
    pub stream: u64,
    /// The epoch of this ownership.
    pub epoch: u64,
}

/// A writing connection, outside of a transaction between calls.
#[derive(Debug)]
pub struct Target {
    control: Control,
    tenure: Tenure,
}

/// Lets the session pass the fence of the side that its stream writes into. What it shows is read once, here: a pass that was
/// renewed since is that of another switch's stream.
async fn show_pass(control: &mut Control, stream: u64) -> Result<()> {
    let sql = format!(
        "SET @shunt_pass = (SELECT f.pass FROM `_shunt`.`stream` s \
         JOIN `_shunt`.`workflow` w ON w.id = s.workflow_id \
         JOIN `_shunt`.`switch` f ON f.workflow = w.name WHERE s.id = {stream})"
    );
    control.execute(sql).await.map(drop).context("show the fence's pass")
}

impl Target {
    /// Connects for writing.
    ///
    /// # Errors
    /// As [`Control::connect`].
    pub async fn connect(server: &ServerConfig, tenure: Tenure) -> Result<Self> {
        let mut control = Control::connect(server, Session::Apply).await?;
        show_pass(&mut control, tenure.stream).await?;
        control.execute("SET autocommit=0").await?;
        Ok(Self { control, tenure })
    }

    /// The connection, for what runs outside of the epoch's transactions (DDL).
    pub fn control(&mut self) -> &mut Control {
        &mut self.control
    }

    /// The server's id of the connection.
    pub fn id(&self) -> u32 {
        self.control.id()
    }

    /// Begins a transaction: the epoch is ours, and stays so until the transaction's end.
    ///
    /// # Errors
    /// `LeaseLost` if the epoch is another one.
    pub async fn begin(&mut self) -> Result<&mut Control> {
        let query = format!(
            "SELECT epoch FROM `_shunt`.`epoch` WHERE stream_id = {} LOCK IN SHARE MODE",
            self.tenure.stream
        );
        let row = self.control.row(query).await.context("check the epoch")?;
        let epoch: u64 = row.map(|row| row.number(0)).transpose()?.unwrap_or(0);
        if epoch != self.tenure.epoch {
            self.control.execute("ROLLBACK").await?;
            return Err(Error::new(
                ErrorKind::LeaseLost,
                "another process has taken the stream over",
            ));
        }
        Ok(&mut self.control)
    }

    /// Commits. A lost reply leaves the outcome open; the next attempt reads the state anew under a new epoch.
    ///
    /// # Errors
    /// Of the connection or the server.
    pub async fn commit(&mut self) -> Result<()> {
        self.control.execute("COMMIT").await.map(drop).context("commit")
    }

    /// Rolls back after a failed statement.
    ///
    /// # Errors
    /// Of the connection.
    pub async fn rollback(&mut self) -> Result<()> {
        self.control.execute("ROLLBACK").await.map(drop)
    }

    /// Whether a failed transaction may be tried again on the same connection: the server has rolled it back, or will
    /// when told to.
    pub fn may_try_again(error: &Error, tries: u32) -> bool {
        matches!(error.server_code(), Some(1205 | 1213)) && tries < limits::TRANSACTION_TRIES
    }
}
