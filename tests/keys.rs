//! Keys that are built after the copy: none is missing, whatever somebody else has done meanwhile, and whoever built a part of them.

use shunt_engine::preflight::Level;
use shunt_engine::workflow::spec::Tuning;
use shunt_engine::workflow::verbs::{self, WaitFor};

use crate::harness::compare::{assert_equal, assert_equal_hex};
use crate::harness::pair::{Move, Pair, WORKFLOW, mysql56};

/// So many that keys are put off.
const ROWS: u64 = 60_000;

async fn run(pair: &Pair, statements: &[&str]) {
    let mut source = pair.on_source().await;
    for statement in statements {
        source.execute(*statement).await.unwrap();
    }
}

fn rows(columns: &str) -> String {
    format!("INSERT INTO t SELECT {columns} FROM seq_1_to_{ROWS}")
}

/// A workflow whose tables are made and whose stream does not run yet.
async fn made<'a>(pair: &'a Pair, tables: &[&str]) -> Move<'a> {
    pair.create(tables, Tuning::default()).await
}

/// The names of a table's keys on the target.
async fn keys(pair: &Pair, table: &str) -> Vec<String> {
    let query = format!(
        "SELECT DISTINCT index_name FROM information_schema.statistics \
         WHERE table_schema = 'customer' AND table_name = '{table}'"
    );
    let rows = pair.on_target().await.rows(query).await.unwrap();
    let mut names: Vec<String> = rows.iter().map(|row| row.must(0).unwrap()).collect();
    names.sort_unstable();
    names
}

async fn pending(pair: &Pair, table: &str) -> String {
    let query = format!("SELECT keys_sql FROM _shunt.table_plan WHERE table_name = '{table}'");
    pair.on_target().await.row(query).await.unwrap().unwrap().must(0).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_somebody_adds_does_not_stand_for_the_others() {
    let pair = Pair::start().await;
    let table = "CREATE TABLE t (id INT NOT NULL PRIMARY KEY, a INT, u INT, UNIQUE KEY uu (u), KEY ka (a), KEY kau (a, u))";
    run(&pair, &[table, &rows("seq, seq % 7, seq")]).await;
    let mut moved = made(&pair, &["t"]).await;
    assert_eq!(keys(&pair, "t").await, ["PRIMARY"], "the keys are put off");
    pair.on_target().await.execute("ALTER TABLE t ADD KEY ka (a)").await.unwrap();
    moved.run().await;
    moved.wait(WaitFor::Running).await.unwrap();
    assert_eq!(keys(&pair, "t").await, ["PRIMARY", "ka", "kau", "uu"]);
    moved.cancel().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_under_a_name_is_said_and_left_alone() {
    let pair = Pair::start().await;
    let table =
        "CREATE TABLE t (id INT NOT NULL PRIMARY KEY, a INT, u INT, UNIQUE KEY uu (u), KEY ka (a))";
    run(&pair, &[table, &rows("seq, seq % 7, seq")]).await;
    let mut moved = made(&pair, &["t"]).await;
    pair.on_target().await.execute("ALTER TABLE t ADD KEY uu (u)").await.unwrap();
    moved.run().await;
    let error = moved.ended().await.unwrap_err();
    assert!(error.to_string().contains("another `uu`"), "{error}");
    pair.on_target().await.execute("ALTER TABLE t DROP KEY uu").await.unwrap();
    moved.start().await;
    moved.wait(WaitFor::Running).await.unwrap();
    assert_eq!(keys(&pair, "t").await, ["PRIMARY", "ka", "uu"]);
    moved.cancel().await.unwrap();
}

/// As after a crash between the ALTER and its record: it also drops the key that stood in for AUTO_INCREMENT's.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_an_earlier_process_has_built_are_taken() {
    let pair = Pair::start().await;
    let table = "CREATE TABLE t (a BIGINT NOT NULL PRIMARY KEY, b BIGINT NOT NULL AUTO_INCREMENT, UNIQUE KEY (b))";
    run(&pair, &[table, &rows("seq, seq")]).await;
    let mut moved = made(&pair, &["t"]).await;
    assert_eq!(keys(&pair, "t").await, ["PRIMARY", "_shunt_auto_increment"]);
    let alter = pending(&pair, "t").await;
    pair.on_target().await.execute(alter).await.unwrap();
    moved.run().await;
    moved.wait(WaitFor::Running).await.unwrap();
    assert_eq!(keys(&pair, "t").await, ["PRIMARY", "b"]);
    moved.cancel().await.unwrap();
}

/// The name of a foreign key is one of the whole database. It may be taken when the workflow is created, and after that.
#[tokio::test(flavor = "multi_thread")]
async fn the_name_of_a_foreign_key_is_taken() {
    let pair = Pair::start().await;
    run(
        &pair,
        &[
            "CREATE TABLE p (id INT NOT NULL PRIMARY KEY)",
            "INSERT INTO p SELECT seq FROM seq_0_to_9",
            "CREATE TABLE t (id INT NOT NULL PRIMARY KEY, p INT NOT NULL, u INT, UNIQUE KEY uu (u), \
             CONSTRAINT fk FOREIGN KEY (p) REFERENCES p (id))",
            &rows("seq, seq % 10, seq"),
        ],
    )
    .await;
    let old = [
        "CREATE TABLE _p_old (id INT NOT NULL PRIMARY KEY)",
        "CREATE TABLE _t_old (id INT NOT NULL PRIMARY KEY, CONSTRAINT fk FOREIGN KEY (id) REFERENCES _p_old (id))",
    ];
    let mut target = pair.on_target().await;
    for statement in old {
        target.execute(statement).await.unwrap();
    }
    let refused = pair.create_with(&["p", "t"], Tuning::default(), |_| {}).await.err().unwrap();
    assert!(refused.contains("DROP FOREIGN KEY `fk`"), "{refused}");
    target.execute("DROP TABLE _t_old").await.unwrap();
    let mut moved = made(&pair, &["p", "t"]).await;
    target.execute(old[1]).await.unwrap();
    moved.run().await;
    let error = moved.ended().await.unwrap_err();
    assert!(
        error.advice_text().is_some_and(|advice| advice.contains("foreign key of this name")),
        "{error}"
    );
    target.execute("DROP TABLE _t_old").await.unwrap();
    verbs::start(&mut target, WORKFLOW).await.unwrap();
    moved.run().await;
    moved.wait(WaitFor::Running).await.unwrap();
    assert_eq!(keys(&pair, "t").await, ["PRIMARY", "fk", "uu"]);
    let foreign = "SELECT COUNT(*) FROM information_schema.referential_constraints \
                   WHERE constraint_schema = 'customer' AND constraint_name = 'fk'";
    let foreign: u64 = target.row(foreign).await.unwrap().unwrap().number(0).unwrap();
    assert_eq!(foreign, 1);
    moved.cancel().await.unwrap();
}

/// A primary key over first letters tells no rows apart: another key does, and values of the first may be on the target twice while it is
/// copied.
#[tokio::test(flavor = "multi_thread")]
async fn a_primary_key_over_first_letters_is_built_after_the_copy() {
    let pair = Pair::start().await;
    let table = "CREATE TABLE t (id INT NOT NULL, name VARCHAR(40) NOT NULL, v INT, PRIMARY KEY (name(10)), UNIQUE KEY id (id))";
    run(&pair, &[table, &rows("seq, CONCAT(seq, 'th row of many'), seq")]).await;
    let mut moved = made(&pair, &["t"]).await;
    assert_eq!(keys(&pair, "t").await, ["id"]);
    moved.run().await;
    let change = [
        "UPDATE t SET name = CONCAT('z', id) WHERE id < 100",
        "UPDATE t SET name = '1th row of' WHERE id = 50000",
    ];
    run(&pair, &change).await;
    moved.wait(WaitFor::Running).await.unwrap();
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    assert_eq!(keys(&pair, "t").await, ["PRIMARY", "id"]);
    assert_eq!(
        assert_equal(pair.source.primary(), pair.target.primary(), "t"),
        usize::try_from(ROWS).unwrap()
    );
    moved.cancel().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn full_text_keys_on_mysql() {
    let pair = Pair::with(None, Some(mysql56()), &[], &[]).await;
    let table = "CREATE TABLE t (id INT NOT NULL PRIMARY KEY, a TEXT, b TEXT, u INT, UNIQUE KEY u (u), \
                 FULLTEXT KEY fa (a), FULLTEXT KEY fb (b)) CHARACTER SET utf8mb4";
    run(&pair, &[table, &rows("seq, CONCAT('word ', seq), 'other', seq")]).await;
    let mut moved = made(&pair, &["t"]).await;
    moved.run().await;
    moved.wait(WaitFor::Running).await.unwrap();
    assert_eq!(keys(&pair, "t").await, ["PRIMARY", "fa", "fb", "u"]);
    let columns = ["id", "a", "b", "u"];
    assert_equal_hex(pair.source.primary(), pair.target.primary(), &columns, "t");
    moved.cancel().await.unwrap();
}

/// Deletes that lie far apart: each list is so short that the server looks for its rows, and does not read the table.
#[tokio::test(flavor = "multi_thread")]
async fn scattered_deletes_do_not_read_the_table() {
    let pair = Pair::start().await;
    run(&pair, &["CREATE TABLE t (id INT NOT NULL PRIMARY KEY, v INT)"]).await;
    run(&pair, &["INSERT INTO t SELECT seq, seq FROM seq_1_to_400000"]).await;
    let mut moved = made(&pair, &["t"]).await;
    moved.run().await;
    moved.wait(WaitFor::Running).await.unwrap();
    run(&pair, &["DELETE FROM t WHERE id % 3 = 0"]).await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    let read = "SELECT variable_value FROM information_schema.global_status \
                WHERE variable_name = 'HANDLER_READ_RND_NEXT'";
    let read: u64 = pair.on_target().await.row(read).await.unwrap().unwrap().number(0).unwrap();
    assert!(read < 100_000, "{read} rows were read one after the other");
    assert_equal(pair.source.primary(), pair.target.primary(), "t");
    moved.cancel().await.unwrap();
}

/// MySQL compares a SET with a number as a DOUBLE, which holds 53 members: more are refused, and so many are told apart.
#[tokio::test(flavor = "multi_thread")]
async fn sets_of_as_many_members_as_mysql_tells_apart() {
    let to = Pair::with(None, Some(mysql56()), &[], &[]).await;
    let from = Pair::with(Some(mysql56()), None, &[], &[]).await;
    for pair in [to, from] {
        for (name, members) in [("t", 53), ("refused", 54)] {
            let members: Vec<String> = (1..=members).map(|at| format!("'m{at}'")).collect();
            let members = members.join(",");
            let table =
                format!("CREATE TABLE {name} (s SET({members}) NOT NULL PRIMARY KEY, v INT)");
            run(&pair, &[&table]).await;
        }
        // The largest ones, of which a DOUBLE with a bit less would make half as many.
        let largest: Vec<String> =
            (1..=64).map(|less| format!("({} - {less}, 1)", 1_u64 << 53)).collect();
        run(&pair, &[&format!("INSERT INTO t VALUES {}", largest.join(","))]).await;
        let findings = pair.findings(&["refused"]).await;
        let said = findings.iter().find(|f| f.reason.contains("a SET of more than 53 members"));
        assert!(said.is_some_and(|finding| finding.level == Level::Error), "{findings:?}");

        let mut moved = made(&pair, &["t"]).await;
        moved.run().await;
        moved.wait(WaitFor::Running).await.unwrap();
        run(&pair, &["UPDATE t SET v = 2 WHERE s + 0 >= 9007199254740960"]).await;
        run(&pair, &["DELETE FROM t WHERE s + 0 = 9007199254740961"]).await;
        moved.wait(WaitFor::CaughtUp).await.unwrap();
        let rows = assert_equal_hex(pair.source.primary(), pair.target.primary(), &["s", "v"], "t");
        assert_eq!(rows, 63);
        moved.cancel().await.unwrap();
    }
}
