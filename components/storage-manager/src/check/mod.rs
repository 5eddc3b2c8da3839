//! The rights of the NATS user and of the S3 keys, and what the services honour: all that tiering stands on, tried.

mod heard;
mod inbox;
mod rights;
mod same;

use std::fmt::Write as _;

pub use heard::heard;
pub use rights::{Need, Right, missing_rights};
use rights::{allow, listed};
pub use same::{is_same_bucket, one_bucket};

use crate::s3::{Probe, S3Error, Store, Tier, probe};

/// The outcome.
#[derive(Debug, Default)]
pub struct Found {
    /// Rights that the NATS user lacks.
    pub nats: Vec<Right>,
    /// The tiers, as they were found.
    pub tiers: Vec<Tried>,
}

/// A tier, as it was found.
#[derive(Debug)]
pub struct Tried {
    tier: Tier,
    bucket: String,
    single_writer: bool,
    probe: Probe,
}

impl Tried {
    /// Tries a tier out, with so many races.
    ///
    /// # Errors
    /// The service does not answer, has no such bucket, or refuses the key.
    pub async fn by(store: &Store, races: usize) -> Result<Self, S3Error> {
        let probe = probe(store, races).await?;
        let (tier, single_writer) = (store.tier(), store.single_writer());
        Ok(Self { tier, bucket: store.bucket().into(), single_writer, probe })
    }
}

/// Why tiering cannot begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Rights are missing.
    #[error("rights are missing: {lacks}")]
    Rights {
        /// Whose, and which.
        lacks: String,
        /// True if the NATS user lacks some.
        nats: bool,
    },
    /// The service cannot keep two writers apart, and there is no promise that there is one.
    #[error(
        "{0}: the service does not honour `If-None-Match` for all who write at once, so two writers could overwrite \
         each other: set `single_writer = true` if there is only this one"
    )]
    Unconditional(Tier),
    /// The service stores what was damaged on the way.
    #[error(
        "{0}: the service stores an object that is not what its `x-amz-checksum-crc32c` says, so what is damaged on \
         the way would be archived: use a service that checks, as MinIO, SeaweedFS, versitygw and Garage do"
    )]
    Unchecked(Tier),
    /// The service does not list as S3 does.
    #[error(
        "{0}: the service lists objects out of order, or leaves out what was just written, so the archive's end \
         would not be found: use one that lists as S3 does"
    )]
    Lists(Tier),
    /// Objects are to be locked, and the bucket knows no locks.
    #[error(
        "{tier}: bucket `{bucket}` has no object lock, and `object_lock` asks for it: make a bucket with object lock (`mc mb --with-lock`), which no service adds to one that is there, or take `object_lock` out"
    )]
    Unlocked {
        /// The tier.
        tier: Tier,
        /// Its bucket.
        bucket: String,
    },
}

impl Found {
    /// Returns what keeps tiering from beginning: of the NAS all that is needed, of Wasabi rights alone.
    ///
    /// # Errors
    /// Something does.
    pub fn fit(&self) -> Result<(), Unfit> {
        let mut lacks = Vec::new();
        let needed: Vec<_> = self.nats.iter().filter(|r| r.need == Need::Tiering).collect();
        if !needed.is_empty() {
            lacks.push(allow(&needed));
        }
        for tried in self.tiers.iter().filter(|tried| !tried.probe.missing.is_empty()) {
            let actions = tried.probe.missing.iter().map(|action| {
                let below = if *action == "s3:ListBucket" { "" } else { "/*" };
                format!("`{action}` on `arn:aws:s3:::{}{below}`", tried.bucket)
            });
            let actions: Vec<_> = actions.collect();
            lacks.push(format!("allow the key for {} {}", tried.tier, actions.join(", ")));
        }
        if !lacks.is_empty() {
            return Err(Unfit::Rights { lacks: lacks.join("; "), nats: !needed.is_empty() });
        }
        for Tried { tier, bucket, probe, .. } in &self.tiers {
            if !probe.locks {
                return Err(Unfit::Unlocked { tier: *tier, bucket: bucket.clone() });
            }
        }
        for Tried { tier, single_writer, probe, .. } in &self.tiers {
            // What is at Wasabi was decided on the NAS, and is compared with it.
            if *tier == Tier::Wasabi {
                continue;
            }
            if !probe.conditional_writes && !single_writer {
                return Err(Unfit::Unconditional(*tier));
            }
            if !probe.checks {
                return Err(Unfit::Unchecked(*tier));
            }
            if !probe.lists {
                return Err(Unfit::Lists(*tier));
            }
        }
        Ok(())
    }

    /// Returns what is as it is and should be known.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let mut rest: Vec<_> = self.nats.iter().filter(|r| r.need != Need::Tiering).collect();
        while let Some(Right { need, .. }) = rest.first() {
            let (same, others): (Vec<_>, Vec<_>) = rest.iter().partition(|r| r.need == *need);
            notes.push(format!("for {need} allow the NATS user to {}", listed(&same)));
            rest = others;
        }
        for Tried { tier, probe, single_writer, .. } in &self.tiers {
            if !probe.conditional_writes && (*single_writer || *tier == Tier::Wasabi) {
                let harm = if *tier == Tier::Nas { ": a second writer would do harm" } else { "" };
                notes.push(format!("{tier} does not honour `If-None-Match`{harm}"));
            }
            if *tier == Tier::Wasabi && !probe.checks {
                notes.push(format!(
                    "{tier} stores what was damaged on the way: `verify --from {}` finds it, nothing else does",
                    tier.id()
                ));
            }
            if let Some(key) = &probe.left {
                let mut note =
                    format!("the key for {tier} may not delete: what is replaced there stays");
                write!(note, ", and so does object `{key}`, which is used again at the next start")
                    .expect("a string takes it");
                notes.push(note);
            }
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::testing::good;

    fn tried(tier: Tier, probe: Probe) -> Tried {
        Tried { tier, bucket: "archive".into(), single_writer: false, probe }
    }

    #[test]
    fn all_that_is_missing_is_named_in_one_line() {
        let config = "[nats]\nurl = \"nats://h\"\n[secondary]\nendpoint = \"http://h\"\nbucket = \"archive\"\ncredentials_file = \"f\"\n";
        let config = cim_runtime::config::parse(std::path::Path::new("c"), config).unwrap();
        let nats = rights::all(&config, Some("ORDERS"));
        let nas = Probe { missing: vec!["s3:ListBucket", "s3:GetObject"], ..good() };
        let wasabi = Probe { missing: vec!["s3:PutObject"], ..good() };
        let tiers = vec![tried(Tier::Nas, nas), tried(Tier::Wasabi, wasabi)];
        let found = Found { nats, tiers };
        insta::assert_snapshot!(found.fit().unwrap_err(), @"rights are missing: allow the NATS user to publish `$JS.API.STREAM.NAMES`, `$JS.API.STREAM.LIST`, `$JS.API.STREAM.INFO.*`, `$JS.API.STREAM.MSG.GET.*`, `$JS.API.CONSUMER.LIST.*`, `$JS.API.CONSUMER.CREATE.*`, `$JS.API.CONSUMER.INFO.*.*`, `$JS.API.CONSUMER.MSG.NEXT.*.*`, `$JS.API.CONSUMER.DELETE.*.*` and subscribe to `_INBOX.>`; allow the key for NAS `s3:ListBucket` on `arn:aws:s3:::archive`, `s3:GetObject` on `arn:aws:s3:::archive/*`; allow the key for Wasabi `s3:PutObject` on `arn:aws:s3:::archive/*`");
        insta::assert_snapshot!(found.notes().join("\n"), @"
        for streams with retention `interest` allow the NATS user to publish `$JS.API.CONSUMER.DURABLE.CREATE.*.cim-tier-archive`, `$JS.ACK.*.cim-tier-archive.>`, `$JS.ACK.*.*.*.cim-tier-archive.>`
        for what consumers have pending or given up allow the NATS user to publish `$JS.API.STREAM.SNAPSHOT.*`
        for a second manager that stands by allow the NATS user to publish `cim.service.storage.journal.main` and subscribe to `cim.service.storage.journal.main`
        for telling accounts apart allow the NATS user to publish `$SYS.REQ.USER.INFO`
        for `restore` allow the NATS user to publish `$JS.API.INFO`, `$JS.API.STREAM.RESTORE.*`, `$JS.SNAPSHOT.RESTORE.*.*`
        ");
    }

    #[test]
    fn what_the_nas_must_honour_wasabi_need_not() {
        let poor = || Probe { conditional_writes: false, checks: false, lists: false, ..good() };
        let at = |tier, probe| Found { nats: Vec::new(), tiers: vec![tried(tier, probe)] };
        let nas = at(Tier::Nas, poor());
        assert_eq!(nas.fit(), Err(Unfit::Unconditional(Tier::Nas)));
        let unchecked = Probe { conditional_writes: true, ..poor() };
        assert_eq!(at(Tier::Nas, unchecked.clone()).fit(), Err(Unfit::Unchecked(Tier::Nas)));
        let unlisted = Probe { checks: true, ..unchecked };
        assert_eq!(at(Tier::Nas, unlisted).fit(), Err(Unfit::Lists(Tier::Nas)));
        let mut alone = at(Tier::Nas, Probe { conditional_writes: false, ..good() });
        alone.tiers[0].single_writer = true;
        assert_eq!(alone.fit(), Ok(()));
        let wasabi = at(Tier::Wasabi, Probe { left: Some("v1/probe/wasabi".into()), ..poor() });
        assert_eq!(wasabi.fit(), Ok(()));
        let notes = [alone.notes(), wasabi.notes()].concat();
        insta::assert_snapshot!(notes.join("\n"), @"
        NAS does not honour `If-None-Match`: a second writer would do harm
        Wasabi does not honour `If-None-Match`
        Wasabi stores what was damaged on the way: `verify --from wasabi` finds it, nothing else does
        the key for Wasabi may not delete: what is replaced there stays, and so does object `v1/probe/wasabi`, which is used again at the next start
        ");
    }
}
