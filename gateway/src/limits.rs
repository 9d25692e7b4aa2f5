//! Every bound and default of the gateway, each with its reason.

use std::time::Duration;

/// A client has this long to log in.
pub(crate) const LOGIN_MAX: Duration = Duration::from_secs(10);
/// How long a gateway that is to end waits for its clients' statements and transactions.
pub(crate) const DRAIN_MAX: Duration = Duration::from_secs(10);
/// How often it looks whether they have ended.
pub(crate) const DRAIN_LOOK: Duration = Duration::from_millis(20);
/// Read buffer of a client's connection: statements are short.
pub(crate) const CLIENT_BUFFER: usize = 16 << 10;
/// Read buffer of a server's connection: many rows come with one read.
pub(crate) const BACKEND_BUFFER: usize = 64 << 10;
/// Answers are sent on when this much has been put together.
pub(crate) const ANSWER_BYTES: usize = 128 << 10;
/// Statements in one packet.
pub(crate) const STATEMENTS_MAX: usize = 1000;
/// User variables that a session may have.
pub(crate) const VARIABLES_MAX: usize = 256;
/// System variables that a session may set.
pub(crate) const SETTINGS_MAX: usize = 128;
/// Statements that wait for the first statement of their transaction.
pub(crate) const PENDING_MAX: usize = 16;
/// Prepared statements of a session.
pub(crate) const PREPARED_MAX: usize = 16_384;
/// Long data of a prepared statement that is kept until it is executed, in bytes for a session.
pub(crate) const LONG_DATA_MAX: usize = 64 << 20;
/// Lease of the gateway in the topology.
pub(crate) const LEASE: Duration = Duration::from_millis(2000);
/// How often it is renewed.
pub(crate) const LEASE_RENEW: Duration = Duration::from_millis(400);
/// How often the servers' health is looked at.
pub(crate) const HEALTH_INTERVAL: Duration = Duration::from_millis(500);
/// A server that does not answer in this time is not healthy.
pub(crate) const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a confirmation waits for transactions that have only read a held table: most go on to write it or end at once.
pub(crate) const READERS_GRACE: Duration = Duration::from_millis(25);
/// A transaction that holds up a switch for longer is named in the log: a switch gives up soon after.
pub(crate) const WRITERS_GRACE: Duration = Duration::from_millis(500);
/// A statement waits at most this long for the gateway's lease to come back, or for rules that lead it past a fence.
pub(crate) const FENCE_WAIT: Duration = Duration::from_secs(10);
/// How often a statement that met a fence looks again.
pub(crate) const FENCE_LOOK: Duration = Duration::from_millis(5);
/// How long the gateway waits at its start for the views and routines of a server.
pub(crate) const PROGRAMS_FIRST: Duration = Duration::from_secs(3);
/// How often they are looked for where they could not be read yet.
pub(crate) const PROGRAMS_AGAIN: Duration = Duration::from_millis(500);
/// How often they are read again while there are rules: so long a view that was made on a server directly may be unknown.
pub(crate) const PROGRAMS_INTERVAL: Duration = Duration::from_secs(10);
/// How long reading them may take: a server opens every table for it.
pub(crate) const PROGRAMS_TIMEOUT: Duration = Duration::from_secs(20);
