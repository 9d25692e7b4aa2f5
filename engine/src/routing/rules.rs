//! The rules themselves: `[keyspace.]table[@replica|@rdonly]` to `keyspace.table`. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What part a server has in its keyspace.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum ServerType {
    /// Takes the writes; one per keyspace.
    Primary,
    /// Serves reads of applications.
    Replica,
    /// Serves batch reads.
    Rdonly,
}

impl ServerType {
    /// The types whose reads are switched by rules alone.
    pub const READS: [Self; 2] = [Self::Replica, Self::Rdonly];

    /// What stands behind a table's name in a rule.
    fn suffix(self) -> &'static str {
        match self {
            Self::Primary => "",
            Self::Replica => "@replica",
            Self::Rdonly => "@rdonly",
        }
    }
}

impl fmt::Display for ServerType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
            Self::Rdonly => "rdonly",
        })
    }
}

impl FromStr for ServerType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.to_ascii_lowercase().as_str() {
            "primary" => Ok(Self::Primary),
            "replica" => Ok(Self::Replica),
            "rdonly" => Ok(Self::Rdonly),
            _ => Err(Error::usage(format!("{text:?} is not primary, replica or rdonly"))),
        }
    }
}

/// What a rule is for: a name as a client writes it, and the type of server that its session asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleName {
    /// The keyspace that the client named or chose; none where it did neither.
    pub keyspace: Option<String>,
    /// The table.
    pub table: String,
    /// The type of server. A rule for [`ServerType::Primary`] is written without one, and holds for the other types too where
    /// they have no rule of their own.
    pub server_type: ServerType,
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(keyspace) = &self.keyspace {
            write!(f, "{keyspace}.")?;
        }
        write!(f, "{}{}", self.table, self.server_type.suffix())
    }
}

impl FromStr for RuleName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = |why: &str| {
            Error::usage(format!("from_table {text:?} {why}"))
                .advice("It is [keyspace.]table, or that with @replica or @rdonly behind it.")
        };
        let (name, server_type) = match text.split_once('@') {
            None => (text, ServerType::Primary),
            Some((name, "replica")) => (name, ServerType::Replica),
            Some((name, "rdonly")) => (name, ServerType::Rdonly),
            Some(_) => return Err(bad("ends in neither @replica nor @rdonly")),
        };
        let (keyspace, table) = match name.split_once('.') {
            Some((keyspace, table)) => (Some(keyspace.to_owned()), table),
            None => (None, name),
        };
        if keyspace.as_deref().is_some_and(|keyspace| !nameable(keyspace)) || !nameable(table) {
            return Err(bad("has an empty name, or one with a dot, @ or backquote"));
        }
        Ok(Self { keyspace, table: table.to_owned(), server_type })
    }
}

/// Whether a keyspace or a table can be named in a rule.
pub fn nameable(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| matches!(c, '.' | '@' | '`') || c.is_control())
}

/// Where a rule leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// The keyspace.
    pub keyspace: String,
    /// The table in it.
    pub table: String,
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.keyspace, self.table)
    }
}

impl FromStr for TableName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || Error::usage(format!("to_tables: {text:?} is not keyspace.table"));
        let (keyspace, table) = text.split_once('.').ok_or_else(bad)?;
        let plain = |name: &str| {
            let inner = name.strip_prefix('`').and_then(|name| name.strip_suffix('`'));
            let name = inner.unwrap_or(name);
            nameable(name).then(|| name.to_owned())
        };
        match (plain(keyspace), plain(table)) {
            (Some(keyspace), Some(table)) => Ok(Self { keyspace, table }),
            _ => Err(bad()),
        }
    }
}

/// All routing rules of a topology.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoutingRules {
    rules: BTreeMap<RuleName, TableName>,
}

/// The document as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesText {
    rules: Vec<RuleText>,
}

/// Both spellings are read; this one is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    #[serde(alias = "fromTable")]
    from_table: String,
    #[serde(alias = "toTables")]
    to_tables: Vec<String>,
}

impl RoutingRules {
    /// Reads `{"rules": [{"from_table": …, "to_tables": […]}]}`, with `fromTable` and `toTables` as well.
    ///
    /// # Errors
    /// Usage for anything else, for a name that is none, for a rule that does not lead to exactly one table, and for two rules
    /// of one name.
    pub fn parse(json: &[u8]) -> Result<Self> {
        let text: RulesText = serde_json::from_slice(json)
            .map_err(|error| Error::usage("the routing rules cannot be read").source(error))?;
        let mut rules = Self::default();
        for rule in text.rules {
            let name: RuleName = rule.from_table.parse()?;
            let [to] = rule.to_tables.as_slice() else {
                return Err(Error::usage(format!(
                    "the rule of {name} leads to {} tables, not to one",
                    rule.to_tables.len()
                )));
            };
            if rules.rules.insert(name.clone(), to.parse()?).is_some() {
                return Err(Error::usage(format!("there are two rules of {name}")));
            }
        }
        Ok(rules)
    }

    /// The rules as JSON, sorted by `from_table`.
    pub fn to_json(&self) -> String {
        let mut rules: Vec<RuleText> = self
            .rules
            .iter()
            .map(|(name, to)| RuleText {
                from_table: name.to_string(),
                to_tables: vec![to.to_string()],
            })
            .collect();
        rules.sort_by(|a, b| a.from_table.cmp(&b.from_table));
        serde_json::to_string_pretty(&RulesText { rules }).expect("text can be written as JSON")
    }

    /// Where a table is, for a client that chose or named `keyspace` and reads from `server_type`: by the rule of that very
    /// name and type, else by that of the name alone. `None`: no rule, the name means what it says. A rule without a keyspace
    /// is found only if the client named none.
    pub fn lookup(
        &self,
        keyspace: Option<&str>,
        table: &str,
        server_type: ServerType,
    ) -> Option<&TableName> {
        let name = |server_type| RuleName {
            keyspace: keyspace.map(str::to_owned),
            table: table.to_owned(),
            server_type,
        };
        self.rules.get(&name(server_type)).or_else(|| self.rules.get(&name(ServerType::Primary)))
    }

    /// Where the rule of this very name leads.
    pub fn get(&self, name: &RuleName) -> Option<&TableName> {
        self.rules.get(name)
    }

    /// Writes a rule, over one of the same name.
    pub fn set(&mut self, name: RuleName, to: TableName) {
        self.rules.insert(name, to);
    }

    /// Removes a rule.
    pub fn remove(&mut self, name: &RuleName) {
        self.rules.remove(name);
    }

    /// All rules.
    pub fn iter(&self) -> impl Iterator<Item = (&RuleName, &TableName)> {
        self.rules.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_read_and_one_is_written() {
        let json = br#"{"rules": [{"fromTable": "b@rdonly", "toTables": ["x.b"]},
                                  {"from_table": "x.a", "to_tables": ["`y`.`a`"]}]}"#;
        let rules = RoutingRules::parse(json).unwrap();
        let expected = r#"{
  "rules": [
    {
      "from_table": "b@rdonly",
      "to_tables": [
        "x.b"
      ]
    },
    {
      "from_table": "x.a",
      "to_tables": [
        "y.a"
      ]
    }
  ]
}"#;
        assert_eq!(rules.to_json(), expected);
        assert_eq!(RoutingRules::parse(rules.to_json().as_bytes()).unwrap(), rules);
        assert_eq!(RoutingRules::default().to_json(), "{\n  \"rules\": []\n}");
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        let rule = |from: &str, to: &str| {
            format!("{{\"rules\": [{{\"from_table\": {from:?}, \"to_tables\": [{to}]}}]}}")
        };
        for (from, to) in [
            ("", "\"x.t\""),
            ("t@primary", "\"x.t\""),
            ("a.b.c", "\"x.t\""),
            ("x.", "\"x.t\""),
            ("`t`", "\"x.t\""),
            ("t", ""),
            ("t", "\"x.t\", \"y.t\""),
            ("t", "\"t\""),
            ("t", "\"x.`t\""),
            ("t", "\"x.t@replica\""),
        ] {
            assert!(RoutingRules::parse(rule(from, to).as_bytes()).is_err(), "{from} {to}");
        }
        for text in ["", "[]", "{}", "{\"rule\": []}", "{\"rules\": [{\"from_table\": \"t\"}]}"] {
            assert!(RoutingRules::parse(text.as_bytes()).is_err(), "{text}");
        }
        let twice = br#"{"rules": [{"from_table": "t", "to_tables": ["x.t"]},
                                   {"fromTable": "t", "toTables": ["y.t"]}]}"#;
        assert!(RoutingRules::parse(twice).is_err());
    }

    #[test]
    fn the_most_specific_rule_wins() {
        let rules = RoutingRules::parse(
            br#"{"rules": [{"from_table": "t", "to_tables": ["x.t"]},
                           {"from_table": "t@replica", "to_tables": ["y.t"]},
                           {"from_table": "z.t", "to_tables": ["x.t"]}]}"#,
        )
        .unwrap();
        let to = |keyspace, server_type| {
            rules.lookup(keyspace, "t", server_type).map(|to| to.keyspace.as_str())
        };
        assert_eq!(to(None, ServerType::Primary), Some("x"));
        assert_eq!(to(None, ServerType::Replica), Some("y"));
        assert_eq!(to(None, ServerType::Rdonly), Some("x"));
        assert_eq!(to(Some("z"), ServerType::Replica), Some("x"));
        assert_eq!(to(Some("billing"), ServerType::Primary), None, "it names another table");
    }
}
