//! What stands on the target already: tables under the moved names, and what refers to them.

use shunt_engine::preflight::{self, Level};

use super::server::Server;
use super::{assert_errors, check, read};

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

/// Foreign keys from other databases of the source, and from tables that the target has already.
#[tokio::test]
async fn tables_that_refer_to_a_moved_one() {
    let (source, target) = (Server::source(), Server::source());
    let (mut from, mut to) = (source.connect().await, target.connect().await);
    let child = "CREATE TABLE other.child (id int PRIMARY KEY, CONSTRAINT f FOREIGN KEY (id)";
    from.execute("CREATE DATABASE `shop-1`; CREATE DATABASE other").await.unwrap();
    from.execute("CREATE TABLE `shop-1`.p (id int PRIMARY KEY)").await.unwrap();
    from.execute(format!("{child} REFERENCES `shop-1`.p (id))")).await.unwrap();
    to.execute("CREATE DATABASE `shop-2`; CREATE DATABASE other; SET foreign_key_checks=0")
        .await
        .unwrap();
    to.execute(format!("{child} REFERENCES `shop-2`.p (id))")).await.unwrap();
    let report = check(&mut from, &mut to, &["p"]).await;
    assert_errors(&report, &[]);
    let warned = |id: &str, says: &str| {
        let of = |f: &&preflight::Finding| f.id == id && f.level == Level::Warning;
        report.findings.iter().filter(of).any(|f| f.reason.contains(says))
    };
    assert!(warned("foreign_keys_in", "other.child, which is not moved"), "{:#?}", report.findings);
    assert!(warned("foreign_keys_on_target", "`other`.`child` on the target refers to p"));
    to.execute(format!(
        "DROP TABLE other.child; {child} REFERENCES `shop-2`.p (id) ON DELETE CASCADE)"
    ))
    .await
    .unwrap();
    let report = check(&mut from, &mut to, &["p"]).await;
    assert_errors(&report, &["foreign_keys_on_target"]);
    let fix = report.findings.iter().find(|f| f.level == Level::Error).unwrap().fix.clone();
    to.execute(fix.unwrap()).await.unwrap();
    assert_errors(&check(&mut from, &mut to, &["p"]).await, &[]);
}
