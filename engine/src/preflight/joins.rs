//! Statements that name moved and other tables together, as the performance schema has counted them since the server started.
//!
//! A digest is a statement's text without its values. All of its words are looked at, so a column with the name of a table makes
//! it count too.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{Finding, Level, Side};
use crate::changes::lexer;
use crate::error::Result;
use crate::limits::FINDINGS_SHOWN;
use crate::mysql::control::Control;
use crate::mysql::names::lowered;
use crate::mysql::schema::list_tables;

/// Characters of a digest that are shown.
const TEXT_MAX: usize = 160;

const ID: &str = "joins";
/// What begins with these touches no rows that a client asks for.
const DEFINES: [&str; 8] = ["CREATE", "ALTER", "DROP", "RENAME", "GRANT", "REVOKE", "SHOW", "LOCK"];

#[derive(Debug, Default)]
struct Together {
    statements: u64,
    executions: u64,
    example: String,
}

/// Looks through the digests of a server.
///
/// # Errors
/// Of the connection.
pub(crate) async fn look(
    control: &mut Control,
    side: Side,
    database: &str,
    tables: &[String],
) -> Result<Vec<Finding>> {
    let unseen = |subject: &str, why: String| {
        vec![Finding {
            id: ID,
            ..Finding::new(
                Level::NotChecked,
                side,
                subject,
                format!("{why}: which statements join moved tables with others cannot be seen."),
            )
        }]
    };
    let row = control.row("SELECT @@global.performance_schema").await?.unwrap_or_default();
    if row.must(0)? != "1" {
        return Ok(unseen("performance_schema", "performance_schema is OFF".to_owned()));
    }
    let consumer =
        "SELECT enabled FROM performance_schema.setup_consumers WHERE name = 'statements_digest'";
    let query = "SELECT schema_name, digest_text, count_star \
                 FROM performance_schema.events_statements_summary_by_digest WHERE digest_text IS NOT NULL";
    let rows = async {
        let on = control.row(consumer).await?;
        let rows = control.rows(query).await?;
        Ok((on.is_none_or(|row| row.text(0).as_deref() == Some("YES")), rows))
    };
    let rows = match rows.await {
        Ok((true, rows)) => rows,
        Ok((false, _)) => {
            return Ok(unseen(
                "statements_digest",
                "The consumer statements_digest of the performance schema is off".to_owned(),
            ));
        }
        Err(error) => {
            let error: crate::error::Error = error;
            if error.server_code().is_none() {
                return Err(error);
            }
            return Ok(unseen(
                "performance_schema",
                format!("The digests cannot be read ({error})"),
            ));
        }
    };
    let others = list_tables(control, database).await?;
    let others = others.into_iter().map(|(name, _)| name).filter(|name| !tables.contains(name));
    let names = Names::new(database, tables, others);
    let mut found: BTreeMap<(String, String), Together> = BTreeMap::new();
    for row in rows {
        let text = row.must(1)?;
        let Some(pair) = names.together(&row.text(0).unwrap_or_default(), &text) else { continue };
        let together = found.entry(pair).or_default();
        together.statements += 1;
        together.executions = together.executions.saturating_add(row.number(2)?);
        if together.example.is_empty() {
            together.example = text;
        }
    }
    Ok(findings(side, found))
}

fn findings(side: Side, found: BTreeMap<(String, String), Together>) -> Vec<Finding> {
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_by_key(|(_, together)| std::cmp::Reverse(together.executions));
    let more = found.len().saturating_sub(FINDINGS_SHOWN);
    let mut findings: Vec<Finding> = found
        .into_iter()
        .take(FINDINGS_SHOWN)
        .map(|((moved, others), together)| {
            let Together { statements, executions, example } = together;
            let example: String = example.chars().take(TEXT_MAX).collect();
            let reason = format!(
                "{statements} statements, run {executions} times since the server started, name {moved} together with {others}, which is not moved: after the switch they span two servers, and the gateway refuses them with error 1235. Move these tables together, or take the statements apart. One is: {example}"
            );
            Finding { id: ID, ..Finding::new(Level::Warning, side, moved, reason) }
        })
        .collect();
    if more > 0 {
        let reason = format!("{more} other groups of moved and other tables are joined as well.");
        findings.push(Finding { id: ID, ..Finding::new(Level::Warning, side, "digests", reason) });
    }
    findings
}

/// Names in lower case.
struct Names {
    database: String,
    moved: HashSet<String>,
    others: HashSet<String>,
}

impl Names {
    fn new(database: &str, moved: &[String], others: impl Iterator<Item = String>) -> Self {
        Self {
            database: lowered(database),
            moved: moved.iter().map(|name| lowered(name)).collect(),
            others: others.map(|name| lowered(&name)).collect(),
        }
    }

    /// The moved and the other tables that a statement names; `None` if not both, or if it is about definitions.
    fn together(&self, database: &str, text: &str) -> Option<(String, String)> {
        let first = text.split_whitespace().next().unwrap_or_default().to_uppercase();
        if DEFINES.contains(&first.as_str()) {
            return None;
        }
        let words = lexer::names(text, true);
        if lowered(database) != self.database && !words.contains(&self.database) {
            return None;
        }
        let of = |names: &HashSet<String>| -> BTreeSet<String> {
            names.intersection(&words).cloned().collect()
        };
        let (moved, others) = (of(&self.moved), of(&self.others));
        let list = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>().join(", ");
        (!moved.is_empty() && !others.is_empty()).then(|| (list(moved), list(others)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_with_tables_of_both_kinds_are_found() {
        let moved = ["corder".to_owned(), "Customer".to_owned()];
        let others = ["product".to_owned()];
        let names = Names::new("Shop", &moved, others.into_iter());
        let pair = |moved: &str, others: &str| Some((moved.to_owned(), others.to_owned()));
        for (database, text, expected) in [
            ("shop", "SELECT * FROM `corder` c JOIN `Product` p", pair("corder", "product")),
            ("", "SELECT `shop` . `CORDER` , `shop` . `product`", pair("corder", "product")),
            (
                "shop",
                "SELECT ? FROM customer, corder, product",
                pair("corder, customer", "product"),
            ),
            ("shop", "SELECT * FROM customer JOIN corder", None),
            ("shop", "SELECT * FROM product", None),
            ("shop", "CREATE VIEW `product` AS SELECT * FROM `corder`", None),
            ("else", "SELECT * FROM corder JOIN product", None),
        ] {
            assert_eq!(names.together(database, text), expected, "{text}");
        }
    }
}
