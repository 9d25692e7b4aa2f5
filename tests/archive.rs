//! Tables as Parquet files: every type there and back, a table against its archive, all differences as a file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use parquet::file::reader::{FileReader, SerializedFileReader};
use shunt_vdiff::archive::compare;
use shunt_vdiff::archive::create::{self, Created};
use shunt_vdiff::archive::file::archive_path;
use shunt_vdiff::archive::findings::Reporter;
use shunt_vdiff::report::{RowSample, TableRecord};
use shunt_vdiff::spec::Spec;
use shunt_vdiff::table::Progress;
use tokio::sync::watch;

use crate::harness::binary::Binary;
use crate::harness::load::Load;
use crate::harness::pair::{Pair, mysql56};
use crate::harness::site::Site;

/// Every family of types, with the values at their edges.
const CREATE: &str = "CREATE TABLE t (id INT UNSIGNED NOT NULL PRIMARY KEY, i1 TINYINT, i2 SMALLINT UNSIGNED, i3 MEDIUMINT, \
     i4 INT UNSIGNED ZEROFILL, i8 BIGINT, u8 BIGINT UNSIGNED, f FLOAT, d DOUBLE, m DECIMAL(10,4), n DECIMAL(38,10), \
     w DECIMAL(65,30), day DATE, moment DATETIME(6), stamp TIMESTAMP(3) NULL, span TIME(6), y YEAR, bits BIT(64), \
     e ENUM('z','é','b,c'), e0 ENUM('a',''), s SET('a','b','ö'), j JSON, b BLOB, vb VARBINARY(20), fixed BINARY(4), \
     c CHAR(10), l VARCHAR(20) CHARACTER SET latin1, g VARCHAR(20) CHARACTER SET gbk, x TEXT CHARACTER SET utf16, \
     p POINT, u UUID, a4 INET4, a6 INET6, v BIGINT AS (id + 1) VIRTUAL, day__text VARCHAR(9), \
     vc VARCHAR(200) CHARACTER SET latin1 COMPRESSED, bc BLOB COMPRESSED) CHARACTER SET utf8mb4";

const COLUMNS: &str = "id, i1, i2, i3, i4, i8, u8, f, d, m, n, w, day, moment, stamp, span, y, bits, e, e0, s, j, b, vb, fixed, \
     c, l, g, x, p, u, a4, a6, day__text, vc, bc";

const ROWS: [&str; 4] = [
    "(1, -128, 65535, -8388608, 7, -9223372036854775808, 18446744073709551615, 16777216, 0.1, -999999.9999, \
     9999999999999999999999999999.9999999999, 99999999999999999999999999999999999.999999999999999999999999999999, \
     '2020-02-29', '9999-12-31 23:59:59.999999', '2020-01-01 00:00:00.001', '-838:59:59.999999', 2155, \
     18446744073709551615, 'é', '', 'a,b,ö', '{\"a\": 1}', x'00ff', x'', x'01', 'a', 'ä', _gbk x'b0a1', '😀', \
     PointFromText('POINT(1 2)', 4326), '123e4567-e89b-12d3-a456-426655440000', '10.0.0.1', '2001:db8::1', NULL, \
     REPEAT('ä', 200), REPEAT(x'00ff', 30000))",
    "(2, 127, 0, 8388607, 4294967295, 9223372036854775807, 0, -3.4028234663852886e38, 5e-324, 0.0001, -0.0000000001, \
     -0.000000000000000000000000000001, '0000-00-00', '0000-00-00 00:00:00', '0000-00-00 00:00:00', '838:59:59', 0, 0, 'b,c', \
     'a', '', '[]', '', x'000000', x'00', '', '', '', '', PointFromText('POINT(-0.1 0)'), \
     '00000000-0000-0000-0000-000000000000', '255.255.255.255', '::', 'x', '', '')",
    "(4294967295, 0, 1, 0, 0, 0, 9223372036854775808, 1e-45, 1.7976931348623157e308, 0, 0, 0, '2021-02-30', \
     '2020-00-01 12:00:00.5', '2038-01-19 03:14:07.999', '00:00:00.000001', 1901, 1, NULL, NULL, NULL, NULL, \
     REPEAT(x'5c000a', 21845), x'5c', x'ffffffff', ' x', 'a ', 'a', ' ', NULL, NULL, NULL, '::1', '', 'a ', x'80')",
    "(3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, \
     NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
];

/// What shows that a column is compared: each makes row 1 another one.
const CHANGES: &[&str] = &[
    "i1 = -127",
    "i2 = 65534",
    "i3 = NULL",
    "i4 = 8",
    "i8 = i8 + 1",
    "u8 = u8 - 1",
    "f = 16777218",
    "d = 0.10000000000000002",
    "m = -999999.9998",
    "n = -n",
    "w = w - 0.000000000000000000000000000001",
    "day = '0000-00-00'",
    "day = '2020-02-30'",
    "moment = '9999-12-31 23:59:59.999998'",
    "stamp = '2020-01-01 00:00:00.002'",
    "span = '-838:59:59.999998'",
    "y = 0",
    "bits = bits - 1",
    "e = 'z'",
    "e0 = 'a'",
    "s = 'a,b'",
    "j = '{\"a\":1}'",
    "b = x'00fe'",
    "vb = NULL",
    "fixed = x'02'",
    "c = 'A'",
    "l = 'a'",
    "l = 'ä '",
    "g = 'a'",
    "x = '😁'",
    "p = PointFromText('POINT(1 2)', 3857)",
    "u = '123e4567-e89b-12d3-a456-426655440001'",
    "a4 = '10.0.0.2'",
    "a6 = '2001:db8::2'",
    "day__text = ''",
    "vc = REPEAT('ä', 199)",
    "bc = REPEAT(x'00fe', 30000)",
];

const LENIENT: &str = "SET SESSION sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'";

async fn archive(pair: &Pair, table: &str, folder: &Path) -> Created {
    let job = create::Job {
        server: pair.source_config(),
        database: "commerce".into(),
        table: table.into(),
        folder: folder.into(),
    };
    Box::pin(create::run(&job, &watch::channel(Progress::default()).0)).await.unwrap()
}

async fn compared(pair: &Pair, table: &str, folder: &Path, report: Option<&Path>) -> TableRecord {
    let spec = Spec { sample_rows: 100_000, report: report.is_some(), ..Spec::default() };
    let job = compare::Job {
        server: pair.source_config(),
        database: "commerce".into(),
        folder: folder.into(),
        spec,
    };
    let mut record = TableRecord::new(table, table);
    let mut reporter = report.map_or_else(Reporter::none, |path| Reporter::new(path, false));
    let progress = watch::channel(Progress::default()).0;
    Box::pin(compare::run(&job, &mut record, &mut reporter, &progress)).await.unwrap();
    record
}

fn counts(record: &TableRecord) -> [u64; 4] {
    [record.matching, record.mismatched, record.extra_source, record.extra_target]
}

/// The rows of a file, as text, by a reader that is not ours.
fn read(path: &Path) -> Vec<String> {
    let reader = SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap();
    reader.get_row_iter(None).unwrap().map(|row| row.unwrap().to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_every_type_is_like_its_archive_until_it_changes() {
    let pair = Pair::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut source = pair.on_source().await;
    for statement in [LENIENT, CREATE] {
        source.execute(statement).await.unwrap();
    }
    for row in ROWS {
        source.execute(format!("INSERT INTO t ({COLUMNS}) VALUES {row}")).await.unwrap();
    }
    let created = archive(&pair, "t", folder.path()).await;
    assert_eq!(created.rows, 4);
    let file = SerializedFileReader::new(std::fs::File::open(&created.path).unwrap()).unwrap();
    let pairs = file.metadata().file_metadata().key_value_metadata().unwrap();
    let said =
        |key: &str| pairs.iter().find(|pair| pair.key == key).unwrap().value.clone().unwrap();
    assert_eq!(said("shunt.gtid"), created.meta.gtid);
    assert!(said("shunt.gtid").starts_with("0-"), "{}", said("shunt.gtid"));
    assert!(said("shunt.create_table").starts_with("CREATE TABLE `t`"));
    let rows = read(&created.path);
    assert!(
        rows[1].contains("day: null,") && rows[1].contains("day__text_: \"0000-00-00\""),
        "{}",
        rows[1]
    );
    for held in [
        "e: \"é\"",
        "l: \"ä\"",
        "g: \"啊\"",
        "x: \"😀\"",
        "a6: \"2001:db8::1\"",
        "span: -3020399999999",
    ] {
        assert!(rows[0].contains(held), "{held} is not in {}", rows[0]);
    }
    let same = compared(&pair, "t", folder.path(), None).await;
    assert_eq!(counts(&same), [4, 0, 0, 0], "{same:?}");
    for change in CHANGES {
        source.execute("BEGIN").await.unwrap();
        source.execute("DELETE FROM t WHERE id = 1").await.unwrap();
        source.execute(format!("INSERT INTO t ({COLUMNS}) VALUES {}", ROWS[0])).await.unwrap();
        source.execute(format!("UPDATE t SET {change} WHERE id = 1")).await.unwrap();
        source.execute("COMMIT").await.unwrap();
        let record = compared(&pair, "t", folder.path(), None).await;
        assert_eq!(counts(&record), [3, 1, 0, 0], "{change}: {record:?}");
        assert_ne!(record.from, record.to);
    }
}

fn ids(rows: &[RowSample]) -> BTreeSet<String> {
    rows.iter().map(|row| row.row["k"].as_str().unwrap().to_owned()).collect()
}

/// Several row groups; keys whose order is known here, keys in a collation, no key.
#[tokio::test(flavor = "multi_thread")]
async fn exactly_what_changed_is_found_in_tables_of_several_row_groups() {
    let pair = Pair::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut source = pair.on_source().await;
    for (table, key) in [
        ("exact", "k BIGINT PRIMARY KEY"),
        ("collated", "k VARCHAR(20) COLLATE utf8mb4_general_ci PRIMARY KEY"),
        ("keyless", "k BIGINT"),
    ] {
        source.execute(format!("CREATE TABLE {table} ({key}, v VARCHAR(40))")).await.unwrap();
        let fill = format!("INSERT INTO {table} SELECT seq * 2, MD5(seq) FROM seq_1_to_120000");
        source.execute(fill).await.unwrap();
        archive(&pair, table, folder.path()).await;
        let same = compared(&pair, table, folder.path(), None).await;
        assert_eq!(counts(&same), [120_000, 0, 0, 0], "{table}");
        for change in [
            format!("DELETE FROM {table} WHERE k = 60000"),
            format!("INSERT INTO {table} VALUES (7, 'new'), (130001, 'new'), (900000, 'new')"),
            format!("UPDATE {table} SET v = UPPER(v) WHERE k IN (2, 199998, 240000)"),
        ] {
            source.execute(change).await.unwrap();
        }
        let report = folder.path().join("report.parquet");
        let record = compared(&pair, table, folder.path(), Some(&report)).await;
        let expected = if table == "keyless" { [119_996, 0, 6, 4] } else { [119_996, 3, 3, 1] };
        assert_eq!(counts(&record), expected, "{table}");
        let new = ["7", "130001", "900000"].map(str::to_owned);
        assert!(ids(&record.extra_source_sample).is_superset(&new.into()), "{table}");
        assert!(ids(&record.extra_target_sample).contains("60000"), "{table}");
        let rows = read(&report);
        let all: u64 = expected[1..].iter().sum();
        assert_eq!(u64::try_from(rows.len()).unwrap(), all, "{table}");
        let both = rows.iter().filter(|row| row.contains("difference: \"mismatch\"")).count();
        assert_eq!(u64::try_from(both).unwrap(), expected[1], "{rows:?}");
    }
    // The order of the keys is another one than that of the archive.
    source.execute("DROP TABLE collated").await.unwrap();
    let create =
        "CREATE TABLE collated (k VARCHAR(20) COLLATE utf8mb4_bin PRIMARY KEY, v VARCHAR(40))";
    source.execute(create).await.unwrap();
    let fill =
        "INSERT INTO collated SELECT CONCAT(IF(seq % 2, 'a', 'B'), seq), seq FROM seq_1_to_120000";
    source.execute(fill).await.unwrap();
    std::fs::remove_file(archive_path(folder.path(), "collated")).unwrap();
    archive(&pair, "collated", folder.path()).await;
    let alter = "ALTER TABLE collated MODIFY k VARCHAR(20) COLLATE utf8mb4_general_ci";
    source.execute(alter).await.unwrap();
    source.execute("UPDATE collated SET v = 'x' WHERE k = 'a119999'").await.unwrap();
    source.execute("UPDATE collated SET k = 'A1' WHERE k = 'a1'").await.unwrap();
    let record = compared(&pair, "collated", folder.path(), None).await;
    assert_eq!(counts(&record), [119_998, 1, 1, 1]);
}

/// All rows are of the position that the archive names.
#[tokio::test(flavor = "multi_thread")]
async fn an_archive_of_a_table_that_is_written_is_of_one_position() {
    let pair = Pair::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut source = pair.on_source().await;
    source.execute("CREATE TABLE t (id INT PRIMARY KEY, n BIGINT NOT NULL)").await.unwrap();
    source.execute("INSERT INTO t SELECT seq, 0 FROM seq_1_to_60000").await.unwrap();
    // What one takes the other gives: the sum is 0 at each position, and each transaction is one GTID.
    let load = Load::start(&pair.source_config(), "commerce", 2, |random| {
        let (a, b) = (1 + random.below(60_000), 1 + random.below(60_000));
        vec![format!(
            "UPDATE t SET n = n + IF(id = {a}, 1, 0) - IF(id = {b}, 1, 0) WHERE id IN ({a}, {b})"
        )]
    });
    let created = archive(&pair, "t", folder.path()).await;
    let record = compared(&pair, "t", folder.path(), None).await;
    load.stop().await;
    assert_eq!(created.rows, 60_000);
    assert_eq!(record.from.as_deref(), Some(created.meta.gtid.as_str()));
    let reader = SerializedFileReader::new(std::fs::File::open(&created.path).unwrap()).unwrap();
    let sum: i64 = reader
        .get_row_iter(None)
        .unwrap()
        .map(|row| parquet::record::RowAccessor::get_long(&row.unwrap(), 1).unwrap())
        .sum();
    assert_eq!(sum, 0);
}

/// Where nobody can say of which position rows are, no archive claims one.
#[tokio::test(flavor = "multi_thread")]
async fn an_archive_without_a_position_is_refused() {
    let pair = Pair::with(Some(mysql56()), None, &[("gtid_mode", "OFF")], &[]).await;
    let site = Site::new(&pair, "").await;
    let table = "CREATE TABLE t (id INT PRIMARY KEY, v INT)";
    let rows = "INSERT INTO t VALUES (1, 1), (2, 2)";
    let mut source = site.on_source().await;
    source.execute(format!("{table} ENGINE=InnoDB")).await.unwrap();
    source.execute(rows).await.unwrap();
    let said = site.run(Binary::Plain, None, "archive create commerce t --to arch").await;
    assert_ne!(said.code, Some(0), "{}", said.text);
    assert!(said.text.contains("gtid_mode is OFF"), "{}", said.text);
    let mut target = site.on_target().await;
    target.execute(format!("{table} ENGINE=MyISAM")).await.unwrap();
    target.execute(rows).await.unwrap();
    let said = site.run(Binary::Plain, None, "archive create customer t --to arch").await;
    assert_eq!(said.code, Some(2), "{}", said.text);
    assert!(said.text.contains("MyISAM") && said.text.contains("ENGINE=InnoDB"), "{}", said.text);
    assert!(!site.dir().join("arch/t.parquet").exists());
    // Compared with an archive, such tables have no position either.
    target.execute("ALTER TABLE t ENGINE=InnoDB").await.unwrap();
    site.must("archive create customer t --to arch").await;
    target.execute("ALTER TABLE t ENGINE=MyISAM").await.unwrap();
    for keyspace in ["commerce", "customer"] {
        let run = format!(
            "vdiff run --source {keyspace} --target parquet:arch --tables t --format json --verbose"
        );
        let said = site.must(&run).await;
        assert!(said.contains("a position that is not known"), "{keyspace}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_archive_compare_and_report() {
    let pair = Pair::start().await;
    let site = Site::new(&pair, "").await;
    for control in [&mut site.on_source().await, &mut site.on_target().await] {
        control
            .execute("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20), d DATE)")
            .await
            .unwrap();
        control
            .execute("INSERT INTO t SELECT seq, seq, '2020-01-01' FROM seq_1_to_500")
            .await
            .unwrap();
    }
    let said = site.must("archive create commerce t --to arch").await;
    assert!(said.contains("500 rows of commerce.t at 0-"), "{said}");
    let said = site.run(Binary::Plain, None, "archive create commerce t --to arch").await;
    assert_eq!(said.code, Some(2), "an archive is not written over: {}", said.text);
    let said = site.run(Binary::Plain, None, "archive create commerce none --to arch").await;
    assert_eq!(said.code, Some(2), "{}", said.text);
    let run = "vdiff run --source commerce --target parquet:arch --tables t";
    let said = site.must(&format!("{run} --format json --verbose")).await;
    assert!(said.contains("the archive is of `commerce`.`t` at 0-"), "{said}");
    site.on_source().await.execute("UPDATE t SET v = 'x' WHERE id = 77").await.unwrap();
    let said = site.run(Binary::Plain, None, &format!("{run} --format json --verbose")).await;
    assert_eq!(said.code, Some(3), "{}", said.text);
    assert!(said.text.contains("\"id\": \"77\""), "{}", said.text);
    for refused in ["--repair", "--where id>1", "--strength fast", "--emit-sql x.sql"] {
        let said = site.run(Binary::Plain, None, &format!("{run} {refused}")).await;
        assert_eq!(said.code, Some(2), "{refused}: {}", said.text);
    }
    // Two servers, with a report: every differing row, not only samples.
    let change = "UPDATE t SET v = NULL WHERE id > 100 AND id <= 150";
    site.on_target().await.execute(change).await.unwrap();
    site.on_target().await.execute("DELETE FROM t WHERE id = 1").await.unwrap();
    let run = "vdiff run --source commerce --target customer --tables t --state s.json --report out.parquet";
    let said = site.run(Binary::Plain, None, run).await;
    assert_eq!(said.code, Some(3), "{}", said.text);
    let rows = read(&site.dir().join("out.parquet"));
    assert_eq!(rows.len(), 52);
    let row = rows.iter().find(|row| row.contains("key_id: 101")).unwrap();
    for held in
        ["difference: \"mismatch\"", "source_v: \"101\"", "target_v: null", "source_d: 2020-01-01"]
    {
        assert!(row.contains(held), "{held} is not in {row}");
    }
    // A file that is not whole is no archive.
    let path: PathBuf = site.dir().join("arch/t.parquet");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 9]).unwrap();
    let run = "vdiff run --source commerce --target parquet:arch --tables t";
    let said = site.run(Binary::Plain, None, run).await;
    assert_eq!(said.code, Some(2), "{}", said.text);
}
