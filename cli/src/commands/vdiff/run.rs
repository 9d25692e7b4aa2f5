//! `shunt vdiff run`: compares tables of any two servers. No position ties them, so what differs is looked at several times;
//! the report says so.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use shunt_engine::mysql::control::{Control, Session};
use shunt_engine::runtime::tasks;
use shunt_engine::{Error, Result};
use shunt_vdiff::archive::findings::Reporter;
use shunt_vdiff::fix::{self, Fixer};
use shunt_vdiff::report::{Record, State, TableRecord};
use shunt_vdiff::run::{self, Job};
use shunt_vdiff::sides::{Servers, Tie};
use shunt_vdiff::store::{self, Store};
use shunt_vdiff::table::{Ended, Progress};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::server::{SideServer, side};
use super::{display, exit_of, show};
use crate::args::vdiff::Run;
use crate::commands::signals::Signals;
use crate::config::Config;
use crate::exit::Exit;

pub(in crate::commands) async fn run(args: &Run, config: Option<&Config>) -> anyhow::Result<Exit> {
    let password = |file: &Option<PathBuf>| file.clone();
    let source_file = password(&args.source_password_file);
    let source = side(&args.source, config, source_file.as_deref(), "SHUNT_SOURCE_PASSWORD")?;
    let reporter = || match &args.report {
        Some(path) => Reporter::new(path, args.tables.len() > 1),
        None => Reporter::none(),
    };
    if let Some(folder) = args.archives() {
        return super::archive::run(args, source, folder, reporter()).await;
    }
    let target_file = password(&args.target_password_file);
    let target = side(&args.target, config, target_file.as_deref(), "SHUNT_TARGET_PASSWORD")?;
    let signals = Signals::catch()?;
    let path = args.state.clone().map_or_else(|| default_state(args, &source, &target), Ok)?;
    let mut record = begin(args, &path)?;
    let resumed = record.compared_rows() > 0;
    let mut fixer = fixer(args, &target, resumed).await?;
    let mut store = Store::File { path: path.clone(), record: Box::new(record.clone()) };
    let job = job(args, source, target);
    store.set_state(State::Started, "").await?;
    let (progress, shown) = watch::channel(Progress::default());
    let stop_display = CancellationToken::new();
    let showing = tasks::spawn("display", display::run(shown, stop_display.clone()));
    let tables = &mut record.tables;
    let (mut reporter, cancel) = (reporter(), &signals.token);
    let running = run::run(&job, tables, &mut store, &mut fixer, &mut reporter, &progress, cancel);
    let ended = Box::pin(running).await;
    stop_display.cancel();
    showing.join().await?;
    let (state, message) = match &ended {
        Ok(Ended::Completed) => (State::Completed, String::new()),
        Ok(_) => (State::Stopped, String::new()),
        Err(error) => (State::Error, error.to_string()),
    };
    store.set_state(state, &message).await?;
    ended?;
    let record =
        store::read(&path)?.ok_or_else(|| Error::stop("the state of the VDiff is gone"))?;
    show::print(std::slice::from_ref(&record), args.verbose, args.format)?;
    if state == State::Stopped {
        eprintln!("Interrupted. The same command goes on where it was.");
        return Ok(Exit::Failed);
    }
    Ok(exit_of(&record))
}

fn job(args: &Run, source: SideServer, target: SideServer) -> Job {
    Job {
        servers: Servers { source: source.server, target: target.server, tie: Tie::Nothing },
        source_database: source.database,
        target_database: target.database,
        spec: args.spec(),
    }
}

/// The record of an interrupted run, or a new one.
fn begin(args: &Run, path: &Path) -> Result<Record> {
    // What an interrupted run has found is not in the new report.
    let again = |record: &Record| record.state != State::Completed && args.report.is_none();
    let held = store::read(path)?.filter(again);
    if let Some(held) = held {
        let same = held.tables.iter().map(|t| (&t.name, &t.target_name));
        if !same.eq(args.tables.iter().map(|(source, target)| (source, target))) {
            return Err(Error::usage(format!("{} is of another VDiff", path.display()))
                .advice("Name another file with --state, or remove this one."));
        }
        return Ok(held);
    }
    let table = |(source, target): &(String, String)| TableRecord::new(source, target);
    Ok(Record {
        keyspace: args.target.clone(),
        uuid: uuid::Uuid::now_v7().to_string(),
        tables: args.tables.iter().map(table).collect(),
        ..Record::default()
    })
}

/// A file for what is compared, so that the same command finds it again.
fn default_state(args: &Run, source: &SideServer, target: &SideServer) -> Result<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).or_else(home);
    let state = state.ok_or_else(|| {
        Error::usage("there is no home directory to keep the state in")
            .advice("Name a file with --state.")
    })?;
    let what = format!(
        "{} {} {} {} {:?} {:?} {:?} {:?} {:?} {:?}",
        source.server.address,
        source.database,
        target.server.address,
        target.database,
        args.tables,
        args.filter,
        args.columns,
        args.map,
        args.how.strength,
        args.how.limit
    );
    let name = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, what.as_bytes());
    Ok(state.join("shunt/vdiff").join(format!("{name}.json")))
}

async fn fixer(args: &Run, target: &SideServer, resumed: bool) -> Result<Fixer> {
    if args.how.repair && !args.dry_run {
        let mut control = Control::connect(&target.server, Session::Control).await?;
        fix::check_no_replica(&mut control).await?;
        control.close().await;
        return Ok(Fixer::repair());
    }
    let mut out: Box<dyn Write + Send> = match (&args.emit_sql, args.dry_run) {
        (None, false) => return Ok(Fixer::Nothing),
        (None, true) => Box::new(std::io::stdout()),
        (Some(file), _) => {
            // What an interrupted run has written stays.
            let mut options = OpenOptions::new();
            options.create(true).write(true).append(resumed).truncate(!resumed);
            Box::new(std::io::BufWriter::new(options.open(file)?))
        }
    };
    if !resumed {
        out.write_all(fix::EMIT_HEAD.as_bytes())?;
    }
    Ok(Fixer::Emit(out))
}
