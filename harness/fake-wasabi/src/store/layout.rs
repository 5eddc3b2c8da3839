//! The directory layout, version 1. This is its only description.
//!
//! ```text
//! DIR/
//!   FORMAT                              {"layout":"cim-fake-wasabi","version":1}
//!   LOCK                                held (flock) by the running server
//!   tmp/                                files not yet committed; emptied at start
//!   buckets/BUCKET/
//!     bucket.json                       BucketMeta
//!     objects/HASH.VERSION              one version of one object, or a delete marker
//!     objects/HASH.VERSION.lock         its Lock, when it was changed after the write
//!     uploads/UPLOAD/upload.json        UploadMeta of a multipart upload under way
//!     uploads/UPLOAD/part-NNNNN         one part
//! ```
//!
//! - HASH is the first 16 bytes of the key's SHA-256 in hex, so a key may hold any character, be
//!   1,024 bytes long, and `a` may stand beside `a/b`. The key itself is in the file's trailer.
//! - VERSION is `null` without versioning, else `NNNNNNNNNNNNNNNNNNNNN-XXXXXXXXXX`: nanoseconds
//!   since the Unix epoch, made strictly increasing, and ten random characters.
//! - An object or part file is its bytes, then a trailer: metadata as JSON (`VersionMeta` or
//!   `PartMeta`), the length of that JSON as eight little-endian bytes, and [`MAGIC`]. Bytes and
//!   metadata are one file, so that one rename commits both.
//! - A file is written under `tmp/`, synced, renamed to its place, and the directory is synced. A
//!   process killed at any instant leaves the old file, the new one, or something under `tmp/`.
//! - The index is in memory only and is rebuilt from the trailers at start.
//!
//! A reader that finds another version in FORMAT refuses the directory. Version 1 is the only one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use s3s::crypto::{Checksum as _, Sha256};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The version that this build reads and writes.
pub(crate) const LAYOUT_VERSION: u32 = 1;

/// Ends every object and part file.
pub(crate) const MAGIC: &[u8; 16] = b"cim-fake-wasabi1";

/// Number of bytes after the trailer's JSON.
const TRAILER_END: u64 = 8 + MAGIC.len() as u64;

/// Size of the first read in bytes; most trailers fit in it.
const FIRST_READ: u64 = 4096;

/// The paths under the server's directory.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn format(&self) -> PathBuf {
        self.root.join("FORMAT")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("LOCK")
    }

    pub(crate) fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    pub(crate) fn buckets(&self) -> PathBuf {
        self.root.join("buckets")
    }

    pub(crate) fn bucket(&self, bucket: &str) -> PathBuf {
        self.buckets().join(bucket)
    }

    pub(crate) fn bucket_meta(&self, bucket: &str) -> PathBuf {
        self.bucket(bucket).join("bucket.json")
    }

    pub(crate) fn objects(&self, bucket: &str) -> PathBuf {
        self.bucket(bucket).join("objects")
    }

    pub(crate) fn object(&self, bucket: &str, key: &str, version_id: &str) -> PathBuf {
        self.objects(bucket).join(object_name(key, version_id))
    }

    pub(crate) fn object_lock(&self, bucket: &str, key: &str, version_id: &str) -> PathBuf {
        self.objects(bucket).join(format!("{}.lock", object_name(key, version_id)))
    }

    pub(crate) fn uploads(&self, bucket: &str) -> PathBuf {
        self.bucket(bucket).join("uploads")
    }

    pub(crate) fn upload(&self, bucket: &str, upload_id: &str) -> PathBuf {
        self.uploads(bucket).join(upload_id)
    }

    pub(crate) fn part(&self, bucket: &str, upload_id: &str, number: u16) -> PathBuf {
        self.upload(bucket, upload_id).join(format!("part-{number:05}"))
    }
}

/// Returns the file name of one version of a key.
pub(crate) fn object_name(key: &str, version_id: &str) -> String {
    let digest = Sha256::checksum(key.as_bytes());
    format!("{}.{version_id}", hex::encode(&digest[..16]))
}

/// Appends the trailer to a file whose bytes are written, and syncs it when `fsync`.
pub(crate) fn seal(file: &mut File, meta: &impl Serialize, fsync: bool) -> io::Result<()> {
    let mut trailer = serde_json::to_vec(meta)?;
    let length = trailer.len() as u64;
    trailer.extend_from_slice(&length.to_le_bytes());
    trailer.extend_from_slice(MAGIC);
    file.seek(SeekFrom::End(0))?;
    file.write_all(&trailer)?;
    if fsync { file.sync_all() } else { Ok(()) }
}

/// Reads the trailer of an object or part file; the bytes before it are the payload.
pub(crate) fn read_trailer<T: DeserializeOwned>(file: &File) -> io::Result<T> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let total = file.metadata()?.len();
    let first = total.min(FIRST_READ);
    let mut tail = vec![0; usize::try_from(first).map_err(io::Error::other)?];
    file.read_exact_at(&mut tail, total - first)?;
    let (rest, magic) = tail.split_last_chunk::<16>().ok_or_else(|| bad("no trailer"))?;
    if magic != MAGIC {
        return Err(bad("no trailer"));
    }
    let (rest, length) = rest.split_last_chunk::<8>().ok_or_else(|| bad("trailer cut short"))?;
    let length = u64::from_le_bytes(*length);
    let room = total - TRAILER_END;
    if length > room {
        return Err(bad("trailer longer than the file"));
    }
    let json_len = usize::try_from(length).map_err(io::Error::other)?;
    if let Some(start) = rest.len().checked_sub(json_len) {
        return Ok(serde_json::from_slice(&rest[start..])?);
    }
    let mut json = vec![0; json_len];
    file.read_exact_at(&mut json, room - length)?;
    Ok(serde_json::from_slice(&json)?)
}

/// Reads a JSON file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    let mut text = Vec::new();
    File::open(path)?.read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// Writes a JSON file so that a crash leaves the old one or the new one; `tmp` is scratch space
/// on the same file system.
pub(crate) fn write_json(
    tmp: &Path,
    path: &Path,
    value: &impl Serialize,
    fsync: bool,
) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(tmp)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    if fsync {
        file.sync_all()?;
    }
    commit(tmp, path, fsync)
}

/// Renames a finished file to its place and syncs the directory when `fsync`.
pub(crate) fn commit(from: &Path, to: &Path, fsync: bool) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_parent(to, fsync)
}

/// Removes a file and syncs its directory when `fsync`; a missing file is no error.
pub(crate) fn remove(path: &Path, fsync: bool) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync_parent(path, fsync),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Syncs the directory that holds `path`, so that a rename or removal in it is durable.
pub(crate) fn sync_parent(path: &Path, fsync: bool) -> io::Result<()> {
    match path.parent() {
        Some(parent) if fsync => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(payload: &[u8], meta: &impl Serialize) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(payload).unwrap();
        seal(&mut file, meta, false).unwrap();
        file
    }

    #[test]
    fn a_trailer_of_any_size_comes_back() {
        for length in [0, 10, 4000, 5000, 100_000] {
            let meta = "m".repeat(length);
            let file = sealed(b"payload", &meta);
            assert_eq!(read_trailer::<String>(&file).unwrap(), meta);
        }
    }

    #[test]
    fn a_payload_that_looks_like_a_trailer_does_not_confuse() {
        let mut payload = b"\"x\"".to_vec();
        payload.extend_from_slice(&3_u64.to_le_bytes());
        payload.extend_from_slice(MAGIC);
        let file = sealed(&payload, &"real");
        assert_eq!(read_trailer::<String>(&file).unwrap(), "real");
    }

    #[test]
    fn a_truncated_file_has_no_trailer() {
        let whole = sealed(b"payload", &"meta").metadata().unwrap().len();
        for length in 0..whole {
            let file = sealed(b"payload", &"meta");
            file.set_len(length).unwrap();
            assert!(read_trailer::<String>(&file).is_err(), "at {length} bytes");
        }
    }

    #[test]
    fn keys_that_nest_have_names_that_do_not() {
        let names = ["a", "a/b", "a/", "/", "..", "\u{0}\u{1f}"].map(|k| object_name(k, "null"));
        for name in &names {
            assert!(!name.contains('/') && name.len() < 64, "{name}");
        }
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
    }
}
