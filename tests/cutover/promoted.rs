//! A server of the closed side that lacks what the other side knows of a switch: a replica that was promoted before it had received all of
//! it, and a primary of old that is back under its address.

use std::time::Instant;

use shunt_engine::failpoints::{SWITCH_AFTER_NO_RETURN, SWITCH_AFTER_OPEN, SWITCH_AFTER_RAISE};
use shunt_engine::mysql::control::Control;

use super::{moved, switch};
use crate::harness::binary::Binary;
use crate::harness::pair::{PATIENCE, Pair};
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

/// All was settled when the source's server was lost: nobody looks for a switch any more, but the next command.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_command_closes_a_promoted_replica_that_lacks_a_settled_switch() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    site.must_at_last(&switch(&site, "switchtraffic")).await;
    site.must("movetables wait commerce.move_reverse --for caught-up --timeout 60s").await;
    serving.stop().await;
    let mut source = site.on_source().await;
    source.execute("SET sql_log_bin = 0").await.unwrap();
    for sql in LACKS[1].1 {
        source.execute(*sql).await.unwrap();
    }
    drop_triggers(&mut source).await;
    source.execute("SET sql_log_bin = 1").await.unwrap();
    source.execute(WRITE).await.unwrap();
    let status = site.must("movetables status customer.move").await;
    assert!(status.contains("both sides take writes"), "{status}");
    let would = site.run(Binary::Plain, None, "movetables cancel customer.move --dry-run").await;
    assert!(would.code == Some(2) && would.text.contains("both sides are open"), "{}", would.text);

    // What the target has is not dropped, nor are clients led to the source.
    let said = site.run(Binary::Plain, None, "movetables cancel customer.move").await;
    assert!(said.code == Some(2) && said.text.contains("is switched"), "{}", said.text);
    let refused = source.execute(WRITE).await.unwrap_err();
    assert_eq!(refused.server_code(), Some(1644), "{refused}");
    site.on_target().await.execute(WRITE).await.unwrap();
    let leaks = site.must("movetables leaks customer.move").await;
    assert!(leaks.contains("wrote 1 row of `ledger`"), "{leaks}");
}

/// The stream's row as a replica has it that has not received the last group, nor that group's rows.
async fn falls_behind(site: &Site, before: &[String; 3], unsettled: bool) {
    let mut target = site.on_target().await;
    let [pos, log, epoch] = before;
    target.execute("SET sql_log_bin = 0").await.unwrap();
    target.execute("UPDATE _shunt.fence SET state = 'open', closed_until_s = 0").await.unwrap();
    target.execute("DELETE FROM ledger WHERE client = 77").await.unwrap();
    let stream =
        format!("UPDATE _shunt.stream SET state = 'Running', pos = '{pos}', message = '', {log}");
    target.execute(stream).await.unwrap();
    target.execute(format!("UPDATE _shunt.epoch SET epoch = {epoch}")).await.unwrap();
    target.execute("UPDATE _shunt.workflow SET desired = 'Running'").await.unwrap();
    if !unsettled {
        let nothing =
            "UPDATE _shunt.switch SET generation = 0, coordinator = '', settled = 1, plan = ''";
        target.execute(nothing).await.unwrap();
    }
    let closed = "UPDATE _shunt.fence SET state = 'closed', generation = 0, closed_until_s = 9223372036854775807";
    target.execute(closed).await.unwrap();
}

/// Opened as it is it would lack what the source had acknowledged last, and get it later over what clients write.
#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_replica_of_the_target_is_opened_when_it_has_all() {
    for unsettled in [true, false] {
        let pair = Pair::start().await;
        let (site, serving) = moved(&pair, "").await;
        site.wait("caught-up").await;
        serving.stop().await;
        let mut target = site.on_target().await;
        let before = [
            site.of_stream(&mut target, "s.pos").await,
            site.of_stream(
                &mut target,
                "CONCAT('log_file = \"', s.log_file, '\", log_offset = ', s.log_offset)",
            )
            .await,
            site.of_stream(&mut target, "e.epoch").await,
        ];
        site.on_source().await.execute(WRITE).await.unwrap();
        if unsettled {
            dies(&site, SWITCH_AFTER_NO_RETURN).await;
        } else {
            let words =
                format!("{} --force --tablet-types primary", switch(&site, "switchtraffic"));
            site.must_at_last(&words).await;
        }
        falls_behind(&site, &before, unsettled).await;

        let serving = site.serve(Binary::Plain, None);
        let settle = format!("{} --tablet-types primary", switch(&site, "switchtraffic"));
        let started = Instant::now();
        let fence = "SELECT state FROM _shunt.fence";
        while target.row(fence).await.unwrap().unwrap().text(0).unwrap() != "open" {
            // Of a switch that was settled nobody takes notice but a command.
            let said = site.run(Binary::Plain, None, &settle).await;
            let state = site.of_stream(&mut target, "CONCAT(s.state, ': ', s.message)").await;
            assert!(started.elapsed() < PATIENCE, "it stays closed, {state}: {}", said.text);
        }
        target.execute(WRITE).await.unwrap();
        let query = "SELECT COUNT(*) FROM ledger WHERE client = 77";
        let rows = target.row(query).await.unwrap().unwrap();
        assert_eq!(
            rows.number::<u64>(0).unwrap(),
            2,
            "what the source had acknowledged, and the new one"
        );
        assert_eq!(site.state(&mut target).await, "Frozen");
        super::steps::settled(&site, "it has all").await;
        serving.stop().await;
    }
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

/// A target that was restored from a backup of before the switch: what it has is not dropped while the source is closed.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_knows_of_no_switch_is_not_cancelled_while_the_source_is_closed() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    site.must_at_last(&switch(&site, "switchtraffic")).await;
    site.must("movetables wait commerce.move_reverse --for caught-up --timeout 60s").await;
    serving.stop().await;
    let mut target = site.on_target().await;
    target.execute("DELETE FROM _shunt.switch").await.unwrap();
    let closed = "UPDATE _shunt.fence SET state = 'closed', generation = 0, closed_until_s = 9223372036854775807";
    target.execute(closed).await.unwrap();
    let rules = site.must("routing-rules get").await;
    for end in ["", " --keep-data", " --dry-run"] {
        let cancel = format!("movetables cancel customer.move{end}");
        let said = site.run(Binary::Plain, None, &cancel).await;
        let why = "does not know of it";
        assert!(said.code == Some(2) && said.text.contains(why), "{cancel}: {}", said.text);
    }
    assert_eq!(site.must("routing-rules get").await, rules);
    let rows = target.row("SELECT COUNT(*) > 0 FROM account").await.unwrap().unwrap();
    assert_eq!(rows.text(0).as_deref(), Some("1"));
    let refused = site.on_source().await.execute(WRITE).await.unwrap_err();
    assert_eq!(refused.server_code(), Some(1644), "{refused}");

    // What it advises.
    site.must_at_last(&switch(&site, "switchtraffic")).await;
    target.execute(WRITE).await.unwrap();
    let fence = target.row("SELECT state FROM _shunt.fence").await.unwrap().unwrap();
    assert_eq!(fence.text(0).as_deref(), Some("open"));
}
