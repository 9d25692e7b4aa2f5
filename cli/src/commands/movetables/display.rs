//! How far a workflow is, on stderr: bars on a terminal, a line now and then anywhere else.
//!
//! It reads the sidecar like any other observer, over a connection of its own: a display that is slow or fails changes nothing.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use crate::output;
use indicatif::{HumanBytes, HumanCount, MultiProgress, ProgressBar, ProgressStyle};
use shunt_engine::Result;
use shunt_engine::mysql::control::Control;
use shunt_engine::mysql::server::ServerConfig;
use shunt_engine::runtime::tasks;
use shunt_engine::workflow::status::{self, TableStatus, WorkflowStatus};
use shunt_engine::workflow::verbs;
use tokio_util::sync::CancellationToken;

/// How often the sidecar is read.
const LOOK: Duration = Duration::from_millis(500);

/// How often a line is written where there is no terminal; a change of phase is written at once.
const LINE: Duration = Duration::from_secs(5);

/// More tables than this share one bar.
const BARS_MAX: usize = 12;

pub(super) async fn run(
    target: ServerConfig,
    name: String,
    cancel: CancellationToken,
) -> Result<()> {
    let mut display =
        if std::io::stderr().is_terminal() { Display::bars() } else { Display::lines() };
    let mut control = None;
    loop {
        let last = cancel.is_cancelled();
        // What cannot be read is not shown; the stream itself says what is wrong.
        if let Ok(status) = look(&target, &name, &mut control).await {
            display.show(&status);
        }
        if last {
            display.end();
            return Ok(());
        }
        tasks::pause(LOOK, &cancel).await;
    }
}

async fn look(
    target: &ServerConfig,
    name: &str,
    held: &mut Option<Control>,
) -> Result<WorkflowStatus> {
    let mut control = match held.take() {
        Some(control) => control,
        None => verbs::connect(target).await?,
    };
    let status = status::read(&mut control, name).await?;
    *held = Some(control);
    Ok(status)
}

enum Display {
    Bars { all: MultiProgress, tables: Vec<(String, ProgressBar)>, line: ProgressBar },
    Lines { phase: String, at: Option<Instant>, rate: Rate },
}

impl Display {
    fn bars() -> Self {
        let all = MultiProgress::new();
        let line = all.add(ProgressBar::new_spinner());
        line.set_style(style("{spinner} {msg}"));
        Self::Bars { all, tables: Vec::new(), line }
    }

    fn lines() -> Self {
        Self::Lines { phase: String::new(), at: None, rate: Rate::default() }
    }

    fn show(&mut self, status: &WorkflowStatus) {
        match self {
            Self::Bars { all, tables, line } => {
                for row in rows(status) {
                    move_bar(all, tables, &row);
                }
                line.set_message(summary(status));
                line.tick();
            }
            Self::Lines { phase, at, rate } => {
                let total = Total::of(status);
                let now = phase_of(status);
                let due = at.is_none_or(|at| at.elapsed() >= LINE);
                if due || *phase != now {
                    output::note!("{}", line(status, total, rate.of(total.rows)));
                    *phase = now;
                    *at = Some(Instant::now());
                }
            }
        }
    }

    fn end(&self) {
        if let Self::Bars { tables, line, .. } = self {
            for (_, bar) in tables {
                bar.abandon();
            }
            line.abandon();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

/// A bar: a table, or all of them.
struct BarRow {
    name: String,
    total: Total,
    done: bool,
    phase: &'static str,
}

fn rows(status: &WorkflowStatus) -> Vec<BarRow> {
    let tables: Vec<&TableStatus> = tables(status).collect();
    if tables.len() > BARS_MAX {
        let done = tables.iter().all(|table| table.done);
        let name = format!("{} tables", tables.len());
        return vec![BarRow { name, total: Total::of(status), done, phase: "" }];
    }
    let row = |table: &&TableStatus| BarRow {
        name: table.row.name.clone(),
        total: Total::of_table(table),
        done: table.done,
        phase: table.phase(),
    };
    tables.iter().map(row).collect()
}

fn move_bar(all: &MultiProgress, bars: &mut Vec<(String, ProgressBar)>, row: &BarRow) {
    let at = bars.iter().position(|(name, _)| *name == row.name).unwrap_or_else(|| {
        let bar = all.insert(bars.len(), ProgressBar::new(row.total.rows_expected));
        bar.set_style(style(
            "{prefix:20} [{bar:24}] {percent:>3}% {human_pos:>12} rows {per_sec:>14} {msg}",
        ));
        bar.set_prefix(row.name.clone());
        // What an earlier run copied is no rate of this one.
        bar.set_position(row.total.rows);
        bar.reset_eta();
        bars.push((row.name.clone(), bar));
        bars.len() - 1
    });
    let bar = &bars[at].1;
    bar.set_length(row.total.expected(row.done));
    bar.set_position(row.total.rows);
    let bytes = HumanBytes(row.total.bytes);
    let left = if row.done || row.total.rows == 0 {
        String::new()
    } else {
        format!(", {} s left", bar.eta().as_secs())
    };
    bar.set_message(format!("{bytes}{left} {}", row.phase));
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Total {
    rows: u64,
    bytes: u64,
    rows_expected: u64,
}

impl Total {
    fn of_table(table: &TableStatus) -> Self {
        let rows = table.copied.rows;
        let rows_expected = if table.done { rows } else { table.row.rows_estimate.max(rows) };
        Self { rows, bytes: table.copied.bytes, rows_expected }
    }

    fn of(status: &WorkflowStatus) -> Self {
        tables(status).map(Self::of_table).fold(Self::default(), |a, b| Self {
            rows: a.rows + b.rows,
            bytes: a.bytes + b.bytes,
            rows_expected: a.rows_expected + b.rows_expected,
        })
    }

    /// A bar is full when its table is done, not before.
    fn expected(&self, done: bool) -> u64 {
        if done { self.rows.max(1) } else { self.rows_expected.max(self.rows + 1) }
    }
}

fn tables(status: &WorkflowStatus) -> impl Iterator<Item = &TableStatus> {
    status.streams.iter().flat_map(|stream| &stream.tables)
}

fn phase_of(status: &WorkflowStatus) -> String {
    let doing = status.streams.iter().map(|stream| stream.progress.doing.as_str());
    let doing = doing.filter(|doing| !doing.is_empty()).collect::<Vec<_>>().join(", ");
    let state = status.state();
    if doing.is_empty() || !state.may_run() { state.to_string() } else { doing }
}

/// State, lag and what slows the stream down.
fn summary(status: &WorkflowStatus) -> String {
    let mut text = phase_of(status);
    if let Some(lag) = status.streams.iter().filter_map(|stream| stream.progress.lag_ms).max() {
        text += &format!(", lag {}.{} s", lag / 1000, lag % 1000 / 100);
    }
    let changes: u64 = status.streams.iter().map(|stream| stream.progress.changes_applied).sum();
    if changes > 0 {
        text += &format!(", {} changes applied", HumanCount(changes));
    }
    for reason in status.streams.iter().filter_map(|stream| stream.progress.throttled.as_ref()) {
        text += &format!(", throttled: {reason}");
    }
    text
}

fn line(status: &WorkflowStatus, total: Total, rate: u64) -> String {
    let (done, all) = (tables(status).filter(|t| t.done).count(), tables(status).count());
    let mut text = format!(
        "{}: {}; {done} of {all} tables, {} rows, {}",
        status.workflow.spec.name(),
        summary(status),
        HumanCount(total.rows),
        HumanBytes(total.bytes)
    );
    if done < all && rate > 0 {
        let left = (total.rows_expected - total.rows) / rate;
        text += &format!(", {} rows/s, about {left} s left", HumanCount(rate));
    }
    text
}

/// Rows a second since the last time it was asked for.
#[derive(Default)]
struct Rate {
    last: Option<(Instant, u64)>,
}

impl Rate {
    fn of(&mut self, rows: u64) -> u64 {
        let now = Instant::now();
        let rate = self.last.map_or(0, |(at, before)| {
            let ms = u64::try_from(now.duration_since(at).as_millis()).unwrap_or(u64::MAX).max(1);
            rows.saturating_sub(before).saturating_mul(1000) / ms
        });
        self.last = Some((now, rows));
        rate
    }
}
