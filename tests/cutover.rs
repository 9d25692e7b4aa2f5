//! Switching the writes, to and fro, with the real binary and clients that connect to the servers directly: nothing that was
//! acknowledged is lost, nothing is there twice, and whoever is killed is followed by a `serve`.
//!
//! `SHUNT_SOAK=1` switches more often.

/// Who does the worst thing in the middle of a switch.
mod adversaries;
/// Clients that move money.
mod bank;
/// Who stands in the way of a switch is named, and the switch taken back in time.
mod blockers;
/// What is asked of gateways.
mod gateways;
/// What `shunt grants` prints is enough.
mod grants;
/// The guide's commands and what they print.
mod guide;
/// The operator's command around each step.
mod hooks;
/// Writes past the fence after the switch.
mod leaks;
/// A target that is lost for good.
mod lost;
/// Another move of a table, an earlier move of a name, a session that was refused.
mod neighbours;
/// Servers that lack a part of a switch.
mod promoted;
/// What reads are not led to.
mod reads;
/// Servers that die, and processes that are stopped and wake, in the middle of a switch.
mod sleepers;
/// Death at each step.
mod steps;
/// What a switch would break, and what is asked of it.
mod surveys;
/// A configuration with another topology.
mod topologies;

use shunt_engine::mysql::control::Control;

use crate::harness::binary::Binary;
use crate::harness::pair::Pair;
use crate::harness::shell::Serving;
use crate::harness::site::Site;

const CREATE: &str = "account,ledger";

/// A move of the bank's tables that is running under a `serve`.
async fn moved(pair: &Pair, suffix: &str) -> (Site, Serving) {
    let site = Site::new(pair, suffix).await;
    bank::fill(&mut site.on_source().await).await;
    site.must(&site.create(CREATE, "chunk_rows_max=2000")).await;
    let serving = site.serve(Binary::Plain, None);
    site.wait("running").await;
    (site, serving)
}

/// The words of a switch.
fn switch(site: &Site, verb: &str) -> String {
    format!("movetables {verb} {} --no-gateway", site.workflow())
}

/// Both sides of the bank.
async fn both(site: &Site) -> [Control; 2] {
    [site.on_source().await, site.on_target().await]
}
