//! The `shunt` binary: parses, runs, prints an error once, and ends with the exit code that says how it went.

use std::process::ExitCode;

use clap::Parser;
use shunt_cli::{args::Args, commands, exit::Exit, output, telemetry};

/// Rows are many small pieces of memory, freed by other threads than took them: with small transactions the system's allocator was a fifth
/// of the client's work. Not in huge pages, whose clearing costs as much as that saves.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    let ended = telemetry::start().and_then(|()| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(commands::run(args))
    });
    let exit = ended.unwrap_or_else(|error| {
        output::beside(&format!("shunt: {error:#}\n"));
        Exit::of(&error)
    });
    exit.into()
}
