//! `shunt movetables leaks`: what was written on a side while it was closed; and the same for `status` and `show`.

use std::time::Duration;

use serde::Serialize;
use shunt_engine::cutover::leak::guard;
use shunt_engine::cutover::lost;
use shunt_engine::cutover::sides::{Place, Sides};
use shunt_engine::mysql::control::Control;
use shunt_engine::sidecar::fence::{self, FenceState};
use shunt_engine::sidecar::watch::{self, LeakRow};
use shunt_engine::sidecar::{stream, switch, workflow};
use shunt_engine::workflow::spec::WorkflowSpec;
use shunt_engine::workflow::state::StreamState;
use shunt_engine::{Error, Result};

use super::traffic::{Ground, sides};
use crate::args::traffic::Leaks;
use crate::config::Config;
use crate::exit::Exit;
use crate::output::{self, Format};

/// How long reading the closed side's binlog may take.
const LOOK_MAX: Duration = Duration::from_secs(60);
/// What `--acknowledge` takes for everything that is listed.
const ALL: &str = "all";

pub(in crate::commands) async fn run(args: &Leaks, config: &Config) -> anyhow::Result<Exit> {
    let ground = Ground::find(config, &args.workflow).await?;
    for place in [&ground.sides.source, &ground.sides.target] {
        guard::look(place, LOOK_MAX).await?;
    }
    if !args.acknowledge.is_empty() {
        acknowledge(&ground.sides, &args.acknowledge).await?;
    }
    let mut leaks = Vec::new();
    for place in [&ground.sides.source, &ground.sides.target] {
        let mut control = place.connect().await?;
        let rows = watch::leaks(&mut control, &place.incoming).await?;
        leaks.extend(rows.into_iter().map(|row| LeakView::of(place, row)));
        control.close().await;
    }
    match args.format {
        Format::Json => output::print_json(&leaks)?,
        Format::Text if leaks.is_empty() => output::print("No leaks found\n")?,
        Format::Text => output::print(&leaks.iter().map(LeakView::line).collect::<String>())?,
    }
    Ok(Exit::Done)
}

async fn acknowledge(sides: &Sides, gtids: &[String]) -> Result<()> {
    let mut left: Vec<&str> = gtids.iter().map(String::as_str).filter(|g| *g != ALL).collect();
    let all = left.len() < gtids.len();
    for place in [&sides.source, &sides.target] {
        let mut control = place.connect().await?;
        for row in watch::leaks(&mut control, &place.incoming).await? {
            let named = left.contains(&row.gtid.as_str());
            left.retain(|gtid| *gtid != row.gtid);
            if (named || all)
                && watch::acknowledge(&mut control, &place.incoming, &row.gtid).await?
            {
                let what = "leak acknowledged";
                workflow::journal(&mut control, &place.incoming, what, &row.gtid).await?;
            }
        }
        control.close().await;
    }
    if left.is_empty() {
        return Ok(());
    }
    Err(Error::usage(format!("no such leak: {}", left.join(", ")))
        .advice("`shunt movetables leaks WORKFLOW` lists them."))
}

/// A leak for people and programs.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct LeakView {
    /// `source` or `target`.
    side: String,
    #[serde(rename = "GTID")]
    gtid: String,
    what: String,
    log_file: String,
    log_offset: u64,
    generation: u64,
    seen: i64,
    acknowledged: bool,
}

impl LeakView {
    fn of(place: &Place, row: LeakRow) -> Self {
        Self {
            side: place.side.to_string(),
            gtid: row.gtid,
            what: row.what,
            log_file: row.end.file,
            log_offset: row.end.offset,
            generation: row.generation,
            seen: row.seen_s,
            acknowledged: row.acknowledged,
        }
    }

    fn line(&self) -> String {
        let Self { side, gtid, what, log_file, log_offset, .. } = self;
        let word = if self.acknowledged { "acknowledged" } else { "LEAK" };
        format!(
            "{word}: closed {side}: transaction {gtid} (up to {log_file} {log_offset}) {what}\n"
        )
    }
}

/// What is to be known of a closed side; nothing while all is well.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Closed {
    /// What was written on it, and is not acknowledged.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    leaks: Vec<LeakView>,
    /// Why nobody can say that there is nothing more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unwatched: Vec<String>,
    /// Why it does not follow the open side any more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    behind: Vec<String>,
    /// That both sides are open.
    #[serde(skip_serializing_if = "Option::is_none")]
    orphan: Option<String>,
}

impl Closed {
    /// Asks both sides of a workflow that was ever switched; `control` is to the side that the workflow writes into. A side that cannot be
    /// asked is no error here.
    pub(super) async fn read(
        config: &Config,
        control: &mut Control,
        spec: &WorkflowSpec,
    ) -> Result<Self> {
        let row = switch::read(control, &spec.name()).await?;
        let Some(row) = row.filter(|row| row.generation > 0) else { return Ok(Self::default()) };
        let plan = shunt_engine::cutover::sides::Plan::parse(&row.plan)?;
        let sides = sides(config, plan.spec)?;
        let mut closed = Self::default();
        for place in [&sides.source, &sides.target] {
            if let Err(error) = closed.add(place).await {
                closed.unwatched.push(format!("the {} cannot be asked: {error}", place.side));
            }
        }
        // Of one that cannot be asked it was said above.
        if lost::is_orphan(&sides).await.unwrap_or(false) {
            closed.orphan = Some(format!(
                "both sides take writes, {} and {}: one was opened past the other, or is a server from before a switch; neither has all that the other has",
                sides.source.keyspace, sides.target.keyspace
            ));
        }
        Ok(closed)
    }

    async fn add(&mut self, place: &Place) -> Result<()> {
        let mut control = place.connect().await?;
        let rows = watch::leaks(&mut control, &place.incoming).await?;
        let open = rows.into_iter().filter(|row| !row.acknowledged);
        self.leaks.extend(open.map(|row| LeakView::of(place, row)));
        self.behind.extend(stands_still(&mut control, place).await?);
        if watch::read(&mut control, &place.incoming).await?.is_some_and(|watch| !watch.owned) {
            self.unwatched.push(format!(
                "nobody watches the closed {}: a running `shunt serve` does",
                place.side
            ));
        }
        control.close().await;
        Ok(())
    }

    /// A line each, with what can be done.
    pub(super) fn text(&self) -> String {
        let mut text: String = self.leaks.iter().map(LeakView::line).collect();
        if !self.leaks.is_empty() {
            text +=
                "Complete is barred; `shunt movetables leaks` says more and takes --acknowledge.\n";
        }
        for why in &self.behind {
            text += &format!("not replicated back: {why}\n");
        }
        if let Some(why) = &self.orphan {
            text +=
                &format!("{why}; copy what you need, then `shunt movetables cancel --keep-data`\n");
        }
        for why in &self.unwatched {
            text += &format!("not watched: {why}\n");
        }
        text
    }
}

/// The stream into a side that was switched from, if it has failed.
async fn stands_still(control: &mut Control, place: &Place) -> Result<Option<String>> {
    let closed = fence::read(control, &place.incoming).await?;
    if !closed.is_some_and(|row| row.state == FenceState::Closed && row.generation > 0) {
        return Ok(None);
    }
    let Some(row) = workflow::find(control, &place.incoming).await? else { return Ok(None) };
    let streams = stream::of_workflow(control, row.id).await?;
    let failed = streams.iter().find(|stream| stream.state == StreamState::Error);
    Ok(failed.map(|stream| {
        format!(
            "the stream into the closed {} has failed: {}; mend that, and `shunt movetables start {}`",
            place.side, stream.message, place.incoming
        )
    }))
}
