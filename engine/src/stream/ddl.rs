//! DDL on a moved table, everything before it applied: the stream stops, passes it over, or runs it on the target.
//!
//! Whichever it is, the attempt ends: what follows in the binlog is read with the definitions that are valid there, which the
//! next attempt finds on the target (`setup`). The reader of the binlog waits behind DDL for the same reason.
//!
//! DDL commits by itself, so it cannot share a transaction with the position. Before it runs, one transaction notes that the
//! target may be ahead of its position by this GTID, and what the tables look like; after it, one transaction saves the new
//! definitions with the position. An owner that finds the note compares the tables: if they changed, the statement ran.
//! (A takeover ends the connection that runs it, and DDL on one table is atomic.)

use serde::{Deserialize, Serialize};

use super::Ended;
use super::owner::Owned;
use super::queue::{Queued, QueuedWork};
use crate::changes::ddl::{self, DdlStatement, Effect, Kinship, Known};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::failpoints;
use crate::mysql::control::{Control, Session};
use crate::mysql::gtid::Gtid;
use crate::mysql::names::same;
use crate::mysql::schema;
use crate::mysql::schema::definition::{Definition, ItemKind, without_counter};
use crate::mysql::snapshot::{LogPosition, ReadPosition};
use crate::mysql::sql;
use crate::runtime::tasks::spawn;
use crate::sidecar::lease;
use crate::sidecar::wanted::Wanted;
use crate::sidecar::{range, stream, table_plan, workflow};
use crate::workflow::spec::OnDdl;
use crate::workflow::state::StreamState;

/// The journal's entry of DDL that is about to be run.
const BEGUN: &str = "ddl begun";

/// DDL at the front of the queue.
#[derive(Debug)]
struct Ddl {
    gtid: Gtid,
    tables: Vec<usize>,
    statement: DdlStatement,
    end: LogPosition,
}

/// What is noted before DDL is run.
#[derive(Debug, Serialize, Deserialize)]
struct Begun {
    gtid: String,
    statement: String,
    /// What the target's tables looked like.
    before: Vec<String>,
}

impl Owned {
    /// Does what `--on-ddl` says.
    pub(super) async fn ddl(&mut self, queued: Queued) -> Result<Option<Ended>> {
        let QueuedWork::Ddl { tables, statement, end } = queued.work else {
            unreachable!("only DDL is handed out as DDL");
        };
        let ddl = Ddl { gtid: queued.gtid, tables, statement, end };
        let mut effects = Vec::new();
        for at in &ddl.tables {
            effects.push(ddl.statement.effect(&self.known(*at).await?));
        }
        match (self.spec.on_ddl, effects.into_iter().max().unwrap_or(Effect::REMOVES)) {
            (_, Effect::Stops(why)) => Err(self.stops(&ddl, why, ADVICE_CANCEL)),
            (OnDdl::Stop, Effect::Reshapes) if !self.copied() => Err(self.stops(&ddl, "", ADVICE_CANCEL)),
            (OnDdl::Stop, _) => Err(self.stops(&ddl, "", ADVICE_STOP)),
            (OnDdl::Ignore, Effect::Keeps) => self.pass_over(&ddl, "--on-ddl").await.map(Some),
            (OnDdl::Ignore, Effect::Reshapes) => Err(self.stops(
                &ddl,
                "it cannot be passed over, since it may change the rows' images or which rows are taken for the same",
                ADVICE_CANCEL,
            )),
            (OnDdl::Exec | OnDdl::ExecIgnore, effect) => {
                if !self.may_run(&ddl)? {
                    let work = QueuedWork::Ddl {
                        tables: ddl.tables,
                        statement: ddl.statement,
                        end: ddl.end,
                    };
                    let front =
                        Queued { seq: queued.seq, gtid: ddl.gtid, work, share: queued.share };
                    self.flow.queue.push_front(front);
                    return Ok(None);
                }
                self.run_ddl(&ddl, effect).await.map(Some)
            }
        }
    }

    /// A definition on the source that the stream has not met must come from DDL in the binlog.
    pub(super) fn check_ddl_came(&self) -> Result<()> {
        let Some(until) = &self.ddl_awaited else { return Ok(()) };
        if !self.positions.applied.gtids.contains_set(until) {
            return Ok(());
        }
        Err(Error::stop(
            "the definitions of a moved table differ between source and target, and no DDL in the binlog says how",
        )
        .advice(
            "Either it was changed with sql_log_bin=0, or a statement that was run by --on-ddl made another definition on the \
             target than on the source. Cancel the workflow and create it again.",
        ))
    }

    /// What is known of a table: on the target, and of what is built there after the copy.
    async fn known(&mut self, at: usize) -> Result<Known> {
        let table = &self.tables[at];
        let has_time = table.plan.source.columns.iter().any(|column| column.data_type == "time");
        let identity = table.plan.key.as_ref().map(|key| key.index.clone());
        let single = table.plan.key.as_ref().is_some_and(|key| key.columns.len() == 1);
        let pending = table.row.keys_sql.as_deref().filter(|_| !table.row.keys_built);
        let (mut loose, mut spare_unique) = pending.map(ddl::added_keys).unwrap_or_default();
        let name = table.plan.target();
        let row = self.steward.control().row(format!("SHOW CREATE TABLE {name}")).await?;
        self.steward.rollback().await?;
        let definition = Definition::parse(&row.unwrap_or_default().must(1)?)?;
        spare_unique |= definition.items.iter().any(|item| {
            matches!(item.kind, ItemKind::Unique | ItemKind::Primary)
                && Some(&item.name) != identity.as_ref()
        });
        let unique: Vec<String> = definition
            .items
            .iter()
            .filter(|item| item.kind == ItemKind::Unique)
            .map(|item| item.name.clone())
            .collect();
        loose.extend(definition.items.into_iter().filter_map(|item| match item.kind {
            ItemKind::Index
            | ItemKind::Fulltext
            | ItemKind::Spatial
            | ItemKind::ForeignKey
            | ItemKind::Check => Some(item.name),
            ItemKind::Column | ItemKind::Primary | ItemKind::Unique | ItemKind::Period => None,
        }));
        // A foreign key may bear the name of a unique key.
        loose.retain(|name| !unique.iter().any(|unique| same(unique, name)));
        let kinship = Kinship::of(&self.source, self.steward.control().info());
        Ok(Known { identity, single, loose, spare_unique, has_time, kinship })
    }

    fn copied(&self) -> bool {
        self.tables.iter().all(super::table::Table::finished)
    }

    /// Whether DDL can be run now: the copy is complete, and so is what is built after it.
    fn may_run(&self, ddl: &Ddl) -> Result<bool> {
        if !self.copied() || !self.positions.applied.gtids.contains_set(&self.positions.settled) {
            let why = "DDL cannot be run on the target before the copy is complete and caught up";
            return Err(self.stops(ddl, why, ADVICE_CANCEL));
        }
        // Before it is running again the stream looks for the DDL that makes the definitions equal: this may be it.
        let looks = self.state == StreamState::CatchUp && self.ddl_awaited.is_some();
        let built = self.tables.iter().all(|t| t.row.keys_built);
        Ok((self.state == StreamState::Running || looks) && built)
    }

    fn stops(&self, ddl: &Ddl, why: &str, advice: &str) -> Error {
        let names: Vec<String> =
            ddl.tables.iter().map(|at| sql::ident(&self.tables[*at].row.name)).collect();
        let why = if why.is_empty() { String::new() } else { format!("; {why}") };
        Error::stop(format!(
            "DDL on {} at {} ({} {}): {}{why}",
            names.join(", "),
            ddl.gtid,
            ddl.end.file,
            ddl.end.offset,
            shown(&ddl.statement.text()),
        ))
        .advice(advice)
    }

    fn position_after(&self, ddl: &Ddl) -> Result<ReadPosition> {
        let mut gtids = self.positions.applied.gtids.clone();
        gtids.insert(&ddl.gtid)?;
        Ok(ReadPosition { gtids, log: self.positions.place(ddl.end.clone()) })
    }

    /// Moves the position past it and leaves the target as it is.
    async fn pass_over(&mut self, ddl: &Ddl, because: &str) -> Result<Ended> {
        let statement = ddl.statement.text();
        tracing::warn!(%statement, because, "DDL on the source is passed over");
        let to = self.position_after(ddl)?;
        let control = self.steward.begin().await?;
        workflow::journal(control, &self.config.workflow, "ddl passed over", &statement).await?;
        let (from, source) = (&self.positions.applied.gtids, &self.source.identity);
        stream::advance(control, self.tenure, from, &to, source).await?;
        self.steward.commit().await.context("pass DDL over")?;
        Ok(Ended::Again)
    }

    async fn run_ddl(&mut self, ddl: &Ddl, effect: Effect) -> Result<Ended> {
        // Which key tells rows apart decides how rows are numbered; a statement of more than one table numbers none.
        let known = self.known(ddl.tables[0]).await?;
        let spec = &self.spec;
        let text = ddl.statement.for_target(&known, &spec.source_database, &spec.target_database);
        let refused = text.is_err();
        let ran = match text {
            Err(error) => Err(error),
            Ok(text) if self.begin_ddl(ddl, &text).await? => self.execute(ddl, text).await,
            Ok(_) => Ok(()),
        };
        match ran {
            Ok(()) => self.finish_ddl(ddl).await,
            Err(error) if error.kind() != ErrorKind::Stop => {
                Err(error.context("run DDL on the target"))
            }
            Err(error) if spec_ignores(self.spec.on_ddl, effect) => {
                self.pass_over(ddl, &error.to_string()).await
            }
            Err(error) => Err(self.stops(
                ddl,
                &format!("it cannot be run on the target: {error}"),
                if refused { ADVICE_CANCEL } else { ADVICE_EXEC },
            )),
        }
    }

    /// Notes what is about to be run; `false` if it was run already.
    async fn begin_ddl(&mut self, ddl: &Ddl, text: &str) -> Result<bool> {
        let gtid = ddl.gtid.to_string();
        let now = self.definitions(ddl).await?;
        let tenure = self.tenure;
        let control = self.steward.begin().await?;
        let mark = format!("{}{gtid}", stream::DDL_MARK);
        if self.ahead_until.as_deref() == Some(&mark)
            && let Some(entry) =
                workflow::last_journal(control, &self.config.workflow, BEGUN).await?
            && let Ok(begun) = serde_json::from_str::<Begun>(&entry)
            && begun.gtid == gtid
        {
            self.steward.commit().await?;
            return Ok(begun.before == now);
        }
        let begun = Begun { gtid, statement: text.to_owned(), before: now };
        let entry = serde_json::to_string(&begun)
            .map_err(|error| Error::stop("write the journal").source(error))?;
        stream::set_ahead(control, tenure, &mark).await?;
        workflow::journal(control, &self.config.workflow, BEGUN, &entry).await?;
        self.steward.commit().await.context("note DDL that is about to be run")?;
        Ok(true)
    }

    /// The target's definitions, without the counter that rows move.
    async fn definitions(&mut self, ddl: &Ddl) -> Result<Vec<String>> {
        let mut out = Vec::new();
        for at in &ddl.tables {
            let table = self.tables[*at].plan.target();
            let row = self.steward.control().row(format!("SHOW CREATE TABLE {table}")).await?;
            out.push(without_counter(&row.unwrap_or_default().must(1)?));
        }
        self.steward.rollback().await?;
        Ok(out)
    }

    /// Runs the statement on a connection that a takeover ends. The lease goes on being renewed meanwhile.
    async fn execute(&mut self, ddl: &Ddl, text: String) -> Result<()> {
        failpoints::hit(failpoints::DDL_BEFORE_EXEC)?;
        let mut control = Control::connect(&self.config.target, Session::Control).await?;
        let database = sql::ident(&self.spec.target_database);
        control.execute(format!("USE {database}; SET lock_wait_timeout=10")).await?;
        let mut collation = String::new();
        if let Some(id) = ddl.statement.collation() {
            let query =
                format!("SELECT collation_name FROM information_schema.collations WHERE id = {id}");
            let name = control.row(query).await?.and_then(|row| row.text(0)).ok_or_else(|| {
                Error::stop(format!(
                    "the target does not know the session's collation, number {id}"
                ))
            })?;
            collation = format!(", collation_connection={}", sql::ident(&name));
        }
        match control.execute(format!("SET timestamp={}", ddl.statement.timestamp())).await {
            // Forbidden by secure_timestamp.
            Err(error) if error.server_code().is_some() && !ddl.statement.heeds_moment() => {}
            other => drop(other.context("run it at the moment at which the source did")?),
        }
        let settings = ddl.statement.settings();
        control
            .execute(format!("SET {settings}{collation}"))
            .await
            .context("take over the settings of the statement's session")?;
        self.noted.push(control.id());
        let steward = self.steward.control();
        lease::note_connections(steward, self.tenure, &self.owner, &self.noted).await?;
        self.steward.commit().await?;
        tracing::info!(statement = %text, "running DDL on the target");
        let text = sql::marked(&text);
        let mut running =
            Box::pin(spawn("ddl", async move { control.execute(text).await.map(drop) }).join());
        let result = loop {
            tokio::select! {
                result = &mut running => break result,
                wanted = self.channels.wanted.recv() => match wanted {
                    // To be stopped is for the next attempt: DDL is not left half way.
                    Some(Wanted::Run | Wanted::Stop) => {}
                    None => return Err(Error::retry("the lease could not be renewed")),
                },
                Some(_) = self.channels.samples.recv() => {}
            }
        };
        failpoints::hit(failpoints::DDL_AFTER_EXEC)?;
        result
    }

    /// Saves the new definitions with the position after the statement.
    async fn finish_ddl(&mut self, ddl: &Ddl) -> Result<Ended> {
        let to = self.position_after(ddl)?;
        let mut fingerprints = Vec::new();
        for at in &ddl.tables {
            let name = self.tables[*at].row.name.clone();
            let database = &self.spec.target_database;
            let now = schema::read_table(self.steward.control(), database, &name).await?;
            let now = now.ok_or_else(|| {
                Error::stop(format!("table {} is not on the target any more", sql::ident(&name)))
            })?;
            fingerprints.push((name, now.fingerprint().to_owned()));
        }
        self.steward.rollback().await?;
        let tenure = self.tenure;
        let control = self.steward.begin().await?;
        for (table, fingerprint) in &fingerprints {
            table_plan::set_fingerprint(control, tenure, table, fingerprint).await?;
            range::unite(control, tenure, table, &to.gtids).await?;
        }
        let statement = ddl.statement.text();
        workflow::journal(control, &self.config.workflow, "ddl run", &statement).await?;
        // Nobody is told that the target is equal before the next attempt has compared the definitions.
        stream::set_state(control, tenure.stream, StreamState::CatchUp, "").await?;
        let (from, source) = (&self.positions.applied.gtids, &self.source.identity);
        stream::advance(control, tenure, from, &to, source).await?;
        self.steward.commit().await.context("save the position after DDL")?;
        Ok(Ended::Again)
    }
}

const ADVICE_STOP: &str = "The stream stands before it. To pass it over where the copy can do without it, or to run it on \
     the target: `shunt workflow update --on-ddl IGNORE` (or EXEC), then start; otherwise cancel the workflow and create it again.";
const ADVICE_CANCEL: &str = "The stream stands before it. Cancel the workflow and create it again.";
const ADVICE_EXEC: &str = "The stream stands before it. Make the target so that it can be run and start the workflow again, or \
     cancel it and create it again.";

/// An error may be passed over only where the rows' images stay what they are.
fn spec_ignores(on_ddl: OnDdl, effect: Effect) -> bool {
    on_ddl == OnDdl::ExecIgnore && effect == Effect::Keeps
}

fn shown(statement: &str) -> String {
    let mut shown: String = statement.chars().take(200).collect();
    if shown.len() < statement.len() {
        shown.push('…');
    }
    shown
}
