//! Everything that knows a MySQL or MariaDB server. Nothing in here knows workflows, streams or tables being moved; of
//! the rest of the engine it uses only `error`, `limits`, `failpoints` and `runtime`.
//!
//! Reading order: [`server`] (where a server is and who it says it is), [`control`] (the control connection, over
//! mysql_async), [`wire`] (our own thin connection for raw rows in both directions and the binlog), [`statements`] (what both have in
//! common), [`sql`] (the one place that quotes), [`names`] (whether two names are one to a server), [`schema`] (what a table is), [`gtid`] and
//! [`snapshot`] (positions, and reading at one), [`binlog`] (events as they are sent), [`deadline`] (who stands in a statement's way).

pub mod binlog;
pub mod control;
pub mod deadline;
pub mod gtid;
pub mod names;
pub mod schema;
pub mod server;
pub mod snapshot;
pub mod sql;
pub mod statements;
pub mod wire;
