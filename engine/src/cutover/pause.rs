//! The pause: from the hold to the point of no return. Everything here is bounded by `--max-pause`, and whatever fails leads to
//! the whole being taken back by the caller.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::coordinator::OwnStream;
use super::hooks::{Step, When};
use super::leak::LeakWatch;
use super::settle::{Case, Hands, Raised};
use super::sides::Place;
use super::{Fence, Options, gateways, interrupted, triggers};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::failpoints;
use crate::mysql::control::Control;
use crate::mysql::deadline::{self, Blocker, Bounded, Bounder};
use crate::mysql::gtid::GtidSet;
use crate::mysql::schema;
use crate::mysql::server::Flavor;
use crate::mysql::snapshot::{current_gtids, current_position};
use crate::mysql::sql;
use crate::mysql::wire::Wire;
use crate::runtime::tasks;
use crate::sidecar::fence;
use crate::sidecar::reverse::{self, ReverseStream};
use crate::topology::Gateway;
use crate::topology::switches::{self, Switch};

/// Seconds that the dead man's time is beyond the pause.
const DEAD_MAN_S: u64 = 5;
/// How long a round waits for the gateways to hold: others wait as long.
const DRAIN: Duration = Duration::from_millis(150);
/// How long a gateway that was just started may take to hold.
const HELD_WAIT: Duration = Duration::from_millis(50);
/// How long writers are left alone between two attempts to raise the fence.
const AGAIN: Duration = Duration::from_millis(200);

/// What the preparation has made.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) stream: OwnStream,
    pub(super) leak: LeakWatch,
    pub(super) announced: Switch,
}

/// How the pause ended.
#[derive(Debug)]
pub(super) enum Paused {
    /// The point of no return is passed; so long the fence has been up.
    Decided { raised: Duration },
    /// The fence was up, and is to be taken back.
    Rehearsed { pause: Duration },
    /// Something failed before the point of no return.
    Given { why: Error, pause: Option<Duration>, raised: Raised },
}

/// Why the fence is not up, as far as is known.
struct Unraised {
    why: Error,
    raised: Raised,
}

impl From<Error> for Unraised {
    fn from(why: Error) -> Self {
        Self { why, raised: Raised::Never }
    }
}

/// The raise was sent, and nobody told what became of it.
fn doubtful(why: Error) -> Unraised {
    Unraised { why, raised: Raised::Perhaps }
}

pub(super) async fn run(
    case: &Case<'_>,
    hands: &mut Hands,
    ready: Ready,
    options: &Options,
    cancel: &CancellationToken,
) -> Result<Paused> {
    let until = Instant::now() + options.max_pause;
    let mut wire = Wire::connect(&case.closing().server).await?;
    let mut back = Wire::connect(&case.opening().server).await?;
    let definitions = definitions(&mut hands.opening.control, case.opening()).await?;
    let raised = match case.ask(Step::Pause, When::Before, left(until)).await {
        Ok(()) => raise(case, hands, &ready.announced, options, until, cancel).await,
        Err(why) => Err(why.into()),
    };
    let held = match raised {
        Ok(held) => held,
        Err(Unraised { why, raised }) => {
            return Ok(Paused::Given { why, pause: None, raised });
        }
    };
    let raised = Instant::now();
    if options.fence == Fence::External
        && let Err(why) = drain(case, hands, until, cancel).await
    {
        let pause = Some(raised.elapsed());
        return Ok(Paused::Given { why, pause, raised: Raised::Perhaps });
    }
    let mut fenced =
        Fenced { case, hands, ready, held, wire: &mut wire, back: &mut back, until, cancel };
    let decided = fenced.pass_no_return(definitions).await;
    let pause = raised.elapsed();
    Ok(match decided {
        Ok(true) => Paused::Decided { raised: pause },
        Ok(false) => Paused::Rehearsed { pause },
        Err(why) => Paused::Given { why, pause: Some(pause), raised: Raised::Perhaps },
    })
}

/// What kept a round from raising the fence.
enum InTheWay {
    /// It does not hold yet.
    Gateway(Gateway),
    /// They have written the tables.
    Writers(Vec<Blocker>),
}

/// Steps 2 and 3: gateways hold, the fence goes up. Returns the number of the hold, if gateways were asked. What is in the way is waited
/// for briefly, let go again, and tried once more: so others wait no longer than a round, however long somebody's transaction is.
async fn raise(
    case: &Case<'_>,
    hands: &mut Hands,
    announced: &Switch,
    options: &Options,
    until: Instant,
    cancel: &CancellationToken,
) -> std::result::Result<Option<u64>, Unraised> {
    let seconds = options.max_pause.as_secs() + 1 + DEAD_MAN_S;
    let (name, owner) = (&case.closing().incoming, &case.locks.owner);
    let sql = fence::raise_sql(name, case.plan.generation, owner, seconds);
    loop {
        let (held, missing) = if options.gateways {
            let bound = until.min(Instant::now() + DRAIN);
            let (held, missing) = gateways::hold(case.store, announced, bound, cancel).await?;
            (Some(held), missing)
        } else {
            (None, None)
        };
        let in_the_way = match missing {
            Some(gateway) => InTheWay::Gateway(gateway),
            None => match raise_once(hands, &sql).await? {
                None => return Ok(held),
                Some(blockers) => InTheWay::Writers(blockers),
            },
        };
        if options.gateways {
            switches::let_go(case.store, &announced.workflow, announced.token).await?;
        }
        if Instant::now() + AGAIN + DRAIN + triggers::WAIT_MAX >= until {
            return Err(explain(hands, name, in_the_way).await?.into());
        }
        if !tasks::pause(AGAIN, cancel).await {
            return Err(interrupted().into());
        }
    }
}

/// Who was in the way when it could not be waited for.
async fn raise_once(
    hands: &mut Hands,
    sql: &str,
) -> std::result::Result<Option<Vec<Blocker>>, Unraised> {
    failpoints::hit(failpoints::SWITCH_AFTER_HOLD)?;
    match hands.closing.run(sql, triggers::WAIT_MAX).await.map_err(doubtful)? {
        Bounded::Done(outcome) if outcome.affected == 1 => {
            failpoints::hit(failpoints::SWITCH_AFTER_RAISE).map_err(doubtful)?;
            Ok(None)
        }
        Bounded::Done(_) => {
            Err(Error::new(ErrorKind::LeaseLost, "the fence is another switch's").into())
        }
        Bounded::GivenUp(blockers) => Ok(Some(blockers)),
    }
}

/// Says who has to end first.
async fn explain(hands: &mut Hands, name: &str, in_the_way: InTheWay) -> Result<Error> {
    // One that has written the tables and was left is no connection's, and so is nobody that could be named.
    no_prepared_xa(&mut hands.closing.second).await?;
    let why = match in_the_way {
        InTheWay::Writers(blockers) => format!(
            "transactions that have written the tables do not end: {}",
            deadline::list(&blockers)
        ),
        InTheWay::Gateway(gateway) => {
            // Whoever has written the tables is in the way of the fence's row; who has only locked rows of theirs is not.
            let probe = fence::touch_sql(name);
            let blockers = match hands.closing.run(&probe, triggers::WAIT_MAX).await? {
                Bounded::GivenUp(blockers) => blockers,
                Bounded::Done(_) => hands.closing.in_transactions().await?,
            };
            format!(
                "gateway {} at {} does not hold: it is stopped, or transactions that have written or locked the tables \
                 do not end: {}",
                gateway.id,
                gateway.address,
                deadline::list(&blockers)
            )
        }
    };
    Ok(Error::retry(why).advice("Let them end, or end them, and try again."))
}

/// Where no trigger stands the raise waits for nobody. A read lock on the tables waits for every transaction that has written them,
/// and for no reader; behind it, only who was not stopped writes.
async fn drain(
    case: &Case<'_>,
    hands: &mut Hands,
    until: Instant,
    cancel: &CancellationToken,
) -> Result<()> {
    let place = case.closing();
    let locked = |table: &String| format!("{} READ", sql::qualified(&place.database, table));
    let names: Vec<String> = place.tables.iter().map(locked).collect();
    let lock = format!("LOCK TABLES {}", names.join(", "));
    triggers::lock(&mut hands.closing, &lock, until, cancel)
        .await
        .context("wait for transactions that have written the tables")?;
    triggers::unlock(&mut hands.closing.control).await
}

/// The fence is up.
struct Fenced<'a> {
    case: &'a Case<'a>,
    hands: &'a mut Hands,
    ready: Ready,
    /// The number of the gateways' hold.
    held: Option<u64>,
    /// To the closing side, for positions.
    wire: &'a mut Wire,
    /// To the opening side, for positions.
    back: &'a mut Wire,
    until: Instant,
    cancel: &'a CancellationToken,
}

impl Fenced<'_> {
    /// Steps 4 to 6. `false` for a rehearsal, which ends before anything is frozen.
    async fn pass_no_return(&mut self, definitions: Vec<(String, String)>) -> Result<bool> {
        self.ask(Step::Pause, When::After).await?;
        let last = current_gtids(self.wire).await.context("read the last position")?;
        no_prepared_xa(&mut self.hands.closing.second).await?;
        if self.case.plan.rehearsal {
            return Ok(false);
        }
        self.ask(Step::Freeze, When::Before).await?;
        self.freeze(&last).await?;
        self.ask(Step::Freeze, When::After).await?;
        // Before the position at which the reverse stream begins: it would stop at this DDL.
        let now = Instant::now();
        raise_auto_increments(self.hands, self.case, 0, (now, self.cancel)).await?;
        let start = tokio::time::timeout(left(self.until), current_position(self.back));
        let start = start
            .await
            .map_err(|_| Error::retry("the opening side does not say where its binlog is"))?
            .context("fix where the reverse stream begins")?;
        let back = ReverseStream {
            spec: self.case.sides.spec_into(self.case.closing().side),
            tables: definitions,
            start,
            closed_at: last.clone(),
            source_identity: self.back.info().identity.clone(),
            generation: self.case.plan.generation,
            coordinator: self.case.locks.owner.clone(),
        };
        reverse::put(&mut self.hands.closing.control, &back).await?;
        self.ask(Step::Decide, When::Before).await?;
        self.check_leaks(&last).await?;
        self.still_held().await?;
        self.in_time()?;
        self.no_return().await.map(|()| true)
    }

    async fn ask(&self, step: Step, when: When) -> Result<()> {
        self.case.ask(step, when, left(self.until)).await
    }

    async fn freeze(&mut self, last: &GtidSet) -> Result<()> {
        // The stream is this process's; it is moved out, since it ends with this.
        let Ready { stream, .. } = &mut self.ready;
        stream
            .freeze(self.case, &mut self.hands.opening.control, last, self.until, self.cancel)
            .await
    }

    async fn check_leaks(&mut self, last: &GtidSet) -> Result<()> {
        let now = current_gtids(self.wire).await?;
        let left = left(self.until);
        self.ready.leak.check(last, &now, left).await
    }

    /// A gateway whose queue is full would refuse statements.
    async fn still_held(&self) -> Result<()> {
        let Some(generation) = self.held else { return Ok(()) };
        let until = self.until.min(Instant::now() + HELD_WAIT);
        let gone = gateways::still_held(self.case.store, generation, until, self.cancel).await?;
        let Some(gateway) = gone else { return Ok(()) };
        Err(Error::retry(format!(
            "gateway {} at {} does not hold any more: its queue is full, or it was started anew",
            gateway.id, gateway.address
        ))
        .advice("Raise held_max in [gateway], or switch when less is under way."))
    }

    /// Still within the pause, still the owner of the locks, not interrupted.
    fn in_time(&self) -> Result<()> {
        if self.cancel.is_cancelled() {
            return Err(interrupted());
        }
        if Instant::now() >= self.until {
            return Err(Error::retry("the pause would be longer than --max-pause"));
        }
        self.case.locks.check()
    }

    /// Nobody is to be switched to a server that has died meanwhile; a round trip is what it costs to see most such cases.
    async fn opening_answers(&mut self) -> Result<()> {
        let left = left(self.until);
        // A connection whose answer is not waited for is not used again: all is taken back over new ones.
        let asked = self.hands.opening.control.row("SELECT 1");
        let answer = tokio::time::timeout(left, asked).await;
        let silent = |_| Err(Error::retry("it does not answer"));
        answer.unwrap_or_else(silent).map(drop).context("ask the side that opens")
    }

    /// Whoever was refused on the side that opens and has not rolled back holds its fence: behind the point of no return it could not be
    /// opened, and both sides would stay closed.
    async fn can_be_opened(&mut self) -> Result<()> {
        let touch = fence::touch_sql(&self.case.opening().incoming);
        match self.hands.opening.run(&touch, triggers::WAIT_MAX).await? {
            Bounded::Done(_) => Ok(()),
            Bounded::GivenUp(blockers) => Err(Error::retry(format!(
                "transactions that were refused on the {} do not roll back: {}",
                self.case.opening().side,
                deadline::list(&blockers)
            ))
            .advice("Let them end, or end them, and try again.")),
        }
    }

    async fn no_return(&mut self) -> Result<()> {
        failpoints::hit(failpoints::SWITCH_BEFORE_NO_RETURN)?;
        self.opening_answers().await?;
        self.can_be_opened().await?;
        let name = &self.case.closing().incoming;
        let sql = fence::no_return_sql(name, self.case.plan.generation, &self.case.locks.owner);
        match self.hands.closing.run(&sql, triggers::WAIT_MAX).await? {
            Bounded::Done(outcome) if outcome.affected == 1 => {
                failpoints::hit(failpoints::SWITCH_AFTER_NO_RETURN)
            }
            Bounded::Done(_) => {
                Err(Error::new(ErrorKind::LeaseLost, "the fence is not this switch's any more"))
            }
            Bounded::GivenUp(blockers) => Err(Error::retry(format!(
                "transactions that were refused do not roll back: {}",
                deadline::list(&blockers)
            ))),
        }
    }
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

async fn no_prepared_xa(control: &mut Control) -> Result<()> {
    let rows = control.rows("XA RECOVER").await.context("look for prepared XA transactions")?;
    if rows.is_empty() {
        return Ok(());
    }
    Err(Error::stop(format!(
        "{} XA transactions are prepared on the side that closes: their COMMIT would pass the fence",
        rows.len()
    ))
    .advice("Commit or roll them back (XA RECOVER lists them), and try again."))
}

/// The definitions that the reverse stream reads rows with.
async fn definitions(control: &mut Control, place: &Place) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for table in &place.tables {
        let schema = schema::read_table(control, &place.database, table).await?;
        let schema = schema.ok_or_else(|| {
            Error::stop(format!("table {} is not on the {}", sql::ident(table), place.side))
        })?;
        found.push((table.clone(), schema.fingerprint().to_owned()));
    }
    Ok(found)
}

/// Makes the opening side count on from where the closing side has come, and `margin` further. Transactions of the stream and of readers
/// are in the way of that; it is tried until the given time, at least once.
pub(super) async fn raise_auto_increments(
    hands: &mut Hands,
    case: &Case<'_>,
    margin: u64,
    until: (Instant, &CancellationToken),
) -> Result<()> {
    let theirs = auto_increments(&mut hands.closing.second, case.closing()).await?;
    let ours = auto_increments(&mut hands.opening.second, case.opening()).await?;
    for (table, next) in theirs {
        let have = ours.iter().find(|(name, _)| *name == table).map(|(_, next)| *next);
        if have.is_some_and(|have| have < next) {
            let name = sql::qualified(&case.opening().database, &table);
            let next = next.saturating_add(margin);
            let sql = sql::marked(&format!("ALTER TABLE {name} AUTO_INCREMENT = {next}"));
            alter(&mut hands.opening, &sql, until).await?;
        }
    }
    Ok(())
}

async fn alter(
    bounder: &mut Bounder,
    sql: &str,
    (until, cancel): (Instant, &CancellationToken),
) -> Result<()> {
    loop {
        match bounder.run(sql, 4 * triggers::WAIT_MAX).await.context("raise AUTO_INCREMENT")? {
            Bounded::Done(_) => return Ok(()),
            Bounded::GivenUp(_) if Instant::now() < until => {
                if !tasks::pause(AGAIN, cancel).await {
                    return Err(interrupted());
                }
            }
            Bounded::GivenUp(blockers) => {
                return Err(Error::retry(format!(
                    "AUTO_INCREMENT cannot be raised on the side that opens: {}",
                    deadline::list(&blockers)
                )));
            }
        }
    }
}

async fn auto_increments(control: &mut Control, place: &Place) -> Result<Vec<(String, u64)>> {
    if control.info().flavor == Flavor::MySql {
        // MySQL 8 would answer from a cache; older ones do not know the setting.
        match control.execute("SET information_schema_stats_expiry = 0").await {
            Err(error) if error.server_code() == Some(1193) => {}
            other => drop(other?),
        }
    }
    let query = format!(
        "SELECT table_name, auto_increment FROM information_schema.tables \
         WHERE table_schema = {} AND auto_increment IS NOT NULL",
        sql::literal(&place.database)
    );
    let mut found = Vec::new();
    for row in control.rows(query).await.context("read AUTO_INCREMENT")? {
        let (name, next) = (row.must(0)?, row.number(1)?);
        if place.tables.contains(&name) {
            found.push((name, next));
        }
    }
    Ok(found)
}
