//! `shunt archive create`: a table's rows at a known position, to Parquet.

use serde::Serialize;
use shunt_engine::{Error, Result};
use shunt_vdiff::archive::create::{self, Created, Job};

use super::signals::Signals;
use super::vdiff::display;
use crate::args::archive::Create;
use crate::config::{Config, Server};
use crate::exit::Exit;
use crate::output::{self, Format};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct View<'a> {
    file: String,
    table: &'a str,
    rows: u64,
    bytes: u64,
    #[serde(rename = "GTID")]
    gtid: &'a str,
    taken_at: &'a str,
}

pub(super) async fn create(args: &Create, config: &Config) -> anyhow::Result<Exit> {
    let keyspace = config.keyspace(&args.keyspace)?;
    let server = match &args.server {
        None => keyspace.primary()?,
        Some(alias) => named(&keyspace.servers, alias, &keyspace.name)?,
    };
    let job = Job {
        server: server.connection()?,
        database: keyspace.database.clone(),
        table: args.table.clone(),
        folder: args.to.clone(),
    };
    let signals = Signals::catch()?;
    // Dropping the work drops its connection and its unfinished file.
    let created = display::beside(async |progress| {
        tokio::select! {
            biased;
            () = signals.token.cancelled() => None,
            created = create::run(&job, progress) => Some(created),
        }
    });
    let created = created.await;
    let Some(created) = created else {
        output::note!("Interrupted. Nothing was left in {}.", args.to.display());
        return Ok(Exit::Failed);
    };
    print(&created?, args.format)?;
    Ok(Exit::Done)
}

fn named<'a>(servers: &'a [Server], alias: &str, keyspace: &str) -> Result<&'a Server> {
    let found = servers.iter().find(|server| server.alias == alias);
    found.ok_or_else(|| {
        Error::usage(format!("keyspace {keyspace:?} has no server {alias:?}"))
            .advice("`shunt keyspace list` shows them.")
    })
}

fn print(created: &Created, format: Format) -> anyhow::Result<()> {
    let (meta, file) = (&created.meta, created.path.display().to_string());
    match format {
        Format::Json => output::print_json(&View {
            file,
            table: &meta.table,
            rows: created.rows,
            bytes: created.bytes,
            gtid: &meta.gtid,
            taken_at: &meta.taken_at,
        }),
        Format::Text => output::print(&format!(
            "{file}: {} rows of {}.{} at {} ({} UTC), {} bytes.\n",
            created.rows, meta.database, meta.table, meta.gtid, meta.taken_at, created.bytes
        )),
    }?;
    Ok(())
}
