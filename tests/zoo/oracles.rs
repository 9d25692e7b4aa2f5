//! Our decoder beside two others, on the same bytes: `mysql_cdc` and `mysql_common`, event by event and cell by cell.
//!
//! A server writes the zoo's tables ([`scene`]); each event of its log is decoded by all three in a common form ([`seen`]). Every
//! difference must be explained by the one table of known faults ([`faults`]). Who is right is the server's to say: what our decoder
//! makes of the whole log has to add up to the rows that the server shows ([`truth`]).
//!
//! The recordings of servers that are not at hand are decoded by all three, too; there `tests/fixtures/binlogs` is the judge.

mod cdc;
mod common;
mod compare;
mod faults;
mod ours;
mod scene;
mod seen;
mod shown;
mod truth;

use std::path::{Path, PathBuf};

use shunt_cli::sandbox::Sandbox;
use shunt_engine::mysql::binlog::{Event, EventBody};
use shunt_engine::mysql::control::Control;
use shunt_engine::mysql::server::Flavor;

use self::cdc::Cdc;
use self::common::Common;
use self::compare::{Difference, From, Other, explain};
use self::ours::Ours;
use self::truth::Model;
use crate::harness::pair::{Alone, mysql56, spec_of};
use crate::harness::site::connect;

/// The events of a file. What is broken at its end comes as an event, too.
fn split(file: &Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(file).unwrap();
    let mut rest = bytes.strip_prefix(b"\xfebin").unwrap();
    let mut events = Vec::new();
    while !rest.is_empty() {
        let size = rest.get(9..13).map_or(rest.len(), |size| {
            usize::try_from(u32::from_le_bytes(size.try_into().unwrap())).unwrap()
        });
        let (event, behind) = rest.split_at(size.clamp(1, rest.len()));
        events.push(event.to_vec());
        rest = behind;
    }
    events
}

/// The three decoders on one file.
struct Bench {
    ours: Ours,
    cdc: Cdc,
    common: Common,
    model: Model,
    differences: Vec<Difference>,
}

impl Bench {
    fn new(flavor: Flavor) -> Self {
        let (ours, cdc, common) = (Ours::new(flavor), Cdc::new(), Common::new());
        Self { ours, cdc, common, model: Model::default(), differences: Vec::new() }
    }

    fn file(&mut self, file: &Path) {
        // None of them may carry anything from one file to the next.
        (self.ours, self.cdc, self.common) =
            (Ours::new(self.ours.flavor()), Cdc::new(), Common::new());
        for (at, bytes) in split(file).iter().enumerate() {
            let place = format!("{} event {at}", file.file_name().unwrap().display());
            self.event(&place, bytes);
        }
    }

    fn event(&mut self, place: &str, bytes: &[u8]) {
        let (event, ours) = self.ours.decode(bytes);
        let mut columns = Vec::new();
        let mut place = place.to_owned();
        for rows in event.iter().flat_map(rows_of) {
            columns =
                (0..rows.table.columns.len()).map(|at| ours::column(&rows.table, at)).collect();
            place += &format!(" {}", rows.table.table);
            self.model.apply(rows);
        }
        let kind = bytes.get(4).copied().unwrap_or_default();
        let cdc = self.cdc.decode(bytes, &columns);
        let common = self.common.decode(bytes, &columns);
        for (other, theirs) in [(Other::Cdc, cdc), (Other::Common, common)] {
            let found = Difference::between(other, &place, kind, &columns, &ours, &theirs);
            self.differences.extend(found);
        }
    }
}

fn rows_of(event: &Event) -> Vec<&shunt_engine::mysql::binlog::RowsEvent> {
    match &event.body {
        EventBody::Rows(rows) => vec![rows],
        EventBody::Payload(events) => events.iter().flat_map(rows_of).collect(),
        _ => vec![],
    }
}

/// The files of the server's log, oldest first.
async fn logs(control: &mut Control) -> Vec<PathBuf> {
    let base = control.row("SELECT @@log_bin_basename").await.unwrap().unwrap().must(0).unwrap();
    let folder = Path::new(&base).parent().unwrap().to_owned();
    let files = control.rows("SHOW BINARY LOGS").await.unwrap();
    files.iter().map(|row| folder.join(row.must(0).unwrap())).collect()
}

async fn live(from: From, flavor: Flavor, mysqld: Option<PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    let server = Alone(Sandbox::start(spec_of(dir.path(), "zoo", mysqld, &[])).await.unwrap());
    let mut control = connect(&server.0.primary().config()).await;
    control.execute("USE zoo").await.unwrap();
    let truth = scene::play(&mut control, flavor).await;
    control.execute("FLUSH LOGS").await.unwrap();
    let mut bench = Bench::new(flavor);
    for file in logs(&mut control).await {
        bench.file(&file);
    }
    control.close().await;
    drop(server);
    bench.differences.extend(bench.model.differences(&truth));
    explain(from, &bench.differences);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_difference_on_mariadb_is_explained() {
    live(From::MariaDb, Flavor::MariaDb, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_difference_on_mysql56_is_explained() {
    live(From::MySql56, Flavor::MySql, Some(mysql56())).await;
}

/// Which are read as MariaDB's.
fn flavor_of(name: &str) -> Flavor {
    if name.starts_with("mariadb") { Flavor::MariaDb } else { Flavor::MySql }
}

#[test]
fn every_difference_on_recordings_is_explained() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/binlogs");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut differences = Vec::new();
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        // What is no log, and what is broken: there nothing can be agreed upon.
        if !bytes.starts_with(b"\xfebin") || name.starts_with("corrupt") {
            continue;
        }
        let mut bench = Bench::new(flavor_of(&name));
        bench.file(&file);
        differences.append(&mut bench.differences);
    }
    explain(From::Recordings, &differences);
}
