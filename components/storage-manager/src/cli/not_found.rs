//! A tier without an archive: an empty, mistyped or replaced bucket. To have found nothing is no success.

use cim_core::names::StreamName;

use super::connect;
use super::exit::Failure;
use crate::archive::Archive;
use crate::config::Config;
use crate::s3::Tier;

/// Returns that a tier holds no archive, and what the other one has.
pub(super) async fn no_archive(config: &Config, tier: Tier) -> Failure {
    let bucket = match (tier, &config.tertiary) {
        (Tier::Wasabi, Some(tertiary)) => &tertiary.bucket,
        _ => &config.secondary.bucket,
    };
    let other = tier.other();
    let has = match on(config, other).await {
        Ok(None) => String::new(),
        Ok(Some(0)) => format!("; {other} holds none either"),
        Ok(Some(1)) => format!("; {other} has 1 stream: `--from {}`", other.id()),
        Ok(Some(streams)) => format!("; {other} has {streams} streams: `--from {}`", other.id()),
        Err(failure) => format!("; {other} cannot be read: {}", failure.message()),
    };
    Failure::empty(format!("{tier} holds no archive in bucket `{bucket}`{has}"))
}

/// Returns that a tier holds no archive of a stream, and whether the other one does.
pub(super) async fn unknown_stream(config: &Config, stream: &StreamName, tier: Tier) -> Failure {
    let other = tier.other();
    match streams_on(config, other).await {
        Ok(Some(there)) if there.contains(stream) => Failure::empty(format!(
            "{tier} has no archive of stream `{stream}`; {other} has: `--from {}`",
            other.id()
        )),
        // What is to be typed is told where the other one is away, too.
        Ok(_) | Err(_) => Failure::usage(format!(
            "{tier} has no archive of stream `{stream}`: `cim-storage-manager streams --from {}` lists what it has",
            tier.id()
        )),
    }
}

/// Returns how many streams a tier holds; `None` where there is no such tier.
async fn on(config: &Config, tier: Tier) -> Result<Option<usize>, Failure> {
    Ok(streams_on(config, tier).await?.map(|streams| streams.len()))
}

async fn streams_on(config: &Config, tier: Tier) -> Result<Option<Vec<StreamName>>, Failure> {
    let Some(store) = connect::optional_store(config, tier)? else { return Ok(None) };
    let archive = Archive::open_before_damage(store).await?;
    Ok(Some(archive.streams().await?))
}
