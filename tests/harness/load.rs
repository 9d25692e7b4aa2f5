//! Writers on the source while it is moved.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use shunt_engine::mysql::control::{Control, Session};
use shunt_engine::mysql::server::ServerConfig;
use shunt_engine::runtime::tasks::{Task, spawn};

/// Writers that run until they are stopped.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    tasks: Vec<Task<()>>,
}

impl Load {
    /// Starts `writers` writers; each runs the statements that `statements` makes of a random number, one transaction a
    /// call, and goes on after an error (such as a duplicate key or a deadlock).
    pub(crate) fn start<F>(
        server: &ServerConfig,
        database: &str,
        writers: u64,
        statements: F,
    ) -> Self
    where
        F: Fn(&mut Random) -> Vec<String> + Send + Sync + Clone + 'static,
    {
        Self::seeded(server, database, writers, 0, statements)
    }

    /// The same with other random numbers.
    pub(crate) fn seeded<F>(
        server: &ServerConfig,
        database: &str,
        writers: u64,
        seed: u64,
        statements: F,
    ) -> Self
    where
        F: Fn(&mut Random) -> Vec<String> + Send + Sync + Clone + 'static,
    {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicU64::new(0));
        let tasks = (0..writers).map(|writer| {
            let (stop, done, server) = (stop.clone(), done.clone(), server.clone());
            let (statements, database) = (statements.clone(), database.to_owned());
            spawn("load", async move {
                let mut control = Control::connect(&server, Session::Control).await?;
                control.execute(format!("USE `{database}`")).await?;
                control.execute("SET SESSION innodb_lock_wait_timeout=1").await?;
                let mut random = Random((seed << 16) + writer * 7919 + 17);
                while !stop.load(Ordering::Relaxed) {
                    control.execute("BEGIN").await?;
                    let mut good = true;
                    for statement in statements(&mut random) {
                        good = good && control.execute(&statement).await.is_ok();
                    }
                    control.execute(if good { "COMMIT" } else { "ROLLBACK" }).await?;
                    done.fetch_add(u64::from(good), Ordering::Relaxed);
                }
                Ok(())
            })
        });
        Self { tasks: tasks.collect(), stop, done }
    }

    /// Transactions committed so far.
    pub(crate) fn committed(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Stops the writers and waits for them; at least one transaction must have been committed.
    pub(crate) async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let committed = self.done.clone();
        for task in self.tasks {
            task.join().await.unwrap();
        }
        let committed = committed.load(Ordering::Relaxed);
        assert!(committed > 0, "the load wrote nothing");
        committed
    }
}

/// Numbers that are the same in every run (splitmix64).
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}
