//! What `shunt grants --print` lists is enough: for a move, a VDiff, a switch to and fro, and Complete.

use shunt_engine::mysql::control::Control;
use shunt_engine::mysql::server::{Secret, ServerConfig};

use super::bank;
use super::switch;
use crate::harness::binary::Binary;
use crate::harness::pair::Pair;
use crate::harness::site::Site;

const PASSWORD: &str = "only what is needed";

/// The statements for one side: each block begins with the keyspace's name.
fn of_side(printed: &str, keyspace: &str) -> Vec<String> {
    let mut ours = false;
    let mut statements = Vec::new();
    for line in printed.lines() {
        if let Some(heading) = line.strip_prefix("-- ") {
            ours = heading.starts_with(&format!("{keyspace}, "));
        } else if ours {
            statements.push(line.trim_end_matches(';').to_owned());
        }
    }
    statements
}

async fn log_in(control: &mut Control, server: &ServerConfig) -> ServerConfig {
    let sql = format!("CREATE USER mover@'%' IDENTIFIED BY '{PASSWORD}'");
    control.execute(sql).await.unwrap();
    ServerConfig { user: "mover".into(), password: Secret::new(PASSWORD), ..server.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_grants_are_enough_for_all_that_shunt_does() {
    let pair = Pair::start().await;
    let [mut source, mut target] = [pair.on_source().await, pair.on_target().await];
    let (from, to) = (
        log_in(&mut source, &pair.source_config()).await,
        log_in(&mut target, &pair.target_config()).await,
    );
    // An underscore in the names: it must not stand for any character.
    let site = Site::through(&pair, "_g", &from, &to).await;
    bank::fill(&mut site.on_source().await).await;
    let ask = "grants --source commerce_g --target customer_g";
    let preflight =
        format!("preflight {} --source commerce_g --tables account,ledger", site.workflow());
    let said = site.run(Binary::Plain, None, &preflight).await;
    assert!(said.code == Some(1) && said.text.contains("lacks"), "{}", said.text);
    let printed = site.must(&format!("{ask} --print")).await;
    println!("{printed}");
    for (control, keyspace) in [(&mut source, "commerce_g"), (&mut target, "customer_g")] {
        let statements = of_side(&printed, keyspace);
        assert!(statements.len() >= 5, "{printed}");
        for statement in statements {
            control.execute(statement).await.unwrap();
        }
    }
    assert_eq!(site.must(ask).await, "-- nothing is missing\n");
    site.must(&preflight).await;

    site.must(&site.create("account,ledger", "chunk_rows_max=2000")).await;
    let serving = site.serve(Binary::Plain, None);
    site.wait("running").await;
    site.must(&format!("vdiff create {} --wait", site.workflow())).await;
    for verb in ["switchtraffic", "reversetraffic", "switchtraffic"] {
        site.must_at_last(&switch(&site, verb)).await;
    }
    site.on_target().await.execute("UPDATE account SET balance = 7 WHERE id = 1").await.unwrap();
    site.must("movetables wait commerce_g.move_reverse --for caught-up --timeout 60s").await;
    site.must_at_last(&format!("movetables complete {}", site.workflow())).await;

    // One that is taken away is named.
    target.execute("REVOKE INDEX ON `customer\\_g`.* FROM mover@'%'").await.unwrap();
    let missing = site.must(ask).await;
    let lines: Vec<&str> = missing.lines().filter(|line| !line.starts_with("--")).collect();
    assert!(
        lines.len() == 1 && lines[0].starts_with("GRANT INDEX ON `customer\\_g`.* TO 'mover'@"),
        "{missing}"
    );
    serving.stop().await;
}
