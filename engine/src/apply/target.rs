//! A connection that writes to the target under the stream's epoch: a [`Target`] for state and DDL, a [`RowTarget`] for rows.
//!
//! Every transaction starts by reading the epoch with a shared lock. A takeover raises the epoch, which waits for these
//! locks; so when it has committed, no transaction of the old owner is open, and none can commit any more. The epoch's row
//! changes at takeovers only, so the shared locks cost nothing.

use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::limits;
use crate::mysql::control::{Control, Session};
use crate::mysql::server::ServerConfig;
use crate::mysql::statements::Statements;
use crate::mysql::wire::Wire;

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
pub struct Target<C = Control> {
    connection: C,
    tenure: Tenure,
}

/// A connection over which rows are written as bytes.
pub type RowTarget = Target<Wire>;

/// Lets the session pass the fence of the side that its stream writes into. What it shows is read once, here: a pass that was
/// renewed since is that of another switch's stream.
async fn show_pass(connection: &mut impl Statements, stream: u64) -> Result<()> {
    let sql = format!(
        "SET @shunt_pass = (SELECT f.pass FROM `_shunt`.`stream` s \
         JOIN `_shunt`.`workflow` w ON w.id = s.workflow_id \
         JOIN `_shunt`.`switch` f ON f.workflow = w.name WHERE s.id = {stream})"
    );
    connection.execute(sql).await.map(drop).context("show the fence's pass")
}

impl Target {
    /// Connects for state and DDL.
    ///
    /// # Errors
    /// As [`Control::connect`].
    pub async fn connect(server: &ServerConfig, tenure: Tenure) -> Result<Self> {
        Self::ready(Control::connect(server, Session::Apply).await?, tenure).await
    }

    /// Whether a failed transaction may be tried again on the same connection: the server has rolled it back, or will
    /// when told to.
    pub fn may_try_again(error: &Error, tries: u32) -> bool {
        error.is_lock_conflict() && tries < limits::TRANSACTION_TRIES
    }
}

impl RowTarget {
    /// Connects for writing rows.
    ///
    /// # Errors
    /// As [`Wire::connect_writing`].
    pub async fn connect_writing(server: &ServerConfig, tenure: Tenure) -> Result<Self> {
        Self::ready(Wire::connect_writing(server).await?, tenure).await
    }

    /// Whether rows can be sent in bulk.
    pub fn takes_bulk(&self) -> bool {
        self.connection.takes_bulk()
    }
}

impl<C: Statements> Target<C> {
    async fn ready(mut connection: C, tenure: Tenure) -> Result<Self> {
        show_pass(&mut connection, tenure.stream).await?;
        connection.execute("SET autocommit=0").await?;
        Ok(Self { connection, tenure })
    }

    /// The connection, for what runs outside of the epoch's transactions (DDL).
    pub fn control(&mut self) -> &mut C {
        &mut self.connection
    }

    /// The server's id of the connection.
    pub fn id(&self) -> u32 {
        self.connection.id()
    }

    /// Begins a transaction: the epoch is ours, and stays so until the transaction's end.
    ///
    /// # Errors
    /// `LeaseLost` if the epoch is another one.
    pub async fn begin(&mut self) -> Result<&mut C> {
        let query = format!(
            "SELECT epoch FROM `_shunt`.`epoch` WHERE stream_id = {} LOCK IN SHARE MODE",
            self.tenure.stream
        );
        let rows = self.connection.rows(query).await.context("check the epoch")?;
        let epoch: u64 = rows.first().map(|row| row.number(0)).transpose()?.unwrap_or(0);
        if epoch != self.tenure.epoch {
            self.connection.execute("ROLLBACK").await?;
            return Err(Error::new(
                ErrorKind::LeaseLost,
                "another process has taken the stream over",
            ));
        }
        Ok(&mut self.connection)
    }

    /// Commits. A lost reply leaves the outcome open; the next attempt reads the state anew under a new epoch.
    ///
    /// # Errors
    /// Of the connection or the server.
    pub async fn commit(&mut self) -> Result<()> {
        self.connection.execute("COMMIT").await.map(drop).context("commit")
    }

    /// Rolls back after a failed statement.
    ///
    /// # Errors
    /// Of the connection.
    pub async fn rollback(&mut self) -> Result<()> {
        self.connection.execute("ROLLBACK").await.map(drop)
    }
}
