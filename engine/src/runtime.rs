//! What everything runs on: byte budgets and named tasks whose panics are errors.

pub mod budget;
pub mod tasks;
