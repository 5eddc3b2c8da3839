//! CAR files, version 1 (<https://ipld.io/specs/transport/car/carv1/>): a unit and all that belongs to it, for IPFS's tools.
//!
//! The root is a manifest in DAG-CBOR. From it lead links to the records of all versions, and to each content as a file
//! of UnixFS, so that `ipfs dag get` and `ipfs cat` read them. Every block is checked against its id when it is read.

mod manifest;
mod read;
mod unixfs;
mod write;

pub(crate) use manifest::{Content, FORMAT, Link, Manifest, Step, VERSION};
pub(crate) use read::{CarError, Reader};
pub(crate) use unixfs::{Node, file};
pub(crate) use write::Writer;
