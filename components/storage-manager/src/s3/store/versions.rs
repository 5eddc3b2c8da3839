//! Lists the versions that a bucket keeps, and reads them.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;

use super::{LONGEST, Store, URL_LIFETIME_SECONDS};
use crate::s3::access::Way;
use crate::s3::error::{ErrorKind, S3Error};

/// A page of versions and delete markers, in the order of the service.
#[derive(Debug, Deserialize)]
struct Versions {
    #[serde(rename = "$value", default)]
    items: Vec<Item>,
}

#[derive(Debug, Deserialize)]
enum Item {
    Version(Version),
    NextKeyMarker(String),
    NextVersionIdMarker(String),
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    key: String,
    #[serde(rename = "VersionId")]
    id: String,
    is_latest: bool,
}

/// Returns what a page of versions is asked for with, behind a key and one of its versions.
fn versions_query(prefix: &str, behind: Option<&(String, String)>) -> HashMap<String, String> {
    let (key, version) = behind.map(|(key, version)| (key.as_str(), version.as_str())).unzip();
    let named = [
        ("versions", Some("")),
        ("prefix", Some(prefix)),
        ("key-marker", key),
        ("version-id-marker", version.filter(|version| !version.is_empty())),
    ];
    named.into_iter().filter_map(|(name, value)| Some((name.into(), value?.into()))).collect()
}

impl Versions {
    /// Reads an answer; `None` where it is another one: such a service lists objects instead.
    fn read(text: &str) -> Option<Self> {
        text.contains("<ListVersionsResult").then(|| quick_xml::de::from_str(text).ok()).flatten()
    }

    /// Returns the versions that are not their object's newest, by key and id.
    fn old(&self) -> impl Iterator<Item = (String, String)> + '_ {
        self.items.iter().filter_map(|item| match item {
            Item::Version(Version { key, id, is_latest: false }) => Some((key.clone(), id.clone())),
            _ => None,
        })
    }

    /// Returns behind what the next page begins; `None` where this is the last one.
    fn next(&self) -> Option<(String, String)> {
        let text = |named: fn(&Item) -> Option<&String>| self.items.iter().find_map(named).cloned();
        let key = text(|item| if let Item::NextKeyMarker(key) = item { Some(key) } else { None })?;
        let version =
            text(
                |item| {
                    if let Item::NextVersionIdMarker(version) = item { Some(version) } else { None }
                },
            );
        (!key.is_empty()).then(|| (key, version.unwrap_or_default()))
    }
}

impl Store {
    /// Lists every version below `prefix` that is not its object's newest, by key and id: none if the bucket keeps no
    /// versions, or the service knows of none.
    pub async fn old_versions(&self, prefix: &str) -> Result<Vec<(String, String)>, S3Error> {
        let (mut found, mut next) = (Vec::new(), None);
        loop {
            let page = self.call("list", prefix, || {
                let query = versions_query(prefix, next.as_ref());
                self.keyed(move |way| self.versions_by(way, prefix, query.clone()))
            });
            let Some(page) = page.await? else { return Ok(found) };
            found.extend(page.old());
            next = page.next();
            if next.is_none() {
                return Ok(found);
            }
        }
    }

    async fn versions_by(
        &self,
        way: Arc<Way>,
        prefix: &str,
        query: HashMap<String, String>,
    ) -> Result<Option<Versions>, S3Error> {
        self.count();
        let url = way.bucket.presign_get("/", URL_LIFETIME_SECONDS, Some(query)).await;
        let url = url.map_err(|e| self.client_error("list", prefix, &e))?;
        let request = way.client.get(url).timeout(self.timeout);
        match self.answer("list", prefix, request).await? {
            (200..=299, text) => Ok(Versions::read(&text)),
            // A service that keeps no versions need not know the question.
            (400 | 404 | 405 | 501, _) => Ok(None),
            (status, text) => {
                Err(self.error("list", prefix, ErrorKind::from_response(status, &text)))
            }
        }
    }

    /// Fetches the bytes of a version of an object, with or without its encryption key, and the end of its lock, if the
    /// service says so.
    pub async fn get_version(
        &self,
        key: &str,
        version: &str,
    ) -> Result<(Bytes, Option<String>), S3Error> {
        self.call("get", key, || self.keyed(|way| self.get_version_by(way, key, version))).await
    }

    async fn get_version_by(
        &self,
        way: Arc<Way>,
        key: &str,
        version: &str,
    ) -> Result<(Bytes, Option<String>), S3Error> {
        self.count();
        let query = HashMap::from([("versionId".to_owned(), version.to_owned())]);
        let url = way.bucket.presign_get(key, URL_LIFETIME_SECONDS, Some(query)).await;
        let url = url.map_err(|e| self.client_error("get", key, &e))?;
        let response = self.in_time(key, way.client.get(url).timeout(LONGEST).send()).await?;
        let status = response.status().as_u16();
        if !response.status().is_success() {
            let text = self.in_time(key, response.text()).await?;
            return Err(self.error("get", key, ErrorKind::from_response(status, &text)));
        }
        let until = response.headers().get("x-amz-object-lock-retain-until-date");
        let until = until.and_then(|until| until.to_str().ok()).map(ToOwned::to_owned);
        let bytes = response.bytes().await;
        Ok((bytes.map_err(|error| self.client_error("get", key, &error.into()))?, until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_markers_may_come_in_any_order() {
        let version = |key: &str, id: &str, latest: bool| {
            format!(
                "<Version><Key>{key}</Key><VersionId>{id}</VersionId><IsLatest>{latest}</IsLatest>\
                 <Size>1</Size><Owner><ID>o</ID></Owner></Version>"
            )
        };
        let text = format!(
            "<?xml version=\"1.0\"?><ListVersionsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <Name>b</Name><Prefix/><KeyMarker/><IsTruncated>true</IsTruncated>{}\
             <DeleteMarker><Key>b</Key><VersionId>3</VersionId><IsLatest>true</IsLatest></DeleteMarker>{}\
             <NextKeyMarker>b</NextKeyMarker><NextVersionIdMarker>2</NextVersionIdMarker></ListVersionsResult>",
            version("a", "1", true),
            version("b", "2", false)
        );
        let read = Versions::read(&text).unwrap();
        assert_eq!(read.old().collect::<Vec<_>>(), [("b".to_owned(), "2".to_owned())]);
        assert_eq!(read.next(), Some(("b".into(), "2".into())));
        assert!(Versions::read("<ListBucketResult></ListBucketResult>").is_none());
    }
}
