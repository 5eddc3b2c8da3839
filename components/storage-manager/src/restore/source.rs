//! Segments' files, in order, a few ahead, each checked.

use std::sync::Arc;

use bytes::Bytes;
use cim_core::archive::Segment;
use futures_util::stream::{self, Stream, StreamExt as _};

use crate::s3::{Kind, S3Error, Store};

/// Files fetched ahead of the one that is being read.
const AHEAD: usize = 2;

/// Where files come from: a tier, and another one for what the first has lost.
#[derive(Debug, Clone)]
pub struct Source {
    /// The tier.
    pub tier: Arc<Store>,
    /// Keys and hashes are the same on every tier, so a file that is missing here may come from there.
    pub fallback: Option<Arc<Store>>,
}

impl Source {
    /// Every segment's file, in order.
    pub fn files(
        &self,
        segments: Vec<Segment>,
    ) -> impl Stream<Item = Result<(Segment, Bytes), S3Error>> + use<> {
        let source = self.clone();
        stream::iter(segments)
            .map(move |segment| {
                let source = source.clone();
                async move {
                    let file = source.file(&segment).await?;
                    Ok((segment, file))
                }
            })
            .buffered(AHEAD)
    }

    async fn file(&self, segment: &Segment) -> Result<Bytes, S3Error> {
        match (self.tier.get(&segment.key).await, &self.fallback) {
            (Err(error), Some(other)) if error.kind == Kind::NotFound => {
                tracing::warn!("{error}; reading it from {}", other.tier());
                other.get(&segment.key).await
            }
            (outcome, _) => outcome,
        }
    }
}
