//! `shunt sandbox stop`: clean shutdown; the data stays. What is wrong with one sandbox does not keep the others.

use std::path::Path;

use shunt_engine::Result;
use shunt_engine::error::ResultExt;

use crate::args::SandboxNames;
use crate::exit::Exit;
use crate::output;
use crate::sandbox::Ended;

pub(in crate::commands) async fn run(args: SandboxNames) -> anyhow::Result<Exit> {
    let dir = super::folder(args.place)?;
    let mut outcome = Ok(());
    for name in args.names {
        outcome = super::first_error(outcome, stop(&dir, &name).await);
    }
    outcome?;
    Ok(Exit::Done)
}

async fn stop(dir: &Path, name: &str) -> Result<()> {
    let sandbox = super::open(dir, name)?;
    let ended = sandbox.stop().await.context(format_args!("stop {name}"))?;
    for (server, ended) in sandbox.servers().iter().zip(ended) {
        let how = match ended {
            Ended::WasDown => "was not running",
            Ended::Clean => "stopped",
            Ended::Killed => "did not stop in time and was killed; it will recover when started",
        };
        output::note!("{name}/{} {how}", server.name());
    }
    Ok(())
}
