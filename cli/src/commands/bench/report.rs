//! What a bench found: rows a second of each step, and the time of what stands beside it.

use std::time::Duration;

use serde::Serialize;

use crate::output::{self, Format};

/// Clock ticks of `/proc` in a second; the kernel shows these to programs on every architecture.
const TICKS: f64 = 100.0;

/// A step, beside what the servers need without shunt.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Step {
    what: &'static str,
    rows: u64,
    seconds: f64,
    rows_per_second: f64,
    beside: &'static str,
    beside_seconds: f64,
    /// The step's time by that of what stands beside it.
    ratio: f64,
}

impl Step {
    pub(super) fn new(what: &'static str, rows: u64, took: Duration) -> Self {
        let seconds = took.as_secs_f64();
        let rows_per_second = quotient(as_f64(rows), seconds);
        Self { what, rows, seconds, rows_per_second, beside: "", beside_seconds: 0.0, ratio: 0.0 }
    }

    pub(super) fn beside(self, beside: &'static str, took: Duration) -> Self {
        let beside_seconds = took.as_secs_f64();
        Self { beside, beside_seconds, ratio: quotient(self.seconds, beside_seconds), ..self }
    }
}

#[allow(clippy::cast_precision_loss, reason = "numbers of rows are far below 2^53")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

fn quotient(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { 0.0 }
}

/// All steps.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Report {
    tables: usize,
    rows_each: u64,
    steps: Vec<Step>,
    /// Of this process, from its start, where `/proc` tells.
    cpu_seconds: Option<f64>,
    peak_kib: Option<u64>,
}

impl Report {
    pub(super) fn new(tables: usize, rows_each: u64) -> Self {
        Self { tables, rows_each, steps: Vec::new(), cpu_seconds: None, peak_kib: None }
    }

    pub(super) fn add(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// Reads what this process took.
    pub(super) fn finish(&mut self) {
        let read = |file| std::fs::read_to_string(file).ok();
        self.cpu_seconds = read("/proc/self/stat").as_deref().and_then(cpu_seconds);
        self.peak_kib = read("/proc/self/status").as_deref().and_then(peak_kib);
    }
}

/// The times in user and system mode stand 12th and 13th behind the command's name, which may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, behind) = stat.rsplit_once(')')?;
    let ticks = |at: usize| behind.split_whitespace().nth(at)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS)
}

fn peak_kib(status: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

pub(super) fn print(report: &Report, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Json => output::print_json(report),
        Format::Text => output::print(&text(report)),
    }
}

fn text(report: &Report) -> String {
    let line = |step: &Step| {
        [
            step.what.to_owned(),
            step.rows.to_string(),
            format!("{:.2}", step.seconds),
            format!("{:.0}", step.rows_per_second),
            format!("{} {:.2}", step.beside, step.beside_seconds),
            format!("{:.2}", step.ratio),
        ]
    };
    let lines: Vec<_> = report.steps.iter().map(line).collect();
    let heading = ["Step", "Rows", "Seconds", "Rows/s", "Beside (seconds)", "Ratio"];
    let mut text = output::table(heading, &lines);
    if let (Some(cpu), Some(peak)) = (report.cpu_seconds, report.peak_kib) {
        text += &format!(
            "\nThis process took {cpu:.2} s of CPU and {} MiB at its peak.\n",
            peak / 1024
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_memory_are_read_behind_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 90 0 0 0 150 50 0 0 20 0 1 0 1 2 3";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("7 (x) S 1"), None);
        assert_eq!(peak_kib("Name:\tx\nVmHWM:\t  2048 kB\n"), Some(2048));
    }

    #[test]
    fn a_step_stands_beside_its_limit() {
        let step = Step::new("copy", 1_000, Duration::from_secs(2))
            .beside("bare scan", Duration::from_secs(1));
        let report = Report { steps: vec![step], ..Report::new(2, 500) };
        let text = text(&report);
        assert!(text.contains("copy  1000  2.00     500     bare scan 1.00    2.00"), "{text}");
    }
}
