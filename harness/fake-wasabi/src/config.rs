//! The configuration of a server.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::error::StartError;

/// A key pair that may sign requests.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The access key id.
    pub access_key: String,
    /// The secret access key.
    pub secret_key: String,
}

impl Credentials {
    /// Returns a key pair.
    pub fn new(access_key: impl Into<String>, secret_key: impl Into<String>) -> Self {
        Self { access_key: access_key.into(), secret_key: secret_key.into() }
    }

    /// Reads every key pair of a file in the format of `~/.aws/credentials`.
    ///
    /// # Errors
    /// When the file cannot be read, a line is not of that format, a profile lacks one of the two
    /// keys, or there is no key pair at all.
    pub fn from_file(path: &Path) -> Result<Vec<Self>, StartError> {
        std::fs::read_to_string(path)
            .and_then(|text| parse(&text).map_err(io::Error::other))
            .map_err(|source| StartError::Credentials { path: path.to_owned(), source })
    }
}

/// The implementation keeps secrets out of logs.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// The configuration of a server.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory that everything is stored in; created when it does not exist.
    pub dir: PathBuf,
    /// The address that S3 is served on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The address of the admin endpoint; port 0 takes a free one.
    pub admin_listen: SocketAddr,
    /// Serve on addresses that are not loopback.
    pub allow_any_address: bool,
    /// The key pairs that may sign requests.
    pub credentials: Vec<Credentials>,
    /// The region that buckets are in.
    pub region: String,
    /// Buckets to create at start when they do not exist.
    pub buckets: Vec<String>,
    /// Whether `If-None-Match` and `If-Match` on writes are honoured or ignored.
    pub conditional_writes: bool,
    /// Whether commits are synced to the disk. Without it, `kill -9` is still safe and a power
    /// cut is not.
    pub fsync: bool,
    /// The seed that random faults are drawn from.
    pub seed: u64,
    /// Host names under which `BUCKET.NAME` means a bucket, besides `localhost` and Wasabi's own.
    pub domains: Vec<String>,
}

impl Config {
    /// Access key of [`Config::new`].
    pub const TEST_ACCESS_KEY: &str = "CIMFAKEWASABITEST000";
    /// Secret key of [`Config::new`].
    pub const TEST_SECRET_KEY: &str = "cim-fake-wasabi-test-secret";

    /// Returns a server on free loopback ports, in `us-east-1`, with the test key pair.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            dir: dir.into(),
            listen: loopback,
            admin_listen: loopback,
            allow_any_address: false,
            credentials: vec![Credentials::new(Self::TEST_ACCESS_KEY, Self::TEST_SECRET_KEY)],
            region: "us-east-1".to_owned(),
            buckets: Vec::new(),
            conditional_writes: true,
            fsync: true,
            seed: 0,
            domains: Vec::new(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), StartError> {
        for addr in [self.listen, self.admin_listen] {
            if !addr.ip().is_loopback() && !self.allow_any_address {
                return Err(StartError::NotLoopback { addr });
            }
        }
        if self.credentials.is_empty() {
            return Err(StartError::NoCredentials);
        }
        match self.buckets.iter().find(|name| !s3s::path::check_bucket_name(name)) {
            Some(name) => Err(StartError::BucketName { name: name.clone() }),
            None => Ok(()),
        }
    }
}

/// Parses the format of `~/.aws/credentials`: profiles in brackets, `name = value` lines.
fn parse(text: &str) -> Result<Vec<Credentials>, String> {
    let mut pairs = Vec::new();
    let mut access: Option<String> = None;
    let mut secret: Option<String> = None;
    let mut profile = "default".to_owned();
    let mut end = |profile: &str, access: &mut Option<String>, secret: &mut Option<String>| {
        match (access.take(), secret.take()) {
            (Some(access), Some(secret)) => pairs.push(Credentials::new(access, secret)),
            (None, None) => {}
            _ => return Err(format!("profile `{profile}` has only one of the two keys")),
        }
        Ok(())
    };
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            end(&profile, &mut access, &mut secret)?;
            name.trim().clone_into(&mut profile);
            continue;
        }
        let (name, value) = line
            .split_once('=')
            .ok_or_else(|| format!("line {} is not `name = value`", number + 1))?;
        match name.trim() {
            "aws_access_key_id" => access = Some(value.trim().to_owned()),
            "aws_secret_access_key" => secret = Some(value.trim().to_owned()),
            // Regions and other settings belong to the clients that share the file.
            _ => {}
        }
    }
    end(&profile, &mut access, &mut secret)?;
    if pairs.is_empty() {
        return Err("it names no `aws_access_key_id` and `aws_secret_access_key`".to_owned());
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_is_a_key_pair() {
        let text = "# comment\n[default]\naws_access_key_id = A\naws_secret_access_key=B=\n\
                    region = us-east-1\n[other]\naws_secret_access_key = D\naws_access_key_id=C\n";
        let want = [Credentials::new("A", "B="), Credentials::new("C", "D")];
        assert_eq!(parse(text).unwrap(), want);
    }

    #[test]
    fn half_a_key_pair_is_refused_by_profile() {
        let error = parse("[x]\naws_access_key_id = A\n").unwrap_err();
        assert_eq!(error, "profile `x` has only one of the two keys");
        assert!(parse("").unwrap_err().contains("aws_access_key_id"));
        assert!(parse("[x]\nnonsense\n").unwrap_err().contains("line 2"));
    }

    #[test]
    fn secrets_do_not_reach_logs() {
        let shown = format!("{:?}", Credentials::new("key", "hush"));
        assert!(!shown.contains("hush"), "{shown}");
    }
}
