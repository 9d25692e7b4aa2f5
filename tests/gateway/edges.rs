//! The gateway's own commands where there is no server, another user, too much of a packet; statements of a packet with bodies.

use mysql_async::prelude::Queryable;
use mysql_async::{ChangeUserOpts, Conn};
use shunt_engine::mysql::wire::reply;
use shunt_engine::routing::Side;

use super::super::harness::routed::{Routed, Talk, ask, client, driver, raw};

const SECOND: &str = "packet_bytes_max = 1000000\n[[gateway.users]]\nname = \"second\"\npassword_file = \"password\"\nbackend_user = \"app\"\nbackend_password_file = \"password\"";

async fn kill(by: &mut Conn, id: u32) -> String {
    by.query_drop(format!("KILL QUERY {id}"))
        .await
        .map_or_else(|e| e.to_string(), |()| String::new())
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_at_the_edges_are_answered() {
    let routed = Routed::start(0).await;
    let gateway = routed.gateway(SECOND).await;
    // A session belongs to the user that it has become.
    let mut conn = driver(gateway.port, "commerce").await;
    let mut first = driver(gateway.port, "commerce").await;
    let options = ChangeUserOpts::default()
        .with_user(Some("second".to_owned()))
        .with_pass(Some("secret".to_owned()));
    conn.change_user(options.clone()).await.unwrap();
    let id: u32 = conn.query_first("SELECT CONNECTION_ID()").await.unwrap().unwrap();
    assert!(kill(&mut first, id).await.contains("1095"));
    first.change_user(options).await.unwrap();
    assert_eq!(kill(&mut first, id).await, "");
    conn.disconnect().await.unwrap();
    first.disconnect().await.unwrap();

    // Without a server that is fit to serve, what needs none is done.
    let mut packets = raw(gateway.port).await;
    for (code, text, refused) in [
        (2, "commerce@replica", false),
        (3, "select 1", true),
        (3, "use commerce", false),
        (3, "use commerce@replica", false),
        (3, "show vitess_tablets", false),
    ] {
        packets.command(code, text.as_bytes()).await.unwrap();
        let first = packets.read().await.unwrap();
        assert_eq!(first[0] == reply::ERR, refused, "{text}");
    }
    // Behind the columns, and behind the rows.
    for _ in 0..2 {
        while !reply::is_eof(packets.read().await.unwrap()) {}
    }

    packets.command(3, &vec![b' '; 3_000_000]).await.unwrap();
    let told = packets.read().await.unwrap();
    assert_eq!((told[0], u16::from_le_bytes([told[1], told[2]])), (reply::ERR, 1153));
    drop(packets);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_and_temporary_tables_are_told_apart_from_what_stands_beside_them() {
    let routed = Routed::start(0).await;
    let gateway = routed.gateway("").await;
    let port = gateway.port;
    let several =
        "drop procedure if exists p; create procedure p() begin select 1; select 2; end//";
    let packet = |sql: &str| {
        let mut client = client(port, &["-N", "--delimiter=//", "commerce", "-e", sql]);
        String::from_utf8(client.output().unwrap().stdout).unwrap()
    };
    assert_eq!(packet(several), "");
    assert_eq!(ask(port, "commerce", "call p()").await, "1\n2");
    let several = "create table ev1 (id int, event varchar(9)); insert into ev1 values (1, 'x'); select event from ev1//";
    assert_eq!(packet(several), "x\n");

    // While its table moves, a query may fill a temporary one; only its own name must not be that of a moved table.
    routed.rules(|moved, rules| moved.create(rules).unwrap()).await;
    super::until(port, "customer", super::EMAILS, super::OLD).await;
    let mut talk = Talk::start(port, "commerce");
    assert_eq!(
        talk.ask("create temporary table tt select * from corder; select count(*) from tt;"),
        "5"
    );
    let said = talk.ask("create temporary table corder (i int);");
    assert!(said.contains("temporary table has the name"), "{said}");
    routed.rules(|moved, rules| moved.lead_writes(rules, Side::Target)).await;
    drop(talk);
    gateway.stop().await;
}
