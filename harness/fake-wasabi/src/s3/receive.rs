//! Receiving request bodies: streamed, hashed once, checked, then committed.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::StreamExt as _;
use hyper::HeaderMap;
use s3s::dto::StreamingBlob;
use s3s::{S3Error, S3Result, StdError, TrailingHeaders, s3_error};
use tokio::sync::mpsc;

use super::Api;
use crate::behaviour::MAXIMUM_PUT_BYTES;
use crate::store::meta::Checksums;
use crate::store::{Algorithm, Blob, Store, StoreError, Wanted};

/// Chunks that wait for the disk. With hyper's read buffer this bounds memory for one upload.
const QUEUE: usize = 8;

/// The client's claims about the bytes that it sends.
#[derive(Debug, Default)]
pub(super) struct Claims {
    md5: Option<Vec<u8>>,
    checksums: Checksums,
    wanted: Wanted,
    trailing: Option<TrailingHeaders>,
}

impl Claims {
    /// Reads `Content-MD5`, `x-amz-checksum-*` and the trailers that are announced.
    pub(super) fn read(
        headers: &HeaderMap,
        content_md5: Option<&str>,
        checksums: Checksums,
        trailing: Option<TrailingHeaders>,
    ) -> S3Result<Self> {
        // An empty value is a claim too, and a wrong one; s3s treats it as none.
        let empty = || headers.get("content-md5").filter(|value| value.is_empty()).map(|_| "");
        let md5 = match content_md5.or_else(empty).map(|text| STANDARD.decode(text)) {
            None => None,
            Some(Ok(md5)) if md5.len() == 16 => Some(md5),
            Some(_) => return Err(s3_error!(InvalidDigest, "Content-MD5 is not a base64 MD5")),
        };
        let headers_that_name =
            ["x-amz-sdk-checksum-algorithm", "x-amz-checksum-algorithm", "x-amz-trailer"];
        let announced: Vec<_> = headers_that_name
            .iter()
            .flat_map(|name| headers.get_all(*name))
            .map(|value| value.to_str().unwrap_or("").to_ascii_lowercase())
            .collect();
        let announced = |algorithm: Algorithm| {
            let names = announced.iter().flat_map(|value| value.split(','));
            names.map(str::trim).any(|name| {
                name.strip_prefix("x-amz-checksum-").unwrap_or(name) == algorithm.name()
            })
        };
        let wanted = Algorithm::ALL
            .into_iter()
            .filter(|algorithm| checksums.get(*algorithm).is_some() || announced(*algorithm))
            .collect();
        Ok(Self { md5, checksums, wanted, trailing })
    }

    /// Adds the checksums that came after the body.
    fn add_trailers(&mut self) {
        let Some(headers) = self.trailing.as_ref().and_then(TrailingHeaders::take) else { return };
        for algorithm in Algorithm::ALL {
            let value = headers.get(format!("x-amz-checksum-{}", algorithm.name()));
            if let Some(value) = value.and_then(|value| value.to_str().ok()) {
                *self.checksums.get_mut(algorithm) = Some(value.to_owned());
            }
        }
    }

    fn check(&self, blob: &Blob) -> Result<(), Failed> {
        let md5_agrees = self.md5.as_ref().is_none_or(|md5| md5.as_slice() == blob.md5);
        if md5_agrees && blob.checksums.agrees_with(&self.checksums) {
            Ok(())
        } else {
            Err(Failed::Digest)
        }
    }
}

enum Piece {
    Chunk(Bytes),
    End(Box<Claims>),
}

/// The reason for which the writing side stopped.
enum Failed {
    Store(StoreError),
    Digest,
    /// The reading side ended early: the client went away or its body broke.
    Incomplete,
}

impl Api {
    /// Streams a body into a temporary file, checks it against the claims, and commits it.
    ///
    /// The file is written and hashed on a thread of its own, and `commit` runs there as well. A
    /// request that is dropped before the end of its body commits nothing; one that is dropped
    /// after it is still committed.
    pub(super) async fn receive<T: Send + 'static>(
        &self,
        body: Option<StreamingBlob>,
        content_length: Option<i64>,
        mut claims: Claims,
        commit: impl FnOnce(&Store, Blob) -> Result<T, StoreError> + Send + 'static,
    ) -> S3Result<T> {
        let length = content_length.and_then(|length| u64::try_from(length).ok());
        if length.is_some_and(|length| length > MAXIMUM_PUT_BYTES) {
            return Err(s3_error!(EntityTooLarge, "one PUT may bring {MAXIMUM_PUT_BYTES} bytes"));
        }
        let (sender, receiver) = mpsc::channel(QUEUE);
        let store: Arc<Store> = self.store.clone();
        let wanted = std::mem::take(&mut claims.wanted);
        let writing = tokio::task::spawn_blocking(move || write(&store, receiver, &wanted, commit));
        if let Some(mut body) = body {
            while let Some(chunk) = body.next().await {
                let chunk = chunk.map_err(|error| broken_body(&error))?;
                if sender.send(Piece::Chunk(chunk)).await.is_err() {
                    // The writer stopped; its result says why.
                    break;
                }
            }
        }
        claims.add_trailers();
        // As above.
        let _ = sender.send(Piece::End(Box::new(claims))).await;
        drop(sender);
        match writing.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(Failed::Store(error))) => Err(error.into()),
            Ok(Err(Failed::Digest)) => {
                Err(s3_error!(BadDigest, "the body does not have the digest that was given"))
            }
            Ok(Err(Failed::Incomplete)) => Err(s3_error!(IncompleteBody)),
            Err(error) => Err(S3Error::internal_error(error)),
        }
    }
}

fn write<T>(
    store: &Store,
    mut pieces: mpsc::Receiver<Piece>,
    wanted: &[Algorithm],
    commit: impl FnOnce(&Store, Blob) -> Result<T, StoreError>,
) -> Result<T, Failed> {
    let io = |error| Failed::Store(StoreError::Io(error));
    let mut writer = store.writer(wanted).map_err(io)?;
    loop {
        match pieces.blocking_recv() {
            Some(Piece::Chunk(chunk)) => writer.write(&chunk).map_err(io)?,
            Some(Piece::End(claims)) => {
                let blob = writer.finish();
                claims.check(&blob)?;
                return commit(store, blob).map_err(Failed::Store);
            }
            None => return Err(Failed::Incomplete),
        }
    }
}

/// Returns S3's error for a body that failed. s3s hides the types of these errors, so their text
/// decides.
fn broken_body(error: &StdError) -> S3Error {
    let text = format!("{error:?} {error}");
    if text.contains("Sha256Mismatch") {
        let code = s3s::S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into());
        let message = "the body does not have the hash in x-amz-content-sha256";
        let mut error = S3Error::with_message(code, message);
        error.set_status_code(hyper::StatusCode::BAD_REQUEST);
        error
    } else if text.contains("SignatureMismatch") {
        s3_error!(SignatureDoesNotMatch, "a chunk of the body has another signature")
    } else {
        s3_error!(IncompleteBody, "the body ended before its declared length")
    }
}
