//! The parts that every CIM service needs around its work: configuration, connections, logs, shutdown, retry.

pub mod config;
pub mod error;
pub mod logging;
pub mod nats;
pub mod output;
pub mod retry;
pub mod shutdown;
