//! Statements that the server reads otherwise than they look: none of them reaches a table on the side that is closed.

use mysql_async::prelude::Queryable;
use shunt_engine::routing::Side;

use super::super::harness::routed::{Gateway, Routed, Talk, driver};

/// The tables have moved; the marked ones are the right ones.
async fn moved(routed: &Routed) -> Gateway {
    routed.rules(|moved, rules| moved.create(rules).unwrap()).await;
    routed.rules(|moved, rules| moved.lead_writes(rules, Side::Target)).await;
    routed.gateway("").await
}

/// Each is refused by the gateway itself, and the closed side is as it was.
async fn refused(routed: &Routed, talk: &mut Talk, statements: &[&str]) {
    for sql in statements {
        let said = talk.ask(sql);
        assert!(said.starts_with("ERROR 1235 (42000)"), "{sql}: {said}");
    }
    let rows = "SELECT (SELECT COUNT(*) FROM corder) + (SELECT COUNT(*) FROM customer)";
    let mut source = routed.on_commerce().await;
    assert_eq!(source.row(rows).await.unwrap().unwrap().text(0).unwrap(), "10");
}

#[tokio::test(flavor = "multi_thread")]
async fn text_that_is_built_while_it_runs_is_refused() {
    let routed = Routed::start(0).await;
    let mut source = routed.on_commerce().await;
    source.execute("GRANT EXECUTE ON sys.* TO app@'%'").await.unwrap();
    source.execute("GRANT SELECT ON sys.* TO app@'%'").await.unwrap();
    let gateway = moved(&routed).await;
    let mut talk = Talk::start(gateway.port, "commerce");
    talk.ask("delimiter //");
    let statements = [
        "begin not atomic execute immediate 'truncate table corder'; end//",
        "if 1 then execute immediate concat('select count(*) from cor', 'der'); end if//",
        "begin not atomic prepare s from concat('truncate table cor', 'der'); execute s; end//",
        "call sys.execute_prepared_stmt(concat('truncate table commerce.cor', 'der'))//",
        "begin not atomic call sys.execute_prepared_stmt('select 1'); end//",
    ];
    refused(&routed, &mut talk, &statements).await;
    assert_eq!(talk.ask("begin not atomic select max(price) from product; end//"), "100");
    drop(talk);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_found_behind_numbers_spaces_and_comments() {
    let routed = Routed::start(0).await;
    let gateway = moved(&routed).await;
    let mut talk = Talk::start(gateway.port, "commerce");
    // Understood: the moved table answers, which is marked.
    for (sql, said) in [
        ("select max(price)*1.0from corder;", "1100.0"),
        ("select max(price)+0e0from corder;", "1100"),
        ("select max(price)+1e+0from corder;", "1101"),
        ("select max(price)-1.from corder;", "1099"),
    ] {
        assert_eq!(talk.ask(sql), said, "{sql}");
    }
    // Not understood: the bytes are searched.
    let hidden = [
        "/*!80000 don't */ select count(*) from corder where 1 -- ';",
        "/*!99999 ' */ truncate table corder -- ';",
    ];
    let mut conn = driver(gateway.port, "commerce").await;
    let mut said = Vec::new();
    for text in hidden {
        said.push(conn.query_drop(text).await.unwrap_err().to_string());
    }
    conn.query_drop("SET NAMES latin1").await.unwrap();
    for text in [
        &b"truncate table\xa0customer"[..],
        b"(select 1) --\x7f ) '\nunion select count(*) from product join corder -- '",
    ] {
        said.push(conn.query_drop(text).await.unwrap_err().to_string());
    }
    // A backslash takes the first byte of a character, and leaves the second one to be a backslash.
    conn.query_drop("SET NAMES gbk").await.unwrap();
    let text = &b"select max(price), '\\\xbf\\', ' from corder -- '\n"[..];
    let price: Option<(u32, Vec<u8>)> = conn.query_first(text).await.unwrap();
    assert_eq!(price.map(|(price, _)| price), Some(1100));
    conn.disconnect().await.unwrap();
    assert!(said.iter().all(|said| said.contains("1235")), "{said:?}");
    // A column of latin1 letters is a name as any other.
    assert_eq!(talk.ask("set names latin1; select max(price) from corder;"), "1100");
    refused(&routed, &mut talk, &[]).await;
    drop(talk);
    gateway.stop().await;
}
