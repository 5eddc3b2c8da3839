//! Writing content.

use std::collections::BTreeSet;
use std::io::Read;

use bytes::Bytes;
use cim_core::names::ContentId;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use serde::Serialize;

use super::Contents;
use super::bucket::list_name;
use super::cut::{Cut, cut};
use super::error::ContentError;
use super::list::{Chunk, List};

/// The chunks that are written at the same time.
const AT_ONCE: usize = 8;

/// Content that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Stored {
    /// Its id.
    pub(crate) content: ContentId,
    /// Its bytes.
    pub(crate) size: u64,
    /// Its chunks.
    pub(crate) chunks: usize,
    /// The chunks that were not there before.
    pub(crate) new_chunks: usize,
    /// The bytes of those.
    pub(crate) new_bytes: u64,
}

impl Contents {
    /// Writes all that a reader has. A chunk that is there is not written again, unless `anew` says so.
    pub(crate) async fn put(
        &self,
        reader: impl Read + Send + 'static,
        anew: bool,
    ) -> Result<Stored, ContentError> {
        let (mut cuts, task) = cut(reader);
        let (mut seen, mut chunks) = (BTreeSet::new(), Vec::new());
        let (mut new_chunks, mut new_bytes) = (0, 0);
        let mut writing = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(written) = writing.next() => {
                    let written: u64 = written?;
                    new_bytes += written;
                    new_chunks += usize::from(written > 0);
                }
                cut = cuts.recv(), if writing.len() < AT_ONCE => {
                    let Some(Cut { id, bytes }) = cut else { break };
                    chunks.push(Chunk { id: id.clone(), size: bytes.len() as u64 });
                    if seen.insert(id.clone()) {
                        writing.push(self.put_chunk(id, bytes, anew));
                    }
                }
            }
        }
        while let Some(written) = writing.next().await {
            let written = written?;
            new_bytes += written;
            new_chunks += usize::from(written > 0);
        }
        let (content, size) = task.await.map_err(std::io::Error::other)??;
        if chunks.is_empty() {
            self.bucket.put(content.as_str(), b"").await?;
        }
        let stored = Stored { content, size, chunks: chunks.len(), new_chunks, new_bytes };
        if chunks.len() > 1 {
            self.put_list(&stored.content, &List { size, chunks }, anew).await?;
        }
        Ok(stored)
    }

    /// Writes a block that was checked, if it is not there.
    pub(crate) async fn put_block(&self, id: &ContentId, bytes: &[u8]) -> Result<(), ContentError> {
        self.bucket.ensure(id.as_str(), Bytes::copy_from_slice(bytes)).await.map(drop)
    }

    /// Makes content of chunks that are there, if they are its.
    pub(crate) async fn assemble(&self, id: &ContentId, list: &List) -> Result<(), ContentError> {
        self.read(id, list.clone(), &mut std::io::sink()).await?;
        if list.chunks.len() > 1 {
            self.put_list(id, list, false).await?;
        }
        Ok(())
    }

    /// Writes a chunk if it is not there, and returns the bytes that were written.
    async fn put_chunk(
        &self,
        id: ContentId,
        bytes: Bytes,
        anew: bool,
    ) -> Result<u64, ContentError> {
        let len = bytes.len() as u64;
        if anew {
            self.bucket.put(id.as_str(), &bytes).await?;
            return Ok(len);
        }
        Ok(if self.bucket.ensure(id.as_str(), bytes).await? { len } else { 0 })
    }

    async fn put_list(&self, id: &ContentId, list: &List, anew: bool) -> Result<(), ContentError> {
        let name = list_name(id.as_str());
        let text = serde_json::to_vec(list).expect("ids and sizes are JSON");
        if anew {
            return self.bucket.put(&name, &text).await;
        }
        self.bucket.ensure(&name, text.into()).await.map(drop)
    }
}
