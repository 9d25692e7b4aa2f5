//! What the operator wants of a workflow, or of a VDiff: beside what it does, which is its state.

use std::fmt;

/// Whether it shall run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// It shall run.
    Run,
    /// It shall stop, or not begin.
    Stop,
}

impl Wanted {
    /// As `run` says, of a flag.
    pub fn of(run: bool) -> Self {
        if run { Self::Run } else { Self::Stop }
    }

    /// As the sidecar has it. What is not known shall not run.
    pub(super) fn parse(text: &str) -> Self {
        Self::of(text == Self::Run.text())
    }

    fn text(self) -> &'static str {
        match self {
            Self::Run => "Running",
            Self::Stop => "Stopped",
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
