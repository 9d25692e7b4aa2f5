//! The engine of shunt: copies tables between live MySQL and MariaDB servers, follows the source's binlog, and keeps
//! all state of a stream on its target, in the same transactions as the rows.
//!
//! Modules in reading order; each one's first lines say what comes before and after it.

pub mod error;
pub mod failpoints;
pub mod limits;
pub mod runtime;

pub mod mysql;

pub mod key;
pub mod plan;
pub mod preflight;
pub mod programs;
pub mod target_ddl;

pub mod ranges;

pub mod apply;
pub mod changes;
pub mod copy;
pub mod lag;
pub mod sidecar;
pub mod stream;
pub mod throttle;
pub mod workflow;

pub mod cutover;

pub mod routing;
pub mod topology;

pub use error::{Error, ErrorKind, Result};
