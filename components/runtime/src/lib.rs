//! The parts that every CIM service needs around its work: configuration, connections, logs, shutdown, retry; and,
//! with the feature `component`, all of an event-sourced component but its own rules.
//!
//! Owns the surroundings of a service, and of a component the way from a request to its event and
//! back. Does not own any rule of a component, and the archive.

#[cfg(all(feature = "fail-points", not(debug_assertions)))]
compile_error!(
    "`fail-points` is for tests: a build without debug assertions, which could be shipped, cannot have it"
);

#[cfg(feature = "component")]
pub mod component;
pub mod config;
pub mod error;
pub mod logging;
pub mod nats;
pub mod output;
pub mod retry;
pub mod shutdown;
