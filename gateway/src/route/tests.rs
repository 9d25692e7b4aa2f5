use std::time::Duration;

use proptest::prelude::*;
use shunt_engine::mysql::server::{Address, Secret, ServerConfig, TlsMode};
use shunt_engine::programs::Programs;
use shunt_engine::routing::{MovedTables, RoutingRules, Side};

use super::*;
use crate::config::{Keyspace, Server};
use crate::sql::finder::find;
use crate::sql::lexer::Mode;
use crate::sql::splice;

fn server(port: u16) -> Server {
    let config = ServerConfig {
        alias: format!("s{port}"),
        address: Address::Tcp { host: "h".to_owned(), port },
        user: "u".to_owned(),
        password: Secret::default(),
        tls: TlsMode::Disabled,
        tls_ca: None,
    };
    Server { server_type: ServerType::Primary, config }
}

/// commerce and billing on one server, customer on another; its database has a name of its own.
fn servers() -> Servers {
    let keyspace = |name: &str, database: &str, port| Keyspace {
        name: name.to_owned(),
        database: database.to_owned(),
        servers: vec![server(port)],
    };
    let keyspaces = vec![
        keyspace("commerce", "commerce", 1),
        keyspace("customer", "vt_customer", 2),
        keyspace("billing", "bill", 1),
    ];
    let servers = Servers::new(keyspaces, Duration::from_secs(1));
    servers.ids().for_each(|id| servers.set_programs(id, Programs::default()));
    servers
}

fn view(side: Option<Side>) -> View {
    let mut rules = RoutingRules::default();
    let tables = ["corder".to_owned(), "customer".to_owned()];
    let moved = MovedTables { source: "commerce", target: "customer", tables: &tables };
    if let Some(side) = side {
        moved.create(&mut rules).unwrap();
        moved.lead_writes(&mut rules, side);
    }
    View::new(rules, Vec::new())
}

/// The server's number, the default database, and the statement; or the error.
fn route(text: &str, keyspace: Option<&str>, side: Option<Side>) -> String {
    let servers = servers();
    let view = view(side);
    let keyspace = keyspace.and_then(|name| servers.keyspace(name));
    let chosen = Chosen { keyspace, server_type: ServerType::Primary };
    let router = Router { servers: &servers, view: &view, chosen: &chosen };
    let sql = Sql::new(text.as_bytes(), Mode::default());
    let Ok(found) = find(&sql) else {
        return router.check_unparsed(&sql).map_or_else(|e| e.text, |()| "unparsed".to_owned());
    };
    match router.plan(&sql, &found, true) {
        Err(error) => error.text,
        Ok(mut plan) => {
            let text = splice(text.as_bytes(), &mut plan.edits).into_owned();
            let text = String::from_utf8(text).unwrap();
            let server = plan.servers.first().map_or("-".to_owned(), |s| s.0.to_string());
            format!("{server} {} {text}", plan.database.unwrap_or_default())
        }
    }
}

#[test]
fn names_lead_to_their_server() {
    let (source, target) = (Some(Side::Source), Some(Side::Target));
    let commerce = Some("commerce");
    let cases = [
        ("select * from corder", commerce, None, "0 commerce select * from corder"),
        ("select * from corder", commerce, source, "0 commerce select * from corder"),
        ("select * from corder", commerce, target, "1 vt_customer select * from corder"),
        ("select * from corder", None, source, "0 commerce select * from corder"),
        ("select * from corder", None, None, "No database selected"),
        // The unqualified rule does not hijack another keyspace's table.
        ("select * from customer", Some("billing"), target, "0 bill select * from customer"),
        ("select * from customer.corder", commerce, source, "0  select * from `commerce`.corder"),
        ("select * from commerce.corder", None, target, "1  select * from `vt_customer`.corder"),
        (
            "select commerce.corder.x from commerce . corder",
            None,
            target,
            "1  select `vt_customer`.corder.x from `vt_customer` . corder",
        ),
        (
            "select * from vt_customer.corder",
            commerce,
            source,
            "0  select * from `commerce`.corder",
        ),
        (
            "select * from product, billing.invoice",
            commerce,
            target,
            "0 commerce select * from product, `bill`.invoice",
        ),
        ("select * from bill.invoice", commerce, target, "0  select * from bill.invoice"),
        (
            "select * from information_schema.tables",
            commerce,
            target,
            "0  select * from information_schema.tables",
        ),
        ("select 1", commerce, target, "-  select 1"),
        ("show tables from customer", commerce, target, "1  show tables from `vt_customer`"),
        ("select billing.f(1)", commerce, target, "0  select `bill`.f(1)"),
    ];
    for (text, keyspace, side, expected) in cases {
        assert_eq!(route(text, keyspace, side), expected, "{text} {keyspace:?} {side:?}");
    }
}

#[test]
fn statements_over_two_servers_are_refused_with_a_fixed_text() {
    let text = "select * from product p join corder c on p.sku = c.sku";
    assert_eq!(
        route(text, Some("commerce"), Some(Side::Target)),
        "shunt: statement or transaction spans keyspaces on different servers (commerce, customer)"
    );
    assert!(route(text, Some("commerce"), Some(Side::Source)).starts_with("0 commerce "));
}

#[test]
fn what_is_not_understood_passes_without_a_known_name_only() {
    for text in [
        "rename table corder to x",
        "create view v as select * from `COrder`",
        "prepare s from 'corder'",
    ] {
        assert_eq!(route(text, Some("commerce"), None), "unparsed");
        assert!(
            route(text, Some("commerce"), Some(Side::Source)).contains("not understood"),
            "{text}"
        );
    }
    assert_eq!(
        route("rename table product to x", Some("commerce"), Some(Side::Target)),
        "unparsed"
    );
    let text = "with corder as (select 1) select * from corder";
    assert!(route(text, Some("commerce"), Some(Side::Source)).contains("common table expression"));
}

#[test]
fn a_name_is_found_where_no_token_is_certain() {
    let commerce = Some("commerce");
    for text in [
        "/*!80000 don't */ select count(*) from corder where 1 -- '",
        "/*!99999 ' */ select * from `COrder` -- '",
        "/*M!990000 ' */ select * from/**/corder -- '",
        "select 'x from commerce.corder",
        "select * from commerce 1.e.corder",
    ] {
        let said = route(text, commerce, Some(Side::Target));
        assert!(said.contains("names corder, which is being moved"), "{text}: {said}");
        assert_eq!(route(text, commerce, None), "unparsed", "{text}");
    }
    let hidden = "/*!99999 ' */ begin not atomic execute immediate @text; end -- '";
    assert!(route(hidden, commerce, Some(Side::Target)).contains("text that it builds itself"));
    for text in [
        "/*M!100616 SET NOTE_VERBOSITY=0 */",
        "/*!80000 don't */ select * from xcorder, corder_items, corder$ -- '",
    ] {
        assert_eq!(route(text, commerce, Some(Side::Target)), "unparsed", "{text}");
    }
}

#[test]
fn what_may_run_text_that_it_builds_is_refused() {
    let commerce = Some("commerce");
    for text in [
        "begin not atomic execute immediate 'truncate table cor' 'der'; end",
        "if 1 then prepare s from @text; execute s; end if",
        "begin execute immediate @text; end",
        "begin not atomic call sys.execute_prepared_stmt(concat('truncate table cor', 'der')); end",
        "begin not atomic call `SYS`.x(); end",
    ] {
        assert_eq!(route(text, commerce, None), "unparsed", "{text}");
        let said = route(text, commerce, Some(Side::Source));
        assert!(said.contains("text that it builds itself"), "{text}: {said}");
    }
    for text in [
        "grant execute on commerce.* to app",
        "create procedure p(t text) execute immediate t",
        "create procedure p(t text) begin prepare s from t; execute s; end",
        "begin not atomic declare executes int; select executed from product; end",
        "create view v as select * from sys.version",
    ] {
        assert_eq!(route(text, commerce, Some(Side::Target)), "unparsed", "{text}");
    }
    let called = "call sys.execute_prepared_stmt('select 1')";
    assert_eq!(route(called, commerce, Some(Side::Source)), format!("0  {called}"));
    let said = route(called, commerce, Some(Side::Target));
    assert!(said.contains("a procedure of sys may use a table that has moved"), "{said}");
}

proptest! {
    #[test]
    fn without_rules_and_qualifiers_nothing_changes(words in proptest::collection::vec(proptest::sample::select(&[
        "select", "from", "join", "(", ")", ",", "a", "b", "on", "*", "where", "/* x */", "'\\'x'", "`q r`", "=", "1", "corder",
    ][..]), 0..24)) {
        let text = format!("select {}", words.join(" "));
        let servers = servers();
        let view = View::default();
        let chosen = Chosen { keyspace: Some(0), server_type: ServerType::Primary };
        let router = Router { servers: &servers, view: &view, chosen: &chosen };
        let sql = Sql::new(text.as_bytes(), Mode::default());
        if let Ok(mut plan) = find(&sql).map_err(drop).and_then(|found| router.plan(&sql, &found, true).map_err(drop)) {
            prop_assert_eq!(&*splice(text.as_bytes(), &mut plan.edits), text.as_bytes());
        }
    }
}
