//! A bucket as the storage manager itself sees it.

use std::path::Path;
use std::sync::Arc;

use cim_runtime::config;
use cim_storage_manager::s3::{Store, Tier};

use super::{SECRET, USER, credentials_file};

/// Opens a bucket as a tier.
pub(crate) fn store_at(tier: Tier, dir: &Path, url: &str, bucket: &str) -> Arc<Store> {
    let credentials = credentials_file(dir, &format!("{tier}.env"), USER, SECRET);
    let text = format!(
        "endpoint = \"{url}\"\nbucket = \"{bucket}\"\ncredentials_file = \"{}\"\n",
        credentials.display()
    );
    let config = config::parse(Path::new("tier.toml"), &text).unwrap();
    Arc::new(Store::open(tier, &config).unwrap())
}
