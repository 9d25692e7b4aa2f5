//! The stored states of a stream and which may follow which.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// What a stream is doing. Stored in the sidecar; everything else that users see is derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum StreamState {
    /// Created, or started again: nothing has happened yet in this run. A worker that gets the lease goes on from what the
    /// sidecar holds.
    Init,
    /// Ranges are being copied while the stream follows.
    Copying,
    /// All ranges are copied; the stream is behind some H, or keys are being built.
    CatchUp,
    /// The target equals the source at the stream's position.
    Running,
    /// The operator stopped it. Only the operator starts it again.
    Stopped,
    /// It cannot go on by itself; the message says why. Only the operator starts it again.
    Error,
    /// A cutover has applied the last position; it applies nothing again unless that cutover is taken back, under a new epoch.
    Frozen,
}

impl StreamState {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Init,
        Self::Copying,
        Self::CatchUp,
        Self::Running,
        Self::Stopped,
        Self::Error,
        Self::Frozen,
    ];

    /// Whether a worker may run a stream in this state.
    pub fn may_run(self) -> bool {
        match self {
            Self::Init | Self::Copying | Self::CatchUp | Self::Running => true,
            Self::Stopped | Self::Error | Self::Frozen => false,
        }
    }

    /// Whether all ranges are copied.
    pub fn has_finished_copy(self) -> bool {
        match self {
            Self::CatchUp | Self::Running | Self::Frozen => true,
            Self::Init | Self::Copying | Self::Stopped | Self::Error => false,
        }
    }

    /// Which states may follow this one.
    pub fn can_become(self, next: Self) -> bool {
        use StreamState::{CatchUp, Copying, Error, Frozen, Init, Running, Stopped};
        match (self, next) {
            // Whatever runs may stop, fail, or be repeated by another worker.
            (Init | Copying | CatchUp | Running, Stopped | Error) => true,
            (Init, Copying | CatchUp) | (Copying, CatchUp) | (CatchUp, Running) => true,
            (Running, Frozen) => true,
            (Stopped | Error, Init) => true,
            // The cutover was taken back.
            (Frozen, CatchUp) => true,
            // A new run of a stream that was copying or running begins with what it finds.
            (Copying | CatchUp | Running, Copying | CatchUp) => true,
            (a, b) => a == b,
        }
    }
}

impl fmt::Display for StreamState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Init => "Init",
            Self::Copying => "Copying",
            Self::CatchUp => "CatchUp",
            Self::Running => "Running",
            Self::Stopped => "Stopped",
            Self::Error => "Error",
            Self::Frozen => "Frozen",
        })
    }
}

impl FromStr for StreamState {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|state| state.to_string() == text)
            .ok_or_else(|| Error::stop(format!("stream state {text:?} is not known")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_survive_the_sidecar() {
        for state in StreamState::ALL {
            assert_eq!(state.to_string().parse::<StreamState>().unwrap(), state);
        }
        assert!("Lagging".parse::<StreamState>().is_err());
    }

    /// The whole table, so that a new pair has to be thought about.
    #[test]
    fn transitions() {
        let mut table = String::new();
        for from in StreamState::ALL {
            let to: Vec<String> = StreamState::ALL
                .into_iter()
                .filter(|to| from.can_become(*to) && from != *to)
                .map(|to| to.to_string())
                .collect();
            table += &format!("{from}: {}\n", to.join(" "));
        }
        let expected = "\
Init: Copying CatchUp Stopped Error
Copying: CatchUp Stopped Error
CatchUp: Copying Running Stopped Error
Running: Copying CatchUp Stopped Error Frozen
Stopped: Init
Error: Init
Frozen: CatchUp\n";
        assert_eq!(table, expected);
    }
}
