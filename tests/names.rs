//! Names of tables where servers take two spellings for one.

use shunt_engine::preflight::Level;

use crate::harness::binary::Binary;
use crate::harness::pair::Pair;
use crate::harness::site::Site;

const FOLDS: &[(&str, &str)] = &[("lower_case_table_names", "1")];

/// What preflight says against moving these tables.
async fn errors(pair: &Pair, tables: &[&str]) -> String {
    let findings = pair.findings(tables).await;
    let errors = findings.iter().filter(|finding| finding.level == Level::Error);
    errors.map(|finding| format!("{}: {}\n", finding.id, finding.reason)).collect()
}

/// The target's own table is under the name that the moved one would get there; two moved ones would be one.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_folds_names() {
    let pair = Pair::with(None, None, &[], FOLDS).await;
    let mut source = pair.on_source().await;
    for name in ["Customer", "AA", "aa", "plain"] {
        source.execute(format!("CREATE TABLE {name} (id INT PRIMARY KEY)")).await.unwrap();
    }
    let mut target = pair.on_target().await;
    target.execute("CREATE TABLE customer (id INT PRIMARY KEY)").await.unwrap();
    target.execute("INSERT INTO customer VALUES (1)").await.unwrap();

    let said = errors(&pair, &["Customer"]).await;
    assert!(said.contains("would store the table as customer"), "{said}");
    assert!(said.contains("target_tables: The table exists on the target"), "{said}");
    let said = errors(&pair, &["aa", "AA"]).await;
    assert!(
        said.contains("aa and AA are two tables on the source and one on the target"),
        "{said}"
    );
    assert_eq!(errors(&pair, &["aa", "plain"]).await, "");
}

/// All goes by the server's spelling, whatever was typed.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_typed_in_another_case() {
    let pair = Pair::with(None, None, FOLDS, FOLDS).await;
    let site = Site::new(&pair, "").await;
    let mut source = site.on_source().await;
    source.execute("CREATE TABLE Orders (id INT PRIMARY KEY)").await.unwrap();
    source.execute("INSERT INTO orders VALUES (1), (2)").await.unwrap();
    let said = site.must(&site.create("Orders,ORDERS", "chunk_rows_max=2000")).await;
    assert!(said.contains("from commerce to customer: orders\n"), "{said}");
    let rules = site.must("routing-rules get").await;
    assert!(rules.contains("commerce.orders") && !rules.contains("Orders"), "{rules}");
    let serving = site.serve(Binary::Plain, None);
    site.wait("running").await;
    site.must_at_last("movetables switchtraffic customer.move --no-gateway").await;
    site.must_at_last("movetables complete customer.move").await;
    let tables = source.rows("SHOW TABLES").await.unwrap();
    let tables: Vec<String> = tables.iter().map(|row| row.must(0).unwrap()).collect();
    assert!(tables.len() == 1 && tables[0].starts_with("_orders_"), "{tables:?}");
    assert_eq!(site.must("routing-rules get").await.matches("orders").count(), 0);
    serving.stop().await;
}

/// Complete does not say that it has renamed what it has not found.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_gone_when_the_move_is_completed() {
    let pair = Pair::start().await;
    let site = Site::new(&pair, "").await;
    let mut source = site.on_source().await;
    source.execute("CREATE TABLE t (id INT PRIMARY KEY)").await.unwrap();
    site.must(&site.create("t", "chunk_rows_max=2000")).await;
    let serving = site.serve(Binary::Plain, None);
    site.wait("running").await;
    site.must_at_last("movetables switchtraffic customer.move --no-gateway").await;
    source.execute("SET sql_log_bin=0").await.unwrap();
    source.execute("RENAME TABLE t TO elsewhere").await.unwrap();
    let complete = "movetables complete customer.move";
    for words in [complete.to_owned(), format!("{complete} --drop-tables")] {
        let said = site.run(Binary::Plain, None, &words).await;
        assert_eq!(said.code, Some(1), "{}", said.text);
        let says = "t is on the source neither under its name nor under that which it is to get";
        assert!(said.text.contains(says), "{}", said.text);
    }
    source.execute("RENAME TABLE elsewhere TO t").await.unwrap();
    site.must_at_last(&format!("{complete} --drop-tables")).await;
    assert_eq!(source.rows("SHOW TABLES").await.unwrap(), []);
    serving.stop().await;
}
