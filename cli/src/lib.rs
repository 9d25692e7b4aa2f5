//! The `shunt` command line, as a library: the binary is a few lines over it, and the tests use its sandbox.
//!
//! Reading order: [`args`] (what was typed), [`config`] (the file), [`commands`] (one file a verb), [`sandbox`] (throw-away
//! servers), [`telemetry`] (logs), [`exit`] (how it ends). Nothing below `config` sees a flag.

#![deny(clippy::print_stderr, clippy::print_stdout)]

pub mod args;
pub mod commands;
pub mod config;
pub mod exit;
mod files;
pub mod output;
pub mod sandbox;
pub mod telemetry;
