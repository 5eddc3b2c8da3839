//! Listings of objects and of their versions.

use std::sync::Arc;

use s3s::dto::{
    CommonPrefix, DeleteMarkerEntry, EncodingType, ListObjectVersionsInput,
    ListObjectVersionsOutput, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input,
    ListObjectsV2Output, Object, ObjectStorageClass, ObjectVersion, ObjectVersionStorageClass,
};
use s3s::{S3Request, S3Response, S3Result};

use super::convert::{owner, signed, strong, url_encode};
use super::objects::limit;
use super::{Api, invalid};
use crate::clock::timestamp_of;
use crate::store::meta::VersionMeta;
use crate::store::{After, Entry, Page, Query, Versions, list};

/// The encoding of keys in an answer.
#[derive(Clone, Copy)]
pub(super) struct Encoding {
    url: bool,
}

impl Encoding {
    pub(super) fn new(asked: Option<&EncodingType>) -> S3Result<Self> {
        match asked.map(EncodingType::as_str) {
            None => Ok(Self { url: false }),
            Some(EncodingType::URL) => Ok(Self { url: true }),
            Some(other) => Err(invalid(format!("encoding type `{other}` is not `url`"))),
        }
    }

    pub(super) fn text(self, text: &str) -> String {
        if self.url { url_encode(text) } else { text.to_owned() }
    }

    pub(super) fn optional(self, text: Option<&str>) -> Option<String> {
        text.map(|text| self.text(text))
    }

    pub(super) fn name(self) -> Option<EncodingType> {
        self.url.then(|| EncodingType::from_static(EncodingType::URL))
    }
}

/// Returns the delimiter asked for; an empty one means none.
pub(super) fn delimiter(asked: Option<&str>) -> Option<&str> {
    asked.filter(|text| !text.is_empty())
}

/// Returns the continuation token for a position, in hex so that no client mistakes it for a key.
fn token_of(after: &After) -> Option<String> {
    match after {
        After::Beginning => None,
        After::Key(key) => Some(hex::encode(format!("k{key}"))),
        After::Prefix(prefix) => Some(hex::encode(format!("p{prefix}"))),
    }
}

fn after_token(token: &str) -> S3Result<After> {
    let wrong = || invalid("the continuation token is not one of this server's");
    let text = hex::decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let text = text.ok_or_else(wrong)?;
    match text.split_at_checked(1) {
        Some(("k", key)) => Ok(After::Key(key.to_owned())),
        Some(("p", prefix)) => Ok(After::Prefix(prefix.to_owned())),
        _ => Err(wrong()),
    }
}

/// The rows of a page: objects and common prefixes.
struct Rows {
    contents: Vec<Object>,
    common_prefixes: Vec<CommonPrefix>,
}

fn rows(page: &Page<'_, Versions>, encoding: Encoding, with_owner: bool) -> Rows {
    let mut rows = Rows { contents: Vec::new(), common_prefixes: Vec::new() };
    for entry in &page.entries {
        match entry {
            Entry::CommonPrefix(prefix) => {
                rows.common_prefixes.push(CommonPrefix { prefix: Some(encoding.text(prefix)) });
            }
            Entry::Key(_, versions) => {
                rows.contents.extend(
                    versions.current().map(|version| object(version, encoding, with_owner)),
                );
            }
        }
    }
    rows
}

fn object(version: &VersionMeta, encoding: Encoding, with_owner: bool) -> Object {
    Object {
        key: Some(encoding.text(&version.key)),
        e_tag: Some(strong(&version.etag)),
        last_modified: Some(timestamp_of(version.created_ms)),
        size: Some(signed(version.size)),
        storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
        owner: with_owner.then(owner),
        ..Object::default()
    }
}

fn visible(versions: &Versions) -> bool {
    versions.current().is_some()
}

impl Api {
    pub(super) fn list_v1(
        &self,
        request: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        let input = request.input;
        let encoding = Encoding::new(input.encoding_type.as_ref())?;
        let max_keys = limit(input.max_keys)?;
        let prefix = input.prefix.unwrap_or_default();
        let delimiter = delimiter(input.delimiter.as_deref());
        let marker = input.marker.filter(|marker| !marker.is_empty());
        let index = self.store.index();
        let query = Query {
            prefix: &prefix,
            delimiter,
            after: marker.clone().map_or(After::Beginning, After::Key),
            limit: usize::try_from(max_keys).unwrap_or(0),
        };
        let page = list(&index.bucket(&input.bucket)?.keys, &query, visible);
        let rows = rows(&page, encoding, true);
        // S3 returns the marker only if it differs from the last key: when there is a delimiter.
        let next_marker = match &page.next {
            Some(After::Key(key) | After::Prefix(key)) if delimiter.is_some() => Some(key),
            _ => None,
        };
        Ok(S3Response::new(ListObjectsOutput {
            name: Some(input.bucket.clone()),
            prefix: Some(encoding.text(&prefix)),
            marker: Some(encoding.text(marker.as_deref().unwrap_or(""))),
            max_keys: Some(max_keys),
            is_truncated: Some(page.next.is_some()),
            contents: Some(rows.contents),
            common_prefixes: Some(rows.common_prefixes),
            delimiter: encoding.optional(delimiter),
            next_marker: next_marker.map(|key| encoding.text(key)),
            encoding_type: encoding.name(),
            ..ListObjectsOutput::default()
        }))
    }

    pub(super) fn list_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let encoding = Encoding::new(input.encoding_type.as_ref())?;
        let max_keys = limit(input.max_keys)?;
        let prefix = input.prefix.unwrap_or_default();
        let delimiter = delimiter(input.delimiter.as_deref());
        let start_after = input.start_after.filter(|key| !key.is_empty());
        let after = match (&input.continuation_token, &start_after) {
            (Some(token), _) if !token.is_empty() => after_token(token)?,
            (_, Some(key)) => After::Key(key.clone()),
            (_, None) => After::Beginning,
        };
        let index = self.store.index();
        let query = Query {
            prefix: &prefix,
            delimiter,
            after,
            limit: usize::try_from(max_keys).unwrap_or(0),
        };
        let page = list(&index.bucket(&input.bucket)?.keys, &query, visible);
        let rows = rows(&page, encoding, input.fetch_owner.unwrap_or(false));
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket.clone()),
            prefix: Some(encoding.text(&prefix)),
            max_keys: Some(max_keys),
            key_count: i32::try_from(page.entries.len()).ok(),
            continuation_token: input.continuation_token,
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next.as_ref().and_then(token_of),
            contents: Some(rows.contents),
            common_prefixes: Some(rows.common_prefixes),
            delimiter: encoding.optional(delimiter),
            encoding_type: encoding.name(),
            start_after: encoding.optional(start_after.as_deref()),
            ..ListObjectsV2Output::default()
        }))
    }

    pub(super) fn list_versions(
        &self,
        request: S3Request<ListObjectVersionsInput>,
    ) -> S3Result<S3Response<ListObjectVersionsOutput>> {
        let input = request.input;
        let encoding = Encoding::new(input.encoding_type.as_ref())?;
        let max_keys = limit(input.max_keys)?;
        let max = usize::try_from(max_keys).unwrap_or(0);
        let prefix = input.prefix.unwrap_or_default();
        let delimiter = delimiter(input.delimiter.as_deref());
        let key_marker = input.key_marker.filter(|marker| !marker.is_empty());
        let version_marker = input.version_id_marker.filter(|marker| !marker.is_empty());
        let index = self.store.index();
        let keys = &index.bucket(&input.bucket)?.keys;
        let mut pages = VersionPage::new(max, encoding);
        if let (Some(key), Some(version)) = (&key_marker, &version_marker)
            && key.starts_with(&prefix)
            && let Some(versions) = keys.get(key)
        {
            // The remaining versions of the key that the previous page ended in.
            pages.add(versions.latest(), versions.after(version));
        }
        let query = Query {
            prefix: &prefix,
            delimiter,
            after: key_marker.clone().map_or(After::Beginning, After::Key),
            // One row more than fits tells whether there are more.
            limit: max.saturating_add(1).min(max * 2),
        };
        let found = list(keys, &query, |_| true);
        for entry in &found.entries {
            match entry {
                Entry::Key(_, versions) => {
                    pages.add(versions.latest(), versions.newest_first().collect());
                }
                Entry::CommonPrefix(prefix) => pages.add_prefix(prefix),
            }
        }
        let (more, next_key, next_version) = pages.room.next(found.next.is_some());
        Ok(S3Response::new(ListObjectVersionsOutput {
            name: Some(input.bucket.clone()),
            prefix: Some(encoding.text(&prefix)),
            key_marker: Some(encoding.text(key_marker.as_deref().unwrap_or(""))),
            version_id_marker: version_marker,
            max_keys: Some(max_keys),
            is_truncated: Some(more),
            versions: Some(pages.versions),
            delete_markers: Some(pages.markers),
            common_prefixes: Some(pages.prefixes),
            delimiter: encoding.optional(delimiter),
            next_key_marker: encoding.optional(next_key.as_deref()),
            next_version_id_marker: next_version,
            encoding_type: encoding.name(),
            ..ListObjectVersionsOutput::default()
        }))
    }
}

/// The room on a page, and the start of the next one.
pub(super) struct Room {
    left: usize,
    /// The last row: its key or common prefix, and its version or upload.
    last: Option<(String, Option<String>)>,
    /// True if a row did not fit.
    more: bool,
}

impl Room {
    pub(super) fn new(left: usize) -> Self {
        Self { left, last: None, more: false }
    }

    /// Takes room for a row, if there is any left.
    pub(super) fn take(&mut self, key: &str, id: Option<&str>) -> bool {
        if self.left == 0 {
            self.more = self.last.is_some();
            return false;
        }
        self.left -= 1;
        self.last = Some((key.to_owned(), id.map(str::to_owned)));
        true
    }

    /// Returns whether there is another page, and the markers that it starts with.
    pub(super) fn next(self, more: bool) -> (bool, Option<String>, Option<String>) {
        match self.last {
            Some((key, id)) if self.more || more => (true, Some(key), id),
            _ => (false, None, None),
        }
    }
}

/// A page of versions as it fills.
struct VersionPage {
    room: Room,
    encoding: Encoding,
    versions: Vec<ObjectVersion>,
    markers: Vec<DeleteMarkerEntry>,
    prefixes: Vec<CommonPrefix>,
}

impl VersionPage {
    fn new(room: usize, encoding: Encoding) -> Self {
        Self {
            room: Room::new(room),
            encoding,
            versions: Vec::new(),
            markers: Vec::new(),
            prefixes: Vec::new(),
        }
    }

    fn add(&mut self, latest: Option<&Arc<VersionMeta>>, versions: Vec<&Arc<VersionMeta>>) {
        for version in versions {
            if !self.room.take(&version.key, Some(&version.version_id)) {
                return;
            }
            let is_latest = latest.is_some_and(|latest| latest.seq == version.seq);
            if version.delete_marker {
                self.markers.push(DeleteMarkerEntry {
                    is_latest: Some(is_latest),
                    key: Some(self.encoding.text(&version.key)),
                    last_modified: Some(timestamp_of(version.created_ms)),
                    owner: Some(owner()),
                    version_id: Some(version.version_id.clone()),
                });
                continue;
            }
            let class = ObjectVersionStorageClass::STANDARD;
            self.versions.push(ObjectVersion {
                e_tag: Some(strong(&version.etag)),
                is_latest: Some(is_latest),
                key: Some(self.encoding.text(&version.key)),
                last_modified: Some(timestamp_of(version.created_ms)),
                owner: Some(owner()),
                size: Some(signed(version.size)),
                storage_class: Some(ObjectVersionStorageClass::from_static(class)),
                version_id: Some(version.version_id.clone()),
                ..ObjectVersion::default()
            });
        }
    }

    fn add_prefix(&mut self, prefix: &str) {
        if self.room.take(prefix, None) {
            self.prefixes.push(CommonPrefix { prefix: Some(self.encoding.text(prefix)) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_and_foreign_ones_are_refused() {
        for after in
            [After::Key("a/é".into()), After::Prefix("a/".into()), After::Key(String::new())]
        {
            assert_eq!(after_token(&token_of(&after).unwrap()).unwrap(), after);
        }
        for foreign in ["", "zz", "a/b", "7861"] {
            assert!(after_token(foreign).is_err(), "{foreign}");
        }
    }
}
