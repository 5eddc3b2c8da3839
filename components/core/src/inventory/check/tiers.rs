//! Tiers: the archive's places, and that only one storage manager writes it.

use super::{Problems, all_of};
use crate::inventory::{
    ComponentName, Encrypted, Inventory, ProblemKind as Kind, Provider, RetentionTier, Role, Tier,
};

pub(super) fn check(inventory: &Inventory, found: &mut Problems) {
    let (secondary, tertiary) = (&inventory.tiers.secondary, &inventory.tiers.tertiary);
    if let Some(of) = secondary {
        tier(inventory, "secondary", of, &[Role::Nas], found);
        conditions(inventory, of, found);
    }
    if let Some(of) = tertiary {
        tier(inventory, "tertiary", of, &[Role::FakeWasabi, Role::Nas], found);
    }
    found.add_if(secondary.is_none() && tertiary.is_some(), Kind::Missing, || {
        "`tiers.tertiary` is given without `tiers.secondary`: events reach it from there, so give that as well".into()
    });
    encryption(inventory, found);
    retention(inventory, found);
    let writers: Vec<_> = inventory
        .hosts
        .iter()
        .filter(|(_, host)| host.components.contains_key(&ComponentName::StorageManager))
        .map(|(name, _)| name)
        .collect();
    let names = all_of(&writers, " and ");
    found.add_if(secondary.is_none() && !writers.is_empty(), Kind::Missing, || {
        format!("`tiers.secondary` is missing, but a storage manager runs on {names}: give the NAS's `host` and `bucket`")
    });
    found.add_if(writers.len() > 1, Kind::TwoWriters, || {
        format!("{names} each run a storage manager, and both would write the same archive: keep it on one of them")
    });
    let host = |tier: &Option<Tier>| tier.as_ref().and_then(|tier| tier.host.clone());
    if let (Some(a), Some(b)) = (host(secondary), host(tertiary)) {
        found.add_if(a == b, Kind::SameHost, || {
            format!("`tiers.secondary` and `tiers.tertiary` are the same machine, `{a}`: losing it would lose both; use another")
        });
    }
}

fn encryption(inventory: &Inventory, found: &mut Problems) {
    let Some(encryption) = &inventory.tiers.encryption else { return };
    let (version, tiers) = (u32::from(inventory.version), encryption.tiers);
    found.add_if(version < 3, Kind::NeedsVersion, || {
        format!("`tiers.encryption` is given, which version `{version}` of the inventory does not have: set `version` to 3")
    });
    found.add_if(inventory.tiers.secondary.is_none(), Kind::Missing, || {
        "`tiers.encryption` is given without `tiers.secondary`: nothing is archived, so give that as well".into()
    });
    found.add_if(tiers != Encrypted::None && encryption.key.is_none(), Kind::Missing, || {
        "`tiers.encryption.key` is missing: give the name of the key that writes, or set `tiers.encryption.tiers` to `none`".into()
    });
    let nothing = tiers == Encrypted::Wasabi && inventory.tiers.tertiary.is_none();
    found.add_if(nothing, Kind::Missing, || {
        "`tiers.encryption.tiers` is `wasabi` without `tiers.tertiary`: nothing would be encrypted; use `both`, or give that tier".into()
    });
}

fn retention(inventory: &Inventory, found: &mut Problems) {
    let (tiers, version) = (&inventory.tiers, u32::from(inventory.version));
    if tiers.retention.is_empty() {
        return;
    }
    found.add_if(version < 4, Kind::NeedsVersion, || {
        format!("`tiers.retention` is given, which version `{version}` of the inventory does not have: set `version` to 4")
    });
    found.add_if(tiers.secondary.is_none(), Kind::Missing, || {
        "`tiers.retention` is given without `tiers.secondary`: nothing is archived, so give that as well".into()
    });
    for (place, entry) in tiers.retention.iter().enumerate() {
        let at = format!("tiers.retention[{place}]");
        found.add_if(entry.streams.is_empty(), Kind::Missing, || {
            format!("`{at}.streams` is empty: name streams, or `*` for all")
        });
        let times = [&entry.max_age, &entry.dropped, &entry.left_timelines];
        let counts = [entry.max_messages, entry.max_bytes];
        let limits = times.iter().any(|time| time.is_some()) || counts.iter().any(Option::is_some);
        found.add_if(!limits, Kind::Missing, || {
            format!("`{at}` has no limit and would keep everything: give `maxAge`, `maxMessages`, `maxBytes`, `dropped` or `leftTimelines`, or remove it")
        });
        let nowhere = entry.tier == Some(RetentionTier::Wasabi) && tiers.tertiary.is_none();
        found.add_if(nowhere, Kind::Missing, || {
            format!(
                "`{at}.tier` is `wasabi` without `tiers.tertiary`: use `nas`, or give that tier"
            )
        });
    }
}

/// Refuses a secondary tier that cannot keep two writers apart: the secondary tier decides for the tertiary.
fn conditions(inventory: &Inventory, tier: &Tier, found: &mut Problems) {
    let Some(name) = &tier.host else { return };
    let s3 = inventory.hosts.get(name).and_then(|host| host.s3.as_ref());
    found.add_if(s3.is_some_and(|s3| s3.provider == Provider::Garage), Kind::IgnoresConditions, || {
        format!("`tiers.secondary.host` is `{name}`, whose `s3.provider` is `garage`: it ignores the conditions of writes, so two writers could overwrite each other; use another provider, or that machine as `tiers.tertiary`")
    });
}

fn tier(inventory: &Inventory, key: &str, tier: &Tier, roles: &[Role], found: &mut Problems) {
    let at = format!("tiers.{key}");
    found.add_if(tier.host.is_some() == tier.endpoint.is_some(), Kind::TierShape, || {
        format!("`{at}` needs either `host` or `endpoint`: give exactly one of them")
    });
    if let Some(name) = &tier.host {
        match inventory.hosts.get(name).map(|host| host.role) {
            None => found.add(
                Kind::UnknownHost,
                format!(
                    "`{at}.host` is `{name}`, which is not there: add it to `hosts`, or use another"
                ),
            ),
            Some(role) if roles.contains(&role) => {}
            Some(role) => {
                let roles = all_of(roles, " and ");
                found.add(
                    Kind::Misplaced,
                    format!(
                        "`{at}.host` is `{name}` of role `{role}`: use a machine of role {roles}"
                    ),
                );
            }
        }
    }
    if let Some(endpoint) = &tier.endpoint {
        found.add_if(tier.region.is_none(), Kind::TierShape, || {
            format!("`{at}.region` is missing: give the region that requests to `{endpoint}` are signed for")
        });
        let open = !inventory.lab && !endpoint.as_str().starts_with("https://");
        found.add_if(open, Kind::NotEncrypted, || {
            format!("`{at}.endpoint` is `{endpoint}`, which is not encrypted: use `https://`")
        });
    }
}
