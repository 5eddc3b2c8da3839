//! Bytes on their way into the store: a temporary file, hashed as it is written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256};

use super::algorithm::Algorithm;
use super::meta::Checksums;

/// A temporary file that is being written. Dropping it removes the file.
pub(crate) struct BlobWriter {
    file: File,
    path: TempPath,
    size: u64,
    md5: Md5,
    checksums: ChecksumHasher,
}

/// A temporary file that is complete. Dropping it removes the file.
pub(crate) struct Blob {
    pub(crate) file: File,
    pub(crate) path: TempPath,
    pub(crate) size: u64,
    pub(crate) md5: [u8; 16],
    pub(crate) checksums: Checksums,
}

/// Removes its file when dropped, unless the file was renamed away.
#[derive(Debug)]
pub(crate) struct TempPath(PathBuf);

impl TempPath {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempPath {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.0.display(), %error, "failed to remove a temporary file");
        }
    }
}

impl BlobWriter {
    pub(crate) fn create(path: TempPath, wanted: &[Algorithm]) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path.path())?;
        let has = |algorithm| wanted.contains(&algorithm);
        let checksums = ChecksumHasher {
            crc32: has(Algorithm::Crc32).then(Crc32::new),
            crc32c: has(Algorithm::Crc32c).then(Crc32c::new),
            sha1: has(Algorithm::Sha1).then(Sha1::new),
            sha256: has(Algorithm::Sha256).then(Sha256::new),
            crc64nvme: has(Algorithm::Crc64Nvme).then(Crc64Nvme::new),
        };
        Ok(Self { file, path, size: 0, md5: Md5::new(), checksums })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.md5.update(bytes);
        self.checksums.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    pub(crate) fn finish(self) -> Blob {
        let sums = self.checksums.finalize();
        Blob {
            file: self.file,
            path: self.path,
            size: self.size,
            md5: self.md5.finalize(),
            checksums: Checksums {
                crc32: sums.checksum_crc32,
                crc32c: sums.checksum_crc32c,
                crc64nvme: sums.checksum_crc64nvme,
                sha1: sums.checksum_sha1,
                sha256: sums.checksum_sha256,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_that_is_dropped_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        let mut writer =
            BlobWriter::create(TempPath::new(path.clone()), &[Algorithm::Sha256]).unwrap();
        writer.write(b"hello ").unwrap();
        writer.write(b"world").unwrap();
        let blob = writer.finish();
        assert_eq!(blob.size, 11);
        assert_eq!(hex::encode(blob.md5), "5eb63bbbe01eeed093cb22bb8f5acdc3");
        let sha256 = "uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=";
        assert_eq!(blob.checksums.sha256.as_deref(), Some(sha256));
        assert_eq!(blob.checksums.crc32, None);
        assert!(path.exists());
        drop(blob);
        assert!(!path.exists());
    }
}
