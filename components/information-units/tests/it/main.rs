//! Information units as their users meet them: the program, a real nats-server, and clients of NATS.

mod car;
mod content;
mod crash;
mod fold;
mod lives;
mod measure;
mod rebuild;
mod schemas;
mod support;
