//! What DDL does, and as what it is run, as data.

use bytes::Bytes;

use super::*;
use crate::mysql::binlog::event::SessionVariables;
use crate::mysql::server::Flavor;

fn statement(sql: &str) -> DdlStatement {
    let variables =
        SessionVariables { sql_mode: Some(0), charsets: Some([45, 45, 8]), ..Default::default() };
    let query = QueryEvent {
        database: Bytes::from_static(b"commerce"),
        sql: Bytes::copy_from_slice(sql.as_bytes()),
        error_code: 0,
        thread_id: 1,
        variables,
        flavor: Flavor::MariaDb,
    };
    DdlStatement { query, time: 1_600_000_000 }
}

fn known() -> Known {
    Known {
        identity: Some("uniq".into()),
        loose: vec!["k".into()],
        kinship: Kinship::Version,
        ..Known::default()
    }
}

#[test]
fn a_time_zone_is_kept_if_it_is_the_same_everywhere() {
    let modify = "ALTER TABLE t MODIFY v TIMESTAMP NULL";
    for (zone, run_in) in [
        (None, Some("+00:00")),
        (Some("-05:00"), Some("-05:00")),
        (Some("+5:30"), Some("+5:30")),
        (Some("SYSTEM"), None),
        (Some("Europe/Berlin"), None),
    ] {
        let zoned = |sql| {
            let mut zoned = statement(sql);
            zoned.query.variables.time_zone = zone.map(|zone| Bytes::from_static(zone.as_bytes()));
            zoned
        };
        let modified = zoned(modify);
        let ran = modified.for_target(&known(), "commerce", "customer").is_ok();
        assert_eq!(ran, run_in.is_some(), "{zone:?}");
        if let Some(zone) = run_in {
            assert!(modified.settings().contains(&format!("time_zone='{zone}'")));
        }
        let add = zoned("ALTER TABLE t ADD n INT");
        assert!(add.for_target(&known(), "commerce", "customer").is_ok());
    }
}

#[test]
fn a_statement_is_run_with_its_sessions_settings() {
    let mut statement = statement("ALTER TABLE t MODIFY d TIMESTAMP NOT NULL");
    statement.query.variables.numbering = Some([10, 3]);
    statement.query.variables.microseconds = 42;
    assert_eq!(
        statement.settings(),
        "time_zone='+00:00', auto_increment_increment=10, auto_increment_offset=3, sql_mode=0"
    );
}

#[test]
fn a_unique_key_is_not_passed_over_where_rows_would_replace_each_other() {
    let none = Known::default();
    let plain = Known { identity: Some("PRIMARY".into()), ..known() };
    let primary = Known { spare_unique: true, ..plain.clone() };
    for (sql, known, effect) in [
        ("ALTER TABLE t DROP KEY u", &primary, Effect::Reshapes),
        ("ALTER TABLE t RENAME KEY k TO z, RENAME KEY u TO k", &primary, Effect::Reshapes),
        ("ALTER TABLE t DROP CONSTRAINT u", &primary, Effect::Reshapes),
        ("DROP INDEX u ON t", &primary, Effect::Reshapes),
        ("CREATE OR REPLACE INDEX u ON t (v)", &primary, Effect::Reshapes),
        ("ALTER TABLE t DROP KEY u", &plain, Effect::Keeps),
        ("ALTER TABLE t DROP KEY k", &none, Effect::Keeps),
        ("ALTER TABLE t DROP KEY k", &primary, Effect::Keeps),
        ("ALTER TABLE t ADD UNIQUE u (v)", &primary, Effect::Keeps),
        ("ALTER TABLE t ADD UNIQUE u (v)", &none, Effect::Reshapes),
        ("CREATE UNIQUE INDEX u ON t (v)", &known(), Effect::Reshapes),
    ] {
        assert_eq!(statement(sql).effect(known), effect, "{sql}");
    }
}

#[test]
fn what_keeps_the_rows_is_told_from_what_does_not() {
    use Effect::{Keeps, Reshapes};
    for (sql, effect) in [
        ("ALTER TABLE t ADD KEY k (v), COMMENT = 'drop, rename'", Keeps),
        ("ALTER TABLE t ADD CONSTRAINT UNIQUE u (a, b), ALGORITHM=INPLACE", Reshapes),
        ("ALTER TABLE a.t ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES b (c)", Keeps),
        ("ALTER TABLE t ADD CONSTRAINT p PRIMARY KEY (a)", Reshapes),
        ("ALTER TABLE t ADD PRIMARY KEY (a)", Reshapes),
        ("ALTER TABLE t ADD CONSTRAINT PRIMARY KEY (a)", Reshapes),
        ("ALTER TABLE t UNION=(a) ENGINE MyISAM", Effect::OTHER_ENGINE),
        ("ALTER TABLE t ADD `key` INT", Reshapes),
        ("ALTER TABLE t ADD a INT COMMENT 'x'", Reshapes),
        ("ALTER TABLE t ADD (a INT, b INT)", Reshapes),
        ("ALTER TABLE t DROP KEY k, DROP FOREIGN KEY f", Keeps),
        ("ALTER TABLE t DROP KEY uniq", Reshapes),
        ("ALTER TABLE t DROP k", Reshapes),
        ("ALTER TABLE t MODIFY a INT AFTER b", Reshapes),
        ("ALTER TABLE t ALTER a SET DEFAULT 5, RENAME INDEX a TO b", Keeps),
        ("ALTER TABLE t RENAME COLUMN a TO b", Reshapes),
        ("ALTER TABLE t ADD KEY (a), RENAME TO b", Effect::REMOVES),
        ("ALTER TABLE t COMMENT 'x' ENGINE=MyISAM", Effect::OTHER_ENGINE),
        ("ALTER TABLE t ENGINE = InnoDB", Keeps),
        ("ALTER TABLE t ENGINE aria", Effect::OTHER_ENGINE),
        ("ALTER TABLE t ADD KEY (a), engine=`Aria` TRANSACTIONAL=1", Effect::OTHER_ENGINE),
        ("ALTER TABLE t ADD engine INT, MODIFY COLUMN engine INT AFTER engine", Reshapes),
        ("ALTER TABLE pp EXCHANGE PARTITION p0 WITH TABLE t", Effect::REMOVES),
        ("ALTER TABLE pp CONVERT TABLE t TO PARTITION p0", Effect::REMOVES),
        ("ALTER TABLE pp CONVERT PARTITION p0 TO TABLE t", Effect::REMOVES),
        ("ALTER IGNORE TABLE t ADD UNIQUE (v)", Effect::DEDUPLICATES),
        ("alter online ignore table t ADD UNIQUE (v)", Effect::DEDUPLICATES),
        (
            "ALTER TABLE t ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES b (c) ON DELETE CASCADE",
            Effect::CASCADES,
        ),
        ("ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES b (c) on update set null", Effect::CASCADES),
        (
            "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES b (c) ON DELETE SET DEFAULT",
            Effect::CASCADES,
        ),
        ("ALTER TABLE t ADD COLUMN p INT REFERENCES b (c) ON DELETE CASCADE", Effect::CASCADES),
        ("ALTER TABLE t ADD (p INT REFERENCES b (c) ON UPDATE CASCADE)", Effect::CASCADES),
        ("ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES b (c) ON DELETE NO ACTION", Keeps),
        ("ALTER TABLE t ADD d DATETIME ON UPDATE CURRENT_TIMESTAMP", Reshapes),
        ("ALTER TABLE t ADD SYSTEM VERSIONING", Effect::VERSIONS),
        ("ALTER TABLE t ADD PERIOD FOR p (a, b)", Effect::VERSIONS),
        ("ALTER TABLE t TRUNCATE PARTITION p", Effect::REMOVES),
        ("ALTER TABLE t DROP PARTITION p", Effect::REMOVES),
        ("ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4", Reshapes),
        ("ALTER TABLE t DEFAULT CHARSET utf8mb4", Reshapes),
        ("ALTER TABLE t COMMENT 'x' CHARACTER SET=latin1", Reshapes),
        ("ALTER TABLE t ADD KEY (a), COLLATE latin1_bin", Reshapes),
        ("ALTER TABLE t ADD CHECK (a COLLATE latin1_bin > 'x')", Keeps),
        ("ALTER TABLE t FROBNICATE", Reshapes),
        ("ALTER ONLINE TABLE t WAIT 5 FORCE", Keeps),
        ("CREATE UNIQUE INDEX i ON t (a)", Reshapes),
        ("CREATE OR REPLACE INDEX uniq ON t (a)", Reshapes),
        ("DROP INDEX IF EXISTS i ON t", Keeps),
        ("DROP INDEX uniq ON t", Reshapes),
        ("DROP TABLE t", Effect::REMOVES),
        ("CREATE OR REPLACE TABLE t (a INT)", Effect::REMOVES),
        ("RENAME TABLE t TO u", Effect::REMOVES),
    ] {
        assert_eq!(statement(sql).effect(&known()), effect, "{sql}");
    }
}

#[test]
fn qualifiers_are_replaced_in_place() {
    let run = |sql: &str| statement(sql).for_target(&known(), "commerce", "custo`mer");
    assert_eq!(
        run("ALTER TABLE `Commerce` . t ADD d DECIMAL(5,2) DEFAULT 1.5, COMMENT 'commerce.t'")
            .unwrap(),
        "ALTER TABLE `custo``mer` . t ADD d DECIMAL(5,2) DEFAULT 1.5, COMMENT 'commerce.t'"
    );
    for same in [
        "ALTER TABLE t ADD KEY (a)",
        "ALTER TABLE t ADD d DECIMAL(5,2) DEFAULT .5",
        "ALTER TABLE t ADD CHECK (t.v >= 0)",
    ] {
        assert_eq!(run(same).unwrap(), same);
    }
    for refused in [
        "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES billing.b (c)",
        "ALTER TABLE t ADD a DATETIME DEFAULT NOW()",
        "ALTER TABLE t ADD a INT AUTO_INCREMENT PRIMARY KEY",
        "ALTER TABLE t ADD a VARCHAR(99) DEFAULT user()",
    ] {
        assert!(run(refused).is_err(), "{refused}");
    }
}
