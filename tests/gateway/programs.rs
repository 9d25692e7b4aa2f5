//! Views, routines and triggers over tables that move: never an old row and never a lost one, but the right way or an error.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use shunt_engine::routing::{RuleName, Side, TableName, document};
use shunt_engine::topology::switches::SwitchState;

use super::super::harness::routed::{Routed, Talk, ask, driver, once};
use super::{NEW, OLD, until};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(150);

/// What uses the tables that move, each with what it answers on the source.
const USES: [(&str, &str); 8] = [
    ("select min(email) from emails", OLD),
    ("select min(email) from commerce.nested", OLD),
    ("select min(email) from reports.emails", OLD),
    ("select first_email()", OLD),
    ("select first_email() from product limit 1", OLD),
    ("call commerce.show_email()", OLD),
    ("call dynamic('customer')", OLD),
    ("insert into product values ('X', 'x', 1)", ""),
];

async fn make_programs(routed: &Routed) {
    let mut source = routed.on_commerce().await;
    let mut target = routed.on_customer().await;
    for sql in [
        "CREATE VIEW emails AS SELECT email FROM customer",
        "CREATE DATABASE reports",
        "CREATE VIEW reports.emails AS SELECT email FROM commerce.emails",
        "GRANT SELECT ON reports.* TO app@'%'",
        "CREATE VIEW nested AS SELECT email FROM emails",
        "CREATE FUNCTION first_email() RETURNS TEXT READS SQL DATA RETURN (SELECT MIN(email) FROM nested)",
        "CREATE PROCEDURE show_email() SELECT MIN(email) FROM customer",
        "CREATE PROCEDURE dynamic(t TEXT) EXECUTE IMMEDIATE CONCAT('SELECT MIN(email) FROM ', t)",
        "CREATE PROCEDURE harmless() SELECT COUNT(*) FROM product",
        "CREATE TRIGGER stocked AFTER INSERT ON product FOR EACH ROW UPDATE corder SET price = price",
        "GRANT EXECUTE ON commerce.* TO app@'%'",
    ] {
        source.execute(sql).await.unwrap();
    }
    for sql in [
        "CREATE VIEW emails AS SELECT email FROM customer",
        "GRANT EXECUTE ON customer.* TO app@'%'",
    ] {
        target.execute(sql).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_uses_moved_tables_by_name_is_led_or_refused() {
    let routed = Routed::start(0).await;
    make_programs(&routed).await;
    routed.rules(|moved, rules| moved.create(rules).unwrap()).await;
    let gateway = routed.gateway("").await;
    let port = gateway.port;
    let mut talk = Talk::start(port, "commerce");
    for (sql, answer) in USES {
        assert_eq!(talk.ask(&format!("{sql};")), answer, "{sql}");
    }
    assert_eq!(talk.ask("delete from product where sku = 'X';"), "");
    let mut driver = driver(port, "commerce").await;
    let prepared = driver.prep("SELECT MIN(email) FROM nested").await.unwrap();
    let email: Option<String> = driver.exec_first(&prepared, ()).await.unwrap();
    assert_eq!(email.as_deref(), Some(OLD));
    // The copy is nobody's to read yet.
    let said = ask(port, "customer", "select min(email) from emails").await;
    assert!(said.starts_with("ERROR 1235 (42000)") && said.contains("emails reaches"), "{said}");

    // They wait for a hold as the tables do.
    routed.switch(1, SwitchState::Hold, LONG).await;
    routed.until_confirmed(1, 1).await;
    let mut parked = Talk::start(port, "commerce");
    parked.say("select min(email) from nested;");
    talk.say("call show_email();");
    assert_eq!((parked.hear(SHORT), talk.hear(SHORT)), (None, None));
    routed.rules(|moved, rules| moved.lead_writes(rules, Side::Target)).await;
    routed.end_switch(1).await;
    for said in [parked.hear(LONG).unwrap(), talk.hear(LONG).unwrap()] {
        assert!(said.starts_with("ERROR 1235 (42000)"), "{said}");
    }
    for (sql, _) in USES {
        let said = talk.ask(&format!("{sql};"));
        assert!(said.starts_with("ERROR 1235 (42000)"), "{sql}: {said}");
        let why = ["is led to customer.", "may use a table that has moved"];
        assert!(why.iter().any(|why| said.contains(why)), "{sql}: {said}");
    }
    let error = driver.exec_drop(&prepared, ()).await.unwrap_err();
    assert!(error.to_string().contains("1235"), "{error}");
    let said = talk.ask("create view again as select * from emails;");
    assert!(said.contains("not understood"), "{said}");
    // What uses none of them goes on, on its own server, whatever was used last.
    assert_eq!(talk.ask("select min(email) from customer; call harmless();"), format!("{NEW}\n2"));
    assert_eq!(talk.ask("select max(price) from product;"), "100");
    assert_eq!(talk.ask("select min(email) from customer.emails;"), NEW);

    // The operator leads the view to the other side's.
    document::change(&*routed.store, |rules| {
        let name: RuleName = "commerce.emails".parse()?;
        rules.set(name, TableName { keyspace: "customer".into(), table: "emails".into() });
        Ok(())
    })
    .await
    .unwrap();
    until(port, "commerce", "select min(email) from emails", NEW).await;
    // One that is made now is known in time.
    routed
        .on_commerce()
        .await
        .execute("CREATE VIEW late AS SELECT email FROM customer")
        .await
        .unwrap();
    let refused = |said: &str| said.starts_with("ERROR 1235");
    let said =
        once(refused, async || ask(port, "commerce", "select min(email) from late").await).await;
    assert!(refused(&said), "{said}");
    drop((talk, parked));
    driver.disconnect().await.unwrap();
    gateway.stop().await;
}
