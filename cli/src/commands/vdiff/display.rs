//! How far a VDiff in this process is, on stderr: a bar on a terminal, a line now and then anywhere else.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use shunt_engine::Result;
use shunt_engine::runtime::tasks;
use shunt_vdiff::table::Progress;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::output;

/// How often a bar moves.
const LOOK: Duration = Duration::from_millis(200);

/// How often a line is written where there is no terminal.
const LINE: Duration = Duration::from_secs(5);

/// Runs `work` and shows how far it is. What becomes of the display decides nothing.
pub(in crate::commands) async fn beside<T>(
    work: impl AsyncFnOnce(&watch::Sender<Progress>) -> T,
) -> T {
    let (progress, shown) = watch::channel(Progress::default());
    let stop = CancellationToken::new();
    let showing = tasks::spawn("display", run(shown, stop.clone()));
    let ended = Box::pin(work(&progress)).await;
    stop.cancel();
    drop(showing.join().await);
    ended
}

async fn run(progress: watch::Receiver<Progress>, cancel: CancellationToken) -> Result<()> {
    let bar = std::io::stderr().is_terminal().then(bar);
    let mut line = Line { at: Instant::now(), rows: 0 };
    while tasks::pause(LOOK, &cancel).await {
        let now = progress.borrow().clone();
        match &bar {
            Some(bar) => move_bar(bar, &now),
            None => line.show(&now),
        }
    }
    if let Some(bar) = bar {
        bar.abandon();
    }
    Ok(())
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(1);
    let style = "{prefix:20} [{bar:24}] {percent:>3}% {human_pos:>12} rows {per_sec:>14} {msg}";
    let style = ProgressStyle::with_template(style);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
    bar
}

fn move_bar(bar: &ProgressBar, now: &Progress) {
    if bar.prefix() != now.table {
        bar.set_prefix(now.table.clone());
        bar.set_position(now.rows);
        bar.reset_eta();
    }
    bar.set_length(now.rows_estimate.max(now.rows + 1));
    bar.set_position(now.rows);
    bar.set_message(format!(
        "{} differ, {} s left",
        HumanCount(now.differences),
        bar.eta().as_secs()
    ));
}

struct Line {
    at: Instant,
    rows: u64,
}

impl Line {
    fn show(&mut self, now: &Progress) {
        let elapsed = self.at.elapsed();
        if elapsed < LINE {
            return;
        }
        let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = now.rows.saturating_sub(self.rows).saturating_mul(1000) / ms;
        let left = now.rows_estimate.saturating_sub(now.rows).checked_div(rate);
        let left = left.map_or_else(String::new, |left| format!(", about {left} s left"));
        output::note!(
            "{}: {} rows, {} rows/s{left}, {} differ",
            now.table,
            HumanCount(now.rows),
            HumanCount(rate),
            HumanCount(now.differences)
        );
        *self = Self { at: Instant::now(), rows: now.rows };
    }
}
