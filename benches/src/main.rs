//! `shunt-bench-report DIR`: what is in a folder of raw tables, as `summary.md`, `summary.json` and a chart a table.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use shunt_benches::series::Series;
use shunt_benches::{chart, summary};

/// Sums up the tables of a run beside peers and draws them.
///
/// Reads DIR/*.txt, as the scripts in benches/ keep them, and writes summary.md, summary.json and an SVG for each table there.
#[derive(Debug, Parser)]
#[command(name = "shunt-bench-report", version)]
struct Arguments {
    /// The folder, one of benches/runs.
    dir: PathBuf,
}

fn main() -> ExitCode {
    match report(&Arguments::parse().dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shunt-bench-report: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn report(dir: &Path) -> Result<()> {
    let series = read(dir)?;
    let run = fs::canonicalize(dir)?;
    let run = run.file_name().unwrap_or_default().to_string_lossy();
    write(&dir.join("summary.md"), &summary::markdown(&run, &series))?;
    write(&dir.join("summary.json"), &format!("{:#}\n", summary::json(&run, &series)))?;
    for series in &series {
        write(&dir.join(format!("{}.svg", series.name)), &chart::svg(series))?;
    }
    Ok(())
}

/// The tables of a folder, by their names.
fn read(dir: &Path) -> Result<Vec<Series>> {
    let entries = fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        // What the machine is, and profiles, are texts beside the tables.
        name.ends_with(".txt") && name != "machine.txt" && !name.starts_with("profile-")
    });
    files.sort();
    if files.is_empty() {
        bail!("{} holds no tables (*.txt)", dir.display());
    }
    let read = |file: &PathBuf| {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        Series::parse(&name, &text).with_context(|| file.display().to_string())
    };
    files.iter().map(read).collect()
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("write {}", file.display()))?;
    println!("{}", file.display());
    Ok(())
}
