//! The configuration file of a storage manager.

use std::path::Path;

use super::{SECRET, USER, credentials_file};

/// Where nothing listens: a service that is lost.
pub(crate) const NOWHERE: &str = "http://127.0.0.1:1";

/// The content of the file.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) nats: String,
    pub(crate) nas: String,
    pub(crate) wasabi: Option<String>,
    /// The NAS's.
    pub(crate) bucket: String,
    /// `chains` or `journal`.
    pub(crate) layout: String,
    /// More keys of `[nats]`.
    pub(crate) login: String,
    /// More keys of `[secondary]` and `[tertiary]`.
    pub(crate) s3: String,
    /// More keys of `[archive]`.
    pub(crate) archive: String,
    /// More tables.
    pub(crate) more: String,
}

impl Settings {
    pub(crate) fn new(nats: &str, nas: &str) -> Self {
        Self {
            nats: nats.into(),
            nas: nas.into(),
            wasabi: None,
            bucket: "archive".into(),
            // Most tests hold for both.
            layout: std::env::var("CIM_LAYOUT").unwrap_or_else(|_| "journal".into()),
            login: String::new(),
            s3: String::new(),
            archive: String::new(),
            more: String::new(),
        }
    }

    /// Returns the same for another server.
    pub(crate) fn of(&self, nats: &str) -> Self {
        Self { nats: nats.into(), ..self.clone() }
    }

    /// Returns the file, and writes the credentials that it names into a folder.
    pub(super) fn to_toml(&self, dir: &Path, name: &str) -> String {
        let credentials = credentials_file(dir, &format!("{name}.env"), USER, SECRET);
        let table = |tier: &str, url: &str, bucket: &str| {
            format!(
                "[{tier}]\nendpoint = \"{url}\"\nbucket = \"{bucket}\"\ncredentials_file = \"{}\"\ntimeout = \"5s\"\n{}",
                credentials.display(),
                self.s3
            )
        };
        let wasabi = self.wasabi.as_ref().map(|url| table("tertiary", url, "archive"));
        format!(
            "[node]\nname = \"{name}\"\n[nats]\nurl = \"{}\"\n{}{}{}{}[archive]\nlayout = \"{}\"\n{}",
            self.nats,
            self.login,
            table("secondary", &self.nas, &self.bucket),
            wasabi.unwrap_or_default(),
            self.more,
            self.layout,
            self.archive
        )
    }
}
