//! The registry as its users meet it: its program, a real nats-server, and clients of NATS.

mod conflict;
mod crash;
mod drain;
mod duplicates;
mod fold;
mod lives;
mod million;
mod permitted;
mod rebuild;
mod schemas;
mod support;
mod unknown;
