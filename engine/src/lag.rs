//! How old the oldest change is that the source has committed and the target has not.
//!
//! Event times are whole seconds of a statement's start, useless for a gate of one second. So the source's position is
//! read every [`limits::LAG_SAMPLE`] and stamped with our own clock; the lag is the age of the oldest sample that the stream
//! has not passed. An idle source costs nothing: a sample equal to the last one is not kept.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::limits;
use crate::mysql::gtid::GtidSet;
use crate::mysql::server::ServerConfig;
use crate::mysql::snapshot::current_gtids;
use crate::mysql::wire::Wire;
use crate::runtime::tasks;

/// The source's position at a moment.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When it was asked for.
    pub at: Instant,
    /// What the source had committed.
    pub position: GtidSet,
}

/// The samples that the stream has not passed yet.
#[derive(Debug, Default)]
pub struct Lag {
    samples: VecDeque<Sample>,
    last: Option<GtidSet>,
    seen_any: bool,
}

impl Lag {
    /// Takes a sample.
    pub fn sample(&mut self, sample: Sample) {
        self.seen_any = true;
        if self.last.as_ref() == Some(&sample.position) {
            return;
        }
        self.last = Some(sample.position.clone());
        self.samples.push_back(sample);
        if self.samples.len() > limits::LAG_SAMPLES_MAX {
            let mut keep = false;
            self.samples.retain(|_| {
                keep = !keep;
                keep
            });
        }
    }

    /// The stream has applied this much.
    pub fn applied(&mut self, position: &GtidSet) {
        while self.samples.front().is_some_and(|sample| position.contains_set(&sample.position)) {
            self.samples.pop_front();
        }
    }

    /// The lag now; `None` until the source has been asked once.
    pub fn now(&self) -> Option<Duration> {
        self.seen_any
            .then(|| self.samples.front().map_or(Duration::ZERO, |sample| sample.at.elapsed()))
    }
}

/// Samples the source's position until cancelled.
///
/// # Errors
/// Retry if the source is lost.
pub async fn run(
    server: ServerConfig,
    samples: mpsc::Sender<Sample>,
    cancel: CancellationToken,
) -> Result<()> {
    let mut wire = Wire::connect(&server).await?;
    loop {
        let at = Instant::now();
        let sample = Sample { at, position: current_gtids(&mut wire).await? };
        if samples.send(sample).await.is_err() || !tasks::pause(limits::LAG_SAMPLE, &cancel).await {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mysql::server::Flavor;

    fn position(seq: u64) -> GtidSet {
        GtidSet::parse(Flavor::MariaDb, &format!("0-1-{seq}")).unwrap()
    }

    #[test]
    fn lag_is_the_age_of_the_oldest_unapplied_sample() {
        let mut lag = Lag::default();
        assert_eq!(lag.now(), None);
        let old = Instant::now().checked_sub(Duration::from_secs(9)).unwrap();
        lag.sample(Sample { at: old, position: position(5) });
        lag.sample(Sample { at: Instant::now(), position: position(5) });
        lag.sample(Sample { at: Instant::now(), position: position(7) });
        assert!(lag.now().unwrap() >= Duration::from_secs(9));
        lag.applied(&position(6));
        assert!(lag.now().unwrap() < Duration::from_secs(9));
        lag.applied(&position(7));
        assert_eq!(lag.now(), Some(Duration::ZERO));
    }
}
