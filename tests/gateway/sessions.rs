//! What a session carries from server to server, and how clients log in.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use mysql_async::prelude::Queryable;
use shunt_engine::mysql::wire::reply;
use shunt_engine::routing::Side;
use shunt_engine::runtime::tasks::{Task, spawn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::harness::binary::Binary;
use super::super::harness::routed::{Routed, Talk, ask, ask_with, client, driver, raw};

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_the_same_on_every_server() {
    let routed = Routed::start(0).await;
    // The servers' defaults differ.
    routed
        .on_customer()
        .await
        .execute("SET GLOBAL sql_mode='', GLOBAL group_concat_max_len=77")
        .await
        .unwrap();
    routed.rules(|moved, rules| moved.create(rules).unwrap()).await;
    routed.rules(|moved, rules| moved.lead_writes(rules, Side::Target)).await;
    let gateway = routed.gateway("").await;
    let mut talk = Talk::start(gateway.port, "commerce");
    let settings =
        "select @@sql_mode, @@group_concat_max_len, @@character_set_client, @@tx_isolation";
    let own = talk.ask(&format!("{settings} from product limit 1;"));
    assert_eq!(talk.ask(&format!("{settings} from corder limit 1;")), own);
    let set = "set names latin1, group_concat_max_len = 5000, sql_mode = concat(@@sql_mode, ',ANSI_QUOTES'); \
               set session transaction isolation level read committed;";
    assert_eq!(talk.ask(set), "");
    let changed = talk.ask(&format!("{settings} from corder limit 1;"));
    assert!(
        changed.contains("ANSI_QUOTES") && changed.ends_with("\t5000\tlatin1\tREAD-COMMITTED"),
        "{changed}"
    );
    assert_eq!(talk.ask(&format!("{settings} from product limit 1;")), changed);
    assert_eq!(talk.ask("select \"order_id\" from \"corder\" where order_id = 1;"), "1");

    // LAST_INSERT_ID follows; literals follow; a computed variable does not.
    assert_eq!(talk.ask("insert into corder (price) values (3); select last_insert_id() from product limit 1; select last_insert_id();"), "6\n6");
    assert_eq!(
        talk.ask("set @a = 5; select @a from product limit 1; select @a from corder limit 1;"),
        "5\n5"
    );
    // SET gives a server what it uses, too.
    assert_eq!(
        talk.ask(
            "set @f = 5; select count(*) from product; set @c = @f + 1, @f = @f + 2; select @c, @f;"
        ),
        "2\n6\t7"
    );
    let said = talk.ask("select @b := price from product limit 1; select @b from corder;");
    assert!(said.contains("user variable @b was set on another server"), "{said}");
    assert_eq!(talk.ask("select row_count() from dual; select found_rows();"), "-1\n1");
    // User locks are on the keyspace's own primary, whatever was used last.
    assert_eq!(talk.ask("select count(*) > 0 from corder; select get_lock('l', 0); select count(*) > 0 from product; select release_lock('l');"), "1\n1\n1\n1");
    for refused in [
        "set timestamp = 1;",
        "set sql_log_bin = 0;",
        "set role none;",
        "prepare s from 'select 1';",
        "kill 1 + 1;",
    ] {
        let said = talk.ask(refused);
        assert!(said.starts_with("ERROR 1235 (42000)"), "{refused} {said}");
    }
    assert_eq!(
        talk.ask("select database(); use customer; select database();"),
        "commerce\ncustomer"
    );

    // Another session's statement is killed by the number that the gateway gave.
    let mut other = Talk::start(gateway.port, "commerce");
    let id = other.ask("select connection_id();");
    other.say("select sleep(100) from product limit 1;");
    let sleeping =
        "select count(*) from information_schema.processlist where info like 'select sleep%'";
    super::until(gateway.port, "commerce", sleeping, "1").await;
    assert_eq!(talk.ask(&format!("kill query {id};")), "");
    let said = other.hear(std::time::Duration::from_secs(20)).unwrap();
    assert!(said.contains("1317") || said == "1", "{said}");
    drop((talk, other));
    gateway.stop().await;
}

/// Its tables are elsewhere now, and the old server ends its connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_not_needed_may_be_lost() {
    let routed = Routed::start(0).await;
    routed.rules(|moved, rules| moved.create(rules).unwrap()).await;
    let gateway = routed.gateway("").await;
    let mut talk = Talk::start(gateway.port, "commerce");
    let mut needs = Talk::start(gateway.port, "commerce");
    let mut conn = driver(gateway.port, "commerce").await;
    assert_eq!(talk.ask("insert into corder (price) values (3); select last_insert_id();"), "6");
    assert_eq!(needs.ask("set @a = (select count(*) from product);"), "");
    let statement = conn.prep("SELECT COUNT(*) FROM corder").await.unwrap();
    let unused = conn.prep("SELECT MAX(price) FROM corder").await.unwrap();
    routed.rules(|moved, rules| moved.lead_writes(rules, Side::Target)).await;
    super::until(gateway.port, "commerce", "select max(price) from corder", "1100").await;
    let mut source = routed.on_commerce().await;
    source.execute("KILL USER app").await.unwrap();

    let price = "select max(price) from corder;";
    assert_eq!(talk.ask(price), "1100");
    let said = talk.ask("select last_insert_id();");
    assert!(said.starts_with("ERROR 1235") && said.contains("connection that is lost"), "{said}");
    assert_eq!(talk.ask("insert into corder (price) values (4); select last_insert_id();"), "6");
    assert_eq!(talk.ask("select max(price) from product;"), "100");
    conn.close(unused).await.unwrap();
    let count: Option<u32> = conn.exec_first(&statement, ()).await.unwrap();
    assert_eq!(count, Some(6));
    conn.disconnect().await.unwrap();
    // What only that connection had is missed.
    assert!(needs.ask("select count(*), @a from product;").starts_with("ERROR"));
    drop((talk, needs));
    gateway.stop().await;
}

/// What a procedure sets is on its own server, and so is what it inserts.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_procedure_leaves_behind_is_carried_or_refused() {
    let routed = Routed::start(0).await;
    let mut source = routed.on_commerce().await;
    for sql in [
        "CREATE TABLE log (i INT AUTO_INCREMENT PRIMARY KEY) AUTO_INCREMENT = 41",
        "CREATE PROCEDURE pset() SET @res = 7 + COALESCE(@extra, 0)",
        "CREATE PROCEDURE pinsert() INSERT INTO log VALUES ()",
        "GRANT EXECUTE ON commerce.* TO app@'%'",
    ] {
        source.execute(sql).await.unwrap();
    }
    routed.rules(|moved, rules| moved.create(rules).unwrap()).await;
    routed.rules(|moved, rules| moved.lead_writes(rules, Side::Target)).await;
    let gateway = routed.gateway("").await;
    let mut talk = Talk::start(gateway.port, "commerce");
    let refused = |said: &str| said.starts_with("ERROR 1235") && said.contains("set it again");
    assert_eq!(talk.ask("set @res = 1, @x = 2; call pset();"), "");
    let insert = "insert into corder (customer_id) values (@res);";
    for sql in [
        insert,
        "insert into corder (customer_id) values (@`res`);",
        "select @x, max(price) from corder;",
    ] {
        let said = talk.ask(sql);
        assert!(refused(&said), "{sql}: {said}");
    }
    assert_eq!(talk.ask("select @res, @x, count(*) from product;"), "7\t2\t2");
    assert_eq!(
        talk.ask(&format!("set @`RES` = 5; {insert} select max(customer_id), @'res' from corder;")),
        "5\t5"
    );
    // A literal that was set before another server is reached is there when the procedure runs.
    assert_eq!(talk.ask("select count(*) > 0 from corder; set @extra = 3; call pset(); select @res from product limit 1;"), "1\n10");
    ids_are_carried(&mut talk);
    drop(talk);
    gateway.stop().await;
}

fn ids_are_carried(talk: &mut Talk) {
    let on_other = "select last_insert_id() from corder limit 1;";
    assert_eq!(talk.ask(&format!("call pinsert(); {on_other}")), "41");
    assert_eq!(talk.ask(&format!("insert into log values () returning i; {on_other}")), "42\n42");
    assert_eq!(
        talk.ask(&format!("select last_insert_id(77) from product limit 1; {on_other}")),
        "77\n77"
    );
}

/// Without rules nobody reads which functions there are.
#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_writes_begins_the_transaction() {
    let routed = Routed::start(0).await;
    let gateway = routed.gateway("").await;
    let mut source = routed.on_commerce().await;
    source
        .execute("CREATE FUNCTION add_order() RETURNS INT BEGIN INSERT INTO corder (price) VALUES (1); RETURN 1; END")
        .await
        .unwrap();
    source.execute("GRANT EXECUTE ON commerce.* TO app@'%'").await.unwrap();
    let mut talk = Talk::start(gateway.port, "commerce");
    let count = "select count(*) from corder;";
    for call in ["select add_order();", "do add_order();", "set @x = add_order();"] {
        talk.ask("select max(price) from customer.corder;");
        assert_eq!(talk.ask(&format!("begin; {call} rollback; {count}")).lines().last(), Some("5"));
    }
    // What servers have built in says nothing of where the transaction is.
    let now = "begin; select now() is null, (select count(*) > 1 and (1)); select max(price) from customer.corder; commit;";
    assert_eq!(talk.ask(&format!("select max(price) from product; {now}")), "100\n0\t0\n1100");
    drop(talk);
    // The client is told that a transaction is open, though no server knows of it yet.
    let mut packets = raw(gateway.port).await;
    for (sql, open) in [("BEGIN", true), ("DO 1", true), ("COMMIT", false), ("DO 1", false)] {
        packets.command(3, sql.as_bytes()).await.unwrap();
        let status = reply::parse_ok(packets.read().await.unwrap()).unwrap().status;
        assert_eq!(status & 1 != 0, open, "{sql}");
    }
    drop(packets);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_of_all_kinds_pass() {
    let routed = Routed::start(0).await;
    let gateway = routed.gateway("").await;
    let port = gateway.port;
    // A statement and a cell of more than 16 MiB, and the lengths around a frame's.
    let sql = routed.dir().join("large.sql");
    std::fs::write(&sql, format!("select length('{}');", "x".repeat(17 << 20))).unwrap();
    let packet = "--max-allowed-packet=64M";
    let source = format!("source {}", sql.display());
    let said = ask_with(port, &["-N", packet, "commerce", "-e", &source]).await;
    assert_eq!(said, (17 << 20).to_string());
    for length in [16_777_210_usize, 16_777_211, 16_777_212, 18_000_000] {
        let select = format!("select repeat('y', {length}), 1 from product");
        let said = ask_with(port, &["-N", packet, "commerce", "-e", &select]).await;
        assert!(said.len() == 2 * length + 5 && said.ends_with("y\t1"), "{length}: {}", said.len());
    }
    let data = routed.dir().join("rows.tsv");
    std::fs::write(&data, "X-1\tone\t5\nX-2\ttwo\t6\n").unwrap();
    let load = format!("load data local infile '{}' into table product", data.display());
    assert_eq!(ask_with(port, &["--local-infile=1", "commerce", "-e", &load]).await, "");
    assert_eq!(
        ask(port, "commerce", "select sum(price) from product where sku like 'X%'").await,
        "11"
    );
    // Several statements of one packet, and an error in the middle of them.
    let several = "select 1; insert into product values ('m', '', 1); select nosuch; select 4//";
    let said = ask_with(port, &["-N", "--delimiter=//", "commerce", "-e", several]).await;
    assert!(said.starts_with("1\nERROR 1054") && !said.ends_with("\n4"), "{said}");
    assert_eq!(ask(port, "commerce", "select count(*) from product").await, "5");
    let mut direct = routed.on_commerce().await;
    direct.execute("CREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2, 3; END").await.unwrap();
    direct.execute("GRANT EXECUTE ON commerce.* TO app@'%'").await.unwrap();
    assert_eq!(ask(port, "commerce", "call p(); select 4").await, "1\n2\t3\n4");
    // Bytes that are no UTF-8, and a comment, come out as they went in.
    let bytes =
        b"select hex('\xff\xfe\\\\'), /* \xe4 */ 'a' -- \xff\n from product limit 1".to_vec();
    std::fs::write(&sql, bytes).unwrap();
    let said =
        ask_with(port, &["-N", "--default-character-set=latin1", "commerce", "-e", &source]).await;
    assert_eq!(said, "FFFE5C\ta");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_log_in_by_both_plugins_and_over_tls() {
    let routed = Routed::start(0).await;
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
        ])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(routed.dir())
        .output()
        .unwrap();
    assert!(made.status.success());
    let plain = routed.gateway("default_auth = \"caching_sha2_password\"").await;
    assert_eq!(ask(plain.port, "commerce", "select count(*) from product").await, "2");
    let mut wrong = client(plain.port, &["-e", "select 1"]);
    let said = wrong.env("MYSQL_PWD", "wrong").output().unwrap();
    assert!(
        String::from_utf8_lossy(&said.stderr)
            .starts_with("ERROR 1045 (28000): Access denied for user 'app'@")
    );
    let settings = "tls_cert = \"cert.pem\"\ntls_key = \"key.pem\"\ntls_required = true";
    let tls = routed.gateway(settings).await;
    let said =
        ask_with(tls.port, &["--ssl", "-N", "commerce", "-e", "select count(*) from product"])
            .await;
    assert_eq!(said, "2");
    // A client may send the first bytes of its handshake together with its wish for TLS.
    let (joined, _relay) = join_first_packets(tls.port).await;
    let said =
        ask_with(joined, &["--ssl", "-N", "commerce", "-e", "select count(*) from product"]).await;
    assert_eq!(said, "2");
    let said = ask_with(tls.port, &["--skip-ssl", "commerce", "-e", "select 1"]).await;
    assert!(said.contains("insecure transport"), "{said}");
    assert!(ask(plain.port, "nosuch", "select 1").await.contains("Unknown database"));
    plain.stop().await;
    tls.stop().await;
}

/// Listens in front of a gateway for one client, whose first packet (its wish for TLS) is passed on only with what follows it.
async fn join_first_packets(port: u16) -> (u16, Task<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let own_port = listener.local_addr().unwrap().port();
    let relay = spawn("relay", async move {
        let (mut client, _) = listener.accept().await?;
        let mut gateway = TcpStream::connect(("127.0.0.1", port)).await?;
        let mut greeting = vec![0; 1 << 10];
        let length = gateway.read(&mut greeting).await?;
        client.write_all(&greeting[..length]).await?;
        let mut first = vec![0; 36];
        client.read_exact(&mut first).await?;
        assert!(client.read_buf(&mut first).await? > 0);
        gateway.write_all(&first).await?;
        tokio::io::copy_bidirectional(&mut client, &mut gateway).await?;
        Ok(())
    });
    (own_port, relay)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_serves_clients_alone_and_inside_serve() {
    let routed = Routed::start(0).await;
    std::fs::write(routed.dir().join("shunt.toml"), routed.toml("")).unwrap();
    let binary = tokio::task::spawn_blocking(|| Binary::Plain.path()).await.unwrap();
    for verb in ["gateway", "serve"] {
        let mut child = Command::new(&binary)
            .args(["--config", "shunt.toml", verb])
            .current_dir(routed.dir())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let said = lines.filter(|line| line.starts_with("Gateway")).take(1).collect::<String>();
        let port = said.rsplit_once(':').unwrap().1.trim_end_matches('.').parse().unwrap();
        assert_eq!(ask(port, "commerce", "select count(*) from product").await, "2", "{verb}");
        let id = child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        assert!(child.wait().unwrap().success(), "{verb}");
    }
}
