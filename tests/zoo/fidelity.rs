//! The scoreboard: the zoo moved by shunt and by others, and the cells that are not what they were. `benches/fidelity.sh` runs it.
//!
//! Only what shunt admits is moved, so that all move the same; the tables rest meanwhile. Others go on after an error, so that
//! one table that they cannot load costs them no other. Cells are told apart by `harness::cells`, on the servers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use shunt_cli::sandbox::SandboxServer;
use shunt_engine::mysql::control::{Control, Row};

use super::cage::Cage;
use super::journey::filled;
use super::{DIRECTIONS, Direction};
use crate::harness::binary::Binary;
use crate::harness::cells;
use crate::harness::pair::Pair;
use crate::harness::site::Site;

/// Who moves.
const TOOLS: [&str; 3] = ["shunt", "mariadb-dump \\| mariadb", "mydumper + myloader"];

/// What became of the cells.
#[derive(Debug, Default)]
struct Score {
    cells: u64,
    changed: u64,
    /// Not on the target at all.
    missing: u64,
    /// Both by type.
    types: BTreeMap<String, u64>,
    error: String,
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a scoreboard, not a test: benches/fidelity.sh"]
async fn scoreboard() {
    let out = std::env::var("SHUNT_FIDELITY").unwrap();
    let mut table =
        format!("| direction | cells | {} |\n|---|---|---|---|---|\n", TOOLS.join(" | "));
    let mut details = String::new();
    for direction in DIRECTIONS {
        let scores = scores(direction).await;
        let cells = scores.first().unwrap().cells;
        write!(table, "| {} | {cells} |", direction.name).unwrap();
        for (tool, score) in TOOLS.iter().zip(&scores) {
            write!(table, " {} changed, {} missing |", score.changed, score.missing).unwrap();
            if score.types.is_empty() {
                continue;
            }
            writeln!(details, "\n{}, {tool}: {}\n", direction.name, score.error).unwrap();
            for (kind, cells) in &score.types {
                let kind: String = kind.chars().take(70).collect();
                writeln!(details, "- {cells} of `{kind}`").unwrap();
            }
        }
        table.push('\n');
    }
    std::fs::write(&out, format!("{table}\n## What was lost\n{details}")).unwrap();
    println!("{table}");
}

async fn scores(direction: &Direction) -> Vec<Score> {
    let (source, target) = (direction.source(), direction.target());
    let pair = Pair::with(source, target, &[], &[]).await;
    let cages = filled(&pair, direction).await;
    let site = Site::new(&pair, "").await;
    let mut scores = Vec::new();
    for at in 0..TOOLS.len() {
        let error = match at {
            0 => shunt(&site, &cages).await,
            1 => dump(pair.source.primary(), pair.target.primary()),
            _ => mydumper(pair.source.primary(), pair.target.primary(), pair.dir()),
        };
        let mut score = Score { error, ..Score::default() };
        let [mut here, mut there] = [pair.on_source().await, pair.on_target().await];
        for cage in &cages {
            count(cage, &mut here, &mut there, &mut score).await;
        }
        scores.push(score);
        if at == 0 {
            site.must("movetables cancel customer.move").await;
        }
        there.execute("DROP DATABASE customer").await.unwrap();
        there.execute("CREATE DATABASE customer").await.unwrap();
    }
    scores
}

async fn shunt(site: &Site, cages: &[Cage]) -> String {
    let names: Vec<&str> = cages.iter().map(|cage| cage.table.as_str()).collect();
    let words = format!(
        "movetables create customer.move --source commerce --tables {} --stop-after-copy",
        names.join(",")
    );
    let said = site.run(Binary::Plain, None, &words).await;
    if said.code == Some(0) { String::new() } else { said.text }
}

fn dump(source: &SandboxServer, target: &SandboxServer) -> String {
    let script = "set -o pipefail; mariadb-dump --no-defaults --protocol=TCP --host=127.0.0.1 --port=$1 --user=$2 \
         --single-transaction --hex-blob commerce | \
         MYSQL_PWD=$5 mariadb --no-defaults --protocol=TCP --host=127.0.0.1 --port=$3 --user=$4 --force customer";
    run(script, source, target, Path::new("."))
}

fn mydumper(source: &SandboxServer, target: &SandboxServer, dir: &Path) -> String {
    let script = "mydumper --host=127.0.0.1 --port=$1 --user=$2 --password=$MYSQL_PWD --database=commerce --outputdir=dump \
         --trx-consistency-only && \
         myloader --host=127.0.0.1 --port=$3 --user=$4 --password=$5 --database=customer --source-db=commerce --directory=dump";
    run(script, source, target, dir)
}

/// Runs a script with both servers' ports and accounts; the last line of what it says on stderr.
fn run(script: &str, source: &SandboxServer, target: &SandboxServer, dir: &Path) -> String {
    let (here, there) = (source.config(), target.config());
    let output = Command::new("bash")
        .args(["-c", script, "bash", &source.port().to_string(), &here.user])
        .args([&target.port().to_string(), &there.user, there.password.expose()])
        .env("MYSQL_PWD", here.password.expose())
        .current_dir(dir)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut lines = said.lines().filter(|line| !line.starts_with("--") && !line.is_empty());
    let last = lines.find(|line| line.to_lowercase().contains("error")).unwrap_or_default();
    format!("{} {}", output.status, last.chars().take(160).collect::<String>())
}

async fn count(cage: &Cage, source: &mut Control, target: &mut Control, score: &mut Score) {
    let query = cells::query(source, &cage.table).await;
    let here = source.rows(&query).await.unwrap();
    let there = target.rows(&query).await.unwrap_or_default();
    let width = (0..).take_while(|at| here[0].bytes(*at).is_some() || *at < 2).count();
    let width = width.max(cage.columns.len() + 1);
    let key = |row: &Row| row.bytes(0).map(<[u8]>::to_vec);
    let arrived: BTreeMap<_, &Row> = there.iter().map(|row| (key(row), row)).collect();
    let mut note = |at: usize| {
        let column = if cage.key { 0 } else { at.saturating_sub(1).min(cage.columns.len() - 1) };
        let name = if cage.key { " as a key" } else { "" };
        let name = format!("{}{name}", cage.columns[column].definition);
        *score.types.entry(name).or_default() += 1;
    };
    for row in &here {
        score.cells += width as u64;
        for at in 0..width {
            match arrived.get(&key(row)) {
                Some(other) if other.bytes(at) == row.bytes(at) => {}
                Some(_) => {
                    score.changed += 1;
                    note(at);
                }
                None => {
                    score.missing += 1;
                    note(at);
                }
            }
        }
    }
}
