//! A clock for leases: it goes on while the machine is suspended, which [`std::time::Instant`] does not, and no change of the
//! wall clock moves it.

use std::time::Duration;

/// A moment since the machine was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootInstant(Duration);

impl BootInstant {
    /// Now. No system call where the kernel shares its clock with the process.
    pub fn now() -> Self {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        let nanos = u32::try_from(now.tv_nsec).unwrap_or(0);
        Self(Duration::new(seconds, nanos))
    }

    /// This moment and so much later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0 + duration)
    }

    /// How long it is until this moment; zero if it is past.
    pub fn left(self) -> Duration {
        self.0.saturating_sub(Self::now().0)
    }

    /// Whether this moment is past.
    pub fn is_past(self) -> bool {
        self.left().is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_pass() {
        let now = BootInstant::now();
        assert!(now.is_past());
        let later = now.after(Duration::from_secs(60));
        assert!(!later.is_past() && later > now);
        assert!(later.left() <= Duration::from_secs(60));
    }
}
