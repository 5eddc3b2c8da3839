//! Reading a CAR file, block by block.

use std::io::{self, Read};

use cid::Cid;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::ids::SHA2_256;

/// The most bytes of a block, and of the header.
const MOST: usize = 16 << 20;

/// A file that is no CAR file that can be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CarError {
    /// The file cannot be read.
    #[error("the CAR file cannot be read: {0}")]
    File(#[from] io::Error),
    /// The form.
    #[error("the CAR file is damaged or none: {0}; export it again")]
    Form(String),
    /// A block whose bytes are not those of its id.
    #[error(
        "block `{0}` of the CAR file is damaged: its bytes are not those of its id; export it again"
    )]
    Damaged(Cid),
}

#[derive(Deserialize)]
struct Header {
    roots: Vec<Cid>,
    version: u64,
}

/// A CAR file that is being read.
pub(crate) struct Reader<R: Read> {
    from: R,
    pub(crate) root: Cid,
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    pub(crate) fn new(mut from: R) -> Result<Self, CarError> {
        let form = |why: String| CarError::Form(why);
        let header = section(&mut from)?.ok_or_else(|| form("it is empty".into()))?;
        let header: Header = serde_ipld_dagcbor::from_slice(&header)
            .map_err(|error| form(format!("its header is none: {error}")))?;
        if header.version != 1 {
            return Err(form(format!("it is of version {}, not 1", header.version)));
        }
        let [root] = header.roots[..] else {
            return Err(form(format!("it has {} roots, not one", header.roots.len())));
        };
        Ok(Self { from, root })
    }

    /// Returns the next block, checked.
    pub(crate) fn next(&mut self) -> Result<Option<(Cid, Vec<u8>)>, CarError> {
        let Some(mut section) = section(&mut self.from)? else { return Ok(None) };
        let mut rest = section.as_slice();
        let id = Cid::read_bytes(&mut rest);
        let id = id.map_err(|error| CarError::Form(format!("a block has no id: {error}")))?;
        let bytes = section.split_off(section.len() - rest.len());
        if id.hash().code() != SHA2_256 {
            return Err(CarError::Form(format!("block `{id}` has another hash than SHA-256")));
        }
        if id.hash().digest() != Sha256::digest(&bytes).as_slice() {
            return Err(CarError::Damaged(id));
        }
        Ok(Some((id, bytes)))
    }
}

/// Reads a length and as many bytes; `None` at the file's end.
fn section(from: &mut impl Read) -> Result<Option<Vec<u8>>, CarError> {
    let mut len = 0_usize;
    for shift in (0..).step_by(7) {
        let mut byte = [0];
        match from.read_exact(&mut byte) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && shift == 0 => {
                return Ok(None);
            }
            read => read?,
        }
        len |= usize::from(byte[0] & 0x7f) << shift;
        if len > MOST || shift > 28 {
            return Err(CarError::Form(format!("a block is larger than {MOST} bytes")));
        }
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    let mut bytes = vec![0; len];
    from.read_exact(&mut bytes)?;
    Ok(Some(bytes))
}
