//! `shunt sandbox destroy`: the servers and their data go. What is wrong with one sandbox does not keep the others.

use std::path::Path;

use shunt_engine::Result;
use shunt_engine::error::ResultExt;

use crate::args::SandboxNames;
use crate::exit::Exit;
use crate::output;

pub(in crate::commands) async fn run(args: SandboxNames) -> anyhow::Result<Exit> {
    let dir = super::folder(args.place)?;
    let mut outcome = Ok(());
    for name in args.names {
        outcome = super::first_error(outcome, destroy(&dir, &name).await);
    }
    outcome?;
    Ok(Exit::Done)
}

async fn destroy(dir: &Path, name: &str) -> Result<()> {
    let sandbox = super::open(dir, name)?;
    sandbox.destroy().await.context(format_args!("destroy {name}"))?;
    output::note!("{name} destroyed");
    Ok(())
}
