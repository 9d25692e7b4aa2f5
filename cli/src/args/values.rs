//! Values with a form of their own: a workflow's name, a length of time.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use shunt_engine::{Error, Result};

/// `<target keyspace>.<name>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkflowName {
    /// The keyspace that it moves tables to.
    pub keyspace: String,
    /// Its own name.
    pub name: String,
}

impl FromStr for WorkflowName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = |why: &str| {
            Error::usage(format!("workflow {text:?} {why}"))
                .advice("It is <target keyspace>.<name>, such as customer.commerce2customer.")
        };
        let (keyspace, name) = text.split_once('.').ok_or_else(|| bad("has no dot"))?;
        if keyspace.is_empty() {
            return Err(bad("names no keyspace"));
        }
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if name.is_empty() || name.len() > 64 || !name.chars().all(known) {
            return Err(bad("needs a name of 1 to 64 letters, digits, _ and - after one dot"));
        }
        Ok(Self { keyspace: keyspace.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for WorkflowName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.keyspace, self.name)
    }
}

/// A length of time: `500ms`, `30s`, `10m`, `1h`; without a unit, seconds.
///
/// # Errors
/// Usage for anything else.
pub fn duration(text: &str) -> Result<Duration> {
    let bad = || {
        Error::usage(format!("{text:?} is not a length of time"))
            .advice("Such are 500ms, 30s, 10m and 1h.")
    };
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| bad())?;
    let seconds = |each: u64| number.checked_mul(each).map(Duration::from_secs).ok_or_else(bad);
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "" | "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(3600),
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workflow_is_a_keyspace_and_a_name() {
        let name: WorkflowName = "customer.commerce2customer".parse().unwrap();
        assert_eq!((name.keyspace.as_str(), name.name.as_str()), ("customer", "commerce2customer"));
        assert_eq!(name.to_string(), "customer.commerce2customer");
        let long = format!("k.{}", "x".repeat(65));
        for text in ["", "customer", ".x", "k.", "a.b.c", "k.x y", "k.ü", long.as_str()] {
            assert!(text.parse::<WorkflowName>().is_err(), "{text}");
        }
        assert!(format!("k.{}", "x".repeat(64)).parse::<WorkflowName>().is_ok());
    }

    #[test]
    fn lengths_of_time_have_units() {
        let cases =
            [("500ms", 500), ("30s", 30_000), ("7", 7_000), ("10m", 600_000), ("1h", 3_600_000)];
        for (text, ms) in cases {
            assert_eq!(duration(text).unwrap(), Duration::from_millis(ms), "{text}");
        }
        for text in ["", "s", "-1s", "1.5s", "1d", "99999999999999999999s", "18446744073709551615h"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
