//! A statement's bytes as tokens, and its way by the rules of a workflow that has switched its tables; beside a parser of all SQL
//! and a search for quotes.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use shunt_engine::mysql::server::{Address, Secret, ServerConfig, TlsMode};
use shunt_engine::routing::{MovedTables, RoutingRules, ServerType, Side};
use shunt_gateway::config::{Keyspace, Server};
use shunt_gateway::explain::{Explainer, tokens};
use sqlparser::dialect::MySqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Tokenizer;

use crate::recording;

const STATEMENTS: [&str; 3] = ["point select", "join", "insert of 1,000 rows"];

fn statement(name: &str) -> Vec<u8> {
    match name {
        "point select" => b"SELECT c FROM sbtest1 WHERE id=4711".to_vec(),
        "join" => b"SELECT a.id, a.c, b.pad FROM sbtest1 AS a JOIN sbtest2 AS b ON a.k = b.id \
            LEFT JOIN commerce.sbtest3 c ON c.id = b.k \
            WHERE a.id BETWEEN 100 AND 200 AND b.c LIKE 'x%' ORDER BY a.c LIMIT 10"
            .to_vec(),
        _ => insert(),
    }
}

fn insert() -> Vec<u8> {
    let mut out = b"INSERT INTO sbtest1 (id, k, c, pad) VALUES ".to_vec();
    for operation in recording::operations(shunt_engine::mysql::binlog::RowsKind::Insert) {
        let row = operation.op.row();
        row.layout.push_tuple(&row.image, &mut out).expect("whole");
        out.push(b',');
    }
    out.pop();
    out
}

fn explainer() -> Explainer {
    let keyspace = |name: &str, port| {
        let config = ServerConfig {
            alias: name.to_owned(),
            address: Address::Tcp { host: "127.0.0.1".to_owned(), port },
            user: "u".to_owned(),
            password: Secret::default(),
            tls: TlsMode::Disabled,
            tls_ca: None,
        };
        let servers = vec![Server { server_type: ServerType::Primary, config }];
        Keyspace { name: name.to_owned(), database: format!("vt_{name}"), servers }
    };
    let tables = ["sbtest1", "sbtest2", "sbtest3"].map(str::to_owned);
    let moved = MovedTables { source: "commerce", target: "customer", tables: &tables };
    let mut rules = RoutingRules::default();
    moved.create(&mut rules).expect("no other rules");
    moved.lead_writes(&mut rules, Side::Target);
    Explainer::new(vec![keyspace("commerce", 1), keyspace("customer", 2)], rules)
}

fn run<T>(bencher: Bencher<'_, '_>, name: &str, work: impl Fn(&[u8]) -> T + Sync) {
    let statement = statement(name);
    let bencher = bencher.counter(ItemsCount::new(1_usize));
    bencher.counter(BytesCount::new(statement.len())).bench(|| work(black_box(&statement)));
}

#[divan::bench(args = STATEMENTS)]
fn lex(bencher: Bencher<'_, '_>, name: &str) {
    run(bencher, name, tokens);
}

/// Lexing included.
#[divan::bench(args = STATEMENTS)]
fn route(bencher: Bencher<'_, '_>, name: &str) {
    let explainer = explainer();
    let checked = statement(name);
    let way = explainer.explain(&checked, Some("commerce")).expect("it has a way");
    assert_eq!(way.server.map(|server| server.alias.as_str()), Some("customer"));
    run(bencher, name, |statement| {
        explainer.explain(statement, Some("commerce")).map(|way| way.text.len())
    });
}

#[divan::bench(args = STATEMENTS)]
fn peer_sqlparser_lex(bencher: Bencher<'_, '_>, name: &str) {
    run(bencher, name, |statement| {
        let text = std::str::from_utf8(statement).expect("UTF-8");
        Tokenizer::new(&MySqlDialect {}, text).tokenize().expect("tokens").len()
    });
}

#[divan::bench(args = STATEMENTS)]
fn peer_sqlparser_parse(bencher: Bencher<'_, '_>, name: &str) {
    run(bencher, name, |statement| {
        let text = std::str::from_utf8(statement).expect("UTF-8");
        Parser::parse_sql(&MySqlDialect {}, text).expect("parses")
    });
}

#[divan::bench(args = STATEMENTS)]
fn limit_memchr(bencher: Bencher<'_, '_>, name: &str) {
    run(bencher, name, |statement| memchr::memchr3_iter(b'\'', b'"', b'`', statement).count());
}
