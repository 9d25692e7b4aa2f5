//! Everything that knows a MySQL or MariaDB server. Nothing in here knows workflows, streams or tables being moved; of
//! the rest of the engine it uses only `error` and `limits`.
//!
//! Reading order: [`server`] (where a server is and who it says it is), [`control`] (the control connection, over
//! mysql_async), [`wire`] (our own thin connection for raw rows in both directions and the binlog), [`statements`] (what both have in
//! common), [`sql`] (the one place that quotes).

pub mod binlog;
pub mod control;
pub mod deadline;
pub mod gtid;
pub mod schema;
pub mod server;
pub mod snapshot;
pub mod sql;
pub mod statements;
pub mod wire;
