//! The gateway of shunt: a server of the MySQL protocol that sends each statement to where the routing rules say its tables
//! are, and lets statements wait while tables are switched.
//!
//! It forwards packets, not values. One task owns a session: the client's connection and one connection to each server that
//! the session has needed, opened **as the client's own user**, with its capabilities. A statement's path: [`session`] reads a
//! command, [`sql`] finds the names in it, [`route`] resolves them by the rules of the [`board`] and says which server, which
//! default database and which bytes must read otherwise, [`backend`] sends it, [`forward`] passes the answer on. [`member`]
//! follows the topology; [`servers`] knows which server of a keyspace is fit to serve.
//!
//! [`explain`] says where a statement would go, without a server; what forwards needs none either. Both are open for benches.
//!
//! Invariants:
//! - A statement goes to one server, whole, or is refused. What is not understood passes only if no name that routing rules
//!   know, and none of a tainted object, is a token in it.
//! - What a session carries (settings, variables, LAST_INSERT_ID, locks, transactions) is what one server would give, or an
//!   error says that it cannot be.
//! - No statement on a table of a held switch is sent unless its session is in a transaction; and none on a table that rules
//!   lead while the gateway's lease is over.
//! - An acknowledgement reaches the client only if a server gave it; a statement is sent again only after a server's refusal
//!   that says that nothing was done (the fence).
//! - Everything is bounded ([`limits`]); a session's task ends with its client.

mod answer;
mod backend;
mod board;
mod client;
pub mod config;
pub mod explain;
pub mod forward;
mod limits;
mod listing;
mod member;
mod programs;
mod route;
mod server;
mod servers;
mod session;
mod sql;

pub use config::GatewayConfig;
pub use server::run;
