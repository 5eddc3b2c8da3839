//! What the tests need, one idea a file. [`Lab`] first: it starts all of it; then [`Nats`] (`nats`: the server,
//! `jetstream`: its streams), [`Manager`] (`manager`: its commands, `daemon`: tiering, `progress`: waiting for it) and
//! [`Minio`]. The rest is named after what it is.

mod archived_journal;
mod authority;
mod bucket;
mod child;
mod cluster;
mod credentials;
mod daemon;
mod damage;
mod documented;
mod encrypted;
mod fake;
mod fingerprint;
mod jetstream;
mod lab;
mod manager;
mod minio;
mod minio_process;
mod nas;
mod nats;
mod ports;
mod progress;
mod python;
mod restore_all;
mod routes;
mod settings;
mod store;
mod version;

pub(crate) use archived_journal::{ArchivedJournal, ENTRIES};
pub(crate) use authority::Authority;
pub(crate) use bucket::{bucket_at, download, keys};
pub(crate) use child::Child;
pub(crate) use cim_testing::{noise, required_tool, wait_until};
pub(crate) use cluster::Cluster;
pub(crate) use credentials::{SECRET, USER, credentials_file, write_secret};
pub(crate) use daemon::Daemon;
pub(crate) use damage::{flipped, rotten, rotten_throughout};
pub(crate) use documented::documented;
pub(crate) use encrypted::{Encrypted, OFTEN, STREAMS, encryption, new_key};
pub(crate) use fake::{fake_s3, fake_s3_with, struck};
pub(crate) use fingerprint::{are_the_same, fingerprint, fingerprints, have_the_same_messages};
pub(crate) use lab::{Builder, Host, Lab, login};
pub(crate) use manager::Manager;
pub(crate) use minio::Minio;
pub(crate) use nas::Nas;
pub(crate) use nats::Nats;
pub(crate) use ports::free_ports;
pub(crate) use python::rows;
pub(crate) use restore_all::{account, outcomes, restore_all};
pub(crate) use settings::{NOWHERE, Settings};
pub(crate) use store::store_at;
pub(crate) use version::{Version, pinned};
