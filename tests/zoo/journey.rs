//! The way of the zoo: copied while it is written, streamed, compared, damaged and mended, switched, carried back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use shunt_engine::mysql::control::Control;
use shunt_engine::preflight::Level;
use shunt_engine::sidecar::wanted::Wanted;
use shunt_vdiff::report::{State, TableRecord};
use shunt_vdiff::spec::{Spec, Strength};
use shunt_vdiff::workflow::{self, Which};

use super::Direction;
use super::cage::Cage;
use super::types::Type;
use crate::harness::binary::Binary;
use crate::harness::cells;
use crate::harness::load::Load;
use crate::harness::pair::{PATIENCE, Pair, WORKFLOW};
use crate::harness::shell::Serving;
use crate::harness::site::{LOOK, Site};

/// What the zoo's own sessions admit: zero dates, odd dates, out of range values never.
const LENIENT: &str = "SET NAMES utf8mb4, sql_mode = 'ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO', time_zone = '+00:00'";

/// A type that preflight does not let through, as its definition begins, and words of the reason.
pub(super) type Refused = (&'static str, &'static str);

/// A zoo between two servers.
pub(super) struct Journey {
    serving: Serving,
    site: Site,
    cages: Vec<Cage>,
    source: Control,
    target: Control,
    pair: Pair,
}

impl Journey {
    /// Fills the source, and copies what preflight admits while it is written.
    pub(super) async fn begin(direction: &Direction) -> Self {
        let pair = Pair::with(direction.source(), direction.target(), &[], &[]).await;
        let cages = filled(&pair, direction).await;
        let mut source = pair.on_source().await;
        source.execute(LENIENT).await.unwrap();
        let mut target = pair.on_target().await;
        target.execute(LENIENT).await.unwrap();
        let site = Site::new(&pair, "").await;
        let serving = site.serve(Binary::Plain, None);
        let mut journey = Self { serving, site, cages, source, target, pair };
        journey.copied().await;
        journey
    }

    async fn copied(&mut self) {
        let cages = Arc::new(self.cages.clone());
        let load = Load::start(&self.pair.source_config(), "commerce", 2, move |random| {
            let cage = &cages[usize::try_from(random.below(cages.len() as u64)).unwrap()];
            let mut statements = vec![LENIENT.to_owned(), "DO SLEEP(0.002)".to_owned()];
            statements.extend((0..3).map(|_| cage.write(random)));
            statements
        });
        let names: Vec<&str> = self.cages.iter().map(|cage| cage.table.as_str()).collect();
        self.site.must(&self.site.create(&names.join(","), "chunk_rows_max=5")).await;
        self.site.wait("running").await;
        let committed = load.stop().await;
        assert!(committed > 100, "{committed} transactions were written during the copy");
        self.site.wait("caught-up").await;
        self.assert_same("copied").await;
    }

    /// Changes everything on the source.
    pub(super) async fn streamed(&mut self, round: usize) {
        change(&self.cages, &mut self.source, round).await;
        self.site.wait("caught-up").await;
        self.assert_same("streamed").await;
    }

    /// The traffic goes to the target, everything is changed there and carried back, and the traffic comes home.
    pub(super) async fn reversed(&mut self, round: usize) {
        let switch = |verb: &str| {
            format!("movetables {verb} {} --no-gateway --max-pause 20s", self.site.workflow())
        };
        let [there, home] = ["switchtraffic", "reversetraffic"].map(switch);
        self.site.must_at_last(&there).await;
        change(&self.cages, &mut self.target, round).await;
        self.site
            .must("movetables wait commerce.move_reverse --for caught-up --timeout 120s")
            .await;
        self.assert_same("carried back").await;
        self.site.must_at_last(&home).await;
    }

    /// VDiffs of both strengths find nothing; then every table is damaged, and they find exactly what the servers print
    /// otherwise; a repair brings all of it back.
    pub(super) async fn compared(&mut self) {
        for strength in [Strength::Fast, Strength::Strong] {
            for table in self.vdiff(strength, None).await {
                assert!(!table.differs() && table.unsettled == 0, "{strength:?}: {table:?}");
                assert!(table.matching > 0, "{table:?}");
            }
        }
        for statement in self.cages.iter().flat_map(Cage::damage) {
            let done = self.target.execute(&statement).await;
            done.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
        let expected = self.damaged().await;
        for strength in [Strength::Fast, Strength::Strong] {
            let found: BTreeMap<String, Found> =
                self.vdiff(strength, None).await.iter().map(Found::of).collect();
            for cage in &self.cages {
                let (found, expected) = (&found[&cage.table], &expected[&cage.table]);
                assert_eq!(found, expected, "{strength:?} {}", cage.definitions());
            }
        }
        let (mended, others): (Vec<&Cage>, _) = self.cages.iter().partition(|c| c.is_repaired());
        let mended: Vec<String> = mended.iter().map(|cage| cage.table.clone()).collect();
        self.vdiff(Strength::Auto, Some(&mended)).await;
        // The others are brought back by the stream.
        for cage in others {
            let update = format!("UPDATE {} SET n = n + 1", cage.table);
            self.source.execute(update).await.unwrap();
        }
        self.site.wait("caught-up").await;
        self.assert_same("repaired").await;
    }

    /// What of each table the servers print differently.
    async fn damaged(&mut self) -> BTreeMap<String, Found> {
        let mut expected = BTreeMap::new();
        for cage in &self.cages {
            let [here, there] = cells::both(&mut self.source, &mut self.target, &cage.table).await;
            let found = if cage.key {
                let missing = u64::try_from(here.len() - there.len()).unwrap();
                assert_eq!(missing, 1, "{}", cage.definitions());
                Found { mismatched: BTreeSet::new(), missing }
            } else {
                let pairs = here.iter().zip(&there).filter(|(here, there)| here != there);
                let id = |row: &shunt_engine::mysql::control::Row| unhex(&row.must(0).unwrap());
                let mismatched: BTreeSet<String> = pairs.map(|(here, _)| id(here)).collect();
                let damaged = mismatched.len() == cage.columns.len();
                assert!(damaged, "{}: {mismatched:?} are damaged", cage.definitions());
                Found { mismatched, missing: 0 }
            };
            expected.insert(cage.table.clone(), found);
        }
        expected
    }

    /// A VDiff of the workflow, which the `serve` runs: of all tables, or one that repairs these.
    async fn vdiff(&self, strength: Strength, repair: Option<&[String]>) -> Vec<TableRecord> {
        let mut control = self.pair.on_target().await;
        let tables = repair.unwrap_or_default();
        let repair = repair.is_some();
        let spec = Spec { strength, repair, sample_rows: 2000, ..Spec::default() };
        let uuid = format!("zoo-{strength:?}-{}", crate::vdiff::unique());
        workflow::create(&mut control, WORKFLOW, &uuid, &spec, tables, Wanted::Run).await.unwrap();
        let (started, which) = (Instant::now(), Which::Uuid(uuid));
        loop {
            let row = workflow::find(&mut control, WORKFLOW, &which).await.unwrap().remove(0);
            let record = workflow::record(&mut control, &row).await.unwrap();
            match record.state {
                State::Completed => return record.tables,
                State::Pending | State::Started if started.elapsed() < PATIENCE => {}
                state => panic!("{state}: {} {}", record.message, self.serving.log()),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn assert_same(&mut self, how: &str) {
        let mut differing = Vec::new();
        for cage in &self.cages {
            let differs = cells::differs(&mut self.source, &mut self.target, &cage.table).await;
            differing.extend(differs.map(|how| format!("{} {how}", cage.definitions())));
        }
        assert!(differing.is_empty(), "{how} wrongly:\n{}", differing.join("\n"));
    }

    /// Ends well.
    pub(super) async fn end(self) {
        self.serving.stop().await;
    }
}

/// What a VDiff found of a table: the numbers of rows that differ, how many rows the target lacks.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    mismatched: BTreeSet<String>,
    missing: u64,
}

impl Found {
    fn of(table: &TableRecord) -> (String, Self) {
        let id = |row: &serde_json::Map<String, serde_json::Value>| {
            row.get("id").and_then(|id| id.as_str()).unwrap_or_default().to_owned()
        };
        let mismatched = table.mismatched_sample.iter().map(|pair| id(&pair.source.row)).collect();
        (table.name.clone(), Self { mismatched, missing: table.extra_source })
    }
}

/// `313030` is 100.
fn unhex(text: &str) -> String {
    text.chars().skip(1).step_by(2).collect()
}

async fn change(cages: &[Cage], control: &mut Control, round: usize) {
    for statement in cages.iter().flat_map(|cage| cage.changes(round)) {
        let done = control.execute(&statement).await;
        done.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
}

/// Fills the source with all that it has. Preflight refuses exactly the listed types; the tables of the others.
pub(super) async fn filled(pair: &Pair, direction: &Direction) -> Vec<Cage> {
    let mut source = pair.on_source().await;
    source.execute(LENIENT).await.unwrap();
    let refused = direction.refused();
    let alone = |kind: &Type| refusal(kind.definition, &refused).is_some();
    let cages = Cage::all(|kind| direction.has(kind), alone);
    for cage in &cages {
        for statement in [cage.create(), cage.insert(0)] {
            let done = source.execute(&statement).await;
            done.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
    }
    admitted(pair, cages, &refused).await
}

fn refusal(definition: &str, refused: &[Refused]) -> Option<Refused> {
    refused.iter().copied().find(|(begin, _)| definition.starts_with(begin))
}

/// The tables that preflight lets through. It refuses exactly the listed types, each with its reason.
async fn admitted(pair: &Pair, cages: Vec<Cage>, refused: &[Refused]) -> Vec<Cage> {
    let names: Vec<&str> = cages.iter().map(|cage| cage.table.as_str()).collect();
    let mut reasons: BTreeMap<String, String> = BTreeMap::new();
    for finding in pair.findings(&names).await {
        if finding.level == Level::Error {
            let table = finding.subject.split('.').next().unwrap().to_owned();
            *reasons.entry(table).or_default() += &finding.reason;
        }
    }
    let (mut seen, mut wrong) = (BTreeSet::new(), Vec::new());
    let mut admitted = Vec::new();
    for cage in cages {
        let definition = cage.definitions();
        let listed = refusal(&definition, refused);
        match (reasons.remove(&cage.table), listed) {
            (None, None) => admitted.push(cage),
            (Some(reason), Some((begin, why))) if reason.contains(why) => {
                seen.insert(begin);
            }
            (reason, listed) => {
                wrong.push(format!("{definition}: {reason:?}, expected {listed:?}"))
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(seen.len(), refused.len(), "only {seen:?} are refused");
    assert!(reasons.is_empty(), "{reasons:?}");
    admitted
}
