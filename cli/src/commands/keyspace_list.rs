//! `shunt keyspace list`: what the configuration says, without a login anywhere.

use serde::Serialize;
use shunt_engine::mysql::server::TlsMode;

use crate::args::KeyspaceList;
use crate::config::{Config, Keyspace, ServerType};
use crate::exit::Exit;
use crate::output::{self, Format};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct KeyspaceView<'a> {
    name: &'a str,
    database: &'a str,
    servers: Vec<ServerView<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ServerView<'a> {
    alias: &'a str,
    #[serde(rename = "Type")]
    server_type: ServerType,
    address: String,
    user: &'a str,
    tls: TlsMode,
}

pub(super) fn run(args: &KeyspaceList, config: &Config) -> anyhow::Result<Exit> {
    match args.format {
        Format::Json => {
            let views: Vec<KeyspaceView<'_>> = config.keyspaces.iter().map(view).collect();
            output::print_json(&views)?;
        }
        Format::Text => output::print(&text(config))?,
    }
    Ok(Exit::Done)
}

fn view(keyspace: &Keyspace) -> KeyspaceView<'_> {
    let servers = keyspace.servers.iter().map(|server| ServerView {
        alias: &server.alias,
        server_type: server.server_type,
        address: server.address.to_string(),
        user: &server.user,
        tls: server.tls,
    });
    KeyspaceView { name: &keyspace.name, database: &keyspace.database, servers: servers.collect() }
}

fn text(config: &Config) -> String {
    let rows: Vec<[String; 5]> = config
        .keyspaces
        .iter()
        .flat_map(|keyspace| keyspace.servers.iter().map(move |server| (keyspace, server)))
        .map(|(keyspace, server)| {
            [
                keyspace.name.clone(),
                keyspace.database.clone(),
                server.server_type.to_string(),
                server.alias.clone(),
                server.address.to_string(),
            ]
        })
        .collect();
    output::table(["Keyspace", "Database", "Type", "Alias", "Address"], &rows)
}
