//! Logs: to stderr, so that stdout stays data.

use std::io::IsTerminal as _;

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

/// Lines that wait for a slow reader of stderr. Further lines are dropped, so that work goes on.
const WAITING: usize = 10_000;

/// The log. Dropping it writes all lines that were logged.
#[derive(Debug)]
pub struct Log {
    _writer: WorkerGuard,
}

/// Starts logging with this filter (`info`, `cim_storage_manager=debug`, …). A thread of its own writes: a reader
/// of stderr that has gone, or has stopped reading, does not hold up work.
///
/// # Errors
/// When the filter is invalid.
pub fn init(filter: &str) -> Result<Log, String> {
    // The NATS client reports each try to connect; the service reports once.
    let quiet = if filter.contains("async_nats") { "" } else { ",async_nats::connector=off" };
    let filter = EnvFilter::try_new(format!("{filter}{quiet}")).map_err(|error| {
        format!("`{filter}` is not a log filter: {error}; try `info` or `debug`")
    })?;
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = NonBlockingBuilder::default().buffered_lines_limit(WAITING);
    let (stderr, writer) = lines.finish(std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(colour)
        .with_target(false)
        // Otherwise it prints its own errors, and panics when that fails too.
        .log_internal_errors(false)
        .try_init()
        .map_err(|error| format!("cannot start logging: {error}"))?;
    Ok(Log { _writer: writer })
}
