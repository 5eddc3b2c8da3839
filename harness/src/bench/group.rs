//! Groups of rows that are measured together, in the order of measurement.

use super::test_bed::TestBed;
use super::{Row, Scale, all, idle, pieces, quiet, restore, tiering, year};
use crate::error::Result;

/// Rows of one measurement.
#[derive(Debug, Clone, Copy)]
pub(super) enum Group {
    Tiering,
    RestoreKibibyte,
    RestoreSlowLink,
    RestoreSmall,
    ArchiveJson,
    Quiet,
    QuietBytes,
    Idle,
    SmallSegments,
    RestoreAll,
    TieringTogether,
    TieringEncrypted,
    Year,
}

impl Group {
    pub(super) const ALL: [Self; 13] = [
        Self::Tiering,
        Self::RestoreKibibyte,
        Self::RestoreSlowLink,
        Self::RestoreSmall,
        Self::ArchiveJson,
        Self::Quiet,
        Self::QuietBytes,
        Self::Idle,
        Self::SmallSegments,
        Self::RestoreAll,
        Self::TieringTogether,
        Self::TieringEncrypted,
        Self::Year,
    ];

    /// Returns the names of its rows.
    pub(super) fn rows(self) -> &'static [&'static str] {
        match self {
            Self::Tiering => &[
                "tiering_vs_pull",
                "s3_requests_per_10k",
                "archive_ratio_random",
                "storage_manager_rss_mib",
                "restore_rss_mib",
            ],
            Self::RestoreKibibyte => &["restore_vs_natscli_1k", "restore_protocol_vs_natscli_1k"],
            Self::RestoreSlowLink => &["restore_vs_natscli_20ms"],
            Self::RestoreSmall => &["restore_vs_natscli_128b"],
            Self::ArchiveJson => &["archive_ratio_json"],
            Self::Quiet => &[
                "quiet_streams_puts_100",
                "quiet_streams_puts_1000",
                "quiet_streams_cpu",
                "storage_manager_rss_mib_1000",
            ],
            Self::QuietBytes => &["quiet_streams_bytes"],
            Self::Idle => &["idle_rpo", "idle_cost_nats", "idle_cost_nas", "idle_cost_cpu"],
            Self::SmallSegments => &["restore_small_segments"],
            Self::RestoreAll => &["restore_all"],
            Self::TieringTogether => &["tiering_vs_pull_64"],
            Self::TieringEncrypted => &["tiering_encrypted"],
            Self::Year => {
                &["year_objects_nas", "year_objects_wasabi", "year_open", "year_open_rss_mib"]
            }
        }
    }

    pub(super) async fn measure(self, bed: &TestBed<'_>, scale: &Scale) -> Result<Vec<Row>> {
        Ok(match self {
            Self::Tiering => tiering::measure(bed, scale).await?,
            Self::RestoreKibibyte => restore::kibibyte(bed, scale).await?,
            Self::RestoreSlowLink => vec![restore::over_a_slow_link(bed, scale).await?],
            Self::RestoreSmall => vec![restore::small(bed, scale).await?],
            Self::ArchiveJson => vec![tiering::json(bed, scale).await?],
            Self::Quiet => quiet::measure(bed, scale).await?,
            Self::QuietBytes => vec![quiet::bytes(bed, scale).await?],
            Self::Idle => idle::measure(bed, scale).await?,
            Self::SmallSegments => vec![pieces::measure(bed, scale).await?],
            Self::RestoreAll => vec![all::measure(bed, scale).await?],
            Self::TieringTogether => vec![tiering::together(bed, scale).await?],
            Self::TieringEncrypted => vec![tiering::encrypted(bed, scale).await?],
            Self::Year => year::measure(bed, scale).await?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_rows_have_one_name() {
        let rows: Vec<_> = Group::ALL.iter().flat_map(|group| group.rows()).collect();
        let names: BTreeSet<_> = rows.iter().collect();
        assert_eq!(names.len(), rows.len());
    }
}
