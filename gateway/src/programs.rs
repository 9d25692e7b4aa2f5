//! Reads what runs on the servers by name (views, routines, triggers), so that statements are judged by what they reach.
//!
//! One task a server, over the engine's account. It reads once before the gateway listens; again when rules change and when a switch
//! is announced, which is well before its hold; and from time to time while there are rules. So a view that somebody makes on
//! a server directly is known after [`PROGRAMS_INTERVAL`] at the latest, and one that stands when a switch begins is known in it.

use std::sync::Arc;

use shunt_engine::Result;
use shunt_engine::mysql::control::{Control, Session};
use shunt_engine::programs::Programs;
use shunt_engine::runtime::tasks::{self, Task};
use tokio_util::sync::CancellationToken;

use crate::board::Board;
use crate::limits::{PROGRAMS_AGAIN, PROGRAMS_FIRST, PROGRAMS_INTERVAL, PROGRAMS_TIMEOUT};
use crate::servers::{ServerId, Servers};

/// Reads those of all servers, as far as they answer soon.
///
/// # Errors
/// If a task fails, which it does not.
pub(crate) async fn first(servers: &Arc<Servers>) -> Result<()> {
    let read = |id: ServerId| {
        let servers = Arc::clone(servers);
        tasks::spawn("first look at programs", async move {
            let looked = tokio::time::timeout(PROGRAMS_FIRST, look(&servers, id, None)).await;
            if !matches!(looked, Ok(Ok(_))) {
                tracing::debug!(server = %servers.config(id).alias, "its programs are read later");
            }
            Ok(())
        })
    };
    let all: Vec<Task<()>> = servers.ids().map(read).collect();
    for task in all {
        task.join().await?;
    }
    Ok(())
}

/// Follows those of all servers until cancelled.
pub(crate) fn watch(
    servers: &Arc<Servers>,
    board: &Arc<Board>,
    cancel: &CancellationToken,
) -> Vec<Task<()>> {
    let follow = |id: ServerId| {
        let (servers, board, cancel) = (Arc::clone(servers), Arc::clone(board), cancel.clone());
        tasks::spawn("programs", async move {
            follow(&servers, &board, id, &cancel).await;
            Ok(())
        })
    };
    servers.ids().map(follow).collect()
}

async fn follow(servers: &Servers, board: &Board, id: ServerId, cancel: &CancellationToken) {
    let mut news = board.news();
    let mut control = None;
    loop {
        let wait = match (servers.programs(id).is_some(), board.view().rules.is_empty()) {
            (false, _) => Some(PROGRAMS_AGAIN),
            (true, false) => Some(PROGRAMS_INTERVAL),
            (true, true) => None,
        };
        let timed = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            changed = news.changed() => if changed.is_err() { return },
            () = timed => {}
        }
        // What is half done at the expiry is dropped, and the connection with it.
        let looked =
            tokio::time::timeout(PROGRAMS_TIMEOUT, look(servers, id, control.take())).await;
        match looked {
            Ok(Ok(connected)) => control = Some(connected),
            Ok(Err(error)) => {
                tracing::debug!(server = %servers.config(id).alias, "its programs cannot be read: {error}");
            }
            Err(_) => {
                tracing::warn!(server = %servers.config(id).alias, "reading its views and routines takes too long");
            }
        }
    }
}

async fn look(servers: &Servers, id: ServerId, control: Option<Control>) -> Result<Control> {
    let mut control = match control {
        Some(control) => control,
        None => Control::connect(servers.config(id), Session::Control).await?,
    };
    let programs = Programs::read(&mut control).await?;
    servers.set_programs(id, programs);
    Ok(control)
}
