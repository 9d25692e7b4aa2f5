//! `shunt vdiff run --target parquet:DIR`: tables against their archives. Nothing is kept between runs: an archive is read from
//! its start.

use std::path::Path;

use shunt_engine::{Error, Result};
use shunt_vdiff::archive::compare::{self, Job};
use shunt_vdiff::archive::findings::Reporter;
use shunt_vdiff::date::now_s;
use shunt_vdiff::report::{Record, State, TableRecord};

use super::server::SideServer;
use super::{display, exit_of, show};
use crate::args::vdiff::Run;
use crate::commands::signals::Signals;
use crate::exit::Exit;
use crate::output;

pub(super) async fn run(
    args: &Run,
    source: SideServer,
    folder: &Path,
    mut reporter: Reporter,
) -> anyhow::Result<Exit> {
    let job = job(args, source, folder)?;
    let tables = args.tables.iter().map(|(source, target)| TableRecord::new(source, target));
    let mut record = Record {
        keyspace: args.target.clone(),
        uuid: uuid::Uuid::now_v7().to_string(),
        state: State::Started,
        started_s: Some(now_s()),
        tables: tables.collect(),
        ..Record::default()
    };
    let signals = Signals::catch()?;
    // Dropping the work drops its connection and its unfinished file.
    let ended = display::beside(async |progress| {
        let all = async {
            for table in &mut record.tables {
                Box::pin(compare::run(&job, table, &mut reporter, progress)).await?;
            }
            Ok::<(), Error>(())
        };
        tokio::select! {
            biased;
            () = signals.token.cancelled() => None,
            ended = all => Some(ended),
        }
    });
    let ended = ended.await;
    let Some(ended) = ended else {
        output::note!("Interrupted.");
        return Ok(Exit::Failed);
    };
    ended?;
    record.state = State::Completed;
    record.completed_s = Some(now_s());
    show::print(std::slice::from_ref(&record), args.verbose, args.format)?;
    Ok(exit_of(&record))
}

fn job(args: &Run, source: SideServer, folder: &Path) -> Result<Job> {
    let (server, database) = (source.server, source.database);
    let job = Job { server, database, folder: folder.into(), spec: args.spec() };
    job.check()?;
    if args.emit_sql.is_some() {
        return Err(Error::usage("an archive is compared without --emit-sql"));
    }
    Ok(job)
}
