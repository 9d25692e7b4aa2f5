//! A gateway that is told to end.

use std::time::Instant;

use shunt_engine::runtime::tasks::spawn;
use tokio::net::TcpStream;

use super::super::harness::pair::PATIENCE;
use super::super::harness::routed::{Routed, Talk};
use super::super::harness::site::LOOK;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_is_waited_for_and_nothing_new_is_begun() {
    let routed = Routed::start(0).await;
    let gateway = routed.gateway("").await;
    let address = ("127.0.0.1", gateway.port);
    let mut open = Talk::start(gateway.port, "commerce");
    let mut begun = Talk::start(gateway.port, "commerce");
    let mut idle = Talk::start(gateway.port, "commerce");
    assert_eq!(open.ask("begin; insert into product values ('one', 'x', 1);"), "");
    // Of which the server is not known yet.
    assert_eq!(begun.ask("begin;"), "");
    assert_eq!(idle.ask("select 1;"), "1");
    let ending = spawn("ending", async move {
        gateway.stop().await;
        Ok(())
    });
    let started = Instant::now();
    while TcpStream::connect(address).await.is_ok() {
        assert!(started.elapsed() < PATIENCE, "it goes on to take clients");
        tokio::time::sleep(LOOK).await;
    }
    assert!(idle.ask("select 1;").starts_with("ERROR"), "its session has ended");
    assert_eq!(open.ask("insert into product values ('two', 'x', 1); commit;"), "");
    assert_eq!(begun.ask("insert into product values ('three', 'x', 1); commit;"), "");
    ending.join().await.unwrap();
    let mut server = routed.on_commerce().await;
    let kept = server.row("SELECT COUNT(*) FROM product WHERE price = 1").await.unwrap().unwrap();
    assert_eq!(kept.must(0).unwrap(), "3");
}
