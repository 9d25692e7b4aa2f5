//! A server of the closed side that lacks what the other side knows of a switch: a replica that was promoted before it had received all of
//! it, and a primary of old that is back under its address.

use shunt_engine::failpoints::{SWITCH_AFTER_OPEN, SWITCH_AFTER_RAISE};
use shunt_engine::mysql::control::Control;

use super::{moved, switch};
use crate::harness::binary::Binary;
use crate::harness::pair::Pair;
use crate::harness::site::Site;

const WRITE: &str = "INSERT INTO ledger (client, n) VALUES (77, 0)";

/// What a replica lacks that was promoted after a part of the switch; as statements that undo that part.
const LACKS: [(&str, &[&str]); 2] = [
    (
        "the decision",
        &["UPDATE _shunt.fence SET state = 'raised', closed_until_s = UNIX_TIMESTAMP() - 1"],
    ),
    (
        "all of the switch",
        &[
            "UPDATE _shunt.fence SET state = 'open', generation = 0, closed_until_s = 0",
            "UPDATE _shunt.switch SET generation = 0, coordinator = '', settled = 1, plan = ''",
            "DELETE FROM _shunt.workflow",
            "DELETE FROM _shunt.stream",
            "DELETE FROM _shunt.watch",
        ],
    ),
];

async fn drop_triggers(control: &mut Control) {
    for row in control.rows("SHOW TRIGGERS").await.unwrap() {
        control.execute(format!("DROP TRIGGER `{}`", row.text(0).unwrap())).await.unwrap();
    }
}

/// A switch that died when the target was open, and nobody to settle it.
async fn dies(site: &Site, point: &str) {
    let words = format!("{} --force --tablet-types primary", switch(site, "switchtraffic"));
    let said = site.run(Binary::Failpoints, Some(&format!("{point}:exit")), &words).await;
    assert_eq!(said.code, Some(86), "{}", said.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_replica_that_lacks_the_switch_is_closed_and_what_was_written_there_is_shown() {
    let pair = Pair::start().await;
    for (number, (what, undone)) in LACKS.iter().enumerate() {
        let (site, serving) = moved(&pair, &number.to_string()).await;
        serving.stop().await;
        dies(&site, SWITCH_AFTER_OPEN).await;
        let mut source = site.on_source().await;
        source.execute("SET sql_log_bin = 0").await.unwrap();
        for sql in *undone {
            let sql = match number {
                0 => (*sql).to_owned(),
                // Other moves of the pair keep theirs.
                _ => with_name(sql, &site),
            };
            source.execute(&sql).await.unwrap();
        }
        if number > 0 {
            drop_triggers(&mut source).await;
        }
        source.execute("SET sql_log_bin = 1").await.unwrap();
        source.execute(WRITE).await.unwrap();
        let lost = source.row("SELECT @@last_gtid").await.unwrap().unwrap().text(0).unwrap();

        let serving = site.serve(Binary::Plain, None);
        super::steps::settled(&site, what).await;
        let refused = source.execute(WRITE).await.unwrap_err();
        assert_eq!(refused.server_code(), Some(1644), "{what}: {refused}");
        site.on_target().await.execute(WRITE).await.unwrap();
        let leaks = site.must(&format!("movetables leaks {}", site.workflow())).await;
        assert!(leaks.contains(&lost) && leaks.contains("wrote 1 row of"), "{what}: {leaks}");
        let status = site.must(&format!("movetables status {}", site.workflow())).await;
        assert!(status.contains(&lost) && status.contains("Complete is barred"), "{status}");
        serving.stop().await;
    }
}

fn with_name(sql: &str, site: &Site) -> String {
    let reverse = format!("'commerce{}.move_reverse'", site.suffix());
    if sql.contains("_shunt.stream") {
        return "DELETE s FROM _shunt.stream s LEFT JOIN _shunt.workflow w ON w.id = s.workflow_id WHERE w.id IS NULL"
            .to_owned();
    }
    let column = if sql.contains("_shunt.workflow") { "name" } else { "workflow" };
    format!("{sql} WHERE {column} = {reverse}")
}

/// The source of before a failover is back under the address: what it says of an old switch does not lead the rules astray.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_before_a_later_switch_settles_nothing() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    serving.stop().await;
    dies(&site, SWITCH_AFTER_RAISE).await;
    // The target has seen a later one.
    let mut target = site.on_target().await;
    target
        .execute("UPDATE _shunt.switch SET generation = generation + 5, settled = 1, plan = REPLACE(plan, '\"generation\":1', '\"generation\":6')")
        .await
        .unwrap();
    let rules = site.must("routing-rules get").await;
    let words = format!("{} --force --tablet-types primary", switch(&site, "switchtraffic"));
    loop {
        let said = site.run(Binary::Plain, None, &words).await;
        if said.text.contains("another command is at work") {
            continue;
        }
        assert_eq!(said.code, Some(1), "{}", said.text);
        assert!(said.text.contains("knows a later one, 6"), "{}", said.text);
        break;
    }
    assert_eq!(site.must("routing-rules get").await, rules);
}
