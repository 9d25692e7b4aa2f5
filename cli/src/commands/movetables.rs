//! `shunt movetables …`: what its verbs share.
//!
//! A verb changes what the sidecar says is wanted and leaves; [`here`] is where a stream is run in this process.

pub(super) mod cancel;
pub(super) mod complete;
pub(super) mod create;
mod display;
pub(super) mod findings;
mod here;
pub(super) mod leaks;
mod lock;
pub(super) mod plan;
pub(super) mod progress;
mod proof;
pub(super) mod reopen;
pub(super) mod show;
pub(super) mod site;
pub(super) mod start;
pub(super) mod status;
pub(super) mod stop;
pub(super) mod switch;
mod switched;
pub(super) mod traffic;
pub(super) mod tuning;
pub(super) mod wait;
