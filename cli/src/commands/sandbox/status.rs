//! `shunt sandbox status`: which servers run, and where. What is wrong with one sandbox does not hide the others.

use std::path::{Path, PathBuf};

use serde::Serialize;
use shunt_engine::Result;

use crate::args::SandboxStatus;
use crate::config::ServerType;
use crate::exit::Exit;
use crate::output::{self, Format};
use crate::sandbox::{Sandbox, SandboxServer};

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

pub(in crate::commands) fn run(args: SandboxStatus) -> anyhow::Result<Exit> {
    let dir = super::folder(args.place)?;
    let names = if args.names.is_empty() { Sandbox::names(&dir)? } else { args.names };
    let mut views = Vec::new();
    let mut outcome = Ok(());
    for name in names {
        let looked = look(&dir, &name).map(|servers| views.extend(servers));
        outcome = super::first_error(outcome, looked);
    }
    match args.format {
        Format::Json => output::print_json(&views)?,
        Format::Text => output::print(&text(&views))?,
    }
    outcome?;
    Ok(Exit::Done)
}

/// The servers of one sandbox.
fn look(dir: &Path, name: &str) -> Result<Vec<ServerView>> {
    let view = |server: &SandboxServer| {
        let pid = server.pid()?;
        Ok(ServerView {
            sandbox: name.to_owned(),
            server: server.name().to_owned(),
            server_type: server.server_type(),
            running: pid.is_some(),
            pid,
            address: server.address().to_string(),
            socket: server.socket(),
            datadir: server.datadir(),
            log: server.log(),
        })
    };
    super::open(dir, name)?.servers().iter().map(view).collect()
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
