//! The servers of all keyspaces and how fit they are: who is primary, who may serve reads.
//!
//! One task a server looks at it, over the engine's account: does it live, may it be written, how far behind is it. Two
//! keyspaces on one server share it: servers are told apart by their address.
//!
//! The primary of a keyspace is the configured one, until that is dead or read-only and exactly one other server of the keyspace
//! can be written and follows nobody: then that one was promoted, and stays the primary for as long as it can be written and
//! follows nobody. That the configured one is back says nothing: it may be an old primary that has missed its writes.

use shunt_engine::mysql::names::lowered;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use shunt_engine::mysql::control::{Control, Session};
use shunt_engine::mysql::server::{Flavor, ServerConfig, Version};
use shunt_engine::programs::Programs;
use shunt_engine::routing::ServerType;
use shunt_engine::runtime::tasks::{self, Task};
use shunt_engine::{Error, Result};
use tokio_util::sync::CancellationToken;

use crate::config::Keyspace;
use crate::limits::{HEALTH_INTERVAL, HEALTH_TIMEOUT};

/// A server, by its place in the list of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ServerId(pub(crate) usize);

/// What is known of a server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health {
    /// It was looked at.
    pub(crate) seen: bool,
    pub(crate) alive: bool,
    pub(crate) read_only: bool,
    /// It follows another server.
    pub(crate) follows: bool,
    /// How far behind; `None` if it does not get on.
    pub(crate) lag: Option<Duration>,
    pub(crate) version: String,
    /// Names of tables are compared without regard to case.
    pub(crate) folds: bool,
    pub(crate) started: Option<SystemTime>,
}

/// One entry of a keyspace.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) server: ServerId,
    pub(crate) server_type: ServerType,
    pub(crate) alias: String,
}

/// What changes of all servers.
#[derive(Debug)]
struct Known {
    health: Vec<Health>,
    /// Who takes the writes of each keyspace.
    primaries: Vec<Option<ServerId>>,
}

/// All servers.
#[derive(Debug)]
pub(crate) struct Servers {
    pub(crate) keyspaces: Vec<Keyspace>,
    members: Vec<Vec<Member>>,
    configs: Vec<ServerConfig>,
    known: Mutex<Known>,
    /// What runs on each server by name, once it has been read.
    programs: Mutex<Vec<Option<Arc<Programs>>>>,
    /// All were read, and there are none.
    nothing: AtomicBool,
    lag_max: Duration,
}

impl Servers {
    pub(crate) fn new(keyspaces: Vec<Keyspace>, lag_max: Duration) -> Self {
        let mut configs: Vec<ServerConfig> = Vec::new();
        let mut members: Vec<Vec<Member>> = Vec::new();
        for keyspace in &keyspaces {
            let of_keyspace = keyspace.servers.iter().map(|server| {
                let known = configs.iter().position(|c| c.address == server.config.address);
                let at = known.unwrap_or_else(|| {
                    configs.push(server.config.clone());
                    configs.len() - 1
                });
                let alias = server.config.alias.clone();
                Member { server: ServerId(at), server_type: server.server_type, alias }
            });
            members.push(of_keyspace.collect());
        }
        let primaries = members.iter().map(|members| configured(members)).collect();
        let health = vec![Health::default(); configs.len()];
        let known = Mutex::new(Known { health, primaries });
        let programs = Mutex::new(vec![None; configs.len()]);
        let nothing = AtomicBool::new(false);
        Self { keyspaces, members, configs, known, programs, nothing, lag_max }
    }

    /// The place of a keyspace in the configuration.
    pub(crate) fn keyspace(&self, name: &str) -> Option<usize> {
        let folds = self.folds();
        self.keyspaces
            .iter()
            .position(|k| k.name == name || (folds && lowered(&k.name) == lowered(name)))
    }

    pub(crate) fn config(&self, server: ServerId) -> &ServerConfig {
        &self.configs[server.0]
    }

    pub(crate) fn health(&self, server: ServerId) -> Health {
        self.lock().health[server.0].clone()
    }

    /// Views, routines and triggers of a server, as they were read last.
    pub(crate) fn programs(&self, server: ServerId) -> Option<Arc<Programs>> {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner)[server.0].clone()
    }

    pub(crate) fn set_programs(&self, server: ServerId, programs: Programs) {
        let mut all = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        all[server.0] = Some(Arc::new(programs));
        let nothing = all.iter().all(|of| of.as_ref().is_some_and(|of| of.is_empty()));
        self.nothing.store(nothing, Ordering::Release);
    }

    /// Whether no server has a view, a routine or a trigger.
    pub(crate) fn run_nothing(&self) -> bool {
        self.nothing.load(Ordering::Acquire)
    }

    /// All servers.
    pub(crate) fn ids(&self) -> impl Iterator<Item = ServerId> + use<> {
        (0..self.configs.len()).map(ServerId)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether any server compares names of tables without regard to case.
    pub(crate) fn folds(&self) -> bool {
        self.lock().health.iter().any(|health| health.folds)
    }

    /// The version that clients are told.
    pub(crate) fn version(&self) -> String {
        let first =
            self.lock().health.first().map(|health| health.version.clone()).unwrap_or_default();
        if first.is_empty() { "5.7.30-shunt".to_owned() } else { first }
    }

    pub(crate) fn members(&self, keyspace: usize) -> &[Member] {
        &self.members[keyspace]
    }

    /// Who takes the writes of a keyspace.
    pub(crate) fn primary(&self, keyspace: usize) -> Option<ServerId> {
        self.lock().primaries[keyspace]
    }

    /// Notes what was seen of a server, and who takes the writes since.
    fn note(&self, server: ServerId, health: Health) {
        let mut known = self.lock();
        known.health[server.0] = health;
        let Known { health, primaries } = &mut *known;
        for ((members, keyspace), primary) in
            self.members.iter().zip(&self.keyspaces).zip(primaries)
        {
            let Some(before) = *primary else { continue };
            let now = primary_after(members, health, before);
            if now != before {
                let (from, to) = (&self.configs[before.0].alias, &self.configs[now.0].alias);
                let keyspace = &keyspace.name;
                tracing::warn!(%keyspace, %from, %to, "writes go to another server of the keyspace");
                *primary = Some(now);
            }
        }
    }

    /// The servers that may serve reads of this type now.
    pub(crate) fn serving(&self, keyspace: usize, server_type: ServerType) -> Vec<ServerId> {
        if server_type == ServerType::Primary {
            return self.primary(keyspace).into_iter().collect();
        }
        let known = self.lock();
        let promoted = known.primaries[keyspace];
        self.members[keyspace]
            .iter()
            .filter(|m| m.server_type == server_type && Some(m.server) != promoted)
            .map(|m| m.server)
            .filter(|id| {
                let h = &known.health[id.0];
                h.alive && h.read_only && h.lag.is_some_and(|lag| lag <= self.lag_max)
            })
            .collect()
    }

    /// Looks after all servers until cancelled.
    pub(crate) fn watch(self: &Arc<Self>, cancel: &CancellationToken) -> Vec<Task<()>> {
        (0..self.configs.len())
            .map(|at| {
                let (servers, cancel) = (Arc::clone(self), cancel.clone());
                tasks::spawn("server health", async move {
                    servers.look_after(ServerId(at), &cancel).await;
                    Ok(())
                })
            })
            .collect()
    }

    async fn look_after(&self, id: ServerId, cancel: &CancellationToken) {
        let mut control = None;
        loop {
            // What is half done at the expiry is dropped, and the connection with it.
            let look = tokio::time::timeout(HEALTH_TIMEOUT, look(self.config(id), control.take()));
            let health = match look.await {
                Ok(Ok((connected, health))) => {
                    control = Some(connected);
                    health
                }
                Ok(Err(error)) => {
                    tracing::debug!(server = %self.config(id).alias, "not healthy: {error}");
                    self.dead(id)
                }
                Err(_) => self.dead(id),
            };
            self.note(id, health);
            if !tasks::pause(HEALTH_INTERVAL, cancel).await {
                return;
            }
        }
    }

    fn dead(&self, id: ServerId) -> Health {
        Health { seen: true, alive: false, lag: None, ..self.health(id) }
    }
}

fn configured(members: &[Member]) -> Option<ServerId> {
    members.iter().find(|member| member.server_type == ServerType::Primary).map(|m| m.server)
}

/// Who takes the writes of a keyspace where `before` did so far. It changes only if that one cannot any more and it is clear
/// who can. The configured one takes a promoted server's place only if that is seen to have given it up: one that does not answer may be
/// there all the same, and has what the other lacks.
fn primary_after(members: &[Member], health: &[Health], before: ServerId) -> ServerId {
    let leads = |id: ServerId| {
        let h = &health[id.0];
        h.alive && !h.read_only && !h.follows
    };
    // The configured one may follow another server, and is believed before it was looked at.
    let configured = configured(members).filter(|id| {
        let h = &health[id.0];
        !h.seen || (h.alive && !h.read_only)
    });
    if leads(before) || configured == Some(before) {
        return before;
    }
    let mut promoted =
        members.iter().map(|m| m.server).filter(|id| Some(*id) != configured && leads(*id));
    match (promoted.next(), promoted.next()) {
        (Some(one), None) => one,
        (None, _) if health[before.0].alive => configured.unwrap_or(before),
        (None, _) | (Some(_), Some(_)) => before,
    }
}

async fn look(server: &ServerConfig, control: Option<Control>) -> Result<(Control, Health)> {
    let mut control = match control {
        Some(control) => control,
        None => Control::connect(server, Session::Control).await?,
    };
    let query = "SELECT @@read_only, @@lower_case_table_names, @@version";
    let row = control.row(query).await?.ok_or_else(|| Error::retry("no answer"))?;
    let (read_only, folds, version) = (row.number::<u8>(0)?, row.number::<u8>(1)?, row.must(2)?);
    let uptime = control.row("SHOW GLOBAL STATUS LIKE 'Uptime'").await?;
    let uptime = uptime.map(|row| row.number::<u64>(1)).transpose()?;
    let info = control.info();
    let new_name = info.flavor == Flavor::MySql && info.version >= Version(8, 0, 22);
    let status = if new_name { "SHOW REPLICA STATUS" } else { "SHOW SLAVE STATUS" };
    let follows = control.row(status).await?.is_some();
    let lag = match follows {
        false => None,
        true => control.named(status, &["Seconds_Behind_Master", "Seconds_Behind_Source"]).await?,
    };
    let health = Health {
        seen: true,
        alive: true,
        read_only: read_only != 0,
        follows,
        lag: lag.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs),
        version,
        folds: folds != 0,
        started: uptime.map(|seconds| SystemTime::now() - Duration::from_secs(seconds)),
    };
    Ok((control, health))
}

#[cfg(test)]
mod tests;
