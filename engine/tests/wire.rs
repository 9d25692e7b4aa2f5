//! The wire connection against a real server: logins, TLS, rows of every size, errors, and the binlog.

#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod support;

use shunt_engine::error::ErrorKind;
use shunt_engine::mysql::control::{Control, Session};
use shunt_engine::mysql::server::{Address, Flavor, ServerConfig, TlsMode};
use shunt_engine::mysql::wire::{TextCells, Wire};
use support::{Certificates, Server};

async fn refused(config: &ServerConfig) -> shunt_engine::error::Error {
    Wire::connect(config).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn logins() {
    let server = Server::start(&["--plugin-load-add=auth_ed25519".to_owned()]).await;
    let mut control = server.control().await;
    control
        .execute(
            "CREATE USER native@'%' IDENTIFIED BY 'p\u{e4}ss word'; \
             CREATE USER ed@'%' IDENTIFIED VIA ed25519 USING PASSWORD('secret')",
        )
        .await
        .unwrap();
    for (user, password) in [("root", ""), ("native", "p\u{e4}ss word"), ("ed", "secret")] {
        for config in [server.config(user, password), server.socket_config(user, password)] {
            let mut wire = Wire::connect(&config).await.unwrap();
            let row = &wire.rows("SELECT CURRENT_USER(), CONNECTION_ID()").await.unwrap()[0];
            assert!(row.must(0).unwrap().starts_with(user));
            assert_eq!(row.number::<u32>(1).unwrap(), wire.id());
            assert_eq!(wire.info(), control.info());
            assert_eq!(wire.info().flavor, Flavor::MariaDb);
            let control = Control::connect(&config, Session::Control).await.unwrap();
            assert_eq!(wire.info(), control.info());
        }
        for config in [server.config(user, "wrong"), server.socket_config(user, "wrong")] {
            let error = refused(&config).await;
            assert_eq!((error.kind(), error.server_code()), (ErrorKind::Stop, Some(1045)));
            assert!(!error.to_string().contains("wrong"));
        }
    }
    let mut nobody = server.config("root", "");
    nobody.address = Address::Tcp { host: "127.0.0.1".to_owned(), port: 1 };
    assert_eq!(refused(&nobody).await.kind(), ErrorKind::Retry);
    nobody.address = Address::Unix("/nowhere/socket".into());
    assert_eq!(refused(&nobody).await.kind(), ErrorKind::Retry);
    let mut tls = server.config("root", "");
    tls.tls = TlsMode::Preferred;
    Wire::connect(&tls).await.unwrap();
    tls.tls = TlsMode::Required;
    assert_eq!(refused(&tls).await.kind(), ErrorKind::Stop);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls() {
    let certificates = Certificates::make();
    let option = |name: &str, file: &str| format!("--{name}={}", certificates.file(file).display());
    let options =
        [option("ssl-ca", "ca.pem"), option("ssl-cert", "cert.pem"), option("ssl-key", "key.pem")];
    let server = Server::start(&options).await;
    let config = |host: &str, tls, ca: &str| {
        let mut config = server.config("root", "");
        if let Address::Tcp { host: to, .. } = &mut config.address {
            host.clone_into(to);
        }
        config.tls = tls;
        config.tls_ca = (!ca.is_empty()).then(|| certificates.file(ca));
        config
    };
    let encrypted = async |config: &ServerConfig| {
        let mut wire = Wire::connect(config).await.unwrap();
        let rows = wire.rows("SHOW STATUS LIKE 'Ssl_cipher'").await.unwrap();
        let cipher = rows[0].must(1).unwrap();
        // Large answers go through TLS records of 16 KiB.
        wire.start_rows("SELECT REPEAT('x', 5000000)").await.unwrap();
        assert_eq!(wire.next_row().await.unwrap().unwrap().len(), 5_000_004);
        assert!(wire.next_row().await.unwrap().is_none());
        !cipher.is_empty()
    };
    assert!(!encrypted(&config("127.0.0.1", TlsMode::Disabled, "")).await);
    assert!(encrypted(&config("127.0.0.1", TlsMode::Preferred, "")).await);
    assert!(encrypted(&config("127.0.0.1", TlsMode::Required, "")).await);
    assert!(encrypted(&config("127.0.0.1", TlsMode::VerifyCa, "ca.pem")).await);
    assert!(encrypted(&config("localhost", TlsMode::VerifyIdentity, "ca.pem")).await);
    for (host, mode, ca) in [
        ("localhost", TlsMode::VerifyCa, "other.pem"),
        ("localhost", TlsMode::VerifyCa, ""),
        ("localhost", TlsMode::VerifyIdentity, "other.pem"),
        ("127.0.0.1", TlsMode::VerifyIdentity, "ca.pem"),
    ] {
        let error = refused(&config(host, mode, ca)).await;
        assert_eq!(error.kind(), ErrorKind::Stop, "{error}");
        assert!(error.advice_text().is_some());
    }
    for ca in ["missing.pem", "key.pem"] {
        let error = refused(&config("localhost", TlsMode::VerifyCa, ca)).await;
        assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_errors() {
    let server = Server::start(&[]).await;
    let mut wire = Wire::connect(&server.config("root", "")).await.unwrap();
    session_is_pinned(&mut wire).await;

    let columns =
        wire.start_rows("SELECT seq, NULL, '', REPEAT('y', seq % 400) FROM mysql.seq_1_to_200000");
    assert_eq!(columns.await.unwrap(), 4);
    let mut seen = 0;
    while let Some(row) = wire.next_row().await.unwrap() {
        seen += 1;
        let cells: Vec<_> = TextCells::new(row).map(Result::unwrap).collect();
        assert_eq!(cells[0], Some(seen.to_string().as_bytes()));
        assert_eq!(cells[1..3], [None, Some(&b""[..])]);
        assert_eq!(cells[3].unwrap().len(), seen % 400);
    }
    assert_eq!(seen, 200_000);
    assert!(wire.next_row().await.unwrap().is_none());

    for mib in [20, 40] {
        let sql = format!("SELECT 1, REPEAT('z', {mib} << 20), 2 UNION ALL SELECT 3, 'a', 4");
        wire.start_rows(&sql).await.unwrap();
        let row = wire.next_row().await.unwrap().unwrap();
        let cells: Vec<_> = TextCells::new(row).map(Result::unwrap).collect();
        assert_eq!((cells[0], cells[2]), (Some(&b"1"[..]), Some(&b"2"[..])));
        assert_eq!(cells[1].unwrap().len(), mib << 20);
        assert!(cells[1].unwrap().iter().all(|&b| b == b'z'));
        let cells: Vec<_> = TextCells::new(wire.next_row().await.unwrap().unwrap())
            .map(|cell| cell.unwrap().unwrap().to_vec())
            .collect();
        assert_eq!(cells, [b"3", b"a", b"4"]);
        assert!(wire.next_row().await.unwrap().is_none());
    }
    errors_leave_the_connection_usable(&mut wire).await;
    several_results_are_read(&mut wire).await;

    let error = {
        wire.start_rows("SELECT 1").await.unwrap();
        wire.execute("SELECT 2").await.unwrap_err()
    };
    assert_eq!(error.kind(), ErrorKind::Stop);
}

async fn session_is_pinned(wire: &mut Wire) {
    let rows = wire
        .rows(
            "SELECT @@time_zone, @@autocommit, @@tx_isolation, @@character_set_results, \
             @@max_statement_time, @@sql_mode",
        )
        .await
        .unwrap();
    let texts: Vec<_> = (0..6).map(|column| rows[0].must(column).unwrap()).collect();
    assert_eq!(
        texts,
        [
            "+00:00",
            "1",
            "REPEATABLE-READ",
            "binary",
            "0.000000",
            "NO_AUTO_VALUE_ON_ZERO,STRICT_ALL_TABLES"
        ]
    );
}

async fn errors_leave_the_connection_usable(wire: &mut Wire) {
    let error = wire.execute("SELEKT 1").await.unwrap_err();
    assert_eq!((error.kind(), error.server_code()), (ErrorKind::Stop, Some(1064)));
    let error = wire.start_rows("SELECT * FROM no.where").await.unwrap_err();
    assert_eq!((error.kind(), error.server_code()), (ErrorKind::Stop, Some(1146)));
    // The error comes after rows.
    wire.start_rows(
        "SELECT IF(seq < 500, seq, (SELECT 1 UNION SELECT 2)) FROM mysql.seq_1_to_1000",
    )
    .await
    .unwrap();
    let error = loop {
        match wire.next_row().await {
            Ok(row) => assert!(row.is_some()),
            Err(error) => break error,
        }
    };
    assert_eq!(error.server_code(), Some(1242));
    assert_eq!(wire.rows("SELECT 5").await.unwrap()[0].number::<u8>(0).unwrap(), 5);
}

async fn several_results_are_read(wire: &mut Wire) {
    let outcome = wire
        .execute(
            "CREATE DATABASE d; CREATE TABLE d.t (a INT PRIMARY KEY); SELECT * FROM mysql.seq_1_to_1000; \
             INSERT INTO d.t VALUES (1), (2), (3)",
        )
        .await
        .unwrap();
    assert_eq!((outcome.affected, outcome.warnings), (3, 0));
    let error = wire.execute("SELECT 1; INSERT INTO d.t VALUES (1); SELECT 2").await.unwrap_err();
    assert_eq!(error.server_code(), Some(1062));
    wire.execute("CREATE PROCEDURE d.p() SELECT a FROM d.t").await.unwrap();
    assert_eq!(wire.rows("CALL d.p()").await.unwrap().len(), 3);
    assert_eq!(wire.rows("SELECT 1 FROM d.t WHERE a > 5").await.unwrap().len(), 0);
    // Longer than one frame.
    let long = format!("SELECT LENGTH('{}')", "q".repeat((16 << 20) + 5));
    assert_eq!(wire.rows(long).await.unwrap()[0].number::<usize>(0).unwrap(), (16 << 20) + 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_connection_is_retried() {
    let server = Server::start(&[]).await;
    let mut control = server.control().await;
    // Idle, in a statement, and between rows.
    for sql in ["", "SELECT SLEEP(60)", "SELECT REPEAT('x', 1000) FROM mysql.seq_1_to_10000000"] {
        let mut wire = Wire::connect(&server.config("root", "")).await.unwrap();
        let kill = format!("KILL {}", wire.id());
        let use_it = async {
            if sql.is_empty() {
                return Ok(());
            }
            wire.start_rows(sql).await?;
            while wire.next_row().await?.is_some() {}
            Ok(())
        };
        let running = format!(
            "SELECT 1 FROM information_schema.processlist WHERE info = '{}'",
            sql.replace('\'', "''")
        );
        let kill_it = async {
            while !sql.is_empty() && control.rows(&running).await.unwrap().is_empty() {}
            control.execute(&kill).await.unwrap();
        };
        let (used, ()) = tokio::join!(use_it, kill_it);
        let error = match used {
            Ok(()) => wire.execute("SELECT 1").await.unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(error.kind(), ErrorKind::Retry, "{sql}: {error}");
        let error = wire.execute("SELECT 1").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Retry, "{sql}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_call_loses_the_connection() {
    let server = Server::start(&[]).await;
    let mut wire = Wire::connect(&server.config("root", "")).await.unwrap();
    tokio::select! {
        biased;
        result = wire.execute("SELECT SLEEP(60)") => panic!("{result:?}"),
        () = tokio::task::yield_now() => {}
    }
    assert_eq!(wire.rows("SELECT 1").await.unwrap_err().kind(), ErrorKind::Retry);
}

/// The type code of an event.
fn event_type(event: &[u8]) -> u8 {
    event[4]
}

async fn binlog(server: &Server, state: &str) -> Wire {
    let mut wire = Wire::connect(&server.config("root", "")).await.unwrap();
    for setting in ["mariadb_slave_capability=4", "master_binlog_checksum='CRC32'"] {
        wire.execute(format!("SET @{setting}")).await.unwrap();
    }
    wire.execute(format!("SET @slave_connect_state='{state}'")).await.unwrap();
    wire.start_binlog_mariadb(4711).await.unwrap();
    wire
}

#[tokio::test(flavor = "multi_thread")]
async fn the_binlog_arrives() {
    let server = Server::start(&[]).await;
    let mut control = server.control().await;
    control
        .execute("CREATE DATABASE d; CREATE TABLE d.t (a INT PRIMARY KEY, b LONGBLOB)")
        .await
        .unwrap();
    control.execute("INSERT INTO d.t SELECT 1, REPEAT('b', 40 << 20)").await.unwrap();
    control.execute("INSERT INTO d.t VALUES (2, 'end')").await.unwrap();
    let mut wire = binlog(&server, "").await;
    let mut types = Vec::new();
    let mut large = None;
    loop {
        let event = wire.next_event().await.unwrap().unwrap();
        let length = u32::from_le_bytes(*event[9..].first_chunk().unwrap());
        assert_eq!(usize::try_from(length).unwrap(), event.len());
        types.push(event_type(&event));
        if event.len() > 40 << 20 {
            large = Some(event.clone());
        }
        if event.windows(3).rev().take(40).any(|w| w == b"end") {
            break;
        }
    }
    let large = large.unwrap();
    assert_eq!(event_type(&large), 23, "WRITE_ROWS_EVENT_V1");
    assert!(large.windows(40).filter(|w| w.iter().all(|&b| b == b'b')).count() > 40_000_000);
    // Rotate, format description, GTID list, GTID, query, table map, write rows.
    for wanted in [4, 15, 163, 162, 2, 19, 23] {
        assert!(types.contains(&wanted), "{wanted} is not in {types:?}");
    }
    assert_eq!(wire.execute("SELECT 1").await.unwrap_err().kind(), ErrorKind::Stop);

    control.execute(format!("KILL {}", wire.id())).await.unwrap();
    let error = loop {
        match wire.next_event().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a killed dump does not end"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_is_purged_stops_the_dump() {
    let server = Server::start(&[]).await;
    let mut control = server.control().await;
    control.execute("CREATE DATABASE d; FLUSH BINARY LOGS; CREATE DATABASE e").await.unwrap();
    // The server keeps the file, without a word, until its background checkpoint is past it.
    while control.rows("SHOW BINARY LOGS").await.unwrap().len() > 1 {
        control.execute("PURGE BINARY LOGS TO 'binlog.000002'").await.unwrap();
    }
    let mut wire = binlog(&server, "").await;
    let error = loop {
        match wire.next_event().await {
            Ok(event) => assert!(event.is_some()),
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind(), error.server_code()), (ErrorKind::Stop, Some(1236)));
}
