//! `shunt sandbox stop`: clean shutdown; the data stays.

use crate::args::SandboxNames;
use crate::exit::Exit;
use crate::sandbox::Ended;

pub(in crate::commands) async fn run(args: SandboxNames) -> anyhow::Result<Exit> {
    let dir = super::folder(args.place)?;
    for name in args.names {
        let sandbox = super::open(&dir, &name).await?;
        let ended = sandbox.stop().await?;
        for (server, ended) in sandbox.servers().iter().zip(ended) {
            let how = match ended {
                Ended::WasDown => "was not running",
                Ended::Clean => "stopped",
                Ended::Killed => {
                    "did not stop in time and was killed; it will recover when started"
                }
            };
            eprintln!("{name}/{} {how}", server.name());
        }
    }
    Ok(Exit::Done)
}
