//! Writers at a steady pace that outlive a restart of their server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use shunt_engine::mysql::control::{Control, Session};
use shunt_engine::mysql::server::ServerConfig;
use shunt_engine::runtime::tasks::{Task, spawn};

use super::load::Random;
use super::pair::PATIENCE;
use super::site::LOOK;

/// Writers that connect again for as long as it takes.
pub(crate) struct Writers {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    tasks: Vec<Task<()>>,
}

impl Writers {
    /// Starts writers that run one transaction each `pace`, as `statements` makes them of a random number.
    pub(crate) fn start(
        server: &ServerConfig,
        database: &str,
        writers: u64,
        pace: Duration,
        statements: fn(&mut Random) -> Vec<String>,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicU64::new(0));
        let tasks = (0..writers)
            .map(|writer| {
                let (stop, done, server) = (stop.clone(), done.clone(), server.clone());
                let database = database.to_owned();
                spawn("writer", async move {
                    let mut random = Random(writer * 7919 + 17);
                    let mut connected: Option<Control> = None;
                    let mut ticks = tokio::time::interval(pace);
                    while !stop.load(Ordering::Relaxed) {
                        ticks.tick().await;
                        let mut control = match connected.take() {
                            Some(control) => control,
                            None => match connect(&server, &database).await {
                                Ok(control) => control,
                                Err(_) => continue,
                            },
                        };
                        // Whatever fails leaves the connection behind; it may be the server's end.
                        if transaction(&mut control, &statements(&mut random)).await.is_ok() {
                            done.fetch_add(1, Ordering::Relaxed);
                            connected = Some(control);
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        Self { stop, done, tasks }
    }

    /// Transactions committed so far.
    pub(crate) fn committed(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Waits until something more has been written.
    pub(crate) async fn until_more(&self) {
        let (before, started) = (self.committed(), Instant::now());
        while self.committed() < before + 3 {
            assert!(started.elapsed() < PATIENCE, "the load does not get on");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Stops them; they must have written something.
    pub(crate) async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.join().await.unwrap();
        }
        let committed = self.done.load(Ordering::Relaxed);
        assert!(committed > 0, "the load wrote nothing");
        committed
    }
}

async fn connect(server: &ServerConfig, database: &str) -> shunt_engine::Result<Control> {
    let mut control = Control::connect(server, Session::Control).await?;
    control.execute(format!("USE `{database}`")).await?;
    Ok(control)
}

async fn transaction(control: &mut Control, statements: &[String]) -> shunt_engine::Result<()> {
    control.execute("BEGIN").await?;
    for statement in statements {
        control.execute(statement).await?;
    }
    control.execute("COMMIT").await.map(drop)
}
