//! What stands on the target already: tables under the moved names, and what refers to them.

use shunt_engine::preflight::Level;

use super::server::Server;
use super::{check, read};

/// An empty table of the target is used only if it is the one that the move would make: what differs is named.
#[tokio::test]
async fn an_existing_table_must_be_alike() {
    let (source, target) = (Server::source(), Server::source());
    let (mut from, mut to) = (source.connect().await, target.connect().await);
    from.execute(
        "CREATE DATABASE `shop-1`; USE `shop-1`; CREATE TABLE t (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, \
         n int, g int AS (n + 1) STORED, d varchar(9) DEFAULT 'x' COMMENT 'c', \
         z timestamp NULL DEFAULT current_timestamp() ON UPDATE current_timestamp(), i int INVISIBLE, \
         CONSTRAINT c CHECK (n > 0), KEY k (d)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4",
    )
    .await
    .unwrap();
    to.execute("CREATE DATABASE `shop-2`; USE `shop-2`").await.unwrap();
    let create = read(&mut from, "shop-1", "t").await.create_sql;
    for (alter, says) in [
        (
            "AUTO_INCREMENT=77, COMMENT 'other', ADD KEY more (z), MODIFY d varchar(9) DEFAULT 'x'",
            "",
        ),
        ("DROP COLUMN g, ADD g int AS (n + 2) STORED AFTER n", "column g differs: its default"),
        ("MODIFY id int NOT NULL", "column id differs: AUTO_INCREMENT"),
        ("MODIFY d varchar(9) DEFAULT 'y'", "column d differs: its default"),
        ("MODIFY z timestamp NULL DEFAULT current_timestamp()", "column z differs: ON UPDATE"),
        ("MODIFY i int", "column i differs: whether it is invisible"),
        ("DROP CONSTRAINT c", "its CHECK constraints or periods differ"),
        ("ADD CONSTRAINT c2 CHECK (n < 9)", "its CHECK constraints or periods differ"),
        ("DROP KEY k", "it lacks the key k"),
        ("DROP KEY k, ADD KEY k (d(3))", "it lacks the key k"),
        ("DEFAULT COLLATE utf8mb4_bin", "its default collation differs"),
    ] {
        to.execute(&create).await.unwrap();
        to.execute(format!("ALTER TABLE t {alter}")).await.unwrap();
        let report = check(&mut from, &mut to, &["t"]).await;
        let errors: Vec<_> = report.findings.iter().filter(|f| f.level == Level::Error).collect();
        match says {
            "" => assert!(errors.is_empty(), "{alter}: {errors:#?}"),
            says => assert!(errors.iter().any(|f| f.reason.contains(says)), "{alter}: {errors:#?}"),
        }
        to.execute("DROP TABLE t").await.unwrap();
    }
}
