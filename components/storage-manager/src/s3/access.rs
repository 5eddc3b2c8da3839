//! How a service is reached: keys, and the authorities that its certificate may be of.
//!
//! Both lie in files that others replace while this process runs. They are read again every second in which they
//! are used, and at once when the service refuses what they held. Where they cannot be read, or make no sense,
//! what they held before stays in use: a file may be half written.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cim_core::names::BucketName;
use cim_runtime::config::{self, ConfigError};
use cim_runtime::error::chain;
use s3::creds::Credentials;
use s3::{Bucket, Region};

use super::{S3Error, Tier};
use crate::authorities;
use crate::config::S3Config;

/// The time for which a file that was read counts.
const FRESH: Duration = Duration::from_secs(1);

/// The access that requests are made with.
#[derive(Debug)]
pub(super) struct Way {
    /// Signs.
    pub(super) bucket: Bucket,
    /// Sends.
    pub(super) client: reqwest::Client,
}

/// The way to a service, as its files have it now.
#[derive(Debug)]
pub(super) struct Access {
    tier: Tier,
    config: S3Config,
    now: Mutex<Now>,
}

#[derive(Debug)]
struct Now {
    way: Arc<Way>,
    files: Files,
    looked: Instant,
    /// The fault of the files, as the log has it.
    wrong: Option<String>,
    /// The service refuses the key, and the log has it.
    refused: bool,
}

/// The content of the files.
#[derive(Clone, PartialEq, Eq)]
struct Files {
    key: String,
    secret: String,
    token: Option<String>,
    authorities: Vec<Vec<u8>>,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Files(…)")
    }
}

impl Files {
    fn read(config: &S3Config) -> Result<Self, ConfigError> {
        let file = &config.credentials_file;
        let authorities = match &config.tls_ca {
            None => Vec::new(),
            Some(path) => authorities::read(path)?.iter().map(|der| der.to_vec()).collect(),
        };
        Ok(Self {
            key: config::env_file_value(file, "AWS_ACCESS_KEY_ID")?,
            secret: config::env_file_value(file, "AWS_SECRET_ACCESS_KEY")?,
            token: config::env_file_optional(file, "AWS_SESSION_TOKEN")?,
            authorities,
        })
    }

    /// Returns the way to the service; over connections that are there, where those are still of use.
    fn way(&self, config: &S3Config, client: Option<reqwest::Client>) -> anyhow::Result<Way> {
        let token = self.token.as_deref();
        let credentials = Credentials::new(Some(&self.key), Some(&self.secret), token, None, None)?;
        let (region, endpoint) = (config.region.clone(), config.endpoint.clone());
        let region = Region::Custom { region, endpoint };
        let bucket = Bucket::new(config.bucket.as_str(), region, credentials)?;
        let bucket = if config.path_style { bucket.with_path_style() } else { bucket };
        let client = match client {
            Some(client) => client,
            None => self.client(config.endpoint.starts_with("https://"))?,
        };
        Ok(Way { bucket: *bucket, client })
    }

    fn client(&self, tls: bool) -> anyhow::Result<reqwest::Client> {
        let mut client = reqwest::Client::builder();
        if tls {
            for der in authorities::system().iter().map(AsRef::as_ref).chain(self.own()) {
                client = client.add_root_certificate(reqwest::Certificate::from_der(der)?);
            }
        }
        Ok(client.build()?)
    }

    fn own(&self) -> impl Iterator<Item = &[u8]> {
        self.authorities.iter().map(Vec::as_slice)
    }
}

impl Access {
    pub(super) fn new(tier: Tier, config: &S3Config) -> anyhow::Result<Self> {
        let files = Files::read(config)?;
        let way = Arc::new(files.way(config, None)?);
        let now = Now { way, files, looked: Instant::now(), wrong: None, refused: false };
        Ok(Self { tier, config: config.clone(), now: Mutex::new(now) })
    }

    /// Returns the way to the service.
    pub(super) fn way(&self) -> Arc<Way> {
        let mut now = self.lock();
        if now.looked.elapsed() > FRESH {
            self.look(&mut now);
        }
        Arc::clone(&now.way)
    }

    /// Returns the bucket's name.
    pub(super) fn bucket(&self) -> &str {
        self.name().as_str()
    }

    /// Returns the same, as it was checked.
    pub(super) fn name(&self) -> &BucketName {
        &self.config.bucket
    }

    /// Reads the files again; returns whether there is another way than the one that was tried.
    pub(super) fn is_another(&self, tried: &Arc<Way>) -> bool {
        let mut now = self.lock();
        self.look(&mut now);
        !Arc::ptr_eq(&now.way, tried)
    }

    /// Says in the log that the service refuses the key, unless it has that already.
    pub(super) fn is_refused(&self, error: &S3Error) {
        if !std::mem::replace(&mut self.lock().refused, true) {
            tracing::warn!(
                "{}: the service refuses the key of `{}` ({}): the file is read again, and the key tried again, until one is taken{}",
                self.tier,
                self.file().display(),
                error.kind.refused_key().unwrap_or_default(),
                config::if_copied(self.file())
            );
        }
    }

    /// Returns whether the service refuses the key.
    pub(super) fn refuses(&self) -> bool {
        self.lock().refused
    }

    /// Says in the log that the service takes the key again, where it did not.
    pub(super) fn is_taken(&self) {
        if std::mem::take(&mut self.lock().refused) {
            tracing::info!(
                "{}: the service takes the key of `{}`",
                self.tier,
                self.file().display()
            );
        }
    }

    fn file(&self) -> &Path {
        &self.config.credentials_file
    }

    fn look(&self, now: &mut Now) {
        now.looked = Instant::now();
        let changed = match Files::read(&self.config) {
            Ok(files) if files == now.files => Ok(None),
            Ok(files) => {
                let same = files.authorities == now.files.authorities;
                let client = same.then(|| now.way.client.clone());
                files.way(&self.config, client).map(|way| Some((files, way)))
            }
            Err(error) => Err(error.into()),
        };
        match changed {
            Ok(None) => now.wrong = None,
            Ok(Some((files, way))) => {
                let what = match (files.authorities == now.files.authorities, &self.config.tls_ca) {
                    (false, Some(ca)) => ca,
                    _ => &self.config.credentials_file,
                };
                tracing::info!(
                    "{}: `{}` has changed, and counts from now on",
                    self.tier,
                    what.display()
                );
                (now.files, now.way, now.wrong) = (files, Arc::new(way), None);
            }
            Err(error) => {
                let error = chain(&*error);
                if now.wrong.as_ref() != Some(&error) {
                    tracing::warn!("{}: going on with what was read before: {error}", self.tier);
                    now.wrong = Some(error);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(dir: &Path) -> S3Config {
        let text = format!(
            "endpoint = \"http://127.0.0.1:1\"\nbucket = \"archive\"\ncredentials_file = \"{0}/nas.env\"\ntls_ca = \"{0}/ca.pem\"\n",
            dir.display()
        );
        config::parse(Path::new("nas.toml"), &text).unwrap()
    }

    fn write(dir: &Path, key: &str, more: &str) {
        let text = format!("AWS_ACCESS_KEY_ID={key}\nAWS_SECRET_ACCESS_KEY=s\n{more}");
        std::fs::write(dir.join("nas.env"), text).unwrap();
    }

    fn authority() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::default().self_signed(&key).unwrap().pem()
    }

    async fn held(way: &Way) -> (Option<String>, Option<String>) {
        let held = way.bucket.credentials().await.unwrap();
        (held.access_key, held.security_token)
    }

    #[tokio::test]
    async fn what_the_files_hold_counts_and_half_of_it_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        write(path, "one", "");
        std::fs::write(path.join("ca.pem"), authority()).unwrap();
        let access = Access::new(Tier::Nas, &config(path)).unwrap();
        let first = access.way();
        assert!(!access.is_another(&first), "nothing has changed");
        write(path, "two", "AWS_SESSION_TOKEN=\"t+/=\"\n");
        assert!(access.is_another(&first));
        let second = access.way();
        assert_eq!(held(&second).await, (Some("two".into()), Some("t+/=".into())));
        assert_eq!(held(&first).await, (Some("one".into()), None));
        let url = second.bucket.presign_get("k", 60, None).await.unwrap();
        assert!(url.contains("X-Amz-Security-Token=t%2B%2F%3D"), "{url}");

        for half in ["AWS_ACCESS_KEY_ID=three\n", ""] {
            std::fs::write(path.join("nas.env"), half).unwrap();
            assert!(!access.is_another(&second), "`{half}`");
        }
        std::fs::remove_file(path.join("nas.env")).unwrap();
        assert!(!access.is_another(&second));
        write(path, "two", "AWS_SESSION_TOKEN=t+/=\n");
        assert!(!access.is_another(&second), "it is what it was");
        std::fs::write(path.join("ca.pem"), format!("{}{}", authority(), authority())).unwrap();
        assert!(access.is_another(&second), "there are other authorities");
        let third = access.way();
        std::fs::write(path.join("ca.pem"), "none").unwrap();
        assert!(!access.is_another(&third));
    }

    #[tokio::test]
    async fn a_file_without_complaints_is_looked_at_after_a_while() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "one", "");
        let config = S3Config { tls_ca: None, ..config(dir.path()) };
        let access = Access::new(Tier::Nas, &config).unwrap();
        write(dir.path(), "two", "");
        access.lock().looked -= FRESH * 2;
        assert_eq!(held(&access.way()).await.0, Some("two".into()));
    }
}
