//! Reading content: every chunk is checked before it is handed on, the whole at the end, and damage is healed.

use std::io::Write;

use bytes::Bytes;
use cim_core::names::ContentId;
use futures_util::stream::{self, StreamExt as _};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::Contents;
use super::bucket::list_name;
use super::error::ContentError;
use super::list::{Chunk, List};
use crate::ids::{self, RAW};

/// The chunks that are fetched at the same time.
const AT_ONCE: usize = 8;

/// Content that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Got {
    /// Its id.
    pub(crate) content: ContentId,
    /// Its bytes.
    pub(crate) size: u64,
    /// Its parts that were damaged or missing, and are healed.
    pub(crate) healed: usize,
}

impl Contents {
    /// Reads content into a writer.
    pub(crate) async fn get(
        &self,
        id: &ContentId,
        out: &mut (impl Write + Send),
    ) -> Result<Got, ContentError> {
        let (list, healed) = self.list(id).await?;
        let got = self.read(id, list, out).await?;
        Ok(Got { healed: healed + got.healed, ..got })
    }

    /// Reads the chunks of a list, and checks that they are some content's.
    pub(super) async fn read(
        &self,
        id: &ContentId,
        list: List,
        out: &mut (impl Write + Send),
    ) -> Result<Got, ContentError> {
        let mut healed = 0;
        let blocks = stream::iter(list.chunks).map(async |chunk| self.block(&chunk.id).await);
        let mut read = std::pin::pin!(blocks.buffered(AT_ONCE));
        let (mut whole, mut size) = (Sha256::new(), 0);
        while let Some(block) = read.next().await {
            let (bytes, was_healed) = block?;
            healed += usize::from(was_healed);
            size += bytes.len() as u64;
            whole.update(&bytes);
            out.write_all(&bytes)?;
        }
        out.flush()?;
        let found = ids::of_digest(RAW, &whole.finalize());
        if found.hash() != ids::cid(id).hash() {
            return Err(self.damaged(id, "its list names the chunks of other content".into()));
        }
        Ok(Got { content: id.clone(), size, healed })
    }

    /// Returns the chunks of some content, and the number of lists that had to be healed.
    pub(crate) async fn list(&self, id: &ContentId) -> Result<(List, usize), ContentError> {
        let name = list_name(id.as_str());
        let read = |bytes: &Bytes| {
            serde_json::from_slice::<List>(bytes).ok().filter(|list| !list.chunks.is_empty())
        };
        let one = |size| List { size, chunks: vec![Chunk { id: id.clone(), size }] };
        let found = self.bucket_fetch(&name).await?;
        if let Some(list) = found.as_ref().and_then(read) {
            return Ok((list, 0));
        }
        if let Some(size) = self.bucket.size(id.as_str()).await? {
            return Ok((one(size), 0));
        }
        if let Some(second) = &self.second {
            let bytes = second.fetch(&name).await?;
            if let Some((list, bytes)) = bytes.and_then(|bytes| Some((read(&bytes)?, bytes))) {
                self.bucket.put(&name, &bytes).await?;
                self.told(&name, "the list of its chunks was missing or damaged");
                return Ok((list, 1));
            }
        }
        if found.is_some() {
            return Err(self.damaged(id, "the list of its chunks cannot be read".into()));
        }
        let (bytes, _) = self.block(id).await?;
        Ok((one(bytes.len() as u64), 1))
    }

    /// Returns the bytes of a chunk, checked, and if it was healed.
    pub(crate) async fn block(&self, id: &ContentId) -> Result<(Bytes, bool), ContentError> {
        let right =
            |bytes: &Bytes| id.verify(bytes).map_err(|_| ContentError::Unchecked(id.clone()));
        let found = self.bucket_fetch(id.as_str()).await?;
        if let Some(bytes) = &found
            && right(bytes)?
        {
            return Ok((bytes.clone(), false));
        }
        if let Some(second) = &self.second {
            let other = second.fetch(id.as_str()).await?;
            if let Some(bytes) = other
                && right(&bytes)?
            {
                self.bucket.put(id.as_str(), &bytes).await?;
                let was = if found.is_some() {
                    "its bytes were not those of its id"
                } else {
                    "it was missing"
                };
                self.told(id.as_str(), was);
                return Ok((bytes, true));
            }
        }
        match found {
            Some(_) => Err(self.damaged(id, "its bytes are not those of its id".into())),
            None => Err(ContentError::Missing(id.clone(), self.bucket.name().to_owned())),
        }
    }

    fn told(&self, name: &str, was: &str) {
        let second = self.second.as_ref().map_or_else(String::new, |second| second.name());
        tracing::warn!("`{name}` is healed from bucket `{second}` of the second server: {was}");
    }

    fn damaged(&self, id: &ContentId, why: String) -> ContentError {
        ContentError::Damaged { id: id.clone(), bucket: self.bucket.name().to_owned(), why }
    }

    async fn bucket_fetch(&self, name: &str) -> Result<Option<Bytes>, ContentError> {
        super::bucket::Source::fetch(&self.bucket, name).await
    }
}
