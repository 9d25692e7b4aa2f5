//! What a VDiff is doing, as it is stored and shown.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use shunt_engine::{Error, Result};

/// What a VDiff or the comparison of one table is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Not begun, or to go on.
    #[default]
    Pending,
    /// At work, or its process has died.
    Started,
    /// Done.
    Completed,
    /// Stopped by the operator; `resume` goes on.
    Stopped,
    /// Ended by an error; `resume` goes on.
    Error,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pending => "pending",
            Self::Started => "started",
            Self::Completed => "completed",
            Self::Stopped => "stopped",
            Self::Error => "error",
        })
    }
}

impl FromStr for State {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Pending, Self::Started, Self::Completed, Self::Stopped, Self::Error]
            .into_iter()
            .find(|state| state.to_string() == text)
            .ok_or_else(|| Error::stop(format!("VDiff state {text:?} is not known")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_survive_being_stored() {
        for state in
            [State::Pending, State::Started, State::Completed, State::Stopped, State::Error]
        {
            assert_eq!(state.to_string().parse::<State>().unwrap(), state);
        }
    }
}
