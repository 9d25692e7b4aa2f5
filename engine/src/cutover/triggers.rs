//! The fence's triggers: putting them on a side's tables and taking them off.
//!
//! Per table and kind of change one trigger, BEFORE the row: for everybody but the side's own stream it reads the side's fence
//! row with a shared lock, which lasts until the writing transaction ends, and refuses the row while the fence is closed. So an
//! UPDATE of that row (raise) waits for exactly the transactions that have written, and all who come later see it.
//!
//! All of a side's triggers are created under `LOCK TABLES … WRITE`, which waits until no transaction that has used the tables
//! is open: afterwards there is no writer that the fence does not know. The wait is kept short ([`Bounder`]) and repeated;
//! nobody is held up for longer than [`WAIT_MAX`]. A trigger is never made or removed inside of the pause.
//!
//! A trigger's name carries the generation of the switch that made it. The side that closes always gets those of its own switch, and a
//! coordinator removes none that are newer than its own: one that slept cannot open a side that a later switch has closed.
//!
//! Time in a trigger is the smaller of the statement's and the clock's, so neither `SET timestamp` nor a statement that was
//! long on its way opens a closed side.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::sides::Place;
use crate::error::{Error, Result, ResultExt};
use crate::mysql::control::Control;
use crate::mysql::deadline::{self, Blocker, Bounded, Bounder};
use crate::mysql::schema::FENCE_TRIGGER_PREFIX;
use crate::mysql::server::{Flavor, Version};
use crate::mysql::sql;
use crate::mysql::statements::WAIT_TIMEOUT_S;
use crate::runtime::tasks;
use crate::sidecar::fence::{self, FenceState};

/// How long a statement of ours may wait for a lock that others wait behind.
pub const WAIT_MAX: Duration = Duration::from_millis(90);
/// The pause between two attempts to lock tables.
const AGAIN: Duration = Duration::from_millis(250);

/// Seconds after which a server gives up the table locks of a coordinator that says nothing: it does so between two statements only if it
/// is gone, and everybody waits for them.
const GONE_S: u32 = 5;

/// Where a trigger's body names its fence.
const READS: &str = "FROM `_shunt`.`fence` WHERE workflow = ";

const EVENTS: [&str; 3] = ["INSERT", "UPDATE", "DELETE"];

/// A trigger of a fence.
struct Found {
    name: String,
    table: String,
    body: String,
}

impl Found {
    /// Whether it reads this workflow's fence.
    fn is_of(&self, workflow: &str) -> bool {
        self.body.contains(&format!("{READS}{} ", sql::literal(workflow)))
    }

    /// The workflow whose fence it reads.
    fn workflow(&self) -> Option<&str> {
        let (_, rest) = self.body.split_once(READS)?;
        rest.strip_prefix('\'')?.split('\'').next()
    }
}

/// The triggers of all fences on a side's tables, by name.
async fn all(control: &mut Control, place: &Place) -> Result<Vec<Found>> {
    let query = format!(
        "SELECT trigger_name, event_object_table, action_statement FROM information_schema.triggers \
         WHERE trigger_schema = {} AND LEFT(trigger_name, {}) = {} ORDER BY trigger_name",
        sql::literal(&place.database),
        FENCE_TRIGGER_PREFIX.len(),
        sql::literal(FENCE_TRIGGER_PREFIX)
    );
    let rows = control.rows(query).await.context("read the fence's triggers")?;
    let mut found = Vec::new();
    for row in rows {
        let (name, table) = (row.must(0)?, row.must(1)?);
        if place.tables.contains(&table) {
            found.push(Found { name, table, body: row.must(2)? });
        }
    }
    Ok(found)
}

/// The triggers of a side's own fence on its tables, by name. Another move of a table has its own.
///
/// # Errors
/// Of the connection.
pub async fn triggers(control: &mut Control, place: &Place) -> Result<Vec<(String, String)>> {
    let found = all(control, place).await?.into_iter();
    let own = found.filter(|trigger| trigger.is_of(&place.incoming));
    Ok(own.map(|trigger| (trigger.name, trigger.table)).collect())
}

/// The tables of a side that another move's fence closes, each with that move's workflow into the side.
///
/// # Errors
/// Of the connection.
pub async fn closed_by_others(
    control: &mut Control,
    place: &Place,
) -> Result<BTreeMap<String, String>> {
    let mut closed = BTreeMap::new();
    for trigger in all(control, place).await? {
        let other = trigger.workflow().filter(|_| !trigger.is_of(&place.incoming));
        let Some(workflow) = other else { continue };
        let row = fence::read(control, workflow).await?;
        if row.is_some_and(|row| row.state != FenceState::Open) {
            closed.insert(trigger.table.clone(), workflow.to_owned());
        }
    }
    Ok(closed)
}

/// Whose triggers will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    /// Those of this switch: for the side that closes.
    Own,
    /// Those of any: for the side that is closed already.
    Any,
}

/// The generation in a trigger's name.
fn generation_of(name: &str) -> Option<u64> {
    name.strip_prefix(FENCE_TRIGGER_PREFIX)?.split('_').next()?.parse().ok()
}

/// Puts the triggers on all tables of a side, unless they are there.
///
/// # Errors
/// Retry, with who is in the way, if the tables cannot be locked until `until`.
pub async fn arm(
    bounder: &mut Bounder,
    place: &Place,
    (generation, accept): (u64, Accept),
    until: Instant,
    cancel: &CancellationToken,
) -> Result<()> {
    let there = triggers(&mut bounder.control, place).await?;
    let own = there.iter().all(|(name, _)| generation_of(name) == Some(generation));
    if there.len() == place.tables.len() * EVENTS.len() && (own || accept == Accept::Any) {
        return Ok(());
    }
    let statements = statements(&mut bounder.control, place, generation).await?;
    let names: Vec<String> = place
        .tables
        .iter()
        .map(|t| format!("{} WRITE", sql::qualified(&place.database, t)))
        .collect();
    let lock = format!("LOCK TABLES {}", names.join(", "));
    self::lock(bounder, &lock, until, cancel)
        .await
        .context(format_args!("put the fence on the tables of {}", place.keyspace))?;
    let made = make(&mut bounder.control, place, &there, &statements).await;
    let unlocked = unlock(&mut bounder.control).await;
    made.context("arm the fence")?;
    unlocked
}

/// Runs a LOCK TABLES as [`bounded`] does. Where this process or its host is gone afterwards, the server gives up the locks soon.
///
/// # Errors
/// As [`bounded`].
pub async fn lock(
    bounder: &mut Bounder,
    statement: &str,
    until: Instant,
    cancel: &CancellationToken,
) -> Result<()> {
    bounder.control.execute(format!("SET wait_timeout={GONE_S}")).await?;
    let locked = bounded(bounder, statement, until, cancel).await;
    if locked.is_err()
        && let Err(error) = unlock(&mut bounder.control).await
    {
        tracing::debug!("the locks end with their connection: {error}");
    }
    locked
}

/// Gives them back.
///
/// # Errors
/// Of the connection.
pub async fn unlock(control: &mut Control) -> Result<()> {
    control.execute("UNLOCK TABLES").await?;
    control.execute(format!("SET wait_timeout={WAIT_TIMEOUT_S}")).await.map(drop)
}

/// Under the tables' locks: what an interrupted arming left is replaced.
async fn make(
    control: &mut Control,
    place: &Place,
    there: &[(String, String)],
    statements: &[String],
) -> Result<()> {
    for (name, _) in there {
        let sql = format!("DROP TRIGGER IF EXISTS {}", sql::qualified(&place.database, name));
        control.execute(sql).await?;
    }
    for statement in statements {
        control.execute(statement).await?;
    }
    Ok(())
}

/// Takes the triggers of switches up to a generation off a side's tables. May be repeated.
///
/// # Errors
/// Retry, with who is in the way, if the tables cannot be locked until `until`.
pub async fn disarm(
    bounder: &mut Bounder,
    place: &Place,
    up_to: u64,
    until: Instant,
    cancel: &CancellationToken,
) -> Result<()> {
    for (name, _) in triggers(&mut bounder.control, place).await? {
        if generation_of(&name).is_some_and(|generation| generation > up_to) {
            continue;
        }
        let statement =
            format!("DROP TRIGGER IF EXISTS {}", sql::qualified(&place.database, &name));
        bounded(bounder, &statement, until, cancel)
            .await
            .context(format_args!("take the fence off the tables of {}", place.keyspace))?;
    }
    Ok(())
}

/// Runs a statement that needs a metadata lock, again and again until it gets it.
///
/// # Errors
/// Retry, with who is in the way, if it does not until `until`.
pub async fn bounded(
    bounder: &mut Bounder,
    statement: &str,
    until: Instant,
    cancel: &CancellationToken,
) -> Result<()> {
    loop {
        match bounder.run_long(statement, WAIT_MAX).await? {
            Bounded::Done(_) => return Ok(()),
            Bounded::GivenUp(blockers) => again(&blockers, until, cancel).await?,
        }
    }
}

async fn again(blockers: &[Blocker], until: Instant, cancel: &CancellationToken) -> Result<()> {
    if Instant::now() >= until {
        return Err(Error::retry(format!(
            "the tables are in use all the time: {}",
            deadline::list(blockers)
        ))
        .advice("Let these transactions end, or end them, and try again."));
    }
    if tasks::pause(AGAIN, cancel).await { Ok(()) } else { Err(super::interrupted()) }
}

async fn statements(control: &mut Control, place: &Place, generation: u64) -> Result<Vec<String>> {
    let user = account(control).await?;
    let several = match control.info().flavor {
        Flavor::MariaDb => control.info().version >= Version(10, 2, 3),
        Flavor::MySql => control.info().version >= Version(5, 7, 2),
    };
    let mut statements = Vec::new();
    for (index, table) in place.tables.iter().enumerate() {
        for event in EVENTS {
            let time =
                if several { "BEFORE" } else { free_time(control, place, table, event).await? };
            let name = format!("{FENCE_TRIGGER_PREFIX}{generation}_{index}_{}", &event[..1]);
            statements.push(format!(
                "CREATE TRIGGER {} {time} {event} ON {} FOR EACH ROW {}",
                sql::qualified(&place.database, &name),
                sql::qualified(&place.database, table),
                body(&place.incoming, &user)
            ));
        }
    }
    Ok(statements)
}

/// The account's name, without a host: through a proxy it is another one each time.
async fn account(control: &mut Control) -> Result<String> {
    let row = control.row("SELECT USER()").await?;
    let user = row.ok_or_else(|| Error::stop("the server does not say who we are"))?.must(0)?;
    Ok(user.rsplit_once('@').map_or(user.clone(), |(name, _)| name.to_owned()))
}

/// Old servers take one trigger of each kind.
async fn free_time(
    control: &mut Control,
    place: &Place,
    table: &str,
    event: &str,
) -> Result<&'static str> {
    let query = format!(
        "SELECT action_timing FROM information_schema.triggers WHERE event_object_schema = {} \
         AND event_object_table = {} AND event_manipulation = '{event}'",
        sql::literal(&place.database),
        sql::literal(table)
    );
    let taken: Vec<String> =
        control.rows(query).await?.iter().filter_map(|row| row.text(0)).collect();
    ["BEFORE", "AFTER"].into_iter().find(|time| !taken.iter().any(|t| t == time)).ok_or_else(|| {
        Error::stop(format!(
            "table {} has triggers before and after {event}, and this server allows no third one",
            sql::ident(table)
        ))
        .advice("Drop one of them for the time of the switch.")
    })
}

fn body(workflow: &str, user: &str) -> String {
    let (workflow, user) = (sql::literal(workflow), sql::literal(user));
    format!(
        "BEGIN \
         DECLARE g BIGINT UNSIGNED DEFAULT 0; \
         DECLARE closed BIGINT DEFAULT 0; \
         DECLARE message VARCHAR(128); \
         IF NOT (@shunt_pass IS NOT NULL \
           AND LEFT(USER(), CHAR_LENGTH(USER()) - CHAR_LENGTH(SUBSTRING_INDEX(USER(), '@', -1)) - 1) = {user} \
           AND EXISTS (SELECT 1 FROM `_shunt`.`switch` WHERE workflow = {workflow} \
             AND pass = CONVERT(@shunt_pass USING utf8mb4) COLLATE utf8mb4_bin)) THEN \
           SELECT generation, closed_until_s INTO g, closed {READS}{workflow} LOCK IN SHARE MODE; \
           IF closed > LEAST(UNIX_TIMESTAMP(), UNIX_TIMESTAMP(SYSDATE())) THEN \
             SET message = CONCAT('shunt fence g=', g, ': this table is being switched or has moved'); \
             SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 1644, MESSAGE_TEXT = message; \
           END IF; \
         END IF; END"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_tells_whose_fence_it_reads() {
        for workflow in ["commerce.move_reverse", "customer.o'clock"] {
            let found =
                Found { name: String::new(), table: String::new(), body: body(workflow, "shunt") };
            assert!(found.is_of(workflow));
            assert!(!found.is_of("commerce.move") && !found.is_of("commerce.move_reverse2"));
        }
        let body = body("commerce.move_reverse", "shunt");
        let found = Found { name: String::new(), table: String::new(), body };
        assert_eq!(found.workflow(), Some("commerce.move_reverse"));
    }
}
