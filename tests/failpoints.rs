//! `shunt` with failpoints, for the fault tests. It is a program of its own name, so that it never takes the place of the
//! one that is released.

use std::process::ExitCode;

use clap::Parser;
use shunt_cli::{args::Args, commands, exit::Exit, telemetry};

fn main() -> ExitCode {
    let args = Args::parse();
    let ended = telemetry::start().and_then(|()| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(commands::run(args))
    });
    let exit = ended.unwrap_or_else(|error| {
        eprintln!("shunt: {error:#}");
        Exit::of(&error)
    });
    exit.into()
}
