//! `shunt movetables start`: a stopped or failed workflow goes on where it was.

use std::time::{Duration, Instant};

use shunt_engine::Error;
use shunt_engine::runtime::tasks;
use shunt_engine::workflow::state::StreamState;
use shunt_engine::workflow::{status, verbs};
use tokio_util::sync::CancellationToken;

use super::here;
use super::lock;
use super::site::Site;
use crate::args::workflow::Start;
use crate::config::Config;
use crate::exit::Exit;
use crate::output::{self, Format};

/// How long another command's lock is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(2);
/// How often it is looked whether a worker has taken the streams.
const LOOK: Duration = Duration::from_millis(50);

pub(in crate::commands) async fn run(args: &Start, config: &Config) -> anyhow::Result<Exit> {
    let site = Site::new(config, &args.workflow)?;
    let name = site.name.to_string();
    let mut control = site.control().await?;
    if status::read(&mut control, &name).await?.state() == StreamState::Frozen {
        return Err(Error::usage(format!("workflow {name} is frozen: its traffic is switched"))
            .advice("It applies nothing any more; complete it, or reverse the traffic.")
            .into());
    }
    // A cancel that is under way would find its streams taken from it.
    let lock = lock::take(&site, LOCK_WAIT).await?;
    let started = verbs::start(&mut control, &name).await;
    lock.release().await;
    started?;
    output::report(&format!("Workflow {name} was started.\n"));
    if args.foreground {
        control.close().await;
        return here::run(&site, Format::Text).await;
    }
    let patience = 2 * config.serve.poll() + Duration::from_secs(1);
    let (asked, never) = (Instant::now(), CancellationToken::new());
    while asked.elapsed() < patience {
        let status = status::read(&mut control, &name).await?;
        // A stream that was fast is done and stopped again.
        if status.streams.iter().all(|stream| stream.owned || !stream.row.state.may_run()) {
            return Ok(Exit::Done);
        }
        tasks::pause(LOOK, &never).await;
    }
    output::note!(
        "Nobody runs it yet: start `shunt serve`, or use `shunt movetables start {name} --foreground`."
    );
    Ok(Exit::Done)
}
