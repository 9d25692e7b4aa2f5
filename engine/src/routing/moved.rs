//! The rules of one workflow's tables at each of its stages, exactly as in Vitess's guide. Pure.
//!
//! Eight a table: the bare name and the name in the target, each plain, `@replica` and `@rdonly`, and the name in the source with
//! `@replica` and `@rdonly`; all lead to the source. Switched reads lead the rules with a type to the target. Switched writes lead the
//! bare name there too, and in place of the target's plain name (which means the target again) stands the source's.

use super::rules::{RoutingRules, RuleName, ServerType, TableName, nameable};
use crate::error::{Error, Result};

/// The two sides of a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Where the tables were when the workflow was created.
    Source,
    /// Where they go.
    Target,
}

impl Side {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Source => Self::Target,
            Self::Target => Self::Source,
        }
    }
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Target => "target",
        })
    }
}

/// The tables of a workflow, as it was created: switching back does not exchange source and target.
#[derive(Clone, Copy, Debug)]
pub struct MovedTables<'a> {
    /// The source's keyspace.
    pub source: &'a str,
    /// The target's keyspace.
    pub target: &'a str,
    /// The tables.
    pub tables: &'a [String],
}

impl MovedTables<'_> {
    fn keyspace(&self, side: Side) -> &str {
        match side {
            Side::Source => self.source,
            Side::Target => self.target,
        }
    }

    fn to(&self, side: Side, table: &str) -> TableName {
        TableName { keyspace: self.keyspace(side).to_owned(), table: table.to_owned() }
    }

    /// The names that a table has: none, the target's, the source's keyspace before it.
    fn names(&self, table: &str, server_type: ServerType) -> [RuleName; 3] {
        [None, Some(self.target), Some(self.source)].map(|keyspace| RuleName {
            keyspace: keyspace.map(str::to_owned),
            table: table.to_owned(),
            server_type,
        })
    }

    /// All names that this workflow has rules of at some stage.
    fn all_names(&self, table: &str) -> Vec<RuleName> {
        [ServerType::Primary, ServerType::Replica, ServerType::Rdonly]
            .into_iter()
            .flat_map(|server_type| self.names(table, server_type))
            .collect()
    }

    fn is_ours(&self, to: &TableName, table: &str) -> bool {
        to.table == *table && (to.keyspace == self.source || to.keyspace == self.target)
    }

    /// Adds the rules of a new workflow: everything leads to the source. May be repeated.
    ///
    /// # Errors
    /// Usage if a name cannot stand in a rule, or if a rule of it leads elsewhere already.
    pub fn create(&self, rules: &mut RoutingRules) -> Result<()> {
        for table in self.tables {
            if !nameable(table) {
                return Err(Error::usage(format!(
                    "table {table:?} cannot be named in a routing rule"
                ))
                .advice("Create the workflow with --no-routing-rules, and switch by hooks."));
            }
            let taken = self
                .all_names(table)
                .into_iter()
                .find(|name| rules.get(name).is_some_and(|to| *to != self.to(Side::Source, table)));
            if let Some(name) = taken {
                let to = rules.get(&name).map(ToString::to_string).unwrap_or_default();
                return Err(Error::usage(format!("a routing rule leads {name} to {to} already"))
                    .advice("It belongs to another workflow, or was kept: `shunt routing-rules get` shows it. Remove it first."));
            }
        }
        self.lead_reads(rules, &ServerType::READS, Side::Source);
        self.lead_writes(rules, Side::Source);
        Ok(())
    }

    /// Leads the reads of these types to a side. May be repeated.
    pub fn lead_reads(&self, rules: &mut RoutingRules, types: &[ServerType], side: Side) {
        for table in self.tables {
            for server_type in types.iter().filter(|t| **t != ServerType::Primary) {
                for name in self.names(table, *server_type) {
                    rules.set(name, self.to(side, table));
                }
            }
        }
    }

    /// Leads what goes to a primary to a side. May be repeated.
    pub fn lead_writes(&self, rules: &mut RoutingRules, side: Side) {
        for table in self.tables {
            let [bare, in_target, in_source] = self.names(table, ServerType::Primary);
            rules.set(bare, self.to(side, table));
            // On the side itself a plain name means what it says.
            let (led, plain) = match side {
                Side::Source => (in_target, in_source),
                Side::Target => (in_source, in_target),
            };
            rules.set(led, self.to(side, table));
            rules.remove(&plain);
        }
    }

    /// Removes the workflow's rules, after Complete and Cancel. May be repeated.
    pub fn remove(&self, rules: &mut RoutingRules) {
        for table in self.tables {
            for name in self.all_names(table) {
                if rules.get(&name).is_some_and(|to| self.is_ours(to, table)) {
                    rules.remove(&name);
                }
            }
        }
    }

    /// Removes the workflow's rules, after Cancel, when all of them lead to the source, but for those that another workflow has as well:
    /// one that moves a table of the source to another target leads the bare name and the source's there, too. May be repeated.
    pub fn withdraw(&self, rules: &mut RoutingRules) {
        for table in self.tables {
            let to_source = self.to(Side::Source, table);
            let of_others = |name: &RuleName| {
                let keyspace = name.keyspace.as_deref();
                name.table == *table
                    && keyspace.is_some_and(|one| one != self.source && one != self.target)
            };
            let shared = rules.iter().any(|(name, to)| of_others(name) && *to == to_source);
            for name in self.all_names(table) {
                let ours = !shared || name.keyspace.as_deref() == Some(self.target);
                if ours && rules.get(&name).is_some_and(|to| self.is_ours(to, table)) {
                    rules.remove(&name);
                }
            }
        }
    }

    /// Which side the reads of a type are led to, if all tables agree; `None` where there are no rules or they disagree.
    pub fn reads_at(&self, rules: &RoutingRules, server_type: ServerType) -> Option<Side> {
        self.agreed(|table| {
            let [bare, ..] = self.names(table, server_type);
            rules.get(&bare).cloned()
        })
    }

    /// Which side a primary's traffic is led to, if all tables agree.
    pub fn writes_at(&self, rules: &RoutingRules) -> Option<Side> {
        self.reads_at(rules, ServerType::Primary)
    }

    fn agreed(&self, to: impl Fn(&str) -> Option<TableName>) -> Option<Side> {
        let side_of = |table: &String| {
            let to = to(table)?;
            [Side::Source, Side::Target].into_iter().find(|side| to == self.to(*side, table))
        };
        let first = side_of(self.tables.first()?)?;
        self.tables.iter().all(|table| side_of(table) == Some(first)).then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables() -> Vec<String> {
        vec!["customer".to_owned(), "corder".to_owned()]
    }

    fn guide(tables: &[String]) -> MovedTables<'_> {
        MovedTables { source: "commerce", target: "customer", tables }
    }

    /// `from` names in the guide's order of its listing, all leading to one keyspace.
    fn listing(names: &[&str], to: &str) -> RoutingRules {
        let mut rules = RoutingRules::default();
        for name in names {
            let name: RuleName = name.parse().unwrap();
            let table = name.table.clone();
            rules.set(name, TableName { keyspace: to.to_owned(), table });
        }
        rules
    }

    fn at_create() -> RoutingRules {
        listing(
            &[
                "customer.customer@rdonly",
                "commerce.corder@rdonly",
                "customer",
                "customer.customer@replica",
                "corder@replica",
                "customer.corder",
                "commerce.corder@replica",
                "customer@rdonly",
                "commerce.customer@replica",
                "corder",
                "corder@rdonly",
                "customer.corder@rdonly",
                "customer@replica",
                "customer.customer",
                "commerce.customer@rdonly",
                "customer.corder@replica",
            ],
            "commerce",
        )
    }

    fn after_switch() -> RoutingRules {
        listing(
            &[
                "commerce.corder@rdonly",
                "corder@rdonly",
                "customer.corder@replica",
                "commerce.corder@replica",
                "customer.corder@rdonly",
                "customer@replica",
                "customer.customer@replica",
                "corder@replica",
                "commerce.customer@rdonly",
                "customer@rdonly",
                "customer.customer@rdonly",
                "commerce.customer@replica",
                "corder",
                "commerce.corder",
                "customer",
                "commerce.customer",
            ],
            "customer",
        )
    }

    #[test]
    fn the_rules_are_the_guides_at_each_stage() {
        let tables = tables();
        let moved = guide(&tables);
        let mut rules = RoutingRules::default();
        moved.create(&mut rules).unwrap();
        assert_eq!(rules, at_create());
        assert_eq!(moved.writes_at(&rules), Some(Side::Source));

        moved.lead_reads(&mut rules, &ServerType::READS, Side::Target);
        assert_eq!(moved.reads_at(&rules, ServerType::Rdonly), Some(Side::Target));
        assert_eq!(moved.writes_at(&rules), Some(Side::Source));
        for (name, to) in rules.iter() {
            let typed = name.server_type != ServerType::Primary;
            assert_eq!(to.keyspace, if typed { "customer" } else { "commerce" }, "{name}");
        }
        moved.lead_writes(&mut rules, Side::Target);
        assert_eq!(rules, after_switch());
        assert_eq!(moved.writes_at(&rules), Some(Side::Target));

        moved.lead_writes(&mut rules, Side::Source);
        moved.lead_reads(&mut rules, &ServerType::READS, Side::Source);
        assert_eq!(rules, at_create(), "switching back restores them");
        moved.lead_writes(&mut rules, Side::Target);
        moved.remove(&mut rules);
        assert!(rules.is_empty());
        assert_eq!(moved.writes_at(&rules), None);
    }

    #[test]
    fn the_listings_are_printed_in_order() {
        let json = at_create().to_json();
        let names: Vec<&str> = json.lines().filter(|line| line.contains("from_table")).collect();
        assert_eq!(names.len(), 16);
        assert!(names.is_sorted(), "{json}");
    }

    #[test]
    fn rules_of_others_stay() {
        let tables = tables();
        let moved = guide(&tables);
        let others = RoutingRules::parse(
            br#"{"rules": [{"from_table": "product", "to_tables": ["commerce.product"]},
                           {"from_table": "billing.customer", "to_tables": ["archive.customer"]}]}"#,
        )
        .unwrap();
        let mut rules = others.clone();
        moved.create(&mut rules).unwrap();
        moved.create(&mut rules).unwrap();
        assert_eq!(rules.iter().count(), 18);
        moved.remove(&mut rules);
        assert_eq!(rules, others);
    }

    #[test]
    fn a_cancel_leaves_the_rules_of_a_move_to_another_target() {
        let tables = tables();
        let other = MovedTables { target: "archive", ..guide(&tables[..1]) };
        let mut rules = RoutingRules::default();
        other.create(&mut rules).unwrap();
        let before = rules.clone();
        guide(&tables).create(&mut rules).unwrap();
        guide(&tables).withdraw(&mut rules);
        assert_eq!(rules, before);
        other.withdraw(&mut rules);
        assert!(rules.is_empty());
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        let tables = tables();
        let mut rules = RoutingRules::parse(
            br#"{"rules": [{"from_table": "customer", "to_tables": ["x.customer"]}]}"#,
        )
        .unwrap();
        let before = rules.clone();
        assert!(guide(&tables).create(&mut rules).is_err());
        assert_eq!(rules, before);
        let odd = vec!["a.b".to_owned()];
        assert!(guide(&odd).create(&mut rules).is_err());
    }

    #[test]
    fn tables_that_disagree_are_at_no_side() {
        let tables = tables();
        let mut rules = at_create();
        guide(&tables[..1]).lead_writes(&mut rules, Side::Target);
        assert_eq!(guide(&tables).writes_at(&rules), None);
    }
}
