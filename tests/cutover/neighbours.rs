//! What another move, an earlier move, or a session that was refused leaves behind, and a switch must not stumble over.

use shunt_engine::mysql::control::{Control, Session};

use super::{moved, switch};
use crate::harness::binary::Binary;
use crate::harness::pair::Pair;
use crate::harness::site::Site;

/// The error of a fence.
const REFUSED: u16 = 1644;

fn is_refused<T: std::fmt::Debug>(written: shunt_engine::Result<T>) {
    let error = written.expect_err("the side is closed");
    assert_eq!(error.server_code(), Some(REFUSED), "{error}");
}

/// A command that fails, and says why.
async fn fails(site: &Site, words: &str, says: &[&str]) {
    let said = site.run(Binary::Plain, None, words).await;
    assert!(matches!(said.code, Some(1 | 2)), "{:?}: {}", said.code, said.text);
    for part in says {
        assert!(said.text.contains(part), "{part:?} is not said: {}", said.text);
    }
}

/// A keyspace `archive` on the target's server.
async fn with_archive(site: &Site) {
    let path = site.dir().join("shunt.toml");
    let toml = std::fs::read_to_string(&path).unwrap();
    let start = toml.find("\n[keyspaces.customer]").unwrap();
    let archive = toml[start..]
        .replace("customer]", "archive]")
        .replace("database = \"customer\"", "database = \"archive\"");
    let archive = archive.replace("keyspaces.customer.", "keyspaces.archive.");
    std::fs::write(&path, format!("{toml}{archive}")).unwrap();
    site.on_target().await.execute("CREATE DATABASE archive").await.unwrap();
}

/// One table is moved to one place and copied to another: each move has a fence of its own, and neither takes off the other's.
#[tokio::test(flavor = "multi_thread")]
async fn two_moves_of_one_table_have_two_fences() {
    let pair = Pair::start().await;
    let site = Site::new(&pair, "").await;
    with_archive(&site).await;
    let mut source = site.on_source().await;
    source.execute("CREATE TABLE t (id INT NOT NULL PRIMARY KEY, v INT)").await.unwrap();
    source.execute("INSERT INTO t VALUES (1, 1)").await.unwrap();
    for name in ["customer.a", "archive.b"] {
        let create = format!("movetables create {name} --source commerce --tables t --detach");
        site.must(&create).await;
    }
    let serving = site.serve(Binary::Plain, None);
    for name in ["customer.a", "archive.b"] {
        site.must(&format!("movetables wait {name} --for running --timeout 120s")).await;
    }
    site.must_at_last("movetables rehearse archive.b --no-gateway").await;
    site.must_at_last("movetables switchtraffic customer.a --no-gateway").await;
    is_refused(source.execute("INSERT INTO t VALUES (2, 2)").await);
    let closed = ["table `t` of the source is closed by another move", "commerce.a_reverse"];
    fails(&site, "movetables rehearse archive.b --no-gateway", &closed).await;
    fails(&site, "movetables switchtraffic archive.b --no-gateway", &closed).await;
    is_refused(source.execute("INSERT INTO t VALUES (2, 2)").await);
    site.must_at_last("movetables cancel archive.b").await;
    is_refused(source.execute("INSERT INTO t VALUES (2, 2)").await);

    site.on_target().await.execute("INSERT INTO t VALUES (3, 3)").await.unwrap();
    site.must_at_last("movetables reversetraffic customer.a --no-gateway").await;
    source.execute("INSERT INTO t VALUES (4, 4)").await.unwrap();
    site.must("movetables wait customer.a --for running --timeout 120s").await;
    site.must("movetables wait customer.a --for caught-up --timeout 120s").await;
    assert_eq!(site.equal(&["t"]).await, Ok(()));
    serving.stop().await;
}

/// `complete --keep-data` leaves the source's tables closed under the name of the move: another move does not get that name.
#[tokio::test(flavor = "multi_thread")]
async fn the_name_of_tables_that_stay_closed_is_taken() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    site.must_at_last(&switch(&site, "switchtraffic")).await;
    site.must_at_last("movetables complete customer.move --keep-data").await;
    let mut source = site.on_source().await;
    source.execute("CREATE TABLE other (id INT NOT NULL PRIMARY KEY)").await.unwrap();
    let create = |name: &str| {
        format!("movetables create customer.{name} --source commerce --tables other --detach")
    };
    fails(&site, &create("move"), &["an earlier move named move", "Choose another name"]).await;
    site.must(&create("another")).await;
    site.must("movetables wait customer.another --for running --timeout 120s").await;
    site.must_at_last("movetables switchtraffic customer.another --no-gateway").await;
    is_refused(source.execute("INSERT INTO other VALUES (1)").await);
    is_refused(source.execute("INSERT INTO account VALUES (5001, 0)").await);
    serving.stop().await;
}

/// A pooled session that was refused where the writes are led next, and has not rolled back: it holds that fence, so that the side could
/// not be opened once the other one is closed.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_session_that_does_not_roll_back_is_named_before_both_sides_are_closed() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    site.must_at_last(&switch(&site, "switchtraffic")).await;
    let mut idle = Control::connect(&pair.source_config(), Session::Control).await.unwrap();
    idle.execute("SET autocommit = 0").await.unwrap();
    idle.execute("USE commerce").await.unwrap();
    is_refused(idle.execute("INSERT INTO account VALUES (5001, 0)").await);
    let named = format!("connection {} of", idle.id());
    let says = ["were refused on the source do not roll back", named.as_str()];
    fails(&site, &switch(&site, "reversetraffic"), &says).await;
    let mut target = site.on_target().await;
    target.execute("INSERT INTO account VALUES (5002, 0)").await.unwrap();
    idle.execute("ROLLBACK").await.unwrap();
    site.must_at_last(&switch(&site, "reversetraffic")).await;
    idle.execute("INSERT INTO account VALUES (5001, 0)").await.unwrap();
    idle.execute("COMMIT").await.unwrap();
    is_refused(target.execute("INSERT INTO account VALUES (5003, 0)").await);
    serving.stop().await;
}
