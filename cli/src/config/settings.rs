//! Every setting with a default, and `--config-overrides`.

use std::num::NonZeroU64;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shunt_engine::{Error, Result};

/// Where the topology is kept: a file beside `shunt.toml`.
pub const TOPOLOGY_STORE: &str = "sqlite:shunt-topology.db";

/// `[throttle]`: beyond which load the copy slows down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Throttle {
    /// Lag of the slowest configured replica or rdonly server of source and target. Without such servers it never
    /// applies.
    pub replica_lag_max_ms: Threshold,
    /// `Threads_running`, on the source and on the target.
    pub threads_running_max: Threshold,
    /// Length of InnoDB's history list, on the source and on the target.
    pub history_list_length_max: Threshold,
    /// Time that a commit of rows takes on the target.
    pub target_commit_ms_max: Threshold,
    /// How often all of this is looked at.
    pub interval_ms: NonZeroU64,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            replica_lag_max_ms: Threshold::at(5_000),
            threads_running_max: Threshold::at(64),
            history_list_length_max: Threshold::at(1_000_000),
            target_commit_ms_max: Threshold::at(1_000),
            interval_ms: const { NonZeroU64::new(250).expect("not zero") },
        }
    }
}

/// `[serve]`: how `shunt serve` finds its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Serve {
    /// How often it looks for streams that nobody runs.
    pub poll_ms: NonZeroU64,
}

impl Default for Serve {
    fn default() -> Self {
        Self { poll_ms: const { NonZeroU64::new(500).expect("not zero") } }
    }
}

impl Serve {
    /// [`Serve::poll_ms`].
    pub fn poll(&self) -> Duration {
        Duration::from_millis(self.poll_ms.get())
    }
}

/// `[hooks]`: a command before and after each step of a switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hooks {
    /// Program and arguments; none if empty.
    pub command: Vec<String>,
    /// How long it may take until it is killed.
    pub timeout_ms: NonZeroU64,
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            command: Vec::new(),
            timeout_ms: const { NonZeroU64::new(10_000).expect("not zero") },
        }
    }
}

/// A bound, or `"off"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ThresholdText", into = "ThresholdText")]
pub struct Threshold(Option<u64>);

impl Threshold {
    /// A bound of this height.
    pub const fn at(bound: u64) -> Self {
        Self(Some(bound))
    }

    /// No bound.
    pub const OFF: Self = Self(None);

    /// The bound, unless it is off.
    pub fn bound(self) -> Option<u64> {
        self.0
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a whole number from 0 on, or \"off\"")]
enum ThresholdText {
    At(u64),
    Off(String),
}

impl TryFrom<ThresholdText> for Threshold {
    type Error = String;

    fn try_from(text: ThresholdText) -> Result<Self, String> {
        match text {
            ThresholdText::At(bound) => Ok(Self::at(bound)),
            ThresholdText::Off(word) if word == "off" => Ok(Self::OFF),
            ThresholdText::Off(word) => {
                Err(format!("{word:?} is neither a whole number from 0 on nor \"off\""))
            }
        }
    }
}

impl From<Threshold> for ThresholdText {
    fn from(threshold: Threshold) -> Self {
        threshold.bound().map_or_else(|| Self::Off("off".to_owned()), Self::At)
    }
}

/// One `key=value` of `--config-overrides`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The key as in the file, with its section: `throttle.interval_ms`.
    pub key: String,
    /// Its value as typed.
    pub value: String,
}

impl std::str::FromStr for Override {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() && !value.trim().is_empty() => {
                Ok(Self { key: key.trim().to_owned(), value: value.trim().to_owned() })
            }
            _ => Err(Error::usage(format!("{text:?} is not key=value"))),
        }
    }
}

impl Throttle {
    /// These settings with one workflow's overrides.
    ///
    /// # Errors
    /// Usage for a key that does not concern a workflow, and for a value that the file would not admit either.
    pub fn with_overrides(mut self, overrides: &[Override]) -> Result<Self> {
        for Override { key, value } in overrides {
            let threshold = match key.as_str() {
                "throttle.replica_lag_max_ms" => &mut self.replica_lag_max_ms,
                "throttle.threads_running_max" => &mut self.threads_running_max,
                "throttle.history_list_length_max" => &mut self.history_list_length_max,
                "throttle.target_commit_ms_max" => &mut self.target_commit_ms_max,
                "throttle.interval_ms" => {
                    self.interval_ms = value.parse().map_err(|_| {
                        Error::usage(format!("{key}: {value:?} is not a whole number from 1 on"))
                    })?;
                    continue;
                }
                _ => return Err(unknown_override(key)),
            };
            let typed =
                value.parse().map_or_else(|_| ThresholdText::Off(value.clone()), ThresholdText::At);
            *threshold = typed.try_into().map_err(|why| Error::usage(format!("{key}: {why}")))?;
        }
        Ok(self)
    }
}

fn unknown_override(key: &str) -> Error {
    Error::usage(format!("{key:?} cannot be overridden for a workflow")).advice(
        "The keys are throttle.replica_lag_max_ms, throttle.threads_running_max, \
         throttle.history_list_length_max, throttle.target_commit_ms_max and throttle.interval_ms.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> Result<Throttle> {
        let overrides: Result<Vec<Override>> = text.split(',').map(str::parse).collect();
        Throttle::default().with_overrides(&overrides?)
    }

    #[test]
    fn overrides_change_what_they_name() {
        let throttle =
            with("throttle.replica_lag_max_ms=off, throttle.threads_running_max=7").unwrap();
        assert_eq!(throttle.replica_lag_max_ms, Threshold::OFF);
        assert_eq!(throttle.threads_running_max.bound(), Some(7));
        assert_eq!(throttle.interval_ms, Throttle::default().interval_ms);
        for text in ["throttle.interval_ms=0", "throttle.threads_running_max=-1", "serve.poll_ms=1"]
        {
            assert!(with(text).is_err(), "{text}");
        }
        for text in ["", "key", "=1", "key="] {
            assert!(text.parse::<Override>().is_err(), "{text}");
        }
    }

    #[test]
    fn settings_survive_being_stored() {
        let stored = with("throttle.replica_lag_max_ms=off").unwrap();
        let text = serde_json::to_string(&stored).unwrap();
        assert_eq!(serde_json::from_str::<Throttle>(&text).unwrap(), stored);
    }
}
