//! What everything runs on: byte budgets, a clock for leases, and named tasks whose panics are errors.

pub mod budget;
pub mod clock;
pub mod seeded;
pub mod tasks;
