//! The storage manager as its users run it: real nats-server, real MinIO, real processes.

mod bad_input;
mod buckets;
mod chain;
mod clock;
mod cluster;
mod drawn;
mod exactness;
mod faults;
mod idle;
mod interest;
mod login;
mod openness;
mod queue;
mod runbook;
mod support;
mod timelines;
mod wasabi;
