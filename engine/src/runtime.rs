//! What everything runs on: named tasks whose panics are errors.

pub mod tasks;
