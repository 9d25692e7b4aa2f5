//! Reads are led to no side whose tables are not what the other side's are, or will not stay so.

use super::bank;
use super::{CREATE, switch};
use crate::harness::binary::Binary;
use crate::harness::pair::{PATIENCE, Pair};
use crate::harness::site::Site;

/// The position of a stream is its source's from the first copied row on: on a quiet source it tells nothing about the rest.
#[tokio::test(flavor = "multi_thread")]
async fn reads_stay_until_the_copy_is_whole_and_somebody_keeps_it_so() {
    let pair = Pair::start().await;
    let site = Site::new(&pair, "").await;
    bank::fill(&mut site.on_source().await).await;
    // Our own look at the server is one thread: the copy is held up for good once it has begun.
    let held_up = "chunk_rows_max=10,throttle_threads_running=1";
    site.must(&site.create(CREATE, held_up)).await;
    let serving = site.serve(Binary::Plain, None);
    let mut target = site.on_target().await;
    let started = std::time::Instant::now();
    while site.state(&mut target).await != "Copying" {
        assert!(started.elapsed() < PATIENCE, "{}", serving.log());
    }
    let switch = format!("{} --max-replication-lag-allowed 1s", switch(&site, "switchtraffic"));
    let reads = format!("{switch} --tablet-types replica,rdonly");
    for words in [&switch, &reads, &format!("{switch} --dry-run"), &format!("{reads} --dry-run")] {
        let said = site.run(Binary::Plain, None, words).await;
        let incomplete = said.text.contains("tables of the target are not complete");
        assert!(said.code == Some(1) && incomplete, "{words}: {}", said.text);
    }
    let said = site.run(Binary::Plain, None, &format!("{reads} --format json")).await;
    assert!(said.code == Some(1) && said.text.contains("not complete"), "{}", said.text);
    let name = site.workflow();
    // It is stopped though it cannot be said.
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut stop = tokio::process::Command::new(Binary::Plain.path());
    stop.args(["movetables", "stop", &name]).current_dir(site.dir()).stdout(full);
    assert_eq!(stop.status().await.unwrap().code(), Some(0));
    for words in [&reads, &format!("{reads} --dry-run")] {
        let said = site.run(Binary::Plain, None, words).await;
        let ended = said.text.contains("has ended (Stopped): by command");
        assert!(said.code == Some(1) && ended, "{words}: {}", said.text);
    }

    let freely = format!("workflow update {name} --config-overrides throttle_threads_running=0");
    site.must(&freely).await;
    site.must(&format!("movetables start {name}")).await;
    site.wait("running").await;
    let dry = site.must(&format!("{reads} --dry-run")).await;
    assert!(dry.contains("\"Reads Not Switched. Writes Not Switched\""), "{dry}");
    serving.stop().await;
    // Whoever has run it has given its lease back.
    let said = site.run(Binary::Plain, None, &reads).await;
    let unattended = said.text.contains("nobody runs the stream of ");
    assert!(said.code == Some(1) && unattended, "{}", said.text);
    let serving = site.serve(Binary::Plain, None);
    let said = site.must_at_last(&reads).await;
    assert!(said.contains("All Reads Switched. Writes Not Switched"), "{said}");
    serving.stop().await;
}
