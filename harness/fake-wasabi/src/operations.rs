//! The S3 operations that this server implements. All others answer NotImplemented.

/// The kind of an operation, as far as faults care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    /// Sends the bytes of an object.
    Download,
    Write,
    /// Adds bytes to the store.
    Store,
    /// Adds bytes to the store, from its own body.
    Upload,
}

impl Kind {
    pub(crate) fn writes(self) -> bool {
        matches!(self, Self::Write | Self::Store | Self::Upload)
    }

    pub(crate) fn stores(self) -> bool {
        matches!(self, Self::Store | Self::Upload)
    }
}

/// Every operation, by its name in S3.
pub(crate) const OPERATIONS: &[(&str, Kind)] = &[
    ("AbortMultipartUpload", Kind::Write),
    ("CompleteMultipartUpload", Kind::Store),
    ("CopyObject", Kind::Store),
    ("CreateBucket", Kind::Store),
    ("CreateMultipartUpload", Kind::Store),
    ("DeleteBucket", Kind::Write),
    ("DeleteObject", Kind::Write),
    ("DeleteObjects", Kind::Write),
    ("GetBucketLocation", Kind::Read),
    ("GetBucketVersioning", Kind::Read),
    ("GetObject", Kind::Download),
    ("GetObjectLegalHold", Kind::Read),
    ("GetObjectLockConfiguration", Kind::Read),
    ("GetObjectRetention", Kind::Read),
    ("HeadBucket", Kind::Read),
    ("HeadObject", Kind::Read),
    ("ListBuckets", Kind::Read),
    ("ListMultipartUploads", Kind::Read),
    ("ListObjectVersions", Kind::Read),
    ("ListObjects", Kind::Read),
    ("ListObjectsV2", Kind::Read),
    ("ListParts", Kind::Read),
    ("PutBucketVersioning", Kind::Write),
    ("PutObject", Kind::Upload),
    ("PutObjectLegalHold", Kind::Write),
    ("PutObjectLockConfiguration", Kind::Write),
    ("PutObjectRetention", Kind::Write),
    ("UploadPart", Kind::Upload),
    ("UploadPartCopy", Kind::Store),
];
