//! A workflow: what was asked for, its states, and the verbs on it.

pub mod spec;
pub mod state;
