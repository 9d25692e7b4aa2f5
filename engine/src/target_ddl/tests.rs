use super::*;
use crate::mysql::schema::{Column, Generated, Key, KeyKind, KeyPart};
use crate::mysql::server::{Flavor, Version};

fn server(flavor: Flavor, version: Version) -> ServerInfo {
    ServerInfo { flavor, version, identity: String::new(), folds_names: false }
}

fn key(name: &str, kind: KeyKind, column: usize) -> Key {
    let parts = vec![KeyPart { column, prefix: None, descending: false }];
    Key { name: name.into(), kind, parts, btree: true, usable: true }
}

fn schema(create_sql: &str, columns: &[&str], auto: Option<usize>, keys: Vec<Key>) -> TableSchema {
    let column = |(at, name): (usize, &&str)| Column {
        name: (*name).into(),
        data_type: "int".into(),
        column_type: "int(11)".into(),
        auto_increment: auto == Some(at),
        ..Column::default()
    };
    TableSchema {
        name: "t".into(),
        create_sql: create_sql.into(),
        columns: columns.iter().enumerate().map(column).collect(),
        keys,
        ..TableSchema::default()
    }
}

fn make(schema: &TableSchema, from: &ServerInfo, to: &ServerInfo) -> Result<TargetDdl> {
    TargetDdl::new(TargetDdlInput {
        schema,
        source: from,
        target: to,
        database: "new-db",
        table: "t",
        defer_secondary_keys: true,
    })
}

fn mariadb() -> ServerInfo {
    server(Flavor::MariaDb, Version(10, 11, 6))
}

fn mysql() -> ServerInfo {
    server(Flavor::MySql, Version(8, 4, 0))
}

#[test]
fn only_the_identity_is_created_before_the_copy() {
    let schema = schema(
        "CREATE TABLE `t` (\n  `a` int(11) NOT NULL,\n  `b` int(11) NOT NULL AUTO_INCREMENT,\n  PRIMARY KEY (`a`),\n  \
         UNIQUE KEY `u` (`b`),\n  KEY `k` (`a`,`b`),\n  CONSTRAINT `fk` FOREIGN KEY (`a`) REFERENCES `p` (`id`)\n) \
         ENGINE=InnoDB AUTO_INCREMENT=7 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin DATA DIRECTORY='/x'",
        &["a", "b"],
        Some(1),
        vec![
            key("PRIMARY", KeyKind::Primary, 0),
            key("u", KeyKind::Unique, 1),
            key("k", KeyKind::Index, 0),
        ],
    );
    let ddl = make(&schema, &mariadb(), &mariadb()).unwrap();
    assert_eq!(
        ddl.create,
        "CREATE TABLE `new-db`.`t` (\n  `a` int(11) NOT NULL,\n  `b` int(11) NOT NULL AUTO_INCREMENT,\n  \
         PRIMARY KEY (`a`),\n  KEY `_shunt_auto_increment` (`b`)\n) ENGINE=InnoDB AUTO_INCREMENT=7 \
         DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"
    );
    assert_eq!(
        ddl.alter_sql().unwrap(),
        "ALTER TABLE `new-db`.`t`\n  DROP KEY `_shunt_auto_increment`,\n  ADD UNIQUE KEY `u` (`b`),\n  \
         ADD KEY `k` (`a`,`b`),\n  ADD CONSTRAINT `fk` FOREIGN KEY (`a`) REFERENCES `p` (`id`)"
    );
    assert_eq!(ddl.left_out, ["table option DATA DIRECTORY='/x'"]);
}

#[test]
fn a_plain_key_is_kept_for_auto_increment() {
    let schema = schema(
        "CREATE TABLE `t` (\n  `a` int(11) NOT NULL,\n  `b` int(11) NOT NULL AUTO_INCREMENT,\n  UNIQUE KEY `u` (`a`),\n  \
         KEY `k` (`b`)\n) ENGINE=InnoDB",
        &["a", "b"],
        Some(1),
        vec![key("u", KeyKind::Unique, 0), key("k", KeyKind::Index, 1)],
    );
    let ddl = make(&schema, &mariadb(), &mariadb()).unwrap();
    assert!(ddl.create.contains("UNIQUE KEY `u` (`a`),\n  KEY `k` (`b`)\n)"), "{}", ddl.create);
    assert_eq!(ddl.alter_sql(), None);
}

#[test]
fn the_other_flavor_gets_what_it_understands() {
    let from_mysql = schema(
        "CREATE TABLE `t` (\n  `a` int NOT NULL /*!80023 INVISIBLE */,\n  `b` int GENERATED ALWAYS AS (`a` + 1) VIRTUAL NOT NULL,\n  \
         PRIMARY KEY (`a`),\n  KEY `k` (`b`) /*!80000 INVISIBLE */\n) ENGINE=InnoDB DEFAULT CHARSET=latin1 /*!80016 ENCRYPTION='Y' */",
        &["a", "b"],
        None,
        vec![key("PRIMARY", KeyKind::Primary, 0), key("k", KeyKind::Index, 1)],
    );
    let ddl = make(&from_mysql, &mysql(), &mariadb()).unwrap();
    assert!(ddl.create.contains("`a` int NOT NULL INVISIBLE,\n"), "{}", ddl.create);
    assert!(ddl.create.contains("VIRTUAL,\n"), "{}", ddl.create);
    assert!(ddl.create.ends_with("CHARSET=latin1"), "{}", ddl.create);
    assert_eq!(ddl.deferred[0].sql, "ADD KEY `k` (`b`) IGNORED");
    assert_eq!(ddl.left_out.len(), 2, "{:?}", ddl.left_out);
    assert!(make(&from_mysql, &mysql(), &mysql()).unwrap().left_out.is_empty());
}

#[test]
fn what_would_change_rows_or_results_is_refused() {
    for clause in [
        "`a` int DEFAULT uuid()",
        "`a` int,\n  CONSTRAINT `c` CHECK (`a` > 0) /*!80016 NOT ENFORCED */",
        "`a` int,\n  KEY `k` ((`a` + 1))",
        "`a` int,\n  PERIOD FOR `p` (`a`, `a`)",
    ] {
        let text = format!("CREATE TABLE `t` (\n  {clause}\n) ENGINE=InnoDB");
        let schema = schema(&text, &["a"], None, Vec::new());
        let both = [make(&schema, &mysql(), &mariadb()), make(&schema, &mariadb(), &mysql())];
        assert!(both.iter().any(Result::is_err), "{clause}");
    }
}

#[test]
fn what_a_sequence_gives_is_refused_everywhere() {
    for (default, refused) in [
        ("nextval(`commerce`.`s`)", true),
        ("(lastval(`s`) + 1)", true),
        ("'nextval(`s`)'", false),
        ("(`nextval` + 1)", false),
    ] {
        let text = format!("CREATE TABLE `t` (\n  `a` int DEFAULT {default},\n  `nextval` int\n)");
        let schema = schema(&text, &["a", "nextval"], None, Vec::new());
        let made = make(&schema, &mariadb(), &mariadb());
        assert_eq!(made.is_err(), refused, "{default}: {made:?}");
    }
}

#[test]
fn what_mysql_lacks_of_mariadb_is_refused_by_name() {
    let plain = Column { name: "a".into(), data_type: "int".into(), ..Column::default() };
    let cases = [
        (
            Column { generated: Generated::Stored, ..plain.clone() },
            "computes",
            Some(Version(5, 7, 6)),
        ),
        (Column { invisible: true, ..plain.clone() }, "invisible", Some(Version(8, 0, 23))),
        (
            Column { data_type: "longtext".into(), has_default: true, ..plain.clone() },
            "with a default",
            None,
        ),
        (
            Column {
                data_type: "decimal".into(),
                column_type: "decimal(38,31) unsigned".into(),
                ..plain.clone()
            },
            "behind the point",
            None,
        ),
        (Column { compressed: true, ..plain.clone() }, "COMPRESSED", None),
    ];
    for (column, why, since) in cases {
        let mut schema = schema("CREATE TABLE `t` (\n  `a` int\n)", &[], None, Vec::new());
        schema.columns = vec![column];
        let error = make(&schema, &mariadb(), &server(Flavor::MySql, Version(5, 6, 24)));
        assert!(error.unwrap_err().to_string().contains(why), "{why}");
        if let Some(since) = since {
            assert!(make(&schema, &mariadb(), &server(Flavor::MySql, since)).is_ok(), "{why}");
        }
        assert!(make(&schema, &mariadb(), &mariadb()).is_ok(), "{why}");
    }
}

/// MySQL 5.6 would look for a function of this name, and for no other CHECK at anything.
#[test]
fn an_old_mysql_gets_no_checks() {
    let make = |column: &str, to: Version| {
        let text = format!("CREATE TABLE `t` (\n  `id` int(11),\n  {column}\n)");
        let schema = schema(&text, &["id", "j"], None, Vec::new());
        make(&schema, &mariadb(), &server(Flavor::MySql, to))
    };
    for (check, end) in [
        ("CHECK (json_valid(`j`))", ""),
        ("CHECK (json_valid(`j`) and (`j` <> ')' or length(`j`) < 9))", ""),
        ("COMMENT 'CHECK (a)' CHECK (`j` <> 1)", " COMMENT 'CHECK (a)'"),
    ] {
        let column = format!("`j` longtext DEFAULT NULL {check}");
        let ddl = make(&column, Version(5, 6, 24)).unwrap();
        assert!(
            ddl.create.trim_end_matches("\n)").trim_end().ends_with(&format!("DEFAULT NULL{end}")),
            "{}",
            ddl.create
        );
        assert_eq!(ddl.left_out, ["CHECK of column j"]);
        let ddl = make(&column, Version(8, 0, 16)).unwrap();
        assert!(ddl.create.contains(check) && ddl.left_out.is_empty(), "{}", ddl.create);
    }
    let table = "`j` int(11),\n  CONSTRAINT `c` CHECK (regexp_replace(`j`,1,2) > 3)";
    let ddl = make(table, Version(5, 7, 40)).unwrap();
    assert!(!ddl.create.contains("CHECK"), "{}", ddl.create);
    assert_eq!(ddl.left_out, ["CHECK c"]);
}

/// MariaDB would make a hash of the unique key, which MySQL's InnoDB has not, and does not know the words of the comments.
#[test]
fn what_mysql_does_not_mean_is_not_said_to_mariadb() {
    let text = "CREATE TABLE `t` (\n  `id` int(11) /*!50606 STORAGE MEMORY */ /*!50606 COLUMN_FORMAT FIXED */ NOT NULL,\n  \
                UNIQUE KEY `u` (`id`) USING HASH,\n  KEY `k` (`id`) USING HASH\n)";
    let schema = schema(text, &["id"], None, vec![key("u", KeyKind::Unique, 0)]);
    let all = |to: &ServerInfo| {
        let ddl = make(&schema, &server(Flavor::MySql, Version(5, 6, 24)), to).unwrap();
        ddl.create.clone() + &ddl.alter_sql().unwrap_or_default()
    };
    let made = all(&mariadb());
    assert!(!made.contains("MEMORY") && !made.contains("FIXED"), "{made}");
    assert_eq!(made.matches("USING HASH").count(), 1, "{made}");
    assert_eq!(all(&mysql()).matches("USING HASH").count(), 2);
}

#[test]
fn an_old_mysql_gets_no_spatial_key() {
    let text =
        "CREATE TABLE `t` (\n  `id` int(11),\n  `p` point NOT NULL,\n  SPATIAL KEY `s` (`p`)\n)";
    let schema = schema(text, &["id", "p"], None, Vec::new());
    let error = make(&schema, &mariadb(), &server(Flavor::MySql, Version(5, 6, 24))).unwrap_err();
    assert!(error.to_string().contains("spatial key"), "{error}");
    assert!(make(&schema, &mariadb(), &server(Flavor::MySql, Version(5, 7, 5))).is_ok());
}
