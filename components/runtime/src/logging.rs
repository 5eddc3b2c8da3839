//! Logs: to stderr, so that stdout stays data.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Starts logging with this filter (`info`, `cim_storage_manager=debug`, …); a broken one is an error.
pub fn init(filter: &str) -> Result<(), String> {
    // What the NATS client tells of each try to connect its user tells once.
    let quiet = if filter.contains("async_nats") { "" } else { ",async_nats::connector=off" };
    let filter = EnvFilter::try_new(format!("{filter}{quiet}")).map_err(|error| {
        format!("`{filter}` is not a log filter: {error}; try `info` or `debug`")
    })?;
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .with_target(false)
        .try_init()
        .map_err(|error| format!("cannot start logging: {error}"))
}
