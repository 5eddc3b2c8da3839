//! Lists keys.

use std::collections::HashMap;
use std::sync::Arc;

use s3::serde_types::ListBucketResult;

use super::{Store, URL_LIFETIME_SECONDS};
use crate::s3::access::Way;
use crate::s3::error::{ErrorKind, S3Error};
use crate::s3::page;

/// The result of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The key, or the common prefix.
    pub key: String,
    /// The object's size in bytes; 0 for a prefix.
    pub size: u64,
}

/// Returns the query for a page of a list.
fn list_query(
    prefix: &str,
    folders: bool,
    token: Option<&str>,
    after: Option<&str>,
) -> HashMap<String, String> {
    let named = [
        ("list-type", Some("2")),
        ("prefix", Some(prefix)),
        ("delimiter", folders.then_some("/")),
        ("continuation-token", token),
        ("start-after", after),
    ];
    let given = named.into_iter().filter_map(|(name, value)| Some((name.into(), value?.into())));
    given.collect()
}

impl Store {
    /// Lists every key below `prefix`; with `folders` the common prefixes up to the next `/` instead.
    pub async fn list(&self, prefix: &str, folders: bool) -> Result<Vec<Listed>, S3Error> {
        self.list_from(prefix, folders, None).await
    }

    /// Lists every key below `prefix` that comes after the key `after`, in the order of their bytes. A service that
    /// does not know `start-after` sends the others too; they are left out here.
    pub async fn list_after(&self, prefix: &str, after: &str) -> Result<Vec<Listed>, S3Error> {
        let mut found = self.list_from(prefix, false, Some(after)).await?;
        found.retain(|object| object.key.as_str() > after);
        Ok(found)
    }

    /// Lists the keys below `prefix` up to the key `end`, and some behind it: pages are fetched until one reaches it.
    pub async fn list_until(&self, prefix: &str, end: &str) -> Result<Vec<Listed>, S3Error> {
        let reached = |found: &[Listed]| found.last().is_some_and(|last| last.key.as_str() >= end);
        self.list_while(prefix, false, None, |found| !reached(found)).await
    }

    async fn list_from(
        &self,
        prefix: &str,
        folders: bool,
        after: Option<&str>,
    ) -> Result<Vec<Listed>, S3Error> {
        self.list_while(prefix, folders, after, |_| true).await
    }

    async fn list_while(
        &self,
        prefix: &str,
        folders: bool,
        after: Option<&str>,
        more: impl Fn(&[Listed]) -> bool,
    ) -> Result<Vec<Listed>, S3Error> {
        let (mut found, mut token) = (Vec::new(), None);
        loop {
            let page = self.call("list", prefix, || {
                let query = list_query(prefix, folders, token.as_deref(), after);
                self.keyed(move |way| self.list_by(way, prefix, query.clone()))
            });
            let page = page.await?;
            let next = page::next(prefix, &page, token.as_deref());
            token = next.map_err(|what| self.error("list", prefix, ErrorKind::Unexpected(what)))?;
            if folders {
                let prefixes = page.common_prefixes.unwrap_or_default();
                found.extend(prefixes.into_iter().map(|p| Listed { key: p.prefix, size: 0 }));
            } else {
                // Consoles and file managers make objects of folders.
                let objects = page.contents.into_iter().filter(|object| !object.key.ends_with('/'));
                found.extend(objects.map(|o| Listed { key: o.key, size: o.size }));
            }
            if token.is_none() || !more(&found) {
                return Ok(found);
            }
        }
    }

    async fn list_by(
        &self,
        way: Arc<Way>,
        prefix: &str,
        query: HashMap<String, String>,
    ) -> Result<ListBucketResult, S3Error> {
        self.count();
        let url = way.bucket.presign_get("/", URL_LIFETIME_SECONDS, Some(query)).await;
        let url = url.map_err(|e| self.client_error("list", prefix, &e))?;
        let request = way.client.get(url).timeout(self.timeout);
        match self.answer("list", prefix, request).await? {
            (200..=299, text) => quick_xml::de::from_str(&text).map_err(|error| {
                let what = format!("no list of S3's: {error}");
                self.error("list", prefix, ErrorKind::Unexpected(what))
            }),
            (status, text) => {
                Err(self.error("list", prefix, ErrorKind::from_response(status, &text)))
            }
        }
    }
}
