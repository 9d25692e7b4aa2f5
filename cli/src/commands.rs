//! One file a verb: each takes its arguments and gives how it ended. Errors are printed by `main`, once.

mod keyspace_list;
mod sandbox;

use std::path::Path;

use crate::args::{Args, Command, Keyspace, Sandbox};
use crate::config::Config;
use crate::exit::Exit;

/// Runs what was typed.
///
/// # Errors
/// The command's own; the engine's kind of it decides the exit code.
pub async fn run(args: Args) -> anyhow::Result<Exit> {
    let config = || config(args.config.as_deref());
    match args.command {
        Command::Keyspace(Keyspace::List(args)) => keyspace_list::run(&args, &config()?),
        Command::Sandbox(Sandbox::Start(args)) => sandbox::start::run(args).await,
        Command::Sandbox(Sandbox::Status(args)) => sandbox::status::run(args).await,
        Command::Sandbox(Sandbox::Stop(args)) => sandbox::stop::run(args).await,
        Command::Sandbox(Sandbox::Destroy(args)) => sandbox::destroy::run(args).await,
    }
}

fn config(named: Option<&Path>) -> anyhow::Result<Config> {
    Ok(Config::load(named)?)
}
