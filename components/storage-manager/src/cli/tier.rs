//! `tier`

use cim_runtime::shutdown;

use super::args::TierArgs;
use super::descriptors;
use super::exit::Failure;
use crate::config::Config;
use crate::s3::{Store, Tier};
use crate::tier;

pub(super) async fn run(config: Config, args: TierArgs) -> Result<(), Failure> {
    descriptors::raise();
    let stop = shutdown::on_signal().map_err(|error| Failure::other(&error))?;
    let open = |tier, settings| {
        Store::open(tier, settings).map_err(|error| Failure::usage(format!("{tier}: {error:#}")))
    };
    let nas = open(Tier::Nas, &config.secondary)?;
    let wasabi =
        config.tertiary.as_ref().map(|settings| open(Tier::Wasabi, settings)).transpose()?;
    let client = tokio::select! {
        client = config.nats.connect("cim-storage-manager") => client?,
        () = stop.cancelled() => return Ok(()),
    };
    Ok(tier::run(config, client, nas, wasabi, args.ready_file.as_deref(), stop).await?)
}
