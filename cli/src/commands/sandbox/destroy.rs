//! `shunt sandbox destroy`: the servers and their data go.

use crate::args::SandboxNames;
use crate::exit::Exit;

pub(in crate::commands) async fn run(args: SandboxNames) -> anyhow::Result<Exit> {
    let dir = super::folder(args.place)?;
    for name in args.names {
        super::open(&dir, &name).await?.destroy().await?;
        eprintln!("{name} destroyed");
    }
    Ok(Exit::Done)
}
