//! Names of tables where servers take two spellings for one.

use shunt_engine::preflight::Level;

use crate::harness::pair::Pair;

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
