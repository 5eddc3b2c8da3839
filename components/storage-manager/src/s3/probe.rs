//! What a service honours, and what a key may do, is tried out, not believed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cim_core::archive::ArchiveKey;
use cim_runtime::retry::Backoff;
use futures_util::future::join_all;

use super::{ErrorKind, PutOutcome, S3Error, Store};

/// The behaviour of a service, and the rights of a key, as they were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The rights that the key lacks and needs, as policies name them.
    pub missing: Vec<&'static str>,
    /// Of those who write a key with `If-None-Match: *`, all at once, one alone is told that it did.
    pub conditional_writes: bool,
    /// An object is refused that is not what its checksum says.
    pub checks: bool,
    /// All that was written is listed, in the order of the keys' bytes.
    pub lists: bool,
    /// The bucket locks what is written, where that is asked for.
    pub locks: bool,
    /// The key that was written under the tier's name, where it may not be deleted.
    pub left: Option<String>,
}

/// The number of writers of one key at once. Of a service that looks first and writes then, every second such race has several
/// winners, so one race says little and several do.
const WRITERS: usize = 16;

/// The time for which a question is asked again.
const PATIENCE: Duration = Duration::from_secs(2);

const LIST: &str = "s3:ListBucket";
const GET: &str = "s3:GetObject";
const PUT: &str = "s3:PutObject";
const LOCK: &str = "s3:PutObjectRetention";

/// Lists, writes, reads and deletes objects below `v1/probe/`, which no other process does. With a key that may not
/// delete it is one object, the same one each time, and its name is the tier's. Otherwise there are so many races.
///
/// # Errors
/// The service does not answer, has no such bucket, or takes the key for nothing.
pub async fn probe(store: &Store, races: usize) -> Result<Probe, S3Error> {
    let id = uuid::Uuid::now_v7().to_string();
    let mut missing = Missing::default();
    // First, for who writes may be given a bucket that was mistyped; who lists is told.
    let prefix = key(&id).to_string();
    missing.is(LIST, patiently(|| store.list(&prefix, false)).await)?;
    let tier = store.tier().id().to_owned();
    let of_tier = key(&tier).to_string();
    let may_delete = allowed(patiently(|| store.delete(&of_tier)).await)?.is_ok();
    let (id, races) = if may_delete { (id, races) } else { (tier, 1) };
    let names = (0..races).map(|n| if may_delete { format!("{id}-{n}") } else { id.clone() });
    let keys: Vec<_> = names.map(|name| key(&name)).collect();
    let damaged = key(&format!("{id}-damaged"));
    let found = try_out(store, &key(&id).to_string(), &keys, &damaged, missing).await;
    if !may_delete {
        return found.map(|found| {
            let left = (!found.missing.contains(&PUT)).then(|| keys[0].to_string());
            Probe { left, ..found }
        });
    }
    let stored = found.as_ref().map_or(true, |found| !found.checks).then_some(&damaged);
    for key in keys.iter().chain(stored) {
        let key = key.to_string();
        let deleted = patiently(|| store.delete(&key)).await;
        // What failed before says more.
        if found.is_ok() {
            deleted?;
        }
    }
    found
}

/// Writes these keys, each in a race, and one that is damaged on its way, and looks at the result.
async fn try_out(
    store: &Store,
    prefix: &str,
    keys: &[ArchiveKey],
    damaged: &ArchiveKey,
    mut missing: Missing,
) -> Result<Probe, S3Error> {
    let (mut conditional_writes, alone) = (true, keys.len() == 1);
    // All at once: who waits for others of one key waits for none of another.
    for raced in join_all(keys.iter().map(|key| race_and_again(store, key))).await {
        let Some((Race { winners, unknown }, again)) = missing.is(PUT, raced)? else { break };
        // One that could not be deleted is there since the first time.
        conditional_writes &= winners == 1 || winners == 0 && (alone || unknown > 0);
        conditional_writes &= again == PutOutcome::AlreadyExists;
    }
    let first = keys[0].to_string();
    missing.is(GET, absent_is_fine(patiently(|| store.get(&first)).await))?;
    let checks = match patiently(|| store.put_damaged(damaged, BODY)).await {
        Ok(()) => false,
        Err(error) if error.kind.is_transient() => return Err(error),
        Err(_) => true,
    };
    let listed = missing.is(LIST, patiently(|| store.list(prefix, false)).await)?;
    let listed = listed.map(|found| found.into_iter().map(|object| object.key).collect::<Vec<_>>());
    let mut written: BTreeSet<_> = keys.iter().map(ToString::to_string).collect();
    written.extend((!checks).then(|| damaged.to_string()));
    let lists = match listed {
        Some(listed) if !missing.0.contains(&PUT) => listed.iter().eq(&written),
        _ => true,
    };
    let locks = locks(store, &mut missing).await?;
    Ok(Probe { missing: missing.0, conditional_writes, checks, lists, locks, left: None })
}

/// Finds out whether the bucket locks objects, where that is asked for.
async fn locks(store: &Store, missing: &mut Missing) -> Result<bool, S3Error> {
    let key = key(&format!("{}-lock", store.tier().id()));
    let ask = || async { store.put_locked(&key, BODY).await.unwrap_or(Ok(())) };
    let asked = patiently(ask).await;
    match missing.is(LOCK, asked) {
        Ok(_) => {
            if store.lock().is_some() {
                // It goes when its moment is over, where the service keeps versions.
                let key = key.to_string();
                patiently(|| store.delete(&key)).await.unwrap_or_default();
            }
            Ok(true)
        }
        Err(error) if error.kind.is_transient() || error.kind.refused_key().is_some() => Err(error),
        Err(error) => {
            tracing::debug!("an object cannot be locked: {}", cim_runtime::error::chain(&error));
            Ok(false)
        }
    }
}

const BODY: Bytes = Bytes::from_static(b"probe");

fn key(id: &str) -> ArchiveKey {
    ArchiveKey::Probe { id: id.into() }
}

/// The answers to many writers of one key at once.
struct Race {
    /// They did.
    winners: usize,
    /// Nothing: their answers were lost.
    unknown: usize,
}

/// Writes one key from many tasks at once.
async fn race(store: &Store, key: &ArchiveKey) -> Result<Race, S3Error> {
    let mut told = Race { winners: 0, unknown: 0 };
    for put in join_all((0..WRITERS).map(|_| store.put_if_absent(key, BODY))).await {
        match put {
            Ok(PutOutcome::Created) => told.winners += 1,
            Ok(PutOutcome::AlreadyExists) => {}
            // What S3 says to one of two that overlap: it is to ask again.
            Err(S3Error { kind: ErrorKind::Unavailable(code), .. }) if code == "conflict" => {}
            Err(error) if error.kind.is_transient() && told.unknown + 1 < WRITERS => {
                told.unknown += 1;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(told)
}

/// Writes one key from many tasks at once, and once more afterwards, which must find it there.
async fn race_and_again(store: &Store, key: &ArchiveKey) -> Result<(Race, PutOutcome), S3Error> {
    let race = race(store, key).await?;
    let again = patiently(|| store.put_if_absent(key, BODY)).await?;
    Ok((race, again))
}

/// Asks again for a while where an answer was lost, or the service is busy: it is to be found out what it does on a good
/// day.
async fn patiently<T, F>(ask: impl Fn() -> F) -> Result<T, S3Error>
where
    F: Future<Output = Result<T, S3Error>>,
{
    let (begun, mut tries) = (Instant::now(), 0);
    loop {
        match ask().await {
            Err(error) if error.kind.is_transient() && begun.elapsed() < PATIENCE => {
                tries += 1;
                tokio::time::sleep(Backoff::default().after(tries)).await;
            }
            answer => return answer,
        }
    }
}

/// Rights that were found to be missing.
#[derive(Default)]
struct Missing(Vec<&'static str>);

impl Missing {
    /// Takes note of what was refused to this key; what else went wrong is an error.
    fn is<T>(
        &mut self,
        right: &'static str,
        asked: Result<T, S3Error>,
    ) -> Result<Option<T>, S3Error> {
        let done = allowed(asked)?.ok();
        if done.is_none() && !self.0.contains(&right) {
            self.0.push(right);
        }
        Ok(done)
    }
}

/// Returns what the key may not do as the inner error.
fn allowed<T>(asked: Result<T, S3Error>) -> Result<Result<T, S3Error>, S3Error> {
    match asked {
        Err(error) if error.kind.refused_key().is_some() => Err(error),
        Err(error) if matches!(error.kind, ErrorKind::Denied(_)) => Ok(Err(error)),
        other => other.map(Ok),
    }
}

/// Accepts a missing object: what could not be written cannot be read, and the right to read is known all the same.
fn absent_is_fine(got: Result<Bytes, S3Error>) -> Result<(), S3Error> {
    match got {
        Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
        got => got.map(drop),
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::Probe;

    /// Returns what a service is found to do that does all that is needed.
    pub(crate) fn good() -> Probe {
        Probe {
            missing: vec![],
            conditional_writes: true,
            checks: true,
            lists: true,
            locks: true,
            left: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use cim_fake_wasabi::{Config, FakeWasabi, Fault, Rule};

    use super::testing::good;
    use super::*;
    use crate::s3::Tier;

    async fn service(dir: &Path) -> (FakeWasabi, Store) {
        let config = Config { buckets: vec!["archive".into()], ..Config::new(dir.join("s3")) };
        let fake = FakeWasabi::start(config).await.unwrap();
        let file = dir.join("s3.env");
        let (key, secret) = (Config::TEST_ACCESS_KEY, Config::TEST_SECRET_KEY);
        let text = format!("AWS_ACCESS_KEY_ID={key}\nAWS_SECRET_ACCESS_KEY={secret}\n");
        std::fs::write(&file, text).unwrap();
        let text = format!(
            "endpoint = \"{}\"\nbucket = \"archive\"\ncredentials_file = \"{}\"\n",
            fake.s3_url(),
            file.display()
        );
        let config = cim_runtime::config::parse(Path::new("s3.toml"), &text).unwrap();
        (fake, Store::open(Tier::Nas, &config).unwrap())
    }

    async fn left(store: &Store) -> Vec<String> {
        let listed = store.list("v1/probe/", false).await.unwrap();
        listed.into_iter().map(|object| object.key).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_service_does_not_honour_is_found_and_nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let (fake, store) = service(dir.path()).await;
        assert_eq!(probe(&store, 4).await.unwrap(), good());
        // Each tenth write that should have been refused is not, so one after the other they may all be.
        let seldom = Rule { every: Some(10), ..Rule::new(Fault::Overwrite) };
        for (rule, found) in [
            (seldom, Probe { conditional_writes: false, ..good() }),
            (Rule::new(Fault::Overwrite), Probe { conditional_writes: false, ..good() }),
            (Rule::new(Fault::Unchecked), Probe { checks: false, ..good() }),
        ] {
            fake.set_faults(vec![rule]).unwrap();
            assert_eq!(probe(&store, 4).await.unwrap(), found);
            assert_eq!(left(&store).await, [""; 0]);
        }
        fake.set_faults(vec![Rule::new(Fault::Unavailable).operation("GetObject")]).unwrap();
        probe(&store, 4).await.unwrap_err();
        assert_eq!(left(&store).await, [""; 0], "though it did not come to its end");
    }

    /// The probe finds what the service does, whatever happens to some of its answers.
    #[tokio::test(flavor = "multi_thread")]
    async fn answers_that_are_lost_say_nothing_of_a_service() {
        let dir = tempfile::tempdir().unwrap();
        let (fake, store) = service(dir.path()).await;
        for fault in [Fault::LostResponse, Fault::Cut, Fault::SlowDown] {
            fake.set_faults(vec![Rule { every: Some(4), ..Rule::new(fault) }]).unwrap();
            assert_eq!(probe(&store, 4).await.unwrap(), good(), "{fault:?}");
            fake.set_faults(Vec::new()).unwrap();
            assert_eq!(left(&store).await, [""; 0], "{fault:?}");
        }
        fake.set_faults(vec![Rule::new(Fault::Cut)]).unwrap();
        probe(&store, 4).await.unwrap_err();
    }

    /// Some writers of each key wait three seconds, as they do on a service that takes them one after the other.
    #[tokio::test(flavor = "multi_thread")]
    async fn who_waits_for_one_race_waits_for_all_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let (fake, store) = service(dir.path()).await;
        let slow = Rule { every: Some(8), seconds: Some(3.0), ..Rule::new(Fault::Delay) };
        fake.set_faults(vec![slow.operation("PutObject")]).unwrap();
        let begun = Instant::now();
        assert_eq!(probe(&store, 4).await.unwrap(), good());
        assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_key_that_may_less_is_told_all_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let (fake, store) = service(dir.path()).await;
        let denied = |operation| Rule::new(Fault::ReadOnly).operation(operation);
        fake.set_faults(vec![denied("PutObject")]).unwrap();
        assert_eq!(probe(&store, 4).await.unwrap(), Probe { missing: vec![PUT], ..good() });
        // Without the right to delete one object is left, however often it is asked.
        fake.set_faults(vec![denied("DeleteObject")]).unwrap();
        let left_there = Some("v1/probe/nas".to_owned());
        for _ in 0..2 {
            let found = probe(&store, 4).await.unwrap();
            assert_eq!(found, Probe { left: left_there.clone(), ..good() });
            assert_eq!(left(&store).await, ["v1/probe/nas"]);
        }
        fake.set_faults(vec![denied("*Object")]).unwrap();
        assert_eq!(probe(&store, 4).await.unwrap().missing, [PUT]);
    }
}
