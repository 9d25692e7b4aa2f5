//! One file a verb: each takes its arguments and gives how it ended. Errors are printed by `main`, once.

mod archive;
mod bench;
mod gateway;
mod grants;
mod keyspace_list;
mod movetables;
mod preflight;
mod routing_rules;
mod sandbox;
mod serve;
mod settler;
mod signals;
mod vdiff;
mod workflow;

use std::path::Path;

use crate::args::archive::Archive;
use crate::args::vdiff::Vdiff;
use crate::args::workflow::{Movetables, Workflow};
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
        Command::Movetables(verb) => movetables(verb, &config()?).await,
        Command::Workflow(verb) => workflow(verb, &config()?).await,
        Command::Grants(args) => grants::run(&args, &config()?).await,
        Command::Preflight(args) => preflight::run(&args, &config()?).await,
        Command::Gateway => gateway::run(&config()?).await,
        Command::RoutingRules(verb) => routing_rules::run(&verb, &config()?).await,
        Command::Vdiff(Vdiff::Run(args)) => {
            vdiff::run::run(&args, args.needs_config().then(config).transpose()?.as_ref()).await
        }
        Command::Vdiff(verb) => vdiff(verb, &config()?).await,
        Command::Bench(args) => bench::run(&args, &config()?).await,
        Command::Archive(Archive::Create(args)) => archive::create(&args, &config()?).await,
        Command::Serve => serve::run(&config()?).await,
        Command::Sandbox(verb) => sandbox(verb).await,
    }
}

async fn movetables(verb: Movetables, config: &Config) -> anyhow::Result<Exit> {
    match verb {
        Movetables::Create(args) => movetables::create::run(&args, config).await,
        Movetables::Start(args) => movetables::start::run(&args, config).await,
        Movetables::Stop(args) => movetables::stop::run(&args, config).await,
        Movetables::Cancel(args) => movetables::cancel::run(&args, config).await,
        Movetables::Show(args) => movetables::show::run(&args, config).await,
        Movetables::Progress(args) => movetables::progress::run(&args, config).await,
        Movetables::Status(args) => movetables::status::run(&args, config).await,
        Movetables::Wait(args) => movetables::wait::run(&args, config).await,
        Movetables::Switchtraffic(args) => movetables::switch::forward(&args, config).await,
        Movetables::Reversetraffic(args) => movetables::switch::back(&args, config).await,
        Movetables::Rehearse(args) => movetables::switch::rehearse(&args, config).await,
        Movetables::Reopen(args) => movetables::reopen::run(&args, config).await,
        Movetables::Leaks(args) => movetables::leaks::run(&args, config).await,
        Movetables::Complete(args) => movetables::complete::run(&args, config).await,
    }
}

async fn vdiff(verb: Vdiff, config: &Config) -> anyhow::Result<Exit> {
    match verb {
        Vdiff::Create(args) => vdiff::create::run(&args, config).await,
        Vdiff::Show(args) => vdiff::show::run(&args, config).await,
        Vdiff::Stop(args) => vdiff::verbs::stop(&args, config).await,
        Vdiff::Resume(args) => vdiff::verbs::resume(&args, config).await,
        Vdiff::Delete(args) => vdiff::verbs::delete(&args, config).await,
        Vdiff::Run(args) => vdiff::run::run(&args, Some(config)).await,
    }
}

async fn workflow(verb: Workflow, config: &Config) -> anyhow::Result<Exit> {
    match verb {
        Workflow::List(args) => workflow::list::run(&args, config).await,
        Workflow::Update(args) => workflow::update::run(&args, config).await,
        // The same as those of movetables, under the names of the guide.
        Workflow::Show(args) => movetables::show::run(&args, config).await,
        Workflow::Start(args) => movetables::start::run(&args, config).await,
        Workflow::Stop(args) => movetables::stop::run(&args, config).await,
        Workflow::Delete(args) => movetables::cancel::run(&args, config).await,
    }
}

async fn sandbox(verb: Sandbox) -> anyhow::Result<Exit> {
    match verb {
        Sandbox::Start(args) => sandbox::start::run(args).await,
        Sandbox::Status(args) => sandbox::status::run(args),
        Sandbox::Stop(args) => sandbox::stop::run(args).await,
        Sandbox::Destroy(args) => sandbox::destroy::run(args).await,
    }
}

fn config(named: Option<&Path>) -> anyhow::Result<Config> {
    Ok(Config::load(named)?)
}
