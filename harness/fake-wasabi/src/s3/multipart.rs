//! Multipart uploads.

use std::collections::BTreeMap;

use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CommonPrefix,
    CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedPart,
    CreateMultipartUploadInput, CreateMultipartUploadOutput, Initiator, ListMultipartUploadsInput,
    ListMultipartUploadsOutput, ListPartsInput, ListPartsOutput, MultipartUpload, Part,
    StorageClass, UploadPartInput, UploadPartOutput,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::convert::{accept_attributes, lock_of, owner, signed, strong};
use super::lists::{Encoding, Room, delimiter};
use super::objects::{limit, shown_version};
use super::receive::Claims;
use super::{Api, invalid, missing};
use crate::behaviour::MAXIMUM_PARTS;
use crate::clock::timestamp_of;
use crate::store::meta::{Attributes, Checksums, PartMeta};
use crate::store::{After, Entry, NamedPart, Query, Upload, list};

/// Checks the number of a part: 1 to 10,000.
pub(super) fn part_number(number: i32) -> S3Result<u16> {
    u16::try_from(number)
        .ok()
        .filter(|number| (1..=MAXIMUM_PARTS).contains(number))
        .ok_or_else(|| invalid(format!("part numbers go from 1 to {MAXIMUM_PARTS}")))
}

fn standard() -> StorageClass {
    StorageClass::from_static(StorageClass::STANDARD)
}

fn initiator() -> Initiator {
    let owner = owner();
    Initiator { display_name: owner.display_name, id: owner.id }
}

impl Api {
    pub(super) async fn create_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = request.input;
        let lock = lock_of(
            input.object_lock_mode.as_ref(),
            input.object_lock_retain_until_date,
            input.object_lock_legal_hold_status.as_ref(),
            &self.store.clock().timestamp(),
        )?;
        self.check_lock(&input.bucket, &lock)?;
        let attributes = accept_attributes(Attributes {
            content_type: input.content_type,
            content_encoding: input.content_encoding,
            content_disposition: input.content_disposition,
            content_language: input.content_language,
            cache_control: input.cache_control,
            expires: input.expires,
            user: input.metadata.unwrap_or_default().into_iter().collect(),
        })?;
        let (bucket, key) = (input.bucket.clone(), input.key.clone());
        let upload_id =
            self.run(move |store| store.create_upload(&bucket, &key, attributes, lock)).await?;
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(upload_id),
            ..CreateMultipartUploadOutput::default()
        }))
    }

    pub(super) async fn put_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let input = request.input;
        let number = part_number(input.part_number)?;
        let checksums = Checksums {
            crc32: input.checksum_crc32,
            crc32c: input.checksum_crc32c,
            crc64nvme: input.checksum_crc64nvme,
            sha1: input.checksum_sha1,
            sha256: input.checksum_sha256,
        };
        let claims = Claims::read(
            &request.headers,
            input.content_md5.as_deref(),
            checksums,
            request.trailing_headers,
        )?;
        let (bucket, key, upload_id) = (input.bucket, input.key, input.upload_id);
        self.store.index().bucket(&bucket)?.upload(&key, &upload_id)?;
        let part = self
            .receive(input.body, input.content_length, claims, move |store, blob| {
                store.put_part(&bucket, &key, &upload_id, number, blob)
            })
            .await?;
        let sums = part.checksums.clone();
        Ok(S3Response::new(UploadPartOutput {
            e_tag: Some(strong(&part.etag)),
            checksum_crc32: sums.crc32,
            checksum_crc32c: sums.crc32c,
            checksum_crc64nvme: sums.crc64nvme,
            checksum_sha1: sums.sha1,
            checksum_sha256: sums.sha256,
            ..UploadPartOutput::default()
        }))
    }

    pub(super) async fn complete_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = request.input;
        let whole = [
            &input.checksum_crc32,
            &input.checksum_crc32c,
            &input.checksum_crc64nvme,
            &input.checksum_sha1,
            &input.checksum_sha256,
        ];
        if whole.iter().any(|sum| sum.is_some()) {
            return Err(missing("a checksum over a whole multipart object"));
        }
        let condition = self.condition(input.if_match, input.if_none_match)?;
        let parts = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        if parts.is_empty() {
            return Err(s3_error!(MalformedXML, "no parts are named"));
        }
        let named: Vec<_> = parts.into_iter().map(named).collect();
        let (bucket, key, upload_id) = (input.bucket.clone(), input.key.clone(), input.upload_id);
        let version = self
            .run(move |store| store.complete_upload(&bucket, &key, &upload_id, &named, &condition))
            .await?;
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(strong(&version.etag)),
            version_id: shown_version(&version),
            ..CompleteMultipartUploadOutput::default()
        }))
    }

    pub(super) async fn abort_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = request.input;
        self.run(move |store| store.abort_upload(&input.bucket, &input.key, &input.upload_id))
            .await?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    pub(super) fn parts(
        &self,
        request: S3Request<ListPartsInput>,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        let input = request.input;
        let max_parts = limit(input.max_parts)?;
        let max = usize::try_from(max_parts).unwrap_or(0);
        let after = u16::try_from(input.part_number_marker.unwrap_or(0)).unwrap_or(u16::MAX);
        let index = self.store.index();
        let upload = index.bucket(&input.bucket)?.upload(&input.key, &input.upload_id)?;
        let mut rest = upload.parts.range(after.saturating_add(1)..).map(|(_, part)| part);
        let parts: Vec<Part> = rest.by_ref().take(max).map(|stored| part(stored)).collect();
        let more = max > 0 && rest.next().is_some();
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(input.bucket.clone()),
            key: Some(input.key.clone()),
            upload_id: Some(input.upload_id.clone()),
            max_parts: Some(max_parts),
            is_truncated: Some(more),
            part_number_marker: input.part_number_marker,
            next_part_number_marker: parts.last().and_then(|last| last.part_number),
            parts: Some(parts),
            owner: Some(owner()),
            initiator: Some(initiator()),
            storage_class: Some(standard()),
            ..ListPartsOutput::default()
        }))
    }

    pub(super) fn uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let input = request.input;
        let encoding = Encoding::new(input.encoding_type.as_ref())?;
        let max_uploads = limit(input.max_uploads)?;
        let max = usize::try_from(max_uploads).unwrap_or(0);
        let prefix = input.prefix.unwrap_or_default();
        let delimiter = delimiter(input.delimiter.as_deref());
        let key_marker = input.key_marker.filter(|marker| !marker.is_empty());
        let id_marker = input.upload_id_marker.filter(|marker| !marker.is_empty());
        let index = self.store.index();
        let mut by_key: BTreeMap<String, Vec<&Upload>> = BTreeMap::new();
        for ((key, _), upload) in &index.bucket(&input.bucket)?.uploads {
            by_key.entry(key.clone()).or_default().push(upload);
        }
        let mut page = UploadPage::new(max, encoding);
        if let (Some(key), Some(id)) = (&key_marker, &id_marker)
            && key.starts_with(&prefix)
        {
            let later = by_key.get(key).into_iter().flatten();
            page.add(later.filter(|upload| upload.meta.upload_id > *id).copied());
        }
        let query = Query {
            prefix: &prefix,
            delimiter,
            after: key_marker.clone().map_or(After::Beginning, After::Key),
            limit: max.saturating_add(1).min(max * 2),
        };
        let found = list(&by_key, &query, |_| true);
        for entry in &found.entries {
            match entry {
                Entry::Key(_, uploads) => page.add(uploads.iter().copied()),
                Entry::CommonPrefix(prefix) => page.add_prefix(prefix),
            }
        }
        let (more, next_key, next_upload) = page.room.next(found.next.is_some());
        Ok(S3Response::new(ListMultipartUploadsOutput {
            bucket: Some(input.bucket.clone()),
            prefix: Some(encoding.text(&prefix)),
            key_marker: Some(encoding.text(key_marker.as_deref().unwrap_or(""))),
            upload_id_marker: id_marker,
            max_uploads: Some(max_uploads),
            is_truncated: Some(more),
            uploads: Some(page.uploads),
            common_prefixes: Some(page.prefixes),
            delimiter: encoding.optional(delimiter),
            next_key_marker: encoding.optional(next_key.as_deref()),
            next_upload_id_marker: next_upload,
            encoding_type: encoding.name(),
            ..ListMultipartUploadsOutput::default()
        }))
    }
}

/// A page of uploads as it fills.
struct UploadPage {
    room: Room,
    encoding: Encoding,
    uploads: Vec<MultipartUpload>,
    prefixes: Vec<CommonPrefix>,
}

impl UploadPage {
    fn new(room: usize, encoding: Encoding) -> Self {
        Self { room: Room::new(room), encoding, uploads: Vec::new(), prefixes: Vec::new() }
    }

    fn add<'a>(&mut self, uploads: impl Iterator<Item = &'a Upload>) {
        for upload in uploads {
            let meta = &upload.meta;
            if !self.room.take(&meta.key, Some(&meta.upload_id)) {
                return;
            }
            self.uploads.push(MultipartUpload {
                initiated: Some(timestamp_of(meta.created_ms)),
                initiator: Some(initiator()),
                key: Some(self.encoding.text(&meta.key)),
                owner: Some(owner()),
                storage_class: Some(standard()),
                upload_id: Some(meta.upload_id.clone()),
                ..MultipartUpload::default()
            });
        }
    }

    fn add_prefix(&mut self, prefix: &str) {
        if self.room.take(prefix, None) {
            self.prefixes.push(CommonPrefix { prefix: Some(self.encoding.text(prefix)) });
        }
    }
}

fn named(part: CompletedPart) -> NamedPart {
    NamedPart {
        number: part.part_number.unwrap_or(0),
        etag: part.e_tag.map(s3s::dto::ETag::into_value).unwrap_or_default(),
        checksums: Checksums {
            crc32: part.checksum_crc32,
            crc32c: part.checksum_crc32c,
            crc64nvme: part.checksum_crc64nvme,
            sha1: part.checksum_sha1,
            sha256: part.checksum_sha256,
        },
    }
}

fn part(stored: &PartMeta) -> Part {
    let sums = stored.checksums.clone();
    Part {
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        e_tag: Some(strong(&stored.etag)),
        last_modified: Some(timestamp_of(stored.created_ms)),
        part_number: Some(i32::from(stored.number)),
        size: Some(signed(stored.size)),
    }
}
