//! Logs: to stderr, so that stdout carries results only. `SHUNT_LOG` filters (default `warn`), `SHUNT_LOG_FORMAT` is
//! `text` or `json`.

use std::io::IsTerminal;

use shunt_engine::Error;
use tracing_subscriber::EnvFilter;

/// The driver logs every error packet as the server wrote it, with the values of rows that it may quote, and before we
/// know whether it matters. It speaks only where it is named.
const DRIVER_OFF: &str = "mysql_async=off";

/// What is logged of all that the filter does not name: a filter that names one part, or is mistyped, takes no warning away.
const REST: &str = "warn";

/// Starts logging for the process.
///
/// # Errors
/// Usage if a variable cannot be understood.
pub fn start() -> anyhow::Result<()> {
    let wanted = std::env::var("SHUNT_LOG").unwrap_or_default();
    let filter = filter(&wanted)?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        // A log that cannot be written would be said on stderr, which panics if it is the one that cannot.
        .log_internal_errors(false);
    let format = std::env::var("SHUNT_LOG_FORMAT");
    let started = match format.as_deref() {
        Ok("text") | Err(_) => logs.try_init(),
        Ok("json") => logs.json().try_init(),
        Ok(other) => {
            let what = format!("SHUNT_LOG_FORMAT={other:?} is neither text nor json");
            return Err(Error::usage(what).into());
        }
    };
    started.map_err(|error| anyhow::anyhow!("logging cannot start: {error}"))
}

fn filter(wanted: &str) -> anyhow::Result<EnvFilter> {
    let parts = [DRIVER_OFF, REST, wanted];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    let filter = EnvFilter::try_new(parts.join(",")).map_err(|error| {
        Error::usage(format!("SHUNT_LOG={wanted:?} is not a log filter"))
            .source(error)
            .advice("It is off, error, warn, info, debug or trace, or a list as in \"warn,shunt_engine::stream=debug\".")
    })?;
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_stay_whatever_is_mistyped() {
        let written = |wanted: &str| filter(wanted).unwrap().to_string();
        for (wanted, level) in [("", "warn"), ("info", "info"), ("error", "error"), ("off", "off")]
        {
            assert!(
                written(wanted).split(',').any(|part| part == level),
                "{wanted}: {}",
                written(wanted)
            );
        }
        for wanted in ["inof", "warning", "shunt_engine::stream=debug"] {
            assert!(written(wanted).split(',').any(|part| part == "warn"), "{}", written(wanted));
        }
        assert!(filter("shunt=loud").is_err());
    }
}
