use super::*;

const MARIADB: &str = "CREATE TABLE `a``b, (c` (
  `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT COMMENT 'it''s, (a) \\'quote\\n',
  `e` enum('a,b','c)','it''s') CHARACTER SET latin1 COLLATE latin1_bin DEFAULT 'a,b',
  `g` int(11) GENERATED ALWAYS AS (`id` + length(')')) STORED,
  `z` text /*M!100301 COMPRESSED*/ DEFAULT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `u,1` (`e`(10)) USING BTREE COMMENT 'KEY (',
  KEY `k` (`g` DESC),
  FULLTEXT KEY `f` (`z`),
  CONSTRAINT `fk` FOREIGN KEY (`g`, `e`) REFERENCES `other db`.`p` (`x`, `y`) ON DELETE SET NULL ON UPDATE NO ACTION,
  CONSTRAINT `c` CHECK (`g` <> ',')
) ENGINE=InnoDB AUTO_INCREMENT=42 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci COMMENT='x=1, PARTITION BY' `PAGE_COMPRESSED`='ON'
 PARTITION BY HASH (`id`)
PARTITIONS 4";

#[test]
fn a_definition_comes_apart() {
    let definition = Definition::parse(MARIADB).unwrap();
    let items: Vec<_> = definition.items.iter().map(|i| (i.kind, i.name.as_str())).collect();
    assert_eq!(
        items,
        [
            (ItemKind::Column, "id"),
            (ItemKind::Column, "e"),
            (ItemKind::Column, "g"),
            (ItemKind::Column, "z"),
            (ItemKind::Primary, "PRIMARY"),
            (ItemKind::Unique, "u,1"),
            (ItemKind::Index, "k"),
            (ItemKind::Fulltext, "f"),
            (ItemKind::ForeignKey, "fk"),
            (ItemKind::Check, "c"),
        ]
    );
    assert_eq!(definition.items[3].text, "`z` text /*M!100301 COMPRESSED*/ DEFAULT NULL");
    assert_eq!(definition.option("AUTO_INCREMENT"), Some("42"));
    assert_eq!(definition.option("COMMENT"), Some("x=1, PARTITION BY"));
    assert_eq!(definition.option("PAGE_COMPRESSED"), Some("ON"));
    assert_eq!(definition.partition.as_deref(), Some("PARTITION BY HASH (`id`)\nPARTITIONS 4"));
    assert_eq!(
        definition.foreign_keys().unwrap(),
        [ForeignKey {
            name: "fk".into(),
            columns: vec!["g".into(), "e".into()],
            parent_database: Some("other db".into()),
            parent_table: "p".into(),
            parent_columns: vec!["x".into(), "y".into()],
            on_delete: Action::SetNull,
            on_update: Action::Refuse,
        }]
    );
}

#[test]
fn options_and_partitions_in_comments_are_read() {
    let definition = Definition::parse(
        "CREATE TABLE `t` (\n  `a` int NOT NULL /*!80023 INVISIBLE */\n) /*!50100 TABLESPACE `ts` */ ENGINE=InnoDB \
         DEFAULT CHARSET=utf8 DATA DIRECTORY='/x' /*!80016 ENCRYPTION='Y' */ UNION=(`a`,`b`) WITH SYSTEM VERSIONING\n\
         /*!50100 PARTITION BY RANGE (a)\n(PARTITION p0 VALUES LESS THAN (1) ENGINE = InnoDB) */",
    )
    .unwrap();
    let options: Vec<_> =
        definition.options.iter().map(|o| (o.name.as_str(), o.value.as_str())).collect();
    assert_eq!(
        options,
        [
            ("TABLESPACE", "ts"),
            ("ENGINE", "InnoDB"),
            ("DEFAULT CHARSET", "utf8"),
            ("DATA DIRECTORY", "/x"),
            ("ENCRYPTION", "Y"),
            ("UNION", "(`a`,`b`)"),
            ("WITH SYSTEM VERSIONING", ""),
        ]
    );
    assert_eq!(definition.options[4].text, "/*!80016 ENCRYPTION='Y' */");
    assert!(definition.partition.unwrap().starts_with("/*!50100 PARTITION BY RANGE"));
}

#[test]
fn what_is_not_understood_is_an_error() {
    for text in [
        "",
        "CREATE VIEW `v` AS select 1",
        "CREATE TABLE `t` (",
        "CREATE TABLE `t` (\n  `a` int",
        "CREATE TABLE `t` (\n  VECTOR KEY `v` (`a`)\n) ENGINE=InnoDB",
        "CREATE TABLE `t` (\n  `a` varchar(3) DEFAULT 'x\n) ENGINE=InnoDB",
        "CREATE TABLE `t` (\n  `a` int\n) ENGINE=",
        "CREATE TABLE `t` (\n  `a` int\n) , ENGINE=InnoDB",
        "CREATE TABLE `t` (\n  `a` int /* hm */\n) ENGINE=InnoDB",
    ] {
        assert!(Definition::parse(text).is_err(), "{text}");
    }
}

#[test]
fn labels_are_unescaped() {
    assert_eq!(split_strings(r"('a','it''s','x\\y','ü')"), ["a", "it's", r"x\y", "ü"]);
}

#[test]
fn a_key_that_admits_no_overlapping_periods_is_told_by_its_words() {
    for (key, expected) in [
        ("PRIMARY KEY (`id`,`p` WITHOUT OVERLAPS)", true),
        ("UNIQUE KEY `u` (`id`,`p` WITHOUT OVERLAPS)", true),
        ("UNIQUE KEY `WITHOUT OVERLAPS` (`id`)", false),
        ("UNIQUE KEY `u` (`id`) COMMENT 'WITHOUT OVERLAPS'", false),
        ("PRIMARY KEY (`id`)", false),
    ] {
        let text =
            format!("CREATE TABLE `t` (\n  `id` int,\n  PERIOD FOR `p` (`a`, `b`),\n  {key}\n)");
        let definition = Definition::parse(&text).unwrap();
        assert_eq!(definition.has_key_without_overlaps().unwrap(), expected, "{key}");
    }
}
