//! Content ids as the crates of IPLD know them.

use cid::Cid;
use cid::multihash::Multihash;
use cim_core::names::ContentId;
use sha2::{Digest as _, Sha256};

/// Multicodec of bytes that are not interpreted.
pub(crate) const RAW: u64 = 0x55;
/// Multicodec of nodes of UnixFS.
pub(crate) const DAG_PB: u64 = 0x70;
/// Multicodec of records.
pub(crate) const DAG_CBOR: u64 = 0x71;
/// Multihash code of SHA-256, the one hash of all tiers.
pub(crate) const SHA2_256: u64 = 0x12;

/// Returns the id of a block.
pub(crate) fn of_block(codec: u64, block: &[u8]) -> Cid {
    of_digest(codec, &Sha256::digest(block))
}

/// Returns the id of content of which the SHA-256 is known.
pub(crate) fn of_digest(codec: u64, digest: &[u8]) -> Cid {
    let hash = Multihash::wrap(SHA2_256, digest).expect("32 bytes fit into a multihash of 64");
    Cid::new_v1(codec, hash)
}

/// Returns a CID as the project spells it.
pub(crate) fn named(cid: &Cid) -> ContentId {
    ContentId::new(cid.to_string()).expect("version 1 with SHA-256 in base32 is a content id")
}

/// Returns the CID of a content id.
pub(crate) fn cid(id: &ContentId) -> Cid {
    Cid::try_from(id.as_str()).expect("a content id is a CID")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_one() {
        let of_core = ContentId::of(b"hello world");
        let of_ipld = of_block(RAW, b"hello world");
        assert_eq!(named(&of_ipld), of_core);
        assert_eq!(cid(&of_core), of_ipld);
    }
}
