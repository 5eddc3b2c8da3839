//! Writing a CAR file.

use std::collections::BTreeSet;
use std::io::{self, Write};

use cid::Cid;
use serde::Serialize;

#[derive(Serialize)]
struct Header {
    roots: Vec<Cid>,
    version: u64,
}

/// A CAR file that is being written.
pub(crate) struct Writer<W: Write> {
    out: W,
    written: BTreeSet<Cid>,
}

impl<W: Write> Writer<W> {
    /// Begins a file with this root.
    pub(crate) fn new(mut out: W, root: Cid) -> io::Result<Self> {
        let header = Header { roots: vec![root], version: 1 };
        let header = serde_ipld_dagcbor::to_vec(&header).expect("a list of ids is DAG-CBOR");
        varint(&mut out, header.len())?;
        out.write_all(&header)?;
        Ok(Self { out, written: BTreeSet::new() })
    }

    /// Reports whether a block is in the file.
    pub(crate) fn has(&self, id: &Cid) -> bool {
        self.written.contains(id)
    }

    /// Writes a block, once.
    pub(crate) fn block(&mut self, id: Cid, bytes: &[u8]) -> io::Result<()> {
        if !self.written.insert(id) {
            return Ok(());
        }
        let id = id.to_bytes();
        varint(&mut self.out, id.len() + bytes.len())?;
        self.out.write_all(&id)?;
        self.out.write_all(bytes)
    }

    /// Ends the file.
    pub(crate) fn end(mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn varint(out: &mut impl Write, mut value: usize) -> io::Result<()> {
    loop {
        let low = u8::try_from(value & 0x7f).expect("seven bits");
        value >>= 7;
        if value == 0 {
            return out.write_all(&[low]);
        }
        out.write_all(&[low | 0x80])?;
    }
}
