//! The cutting of content into chunks, on a thread of its own.

use std::io::Read;

use bytes::Bytes;
use cim_core::names::ContentId;
use fastcdc::v2020::StreamCDC;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::ids::{self, RAW};

/// The least bytes of a chunk that is not the last.
const MIN: usize = 64 << 10;
/// The bytes of a chunk on average.
const AVERAGE: usize = 256 << 10;
/// The most bytes of a chunk: they fit into one message of a server with its defaults.
pub(super) const MAX: usize = 512 << 10;
/// Chunks that wait to be written.
const WAITING: usize = 4;

/// A chunk that was cut.
pub(super) struct Cut {
    pub(super) id: ContentId,
    pub(super) bytes: Bytes,
}

/// Cuts all that a reader has. The task returns the whole content's id and size.
pub(super) fn cut(
    reader: impl Read + Send + 'static,
) -> (mpsc::Receiver<Cut>, JoinHandle<std::io::Result<(ContentId, u64)>>) {
    let (send, receive) = mpsc::channel(WAITING);
    let task = tokio::task::spawn_blocking(move || {
        let (mut whole, mut size) = (Sha256::new(), 0);
        for chunk in StreamCDC::new(reader, MIN, AVERAGE, MAX) {
            let bytes = chunk.map_err(std::io::Error::from)?.data;
            whole.update(&bytes);
            size += bytes.len() as u64;
            let id = ContentId::of(&bytes);
            if send.blocking_send(Cut { id, bytes: bytes.into() }).is_err() {
                // The writer has failed, and says why.
                break;
            }
        }
        Ok((ids::named(&ids::of_digest(RAW, &whole.finalize())), size))
    });
    (receive, task)
}
