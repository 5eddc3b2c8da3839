//! The driver substrate: machines that an outside program owns.
//!
//! The engine sends requests over a Unix socket, and the driver performs them: docs/driver.md is
//! the protocol.

mod client;
mod damage;
mod lab;
mod overrides;
mod protocol;
mod server;

pub(crate) use client::{Args, run};
pub(crate) use lab::Lab;
pub(crate) use protocol::LabFile;
pub(crate) use server::Driver;
