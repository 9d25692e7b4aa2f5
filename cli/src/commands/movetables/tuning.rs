//! The tunables of a workflow: `[throttle]` of the configuration, and over it `--config-overrides`, by the names of the file
//! (`throttle.threads_running_max=64`) or of the engine (`chunk_rows_max=5000`).

use shunt_engine::workflow::spec::Tuning;
use shunt_engine::{Error, Result};

use crate::config::{Override, Threshold, Throttle};

/// What a new workflow begins with.
pub(in crate::commands) fn of_config(throttle: &Throttle) -> Tuning {
    Tuning {
        throttle_replica_lag_ms: bound(throttle.replica_lag_max_ms),
        throttle_threads_running: bound(throttle.threads_running_max),
        throttle_history_list: bound(throttle.history_list_length_max),
        throttle_commit_ms: bound(throttle.target_commit_ms_max),
        throttle_interval_ms: throttle.interval_ms.get(),
        ..Tuning::default()
    }
}

/// Changes what is named and leaves the rest.
pub(in crate::commands) fn override_with(
    tuning: &mut Tuning,
    overrides: &[Override],
) -> Result<()> {
    for one in overrides {
        if !one.key.contains('.') {
            tuning.set(&one.key, &one.value)?;
            continue;
        }
        // The file's own rules for the value; what it gives is a whole section of which one key is of interest.
        let parsed = Throttle::default().with_overrides(std::slice::from_ref(one))?;
        if one.key == "throttle.interval_ms" {
            tuning.throttle_interval_ms = parsed.interval_ms.get();
            continue;
        }
        let (field, threshold) = match one.key.as_str() {
            "throttle.replica_lag_max_ms" => {
                (&mut tuning.throttle_replica_lag_ms, parsed.replica_lag_max_ms)
            }
            "throttle.threads_running_max" => {
                (&mut tuning.throttle_threads_running, parsed.threads_running_max)
            }
            "throttle.history_list_length_max" => {
                (&mut tuning.throttle_history_list, parsed.history_list_length_max)
            }
            "throttle.target_commit_ms_max" => {
                (&mut tuning.throttle_commit_ms, parsed.target_commit_ms_max)
            }
            key => {
                return Err(Error::usage(format!("{key} cannot differ from workflow to workflow")));
            }
        };
        *field = bound(threshold);
    }
    Ok(())
}

/// The engine writes "off" as 0, so that a bound of 0 becomes the lowest there is.
fn bound(threshold: Threshold) -> u64 {
    threshold.bound().map_or(0, |bound| bound.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> Result<Tuning> {
        let mut tuning = of_config(&Throttle::default());
        let overrides: Result<Vec<Override>> = text.split(',').map(str::parse).collect();
        override_with(&mut tuning, &overrides?)?;
        Ok(tuning)
    }

    #[test]
    fn both_kinds_of_names_are_known() {
        let start = of_config(&Throttle::default());
        assert_eq!(start.throttle_threads_running, 64);
        let tuning = with("throttle.replica_lag_max_ms=off,chunk_rows_max=500").unwrap();
        assert_eq!((tuning.throttle_replica_lag_ms, tuning.chunk_rows_max), (0, 500));
        assert_eq!(tuning.throttle_threads_running, start.throttle_threads_running);
        assert_eq!(with("throttle.threads_running_max=0").unwrap().throttle_threads_running, 1);
        assert_eq!(with("throttle.interval_ms=9").unwrap().throttle_interval_ms, 9);
        for text in ["throttle.interval_ms=0", "serve.poll_ms=9", "nothing=1", "chunk_rows_max=0"] {
            assert!(with(text).is_err(), "{text}");
        }
    }
}
