//! Wasabi's behaviour as far as it is documented, and what this server does about each point.
//!
//! Each row names its source. `assumed` means that no public document of Wasabi's says so: the row is
//! this project's guess and worth an experiment.

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{ContentArrangement, Table};
use serde::{Serialize, Serializer};

/// Minimum storage time in days that an object is billed for, pay-as-you-go.
pub(crate) const MINIMUM_STORAGE_DAYS: i64 = 90;
/// Minimum size in bytes that an object is billed for.
pub(crate) const MINIMUM_BILLABLE_BYTES: u64 = 4096;
/// Maximum number of buckets in an account.
pub(crate) const MAXIMUM_BUCKETS: usize = 1000;
/// Minimum size in bytes of a part that is not the last.
pub(crate) const MINIMUM_PART_BYTES: u64 = 5 * 1024 * 1024;
/// Maximum size in bytes of one PUT, part or copy.
pub(crate) const MAXIMUM_PUT_BYTES: u64 = 5 * 1024 * 1024 * 1024;
/// Maximum number of parts of one upload.
pub(crate) const MAXIMUM_PARTS: u16 = 10_000;
/// Maximum size in bytes of an object's user metadata, names and values together.
pub(crate) const MAXIMUM_METADATA_BYTES: usize = 2048;

/// The source of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A public page of Wasabi's.
    Documented(&'static str),
    /// This project's guess.
    Assumed,
}

impl Source {
    /// Returns the page's address, or `assumed`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Documented(url) => url,
            Self::Assumed => "assumed",
        }
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One behaviour of Wasabi's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Behaviour {
    /// A stable name.
    pub name: &'static str,
    /// Wasabi's behaviour.
    pub value: &'static str,
    /// This server's behaviour.
    pub here: &'static str,
    /// Where `value` comes from.
    pub source: Source,
}

const fn row(
    name: &'static str,
    value: &'static str,
    here: &'static str,
    source: Source,
) -> Behaviour {
    Behaviour { name, value, here, source }
}

use Source::{Assumed, Documented};

const DURATION: Source = Documented(
    "https://docs.wasabi.com/v1/docs/how-does-wasabis-minimum-storage-duration-policy-work",
);
const OVERWRITES: Source =
    Documented("https://docs.wasabi.com/docs/billing-for-overwrites-and-deleted-storage");
const PRICING: Source = Documented("https://wasabi.com/pricing/pricing-faqs");
const FREE_EGRESS: Source = Documented("https://wasabi.com/rcs-pricing-faq/");
const FAIR_USE: Source =
    Documented("https://docs.wasabi.com/docs/how-do-wasabis-fair-use-policies-work");
const REST_API: Source = Documented("https://docs.wasabi.com/docs/rest-api-introduction");
const BUCKETS: Source = Documented("https://docs.wasabi.com/apidocs/operations-on-buckets-1");
const OBJECTS: Source = Documented("https://docs.wasabi.com/docs/operations-on-objects");
const LOCK_BUCKETS: Source =
    Documented("https://docs.wasabi.com/apidocs/object-lock-on-buckets-with-the-wasabi-s3-api");
const LOCK_OBJECTS: Source =
    Documented("https://docs.wasabi.com/apidocs/object-lock-with-the-wasabi-s3-api");
const LOCK: Source = Documented(
    "https://knowledgebase.wasabi.com/hc/en-us/articles/360059651291-Wasabi-Object-Lock",
);
const VERSIONING: Source = Documented("https://docs.wasabi.com/docs/versioning");
const MULTIPART: Source =
    Documented("https://docs.wasabi.com/docs/how-does-wasabi-handle-multipart-uploads");
const FAILED_MULTIPART: Source =
    Documented("https://docs.wasabi.com/docs/how-do-i-clean-up-my-failed-multipart-uploads");
const LIFECYCLE: Source = Documented("https://docs.wasabi.com/docs/lifecycle-1");
const COMPLIANCE: Source =
    Documented("https://docs.wasabi.com/apidocs/compliance-with-the-wasabi-s3-api");
const CONSISTENCY: Source = Documented(
    "https://wasabi-support.zendesk.com/hc/en-us/articles/115001684591-What-data-consistency-model-does-Wasabi-employ-",
);
const MONTHLY: Source = Documented(
    "https://wasabi-support.zendesk.com/hc/en-us/articles/360059412931-How-does-Wasabi-s-monthly-minimum-storage-charge-work-",
);
const ENDPOINTS: Source =
    Documented("https://docs.wasabi.com/docs/service-urls-for-wasabis-storage-regions");
const API: Source = Documented("https://docs.wasabi.com/apidocs/wasabi-api");

/// Every behaviour that this project knows of.
pub const TABLE: &[Behaviour] = &[
    row(
        "minimum-storage-duration",
        "90 days are billed at least, pay-as-you-go",
        "`deleted_early` in GET /stats",
        DURATION,
    ),
    row(
        "minimum-storage-duration-reserved",
        "30 days with reserved capacity",
        "not modelled; 90 days always",
        DURATION,
    ),
    row(
        "overwrite-is-deletion",
        "overwriting an object deletes the old one, which stays billed for its minimum",
        "counted in `deleted_early`",
        OVERWRITES,
    ),
    row(
        "padded-size",
        "each object is billed for a minimum size at least",
        "`billable_bytes` in GET /stats",
        OVERWRITES,
    ),
    row("minimum-billable-object", "that minimum is 4 KB (4,096 bytes)", "4,096 bytes", Assumed),
    row("minimum-monthly-storage", "1 TB a month is billed at least", "not modelled", MONTHLY),
    row("request-fee", "none", "requests are counted by operation in GET /stats", PRICING),
    row(
        "egress-fee",
        "none while a month's egress is no more than what is stored; beyond that service may be limited",
        "`bytes_out` in GET /stats; never limited",
        FREE_EGRESS,
    ),
    row("delete-markers", "are not billed", "not counted in `billable_bytes`", Assumed),
    row(
        "fair-use",
        "concurrent requests and bandwidth are limited by account, the more stored the higher; no numbers are published",
        "only by the fault plan",
        FAIR_USE,
    ),
    row(
        "throttling-error",
        "403 RequestRateLimitExceeded and 503 Unavailable are in the list of errors",
        "503 SlowDown and 503 ServiceUnavailable, as AWS; set by the fault plan",
        REST_API,
    ),
    row(
        "storage-full",
        "does not happen: storage is unlimited",
        "507 XMinioStorageFull, as MinIO answers, when the disk is full or the fault plan says so",
        Assumed,
    ),
    row(
        "errors",
        "the responses of AWS S3, where possible",
        "the codes and statuses of AWS S3",
        REST_API,
    ),
    row(
        "addressing",
        "path style and virtual-host style; path style is recommended",
        "both",
        REST_API,
    ),
    row(
        "signatures",
        "Signature Version 4",
        "version 4 in the header or presigned; version 2 as well",
        Assumed,
    ),
    row(
        "signed-region",
        "not known whether a wrong region in the signature is refused",
        "any region is accepted",
        Assumed,
    ),
    row(
        "s3-compatibility",
        "bit-compatible with AWS S3 and IAM, apart from documented variations",
        "the calls that docs/fake-wasabi.md lists; all others answer NotImplemented",
        API,
    ),
    row(
        "consistency",
        "read-after-write for new objects, eventual for overwrites and deletes",
        "every call sees every earlier one",
        CONSISTENCY,
    ),
    row(
        "conditional-writes",
        "not documented",
        "honoured; ignored with --no-conditional-writes",
        Assumed,
    ),
    row(
        "conditional-writes-conflict",
        "a condition is checked once, when the object is committed; the loser gets 412",
        "so",
        Assumed,
    ),
    row(
        "additional-checksums",
        "not documented",
        "CRC32, CRC32C, CRC64NVME, SHA-1 and SHA-256 are checked and returned as AWS does; none for a whole multipart object",
        Assumed,
    ),
    row(
        "maximum-buckets",
        "1,000 an account",
        "the 1,001st is refused with TooManyBuckets",
        BUCKETS,
    ),
    row(
        "force-delete",
        "DELETE of a bucket with force_delete=true empties it first",
        "NotImplemented",
        BUCKETS,
    ),
    row(
        "rename-compose-append",
        "MOVE renames buckets and objects; objects can be composed and appended to",
        "NotImplemented",
        OBJECTS,
    ),
    row("maximum-put", "5 GB in one PUT or part", "5 GiB, else EntityTooLarge", FAILED_MULTIPART),
    row(
        "part-size",
        "5 MB to 5 GB, the last part may be smaller",
        "5 MiB to 5 GiB, checked on completion",
        FAILED_MULTIPART,
    ),
    row("maximum-parts", "10,000 an upload", "so", Assumed),
    row("user-metadata", "2 KB an object", "2,048 bytes, else MetadataTooLarge", Assumed),
    row(
        "abandoned-parts",
        "kept for 31 days, billed as active storage",
        "kept until aborted; `upload_bytes` in GET /stats",
        FAILED_MULTIPART,
    ),
    row(
        "aborted-parts",
        "billed as deleted storage for what remains of the minimum duration",
        "counted in `deleted_early`",
        MULTIPART,
    ),
    row(
        "complete-retried",
        "completing an upload that was completed already: S3 answers once more what it had answered, \
         MinIO NoSuchUpload",
        "NoSuchUpload, the harder of the two for a client",
        Assumed,
    ),
    row(
        "versioning",
        "keeps every version of every object; can be enabled on an existing bucket",
        "so; suspending keeps one null version",
        VERSIONING,
    ),
    row(
        "version-id",
        "21 digits of nanoseconds, `-`, 10 characters",
        "the same form",
        LOCK_OBJECTS,
    ),
    row(
        "object-lock-at-creation",
        "can only be enabled when the bucket is created, and needs versioning",
        "so; versioning is switched on with it and cannot be suspended",
        LOCK,
    ),
    row(
        "object-lock-default",
        "mode and days or years, not both; applies to new objects",
        "so; a year is 365 days",
        LOCK_BUCKETS,
    ),
    row(
        "object-lock-modes",
        "GOVERNANCE and COMPLIANCE, in any case of letters",
        "so",
        LOCK_OBJECTS,
    ),
    row(
        "object-lock-bypass",
        "x-amz-bypass-governance-retention: true overrides governance",
        "so, for every key pair",
        LOCK_OBJECTS,
    ),
    row(
        "object-lock-future",
        "the retention date must be in the future",
        "else InvalidArgument",
        LOCK_OBJECTS,
    ),
    row(
        "legal-hold",
        "prevents deletion whatever the retention says, until it is removed",
        "so",
        LOCK,
    ),
    row(
        "object-lock-digest",
        "not documented whether a PUT with a lock needs Content-MD5",
        "it does not",
        Assumed,
    ),
    row(
        "compliance",
        "Wasabi's own bucket compliance, off on a bucket with object lock",
        "NotImplemented",
        COMPLIANCE,
    ),
    row(
        "lifecycle",
        "rules run once a day at 00:00 UTC and may take 24 to 48 hours to begin",
        "NotImplemented",
        LIFECYCLE,
    ),
    row(
        "endpoint.us-east-1",
        "s3.wasabisys.com, s3.us-east-1.wasabisys.com",
        "--region",
        ENDPOINTS,
    ),
    row("endpoint.us-east-2", "s3.us-east-2.wasabisys.com", "--region", ENDPOINTS),
    row("endpoint.us-central-1", "s3.us-central-1.wasabisys.com", "--region", ENDPOINTS),
    row("endpoint.us-west-1", "s3.us-west-1.wasabisys.com", "--region", ENDPOINTS),
    row("endpoint.us-west-2", "s3.us-west-2.wasabisys.com", "--region", ENDPOINTS),
    row("endpoint.ca-central-1", "s3.ca-central-1.wasabisys.com", "--region", ENDPOINTS),
    row(
        "endpoint.eu-central-1",
        "s3.eu-central-1.wasabisys.com, s3.nl-1.wasabisys.com",
        "--region",
        ENDPOINTS,
    ),
    row(
        "endpoint.eu-central-2",
        "s3.eu-central-2.wasabisys.com, s3.de-1.wasabisys.com",
        "--region",
        ENDPOINTS,
    ),
    row(
        "endpoint.eu-west-1",
        "s3.eu-west-1.wasabisys.com, s3.uk-1.wasabisys.com",
        "--region",
        ENDPOINTS,
    ),
    row(
        "endpoint.eu-west-2",
        "s3.eu-west-2.wasabisys.com, s3.fr-1.wasabisys.com",
        "--region",
        ENDPOINTS,
    ),
    row(
        "endpoint.eu-west-3",
        "s3.eu-west-3.wasabisys.com, s3.uk-2.wasabisys.com",
        "--region",
        ENDPOINTS,
    ),
    row(
        "endpoint.eu-south-1",
        "s3.eu-south-1.wasabisys.com, s3.it-1.wasabisys.com",
        "--region",
        ENDPOINTS,
    ),
    row("endpoint.ap-northeast-1", "s3.ap-northeast-1.wasabisys.com", "--region", ENDPOINTS),
    row("endpoint.ap-northeast-2", "s3.ap-northeast-2.wasabisys.com", "--region", ENDPOINTS),
    row("endpoint.ap-southeast-1", "s3.ap-southeast-1.wasabisys.com", "--region", ENDPOINTS),
    row("endpoint.ap-southeast-2", "s3.ap-southeast-2.wasabisys.com", "--region", ENDPOINTS),
];

/// Renders the table for people, wrapped to the terminal's width, or unwrapped without a terminal.
pub fn render() -> String {
    table().to_string()
}

fn table() -> Table {
    let mut table = Table::new();
    table
        .load_style(UTF8_BORDERS_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(["behaviour", "Wasabi", "here", "source"]);
    for row in TABLE {
        table.add_row([row.name, row.value, row.here, row.source.as_str()]);
    }
    table
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_row_has_a_name_of_its_own_and_a_source() {
        let names: BTreeSet<_> = TABLE.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), TABLE.len());
        for row in TABLE {
            let source = row.source.as_str();
            let ours = source == "assumed";
            assert!(
                ours || source.starts_with("https://") && source.contains("wasabi"),
                "{source}"
            );
        }
        assert!(TABLE.iter().any(|row| row.source == Assumed));
    }

    #[test]
    fn the_table_shows_every_row() {
        let shown = table().force_no_tty().to_string();
        assert_eq!(TABLE.iter().filter(|row| !shown.contains(row.name)).count(), 0, "{shown}");
    }
}
