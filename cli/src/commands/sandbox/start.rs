//! `shunt sandbox start`: starts the servers and prints one configuration for all of them.

use std::path::Path;

use futures_util::future::try_join_all;
use shunt_engine::Result;

use crate::args::SandboxStart;
use crate::config::ServerType;
use crate::exit::Exit;
use crate::output;
use crate::sandbox::{Sandbox, SandboxSpec, shunt_toml};

pub(in crate::commands) async fn run(args: SandboxStart) -> anyhow::Result<Exit> {
    let SandboxStart { names, replicas, rdonly, mysqld, options, place } = args;
    let dir = super::folder(place)?;
    let mut specs: Vec<SandboxSpec> = Vec::new();
    for name in names {
        if specs.iter().any(|spec| spec.name == name) {
            continue;
        }
        let made = made_as(&dir, &name)?;
        specs.push(SandboxSpec {
            name,
            dir: dir.clone(),
            mysqld: mysqld.clone(),
            replicas: replicas.unwrap_or(made.0),
            rdonly: rdonly.unwrap_or(made.1),
            options: options.clone(),
        });
    }
    let sandboxes = try_join_all(specs.into_iter().map(start)).await?;
    output::print(&shunt_toml(&sandboxes))?;
    Ok(Exit::Done)
}

/// The numbers of replicas and rdonly servers that an existing sandbox has.
fn made_as(dir: &Path, name: &str) -> Result<(u16, u16)> {
    let Some(sandbox) = Sandbox::open(dir, name)? else { return Ok((0, 0)) };
    let count = |t| u16::try_from(sandbox.of_type(t).count()).unwrap_or(u16::MAX);
    Ok((count(ServerType::Replica), count(ServerType::Rdonly)))
}

async fn start(spec: SandboxSpec) -> Result<Sandbox> {
    output::note!("starting {} …", spec.name);
    let sandbox = Sandbox::start(spec).await?;
    for server in sandbox.servers() {
        output::note!("{}/{} answers on {}", sandbox.name(), server.name(), server.address());
    }
    Ok(sandbox)
}
