//! A page of the versions that a bucket keeps.

use std::collections::HashMap;

use serde::Deserialize;

/// A page of versions and delete markers, in the order of the service.
#[derive(Debug, Deserialize)]
pub(super) struct Versions {
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
pub(super) fn versions_query(
    prefix: &str,
    behind: Option<&(String, String)>,
) -> HashMap<String, String> {
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
    pub(super) fn read(text: &str) -> Option<Self> {
        text.contains("<ListVersionsResult").then(|| quick_xml::de::from_str(text).ok()).flatten()
    }

    /// Returns the versions that are not their object's newest, by key and id.
    pub(super) fn old(&self) -> impl Iterator<Item = (String, String)> + '_ {
        self.items.iter().filter_map(|item| match item {
            Item::Version(Version { key, id, is_latest: false }) => Some((key.clone(), id.clone())),
            _ => None,
        })
    }

    /// Returns behind what the next page begins; `None` where this is the last one.
    pub(super) fn next(&self) -> Option<(String, String)> {
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
