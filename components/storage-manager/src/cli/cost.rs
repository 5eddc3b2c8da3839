//! `cost`

use std::collections::BTreeMap;
use std::sync::Arc;

use cim_core::names::StreamName;
use cim_runtime::output::note;
use serde::Serialize;

use super::args::Show;
use super::exit::Failure;
use super::not_found::no_archive;
use super::retention::leaving;
use super::{connect, show, show_json, table};
use crate::archive::Archive;
use crate::config::{Config, S3Config};
use crate::s3::{S3Error, Store, Tier};

/// Bytes of a TB, as prices count them.
const TB: f64 = 1e12;
/// Folders of an archive.
const FOLDERS: [&str; 2] = ["v1/", "v2/"];

#[derive(Debug, Serialize)]
struct Costs {
    tiers: Vec<OnTier>,
}

#[derive(Debug, Serialize)]
struct OnTier {
    tier: Tier,
    streams: Vec<OfStream>,
    /// All that lies in the bucket of the archive, and how many objects that is.
    bytes: u64,
    objects: usize,
    /// Of these bytes those that are no stream's messages: what was replaced and is not deleted yet, checkpoints, footers.
    other: u64,
    /// The bytes that are paid for: no less than the service bills at least.
    billed: u64,
    /// The price, and what a month comes to, where the configuration has one.
    price_per_tb_month: Option<f64>,
    month: Option<f64>,
    /// Bytes that `[[retention]]` would let go now, and what a month would come to without them.
    expiring: u64,
    month_without: Option<f64>,
}

#[derive(Debug, Serialize)]
struct OfStream {
    stream: StreamName,
    bytes: u64,
    /// Its share of the month.
    month: Option<f64>,
}

pub(super) async fn run(config: &Config, args: &Show) -> Result<(), Failure> {
    let tiers = [(Tier::Nas, Some(&config.secondary)), (Tier::Wasabi, config.tertiary.as_ref())];
    let mut costs = Costs { tiers: Vec::new() };
    for (tier, settings) in tiers {
        let Some(settings) = settings else { continue };
        costs.tiers.push(on_tier(config, tier, settings).await?);
    }
    if costs.tiers.iter().all(|tier| tier.objects == 0) {
        return Err(no_archive(config, Tier::Nas).await);
    }
    if args.json {
        return show_json(&costs);
    }
    print(&costs)
}

async fn on_tier(config: &Config, tier: Tier, settings: &S3Config) -> Result<OnTier, Failure> {
    let store = connect::store(config, tier)?;
    let archive = Archive::open_before_damage(Arc::clone(&store)).await?;
    let mut sizes = BTreeMap::new();
    for stream in archive.streams().await? {
        let Some(state) = archive.stream(&stream).await? else { continue };
        let bytes = state.segments.values().fold(0, |sum: u64, s| sum.saturating_add(s.size));
        sizes.insert(stream, bytes);
    }
    let (objects, bytes) = all(&store).await?;
    let expiring = leaving(config, tier, &archive);
    let price = settings.price_per_tb_month;
    let least = settings.billed_at_least.map_or(0, |least| least.bytes() as u64);
    let month = |bytes: u64| price.map(|price| to_f64(bytes.max(least)) / TB * price);
    let named: u64 = sizes.values().sum();
    let whole = month(bytes);
    let share = |its: u64| whole.map(|whole| whole * to_f64(its) / to_f64(bytes.max(1)));
    Ok(OnTier {
        tier,
        streams: sizes
            .into_iter()
            .map(|(stream, bytes)| OfStream { stream, bytes, month: share(bytes) })
            .collect(),
        bytes,
        objects,
        other: bytes.saturating_sub(named),
        billed: bytes.max(least),
        price_per_tb_month: price,
        month: whole,
        expiring,
        month_without: month(bytes.saturating_sub(expiring)),
    })
}

/// Counts what lies in a bucket of an archive, and its bytes.
async fn all(store: &Store) -> Result<(usize, u64), S3Error> {
    let (mut objects, mut bytes) = (0, 0);
    for folder in FOLDERS {
        let listed = store.list(folder, false).await?;
        objects += listed.len();
        bytes += listed.iter().map(|object| object.size).sum::<u64>();
    }
    Ok((objects, bytes))
}

#[expect(clippy::cast_precision_loss, reason = "money is no matter of single bytes")]
fn to_f64(bytes: u64) -> f64 {
    bytes as f64
}

fn money(month: Option<f64>) -> String {
    month.map_or_else(|| "-".into(), |month| format!("{month:.2}"))
}

fn print(costs: &Costs) -> Result<(), Failure> {
    let mut shown = table::table(&["stream", "tier", "#size", "#a month"]);
    for tier in &costs.tiers {
        for OfStream { stream, bytes, month } in &tier.streams {
            let (stream, size) = (stream.to_string(), table::size(*bytes));
            shown.add_row([stream, tier.tier.to_string(), size, money(*month)]);
        }
    }
    show(shown)?;
    for tier in &costs.tiers {
        let OnTier { tier, bytes, objects, other, billed, price_per_tb_month, month, .. } = tier;
        let (size, rest) = (table::size(*bytes), table::size(*other));
        let what =
            format!("{tier}: {size} in {objects} objects, {rest} of it no stream's messages");
        match price_per_tb_month {
            None => {
                note(format_args!("{what}; without a `price_per_tb_month` nothing is reckoned"));
            }
            Some(price) => note(format_args!(
                "{what}; {} are billed: {} a month at {price} a TB",
                table::size(*billed),
                money(*month)
            )),
        }
    }
    for tier in costs.tiers.iter().filter(|tier| tier.expiring > 0) {
        note(format_args!(
            "{}: by `[[retention]]` {} would leave now: {} a month then",
            tier.tier,
            table::size(tier.expiring),
            money(tier.month_without)
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_has_two_places_and_is_not_made_up() {
        assert_eq!((money(Some(6.9949)), money(None)), ("6.99".into(), "-".into()));
        assert!((to_f64(1_500_000_000_000) / TB - 1.5).abs() < 1e-9);
    }
}
