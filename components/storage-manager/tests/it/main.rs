//! The storage manager as its users run it: real nats-server, real MinIO, real processes.

mod age;
mod bad_input;
mod buckets;
mod chain;
mod clock;
mod cluster;
mod drawn;
mod exactness;
mod faults;
mod gone;
mod journal;
mod login;
mod missed;
mod no_delete;
mod openness;
mod page;
mod refill;
mod runbook;
mod slow;
mod slow_nas;
mod standby;
mod starve;
mod stop;
mod support;
mod timelines;
mod wasabi;
