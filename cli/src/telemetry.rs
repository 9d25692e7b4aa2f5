//! Logs: to stderr, so that stdout carries results only. `SHUNT_LOG` filters (default `warn`), `SHUNT_LOG_FORMAT` is
//! `text` or `json`.

use std::io::IsTerminal;

use shunt_engine::Error;
use tracing_subscriber::EnvFilter;

/// The driver logs every error packet as the server wrote it, with the values of rows that it may quote, and before we
/// know whether it matters. It speaks only where it is named.
const DRIVER_OFF: &str = "mysql_async=off";

/// Starts logging for the process.
///
/// # Errors
/// Usage if a variable cannot be understood.
pub fn start() -> anyhow::Result<()> {
    let filter = match std::env::var("SHUNT_LOG") {
        Ok(text) => EnvFilter::try_new(format!("{DRIVER_OFF},{text}")).map_err(|error| {
            Error::usage(format!("SHUNT_LOG={text:?} is not a log filter")).source(error)
        })?,
        Err(_) => EnvFilter::new(format!("{DRIVER_OFF},warn")),
    };
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
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
