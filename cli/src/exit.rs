//! How a command ended, as an exit code.

use std::process::ExitCode;

use shunt_engine::ErrorKind;

/// The exit codes, the same for every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, or switched.
    Done,
    /// Failed, or taken back.
    Failed,
    /// What was typed or configured cannot be used.
    Usage,
    /// Done, and the answer is that source and target differ.
    Differs,
    /// The outcome is unknown.
    Unknown,
}

impl Exit {
    /// The code for an error, by its kind.
    pub fn of(error: &anyhow::Error) -> Self {
        match error.downcast_ref::<shunt_engine::Error>().map(shunt_engine::Error::kind) {
            Some(ErrorKind::Usage) => Self::Usage,
            Some(ErrorKind::Ambiguous) => Self::Unknown,
            Some(ErrorKind::Divergence) => Self::Differs,
            Some(ErrorKind::Retry | ErrorKind::Stop | ErrorKind::LeaseLost) | None => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Differs => 3,
            Exit::Unknown => 4,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;
    use shunt_engine::Error;

    #[test]
    fn the_kind_decides_through_any_context() {
        let usage: Result<(), Error> = Err(Error::usage("bad"));
        assert_eq!(Exit::of(&usage.context("while parsing").unwrap_err()), Exit::Usage);
        assert_eq!(Exit::of(&Error::new(ErrorKind::Ambiguous, "lost").into()), Exit::Unknown);
        assert_eq!(Exit::of(&anyhow::anyhow!("other")), Exit::Failed);
    }
}
