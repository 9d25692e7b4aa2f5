//! A workflow: what was asked for, its states, and the verbs on it.
//!
//! The verbs ([`create`](mod@create), [`cancel`](mod@cancel), [`verbs`]) change what the sidecar says is wanted; the stream, wherever it runs, does it. So a verb
//! may be given by any process, and killed at any moment.

pub mod cancel;
pub mod create;
pub mod make;
pub mod spec;
pub mod state;
pub mod status;
pub mod verbs;
