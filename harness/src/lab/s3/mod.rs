//! The S3 services of a lab: the NAS, which is MinIO unless another is asked for, and fake Wasabi
//! for Wasabi.

mod nas;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::RngExt as _;
use s3::creds::Credentials;
use s3::{Bucket, BucketConfiguration, Region};
use serde::Deserialize;

use self::nas::Sockets;
use crate::error::{Context as _, Error, Result, make_dir};
use crate::lab::admin::Admin;
use crate::lab::http;
use crate::lab::ports;
use crate::lab::process::{Launcher, Process, Spec};
use crate::lab::tools::{Tool, Tools};
use crate::lab::wait::wait_until;

/// SeaweedFS takes six seconds on an idle machine.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// The programs that serve S3 in a lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Kind {
    /// MinIO.
    #[default]
    Minio,
    /// SeaweedFS: master, volume server, filer and S3 in one process, told to sync what it writes.
    Seaweedfs,
    /// The Versity S3 Gateway on a directory.
    Versitygw,
    /// Fake Wasabi, with an endpoint for its faults besides.
    #[value(skip)]
    FakeWasabi,
}

impl Kind {
    /// Returns the program that serves it.
    pub(crate) fn tool(self) -> Tool {
        match self {
            Self::Minio => Tool::Minio,
            Self::Seaweedfs => Tool::Weed,
            Self::Versitygw => Tool::Versitygw,
            Self::FakeWasabi => Tool::FakeWasabi,
        }
    }

    /// Returns the region that its requests are signed for.
    pub(crate) fn region(self) -> &'static str {
        match self {
            Self::Minio | Self::Seaweedfs | Self::Versitygw => "us-east-1",
            Self::FakeWasabi => "eu-central-1",
        }
    }

    /// Returns the program's environment.
    pub(crate) fn env(self, access: &Access) -> Vec<(String, String)> {
        let (key, secret) = (access.access_key.as_str(), access.secret_key.as_str());
        let pairs = match self {
            Self::Minio => vec![
                ("MINIO_ROOT_USER", key),
                ("MINIO_ROOT_PASSWORD", secret),
                ("MINIO_PROMETHEUS_AUTH_TYPE", "public"),
                ("MINIO_BROWSER", "off"),
                ("MINIO_UPDATE", "off"),
            ],
            Self::Seaweedfs => {
                vec![("AWS_ACCESS_KEY_ID", key), ("AWS_SECRET_ACCESS_KEY", secret)]
            }
            Self::Versitygw => vec![("ROOT_ACCESS_KEY", key), ("ROOT_SECRET_KEY", secret)],
            Self::FakeWasabi => {
                vec![("CIM_FAKE_WASABI_ACCESS_KEY", key), ("CIM_FAKE_WASABI_SECRET_KEY", secret)]
            }
        };
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

/// The address, bucket and keys that a client needs.
#[derive(Debug, Clone)]
pub struct Access {
    /// The service's address, or that of a link before it.
    pub addr: SocketAddr,
    /// The region that requests are signed for.
    pub region: String,
    /// The archive's bucket.
    pub bucket: String,
    /// The access key.
    pub access_key: String,
    /// The secret key, drawn anew for every service.
    pub secret_key: String,
    /// A second access key with the same secret, if the service has two: faults hit this one only.
    pub client_key: Option<String>,
}

/// A running service. The bucket exists.
#[derive(Debug)]
pub struct Service {
    /// The process.
    pub process: Process,
    /// The program that serves it.
    pub kind: Kind,
    /// Its direct address and keys.
    pub access: Access,
    /// Fake Wasabi's endpoint for faults.
    pub admin: Option<Admin>,
    /// Dropped after `process`, which has them open.
    _sockets: Sockets,
}

/// The options of a service.
#[derive(Debug, Clone)]
pub struct Options {
    /// The name of the process and its log.
    pub name: String,
    /// The program that serves it.
    pub kind: Kind,
    /// The directory of its objects.
    pub dir: PathBuf,
    /// The bucket to make.
    pub bucket: String,
    /// The credentials that a restarted service keeps; `None` draws new ones.
    pub credentials: Option<(String, String)>,
    /// The seed of fake Wasabi's random faults.
    pub seed: u64,
}

impl Access {
    /// Returns the endpoint's URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Returns the same access through a link at `addr`.
    #[must_use]
    pub fn via(&self, addr: SocketAddr) -> Self {
        Self { addr, ..self.clone() }
    }

    /// Returns the access with the client's key, for every program except the oracle.
    #[must_use]
    pub fn of_client(&self) -> Self {
        let access_key = self.client_key.clone().unwrap_or_else(|| self.access_key.clone());
        Self { access_key, ..self.clone() }
    }

    /// Makes a client for the bucket.
    pub fn client(&self) -> Result<Box<Bucket>> {
        client(&self.bucket, self.region(), self.credentials()?)
    }

    /// Writes the keys in the form that the storage manager reads, into a file that only this user
    /// can read.
    pub fn write_credentials(&self, path: &Path) -> Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        let (access, secret) = (&self.access_key, &self.secret_key);
        let text = format!("AWS_ACCESS_KEY_ID={access}\nAWS_SECRET_ACCESS_KEY={secret}\n");
        crate::error::write_file(path, text)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
            .setup(|| format!("cannot restrict `{}`", path.display()))
    }

    /// Adds a second key with the same secret and writes it to a file that the service reads.
    pub(crate) fn write_client_key(&mut self, path: &Path) -> Result<()> {
        let client_key = format!("{}CLIENT", self.access_key);
        let secret = &self.secret_key;
        let pair = format!("aws_access_key_id = {client_key}\naws_secret_access_key = {secret}\n");
        crate::error::write_file(path, format!("[client]\n{pair}"))?;
        self.client_key = Some(client_key);
        Ok(())
    }

    fn region(&self) -> Region {
        Region::Custom { region: self.region.clone(), endpoint: self.endpoint() }
    }

    fn credentials(&self) -> Result<Credentials> {
        credentials(&self.access_key, &self.secret_key)
    }

    /// Makes the bucket; succeeds if it exists.
    pub(crate) async fn make_bucket(&self) -> Result<(), String> {
        let credentials = self.credentials().map_err(|e| e.chain())?;
        let (name, config) = (&self.bucket, BucketConfiguration::default());
        match Bucket::create_with_path_style(name, self.region(), credentials, config).await {
            Ok(answer) if answer.success() || answer.response_code == 409 => Ok(()),
            Ok(answer) => Err(format!("HTTP {}: {}", answer.response_code, answer.response_text)),
            Err(s3::error::S3Error::HttpFailWithBody(409, _)) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Writes an object and deletes it.
    async fn write_and_delete(&self) -> Result<(), String> {
        let bucket = self.client().map_err(|error| error.chain())?;
        let written = bucket.put_object("lab/ready", b"ready").await;
        written.map_err(|error| error.to_string())?;
        let deleted = bucket.delete_object("lab/ready").await;
        deleted.map(drop).map_err(|error| error.to_string())
    }
}

/// Makes a client that names the bucket in the path.
pub(crate) fn client(name: &str, region: Region, keys: Credentials) -> Result<Box<Bucket>> {
    let bucket = Bucket::new(name, region, keys);
    Ok(bucket.setup(|| format!("bucket `{name}` cannot be used"))?.with_path_style())
}

/// Returns keys in the client's type.
pub(crate) fn credentials(access: &str, secret: &str) -> Result<Credentials> {
    Credentials::new(Some(access), Some(secret), None, None, None)
        .setup(|| "S3 credentials cannot be used".into())
}

impl Service {
    /// Starts a service, waits until it answers and makes the bucket.
    pub async fn start(launcher: &Launcher, tools: &Tools, options: &Options) -> Result<Self> {
        make_dir(&options.dir)?;
        match options.kind {
            Kind::FakeWasabi => Self::start_fake_wasabi(launcher, tools, options).await,
            _ => Self::start_nas(launcher, tools, options).await,
        }
    }

    async fn start_nas(launcher: &Launcher, tools: &Tools, options: &Options) -> Result<Self> {
        let kind = options.kind;
        let program = tools.find(kind.tool())?;
        let mut last = Error::setup(format!("`{}` was not tried", kind.tool().name()));
        for _ in 0..ports::ATTEMPTS {
            let place = nas::Place::of(options)?;
            nas::Place::make_ready(options)?;
            let access = options.access(place.s3());
            let sockets = place.sockets(kind);
            let process = launcher.start(place.spec(options, &program, &access)).await?;
            let begun = async {
                ready(&process, &access, kind).await?;
                place.prepare(options, &program).await
            };
            match begun.await {
                Ok(()) => {
                    return Ok(Self { process, kind, access, admin: None, _sockets: sockets });
                }
                // Another process may have taken its port since it was found free.
                Err(error) if process.ended().is_some() => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    async fn start_fake_wasabi(
        launcher: &Launcher,
        tools: &Tools,
        options: &Options,
    ) -> Result<Self> {
        #[derive(Deserialize)]
        struct Ready {
            s3: String,
            admin: String,
        }
        let program = tools.find(Tool::FakeWasabi)?;
        let mut placeholder = options.access(SocketAddr::from(([127, 0, 0, 1], 0)));
        let keys = options.dir.with_extension("keys");
        placeholder.write_client_key(&keys)?;
        let out = launcher.log_path(&options.name).with_extension("ready.json");
        // A ready line of an earlier start would name dead ports; there may be none.
        drop(std::fs::remove_file(&out));
        let mut spec =
            Spec::new(&options.name, &program).arg("serve").arg("--dir").arg(&options.dir);
        for (flag, value) in [
            ("--listen", "127.0.0.1:0"),
            ("--admin-listen", "127.0.0.1:0"),
            ("--region", placeholder.region.as_str()),
            ("--create-bucket", options.bucket.as_str()),
            ("--seed", options.seed.to_string().as_str()),
        ] {
            spec = spec.arg(flag).arg(value);
        }
        spec.out = Some(out.clone());
        spec = spec.arg("--credentials-file").arg(keys);
        spec.env.extend(options.kind.env(&placeholder));
        let process = launcher.start(spec).await?;
        let line = wait_until("the start of fake Wasabi", READY_WITHIN, async || {
            if let Some(end) = process.ended() {
                return Ok(Err(end));
            }
            let text = std::fs::read_to_string(&out).map_err(|e| e.to_string())?;
            let line = text.lines().next().unwrap_or_default();
            serde_json::from_str::<Ready>(line).map(Ok).map_err(|e| e.to_string())
        });
        let ended = |end| {
            Error::setup(format!("`cim-fake-wasabi` ended at once ({end}): {}", process.last_log()))
        };
        let said = line.await?.map_err(ended)?;
        let parse = |url: &str| {
            let addr = url.trim_end_matches('/').rsplit_once("//").and_then(|u| u.1.parse().ok());
            addr.ok_or_else(|| Error::setup(format!("fake Wasabi names no address: `{url}`")))
        };
        let access = Access { addr: parse(&said.s3)?, ..placeholder };
        let (name, client_key) = (options.name.clone(), access.client_key.clone());
        let admin = Some(Admin { name, addr: parse(&said.admin)?, client_key });
        let kind = Kind::FakeWasabi;
        ready(&process, &access, kind).await?;
        Ok(Self { process, kind, access, admin, _sockets: Sockets::default() })
    }

    /// Returns the S3 requests that MinIO has served since it started; `None` for other services,
    /// or if MinIO does not say.
    pub async fn requests(&self) -> Option<u64> {
        self.requests_of("").await
    }

    /// Returns the same for one operation by MinIO's name, such as `PutObject`.
    pub(crate) async fn requests_of(&self, kind: &str) -> Option<u64> {
        if self.kind != Kind::Minio {
            return None;
        }
        let (addr, limit) = (self.access.addr, Duration::from_secs(5));
        let path = "/minio/metrics/v3/api/requests";
        let answer = http::request(addr, "GET", path, "", limit).await.ok()?;
        let of = if kind.is_empty() { String::new() } else { format!("name=\"{kind}\"") };
        let lines = answer.body.lines().filter(|l| l.starts_with("minio_api_requests_total{"));
        let lines = lines.filter(|line| line.contains(&of));
        let counts = lines.filter_map(|l| l.rsplit_once(' ')?.1.parse::<f64>().ok());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let total = counts.sum::<f64>() as u64;
        Some(total)
    }
}

impl Options {
    pub(crate) fn access(&self, addr: SocketAddr) -> Access {
        let (access_key, secret_key) =
            self.credentials.clone().unwrap_or_else(|| (random_key(20), random_key(40)));
        let (region, bucket) = (self.kind.region().to_owned(), self.bucket.clone());
        Access { addr, region, bucket, access_key, secret_key, client_key: None }
    }
}

/// Draws a secret from the system's randomness, not from the seed: a report shows the seed.
fn random_key(length: usize) -> String {
    rand::rng().sample_iter(rand::distr::Alphanumeric).take(length).map(char::from).collect()
}

async fn ready(process: &Process, access: &Access, kind: Kind) -> Result<()> {
    let name = process.name();
    let made = wait_until("the bucket's creation", READY_WITHIN, async || {
        if let Some(end) = process.ended() {
            return Ok(Err(end));
        }
        match kind {
            Kind::Minio | Kind::FakeWasabi => access.make_bucket().await?,
            // SeaweedFS answers for buckets before its volume server has reached its master.
            Kind::Seaweedfs => {
                access.make_bucket().await?;
                access.write_and_delete().await?;
            }
            Kind::Versitygw => access.write_and_delete().await?,
        }
        Ok(Ok(()))
    });
    let why = match made.await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(end)) => format!("ended at once ({end})"),
        Err(error) => format!("is not ready: {error}"),
    };
    Err(Error::setup(format!("`{name}` {why}: {}", process.last_log())))
}
