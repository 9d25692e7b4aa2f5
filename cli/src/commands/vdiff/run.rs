//! `shunt vdiff run`: compares tables of any two servers. No position ties them, so what differs is looked at several times;
//! the report says so.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use shunt_engine::error::ResultExt;
use shunt_engine::mysql::control::{Control, Session};
use shunt_engine::{Error, Result};
use shunt_vdiff::archive::findings::Reporter;
use shunt_vdiff::fix::{self, Emitted, Fixer};
use shunt_vdiff::report::{Record, State, TableRecord};
use shunt_vdiff::run::{self, Job};
use shunt_vdiff::sides::{Servers, Tie};
use shunt_vdiff::store::{self, Store};
use shunt_vdiff::table::Ended;

use super::server::{SideServer, side};
use super::{display, exit_of, show};
use crate::args::vdiff::Run;
use crate::commands::signals::Signals;
use crate::config::Config;
use crate::exit::Exit;
use crate::output;

pub(in crate::commands) async fn run(args: &Run, config: Option<&Config>) -> anyhow::Result<Exit> {
    check_tables(args)?;
    let source_file = args.source_password_file.as_deref();
    let source = side(&args.source, config, source_file, "SHUNT_SOURCE_PASSWORD")?;
    let reporter = || match &args.report {
        Some(path) => Reporter::new(path, args.tables.len() > 1),
        None => Reporter::none(),
    };
    if let Some(folder) = args.archives() {
        return super::archive::run(args, source, folder, reporter()).await;
    }
    let target_file = args.target_password_file.as_deref();
    let target = side(&args.target, config, target_file, "SHUNT_TARGET_PASSWORD")?;
    let signals = Signals::catch()?;
    let what = what(args, &source, &target);
    let path = state_path(args, &what)?;
    let path = path.as_deref();
    let _lock = path.map(lock).transpose()?;
    let mut record = begin(args, path, &what)?;
    let mut fixer = fixer(args, &source, &target, &record).await?;
    let mut store = Store::local(path.map(Path::to_owned), record.clone());
    let job = job(args, source, target);
    store.set_state(State::Started, "").await.map_err(|error| unkept(error, path))?;
    let tables = &mut record.tables;
    let (mut reporter, cancel) = (reporter(), &signals.token);
    let running = display::beside(async |progress| {
        run::run(&job, tables, &mut store, &mut fixer, &mut reporter, progress, cancel).await
    });
    let ended = running.await;
    let (state, message) = match &ended {
        Ok(Ended::Completed) => (State::Completed, String::new()),
        Ok(_) => (State::Stopped, String::new()),
        Err(error) => (State::Error, error.to_string()),
    };
    store.set_state(state, &message).await.map_err(|error| unkept(error, path))?;
    ended?;
    let record =
        store.record().ok_or_else(|| Error::stop("the state of the VDiff is not at hand"))?;
    if args.dry_run {
        // Standard output holds the statements.
        output::beside(&show::rendered(record, args.verbose, args.format)?);
    } else {
        show::print(std::slice::from_ref(record), args.verbose, args.format)?;
    }
    if state == State::Stopped {
        let next = if path.is_some() { "goes on where it was" } else { "begins anew" };
        output::note!("Interrupted. The same command {next}.");
        return Ok(Exit::Failed);
    }
    Ok(exit_of(record))
}

/// Results are kept and reported by the source's name.
fn check_tables(args: &Run) -> Result<()> {
    let mut names: Vec<&str> = args.tables.iter().map(|(source, _)| source.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Error::usage(format!("table {:?} is named twice", pair[0]))
            .advice("Compare it with each target in a run of its own.")),
        None => Ok(()),
    }
}

/// What is done about differences, as the record keeps it.
fn fixing(args: &Run) -> String {
    match &args.emit_sql {
        Some(file) => format!("emit-sql {}", file.display()),
        None if args.how.repair => "repair".into(),
        None => String::new(),
    }
}

fn job(args: &Run, source: SideServer, target: SideServer) -> Job {
    Job {
        servers: Servers { source: source.server, target: target.server, tie: Tie::Nothing },
        source_database: source.database,
        target_database: target.database,
        spec: args.spec(),
    }
}

/// Where the state is kept. A run that only prints has none: one that repairs would go on behind what was not repaired.
fn state_path(args: &Run, what: &str) -> Result<Option<PathBuf>> {
    if args.dry_run {
        return Ok(None);
    }
    args.state.clone().map_or_else(|| default_state(what), Ok).map(Some)
}

/// The record of an interrupted run, or a new one.
fn begin(args: &Run, path: Option<&Path>, what: &str) -> Result<Record> {
    let held = path.map(|path| store::read(path).map(|held| (path, held))).transpose()?;
    if let Some((path, Some(held))) = held
        && held.state != State::Completed
    {
        if held.what != what {
            return Err(Error::usage(format!("{} is of another VDiff", path.display()))
                .advice("Name another file with --state, or remove this one."));
        }
        // What an interrupted run has found is not in the new report; what it did not mend would stay.
        if args.report.is_none() && held.fixing == fixing(args) {
            return Ok(held);
        }
    }
    let table = |(source, target): &(String, String)| TableRecord::new(source, target);
    Ok(Record {
        keyspace: args.target.clone(),
        uuid: uuid::Uuid::now_v7().to_string(),
        tables: args.tables.iter().map(table).collect(),
        fixing: fixing(args),
        what: what.to_owned(),
        ..Record::default()
    })
}

/// Keeps the state to this process; the lock ends with it.
fn lock(path: &Path) -> Result<File> {
    let locked = path.with_extension("lock");
    let opened = path
        .parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| OpenOptions::new().create(true).truncate(false).write(true).open(&locked));
    let file = opened.map_err(|error| unwritable(&locked, "--state", error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::usage(format!(
            "another process runs this VDiff: it holds {}",
            path.display()
        ))
        .advice("Wait for it, or name another file with --state.")),
        Err(TryLockError::Error(error)) => Err(unwritable(&locked, "--state", error)),
    }
}

/// The state could not be saved.
fn unkept(error: Error, path: Option<&Path>) -> Error {
    let Some(path) = path else { return error };
    error
        .context(format_args!("keep the state in {}", path.display()))
        .advice("Name another file with --state, or make room.")
}

/// A file that an option names, or could.
fn unwritable(path: &Path, option: &str, error: io::Error) -> Error {
    Error::usage(format!("{} cannot be written", path.display()))
        .advice(format!("Name another file with {option}."))
        .source(error)
}

/// What is compared and how: an interrupted run goes on only with the same.
fn what(args: &Run, source: &SideServer, target: &SideServer) -> String {
    format!(
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
    )
}

/// A file for what is compared, so that the same command finds it again.
fn default_state(what: &str) -> Result<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).or_else(home);
    let state = state.ok_or_else(|| {
        Error::usage("there is no home directory to keep the state in")
            .advice("Name a file with --state.")
    })?;
    let name = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, what.as_bytes());
    Ok(state.join("shunt/vdiff").join(format!("{name}.json")))
}

async fn fixer(
    args: &Run,
    source: &SideServer,
    target: &SideServer,
    record: &Record,
) -> Result<Fixer> {
    if args.how.repair && !args.dry_run {
        let mut control = Control::connect(&target.server, Session::Control).await?;
        fix::check_no_replica(&mut control).await?;
        control.close().await;
        return Ok(Fixer::repair());
    }
    let Some(path) = &args.emit_sql else {
        if !args.dry_run {
            return Ok(Fixer::Nothing);
        }
        let mut out = Box::new(std::io::stdout());
        let written = out.write_all(fix::EMIT_HEAD.as_bytes());
        written.map_err(Error::from).context("print the statements")?;
        return Ok(Fixer::emit(Emitted::new(out, 0)));
    };
    // What an earlier run has written is not given up for one that cannot begin.
    for side in [source, target] {
        Control::connect(&side.server, Session::Control).await?.close().await;
    }
    // What the record knows of stays; behind it a statement may be torn.
    let kept = record.tables.iter().map(|table| table.emitted).max().unwrap_or(0);
    let unwritable = |error| unwritable(path, "--emit-sql", error);
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(false).write(true).open(path).map_err(unwritable)?;
    if file.metadata().map_err(unwritable)?.len() < kept {
        return Err(Error::usage(format!(
            "{} is shorter than what the interrupted run has written to it",
            path.display()
        ))
        .advice("Write to another file: the run begins anew then."));
    }
    let mut out = Statements::cut(file, path, kept).map_err(unwritable)?;
    let head = if kept == 0 { fix::EMIT_HEAD.as_bytes() } else { b"" };
    out.write_all(head).map_err(unwritable)?;
    let written = kept + u64::try_from(head.len()).unwrap_or(0);
    Ok(Fixer::emit(Emitted::new(Box::new(out), written)))
}

/// The file of statements; its errors name it.
struct Statements {
    out: BufWriter<File>,
    path: PathBuf,
}

impl Statements {
    /// The file as far as it is to stay.
    fn cut(mut file: File, path: &Path, kept: u64) -> io::Result<Self> {
        file.set_len(kept)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self { out: BufWriter::new(file), path: path.to_owned() })
    }

    fn named<T>(&self, result: io::Result<T>) -> io::Result<T> {
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("write {}: {error}", self.path.display()))
        };
        result.map_err(named)
    }
}

impl Write for Statements {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes);
        self.named(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.out.flush();
        self.named(flushed)
    }
}
