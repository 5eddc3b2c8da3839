//! Files of UnixFS (<https://specs.ipfs.tech/unixfs/>): trees of DAG-PB nodes over raw chunks.

use cid::Cid;

use crate::ids::{self, DAG_PB};

/// The most links of a node.
const WIDTH: usize = 1024;
/// The type of a file in UnixFS.
const FILE: u64 = 2;

/// A part of a file: a raw chunk, or a node over several.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) id: Cid,
    /// The file's bytes in it.
    pub(crate) size: u64,
    /// The bytes of all blocks in it.
    stored: u64,
}

impl Node {
    /// Returns a chunk.
    pub(crate) fn chunk(id: Cid, size: u64) -> Self {
        Self { id, size, stored: size }
    }
}

/// Returns the root of a file of these chunks, and the blocks of the nodes above them.
pub(crate) fn file(chunks: Vec<Node>) -> (Cid, Vec<(Cid, Vec<u8>)>) {
    let (mut level, mut blocks) = (chunks, Vec::new());
    while level.len() > 1 {
        let above = level.chunks(WIDTH).map(|parts| {
            let bytes = node(parts);
            let id = ids::of_block(DAG_PB, &bytes);
            let stored = bytes.len() as u64 + parts.iter().map(|part| part.stored).sum::<u64>();
            blocks.push((id, bytes));
            Node { id, size: parts.iter().map(|part| part.size).sum(), stored }
        });
        level = above.collect();
    }
    (level[0].id, blocks)
}

/// Returns a node over parts of a file: links first, as DAG-PB has it, then what UnixFS says of them.
fn node(parts: &[Node]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        let mut link = Vec::new();
        field(&mut link, 1, &part.id.to_bytes());
        field(&mut link, 2, b"");
        number(&mut link, 3, part.stored);
        field(&mut bytes, 2, &link);
    }
    let mut data = Vec::new();
    number(&mut data, 1, FILE);
    number(&mut data, 3, parts.iter().map(|part| part.size).sum());
    for part in parts {
        number(&mut data, 4, part.size);
    }
    field(&mut bytes, 1, &data);
    bytes
}

/// Writes a field of bytes in Protocol Buffers.
fn field(out: &mut Vec<u8>, key: u64, value: &[u8]) {
    varint(out, key << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// Writes a field that is a number in Protocol Buffers.
fn number(out: &mut Vec<u8>, key: u64, value: u64) {
    varint(out, key << 3);
    varint(out, value);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}
