//! `kill -9` at every step of a switch, of the worker, of a gateway, and of all but one gateway. No command is given afterwards: whoever is
//! left alive finishes the switch or takes it back, and clients are served again soon. Clients of the gateway that lives see no error but
//! that of a transaction to be begun anew: one that had read before the fence went up, when nobody is left who holds the gateways.
//!
//! `SHUNT_SOAK=1` takes every step.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use shunt_engine::failpoints::{
    SWITCH_AFTER_HOLD, SWITCH_AFTER_NO_RETURN, SWITCH_AFTER_OPEN, SWITCH_AFTER_RAISE,
};

use super::{Bank, Crew, Routed, WORKFLOW, books};
use crate::harness::binary::Binary;
use crate::harness::pair::PATIENCE;
use crate::harness::routed::{ask, once};
use crate::harness::shell::{Serving, Shell};
use crate::harness::switches::{is_decided, settled, steps};

/// How long clients may go without being served: the design's ten seconds, and as much again for a machine that runs several tests.
const SERVED: Duration = Duration::from_secs(20);
const SMALL: Crew = Crew { routed: 4, direct: 2, spanning: 0, restarts: true };

/// Who is killed while the switch is at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    /// The `serve` that runs the streams; another one waits.
    Worker,
    /// One of two gateways.
    Gateway,
    /// The command and every `serve`: a gateway is all that is left.
    AllButAGateway,
}

/// The processes at a bank.
struct Scene<'a> {
    routed: &'a Routed,
    shell: &'a Shell,
    workers: Vec<Serving>,
    second: Option<Serving>,
    /// The second gateway's configuration, with its port.
    second_config: String,
    bank: Bank,
}

impl Scene<'_> {
    /// The verb that leads from this side to the other.
    fn away_from(side: usize) -> String {
        let verb = ["switchtraffic", "reversetraffic"][side];
        format!("movetables {verb} {WORKFLOW} --timeout 10s")
    }

    /// A switch that is stopped at a step.
    async fn stopped_at(&self, side: usize, point: &str) -> Serving {
        let (failpoint, started) = (format!("{point}:stop"), Instant::now());
        loop {
            let words = Self::away_from(side);
            let mut command = self.shell.start(Binary::Failpoints, Some(&failpoint), &words);
            if command.until_stopped().await {
                return command;
            }
            // On a busy machine the pause may be over before the step.
            let log = command.log();
            let again = ["was taken back for workflow", "another command", "is further behind"];
            let again = again.iter().any(|why| log.contains(why));
            assert!(again && started.elapsed() < PATIENCE, "{point}: {log}");
        }
    }

    async fn settled(&self, what: &str) -> usize {
        let names = ["commerce.move_reverse".to_owned(), WORKFLOW.to_owned()];
        settled(&self.routed.places(), &names, what).await
    }

    /// Kills at a step of the switch away from a side; the side that takes writes when the survivors are done.
    async fn kill(&mut self, side: usize, point: &'static str, victim: Victim) -> usize {
        let what = format!("{point}, {victim:?}, from {side}");
        let mut command = self.stopped_at(side, point).await;
        match victim {
            Victim::Worker => self.workers.remove(0).kill(),
            Victim::Gateway => {
                self.bank.stopped.store(true, Ordering::Relaxed);
                self.second.take().unwrap().kill();
            }
            Victim::AllButAGateway => {
                for worker in std::mem::take(&mut self.workers) {
                    worker.kill();
                }
            }
        }
        if victim == Victim::AllButAGateway {
            command.kill();
        } else {
            command.signal("-CONT");
            println!("{what}: {}: {}", command.ended().await, command.log());
        }
        self.bank.serves_within(SERVED, victim == Victim::Gateway, &what).await;
        let now = self.settled(&what).await;
        if victim == Victim::AllButAGateway {
            assert_eq!(now != side, is_decided(point), "{what}");
        }
        self.revive().await;
        now
    }

    /// Starts again who was killed.
    async fn revive(&mut self) {
        while self.workers.len() < 2 {
            self.workers.push(self.shell.start(Binary::Plain, None, "serve"));
        }
        if self.second.is_none() {
            let words = format!("--config {} gateway", self.second_config);
            let mut second = self.shell.start(Binary::Plain, None, &words);
            second.gateway_port().await;
            self.second = Some(second);
        }
        self.bank.goes_on(false).await;
        self.bank.stopped.store(false, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_left_alive_settles_a_switch() {
    let routed = Routed::unmoved(0).await;
    books::fill(&mut routed.on_commerce().await).await;
    let shell = routed.shell();
    let workers = vec![shell.start(Binary::Plain, None, "serve")];
    let mut gateways = Vec::new();
    let mut ports = [0; 2];
    for port in &mut ports {
        let mut gateway = shell.start(Binary::Plain, None, "--config gateway.toml gateway");
        *port = gateway.gateway_port().await;
        gateways.push(gateway);
    }
    // Its clients come back to the same port.
    let second_config = "second.toml".to_owned();
    let toml = std::fs::read_to_string(routed.dir().join("gateway.toml")).unwrap();
    let toml = toml.replace("127.0.0.1:0", &format!("127.0.0.1:{}", ports[1]));
    std::fs::write(routed.dir().join(&second_config), toml).unwrap();
    let create =
        format!("movetables create {WORKFLOW} --source commerce --tables account,ledger --detach");
    shell.must(&create).await;
    for port in ports {
        let led = async || ask(port, "customer", "select count(*) from account").await;
        assert_eq!(once(|said| said == "100", led).await, "100");
    }
    let servers = [routed.commerce(), routed.customer()].map(|server| server.primary().port());
    let bank = Bank::open(SMALL, ports, servers).await;
    shell.must(&format!("movetables wait {WORKFLOW} --for running --timeout 120s")).await;
    let second = gateways.pop();
    let mut scene = Scene { routed: &routed, shell: &shell, workers, second, second_config, bank };
    scene.revive().await;

    let few = [SWITCH_AFTER_HOLD, SWITCH_AFTER_RAISE, SWITCH_AFTER_NO_RETURN, SWITCH_AFTER_OPEN];
    let mut side = 0;
    for (number, point) in steps(&few).into_iter().enumerate() {
        for victim in [Victim::Worker, Victim::Gateway, Victim::AllButAGateway] {
            // Each of the few steps once, that before the decision for the gateway alone.
            let left_out =
                [Victim::Gateway, Victim::AllButAGateway, Victim::Worker, Victim::AllButAGateway];
            if steps(&few).len() == few.len() && left_out[number] != victim {
                continue;
            }
            side = scene.kill(side, point, victim).await;
        }
    }
    // The next command goes on from it.
    let started = Instant::now();
    loop {
        let words = Scene::away_from(side);
        let said = shell.run(Binary::Plain, None, &words).await;
        if said.code == Some(0) {
            break;
        }
        let again = ["was taken back for workflow", "another command", "is further behind"];
        let again = again.iter().any(|why| said.text.contains(why));
        assert!(again && started.elapsed() < PATIENCE, "{}", said.text);
    }
    scene.bank.goes_on(false).await;
    check(scene, 1 - side).await;
    for gateway in gateways {
        gateway.stop().await;
    }
}

/// The books of the side that takes writes, and the other side once the stream has brought it up.
async fn check(scene: Scene<'_>, side: usize) {
    let Scene { routed, shell, workers, second, bank, .. } = scene;
    let mut both = [routed.on_commerce().await, routed.on_customer().await];
    let mut unmoved = routed.on_commerce().await;
    bank.close(&mut both[side], &mut unmoved).await;
    let stream = ["customer.move", "commerce.move_reverse"][side];
    shell.must(&format!("movetables wait {stream} --for caught-up --timeout 60s")).await;
    for query in ["SELECT * FROM account ORDER BY id", "SELECT * FROM ledger ORDER BY id"] {
        let [source, target] = &mut both;
        assert_eq!(target.rows(query).await.unwrap(), source.rows(query).await.unwrap(), "{query}");
    }
    assert_eq!(shell.must(&format!("movetables leaks {WORKFLOW}")).await, "No leaks found\n");
    for process in workers.into_iter().chain(second) {
        process.stop().await;
    }
}
