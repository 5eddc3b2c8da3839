//! Labs of containers: a Docker network, a volume for each machine's disk, a container for each program.
//!
//! - Nothing is pulled: the images are those of `ci/images`, or there is no lab.
//! - Everything that a lab makes carries its label. A reaper (see [`reaper`]), which outlives the
//!   harness however that ends, removes everything with the label. There is no other clean-up at
//!   the end.
//! - A program that is started again is a new container with the old one's name and volume.
//! - Links are the harness's own proxies, on the network's gateway: an engine on another machine,
//!   whose gateway is not here, cannot be used.

mod disk;
mod engine;
mod lab;
mod network;
pub(crate) mod reaper;
mod unit;

pub(crate) use engine::{Engine, Found};
pub(crate) use lab::Lab;
