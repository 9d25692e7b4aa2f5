//! Schemas, target definitions and the preflight against real servers. Every test has servers of its own.

#![expect(clippy::unwrap_used, reason = "in a test a failed step is a failed test")]

mod alike;
mod server;

use std::collections::BTreeSet;

use shunt_engine::mysql::control::{Control, Session};
use shunt_engine::mysql::schema::{TableSchema, fingerprint_of, read_table};
use shunt_engine::mysql::sql;
use shunt_engine::preflight::{self, Level, PreflightInput, Report};
use shunt_engine::target_ddl::{DeferredKind, TargetDdl, TargetDdlInput};

use self::server::Server;

async fn check(source: &mut Control, target: &mut Control, tables: &[&str]) -> Report {
    let tables: Vec<String> = tables.iter().map(|&name| name.into()).collect();
    let input = PreflightInput {
        source,
        target,
        source_database: "shop-1",
        target_database: "shop-2",
        tables: &tables,
        keyless_bytes_max: 100 << 10,
    };
    preflight::run(input).await.unwrap()
}

fn ids(report: &Report, level: Level) -> BTreeSet<&'static str> {
    report.findings.iter().filter(|f| f.level == level).map(|f| f.id).collect()
}

#[track_caller]
fn assert_errors(report: &Report, expected: &[&'static str]) {
    let expected: BTreeSet<_> = expected.iter().copied().collect();
    assert_eq!(ids(report, Level::Error), expected, "{:#?}", report.findings);
}

const TABLES: &[(&str, &str)] = &[
    (
        "plain",
        "id bigint unsigned not null auto_increment primary key, v varchar(20) comment 'a, (b', key (v), fulltext key f (v)",
    ),
    (
        "t ä-`x`",
        "`k``ey` int primary key, `ü, (` enum('a,b','it''s','\\\\)') default 'it''s', unique key `u)` (`ü, (`)",
    ),
    ("T ä-`x`", "id binary(16) primary key"),
    (
        "auto second",
        "a int not null, b int not null auto_increment, c varbinary(9), primary key (a, b), unique key (b), key (c(3) desc)",
    ),
    (
        "auto plain",
        "a int not null primary key, b int not null auto_increment, key (b), unique key (a, b)",
    ),
    (
        "unique only",
        "s varchar(30) not null, n bigint not null, m int, unique key s (s), unique key n (n), unique key m (m)",
    ),
    ("keyless", "a int, b text, key (a), unique key (a, b(10))"),
    (
        "generated",
        "id int primary key, w int as (id + length(')')) virtual, s varchar(19) charset latin1 collate latin1_bin as (concat('a,', id)) stored, z timestamp(3) not null default current_timestamp(3) on update current_timestamp(3), i int invisible default 7, unique key (s)",
    ),
    ("checked", "id int primary key, j json, constraint `c,1` check (id <> 5 and j <> ')')"),
    ("parts", "id int not null, d date not null, primary key (id, d), key (d)"),
    ("parent", "id int primary key, u int not null, unique key u (u)"),
    (
        "child",
        "id int primary key, p int, q int, constraint f1 foreign key (p) references parent (id), constraint f2 foreign key (q) references parent (u), constraint f3 foreign key (p) references child (id)",
    ),
    (
        "packed",
        "id int primary key, t text compressed not null default 'a', v varchar(20) compressed",
    ),
    ("period", "id int primary key, a date, b date, period for p (a, b)"),
    ("shape", "id int primary key, g geometry not null, spatial key (g), key i (id) ignored"),
];

async fn create_all(control: &mut Control) {
    control.execute("CREATE DATABASE `shop-1`; USE `shop-1`").await.unwrap();
    for (name, body) in TABLES {
        let tail = match *name {
            "parts" => "comment='PARTITION BY x' partition by hash (id) partitions 3",
            "plain" => "row_format=compressed default charset=latin1",
            "unique only" => "page_compressed=1",
            _ => "auto_increment=17 default charset=utf8mb4",
        };
        let statement = format!("CREATE TABLE {} ({body}) ENGINE=InnoDB {tail}", sql::ident(name));
        control.execute(&statement).await.unwrap_or_else(|e| panic!("{statement}: {e}"));
    }
}

async fn read(control: &mut Control, database: &str, table: &str) -> TableSchema {
    read_table(control, database, table).await.unwrap().unwrap()
}

#[tokio::test]
async fn definitions_come_back_whole_on_the_target() {
    let server = Server::source();
    let mut control = server.connect().await;
    create_all(&mut control).await;
    control.execute("CREATE DATABASE `shop-2`; SET foreign_key_checks=0").await.unwrap();
    for defer in [true, false] {
        let mut alters = Vec::new();
        for (name, _) in TABLES {
            let schema = read(&mut control, "shop-1", name).await;
            let info = control.info().clone();
            let ddl = TargetDdl::new(TargetDdlInput {
                schema: &schema,
                source: &info,
                target: &info,
                database: "shop-2",
                table: name,
                defer_secondary_keys: defer,
            })
            .unwrap();
            assert!(ddl.left_out.is_empty(), "{:?}", ddl.left_out);
            control.execute(&ddl.create).await.unwrap_or_else(|e| panic!("{}: {e}", ddl.create));
            check_before_the_copy(&mut control, &schema, defer, &ddl).await;
            alters.push((name, schema, ddl.alter_sql()));
        }
        for (name, schema, alter) in alters {
            if let Some(alter) = alter {
                control.execute(&alter).await.unwrap_or_else(|e| panic!("{alter}: {e}"));
            }
            let after = read(&mut control, "shop-2", name).await;
            assert_eq!(sorted_lines(&after.create_sql), sorted_lines(&schema.create_sql));
            assert_eq!(after.foreign_keys, schema.foreign_keys);
        }
        control.execute("DROP DATABASE `shop-2`; CREATE DATABASE `shop-2`").await.unwrap();
    }
}

/// Only the identity is unique, there are no foreign keys, and secondary keys are there unless deferred.
async fn check_before_the_copy(
    control: &mut Control,
    schema: &TableSchema,
    defer: bool,
    ddl: &TargetDdl,
) {
    let name = &schema.name;
    let before = read(control, "shop-2", name).await;
    assert_eq!(before.identity_columns(), schema.identity_columns(), "{name}");
    assert_eq!(before.fingerprint(), schema.fingerprint(), "{name}");
    assert!(before.foreign_keys.is_empty(), "{name}");
    let unique = before.create_sql.matches("UNIQUE KEY").count()
        + before.create_sql.matches("PRIMARY KEY").count();
    assert_eq!(unique, usize::from(schema.identity().is_some()), "{name}");
    let late = |kind| matches!(kind, DeferredKind::Unique | DeferredKind::ForeignKey);
    assert!(defer || ddl.deferred.iter().all(|key| late(key.kind)), "{name}");
}

/// The order of keys may differ: servers put unique keys before others.
fn sorted_lines(create: &str) -> Vec<String> {
    let mut lines: Vec<_> = create.lines().map(|l| l.trim_end_matches(',').to_owned()).collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn a_table_is_read_as_it_is() {
    let server = Server::source();
    let mut control = server.connect().await;
    create_all(&mut control).await;
    let name = "t ä-`x`";
    let table = read(&mut control, "shop-1", name).await;
    assert_eq!(table.name, name);
    assert_eq!(table.columns[0].name, "k`ey");
    assert_eq!(table.columns[1].enum_members(), ["a,b", "it's", "\\)"]);
    assert_eq!(read(&mut control, "shop-1", "T ä-`x`").await.columns[0].binary_length(), Some(16));
    let table = read(&mut control, "shop-1", "unique only").await;
    assert_eq!(table.identity().unwrap().name, "n");
    assert!(read(&mut control, "shop-1", "keyless").await.identity().is_none());
    let table = read(&mut control, "shop-1", "auto second").await;
    assert_eq!(table.auto_increment, Some(17));
    let key = table.keys.iter().find(|key| key.name == "c").unwrap();
    assert_eq!((key.parts[0].prefix, key.parts[0].descending), (Some(3), true));
    let table = read(&mut control, "shop-1", "generated").await;
    assert_eq!(table.columns[3].fsp(), 3);
    assert!(table.columns[3].on_update && table.columns[4].invisible);
    let table = read(&mut control, "shop-1", "shape").await;
    assert!(table.keys.iter().any(|key| key.name == "i" && !key.usable));
    assert!(read(&mut control, "shop-1", "parts").await.partitioned);
    assert!(read_table(&mut control, "shop-1", "none").await.unwrap().is_none());
}

#[tokio::test]
async fn the_fingerprint_tells_what_matters() {
    let server = Server::source();
    let mut control = server.connect().await;
    create_all(&mut control).await;
    let mut other = Control::connect(&server.config("root"), Session::Apply).await.unwrap();
    for (name, _) in TABLES {
        let table = read(&mut control, "shop-1", name).await;
        assert_eq!(fingerprint_now(&mut other, &table).await, table.fingerprint(), "{name}");
    }
    let before = read(&mut control, "shop-1", "plain").await;
    for (change, same) in [
        ("COMMENT 'new', AUTO_INCREMENT=900", true),
        ("ADD KEY extra (id, v)", true),
        ("MODIFY v varchar(21) COMMENT 'a, (b'", false),
        ("ADD COLUMN n int FIRST", false),
    ] {
        control.execute(format!("ALTER TABLE plain {change}")).await.unwrap();
        let now = fingerprint_now(&mut other, &before).await;
        assert_eq!(now == before.fingerprint(), same, "{change}");
    }
}

async fn fingerprint_now(control: &mut Control, table: &TableSchema) -> String {
    let rows = control.rows(table.fingerprint_query()).await.unwrap();
    fingerprint_of(rows.iter().map(|row| row.bytes(0).unwrap().to_vec()))
}

#[tokio::test]
async fn a_sound_pair_passes_with_an_account_that_only_reads() {
    let (source, target) = (Server::source(), Server::source());
    let mut root = source.connect().await;
    create_all(&mut root).await;
    root.execute(
        "CREATE USER reader; GRANT SELECT ON `shop-1`.* TO reader; \
         GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO reader; \
         CREATE VIEW v AS SELECT * FROM plain; \
         CREATE TRIGGER g BEFORE INSERT ON plain FOR EACH ROW SET NEW.v = 'x'",
    )
    .await
    .unwrap();
    let mut reader = source.connect_as("reader").await;
    let mut writer = target.connect().await;
    writer.execute("CREATE DATABASE `shop-2`").await.unwrap();
    let tables: Vec<_> = TABLES.iter().map(|(name, _)| *name).collect();
    let report = check(&mut reader, &mut writer, &tables).await;
    assert_errors(&report, &[]);
    assert_eq!(report.tables.len(), TABLES.len());
    assert!(ids(&report, Level::NotChecked).is_superset(&["triggers", "mentions", "disk"].into()));
    let report = check(&mut root, &mut writer, &["plain"]).await;
    assert!(ids(&report, Level::Warning).is_superset(&["triggers", "mentions"].into()));
    assert!(!ids(&report, Level::NotChecked).contains("mentions"));
    assert!(serde_json::to_string(&report.findings).unwrap().contains("\"level\":\"warning\""));

    root.execute("CREATE USER nobody").await.unwrap();
    writer.execute("CREATE USER nobody").await.unwrap();
    let mut nobody = source.connect_as("nobody").await;
    let mut powerless = target.connect_as("nobody").await;
    let report = check(&mut nobody, &mut powerless, &["plain"]).await;
    assert_errors(
        &report,
        &["source_privileges", "target_privileges", "table_exists", "target_database"],
    );
}

const REFUSED: &str = "CREATE TABLE aria (id int primary key) ENGINE=Aria; \
    CREATE TABLE myisam (id int primary key) ENGINE=MyISAM; \
    CREATE TABLE versioned (id int primary key) WITH SYSTEM VERSIONING; CREATE VIEW v AS SELECT 1; \
    CREATE TABLE short (id int primary key, y year(2)); CREATE SEQUENCE s; \
    CREATE TABLE cascading (id int primary key, p int, FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE); \
    CREATE TABLE nulling (id int primary key, p int, FOREIGN KEY (p) REFERENCES parent (id) ON UPDATE SET NULL); \
    CREATE TABLE overlapping (id int primary key, a date, b date, period for p (a, b), unique (id, p without overlaps)); \
    CREATE TABLE large (t text); INSERT INTO large SELECT repeat('x', 20000) FROM seq_1_to_50; \
    ANALYZE TABLE large";

#[tokio::test]
async fn tables_that_cannot_be_moved_are_refused_by_name() {
    let (source, target) = (Server::source(), Server::source());
    let (mut from, mut to) = (source.connect().await, target.connect().await);
    create_all(&mut from).await;
    from.execute(REFUSED).await.unwrap();
    let cases: &[(&[&str], &[&str])] = &[
        (&["aria"], &["engine"]),
        (&["myisam"], &["engine"]),
        (&["versioned"], &["system_versioning", "definition"]),
        (&["overlapping"], &["system_versioning"]),
        (&["v"], &["table_exists"]),
        (&["s"], &["table_exists"]),
        (&["missing"], &["table_exists"]),
        (&["short"], &["column_types"]),
        (&["large"], &["identity_key"]),
        (&["parent", "cascading"], &["cascades"]),
        (&["parent", "nulling"], &["cascades"]),
        (&["child"], &["foreign_keys_out"]),
    ];
    to.execute("CREATE DATABASE `shop-2`").await.unwrap();
    for (tables, errors) in cases {
        let report = check(&mut from, &mut to, tables).await;
        assert_errors(&report, errors);
    }
    let report = check(&mut from, &mut to, &["parent"]).await;
    assert!(ids(&report, Level::Warning).contains("foreign_keys_in"));

    // The fixes do fix.
    for (table, id) in [("aria", "engine"), ("cascading", "cascades")] {
        let report = check(&mut from, &mut to, &["parent", table]).await;
        let finding = report.findings.iter().find(|f| f.id == id && f.level == Level::Error);
        from.execute(finding.unwrap().fix.as_ref().unwrap()).await.unwrap();
        assert_errors(&check(&mut from, &mut to, &["parent", table]).await, &[]);
    }
}

#[tokio::test]
async fn a_source_whose_binlog_tells_not_everything_is_refused() {
    let bad = Server::start(&[
        "--log-bin=b",
        "--server-id=12",
        "--binlog-ignore-db=x",
        "--binlog-optimize-thread-scheduling=0",
        "--log-slave-updates=0",
    ]);
    let no_log = Server::start(&["--performance-schema=0"]);
    let (mut from, mut to) = (bad.connect().await, no_log.connect().await);
    create_all(&mut from).await;
    from.execute(
        "SET GLOBAL binlog_format='MIXED', GLOBAL binlog_row_image='NOBLOB', \
         GLOBAL expire_logs_days=0.5; CHANGE MASTER TO MASTER_HOST='nowhere.invalid'",
    )
    .await
    .unwrap();
    let mut writer = bad.connect().await;
    let prepare =
        "XA START 'a'; INSERT INTO `shop-1`.parent VALUES (1, 1); XA END 'a'; XA PREPARE 'a'";
    writer.execute(prepare).await.unwrap();
    to.execute("CREATE DATABASE `shop-2`").await.unwrap();
    let standing = ["binlog_filters", "thread_scheduling", "log_slave_updates"];
    let report = check(&mut from, &mut to, &["plain"]).await;
    let settable = ["binlog_format", "binlog_row_image"];
    assert_errors(&report, &[&standing[..], &settable[..]].concat());
    let expected = ["gtid_strict_mode", "durability", "retention", "prepared_xa", "target_binlog"];
    assert!(ids(&report, Level::Warning).is_superset(&expected.into()));

    // What the fixes change is no longer found.
    writer.execute("XA ROLLBACK 'a'").await.unwrap();
    for finding in report.findings.iter().filter(|finding| !finding.id.starts_with("target")) {
        if let Some(fix) = finding.fix.as_ref().filter(|fix| fix.starts_with("SET GLOBAL")) {
            from.execute(fix).await.unwrap_or_else(|e| panic!("{fix}: {e}"));
        }
    }
    let report = check(&mut from, &mut to, &["plain"]).await;
    assert_errors(&report, &standing);
    assert!(ids(&report, Level::Warning).is_disjoint(&expected[..4].iter().copied().collect()));

    // The other way round: no binlog, and one server for both.
    let tables = ["plain".to_owned()];
    let input = PreflightInput {
        source: &mut to,
        target: &mut no_log.connect().await,
        source_database: "shop-2",
        target_database: "shop-2",
        tables: &tables,
        keyless_bytes_max: 0,
    };
    let report = preflight::run(input).await.unwrap();
    assert!(ids(&report, Level::Error).is_superset(&["binlog_enabled", "same_table"].into()));
    assert!(ids(&report, Level::NotChecked).contains("readers"));
}

#[tokio::test]
async fn a_target_that_cannot_take_the_tables_is_refused() {
    let (source, target) = (Server::source(), Server::source());
    let (mut from, mut to) = (source.connect().await, target.connect().await);
    create_all(&mut from).await;
    assert_errors(&check(&mut from, &mut to, &["parent"]).await, &["target_database"]);
    to.execute(
        "CREATE DATABASE `shop-2`; SET GLOBAL read_only=1, GLOBAL innodb_force_primary_key=1, \
         GLOBAL local_infile=0, GLOBAL max_allowed_packet=1048576; USE `shop-2`; \
         CREATE TABLE plain (id int primary key); \
         CREATE TABLE parts (id int not null, d date not null, primary key (id, d), key (d)) ENGINE=InnoDB; \
         INSERT INTO parts VALUES (1, '2001-01-01'); CREATE VIEW child AS SELECT 1; \
         CHANGE MASTER TO MASTER_HOST='nowhere.invalid'",
    )
    .await
    .unwrap();
    let report = check(&mut from, &mut to, &["plain", "parent", "parts", "child", "keyless"]).await;
    let expected = [
        "target_tables",
        "target_read_only",
        "target_primary_keys",
        "target_is_replica",
        "max_allowed_packet",
    ];
    assert_errors(&report, &expected);
    let found =
        report.findings.iter().filter(|f| f.id == "target_tables" && f.level == Level::Error);
    assert_eq!(found.map(|f| f.subject.as_str()).collect::<Vec<_>>(), ["parts", "plain", "child"]);
    let warnings = ids(&report, Level::Warning);
    assert!(warnings.contains("local_infile"));

    to.execute(
        "DELETE FROM parts; DROP VIEW child; RESET SLAVE ALL; \
         SET GLOBAL read_only=0, GLOBAL innodb_force_primary_key=0, GLOBAL max_allowed_packet=2097152",
    )
    .await
    .unwrap();
    let report = check(&mut from, &mut to, &["plain", "parent", "parts", "child"]).await;
    assert_errors(&report, &["target_tables"]);
    assert!(ids(&report, Level::Warning).contains("max_allowed_packet"));
    let fix = report.findings.iter().find(|f| f.id == "target_tables").unwrap().fix.clone();
    assert!(fix.is_none(), "the empty and alike table is used as it is");
    let drop = "DROP TABLE `shop-2`.`plain`";
    assert!(report.findings.iter().any(|f| f.fix.as_deref() == Some(drop)));
    to.execute(drop).await.unwrap();
    assert_errors(&check(&mut from, &mut to, &["plain", "parent", "parts", "child"]).await, &[]);
}

#[tokio::test]
async fn mysql_5_6_moves_to_itself_and_to_mariadb() {
    let cache = std::env::var("XDG_CACHE_HOME")
        .unwrap_or_else(|_| format!("{}/.cache", std::env::var("HOME").unwrap()));
    // scripts/setup.sh puts it there.
    let home = format!("{cache}/shunt/mysql-5.6/server");
    let (source, target) = (Server::start_mysql_5_6(&home), Server::source());
    let (mut from, mut to) = (source.connect().await, target.connect().await);
    from.execute("CREATE DATABASE `shop-1`; CREATE DATABASE `shop-2`; USE `shop-1`").await.unwrap();
    let newer = ["generated", "checked", "packed", "period", "shape"];
    let tables: Vec<_> = TABLES.iter().filter(|(name, _)| !newer.contains(name)).collect();
    for (name, body) in &tables {
        let tail = if *name == "parts" {
            "partition by hash (id) partitions 3"
        } else {
            "default charset=utf8mb4"
        };
        let table = sql::ident(name);
        from.execute(format!("CREATE TABLE {table} ({body}) ENGINE=InnoDB {tail}")).await.unwrap();
    }
    from.execute(
        "CREATE TABLE old (a varchar(3) CHARACTER SET utf8 DEFAULT 'x''y', b timestamp, c timestamp NOT NULL \
         DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, d bit(3) DEFAULT b'101', y year PRIMARY KEY)",
    )
    .await
    .unwrap();
    to.execute("CREATE DATABASE `shop-2`").await.unwrap();
    let names: Vec<_> = tables.iter().map(|(name, _)| *name).chain(["old"]).collect();
    let report = check(&mut from, &mut to, &names).await;
    assert_errors(&report, &[]);
    let infos = (from.info().clone(), to.info().clone());
    for control in [&mut from, &mut to] {
        control.execute("SET foreign_key_checks=0").await.unwrap();
        let info = control.info().clone();
        for schema in &report.tables {
            let ddl = TargetDdl::new(TargetDdlInput {
                schema,
                source: &infos.0,
                target: &info,
                database: "shop-2",
                table: &schema.name,
                defer_secondary_keys: true,
            })
            .unwrap();
            control.execute(&ddl.create).await.unwrap_or_else(|e| panic!("{}: {e}", ddl.create));
            if let Some(alter) = ddl.alter_sql() {
                control.execute(&alter).await.unwrap_or_else(|e| panic!("{alter}: {e}"));
            }
            let after = read(control, "shop-2", &schema.name).await;
            assert_eq!(after.identity_columns(), schema.identity_columns());
            assert_eq!(after.foreign_keys, schema.foreign_keys);
            if info.flavor == infos.0.flavor {
                assert_eq!(sorted_lines(&after.create_sql), sorted_lines(&schema.create_sql));
                assert_eq!(after.fingerprint(), schema.fingerprint());
            }
        }
    }
    // Made by us, empty: only the keys that were built stand in the way of using them.
    let report = check(&mut from, &mut to, &["old", "T ä-`x`", "keyless"]).await;
    assert_errors(&report, &["target_tables"]);
    assert!(report.findings.iter().all(|f| f.level != Level::Error || f.subject == "keyless"));
}
