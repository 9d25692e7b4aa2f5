//! `shunt sandbox status`: which servers run, and where.

use std::path::PathBuf;

use serde::Serialize;

use crate::args::SandboxStatus;
use crate::config::ServerType;
use crate::exit::Exit;
use crate::output::{self, Format};
use crate::sandbox::Sandbox;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ServerView {
    sandbox: String,
    server: String,
    #[serde(rename = "Type")]
    server_type: ServerType,
    running: bool,
    pid: Option<i32>,
    address: String,
    socket: PathBuf,
    datadir: PathBuf,
    log: PathBuf,
}

pub(in crate::commands) async fn run(args: SandboxStatus) -> anyhow::Result<Exit> {
    let dir = super::folder(args.place)?;
    let names = if args.names.is_empty() { Sandbox::names(&dir)? } else { args.names };
    let mut views = Vec::new();
    for name in names {
        let sandbox = super::open(&dir, &name).await?;
        for server in sandbox.servers() {
            let pid = server.pid()?;
            views.push(ServerView {
                sandbox: name.clone(),
                server: server.name().to_owned(),
                server_type: server.server_type(),
                running: pid.is_some(),
                pid,
                address: server.address().to_string(),
                socket: server.socket(),
                datadir: server.datadir(),
                log: server.log(),
            });
        }
    }
    match args.format {
        Format::Json => output::print_json(&views)?,
        Format::Text => output::print(&text(&views))?,
    }
    Ok(Exit::Done)
}

fn text(views: &[ServerView]) -> String {
    let rows: Vec<[String; 6]> = views
        .iter()
        .map(|view| {
            [
                view.sandbox.clone(),
                view.server.clone(),
                if view.running { "running" } else { "stopped" }.to_owned(),
                view.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
                view.address.clone(),
                view.socket.display().to_string(),
            ]
        })
        .collect();
    output::table(["Sandbox", "Server", "State", "Pid", "Address", "Socket"], &rows)
}
